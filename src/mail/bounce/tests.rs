//! Messages of the shapes that systems send, and what is found in them.

use super::*;

/// The public messages that are not part of this repository: `BOUNCE_CORPUS=DIR cargo test --lib bounce::tests::a_corpus -- --nocapture`.
#[test]
fn a_corpus_is_told() {
    let Some(directory) = std::env::var_os("BOUNCE_CORPUS") else { return };
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    for path in files {
        let bytes = std::fs::read(&path).expect("a readable file");
        println!("{}\t{:?}", path.display(), read(&bytes, b""));
    }
}

/// Each entry of the file is the one that knows its examples, and finds in them what it says.
#[test]
fn each_system_is_known_by_its_examples() {
    let file = freeform::file().expect("it is TOML of this shape");
    let mut faults = Vec::new();
    for entry in file.entries() {
        assert!(!entry.example.is_empty(), "{} has no example", entry.name);
        for example in &entry.example {
            let found = read(example.message.trim_start().as_bytes(), b"");
            let (Incoming::Bounce(returned) | Incoming::Delay(returned)) = &found else {
                faults.push(format!("{}: {found:?}", entry.name));
                continue;
            };
            let told: Vec<_> = returned
                .reports
                .iter()
                .map(|one| format!("{} {}", one.recipient, one.class.word()))
                .collect();
            if returned.matched != entry.name || told != example.found {
                faults.push(format!("{}: {} {told:?}", entry.name, returned.matched));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}
