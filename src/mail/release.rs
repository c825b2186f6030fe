//! When mail is to go: a time of the calendar, or so long after it came (RFC 4865; `send_at` of rules, `X-Relevo-Send-At`).

use std::time::Duration;

use crate::config::value;
use crate::limits;
use crate::time::UnixMillis;

/// When mail is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAt {
    /// At this time.
    At(UnixMillis),
    /// So long after it came.
    After(Duration),
}

/// A client asks for a time that is further ahead than [`limits::HOLD_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate;

impl SendAt {
    /// `2026-12-01T08:00:00Z` (RFC 3339, any zone), or `+2h`.
    pub fn parse(text: &str) -> Option<SendAt> {
        if let Some(span) = text.strip_prefix('+') {
            let span = value::duration(span).ok()?;
            return (span <= limits::HOLD_MAX).then_some(SendAt::After(span));
        }
        date_time(text.as_bytes()).map(SendAt::At)
    }

    /// As [`SendAt::parse`] reads it.
    pub fn text(self) -> String {
        match self {
            SendAt::At(at) => show(at),
            SendAt::After(span) => format!("+{}s", span.as_secs()),
        }
    }

    /// When that is for mail that comes now. None: at once, also where the time has passed, as clocks differ.
    pub fn of_arrival(self, now: UnixMillis) -> Result<Option<UnixMillis>, TooLate> {
        let at = match self {
            SendAt::At(at) => at,
            SendAt::After(span) => now.after(span),
        };
        if at > now.after(limits::HOLD_MAX) {
            return Err(TooLate);
        }
        // Whole seconds, and never before what was asked for.
        Ok((at > now).then(|| UnixMillis(at.0.div_ceil(1000) * 1000)))
    }
}

/// As records, events and EHLO have it: RFC 3339 in UTC, whole seconds.
pub fn show(at: UnixMillis) -> String {
    let time = at.civil();
    let (year, month, day) = (time.year, time.month, time.day);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time.hour, time.minute, time.second)
}

/// A date-time of RFC 3339 section 5.6, not before 1970. Parts of a second are rounded down.
pub fn date_time(text: &[u8]) -> Option<UnixMillis> {
    let (date, rest) = text.split_at_checked(19)?;
    let number = |at: usize, digits: usize| number(date.get(at..at + digits)?);
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let marks = [date[4], date[7], date[10].to_ascii_uppercase(), date[13], date[16]];
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if marks != *b"--T::" || !is_time || year < 1970 || !(1..=days_of(year, month)?).contains(&day) {
        return None;
    }
    let zone = match rest.split_first() {
        Some((b'.', rest)) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest.get(digits..).filter(|_| digits > 0)?
        }
        _ => rest,
    };
    let ahead: i64 = match zone {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), hours @ .., b':', tens, ones] => {
            let (hours, minutes) = (self::number(hours)?, self::number(&[*tens, *ones])?);
            if zone.len() != 6 || hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 3600 + minutes * 60) as i64;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let before: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let months: u64 = (1..month).filter_map(|month| days_of(year, month)).sum();
    let days = before + months + day - 1;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(UnixMillis(seconds.checked_add_signed(-ahead)? * 1000))
}

fn number(digits: &[u8]) -> Option<u64> {
    let value =
        |value: u64, digit: &u8| Some(value * 10 + u64::from(digit.is_ascii_digit().then(|| digit - b'0')?));
    if digits.is_empty() { None } else { digits.iter().take(4).try_fold(0, value) }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> Option<u64> {
    match month {
        2 => Some(28 + u64::from(is_leap(year))),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_796_112_000_000);

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-12-01T08:00:00Z", 1_796_112_000),
            ("2026-12-01t08:00:00.999z", 1_796_112_000),
            ("2026-12-01T09:30:00+01:30", 1_796_112_000),
            ("2026-11-30T20:00:00-12:00", 1_796_112_000),
            ("2024-02-29T23:59:60Z", 1_709_251_200),
        ] {
            assert_eq!(SendAt::parse(text), Some(SendAt::At(UnixMillis(seconds * 1000))), "{text}");
        }
        assert_eq!(SendAt::parse("+2h"), Some(SendAt::After(Duration::from_secs(7200))));
        for days in 0..40_000 {
            let at = UnixMillis(days * 86_400_000 + 3_723_000);
            assert_eq!(SendAt::parse(&show(at)), Some(SendAt::At(at)));
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "now",
            "2h",
            "+",
            "+2",
            "+400d",
            "2026-12-01",
            "2026-12-01T08:00:00",
            "2026-12-01 08:00:00Z",
            "2026-13-01T08:00:00Z",
            "2026-02-29T08:00:00Z",
            "2026-12-00T08:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T08:60:00Z",
            "2026-12-01T08:00:61Z",
            "2026-12-01T08:00:00.Z",
            "2026-12-01T08:00:00+1:00",
            "2026-12-01T08:00:00+24:00",
            "2026-12-01T08:00:00Zx",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-1a-01T08:00:00Z",
            "\u{e4}026-12-01T08:00:00Z",
        ] {
            assert_eq!(SendAt::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_that_has_passed_is_at_once_and_none_is_too_far() {
        let at = |ahead: i64| SendAt::At(UnixMillis(NOW.0.saturating_add_signed(ahead))).of_arrival(NOW);
        let most = limits::HOLD_MAX.as_millis() as i64;
        assert_eq!((at(-5000), at(0)), (Ok(None), Ok(None)));
        assert_eq!(at(1), Ok(Some(UnixMillis(NOW.0 + 1000))), "not before");
        assert_eq!((at(most), at(most + 1)), (Ok(Some(NOW.after(limits::HOLD_MAX))), Err(TooLate)));
        assert_eq!(
            SendAt::After(Duration::from_secs(60)).of_arrival(NOW),
            Ok(Some(UnixMillis(NOW.0 + 60_000)))
        );
    }
}
