//! Instructions of clients in the header section: `X-Relevo-*`, and what PowerMTA calls `X-Virtual-MTA`, `X-Job` and `X-Envid`. They
//! are between the client and the relay: whoever is trusted is obeyed, and nobody else gets to see them.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::config::value;
use crate::limits;
use crate::mail::header;
use crate::mail::parameters::{Key, Parameters, Problem};

/// How our own begin.
const OURS: &str = "X-Relevo-";

/// The fields that are understood. Ours stand first: one of them counts, whatever the others say.
const KNOWN: [(&str, Meaning); 11] = [
    ("X-Relevo-Tenant", Meaning::Parameter(Key::Tenant)),
    ("X-Relevo-Campaign", Meaning::Parameter(Key::Campaign)),
    ("X-Relevo-Category", Meaning::Parameter(Key::Category)),
    ("X-Relevo-Pool", Meaning::Parameter(Key::Pool)),
    ("X-Relevo-Priority", Meaning::Parameter(Key::Priority)),
    ("X-Relevo-Metadata", Meaning::Parameter(Key::Metadata)),
    ("X-Relevo-Expire", Meaning::Expire),
    ("X-Relevo-Send-At", Meaning::Parameter(Key::SendAt)),
    ("X-Virtual-MTA", Meaning::Parameter(Key::Pool)),
    ("X-Job", Meaning::Parameter(Key::Campaign)),
    ("X-Envid", Meaning::Parameter(Key::Envid)),
];

#[derive(Clone, Copy, Debug)]
enum Meaning {
    Parameter(Key),
    Expire,
}

/// Whether a header line that begins so may be an instruction: these letters tell nearly all others from it.
pub fn may_begin(line: &[u8]) -> bool {
    matches!(line, [b'x' | b'X', b'-', third, ..] if may_go_on(*third))
}

/// Whether it may be one with this letter behind `X-`.
pub fn may_go_on(letter: u8) -> bool {
    matches!(letter, b'r' | b'R' | b'v' | b'V' | b'j' | b'J' | b'e' | b'E')
}

/// What a header section instructs.
#[derive(Debug, Default)]
pub struct Instructions {
    /// The parameters it sets.
    pub parameters: Parameters,
    /// How long delivery is tried.
    pub expire: Option<Duration>,
    /// The fields, all of which are taken out.
    pub fields: Vec<Range<usize>>,
    /// The first that cannot be understood.
    pub wrong: Option<BadInstruction>,
}

/// An instruction that cannot be understood: the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadInstruction {
    field: &'static str,
    /// None: it is no time.
    problem: Option<Problem>,
}

impl fmt::Display for BadInstruction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Some(problem) => write!(formatter, "{} {problem}", self.field),
            None => write!(formatter, "{} must be a time from 1s to 366d, as in 12h", self.field),
        }
    }
}

/// Reads the instructions of a section. Of several fields of one name the first counts.
pub fn read(section: &[u8], mailbox_line: bool) -> Instructions {
    let mut found = Instructions::default();
    let mut values: [Option<&[u8]>; KNOWN.len()] = [None; KNOWN.len()];
    for field in header::fields(section, mailbox_line).filter(|field| may_begin(field.name)) {
        let known = KNOWN.iter().position(|(name, _)| field.is(name));
        let ours =
            || field.name.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS.as_bytes()));
        if let Some(place) = known {
            values[place].get_or_insert(field.value);
        } else if !ours() {
            continue;
        }
        found.fields.push(field.start..field.end);
    }
    // From the last on, so that ours are set over those of others.
    for ((field, meaning), value) in KNOWN.iter().zip(values).rev() {
        let Some(value) = value else { continue };
        let problem = match meaning {
            Meaning::Parameter(key) => {
                // A letter more than fits, so that a longer one is seen.
                let value = header::one_line(value, key.most() + 4);
                found.parameters.set(*key, &value).map_err(Some)
            }
            Meaning::Expire => {
                let span = value::duration(&header::one_line(value, limits::PARAMETER_MAX)).ok();
                found.expire = span.filter(|span| *span >= Duration::from_secs(1));
                found.expire.map(|_| ()).ok_or(None)
            }
        };
        if let Err(problem) = problem {
            found.wrong = Some(BadInstruction { field, problem });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Instructions {
        read(text.as_bytes(), false)
    }

    #[test]
    fn all_of_them() {
        let text = "X-Job: job\r\nSubject: x\r\nx-relevo-tenant: shop\r\nX-Relevo-Campaign: spring\r\n\
                    X-Relevo-Category : news\r\nX-Virtual-MTA: ip1\r\nX-Relevo-Priority: high\r\n\
                    X-Relevo-Expire: 2d\r\nX-Envid: e=1\r\nX-Relevo-Metadata: {\"a\":\r\n\t1}\r\n\
                    X-Relevo-Tenant: second\r\nX-Mailer: m\r\nX-Report: r\r\nX-Relevo-New: n\r\n\r\nX-Job: body\r\n";
        let found = read_text(text);
        let all: Vec<_> =
            found.parameters.iter().map(|(key, value)| format!("{}={value}", key.name())).collect();
        assert_eq!(
            all,
            [
                "tenant=shop",
                "campaign=spring",
                "category=news",
                "pool=ip1",
                "priority=high",
                "envid=e=1",
                "metadata={\"a\": 1}"
            ]
        );
        assert_eq!((found.expire, found.wrong), (Some(Duration::from_secs(2 * 86_400)), None));
        let mut message = text.as_bytes().to_vec();
        let length = text.find("\r\n\r\n").unwrap() + 4;
        let edit = header::Edit { remove: found.fields, add: Vec::new() };
        assert_eq!(edit.apply(&mut message, length, false), 40);
        assert_eq!(
            String::from_utf8(message).unwrap(),
            "Subject: x\r\nX-Mailer: m\r\nX-Report: r\r\n\r\nX-Job: body\r\n"
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, words) in [
            ("X-Relevo-Priority: urgent\r\n", "X-Relevo-Priority must be high, normal or low"),
            ("X-Relevo-Expire: 5\r\n", "X-Relevo-Expire must be a time from 1s to 366d, as in 12h"),
            ("X-Relevo-Expire: 0s\r\n", "X-Relevo-Expire must be a time from 1s to 366d, as in 12h"),
            ("X-Job:\r\n", "X-Job is empty"),
            ("X-Envid: a\x01\r\n", "X-Envid has a control character in it"),
            (
                "X-Relevo-Metadata: {\r\n",
                "X-Relevo-Metadata must be a JSON object, sound and at most 32 levels deep",
            ),
            (&format!("X-Job: {}\r\n", "é".repeat(150)), "X-Job is longer than 256 bytes"),
        ] {
            assert_eq!(
                read_text(text).wrong.map(|wrong| wrong.to_string()).as_deref(),
                Some(words),
                "{text}"
            );
        }
    }

    #[test]
    fn the_first_letters_tell() {
        assert!(
            KNOWN
                .iter()
                .all(|(name, _)| may_begin(name.as_bytes()) && may_begin(name.to_lowercase().as_bytes()))
        );
        assert!(may_begin(OURS.as_bytes()));
        assert!(!may_begin(b"X-Mailer") && !may_begin(b"X-") && !may_begin(b"Received"));
    }
}
