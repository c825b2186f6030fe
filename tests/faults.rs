//! Faults for real: the binary on a disk that loses power, fills up, fails or rots.
//!
//! The stories are in `tests/faults/stories.py`, one test each. The disk that loses power is a FUSE file system of this file's own
//! (`tests/faults/disk.rs`), served by this very program started once more. Mounts and processes of a story live in name
//! spaces of their own, so none outlives it, however it ends. Where there is no /dev/fuse or no root, stories that need them are
//! skipped with a word; `RELEVO_FAULTS=require` makes that a failure. `RELEVO_SEED` repeats a run.
#![expect(clippy::disallowed_methods, reason = "not the relay: threads and sleeps are fine here")]

#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/fuse.rs"]
mod fuse;
mod stories;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the served disk is mounted; set when this program is to serve one.
const SERVE: &str = "RELEVO_FAULTS_DISK";

/// What a story needs of the machine.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    Nothing,
    Root,
    Fuse,
}

/// Name spaces of its own; everything in them ends with the story.
const APART: [&str; 6] = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn missing(need: Need) -> Option<&'static str> {
    if need == Need::Nothing {
        return None;
    }
    if need == Need::Fuse && !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse");
    }
    let mut probe = Command::new(APART[0]);
    probe.args(&APART[1..]).args(["mount", "-t", "tmpfs", "none", "/proc"]);
    let done = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if done.is_ok_and(|status| status.success()) { None } else { Some("mounting needs root") }
}

/// Runs one story; its words are shown when it fails.
fn tell(story: &str, need: Need) {
    if let Some(what) = missing(need) {
        assert!(std::env::var("RELEVO_FAULTS").as_deref() != Ok("require"), "{story} cannot run: {what}");
        // Past the test harness, which would keep the word to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {story}: {what}");
        return;
    }
    let scratch = tempfile::Builder::new().prefix("relevo-faults-").tempdir().expect("a scratch directory");
    let mut bound = Command::new("timeout");
    bound
        .args(["--signal=KILL", "120"])
        .env("TMPDIR", scratch.path())
        .env("RELEVO_FAULTS_PROGRAM", std::env::current_exe().expect("this program"));
    if need != Need::Nothing {
        bound.args(APART);
    }
    stories::tell(&mut bound, "faults/stories.py", &[story, &stories::relay(env!("CARGO_BIN_EXE_relevo"))]);
}

macro_rules! stories {
    ($($need:ident: $($story:ident),* ;)*) => {
        $($(#[test]
        fn $story() {
            tell(stringify!($story), Need::$need);
        })*)*
    };
}

stories!(
    Fuse:
        power_cuts_lose_nothing_acknowledged,
        a_disk_that_lies_is_found_out,
        a_first_start_may_be_cut_anywhere,
        failing_syncs_cost_a_451_and_a_segment,
        failing_writes_cost_a_451_and_a_segment,
        a_dead_disk_is_survived_and_left_behind;
    Root:
        a_full_disk_refuses_and_drains,
        a_full_disk_has_room_for_the_journal,
        a_full_disk_keeps_no_log_back,
        no_room_is_told_and_soon_over;
    Nothing:
        flipped_bytes_are_found_and_the_rest_is_delivered,
        a_data_directory_has_one_master,
        lanes_outlive_shard_counts,
        a_newer_spool_is_refused;
);

/// Not a test: the process that serves the disk of a story.
#[test]
#[ignore = "started by the stories"]
fn serve_the_disk() {
    let Some(at) = std::env::var_os(SERVE).map(PathBuf::from) else { return };
    let shared = fuse::Shared::new(1);
    let mut session = fuse::mount(&shared, &at).expect("a mount");
    let listener = UnixListener::bind(at.with_extension("control")).expect("a socket");
    let (stream, _) = listener.accept().expect("the story");
    let mut answers: UnixStream = stream.try_clone().expect("a descriptor");
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let number: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let answer = match verb {
            "dark" => {
                shared.disk().faults.dark = true;
                "ok".to_owned()
            }
            "cut" => {
                // The story has unmounted it: the session ends by itself.
                let _ = session.join();
                let cut = shared.disk().cut(number);
                session = fuse::mount(&shared, &at).expect("a mount");
                format!("{} {} {} {}", cut.kept, cut.lost, cut.names_kept, cut.names_lost)
            }
            "lie" => {
                shared.disk().faults.lies = number != 0;
                "ok".to_owned()
            }
            "slow" => {
                shared.set_delay(Duration::from_millis(number));
                "ok".to_owned()
            }
            "fail-syncs" => std::mem::replace(&mut shared.disk().faults.syncs, number).to_string(),
            "fail-writes" => std::mem::replace(&mut shared.disk().faults.writes, number).to_string(),
            _ => "what?".to_owned(),
        };
        if writeln!(answers, "{answer}").is_err() {
            break;
        }
    }
    // What is left goes with the name space.
    std::process::exit(0);
}
