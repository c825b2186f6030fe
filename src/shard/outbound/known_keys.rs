//! What was derived of passwords for smart hosts (SCRAM), on one shard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::config::Credentials;
use crate::smtp::client::auth::scram::{Costs, Keys};

/// Keys that were derived, and those that are being.
#[derive(Default)]
pub(in crate::shard) struct KnownKeys(pub(super) RefCell<VecDeque<Known>>);

/// Those of a password at a host.
pub struct Known {
    pub(super) credentials: Arc<Credentials>,
    pub(super) costs: Costs,
    /// None: they are being derived.
    pub(super) keys: Option<Keys>,
    pub(super) waiting: Vec<Waker>,
}

impl Known {
    /// Whether it is what these give.
    pub(super) fn is_of(&self, credentials: &Credentials, costs: &Costs) -> bool {
        self.costs == *costs && *self.credentials == *credentials
    }
}
