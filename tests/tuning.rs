//! What relevo-tune writes, this relay takes: profiles, every value a sweep tries, and what a sweep finds.
#![expect(clippy::disallowed_methods, reason = "real processes and real time")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use relevo::runtime::os::probe;
use relevo_load::{Behaviour, Recipients, Sizes};
use relevo_tune::machine::Machine;
use relevo_tune::sweep::search::{Candidates, Side};
use relevo_tune::sweep::setting::{Key, Settings};
use relevo_tune::sweep::trial::{Mail, Relays};
use relevo_tune::sweep::{Bench, Effort, Failure, Goal, Outcome, fragment, page, search};

const STEP: Duration = Duration::from_millis(200);

fn check(path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relevo"));
    command.arg("check").arg("--config").arg(path).output().expect("the relay runs")
}

#[track_caller]
fn assert_accepted(path: &Path) {
    let output = check(path);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}\n{}", fs::read_to_string(path).unwrap_or_default());
}

fn relays(directory: &Path, interrupted: &'static AtomicBool) -> Relays {
    let mail = Mail {
        connections: 5,
        sizes: Sizes::Fixed(1000),
        recipients: Recipients::between(1, 1),
        behaviour: Behaviour::default(),
    };
    let relay = Path::new(env!("CARGO_BIN_EXE_relevo"));
    Relays::new(relay, directory, mail, STEP, interrupted).expect("a place for relays")
}

#[test]
fn every_profile_is_a_configuration_with_reasons() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/profiles");
    let entries = fs::read_dir(&directory).expect("profiles");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert_accepted(&file);
        let text = fs::read_to_string(&file).expect("a profile");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# "), "{} says in its first line what it is for", file.display());
        for (at, line) in lines.iter().enumerate() {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(lines[at - 1].starts_with("# "), "{}: no reason for {line}", file.display());
            }
        }
    }
}

#[test]
fn every_value_that_is_tried_is_accepted() {
    static NEVER: AtomicBool = AtomicBool::new(false);
    let directory = tempfile::tempdir().expect("a directory");
    let mut relays = relays(directory.path(), &NEVER);
    let core = probe::cores()[0].to_string();
    let mut all = Settings::default();
    for key in Key::ALL {
        let mut values = key.values(&Machine::default());
        if key == Key::Cores {
            values.push(core.clone());
        }
        for value in &values {
            relays.check(&Settings::default().with(key, value)).unwrap_or_else(|failure| panic!("{failure}"));
            all = all.with(key, value);
        }
        relays
            .check(&Settings::default().with(key, key_default(key)))
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
    let path = directory.path().join("tuned.toml");
    fs::write(&path, fragment::text(&Outcome { best: all, ..Outcome::default() })).expect("a file");
    assert_accepted(&path);
    assert!(String::from_utf8_lossy(&check(&path).stdout).contains(&format!("shard 0: on core {core}")));
    let refused = relays.check(&Settings::default().with(Key::Shards, "9999")).expect_err("too many shards");
    assert!(refused.to_string().contains("node.shards: 9999 is out of range"), "{refused}");
}

/// The default as a value; that of `cores` is none.
fn key_default(key: Key) -> &'static str {
    if key == Key::Cores { "0" } else { key.default_value() }
}

#[test]
fn a_short_sweep_runs_from_end_to_end() {
    static NEVER: AtomicBool = AtomicBool::new(false);
    let directory = tempfile::tempdir().expect("a directory");
    let mut relays = relays(directory.path(), &NEVER);
    let candidates = Candidates(vec![
        (Key::SegmentSize, "4MiB".to_owned()),
        (Key::ConnectionsPerDestination, "5".to_owned()),
    ]);
    let effort = Effort { step: STEP, rounds: 2 };
    let give_up = Instant::now() + Duration::from_secs(120);
    let outcome = search(&mut relays, &candidates, (Goal::Rate, effort), give_up, &mut |_| {});
    let outcome = outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(outcome.comparisons.len() >= 3, "{outcome:?}");
    for (base, tried) in outcome.comparisons.iter().flat_map(|one| &one.pairs) {
        for measured in [base, tried] {
            assert!(measured.rate > 0.0 && measured.cpu_us > 0.0 && measured.p99_ms > 0.0, "{measured:?}");
        }
    }
    drop(relays);
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "the scratch is gone");
    let path = directory.path().join("tuned.toml");
    fs::write(&path, fragment::text(&outcome)).expect("a file");
    assert_accepted(&path);
    let page = page::page(&outcome);
    assert!(page.contains("segment_size = 4MiB") && page.ends_with("</html>\n"));
}

#[test]
fn an_interrupt_stops_the_relay_and_leaves_nothing() {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let directory = tempfile::tempdir().expect("a directory");
    let mut relays = relays(directory.path(), &INTERRUPTED);
    std::thread::spawn(|| {
        std::thread::sleep(STEP / 2);
        INTERRUPTED.store(true, Ordering::Relaxed);
    });
    let ended = relays.measure(Side::Base, &Settings::default());
    assert!(matches!(ended, Err(Failure::Interrupted)), "{ended:?}");
    drop(relays);
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "the scratch is gone");
    assert_eq!(relays_below(directory.path()), 0);
}

/// Processes that were started with something below a directory.
fn relays_below(directory: &Path) -> usize {
    let below = directory.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let line = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
    processes.map(line).filter(|line| line.contains(&below)).count()
}

/// By this relay's own code: a signature costs more by RSA than by Ed25519, and all threads are told.
#[test]
fn a_probe_says_what_the_relay_pays() {
    let directory = tempfile::tempdir().expect("a directory");
    let relay = Path::new(env!("CARGO_BIN_EXE_relevo"));
    let costs = relevo_tune::probe::relay::measure(relay, directory.path(), Duration::from_secs(6))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(costs.message_us > 0.0 && costs.client_us > 0.0 && costs.rate > 0.0, "{costs:?}");
    let [rsa, ed25519] = &costs.signing[..] else { panic!("{costs:?}") };
    assert!(rsa.cpu_us > ed25519.cpu_us, "{costs:?}");
    let [rsa, ecdsa] = &costs.handshakes[..] else { panic!("{costs:?}") };
    assert!(rsa.cpu_us > 0.0 && ecdsa.cpu_us > 0.0, "{costs:?}");
    for name in ["relevo-shard", "relevo-control", "relevo-servic", "relevo-journa"] {
        let thread = costs.threads.iter().find(|thread| thread.name.starts_with(name));
        assert!(thread.is_some_and(|thread| thread.cores > 0.0), "{name}: {costs:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "nothing is left");
}
