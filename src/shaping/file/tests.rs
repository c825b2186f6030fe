use std::path::Path;
use std::time::Duration;

use super::*;
use crate::shaping::rule::{Action, Trigger};

fn read(text: &str) -> File {
    let (file, findings) = File::read(text, Path::new("shaping.toml"));
    let words: Vec<_> = findings.errors.iter().chain(&findings.warnings).map(ToString::to_string).collect();
    assert!(words.is_empty(), "{words:#?}");
    file
}

fn findings(text: &str) -> (Vec<String>, Vec<String>) {
    let (_, findings) = File::read(text, Path::new("shaping.toml"));
    let words = |all: Vec<crate::config::ConfigError>| all.iter().map(ToString::to_string).collect();
    (words(findings.errors), words(findings.warnings))
}

#[test]
fn a_file_of_every_kind_of_section() {
    let file = read(
        "['default']\nconnection_limit = 10\nmax_message_rate = '100/s'\nadaptive = true\n\n\
         [provider.\"big\"]\nmatch = [{MXSuffix='.big.example'}, {DomainSuffix='.big'}, {HostName='mx.b.example'}]\n\
         provider_connection_limit = '1,000'\nenable_tls = 'Required'\n\
         [provider.\"big\".sources.\"ip1\"]\nprovider_connection_limit = 2\n\
         [provider.a]\nmatch = []\n\
         [\"Example.COM\"]\nmx_rollup = false\nreplace_base = true\nmax_age = '3 days'\n\
         [\"example.com\".sources.\"my source\"]\nconnection_limit = 'local:5'\n",
    );
    let default = file.default.as_ref().expect("a default");
    let shown = |settings: &[Setting]| {
        let one = |set: &Setting| format!("{}:{}={}", set.place.line, set.key.name(), set.value);
        settings.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&default.settings),
        ["2:connection_limit=10", "3:max_message_rate=100/s", "4:adaptive=true"]
    );
    // In the order of the file, not of the alphabet.
    let [big, a] = &file.providers[..] else { panic!() };
    assert_eq!((&*big.name, &*a.name, big.matches.len(), big.matches[0].place.line), ("big", "a", 3, 7));
    assert_eq!(shown(&big.settings), ["8:provider_connection_limit=1000", "9:enable_tls=Required"]);
    assert_eq!(shown(&big.sources[0].1), ["11:provider_connection_limit=2"]);
    let [domain, _] = &file.domains[..] else { panic!("{:?}", file.domains) };
    assert!(!domain.mx_rollup && domain.replace_base && &*domain.name == "example.com");
    assert_eq!(shown(&domain.settings), ["17:max_age=3d"]);
}

#[test]
fn rules_are_read_as_kumomta_writes_them() {
    let file = read(
        "[[\"a.example\".automation]]\nregex = \"\\\\[TSS04\\\\]\"\naction = \"Suspend\"\nduration = \"2 hours\"\n\
         [[\"a.example\".automation]]\nregex = ['''RL\\d+''', 'slow']\n\
         action = [{SetConfig={name=\"max_message_rate\", value=\"1/minute\"}}, {SetDomainConfig={name='connection_limit', value=1}}]\n\
         trigger = {Threshold=\"2/hr\"}\nduration = \"1h 30m\"\nmatch_internal = true\nexample = '421 RL01'\n\
         class = 'throttled'\npermanent = false\nfallback_source = 'rest'\n",
    );
    let [first, second] = &file.domains[0].rules[..] else { panic!() };
    assert_eq!(
        (first.place.line, &first.trigger, first.duration),
        (1, &Trigger::Immediate, Some(Duration::from_secs(7_200)))
    );
    assert!(first.matches(b"421 4.7.0 [TSS04] wait", false) && !first.matches(b"421 4.7.0 [TSS04]", true));
    assert_eq!(first.actions, [Action::Suspend]);
    let shown: Vec<_> = second.actions.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["max_message_rate = 1/min", "connection_limit of the domain = 1"]);
    assert_eq!(second.trigger.to_string(), "2/h");
    assert!(
        second.matches(b"421 RL1", true) && second.matches(b"slow", false) && !second.matches(b"RL", false)
    );
    assert_eq!(
        (second.class, second.permanent),
        (Some(crate::mail::classify::Class::Throttled), Some(false))
    );
    assert_eq!((second.examples.len(), second.fallback_source.as_deref()), (1, Some("rest")));
}

#[test]
fn a_key_without_a_meaning_is_a_warning() {
    let (errors, warnings) =
        findings("[\"default\"]\nmax_ready = 10\n[\"default\".sources.a]\nenable_rset = true\n");
    assert_eq!(errors, [""; 0]);
    assert!(
        warnings[0]
            .starts_with("shaping.toml:2: default.max_ready: it has no meaning here: queues are bounded")
    );
    assert!(
        warnings[1].starts_with("shaping.toml:4: default.sources.\"a\".enable_rset: it has no meaning"),
        "{warnings:?}"
    );
    let (errors, warnings) = findings(
        "[[default.automation]]\nregex = 'a'\naction = {SetConfig={name='max_ready', value=1}}\nduration = '1h'\n",
    );
    assert_eq!((errors.len(), warnings.len()), (0, 1), "{errors:?} {warnings:?}");
}

/// Each text has one error, and it says this.
fn assert_errors(all: &[(&str, &str)]) {
    for (text, wanted) in all {
        let (errors, _) = findings(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
        assert!(
            errors[0].starts_with("shaping.toml:") && errors[0].contains(wanted),
            "{text}: {}",
            errors[0]
        );
    }
}

#[test]
fn every_error_names_line_key_and_fix() {
    assert_errors(&[
        (
            "[default]\nconection_limit = 3",
            "2: default.conection_limit: unknown key; did you mean connection_limit = 3?",
        ),
        ("[default]\nconnection_limit = 0", "2: default.connection_limit: \"0\" is no number from 1"),
        (
            "[default]\nmax_message_rate = '100'",
            "2: default.max_message_rate: \"100\" is no rate; write max_message_rate = \"100/s\"",
        ),
        ("[default]\nmax_message_rate = '20 per min'", "write max_message_rate = \"20/min\""),
        ("[default]\nidle_timeout = '5 fortnights'", "2: default.idle_timeout: \"5 fortnights\" is no time"),
        ("[default]\nenable_tls = 'required'", "write enable_tls = \"Required\""),
        ("[default]\nadaptive = 'yes'", "write adaptive = true"),
        (
            "[default]\nprovider_connection_limit = 3",
            "it is a limit of a whole provider; move it to [provider",
        ),
        (
            "[default]\nmx_rollup = true",
            "2: default.mx_rollup: unknown key; move it to the section of a domain",
        ),
        ("['a.example']\nmatch = []", "unknown key; move it to [provider."),
        ("[gmail.com]\nconnection_limit = 3", "a name with dots stands in quotes: write [\"gmail.com\"]"),
        ("connection_limit = 3", "1: connection_limit: this is no section; it belongs below a section"),
        ("[provider]\na = 1", "2: provider.a: this is no section"),
        ("[provider.a]\nmatch = '.a.example'", "this is a text, not a list; write match = [{MXSuffix"),
        ("[provider.a]\nmatch = [{Suffix='.a'}]", "an entry has one of MXSuffix"),
        ("[provider.a]\nmatch = [{MXSuffix='smtp://a'}]", "can match nothing: it is a URL"),
        ("[default]\nautomation = 3", "this is a list of rules; write each as [[default.automation]]"),
    ]);
}

#[test]
fn every_error_of_a_rule_does_too() {
    assert_errors(&[
        (
            "[[default.automation]]\naction = 'Suspend'\nduration = '1h'",
            "1: default.automation.regex: this key is missing",
        ),
        (
            "[[default.automation]]\nregex = 'a'\nduration = '1h'",
            "default.automation.action: this key is missing",
        ),
        (
            "[[default.automation]]\nregex = 'a'\naction = 'Suspend'",
            "default.automation.duration: this key is missing",
        ),
        (
            "[[default.automation]]\nregex = 'a('\naction = 'Suspend'\nduration = '1h'",
            "2: default.automation.regex: \"a(\" is no pattern: unclosed group",
        ),
        (
            "[[default.automation]]\nregex = 'a'\naction = 'suspend'\nduration = '1h'",
            "write action = \"Suspend\"",
        ),
        ("[[default.automation]]\nregex = 'a'\naction = {Set=1}\nduration = '1h'", "\"Set\" is no action"),
        (
            "[[default.automation]]\nregex = 'a'\naction = {SetConfig={name='conection_limit', value=1}}\nduration = '1h'",
            "did you mean connection_limit?",
        ),
        (
            "[[default.automation]]\nregex = 'a'\naction = {SetConfig={name='connection_limit', value='x'}}\nduration = '1h'",
            "connection_limit: \"x\" is no number",
        ),
        (
            "[[default.automation]]\nregex = 'a'\naction = {SetConfig={name='provider_connection_limit', value=1}}\nduration = '1h'",
            "set connection_limit here, or move the rule to [[provider.\"name\".automation]]",
        ),
        (
            "[['a.example'.automation]]\nregex = 'a'\naction = {SetDomainConfig={name='provider_max_message_rate', value='1/s'}}\nduration = '1h'",
            "provider_max_message_rate is a limit of a whole provider, and this rule is of none",
        ),
        (
            "[[provider.a.automation]]\nregex = 'a'\naction = {SetConfig={name='fallback_source', value='ip2'}}\nduration = '1h'",
            "write fallback_source = \"name\" in the rule",
        ),
        (
            "[[default.automation]]\nregex = 'a'\naction = 'Suspend'\nduration = '1h'\ntrigger = {Threshold='2'}",
            "write trigger = {Threshold = \"10/h\"}",
        ),
        ("[[default.automation]]\nregex = 'a'\nclass = 'trottled'", "write class = \"throttled\""),
        (
            "[[default.automation]]\nregex = 'a'\nclass = 'spam'\nexamples = 'a'",
            "did you mean example = 'a'?",
        ),
        (
            "[[default.automation]]\nregex = 'a'\nclass = 'spam'\nconnection_limit = 1",
            "it belongs in the section",
        ),
        ("[default]\nregex = 'a'", "it belongs in a rule, below [[default.automation]]"),
        ("[default", "1: this is no TOML"),
    ]);
}

#[test]
fn what_is_too_much_is_refused() {
    let rule = "[[default.automation]]\nregex = 'a'\nclass = 'spam'\n";
    let (errors, _) = findings(&rule.repeat(limits::SHAPING_RULES_MAX + 1));
    assert!(errors[0].contains("more than 64 rules"), "{errors:?}");
    let (errors, _) = findings(&format!("{}\n", " ".repeat(limits::SHAPING_FILE_MAX as usize)));
    assert!(errors[0].contains("more than 4194304 bytes"), "{errors:?}");
    let many: String = (0..2_000).map(|at| format!("key{at} = 1\n")).collect();
    assert_eq!(findings(&format!("[default]\n{many}")).0.len(), limits::SHAPING_FINDINGS_MAX);
}
