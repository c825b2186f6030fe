//! What a [`Ledger`](super::Ledger) says when it is asked: places, sums, and what became of whom.

use std::fmt;

/// One recipient of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
pub struct RecipientId {
    /// The run.
    pub run: u64,
    /// The message.
    pub n: u64,
    /// The recipient, from 0.
    pub ordinal: u32,
}

impl fmt::Display for RecipientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}-{}/{}", self.run, self.n, self.ordinal)
    }
}
/// The first few faults of each kind that a sink sees by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Examples {
    /// Delivered again.
    pub duplicated: Vec<RecipientId>,
    /// Delivered again though neither a kill nor a lost reply explains it.
    pub repeated: Vec<RecipientId>,
    /// Delivered with a body other than the one sent.
    pub corrupted: Vec<RecipientId>,
    /// Delivered with the content of another message, or to a recipient the message does not have.
    pub misrouted: Vec<RecipientId>,
    /// Delivered with its header fields changed or in another order.
    pub reordered: Vec<RecipientId>,
}

/// The sums of a [`Ledger`](super::Ledger) at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Sums {
    /// Messages whose transaction was begun.
    pub sent: u64,
    /// Messages answered with a 250 after the final dot.
    pub acknowledged: u64,
    /// Recipients those 250s covered.
    pub acknowledged_recipients: u64,
    /// Recipients reached, each counted once.
    pub delivered: u64,
    /// Recipients the sink refused for good, each counted once: reaching them is not the relay's duty any more.
    pub refused: u64,
    /// Recipients a bounce gave up, each counted once.
    pub bounced: u64,
    /// Times a notification said that a recipient still waits.
    pub delayed: u64,
    /// Deliveries to a recipient already reached.
    pub duplicated: u64,
    /// Those among them that neither a kill nor a lost reply explains.
    pub repeated: u64,
    /// Those of which the first delivery's reply was lost with its connection.
    pub reply_lost: u64,
    /// Those of which the relay was killed before it could write down the first delivery.
    pub killed: u64,
    /// Deliveries with a body other than the one sent.
    pub corrupted: u64,
    /// Deliveries with the content of another message, or to a recipient the message does not have.
    pub misrouted: u64,
    /// Deliveries with header fields changed or in another order.
    pub reordered: u64,
    /// Recipients both reached and given up by a bounce, without a reason: one of the two is a lie.
    pub contradicted: u64,
    /// When the last delivery came, on the clock of [`crate::sys::now`]; 0 before the first.
    pub last_delivery: u64,
}

/// What became of the acknowledged recipients, each counted once: the four add up to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Settled {
    /// Reached.
    pub delivered: u64,
    /// Not reached: refused for good by their receiver.
    pub refused: u64,
    /// Neither: given up by the relay, with a bounce.
    pub bounced: u64,
    /// None of these.
    pub lost: u64,
}
