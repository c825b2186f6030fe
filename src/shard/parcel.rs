//! What control hands a shard to take as it takes mail of a client, and what becomes of it.

use std::net::IpAddr;

use crate::config::Duties;
use crate::mail::envelope::Recipient;
use crate::mail::parameters::Parameters;
use crate::smtp::server::{Intake, NotStored};
use crate::smtp::words;

/// A message that somebody hands to control who is trusted: a program of this machine, which reached what only such programs do, or whoever showed a token.
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
    /// Who brought it; None: this machine.
    pub client: Option<IpAddr>,
    /// What it is to be treated by, unless rules or its own instructions say otherwise.
    pub parameters: Option<Box<Parameters>>,
    /// The tenant whose mail it has to be; None: anybody's.
    pub tenant: Option<Box<str>>,
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
