use std::path::Path;

use super::*;
use crate::shaping::file::File;

fn found(text: &str) -> (Vec<String>, Vec<String>) {
    let (file, findings) = File::read(text, Path::new("shaping.toml"));
    assert!(findings.errors.is_empty(), "{text}: {findings:#?}");
    let (shaping, _) = Shaping::of(vec![file]);
    let Findings { errors, warnings } = check(&shaping);
    let words = |all: Vec<crate::config::ConfigError>| all.iter().map(ToString::to_string).collect();
    (words(errors), words(warnings))
}

const RULE: &str = "[[default.automation]]\naction = 'Suspend'\nduration = '1h'\n";

#[test]
fn a_file_that_means_what_it_says_is_clean() {
    let text = format!(
        "[default]\nconnection_limit = 10\nmax_connection_rate = '100/min'\n[provider.a]\nmatch = [{{MXSuffix = '.a.example'}}]\n\
         connection_limit = 5\nprovider_connection_limit = 5\n['b.example']\nretry_interval = '5m'\nmax_retry_interval = '1h'\n\
         {RULE}regex = ['slow', '^421 ']\nexample = ['421 a', '451 slow']\n{RULE}regex = 'slow'\ntrigger = {{Threshold = '2/h'}}\nduration2 = 1\n"
    );
    let text = text.replace("duration2 = 1\n", "class = 'throttled'\n");
    assert_eq!(found(&text), (vec![], vec![]));
}

#[test]
fn examples_hold_rules_to_what_they_say() {
    let (errors, _) = found(&format!("{RULE}regex = 'slow'\nexample = ['421 slow', '421 fast']\n"));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("shaping.toml:1: default.automation[0].example: no pattern of it matches its example \"421 fast\"; mend"), "{errors:?}");
    let (errors, _) = found(&format!("{RULE}regex = ['slow', 'fast']\nexample = '421 slow'\n"));
    assert!(errors[0].contains("\"fast\" matches none of its examples"), "{errors:?}");
}

/// Two rules for the same words, each from a threshold on.
fn thresholds(first: &str, second: &str) -> String {
    let rule = |rate| format!("{RULE}regex = 'slow'\ntrigger = {{Threshold = '{rate}'}}\n");
    rule(first) + &rule(second)
}

#[test]
fn what_can_never_take_effect_is_told() {
    let twice =
        format!("{RULE}regex = ['slow', 'b']\n{RULE}regex = 'slow'\ntrigger = {{Threshold = '2/h'}}\n");
    for (text, wanted) in [
        (format!("{RULE}regex = '''\\\\\\\\[HCM1\\\\\\\\] Your'''\n").replace("\\\\\\\\", "\\\\"), "wants a backslash in the reply"),
        (format!("{RULE}regex = '^Too many'\n"), "never matches: a reply begins with its code"),
        (format!("{RULE}regex = '.*'\n"), "\".*\" matches every reply"),
        (format!("{RULE}regex = '^250 ok'\n"), "never matches: rules are for replies that refuse something"),
        (format!("{RULE}regex = '(?i)^3'\n"), "never matches: rules are for replies that refuse something"),
        (format!("{RULE}regex = 'a\\nb'\n"), "never matches: the lines of a reply are joined by blanks"),
        (format!("{RULE}regex = '^421 a\\r+b'\n"), "the lines of a reply are joined by blanks"),
        (format!("{RULE}regex = \"a\\nb\"\n"), "the lines of a reply are joined by blanks"),
        (thresholds("10/h", "20/h"), "default.automation[1]: the rule at shaping.toml:1 does all of this already"),
        (thresholds("10/h", "10/min"), "default.automation[1]: the rule at shaping.toml:1 does all of this already"),
        (twice, "5: default.automation[1]: the rule at shaping.toml:1 does all of this already"),
        ("[provider.gmail]\nconnection_limit = 1\n".to_owned(), "1: provider.\"gmail\": nobody is this provider"),
        ("[provider.\"gmail.com\"]\n[provider.atmail]\nmatch = [{MXSuffix='.x.example'}]\n[provider.google]\nmatch = [{MXSuffix='.g.example'}]\n".to_owned(), "did you mean [provider.\"google\"]?"),
        (format!("{RULE}regex = 'slow'\n{}regex = 'slow'\n", RULE.replace("default", "'a.example'")), "\"a.example\".automation[0]: the rule at shaping.toml:1 does all"),
        ("[provider.gogle]\n[provider.google]\nmatch = [{MXSuffix='.g.example'}]\n".to_owned(), "did you mean [provider.\"google\"]?"),
        ("[provider.a]\nmatch = [{MXSuffix='.a.example.'}]\n".to_owned(), "2: provider.\"a\".match: MXSuffix = \".a.example.\" has a dot at its end"),
        ("[provider.a]\nmatch = [{MXSuffix='.A.example'}]\n".to_owned(), "has capital letters"),
        ("[provider.a]\nmatch = [{MXSuffix='a.example'}]\n".to_owned(), "the end of other names too, as of nota.example"),
        ("[provider.a]\nmatch = [{MXSuffix='.a.example'}]\n[provider.b]\nmatch = [{HostName='mx.a.example'}]\n".to_owned(),
            "4: provider.\"b\".match: HostName = \"mx.a.example\" is known to provider.\"a\" too (shaping.toml:1)"),
        ("[provider.a]\nmatch = [{MXSuffix='.a.example'}]\nconnection_limit = 10\nprovider_connection_limit = 5\n".to_owned(),
            "4: provider.\"a\".provider_connection_limit: provider_connection_limit is 5, so that connection_limit = 10 (shaping.toml:3) is never reached"),
        ("['a.example']\nretry_interval = '2h'\nmax_retry_interval = '1h'\n".to_owned(), "3: \"a.example\".max_retry_interval: max_retry_interval is 1h, shorter than"),
        ("['a.example']\nconnection_limit = 10\nmax_connection_rate = '5/d'\n".to_owned(), "10 connections are never opened in a day"),
        ("['127.0.0.1']\nmx_rollup = false\n".to_owned(), "this is an address and no domain"),
        ("['http://127.0.0.1:8008.tsa']\nmx_rollup = false\n".to_owned(), "this is no domain: no mail is for it"),
        ("[gmail]\nconnection_limit = 3\n".to_owned(), "no domain that mail is for"),
        ("[default]\nconnection_limit = 3\n[[default.automation]]\nregex = 'a'\nduration = '1h'\naction = {SetConfig={name='connection_limit', value=5}}\n".to_owned(),
            "3: default.automation[0].action: it sets connection_limit to 5, and shaping.toml:2 says 3"),
        ("[[default.automation]]\nregex = 'a'\npermanent = true\nexample = '550 a'\n".to_owned(), "is what the codes of its examples say"),
        (format!("{RULE}regex = 'slow'\nexample = 'slow'\n"), "has no code"),
    ] {
        let (errors, warnings) = found(&text);
        assert_eq!((errors.len(), warnings.len()), (0, 1), "{text}: {errors:#?} {warnings:#?}");
        assert!(warnings[0].starts_with("shaping.toml:") && warnings[0].contains(wanted), "{text}: {}", warnings[0]);
    }
}

#[test]
fn words_of_others_and_stand_ins_for_oneself_are_told() {
    let (_, warnings) = found(&format!("{RULE}regex = 'KumoMTA internal: failed'\nmatch_internal = true\n"));
    assert!(warnings.len() == 1 && warnings[0].contains("KumoMTA's own words"), "{warnings:?}");
    let (_, warnings) = found(
        "[default.sources.rest]\nfallback_source = 'rest'\n[default.sources.ip1]\nfallback_source = 'rest'\n",
    );
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0]
            .starts_with("shaping.toml:2: default.sources.\"rest\".fallback_source: a source does not")
    );
}

#[test]
fn what_looks_alike_and_acts_is_not_told() {
    for text in [
        // Sooner or longer than the one before.
        format!("{RULE}regex = 'slow'\ntrigger = {{Threshold = '2/h'}}\n{RULE}regex = 'slow'\n"),
        format!("{RULE}regex = 'slow'\n{}regex = 'slow'\n", RULE.replace("1h", "2h")),
        format!("{RULE}regex = 'slow'\n{RULE}regex = 'slow'\nmatch_internal = true\n"),
        format!("{RULE}regex = 'slow'\n{RULE}regex = 'slow'\nclass = 'throttled'\n"),
        format!("{RULE}regex = '^connection refused'\nmatch_internal = true\n"),
        format!("{RULE}regex = '^(?:421|slow)'\n"),
        thresholds("20/h", "10/h"),
        thresholds("10/min", "20/h"),
        format!("{RULE}regex = '^(?:250|450)'\n"),
        format!("{RULE}regex = '^2?45'\n"),
        format!("{RULE}regex = 'a\\n?b'\n"),
        format!("{RULE}regex = 'a[ \\n]b'\n"),
        format!("{RULE}regex = 'a(?:\\r\\n)?b'\n"),
        format!("{RULE}regex = 'a\\n|b'\n"),
        format!("{RULE}regex = '^[^\\n]+slow'\n"),
        format!("{RULE}regex = 'a\\\\node'\nexample = '450 a\\node'\n"),
        // Letters, as a configuration may have them.
        "['münchen.test']\nconnection_limit = 3\n".to_owned(),
        "[provider.a]\nmatch = [{Domain='münchen.test'}, {MXSuffix='.bücher.example'}]\n".to_owned(),
        // Below what holds by default, on purpose.
        "[default]\nconnection_limit = 20\n[provider.a]\nmatch = [{MXSuffix='.a.example'}]\nprovider_connection_limit = 5\n".to_owned(),
    ] {
        assert_eq!(found(&text), (vec![], vec![]), "{text}");
    }
}
