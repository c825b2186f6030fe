//! Kinds of events.

use crate::names::ends::End;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A client's message is on disk.
    Received,
    /// A next hop took it.
    Delivered,
    /// It will be tried again.
    Deferred,
    /// It has waited for so long that its sender may be told.
    Delayed,
    /// It was refused for good.
    Bounced,
    /// It was given up for age.
    Expired,
    /// It ended here.
    Local(End),
    /// A bounce came back of mail that a hop had taken.
    OobBounce,
    /// Somebody complains of mail.
    Feedback,
    /// A client was refused: a session, a login, a sender, a recipient or a body.
    Rejected,
    /// An operator changed what is queued, or how the relay works.
    Admin,
}

impl Kind {
    /// All of them, in the order in which they are named.
    pub fn all() -> impl Iterator<Item = Kind> {
        let outcomes = [Kind::Delivered, Kind::Deferred, Kind::Delayed, Kind::Bounced, Kind::Expired];
        let ends = End::ALL.into_iter().map(Kind::Local);
        [Kind::Received].into_iter().chain(outcomes).chain(ends).chain([
            Kind::OobBounce,
            Kind::Feedback,
            Kind::Rejected,
            Kind::Admin,
        ])
    }

    /// Its name in the field `event`.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Received => "received",
            Kind::Delivered => "delivered",
            Kind::Deferred => "deferred",
            Kind::Delayed => "delayed",
            Kind::Bounced => "bounced",
            Kind::Expired => "expired",
            Kind::Local(end) => end.word(),
            Kind::OobBounce => "oob_bounce",
            Kind::Feedback => "feedback",
            Kind::Rejected => "rejected",
            Kind::Admin => "admin",
        }
    }

    /// The letter that stands for it in the id of an event of mail.
    pub const fn letter(self) -> u8 {
        match self {
            Kind::Received => b'r',
            Kind::Delivered => b'd',
            Kind::Deferred => b'f',
            Kind::Delayed => b'w',
            Kind::Bounced => b'b',
            Kind::Expired => b'e',
            Kind::Local(end) => end.letter(),
            Kind::OobBounce => b'o',
            Kind::Feedback => b'k',
            Kind::Rejected | Kind::Admin => b'n',
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_have_one_name_or_letter() {
        let words: Vec<_> = Kind::all().map(Kind::word).collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "{words:?}");
        let letters: BTreeSet<_> = Kind::all().map(Kind::letter).collect();
        assert_eq!(letters.len(), words.len() - 1, "notices share one: {letters:?}");
    }
}
