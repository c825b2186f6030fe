//! A log and what it writes to: full disks, pipes, files that are moved.

use std::fs::File;
use std::io::Read;

use super::file::{cut, whole};
use super::*;

use crate::config::{LogConfig, LogFormat, Rotate};
use crate::control::journal::tests::{Life, Random, cut_log};
use crate::control::outlet::pack::{Packs, Rotated};

fn life(path: &Path, lines: &str) -> Life {
    let data_dir = path.parent().unwrap().join("spool");
    let mut life = Life::begin(&data_dir, &[(path, None)]);
    life.tell(lines);
    life.journal();
    life
}

#[test]
fn half_a_line_is_cut_off_and_written_whole_later() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("log/of/mail");
    let mut life = life(&path, "one\ntwo\nthree\n");
    let log = &mut life.logs[0];
    log.resume().unwrap();
    log.held = log.feed.next().unwrap();
    // As a disk that had room for ten bytes.
    assert_eq!(log.output.write(b"one\ntwo\nth").unwrap(), 10);
    (log.at, log.torn) = cut(log.output.regular().unwrap(), b"one\ntwo\nth");
    assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    // A cursor that is saved now counts what is whole.
    log.save().unwrap();
    assert!(log.write(Duration::ZERO, false) || log.write(Duration::ZERO, false));
    assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
}

#[test]
fn behind_the_torn_end_of_another_a_line_begins() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("log");
    std::fs::write(&path, b"one\ntw").unwrap();
    let mut life = life(&path, "three\n");
    assert!(life.logs[0].write(Duration::ZERO, false));
    assert_eq!(std::fs::read(&path).unwrap(), b"one\ntw\nthree\n");
}

#[test]
fn what_a_full_disk_refuses_waits_in_the_journal() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = scratch.path().join("spool");
    let mut life = Life::begin(&data_dir, &[(Path::new("/dev/full"), None)]);
    for _ in 0..3 {
        life.tell("one\n");
        assert!(life.journal(), "the journal takes it all the same");
        assert!(!life.logs[0].write(Duration::ZERO, false));
    }
    assert!(life.logs[0].unwritten.is_trouble(limits::LOG_PATIENCE));
    let path = scratch.path().join("log");
    life.logs[0].path = Some(path.clone());
    assert!(life.logs[0].write(Duration::ZERO, true), "opened again");
    assert_eq!(std::fs::read(&path).unwrap(), b"one\none\none\n");
}

fn pipe_at(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn lines(from: u32) -> String {
    (from..from + 4000).map(|at| format!("line {at} of many\n")).collect()
}

/// Reads so many bytes, or all that comes.
fn read(log: &mut Log, pipe: &mut File, most: usize) -> String {
    let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while text.len() < most {
        let done = log.write(Duration::ZERO, false);
        let room = buffer.len().min(most - text.len());
        match pipe.read(&mut buffer[..room]) {
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) if done && error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    String::from_utf8(text).unwrap()
}

/// A reader that waits for nothing.
fn reader(path: &Path) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

#[test]
fn a_pipe_nobody_reads_gets_whole_lines_later() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("pipe");
    pipe_at(&path);
    let mut life = life(&path, &lines(0));
    for second in 0..4 * 3600 {
        assert!(!life.logs[0].write(Duration::from_secs(second), false) && life.logs[0].is_unread());
    }
    let said = crate::observe::diagnostics::said_of(&path.to_string_lossy());
    assert!(said.len() < 12 && said[0].contains("nobody reads it"), "{said:?}");
    life.tell(&lines(4000));
    life.journal();
    let text = read(&mut life.logs[0], &mut reader(&path), usize::MAX);
    assert!(text == lines(0) + &lines(4000));
    assert!(life.logs[0].is_taken());
}

/// However much a reader took before it went, and wherever the relay stops then: the next start goes on with the line behind.
#[test]
fn what_no_reader_took_is_written_by_the_next_start() {
    for taken in [0, 1, 17, 4096, 5000, 30_000, 60_000] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pipe");
        pipe_at(&path);
        let mut one = life(&path, &lines(0));
        let mut pipe = reader(&path);
        assert!(!one.logs[0].write(Duration::ZERO, false) && !one.logs[0].is_taken(), "it is full");
        let first = read(&mut one.logs[0], &mut pipe, taken);
        drop(pipe);
        one.logs[0].write(Duration::ZERO, false);
        assert!(one.logs[0].is_unread());
        one.logs[0].finish();
        drop(one);
        let mut next = life(&path, "the last\n");
        let text = read(&mut next.logs[0], &mut reader(&path), usize::MAX);
        let whole = lines(0) + "the last\n";
        let at = whole.len() - text.len();
        assert!(whole.ends_with(&text) && (at == 0 || whole.as_bytes()[at - 1] == b'\n'), "{taken}");
        // A pipe takes some lines at a time: of these some may come again.
        assert!(at <= first.len() && first.len() - at <= ATOMIC, "{taken} {at}");
    }
}

#[test]
fn what_stands_in_a_pipe_that_is_replaced_goes_to_what_takes_its_place() {
    for is_read in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pipe");
        pipe_at(&path);
        let mut life = life(&path, "one\ntwo\n");
        let mut pipe = reader(&path);
        assert!(life.logs[0].write(Duration::ZERO, false) && !life.logs[0].is_taken());
        std::fs::remove_file(&path).unwrap();
        let mut text = Vec::new();
        if is_read {
            life.logs[0].write(Duration::from_secs(2), false);
            pipe.read_to_end(&mut text).unwrap();
        }
        drop(pipe);
        life.logs[0].write(Duration::from_secs(4), false);
        text.extend(std::fs::read(&path).unwrap());
        assert_eq!(String::from_utf8(text).unwrap(), "one\ntwo\n", "{is_read}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_again_says_so_ever_more_seldom() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("log");
    let mut life = life(&path, "one\n");
    assert!(life.logs[0].write(Duration::ZERO, false));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let mut now = Duration::ZERO;
    for _ in 0..4 * 36_000 {
        now += limits::CONTROL_ROUND;
        assert!(life.logs[0].write(now, false), "it writes to the old file");
    }
    let said = |what: &str| {
        let said = crate::observe::diagnostics::said_of(&path.to_string_lossy());
        said.iter().filter(|words| words.contains(what)).count()
    };
    assert_eq!(said("cannot be opened again"), 9);
    life.logs[0].write(now, true);
    assert_eq!(said("cannot be opened again"), 10, "who asks for it is answered");
    std::fs::remove_dir(&path).unwrap();
    life.logs[0].write(now + limits::LOG_LOOK, false);
    assert_eq!((said("is opened again, after"), path.is_file()), (1, true));
}

#[test]
fn logs_and_what_was_rotated_from_them_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let mode = |name: &str| std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
    for name in ["real", "log.1", "log.2.gz", "real-20260101", "other"] {
        std::fs::write(at(name), b"").unwrap();
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    std::os::unix::fs::symlink("real", at("log")).unwrap();
    life(&at("log"), "one\n");
    assert_eq!(
        ["real", "log.1", "log.2.gz", "real-20260101", "other"].map(mode),
        [0o600, 0o600, 0o600, 0o600, 0o644]
    );
    let said = crate::observe::diagnostics::said_of(&at("log").to_string_lossy());
    assert!(said.len() == 2 && said[1].starts_with("3 files that were rotated"), "{said:?}");
}

#[test]
fn two_logs_of_one_file_are_refused_and_told_when_they_become_so() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let both = [at("a"), at("b")];
    let mut life = Life::begin(&at("spool"), &[(&both[0], None), (&both[1], None)]);
    let names = [both[0].to_string_lossy(), both[1].to_string_lossy()];
    let told = || {
        let said = crate::observe::diagnostics::said_of(&names[0]);
        said.iter().filter(|words| words.contains(&*names[1]) && words.contains("are one file now")).count()
    };
    life.logs[1].write(Duration::ZERO, true);
    assert_eq!(told(), 0);
    std::fs::remove_file(&both[1]).unwrap();
    std::fs::hard_link(&both[0], &both[1]).unwrap();
    life.logs[1].write(Duration::ZERO, true);
    assert_eq!(told(), 1);
    let journal = Journal::open(&at("other")).unwrap();
    let _first = Log::open(Some(both[0].clone()), &journal, Shape::plain(None)).unwrap();
    let second = Log::open(Some(both[1].clone()), &journal, Shape::plain(None));
    assert!(second.is_err_and(|error| error.to_string().contains(&*names[0])));
}

/// Events of several recipients, a line each, in files that are moved aside when they have some: killed and cut anywhere, each file has its header, and
/// all lines stand there once and in order.
#[test]
fn a_table_is_whole_over_kills_and_rotations() {
    for seed in 1..60 {
        let mut random = Random(seed * 104_729);
        let scratch = tempfile::tempdir().unwrap();
        let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
        let columns = Some(vec!["eventId", "rcpt"]);
        let shape = Shape::new(Some(vec!["bounced"]), (LogFormat::PmtaCsv, columns), None);
        let rotate = Some(Rotate { size: Some(200 + seed), span: None });
        let config = LogConfig { rotate, ..LogConfig::to(path.clone()) };
        let (mut told, mut wanted) = (0, String::new());
        for _ in 0..6 {
            let mut life = Life::shaped(&data_dir, &[(&path, shape.clone())]);
            life.logs[0].use_rotation(Rotation::of(&config, &Arc::<Packs>::default()));
            for _ in 0..random.below(40) {
                match random.below(8) {
                    0..=3 => {
                        told += 1;
                        let people: Vec<_> =
                            (0..1 + random.below(4)).map(|at| format!("\"{at}@y\"")).collect();
                        let kind = ["bounced", "delivered"][usize::from(random.below(3) == 0)];
                        if kind == "bounced" {
                            let rows = (0..people.len()).map(|at| format!("{told},{at}@y\n"));
                            wanted.extend(rows);
                        }
                        let people = people.join(",");
                        life.tell(&format!(
                            "{{\"time\":\"x\",\"event\":\"{kind}\",\"event_id\":\"{told}\",\"recipients\":[{people}]}}\n"
                        ));
                        life.journal();
                    }
                    4 => _ = life.log(true),
                    _ => _ = life.log(false),
                }
            }
            drop(life);
            cut_log(&data_dir, &path, &mut random);
        }
        let mut life = Life::shaped(&data_dir, &[(&path, shape.clone())]);
        assert!((0..1000).any(|_| life.log(false)));
        let mut files = Rotated::all(&path);
        files.push(path);
        let mut found = String::new();
        for file in &files {
            let text = std::fs::read_to_string(file).unwrap();
            found.push_str(text.strip_prefix("eventId,rcpt\n").unwrap_or_else(|| panic!("{seed}: {text}")));
        }
        assert!(found == wanted, "{seed}: {found}\n---\n{wanted}");
    }
}

#[test]
fn pieces_for_a_pipe_end_with_a_record() {
    let long = [vec![b'x'; ATOMIC + 10], b"\n".to_vec(), b"y\n".to_vec()].concat();
    assert_eq!(whole(&long, ATOMIC).len(), ATOMIC + 11);
    let many = b"0123456\n".repeat(ATOMIC);
    assert_eq!(whole(&many, ATOMIC).len(), ATOMIC);
    assert_eq!(whole(b"y\n", ATOMIC), b"y\n");
}
