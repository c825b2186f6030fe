//! `relay_to` and `verify` of a listener: domains that are taken from anybody, and what is found out about who sends to them.

use crate::config::DomainPattern;
use crate::config::literal::{Fix, Wrong, list, word};
use crate::config::section::Section;
use crate::config::value::{self, BadValue};
use crate::limits;
use crate::mail::address::international;

/// What a listener takes from anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayConfig {
    /// `relay_to`: domains that we are the MX or the gateway of, as A-labels.
    pub domains: Vec<DomainPattern>,
    /// `verify`: what is done about whether mail to them is what it says.
    pub verify: Verify,
}

/// What is made of SPF, DKIM and DMARC of mail to domains of `relay_to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing.
    Off,
    /// The message says what was found.
    #[default]
    Report,
    /// And it is refused where the domain in From has receivers refuse it.
    Enforce,
}

impl Verify {
    /// As the configuration has it.
    pub fn word(self) -> &'static str {
        match self {
            Verify::Off => "off",
            Verify::Report => "report",
            Verify::Enforce => "enforce",
        }
    }
}

pub(super) fn read(section: &Section<'_>) -> GatewayConfig {
    let domains = section.read("relay_to", Vec::new(), |value| {
        let all = list(value, domain, guess, "example.org")?;
        if all.len() > limits::RELAY_TO_MAX {
            let problem = format!("there are more than {} domains", limits::RELAY_TO_MAX);
            return Err(Wrong::act(problem, "name those above them, as *.example.org"));
        }
        Ok(all)
    });
    let verify = section.read("verify", None, |value| {
        word(value, [Verify::Report, Verify::Enforce, Verify::Off].map(|one| (one.word(), one))).map(Some)
    });
    if section.lacks("relay_to") && verify.is_some_and(|verify| verify != Verify::Off) {
        let fix = "name the domains that this is the MX of in relay_to, or remove it";
        section.fail(
            "verify",
            "",
            "no mail is verified here: nothing is taken from strangers",
            Fix::Do(fix.to_owned()),
        );
    }
    let verify = if domains.is_empty() { Verify::Off } else { verify.unwrap_or_default() };
    GatewayConfig { domains, verify }
}

const GRAMMAR: &str = "a domain, or \"*.domain\" for all below it";

/// A domain, or all below one. What strangers may reach is named: no domain of the first level, and not all.
fn domain(text: &str) -> Result<DomainPattern, BadValue> {
    const WRONG: BadValue = BadValue::Syntax(GRAMMAR);
    let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
    let name = a_label(name).ok_or(WRONG)?;
    if !name.contains('.') {
        return Err(BadValue::Unusable(
            "strangers could send anywhere; write the domains that this is the MX or the gateway of",
        ));
    }
    let pattern = value::pattern(&if below { format!("*.{name}") } else { name })?;
    match pattern {
        DomainPattern::Exact(name) if name.starts_with('[') => Err(WRONG),
        pattern => Ok(pattern),
    }
}

/// As the DNS and addresses have it (RFC 5891 section 5).
fn a_label(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name == "*" {
        return Some(name.to_owned());
    }
    international::of_name(name).map(|name| name.to_ascii_lowercase())
}

/// What was meant by a dot in front, an at sign, or a whole address.
fn guess(text: &str) -> Option<String> {
    let text = text.trim();
    match text.strip_prefix('.').or_else(|| text.strip_prefix("@.")) {
        Some(below) => Some(format!("*.{below}")),
        None => text.rsplit_once('@').map(|(_, domain)| domain.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(keys: &str) -> Result<GatewayConfig, String> {
        let text = format!("[[listener]]\naddress = \"127.0.0.1:25\"\n{keys}\n");
        let config = Config::parse(&text, Path::new("relevo.toml"));
        config
            .map(|config| config.listeners[0].gateway.clone())
            .map_err(|mut wrong| wrong.remove(0).to_string())
    }

    #[test]
    fn domains_are_named() {
        let exact = |name: &str| DomainPattern::Exact(name.to_owned());
        let config =
            read("relay_to = [\"Example.org\", \"*.example.org\", \"bücher.example\", \"a.example.\"]")
                .unwrap();
        let below = DomainPattern::Suffix("example.org".to_owned());
        let expected = [exact("example.org"), below, exact("xn--bcher-kva.example"), exact("a.example")];
        assert_eq!(config.domains, expected);
        assert_eq!(config.verify, Verify::Report, "unless it says otherwise");
        assert_eq!(read("").unwrap(), GatewayConfig { domains: Vec::new(), verify: Verify::Off });
        for (word, verify) in [("off", Verify::Off), ("enforce", Verify::Enforce)] {
            let keys = format!("relay_to = [\"a.example\"]\nverify = {word:?}");
            assert_eq!(read(&keys).unwrap().verify, verify);
        }
        // Somebody may be given mail to, though nobody may relay.
        assert!(read("relay_from = []\nrelay_to = [\"a.example\"]").is_ok());
    }

    #[test]
    fn what_would_let_strangers_send_anywhere_is_refused() {
        for (keys, wanted) in [
            ("relay_to = [\"*\"]", "strangers could send anywhere"),
            ("relay_to = [\"*.*\"]", "cannot be used"),
            ("relay_to = [\"*.org\"]", "strangers could send anywhere"),
            ("relay_to = [\"org\"]", "strangers could send anywhere"),
            ("relay_to = [\"\"]", "cannot be"),
            ("relay_to = [\"[192.0.2.1]\"]", "cannot be understood"),
            ("relay_to = [\"a b.example\"]", "cannot be understood"),
            ("relay_to = [\".example.org\"]", "write relay_to = [\"*.example.org\"]"),
            ("relay_to = [\"@example.org\"]", "write relay_to = [\"example.org\"]"),
            ("relay_to = \"example.org\"", "write relay_to = [\"example.org\"]"),
            ("verify = \"enforce\"", "nothing is taken from strangers"),
            ("relay_to = [\"a.example\"]\nverify = \"reject\"", "verify"),
        ] {
            let error = read(keys).unwrap_err();
            assert!(error.contains(wanted), "{keys}: {error}");
        }
    }
}
