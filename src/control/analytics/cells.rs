//! Counts of one name in one step: recipients by what became of them and what replies were about, and how long deliveries took. In the file they
//! are pairs of a code and a number, ascending, each in as few bytes as it needs.

use crate::names::CLASSES;

/// What became of mail, as events are called. Their places lie in files: new ones come last.
pub const OUTCOMES: [&str; 10] = [
    "received",
    "delivered",
    "deferred",
    "bounced",
    "expired",
    "suppressed",
    "discarded",
    "captured",
    "oob_bounce",
    "feedback",
];

/// The place of `delivered` among [`OUTCOMES`].
pub const DELIVERED: usize = 1;
/// Codes of an outcome: none, and each class.
const EACH: u16 = 64;
/// Codes from here on are of times.
const TIMES: u16 = 1024;
/// Times that are told apart by eighths of each power of two: an eighth is what they are off at the most, 7 % as a rule.
pub const BUCKETS: usize = 240;

const _: () = assert!(OUTCOMES.len() as u16 * EACH <= TIMES && CLASSES.len() < EACH as usize);

/// What a pair counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Recipients: the place of what became of them, and of what was said of it among [`CLASSES`], from 1 on; 0 is nothing.
    Recipients {
        /// Of [`OUTCOMES`].
        outcome: usize,
        /// Of [`CLASSES`].
        class: usize,
    },
    /// Deliveries that took as long as this bucket says.
    Time {
        /// From 0 on.
        bucket: usize,
    },
}

impl Of {
    fn code(self) -> u16 {
        match self {
            Of::Recipients { outcome, class } => outcome as u16 * EACH + class as u16,
            Of::Time { bucket } => TIMES + bucket as u16,
        }
    }

    /// None: a later version counts that.
    fn read(code: u16) -> Option<Of> {
        let of = match code.checked_sub(TIMES) {
            Some(bucket) => Of::Time { bucket: bucket.into() },
            None => Of::Recipients { outcome: (code / EACH).into(), class: (code % EACH).into() },
        };
        match of {
            Of::Time { bucket } => bucket < BUCKETS,
            Of::Recipients { outcome, class } => outcome < OUTCOMES.len() && class <= CLASSES.len(),
        }
        .then_some(of)
    }
}

/// The bucket of so many milliseconds.
pub fn bucket(millis: u64) -> usize {
    let millis = u32::try_from(millis).unwrap_or(u32::MAX);
    match millis.checked_ilog2() {
        None | Some(0..=2) => millis as usize,
        Some(top) => ((top - 2) * 8 + (millis >> (top - 3) & 7)) as usize,
    }
}

/// Where a bucket begins.
fn begin(bucket: usize) -> u64 {
    match bucket as u64 {
        bucket @ 0..8 => bucket,
        bucket => (8 + bucket % 8) << (bucket / 8 - 1),
    }
}

/// How many deliveries took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times(Box<[u64; BUCKETS]>);

impl Default for Times {
    fn default() -> Times {
        Times(Box::new([0; BUCKETS]))
    }
}

impl Times {
    /// So many more of a bucket.
    pub fn add(&mut self, bucket: usize, number: u64) {
        if let Some(place) = self.0.get_mut(bucket) {
            *place = place.saturating_add(number);
        }
    }

    /// Those of another, too.
    pub fn merge(&mut self, other: &Times) {
        (0..).zip(other.0.iter()).for_each(|(bucket, number)| self.add(bucket, *number));
    }

    /// Within how many milliseconds so many of a thousand were delivered; None: nothing was.
    pub fn within(&self, permille: u64) -> Option<u64> {
        let all: u128 = self.0.iter().map(|number| u128::from(*number)).sum();
        let wanted = (all * u128::from(permille)).div_ceil(1000).max(1);
        let mut before = 0;
        for (bucket, number) in self.0.iter().enumerate().filter(|(_, number)| **number > 0) {
            let number = u128::from(*number);
            if before + number >= wanted {
                let (from, to) = (begin(bucket), begin(bucket + 1));
                // As if those of a bucket were spread over it evenly.
                let part = u128::from(to - from) * (2 * (wanted - before) - 1) / (2 * number);
                return Some(from + u64::try_from(part).unwrap_or(0));
            }
            before += number;
        }
        None
    }
}

/// Counts of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(Vec<(u16, u64)>);

impl Cells {
    /// So many more of it.
    pub fn add(&mut self, of: Of, number: u64) {
        self.add_code(of.code(), number);
    }

    fn add_code(&mut self, code: u16, number: u64) {
        match self.0.binary_search_by_key(&code, |(code, _)| *code) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(number),
            Err(place) => self.0.insert(place, (code, number)),
        }
    }

    /// Those of another, too.
    pub fn merge(&mut self, other: &Cells) {
        for (code, number) in &other.0 {
            self.add_code(*code, *number);
        }
    }

    /// Appends them as they lie in the file.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut last = 0;
        for (code, number) in &self.0 {
            varint(u64::from(code - last), out);
            varint(*number, out);
            last = *code;
        }
    }

    /// Those that lie there; what is no pair ends it.
    pub fn read(bytes: &[u8]) -> Cells {
        let mut cells = Cells::default();
        each_code(bytes, |code, number| cells.add_code(code, number));
        cells
    }

    /// What they count.
    pub fn iter(&self) -> impl Iterator<Item = (Of, u64)> {
        self.0.iter().filter_map(|(code, number)| Some((Of::read(*code)?, *number)))
    }

    /// Recipients, each counted for all that became of it.
    pub fn recipients(&self) -> u64 {
        let recipients = self.0.iter().take_while(|(code, _)| *code < TIMES);
        recipients.fold(0, |sum, (_, number)| sum.saturating_add(*number))
    }
}

/// Gives what lies there. It is read some hundred thousand times for an answer.
pub fn each(bytes: &[u8], mut take: impl FnMut(Of, u64)) {
    each_code(bytes, |code, number| {
        if let Some(of) = Of::read(code) {
            take(of, number);
        }
    });
}

fn each_code(mut bytes: &[u8], mut take: impl FnMut(u16, u64)) {
    let mut last = 0_u16;
    while let (Some(step), Some(number)) = (number(&mut bytes), number(&mut bytes)) {
        let Some(code) = u16::try_from(step).ok().and_then(|step| last.checked_add(step)) else { return };
        take(code, number);
        last = code;
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_in_files_for_ever() {
        // Who adds a class adds it at the end.
        let known = ["bad_mailbox", "inactive_mailbox", "mailbox_full", "bad_domain", "no_mx", "bad_sender"];
        assert_eq!(CLASSES[..6], known);
        assert_eq!((CLASSES[17], CLASSES[26]), ("throttled", "other"));
        assert_eq!((OUTCOMES[DELIVERED], OUTCOMES[9]), ("delivered", "feedback"));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut cells = Cells::default();
        let some = [
            (Of::Recipients { outcome: 0, class: 0 }, 1),
            (Of::Recipients { outcome: 3, class: CLASSES.len() }, u64::MAX),
            (Of::Recipients { outcome: 9, class: 0 }, 127),
            (Of::Time { bucket: 0 }, 128),
            (Of::Time { bucket: BUCKETS - 1 }, 3),
        ];
        for (of, number) in some.into_iter().rev() {
            cells.add(of, number);
        }
        assert_eq!(cells.iter().collect::<Vec<_>>(), some);
        let mut bytes = Vec::new();
        cells.write(&mut bytes);
        assert_eq!(Cells::read(&bytes), cells);
        // Whatever lies there, it is read to some end.
        for end in 0..bytes.len() {
            Cells::read(&bytes[..end]);
            Cells::read(&[&bytes[end..], &[0xff; 32]].concat());
        }
        let mut twice = cells.clone();
        twice.merge(&cells);
        assert_eq!(twice.iter().next(), Some((some[0].0, 2)));
        // What a later version counts is kept, and passed over.
        let later = [&bytes[..], &[0x80, 8, 5]].concat();
        assert_eq!(Cells::read(&later).iter().count(), some.len());
        let mut again = Vec::new();
        Cells::read(&later).write(&mut again);
        assert_eq!(again, later);
    }

    #[test]
    fn buckets_are_narrow_and_in_order() {
        for bucket in 0..BUCKETS {
            assert_eq!(super::bucket(begin(bucket)), bucket);
            assert!(begin(bucket + 1) > begin(bucket));
            assert_eq!(super::bucket(begin(bucket + 1) - 1), bucket);
            assert!(begin(bucket + 1) <= begin(bucket).max(8) * 9 / 8 + 1, "{bucket}");
        }
        assert_eq!(super::bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_numbers() {
        let mut times = Times::default();
        assert_eq!(times.within(500), None);
        let mut all: Vec<u64> = (1..=5000_u64).map(|at| at * at % 7919 + at / 3).collect();
        for millis in &all {
            times.add(bucket(*millis), 1);
        }
        all.sort_unstable();
        for permille in [1, 500, 900, 950, 990, 1000] {
            let (found, wanted) = (times.within(permille).unwrap(), all[(permille as usize * 5) - 1]);
            assert!(found.abs_diff(wanted) * 100 <= wanted.max(8) * 13, "{permille}: {found} for {wanted}");
        }
        let mut one = Times::default();
        one.add(bucket(1000), 1);
        assert!((960..=1024).contains(&one.within(500).unwrap()));
        one.add(BUCKETS, 7);
        assert_eq!(one.within(1000), one.within(1));
    }
}
