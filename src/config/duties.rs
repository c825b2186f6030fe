//! What is done for mail of those who submit it (RFC 6409 section 8), and asked of it.

use std::fmt;

use crate::config::literal::word;
use crate::config::section::Section;

/// `author`: what becomes of a From field with somebody in it whom the account may not send as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorCheck {
    /// Nobody looks.
    #[default]
    Any,
    /// 550 5.7.1 after the end.
    Refuse,
    /// A Sender field says who sent it.
    Sender,
}

/// The duties of a listener towards mail of clients that may relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// Date and Message-ID are added where they are missing.
    pub add_missing: bool,
    /// Bcc fields are taken out.
    pub remove_bcc: bool,
    /// A message with several From fields is refused.
    pub one_from: bool,
    /// Who may stand in From.
    pub author: AuthorCheck,
}

impl Duties {
    /// None, as of a relay: what it passes on is somebody else's.
    pub const NONE: Duties =
        Duties { add_missing: false, remove_bcc: false, one_from: false, author: AuthorCheck::Any };
    /// Those of submission. Accounts that are bound to addresses write as these.
    pub const SUBMISSION: Duties =
        Duties { add_missing: true, remove_bcc: true, one_from: true, author: AuthorCheck::Refuse };
}

impl fmt::Display for Duties {
    /// Those that there are, each with a comma before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let author = match self.author {
            AuthorCheck::Any => "",
            AuthorCheck::Refuse => ", From as the account's",
            AuthorCheck::Sender => ", Sender where From is not the account's",
        };
        let said = |wanted: bool, words| if wanted { words } else { "" };
        let date = said(self.add_missing, ", adds Date and Message-ID");
        write!(f, "{date}{}{}{author}", said(self.remove_bcc, ", no Bcc"), said(self.one_from, ", one From"))
    }
}

/// Reads these keys of a listener.
pub(super) fn read(section: &Section<'_>, usual: Duties) -> Duties {
    let either = |key, usual, [yes, no]: [&'static str; 2]| {
        section.read(key, usual, |value| word(value, [(yes, true), (no, false)]))
    };
    Duties {
        add_missing: either("missing_fields", usual.add_missing, ["add", "leave"]),
        remove_bcc: either("bcc", usual.remove_bcc, ["remove", "keep"]),
        one_from: either("from_fields", usual.one_from, ["one", "any"]),
        author: section.read("author", usual.author, |value| {
            let words =
                [("any", AuthorCheck::Any), ("refuse", AuthorCheck::Refuse), ("sender", AuthorCheck::Sender)];
            word(value, words)
        }),
    }
}
