//! What shards send each other.

use std::sync::Arc;

use crate::id::Location;
use crate::mail::envelope::Address;
use crate::mail::handover::Begun;
use crate::queue::Group;
use crate::queue::destinations::DomainKey;
use crate::queue::flow::Strand;
use crate::queue::outcome::{Receipt, Settled};
use crate::route::Hop;
use crate::route::egress::EgressKey;
use crate::spool::rebind::Changes;

/// A group to deliver, and whose queue it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The home shard of its domain; its credit is taken there.
    pub home: u16,
    /// Its domain, as the home shard calls it.
    pub domain: DomainKey,
    /// The group.
    pub group: Group,
}

/// From a home shard to one that has more time: jobs of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// The configuration that says so.
    pub generation: u64,
    /// Where they go.
    pub hop: Hop,
    /// The jobs, in the order of their queue.
    pub jobs: Vec<Job>,
}

/// From the borrower to the home shard: what became of lent jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Attempted, with the parts that are to be tried again. Their outcomes went to the shards of their lanes.
    pub attempted: Vec<(Job, Vec<Group>)>,
    /// Not attempted.
    pub untouched: Vec<Job>,
}

/// A message of the class that never waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardMessage {
    /// An attempt ended.
    Settled(Settled),
    /// Work from the home shard of a hot destination.
    Loan(Box<Loan>),
    /// Such work comes back.
    Returned {
        /// The borrower.
        from: u16,
        /// What became of it.
        what: Box<Returned>,
    },
    /// A group whose record, in a lane of the other shard, is to say something else of it.
    Rebind(Box<Rebound>),
    /// A question to the shard of a lane: how far delivery to some recipients is.
    Standing {
        /// Who asks.
        from: u16,
        /// The number of the question.
        number: u32,
        /// Of whom.
        asked: Asked,
    },
    /// The answer to that.
    Stands {
        /// The number of the question.
        number: u32,
        /// How far; None: the message is gone.
        known: Option<Box<Known>>,
    },
    /// Outcomes of this lane are synced: so many credits come home.
    Credits {
        /// The lane.
        lane: u16,
        /// How many.
        count: u32,
    },
}

/// Some recipients of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it was when it was handed out.
    pub location: Location,
    /// Its entry in its lane's index.
    pub key: u32,
    /// First recipient ordinal.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// What their lane knows of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The node that accepted the message, and numbers of whose its id is.
    pub born: u64,
    /// How far delivery is.
    pub begun: Begun,
}

/// From a home shard to that of a lane: a group that left its queue, to go home again with other parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebound {
    /// The home shard, which waits for its credit.
    pub home: u16,
    /// The domain, in lower case.
    pub domain: Address,
    /// By what it left until then.
    pub egress: EgressKey,
    /// Who brought it, a hash.
    pub client: u32,
    /// The group.
    pub group: Group,
    /// What its recipients are to have.
    pub set: Arc<Changes>,
    /// Is told when the record says so.
    pub receipt: Receipt,
}

/// From the accepting shard to the home shard of a domain: recipients, by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The domain, in lower case.
    pub domain: Address,
    /// The recipients.
    pub group: Group,
    /// Who brought them, a hash.
    pub client: u32,
    /// Whose they are, and by which pool and source they leave.
    pub strand: Strand,
}
