//! Points in time as plain numbers, so that the core can be told `now` and never ask for it.

use std::iter;
use std::net::Ipv4Addr;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the monotonic clock of this process: nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Later than every deadline: the deadline of something that has none.
    pub const FAR: Instant = Instant(u64::MAX);

    /// The time from `earlier` to `self`, zero if `earlier` is not earlier.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, span: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z. What is written to disk, headers and logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole seconds, what an index entry holds (good until the year 2106).
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0 / 1000).unwrap_or(u32::MAX)
    }

    /// Whole seconds, rounded up: what a wait is counted from that must not end early.
    pub fn seconds_up(self) -> u32 {
        u32::try_from(self.0.div_ceil(1000)).unwrap_or(u32::MAX)
    }

    /// The same point `span` later.
    pub fn after(self, span: Duration) -> UnixMillis {
        UnixMillis(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Milliseconds of a day in UTC: the clock has no leap seconds.
const DAY: u64 = 86_400_000;

/// A wall-clock time as a calendar has it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 is Sunday.
    pub weekday: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
    /// 0 to 999.
    pub milli: u64,
}

impl Civil {
    /// The day that is written as `2026-12-01`, counted from 1970-01-01; None: it is no day.
    pub fn day_named(text: &str) -> Option<u32> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = text.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let shaped = (year.len(), month.len(), day.len()) == (4, 2, 2) && parts.next().is_none();
        if !shaped || ![year, month, day].into_iter().all(digits) {
            return None;
        }
        let [year, month, day]: [u64; 3] = [year.parse().ok()?, month.parse().ok()?, day.parse().ok()?];
        // As below, the other way round. What the calendar does not have comes back as another day.
        let (march_year, march_month) =
            if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
        let day_of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
        let days = 365 * march_year + march_year / 4 - march_year / 100 + march_year / 400 + day_of_year;
        let number = u32::try_from(days.checked_sub(719_468)?).ok()?;
        let civil = UnixMillis::of_day(number).civil();
        ((civil.year, civil.month, civil.day) == (year, month, day)).then_some(number)
    }

    /// The point that is written as a day, which is its midnight, or as `2026-12-01T09:00:00Z`, with or without seconds, `Z` and the `T`; in UTC.
    /// None: it is none.
    pub fn time_named(text: &str) -> Option<UnixMillis> {
        let (day, behind) = text.split_at_checked("2026-12-01".len())?;
        let midnight = UnixMillis::of_day(Civil::day_named(day)?);
        if behind.is_empty() {
            return Some(midnight);
        }
        let time = behind.strip_prefix(['T', 't', ' '])?;
        let mut parts = time.strip_suffix(['Z', 'z']).unwrap_or(time).split(':');
        let mut part = |most: u64| {
            let digits = parts.next()?;
            let is_one = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|number| is_one && *number < most)
        };
        let (hour, minute) = (part(24)?, part(60)?);
        let second = part(60);
        // Of what is behind the minutes, seconds and nothing else.
        let shape = if second.is_some() { time.len() } else { 3 + time.len() };
        let is_whole = shape - usize::from(time.ends_with(['Z', 'z'])) == "09:00:00".len();
        is_whole.then(|| midnight.after(Duration::from_secs((hour * 60 + minute) * 60 + second.unwrap_or(0))))
    }
}

impl UnixMillis {
    /// The calendar's view, in UTC.
    pub fn civil(self) -> Civil {
        let (seconds, milli) = (self.0 / 1000, self.0 % 1000);
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        // Years that begin in March put the leap day last; 719,468 days lie between 0000-03-01 and 1970-01-01.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Civil {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            weekday: (days + 4) % 7,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            milli,
        }
    }

    /// Days since 1970-01-01, in UTC.
    pub fn day(self) -> u32 {
        u32::try_from(self.0 / DAY).unwrap_or(u32::MAX)
    }

    /// The midnight with which a day begins.
    pub fn of_day(day: u32) -> UnixMillis {
        UnixMillis(u64::from(day) * DAY)
    }

    /// Appends `2026-11-23T12:00:00.000Z`.
    pub fn write_iso(self, out: &mut Vec<u8>) {
        let civil = self.civil();
        for (value, width, end) in [
            (civil.year, 4, b'-'),
            (civil.month, 2, b'-'),
            (civil.day, 2, b'T'),
            (civil.hour, 2, b':'),
            (civil.minute, 2, b':'),
            (civil.second, 2, b'.'),
            (civil.milli, 3, b'Z'),
        ] {
            write_decimal(value, width, out);
            out.push(end);
        }
    }
}

/// Appends a number with at least `width` digits.
pub fn write_decimal(value: u64, width: usize, out: &mut Vec<u8>) {
    // Most are one digit: a count of attempts, a part of an enhanced code.
    if value < 10 && width <= 1 {
        return out.push(b'0' + value as u8);
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value).as_bytes();
    out.extend(iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

/// Appends an IPv4 address, as [`std::fmt::Display`] does, which takes longer than a message can spare.
pub fn write_ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    let [first, rest @ ..] = address.octets();
    write_decimal(first.into(), 1, out);
    for part in rest {
        out.push(b'.');
        write_decimal(part.into(), 1, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (millis, iso) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            UnixMillis(millis).write_iso(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), iso);
        }
    }

    #[test]
    fn days_have_names() {
        for day in (0..60_000).step_by(7) {
            let mut name = Vec::new();
            UnixMillis::of_day(day).write_iso(&mut name);
            let name = String::from_utf8_lossy(&name[..10]).into_owned();
            assert_eq!(
                (Civil::day_named(&name), UnixMillis(86_400_000 * u64::from(day) + 5).day()),
                (Some(day), day)
            );
        }
        for none in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-00",
            "26-01-01",
            "2026-1-01",
            "2026-01-01T",
            "1969-12-31",
            "+026-01-01",
            "",
        ] {
            assert_eq!(Civil::day_named(none), None, "{none}");
        }
    }

    #[test]
    fn times_have_names() {
        let day = 86_400_000 * 20_788;
        for (name, point) in [
            ("2026-12-01", 0),
            ("2026-12-01T00:00:00Z", 0),
            ("2026-12-01 09:30", 34_200_000),
            ("2026-12-01T09:30Z", 34_200_000),
            ("2026-12-01t23:59:59z", 86_399_000),
            ("2026-12-01T23:59:59", 86_399_000),
        ] {
            assert_eq!(Civil::time_named(name), Some(UnixMillis(day + point)), "{name}");
        }
        for none in [
            "2026-12-1",
            "2026-12-01T",
            "2026-12-01T9:30",
            "2026-12-01T24:00",
            "2026-12-01T09:60",
            "2026-12-01T09:30:60",
            "2026-12-01T09:30:00.5Z",
            "2026-12-01T09:30:00+02:00",
            "2026-12-01T09:30:0",
            "2026-12-01T09:30:00:00",
            "2026-02-30T09:30",
            "2026-12-0\u{e9}",
        ] {
            assert_eq!(Civil::time_named(none), None, "{none}");
        }
    }

    #[test]
    fn addresses() {
        for address in
            [[0, 0, 0, 0], [127, 0, 0, 1], [192, 0, 2, 10], [255, 99, 100, 255]].map(Ipv4Addr::from)
        {
            let mut out = Vec::new();
            write_ipv4(address, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), address.to_string());
        }
    }
}
