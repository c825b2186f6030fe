//! The manners of `relevo-load`.

#[path = "../../tests/manners/mod.rs"]
mod manners;

use std::path::Path;

const LOAD: &str = env!("CARGO_BIN_EXE_relevo-load");

fn lines(directory: &Path) -> Vec<String> {
    let (sent, received) = (directory.join("sent"), directory.join("received"));
    std::fs::write(&sent, "0000000000000401-0 0 taken\n").expect("a file");
    std::fs::write(&received, "0000000000000401-0/0 intact\n").expect("a file");
    let (sent, received) = (sent.display(), received.display());
    let mut lines = manners::questions(&["sink", "send", "dns", "run", "compare", "scenarios", "verdict"]);
    lines.extend([
        "scenarios".to_owned(),
        "scenarios bulk".to_owned(),
        format!("verdict {sent} {received}"),
        format!("verdict {sent} {received} --json"),
        "compare none none".to_owned(),
        "run none".to_owned(),
        "run steady --data-dir /nowhere".to_owned(),
    ]);
    lines
}

#[test]
fn its_manners_are_those_of_all() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("manners-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let (load, lines) = (Path::new(LOAD), lines(&directory));
    manners::assert_quiet(load, &lines);
    manners::assert_unharmed(load, &lines);
    manners::assert_helpful(load, &lines);
    manners::assert_dated(load);
    let (code, _, errors) = manners::output(load, "run steady --data-dir /nowhere");
    assert!(code == Some(2) && errors.contains("/nowhere"), "{errors}");
    std::fs::remove_dir_all(&directory).expect("removed");
}
