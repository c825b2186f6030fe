//! `[hook]`: a service that is asked about each message before it is taken.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Password;
use crate::config::literal::{Wrong, path, quoted, span, text, word};
use crate::config::section::Section;
use crate::limits;
use crate::mail::address::international;

/// `[hook]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    /// Where it is asked.
    pub url: HookUrl,
    /// How long its answer is waited for.
    pub deadline: Duration,
    /// What holds where there is none.
    pub fail: HookFail,
    /// Where the key stands that questions are signed with.
    pub secret_file: Option<PathBuf>,
    /// What stands there; empty until it was read.
    pub secret: Password,
}

/// What becomes of mail that the service says nothing of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookFail {
    /// It is put off, to come again.
    #[default]
    Defer,
    /// It is taken.
    Accept,
}

/// An address of the web.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookUrl {
    /// It is asked under TLS, and shows a certificate that is valid for its name.
    pub tls: bool,
    /// Its name or address; IPv6 without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// What is asked there.
    pub path: Box<str>,
}

impl HookUrl {
    /// Reads one.
    pub fn parse(text: &str) -> Option<HookUrl> {
        if text.len() > limits::HOOK_URL_MAX {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let tls = match &*scheme.to_ascii_lowercase() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                let host = host.to_ascii_lowercase();
                (host, behind.strip_prefix(':').or(behind.is_empty().then_some("")))
            }
            None => {
                let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
                let named = international::domain_of(host);
                let address = host.parse::<std::net::Ipv4Addr>().ok().map(|address| address.to_string());
                (named.or(address)?, Some(port))
            }
        };
        let port = match port? {
            "" if tls => 443,
            "" => 80,
            port => port.parse().ok().filter(|port| *port > 0)?,
        };
        // What is behind a # is no server's.
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(HookUrl { tls, host: host.into(), port, path: format!("{slash}{path}").into() })
    }

    /// As the field Host has it (RFC 9110 7.2).
    pub fn authority(&self) -> String {
        let HookUrl { tls, host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        if *port == if *tls { 443 } else { 80 } { host } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority(), self.path)
    }
}

const USUAL: &str = "http://127.0.0.1:8025/relevo";

pub(super) fn read(section: &Section<'_>) -> Option<HookConfig> {
    let url = section.read("url", None, |value| {
        let words = text(value, USUAL)?;
        if words.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            let meant = HookUrl::parse(&format!("http://{words}")).map(|url| url.to_string());
            let problem = format!("{} is no URL of a service", quoted(words));
            let more = ", or https://; with neither user nor password in it";
            Wrong::write(problem, quoted(meant.as_deref().unwrap_or(USUAL)), more)
        };
        HookUrl::parse(words).map(Some).ok_or_else(wrong)
    });
    let usual = Duration::from_secs(2);
    let range = limits::HOOK_DEADLINE_MIN..=limits::HOOK_DEADLINE_MAX;
    let deadline = section.read("deadline", usual, |value| span(value, range.clone(), usual));
    let fail = section.read("fail", HookFail::default(), |value| {
        word(value, [("defer", HookFail::Defer), ("accept", HookFail::Accept)])
    });
    let secret_file = section.read("secret_file", None, |value| path(value, "/etc/relevo/hook.secret"));
    section.finish();
    url.map(|url| HookConfig { url, deadline, fail, secret_file, secret: Password::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn urls_are_read() {
        for (text, wanted, host) in [
            ("http://127.0.0.1:8025/relevo", "http://127.0.0.1:8025/relevo", "127.0.0.1"),
            ("HTTPS://Hook.Example", "https://hook.example/", "hook.example"),
            ("https://hook.example:443/a?b=c#d", "https://hook.example/a?b=c", "hook.example"),
            ("http://hook.example?b", "http://hook.example/?b", "hook.example"),
            ("http://[2001:db8::1]:8025/", "http://[2001:db8::1]:8025/", "2001:db8::1"),
            (
                "https://B\u{fc}cher.example:8443/a",
                "https://xn--bcher-kva.example:8443/a",
                "xn--bcher-kva.example",
            ),
        ] {
            let url = HookUrl::parse(text).expect(text);
            assert_eq!((url.to_string(), &*url.host), (wanted.to_owned(), host));
            assert_eq!(HookUrl::parse(wanted), Some(url));
        }
        for wrong in [
            "",
            "hook.example",
            "ftp://hook.example/",
            "http://",
            "http:///x",
            "http://a b/",
            "http://u:p@h.example/",
            "http://h.example:0/",
            "http://h.example:99999/",
            "http://[::1/",
            "http://[x]/",
            "http://h.example/\r\nX: y",
        ] {
            assert_eq!(HookUrl::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_section_is_read() {
        let read = |text: &str| {
            Config::parse(&format!("[hook]\n{text}"), Path::new("a.toml")).map(|config| config.hook)
        };
        let hook = read("url = \"http://127.0.0.1:8025/\"\n").unwrap().unwrap();
        assert_eq!(
            (hook.deadline, hook.fail, hook.secret_file),
            (Duration::from_secs(2), HookFail::Defer, None)
        );
        let hook = read(
            "url = \"http://h.example/\"\ndeadline = \"500ms\"\nfail = \"accept\"\nsecret_file = \"/s\"\n",
        );
        assert_eq!(hook.unwrap().unwrap().fail, HookFail::Accept);
        assert_eq!(read("url = \"\"\n").unwrap(), None);
        for (text, wanted) in [
            ("url = \"127.0.0.1:8025/x\"\n", "write url = \"http://127.0.0.1:8025/x\""),
            ("url = 7\n", "hook.url"),
            ("deadline = \"2h\"\n", "hook.deadline"),
            ("fail = \"reject\"\n", "hook.fail"),
        ] {
            let error = read(text).unwrap_err().remove(0).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
