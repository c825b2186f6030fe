//! What a report means: its class, by what the hop said, by what the notification says, and by codes, in this order.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::report;
use crate::limits;
use crate::mail::classify::{Class, Classes, Judged};

/// A reply's code, and its enhanced code, somewhere in a text.
static CODE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u)(?:^|[^0-9A-Za-z.#=/_-])([2345][0-9]{2})(?:[ -]+#?\(?(?:[\[<(]?(?:#)?([245]\.[0-9]{1,3}\.[0-9]{1,3})\b)?|$|[:;,.)(])").ok()
});
/// An enhanced code alone.
static STATUS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u)(?:^|[^0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[^0-9.]|\.?$|\.[^0-9])").ok()
});

/// What was found out of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub class: Class,
    pub permanent: bool,
    pub code: Option<u16>,
    pub status: Option<(u8, u16, u16)>,
}

/// Looks through texts, and through no more than so many a message.
#[derive(Debug)]
pub(super) struct Looker {
    left: usize,
    /// Texts that were looked through last: recipients of one message share them.
    seen: Vec<(Vec<u8>, Option<Judged>)>,
}

/// A text as a reply.
struct Reply {
    code: Option<u16>,
    status: Option<(u8, u16, u16)>,
    /// What stands behind the codes.
    words: String,
}

impl Looker {
    pub fn new() -> Looker {
        Looker { left: limits::INCOMING_LOOKS_MAX, seen: Vec::new() }
    }

    /// What texts mean, nearest to the recipient first; `status` is the report's.
    pub fn verdict<'a>(
        &mut self,
        texts: impl IntoIterator<Item = &'a str>,
        status: Option<(u8, u16, u16)>,
        hop: &str,
    ) -> Verdict {
        let mut first: Option<Reply> = None;
        let mut found: Option<(Judged, &str)> = None;
        let mut at_greeting = false;
        for text in texts {
            at_greeting |= matches!(stage(text), Some(Stage::Greeting));
            if text.trim().is_empty() {
                continue;
            }
            let reply = read(text);
            found = self.look(&reply, status, hop).map(|judged| (judged, text));
            // Words in front of the code count, too.
            if found.is_none() && reply.words.len() < text.len() {
                let whole = Reply { code: None, status: None, words: cut(text).to_owned() };
                found = self.look(&whole, status.or(reply.status), hop).map(|judged| (judged, text));
            }
            if first.as_ref().is_none_or(|first| first.code.is_none() && reply.code.is_some()) {
                first = Some(reply);
            }
            if found.is_some() {
                break;
            }
        }
        let code = first.as_ref().and_then(|reply| reply.code);
        let own = first.as_ref().and_then(|reply| reply.status);
        // 5.0.0 and the like say nothing; the reply's own code says more.
        let known = status.filter(|(_, subject, _)| *subject != 0).or(own).or(status);
        let mut judged = found.map(|(judged, _)| judged).unwrap_or_else(|| by_codes(code, own, known, hop));
        if let Some(stage) = found.and_then(|(_, text)| stage(text)) {
            judged.class = at_stage(stage, judged.class);
        } else if at_greeting && judged.class == Class::Other {
            judged.class = Class::Policy;
        }
        let digit = known.map(|(class, ..)| class).or(code.map(|code| (code / 100) as u8));
        let permanent = judged.permanent.unwrap_or(digit.is_none_or(|digit| digit == 5));
        Verdict { class: judged.class, permanent, code, status: known }
    }

    /// What the words of a reply say; none where only its codes would.
    fn look(&mut self, reply: &Reply, status: Option<(u8, u16, u16)>, hop: &str) -> Option<Judged> {
        if reply.words.is_empty() {
            return None;
        }
        let class = reply.status.or(status).map_or(5, |(class, ..)| class);
        let code = reply.code.unwrap_or(if class == 4 { 450 } else { 550 });
        // Some entries know a reply by its enhanced code, which the report has where the hop gave none.
        let specific = status.filter(|(_, subject, _)| *subject != 0 && reply.status.is_none());
        let with = specific.and_then(|status| self.look_with(reply, code, Some(status), hop));
        let plain = self.look_with(reply, code, reply.status, hop);
        plain.or(with)
    }

    fn look_with(
        &mut self,
        reply: &Reply,
        code: u16,
        status: Option<(u8, u16, u16)>,
        hop: &str,
    ) -> Option<Judged> {
        let codes = match status {
            Some((class, subject, detail)) => format!("{code} {class}.{subject}.{detail}"),
            None => code.to_string(),
        };
        let text = format!("{codes} {}", reply.words);
        if let Some((_, judged)) = self.seen.iter().find(|(seen, _)| seen == text.as_bytes()) {
            return *judged;
        }
        self.left = self.left.checked_sub(1)?;
        let judged = Classes::judge_words(&text, &codes, hop);
        self.seen.push((text.into_bytes(), judged));
        judged
    }
}

/// Whom a reply was to, before recipients were named.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Greeting,
    Sender,
}

fn stage(text: &str) -> Option<Stage> {
    const GREETING: [&str; 5] =
        ["after EHLO", "after HELO", "after initial connection", "my name was rejected", "in reply to EHLO"];
    const SENDER: [&str; 4] =
        ["after MAIL FROM", "in reply to MAIL FROM", "(in reply to MAIL", "sender was rejected"];
    let has = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if has(&GREETING) { Some(Stage::Greeting) } else { has(&SENDER).then_some(Stage::Sender) }
}

/// A domain or an address that is refused before a recipient is named is the sender's.
fn at_stage(stage: Stage, class: Class) -> Class {
    match (stage, class) {
        (Stage::Sender, Class::BadMailbox | Class::InactiveMailbox | Class::BadDomain | Class::NoMx) => {
            Class::BadSender
        }
        (
            Stage::Greeting,
            Class::BadMailbox | Class::InactiveMailbox | Class::BadDomain | Class::OurFault,
        ) => Class::Policy,
        _ => class,
    }
}

/// What codes alone say: those of the reply, then the report's.
fn by_codes(
    code: Option<u16>,
    own: Option<(u8, u16, u16)>,
    known: Option<(u8, u16, u16)>,
    hop: &str,
) -> Judged {
    let text = |status: Option<(u8, u16, u16)>| {
        let class = status.map_or(5, |(class, ..)| class);
        let code = code.unwrap_or(if class == 4 { 450 } else { 550 });
        match status {
            Some((class, subject, detail)) => format!("{code} {class}.{subject}.{detail} "),
            None => format!("{code} "),
        }
    };
    for status in [own, known].into_iter().flatten() {
        let judged = Classes::judge_codes(&text(Some(status)), hop);
        if judged.class != Class::Other {
            return judged;
        }
    }
    if code.is_some() && known.is_none() { Classes::judge_codes(&text(None), hop) } else { Judged::UNKNOWN }
}

fn cut(text: &str) -> &str {
    crate::mail::header::cut(text, limits::INCOMING_REASON_MAX)
}

/// Finds a reply in a text: the first code, what stands behind it, and without the codes that repeat in front of each line.
fn read(text: &str) -> Reply {
    let text = cut(text);
    let bytes = text.as_bytes();
    let (mut code, mut status, mut start) = (None, None, 0);
    if let Some(groups) = CODE.as_ref().and_then(|pattern| pattern.captures(bytes)) {
        let group = |place: usize| groups.get(place).and_then(|group| str::from_utf8(group.as_bytes()).ok());
        code = group(1).and_then(|digits| digits.parse().ok());
        status = group(2).and_then(report::status);
        let behind = groups.get(2).or(groups.get(1)).map_or(0, |group| group.end());
        start = behind;
    }
    if status.is_none()
        && let Some(group) = STATUS.as_ref().and_then(|p| p.captures(bytes)).and_then(|groups| groups.get(1))
    {
        status = str::from_utf8(group.as_bytes()).ok().and_then(report::status);
        if code.is_none() && group.start() < 4 {
            start = group.end();
        }
    }
    let words = text.get(start..).unwrap_or_default();
    let words = words.trim_start_matches([' ', '-', ':', ';', ',', ')', ']', '>', '.']).trim_end();
    let mut words = words.replace(" <<< ", " ");
    if let Some(code) = code {
        for sign in ['-', ' '] {
            let again = match status {
                Some((class, subject, detail)) => format!(" {code}{sign}{class}.{subject}.{detail} "),
                None => format!(" {code}{sign}"),
            };
            words = words.replace(&again, " ");
        }
    }
    Reply { code, status, words }
}
