//! Lives of the journal and its logs: they end at any point, and nothing is missing or twice.

use super::*;

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::control::journal::place::ReadPosition;
use crate::control::log::Log;
use crate::control::outlet::Shape;
use crate::id::Position;
use crate::observe::accounting::Chunks;
use crate::observe::journaled::{Chunk, LaneWatermark, WriteAck};

/// One life, its threads played by hand. Dropped at any time, it was killed.
pub(in crate::control) struct Life {
    pub shared: Arc<Shared>,
    chunks: Chunks,
    writer: writer::Writer,
    keep: keep::Keep,
    journaled: Arc<Journaled>,
    pub logs: Vec<Log>,
    now: Duration,
}

const SIZE_MAX: u64 = 1 << 40;

impl Life {
    /// Begins where the one before ended, with these logs.
    pub(in crate::control) fn begin(data_dir: &Path, logs: &[(&Path, Option<Vec<&'static str>>)]) -> Life {
        Life::within(data_dir, logs, SIZE_MAX)
    }

    /// The same with logs of these shapes.
    pub(in crate::control) fn shaped(data_dir: &Path, logs: &[(&Path, Shape)]) -> Life {
        Life::of(data_dir, logs, SIZE_MAX)
    }

    fn within(data_dir: &Path, logs: &[(&Path, Option<Vec<&'static str>>)], size_max: u64) -> Life {
        let shaped = logs.iter().map(|(path, events)| (*path, Shape::plain(events.clone())));
        Life::of(data_dir, &shaped.collect::<Vec<_>>(), size_max)
    }

    fn of(data_dir: &Path, logs: &[(&Path, Shape)], size_max: u64) -> Life {
        let mut journal = Journal::open(data_dir).unwrap();
        let shared = journal.shared.clone();
        let open = |(path, shape): &(&Path, Shape)| {
            Log::open(Some(path.to_path_buf()), &journal, shape.clone()).unwrap()
        };
        let logs: Vec<Log> = logs.iter().map(open).collect();
        journal.forget_others(&logs.iter().map(Log::cursor_name).collect::<Vec<_>>());
        let journaled = Arc::new(journal.journaled(4));
        let mut writer = writer::Writer::new(shared.clone(), Arc::default(), journaled.clone(), journal.next);
        writer.segment_max = 400;
        let forgotten = std::mem::take(&mut journal.forgotten);
        let keep = keep::Keep::new(shared.clone(), size_max, journaled.clone(), forgotten);
        Life {
            shared,
            chunks: Chunks::of(4, crate::observe::accounting::Room::default()),
            writer,
            keep,
            journaled,
            logs,
            now: Duration::ZERO,
        }
    }

    /// A shard passes this on.
    pub(in crate::control) fn tell(&mut self, lines: &str) {
        self.tell_until(lines, None);
    }

    fn tell_until(&mut self, lines: &str, recorded: Option<LaneWatermark>) {
        self.chunks.pass(Chunk { lines: lines.into(), recorded, awaited: None }).unwrap();
    }

    /// The writer writes it.
    pub(in crate::control) fn journal(&mut self) -> bool {
        self.writer.round(&self.chunks, self.now)
    }

    /// A round of the first log, half a second after the last.
    pub(in crate::control) fn log(&mut self, reopen: bool) -> bool {
        self.now += Duration::from_millis(500);
        self.logs[0].write(self.now, reopen)
    }

    fn log_all(&mut self) {
        assert!(self.journal());
        assert!((0..1000).any(|_| self.log(false)));
    }
}

/// A sequence that looks random.
pub(in crate::control) struct Random(pub u64);

impl Random {
    pub(in crate::control) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }
}

fn line(number: usize) -> String {
    format!("{{\"time\":\"x\",\"event\":\"received\",\"id\":{number}}}\n")
}

/// The end of a file that a kill did not let come about, or that a power cut took.
fn shorten(path: &Path, least: u64, random: &mut Random) {
    let file = File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    if length > least {
        file.set_len(least + random.below(length - least + 1)).unwrap();
    }
}

/// The log is cut where the kill came: anywhere behind what its cursor says.
pub(in crate::control) fn cut_log(data_dir: &Path, path: &Path, random: &mut Random) {
    let cursor = cursor::CursorFile::of(&directory(data_dir), path.to_str().unwrap()).read().unwrap();
    let Some(cursor) = cursor else { return };
    if std::fs::metadata(path).is_ok_and(|meta| meta.ino() == cursor.inode) {
        shorten(path, cursor.length, random);
    }
}

#[test]
fn kills_and_rotations_leave_every_line_once_and_in_order() {
    for seed in 1..80 {
        let mut random = Random(seed * 7919);
        let scratch = tempfile::tempdir().unwrap();
        let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
        let (mut told, mut parts, mut untaken) = (0, Vec::new(), Vec::<String>::new());
        for _ in 0..6 {
            let mut life = Life::begin(&data_dir, &[(&path, None)]);
            untaken.drain(..).for_each(|lines| life.tell(&lines));
            for _ in 0..random.below(40) {
                match random.below(10) {
                    0..=3 => {
                        let count = 1 + random.below(5) as usize;
                        let lines: String = (told..told + count).map(line).collect();
                        told += count;
                        life.tell(&lines);
                    }
                    4 | 5 => assert!(life.journal()),
                    6 | 7 => _ = life.log(false),
                    8 if path.exists() => {
                        let moved = scratch.path().join(format!("log.{}", parts.len()));
                        std::fs::rename(&path, &moved).unwrap();
                        parts.push(moved);
                        if random.below(2) == 0 {
                            life.log(true);
                        }
                    }
                    _ => _ = life.keep.round(Duration::ZERO),
                }
            }
            // What nobody took a kill takes; the spool tells it again.
            while let Some(chunk) = life.chunks.take() {
                untaken.push(String::from_utf8(chunk.lines).unwrap());
            }
            drop(life);
            cut_log(&data_dir, &path, &mut random);
        }
        let mut life = Life::begin(&data_dir, &[(&path, None)]);
        untaken.drain(..).for_each(|lines| life.tell(&lines));
        life.log_all();
        life.logs[0].finish();
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        let found: String = parts.iter().chain([&path]).map(read).collect();
        assert_eq!(found, (0..told).map(line).collect::<String>(), "seed {seed}");
        // All have read all: what is not written any more goes.
        life.keep.round(Duration::ZERO);
        assert!(segment::list(&directory(&data_dir)).unwrap().len() <= 1, "seed {seed}");
    }
}

/// What was not synced may be gone, of the journal and of the log: what stands behind the position that is known is told again.
#[test]
fn a_power_cut_takes_only_what_is_told_again() {
    for seed in 1..80 {
        let mut random = Random(seed * 104_729);
        let scratch = tempfile::tempdir().unwrap();
        let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
        let mut told = 0;
        for _ in 0..6 {
            let mut life = Life::begin(&data_dir, &[(&path, None)]);
            let from = life.journaled.of(3).map_or(0, |until| until.0 as usize);
            assert!(from <= told);
            let tell = |life: &mut Life, number: usize| {
                let until = Position(number as u64 + 1);
                life.tell_until(&line(number), Some(LaneWatermark { lane: 3, until }));
            };
            (from..told).for_each(|number| tell(&mut life, number));
            let mut synced = FramePosition::default();
            for _ in 0..random.below(40) {
                match random.below(8) {
                    0..=3 => {
                        tell(&mut life, told);
                        told += 1;
                    }
                    4 | 5 => assert!(life.journal()),
                    6 => _ = life.log(false),
                    _ => {
                        life.keep.round(Duration::ZERO);
                        synced = life.shared.end();
                    }
                }
            }
            let end = life.shared.end();
            drop(life);
            cut_log(&data_dir, &path, &mut random);
            // A segment is synced before the next one begins.
            let least = if synced.segment == end.segment { synced.offset } else { 0 };
            let last = segment::path(&directory(&data_dir), end.segment);
            if last.exists() {
                shorten(&last, least, &mut random);
            }
        }
        let mut life = Life::begin(&data_dir, &[(&path, None)]);
        let from = life.journaled.of(3).map_or(0, |until| until.0 as usize);
        (from..told).for_each(|number| life.tell(&line(number)));
        life.log_all();
        let text = std::fs::read_to_string(&path).unwrap();
        for number in 0..told {
            assert!(
                text.lines().any(|found| found == line(number).trim_end()),
                "seed {seed}: {number} of {told}"
            );
        }
    }
}

#[test]
fn a_log_gets_what_it_wants_and_another_one_is_not_held_up() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let full = Path::new("/dev/full");
    let mut life = Life::begin(&data_dir, &[(&path, Some(vec!["bounced"])), (full, None)]);
    let bounced = "{\"event\":\"bounced\"}\n";
    for number in 0..40 {
        life.tell(&(line(number) + bounced));
        life.journal();
        life.log(false);
        life.logs[1].write(life.now, false);
        life.keep.round(Duration::ZERO);
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), bounced.repeat(40));
    let progress = life.shared.progress();
    assert_eq!((progress[0].behind, progress[1].lost, &*progress[1].name), (0, 0, "/dev/full"));
    assert!(progress[1].behind > 0 && life.shared.bytes() > 40 * 30, "kept for the other one");
    // Nobody waits for a log that is not configured any more.
    drop(life);
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    let cursors = || {
        let names = files::list(&directory(&data_dir)).unwrap();
        names.iter().filter(|name| cursor::is_cursor(name)).count()
    };
    assert_eq!(cursors(), 2, "what it has not read is not counted yet");
    let mut lost = 0;
    for _ in 0..100 {
        lost += life.keep.round(Duration::ZERO);
    }
    assert_eq!((lost, cursors()), (80, 1), "all events of all kinds");
    life.tell(bounced);
    life.log_all();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), bounced.repeat(41));
}

#[test]
fn who_is_too_far_behind_loses_the_oldest_and_it_is_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::within(&data_dir, &[(&path, None)], 2000);
    let mut lost = 0;
    for number in 0..200 {
        life.tell(&line(number));
        life.journal();
        lost += life.keep.round(Duration::ZERO);
        assert!(life.shared.bytes() <= 2000 + 500);
    }
    assert!(lost > 100, "{lost}");
    life.log_all();
    assert_eq!(life.shared.progress()[0].lost, lost);
    let left: String = (lost as usize..200).map(line).collect();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
    // Too old is as bad as too much.
    (200..220).for_each(|number| life.tell(&line(number)));
    life.journal();
    let week = limits::JOURNAL_AGE_MAX + Duration::from_secs(9);
    life.tell(&line(220));
    life.journal();
    assert_eq!(life.keep.round(week), 20);
    // What a start finds has waited for nobody: a machine that was off for a year, or whose clock was wrong, loses nothing.
    (300..320).for_each(|number| life.tell(&line(number)));
    life.journal();
    drop(life);
    let path = segment::list(&directory(&data_dir)).unwrap();
    for sequence in path {
        let file = std::fs::File::open(segment::path(&directory(&data_dir), sequence)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let mut life = Life::begin(&data_dir, &[(&scratch.path().join("log"), None)]);
    life.tell(&line(320));
    life.journal();
    assert_eq!(life.keep.round(crate::runtime::process::since_boot()), 0);
}

#[test]
fn what_is_damaged_is_passed_over_and_the_rest_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    for number in 0..60 {
        life.tell(&line(number));
        life.journal();
    }
    drop(life);
    let segments = segment::list(&directory(&data_dir)).unwrap();
    assert!(segments.len() > 3);
    let second = segment::path(&directory(&data_dir), segments[1]);
    let mut bytes = std::fs::read(&second).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&second, bytes).unwrap();
    std::fs::remove_file(segment::path(&directory(&data_dir), segments[2])).unwrap();
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    life.log_all();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&line(0)) && text.ends_with(&line(59)) && text.lines().count() < 58);
}

#[test]
fn a_journal_that_cannot_be_written_takes_nothing_and_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    std::fs::remove_dir_all(directory(&data_dir)).unwrap();
    std::fs::write(directory(&data_dir), b"").unwrap();
    for number in 0..4 {
        life.tell(&line(number));
        assert!(!life.journal());
        assert_eq!(life.shared.problem(), None, "it may pass");
    }
    for _ in 0..4 * 3600 {
        life.now += limits::LOG_PATIENCE;
        assert!(!life.journal());
    }
    let name = data_dir.to_string_lossy().into_owned();
    assert_eq!(crate::observe::diagnostics::said_of(&name).len(), 9, "it is said ever more seldom");
    assert!(life.shared.problem().unwrap().contains("cannot be written: "));
    assert!(life.chunks.take().is_some(), "left to the shards");
    std::fs::remove_file(directory(&data_dir)).unwrap();
    life.log_all();
    assert_eq!(life.shared.problem(), None);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with(&line(0)));
}

/// A command is answered by this: whoever kills the relay then finds its event.
#[test]
fn who_waits_is_told_when_all_before_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    let told = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = || told.load(std::sync::atomic::Ordering::SeqCst);
    let wait = |life: &Life, lines: &str| {
        let told = told.clone();
        let ack = WriteAck::new(move || _ = told.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        life.chunks.pass(Chunk { lines: lines.into(), awaited: Some(ack), ..Chunk::default() }).unwrap();
    };
    // It cannot be written at first.
    std::fs::remove_dir_all(directory(&data_dir)).unwrap();
    std::fs::write(directory(&data_dir), "").unwrap();
    life.tell(&line(0));
    wait(&life, "");
    for _ in 0..3 {
        assert!(!life.journal() && count() == 0);
    }
    std::fs::remove_file(directory(&data_dir)).unwrap();
    assert!(life.journal() && count() == 1);
    let end = life.shared.end();
    wait(&life, "");
    assert!(life.journal() && count() == 2 && life.shared.end() == end, "all before it was written");
    life.tell(&line(1));
    wait(&life, &line(2));
    wait(&life, "");
    wait(&life, "");
    assert!(life.journal() && count() == 5);
    let files = std::fs::read_dir(directory(&data_dir)).unwrap();
    let text = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect::<Vec<u8>>();
    let text = String::from_utf8_lossy(&text);
    assert!((0..3).all(|number| text.contains(&line(number))), "{text}");
}

#[test]
fn behind_a_failed_sync_no_position_counts() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    let until = |until| Some(LaneWatermark { lane: 1, until: Position(until) });
    life.tell_until(&line(0), until(5));
    life.journal();
    assert_eq!(life.journaled.of(1), None, "it is not on the disk yet");
    life.keep.round(Duration::ZERO);
    assert_eq!(life.journaled.of(1), Some(Position(5)));
    life.tell_until(&line(1), until(6));
    life.journal();
    writer::not_synced(&life.shared, &io::Error::other("a bad sector"));
    for number in 2..40 {
        life.tell_until(&line(number), until(7));
        life.journal();
        life.keep.round(Duration::ZERO);
    }
    assert_eq!(life.journaled.of(1), Some(Position(5)));
    assert!(life.shared.problem().unwrap().contains("a bad sector"));
    life.log_all();
    drop(life);
    // The next life begins in a segment that was begun behind it.
    let life = Life::begin(&data_dir, &[(&path, None)]);
    assert_eq!((life.journaled.of(1), life.shared.problem()), (Some(Position(5)), None));
}

#[test]
fn without_a_log_there_is_no_journal() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    life.tell(&line(0));
    life.log_all();
    drop(life);
    let other = directory(&data_dir).join("of the operator");
    std::fs::write(&other, b"").unwrap();
    remove(&data_dir);
    assert_eq!(files::list(&directory(&data_dir)).unwrap(), ["of the operator"]);
    std::fs::remove_file(other).unwrap();
    remove(&data_dir);
    remove(&data_dir);
    assert!(!directory(&data_dir).exists());
}

#[test]
fn a_position_is_of_the_lane_that_it_was_written_for() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let until = |lane, until| Some(LaneWatermark { lane, until: Position(until) });
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    assert_eq!(life.journaled.opened(1, 77, Position(0)), None);
    life.tell_until(&line(0), until(1, 5));
    life.journal();
    life.keep.round(Duration::ZERO);
    let life = Life::begin(&data_dir, &[(&path, None)]);
    assert_eq!(life.journaled.opened(1, 77, Position(9)), Some(Position(5)));
    // Another lane gets its number.
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    assert_eq!(life.journaled.opened(1, 78, Position(9)), None);
    life.tell_until(&line(1), until(2, 6));
    life.journal();
    life.keep.round(Duration::ZERO);
    assert_eq!((life.journaled.of(1), life.journaled.of(2)), (None, Some(Position(6))));
    // A kill before its first position: the header of this segment has that of the other one, and says so.
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    assert_eq!(life.journaled.opened(1, 78, Position(9)), None);
    life.tell_until(&line(2), until(1, 3));
    life.journal();
    life.keep.round(Duration::ZERO);
    assert_eq!(life.journaled.of(1), Some(Position(3)));
    let life = Life::begin(&data_dir, &[(&path, None)]);
    assert_eq!(life.journaled.opened(1, 78, Position(2)), None, "it was replaced by an older copy");
    let life = Life::begin(&data_dir, &[(&path, None)]);
    assert_eq!(life.journaled.opened(1, 78, Position(9)), Some(Position(3)));
}

#[test]
fn who_only_searches_has_read_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    let mut reader = reader::Reader::new(life.shared.clone(), "one", life.shared.end().into());
    life.tell(&line(0));
    life.journal();
    let behind = || life.shared.progress()[1].behind;
    let before = behind();
    for searches in [true, false] {
        reader.searches = searches;
        assert!(reader.next().unwrap().is_some() && reader.next().unwrap().is_none());
        assert_eq!(behind(), if searches { before } else { 0 });
        reader.seek(ReadPosition::default());
    }
}

/// It would read all before the damage again, ten times a second.
#[test]
fn where_a_log_goes_on_is_not_looked_for_all_the_time() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    life.tell(&line(0));
    life.log_all();
    life.now += limits::CURSOR_SAVED;
    assert!(life.log(false));
    life.tell(&line(1));
    life.journal();
    assert!(life.logs[0].write(life.now, false), "the cursor is not saved yet");
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    // A directory cannot be read as a file can.
    let segment = segment::path(&directory(&data_dir), 1);
    std::fs::rename(&segment, data_dir.join("aside")).unwrap();
    std::fs::create_dir(&segment).unwrap();
    assert!(!life.log(false));
    std::fs::remove_dir(&segment).unwrap();
    std::fs::rename(data_dir.join("aside"), &segment).unwrap();
    assert!(!life.log(false), "it waits");
    life.now += limits::LOG_RESUMED_AGAIN;
    assert!(life.log(false));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), line(0) + &line(1));
}

#[test]
fn a_last_segment_that_is_damaged_is_not_thrown_away() {
    let scratch = tempfile::tempdir().unwrap();
    let (data_dir, path) = (scratch.path().join("spool"), scratch.path().join("log"));
    for at in [frame::HEADER - 1, frame::HEADER + 100] {
        let mut life = Life::begin(&data_dir, &[(&path, None)]);
        for number in 0..5 {
            life.tell(&line(number));
            life.journal();
        }
        drop(life);
        let last = *segment::list(&directory(&data_dir)).unwrap().last().unwrap();
        let file = segment::path(&directory(&data_dir), last);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let aside = file.with_extension("journal.damaged");
        let mut life = Life::begin(&data_dir, &[(&path, None)]);
        let kept = if at < frame::HEADER { &aside } else { &file };
        assert_eq!(std::fs::read(kept).unwrap(), bytes, "{at}");
        life.tell(&line(9));
        life.log_all();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with(&line(9)));
    }
    // What was not written to its end is cut off, as ever.
    let mut life = Life::begin(&data_dir, &[(&path, None)]);
    life.tell(&line(10));
    life.journal();
    drop(life);
    let last = *segment::list(&directory(&data_dir)).unwrap().last().unwrap();
    let file = segment::path(&directory(&data_dir), last);
    let length = std::fs::metadata(&file).unwrap().len();
    File::options().write(true).open(&file).unwrap().set_len(length - 1).unwrap();
    Life::begin(&data_dir, &[(&path, None)]);
    assert!(std::fs::metadata(&file).unwrap().len() < length - 10);
}

#[test]
fn a_small_disk_has_small_segments() {
    let mebibyte = 1 << 20;
    for (disk, segment) in [(1, 256 << 10), (80, mebibyte), (2_000, 25 * mebibyte), (1 << 30, 64 * mebibyte)]
    {
        assert_eq!(segment_max(disk * mebibyte), segment, "{disk} MiB");
    }
    assert_eq!(segment_max(u64::MAX), limits::JOURNAL_SEGMENT, "one that does not say how large it is");
}
