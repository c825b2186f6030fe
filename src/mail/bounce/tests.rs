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
