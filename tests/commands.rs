//! The manners of `relevo`: what it does when nobody can read what it prints, how it is asked for help, and where it looks for what it is
//! not told.

mod manners;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const RELEVO: &str = env!("CARGO_BIN_EXE_relevo");

fn output(line: &str) -> (Option<i32>, String, String) {
    manners::output(Path::new(RELEVO), line)
}

/// As KumoMTA has them.
const SHAPING: &str = "[\"default\"]\nconnection_limit = 10\nmax_ready = 5\n[\"example.com\"]\nmx_rollup = false\nconnection_limit = 3\n\
    [\"example.com\".sources.\"ip1\"]\nmax_message_rate = \"20/minute\"\n\
    [[\"example.com\".automation]]\nregex = \"RL0000\"\naction = \"Suspend\"\nduration = \"2 hours\"\nexample = \"421 RL000010\"\n";

const EVENTS: &str = "{\"time\":\"2026-11-30T05:00:00.500Z\",\"event\":\"bounced\",\"event_id\":\"X-b0.1\",\"id\":\"X\",\"recipients\":[\"ada@a.example\"],\"reply\":\"550 no\"}\n";

/// A place with a configuration that is right, a broken one, and a spool.
struct Scratch(tempfile::TempDir);

/// All of which `--help` says something.
const COMMANDS: [&str; 47] = [
    "run",
    "check",
    "demo",
    "spool",
    "hash-password",
    "account",
    "account add",
    "account list",
    "account remove",
    "token",
    "token add",
    "token list",
    "token remove",
    "spool list",
    "spool show",
    "spool export",
    "spool verify",
    "spool adopt",
    "shaping",
    "shaping check",
    "shaping show",
    "dkim",
    "dkim keygen",
    "dkim show",
    "dkim check",
    "domain",
    "domain check",
    "log",
    "log find",
    "log tail",
    "log stats",
    "queue hold",
    "queue release",
    "queue rebind",
    "queue redirect",
    "queue export",
    "trace",
    "completions",
    "man",
    "top",
    "upgrade",
    "drain",
    "erase",
    "import",
    "import pmta",
    "import kumo",
    "import postfix",
];

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
        fs::write(scratch.path("shaping.toml"), SHAPING).expect("a file");
        fs::write(scratch.path("events.jsonl"), EVENTS).expect("a file");
        scratch
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// Every command that prints and ends by itself, and some that are told something wrong.
    fn lines(&self) -> Vec<String> {
        let (good, bad, spool) = (self.path("good.toml"), self.path("bad.toml"), self.path("spool"));
        let shaping = self.path("shaping.toml");
        let mut lines = manners::questions(&COMMANDS);
        lines.extend([
            format!("check --config {good}"),
            format!("check --config {good} --json"),
            format!("check --config {bad}"),
            format!("check --config {bad} --json"),
            format!("run --config {bad}"),
            format!("spool list --data-dir {spool}"),
            format!("spool list --data-dir {spool} --json"),
            format!("spool verify --config {good}"),
            format!("spool verify --data-dir {spool} --json"),
            format!("spool show 00000000G0000102 --data-dir {spool}"),
            "hash-password".to_owned(),
            format!("shaping check {shaping}"),
            format!("shaping check {shaping} --json"),
            format!("shaping check {bad}"),
            "shaping check /nowhere".to_owned(),
            "shaping show gmail.com --mx gmail-smtp-in.l.google.com".to_owned(),
            format!("shaping show example.com --file {shaping} --json"),
            format!("dkim keygen example.com --keys {}", self.path("keys")),
            format!("dkim keygen example.net --algorithm ed25519 --keys {} --json", self.path("keys")),
            format!("dkim show --keys {}", self.path("keys")),
            format!("dkim show example.com --keys {} --json", self.path("keys")),
            format!("dkim show example.com --config {good}"),
            format!("import postfix tests/import/postfix --output {} --force", self.path("imported")),
            format!("import pmta tests/import/pmta/config --output {} --force --json", self.path("imported")),
            format!("import kumo {} --output {}", self.path("spool"), self.path("imported")),
            format!("log find --config {good}"),
            format!("log find --log {} --json", self.path("events.jsonl")),
            format!("log tail --log {}", self.path("events.jsonl")),
            format!("log stats --log {} --by domain", self.path("events.jsonl")),
            format!("log find --config {good} --event bounce"),
            "completions bash".to_owned(),
            "man".to_owned(),
            format!("man {}", self.path("man1")),
        ]);
        lines
    }
}

/// A pipe nobody writes to is no file to wait for, whatever names it.
#[test]
fn no_command_waits_for_a_pipe() {
    let scratch = Scratch::new();
    let (good, pipe) = (scratch.path("good.toml"), scratch.path("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let text = fs::read_to_string(&good).expect("the file");
    let tls = |chain: &str, key: &str| {
        format!("address = \"127.0.0.1:39257\"\ntls_certificate = \"{chain}\"\ntls_key = \"{key}\"")
    };
    let address = "address = \"127.0.0.1:39257\"";
    let chain = scratch.path("chain.pem");
    let made = rcgen::generate_simple_self_signed(["relay.example.net".to_owned()]).expect("a certificate");
    fs::write(&chain, made.cert.pem()).expect("a file");
    let variants = [
        text.replace(address, &tls(&pipe, &pipe)),
        text.replace(address, &tls(&chain, &pipe)),
        text.replace("[dns]", &format!("[dns]\nhosts = \"{pipe}\"")),
        format!("{text}[auth]\naccounts = \"{pipe}\"\n"),
        format!("{text}[shaping]\nfiles = [\"{pipe}\"]\n"),
    ];
    let mut configs = vec![pipe.clone()];
    for (number, variant) in variants.into_iter().enumerate() {
        assert_ne!(variant, text, "{number}");
        configs.push(scratch.path(&format!("pipe{number}.toml")));
        fs::write(configs.last().expect("one"), variant).expect("a file");
    }
    for config in &configs {
        for command in ["check", "run"] {
            #[expect(clippy::disallowed_methods, reason = "real processes and real time")]
            let begun = std::time::Instant::now();
            let mut line = Command::new("timeout");
            let output =
                line.args(["20", RELEVO, command, "--config", config]).output().expect("timeout runs");
            let words = [output.stdout, output.stderr].concat();
            let words = String::from_utf8_lossy(&words);
            assert_eq!(output.status.code(), Some(1), "{command} {config}: {words}");
            assert!(
                words.contains(&format!("{pipe}: a pipe that nobody writes to; ")),
                "{command} {config}: {words}"
            );
            assert!(begun.elapsed().as_secs() < 10, "{command} {config}");
        }
    }
}

#[test]
fn output_that_nobody_reads_ends_every_command_quietly() {
    manners::assert_quiet(Path::new(RELEVO), &Scratch::new().lines());
}

#[test]
fn descriptors_that_are_not_there_do_no_harm() {
    manners::assert_unharmed(Path::new(RELEVO), &Scratch::new().lines());
}

#[test]
fn every_help_has_an_example_and_fits() {
    manners::assert_helpful(Path::new(RELEVO), &Scratch::new().lines());
}

#[test]
fn the_version_has_commit_and_date() {
    manners::assert_dated(Path::new(RELEVO));
}

/// A load whose figures nobody reads ends in order: what it has opened is closed, what it started has ended.
#[test]
fn a_demo_that_nobody_watches_leaves_nothing() {
    let scratch = Scratch::new();
    let temporary = scratch.path("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut child = manners::command(Path::new(RELEVO), "demo --duration 1s")
        .env("TMPDIR", &temporary)
        .stdout(Stdio::from(manners::closed_pipe()))
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    assert_eq!(manners::wait(&mut child, "demo").code(), Some(0));
    assert_eq!(fs::read_dir(&temporary).expect("a directory").count(), 0);
}

/// Another relay may run on the machine: what is usual is that one's.
#[test]
fn a_demo_keeps_to_its_own_directory() {
    let scratch = Scratch::new();
    let child = manners::command(Path::new(RELEVO), "demo --duration 1s")
        .env("TMPDIR", scratch.path(""))
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(0), "{errors}");
    assert!(!errors.contains("/var/lib/relevo"), "{errors}");
}

#[test]
fn what_is_not_named_is_looked_for_where_it_belongs() {
    let default = Path::new("/etc/relevo/relevo.toml");
    if default.exists() {
        return;
    }
    for line in ["run", "check", "spool list"] {
        let (code, _, errors) = output(line);
        assert!(
            code.is_some_and(|code| code > 0) && errors.contains("/etc/relevo/relevo.toml is not there"),
            "{errors}"
        );
        assert!(errors.contains("--config FILE") && errors.contains("deploy/relevo.toml"), "{errors}");
    }
}

/// Made of the commands that there are, all of them.
#[test]
fn manual_pages_and_completions_have_every_command() {
    let scratch = Scratch::new();
    let man = scratch.path("man1");
    assert_eq!(output(&format!("man {man}")), (Some(0), String::new(), String::new()));
    let (_, main, _) = output("man");
    assert_eq!(fs::read_to_string(format!("{man}/relevo.1")).expect("the page"), main);
    assert!(main.starts_with(".ie \\n(.g") || main.contains(".TH RELEVO 1"), "{main}");
    let (code, words, errors) = output("man /dev/null/x");
    assert!(code == Some(2) && words.is_empty() && errors.contains("/dev/null/x: "), "{errors}");
    let bash = scratch.path("bash");
    fs::write(&bash, output("completions bash").1).expect("a file");
    assert!(Command::new("bash").args(["-n", &bash]).status().expect("bash").success());
    let bash = fs::read_to_string(&bash).expect("the file");
    let mut commands = vec![String::new()];
    let mut found = 0;
    while let Some(command) = commands.pop() {
        let page = format!("{man}/relevo{}.1", command.replace(' ', "-"));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH EXAMPLES") && text.contains(".SH DESCRIPTION"), "{page}: {text}");
        assert!(
            bash.contains(&format!("relevo{}", command.replace([' ', '-'], "__subcmd__"))),
            "{command} in {bash}"
        );
        let (_, help, _) = output(&format!("{command} --help"));
        let below = help.split("Commands:\n").nth(1).unwrap_or_default().lines();
        let below = below
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let below = below.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        commands.extend(below.map(|name| format!("{command} {name}")));
        found += 1;
    }
    assert_eq!(fs::read_dir(&man).expect("pages").count(), found, "pages of commands that are not there");
    assert!(found > 40, "{found}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let (code, words, errors) = output(&format!("completions {shell}"));
        assert!(code == Some(0) && words.contains("suppress") && errors.is_empty(), "{shell}: {errors}");
    }
}

#[test]
fn a_data_directory_that_is_not_there_is_an_error() {
    for line in [
        "spool list --data-dir /nowhere",
        "spool verify --data-dir /nowhere",
        "spool show 00000000G0000102 --data-dir /nowhere",
        "spool export 00000000G0000102 --data-dir /nowhere",
        "spool adopt /nowhere2 --data-dir /nowhere",
    ] {
        let (code, _, errors) = output(line);
        assert!(code == Some(2) && errors.contains("/nowhere"), "{line}: {code:?} {errors}");
    }
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn a_check_says_all_at_once_and_as_json() {
    let scratch = Scratch::new();
    let (code, words, errors) = output(&format!("check --config {}", scratch.path("good.toml")));
    assert!(code == Some(0) && words.contains("good.toml: fine") && errors.is_empty(), "{words}{errors}");
    let bad = scratch.path("bad.toml");
    let (code, _, errors) = output(&format!("check --config {bad}"));
    let lines: Vec<_> = errors.lines().collect();
    assert!(code == Some(1) && lines.len() == 3, "{errors}");
    assert!(
        lines[0].contains("write expire = \"5d\"") && lines[1].contains("did you mean [node]?"),
        "{errors}"
    );
    assert!(lines[2].contains("not usable: 2 errors"), "{errors}");
    let (code, words, _) = output(&format!("check --json --config {bad}"));
    let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert!(code == Some(1) && found["ok"] == false, "{words}");
    assert!(found["errors"][0]["value"] == "5" && found["errors"][0]["key"] == "retry.expire", "{words}");
    let (code, words, _) = output("check --json --config /nowhere");
    let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert!(code == Some(1) && found["errors"][0]["file"] == "/nowhere", "{words}");
}

#[test]
fn a_reload_of_a_file_that_cannot_be_read_is_refused_with_its_name() {
    let scratch = Scratch::new();
    for (file, problem) in [(scratch.path("none.toml"), "No such file"), (scratch.path("spool"), "directory")]
    {
        let (code, words, errors) = output(&format!("reload --config {file}"));
        assert!(code == Some(1) && words.is_empty(), "{file}: {code:?} {words}{errors}");
        assert!(
            errors.contains(problem) && errors.contains(&format!("{file}: refused, nothing changed")),
            "{errors}"
        );
        let (code, words, errors) = output(&format!("reload --json --dry-run --config {file}"));
        assert!(code == Some(1) && errors.is_empty(), "{file}: {code:?} {words}{errors}");
        let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
        assert!(
            found["ok"] == false && found["file"] == file && found["errors"][0]["file"] == file,
            "{words}"
        );
        assert!(
            found["errors"][0]["problem"].as_str().is_some_and(|words| words.contains(problem)),
            "{words}"
        );
    }
}

#[test]
fn shaping_files_are_checked() {
    let scratch = Scratch::new();
    let shaping = scratch.path("shaping.toml");
    let (code, words, errors) = output(&format!("shaping check {shaping}"));
    assert!(code == Some(0) && errors.is_empty(), "{words}{errors}");
    assert!(
        words.starts_with(&format!("warning: {shaping}:3: default.max_ready: it has no meaning here")),
        "{words}"
    );
    assert!(words.ends_with("fine, with 1 warning\n"), "{words}");
    let wrong = scratch.path("wrong.toml");
    fs::write(&wrong, SHAPING.replace("421 RL000010", "421 RL1")).expect("a file");
    let (code, _, errors) = output(&format!("shaping check {shaping} {wrong}"));
    assert!(
        code == Some(1) && errors.contains("wrong.toml:9: \"example.com\".automation[1].example: no pattern"),
        "{errors}"
    );
    let (code, words, _) = output(&format!("shaping check --json {wrong}"));
    let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert!(code == Some(1) && found["ok"] == false && found["errors"][0]["line"] == 9, "{words}");
    assert_eq!(found["warnings"][0]["key"], "default.max_ready");
    let (code, _, errors) = output("shaping check /nowhere");
    assert!(code == Some(2) && errors.contains("/nowhere: No such file"), "{errors}");
    assert_eq!(output("shaping check").0, Some(2));
}

#[test]
fn what_holds_is_shown_with_its_lines() {
    let scratch = Scratch::new();
    let shaping = scratch.path("shaping.toml");
    let (code, words, errors) =
        output(&format!("shaping show Example.COM --source ip1 --file {shaping} --alone"));
    assert!(code == Some(0) && errors.contains("--mx"), "{words}{errors}");
    let line = |key: &str| words.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or_default();
    assert!(
        line("connection_limit").contains(" 3 ")
            && line("connection_limit").ends_with(&format!("{shaping}:6  \"example.com\"")),
        "{words}"
    );
    assert!(
        line("max_message_rate").contains("20/min")
            && line("max_message_rate").contains(&format!("{shaping}:8")),
        "{words}"
    );
    assert!(words.contains("Suspend for 2h, on each:\n    RL0000\n"), "{words}");
    let (_, words, _) =
        output(&format!("shaping show other.example --mx mx.other.example --file {shaping} --json"));
    let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert_eq!(found["settings"]["connection_limit"]["value"], "10", "{words}");
    assert_eq!(found["settings"]["connection_limit"]["line"], 2);
    let (_, words, _) = output(
        "shaping show gmail.com --mx gmail-smtp-in.l.google.com,alt1.gmail-smtp-in.l.google.com --json",
    );
    let found: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert_eq!(found["providers"][0]["name"], "google", "{words}");
}

#[test]
fn a_password_is_read_where_there_is_no_terminal() {
    let hash = |typed: &[u8]| {
        let mut child = manners::command(Path::new(RELEVO), "hash-password")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdin.take().expect("stdin").write_all(typed).expect("a password");
        child.wait_with_output().expect("it ends")
    };
    let output = hash(b"correct horse\n");
    assert!(output.status.success() && output.stdout.starts_with(b"$argon2id$"));
    // A mark of the file that it comes from is no part of it.
    let output = hash(b"\xef\xbb\xbfcorrect horse\r\n");
    let text = format!("shop:{}", String::from_utf8(output.stdout).expect("a hash"));
    let check = relevo::policy::accounts::Accounts::parse(&text).expect("an account").check("shop");
    let mut memory = vec![Default::default(); check.blocks()];
    assert_eq!(check.verify(b"correct horse", &mut memory), Some(true));
    // Which of two would be meant, or both?
    let output = hash(b"correct horse\nbattery\n");
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("several lines"));
}

#[test]
fn accounts_are_added_listed_and_removed() {
    let scratch = Scratch::new();
    let path = scratch.path("accounts.toml");
    let run = |line: &str, typed: &[u8]| {
        let mut child = manners::command(Path::new(RELEVO), &format!("account {line} --accounts {path}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        // One that refuses the file reads no password.
        let _ = child.stdin.take().expect("stdin").write_all(typed);
        let output = child.wait_with_output().expect("it ends");
        let words = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(words).expect("text"))
    };
    let kept = "# ours\n\n[[account]]\nname = \"old\" # since 2020\npassword = \"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\"\n# the end\n";
    fs::write(&path, kept).expect("a file");
    let shop = "add shop --sender @shop.example --network 192.0.2.0/24 --connections-max 5 --rate 1000/h --quota 9000/d --quota 50000/month";
    let (code, words) = run(shop, b"secret\n");
    assert!(code == Some(0) && words.contains("shop is added") && !words.contains("secret"), "{words}");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(text.starts_with(kept) && !text.contains("secret"), "{text}");
    let accounts = relevo::policy::accounts::Accounts::parse(&text).expect("sound");
    assert!(
        accounts.have_verifiers() && accounts.own("shop").is_some_and(|own| own.connections_max == Some(5))
    );
    let check = accounts.check("shop");
    assert_eq!(check.verify(b"secret", &mut vec![Default::default(); check.blocks()]), Some(true));
    for (line, wanted) in [
        (shop, "there is an account of this name already"),
        ("add other --rate fast", "this is no rate"),
        ("add other --network nowhere", "these are no networks"),
        ("add other --quota 50000/week", "these are no quotas"),
        ("remove other", "there is no account of this name"),
    ] {
        let (code, words) = run(line, b"secret\n");
        assert!(code == Some(1) && words.contains(wanted), "{line}: {code:?} {words}");
        assert_eq!(fs::read_to_string(&path).expect("the file"), text, "{line}");
    }
    let (code, words) = run("list", b"");
    let wanted = [
        "old password",
        "shop password, SCRAM senders=1 from=192.0.2.0/24 connections=5 rate=1000/h quota=9000/d,50000/month",
    ];
    let lines: Vec<String> =
        words.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!((code, &lines[..]), (Some(0), &wanted.map(str::to_owned)[..]));
    let (code, words) = run("list --json", b"");
    let second: serde_json::Value = serde_json::from_str(words.lines().nth(1).expect("two")).expect("JSON");
    assert_eq!(
        (code, &second["name"], &second["scram"], &second["rate"]),
        (Some(0), &"shop".into(), &true.into(), &"1000/h".into())
    );
    assert_eq!(run("remove shop", b"").0, Some(0));
    assert_eq!(fs::read_to_string(&path).expect("the file").trim_end(), kept.trim_end());
    let (code, words) = run("list --config /nowhere", b"");
    assert_eq!(code, Some(2), "{words}");
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
    let status = Command::new("python3").arg("-c").arg(story).arg(RELEVO).status().expect("python3");
    assert!(status.success());
}

/// Keys are made once, shown with what belongs to them, and judged by `check`.
#[test]
fn keys_are_made_and_shown() {
    let scratch = Scratch::new();
    let keys = scratch.path("keys");
    let (code, lines, words) = output(&format!("dkim keygen example.com --keys {keys}"));
    assert_eq!(code, Some(0), "{words}");
    let made: Vec<&str> = lines.lines().collect();
    assert_eq!(made.len(), 2, "{lines}");
    for (line, algorithm) in made.iter().zip(["k=rsa", "k=ed25519"]) {
        assert!(
            line.contains("._domainkey.example.com. IN TXT \"v=DKIM1; ") && line.contains(algorithm),
            "{line}"
        );
        assert!(line.split('"').skip(1).step_by(2).all(|string| string.len() <= 255), "{line}");
    }
    let (_, shown, _) = output(&format!("dkim show example.com --keys {keys}"));
    assert!(made.iter().all(|line| shown.contains(line)) && shown.contains(" signs\n"), "{shown}");
    // The same day again: other selectors, and nothing is overwritten.
    let (code, again, words) = output(&format!("dkim keygen example.com --algorithm rsa --keys {keys}"));
    assert!(
        code == Some(0) && !again.contains(made[0]) && again.contains("-2._domainkey."),
        "{again}{words}"
    );
    let (code, _, words) = output(&format!("dkim keygen example.com --selector s1 --keys {keys}"));
    assert!(code == Some(2) && words.contains("give --algorithm"), "{words}");
    for (line, expected) in [
        ("dkim keygen a..b", "is no domain"),
        ("dkim keygen example.com --algorithm rsa --selector a/b", "is no selector"),
    ] {
        let line = format!("{line} --keys {keys}");
        let (code, _, words) = output(&line);
        assert!(code == Some(2) && words.contains(expected), "{line}: {words}");
    }
    let config = scratch.path("signing.toml");
    let text = fs::read_to_string(scratch.path("good.toml")).expect("a file");
    fs::write(&config, format!("{text}[dkim]\nkeys = \"{keys}\"\n")).expect("a file");
    let (code, told, words) = output(&format!("check --config {config}"));
    assert!(code == Some(0) && told.contains("signed by the domain of its From field"), "{told}{words}");
    fs::write(Path::new(&keys).join("example.com/broken.pem"), "no key").expect("a file");
    let (code, _, words) = output(&format!("check --config {config}"));
    assert!(
        code == Some(1) && words.contains("broken.pem: there is no key in PEM in it; name the file"),
        "{words}"
    );
}
