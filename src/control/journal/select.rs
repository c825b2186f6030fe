//! Which events a reader gets: lines of the journal, told apart by what stands behind `"event":`.

use memchr::memmem;

/// Some kinds of events, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Select {
    /// Their names; None is all.
    events: Option<Vec<&'static str>>,
}

impl Select {
    /// Those with these names; None is all of them.
    pub(in crate::control) fn new(events: Option<Vec<&'static str>>) -> Select {
        Select { events }
    }

    /// The lines among these that are wanted; None: all of them are.
    pub(in crate::control) fn of(&self, lines: &[u8]) -> Option<Vec<u8>> {
        self.events.as_ref()?;
        let mut wanted = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n').filter(|line| self.wants(line)) {
            wanted.extend_from_slice(line);
        }
        Some(wanted)
    }

    /// How many bytes of these lines are behind those of which the first `selected` bytes were wanted: whole lines, and no line more than needed.
    pub(in crate::control) fn behind(&self, lines: &[u8], selected: usize) -> usize {
        let (mut all, mut wanted) = (0, 0);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let more = if self.wants(line) { line.len() } else { 0 };
            if wanted + more > selected {
                break;
            }
            all += line.len();
            wanted += more;
        }
        all
    }

    fn wants(&self, line: &[u8]) -> bool {
        let Some(events) = &self.events else { return true };
        event(line).is_some_and(|event| events.iter().any(|name| name.as_bytes() == event))
    }
}

/// The name of a line's event. In a text of JSON a quote has a backslash before it, so this is found in no text; and nothing in front of it is an
/// object that could have such a field too.
fn event(line: &[u8]) -> Option<&[u8]> {
    const FIELD: &[u8] = b"\"event\":\"";
    let at = memmem::find(line, FIELD)? + FIELD.len();
    let length = memchr::memchr(b'"', &line[at..])?;
    Some(&line[at..at + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = [
        "{\"time\":\"x\",\"event\":\"received\",\"sender\":\"a\"}\n",
        "{\"time\":\"x\",\"event\":\"delivered\",\"reply\":\"\\\"event\\\":\\\"received\\\"\"}\n",
        "{\"time\":\"x\",\"event\":\"bounced\",\"metadata\":{\"event\":\"received\"}}\n",
        "{\"time\":\"x\",\"event\":\"received\"}\n",
    ];

    #[test]
    fn only_what_is_wanted_is_given() {
        let all = LINES.concat();
        let select = |events: &[&'static str]| Select::new(Some(events.to_vec())).of(all.as_bytes()).unwrap();
        assert_eq!(Select::default().of(all.as_bytes()), None, "all of it as it is");
        assert_eq!(select(&["received"]), [LINES[0], LINES[3]].concat().as_bytes());
        assert_eq!(select(&["bounced", "delivered"]), [LINES[1], LINES[2]].concat().as_bytes());
        assert_eq!(select(&["receive", "expired"]), b"");
    }

    #[test]
    fn a_place_among_the_wanted_is_one_among_all() {
        let all = LINES.concat();
        let one = Select::new(Some(vec!["bounced"]));
        let (first, third) = (LINES[0].len() + LINES[1].len(), LINES[2].len());
        for (selected, behind) in [(0, first), (third - 1, first), (third, all.len())] {
            assert_eq!(one.behind(all.as_bytes(), selected), behind, "{selected}");
        }
        let every = Select::default();
        for at in 0..=all.len() {
            let start = all[..at].rfind('\n').map_or(0, |end| end + 1);
            assert_eq!(every.behind(all.as_bytes(), at), start, "{at}");
        }
    }
}
