//! What a log is given of the journal: which events, in which format, with which fields, and whose addresses are unreadable.
//!
//! A shape is a function of the lines alone: after a kill what a file has is compared with what is made again of the journal
//! (`control::journal`), to the byte. An event may be several lines, as many as it has recipients, or none.

mod hop;
mod kumo;
pub mod line;
pub(in crate::control) mod own;
pub mod pack;
pub mod pmta;
mod redact;
mod select;

use std::io;
use std::path::Path;

use crate::config::{LogConfig, LogFormat, Redacted};

pub use kumo::Fields;
use line::Line;
pub use redact::Redact;
pub(in crate::control) use redact::{key, names_recipient};
use select::Select;
pub(in crate::control) use select::event;

/// How the lines of a log are made of those of the journal.
#[derive(Clone)]
pub struct Shape {
    select: Select,
    form: Form,
    redact: Option<Redact>,
}

#[derive(Clone)]
enum Form {
    /// Events as they are, or these fields of them.
    Events(Option<Vec<&'static str>>),
    Pmta(pmta::Columns),
    Kumo(Fields),
}

/// What was made of some lines.
#[derive(Debug, Default)]
pub(in crate::control) struct Made {
    pub bytes: Vec<u8>,
    /// So many bytes of the lines, whole ones, are so many bytes of what was made; ascending in both.
    ends: Vec<(usize, usize)>,
}

/// Fields by which an event is known: they always stay.
const KEPT: [&str; 3] = ["time", "event", "event_id"];

impl Shape {
    /// Events as they are: those with these names; None is all of them.
    pub fn plain(events: Option<Vec<&'static str>>) -> Shape {
        Shape { select: Select::new(events), form: Form::Events(None), redact: None }
    }

    /// In a format, with these fields.
    pub fn new(
        events: Option<Vec<&'static str>>,
        (format, fields): (LogFormat, Option<Vec<&'static str>>),
        redact: Option<Redact>,
    ) -> Shape {
        let form = match format {
            LogFormat::Json => Form::Events(fields),
            LogFormat::PmtaCsv => Form::Pmta(pmta::Columns::new(fields)),
            LogFormat::KumoJson => Form::Kumo(Fields::new(fields)),
        };
        Shape { select: Select::new(events), form, redact }
    }

    /// As a log's configuration says. What makes addresses unreadable lies in the data directory.
    pub(in crate::control) fn of_log(log: &LogConfig, data_dir: &Path) -> io::Result<Shape> {
        let has = |what| log.redact.contains(&what);
        let redact = match log.redact.is_empty() {
            true => None,
            false => Some(Redact::new(&key(data_dir)?, has(Redacted::Recipient), has(Redacted::Sender))),
        };
        Ok(Shape::new(log.events.clone(), (log.format, log.fields.clone()), redact))
    }

    /// What a file begins with.
    pub(in crate::control) fn head(&self) -> Vec<u8> {
        match &self.form {
            Form::Pmta(columns) => columns.head(),
            Form::Events(_) | Form::Kumo(_) => Vec::new(),
        }
    }

    /// What is made of these lines; None: they are given as they are.
    pub(in crate::control) fn of(&self, lines: &[u8]) -> Option<Made> {
        if self.select.is_all() && self.redact.is_none() && matches!(self.form, Form::Events(None)) {
            return None;
        }
        let mut made = Made::default();
        let mut read = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if self.select.wants(line) {
                self.write(line, &mut made.bytes);
            }
            read += line.len();
            match made.ends.last_mut() {
                Some((lines, bytes)) if *bytes == made.bytes.len() => *lines = read,
                _ => made.ends.push((read, made.bytes.len())),
            }
        }
        Some(made)
    }

    /// The same of one line, for who wants no more.
    pub fn write(&self, line: &[u8], out: &mut Vec<u8>) {
        let as_it_is = self.redact.is_none() && matches!(self.form, Form::Events(None));
        if as_it_is {
            return out.extend_from_slice(line);
        }
        // What is no event says nothing, and may name anybody.
        let Some(mut event) = Line::read(line) else { return };
        if let Some(redact) = &self.redact {
            redact.apply(&mut event);
        }
        match &self.form {
            Form::Events(fields) => events(&event, fields.as_deref(), out),
            Form::Pmta(columns) => columns.write(&event, out),
            Form::Kumo(fields) => fields.write(&event, out),
        }
    }
}

impl Made {
    /// How much of the lines and of what was made is behind the last event of which all is within so many bytes of it: no event more than needed
    /// where that is nothing.
    pub fn whole(&self, written: usize) -> (usize, usize) {
        let behind = self.ends.partition_point(|(_, bytes)| *bytes <= written);
        behind.checked_sub(1).map_or((0, 0), |last| self.ends[last])
    }

    /// Where the event ends in which, or at whose end, this is.
    pub fn end(&self, at: usize) -> usize {
        let place = self.ends.partition_point(|(_, bytes)| *bytes < at);
        self.ends.get(place).map_or(self.bytes.len(), |(_, bytes)| *bytes)
    }
}

/// An event again, with these fields of it.
fn events(event: &Line<'_>, fields: Option<&[&'static str]>, out: &mut Vec<u8>) {
    let stays = |name: &str| fields.is_none_or(|fields| KEPT.contains(&name) || fields.contains(&name));
    out.push(b'{');
    let mut is_first = true;
    for (name, value) in event.fields().filter(|(name, _)| stays(name)) {
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        line::push_text(name, out);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 6] = [
        "{\"time\":\"2026-11-30T05:00:00.123Z\",\"event\":\"received\",\"event_id\":\"A-r0.2\",\"id\":\"A\",\"sender\":\"s@z\",\"recipients\":[\"a@y\",\"b@y\"],\"size\":9}\n",
        "{\"time\":\"2026-11-30T05:00:00.124Z\",\"event\":\"rejected\",\"event_id\":\"1.0.0\",\"client\":\"192.0.2.1:2\",\"reply\":\"550 no <a@y>\"}\n",
        "{\"time\":\"2026-11-30T05:00:00.125Z\",\"event\":\"delivered\",\"event_id\":\"A-d0.2\",\"id\":\"A\",\"sender\":\"s@z\",\"recipients\":[\"a@y\",\"b@y\",\"c@y\"],\"size\":9}\n",
        "{\"time\":\"2026-11-30T05:00:00.125Z\",\"event\":\"admin\",\"event_id\":\"1.0.1\",\"action\":\"retry\",\"filter\":\"recipient=a@y\"}\n",
        "{\"time\":\"2026-11-30T05:00:00.126Z\",\"event\":\"bounced\",\"event_id\":\"B-b0.1\",\"id\":\"B\",\"sender\":\"\",\"recipients\":[\"a@y\"],\"reply\":\"550 a@y?\"}\n",
        "{\"time\":\"2026-11-30T05:00:00.126Z\",\"event\":\"admin\",\"event_id\":\"1.0.2\",\"action\":\"reload\"}\n",
    ];

    fn shapes() -> Vec<Shape> {
        let redact = || Some(Redact::new(b"key", true, true));
        vec![
            Shape::plain(Some(vec!["received"])),
            Shape::plain(Some(vec!["bounced", "delivered"])),
            Shape::plain(Some(vec!["expired"])),
            Shape::new(None, (LogFormat::Json, Some(vec!["recipients"])), None),
            Shape::new(None, (LogFormat::Json, None), redact()),
            Shape::new(None, (LogFormat::PmtaCsv, None), None),
            Shape::new(Some(vec!["delivered", "bounced"]), (LogFormat::PmtaCsv, None), redact()),
            Shape::new(None, (LogFormat::KumoJson, None), None),
        ]
    }

    /// Wherever a file was cut, the place behind its last whole event is one from which exactly the rest is made.
    #[test]
    fn from_every_cut_the_rest_is_made_again() {
        let all = LINES.concat();
        for (number, shape) in shapes().iter().enumerate() {
            let made = shape.of(all.as_bytes()).unwrap();
            for at in 0..=made.bytes.len() {
                let (lines, bytes) = made.whole(at);
                assert!(bytes <= at, "{number} {at}");
                let rest = shape.of(&all.as_bytes()[lines..]).unwrap();
                assert_eq!([&made.bytes[..bytes], &rest.bytes].concat(), made.bytes, "{number} {at}");
                let end = made.end(at);
                assert!(end >= at && made.whole(end).1 == end, "{number} {at} {end}");
                assert!(lines == 0 || all.as_bytes()[lines - 1] == b'\n');
            }
            assert_eq!(
                made.whole(made.bytes.len()).0,
                all.len(),
                "what it does not want is behind it as well"
            );
        }
        assert!(Shape::plain(None).of(all.as_bytes()).is_none());
    }

    #[test]
    fn redacted_lines_name_nobody() {
        let all = LINES.concat();
        for shape in shapes().iter().filter(|shape| shape.redact.is_some()) {
            let made = String::from_utf8(shape.of(all.as_bytes()).unwrap().bytes).unwrap();
            for address in ["a@y", "b@y", "c@y", "s@z"] {
                assert!(
                    !made.contains(&format!("\"{address}")) && !made.contains(&format!(" {address}")),
                    "{made}"
                );
            }
        }
    }

    #[test]
    fn fields_are_those_that_are_named() {
        let shape = Shape::new(None, (LogFormat::Json, Some(vec!["recipients"])), None);
        let made = shape.of(LINES[0].as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(made.bytes).unwrap(),
            "{\"time\":\"2026-11-30T05:00:00.123Z\",\"event\":\"received\",\"event_id\":\"A-r0.2\",\"recipients\":[\"a@y\",\"b@y\"]}\n"
        );
    }
}
