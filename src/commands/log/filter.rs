//! Which events are meant.

use clap::Args;
use regex::bytes::{Regex, RegexBuilder};
use relevo::config::value;
use relevo::control::outlet::line::Line;
use relevo::limits;
use relevo::names::events::Kind;
use relevo::queue::select::Pattern;
use relevo::runtime::process;
use relevo::time::{Civil, UnixMillis};

use super::super::output::{Failure, WRONG_USE};

/// Options that say which.
#[derive(Args, Clone, Debug, Default)]
pub struct Filters {
    /// Of these kinds: received, delivered, deferred, delayed, bounced, expired, …
    #[arg(long, value_name = "EVENT,...", value_delimiter = ',', help_heading = "Filters")]
    event: Vec<String>,
    /// From then on: 2h, 3d (ago), 2026-11-30 or 2026-11-30T05:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Filters")]
    pub since: Option<UnixMillis>,
    /// Until then
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Filters")]
    until: Option<UnixMillis>,
    /// To somebody in this domain, or below it: *.example.org
    #[arg(long, value_name = "DOMAIN", help_heading = "Filters")]
    domain: Option<String>,
    /// At this site, by its name or one of its hosts
    #[arg(long, value_name = "SITE", help_heading = "Filters")]
    site: Option<String>,
    /// At a site of this provider
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    provider: Option<String>,
    /// That left by this [[source]]
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    source: Option<String>,
    /// From this sender: ada@example.org, @example.org, *.example.org, or <> for notifications
    #[arg(long, value_name = "PATTERN", help_heading = "Filters")]
    sender: Option<String>,
    /// To this address, or such
    #[arg(long, value_name = "PATTERN", help_heading = "Filters")]
    recipient: Option<String>,
    /// That came by this account
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    account: Option<String>,
    /// Of this tenant
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    tenant: Option<String>,
    /// Of this campaign
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    campaign: Option<String>,
    /// For this pool of sources
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    pool: Option<String>,
    /// Of this message
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    id: Option<String>,
    /// Of this class: bad_mailbox, throttled, …
    #[arg(long, value_name = "CLASS", help_heading = "Filters")]
    class: Option<String>,
    /// Whose reply has this in it, a regular expression in either case
    #[arg(long, value_name = "PATTERN", help_heading = "Filters")]
    reply: Option<String>,
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
            Some(_) => Some(Mailbox::Whole(text.to_ascii_lowercase())),
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

fn wrong(option: &str, want: &str) -> Failure {
    Failure(WRONG_USE, format!("--{option}: {want}"))
}

impl Filters {
    /// What is wrong in them is told.
    pub fn wanted(&self) -> Result<Wanted, Failure> {
        let event = |word: &String| {
            let known = Kind::all().map(Kind::word).find(|kind| kind == word);
            let all = || Kind::all().map(Kind::word).collect::<Vec<_>>().join(", ");
            known.ok_or_else(|| wrong("event", &format!("{word:?} is none of {}", all())))
        };
        let mailbox = |option, text: &Option<String>| {
            let parse = |text: &String| {
                Mailbox::parse(text).ok_or_else(|| wrong(option, "write an address, @domain, *.domain or <>"))
            };
            text.as_ref().map(parse).transpose()
        };
        let domain = |text: &String| {
            Pattern::of_domain(text).ok_or_else(|| wrong("domain", "write a domain, or *. and a domain"))
        };
        let site = |text: &String| {
            Pattern::parse(text).ok_or_else(|| wrong("site", "write a site or one of its hosts"))
        };
        let texts = [
            ("provider", &self.provider),
            ("source", &self.source),
            ("account", &self.account),
            ("tenant", &self.tenant),
            ("campaign", &self.campaign),
            ("pool", &self.pool),
            ("id", &self.id),
            ("class", &self.class),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        Ok(Wanted {
            events: self.event.iter().map(event).collect::<Result<_, _>>()?,
            since: self.since.map(text_of),
            until: self.until.map(text_of),
            domain: self.domain.as_ref().map(domain).transpose()?,
            site: self.site.as_ref().map(site).transpose()?,
            sender: mailbox("sender", &self.sender)?,
            recipient: mailbox("recipient", &self.recipient)?,
            reply: self.reply.as_deref().map(pattern).transpose()?,
            texts: texts.collect(),
            needle: self.needle(),
        })
    }

    /// The rarest text that there must be. Escaped as in JSON, so only where that changes nothing.
    fn needle(&self) -> Option<Regex> {
        let whole = |text: &&String| text.contains('@') && !text.starts_with('@');
        let rare = [
            &self.id,
            &self.recipient.as_ref().filter(whole).cloned(),
            &self.sender.as_ref().filter(whole).cloned(),
        ];
        let rare = rare.into_iter().flatten().next().cloned();
        let domain = || {
            self.domain
                .as_ref()
                .map(|domain| domain.trim_start_matches("*.").trim_end_matches('.').to_owned())
        };
        let named = || [&self.campaign, &self.tenant, &self.account].into_iter().flatten().next().cloned();
        let event = || match &self.event[..] {
            [one] => Some(format!("\"event\":\"{one}\"")),
            _ => None,
        };
        let text = rare.or_else(domain).or_else(named);
        let text = text
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'));
        let text = text.or_else(event)?;
        RegexBuilder::new(&regex::escape(&text)).case_insensitive(true).build().ok()
    }
}

fn pattern(text: &str) -> Result<Regex, Failure> {
    let built = RegexBuilder::new(text).case_insensitive(true).size_limit(limits::PATTERN_SIZE_MAX).build();
    built.map_err(|error| wrong("reply", &format!("it is no regular expression: {error}")))
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

    fn wants(change: impl Fn(&mut Filters)) -> bool {
        let mut filters = Filters::default();
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
        let text = |text: &str| Some(text.to_owned());
        assert!(wants(|_| {}));
        for (domain, found) in
            [("a.example", true), ("*.example", true), ("c.example", false), ("A.Example", true)]
        {
            assert_eq!(wants(|filters| filters.domain = text(domain)), found, "{domain}");
        }
        for (recipient, found) in
            [("ada@a.example", true), ("@b.example", true), ("ada@b.example", false), ("<>", false)]
        {
            assert_eq!(wants(|filters| filters.recipient = text(recipient)), found, "{recipient}");
        }
        assert!(!wants(|filters| {
            filters.recipient = text("ada@a.example");
            filters.domain = text("b.example");
        }));
        assert!(
            wants(|filters| filters.sender = text("S@Z.example"))
                && !wants(|filters| filters.sender = text("<>"))
        );
        assert!(
            wants(|filters| filters.site = text("mx.example"))
                && !wants(|filters| filters.site = text("mx2.example"))
        );
        assert!(
            wants(|filters| filters.reply = text("no SUCH"))
                && !wants(|filters| filters.reply = text("greylist"))
        );
        assert!(wants(|filters| filters.event = vec!["bounced".into()]));
        assert!(!wants(|filters| filters.event = vec!["delivered".into(), "expired".into()]));
        assert!(wants(|filters| filters.tenant = text("t")) && !wants(|filters| filters.tenant = text("T2")));
        assert!(
            wants(|filters| filters.class = text("bad_mailbox")) && !wants(|filters| filters.id = text("X2"))
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
        let wrong = |change: fn(&mut Filters)| {
            let mut filters = Filters::default();
            change(&mut filters);
            filters.wanted().is_err()
        };
        assert!(wrong(|filters| filters.event = vec!["bounce".into()]));
        assert!(wrong(|filters| filters.reply = Some("(".into())));
        assert!(wrong(|filters| filters.domain = Some("*".into())));
        assert!(moment("yesterday").is_err() && moment("2h").is_ok());
    }
}
