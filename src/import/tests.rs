//! Samples of each relay's style, and what hostile ones come to.

use super::prove::{refused_configuration, refused_shaping};
use super::*;

mod cases;
mod overlaps;

const TERMS: fn() -> Terms = || Terms { at: "/etc/relevo/new".to_owned(), today: "2026-12-01".to_owned() };

type Reader = fn(&str, &mut Library<'_>, &Terms) -> Result<Imported, ImportError>;

/// Reads files of a list.
fn of_files(reader: Reader, from: &str, files: &[(&str, &str)]) -> Result<Imported, ImportError> {
    let mut fetch = |path: &str, _| {
        let found = files.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "No such file".to_owned())
    };
    reader(from, &mut Library::new(&mut fetch), &TERMS())
}

/// Reads a sample of `tests/import`.
fn sample(reader: Reader, from: &str) -> Imported {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import/");
    let mut fetch = |path: &str, _| std::fs::read(format!("{root}{path}")).map_err(|error| error.to_string());
    let imported = reader(from, &mut Library::new(&mut fetch), &TERMS()).expect("a sample");
    sound(&imported);
    imported
}

/// What holds for whatever was read: it is accepted, every directive has an outcome, the counts add up.
fn sound(imported: &Imported) {
    let text = imported.relevo_toml();
    assert_eq!(
        refused_configuration(&text).iter().map(ToString::to_string).collect::<Vec<_>>(),
        [""; 0],
        "{text}"
    );
    let text = imported.shaping_toml();
    assert_eq!(refused_shaping(&text).iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0], "{text}");
    let all = imported.ledger.all();
    assert!(all.iter().all(|one| one.outcome.is_some() && one.line > 0), "{all:?}");
    assert_eq!(imported.ledger.counts().iter().sum::<usize>(), all.len());
    for one in all.iter().filter(|one| one.outcome != Some(Outcome::Translated)) {
        assert!(!one.words.is_empty(), "nothing is said of {one:?}");
    }
    let both = imported.relevo_toml() + &imported.shaping_toml();
    for one in all.iter().filter(|one| matches!(one.outcome, Some(Outcome::Translated))) {
        let origin = format!("{}:{}: {}", one.file, one.line, one.text);
        let accounts = imported.accounts.iter().flatten().any(|account| !account.from.is_empty());
        assert!(both.contains(&origin) || accounts || one.words.is_empty(), "{origin}");
    }
}

/// Compares with what was right once; `IMPORT_GOLDEN=write` writes it anew.
fn golden(imported: &Imported, name: &str) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import/golden/");
    for (kind, text) in [
        ("relevo.toml", imported.relevo_toml()),
        ("shaping.toml", imported.shaping_toml()),
        ("report.txt", imported.report()),
    ] {
        let path = format!("{root}{name}.{kind}");
        if std::env::var("IMPORT_GOLDEN").is_ok() {
            std::fs::write(&path, &text).expect("a place for it");
        }
        let right = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == right, "{path} is another:\n{text}");
    }
}

#[test]
fn a_postfix_directory() {
    let imported = sample(postfix::import, "postfix");
    golden(&imported, "postfix");
    let shown = imported.relevo_toml() + &imported.report();
    assert!(!shown.contains("secret") && !shown.contains("hidden"), "{shown}");
    assert_eq!(
        imported.files,
        [("credentials/smtp-provider-example.password".into(), "p:w secret\n".into())]
    );
}

#[test]
fn a_configuration_of_powermta() {
    let imported = sample(pmta::import, "pmta/config");
    golden(&imported, "pmta");
    let shown = imported.relevo_toml() + &imported.report();
    assert!(!shown.contains("s3cr3t") && !shown.contains("pass-w0rd"), "{shown}");
}

#[test]
fn a_policy_of_kumomta() {
    let imported = sample(kumo::import, "kumo");
    golden(&imported, "kumo");
    assert!(imported.files.iter().any(|(path, _)| path == "dkim/key.example/s1.pem"));
}

fn refusal(reader: Reader, from: &str, files: &[(&str, &str)]) -> String {
    of_files(reader, from, files).map(|imported| imported.report()).expect_err("an error").to_string()
}

#[test]
fn broken_files_are_told_with_their_lines() {
    let pmta = |text: &str| {
        refusal(
            pmta::import,
            "/p/config",
            &[("/p/config", text), ("/p/b", "include config\n"), ("/p/c", "\n</x>\n")],
        )
    };
    assert_eq!(
        pmta("a 1\n<domain x>\n"),
        "/p/config:2: <domain> is never closed: write </domain> where it ends"
    );
    assert!(pmta("</domain>\n").starts_with("/p/config:1: </domain> closes a block that was never opened"));
    assert!(
        pmta("<domain x>\n</source>\n")
            .starts_with("/p/config:2: </source> stands where <domain> of line 1 is open")
    );
    assert!(pmta("<domain x\n").starts_with("/p/config:1: a block begins with <name ...>"));
    assert!(pmta("a\n\0b\n").starts_with("/p/config:2: a NUL"));
    assert!(pmta("include b\n").starts_with("/p/b:1: /p/config includes itself"));
    assert!(pmta("x 1\ninclude nowhere\n").starts_with("/p/config:2: include /p/nowhere: No such file"));
    assert!(pmta("include c\n").starts_with("/p/c:2: </x>"));
    assert!(pmta(&"<domain x>\n".repeat(40)).contains("more than 16 blocks in blocks"));
    assert!(refusal(postfix::import, "/p", &[]).starts_with("/p/main.cf: No such file"));
    assert!(
        refusal(postfix::import, "/p", &[("/p/main.cf", "a = b\n\n\0")]).starts_with("/p/main.cf:3: a NUL")
    );
    assert!(refusal(kumo::import, "/p", &[]).starts_with("/p: there is no init.lua"));
    assert!(
        refusal(kumo::import, "/p", &[("/p/queues.toml", "a = 1\nb = = 2\n")]).starts_with("queues.toml:2: ")
    );
    assert!(
        refusal(kumo::import, "/p", &[("/p/sources.json", "{\n\"a\": }")]).starts_with("sources.json:2: ")
    );
}

#[test]
fn what_is_too_large_is_refused() {
    let mut fetch = |_: &str, most: u64| Ok(vec![b'a'; most as usize + 1]);
    let refused = pmta::import("/config", &mut Library::new(&mut fetch), &TERMS()).expect_err("too large");
    assert!(refused.to_string().starts_with("/config: more than"), "{refused}");
    let many = "a 1\n".repeat(crate::limits::IMPORT_DIRECTIVES_MAX + 1);
    let refused = refusal(pmta::import, "/c", &[("/c", &many)]);
    assert!(refused.contains(":500001: more than 500000 directives"), "{refused}");
}

/// Variables that name each other, empty values, values that are no numbers, what is refused by `check`: read, and told of.
#[test]
fn strange_values_are_no_reason_to_stop() {
    let main = "a = $b\nb = $a ${a?x} ${c:$b} $$ ${\nmyhostname = not a host\nrelay_domains = $a\nrelayhost = [::1\nmessage_size_limit = x\n\
        mynetworks = 1.2.3.4/99 hash:/nowhere 10.0.0.1/8\nminimal_backoff_time = 99999999999999999999d\nno equals\n= 3\n";
    let master = "smtp inet n - y - - smtpd\nshort line\nx:y inet n - - - - smtpd\n  -o {\n  -o broken\n";
    sound(&of_files(postfix::import, "/p", &[("/p/main.cf", main), ("/p/master.cf", master)]).expect("read"));
    let config = "host-name -bad-\nsmtp-listener nowhere\nsmtp-listener 1.2.3.4:99999\n<domain *>\nretry-after x\nbounce-after never\nmax-smtp-out -3\n\
        max-msg-rate 5/0h\nsmtp-pattern-list none\n</domain>\n<domain /x/>\nmax-smtp-out 3\n</domain>\n<virtual-mta>\n</virtual-mta>\n\
        <virtual-mta \u{202e}ö>\nsmtp-source-host x\n</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta q\n</virtual-mta-pool>\ndomain-key x\n\
        domain-macro m $m\n<domain $m>\nmax-smtp-out 2\n</domain>\n<smtp-user u>\n</smtp-user>\n<acct-file>\nrecords zz\n</acct-file>\n";
    sound(&of_files(pmta::import, "/c", &[("/c", config)]).expect("read"));
    let policy = "kumo.start_esmtp_listener { listen = 'x', relay_hosts = { 1, {}, 'y' }, hostname = f(), [";
    let queues = "tenant_header = 3\n[queue.x]\nmax_age = 'never'\nprotocol = 3\n[tenant]\ny = 1\n";
    sound(
        &of_files(kumo::import, "/p", &[("/p/init.lua", policy), ("/p/queues.toml", queues)]).expect("read"),
    );
}
