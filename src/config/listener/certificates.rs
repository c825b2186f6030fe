//! `certificates` of a listener: one for each host that it is, chosen by the name that a client asks for.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use crate::config::literal::{Fix, Wrong, kind, path, quoted, some_path};
use crate::config::section::Section;
use crate::limits;

/// `tls_certificate` and `tls_key` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

const USUAL: &str = "[{ chain = \"/etc/relevo/chain.pem\", key = \"/etc/relevo/key.pem\" }]";

/// Those beside `tls_certificate`, in whose place the first is.
pub(super) fn read(section: &Section<'_>, alone: Option<TlsFiles>) -> (Option<TlsFiles>, Vec<TlsFiles>) {
    let mut all = section.read("certificates", Vec::new(), list).into_iter();
    let first = all.next();
    if alone.is_some() && first.is_some() {
        let fix = "make it the first of certificates: that is for clients who ask for no name";
        section.fail("tls_certificate", "", "there are certificates already", Fix::Do(fix.to_owned()));
    }
    (alone.or(first), all.collect())
}

/// Authorities of clients: who has one of their certificates is the account of a name in it.
pub(super) fn read_authorities(section: &Section<'_>, has_tls: bool, accounts: bool) -> Option<PathBuf> {
    let file = section.read("client_ca", None, |value| path(value, "/etc/relevo/clients.pem"));
    let missing = match (has_tls, accounts) {
        (true, true) => return file,
        (false, _) => "set tls_certificate and tls_key here: clients show theirs in a handshake",
        (true, false) => "set auth.accounts: who has a certificate is the account of a name in it",
    };
    if file.is_some() {
        section.fail("client_ca", "", "no certificate logs anybody in here", Fix::Do(missing.to_owned()));
    }
    file
}

fn list(value: &DeValue<'_>) -> Result<Vec<TlsFiles>, Wrong> {
    let Some(items) = value.as_array() else {
        return Err(Wrong::write(format!("this is {}, not a list", kind(value)), USUAL, ""));
    };
    if items.len() > limits::CERTIFICATES_MAX {
        let problem = format!("there are more than {} certificates", limits::CERTIFICATES_MAX);
        return Err(Wrong::act(problem, "get one with several names, or for *.example.net"));
    }
    let each = items.iter().enumerate().map(|(number, item)| {
        let at = format!("certificate {} of the list: ", number + 1);
        let table = item.get_ref().as_table();
        let table = table.ok_or_else(|| format!("this is {}, no chain and key", kind(item.get_ref())));
        table.and_then(files).map_err(|problem| Wrong::write(format!("{at}{problem}"), USUAL, ""))
    });
    each.collect()
}

fn files(table: &DeTable<'_>) -> Result<TlsFiles, String> {
    if let Some((other, _)) = table.iter().find(|(key, _)| !matches!(key.get_ref().as_ref(), "chain" | "key"))
    {
        return Err(format!("{} is neither chain nor key", quoted(other.get_ref())));
    }
    let file = |key: &str| -> Result<PathBuf, String> {
        let value = table.get(key).ok_or_else(|| format!("{key} is missing"))?;
        some_path(value.get_ref(), "/etc/relevo/chain.pem")
            .map_err(|wrong| format!("{key}: {}", wrong.problem))
    };
    Ok(TlsFiles { certificate: file("chain")?, key: file("key")? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ListenerConfig};

    fn read(keys: &str) -> Result<ListenerConfig, String> {
        let text = format!("[[listener]]\naddress = \"127.0.0.1:25\"\n{keys}\n");
        let config = Config::parse(&text, Path::new("relevo.toml"));
        config.map(|config| config.listeners[0].clone()).map_err(|mut wrong| wrong.remove(0).to_string())
    }

    #[test]
    fn the_first_of_a_list_is_for_those_who_ask_for_no_name() {
        let files = |name: &str| TlsFiles {
            certificate: format!("/{name}.pem").into(),
            key: format!("/{name}.key").into(),
        };
        let one = |name: &str| format!("{{ chain = \"/{name}.pem\", key = \"/{name}.key\" }}");
        let listener = read(&format!("certificates = [{}, {}]", one("a"), one("b"))).unwrap();
        assert_eq!((listener.tls.clone(), listener.more_tls.clone()), (Some(files("a")), vec![files("b")]));
        assert!(listener.certificates().eq([&files("a"), &files("b")]));
        assert!(read("certificates = []").unwrap().tls.is_none());
        let submissions =
            format!("kind = \"submissions\"\nrelay_from = [\"10.0.0.0/8\"]\ncertificates = [{}]", one("a"));
        assert!(read(&submissions).is_ok());
        for (keys, wanted) in [
            ("certificates = \"/a.pem\"".to_owned(), "not a list"),
            ("client_ca = \"/ca.pem\"".to_owned(), "no certificate logs anybody in here"),
            (
                format!("client_ca = \"/ca.pem\"\ncertificates = [{}]", one("a")),
                "no certificate logs anybody in here",
            ),
            ("certificates = [\"/a.pem\"]".to_owned(), "certificate 1 of the list: this is a text"),
            ("certificates = [{ chain = \"/a.pem\" }]".to_owned(), "key is missing"),
            ("certificates = [{ chain = \"/a.pem\", key = \"\" }]".to_owned(), "key: this is empty"),
            (
                "certificates = [{ chain = \"/a\", key = \"/b\", name = \"c\" }]".to_owned(),
                "neither chain nor key",
            ),
            (
                format!("tls_certificate = \"/c.pem\"\ntls_key = \"/c.key\"\ncertificates = [{}]", one("a")),
                "there are certificates already",
            ),
            (
                format!("certificates = [{}]", vec![one("a"); limits::CERTIFICATES_MAX + 1].join(", ")),
                "more than",
            ),
        ] {
            let error = read(&keys).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
