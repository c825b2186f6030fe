//! `[[webhook]]`: who is told of events, over the web.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use crate::config::hook::HookUrl;
use crate::config::literal::{Fix, Wrong, list, parsed, path, quoted, text};
use crate::config::nearest::nearest;
use crate::config::section::Section;
use crate::config::value::{self, BadValue};
use crate::config::{Network, Password};
use crate::limits;
use crate::names::events::Kind;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Its section: `webhook[0]`.
    pub section: String,
    /// Where events are sent.
    pub url: HookUrl,
    /// Where the key stands that they are signed with.
    pub secret_file: PathBuf,
    /// What stands there; empty until it was read.
    pub secret: Password,
    /// Kinds that are sent; None is all.
    pub events: Option<Vec<&'static str>>,
    /// `batch`: so many at once.
    pub most: usize,
    /// And so long after the first of them at the latest.
    pub span: Duration,
    /// Networks that are none of the public Internet and may be sent to all the same.
    pub networks: Vec<Network>,
}

impl WebhookConfig {
    /// Whether the operator names the network of this address.
    pub fn names(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

const USUAL: &str = "https://events.example.com/relevo";
const USUAL_BATCH: &str = "500/30s";

/// All of them.
pub(super) fn read(root: &Section<'_>) -> Vec<WebhookConfig> {
    let mut all: Vec<WebhookConfig> = Vec::new();
    for section in &root.sections("webhook") {
        let Some(webhook) = one(section) else { continue };
        if all.len() == limits::WEBHOOKS_MAX {
            let problem = format!("there are more than {} webhooks", limits::WEBHOOKS_MAX);
            section.fail("url", "", &problem, Fix::Do("remove some".to_owned()));
            break;
        }
        if all.iter().any(|other| other.url == webhook.url) {
            let fix = Fix::Do("name another URL, or remove one of the two".to_owned());
            section.fail("url", "", "there is a webhook of this URL already", fix);
        }
        all.push(webhook);
    }
    all
}

fn one(section: &Section<'_>) -> Option<WebhookConfig> {
    let url = section.read("url", None, |value| {
        let words = text(value, USUAL)?;
        let wrong = || {
            let meant = HookUrl::parse(&format!("https://{words}")).map(|url| url.to_string());
            let problem = format!("{} is no URL of a service", quoted(words));
            Wrong::write(problem, quoted(meant.as_deref().unwrap_or(USUAL)), "")
        };
        HookUrl::parse(words).map(Some).ok_or_else(wrong)
    });
    let secret_file = section.read("secret_file", None, |value| path(value, "/etc/relevo/webhook.secret"));
    let events = section.read("events", None, |value| {
        let events = list(value, event, meant, "bounced")?;
        if events.is_empty() {
            return Err(Wrong::act("no event is sent there", "name some, or remove the webhook"));
        }
        Ok(Some(events))
    });
    let usual = (limits::WEBHOOK_BATCH, limits::WEBHOOK_SPAN);
    let (most, span) = section.read("batch", usual, |value| parsed(value, batch, |_| None, USUAL_BATCH));
    let networks =
        section.read("networks", Vec::new(), |value| list(value, value::network, |_| None, "127.0.0.1/32"));
    for (key, usual, lacks) in
        [("url", USUAL, url.is_none()), ("secret_file", "/etc/relevo/webhook.secret", secret_file.is_none())]
    {
        if lacks && section.lacks(key) {
            section.fail(key, "", "this key is missing", Fix::Write(quoted(usual), String::new()));
        }
    }
    if url.as_ref().is_some_and(|url| !url.tls) && networks.is_empty() {
        let fix =
            Fix::Do("write https://, or name the network in networks, as [\"127.0.0.1/32\"]".to_owned());
        section.fail(
            "url",
            "",
            "events name people, and go without TLS into networks that are named only",
            fix,
        );
    }
    let name = section.place().1;
    section.finish();
    Some(WebhookConfig {
        section: name,
        url: url?,
        secret_file: secret_file?,
        secret: Password::default(),
        events,
        most,
        span,
        networks,
    })
}

/// `500/30s`
fn batch(text: &str) -> Result<(usize, Duration), BadValue> {
    const WRONG: BadValue = BadValue::Syntax("events and a time: 500/30s; at most 1000 and 5m");
    let (most, span) = text.split_once('/').ok_or(WRONG)?;
    let most = most.trim().parse().ok().filter(|most| (1..=limits::WEBHOOK_BATCH_MAX).contains(most));
    let span = value::duration(span.trim()).ok().filter(|span| *span <= limits::WEBHOOK_SPAN_MAX);
    Ok((most.ok_or(WRONG)?, span.ok_or(WRONG)?))
}

pub(super) fn event(word: &str) -> Result<&'static str, BadValue> {
    static GRAMMAR: LazyLock<String> =
        LazyLock::new(|| format!("one of {}", Kind::all().map(Kind::word).collect::<Vec<_>>().join(", ")));
    Kind::all().map(Kind::word).find(|event| *event == word).ok_or_else(|| BadValue::Syntax(&GRAMMAR))
}

pub(super) fn meant(word: &str) -> Option<String> {
    nearest(word, Kind::all().map(Kind::word), 3).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::config::Config;

    fn read(text: &str) -> Result<Vec<WebhookConfig>, String> {
        let parsed = Config::parse(text, Path::new("a.toml")).map(|config| config.webhooks);
        parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn webhooks_are_read() {
        let all = read("[[webhook]]\nurl = \"https://a.example/x\"\nsecret_file = \"/s\"\nevents = [\"bounced\"]\nbatch = \"100/5s\"\n[[webhook]]\nurl = \"http://127.0.0.1:8080/\"\nsecret_file = \"/s\"\nnetworks = [\"127.0.0.0/8\"]\n").unwrap();
        assert_eq!(
            (all[0].most, all[0].span, all[0].events.as_deref()),
            (100, Duration::from_secs(5), Some(&["bounced"][..]))
        );
        assert_eq!((all[1].most, all[1].span), (500, Duration::from_secs(30)));
        assert!(all[1].names("127.0.0.1".parse().unwrap()) && !all[1].names("10.0.0.1".parse().unwrap()));
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, wanted) in [
            ("secret_file = \"/s\"\n", "webhook[0].url: this key is missing"),
            ("url = \"https://a.example/\"\n", "webhook[0].secret_file: this key is missing"),
            ("url = \"a.example\"\nsecret_file = \"/s\"\n", "write url = \"https://a.example/\""),
            ("url = \"http://a.example/\"\nsecret_file = \"/s\"\n", "events name people"),
            (
                "url = \"https://a.example/\"\nsecret_file = \"/s\"\nbatch = \"5000/1s\"\n",
                "write batch = \"500/30s\"",
            ),
            (
                "url = \"https://a.example/\"\nsecret_file = \"/s\"\nevents = [\"bounce\"]\n",
                "write events = [\"bounced\"]",
            ),
            (
                "url = \"https://a.example/\"\nsecret_file = \"/s\"\n[[webhook]]\nurl = \"https://a.example/\"\nsecret_file = \"/s\"\n",
                "there is a webhook of this URL already",
            ),
        ] {
            let error = read(&format!("[[webhook]]\n{text}")).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
