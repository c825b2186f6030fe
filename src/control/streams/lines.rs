//! Lines of the journal as streams have them: rendered once for all who watch, once more for those who are shown less, and told apart by what they are
//! of.

use std::sync::{LazyLock, OnceLock};

use axum::body::Bytes;
use memchr::memmem;

use crate::control::api::veil::{OfEachVeil, Veil};
use crate::names::events::Kind;

/// Some lines, in order.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The number of the first, over all that were handed on or passed over.
    pub(super) first: u64,
    /// As server-sent events, one behind the other.
    text: Bytes,
    lines: Vec<Line>,
    /// The same behind each kind of veil, made when the first reader wants one of the lines so.
    veiled: OfEachVeil<OnceLock<Veiled>>,
}

/// All of the lines, shortened.
#[derive(Clone, Debug, Default)]
struct Veiled {
    text: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
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
pub struct Wanted {
    /// One bit a kind; 0: none.
    kinds: u64,
    /// What stands behind the last letter of a recipient's local part: `@example.org"`, lower case.
    domain: Option<Vec<u8>>,
    /// How much of them it is shown.
    veil: Veil,
}

const BEFORE: &[u8] = b"event: log\ndata: ";
const BEHIND: &[u8] = b"\n\n";

impl Lines {
    /// Renders what the journal took.
    pub fn of(lines: &[u8], first: u64) -> Lines {
        let mut text = Vec::with_capacity(lines.len() + lines.len() / 8);
        let mut all = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let from = text.len() as u32;
            text.extend_from_slice(BEFORE);
            text.extend_from_slice(line);
            text.extend_from_slice(BEHIND);
            all.push(Line { from, to: text.len() as u32, kind: kind(line) });
        }
        Lines { first, text: text.into(), lines: all, veiled: Default::default() }
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// All of them as they are, where that is what is wanted: nothing is copied for another reader of the same.
    pub fn whole(&self, wanted: &Wanted) -> Option<Bytes> {
        let all = wanted.kinds == u64::MAX && wanted.domain.is_none() && wanted.veil.kind().is_none();
        all.then(|| self.text.clone())
    }

    /// Appends those that are wanted. Whether they were rendered for that, which takes a while.
    pub fn write(&self, wanted: &Wanted, out: &mut Vec<u8>) -> bool {
        let kind = wanted.veil.kind();
        let (mut veiled, mut is_new) = (None, false);
        for (place, line) in self.lines.iter().enumerate() {
            let text = self.told(line);
            if !wanted.wants(line.kind, text) {
                continue;
            }
            let Some(kind) = kind else {
                out.extend_from_slice(text);
                continue;
            };
            let shown = *veiled.get_or_insert_with(|| {
                is_new = self.veiled[kind].get().is_none();
                self.veiled[kind].get_or_init(|| self.behind(wanted.veil))
            });
            out.extend_from_slice(shown.told(place));
        }
        is_new
    }

    fn told(&self, line: &Line) -> &[u8] {
        &self.text[line.from as usize..line.to as usize]
    }

    fn behind(&self, veil: Veil) -> Veiled {
        let mut veiled = Veiled::default();
        for line in &self.lines {
            let from = veiled.text.len();
            veiled.text.extend_from_slice(BEFORE);
            let begun = veiled.text.len();
            veil.line(self.told(line).strip_prefix(BEFORE).unwrap_or_default(), &mut veiled.text);
            // What cannot be read is not told.
            if veiled.text.len() == begun {
                veiled.text.truncate(from);
            } else {
                veiled.text.extend_from_slice(BEHIND);
            }
            veiled.ends.push(veiled.text.len());
        }
        veiled
    }
}

impl Veiled {
    fn told(&self, place: usize) -> &[u8] {
        let from = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[from..self.ends[place]]
    }
}

fn kind(line: &[u8]) -> Option<u8> {
    const FIELD: &[u8] = b"\"event\":\"";
    // Made once: for a line this short that takes longer than the search.
    static FINDS: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(FIELD));
    let at = FINDS.find(line)? + FIELD.len();
    let word = &line[at..at + memchr::memchr(b'"', &line[at..])?];
    Kind::all().position(|kind| kind.word().as_bytes() == word).map(|place| place as u8)
}

impl Wanted {
    /// Lines of these kinds, by their names with commas between; of a domain, if that is said. `Err`: a name that is none.
    pub fn new(events: Option<&str>, domain: Option<&str>) -> Result<Wanted, String> {
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
        Ok(Wanted { kinds, domain, veil: Veil::default() })
    }

    /// The same, for whoever is behind this veil: of all that a stream tells.
    pub(in crate::control) fn behind(self, veil: Veil) -> Wanted {
        Wanted { veil, ..self }
    }

    /// How much its reader is shown.
    pub(super) fn veil(&self) -> Veil {
        self.veil
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
    use crate::config::access::Redact;
    use crate::policy::tokens::Role;

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
        let lines = Lines::of(LINES, 7);
        assert_eq!(lines.len(), 3);
        let veil = Veil::of(Redact { recipient: true, sender: false }, Role::Read);
        for (events, domain, veil, is_whole) in [
            (None, None, Veil::default(), true),
            (None, None, veil, false),
            (None, Some("y.example"), Veil::default(), false),
            (Some("bounced"), None, Veil::default(), false),
        ] {
            let wanted = Wanted::new(events, domain).unwrap().behind(veil);
            let whole = lines.whole(&wanted).map(|text| text.to_vec());
            assert_eq!(
                whole,
                is_whole.then(|| written(None, None).into_bytes()),
                "{events:?} {domain:?} {veil:?}"
            );
        }
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

    #[test]
    fn who_is_shown_less_has_the_same_lines_shortened() {
        let lines = Lines::of(LINES, 7);
        let veil = Veil::of(Redact { recipient: true, sender: false }, Role::Read);
        let written = |wanted: &Wanted| {
            let mut out = Vec::new();
            let is_new = lines.write(wanted, &mut out);
            (String::from_utf8(out).unwrap(), is_new)
        };
        let wanted = |events, domain| Wanted::new(Some(events), domain).unwrap();
        assert_eq!(written(&wanted("deferred", None).behind(veil)), (String::new(), false), "none is wanted");
        assert!(!written(&wanted("all", None)).1 && lines.veiled.iter().all(|one| one.get().is_none()));
        // Of a domain are those that are of it in full.
        let of_domain = wanted("all", Some("y.example")).behind(veil);
        let bounced = "event: log\ndata: {\"event\":\"bounced\",\"recipients\":[\"a…@x.example\",\"b…@Y.example\"],\"reply\":\"@z.example\"}\n\n";
        assert_eq!(written(&of_domain), (bounced.to_owned(), true));
        assert_eq!(written(&of_domain), (bounced.to_owned(), false), "once for all");
        let (all, is_new) = written(&wanted("all", None).behind(veil));
        assert_eq!(
            (all.matches("event: log\ndata: {").count(), all.matches("}\n\n").count(), is_new),
            (3, 3, false)
        );
        assert!(all.contains("[\"c…@z.example\"]") && all.contains("{\"event\":\"of_tomorrow\"}"), "{all}");
        assert_eq!(lines.veiled.iter().filter(|one| one.get().is_some()).count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_not_told_to_who_is_shown_less() {
        let lines = Lines::of(b"torn ada@x.example\n{\"event\":\"bounced\"}\n", 0);
        let veil = Veil::of(Redact { recipient: true, sender: true }, Role::Read);
        let mut out = Vec::new();
        lines.write(&Wanted::new(None, None).unwrap().behind(veil), &mut out);
        assert_eq!(out, b"event: log\ndata: {\"event\":\"bounced\"}\n\n");
    }
}
