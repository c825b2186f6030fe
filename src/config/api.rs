//! `[api]`: mail that applications hand in over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::TlsFiles;
use crate::config::listener::tls_files;
use crate::config::literal::{Fix, bytes, parsed, path, quoted};
use crate::config::section::Section;
use crate::config::{guess, value};
use crate::limits;

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// `http`: where it is served; None: nowhere. Read at the start alone.
    pub http: Option<SocketAddr>,
    /// `tls_certificate` and `tls_key`; None: without TLS, for a web server in front.
    pub tls: Option<TlsFiles>,
    /// `tokens`: the file of those who may send; None: that of `control.tokens`.
    pub tokens: Option<PathBuf>,
    /// `message_size_max`: bytes that a message may have.
    pub message_size_max: u64,
}

impl Default for ApiConfig {
    fn default() -> ApiConfig {
        ApiConfig { http: None, tls: None, tokens: None, message_size_max: limits::MESSAGE_SIZE_DEFAULT }
    }
}

pub(super) fn read(section: &Section<'_>, control: Option<&PathBuf>) -> ApiConfig {
    let usual = limits::MESSAGE_SIZE_DEFAULT;
    let config = ApiConfig {
        http: section.read("http", None, |value| match value.as_str() {
            Some("") => Ok(None),
            _ => parsed(value, value::http, guess::http, "127.0.0.1:8080").map(Some),
        }),
        tls: tls_files(section),
        tokens: section.read("tokens", None, |value| path(value, "/etc/relevo/senders")),
        message_size_max: section.read("message_size_max", usual, |value| {
            bytes(value, limits::MESSAGE_SIZE_LEAST..=limits::SEND_MESSAGE_MAX, usual)
        }),
    };
    if config.http.is_some() && config.tokens.is_none() && control.is_none() {
        let fix = Fix::Write(
            quoted("/etc/relevo/senders"),
            ", as `relevo token add NAME --role send` makes it".to_owned(),
        );
        section.fail(
            "tokens",
            "http",
            "nobody could send: no file of tokens is named, here or in control.tokens",
            fix,
        );
    }
    section.finish();
    config
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn read(text: &str) -> Result<super::ApiConfig, String> {
        let parsed = Config::parse(text, Path::new("relevo.toml")).map(|config| config.api);
        parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn it_is_served_where_it_says_and_by_whose_tokens() {
        assert_eq!(read("").unwrap(), super::ApiConfig::default());
        let own =
            read("[api]\nhttp = \"127.0.0.1:8080\"\ntokens = \"/t\"\nmessage_size_max = \"1MiB\"\n").unwrap();
        assert_eq!((own.http.map(|at| at.port()), own.message_size_max), (Some(8080), 1 << 20));
        let shared = read(
            "control.tokens = \"/t\"\n[api]\nhttp = \"[::]:8080\"\ntls_certificate = \"/c\"\ntls_key = \"/k\"\n",
        );
        assert!(shared.unwrap().tls.is_some());
        for (text, wanted) in [
            ("http = \"127.0.0.1:8080\"\n", "api.tokens: nobody could send"),
            ("http = \"8080\"\n", "write http = \"127.0.0.1:8080\""),
            ("tokens = \"/t\"\nmessage_size_max = \"1GiB\"\n", "api.message_size_max"),
            ("htpt = \"\"\n", "api.htpt: unknown key"),
        ] {
            let error = read(&format!("[api]\n{text}")).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
