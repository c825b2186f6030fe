//! Every fix that is a line is obeyed, by a machine: it goes in place of the wrong line, or below it where a line is missing, and then
//! the error must be gone and no other there.

use std::path::Path;

use crate::config::judge::judge;
use crate::config::{Config, ConfigError};

fn errors(text: &str) -> Vec<ConfigError> {
    Config::examine(text, Path::new("relevo.toml")).1
}

/// The line that a fix says to write: whether it goes below, and the line.
pub(crate) fn line_of_fix(fix: &str) -> Option<(bool, String)> {
    let verbs = [("write ", false), ("add ", true), ("did you mean ", false)];
    let (rest, below) = verbs.into_iter().find_map(|(verb, below)| Some((fix.strip_prefix(verb)?, below)))?;
    if rest.starts_with('[') {
        return Some((below, rest.trim_end_matches('?').to_owned()));
    }
    let (key, value) = rest.split_once(" = ")?;
    // As much of what follows as is a value.
    let ends = (1..=value.len()).rev().filter(|end| value.is_char_boundary(*end));
    let whole = ends
        .map(|end| format!("{key} = {}", &value[..end]))
        .find(|line| line.parse::<toml::Table>().is_ok() && line.trim_end() == line);
    Some((below, whole?))
}

/// The text with a fix obeyed.
pub(crate) fn obeyed(text: &str, error: &ConfigError) -> Option<String> {
    let (below, line) = line_of_fix(&error.fix)?;
    let mut lines: Vec<&str> = text.lines().collect();
    let at = error.line - 1;
    if below {
        lines.insert(at + 1, &line)
    } else {
        lines[at] = &line
    }
    Some(lines.join("\n") + "\n")
}

/// Section, wrong line, what its error must say, the line to write.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("node", "hostname = \"relay.example.net.\"", "is no host name", "hostname = \"relay.example.net\""),
    (
        "node",
        "hostname = \"my relay.example.org\"",
        "\"my relay.example.org\"",
        "hostname = \"my-relay.example.org\"",
    ),
    ("node", "hostname = \"[192.0.2.1]\"", "is no host name", "hostname = \"relay.example.net\""),
    ("node", "hostname = 5", "a number, not a text", "hostname = \"relay.example.net\""),
    ("node", "data_dir = true", "true or false, not a text", "data_dir = \"/var/lib/relevo\""),
    ("node", "data_dir = \"\"", "this is empty", "data_dir = \"/var/lib/relevo\""),
    ("node", "shards = \"4\"", "\"4\" is in quotes", "shards = 4"),
    ("node", "shards = 4.5", "4.5 is no whole number", "shards = 4"),
    ("node", "shards = -1", "-1 is out of range", "shards = 0"),
    ("node", "shards = 9999", "9999 is out of range", "shards = 256"),
    ("node", "shards = 99999999999999999999999", "is out of range", "shards = 256"),
    ("node", "shards = 0x10", "a number", "shards = 0"),
    ("node", "shards = \"auto\"", "in quotes", "shards = 0"),
    ("[listener]", "address = 25", "a number, not a text", "address = \"0.0.0.0:25\""),
    ("[listener]", "address = \"25\"", "\"25\" cannot", "address = \"0.0.0.0:25\""),
    ("[listener]", "address = \"*:25\"", "\"*:25\" cannot", "address = \"0.0.0.0:25\""),
    ("[listener]", "address = \":2525\"", "\":2525\" cannot", "address = \"0.0.0.0:2525\""),
    ("[listener]", "address = \"localhost:2525\"", "cannot", "address = \"127.0.0.1:2525\""),
    ("[listener]", "address = \"127.0.0.1\"", "cannot", "address = \"127.0.0.1:25\""),
    ("[listener]", "address = \"127.0.0.1:99999\"", "cannot", "address = \"127.0.0.1:25\""),
    ("[listener]", "address = \"::1:2525\"", "cannot", "address = \"[::1]:2525\""),
    ("[listener]", "address = \"[::1]\"", "cannot", "address = \"[::1]:25\""),
    ("[listener]", "address = \"smtp://127.0.0.1:2525\"", "cannot", "address = \"127.0.0.1:2525\""),
    ("[listener]", "address = \"foo\"", "cannot", "address = \"127.0.0.1:2525\""),
    ("[listener]", "relay_from = \"10.0.0.0/8\"", "not a list", "relay_from = [\"10.0.0.0/8\"]"),
    (
        "[listener]",
        "relay_from = \"10.0.0.0/8, 192.168.0.0/16\"",
        "not a list",
        "relay_from = [\"10.0.0.0/8\", \"192.168.0.0/16\"]",
    ),
    ("[listener]", "relay_from = [\"10.1.2.3/8\"]", "\"10.1.2.3/8\" cannot", "relay_from = [\"10.0.0.0/8\"]"),
    (
        "[listener]",
        "relay_from = [\"::1\", \"10.0.0.0/255.0.0.0\"]",
        "cannot",
        "relay_from = [\"::1\", \"10.0.0.0/8\"]",
    ),
    ("[listener]", "relay_from = [\"192.168/16\"]", "cannot", "relay_from = [\"192.168.0.0/16\"]"),
    ("[listener]", "relay_from = [\"10.\"]", "cannot", "relay_from = [\"10.0.0.0/8\"]"),
    ("[listener]", "relay_from = [\"192.0.2.7/33\"]", "cannot", "relay_from = [\"192.0.2.7/32\"]"),
    (
        "[listener]",
        "relay_from = [\"::ffff:10.0.0.0/104\"]",
        "IPv4 networks",
        "relay_from = [\"10.0.0.0/8\"]",
    ),
    ("[listener]", "relay_from = [\"any\"]", "\"any\" cannot", "relay_from = [\"10.0.0.0/8\"]"),
    ("[listener]", "relay_from = [\"1.2.3.4/0\"]", "cannot", "relay_from = [\"10.0.0.0/8\"]"),
    ("[listener]", "relay_from = [10]", "in the list, not a text", "relay_from = [\"10.0.0.0/8\"]"),
    ("[listener]", "relay_from = []", "nobody may relay here", "relay_from = [\"127.0.0.0/8\", \"::1\"]"),
    ("[listener]", "message_size_max = 50", "50 bytes is out of range", "message_size_max = \"50MiB\""),
    ("[listener]", "message_size_max = \"50\"", "50 bytes is out of range", "message_size_max = \"50MiB\""),
    ("[listener]", "message_size_max = \"50GB\"", "\"50GB\" is out of range", "message_size_max = \"2GB\""),
    ("[listener]", "message_size_max = \"50KB\"", "\"50KB\" is out of range", "message_size_max = \"50MB\""),
    ("[listener]", "message_size_max = 52428800000", "out of range", "message_size_max = \"2GiB\""),
    ("[listener]", "message_size_max = \"50 mb\"", "\"50 mb\" is no size", "message_size_max = \"50MB\""),
    ("[listener]", "message_size_max = \"50m\"", "is no size", "message_size_max = \"50MiB\""),
    ("[listener]", "message_size_max = \"1.5MiB\"", "is no size", "message_size_max = \"1536KiB\""),
    ("[listener]", "message_size_max = 1.5", "is no size", "message_size_max = \"1536KiB\""),
    ("[listener]", "message_size_max = \"-1\"", "is no size", "message_size_max = \"50MiB\""),
    ("[listener]", "message_size_max = -1", "is no size", "message_size_max = \"50MiB\""),
    ("[listener]", "message_size_max = \"unlimited\"", "is no size", "message_size_max = \"50MiB\""),
    ("[listener]", "message_size_max = true", "not a size", "message_size_max = \"50MiB\""),
    ("[listener]", "recipients_max = 50", "50 is out of range", "recipients_max = 100"),
    ("[listener]", "recipients_max = \"1k\"", "in quotes", "recipients_max = 1000"),
    ("[listener]", "bare_newlines = \"normalize\"", "\"normalize\" cannot", "bare_newlines = \"normalise\""),
    ("[listener]", "bare_newlines = \"Refuse\"", "cannot", "bare_newlines = \"refuse\""),
    ("[listener]", "bare_newlines = false", "not a text", "bare_newlines = \"refuse\""),
    ("[listener]", "connections_max = 0", "0 is out of range", "connections_max = 1"),
    (
        "[listener]",
        "tls_key = \"k\"",
        "the certificate of tls_key is missing",
        "tls_certificate = \"/etc/relevo/chain.pem\"",
    ),
    (
        "[listener]",
        "tls_certificate = \"c\"",
        "the key of tls_certificate is missing",
        "tls_key = \"/etc/relevo/key.pem\"",
    ),
    ("[route]", "domain = \"*\"", "route[0].to: this key is missing", "to = \"mx\""),
    ("[route]", "domain = \"*\"\nto = \"smtp://192.0.2.1:0\"", "cannot", "to = \"smtp://192.0.2.1:25\""),
    ("[route]", "domain = \"*\"\nto = \"smtp://0.0.0.0:25\"", "cannot be used", "to = \"mx\""),
    ("[route]", "domain = \"*\"\nto = \"smtp://[ff02::1]:25\"", "cannot be used", "to = \"mx\""),
    ("[route]", "to = \"mx\"", "route[0].domain: this key is missing", "domain = \"*\""),
    ("dns", "servers = \"192.0.2.1\"", "not a list", "servers = [\"192.0.2.1\"]"),
    ("dns", "servers = [\"localhost\"]", "cannot", "servers = [\"127.0.0.1:53\"]"),
    ("dns", "servers = [\"ns.example\"]", "cannot", "servers = [\"127.0.0.1\"]"),
    ("dns", "servers = [\"127.0.0.1:0\"]", "cannot be used", "servers = [\"127.0.0.1:53\"]"),
    (
        "dns",
        "servers = [\"[::1]:0\", \"192.0.2.1\"]",
        "cannot be used",
        "servers = [\"[::1]:53\", \"192.0.2.1\"]",
    ),
    ("dns", "servers = [\"0.0.0.0\"]", "cannot be used", "servers = [\"127.0.0.1\"]"),
    ("dns", "servers = [\"[::]:53\"]", "cannot be used", "servers = [\"127.0.0.1\"]"),
    ("dns", "servers = [\"224.0.0.251:5353\"]", "cannot be used", "servers = [\"127.0.0.1\"]"),
    ("dns", "servers = [\"ff02::fb\"]", "cannot be used", "servers = [\"127.0.0.1\"]"),
    ("dns", "servers = [\"255.255.255.255\"]", "cannot be used", "servers = [\"127.0.0.1\"]"),
    ("dns", "servers = [\"[::ffff:192.0.2.1]:53\"]", "cannot be used", "servers = [\"192.0.2.1:53\"]"),
    ("dns", "servers = [\"::ffff:192.0.2.1\"]", "cannot be used", "servers = [\"192.0.2.1:53\"]"),
    (
        "[route]",
        "domain = \"*\"\nto = \"smtp://[::ffff:10.0.0.1]:25\"",
        "cannot be used",
        "to = \"smtp://10.0.0.1:25\"",
    ),
    ("[route]", "domain = \"*\"\nto = \"smtp://[::ffff:a00:1]\"", "cannot", "to = \"smtp://10.0.0.1:25\""),
    ("[listener]", "address = \"224.0.0.1:25\"", "cannot be used", "address = \"127.0.0.1:2525\""),
    ("[listener]", "address = \"[ff02::1]:25\"", "cannot be used", "address = \"127.0.0.1:2525\""),
    ("[listener]", "address = \"255.255.255.255:25\"", "cannot be used", "address = \"127.0.0.1:2525\""),
    ("[listener]", "address = \"[::ffff:10.0.0.1]:25\"", "cannot be used", "address = \"10.0.0.1:25\""),
    ("control", "http = \"127.0.0.1:0\"", "cannot be used", "http = \"127.0.0.1:8025\""),
    ("control", "http = \"239.1.1.1:80\"", "cannot be used", "http = \"127.0.0.1:8025\""),
    ("delivery", "mx_port = 0", "0 is out of range", "mx_port = 25"),
    ("dns", "timeout = 5", "5 has no unit", "timeout = \"5s\""),
    ("dns", "timeout = \"5\"", "\"5\" has no unit", "timeout = \"5s\""),
    ("dns", "timeout = \"5000s\"", "\"5000s\" is too long", "timeout = \"5s\""),
    ("dns", "timeout = 5000", "5000 has no unit", "timeout = \"5s\""),
    ("dns", "timeout = \"5ms\"", "\"5ms\" is too short", "timeout = \"5s\""),
    ("dns", "timeout = \"5 seconds\"", "is no time", "timeout = \"5s\""),
    ("dns", "timeout = 2.5", "2.5 has no unit", "timeout = \"2500ms\""),
    ("dns", "attempts = 0", "0 is out of range", "attempts = 1"),
    ("delivery", "starttls = \"yes\"", "not true or false", "starttls = true"),
    ("delivery", "starttls = 0", "not true or false", "starttls = false"),
    ("delivery", "starttls = \"off\"", "not true or false", "starttls = false"),
    ("delivery", "mx_port = 70000", "70000 is out of range", "mx_port = 25"),
    ("delivery", "private_networks = \"allowed\"", "cannot", "private_networks = \"allow\""),
    ("retry", "expire = 5", "5 has no unit", "expire = \"5d\""),
    ("retry", "expire = 432000", "432000 has no unit", "expire = \"5d\""),
    ("retry", "expire = \"5 days\"", "\"5 days\" is no time", "expire = \"5d\""),
    ("retry", "expire = \"2w\"", "is no time", "expire = \"14d\""),
    ("retry", "expire = \"1.5h\"", "is no time", "expire = \"1h30m\""),
    ("retry", "expire = \"400d\"", "\"400d\" is too long", "expire = \"366d\""),
    ("retry", "expire = \"5000d\"", "\"5000d\" is too long", "expire = \"366d\""),
    ("retry", "expire = \"99999h\"", "too long", "expire = \"366d\""),
    ("retry", "expire = 3600", "these are 3600 seconds", "expire = \"1h\""),
    ("retry", "first = 60", "if these are 60 seconds, or another time", "first = \"1m\""),
    ("retry", "first = \"300\"", "these are 300 seconds", "first = \"5m\""),
    ("retry", "max = 30", "30 has no unit", "max = \"30m\""),
    ("retry", "max = 7200", "these are 7200 seconds", "max = \"2h\""),
    ("retry", "first = \"5min\"", "\"5min\" is no time", "first = \"5m\""),
    ("retry", "first = \"5 m\"", "\"5 m\" is no time", "first = \"5m\""),
    ("retry", "first = \"5M\"", "is no time", "first = \"5m\""),
    ("retry", "first = \"60ms\"", "\"60ms\" is too short", "first = \"1m\""),
    ("retry", "first = \"0s\"", "\"0s\" is too short", "first = \"1m\""),
    ("retry", "first = \"\"", "\"\" is no time", "first = \"1m\""),
    ("retry", "first = \"soon\"", "is no time", "first = \"1m\""),
    ("retry", "first = [\"1m\"]", "a list, not a time", "first = \"1m\""),
    ("retry", "first = \"3h\"", "max (2h) is shorter than first (3h)", "max = \"3h\""),
    ("retry", "factor = 0.5", "0.5 is out of range", "factor = 1.0"),
    ("retry", "factor = \"2\"", "a text, not a factor", "factor = 2.0"),
    ("retry", "factor = nan", "out of range", "factor = 2.0"),
    ("spool", "segment_size = \"5000000\"", "no multiple of 4096", "segment_size = \"5MiB\""),
    ("spool", "segment_size = 64", "64 bytes is out of range", "segment_size = \"64MiB\""),
    ("spool", "segment_size = \"64GiB\"", "out of range", "segment_size = \"1GiB\""),
    ("spool", "segment_size = \"64GB\"", "from 4MiB to 1GiB", "segment_size = \"1GiB\""),
    ("spool", "segment_size = \"1GB\"", "no multiple of 4096", "segment_size = \"954MiB\""),
    ("spool", "segment_size = \"3MB\"", "out of range", "segment_size = \"4MiB\""),
    ("control", "journal_size_max = \"2000000TB\"", "out of range", "journal_size_max = \"1125TB\""),
    ("[listener]", "message_size_max = \"9TiB\"", "to 2GiB", "message_size_max = \"2GiB\""),
    ("spool", "size_max = 100", "100 bytes is out of range", "size_max = \"100GiB\""),
    ("spool", "size_max = \"100MiB\"", "out of range", "size_max = \"100GiB\""),
    ("spool", "size_max = \"1EiB\"", "no size", "size_max = \"16GiB\""),
    ("log", "path = \"\"", "this is empty", "path = \"/var/log/relevo/relevo.jsonl\""),
    ("auth", "accounts = [\"a\"]", "a list, not a text", "accounts = \"/etc/relevo/accounts\""),
    ("control", "http = 8025", "not a text", "http = \"127.0.0.1:8025\""),
    ("control", "http = \":8026\"", "cannot", "http = \"127.0.0.1:8026\""),
    ("control", "http = \"http://127.0.0.1:8026/\"", "cannot", "http = \"127.0.0.1:8026\""),
    ("control", "http = false", "not a text", "http = \"127.0.0.1:8025\""),
    ("tuning", "spin = \"1s\"", "\"1s\" is too long", "spin = \"1ms\""),
    ("tuning", "spin = 50", "50 has no unit", "spin = \"50us\""),
    ("tuning", "ring_depth = 100", "no power of two", "ring_depth = 128"),
    ("tuning", "ring_depth = \"128\"", "in quotes", "ring_depth = 128"),
    ("tuning", "ring_depth = 100000", "out of range", "ring_depth = 4096"),
    ("tuning", "commit_delay = \"2s\"", "too long", "commit_delay = \"2ms\""),
    ("tuning", "runtime = \"io_uring\"", "cannot", "runtime = \"auto\""),
    ("[shard]", "core = 1", "index: this key is missing", "index = 0"),
    ("node", "hostnam = \"relay.example.net\"", "unknown key", "hostname = \"relay.example.net\""),
    ("[listener]", "max_message_size = \"10MiB\"", "unknown key", "message_size_max = \"10MiB\""),
    ("[listener]", "Message-Size-Max = \"10MiB\"", "unknown key", "message_size_max = \"10MiB\""),
    // No TOML at all.
    ("retry", "expire = 5d", "`expire = 5d` is no TOML", "expire = \"5d\""),
    ("retry", "expire = 5d # five days", "no TOML", "expire = \"5d\""),
    ("retry", "expire: 5d", "no TOML", "expire = \"5d\""),
    ("retry", "expire \"5d\"", "no TOML", "expire = \"5d\""),
    ("retry", "expire = \"5d", "no TOML", "expire = \"5d\""),
    ("retry", "expire = \"5d\" from now on", "no TOML", "expire = \"5d\""),
    ("retry", "expire = “5d”", "no TOML", "expire = \"5d\""),
    ("retry", "expire = \"5d\";", "no TOML", "expire = \"5d\""),
    ("delivery", "starttls = yes", "no TOML", "starttls = true"),
    ("delivery", "starttls = False", "no TOML", "starttls = false"),
    ("[listener]", "relay_from = [10.0.0.0/8]", "no TOML", "relay_from = [\"10.0.0.0/8\"]"),
    ("[listener]", "relay_from = [10.0.0.0/8, ::1]", "no TOML", "relay_from = [\"10.0.0.0/8\", \"::1\"]"),
    ("[listener]", "address = 0.0.0.0:25", "no TOML", "address = \"0.0.0.0:25\""),
    ("node", "hostname = relay.example.net", "no TOML", "hostname = \"relay.example.net\""),
];

/// Keys of which a fix keeps what was asked for, be it doubtful: the largest that may be, or no encryption.
const ASKED_FOR: [&str; 4] =
    ["listener[0].message_size_max", "retry.expire", "delivery.starttls", "auth.accounts"];

/// What is still wrong, or doubtful about this key: a fix is not to be mended by the next.
fn left(text: &str, key: &str) -> Option<ConfigError> {
    let (config, errors) = Config::examine(text, Path::new("relevo.toml"));
    let doubtful = config.map(|config| judge(&config, 1)).unwrap_or_default();
    let is_of_fix = |one: &ConfigError| one.key == key && !ASKED_FOR.contains(&key);
    errors.into_iter().chain(doubtful.into_iter().filter(is_of_fix)).next()
}

#[test]
fn every_fix_that_is_a_line_works() {
    let mut failed = Vec::new();
    for (section, line, wanted, right) in WRONG {
        let text = format!("# a comment\n[{section}]\n{line}\n\n[log]\n");
        // A following section, so that a line is not the last; not twice the same.
        let text = if *section == "log" { text.trim_end_matches("[log]\n").to_owned() } else { text };
        let found = errors(&text);
        let [error] = &found[..] else {
            failed.push(format!("{line}: {found:#?}"));
            continue;
        };
        if !error.to_string().contains(wanted) {
            failed.push(format!("{line}: no {wanted} in {error}"));
        }
        let place = line_of_fix(&error.fix).map(|(_, line)| line);
        if place.as_deref() != Some(*right) {
            failed.push(format!("{line}: {} (wanted {right})", error.fix));
            continue;
        }
        let mended = obeyed(&text, error).unwrap();
        if let Some(left) = left(&mended, &error.key) {
            failed.push(format!("{line}: obeyed, and then: {left}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn targets_are_guessed() {
    for (wrong, right) in [
        ("smtp.example.com:25", "smtp://smtp.example.com:25"),
        ("smtp.example.com", "smtp://smtp.example.com:25"),
        ("[smarthost.example.com]:587", "smtp://smarthost.example.com:587"),
        ("smtp:[smarthost.example.com]:587", "smtp://smarthost.example.com:587"),
        ("http://192.0.2.1:26/", "smtp://192.0.2.1:26"),
        ("smtp://::1", "smtp://[::1]:25"),
        ("lmtp:inet:127.0.0.1:24", "lmtp://127.0.0.1:24"),
        ("lmtp://store.example:25", "lmtp://store.example:24"),
        ("lmtp:unix:/run/dovecot/lmtp", "lmtp:/run/dovecot/lmtp"),
        ("unix:/run/dovecot/lmtp", "lmtp:/run/dovecot/lmtp"),
        ("/run/dovecot/lmtp", "lmtp:/run/dovecot/lmtp"),
        ("smtps:smtp.example.com", "smtps://smtp.example.com:465"),
        ("/dev/null", "discard"),
        ("Discard", "discard"),
        ("smtp://a.example:0", "smtp://a.example:25"),
        ("MX", "mx"),
        ("", "mx"),
        ("what is this", "mx"),
        ("smtp://user:password@mail.example", "smtp://mail.example:25"),
        ("smtp://user:p@ss@mail.example:587", "smtp://mail.example:587"),
        ("user@mail.example", "smtp://mail.example:25"),
        ("smtps://u:p@[::1]", "smtps://[::1]:465"),
        ("lmtp://u@store.example", "lmtp://store.example:24"),
    ] {
        let text = format!("[[route]]\ndomain = \"*\"\nto = \"{wrong}\"\n");
        let found = errors(&text);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        assert_eq!(line_of_fix(&found[0].fix).unwrap().1, format!("to = \"{right}\""), "{}", found[0].fix);
        assert_eq!(errors(&obeyed(&text, &found[0]).unwrap()), [], "{wrong}");
    }
    for (wrong, right) in [
        ("@example.com", "example.com"),
        (".example.com", "*.example.com"),
        ("example.com.", "example.com"),
        ("a b", "example.com"),
    ] {
        let text = format!("[[route]]\ndomain = \"{wrong}\"\nto = \"mx\"\n");
        let found = errors(&text);
        assert_eq!(
            line_of_fix(&found[0].fix).unwrap().1,
            format!("domain = \"{right}\""),
            "{}",
            found[0].fix
        );
        assert_eq!(errors(&obeyed(&text, &found[0]).unwrap()), [], "{wrong}");
    }
}

/// Sections and their keys.
const KEYS: &[(&str, &[&str])] = &[
    ("node", &["hostname", "data_dir", "shards"]),
    (
        "[listener]",
        &[
            "address",
            "relay_from",
            "message_size_max",
            "recipients_max",
            "bare_newlines",
            "connections_max",
            "connections_per_client",
            "messages_per_client",
            "recipients_per_client",
            "auth",
        ],
    ),
    ("dns", &["servers", "timeout", "attempts", "hosts"]),
    (
        "delivery",
        &[
            "connections_per_destination",
            "connections_per_address",
            "private_networks",
            "messages_per_connection",
            "pipeline_messages",
            "mx_port",
            "starttls",
            "allow_loopback_mx",
        ],
    ),
    ("retry", &["first", "factor", "max", "expire"]),
    ("bounces", &["dsn", "delay_warning", "verp_domain"]),
    ("feedback", &["addresses", "domains"]),
    ("suppression", &["auto", "hard_bounces", "scope", "on_match"]),
    ("spool", &["segment_size", "size_max"]),
    ("control", &["http", "socket", "journal_size_max", "analytics"]),
    ("log", &["path", "events", "format", "fields", "redact", "rotate"]),
    ("auth", &["accounts"]),
    ("shaping", &["defaults", "files"]),
    ("tuning", &["runtime", "spin", "ring_depth", "commit_delay"]),
];

/// Keys that want others beside them.
const WITHIN: &[(&str, &[&str])] = &[
    ("[[route]]\ndomain = \"*\"\n", &["to"]),
    ("[[route]]\nto = \"mx\"\n", &["domain"]),
    (
        "[[shard]]\nindex = 0\n",
        &["core", "spin", "commit_delay", "connections_inbound_max", "connections_outbound_max"],
    ),
    ("[[rule]]\naction = \"discard\"\n[rule.match]\n", &["account", "listener", "sender", "recipient"]),
    ("[[rule]]\naction = \"discard\"\n[rule.match.header]\npattern = \"x\"\n", &["name"]),
    ("[[rule]]\naction = \"discard\"\n[rule.match.header]\nname = \"X-Job\"\n", &["pattern"]),
    (
        "[[rule]]\n[rule.set]\ncampaign = \"a\"\n",
        &["tenant", "category", "pool", "priority", "expire", "sender", "send_at", "header_remove"],
    ),
    ("[[rule]]\n", &["action"]),
    ("[log]\nrotate = \"1d\"\n", &["compress", "keep"]),
    ("[[webhook]]\nurl = \"https://a.example/\"\nsecret_file = \"/s\"\n", &["events", "batch", "networks"]),
    ("[[stream]]\nkind = \"redis\"\nurl = \"redis://a\"\n", &["key", "events", "length", "password_file"]),
];

/// What may be written in place of a value.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "7",
    "50",
    "4096",
    "99999",
    "1e3",
    "0.5",
    "nan",
    "true",
    "[]",
    "[1]",
    "[\"x\"]",
    "{}",
    "2026-01-01",
    "\"\"",
    "\" \"",
    "\"x\"",
    "\"0\"",
    "\"7\"",
    "\"5m\"",
    "\"5 m\"",
    "\"5min\"",
    "\"5MB\"",
    "\"5 MB\"",
    "\"1G\"",
    "\"1.5h\"",
    "\"1.5GiB\"",
    "\"5000s\"",
    "\"99d\"",
    "\"1us\"",
    "\"10.0.0.1\"",
    "\"::1\"",
    "\"a\\nb\"",
    "\"9999999999999999999999\"",
    "'\"'",
    "\"relay.example.net\"",
    "5m",
    "5 MiB",
    "yes",
    "off",
    "0x1F",
    "1_000",
];

/// What a careless hand leaves behind: every value of the shipped file with its quotes, its unit, its sign or its kind changed. Whatever the
/// error is, a line it says to write is right.
#[test]
fn fixes_hold_for_every_key_and_every_kind_of_value() {
    let (mut told, mut lines) = (0, 0);
    let plain = KEYS.iter().map(|(section, names)| (format!("[{section}]\n"), *names));
    let within = WITHIN.iter().map(|(before, names)| ((*before).to_owned(), *names));
    for (before, names) in plain.chain(within) {
        for (key, value) in names.iter().flat_map(|key| VALUES.iter().map(move |value| (key, value))) {
            let text = format!("{before}{key} = {value}\n");
            for error in errors(&text) {
                told += 1;
                assert!(
                    error.line >= 1 && !error.problem.is_empty() && !error.fix.is_empty(),
                    "{text}{error:?}"
                );
                let Some(mended) = obeyed(&text, &error) else { continue };
                lines += 1;
                // A line that was no TOML may now be TOML that is wrong in another way; obeyed again it is right.
                let left = errors(&mended);
                let left = match &left[..] {
                    [] => left,
                    [other, ..] => errors(&obeyed(&mended, other).unwrap_or_default()),
                };
                assert!(left.is_empty(), "{text}{error}\n{mended}{left:?}");
            }
        }
    }
    assert!(told > 1500 && lines * 10 > told * 9, "{lines} of {told}");
}
