//! What queues ask for, and what they give.

use std::rc::Rc;

use super::keys::{DomainKey, SiteKey};
use crate::queue::Group;

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Resolve this domain and call [`resolved`](super::Destinations::resolved) or [`unresolved`](super::Destinations::unresolved).
    Resolve(DomainKey, Rc<str>),
    /// This site may have work for a connection.
    Pump(SiteKey),
}

/// What a connection that asks for work gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// A group to deliver, and its domain. One credit of its lane is taken.
    Job(DomainKey, Group),
    /// The same, and the last that its tenant has at the site, while mail of others waits there that is no more urgent.
    Last(DomainKey, Group),
    /// A group that is past its expiry: settle it as expired. One credit is taken.
    Expired(DomainKey, Group),
    /// Nothing may be started now.
    Nothing,
}
