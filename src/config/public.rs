//! `[public]`: pages that anybody may open: by which a recipient unsubscribes (RFC 8058).

use std::net::SocketAddr;
use std::path::Path;

use crate::config::TlsFiles;
use crate::config::listener::tls_files;
use crate::config::literal::{Fix, Wrong, parsed, quoted, text};
use crate::config::section::Section;
use crate::config::{acme, guess, value};
use crate::mail::address::international;

/// `[public]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicConfig {
    /// `https`: where the pages are served. Read at the start alone.
    pub https: Option<SocketAddr>,
    /// `http`: the same without TLS, for a web server in front. Read at the start alone.
    pub http: Option<SocketAddr>,
    /// `host`: what the links name, with a port where that is not 443. None: the node's name.
    pub host: Option<Box<str>>,
    /// `tls_certificate` and `tls_key`
    pub tls: Option<TlsFiles>,
    /// `acme`: an authority gives that certificate, and renews it.
    pub acme: bool,
}

impl PublicConfig {
    /// What the links of a node name.
    pub fn host<'a>(&'a self, hostname: &'a str) -> &'a str {
        self.host.as_deref().unwrap_or(hostname)
    }

    /// Whether no pages are served.
    pub fn is_off(&self) -> bool {
        self.https.is_none() && self.http.is_none()
    }
}

pub(super) fn read(section: &Section<'_>, hostname: &str, data_dir: &Path) -> PublicConfig {
    let address = |key, usual| {
        section.read(key, None, |value| match value.as_str() {
            Some("") => Ok(None),
            _ => parsed(value, value::http, guess::http, usual).map(Some),
        })
    };
    let (acme, tls) = acme::read_use(section, tls_files(section), data_dir);
    let config = PublicConfig {
        https: address("https", "0.0.0.0:443"),
        http: address("http", "127.0.0.1:8081"),
        host: section.read("host", None, |value| {
            let name = text(value, hostname)?;
            if let Some(host) = host(name) {
                return Ok(Some(host.into()));
            }
            let problem = format!("{} is no name of a host", quoted(name));
            Err(Wrong::write(problem, quoted(hostname), ", with :port behind it where that is not 443"))
        }),
        tls,
        acme,
    };
    if config.https.is_some() && config.tls.is_none() && section.errors().borrow().is_empty() {
        let fix = Fix::Write(
            quoted("/etc/relevo/chain.pem"),
            ", and tls_key; or serve http behind a web server".to_owned(),
        );
        section.fail("tls_certificate", "https", "https needs a certificate", fix);
    }
    section.finish();
    config
}

/// A name, perhaps with a port.
fn host(text: &str) -> Option<String> {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let name = international::domain_of(name)?;
    match port {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0).map(|port| format!("{name}:{port}")),
        None => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn pages_are_served_where_it_says() {
        let read = |text: &str| {
            let text = format!("node.hostname = \"mx1.example.net\"\n{text}");
            Config::parse(&text, Path::new("relevo.toml")).map(|config| config.public)
        };
        let off = read("").unwrap();
        assert!(off.is_off() && off.host("mx1.example.net") == "mx1.example.net");
        let config = read("[public]\nhttps = \"0.0.0.0:443\"\nhost = \"U.example.net\"\ntls_certificate = \"/c\"\ntls_key = \"/k\"\n").unwrap();
        assert!(!config.is_off() && config.host("x") == "u.example.net" && config.tls.is_some());
        let config = read("[public]\nhttp = \"127.0.0.1:8081\"\nhost = \"u.example.net:8443\"\n").unwrap();
        assert_eq!((config.host("x"), config.https), ("u.example.net:8443", None));
        for (text, wanted) in [
            ("https = \"0.0.0.0:443\"\n", "https needs a certificate"),
            ("https = \"0.0.0.0:0\"\n", "public.https"),
            ("http = \"8081\"\n", "write http = \"127.0.0.1:8081\""),
            ("host = \"a b\"\n", "write host = \"mx1.example.net\""),
            ("host = \"a.example:x\"\n", "is no name of a host"),
            ("tls_key = \"/k\"\n", "public.tls_certificate"),
        ] {
            let error = read(&format!("[public]\n{text}")).unwrap_err().remove(0).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
