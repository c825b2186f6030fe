//! Lines of the journal, as they are counted.

use relevo::control::analytics::cells::{BUCKETS, OUTCOMES};
use relevo::control::analytics::roll::{Counted, Pending};
use relevo::limits;
use relevo::names::CLASSES;

use super::input::Input;

/// Nothing panics; counts are the same wherever lines are cut apart, and their sum is that of the recipients; texts and names keep their bounds; what was
/// counted is not counted again.
pub fn rolled(data: &[u8]) {
    let mut input = Input(data);
    let at = input.word();
    let lines = input.0;
    let mut whole = Pending::default();
    whole.read(lines);
    let cut = usize::from(at) % (lines.len() + 1);
    let cut = lines[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut parts = Pending::default();
    parts.read(&lines[..cut]);
    parts.read(&lines[cut..]);
    let counts = whole.counts();
    assert_eq!(counts, parts.counts());
    assert!(whole.texts() == parts.texts());
    assert_eq!(counts.iter().map(|one| one.recipients).sum::<u64>(), whole.recipients());
    for Counted { key, recipients, times, .. } in &counts {
        assert!(*recipients > 0 && key.outcome < OUTCOMES.len() && key.class <= CLASSES.len());
        let names = [&key.provider, &key.tenant, &key.campaign, &key.category, &key.source];
        assert!(names.iter().all(|name| name.len() <= limits::ANALYTICS_NAME));
        assert!(times.iter().all(|(bucket, _)| *bucket < BUCKETS));
        assert!(times.iter().map(|(_, number)| number).sum::<u64>() <= *recipients);
    }
    for ((class, form), text) in whole.texts() {
        assert!(!class.is_empty() && form.len() <= limits::ANALYTICS_FORM);
        assert!(text.text.len() <= limits::ANALYTICS_TEXT && text.times > 0);
    }
    // A process that knows what this one counted, and is told all of it again.
    let again: Vec<u8> = lines
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"}\n"))
        .flat_map(|line| [&line[..line.len() - 2], b",\"again\":true}\n"].concat())
        .collect();
    let mut known = Pending::default();
    known.read(&again);
    let news = known.news();
    if news.len() < limits::ANALYTICS_REPEATED {
        let mut later = Pending::default();
        later.know(news);
        later.read(&again);
        assert_eq!(later.recipients(), 0);
    }
}
