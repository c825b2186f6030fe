use super::*;

fn errors(text: &str) -> Vec<String> {
    let errors = Config::parse(text, Path::new("relevo.toml")).expect_err(text);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let text = include_str!("../../../deploy/relevo.toml");
    let shipped = Config::parse(text, Path::new("deploy/relevo.toml")).unwrap();
    let mut defaults = Config::embedded();
    // The one key whose default is the machine's own name.
    defaults.node.hostname.clone_from(&shipped.node.hostname);
    assert_eq!(format!("{shipped:?}"), format!("{defaults:?}"));
    for key in
        ["hostname", "relay_from", "tls_certificate", "accounts", "mx_port", "segment_size", "expire", "http"]
    {
        assert!(text.contains(key), "{key} is not in the shipped file");
    }
}

#[test]
fn http_at_all_of_ipv6_is_said_to_be_ipv6_alone() {
    for (address, alone) in [("[::]:8025", true), ("[::1]:8025", false), ("0.0.0.0:8025", false)] {
        let config = Config::parse(&format!("[control]\nhttp = \"{address}\"\n"), Path::new("relevo.toml"));
        let words = crate::config::describe::describe(&config.unwrap());
        assert!(words.contains(&format!("http://{address}/metrics")), "{words}");
        assert_eq!(words.contains("/healthz (IPv6 alone)"), alone, "{words}");
    }
}

#[test]
fn every_error_names_line_key_and_fix() {
    let found = errors(
        "[node]\nshards = 9999\nhostnam = \"x\"\n\n[[listener]]\naddress = \"foo\"\n[retry]\nfirst = \"3h\"\n",
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert_eq!(
        found[0],
        "relevo.toml:2: node.shards: 9999 is out of range; write shards = 256, or another number from 0 to 256"
    );
    assert_eq!(found[1], "relevo.toml:3: node.hostnam: unknown key; did you mean hostname = \"x\"?");
    assert!(found[2].starts_with("relevo.toml:6: listener[0].address: \"foo\" cannot"), "{}", found[2]);
    assert!(found[3].contains("retry.max"), "{}", found[3]);
}

#[test]
fn an_error_is_one_line_without_controls() {
    let found = errors("[[listener]]\naddress = \"a\\nb\\u001b[2J\"\n\"c\\nd\" = 1\n");
    assert!(found[0].contains("\"a\\nb\\u001B[2J\" cannot be"), "{}", found[0]);
    assert!(found[1].contains("listener[0].c\\nd: unknown key"), "{}", found[1]);
}

/// What could not be understood is not the double of anything, and nothing is its double.
#[test]
fn only_routes_that_were_understood_are_doubles() {
    let found = errors(
        "[[route]]\ndomain = \"a b\"\nto = \"mx\"\n[[route]]\ndomain = \"*\"\nto = \"mx\"\n[[route]]\ndomain = \"c d\"\nto = \"mx\"\n",
    );
    assert!(found.len() == 2 && found.iter().all(|one| one.contains("cannot be understood")), "{found:#?}");
    let found = errors("[[route]]\ndomain = \"*\"\nto = \"mx\"\n[[route]]\ndomain = \"*\"\nto = \"mx\"\n");
    assert!(found.len() == 1 && found[0].contains("a route for this already"), "{found:#?}");
}

#[test]
fn broken_files_of_each_kind() {
    for (text, wanted) in [
        ("[node\n", "relevo.toml:1: "),
        ("colour = 1", "unknown key"),
        ("node = 3", "this is a section"),
        ("[listener]\naddress = \"127.0.0.1:1\"", "[[listener]]"),
        ("[[listener]]\naddress = 25", "write address = \"0.0.0.0:25\""),
        ("[[listener]]\n[[listener]]", "listened on twice"),
        ("[[listener]]\nrelay_from = []", "nobody may relay"),
        ("[[listener]]\nrelay_from = \"10.0.0.0/8\"", "write relay_from = [\"10.0.0.0/8\"]"),
        ("[[listener]]\ntls_key = \"k\"", "add tls_certificate"),
        ("[[route]]\nto = \"mx\"", "route[0].domain: this key is missing"),
        ("[[route]]\ndomain = \"*\"\nto = \"lmtp://x:25\"", "RFC 2033"),
        ("[[route]]\ndomain = \"*\"\nto = \"mx\"\ntls = \"verified\"", "write tls = \"verify\""),
        ("[[route]]\ndomain = \"*\"\nto = \"smtps://a\"\ntls = \"off\"", "from the first byte"),
        ("[spool]\nsegment_size = \"5000000\"", "multiple of 4096"),
        ("[delivery]\nstarttls = \"yes\"", "write starttls = true"),
        ("[node]\nexpire = \"5d\"", "unknown key; it belongs in [retry]"),
        ("[nod]\nshards = 2", "did you mean [node]?"),
        ("[[listeners]]\naddress = \"127.0.0.1:1\"", "did you mean [[listener]]?"),
        ("[node]\nshards = 2\nshard = 2", "remove it: shards is there already"),
        ("[retry]\nfactor = 0.5", "1.0 to 100.0"),
    ] {
        let found = errors(text).join("\n");
        assert!(found.contains(wanted), "{text}: {found}");
    }
}

#[test]
fn errors_are_in_the_order_of_the_lines() {
    let text = "[retry]\nexpire = 5\n[nodes]\n[[listener]]\ncolour = 1\naddress = 1\n[auth]\naccounts = 1\n[node]\nhostname = 1\n";
    let lines: Vec<_> =
        Config::parse(text, Path::new("f")).unwrap_err().iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 3, 5, 6, 8, 10]);
}

#[test]
fn every_line_that_is_no_toml_is_told() {
    let text = "[retry]\nfirst = 5m\nmax = 2h\n[node\nshards = 1\n";
    let found = errors(text);
    assert_eq!(found.len(), 3, "{found:#?}");
    for (error, line) in found.iter().zip(["first = \"5m\"", "max = \"2h\"", "[node]"]) {
        assert!(error.contains(&format!("; write {line}")), "{error}");
    }
    assert!(errors(&"\u{1}\n".repeat(1000)).len() <= 20);
}
