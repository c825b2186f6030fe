//! A pattern of replies: a Rust regex on one line, over bytes, in linear time.
//!
//! KumoMTA's engine goes back, and files written for it look ahead at the beginning of a pattern: `^(?!not this)but this`. That much is
//! understood here too, as several patterns of which each must match, or must not; what looks elsewhere is refused.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use crate::limits;

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    written: Box<str>,
    /// What it looks ahead for, and whether that must be there.
    ahead: Vec<(bool, Regex)>,
    body: Regex,
}

/// Why a pattern cannot be used, in words that end a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(String);

impl fmt::Display for BadPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for BadPattern {}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.written == other.written
    }
}

impl Pattern {
    /// Compiles it, or says why it cannot be used.
    pub fn new(written: &str) -> Result<Pattern, BadPattern> {
        if written.len() > limits::SHAPING_PATTERN_MAX {
            return Err(BadPattern(format!("it has more than {} bytes", limits::SHAPING_PATTERN_MAX)));
        }
        let parts = Parts::of(written);
        let (ahead, rest) = (parts.ahead, parts.rest);
        if !ahead.is_empty() && has_choice(rest) {
            let why = "behind what it looks ahead for there is a choice (|): put that in brackets";
            return Err(BadPattern(why.to_owned()));
        }
        let whole = if ahead.is_empty() { written.to_owned() } else { format!("{}^{rest}", parts.flags) };
        let mut compiled = Vec::new();
        for (wanted, inner) in ahead {
            compiled.push((wanted, compile(&format!("{}^(?:{inner})", parts.flags))?));
        }
        Ok(Pattern { written: written.into(), ahead: compiled, body: compile(&whole)? })
    }

    /// As it stands in the file.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether a reply is meant. Of a long one the first [`limits::CLASS_TEXT_MAX`] bytes are looked at.
    pub fn matches(&self, reply: &[u8]) -> bool {
        let reply = &reply[..reply.len().min(limits::CLASS_TEXT_MAX)];
        self.body.is_match(reply) && self.ahead.iter().all(|(wanted, inner)| inner.is_match(reply) == *wanted)
    }
}

/// Bytes, not characters, wherever the pattern can be read so: what replies say is ASCII, and classes of all scripts are large.
fn compile(pattern: &str) -> Result<Regex, BadPattern> {
    let build = |unicode| {
        RegexBuilder::new(pattern)
            .unicode(unicode)
            .size_limit(limits::SHAPING_PATTERN_SIZE_MAX)
            .dfa_size_limit(limits::SHAPING_PATTERN_CACHE_MAX)
            .build()
    };
    let built = match build(false) {
        Err(regex::Error::Syntax(_)) => build(true),
        built => built,
    };
    built.map_err(|error| BadPattern(match error {
        regex::Error::CompiledTooBig(_) => {
            "it is too large: repeat less (a{100} is a hundred of them), or write several: regex = [\"…\", \"…\"]".to_owned()
        }
        error => {
            let words = error.to_string();
            let last = words.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
            let last = last.unwrap_or("it is no regular expression");
            if last.starts_with("look-around") {
                "it looks around (?=, ?!, ?<), which only ^(?!…) and ^(?=…) at its beginning may".to_owned()
            } else {
                last.to_owned()
            }
        }
    }))
}

/// A pattern that begins with what it looks ahead for.
struct Parts<'a> {
    /// `(?i)` and the like.
    flags: &'a str,
    ahead: Vec<(bool, &'a str)>,
    rest: &'a str,
}

impl Parts<'_> {
    fn of(written: &str) -> Parts<'_> {
        let none = Parts { flags: "", ahead: Vec::new(), rest: written };
        let is_flag = |letter: char| letter.is_ascii_alphabetic() || letter == '-';
        let inner = written.strip_prefix("(?").map_or("", |rest| rest.trim_start_matches(is_flag));
        let flags = match inner.strip_prefix(')') {
            Some(rest) => &written[..written.len() - rest.len()],
            None => "",
        };
        let Some(mut rest) = written[flags.len()..].strip_prefix('^') else { return none };
        let mut ahead = Vec::new();
        while let Some((wanted, inner)) = rest
            .strip_prefix("(?!")
            .map(|inner| (false, inner))
            .or(rest.strip_prefix("(?=").map(|inner| (true, inner)))
        {
            let Some(end) = outer(inner).find(|(_, byte)| *byte == b')') else { return none };
            ahead.push((wanted, &inner[..end.0]));
            rest = &inner[end.0 + 1..];
        }
        if ahead.is_empty() { none } else { Parts { flags, ahead, rest } }
    }
}

/// The bytes of a pattern that are in no group and no class, and not escaped: among them the bracket that ends the group it is in.
fn outer(pattern: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut depth, mut class, mut escaped) = (0i32, false, false);
    pattern.bytes().enumerate().filter(move |(_, byte)| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' => escaped = true,
            b']' => class = false,
            _ if class => return false,
            b'[' => class = true,
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ => return depth == 0,
        }
        false
    })
}

fn has_choice(pattern: &str) -> bool {
    outer(pattern).any(|(_, byte)| byte == b'|')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, reply: &str) -> bool {
        Pattern::new(pattern).expect(pattern).matches(reply.as_bytes())
    }

    #[test]
    fn what_is_ahead_must_be_there_or_not() {
        let pattern = "^(?!.*KumoMTA internal).*RL000010";
        assert!(matches(pattern, "421 4.1.0 RL000010 too many"));
        assert!(!matches(pattern, "421 KumoMTA internal: RL000010"));
        assert!(!matches(pattern, "421 4.1.0 other"));
        let both = "(?i)^(?=421)(?!.*(?:a\\)|[)b]x)).*slow";
        assert!(matches(both, "421 SLOW"));
        assert!(!matches(both, "421 Slow A)") && !matches(both, "421 slow )x") && !matches(both, "451 slow"));
        assert!(matches("^(?!5)(?:a|4)", "421") && !matches("^(?!4)(?:a|4)", "421"));
    }

    #[test]
    fn what_cannot_be_matched_in_linear_time_is_refused() {
        for (pattern, why) in [
            ("a(?!b)", "looks around"),
            ("(?<=a)b", "looks around"),
            ("^(?!(?!a))b", "looks around"),
            (r"(a)\1", "backreferences"),
            ("^(?!a)b|c", "choice"),
            ("(", "unclosed group"),
            ("(?:a{1000}){1000}", "too large"),
            ("[ab]*a[ab]{200}c", "too large"),
            (&"a".repeat(2_000), "bytes"),
        ] {
            let words = Pattern::new(pattern).expect_err(pattern).to_string();
            assert!(words.contains(why), "{pattern}: {words}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_matched_too() {
        let pattern = Pattern::new("RL.00").unwrap();
        assert!(pattern.matches(b"421 \xff RL\xff00"));
        assert!(matches("weren.t", "weren't") && matches("zurückgewiesen", "550 zurückgewiesen"));
        let long = [&[b'x'; 10_000][..], b"late"].concat();
        assert!(!Pattern::new("late").unwrap().matches(&long));
    }
}
