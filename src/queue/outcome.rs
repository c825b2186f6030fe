//! How attempts end: what the home shard of a domain tells the shard whose lane has the message.

use crate::id::Location;

/// How an attempt ended for a range of recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeOutcome {
    /// First recipient ordinal.
    pub first: u16,
    /// Recipients.
    pub count: u16,
    /// What became of them.
    pub fate: Fate,
}

/// What became of a recipient in an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next hop took it.
    Delivered,
    /// It is tried again.
    Deferred {
        /// Attempts so far.
        attempts: u16,
        /// When, in seconds of the queues' clock.
        next: u32,
        /// The same in Unix seconds, for the record and for the event, which has its id by it.
        due: u32,
        /// The last reply or error.
        reply: Box<str>,
        /// The hop never said that.
        ours: bool,
    },
    /// It is returned to its sender.
    Failed(Box<Failure>),
    /// It is thrown away, as the operator wants it: nobody is told.
    Discarded,
}

/// Why a recipient is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Given up for age rather than refused.
    pub expired: bool,
    /// RFC 3463 code, if it says more than the diagnostic does.
    pub status: Option<(u8, u16, u16)>,
    /// The next hop that said so, if one did.
    pub remote: Option<String>,
    /// Its reply, or our own words.
    pub diagnostic: String,
    /// The record of the accounting, which waits for the id of the notification.
    pub record: Vec<u8>,
}

/// Outcomes of one attempt; most attempts have one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcomes {
    /// One range.
    One(RangeOutcome),
    /// Several.
    Many(Box<[RangeOutcome]>),
}

impl Outcomes {
    /// The ranges.
    pub fn ranges(&self) -> &[RangeOutcome] {
        match self {
            Outcomes::One(one) => std::slice::from_ref(one),
            Outcomes::Many(many) => many,
        }
    }

    /// The ranges, to be changed.
    pub fn ranges_mut(&mut self) -> &mut [RangeOutcome] {
        match self {
            Outcomes::One(one) => std::slice::from_mut(one),
            Outcomes::Many(many) => many,
        }
    }
}

/// From a home shard to the shard of the lane: an attempt ended. Carries the attempt's credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The home shard, which gets the credit back.
    pub home: u16,
    /// Where the message record lay when the message was handed out.
    pub location: Location,
    /// The message's entry in its lane's index.
    pub key: u32,
    /// How it ended.
    pub outcomes: Outcomes,
}
