//! When a log's file is moved aside, and how long what was moved is kept.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::literal::{Wrong, integer, parsed};
use crate::config::value::{self, BadValue};
use crate::limits;

/// `rotate`: at whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// It has so many bytes.
    pub size: Option<u64>,
    /// It was begun in another such span than this, counted from midnight UTC: `1h` is at each full hour.
    pub span: Option<Duration>,
}

impl fmt::Display for Rotate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.size.map(value::show_size), self.span.map(value::show_duration)];
        formatter.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
    }
}

/// `keep`: what stays of what was moved aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many files, the latest.
    Files(u32),
    /// Those that were moved within this time.
    Age(Duration),
}

pub(super) fn rule(value: &DeValue<'_>) -> Result<Option<Rotate>, Wrong> {
    let guess = |_: &str| None;
    parsed(value, one, guess, "1GiB/1d")
}

const GRAMMAR: &str = "a size from 64KiB to 1TiB, a time from 1m to 366d, or both with / between them";

fn one(text: &str) -> Result<Option<Rotate>, BadValue> {
    const WRONG: BadValue = BadValue::Syntax(GRAMMAR);
    if text.is_empty() {
        return Ok(None);
    }
    let mut rotate = Rotate { size: None, span: None };
    for part in text.split('/') {
        let part = part.trim();
        // A bare number would be bytes, and is hardly meant so.
        let size = value::size(part).ok().filter(|_| part.ends_with(|last: char| last.is_ascii_alphabetic()));
        if let Some(size) = size {
            let fits = (limits::LOG_ROTATE_MIN..=limits::LOG_ROTATE_MAX).contains(&size);
            if !fits || rotate.size.replace(size).is_some() {
                return Err(WRONG);
            }
        } else {
            let span = value::duration(part).map_err(|_| WRONG)?;
            let fits = (limits::LOG_ROTATE_SPAN_MIN..=limits::LOG_ROTATE_SPAN_MAX).contains(&span);
            if !fits || rotate.span.replace(span).is_some() {
                return Err(WRONG);
            }
        }
    }
    Ok(Some(rotate))
}

pub(super) fn keep(value: &DeValue<'_>) -> Result<Option<Keep>, Wrong> {
    if value.as_integer().is_some() {
        return integer(value, 1..=limits::LOG_KEPT_MAX, 30).map(|files| Some(Keep::Files(files as u32)));
    }
    let parse = |text: &str| {
        let span = value::duration(text)?;
        let fits = (limits::LOG_ROTATE_SPAN_MIN..=limits::CONFIG_TIME_MAX).contains(&span);
        if fits {
            Ok(Some(Keep::Age(span)))
        } else {
            Err(BadValue::Syntax("a number of files, or a time of 1m and more: 14, 30d"))
        }
    };
    parsed(value, parse, |_| None, "30d")
}
