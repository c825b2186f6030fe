//! Lines of the log, whatever stands in them, in every shape that a log may have.

use relevo::config::LogFormat;
use relevo::control::outlet::line::Line;
use relevo::control::outlet::{Redact, Shape};

/// Nothing panics; a table has as many fields in each line as in its header and no formula, records are lines of text, and what is made does not
/// depend on when it is made.
pub fn lines(data: &[u8]) {
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if let Some(read) = Line::read(line) {
            for (name, value) in read.fields() {
                assert!(!value.is_empty());
                let _ = (read.text(name), read.number(name), read.time(name), read.each(name));
            }
        }
        shapes(line);
    }
}

fn shapes(line: &[u8]) {
    let make = |format, key: Option<&[u8]>| {
        let shape = Shape::new(None, (format, None), key.map(|key| Redact::new(key, true, true)));
        let [mut one, mut other] = [Vec::new(), Vec::new()];
        shape.write(line, &mut one);
        shape.write(line, &mut other);
        assert_eq!(one, other);
        one
    };
    for key in [None, Some(&b"key"[..])] {
        let table = make(LogFormat::PmtaCsv, key);
        for row in table.split_inclusive(|byte| *byte == b'\n') {
            assert_row(row.strip_suffix(b"\n").expect("a line ends"));
        }
        let records = make(LogFormat::KumoJson, key);
        assert!(records.is_empty() || records.ends_with(b"}\n"));
    }
    let redacted = make(LogFormat::Json, Some(b"key"));
    if !redacted.is_empty() {
        // What is unreadable is an event still, and unreadable again is no other person's.
        assert!(Line::read(&redacted).is_some(), "{}", String::from_utf8_lossy(&redacted));
    }
}

/// As many fields as PowerMTA's columns, by RFC 4180; none begins as a formula does.
fn assert_row(row: &[u8]) {
    let (mut fields, mut at) = (0, 0);
    loop {
        fields += 1;
        let begins = if row.get(at) == Some(&b'"') {
            let begins = row.get(at + 1).copied();
            at += 1;
            loop {
                match (row.get(at), row.get(at + 1)) {
                    (Some(b'"'), Some(b'"')) => at += 2,
                    (Some(b'"'), _) => break,
                    (Some(_), _) => at += 1,
                    (None, _) => panic!("a quote is open"),
                }
            }
            at += 1;
            begins
        } else {
            let begins = row.get(at).copied().filter(|byte| *byte != b',');
            while row.get(at).is_some_and(|byte| *byte != b',') {
                assert_ne!(row[at], b'"');
                at += 1;
            }
            begins
        };
        assert!(!matches!(begins, Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r')));
        match row.get(at) {
            Some(b',') => at += 1,
            None => break,
            Some(other) => panic!("{other} behind a field"),
        }
    }
    assert_eq!(fields, relevo::names::columns::PMTA.len());
}
