//! `[[stream]]`: events for a stream of Redis, or of NATS.

use std::fmt;
use std::path::PathBuf;

use crate::config::Password;
use crate::config::hook::HookUrl;
use crate::config::literal::{Fix, Wrong, integer, list, path, quoted, text};
use crate::config::section::Section;
use crate::config::webhook::{event, meant};
use crate::limits;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Its section: `stream[0]`.
    pub section: String,
    /// Which server.
    pub url: StreamUrl,
    /// Which key has the stream; of NATS, what subjects begin with.
    pub key: Box<str>,
    /// Kinds that go there; None is all.
    pub events: Option<Vec<&'static str>>,
    /// About how many entries the stream keeps; 0: all. NATS knows that itself.
    pub length: u64,
    /// Who we are there; None: the server asks for nobody, or for a password alone.
    pub user: Option<Box<str>>,
    /// Where the password stands.
    pub password_file: Option<PathBuf>,
    /// What stands there; empty until it was read.
    pub password: Password,
}

impl StreamConfig {
    /// Its name among readers of the journal.
    pub fn name(&self) -> String {
        format!("stream {} {}", self.url, self.key)
    }
}

/// Where a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamUrl {
    /// In a Redis.
    Redis(RedisUrl),
    /// In NATS, with JetStream.
    Nats(NatsUrl),
}

impl StreamUrl {
    /// Under TLS, with a certificate that is valid for its name.
    pub fn tls(&self) -> bool {
        match self {
            StreamUrl::Redis(url) => url.tls,
            StreamUrl::Nats(url) => url.tls,
        }
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamUrl::Redis(url) => url.fmt(formatter),
            StreamUrl::Nats(url) => url.fmt(formatter),
        }
    }
}

/// A server of NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsUrl {
    /// Under TLS, with a certificate that is valid for its name.
    pub tls: bool,
    /// Its name or address; IPv6 without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

impl NatsUrl {
    /// Reads one: `nats://host:4222`, `tls://` for TLS.
    pub fn parse(text: &str) -> Option<NatsUrl> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match &*scheme.to_ascii_lowercase() {
            "nats" => false,
            "tls" => true,
            _ => return None,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority_of(authority, NATS_PORT)?;
        Some(NatsUrl { tls, host, port })
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NatsUrl { tls, host, port } = self;
        let scheme = if *tls { "tls" } else { "nats" };
        write!(formatter, "{scheme}://{}:{port}", bracketed(host))
    }
}

/// A host and its port, or the usual one.
fn authority_of(text: &str, usual: u16) -> Option<(Box<str>, u16)> {
    if text.contains(['/', '?', '#']) {
        return None;
    }
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(before, _)| !text.ends_with(']') && (!before.contains(':') || before.ends_with(']')));
    let authority = if has_port { text.to_owned() } else { format!("{text}:{usual}") };
    let HookUrl { host, port, .. } = HookUrl::parse(&format!("http://{authority}/"))?;
    Some((host, port))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A server of Redis, or of what speaks its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Under TLS, with a certificate that is valid for its name.
    pub tls: bool,
    /// Its name or address; IPv6 without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// The number of its database.
    pub database: u16,
}

const PORT: u16 = 6379;
const USUAL: &str = "redis://127.0.0.1:6379/0";
const NATS_PORT: u16 = 4222;
const NATS_USUAL: &str = "nats://127.0.0.1:4222";

impl RedisUrl {
    /// Reads one: `redis://host:6379/0`, `rediss://` for TLS.
    pub fn parse(text: &str) -> Option<RedisUrl> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match &*scheme.to_ascii_lowercase() {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority_of(authority, PORT)?;
        let database = if database.is_empty() { 0 } else { database.parse().ok()? };
        Some(RedisUrl { tls, host, port, database })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisUrl { tls, host, port, database } = self;
        let scheme = if *tls { "rediss" } else { "redis" };
        write!(formatter, "{scheme}://{}:{port}/{database}", bracketed(host))
    }
}

/// All of them.
pub(super) fn read(root: &Section<'_>) -> Vec<StreamConfig> {
    let mut all: Vec<StreamConfig> = Vec::new();
    for section in &root.sections("stream") {
        let Some(stream) = one(section) else { continue };
        if all.len() == limits::STREAMS_OUT_MAX {
            let problem = format!("there are more than {} streams", limits::STREAMS_OUT_MAX);
            section.fail("url", "", &problem, Fix::Do("remove some".to_owned()));
            break;
        }
        if all.iter().any(|other| other.name() == stream.name()) {
            let fix = Fix::Do("name another key, or remove one of the two".to_owned());
            section.fail("key", "", "there is a stream of this key there already", fix);
        }
        all.push(stream);
    }
    all
}

/// What a stream is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redis,
    Nats,
}

impl Kind {
    fn usual(self) -> &'static str {
        match self {
            Kind::Redis => USUAL,
            Kind::Nats => NATS_USUAL,
        }
    }

    fn url(self, words: &str) -> Result<StreamUrl, Wrong> {
        let (url, name, other) = match self {
            Kind::Redis => (RedisUrl::parse(words).map(StreamUrl::Redis), "Redis", ", or rediss://"),
            Kind::Nats => (NatsUrl::parse(words).map(StreamUrl::Nats), "NATS", ", or tls://"),
        };
        let problem = || format!("{} is no URL of {name}", quoted(words));
        url.ok_or_else(|| Wrong::write(problem(), quoted(self.usual()), other))
    }

    fn key(self, words: &str) -> Result<Box<str>, Wrong> {
        let fits = (1..=limits::STREAM_KEY_MAX).contains(&words.len());
        let is_token = |token: &str| {
            !token.is_empty()
                && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let (is_one, problem) = match self {
            Kind::Redis => (fits, "this is no key"),
            Kind::Nats => (
                fits && words.split('.').all(is_token),
                "this is no subject: letters, digits, - and _ are, in parts between dots",
            ),
        };
        is_one.then(|| words.into()).ok_or_else(|| Wrong::write(problem.to_owned(), quoted("relevo"), ""))
    }
}

fn one(section: &Section<'_>) -> Option<StreamConfig> {
    let kind = section.read("kind", Kind::Redis, |value| match text(value, "redis")? {
        "redis" => Ok(Kind::Redis),
        "nats" => Ok(Kind::Nats),
        other => {
            let problem = format!("{} is no kind of stream", quoted(other));
            Err(Wrong::write(problem, quoted("redis"), ", or \"nats\""))
        }
    });
    let url = section.read("url", None, |value| {
        let words = text(value, kind.usual())?;
        if words.contains('@') {
            return Err(Wrong::act(
                "a password has no place in a URL",
                "write it into a file, and name that in password_file",
            ));
        }
        kind.url(words).map(Some)
    });
    let key = section.read("key", "relevo".into(), |value| kind.key(text(value, "relevo")?));
    let events = section.read("events", None, |value| {
        let events = list(value, event, meant, "bounced")?;
        if events.is_empty() {
            return Err(Wrong::act("no event goes there", "name some, or remove the stream"));
        }
        Ok(Some(events))
    });
    let length = section.read("length", limits::STREAM_LENGTH, |value| {
        integer(value, 0..=limits::STREAM_LENGTH_MAX, limits::STREAM_LENGTH)
    });
    if kind == Kind::Nats && !section.lacks("length") {
        let fix = Fix::Do("remove the key, and say it to NATS: nats stream edit --max-msgs".to_owned());
        section.fail("length", "", "a stream of NATS has its length there", fix);
    }
    let user = section.read("user", None, |value| text(value, "relevo").map(|name| Some(name.into())));
    let password_file =
        section.read("password_file", None, |value| path(value, "/etc/relevo/redis.password"));
    if url.is_none() && section.lacks("url") {
        section.fail("url", "", "this key is missing", Fix::Write(quoted(kind.usual()), String::new()));
    }
    if section.lacks("kind") {
        section.fail("kind", "", "this key is missing", Fix::Write(quoted("redis"), String::new()));
    }
    if user.is_some() && password_file.is_none() {
        let fix = Fix::Do("name a file in password_file, or remove user".to_owned());
        section.fail("user", "", "who logs in has a password", fix);
    }
    let name = section.place().1;
    section.finish();
    Some(StreamConfig {
        section: name,
        url: url?,
        key,
        events,
        length,
        user,
        password_file,
        password: Password::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::config::Config;

    fn read(text: &str) -> Result<Vec<StreamConfig>, String> {
        let parsed = Config::parse(text, Path::new("a.toml")).map(|config| config.streams);
        parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn one_of_nats_is_read() {
        let one = &read("[[stream]]\nkind = \"nats\"\nurl = \"tls://n.example\"\nkey = \"mail.relays\"\n")
            .unwrap()[0];
        assert_eq!((one.name(), one.url.tls()), ("stream tls://n.example:4222 mail.relays".to_owned(), true));
        for (url, shown) in
            [("nats://127.0.0.1", "nats://127.0.0.1:4222"), ("NATS://[::1]:5/", "nats://[::1]:5")]
        {
            assert_eq!(NatsUrl::parse(url).unwrap().to_string(), shown);
        }
        for url in ["nats://", "nats://a/b", "ws://a", "redis://a", "nats://a:0x1"] {
            assert_eq!(NatsUrl::parse(url), None, "{url}");
        }
    }

    #[test]
    fn a_stream_is_read() {
        let head = "[[stream]]\nkind = \"redis\"\n";
        let one =
            &read(&format!("{head}url = \"rediss://r.example\"\nuser = \"u\"\npassword_file = \"/p\"\n"))
                .unwrap()[0];
        assert_eq!(
            (one.url.to_string(), &*one.key, one.length),
            ("rediss://r.example:6379/0".to_owned(), "relevo", 1_000_000)
        );
        for (url, shown) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("redis://[::1]/3", "redis://[::1]:6379/3"),
            ("redis://[::1]:7000", "redis://[::1]:7000/0"),
            ("REDIS://a.example:1/", "redis://a.example:1/0"),
        ] {
            assert_eq!(RedisUrl::parse(url).unwrap().to_string(), shown);
        }
        for (more, words) in [
            ("", "url: this key is missing"),
            ("url = \"http://a\"\n", "no URL of Redis"),
            ("url = \"redis://u:p@a\"\n", "password_file"),
            ("url = \"redis://a/x\"\n", "no URL of Redis"),
            ("url = \"redis://a?x\"\n", "no URL of Redis"),
            ("url = \"redis://a\"\nlength = -1\n", "length"),
            ("url = \"redis://a\"\nevents = [\"bounce\"]\n", "bounced"),
            ("url = \"redis://a\"\nuser = \"u\"\n", "password"),
            ("url = \"redis://a\"\n[[stream]]\nkind = \"redis\"\nurl = \"redis://a:6379/0\"\n", "already"),
            ("url = \"redis://a\"\n[[stream]]\nkind = \"nats\"\nurl = \"redis://b\"\n", "no URL of NATS"),
            ("url = \"redis://a\"\n[[stream]]\nkind = \"kafka\"\nurl = \"redis://b\"\n", "no kind of stream"),
            (
                "url = \"redis://a\"\n[[stream]]\nkind = \"nats\"\nurl = \"nats://b\"\nkey = \"a.*\"\n",
                "no subject",
            ),
            (
                "url = \"redis://a\"\n[[stream]]\nkind = \"nats\"\nurl = \"nats://b\"\nlength = 5\n",
                "has its length there",
            ),
        ] {
            let errors = read(&format!("{head}{more}")).unwrap_err();
            assert!(errors.contains(words), "{more}: {errors}");
        }
    }
}
