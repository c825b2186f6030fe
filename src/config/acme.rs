//! `[acme]`: certificates that an authority gives and renews by itself (RFC 8555), for listeners and pages with `acme = true`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use crate::config::literal::{Fix, Wrong, boolean, list, path, quoted, text};
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::config::{TlsFiles, guess, value};
use crate::limits;
use crate::mail::address::international;
use crate::spool::layout;

/// Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// `[acme]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// URL of the authority's directory (RFC 8555 section 7.1.1).
    pub directory: String,
    /// Authorities that its web server has a certificate of, PEM; None: those that this machine trusts.
    pub directory_ca: Option<PathBuf>,
    /// `mailto:` URLs that the authority may write to.
    pub contact: Vec<String>,
    /// The operator agrees to the authority's terms. Nothing is asked of it before.
    pub agree_tos: bool,
    /// Names in the certificate; empty: the node's.
    pub names: Vec<String>,
    /// Where challenges are answered while an order is under way (RFC 8555 section 8.3); empty: `public.http` alone does.
    pub http: Vec<SocketAddr>,
}

impl AcmeConfig {
    /// The names that are in the certificate, in order.
    pub fn names<'a>(&'a self, hostname: &'a str) -> Vec<&'a str> {
        if self.names.is_empty() { vec![hostname] } else { self.names.iter().map(String::as_str).collect() }
    }
}

/// Where certificate and key are: one file, so that both are always of the same order.
pub fn acme_files(data_dir: &Path) -> TlsFiles {
    let file = layout::acme_certificate(data_dir);
    TlsFiles { certificate: file.clone(), key: file }
}

/// `acme` of a listener or of `[public]`, whose files these are in the place of others.
pub(super) fn read_use(
    section: &Section<'_>,
    alone: Option<TlsFiles>,
    data_dir: &Path,
) -> (bool, Option<TlsFiles>) {
    let acme = section.read("acme", false, boolean);
    if !acme {
        return (false, alone);
    }
    if alone.is_some() {
        let fix = "remove tls_certificate, tls_key and certificates here, or acme";
        section.fail("acme", "", "there is a certificate already", Fix::Do(fix.to_owned()));
    }
    (true, Some(acme_files(data_dir)))
}

pub(super) fn read(section: &Section<'_>, used: bool) -> AcmeConfig {
    let usual =
        ["0.0.0.0:80", "[::]:80"].iter().filter_map(|address| value::socket(address, None).ok()).collect();
    let config = AcmeConfig {
        directory: section.read("directory", DIRECTORY.to_owned(), |value| url(value)),
        directory_ca: section.read("directory_ca", None, |value| path(value, "/etc/relevo/acme-ca.pem")),
        contact: section.read("contact", Vec::new(), |value| {
            list(value, contact, |_| None, "mailto:postmaster@example.net")
        }),
        agree_tos: section.read("agree_tos", false, boolean),
        names: section.read("names", Vec::new(), |value| list(value, name, |_| None, "mx1.example.net")),
        http: section.read("http", usual, |value| list(value, value::http, guess::http, "0.0.0.0:80")),
    };
    if config.names.len() > limits::ACME_NAMES_MAX {
        let problem = format!("there are more than {} names", limits::ACME_NAMES_MAX);
        section.fail("names", "", &problem, Fix::Do("name those that clients connect to".to_owned()));
    }
    // Whoever wants such a certificate says that he agrees.
    if used && !config.agree_tos {
        let problem = format!("{} gives no certificate before you agree to its terms", config.directory);
        let fix = "read them at your authority, and write agree_tos = true here";
        section.fail("agree_tos", "", &problem, Fix::Do(fix.to_owned()));
    }
    section.finish();
    config
}

fn url(value: &DeValue<'_>) -> Result<String, Wrong> {
    let url = text(value, DIRECTORY)?;
    let host = url.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.is_empty() || url.chars().any(|letter| letter.is_control() || letter == ' ') {
        let problem = format!("{} is no https:// URL", quoted(url));
        return Err(Wrong::write(problem, quoted(DIRECTORY), ", or that of another authority"));
    }
    Ok(url.to_owned())
}

fn contact(text: &str) -> Result<String, BadValue> {
    let at = text.strip_prefix("mailto:").unwrap_or(text);
    let is_address = at.contains('@') && !at.contains(|letter: char| letter.is_control() || letter == ' ');
    if is_address { Ok(format!("mailto:{at}")) } else { Err(BadValue::Syntax("mailto: and an address")) }
}

fn name(text: &str) -> Result<String, BadValue> {
    let name = international::domain_of(text).filter(|name| name.contains('.'));
    // A wildcard has no challenge by HTTP (RFC 8555 section 7.1.3).
    name.ok_or(BadValue::Syntax("the name of a host, without a wildcard"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        let text =
            format!("node = {{ hostname = \"mx1.example.net\", data_dir = \"/var/lib/relevo\" }}\n{text}");
        Config::parse(&text, Path::new("relevo.toml")).map_err(|mut wrong| wrong.remove(0).to_string())
    }

    #[test]
    fn a_certificate_is_asked_for_by_who_agrees() {
        let config =
            parse("[[listener]]\nacme = true\n[acme]\nagree_tos = true\ncontact = [\"a@b.example\"]\n")
                .unwrap();
        assert!(config.uses_acme() && config.listeners[0].has_tls());
        assert_eq!(config.acme.names("mx1.example.net"), ["mx1.example.net"]);
        assert_eq!(config.acme.contact, ["mailto:a@b.example"]);
        assert_eq!((config.acme.http.len(), &*config.acme.directory), (2, DIRECTORY));
        let files = config.listeners[0].tls.clone().unwrap();
        assert!(files.certificate.starts_with("/var/lib/relevo/acme") && files.certificate == files.key);
        assert!(!parse("").unwrap().uses_acme());
        let named = parse("[acme]\nnames = [\"MX.Example.net\", \"b.example\"]\nhttp = []\n").unwrap();
        assert_eq!(named.acme.names("x.example"), ["mx.example.net", "b.example"]);
        for (text, wanted) in [
            ("[[listener]]\nacme = true\n", "agree to its terms"),
            (
                "[[listener]]\nacme = true\ntls_certificate = \"/a\"\ntls_key = \"/b\"\n[acme]\nagree_tos = true\n",
                "a certificate already",
            ),
            ("[acme]\ndirectory = \"http://a.example\"\n", "no https:// URL"),
            ("[acme]\nnames = [\"*.example.net\"]\n", "without a wildcard"),
            ("[acme]\ncontact = [\"x\"]\n", "mailto:"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
