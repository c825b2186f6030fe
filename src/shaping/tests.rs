//! The shipped file: it means what it says, agrees with what replies are taken for, and says where each number is from.

use std::path::Path;

use super::check::check;
use super::file::{self, Block, File};
use super::layers::{Shaping, ShapingQuery};
use super::provider::MatchKind;
use super::rule::{Action, Rule};
use crate::mail::classify::judge::Judge;
use crate::mail::classify::{Class, Classes, Judged};
use crate::time::Instant;

const TEXT: &str = include_str!("shaping.toml");

fn shaping() -> Shaping {
    Shaping::of(vec![file::shipped()]).0
}

#[test]
fn the_shipped_file_is_clean() {
    let (file, findings) = File::read(TEXT, Path::new("shaping.toml"));
    assert!(findings.errors.is_empty() && findings.warnings.is_empty(), "{findings:#?}");
    assert!(file.providers.len() >= 60, "{}", file.providers.len());
    let findings = check(&shaping());
    assert!(findings.errors.is_empty() && findings.warnings.is_empty(), "{findings:#?}");
}

/// A host of a provider.
fn host(block: &Block) -> String {
    let entry = block.matches.iter().find(|entry| entry.what != MatchKind::DomainSuffix).expect("a host");
    if entry.what == MatchKind::HostName { entry.written.to_string() } else { format!("mx{}", entry.written) }
}

#[test]
fn each_provider_is_known_by_each_of_its_names() {
    let shaping = shaping();
    for block in &shaping.providers {
        let hosts = [host(block)];
        let held =
            shaping.effective(ShapingQuery { domain: "a.example", hosts: &hosts, source: "", beside: &[] });
        let names: Vec<_> = held.providers.iter().map(|provider| &*provider.block.name).collect();
        assert_eq!(names, [&*block.name]);
        assert!(held.settings.len() + held.providers[0].limits.len() > 1, "{names:?} says nothing");
    }
    for (host, name) in [
        ("gmail-smtp-in.l.google.com", "google"),
        ("hotmail-com.olc.protection.outlook.com", "outlook"),
        ("example-com.mail.protection.outlook.com", "office365"),
        ("example-com.q-v1.mx.microsoft", "office365"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx01.mail.icloud.com", "apple"),
        ("mx00.t-online.de", "t-online"),
        ("mx-ha02.web.de", "gmx.net_web.de"),
        ("mx3.qq.com", "qq.com"),
        ("163mx00.mxmail.netease.com", "163.com"),
        ("us-smtp-inbound-1.mimecast.com", "mimecast"),
    ] {
        let hosts = [host.to_owned()];
        let held =
            shaping.effective(ShapingQuery { domain: "a.example", hosts: &hosts, source: "", beside: &[] });
        assert_eq!(held.providers.first().map(|one| &*one.block.name), Some(name), "{host}");
    }
}

/// What is said of us: on nothing else may a source, a tenant or a rate be held back.
const OF_US: [Class; 8] = [
    Class::Throttled,
    Class::TooManyConnections,
    Class::Reputation,
    Class::Blocklisted,
    Class::Greylisted,
    Class::Authentication,
    Class::Policy,
    Class::Other,
];

fn disagreement(rule: &Rule, example: &str, judged: Judged) -> Option<String> {
    let holds = rule.actions.iter().any(|action| !matches!(action, Action::Bounce));
    let of_us = !holds || OF_US.contains(&judged.class);
    let class = rule.class.is_none_or(|class| class == judged.class);
    let is_final = |permanent: Option<bool>| permanent.unwrap_or(example.starts_with('5'));
    let permanent = rule.permanent.is_none() || is_final(rule.permanent) == is_final(judged.permanent);
    (!(of_us && class && permanent)).then(|| format!("{}: {judged:?} for {example}", rule.place))
}

#[test]
fn rules_agree_with_what_replies_are_taken_for() {
    let shaping = shaping();
    let mut judge = Judge::new(Classes::shipped());
    let mut rules = 0;
    for block in &shaping.providers {
        for rule in &block.rules {
            rules += 1;
            assert!(!rule.examples.is_empty(), "{} has no example", rule.place);
            assert!(rule.duration.is_some(), "{} has no duration", rule.place);
            for example in &rule.examples {
                assert!(rule.matches(example.as_bytes(), false), "{}: {example}", rule.place);
                let judged = judge.judge(example, &host(block), Instant(5_000_000_000)).expect("few texts");
                assert_eq!(disagreement(rule, example, judged), None);
            }
        }
    }
    assert!(rules >= 50, "{rules}");
}

/// Each section of a provider stands below a comment that names a page, or says that there is none.
#[test]
fn each_number_has_its_source() {
    let lines: Vec<&str> = TEXT.lines().collect();
    let mut found = 0;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("[provider.")) {
        let comment: Vec<&str> =
            lines[..at].iter().rev().take_while(|above| above.starts_with('#')).copied().collect();
        let comment: String =
            comment.into_iter().rev().flat_map(|line| [line.trim_start_matches('#'), ""]).collect();
        let said = comment.contains("https://") || comment.contains("No published figure");
        assert!(said, "{line}: where are its numbers from?");
        found += 1;
    }
    assert_eq!(found, shaping().providers.len());
}

/// What is said of a domain whose mail a route leads elsewhere would hold for nothing.
#[test]
fn sections_of_domains_that_a_route_leads_are_told_of() {
    let text = "[\"gmail.com\"]\nconnection_limit = 1\n[\"own.example\"]\nconnection_limit = 1\n[\"at.example\"]\nconnection_limit = 1\n";
    let own = File::read(text, std::path::Path::new("own.toml")).0;
    let (shaping, _) = Shaping::of(vec![file::shipped(), own]);
    let leads = |domain: &str| match domain {
        "own.example" => None,
        "at.example" => Some("smtp://192.0.2.1:25".to_owned()),
        _ => Some("smart.example.net".to_owned()),
    };
    let told: Vec<String> =
        super::check::routed(&shaping, leads).iter().map(|doubt| doubt.to_string()).collect();
    assert_eq!(told.len(), 2, "and none of the shipped file: {told:?}");
    assert!(
        told.iter().any(|line| line.contains("own.toml:1") && line.contains("[\"smart.example.net\"]")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|line| line.contains("own.toml:5") && line.contains("a name in the route")),
        "{told:?}"
    );
}
