//! The small languages of values: limits, rates, times, TLS. Each is read in every spelling that KumoMTA reads.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use super::key::Kind;
use crate::config::literal::{Wrong, boolean, kind as what, quoted, text};
use crate::config::nearest::nearest;
use crate::config::value::show_duration;
use crate::limits;

/// What a key is set to for a while, over what files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrule<'a> {
    /// This.
    pub value: &'a Value,
    /// Of this provider, where the key is of one.
    pub provider: Option<&'a str>,
}

/// So many at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At most.
    pub most: u64,
    /// `local:`: of this node alone, whatever is shared with others.
    pub local: bool,
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At most.
    pub count: u64,
    /// In each such span.
    pub period: Duration,
    /// `max_burst`: so many at once.
    pub burst: Option<u64>,
    /// `local:`: of this node alone, whatever is shared with others.
    pub local: bool,
}

impl Rate {
    /// In a day.
    pub fn per_day(&self) -> f64 {
        self.count as f64 * 86_400.0 / self.period.as_secs_f64()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rate { count, period, burst, local } = self;
        let local = if *local { "local:" } else { "" };
        let unit = match period.as_secs() {
            1 => "s".to_owned(),
            60 => "min".to_owned(),
            3_600 => "h".to_owned(),
            86_400 => "d".to_owned(),
            other => format!("{other}s"),
        };
        write!(formatter, "{local}{count}/{unit}")?;
        burst.map_or(Ok(()), |burst| write!(formatter, ",max_burst={burst}"))
    }
}

/// `enable_tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    Disabled,
    /// Where it is offered, with any certificate; else, and where it breaks, plain text.
    Opportunistic,
    /// The same: mail between hosts that were never introduced is not held up by a name on a certificate.
    OpportunisticInsecure,
    /// TLS with any certificate, or no delivery.
    RequiredInsecure,
    /// TLS with a certificate that is valid for the host, or no delivery.
    Required,
}

const TLS: [(&str, Tls); 5] = [
    ("Opportunistic", Tls::Opportunistic),
    ("OpportunisticInsecure", Tls::OpportunisticInsecure),
    ("Required", Tls::Required),
    ("RequiredInsecure", Tls::RequiredInsecure),
    ("Disabled", Tls::Disabled),
];

/// What a key is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "one for each kind")]
pub enum Value {
    Limit(Limit),
    Rate(Rate),
    Count(u64),
    Time(Duration),
    Tls(Tls),
    Flag(bool),
    Source(Box<str>),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Limit(Limit { most, local: true }) => write!(formatter, "local:{most}"),
            Value::Limit(Limit { most, .. }) | Value::Count(most) => write!(formatter, "{most}"),
            Value::Rate(rate) => write!(formatter, "{rate}"),
            Value::Time(time) => formatter.write_str(&show_duration(*time)),
            Value::Tls(tls) => {
                let name = TLS.iter().find(|(_, meaning)| meaning == tls).map_or("", |(name, _)| *name);
                formatter.write_str(name)
            }
            Value::Flag(flag) => write!(formatter, "{flag}"),
            Value::Source(name) => formatter.write_str(name),
        }
    }
}

/// A value as it stands in the file.
pub(super) fn read(value: &DeValue<'_>, kind: Kind) -> Result<Value, Wrong> {
    match kind {
        Kind::Limit => read_limit(value).map(Value::Limit),
        Kind::Rate => read_rate(value).map(Value::Rate),
        Kind::Count => read_limit(value).map(|limit| Value::Count(limit.most)),
        Kind::Time => read_time(value).map(Value::Time),
        Kind::Tls => tls(value).map(Value::Tls),
        Kind::Flag => boolean(value).map(Value::Flag),
        Kind::Source => source(value).map(Value::Source),
    }
}

/// What `Value::fmt` wrote.
pub fn parse(written: &str, kind: Kind) -> Option<Value> {
    let value = match (kind, written) {
        (Kind::Flag, "true") => DeValue::Boolean(true),
        (Kind::Flag, "false") => DeValue::Boolean(false),
        _ => DeValue::String(written.into()),
    };
    read(&value, kind).ok()
}

/// `1000`, `1,000`, `1_000`, from 1.
fn number(text: &str) -> Option<u64> {
    let digits: String = text.trim().chars().filter(|letter| !matches!(letter, ',' | '_')).collect();
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    (1..=limits::SHAPING_NUMBER_MAX).contains(&number).then_some(number)
}

/// `10`, `1,000`, `local:10`.
pub fn limit(text: &str) -> Option<Limit> {
    let (local, text) = text.strip_prefix("local:").map_or((false, text), |rest| (true, rest));
    number(text).map(|most| Limit { most, local })
}

fn read_limit(value: &DeValue<'_>) -> Result<Limit, Wrong> {
    let words = match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    limit(&words).ok_or_else(|| {
        let problem = if words.is_empty() {
            format!("this is {}, not a number", what(value))
        } else {
            format!("{} is no number from 1 to {}", quoted(&words), limits::SHAPING_NUMBER_MAX)
        };
        Wrong::write(problem, "10", ", or another number")
    })
}

/// `100/s`, `5000/h`, `20/min`, `1,000/2h`, `local:100/minute,max_burst=5`.
pub fn rate(text: &str) -> Option<Rate> {
    let (local, text) = text.strip_prefix("local:").map_or((false, text), |rest| (true, rest));
    let (text, burst) = match text.split_once(",max_burst=") {
        Some((text, burst)) => (text, Some(number(burst)?)),
        None => (text, None),
    };
    let (count, period) = text.split_once('/')?;
    let period = period.trim();
    let digits = period.find(|letter: char| !letter.is_ascii_digit())?;
    let times = if digits == 0 { 1 } else { number(&period[..digits])? };
    let unit = match period[digits..].trim() {
        "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hr" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    };
    let period = Duration::from_secs(times.checked_mul(unit)?);
    (period <= limits::CONFIG_TIME_MAX).then_some(())?;
    Some(Rate { count: number(count)?, period, burst, local })
}

pub(crate) fn read_rate(value: &DeValue<'_>) -> Result<Rate, Wrong> {
    let words = match value {
        DeValue::Integer(number) => number.as_str().to_owned(),
        _ => text(value, "100/s")?.to_owned(),
    };
    rate(&words).ok_or_else(|| {
        let spaced = words.replace(" per ", "/").replace(" ", "");
        let meant = [spaced.clone(), format!("{spaced}/s")].into_iter().find(|meant| rate(meant).is_some());
        let meant = meant.unwrap_or_else(|| "100/s".to_owned());
        Wrong::write(
            format!("{} is no rate", quoted(&words)),
            quoted(&meant),
            ", or another number from 1 in a unit: /s, /min, /h, /d",
        )
    })
}

/// `90s`, `1h 30m`, `10 minutes`, `3 days`.
pub fn time(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        let millis: u64 = match &rest[..letters] {
            "ms" | "msec" | "millis" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 604_800_000,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        total = total.saturating_add(Duration::from_millis(number.checked_mul(millis)?));
    }
    (total <= limits::CONFIG_TIME_MAX).then_some(total)
}

/// A time from one millisecond; a bare number is seconds.
pub(super) fn read_time(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let words = match value {
        DeValue::Integer(number) => format!("{}s", number.as_str()),
        _ => text(value, "10 minutes")?.to_owned(),
    };
    time(&words).filter(|time| !time.is_zero()).ok_or_else(|| {
        let meant = time(&format!("{words}s")).filter(|time| !time.is_zero());
        let meant = meant.map_or_else(|| "10m".to_owned(), show_duration);
        let problem = format!("{} is no time of at most 366 days", quoted(&words));
        Wrong::write(problem, quoted(&meant), ", or another number with a unit: s, m, h, d")
    })
}

fn tls(value: &DeValue<'_>) -> Result<Tls, Wrong> {
    let found = text(value, "Opportunistic")?;
    let known = TLS.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning);
    known.ok_or_else(|| {
        let words = || TLS.iter().map(|(word, _)| *word);
        let same = words().find(|word| word.eq_ignore_ascii_case(found));
        let close = same.or(nearest(found, words(), 4)).unwrap_or("Opportunistic");
        let others: Vec<_> = words().filter(|word| *word != close).map(quoted).collect();
        let more = format!(", or {}", others.join(" or "));
        Wrong::write(format!("{} cannot be understood", quoted(found)), quoted(close), &more)
    })
}

pub(super) fn source(value: &DeValue<'_>) -> Result<Box<str>, Wrong> {
    let name = text(value, "ip2")?.trim();
    if name.is_empty() || name.len() > limits::DOMAIN_MAX {
        return Err(Wrong::write("this names no source", quoted("ip2"), ", the name of a source"));
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_every_spelling() {
        let rate = |text: &str| rate(text).map(|rate| rate.to_string());
        for (text, shown) in [
            ("100/s", "100/s"),
            ("100/sec", "100/s"),
            ("5000/h", "5000/h"),
            ("20/min", "20/min"),
            ("20/m", "20/min"),
            ("50000/d", "50000/d"),
            ("1,000/hr", "1000/h"),
            ("1_000/hour", "1000/h"),
            ("100/minute", "100/min"),
            ("10/day", "10/d"),
            ("1/10s", "1/10s"),
            ("100/60s", "100/min"),
            ("local:100/s", "local:100/s"),
            ("100/s,max_burst=10", "100/s,max_burst=10"),
        ] {
            assert_eq!(rate(text).as_deref(), Some(shown), "{text}");
            assert_eq!(rate(shown).as_deref(), Some(shown));
        }
        for wrong in [
            "",
            "100",
            "/s",
            "0/s",
            "-1/s",
            "1/x",
            "1/0s",
            "1/",
            "a/s",
            "1.5/s",
            "1/9999999d",
            "99999999999/s",
        ] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_in_every_spelling() {
        for (text, seconds) in [
            ("90m", 5_400),
            ("1h 30m", 5_400),
            ("1h30m", 5_400),
            ("10 minutes", 600),
            ("2 hours", 7_200),
            ("3 days", 259_200),
            ("30 days", 2_592_000),
        ] {
            assert_eq!(time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(time("500ms"), Some(Duration::from_millis(500)));
        for wrong in ["", "1", "h", "1 fortnight", "400d", "1h 30", "99999999999999999999s", "1.5h"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (kind, written) in [
            (Kind::Limit, "local:5"),
            (Kind::Rate, "100/s,max_burst=10"),
            (Kind::Count, "7"),
            (Kind::Time, "90s"),
            (Kind::Tls, "RequiredInsecure"),
            (Kind::Flag, "false"),
            (Kind::Source, "ip1"),
        ] {
            let value = parse(written, kind).expect("a value");
            assert_eq!(parse(&value.to_string(), kind), Some(value), "{written}");
        }
        assert_eq!((parse("x", Kind::Limit), parse("1", Kind::Flag)), (None, None));
    }

    #[test]
    fn limits_have_separators() {
        assert_eq!(limit("1,000"), Some(Limit { most: 1_000, local: false }));
        assert_eq!(limit("local:5"), Some(Limit { most: 5, local: true }));
        for wrong in ["", "0", "+5", "-5", "5.0", "ten", "99999999999"] {
            assert_eq!(limit(wrong), None, "{wrong}");
        }
    }
}
