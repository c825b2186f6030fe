//! What an account may do, and what holds for its mail.

use std::net::IpAddr;

use crate::config::quota::Quotas;
use crate::config::{AddressPattern, Network};
use crate::shaping::value::Rate;

/// Nothing of it is said of most accounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rights {
    /// The pool that its mail leaves by, where nothing said of the mail says otherwise, and the line that says so.
    pub pool: Option<(Box<str>, usize)>,
    /// Whose its mail is, likewise.
    pub tenant: Option<Box<str>>,
    /// In whose name it may send; empty: in anybody's.
    pub senders: Vec<AddressPattern>,
    /// To whom it may; empty: to anybody.
    pub recipients: Vec<AddressPattern>,
    /// From where it may log in; empty: from anywhere.
    pub networks: Vec<Network>,
    /// Connections that it may have open at one time, over all listeners.
    pub connections_max: Option<u32>,
    /// Messages in a time.
    pub rate: Option<Rate>,
    /// Recipients in a time.
    pub recipients_rate: Option<Rate>,
    /// Recipients that its mail may have by the calendar.
    pub quota: Quotas,
}

impl Rights {
    /// Whether both say the same, on whatever lines.
    pub fn say_as(&self, other: &Rights) -> bool {
        let but_line =
            |of: &Rights| Rights { pool: of.pool.clone().map(|(pool, _)| (pool, 0)), ..of.clone() };
        but_line(self) == but_line(other)
    }

    /// Whether it may send as this address.
    pub fn may_send_as(&self, address: &[u8]) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|sender| sender.matches(address))
    }

    /// Whether it may send to this address.
    pub fn may_send_to(&self, address: &[u8]) -> bool {
        self.recipients.is_empty() || self.recipients.iter().any(|recipient| recipient.matches(address))
    }

    /// Whether it may log in from there.
    pub fn may_come_from(&self, client: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(client))
    }

    /// Whether it says nothing of whose mail it is and how it leaves.
    pub fn names_nothing(&self) -> bool {
        self.pool.is_none() && self.tenant.is_none()
    }
}
