//! Who may ask by `control.http`, by which names, and what he is shown: keys of `[control]` that a reload reads again.

use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::guess;
use crate::config::literal::{Wrong, list, path};
use crate::config::nearest::nearest;
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::limits;
use crate::mail::address::international;

/// `tokens`, `names` and `redact` of `[control]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `tokens`: the file of those who may ask over HTTP; None: only this machine may, and only read.
    pub tokens: Option<PathBuf>,
    /// `names`: names by which the node may be asked beside its own, in lower case.
    pub names: Vec<Box<str>>,
    /// `redact`
    pub redact: Redact,
}

/// `control.redact`: what whoever may only read is shown shortened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    /// Addresses that mail is for.
    pub recipient: bool,
    /// Addresses that it is from.
    pub sender: bool,
}

/// Words of `redact`.
pub(super) const WORDS: [&str; 2] = ["recipient", "sender"];

pub(super) fn read(section: &Section<'_>) -> Access {
    let tokens = section.read("tokens", None, |value| path(value, "/etc/relevo/tokens"));
    let names = section.read("names", Vec::new(), |value| {
        let names = list(value, name, guess::hostname, "relay.example.net")?;
        if names.len() <= limits::CONTROL_NAMES_MAX {
            return Ok(names);
        }
        let problem = format!("these are {} names", names.len());
        Err(Wrong::write(
            problem,
            "[]".to_owned(),
            &format!(", or at most {} names", limits::CONTROL_NAMES_MAX),
        ))
    });
    Access { tokens, names, redact: section.read("redact", Redact::default(), redact) }
}

fn name(text: &str) -> Result<Box<str>, BadValue> {
    let name = international::domain_of(text).map(String::into_boxed_str);
    name.ok_or(BadValue::Syntax("the name of a host"))
}

fn redact(value: &DeValue<'_>) -> Result<Redact, Wrong> {
    let known = |text: &str| {
        let found = WORDS.into_iter().find(|word| *word == text);
        found.ok_or(BadValue::Syntax("\"recipient\" or \"sender\""))
    };
    let words =
        list(value, known, |text| nearest(text, WORDS.into_iter(), 3).map(str::to_owned), "recipient")?;
    let has = |word: &str| words.contains(&word);
    Ok(Redact { recipient: has("recipient"), sender: has("sender") })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_said_of_it_is_read() {
        let read = |text: &str| Config::parse(text, Path::new("relevo.toml")).map(|config| config.access);
        assert_eq!(read("").unwrap(), Access::default());
        let text = "[control]\ntokens = \"/etc/relevo/tokens\"\nnames = [\"Ops.Example.net\", \"localhost\"]\nredact = [\"sender\"]\n";
        let wanted = Access {
            tokens: Some("/etc/relevo/tokens".into()),
            names: vec!["ops.example.net".into(), "localhost".into()],
            redact: Redact { recipient: false, sender: true },
        };
        assert_eq!(read(text).unwrap(), wanted);
        assert_eq!(read("[control]\ntokens = \"\"\nredact = []\n").unwrap(), Access::default());
        for (text, wanted) in [
            ("tokens = 7", "not a text"),
            ("redact = [\"recipients\"]", "write redact = [\"recipient\"]"),
            ("redact = true", "not a list"),
            ("names = [\"a b\"]", "the name of a host"),
            ("token = \"/etc/relevo/tokens\"", "did you mean tokens"),
        ] {
            let error = read(&format!("[control]\n{text}\n")).unwrap_err().remove(0).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let many =
            format!("[control]\nnames = [{}]\n", "\"a.example\",".repeat(limits::CONTROL_NAMES_MAX + 1));
        assert!(read(&many).unwrap_err()[0].to_string().contains("names"));
    }
}
