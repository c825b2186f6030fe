//! The manners of the commands, of all three programs alike: what they do when nobody can read what they print, how they are asked for
//! help, what they are named after, and where they look for what they are not told.
#![expect(clippy::disallowed_methods, reason = "real processes and real time")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// One of the programs. The load generator and the tuner are packages of their own, so they are built here if they are not yet.
fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let relevo = PathBuf::from(env!("CARGO_BIN_EXE_relevo"));
    let beside = relevo.with_file_name(name);
    if name != "relevo" {
        BUILT.get_or_init(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "-q", "-p", "relevo-load", "-p", "relevo-tune"]);
            let release = relevo.parent().is_some_and(|directory| directory.ends_with("release"));
            assert!(build.args(release.then_some("--release")).status().expect("cargo").success());
        });
    }
    beside
}

fn command(line: &[&str]) -> Command {
    let mut command = Command::new(program(line[0]));
    command.args(&line[1..]).stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
    command
}

fn wait(child: &mut std::process::Child, line: &[&str]) -> ExitStatus {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > give_up {
            let _ = child.kill();
            panic!("{line:?} did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn output(line: &[&str]) -> (Option<i32>, String, String) {
    let output = command(line).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A place with a configuration that is right, a broken one, a spool, ledgers and a report.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        let scratch = Scratch(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"));
        let spool = scratch.path("spool");
        fs::create_dir_all(Path::new(&spool).join("lane-000")).expect("a spool");
        fs::write(Path::new(&spool).join("node"), "00000000000000aa\n").expect("a node");
        let text = format!(
            "[node]\nhostname = \"relay.example.net\"\ndata_dir = \"{spool}\"\n[[listener]]\naddress = \"127.0.0.1:39257\"\n\
             [control]\nhttp = \"\"\n[log]\npath = \"{}\"\n[dns]\nservers = [\"127.0.0.1\"]\n[tuning]\nruntime = \"epoll\"\n",
            scratch.path("log.jsonl")
        );
        fs::write(scratch.path("good.toml"), &text).expect("a file");
        fs::write(scratch.path("bad.toml"), text + "[retry]\nexpire = 5\n[nodes]\n").expect("a file");
        fs::write(scratch.path("sent"), "0000000000000401-0 0\n").expect("a file");
        fs::write(scratch.path("received"), "0000000000000401-0/0 intact\n").expect("a file");
        scratch
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// Every command that prints and ends by itself, and one that is told something wrong.
    fn lines(&self) -> Vec<Vec<String>> {
        let (good, bad, spool) = (self.path("good.toml"), self.path("bad.toml"), self.path("spool"));
        let (sent, received) = (self.path("sent"), self.path("received"));
        let mut lines: Vec<Vec<String>> = Vec::new();
        let mut add = |line: &str| lines.push(line.split(' ').map(str::to_owned).collect());
        for name in ["relevo", "relevo-load", "relevo-tune"] {
            for end in ["", " --help", " -h", " --version", " help", " nonsense", " --nonsense"] {
                add(&format!("{name}{end}"));
            }
        }
        for sub in [
            "run",
            "check",
            "demo",
            "spool",
            "hash-password",
            "spool list",
            "spool show",
            "spool export",
            "spool verify",
            "spool adopt",
        ] {
            add(&format!("relevo {sub} --help"));
        }
        for sub in ["sink", "send", "dns", "run", "compare", "scenarios", "verdict"] {
            add(&format!("relevo-load {sub} --help"));
        }
        for sub in ["check", "probe", "sweep", "apply"] {
            add(&format!("relevo-tune {sub} --help"));
        }
        for line in [
            format!("relevo check --config {good}"),
            format!("relevo check --config {good} --json"),
            format!("relevo check --config {bad}"),
            format!("relevo check --config {bad} --json"),
            format!("relevo run --config {bad}"),
            format!("relevo spool list --data-dir {spool}"),
            format!("relevo spool list --data-dir {spool} --json"),
            format!("relevo spool verify --config {good}"),
            format!("relevo spool verify --data-dir {spool} --json"),
            format!("relevo spool show 00000000G0000102 --data-dir {spool}"),
            "relevo hash-password".to_owned(),
            "relevo-load scenarios".to_owned(),
            "relevo-load scenarios bulk".to_owned(),
            format!("relevo-load verdict {sent} {received}"),
            format!("relevo-load verdict {sent} {received} --json"),
            "relevo-load compare none none".to_owned(),
            "relevo-load run none".to_owned(),
            "relevo-tune apply --dry-run".to_owned(),
            "relevo-tune apply --undo --root /nowhere".to_owned(),
            "relevo-tune check --root /nowhere".to_owned(),
            "relevo-tune check --root /nowhere --json".to_owned(),
        ] {
            add(&line);
        }
        lines
    }
}

fn sentence(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).filter(|word| !word.is_empty()).collect()
}

/// A pipe that nobody reads from any more, and a disk that is full.
fn closed_pipe() -> File {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    File::from(std::os::fd::OwnedFd::from(writer))
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

#[test]
fn output_that_nobody_reads_ends_every_command_quietly() {
    let scratch = Scratch::new();
    for line in scratch.lines() {
        let line = sentence(&line);
        let usual =
            command(&line).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs").code();
        for (what, stdout, stderr) in [
            ("closed output", Some(closed_pipe()), None),
            ("full output", Some(full()), None),
            ("closed errors", None, Some(closed_pipe())),
            ("full errors", None, Some(full())),
            ("both closed", Some(closed_pipe()), Some(closed_pipe())),
            ("both full", Some(full()), Some(full())),
        ] {
            let kept = stderr.is_none();
            let mut child = command(&line)
                .stdout(stdout.map_or_else(Stdio::null, Stdio::from))
                .stderr(stderr.map_or_else(Stdio::piped, Stdio::from))
                .spawn()
                .expect("it runs");
            let mut words = String::new();
            if let Some(errors) = &mut child.stderr {
                errors.read_to_string(&mut words).expect("words");
            }
            let status = wait(&mut child, &line);
            let code = status.code();
            assert!(
                !words.contains("panicked") && code != Some(101) && code.is_some(),
                "{line:?}, {what}: {status} {words}"
            );
            match what {
                // Who stopped reading knows what was read: quiet, and success unless the answer is known to be no.
                "closed output" => {
                    assert!(code == Some(0) || code == usual, "{line:?}, {what}: {status} {words}")
                }
                "full output" if usual == Some(0) => {
                    assert!(matches!(code, Some(1 | 2)), "{line:?}, {what}: {status} {words}");
                    assert!(kept && words.contains("standard output: No space left"), "{line:?}: {words}");
                }
                "closed errors" | "full errors" => assert_eq!(code, usual, "{line:?}, {what}"),
                _ => {}
            }
        }
    }
}

#[test]
fn descriptors_that_are_not_there_do_no_harm() {
    let scratch = Scratch::new();
    for line in scratch.lines() {
        let line = sentence(&line);
        let usual =
            command(&line).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs").code();
        for ends in [">&-", "2>&-", ">&- 2>&- <&-"] {
            let words = line[1..].iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            let script = format!("exec '{}' {words} {ends}", program(line[0]).display());
            let mut shell = Command::new("sh");
            let status =
                shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let code = status.status().expect("sh").code();
            assert!(code == usual || code == Some(0), "{line:?} {ends}: {code:?}, usually {usual:?}");
        }
    }
}

/// A load whose figures nobody reads ends in order: what it has opened is closed, what it started has ended.
#[test]
fn a_demo_that_nobody_watches_leaves_nothing() {
    let scratch = Scratch::new();
    let temporary = scratch.path("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut child = command(&["relevo", "demo", "--duration", "1s"])
        .env("TMPDIR", &temporary)
        .stdout(Stdio::from(closed_pipe()))
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    assert_eq!(wait(&mut child, &["relevo demo"]).code(), Some(0));
    assert_eq!(fs::read_dir(&temporary).expect("a directory").count(), 0);
}

#[test]
fn every_help_has_an_example_and_fits_eighty_columns() {
    let scratch = Scratch::new();
    for line in scratch.lines() {
        let line = sentence(&line);
        if line.last() != Some(&"--help") {
            continue;
        }
        let mut command = command(&line);
        let help = command.env("COLUMNS", "80").output().expect("it runs");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.contains("Example") || help.contains("Start here"), "{line:?} has no example:\n{help}");
        let long = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{line:?}");
    }
}

#[test]
fn versions_say_commit_and_date() {
    for name in ["relevo", "relevo-load", "relevo-tune"] {
        let (code, words, _) = output(&[name, "--version"]);
        let inner = words.trim().strip_prefix(&format!("{name} {} (commit ", env!("CARGO_PKG_VERSION")));
        let inner = inner.and_then(|rest| rest.strip_suffix(')')).unwrap_or_else(|| panic!("{words}"));
        let (commit, date) = inner.split_once(", ").expect("commit, date");
        let commit = commit.strip_suffix(" or later").unwrap_or(commit);
        assert!(commit == "unknown" || commit.len() >= 7, "{words}");
        assert!(date == "date unknown" || (date.len() == 10 && date.matches('-').count() == 2), "{words}");
        assert_eq!(code, Some(0));
    }
}

#[test]
fn what_is_not_named_is_looked_for_where_it_belongs() {
    let default = Path::new("/etc/relevo/relevo.toml");
    if default.exists() {
        return;
    }
    for line in [&["relevo", "run"][..], &["relevo", "check"], &["relevo", "spool", "list"]] {
        let (code, _, errors) = output(line);
        assert!(
            code.is_some_and(|code| code > 0) && errors.contains("/etc/relevo/relevo.toml is not there"),
            "{errors}"
        );
        assert!(errors.contains("--config FILE") && errors.contains("deploy/relevo.toml"), "{errors}");
    }
}

#[test]
fn a_data_directory_that_is_not_there_is_an_error() {
    for line in [
        "relevo spool list --data-dir /nowhere",
        "relevo spool verify --data-dir /nowhere",
        "relevo spool show 00000000G0000102 --data-dir /nowhere",
        "relevo spool export 00000000G0000102 --data-dir /nowhere",
        "relevo spool adopt /nowhere2 --data-dir /nowhere",
        "relevo-tune check --data-dir /nowhere",
        "relevo-tune probe --data-dir /nowhere",
        "relevo-tune sweep --data-dir /nowhere",
        "relevo-load run steady --data-dir /nowhere",
    ] {
        let (code, _, errors) = output(&line.split(' ').collect::<Vec<_>>());
        assert!(code == Some(2) && errors.contains("/nowhere"), "{line}: {code:?} {errors}");
    }
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn a_check_says_all_at_once_and_as_json() {
    let scratch = Scratch::new();
    let (code, words, errors) = output(&["relevo", "check", "--config", &scratch.path("good.toml")]);
    assert!(code == Some(0) && words.contains("good.toml: fine") && errors.is_empty(), "{words}{errors}");
    let bad = scratch.path("bad.toml");
    let (code, _, errors) = output(&["relevo", "check", "--config", &bad]);
    let lines: Vec<_> = errors.lines().collect();
    assert!(code == Some(1) && lines.len() == 3, "{errors}");
    assert!(
        lines[0].contains("write expire = \"5d\"") && lines[1].contains("did you mean [node]?"),
        "{errors}"
    );
    assert!(lines[2].ends_with("not usable: 2 errors"), "{errors}");
    let (code, words, _) = output(&["relevo", "check", "--json", "--config", &bad]);
    let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert!(code == Some(1) && found["ok"] == false, "{words}");
    assert!(found["errors"][0]["value"] == "5" && found["errors"][0]["key"] == "retry.expire", "{words}");
    let (code, words, _) = output(&["relevo", "check", "--json", "--config", "/nowhere"]);
    let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert!(code == Some(1) && found["errors"][0]["file"] == "/nowhere", "{words}");
}

#[test]
fn a_password_is_read_where_there_is_no_terminal() {
    let mut child = command(&["relevo", "hash-password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("stdin").write_all(b"correct horse\n").expect("a password");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stdout.starts_with(b"$argon2id$"));
}

/// With a terminal it is asked for twice, and never shown. Python's pty plays the terminal.
#[test]
fn a_password_is_asked_for_without_an_echo() {
    let story = r#"
import os, pty, sys, select
def session(*typed):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(sys.argv[1], [sys.argv[1], "hash-password"])
    seen = b""
    def until(word):
        nonlocal seen
        while word not in seen:
            assert select.select([fd], [], [], 20)[0], seen
            try: piece = os.read(fd, 4096)
            except OSError: piece = b""
            assert piece, seen
            seen += piece
    for prompt, line in zip((b"Password: ", b"again: "), typed):
        until(prompt)
        os.write(fd, line)
    while True:
        try: piece = os.read(fd, 4096)
        except OSError: break
        if not piece: break
        seen += piece
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen
code, seen = session(b"secrez\x7ft\r", b"nonsense\x15secret\r")
assert code == 0 and b"$argon2id$" in seen and b"secre" not in seen, (code, seen)
code, seen = session(b"one\r", b"two\r")
assert code == 1 and b"differ" in seen, (code, seen)
code, seen = session(b"one\x03")
assert code == 130, (code, seen)
code, seen = session(b"\r")
assert code == 1 and b"empty" in seen, (code, seen)
"#;
    let relevo = program("relevo");
    let status = Command::new("python3").arg("-c").arg(story).arg(relevo).status().expect("python3");
    assert!(status.success());
}
