//! `[feedback]`, and `bounces.verp_domain`: where bounces and complaints come back to.

use toml::de::DeValue;

use crate::config::literal::{Wrong, list, quoted, text};
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::limits;
use crate::mail::address::international;

/// Where bounces and complaints come back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedbackConfig {
    /// `bounces.verp_domain`: the domain of return paths that tell which message and which recipient they are of. None: MAIL FROM is what it was.
    pub verp_domain: Option<Box<str>>,
    /// `addresses`: that complaints come to.
    pub addresses: Vec<Box<str>>,
    /// `domains`: all addresses of these.
    pub domains: Vec<Box<str>>,
}

impl FeedbackConfig {
    /// Whether anything comes back to this node.
    pub fn is_off(&self) -> bool {
        *self == FeedbackConfig::default()
    }

    /// The section alone.
    pub(super) fn places_beside(&self) -> (&[Box<str>], &[Box<str>]) {
        (&self.addresses, &self.domains)
    }

    /// What the queue knows as domains of such mail: domains, and addresses as they are.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.verp_domain.iter().chain(&self.domains).chain(&self.addresses).map(|name| &**name)
    }
}

pub(super) fn read(bounces: &Section<'_>, feedback: &Section<'_>) -> FeedbackConfig {
    let config = FeedbackConfig {
        verp_domain: bounces.read("verp_domain", None, |value| {
            let name = text(value, "bounces.example.net")?;
            if name.is_empty() { Ok(None) } else { one(value, name).map(Some) }
        }),
        addresses: feedback.read("addresses", Vec::new(), |value| some(value, address_of, "fbl@example.net")),
        domains: feedback.read("domains", Vec::new(), |value| some(value, domain_of, "fbl.example.net")),
    };
    feedback.finish();
    config
}

fn one(_: &DeValue<'_>, name: &str) -> Result<Box<str>, Wrong> {
    domain_of(name).map_err(|bad| {
        Wrong::write(
            format!("{} cannot be used", quoted(name)),
            quoted("bounces.example.net"),
            &format!(" ({})", bad.grammar()),
        )
    })
}

fn some(
    value: &DeValue<'_>,
    parse: fn(&str) -> Result<Box<str>, BadValue>,
    usual: &str,
) -> Result<Vec<Box<str>>, Wrong> {
    let all = list(value, parse, |_| None, usual)?;
    if all.len() > limits::FEEDBACK_PLACES_MAX {
        let most = limits::FEEDBACK_PLACES_MAX;
        return Err(Wrong::act(format!("there are more than {most}"), "name fewer, or their domain"));
    }
    Ok(all)
}

/// In lower case.
fn domain_of(name: &str) -> Result<Box<str>, BadValue> {
    let domain = international::domain_of(name).filter(|domain| domain.contains('.'));
    domain.map(String::into_boxed_str).ok_or(BadValue::Syntax("a domain, as fbl.example.net"))
}

fn address_of(name: &str) -> Result<Box<str>, BadValue> {
    let address = international::of_address(name).filter(|address| address.contains('@'));
    let address = address.map(|address| address.to_ascii_lowercase().into());
    address.ok_or(BadValue::Syntax("an address, as fbl@example.net"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn where_it_comes_back_to_is_read() {
        let read = |text: &str| Config::parse(text, Path::new("relevo.toml")).map(|config| config.feedback);
        assert!(read("").unwrap().is_off());
        let text = "[bounces]\nverp_domain = \"Bounces.example.net\"\n[feedback]\naddresses = [\"FBL@example.net\"]\ndomains = [\"fbl.example.net\"]\n";
        let config = read(text).unwrap();
        let places: Vec<&str> = config.places().collect();
        assert_eq!(places, ["bounces.example.net", "fbl.example.net", "fbl@example.net"]);
        for (text, wanted) in [
            ("[bounces]\nverp_domain = \"x y\"\n", "write verp_domain = \"bounces.example.net\""),
            ("[bounces]\nverp_domain = \"localhost\"\n", "cannot be used"),
            ("[feedback]\naddresses = [\"example.net\"]\n", "write addresses = [\"fbl@example.net\"]"),
            ("[feedback]\ndomains = [\"a@b.example\"]\n", "write domains = [\"fbl.example.net\"]"),
            ("[feedback]\ndomain = [\"b.example\"]\n", "unknown key"),
        ] {
            let error = read(text).unwrap_err().remove(0).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
