//! What lines of the journal come to: recipients by minute, by what names them and by what became of them; how long deliveries took; and what was said.

use std::collections::{BTreeMap, HashMap};

use super::cells::{Cells, DELIVERED, OUTCOMES, Of, bucket};
use super::ids::Ids;
use crate::control::outlet::event;
use crate::control::outlet::line::{count, decoded, walk};
use crate::limits;
use crate::names::CLASSES;
use crate::time::Civil;

/// What is counted by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Who runs the site; empty: nobody that the shaping files name. So with the others.
    pub provider: String,
    /// Whose mail it was.
    pub tenant: String,
    /// What it was sent for.
    pub campaign: String,
    /// The same, as the API of applications calls it.
    pub category: String,
    /// Whence it went.
    pub source: String,
    /// The place among [`CLASSES`], from 1 on; 0: nothing was refused.
    pub class: usize,
    /// The place of what became of it, as events are called.
    pub outcome: usize,
}

/// What was counted by one key in one minute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// Since 1970.
    pub minute: u64,
    /// By what.
    pub key: Key,
    /// How many.
    pub recipients: u64,
    /// In which buckets deliveries of how many of them are.
    pub times: Vec<(usize, u64)>,
}

impl Counted {
    /// The same as counts of a row.
    pub(super) fn cells(&self, with_times: bool) -> Cells {
        let mut cells = Cells::default();
        let (outcome, class) = (self.key.outcome, self.key.class);
        cells.add(Of::Recipients { outcome, class }, self.recipients);
        let times = self.times.iter().filter(|_| with_times);
        times.for_each(|(bucket, number)| cells.add(Of::Time { bucket: *bucket }, *number));
        cells
    }
}

/// How often something was counted.
#[derive(Debug, Default)]
struct Number {
    recipients: u64,
    /// Deliveries by bucket: within a few seconds there are few.
    times: Vec<(usize, u64)>,
}

/// What somebody said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The words, the last time.
    pub text: String,
    /// Who runs the site, the last time; and whose mail it was then.
    pub provider: String,
    /// Whose.
    pub tenant: String,
    /// What it was sent for.
    pub campaign: String,
    /// When it was said last, seconds since 1970.
    pub at: u64,
    /// How often.
    pub times: u64,
}

/// Texts by class and form.
pub type Texts = BTreeMap<(&'static str, String), Text>;

/// What was counted and is not written yet.
#[derive(Debug, Default)]
pub struct Pending {
    /// By minute and key, as they stand in the lines.
    counts: HashMap<Box<[u8]>, Number, ahash::RandomState>,
    texts: Texts,
    /// The last text of a class as it stands in its line, and its form: the next one is the same most often.
    last: BTreeMap<&'static str, (Vec<u8>, String)>,
    key: Vec<u8>,
    /// What was counted of late.
    known: Ids,
    /// The last time up to its minutes, and which minute that is.
    minute: (Vec<u8>, u64),
}

/// Fields of a line, as JSON.
#[derive(Default)]
struct Fields<'a> {
    time: &'a [u8],
    recipients: &'a [u8],
    provider: &'a [u8],
    tenant: &'a [u8],
    campaign: &'a [u8],
    category: &'a [u8],
    source: &'a [u8],
    delay: &'a [u8],
    class: &'a [u8],
    reply: &'a [u8],
    complaint: &'a [u8],
    event_id: &'a [u8],
    again: bool,
}

impl<'a> Fields<'a> {
    fn read(line: &'a [u8]) -> Option<Fields<'a>> {
        let mut fields = Fields::default();
        walk(line, |name, value| {
            let place = match name {
                b"time" => &mut fields.time,
                b"recipients" => &mut fields.recipients,
                b"provider" => &mut fields.provider,
                b"tenant" => &mut fields.tenant,
                b"campaign" => &mut fields.campaign,
                b"category" => &mut fields.category,
                b"source" => &mut fields.source,
                b"delay_ms" => &mut fields.delay,
                b"class" => &mut fields.class,
                b"reply" => &mut fields.reply,
                b"complaint" => &mut fields.complaint,
                b"event_id" => &mut fields.event_id,
                b"again" => {
                    fields.again = value == b"true";
                    return Some(());
                }
                _ => return Some(()),
            };
            *place = value;
            Some(())
        })?;
        Some(fields)
    }
}

impl Pending {
    /// Counts these lines.
    pub fn read(&mut self, lines: &[u8]) {
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            self.line(&lines[begin..end]);
            begin = end + 1;
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(word) = event(line) else { return };
        let Some(outcome) = OUTCOMES.iter().position(|outcome| outcome.as_bytes() == word) else { return };
        let Some(fields) = Fields::read(line) else { return };
        if fields.complaint == b"\"not-spam\"" {
            return;
        }
        let Some((minute, second)) = self.time(fields.time) else { return };
        // What a start tells again may have been told before the end that was no stop.
        if !self.known.add(fields.event_id, fields.again) {
            return;
        }
        let class = class(fields.class);
        self.key.clear();
        self.key.extend_from_slice(&minute.to_le_bytes());
        let number = class.map_or(0, |(number, _)| number);
        self.key.extend_from_slice(&[outcome as u8, number as u8]);
        let names = [fields.provider, fields.tenant, fields.campaign, fields.category, fields.source];
        for part in names {
            self.key.extend_from_slice(part);
            // In a text of JSON it has an escape.
            self.key.push(0);
        }
        // Who came back is told one by one, and not always by name.
        let recipients = count(fields.recipients).max(1);
        let number = match self.counts.get_mut(&self.key[..]) {
            Some(number) => number,
            None => self.counts.entry(self.key.as_slice().into()).or_default(),
        };
        number.recipients += recipients;
        if outcome == DELIVERED
            && let Some(millis) = millis(fields.delay)
        {
            number.took(bucket(millis), recipients);
        }
        if let Some((_, class)) = class
            && !fields.reply.is_empty()
        {
            self.hear(class, &fields, minute * 60 + second);
        }
    }

    /// Which minute since 1970 a time is in, and its seconds.
    fn time(&mut self, time: &[u8]) -> Option<(u64, u64)> {
        const MINUTE: usize = "\"2026-12-01T08:00".len();
        let (minute, behind) = time.split_at_checked(MINUTE)?;
        if minute != self.minute.0 {
            let text = std::str::from_utf8(&minute[1..]).ok()?;
            self.minute.1 = Civil::time_named(text)?.0 / 60_000;
            self.minute.0.clear();
            self.minute.0.extend_from_slice(minute);
        }
        let second = behind.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())?;
        Some((self.minute.1, second))
    }

    /// Remembers what was said.
    fn hear(&mut self, class: &'static str, fields: &Fields<'_>, at: u64) {
        if let Some((known, form)) = self.last.get(class)
            && known == fields.reply
            && let Some(text) = self.texts.get_mut(&(class, form.clone()))
        {
            (text.at, text.times) = (at, text.times + 1);
            return;
        }
        let Some(said) = decoded(fields.reply) else { return };
        let form = form(&said);
        self.last.insert(class, (fields.reply.to_vec(), form.clone()));
        let fresh = Text {
            text: cut(&said, limits::ANALYTICS_TEXT),
            provider: name(fields.provider),
            tenant: name(fields.tenant),
            campaign: name(fields.campaign),
            at,
            times: 1,
        };
        add(&mut self.texts, (class, form), fresh);
    }

    /// Whether it is to be written soon.
    pub fn is_full(&self) -> bool {
        self.counts.len() >= limits::ANALYTICS_PENDING
    }

    /// Whether there is nothing.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// All that was counted, in order.
    pub fn counts(&self) -> Vec<Counted> {
        let mut all: Vec<_> = self.counts.iter().filter_map(|(key, number)| one(key, number)).collect();
        all.sort_unstable();
        all
    }

    /// And what was said.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Ids of events that were counted before this process was.
    pub fn know(&mut self, ids: Vec<u64>) {
        self.known.know(ids);
    }

    /// Ids of what was counted since it was written last.
    pub fn news(&self) -> Vec<u64> {
        self.known.news()
    }

    /// It is written.
    pub fn clear(&mut self) {
        self.known.written();
        self.counts.clear();
        self.texts.clear();
        self.last.clear();
    }

    /// Recipients that were counted.
    pub fn recipients(&self) -> u64 {
        self.counts.values().map(|number| number.recipients).sum()
    }
}

/// Adds a text to those of its form; where there are too many of its class the oldest goes.
fn add(texts: &mut Texts, of: (&'static str, String), fresh: Text) {
    if let Some(known) = texts.get_mut(&of) {
        *known = Text { times: known.times + fresh.times, ..fresh };
        return;
    }
    let class = of.0;
    let same = || (class, String::new())..;
    let of_class = |texts: &Texts| texts.range(same()).take_while(|((other, _), _)| *other == class).count();
    if of_class(texts) >= limits::ANALYTICS_TEXTS_PENDING {
        let all = texts.range(same()).take_while(|((other, _), _)| *other == class);
        if let Some(oldest) = all.min_by_key(|(_, text)| text.at).map(|(of, _)| of.clone()) {
            texts.remove(&oldest);
        }
    }
    texts.insert(of, fresh);
}

impl Number {
    fn took(&mut self, bucket: usize, recipients: u64) {
        match self.times.iter_mut().find(|(known, _)| *known == bucket) {
            Some((_, number)) => *number += recipients,
            None => self.times.push((bucket, recipients)),
        }
    }
}

/// A key of the table, read.
fn one(key: &[u8], number: &Number) -> Option<Counted> {
    let (minute, rest) = key.split_first_chunk::<8>()?;
    let (&[outcome, class], names) = rest.split_first_chunk::<2>()?;
    let mut names = names.split(|byte| *byte == 0).map(name);
    let key = Key {
        provider: names.next()?,
        tenant: names.next()?,
        campaign: names.next()?,
        category: names.next()?,
        source: names.next()?,
        class: class.into(),
        outcome: outcome.into(),
    };
    let mut times = number.times.clone();
    times.sort_unstable();
    Some(Counted { minute: u64::from_le_bytes(*minute), key, recipients: number.recipients, times })
}

/// A number of milliseconds.
fn millis(value: &[u8]) -> Option<u64> {
    let step = |sum: u64, digit: &u8| {
        digit.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, step) }
}

/// The place of a class, from 1 on, and its word.
fn class(value: &[u8]) -> Option<(usize, &'static str)> {
    let word = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (1..).zip(CLASSES).find(|(_, class)| class.as_bytes() == word)
}

/// A name that stands in a line as JSON.
fn name(value: &[u8]) -> String {
    decoded(value).map_or_else(String::new, |name| cut(&name, limits::ANALYTICS_NAME))
}

fn cut(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// What texts have in common that say the same of different mail: words with numbers in them and addresses are left open, codes are not.
fn form(text: &str) -> String {
    let mut form = String::with_capacity(limits::ANALYTICS_FORM);
    for word in text.split_ascii_whitespace() {
        if form.len() >= limits::ANALYTICS_FORM {
            break;
        }
        if !form.is_empty() {
            form.push(' ');
        }
        if word.contains('@') {
            form.push('@');
        } else if word.bytes().any(|byte| byte.is_ascii_digit()) && !is_code(word) {
            form.push('#');
        } else {
            form.extend(word.chars().take(limits::ANALYTICS_FORM).map(|letter| letter.to_ascii_lowercase()));
        }
    }
    cut(&form, limits::ANALYTICS_FORM)
}

/// `421`, `4.7.28`, `550-5.1.1`
fn is_code(word: &str) -> bool {
    let code = |part: &str| {
        part.len() <= "5.123.123".len()
            && part.starts_with(['2', '4', '5'])
            && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    word.split('-').all(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, time: &str, more: &str) -> String {
        format!(
            "{{\"time\":\"{time}\",\"event\":\"{event}\",\"event_id\":\"A\",\"id\":\"A\",\"sender\":\"s@z\"{more}}}\n"
        )
    }

    #[test]
    fn recipients_are_counted_by_what_became_of_them() {
        let to = |more: &str| format!(",\"recipients\":[\"a@y\",\"b,]@y\"]{more}");
        let lines = [
            line("received", "2026-11-30T05:00:01.000Z", &to("")),
            line(
                "delivered",
                "2026-11-30T05:00:01.000Z",
                &to(",\"provider\":\"goo\\u0067le\",\"tenant\":\"shop\",\"source\":\"ip1\",\"delay_ms\":7"),
            ),
            line(
                "delivered",
                "2026-11-30T05:00:59.999Z",
                &to(",\"provider\":\"google\",\"tenant\":\"shop\",\"source\":\"ip1\",\"delay_ms\":1000"),
            ),
            line("delivered", "2026-11-30T05:01:00.000Z", &to("")),
            line(
                "deferred",
                "2026-11-30T05:01:00.000Z",
                &to(",\"reply\":\"421 slow 77\",\"class\":\"throttled\""),
            ),
            line(
                "deferred",
                "2026-11-30T05:01:02.000Z",
                &to(",\"reply\":\"421 slow 78\",\"class\":\"throttled\""),
            ),
            line("feedback", "2026-11-30T05:01:00.000Z", ",\"complaint\":\"abuse\",\"campaign\":\"c\""),
            line("feedback", "2026-11-30T05:01:00.000Z", ",\"complaint\":\"not-spam\",\"campaign\":\"c\""),
            line("bounced", "never", &to("")),
            "torn\n{\"event\":\"bounced\",\n".to_owned(),
        ]
        .concat();
        let mut pending = Pending::default();
        pending.read(lines.as_bytes());
        let minute = Civil::time_named("2026-11-30T05:00:00Z").unwrap().0 / 60_000;
        let mut sums = BTreeMap::new();
        let mut times = Vec::new();
        for one in pending.counts() {
            *sums.entry((one.minute - minute, one.key)).or_insert(0) += one.recipients;
            times.extend(one.times);
        }
        let place = |outcome| OUTCOMES.iter().position(|other| *other == outcome).unwrap();
        let key = |names: [&str; 3], class: &str, outcome| Key {
            provider: names[0].to_owned(),
            tenant: names[1].to_owned(),
            campaign: names[2].to_owned(),
            category: String::new(),
            source: if names[0].is_empty() { "" } else { "ip1" }.to_owned(),
            class: CLASSES.iter().position(|other| *other == class).map_or(0, |place| place + 1),
            outcome: place(outcome),
        };
        let wanted = [
            ((0, key(["", "", ""], "", "received")), 2),
            ((0, key(["google", "shop", ""], "", "delivered")), 4),
            ((1, key(["", "", ""], "", "delivered")), 2),
            ((1, key(["", "", ""], "throttled", "deferred")), 4),
            ((1, key(["", "", "c"], "", "feedback")), 1),
        ];
        assert_eq!(sums, wanted.into_iter().collect());
        assert_eq!(times, [(7, 2), (bucket(1000), 2)]);
        assert_eq!(pending.recipients(), 13);
        let [(of, text)] = pending.texts().iter().collect::<Vec<_>>()[..] else { panic!("one text") };
        assert_eq!((of.0, &*of.1, &*text.text), ("throttled", "421 slow #", "421 slow 78"));
        assert_eq!((text.times, text.at), (2, (minute + 1) * 60 + 2));
        pending.clear();
        assert!(pending.is_empty() && pending.texts().is_empty());
    }

    #[test]
    fn what_is_told_again_counts_once() {
        let mut pending = Pending::default();
        let one = |id: &str, again: &str| {
            format!(
                "{{\"time\":\"2026-11-30T05:00:01.000Z\",\"event\":\"delivered\",\"event_id\":\"{id}\",\"recipients\":[\"a@y\"]{again}}}\n"
            )
        };
        const AGAIN: &str = ",\"again\":true";
        pending.read((one("a", "") + &one("b", "")).as_bytes());
        let news = pending.news();
        pending.clear();
        assert!(news.len() == 2 && pending.news().is_empty());
        // Another process knows what this one has written.
        let mut later = Pending::default();
        later.know(news);
        assert!(later.news().is_empty());
        later.read(
            (one("b", AGAIN) + &one("c", AGAIN) + &one("d", "") + &one("d", AGAIN) + &one("c", AGAIN))
                .as_bytes(),
        );
        assert_eq!((later.recipients(), later.news().len()), (2, 2));
        for number in 0..limits::ANALYTICS_REPEATED as u64 {
            later.known.add(&number.to_le_bytes(), false);
        }
        assert_eq!(later.news().len(), limits::ANALYTICS_REPEATED);
    }

    #[test]
    fn texts_of_one_kind_are_one() {
        for (text, wanted) in [
            ("550 5.1.1 <ada@example.org>: no such user x1-77", "550 5.1.1 @ no such user #"),
            (
                "550-5.7.26 Mail from  192.0.2.1 is\nunauthenticated",
                "550-5.7.26 mail from # is unauthenticated",
            ),
            ("", ""),
        ] {
            assert_eq!(form(text), wanted);
        }
        assert!(form(&"\u{fc}x ".repeat(500)).len() <= limits::ANALYTICS_FORM);
        let mut texts = Texts::new();
        for at in 0..limits::ANALYTICS_TEXTS_PENDING as u64 + 3 {
            add(&mut texts, ("spam", at.to_string()), Text { at, times: 1, ..Text::default() });
        }
        assert_eq!(texts.len(), limits::ANALYTICS_TEXTS_PENDING);
        assert!(
            !texts.contains_key(&("spam", "2".to_owned())) && texts.contains_key(&("spam", "3".to_owned()))
        );
    }
}
