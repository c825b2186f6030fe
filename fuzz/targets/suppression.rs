//! Lists of addresses that others send, and the file of the list.

use std::convert::Infallible;

use relevo::limits;
use relevo::policy::suppression::base::Base;
use relevo::policy::suppression::canonical::{Compared, Kind, canonical};
use relevo::policy::suppression::entry::{Entry, Reason};
use relevo::policy::suppression::exchange::{Defaults, HEAD, Import, Summary, write_line};
use relevo::policy::suppression::fingerprint::Key;
use relevo::policy::suppression::layout::Head;
use relevo::policy::suppression::sorted::Sorted;
use relevo::time::UnixMillis;

use super::input::{Input, splits};

/// By the first byte: a table, an entry, or a file.
pub fn suppression(data: &[u8]) {
    let mut input = Input(data);
    match input.below(3) {
        0 => table(input),
        1 => entry(input.0),
        _ => file(input),
    }
}

fn import(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Summary) {
    let defaults = Defaults { tenant: None, reason: Reason::Manual, now: UnixMillis(1_764_000_000_000) };
    let (mut import, mut lines) = (Import::new(defaults), Vec::new());
    let mut take = |entry: &Entry<'_>| {
        assert!(entry.is_sound());
        assert_eq!(canonical(entry.address).as_deref(), Ok(entry.address), "one form");
        let mut line = Vec::new();
        write_line(entry, &mut line);
        lines.push(line);
        Ok::<(), Infallible>(())
    };
    pieces.iter().try_for_each(|piece| import.feed(piece, &mut take)).expect("it takes all");
    let summary = import.finish(&mut take).expect("it takes all");
    (lines, summary)
}

/// What is read does not depend on the cut; what is written is read as the same, and is no formula.
fn table(mut input: Input<'_>) {
    let choices = input.take(8);
    let whole = import(&[input.0]);
    for pieces in splits(input.0, choices) {
        assert_eq!(import(&pieces), whole);
    }
    let (lines, summary) = whole;
    let ends = input.0.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() as u64 + 1;
    assert_eq!(lines.len() as u64, summary.entries);
    assert!(summary.entries + summary.wrong + summary.over <= ends);
    assert!(summary.told.len() <= limits::SUPPRESSION_WRONG_TOLD);
    for (line, why) in &summary.told {
        assert!((1..=ends).contains(line) && !why.to_string().contains('\n'));
    }
    for line in &lines {
        assert_eq!(line.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count(), 2, "one line");
        let start = if line[0] == b'"' { line[1] } else { line[0] };
        assert!(!b"=+-@".contains(&start));
        let (again, told) = import(&[HEAD.as_bytes(), line]);
        assert_eq!((again.as_slice(), told.wrong), (std::slice::from_ref(line), 0));
    }
}

/// Bytes of the book are an entry that is written as it was read, or none.
fn entry(data: &[u8]) {
    let Some((entry, length)) = Entry::read(data) else { return };
    let mut again = Vec::new();
    entry.write(&mut again);
    assert_eq!(again, data[..length]);
    let place = entry.place(&Key([1; 16]));
    assert!(place.is_none_or(|place| place.of_domains == (entry.kind() != Kind::Address)));
    if let Ok(form) = canonical(entry.address) {
        let (mut one, mut other) = (Compared::default(), Compared::default());
        assert!(one.set_text(&form) && other.set_text(&canonical(&form).expect("its own form")));
        assert_eq!(one.whole(), other.whole());
    }
}

/// A file is refused, or looked into without harm, whatever its sums are.
fn file(mut input: Input<'_>) {
    let asked = [input.long(), input.long(), 0, u64::MAX];
    let bits = input.below(30) as u32;
    let mut page = input.0.to_vec();
    let _ = Head::read(&page, page.len() as u64);
    if page.len() >= limits::SUPPRESSION_HEAD {
        // Whoever made it knows how sums are made.
        let sum = crc32c::crc32c(&page[16..limits::SUPPRESSION_HEAD]);
        page[12..16].copy_from_slice(&sum.to_le_bytes());
        if let Ok(head) = Head::read(&page, page.len() as u64) {
            assert!(head.mapped() <= head.end && head.book_at <= head.end);
            if let Ok(base) = Base::new(head, Box::new(page.clone())) {
                let found = asked.iter().filter(|one| base.sorted(**one % 2 == 0).has(**one));
                assert!(found.count() <= asked.len());
            }
        }
    }
    let (starts, values) = input.0.split_at(input.0.len() / 2);
    let sorted = Sorted { starts, values, bits };
    for one in asked {
        let place = sorted.place_of(one);
        assert!(!sorted.has(one) || sorted.at(place) == Some(one));
    }
}
