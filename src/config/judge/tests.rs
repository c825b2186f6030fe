use std::path::Path;

use super::{clashes, judge};
use crate::config::literal::tests::obeyed;
use crate::config::{Config, ConfigError};

fn warnings(text: &str) -> Vec<ConfigError> {
    let config = Config::parse(text, Path::new("relevo.toml"));
    judge(&config.unwrap_or_else(|errors| panic!("{text}: {errors:?}")), 2)
}

const NAME: &str = "[node]\nhostname = \"relay.example.net\"\n";

/// Text behind the name, what the warning of it says, whether its line mends it.
const DOUBTFUL: &[(&str, &str)] = &[
    ("[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"0.0.0.0/0\"]\n", "OPEN RELAY: 0.0.0.0/0 lets"),
    (
        "[[listener]]\naddress = \"[2001:db8::1]:25\"\nrelay_from = [\"::/0\", \"10.0.0.0/8\"]\n",
        "OPEN RELAY: ::/0 lets",
    ),
    (
        "[[listener]]\naddress = \"192.0.2.1:25\"\nrelay_from = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n",
        "OPEN RELAY: 0.0.0.0/1 and 128.0.0.0/1",
    ),
    ("[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"16.0.0.0/7\"]\n", "OPEN RELAY: 16.0.0.0/7"),
    ("[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"45.0.0.0/8\"]\n", "OPEN RELAY: 45.0.0.0/8"),
    ("[[listener]]\naddress = \"[2001:db8::1]:25\"\nrelay_from = [\"2000::/3\"]\n", "OPEN RELAY: 2000::/3"),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nproxy_from = [\"10.0.0.9\", \"::/0\"]\n",
        "OPEN RELAY: whoever connects from ::/0 says himself",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nhandover_from = [\"0.0.0.0/0\"]\n",
        "whoever may relay from 0.0.0.0/0 has his mail pass rules",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nxclient_from = [\"0.0.0.0/0\"]\n",
        "OPEN RELAY: whoever connects from 0.0.0.0/0 says himself",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:587\"\nrelay_from = [\"10.0.0.0/8\"]\n",
        "port 587 is for those who log in",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:465\"\nkind = \"submission\"\ntls_certificate = \"/c\"\ntls_key = \"/k\"\nrelay_from = [\"10.0.0.0/8\"]\n",
        "clients of port 465 begin with TLS",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nkind = \"submission\"\nrelay_from = [\"10.0.0.0/8\"]\n",
        "other servers send to port 25, and cannot log in",
    ),
    (
        "[[listener]]\naddress = \"0.0.0.0:25\"\n",
        "0.0.0.0:25 is open to others, and only this machine may relay",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nconnections_max = 10\nconnections_per_client = 20\n",
        "20 connections of one client are more than the 10 of all",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nmessage_size_max = \"100KiB\"\n",
        "messages over 100KiB are refused",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nmessage_size_max = \"2GiB\"\n",
        "2GiB is more than any large receiver takes",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\nmessage_size_max = \"200MiB\"\n[spool]\nsize_max = \"512MiB\"\n",
        "a message of 200MiB never fits",
    ),
    ("[[listener]]\naddress = \"127.0.0.1:0\"\n", "port 0 is another free port"),
    ("[[listener]]\naddress = \"[::]:25\"\nrelay_from = [\"fd00::/8\"]\n", "[::]:25 takes IPv6 clients only"),
    (
        "[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"10.0.0.0/8\"]\n[[listener]]\naddress = \"127.0.0.1:25\"\n",
        "127.0.0.1:25 is part of 0.0.0.0:25 (listener[0])",
    ),
    (
        "[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_to = [\"a.example\", \"*.b.example\"]\n[[route]]\ndomain = \"a.example\"\nto = \"smtp://192.0.2.1\"\n",
        "*.b.example is taken from anybody, and goes to its MX hosts",
    ),
    ("[auth]\naccounts = \"/etc/relevo/accounts\"\n", "nobody can log in"),
    ("[bounces]\ndelay_warning = \"6d\"\n", "mail is late after 6d, and given up after 5d"),
    ("[control]\nhttp = \"0.0.0.0:8025\"\n", "0.0.0.0:8025 shows metrics"),
    (
        "[[route]]\ndomain = \"*\"\nto = \"smtp://127.0.0.1:2525\"\n",
        "127.0.0.1 port 2525 is this relay itself",
    ),
    ("[[route]]\ndomain = \"*\"\nto = \"smtp://localhost:2525\"\n", "is this relay itself"),
    (
        "[[route]]\ndomain = \"*\"\nto = [{ to = \"smtp://192.0.2.1\" }, { to = \"smtp://localhost:2525\" }]\n",
        "is this relay itself",
    ),
    ("[[route]]\ndomain = \"a.example\"\nto = \"smtp://relay.example.net:2525\"\n", "is this relay itself"),
    ("[delivery]\nmx_port = 26\n", "no MX host of the internet listens on port 26"),
    ("[delivery]\nallow_loopback_mx = true\n", "connect to services of this machine"),
    ("[delivery]\nstarttls = false\n", "unencrypted"),
    ("[dns]\ntimeout = \"50s\"\n", "3 tries of 50s are 2m30s"),
    ("[dns]\ntimeout = \"100ms\"\n", "has 100ms for an answer"),
    ("[[rule]]\nset.expire = \"30s\"\n", "given up after 30s, before its first retry"),
    ("[[rule]]\nset.expire = \"300d\"\n", "only after 300d"),
    ("[dns]\nattempts = 20\n", "20 tries of 5s are 1m40s"),
    ("[retry]\nfirst = \"1s\"\n", "a retry after 1s"),
    ("[retry]\nfirst = \"1d\"\nmax = \"1d\"\n", "the first retry comes only after 1d"),
    ("[retry]\nmax = \"3d\"\n", "3d for its next try"),
    ("[retry]\nfirst = \"10s\"\nmax = \"10s\"\n", "tried every 10s"),
    ("[retry]\nexpire = \"30s\"\n", "before its first retry"),
    ("[retry]\nexpire = \"5m\"\n", "given up after 5m: a restart"),
    ("[retry]\nexpire = \"90m\"\n", "given up after 1h30m, and the longest wait"),
    ("[retry]\nexpire = \"60d\"\n", "only after 60d"),
    ("[log]\npath = \"relevo.jsonl\"\n", "below whatever directory"),
    ("[dns]\nhosts = \"hosts\"\n", "below whatever directory"),
    (
        "[[listener]]\naddress = \"127.0.0.1:25\"\ntls_certificate = \"/etc/chain.pem\"\ntls_key = \"key.pem\"\n",
        "key.pem is below whatever directory",
    ),
    (
        "[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n",
        "0.0.0.0/1 and 128.0.0.0/1 let strangers relay",
    ),
];

#[test]
fn what_is_doubtful_has_a_warning_and_its_line_mends_it() {
    assert!(warnings(NAME).is_empty(), "{:?}", warnings(NAME));
    for (text, wanted) in DOUBTFUL {
        let text = format!("{NAME}{text}");
        let found = warnings(&text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        let said = found[0].to_string();
        assert!(said.contains(wanted) && said.starts_with("relevo.toml:"), "{said}");
        assert!(found[0].line > 2, "{said}");
        if let Some(mended) = obeyed(&text, &found[0]).filter(|_| !found[0].fix.contains("[[")) {
            let left = warnings(&mended);
            assert!(left.is_empty(), "{mended}: {left:?}");
        }
    }
}

#[test]
fn what_is_meant_has_none() {
    for text in [
        "[[listener]]\naddress = \"127.0.0.1:25\"\nrelay_from = [\"0.0.0.0/0\"]\n",
        "[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"10.0.0.0/8\", \"172.16.0.0/12\", \"127.0.0.0/8\"]\n",
        "[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"203.0.113.0/24\"]\n[[listener]]\naddress = \"[::]:25\"\nrelay_from = [\"fc00::/7\", \"2001:db8::/32\"]\n",
        "[auth]\naccounts = \"/etc/relevo/accounts\"\n[[listener]]\naddress = \"0.0.0.0:587\"\ntls_certificate = \"/c\"\ntls_key = \"/k\"\nrelay_from = []\n",
        "[[route]]\ndomain = \"*\"\nto = \"smtp://127.0.0.1:2526\"\n[[route]]\ndomain = \"a.example\"\nto = \"smtp://127.0.0.2:2525\"\n",
        "[[route]]\ndomain = \"*\"\nto = [{ to = \"mx\" }, { to = \"smtps://b\", order = 1 }]\ntls = \"verify\"\n",
        "[spool]\nsize_max = \"100GiB\"\n[retry]\nexpire = \"2d\"\n",
    ] {
        let text = format!("{NAME}{text}");
        assert!(warnings(&text).is_empty(), "{text}: {:?}", warnings(&text));
    }
}

#[test]
fn names_that_receivers_refuse() {
    for (name, wanted) in [
        ("localhost", "not fully qualified"),
        ("mail", "not fully qualified"),
        ("192.0.2.1", "is an address"),
        ("relay.25", "a number"),
        ("relay.local", "nobody else can resolve"),
        ("relay.corp.internal", "nobody else can resolve"),
        ("relay.LocalDomain", "nobody else can resolve"),
        ("relay.home.arpa", "nobody else can resolve"),
        ("a.invalid", "nobody else can resolve"),
        ("mail_relay.example.org", "underscore"),
        ("-relay.example.org", "hyphen"),
    ] {
        let found = warnings(&format!("[node]\nhostname = \"{name}\"\n"));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].problem.contains(wanted) && found[0].line == 2, "{}", found[0]);
    }
    for name in ["relay.example.net", "mx1.example.co.uk", "a.b", "xn--bcher-kva.example.org"] {
        assert!(warnings(&format!("[node]\nhostname = \"{name}\"\n")).is_empty(), "{name}");
    }
}

#[test]
fn http_where_smtp_is_cannot_start() {
    let clash = |text: &str| clashes(&Config::parse(text, Path::new("relevo.toml")).unwrap());
    let found = clash("[[listener]]\naddress = \"127.0.0.1:8025\"\n");
    assert!(found[0].to_string().contains("wanted by listener[0]"), "{found:?}");
    let found = clash(
        "[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = [\"10.0.0.0/8\"]\n[control]\nhttp = \"127.0.0.1:25\"\n",
    );
    assert_eq!((found[0].line, found[0].fix.as_str()), (5, "write http = \"127.0.0.1:8025\", another port"));
    assert!(clash("").is_empty());
}

#[test]
fn warnings_are_in_the_order_of_the_lines() {
    let text = "[retry]\nexpire = \"60d\"\n[delivery]\nstarttls = false\n[node]\nhostname = \"a\"\n[dns]\ntimeout = \"50s\"\n";
    let lines: Vec<_> = warnings(text).iter().map(|warning| warning.line).collect();
    assert_eq!(lines, [2, 4, 6, 8]);
}
