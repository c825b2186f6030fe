//! Which events are meant.

use crate::config::value;
use crate::control::outlet::line::Line;
use crate::limits;
use crate::mail::address::international;
use crate::names::events::Kind;
use crate::queue::select::Pattern;
use crate::runtime::process;
use crate::time::{Civil, UnixMillis};
use regex::bytes::{Regex, RegexBuilder};

/// What can be said of them: the name of a filter, and what it means.
pub const LOG_FILTERS: [(&str, &str); 16] = [
    ("event", "Of these kinds: received, delivered, deferred, delayed, bounced, expired, …"),
    ("since", "From then on: 2h, 3d (ago), 2026-11-30 or 2026-11-30T05:00:00Z"),
    ("until", "Until then"),
    ("domain", "To somebody in this domain, or below it: *.example.org"),
    ("site", "At this site, by its name or one of its hosts"),
    ("provider", "At a site of this provider"),
    ("source", "That left by this [[source]]"),
    ("sender", "From this sender: ada@example.org, @example.org, *.example.org, or <> for notifications"),
    ("recipient", "To this address, or such"),
    ("account", "That came by this account"),
    ("tenant", "Of this tenant"),
    ("campaign", "Of this campaign"),
    ("pool", "For this pool of sources"),
    ("id", "Of this message"),
    ("class", "Of this class: bad_mailbox, throttled, …"),
    ("reply", "Whose reply has this in it, a regular expression in either case"),
];

/// Which events are meant: all of this holds.
#[derive(Clone, Debug, Default)]
pub struct LogFilters {
    /// Kinds; none: all.
    pub event: Vec<String>,
    /// From then on.
    pub since: Option<UnixMillis>,
    /// Until then.
    pub until: Option<UnixMillis>,
    /// The others, by their places in [`LOG_FILTERS`].
    texts: [Option<String>; LOG_FILTERS.len()],
}

/// What is wrong in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLogFilter {
    /// Which.
    pub name: &'static str,
    /// What is wrong, or what is right.
    pub words: String,
}

/// A time ago, or a day or time in UTC.
pub fn moment(text: &str) -> Result<UnixMillis, String> {
    if let Ok(ago) = value::duration(text) {
        return Ok(UnixMillis(process::wall().0.saturating_sub(ago.as_millis() as u64)));
    }
    let wrong = || {
        "write a time ago, as 2h or 3d, or a time in UTC, as 2026-11-30 or 2026-11-30T05:00:00Z".to_owned()
    };
    Civil::time_named(text).ok_or_else(wrong)
}

/// A mailbox that is meant.
#[derive(Debug)]
enum Mailbox {
    Nobody,
    Whole(String),
    /// Everybody there.
    Domain(Pattern),
}

impl Mailbox {
    fn parse(text: &str) -> Option<Mailbox> {
        if text == "<>" {
            return Some(Mailbox::Nobody);
        }
        match text.split_once('@') {
            Some(("", domain)) => Pattern::of_domain(domain).map(Mailbox::Domain),
            // What is no address may stand in a log all the same.
            Some(_) => {
                let whole = international::of_address(text).unwrap_or(text.into());
                Some(Mailbox::Whole(whole.to_ascii_lowercase()))
            }
            None => Pattern::of_domain(text).map(Mailbox::Domain),
        }
    }

    fn matches(&self, address: &str) -> bool {
        match self {
            Mailbox::Nobody => address.is_empty(),
            Mailbox::Whole(whole) => address.eq_ignore_ascii_case(whole),
            Mailbox::Domain(domain) => {
                let of = address.rsplit_once('@').map_or("", |(_, domain)| domain);
                domain.matches(&of.to_ascii_lowercase())
            }
        }
    }
}

/// The same, ready to be compared.
#[derive(Debug)]
pub struct Wanted {
    events: Vec<&'static str>,
    since: Option<String>,
    until: Option<String>,
    domain: Option<Pattern>,
    site: Option<Pattern>,
    sender: Option<Mailbox>,
    recipient: Option<Mailbox>,
    reply: Option<Regex>,
    /// Fields that are exactly so.
    texts: Vec<(&'static str, String)>,
    /// What stands in each line that is wanted, whatever else does: lines without it are not read.
    pub needle: Option<Regex>,
}

fn wrong(name: &'static str, words: impl Into<String>) -> BadLogFilter {
    BadLogFilter { name, words: words.into() }
}

impl BadLogFilter {
    /// As its value is told in a query.
    pub fn told(&self) -> String {
        format!("{}: {}", self.name, self.words)
    }
}

impl LogFilters {
    /// Sets one by its name. Whether there is such a one.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, BadLogFilter> {
        let Some(place) = LOG_FILTERS.iter().position(|(known, _)| *known == name) else { return Ok(false) };
        let name = LOG_FILTERS[place].0;
        if value.is_empty() || value.len() > limits::FILTER_TEXT_MAX {
            return Err(wrong(name, format!("write 1 to {} bytes", limits::FILTER_TEXT_MAX)));
        }
        let time = || moment(value).map_err(|words| wrong(name, words));
        match name {
            "event" => self.event = value.split(',').map(str::to_owned).collect(),
            "since" => self.since = Some(time()?),
            "until" => self.until = Some(time()?),
            _ => self.texts[place] = Some(value.to_owned()),
        }
        Ok(true)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let place = LOG_FILTERS.iter().position(|(known, _)| *known == name)?;
        self.texts[place].as_deref()
    }

    /// What is wrong in them is told.
    pub fn wanted(&self) -> Result<Wanted, BadLogFilter> {
        let event = |word: &String| {
            let known = Kind::all().map(Kind::word).find(|kind| kind == word);
            let all = || Kind::all().map(Kind::word).collect::<Vec<_>>().join(", ");
            known.ok_or_else(|| wrong("event", format!("{word:?} is none of {}", all())))
        };
        let mailbox = |name| {
            let parse = |text| {
                Mailbox::parse(text).ok_or_else(|| wrong(name, "write an address, @domain, *.domain or <>"))
            };
            self.text(name).map(parse).transpose()
        };
        let domain = |text| {
            Pattern::of_domain(text).ok_or_else(|| wrong("domain", "write a domain, or *. and a domain"))
        };
        let site =
            |text| Pattern::parse(text).ok_or_else(|| wrong("site", "write a site or one of its hosts"));
        let exact = ["provider", "source", "account", "tenant", "campaign", "pool", "id", "class"];
        let texts = exact.into_iter().filter_map(|name| Some((name, self.text(name)?.to_owned())));
        Ok(Wanted {
            events: self.event.iter().map(event).collect::<Result<_, _>>()?,
            since: self.since.map(text_of),
            until: self.until.map(text_of),
            domain: self.text("domain").map(domain).transpose()?,
            site: self.text("site").map(site).transpose()?,
            sender: mailbox("sender")?,
            recipient: mailbox("recipient")?,
            reply: self.text("reply").map(pattern).transpose()?,
            texts: texts.collect(),
            needle: self.needle(),
        })
    }

    /// The rarest text that there must be. Escaped as in JSON, so only where that changes nothing.
    fn needle(&self) -> Option<Regex> {
        let whole = |name| self.text(name).filter(|text| text.contains('@') && !text.starts_with('@'));
        let rare = self.text("id").or_else(|| whole("recipient")).or_else(|| whole("sender"));
        let domain =
            || self.text("domain").map(|domain| domain.trim_start_matches("*.").trim_end_matches('.'));
        let named = || ["campaign", "tenant", "account"].into_iter().find_map(|name| self.text(name));
        let event = || match &self.event[..] {
            [one] => Some(format!("\"event\":\"{one}\"")),
            _ => None,
        };
        let text = rare.or_else(domain).or_else(named).map(str::to_owned);
        let text = text
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'));
        let text = text.or_else(event)?;
        RegexBuilder::new(&regex::escape(&text)).case_insensitive(true).build().ok()
    }
}

fn pattern(text: &str) -> Result<Regex, BadLogFilter> {
    let built = RegexBuilder::new(text).case_insensitive(true).size_limit(limits::PATTERN_SIZE_MAX).build();
    built.map_err(|error| wrong("reply", format!("it is no regular expression: {error}")))
}

/// As lines begin with it.
fn text_of(at: UnixMillis) -> String {
    let mut out = Vec::new();
    at.write_iso(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The time of a line, without reading it.
fn time_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"{\"time\":\"")?.get(.."2026-11-30T05:00:00.000Z".len())
}

impl Wanted {
    /// The event of a line, if it is one of them.
    pub fn of<'a>(&self, raw: &'a [u8]) -> Option<Line<'a>> {
        if let Some(time) = time_of(raw) {
            let before = self.since.as_ref().is_some_and(|since| time < since.as_bytes());
            if before || self.until.as_ref().is_some_and(|until| time > until.as_bytes()) {
                return None;
            }
        }
        let line = Line::read(raw)?;
        self.means(&line).then_some(line)
    }

    fn means(&self, line: &Line<'_>) -> bool {
        if !self.events.is_empty() && !self.events.contains(&&*line.text("event")) {
            return false;
        }
        if !self.texts.iter().all(|(name, text)| line.text(name) == **text) {
            return false;
        }
        if self.domain.is_some() || self.recipient.is_some() {
            let recipients = line.each("recipients");
            let there = |address: &str| {
                let of = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
                self.domain.as_ref().is_none_or(|domain| domain.matches(&of))
            };
            let is_meant = |address: &str| self.recipient.as_ref().is_none_or(|meant| meant.matches(address));
            if !recipients.iter().any(|address| there(address) && is_meant(address)) {
                return false;
            }
        }
        self.sender
            .as_ref()
            .is_none_or(|sender| line.raw("sender").is_some() && sender.matches(&line.text("sender")))
            && self
                .site
                .as_ref()
                .is_none_or(|site| line.raw("site").is_some() && site.matches_site(&line.text("site")))
            && self.reply.as_ref().is_none_or(|reply| reply.is_match(line.text("reply").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":"2026-11-30T05:00:00.500Z","event":"bounced","id":"X1","sender":"s@z.example","recipients":["Ada@A.example","b@b.example"],"tenant":"t","hop":"mx [1.2.3.4]:25","site":"mx:10 mx.example:25,","provider":"big","reply":"550 5.1.1 No such user","class":"bad_mailbox"}"#;

    fn put(filters: &mut LogFilters, name: &str, value: &str) {
        assert!(filters.set(name, value).unwrap());
    }

    fn wants(change: impl Fn(&mut LogFilters)) -> bool {
        let mut filters = LogFilters::default();
        change(&mut filters);
        let wanted = filters.wanted().unwrap();
        let found = wanted.of(LINE.as_bytes()).is_some();
        if found && let Some(needle) = &wanted.needle {
            assert!(needle.is_match(LINE.as_bytes()), "{needle}");
        }
        found
    }

    #[test]
    fn each_filter_means_what_it_says() {
        assert!(wants(|_| {}));
        for (domain, found) in
            [("a.example", true), ("*.example", true), ("c.example", false), ("A.Example", true)]
        {
            assert_eq!(wants(|filters| put(filters, "domain", domain)), found, "{domain}");
        }
        for (recipient, found) in
            [("ada@a.example", true), ("@b.example", true), ("ada@b.example", false), ("<>", false)]
        {
            assert_eq!(wants(|filters| put(filters, "recipient", recipient)), found, "{recipient}");
        }
        assert!(!wants(|filters| {
            put(filters, "recipient", "ada@a.example");
            put(filters, "domain", "b.example");
        }));
        assert!(
            wants(|filters| put(filters, "sender", "S@Z.example"))
                && !wants(|filters| put(filters, "sender", "<>"))
        );
        assert!(
            wants(|filters| put(filters, "site", "mx.example"))
                && !wants(|filters| put(filters, "site", "mx2.example"))
        );
        assert!(
            wants(|filters| put(filters, "reply", "no SUCH"))
                && !wants(|filters| put(filters, "reply", "greylist"))
        );
        assert!(wants(|filters| filters.event = vec!["bounced".into()]));
        assert!(!wants(|filters| filters.event = vec!["delivered".into(), "expired".into()]));
        assert!(
            wants(|filters| put(filters, "tenant", "t")) && !wants(|filters| put(filters, "tenant", "T2"))
        );
        assert!(
            wants(|filters| put(filters, "class", "bad_mailbox"))
                && !wants(|filters| put(filters, "id", "X2"))
        );
        let at = |text| Some(moment(text).unwrap());
        assert!(wants(|filters| filters.since = at("2026-11-30T05:00:00Z")));
        assert!(!wants(|filters| filters.since = at("2026-11-30T05:00:01Z")));
        assert!(
            wants(|filters| filters.until = at("2026-12-01"))
                && !wants(|filters| filters.until = at("2026-11-30"))
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |change: fn(&mut LogFilters)| {
            let mut filters = LogFilters::default();
            change(&mut filters);
            filters.wanted().is_err()
        };
        assert!(wrong(|filters| filters.event = vec!["bounce".into()]));
        assert!(wrong(|filters| put(filters, "reply", "(")));
        assert!(wrong(|filters| put(filters, "domain", "*")));
        assert!(moment("yesterday").is_err() && moment("2h").is_ok());
    }
}
