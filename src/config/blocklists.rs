//! `[blocklists]`: lists of others that are asked about our own addresses.

use std::time::Duration;

use crate::config::literal::{boolean, list, span};
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::limits;
use crate::mail::address::international;

/// `[blocklists]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocklists {
    /// Their zones in the DNS (RFC 5782).
    pub zones: Vec<Box<str>>,
    /// How often each is asked about each address.
    pub every: Duration,
    /// A source whose address is listed sends nothing until it is not.
    pub rest: bool,
}

pub(super) fn read(section: &Section<'_>) -> Blocklists {
    let usual = limits::BLOCKLIST_ASKED;
    let zone = |text: &str| {
        let zone = international::domain_of(text.trim_end_matches('.'));
        let zone = zone.filter(|zone| zone.len() <= limits::BLOCKLIST_ZONE_MAX);
        zone.map(String::into_boxed_str).ok_or(BadValue::Syntax("the domain of a list in the DNS"))
    };
    let mut zones: Vec<Box<str>> =
        section.read("zones", Vec::new(), |value| list(value, zone, |_| None, "zen.spamhaus.org"));
    if zones.len() > limits::BLOCKLISTS_MAX {
        let problem = format!("there are more than {} lists", limits::BLOCKLISTS_MAX);
        let fix = crate::config::literal::Fix::Do("name those that your receivers go by".to_owned());
        section.fail("zones", "", &problem, fix);
        zones.truncate(limits::BLOCKLISTS_MAX);
    }
    let blocklists = Blocklists {
        zones,
        every: section.read("every", usual, |value| {
            span(value, limits::BLOCKLIST_ASKED_MIN..=limits::BLOCKLIST_ASKED_MAX, usual)
        }),
        rest: section.read("rest", false, boolean),
    };
    section.finish();
    blocklists
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn lists_are_named_by_their_zones() {
        let read = |text: &str| Config::parse(text, Path::new("relevo.toml")).map(|config| config.blocklists);
        let none = read("").unwrap();
        assert_eq!((none.zones.len(), none.every, none.rest), (0, Duration::from_secs(3600), false));
        let some = read(
            "[blocklists]\nzones = [\"Zen.Spamhaus.org.\", \"bl.example\"]\nevery = \"10m\"\nrest = true\n",
        );
        let zones = vec!["zen.spamhaus.org".into(), "bl.example".into()];
        assert_eq!(some.unwrap(), Blocklists { zones, every: Duration::from_secs(600), rest: true });
        for (text, words) in [
            ("zones = [\"a b\"]", "the domain of a list in the DNS"),
            ("every = \"1s\"", "1m"),
            ("rest = 1", "true"),
        ] {
            let error = read(&format!("[blocklists]\n{text}\n")).unwrap_err().remove(0).to_string();
            assert!(error.contains("blocklists.") && error.contains(words), "{error}");
        }
    }
}
