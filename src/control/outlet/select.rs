//! Which events a reader gets: lines of the journal, told apart by what stands behind `"event":`.

use memchr::memmem;

/// Some kinds of events, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Select {
    /// Their names; None is all.
    events: Option<Vec<&'static str>>,
}

impl Select {
    /// Those with these names; None is all of them.
    pub fn new(events: Option<Vec<&'static str>>) -> Select {
        Select { events }
    }

    /// Whether that is every event.
    pub fn is_all(&self) -> bool {
        self.events.is_none()
    }

    /// Whether this line is one of them.
    pub fn wants(&self, line: &[u8]) -> bool {
        let Some(events) = &self.events else { return true };
        event(line).is_some_and(|event| events.iter().any(|name| name.as_bytes() == event))
    }
}

/// The name of a line's event. In a text of JSON a quote has a backslash before it, so this is found in no text; and nothing in front of it is an
/// object that could have such a field too.
pub(in crate::control) fn event(line: &[u8]) -> Option<&[u8]> {
    const FIELD: &[u8] = b"\"event\":\"";
    let at = memmem::find(line, FIELD)? + FIELD.len();
    let length = memchr::memchr(b'"', &line[at..])?;
    Some(&line[at..at + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_given() {
        const LINES: [&str; 4] = [
            "{\"time\":\"x\",\"event\":\"received\",\"sender\":\"a\"}\n",
            "{\"time\":\"x\",\"event\":\"delivered\",\"reply\":\"\\\"event\\\":\\\"received\\\"\"}\n",
            "{\"time\":\"x\",\"event\":\"bounced\",\"metadata\":{\"event\":\"received\"}}\n",
            "{\"time\":\"x\",\"event\":\"received\"}\n",
        ];
        let select = |events: Option<&[&'static str]>| {
            let select = Select::new(events.map(<[_]>::to_vec));
            LINES.map(|line| select.wants(line.as_bytes()))
        };
        assert_eq!(select(None), [true; 4]);
        assert_eq!(select(Some(&["received"])), [true, false, false, true]);
        assert_eq!(select(Some(&["bounced", "delivered"])), [false, true, true, false]);
        assert_eq!(select(Some(&["receive", "expired"])), [false; 4]);
    }
}
