//! What control hands a shard to take as it takes mail of a client, and what becomes of it.

use crate::config::Duties;
use crate::mail::envelope::Recipient;
use crate::smtp::server::{Intake, NotStored};
use crate::smtp::words;

/// A message of a program of this machine, which is trusted: it reached what only such programs do.
#[derive(Debug)]
pub struct Parcel {
    /// The reverse path.
    pub sender: Vec<u8>,
    /// At least one, no more than a transaction has.
    pub recipients: Vec<Recipient>,
    /// The account whose mail it is.
    pub account: Option<Box<str>>,
    /// Header and body; every line ends with CRLF.
    pub message: Vec<u8>,
    /// Bytes that it may have.
    pub size_max: u64,
    /// What is done for it.
    pub duties: Duties,
    /// How it came: the name in Received.
    pub by: &'static str,
}

/// Why a message is not taken. What was refused is recorded, where somebody brought it.
#[derive(Debug)]
pub enum NotTaken {
    /// No mail is taken now.
    Closed(Intake),
    /// It is refused, with this reply.
    Refused(Box<str>),
    /// It was to be stored, and could not be.
    NotStored(NotStored),
}

impl NotTaken {
    /// What a session would say, line end included.
    pub fn reply(&self) -> &str {
        match self {
            NotTaken::Closed(gate) => gate.refusal().map_or(words::NOT_STORED, |(reply, _)| reply),
            NotTaken::Refused(reply) => reply,
            NotTaken::NotStored(why) => why.words(),
        }
    }
}
