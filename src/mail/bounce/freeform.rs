//! Notifications without a report for machines, by the words of the systems that write them (`systems.toml`).
//!
//! An entry says by what a system is known, how it writes a recipient, and, where that does not stand behind the recipient, the reason. What is
//! by a mail system that no entry knows is read by what all have in common.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::found::{Action, PerRecipient, Returned};
use super::notice::Notice;
use super::text;
use super::verdict::Looker;
use crate::limits;
use crate::mail::classify::Class;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    system: Vec<Entry>,
}

/// One system, as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub name: String,
    /// Fits header fields (`From: …`, `Subject: …`, `X-Mailer: …`, one a line) and the text behind an empty line.
    sign: String,
    /// The first group that takes part is the address.
    recipient: Option<String>,
    /// The first group that takes part is the reason, of all recipients.
    reason: Option<String>,
    /// What its notifications are about where no words say it.
    class: Option<Class>,
    /// Whether the class stands, whatever the words.
    #[serde(default)]
    always: bool,
    /// It is about mail that is tried on.
    #[serde(default)]
    delay: bool,
    /// What is about a recipient stands in front of the line that names it.
    #[serde(default)]
    above: bool,
    /// Messages of it, and `address class` for each recipient.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold the patterns to them"))]
    pub example: Vec<Example>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "tests hold the patterns to them"))]
pub(super) struct Example {
    pub message: String,
    pub found: Vec<String>,
}

struct System {
    name: &'static str,
    sign: Regex,
    recipient: Option<Regex>,
    reason: Option<Regex>,
    class: Option<Class>,
    always: bool,
    delay: bool,
    above: bool,
}

static SYSTEMS: LazyLock<Vec<System>> = LazyLock::new(|| {
    // A fault in it does not pass the tests; without entries all notifications are read alike.
    file().map(|file| file.system.into_iter().filter_map(System::new).collect()).unwrap_or_default()
});

/// An address in running text.
static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?-u)(?:"[^"\n@]{1,64}"|[A-Za-z0-9._=+%&~!#$'*/?^`{|}-]{1,128})@(?:[A-Za-z0-9_-]{1,63}\.){1,8}[A-Za-z0-9-]{2,24}"#).ok()
});

/// One that a line begins with, and that stands alone there or in front of what is about it.
static LEADING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?m-u)^[ \t>*-]{0,8}["'<]{0,2}([A-Za-z0-9._=+%&~!#$'*/?^`{|}-]{1,128}@(?:[A-Za-z0-9_-]{1,63}\.){1,8}[A-Za-z0-9-]{2,24})[">']{0,2}(?:[ \t]*(?:$|[:(,\[]|\.\.\.)| on |[ \t]+-|<mailto:)"#,
    )
    .ok()
});

/// Words of a notification that says that mail did not arrive.
static FAILURE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i-u)undeliver|not (?:be )?(?:delivered|relayed|sent\b)|non-?delivery|deliver[a-z]* (?:status )?(?:has |have |was )?(?:fail|problem|error|not)|fail[a-z]* (?:to deliver|notice|notification)",
        r"|returned (?:mail|to sender|message)|return(?:ing|ed) (?:message|mail)|could ?n[o']t (?:be )?(?:deliver|sen)|cannot (?:be )?(?:deliver|sen)|unable to (?:be )?(?:deliver|send|relay)|was rejected|(?:was|were|been) (?:refused|blocked|bounced)|delivery status|error sending|mail (?:system )?error|failure|processing error|encountered an error|error during delivery|has been returned",
        r"|unzustellbar|nicht (?:zugestellt|ausgeliefert)|non (?:remis|distribu|delivr|recapitat)|no se (?:pudo|ha podido) entregar|(?:non|nao|n\xC3\xA3o) (?:foi )?(?:consegnat|entregue)|\xE9\x80\x80\xE4\xBF\xA1|\xE3\x82\xA8\xE3\x83\xA9\xE3\x83\xBC|\xE4\xB8\x8D\xE9\x81\x94|\xD0\xBD\xD0\xB5 \xD0\xB4\xD0\xBE\xD1\x81\xD1\x82\xD0\xB0\xD0\xB2\xD0\xBB\xD0\xB5\xD0\xBD"
    ))
    .ok()
});

/// What subjects of notifications begin with, and of no answer to one.
static FAILED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i-u)^(?:returned (?:e-?)?mail|undeliver(?:able|ed)|(?:e-?mail |message |mail )?delivery (?:has )?(?:fail|status|notification|problem|report|delay)|(?:mail|message) (?:could )?not (?:be )?delivered|non-?delivery|failure notice|failed mail|delivery has)").ok()
});

/// Words of one that says that it is tried on.
static TRIED_ON: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i-u)will (?:still )?(?:keep|continue|be)? ?(?:on )?(?:be )?(?:to )?(?:re-?)?(?:try|trying|tried|retried|retry)\b",
        r"|(?:do not|don't|no) need to (?:re-?send|resubmit|take any action)|attempts? (?:to deliver .{0,60})?will (?:continue|be repeated)|warning message only|this is (?:only )?(?:just )?a warning|no action is required on your part|not yet been delivered|has been delayed|is being delayed|delivery delayed|still being (?:tried|attempted|retried)|will be (?:made|attempted) (?:again )?for|wird weiter(?:hin)? versucht"
    ))
    .ok()
});
/// Words of one that says that it is given up.
static GIVEN_UP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i-u)given up|giving up|permanent|no (?:further|more) (?:delivery )?attempts|will not (?:be )?(?:re)?tr(?:y|ied)|could not be delivered (?:for|within)|has been (?:discarded|removed)|expired").ok()
});

/// The file, read.
pub(super) fn file() -> Result<File, toml::de::Error> {
    toml::from_str(include_str!("systems.toml"))
}

impl File {
    #[cfg(test)]
    pub fn entries(&self) -> &[Entry] {
        &self.system
    }
}

impl System {
    fn new(entry: Entry) -> Option<System> {
        let compile = |pattern: &str| {
            RegexBuilder::new(pattern)
                .unicode(false)
                .multi_line(true)
                .size_limit(limits::SYSTEM_COMPILED_MAX)
                .dfa_size_limit(limits::SYSTEM_CACHE_MAX)
                .build()
                .ok()
        };
        Some(System {
            sign: compile(&entry.sign)?,
            recipient: match &entry.recipient {
                Some(pattern) => Some(compile(pattern)?),
                None => None,
            },
            reason: match &entry.reason {
                Some(pattern) => Some(compile(pattern)?),
                None => None,
            },
            class: entry.class,
            always: entry.always,
            delay: entry.delay,
            above: entry.above,
            // Once a process: the file is compiled in, its names are what is said of findings.
            name: String::leak(entry.name),
        })
    }
}

/// A notification that was read.
pub(super) struct Reading {
    pub returned: Returned,
    /// It is of mail that is tried on.
    pub delay: bool,
    /// It names recipients itself.
    pub named: bool,
}

/// A recipient that is named in a text, and the piece of it that is about this one.
struct Named {
    address: String,
    about: Range<usize>,
}

/// Reads what a system of the file wrote. None: no entry knows it, or it names nobody.
pub(super) fn known(notice: &Notice, looker: &mut Looker) -> Option<Reading> {
    let system = SYSTEMS.iter().find(|system| system.sign.is_match(&notice.marked))?;
    let named = match &system.recipient {
        Some(pattern) => named(notice, system.above, |text| addresses(pattern, text)),
        None => Vec::new(),
    };
    let reason = system
        .reason
        .as_ref()
        .and_then(|pattern| group(pattern, notice.text()))
        .map(|range| text::one_line(&notice.text()[range], limits::INCOMING_REASON_MAX));
    let (named, by_name) = if named.is_empty() { fallback(notice) } else { (named, true) };
    let mut returned = report(notice, named, reason, looker)?;
    for report in &mut returned.reports {
        if let Some(class) = system.class.filter(|_| system.always || report.class == Class::Other) {
            report.class = class;
        }
    }
    returned.matched = system.name;
    let delay = system.delay || is_delay(notice);
    Some(Reading { returned: finish(returned, delay), delay, named: by_name })
}

/// Reads what a mail system wrote that no entry knows. None: it is no such thing.
pub(super) fn unknown(notice: &Notice, looker: &mut Looker) -> Option<Reading> {
    let fits = |pattern: &LazyLock<Option<Regex>>, text: &[u8]| {
        pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
    };
    let fails = fits(&FAILURE, notice.subject.as_bytes()) || fits(&FAILURE, notice.text());
    let delay = is_delay(notice);
    let subject = notice.subject.as_bytes();
    let of_a_system = notice.is_of_a_system()
        || notice.null_path && fits(&FAILURE, subject)
        || fits(&FAILED, subject) && fits(&FAILURE, notice.text());
    let (named, by_name) = fallback(notice);
    // Whoever calls himself MAILER-DAEMON and lists addresses needs no words that are known.
    let of_daemon = by_name && notice.from.to_ascii_lowercase().contains("mailer-daemon");
    if notice.failed.is_empty() && !of_daemon && !(of_a_system && (fails || delay)) {
        return None;
    }
    let mut returned = report(notice, named, None, looker)?;
    returned.matched = "unknown";
    Some(Reading { returned: finish(returned, delay), delay, named: by_name })
}

fn finish(mut returned: Returned, delay: bool) -> Returned {
    if delay {
        for report in &mut returned.reports {
            report.action = Action::Delayed;
            report.permanent = false;
        }
    }
    returned
}

fn is_delay(notice: &Notice) -> bool {
    let fits = |pattern: &LazyLock<Option<Regex>>| {
        let text = &notice.marked;
        pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
    };
    fits(&TRIED_ON) && !fits(&GIVEN_UP)
}

/// Where the first group of a match stands that takes part.
fn group(pattern: &Regex, text: &[u8]) -> Option<Range<usize>> {
    let groups = pattern.captures(text)?;
    groups.iter().skip(1).flatten().next().map(|group| group.range())
}

/// Whole matches and the addresses in them.
fn addresses(pattern: &Regex, text: &[u8]) -> Vec<(Range<usize>, String)> {
    pattern
        .captures_iter(text)
        .take(limits::INCOMING_REPORTS_MAX)
        .filter_map(|groups| {
            let whole = groups.get(0)?.range();
            let found = groups.iter().skip(1).flatten().next()?;
            Some((whole, text::address(&String::from_utf8_lossy(found.as_bytes()))?))
        })
        .collect()
}

/// Each recipient once, with what stands from its line to the next one's, or, with `above`, from the line before to its own.
fn named(notice: &Notice, above: bool, find: impl Fn(&[u8]) -> Vec<(Range<usize>, String)>) -> Vec<Named> {
    let text = notice.text();
    let found = find(text);
    let line = |place: usize| memchr::memrchr(b'\n', &text[..place]).map_or(0, |end| end + 1);
    let line_end = |place: usize| memchr::memchr(b'\n', &text[place..]).map_or(text.len(), |end| place + end);
    let mut out: Vec<Named> = Vec::new();
    let mut behind = 0;
    for (place, (range, address)) in found.iter().enumerate() {
        let about = if above {
            behind..line_end(range.end)
        } else {
            let end = found.get(place + 1).map_or(text.len(), |(next, _)| line(next.start));
            line(range.start)..end.max(range.end)
        };
        behind = about.end;
        match out.iter_mut().find(|named| named.address.eq_ignore_ascii_case(address)) {
            Some(known) if known.about.end >= about.start => known.about.end = about.end,
            Some(_) => {}
            None => out.push(Named { address: address.clone(), about }),
        }
    }
    out
}

/// Recipients by a field, by addresses in the text that are neither the sender's nor the system's, or by the message that came back; and whether
/// the notification names them itself.
fn fallback(notice: &Notice) -> (Vec<Named>, bool) {
    let all = 0..notice.text().len();
    let whole = |address: &String| Named { address: address.clone(), about: all.clone() };
    if !notice.failed.is_empty() {
        return (notice.failed.iter().map(whole).collect(), true);
    }
    let text = notice.text();
    let from = text::address(&notice.from).unwrap_or_default();
    let own_domain = from.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
    let is_other = |address: &str| {
        let lower = address.to_ascii_lowercase();
        let local = lower.split('@').next().unwrap_or_default();
        let known =
            notice.to.iter().any(|to| to.eq_ignore_ascii_case(address)) || lower.eq_ignore_ascii_case(&from);
        let of_system =
            matches!(local, "postmaster" | "mailer-daemon" | "abuse" | "support" | "helpdesk" | "hostmaster");
        !(known || of_system || local == "admin" && lower.ends_with(&own_domain))
    };
    // Lines that repeat the sender's own address say so.
    let is_sender_line = |start: usize| {
        let line = memchr::memrchr(b'\n', &text[..start]).map_or(0, |end| end + 1);
        let head = text[line..start].trim_ascii_start().to_ascii_lowercase();
        [
            &b"from:"[..],
            b"sender:",
            b"mail from",
            b"reply-to",
            b"message-id",
            b"return-path",
            b">>> mail from",
        ]
        .iter()
        .any(|word| head.starts_with(word))
    };
    // A list of recipients has a line for each; else the first address that is named is the one.
    if let Some(pattern) = LEADING.as_ref() {
        let leading = |text: &[u8]| -> Vec<_> {
            addresses(pattern, text).into_iter().filter(|(_, address)| is_other(address)).collect()
        };
        let found = named(notice, false, leading);
        if !found.is_empty() {
            return (found, true);
        }
    }
    if let Some(pattern) = ADDRESS.as_ref() {
        let found = pattern
            .find_iter(text)
            .take(limits::INCOMING_REPORTS_MAX)
            .filter(|found| !is_sender_line(found.start()))
            .filter_map(|found| text::address(&String::from_utf8_lossy(found.as_bytes())))
            .find(|address| is_other(address));
        if let Some(address) = found {
            return (vec![whole(&address)], true);
        }
    }
    let original = notice.original();
    // Without one of them, a return path may tell whose it was.
    let address = match original.to.as_slice() {
        [only] => only.clone(),
        _ => String::new(),
    };
    (vec![Named { address, about: all }], false)
}

/// Findings of recipients and of what is said of them.
fn report(
    notice: &Notice,
    named: Vec<Named>,
    reason: Option<String>,
    looker: &mut Looker,
) -> Option<Returned> {
    let said = |range: Range<usize>| text::one_line(&notice.text()[range], limits::INCOMING_REASON_MAX);
    // Where recipients stand in a list, what is behind the last is about all.
    let last = named.last().map(|named| said(named.about.clone())).unwrap_or_default();
    let whole = text::one_line(notice.text(), limits::INCOMING_REASON_MAX);
    let mut reports = Vec::new();
    for one in named {
        let about = said(one.about);
        let [line, lines] = notice.mentions(&one.address);
        let reason = reason.as_deref().unwrap_or_default();
        let texts = [reason, &about, &line, &lines, &last, &whole, &notice.subject];
        let verdict = looker.verdict(texts, None, "");
        let diagnostic = texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned();
        reports.push(PerRecipient {
            recipient: one.address,
            original_recipient: None,
            action: Action::Failed,
            status: verdict.status,
            code: verdict.code,
            diagnostic,
            remote_mta: None,
            class: verdict.class,
            permanent: verdict.permanent,
        });
    }
    let original = notice.original();
    (!reports.is_empty()).then(|| Returned { reports, original, ..Returned::default() })
}
