//! Values of TOML as what they stand for, and for each that is wrong the line that would be right.
//!
//! A fix is a line that can be copied (`write first = "5m"`): it keeps what was meant where that can be guessed, and is always accepted
//! in place of the wrong one. The tests of this module obey every one of them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::nearest::nearest;
use crate::config::value::BadValue;
use crate::config::{guess, value};
use crate::limits;

/// What is wrong with a value, and the fix.
pub(crate) struct Wrong {
    pub problem: String,
    pub fix: Fix,
}

/// What to do about it.
pub(crate) enum Fix {
    /// Write this value, as TOML; and what else could be said.
    Write(String, String),
    /// Something that is no value.
    Do(String),
}

impl Fix {
    /// The same in words, for the value of this key.
    pub(crate) fn of_key(self, key: &str) -> String {
        match self {
            Fix::Write(literal, more) => format!("write {}{more}", assignment(key, literal)),
            Fix::Do(words) => words,
        }
    }
}

impl Wrong {
    /// A value would be right: `more` goes on behind it.
    pub(crate) fn write(problem: impl Into<String>, literal: impl Into<String>, more: &str) -> Wrong {
        Wrong { problem: problem.into(), fix: Fix::Write(literal.into(), more.to_owned()) }
    }

    /// Words say what to do.
    pub(crate) fn act(problem: impl Into<String>, fix: impl Into<String>) -> Wrong {
        Wrong { problem: problem.into(), fix: Fix::Do(fix.into()) }
    }
}

/// A string as TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out + "\""
}

/// A list of strings as TOML.
pub(super) fn quoted_list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// What kind of value it is, with its article.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// A number as it stands there, for what wants a text.
pub(super) fn bare(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// A text; `usual` is written where it is another kind of value.
pub(crate) fn text<'a>(value: &'a DeValue<'a>, usual: &str) -> Result<&'a str, Wrong> {
    value
        .as_str()
        .ok_or_else(|| Wrong::write(format!("this is {}, not a text", kind(value)), quoted(usual), ""))
}

/// A path; an empty one is none. One that no file can have is told here: each call of the system would say it in other words.
pub(super) fn path(value: &DeValue<'_>, usual: &str) -> Result<Option<PathBuf>, Wrong> {
    let Some(path) = Some(text(value, usual)?).filter(|path| !path.trim().is_empty()) else {
        return Ok(None);
    };
    let problem = if path.contains('\0') {
        "there is a zero byte in this path".to_owned()
    } else if path.split('/').any(|name| name.len() > limits::FILE_NAME_MAX) {
        format!("a name in this path has more than {} bytes", limits::FILE_NAME_MAX)
    } else {
        return Ok(Some(PathBuf::from(path)));
    };
    Err(Wrong::write(problem, quoted(usual), ""))
}

/// The path of a file that is made: one with a slash at its end is that of a directory.
pub(super) fn of_made(path: PathBuf, usual: &str) -> Result<PathBuf, Wrong> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(Wrong::write(
            "this is the path of a directory: it ends in a slash",
            quoted(usual),
            ", a file in it or elsewhere",
        ));
    }
    Ok(path)
}

/// A path that there must be.
pub(super) fn some_path(value: &DeValue<'_>, usual: &str) -> Result<PathBuf, Wrong> {
    path(value, usual)?.ok_or_else(|| Wrong::write("this is empty", quoted(usual), ""))
}

/// A small language in a text. Where it is not understood, `guess` says what may be meant; what that gives is tried, and `usual` is written
/// where it is no better.
pub(super) fn parsed<T>(
    value: &DeValue<'_>,
    parse: impl Fn(&str) -> Result<T, BadValue>,
    guess: fn(&str) -> Option<String>,
    usual: &str,
) -> Result<T, Wrong> {
    let meant =
        |words: &str| guess(words).filter(|meant| parse(meant).is_ok()).unwrap_or_else(|| usual.to_owned());
    let Some(words) = value.as_str() else {
        let meant = bare(value).map_or(usual.to_owned(), |words| meant(&words));
        return Err(Wrong::write(format!("this is {}, not a text", kind(value)), quoted(&meant), ""));
    };
    parse(words).map_err(|bad| {
        Wrong::write(cannot(words, bad), quoted(&meant(words)), &format!(" ({})", bad.grammar()))
    })
}

fn cannot(words: &str, bad: BadValue) -> String {
    let verb = if matches!(bad, BadValue::Syntax(_)) { "understood" } else { "used" };
    format!("{} cannot be {verb}", quoted(words))
}

/// A whole number in a range.
pub(crate) fn integer(value: &DeValue<'_>, range: RangeInclusive<u64>, usual: u64) -> Result<u64, Wrong> {
    let (least, most) = (*range.start(), *range.end());
    let more = format!(", or another number from {least} to {most}");
    let words = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::String(text) => {
            let meant = guess::number(text).filter(|meant| range.contains(meant)).unwrap_or(usual);
            let problem = format!("{} is in quotes, and this is a number", quoted(text));
            return Err(Wrong::write(problem, meant.to_string(), &more));
        }
        DeValue::Float(number) => {
            let meant = number.as_str().parse::<f64>().map_or(usual, |number| number as u64);
            let problem = format!("{} is no whole number", number.as_str());
            return Err(Wrong::write(problem, meant.clamp(least, most).to_string(), &more));
        }
        _ => {
            let problem = format!("this is {}, not a number from {least} to {most}", kind(value));
            return Err(Wrong::write(problem, usual.to_string(), &more));
        }
    };
    let number = words.parse::<u64>().ok();
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let nearest = number.unwrap_or(if words.starts_with('-') { least } else { most }).clamp(least, most);
        Wrong::write(format!("{words} is out of range"), nearest.to_string(), &more)
    })
}

/// A port; the usual one is written in place of what is none.
pub(super) fn port(value: &DeValue<'_>, usual: u16) -> Result<u16, Wrong> {
    let read = integer(value, 1..=u64::from(u16::MAX), usual.into()).map(|port| port as u16);
    read.map_err(|wrong| match wrong.fix {
        Fix::Write(_, more) => Wrong::write(wrong.problem, usual.to_string(), &more),
        fix => Wrong { fix, ..wrong },
    })
}

/// One of a few words.
pub(super) fn word<T: Copy, const N: usize>(
    value: &DeValue<'_>,
    words: [(&'static str, T); N],
) -> Result<T, Wrong> {
    let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let found = text(value, all[0])?;
    let known = words.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning);
    known.ok_or_else(|| {
        let close = nearest(&found.to_ascii_lowercase(), all.iter().copied(), 3).unwrap_or(all[0]);
        let others: Vec<_> = all.iter().filter(|word| **word != close).map(|word| quoted(word)).collect();
        let more = if others.is_empty() { String::new() } else { format!(", or {}", others.join(" or ")) };
        Wrong::write(format!("{} cannot be understood", quoted(found)), quoted(close), &more)
    })
}

/// `true` or `false`.
pub(crate) fn boolean(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| {
        let yes =
            value.as_str().is_some_and(|word| ["yes", "on", "true", "1"].contains(&&*word.to_lowercase()))
                || bare(value).is_some_and(|number| number != "0");
        Wrong::write(format!("this is {}, not true or false", kind(value)), yes.to_string(), "")
    })
}

/// A number from 1.0 to the largest factor.
pub(super) fn factor(value: &DeValue<'_>, usual: f64) -> Result<f64, Wrong> {
    let number = bare(value).and_then(|text| text.parse::<f64>().ok());
    number.filter(|factor| (1.0..=limits::RETRY_FACTOR_MAX).contains(factor)).ok_or_else(|| {
        let quoted = value.as_str().and_then(|text| text.trim().parse::<f64>().ok());
        let meant = number
            .or(quoted)
            .filter(|number| number.is_finite())
            .unwrap_or(usual)
            .clamp(1.0, limits::RETRY_FACTOR_MAX);
        let problem = match bare(value) {
            Some(number) => format!("{number} is out of range"),
            None => format!("this is {}, not a factor", kind(value)),
        };
        let more = format!(", or another number from 1.0 to {:?}", limits::RETRY_FACTOR_MAX);
        Wrong::write(problem, format!("{meant:?}"), &more)
    })
}

/// Bytes, as a number or with a unit.
pub(super) fn bytes(value: &DeValue<'_>, range: RangeInclusive<u64>, usual: u64) -> Result<u64, Wrong> {
    let words = match value {
        DeValue::String(text) => text.to_string(),
        _ => bare(value).ok_or_else(|| {
            let problem = format!("this is {}, not a size", kind(value));
            Wrong::write(problem, quoted(&value::show_size(usual)), "")
        })?,
    };
    let read = value::size(&words);
    if let Ok(size) = read
        && range.contains(&size)
    {
        return Ok(size);
    }
    let meant = guess::size(&words, &range, usual);
    let (least, most) = (value::show_size(*range.start()), value::show_size(*range.end()));
    let more = format!(", or another size from {least} to {most}");
    let problem = match read {
        Ok(_) if words.trim().bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{} bytes is out of range", words.trim())
        }
        Ok(_) => format!("{} is out of range", quoted(&words)),
        Err(_) => format!("{} is no size", quoted(&words)),
    };
    Err(Wrong::write(problem, quoted(&value::show_size(meant)), &more))
}

/// A time with its unit, in a range.
pub(super) fn span(
    value: &DeValue<'_>,
    range: RangeInclusive<Duration>,
    usual: Duration,
) -> Result<Duration, Wrong> {
    let (least, most) = (value::show_duration(*range.start()), value::show_duration(*range.end()));
    let more = format!(", or another time from {least} to {most}");
    let wrong = |problem: String, words: &str| {
        let meant = guess::duration(words, &range, usual);
        // One that was written in seconds is shown in other units.
        let seconds = words.trim().parse::<u64>().ok().filter(|seconds| meant.as_secs() == *seconds);
        let seconds = seconds.filter(|seconds| *seconds >= 60);
        let seconds = seconds.map_or(String::new(), |seconds| format!(" if these are {seconds} seconds"));
        Wrong::write(problem, quoted(&value::show_duration(meant)), &format!("{seconds}{more}"))
    };
    let Some(words) = value.as_str() else {
        return Err(match bare(value) {
            Some(number) => wrong(format!("{number} has no unit: ms, s, m, h or d, in quotes"), &number),
            None => wrong(format!("this is {}, not a time", kind(value)), ""),
        });
    };
    let problem = match value::duration(words) {
        Ok(span) if range.contains(&span) => return Ok(span),
        Ok(span) if span > *range.end() => format!("{} is too long", quoted(words)),
        Ok(_) => format!("{} is too short", quoted(words)),
        Err(BadValue::TooLong) => format!("{} is too long", quoted(words)),
        Err(_) if words.trim().parse::<f64>().is_ok() => format!("{} has no unit", quoted(words)),
        Err(_) => format!("{} is no time", quoted(words)),
    };
    Err(wrong(problem, words))
}

pub(super) fn at_most(value: &DeValue<'_>, most: Duration) -> Result<Duration, Wrong> {
    if value.as_integer().is_some_and(|number| number.as_str() == "0") || value.as_str() == Some("0") {
        return Ok(Duration::ZERO);
    }
    span(value, Duration::ZERO..=most, most / 2)
}

/// A list of texts in a small language.
pub(super) fn list<T>(
    value: &DeValue<'_>,
    parse: impl Fn(&str) -> Result<T, BadValue>,
    guess: fn(&str) -> Option<String>,
    usual: &str,
) -> Result<Vec<T>, Wrong> {
    let meant = |words: &str| {
        if parse(words).is_ok() {
            return words.to_owned();
        }
        guess(words).filter(|meant| parse(meant).is_ok()).unwrap_or_else(|| usual.to_owned())
    };
    let Some(array) = value.as_array() else {
        // One, or several as other programs write them.
        let words = value.as_str().unwrap_or_default();
        let mut items: Vec<String> = Vec::new();
        for item in words.split([',', ' ']).filter(|item| !item.is_empty()).map(meant) {
            if !items.contains(&item) {
                items.push(item);
            }
        }
        let items = if items.is_empty() { vec![usual.to_owned()] } else { items };
        return Err(Wrong::write(format!("this is {}, not a list", kind(value)), quoted_list(&items), ""));
    };
    let mut found = Vec::new();
    let mut first: Option<(String, String)> = None;
    let mut instead: Vec<String> = Vec::new();
    for item in array.iter() {
        let words = item.get_ref().as_str().map(str::to_owned).or_else(|| bare(item.get_ref()));
        let read = words.as_deref().map(&parse);
        let fit = match (&read, item.get_ref().as_str()) {
            (Some(Ok(_)), Some(words)) => words.to_owned(),
            _ => meant(words.as_deref().unwrap_or_default()),
        };
        if !instead.contains(&fit) {
            instead.push(fit);
        }
        match (read, item.get_ref().as_str()) {
            (Some(Ok(value)), Some(_)) => found.push(value),
            (Some(Err(bad)), Some(words)) => {
                first.get_or_insert_with(|| (cannot(words, bad), format!(" ({})", bad.grammar())));
            }
            _ => {
                let problem = format!("{} in the list, not a text", kind(item.get_ref()));
                first.get_or_insert((problem, String::new()));
            }
        }
    }
    let Some((problem, more)) = first else { return Ok(found) };
    Err(Wrong::write(problem, quoted_list(&instead), &more))
}

/// A list of whole numbers.
pub(super) fn numbers(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Result<Vec<u64>, Wrong> {
    let Some(array) = value.as_array() else {
        let literal = match value {
            DeValue::Integer(number) => format!("[{}]", number.as_str()),
            _ => format!("[{}]", range.end()),
        };
        return Err(Wrong::write(format!("this is {}, not a list of numbers", kind(value)), literal, ""));
    };
    let mut found = Vec::new();
    for item in array.iter() {
        found.push(integer(item.get_ref(), range.clone(), *range.start()).map_err(|wrong| {
            let (least, most) = (range.start(), range.end());
            Wrong::act(wrong.problem, format!("write numbers from {least} to {most}, as in [{most}]"))
        })?);
    }
    Ok(found)
}

/// Addresses as TOML.
pub(super) fn addresses<'a, T: Display + 'a>(all: impl Iterator<Item = &'a T>) -> String {
    quoted_list(&all.map(ToString::to_string).collect::<Vec<_>>())
}

/// A key and a value in words: `write first = "5m"`.
pub(crate) fn assignment(key: &str, literal: impl Display) -> String {
    format!("{key} = {literal}")
}

#[cfg(test)]
pub(crate) mod tests;
