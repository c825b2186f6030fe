//! Which segments go: those that every reader has read, at once; and those that are too old or too many, read or not.

use std::time::Duration;

use crate::limits;

/// A segment, as far as this matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentInfo {
    pub sequence: u64,
    pub bytes: u64,
    /// Since something was written to it.
    pub age: Duration,
}

/// How many of these, from the oldest on, go. `read` is the segment that the slowest reader is in, as its cursor says; `most` is how many bytes there
/// may be. The newest stays: it is written.
pub(super) fn expendable(segments: &[SegmentInfo], read: u64, most: u64) -> usize {
    let mut left: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut count = 0;
    for segment in segments.iter().take(segments.len().saturating_sub(1)) {
        if segment.sequence >= read && segment.age <= limits::JOURNAL_AGE_MAX && left <= most {
            break;
        }
        left -= segment.bytes;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(ages: &[u64]) -> Vec<SegmentInfo> {
        let of = |(at, age): (usize, &u64)| SegmentInfo {
            sequence: 10 + at as u64,
            bytes: 100,
            age: Duration::from_secs(*age),
        };
        ages.iter().enumerate().map(of).collect()
    }

    #[test]
    fn what_all_have_read_goes_and_what_is_too_much() {
        let five = segments(&[5, 4, 3, 2, 1]);
        for (read, most, gone) in [
            (10, 500, 0),
            (12, 500, 2),
            (14, 500, 4),
            (99, 500, 4),
            // Bytes: the oldest go unread.
            (10, 499, 1),
            (11, 300, 2),
            (10, 0, 4),
        ] {
            assert_eq!(expendable(&five, read, most), gone, "{read} {most}");
        }
        assert_eq!((expendable(&[], 3, 0), expendable(&segments(&[9]), 99, 0)), (0, 0));
    }

    #[test]
    fn what_is_too_old_goes_unread() {
        let old = limits::JOURNAL_AGE_MAX.as_secs();
        assert_eq!(expendable(&segments(&[old + 2, old + 1, old, 1]), 10, 1000), 2);
        assert_eq!(expendable(&segments(&[old + 2]), 10, 1000), 0, "it is written");
    }
}
