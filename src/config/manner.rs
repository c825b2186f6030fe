//! How a listener's sessions go: what is offered, how much one may bring, and what it says first.

use std::fmt;

use crate::config::literal::{Wrong, boolean, integer, quoted, text};
use crate::config::section::Section;
use crate::limits;

/// `chunking`, `smtputf8`, `merge`, `messages_per_connection` and `banner` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    /// CHUNKING is offered (RFC 3030).
    pub chunking: bool,
    /// SMTPUTF8 is offered (RFC 6531).
    pub smtputf8: bool,
    /// Clients that may relay merge by PowerMTA's verbs (XMRG).
    pub merge: bool,
    /// Messages of one connection; 0: no bound.
    pub messages_per_connection: u32,
    /// What stands behind `220 NAME ESMTP`.
    pub banner: Box<str>,
}

/// Who we are, without a version: nobody needs that but who looks for old ones.
const BANNER: &str = "relevo";

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            chunking: true,
            smtputf8: true,
            merge: false,
            messages_per_connection: 0,
            banner: BANNER.into(),
        }
    }
}

impl fmt::Display for Manner {
    /// What is not as usual, each with a comma before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Manner::default();
        if !self.chunking {
            write!(f, ", no BDAT")?;
        }
        if !self.smtputf8 {
            write!(f, ", no SMTPUTF8")?;
        }
        if self.merge {
            write!(f, ", takes merges")?;
        }
        if self.messages_per_connection > 0 {
            write!(f, ", {} messages a connection", self.messages_per_connection)?;
        }
        if self.banner != usual.banner {
            write!(f, ", greets with {:?}", self.banner)?;
        }
        Ok(())
    }
}

/// Reads these keys of a listener.
pub(super) fn read(section: &Section<'_>) -> Manner {
    let most = limits::MESSAGES_PER_CONNECTION_LIMIT;
    Manner {
        chunking: section.read("chunking", true, boolean),
        smtputf8: section.read("smtputf8", true, boolean),
        merge: section.read("merge", false, boolean),
        messages_per_connection: section.read("messages_per_connection", 0, |value| {
            integer(value, 0..=most, 0).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        }),
        banner: section.read("banner", BANNER.into(), |value| {
            let said = text(value, BANNER)?;
            let shown = said.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if said.len() <= limits::BANNER_MAX && shown && said.trim() == said {
                return Ok(said.into());
            }
            let problem = format!("{} cannot be a part of one line of a reply", quoted(said));
            let more = format!(", or other printable ASCII, at most {} bytes", limits::BANNER_MAX);
            Err(Wrong::write(problem, quoted(BANNER), &more))
        }),
    }
}
