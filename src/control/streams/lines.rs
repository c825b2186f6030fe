//! Lines of the journal as streams have them: rendered once for all who watch, and told apart by what they are of.

use axum::body::Bytes;
use memchr::memmem;

use crate::names::events::Kind;

/// Some lines, in order.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// The number of the first, over all that were handed on or passed over.
    pub(super) first: u64,
    /// As server-sent events, one behind the other.
    text: Bytes,
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    from: u32,
    to: u32,
    /// The place of its kind among all; None: it is of none that is known.
    kind: Option<u8>,
}

/// Which lines a reader wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Wanted {
    /// One bit a kind; 0: none.
    kinds: u64,
    /// What stands behind the last letter of a recipient's local part: `@example.org"`, lower case.
    domain: Option<Vec<u8>>,
}

const BEFORE: &[u8] = b"event: log\ndata: ";

impl Lines {
    /// Renders what the journal took.
    pub(super) fn of(lines: &[u8], first: u64) -> Lines {
        let mut text = Vec::with_capacity(lines.len() + lines.len() / 8);
        let mut all = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let from = text.len() as u32;
            text.extend_from_slice(BEFORE);
            text.extend_from_slice(line);
            text.extend_from_slice(b"\n\n");
            all.push(Line { from, to: text.len() as u32, kind: kind(line) });
        }
        Lines { first, text: text.into(), lines: all }
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Appends those that are wanted.
    pub(super) fn write(&self, wanted: &Wanted, out: &mut Vec<u8>) {
        for line in &self.lines {
            let text = &self.text[line.from as usize..line.to as usize];
            if wanted.wants(line.kind, text) {
                out.extend_from_slice(text);
            }
        }
    }
}

fn kind(line: &[u8]) -> Option<u8> {
    const FIELD: &[u8] = b"\"event\":\"";
    let at = memmem::find(line, FIELD)? + FIELD.len();
    let word = &line[at..at + memchr::memchr(b'"', &line[at..])?];
    Kind::all().position(|kind| kind.word().as_bytes() == word).map(|place| place as u8)
}

impl Wanted {
    /// Lines of these kinds, by their names with commas between; of a domain, if that is said. `Err`: a name that is none.
    pub(in crate::control) fn new(events: Option<&str>, domain: Option<&str>) -> Result<Wanted, String> {
        let mut kinds = 0;
        match events {
            None | Some("all") => kinds = u64::MAX,
            Some(names) => {
                for name in names.split(',').map(str::trim) {
                    let Some(place) = Kind::all().position(|kind| kind.word() == name) else {
                        return Err(name.to_owned());
                    };
                    kinds |= 1 << place;
                }
            }
        }
        let domain = domain.map(|domain| format!("@{}\"", domain.trim().to_ascii_lowercase()).into_bytes());
        Ok(Wanted { kinds, domain })
    }

    /// Whether it wants any.
    pub(in crate::control) fn is_some(&self) -> bool {
        self.kinds != 0
    }

    fn wants(&self, kind: Option<u8>, line: &[u8]) -> bool {
        kind.map_or(self.kinds == u64::MAX, |kind| self.kinds & (1 << kind) != 0)
            && self.domain.as_ref().is_none_or(|domain| has_recipient(line, domain))
    }
}

/// Whether one of the recipients that a line names ends so.
fn has_recipient(line: &[u8], domain: &[u8]) -> bool {
    const FIELD: &[u8] = b"\"recipients\":[";
    let Some(at) = memmem::find(line, FIELD) else { return false };
    let rest = &line[at + FIELD.len()..];
    let end = memmem::find(rest, b"\"]").map_or(rest.len(), |end| end + 1);
    let recipients = &rest[..end];
    memchr::memchr_iter(b'@', recipients)
        .any(|at| recipients.get(at..at + domain.len()).is_some_and(|part| part.eq_ignore_ascii_case(domain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] = b"{\"event\":\"bounced\",\"recipients\":[\"a@x.example\",\"b@Y.example\"],\"reply\":\"@z.example\"}\n\
        {\"event\":\"received\",\"recipients\":[\"c@z.example\"]}\n\
        {\"event\":\"of_tomorrow\"}\n";

    fn written(events: Option<&str>, domain: Option<&str>) -> String {
        let mut out = Vec::new();
        Lines::of(LINES, 7).write(&Wanted::new(events, domain).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_reader_has_what_it_wants() {
        assert_eq!(Lines::of(LINES, 7).len(), 3);
        for (events, domain, count) in [
            (None, None, 3),
            (Some("all"), None, 3),
            (Some("bounced"), None, 1),
            (Some("bounced,received"), None, 2),
            (Some("deferred"), None, 0),
            (Some("all"), Some("y.example"), 1),
            (Some("all"), Some("Z.example"), 1),
            (Some("bounced"), Some("z.example"), 0),
            (Some("all"), Some("example"), 0),
        ] {
            let text = written(events, domain);
            assert_eq!(text.matches("event: log\ndata: {").count(), count, "{events:?} {domain:?} {text}");
            assert_eq!(text.matches("}\n\n").count(), count, "{text}");
        }
        assert_eq!(Wanted::new(Some("bounced,nothing"), None), Err("nothing".to_owned()));
        assert!(Kind::all().count() < 64, "a bit each");
    }
}
