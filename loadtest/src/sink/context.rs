//! What sessions and the notes of what they took have in common: the thread they run on, and the envelope.

use std::net::IpAddr;
use std::sync::Arc;

use super::sites::{Gate, Responsible};
use super::{Behaviour, Tally};
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::message::Recipient;
use crate::random::Random;

/// What a session needs of its thread, for the length of one call.
pub(super) struct Context<'a> {
    pub(super) behaviour: &'a Behaviour,
    pub(super) random: &'a mut Random,
    pub(super) tally: &'a Tally,
    /// The ledger of a run, if there is one.
    pub(super) ledgers: &'a mut dyn FnMut(u64) -> Option<Arc<Ledger>>,
    pub(super) journal: Option<&'a mut Journal>,
    pub(super) gate: &'a Gate,
    pub(super) responsible: &'a Responsible,
    /// The site, by position.
    pub(super) site: usize,
    pub(super) client: IpAddr,
    pub(super) now: u64,
    pub(super) lane: usize,
}

/// A recipient of the transaction under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) recipient: Recipient,
    /// Its domain belongs to another site.
    pub(super) elsewhere: bool,
}
