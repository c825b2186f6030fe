//! What holds for every command of the three programs: nobody reads its output, its descriptors are closed, it is asked for help. Each
//! package has its own test around it.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "real processes and real time; not each package uses all of it"
)]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// One way to call a program, by the blanks in it.
pub fn command(program: &Path, line: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(line.split(' ').filter(|word| !word.is_empty()))
        .stdin(Stdio::null())
        .env("RUST_BACKTRACE", "0");
    command
}

/// Waits within a bound.
pub fn wait(child: &mut Child, line: &str) -> ExitStatus {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > give_up {
            let _ = child.kill();
            panic!("{line} did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Exit code, output, errors.
pub fn output(program: &Path, line: &str) -> (Option<i32>, String, String) {
    let output = command(program, line).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A pipe that nobody reads from any more.
pub fn closed_pipe() -> File {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    File::from(std::os::fd::OwnedFd::from(writer))
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

/// What every program is asked, with the commands it has.
pub fn questions(commands: &[&str]) -> Vec<String> {
    let own = ["", "--help", "-h", "--version", "help", "nonsense", "--nonsense"];
    let of_commands = commands.iter().map(|command| format!("{command} --help"));
    own.into_iter().map(str::to_owned).chain(of_commands).collect()
}

/// Output that is closed or full ends every command quietly; errors that nobody hears change nothing.
pub fn assert_quiet(program: &Path, lines: &[String]) {
    for line in lines {
        let (usual, printed, _) = output(program, line);
        for (what, stdout, stderr) in [
            ("closed output", Some(closed_pipe()), None),
            ("full output", Some(full()), None),
            ("closed errors", None, Some(closed_pipe())),
            ("full errors", None, Some(full())),
            ("both closed", Some(closed_pipe()), Some(closed_pipe())),
            ("both full", Some(full()), Some(full())),
        ] {
            let kept = stderr.is_none();
            let mut child = command(program, line)
                .stdout(stdout.map_or_else(Stdio::null, Stdio::from))
                .stderr(stderr.map_or_else(Stdio::piped, Stdio::from))
                .spawn()
                .expect("it runs");
            let mut words = String::new();
            if let Some(errors) = &mut child.stderr {
                errors.read_to_string(&mut words).expect("words");
            }
            let status = wait(&mut child, line);
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
                "full output" if usual == Some(0) && !printed.is_empty() => {
                    assert!(matches!(code, Some(1 | 2)), "{line:?}, {what}: {status} {words}");
                    assert!(kept && words.contains("standard output: No space left"), "{line:?}: {words}");
                }
                "closed errors" | "full errors" => assert_eq!(code, usual, "{line:?}, {what}"),
                _ => {}
            }
        }
    }
}

/// Descriptors that are not there at all do no harm.
pub fn assert_unharmed(program: &Path, lines: &[String]) {
    for line in lines {
        let usual = command(program, line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("it runs")
            .code();
        for ends in [">&-", "2>&-", ">&- 2>&- <&-"] {
            let words = line.split(' ').filter(|word| !word.is_empty()).map(|word| format!("'{word}'"));
            let script =
                format!("exec '{}' {} {ends}", program.display(), words.collect::<Vec<_>>().join(" "));
            let mut shell = Command::new("sh");
            let status =
                shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let code = status.status().expect("sh").code();
            assert!(code == usual || code == Some(0), "{line:?} {ends}: {code:?}, usually {usual:?}");
        }
    }
}

/// Every help has an example and fits the terminal.
pub fn assert_helpful(program: &Path, lines: &[String]) {
    for line in lines.iter().filter(|line| line.ends_with("--help")) {
        let (_, help, _) = output(program, line);
        assert!(help.contains("Example") || help.contains("Start here"), "{line} has no example:\n{help}");
        let long = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{line}");
    }
}

/// The version has commit and date.
pub fn assert_dated(program: &Path) {
    let name = program.file_name().expect("a name").to_string_lossy().into_owned();
    let (code, words, _) = output(program, "--version");
    let inner = words.trim().strip_prefix(&format!("{name} {} (commit ", env!("CARGO_PKG_VERSION")));
    let inner = inner.and_then(|rest| rest.strip_suffix(')')).unwrap_or_else(|| panic!("{words}"));
    let (commit, date) = inner.split_once(", ").expect("commit, date");
    let commit = commit.strip_suffix(" or later").unwrap_or(commit);
    assert!(commit == "unknown" || commit.len() >= 7, "{words}");
    assert!(date == "date unknown" || (date.len() == 10 && date.matches('-').count() == 2), "{words}");
    assert_eq!(code, Some(0));
}
