//! What may be wrong with a lane, in words for the operator.

use crate::id::MessageId;
use crate::spool::layout;

/// Why a lane cannot be opened at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolRefusal {
    /// Another node's spool, or a file of it.
    ForeignNode {
        /// The file that says so.
        slot: u16,
        /// That node's id.
        node: u64,
    },
    /// A later version of the format, or a critical record this version does not know.
    Newer(String),
}

impl std::fmt::Display for SpoolRefusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SpoolRefusal::ForeignNode { slot, node } => write!(
                formatter,
                "{} belongs to another node ({node:016x}); if it alone does, move it out of this directory",
                layout::segment_name(*slot)
            ),
            SpoolRefusal::Newer(what) => {
                write!(formatter, "this spool was written by a later version: {what}")
            }
        }
    }
}

/// Something in a lane that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub slot: u16,
    /// Where, bytes.
    pub offset: u64,
    /// The message it hits, if it hits one that can be named.
    pub message: Option<MessageId>,
    /// What is wrong and what comes of it.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "segment {:05}: {}", self.slot, self.what)
    }
}
