//! Where numbers may be named: bounds stand among the limits, each is used, and what stands elsewhere is no bound.

use crate::imports::without_tests;
use crate::source::{Source, is_word, words};

/// Numbers that are no bounds: where, which (none: all of the file), and what they are.
const MAY: &[(&str, &[&str], &str)] = &[
    ("src/runtime/sim/", &[], "what the simulated machine is like"),
    (
        "src/dns/cache.rs",
        &["HEADER", "PLACE_BITS", "PLACE", "TICK", "NEVER", "SPARE", "SLOTS_MIN", "SLOTS_MAX"],
        "how entries lie in memory",
    ),
    ("src/mail/handover.rs", &["VERSION"], "of what nodes say to each other"),
    ("src/mail/envelope/utf8.rs", &["ASKED", "NEEDED", "U_LABELS"], "bits of the spool"),
    ("src/dns/packed.rs", &[], "kinds of what is kept"),
    ("src/runtime/files.rs", &["FILE_MODE", "DIRECTORY_MODE"], "modes of files"),
    ("src/runtime/output.rs", &["ATOMIC"], "PIPE_BUF of the kernel"),
    (
        "src/runtime/process.rs",
        &["TMPFS", "RAMFS", "PROC", "SYSFS"],
        "file systems, as the kernel numbers them",
    ),
    ("src/runtime/os/mod.rs", &["GETRANDOM_WHOLE"], "what the kernel promises of getrandom(2)"),
    ("src/runtime/os/interfaces.rs", &["PORT"], "any port"),
    ("src/runtime/glommio/rings.rs", &["RINGS"], "how glommio is made"),
    (
        "src/runtime/epoll/waker.rs",
        &["EXECUTORS", "EXECUTOR_BITS", "SLOT_BITS", "TASKS_MAX"],
        "layout of a waker's word",
    ),
    ("src/runtime/mod.rs", &["COUNT"], "how many kinds there are"),
    ("src/runtime/succession.rs", &["ROOM"], "how the kernel lays out a message"),
    ("src/runtime/terminal.rs", &["CTRL_C", "CTRL_D", "CTRL_U"], "keys"),
    ("src/run.rs", &["STARTING", "RUNNING", "STOPPING"], "states in an atomic"),
    ("src/config/stream.rs", &["PORT", "NATS_PORT"], "those of Redis and NATS"),
    ("src/control/analytics/roll.rs", &["MINUTE"], "how long a text is"),
    ("src/control/analytics/file.rs", &["APPLICATION", "VERSION", "FIRST"], "layout on the disk"),
    ("src/control/analytics/cells.rs", &["DELIVERED", "EACH", "TIMES", "BUCKETS"], "codes on the disk"),
    ("src/control/send/stats.rs", &["DAY"], "units"),
    ("src/control/sandbox/store.rs", &["APPLICATION", "VERSION"], "layout on the disk"),
    ("src/control/overview/", &["KINDS", "GROWING", "MINUTE"], "how many kinds there are, and a unit"),
    ("src/queue/destinations/domain.rs", &["LEAVING"], "a bit of a byte"),
    ("src/queue/destinations/sites.rs", &["OTHER_NUMBER"], "nobody's number"),
    ("src/control/health.rs", &["OPEN", "DRAINING"], "states in an atomic"),
    (
        "src/control/journal/frame.rs",
        &["VERSION", "HEADER", "HEAD", "POSITION", "KNOWN"],
        "layout on the disk",
    ),
    ("src/shard/store/places.rs", &["MOVED"], "a bit of a word of the table"),
    ("src/commands/output.rs", &["NO", "WRONG_USE"], "exit codes"),
    ("src/node/keygen.rs", &["DIRECTORY_MODE", "KEY_MODE", "SHARED_KEY_MODE"], "modes of files"),
    ("src/mail/dkim/record.rs", &["FRAME"], "how keys are encoded"),
    ("src/config/judge.rs", &["MINUTE", "HOUR", "DAY"], "units"),
    ("src/config/retry.rs", &["SECOND"], "units"),
    ("src/time.rs", &["DAY"], "units"),
    ("src/shard/quota.rs", &["FOR_NOW", "AWAY"], "bits of a byte"),
    ("src/queue/node_shares.rs", &["WEIGHT_BITS", "CONNECTIONS_BITS"], "bits of a word"),
    ("src/shard/warm.rs", &["ALL"], "nobody's number of messages"),
    ("src/policy/dane.rs", &["TRUST_ANCHOR", "END_ENTITY"], "usages of records (RFC 7218 2.1)"),
    ("src/policy/certificate.rs", &["NEVER"], "a time at which every certificate has ended"),
    ("src/policy/suppression/layout.rs", &["VERSION", "PAGE"], "layout on the disk"),
    ("src/policy/suppression/recent.rs", &["LISTED"], "a bit of a word of the table"),
    ("src/policy/guesses.rs", &["ONE", "AROUND", "ANYWHERE"], "how much of an address a name is made of"),
    ("src/queue/group.rs", &["ANY_LIFETIME"], "a number that none of them has"),
    ("src/queue/node_shares/passes.rs", &["STRIDE"], "a unit, of which each weight has a part"),
    ("src/queue/fair.rs", &["TRIED_BEFORE"], "a name that nobody else has"),
    ("src/dns/message.rs", &["PAYLOAD"], "wire format (DNS flag day 2020)"),
    ("src/shard/records.rs", &["HEADER"], "wire format (RFC 8446 5.1)"),
    (
        "src/smtp/proxy.rs",
        &["HEAD", "AUTHORITY", "CHECKSUM", "TLS", "TLS_VERSION", "TLS_CIPHER", "SPOKE_TLS"],
        "wire format (the PROXY protocol, section 2.2)",
    ),
    ("src/shard/outbound/site.rs", &["NO_ANSWER"], "an enhanced status code (RFC 3463 3.5)"),
    ("src/shard/outbound/settle.rs", &["TIME_EXPIRED"], "an enhanced status code (RFC 3463 3.5)"),
    ("src/mail/dsn.rs", &["LINE_MAX"], "RFC 5322 2.1.1"),
    ("src/mail/trace.rs", &["LINE_WIDTH", "LAST_SECOND"], "RFC 5322 2.1.1 and 3.3"),
    ("src/mail/dkim/body.rs", &["BLOCK", "ONES", "HIGH"], "how bytes lie in a register"),
    ("src/mail/dkim/folder.rs", &["LINE_WIDTH"], "RFC 5322 2.1.1"),
    (
        "src/mail/dkim/pem.rs",
        &["LINE", "INTEGER", "OCTETS", "OBJECT", "SEQUENCE"],
        "layout of a key (RFC 7468 2, X.690 8)",
    ),
    (
        "src/mail/bounce/verp.rs",
        &["CLAIM", "TAG", "CODE", "LETTERS", "CHECK", "DAY_MS"],
        "layout of a return path, and a unit",
    ),
    ("src/mail/unsubscribe.rs", &["DAY_MS"], "a unit"),
    (
        "src/mail/duties.rs",
        &["FROM", "DATE", "ID", "SENDER", "UNSUBSCRIBE", "POST"],
        "places of fields in a list",
    ),
    ("src/mail/parameters.rs", &["FIELD"], "layout on the disk"),
    ("src/mail/encoding.rs", &["LINE"], "RFC 2045 6.7 and 6.8"),
    ("src/mail/seven_bit/survey.rs", &["LINE_MAX"], "RFC 5322 2.1.1"),
    ("src/smtp/data/lines.rs", &["INSTRUCTION", "OF_TLS", "FIRST"], "states beside lengths"),
    ("src/mail/tls_report.rs", &["LINE"], "RFC 2045 6.8"),
    ("src/policy/tls_rpt/gzip.rs", &["LEVEL"], "how hard it is packed"),
    ("src/route/egress.rs", &["WISH"], "a bit of a number"),
    ("src/spool/asked.rs", &["RET", "NOTIFY", "ORIGINAL", "KEY", "RUN"], "layout on the disk"),
    ("src/spool/disposition.rs", &["DISPOSITION", "LATE"], "layout on the disk"),
    ("src/spool/record.rs", &[], "layout on the disk"),
    ("src/spool/record/tag.rs", &[], "layout on the disk"),
    ("src/spool/record/extent.rs", &["EXTENT"], "layout on the disk"),
    ("src/spool/segment.rs", &["COMMIT_HEADER", "FIRST_COMMIT", "VERSION", "HEADER"], "layout on the disk"),
    ("src/spool/survey.rs", &["UNKNOWN"], "nobody's number"),
    ("src/spool/index/replies.rs", &["NO_REPLY"], "nobody's number"),
    ("src/queue/outcome.rs", &["NO_END", "HELD"], "no time, and a number on disk"),
];

fn entry(place: &str, name: &str) -> Option<usize> {
    MAY.iter().position(|(at, names, _)| place.starts_with(at) && (names.is_empty() || names.contains(&name)))
}

/// Constants that are a number, a time, or several of these: name and where.
fn numbers(code: &str) -> Vec<(String, usize)> {
    const TYPES: [&str; 13] =
        ["u8", "u16", "u32", "u64", "u128", "usize", "i32", "i64", "i128", "isize", "f32", "f64", "Duration"];
    let named = |at: usize| {
        let rest = code[at + "const".len()..].trim_start();
        let name: String = rest.bytes().take_while(|byte| is_word(*byte)).map(char::from).collect();
        let kind = rest[name.len()..].trim_start().strip_prefix(':')?.split('=').next()?;
        let last = kind.trim().trim_matches(['(', ')']).split(',').next()?.rsplit("::").next()?.trim();
        (name != "_" && TYPES.contains(&last)).then_some((name, at))
    };
    words(code, "const").filter_map(named).collect()
}

/// Numbers of one file of `src` that are neither limits nor allowed.
fn unbound(source: &Source, used: &mut [bool]) -> Vec<String> {
    if source.place.starts_with("src/limits") || source.place.contains("/tests") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (name, at) in numbers(&without_tests(&source.code)) {
        match entry(&source.place, &name) {
            Some(entry) => used[entry] = true,
            None => complaints.push(source.complaint(
                at,
                &format!("`{name}` belongs in src/limits, with its reason; what is no bound, in tests/tidy/constants.rs"),
            )),
        }
    }
    complaints
}

pub fn assert_bounds_are_limits(sources: &[Source]) {
    let mut used = vec![false; MAY.len()];
    let complaints: Vec<_> = sources.iter().flat_map(|source| unbound(source, &mut used)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    let stale: Vec<_> = MAY.iter().zip(used).filter(|(_, used)| !used).map(|(entry, _)| entry).collect();
    assert!(stale.is_empty(), "nothing of this is there any more: {stale:?}");
}

/// Limits that nothing outside of them uses.
fn unused(sources: &[Source]) -> Vec<String> {
    let (limits, others): (Vec<_>, Vec<_>) =
        sources.iter().partition(|source| source.place.starts_with("src/limits"));
    let others: Vec<String> = others
        .iter()
        .filter(|source| !source.place.contains("/tests"))
        .map(|source| without_tests(&source.code))
        .collect();
    let mut complaints = Vec::new();
    for source in limits {
        // Names of these two are used by their module: `client::DATA`.
        let module =
            ["client", "server"].into_iter().find(|name| source.place.ends_with(&format!("/{name}.rs")));
        for at in words(&source.code, "const") {
            let rest = source.code[at + "const".len()..].trim_start();
            let name: String = rest.bytes().take_while(|byte| is_word(*byte)).map(char::from).collect();
            let full = module.map_or(name.clone(), |module| format!("{module}::{name}"));
            if name != "_" && !others.iter().any(|code| words(code, &full).next().is_some()) {
                complaints.push(source.complaint(at, &format!("nothing is bounded by `{full}`")));
            }
        }
    }
    complaints
}

pub fn assert_limits_are_used(sources: &[Source]) {
    let complaints = unused(sources);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_the_limits_are_noticed() {
        let count =
            |place: &str, text: &str| unbound(&Source::new(place, text), &mut vec![false; MAY.len()]).len();
        for text in [
            "const A: usize = 3;",
            "pub(super) const A: Duration = Duration::from_secs(3);",
            "fn f() { const A: std::time::Duration = X; }",
            "const A: (u64, u64) = (1, 2);",
            "impl X { const A: f64 = 0.5; }",
        ] {
            assert_eq!(count("src/a.rs", text), 1, "{text}");
            assert_eq!(count("src/limits/spool.rs", text), 0, "{text}");
        }
        for text in [
            "const A: &str = \"3\";",
            "const _: () = assert!(true);",
            "const fn f(a: u8) -> u8 { a }",
            "#[cfg(test)] mod tests { const A: u8 = 3; }",
            "fn f<const N: usize>() {}",
            "// const A: u8 = 3;",
        ] {
            assert_eq!(count("src/a.rs", text), 0, "{text}");
        }
        assert_eq!(count("src/spool/segment.rs", "const COMMIT_HEADER: usize = 48; const WAIT: u64 = 3;"), 1);
    }

    #[test]
    fn limits_that_bound_nothing_are_noticed() {
        let count = |limit: (&str, &str), text: &str| {
            unused(&[Source::new(limit.0, limit.1), Source::new("src/a.rs", text)]).len()
        };
        let limit = ("src/limits/spool.rs", "pub const A: u8 = 3;");
        assert_eq!(count(limit, "fn f() { g(limits::A) }"), 0);
        for text in
            ["", "// A", "#[cfg(test)] mod tests { fn f() { g(limits::A) } }", "fn f() { g(limits::AB) }"]
        {
            assert_eq!(count(limit, text), 1, "{text}");
        }
        let limit = ("src/limits/client.rs", "pub const A: u8 = 3;");
        assert_eq!(count(limit, "fn f() { g(limits::client::A) }"), 0);
        assert_eq!(count(limit, "fn f() { g(limits::server::A) }"), 1);
    }
}
