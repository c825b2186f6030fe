//! What a message is to be treated by beside its envelope: whose it is, which campaign it belongs to, how urgent it is. Set by rules and by
//! instructions of trusted clients, kept in the spool, told in every event.
//!
//! One type for all who need it: [`Parameters`] owns its texts in an envelope and borrows them in a spool record.

use std::fmt;

use serde_json::Value;

use crate::config::retry::Schedule;
use crate::limits;
use crate::mail::notify::Reports;
use crate::mail::origin;
use crate::mail::release::SendAt;
use crate::time::UnixMillis;

/// Which parameter. The numbers are those of the spool's records and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Key {
    /// Whose mail it is.
    Tenant = 1,
    /// What it is sent for; campaigns of a tenant share its part evenly.
    Campaign = 2,
    /// What it is filed under.
    Category = 3,
    /// The sources it leaves by.
    Pool = 4,
    /// `high`, `normal` or `low`.
    Priority = 5,
    /// The sender's own name for it.
    Envid = 6,
    /// A JSON object that comes back in every event.
    Metadata = 7,
    /// When it is tried again: a schedule, `10m 30m 1h`.
    Retry = 8,
    /// Before which time it does not go: a [`SendAt`], and once the message is accepted a time.
    SendAt = 9,
    /// What it was called first, at the node that handed it over: [`origin`].
    Origin = 10,
}

impl Key {
    /// All of them, by number.
    pub const ALL: [Key; 10] = [
        Key::Tenant,
        Key::Campaign,
        Key::Category,
        Key::Pool,
        Key::Priority,
        Key::Envid,
        Key::Metadata,
        Key::Retry,
        Key::SendAt,
        Key::Origin,
    ];

    /// As rules, events and `relevo spool show` call it.
    pub fn name(self) -> &'static str {
        match self {
            Key::Tenant => "tenant",
            Key::Campaign => "campaign",
            Key::Category => "category",
            Key::Pool => "pool",
            Key::Priority => "priority",
            Key::Envid => "envid",
            Key::Metadata => "metadata",
            Key::Retry => "retry",
            Key::SendAt => "send_at",
            Key::Origin => "origin",
        }
    }

    fn of(number: u8) -> Option<Key> {
        Key::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    fn place(self) -> usize {
        self as usize - 1
    }

    /// Whether events tell it: what says whose mail it is and by what it is known again.
    fn is_told(self) -> bool {
        self != Key::Retry
    }

    /// Whether a version that does not know it must not take the message for one without it.
    pub fn is_critical(self) -> bool {
        self == Key::SendAt
    }

    /// Bytes that its value may have.
    pub fn most(self) -> usize {
        match self {
            Key::Metadata => limits::METADATA_MAX,
            Key::Origin => limits::ORIGIN_MAX,
            _ => limits::PARAMETER_MAX,
        }
    }
}

/// How urgent mail is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all else.
    High,
    /// As it comes.
    #[default]
    Normal,
    /// When there is nothing else.
    Low,
}

impl Priority {
    /// The words for it.
    pub const WORDS: [(&'static str, Priority); 3] =
        [("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)];

    fn of(word: &str) -> Option<Priority> {
        Priority::WORDS.iter().find(|(known, _)| *known == word).map(|(_, priority)| *priority)
    }
}

/// Why a value cannot be a parameter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is nothing.
    Empty,
    /// It has more than [`Key::most`] bytes.
    TooLong(usize),
    /// A control character is in it.
    Control,
    /// It is no priority.
    NoPriority,
    /// It is no JSON object.
    NoObject,
    /// It is no schedule of retries.
    NoSchedule,
    /// It is no time to be sent at.
    NoTime,
    /// It is no name of a node and id.
    NoOrigin,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Empty => write!(formatter, "is empty"),
            Problem::TooLong(most) => write!(formatter, "is longer than {most} bytes"),
            Problem::Control => write!(formatter, "has a control character in it"),
            Problem::NoPriority => write!(formatter, "must be high, normal or low"),
            Problem::NoTime => write!(
                formatter,
                "must be a time as in 2026-12-01T08:00:00Z, or a wait as in +2h (at most 366d)"
            ),
            Problem::NoOrigin => write!(formatter, "must be a node and an id there"),
            Problem::NoSchedule => write!(formatter, "must be waits, as in 10m 30m 1h"),
            Problem::NoObject => {
                let most = limits::METADATA_DEPTH_MAX;
                write!(formatter, "must be a JSON object, sound and at most {most} levels deep")
            }
        }
    }
}

/// Parameters by name. Without any it needs no memory.
pub type NamedParameters<'a> = Vec<(&'a str, &'a str)>;

/// The parameters of a message, or those that some of its recipients have in place of the message's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters<Text = Box<str>> {
    /// By [`Key::place`].
    values: [Option<Text>; Key::ALL.len()],
}

impl<Text> Default for Parameters<Text> {
    fn default() -> Parameters<Text> {
        Parameters { values: [const { None }; Key::ALL.len()] }
    }
}

impl<Text> Parameters<Text> {
    /// Sets one to what [`check`] found right.
    pub fn put(&mut self, key: Key, value: Text) {
        self.values[key.place()] = Some(value);
    }

    /// Takes one out.
    pub fn remove(&mut self, key: Key) {
        self.values[key.place()] = None;
    }
}

impl<Text: AsRef<str>> Parameters<Text> {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// A value.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.values[key.place()].as_ref().map(AsRef::as_ref)
    }

    /// The priority, also where none is set.
    pub fn priority(&self) -> Priority {
        self.get(Key::Priority).and_then(Priority::of).unwrap_or_default()
    }

    /// The time before which a message that was accepted does not go.
    pub fn release(&self) -> Option<UnixMillis> {
        match SendAt::parse(self.get(Key::SendAt)?)? {
            SendAt::At(at) => Some(at),
            SendAt::After(_) => None,
        }
    }

    /// Those that are set, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &str)> {
        Key::ALL.into_iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    /// As events tell them: name and text.
    pub fn named(&self) -> NamedParameters<'_> {
        self.borrowed().to_named()
    }

    /// The same, borrowed.
    pub fn borrowed(&self) -> Parameters<&str> {
        Parameters { values: Key::ALL.map(|key| self.get(key)) }
    }

    /// Bytes of what [`Parameters::write`] writes.
    pub fn length(&self) -> usize {
        self.iter().map(|(_, value)| FIELD + value.len()).sum()
    }

    /// As they are in a record, number, length, text of each: those that are critical, or the others.
    pub fn write(&self, critical: bool, out: &mut Vec<u8>) {
        for (key, value) in self.iter().filter(|(key, _)| key.is_critical() == critical) {
            let length = u16::try_from(value.len()).expect("parameters are bounded");
            out.push(key as u8);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    }
}

/// Bytes of a parameter in a record beside its text.
const FIELD: usize = 3;
const _: () = assert!(limits::METADATA_MAX <= u16::MAX as usize);
const _: () = assert!(limits::PARAMETER_MAX <= u16::MAX as usize);

impl<'a> Parameters<&'a str> {
    /// Reads what [`Parameters::write`] wrote; keys of later versions are passed over. None: it is cut off, or no text.
    pub fn read(mut bytes: &'a [u8]) -> Option<Parameters<&'a str>> {
        let mut found = Parameters::default();
        while let [number, low, high, rest @ ..] = bytes {
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
            if let Some(key) = Key::of(*number) {
                found.values[key.place()] = Some(std::str::from_utf8(value).ok()?);
            }
            bytes = rest;
        }
        bytes.is_empty().then_some(found)
    }

    /// Whether all that stands there is of keys that this version knows.
    pub fn knows(mut bytes: &[u8]) -> bool {
        while let [number, low, high, rest @ ..] = bytes {
            if Key::of(*number).is_none() {
                return false;
            }
            bytes = rest.get(usize::from(u16::from_le_bytes([*low, *high]))..).unwrap_or_default();
        }
        true
    }

    /// As events tell them, for as long as what they were read from lives.
    pub fn to_named(self) -> NamedParameters<'a> {
        let told = Key::ALL.iter().filter(|key| key.is_told());
        // A pool without a name stands in place of the message's where a recipient has none.
        told.filter_map(|key| Some((key.name(), self.value(*key).filter(|value| !value.is_empty())?)))
            .collect()
    }

    /// A value, which lives as long as what it was read from.
    pub fn value(self, key: Key) -> Option<&'a str> {
        self.values[key.place()]
    }

    /// These with `own` in place of what that sets: what holds for a recipient that has some of its own.
    pub fn with(mut self, own: Parameters<&'a str>) -> Parameters<&'a str> {
        for (value, own) in self.values.iter_mut().zip(own.values) {
            *value = own.or(*value);
        }
        self
    }

    /// Of these, what differs from the message's.
    pub fn unlike(mut self, message: Parameters<&str>) -> Parameters<&'a str> {
        for (value, message) in self.values.iter_mut().zip(message.values) {
            *value = value.filter(|value| Some(*value) != message);
        }
        self
    }

    /// A copy that owns its texts.
    pub fn to_owned(self) -> Parameters {
        Parameters { values: self.values.map(|value| value.map(Into::into)) }
    }
}

impl Parameters {
    /// Sets one, in place of what it was.
    pub fn set(&mut self, key: Key, value: &str) -> Result<(), Problem> {
        check(key, value)?;
        self.put(key, value.into());
        Ok(())
    }

    /// Bytes of the texts in memory.
    pub fn held(&self) -> usize {
        self.iter().map(|(_, value)| limits::ALLOCATED + value.len()).sum()
    }
}

/// Whether a value can be a parameter's.
pub fn check(key: Key, value: &str) -> Result<(), Problem> {
    if value.is_empty() {
        return Err(Problem::Empty);
    }
    if value.len() > key.most() {
        return Err(Problem::TooLong(key.most()));
    }
    if value.chars().any(char::is_control) {
        return Err(Problem::Control);
    }
    match key {
        Key::Priority if Priority::of(value).is_none() => Err(Problem::NoPriority),
        Key::Metadata if !is_object(value) => Err(Problem::NoObject),
        Key::Retry if Schedule::parse(value).is_none() => Err(Problem::NoSchedule),
        Key::SendAt if SendAt::parse(value).is_none() => Err(Problem::NoTime),
        Key::Origin if !origin::is_one(value) => Err(Problem::NoOrigin),
        _ => Ok(()),
    }
}

/// Whether it is one JSON object and nothing else, which any reader takes: it stands in each event as it is. So it is read whole: to pass over
/// it would let half of a surrogate pair, a number without end and any depth go by (RFC 8259 sections 6, 8.2 and 9).
fn is_object(text: &str) -> bool {
    let read = serde_json::from_str::<Value>(text);
    read.is_ok_and(|value| value.is_object() && is_flat(&value, limits::METADATA_DEPTH_MAX))
}

/// Whether no more than so many objects and lists are inside each other.
fn is_flat(value: &Value, levels: usize) -> bool {
    let inside = |value: &Value| levels.checked_sub(1).is_some_and(|levels| is_flat(value, levels));
    match value {
        Value::Object(members) => levels > 0 && members.values().all(inside),
        Value::Array(elements) => levels > 0 && elements.iter().all(inside),
        _ => true,
    }
}

/// What an envelope has of them. Nearly all mail has none, and pays one word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageParameters {
    /// Of the message.
    pub message: Parameters,
    /// What recipients have in place of it; [`Recipient::parameters`](super::envelope::Recipient::parameters) says who has which.
    pub recipients: Vec<Parameters>,
    /// What its sender wants to be told of it.
    pub reports: Reports,
}

impl MessageParameters {
    /// What holds for recipients that have these of their own; 0: none.
    pub fn of(&self, own: u16) -> Parameters<&str> {
        let message = self.message.borrowed();
        let own = usize::from(own).checked_sub(1).and_then(|place| self.recipients.get(place));
        own.map_or(message, |own| message.with(own.borrowed()))
    }

    /// The same for a message to one alone, before anybody has any of his own; `original` is the number of his.
    pub fn of_one(&self, original: u16) -> MessageParameters {
        let originals = self.reports.original(original).map(Box::from).into_iter().collect();
        let reports = Reports { ret: self.reports.ret, originals };
        MessageParameters { message: self.message.clone(), recipients: Vec::new(), reports }
    }

    /// The number of these parameters, which are kept once. None: there are too many already.
    pub fn number(&mut self, own: Parameters<&str>) -> Option<u16> {
        if own.is_empty() {
            return Some(0);
        }
        let found = self.recipients.iter().position(|known| known.borrowed() == own);
        let place = match found {
            Some(place) => place,
            None => {
                let sets: usize =
                    self.recipients.iter().map(Parameters::length).sum::<usize>() + own.length();
                let message = self.message.length();
                // What is told of all: of each set, and of those who have none.
                let told = sets + message * (self.recipients.len() + 2);
                if message + sets > limits::PARAMETERS_BYTES_MAX || told > limits::PARAMETERS_TOLD_MAX {
                    return None;
                }
                self.recipients.push(own.to_owned());
                self.recipients.len() - 1
            }
        };
        u16::try_from(place + 1).ok()
    }

    /// Bytes in memory, without those of [`Reports::originals`], which whoever adds to them counts.
    pub fn held(&self) -> usize {
        size_of::<MessageParameters>()
            + limits::ALLOCATED
            + self.recipients.capacity() * size_of::<Parameters>()
            + self.reports.originals.capacity() * size_of::<Box<[u8]>>()
            + self.message.held()
            + self.recipients.iter().map(Parameters::held).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Parameters {
        let mut parameters = Parameters::default();
        for (key, value) in [
            (Key::Tenant, "shop"),
            (Key::Campaign, "promo-é"),
            (Key::Priority, "low"),
            (Key::Metadata, "{\"a\": [1, {}]}"),
        ] {
            parameters.set(key, value).unwrap();
        }
        parameters
    }

    #[test]
    fn what_is_written_is_read_and_no_cut_is_taken() {
        let mut bytes = Vec::new();
        some().write(false, &mut bytes);
        assert_eq!(bytes.len(), some().length());
        assert_eq!(Parameters::read(&bytes), Some(some().borrowed()));
        assert_eq!(Parameters::read(&bytes).unwrap().to_owned(), some());
        let whole: Vec<usize> =
            (0..bytes.len()).filter(|cut| Parameters::read(&bytes[..*cut]).is_some()).collect();
        assert_eq!(whole.len(), 4, "only between two of them");
        // A key of a later version.
        let mut later = vec![200, 2, 0, 0xff, 0xff];
        later.extend_from_slice(&bytes);
        assert_eq!(Parameters::read(&later), Some(some().borrowed()));
        assert_eq!(Parameters::read(&[1, 1, 0, 0xff]), None, "no text");
        assert_eq!(Parameters::read(b""), Some(Parameters::default()));
    }

    #[test]
    fn the_numbers_are_those_of_the_disk() {
        let numbers: Vec<(u8, &str)> = Key::ALL.iter().map(|key| (*key as u8, key.name())).collect();
        assert_eq!(
            numbers,
            [
                (1, "tenant"),
                (2, "campaign"),
                (3, "category"),
                (4, "pool"),
                (5, "priority"),
                (6, "envid"),
                (7, "metadata"),
                (8, "retry"),
                (9, "send_at"),
                (10, "origin")
            ]
        );
        assert!(Key::ALL.iter().all(|key| Key::of(*key as u8) == Some(*key)));
        assert_eq!((Key::of(0), Key::of(11)), (None, None));
    }

    #[test]
    fn values_are_checked() {
        let long = "x".repeat(limits::PARAMETER_MAX + 1);
        // So many levels, the object itself among them.
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let object = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::METADATA_MAX - 8));
        assert_eq!(object.len(), limits::METADATA_MAX);
        for (key, value, result) in [
            (Key::Tenant, "a b", Ok(())),
            (Key::Tenant, "", Err(Problem::Empty)),
            (Key::Tenant, &long[1..], Ok(())),
            (Key::Tenant, &long, Err(Problem::TooLong(limits::PARAMETER_MAX))),
            (Key::Envid, "a\x1b[2J", Err(Problem::Control)),
            (Key::Priority, "high", Ok(())),
            (Key::Priority, "urgent", Err(Problem::NoPriority)),
            (Key::Metadata, &object, Ok(())),
            (Key::Metadata, &format!("{object} "), Err(Problem::TooLong(limits::METADATA_MAX))),
            (Key::Metadata, "[1]", Err(Problem::NoObject)),
            (Key::Metadata, "{\"a\":1} x", Err(Problem::NoObject)),
            (Key::Metadata, &format!("{{\"a\":{}1", "[".repeat(5000)), Err(Problem::NoObject)),
            (Key::Metadata, &nested(limits::METADATA_DEPTH_MAX), Ok(())),
            (Key::Metadata, &nested(limits::METADATA_DEPTH_MAX + 1), Err(Problem::NoObject)),
            (Key::Metadata, &nested(8_000), Err(Problem::NoObject)),
            (Key::Metadata, "{\"a\":\"\\ud83d\\ude00\"}", Ok(())),
            (Key::Metadata, "{\"a\":\"\\ud83d\"}", Err(Problem::NoObject)),
            (Key::Metadata, "{\"\\ude00\":1}", Err(Problem::NoObject)),
            (Key::Metadata, "{\"a\":-1.5e300}", Ok(())),
            (Key::Metadata, "{\"a\":1e999}", Err(Problem::NoObject)),
            (Key::Retry, "10m 1h", Ok(())),
            (Key::Retry, "soon", Err(Problem::NoSchedule)),
        ] {
            let mut parameters = Parameters::default();
            assert_eq!(parameters.set(key, value), result, "{key:?} {value}");
            assert_eq!(parameters.get(key), result.ok().map(|()| value));
        }
        assert_eq!(
            (some().priority(), Parameters::<&str>::default().priority()),
            (Priority::Low, Priority::Normal)
        );
    }

    #[test]
    fn recipients_have_what_differs() {
        let mut of = MessageParameters { message: some(), ..MessageParameters::default() };
        let mut own = some();
        own.set(Key::Campaign, "other").unwrap();
        own.set(Key::Pool, "bulk").unwrap();
        let message = of.message.clone();
        assert_eq!(of.number(own.borrowed().unlike(message.borrowed())), Some(1));
        assert_eq!(of.number(own.borrowed().unlike(message.borrowed())), Some(1), "kept once");
        assert_eq!(of.number(message.borrowed().unlike(message.borrowed())), Some(0));
        assert_eq!(
            of.recipients[0].iter().collect::<Vec<_>>(),
            [(Key::Campaign, "other"), (Key::Pool, "bulk")]
        );
        assert_eq!((of.of(1), of.of(0), of.of(7)), (own.borrowed(), message.borrowed(), message.borrowed()));
        let held = of.held();
        assert!(held > 200, "{held}");
        for number in 0u32.. {
            let mut own = Parameters::default();
            own.set(Key::Pool, &format!("{number:0250}")).unwrap();
            if of.number(own.borrowed()).is_none() {
                break;
            }
            assert!(number < 1000, "they are bounded");
        }
        let bytes: usize = of.recipients.iter().map(Parameters::length).sum();
        assert!(bytes <= limits::PARAMETERS_BYTES_MAX && of.held() > held + bytes);
    }

    /// However little the sets have in them: each is told with the metadata of the message.
    #[test]
    fn what_events_repeat_is_bounded() {
        let mut of = MessageParameters::default();
        let metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::METADATA_MAX - 8));
        of.message.set(Key::Metadata, &metadata).unwrap();
        let mut sets = 0;
        loop {
            let mut own = Parameters::default();
            own.set(Key::Pool, &format!("p{sets}")).unwrap();
            if of.number(own.borrowed()).is_none() {
                break;
            }
            sets += 1;
        }
        let told: usize = (0..=sets).map(|own| of.of(own).borrowed().length()).sum();
        assert!(
            (limits::PARAMETERS_TOLD_MAX * 9 / 10..=limits::PARAMETERS_TOLD_MAX).contains(&told),
            "{told}"
        );
    }
}
