//! Ends of recipients that the relay itself brings about, in place of a next hop: the one list of them. All that tells one from another, in
//! records, events, metrics and the configuration, is here; what is done to bring one about is where mail ends: `outbound/local` in a
//! shard (a route says so) and `store/at_once` (a rule does).

macro_rules! ends {
    ($($(#[doc = $doc:literal])* $end:ident {
        word: $word:literal,
        wanted: $wanted:expr,
        code: $code:literal,
        field: $field:literal,
        letter: $letter:literal,
        help: $help:literal,
    })*) => {
        /// An end of a recipient that needs no next hop.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum End {
            $($(#[doc = $doc])* $end,)*
        }

        impl End {
            /// All of them.
            pub const ALL: [End; [$($word),*].len()] = [$(End::$end),*];

            /// What became of the recipient: the name of the event, and how commands tell it.
            pub const fn word(self) -> &'static str {
                match self { $(End::$end => $word,)* }
            }

            /// What a route or a rule says that wants it. None: no configuration can.
            pub const fn wanted(self) -> Option<&'static str> {
                match self { $(End::$end => $wanted,)* }
            }

            /// Its number in the disposition of a record (docs/record-format.md).
            pub const fn code(self) -> u8 {
                match self { $(End::$end => $code,)* }
            }

            /// The field of a message record that lists those that have it at once.
            pub const fn field(self) -> u16 {
                match self { $(End::$end => $field,)* }
            }

            /// The letter that stands for it in the id of an event.
            pub const fn letter(self) -> u8 {
                match self { $(End::$end => $letter,)* }
            }

            /// The counter of recipients that have it, and what that says.
            pub const fn counted(self) -> (&'static str, &'static str) {
                match self { $(End::$end => (concat!("recipients_", $word), $help),)* }
            }
        }
    };
}

// Numbers, fields and letters never change, and none is used twice.
ends! {
    /// It is thrown away, as the operator wants it: nobody is told.
    Discarded {
        word: "discarded",
        wanted: Some("discard"),
        code: 5,
        field: 0x800f,
        letter: b'c',
        help: "Recipients whose mail was thrown away, as a route or a rule says",
    }
    /// It is for somebody on the suppression list: nobody is told.
    Suppressed {
        word: "suppressed",
        wanted: None,
        code: 6,
        field: 0x8012,
        letter: b's',
        help: "Recipients that got no mail as they are on the suppression list",
    }
    /// It is in the sandbox, as the operator wants it: nobody gets it.
    Captured {
        word: "captured",
        wanted: Some("capture"),
        code: 8,
        field: 0x8017,
        letter: b'a',
        help: "Recipients whose mail is in the sandbox, as a route says",
    }
}

impl End {
    /// The one that the configuration wants by this word.
    pub fn wanted_by(text: &str) -> Option<End> {
        End::ALL.into_iter().find(|end| end.wanted() == Some(text))
    }

    /// The words by which the configuration wants one.
    pub fn wants() -> impl Iterator<Item = &'static str> {
        End::ALL.into_iter().filter_map(End::wanted)
    }

    /// The one with this number.
    pub fn of_code(code: u8) -> Option<End> {
        End::ALL.into_iter().find(|end| end.code() == code)
    }

    /// The one with this field.
    pub fn of_field(field: u16) -> Option<End> {
        End::ALL.into_iter().find(|end| end.field() == field)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_are_alike() {
        let all = || End::ALL.into_iter();
        let words: BTreeSet<_> = all().map(End::word).collect();
        let wants: BTreeSet<_> = End::wants().collect();
        let codes: BTreeSet<_> = all().map(End::code).collect();
        let fields: BTreeSet<_> = all().map(End::field).collect();
        assert_eq!([words.len(), codes.len(), fields.len()], [End::ALL.len(); 3]);
        assert_eq!(wants.len(), End::wants().count());
        for end in all() {
            assert_eq!((End::of_code(end.code()), End::of_field(end.field())), (Some(end), Some(end)));
            assert_eq!(end.wanted().and_then(End::wanted_by), end.wanted().map(|_| end));
            assert_eq!(end.counted().0, format!("recipients_{}", end.word()));
        }
    }

    /// They are on disks, in the databases of others and on their dashboards.
    #[test]
    fn those_that_are_told_stay_as_they_are() {
        let end = End::Discarded;
        assert_eq!((end.code(), end.field(), end.letter()), (5, 0x800f, b'c'));
        assert_eq!((end.word(), end.counted().0), ("discarded", "recipients_discarded"));
        let end = End::Suppressed;
        assert_eq!((end.code(), end.field(), end.letter(), end.word()), (6, 0x8012, b's', "suppressed"));
        let end = End::Captured;
        assert_eq!((end.code(), end.field(), end.letter(), end.word()), (8, 0x8017, b'a', "captured"));
    }
}
