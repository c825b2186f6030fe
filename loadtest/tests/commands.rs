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

/// A pipe nobody writes to is no file to wait for, whatever names it.
#[test]
fn no_command_waits_for_a_pipe() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pipes-{}", std::process::id()));
    let messages = directory.join("messages");
    std::fs::create_dir_all(&messages).expect("a directory");
    let (pipe, message) = (directory.join("pipe"), messages.join("one.eml"));
    for path in [&pipe, &message] {
        assert!(std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    }
    let (pipe, messages) = (pipe.display(), messages.display());
    for line in [
        format!("run {pipe}"),
        format!("compare {pipe} {pipe}"),
        format!("dns --listen 127.0.0.1:0 --zone {pipe}"),
        format!("verdict {pipe} {pipe}"),
        format!("send --to 127.0.0.1:1 -n 1 --messages {messages}"),
        format!("send --to 127.0.0.1:1 -n 1 --tls starttls --ca {pipe}"),
    ] {
        let mut command = std::process::Command::new("timeout");
        let output = command.args(["20", LOAD]).args(line.split(' ')).output().expect("timeout runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("a pipe that nobody writes to"), "{line}: {errors}");
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}
