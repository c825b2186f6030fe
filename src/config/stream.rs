//! `[[stream]]`: events for a stream of Redis.

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
    pub url: RedisUrl,
    /// Which key has the stream.
    pub key: Box<str>,
    /// Kinds that go there; None is all.
    pub events: Option<Vec<&'static str>>,
    /// About how many entries the stream keeps; 0: all.
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
        let has_port = authority.rsplit_once(':').is_some_and(|(before, _)| {
            !authority.ends_with(']') && (!before.contains(':') || before.ends_with(']'))
        });
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{PORT}") };
        let HookUrl { host, port, .. } = HookUrl::parse(&format!("http://{authority}/"))?;
        let database = if database.is_empty() { 0 } else { database.parse().ok()? };
        Some(RedisUrl { tls, host, port, database })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisUrl { tls, host, port, database } = self;
        let scheme = if *tls { "rediss" } else { "redis" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        write!(formatter, "{scheme}://{host}:{port}/{database}")
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

fn one(section: &Section<'_>) -> Option<StreamConfig> {
    section.read("kind", (), |value| match text(value, "redis")? {
        "redis" => Ok(()),
        "nats" => Err(Wrong::act("NATS is not written to", "use a stream of Redis, or a webhook")),
        other => Err(Wrong::write(format!("{} is no kind of stream", quoted(other)), quoted("redis"), "")),
    });
    let url = section.read("url", None, |value| {
        let words = text(value, USUAL)?;
        if words.contains('@') {
            return Err(Wrong::act(
                "a password has no place in a URL",
                "write it into a file, and name that in password_file",
            ));
        }
        let wrong =
            || Wrong::write(format!("{} is no URL of Redis", quoted(words)), quoted(USUAL), ", or rediss://");
        RedisUrl::parse(words).map(Some).ok_or_else(wrong)
    });
    let key = section.read("key", "relevo".into(), |value| {
        let words = text(value, "relevo")?;
        let is_one = (1..=limits::STREAM_KEY_MAX).contains(&words.len());
        is_one
            .then(|| words.into())
            .ok_or_else(|| Wrong::write("this is no key".to_owned(), quoted("relevo"), ""))
    });
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
    let user = section.read("user", None, |value| text(value, "relevo").map(|name| Some(name.into())));
    let password_file =
        section.read("password_file", None, |value| path(value, "/etc/relevo/redis.password"));
    if url.is_none() && section.lacks("url") {
        section.fail("url", "", "this key is missing", Fix::Write(quoted(USUAL), String::new()));
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
            ("url = \"redis://a\"\nlength = -1\n", "length"),
            ("url = \"redis://a\"\nevents = [\"bounce\"]\n", "bounced"),
            ("url = \"redis://a\"\nuser = \"u\"\n", "password"),
            ("url = \"redis://a\"\n[[stream]]\nkind = \"redis\"\nurl = \"redis://a:6379/0\"\n", "already"),
            ("url = \"redis://a\"\n[[stream]]\nkind = \"nats\"\nurl = \"redis://b\"\n", "NATS"),
        ] {
            let errors = read(&format!("{head}{more}")).unwrap_err();
            assert!(errors.contains(words), "{more}: {errors}");
        }
    }
}
