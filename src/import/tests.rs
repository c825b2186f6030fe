//! Samples of each relay's style, and what hostile ones come to.

use super::prove::{refused_configuration, refused_shaping};
use super::*;

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
    assert_eq!(refused_configuration(&text).iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0], "{text}");
    let text = imported.shaping_toml();
    assert_eq!(refused_shaping(&text).iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0], "{text}");
    let all = imported.ledger.all();
    assert!(all.iter().all(|one| one.outcome.is_some() && one.line > 0), "{all:?}");
    assert_eq!(imported.ledger.counts().iter().sum::<usize>(), all.len());
    for one in all.iter().filter(|one| one.outcome != Some(Outcome::Translated)) {
        assert!(!one.words.is_empty(), "nothing is said of {one:?}");
    }
    for one in all.iter().filter(|one| matches!(one.outcome, Some(Outcome::Translated))) {
        let origin = format!("{}:{}: {}", one.file, one.line, one.text);
        let both = imported.relevo_toml() + &imported.shaping_toml();
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
    assert_eq!(imported.files, [("credentials/smtp-provider-example.password".into(), "p:w secret\n".into())]);
}
