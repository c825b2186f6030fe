//! What control looks at once a second: whether every shard moves, and whether every shard takes mail.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::value::show_size;
use crate::control::say::say;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::Repeat;
use crate::observe::room::Shut;
use crate::spool::layout::lane_directory;

/// Which shards move. Time is counted in control's own rounds of a second: while the whole machine or process stood still nobody
/// looked, and nothing is held against anyone.
#[derive(Debug)]
pub(super) struct Pulse(Vec<Still>);

#[derive(Debug, Default)]
struct Still {
    beat: u64,
    rounds: u64,
    /// Looks in all, each a second after the one before.
    looks: u64,
    said: Repeat,
}

impl Pulse {
    pub(super) fn new(shards: usize) -> Pulse {
        Pulse((0..shards).map(|_| Still::default()).collect())
    }

    /// One look. The words are empty if all shards move.
    pub(super) fn look(&mut self, instruments: &[Arc<Instruments>]) -> String {
        let mut words = Vec::new();
        for (index, (still, shard)) in self.0.iter_mut().zip(instruments).enumerate() {
            let (beat, before) = (shard.beat.get(), still.rounds);
            still.rounds = if beat == still.beat { before + 1 } else { 0 };
            still.beat = beat;
            let most = limits::STANDSTILL.as_secs();
            if still.rounds >= most {
                words.push(format!("shard {index} has not moved for {} s", still.rounds));
            }
            still.looks += 1;
            let now = Duration::from_secs(still.looks);
            if still.rounds >= most && still.said.lasts(now) {
                say(
                    Level::Error,
                    format_args!(
                        "shard {index} has not moved for {} s: its disk hangs, its core is busy with something else, or this is a bug in relevo",
                        still.rounds
                    ),
                );
            } else if still.rounds == 0 && still.said.ended(now).is_some() {
                say(Level::Info, format_args!("shard {index} moves again, after {before} s"));
            }
        }
        words.join("; ")
    }
}

/// Room on a file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskRoom {
    /// Bytes that are free.
    pub bytes: u64,
    /// Bytes of these that are to stay free for the journal.
    pub spare: u64,
}

/// Since when mail is refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Looks, each a second after the one before.
    looks: u64,
    said: Repeat,
    /// Looks in a row at which transactions had all the memory they may.
    full: u64,
}

impl Refusals {
    /// One look; `shut_now` is what [`shut_now`] says. Gives back what only looks in a row show, in words, or nothing.
    pub(super) fn look(&mut self, instruments: &[Arc<Instruments>], shut_now: &str) -> String {
        let is_full = instruments.iter().any(|shard| shard.room.shut() == Shut::NoMemory);
        self.full = if is_full { self.full + 1 } else { 0 };
        let memory =
            if self.full >= limits::MEMORY_FULL_LOOKS { no_memory(instruments) } else { String::new() };
        let words = joined([shut_now, &memory]);
        self.looks += 1;
        let now = Duration::from_secs(self.looks);
        if words.is_empty() {
            if let Some(lasted) = self.said.ended(now) {
                say(Level::Info, format_args!("mail is taken again, after about {} s", lasted.as_secs()));
            }
            return String::new();
        }
        if self.said.lasts(now) {
            say(Level::Error, format_args!("{REFUSED}: {words}"));
        }
        memory
    }
}

/// How it begins when mail is refused.
pub(super) const REFUSED: &str = "mail is refused for now";

/// Reasons, one after the other.
pub(super) fn joined<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Why shards take no mail at this moment, as far as a moment shows it; empty: all do. `free` tells how much room there is in a directory.
pub(super) fn shut_now(
    instruments: &[Arc<Instruments>],
    data_dir: &Path,
    free: impl Fn(&Path) -> Option<DiskRoom>,
) -> String {
    let mut words: Vec<String> = instruments.iter().filter_map(|shard| why(shard, data_dir, &free)).collect();
    // What is of the whole node is told once.
    words.dedup();
    words.join("; ")
}

/// Why this shard takes no mail: how much it wants, and where.
fn why(shard: &Instruments, data_dir: &Path, free: &impl Fn(&Path) -> Option<DiskRoom>) -> Option<String> {
    let room = &shard.room;
    let lane = u16::try_from(room.lane.get()).unwrap_or(u16::MAX);
    let (directory, segment) = (lane_directory(data_dir, lane), room.wanted.get());
    match room.shut() {
        // Memory is all shards' together.
        Shut::No | Shut::NoMemory => None,
        Shut::Drained => {
            Some("clients hear 421, as an operator drains it to another relay; `relevo drain --end` opens it again".to_owned())
        }
        Shut::NoJournal => Some(format!(
            "the journal of events cannot be written fast enough, or not at all: what happens on lane {lane} waits for it; see that {} has room",
            data_dir.join("journal").display()
        )),
        Shut::NoSegment => {
            let wanted = show_size(segment);
            let problem = room.problem();
            let problem = if problem.is_empty() { "it is not made yet".to_owned() } else { problem };
            let (there, missing) = match free(&directory) {
                Some(DiskRoom { bytes, spare }) => {
                    let for_journal = match spare {
                        0 => String::new(),
                        spare => format!(" and {} stay free for the journal of events", exact(spare)),
                    };
                    let missing = segment.saturating_add(spare).saturating_sub(bytes);
                    let missing = match missing {
                        0 => String::new(),
                        missing => format!("; free {} more there", exact(missing)),
                    };
                    (format!(", where {} are free{for_journal}", exact(bytes)), missing)
                }
                None => (String::new(), String::new()),
            };
            Some(format!(
                "lane {lane} needs a new segment of {wanted} in {}{there} ({problem}){missing}",
                directory.display()
            ))
        }
        Shut::SizeMax => Some(format!(
            "lane {lane} has {} in {}, as much as spool.size_max allows it, full of mail that is still queued, and would need {} more; \
                 raise spool.size_max, or let the queue go out",
            exact(room.bytes.get()),
            directory.display(),
            show_size(segment)
        )),
        Shut::QueueFull => Some(format!(
            "lane {lane} has {} recipients queued, as many as may be; let the queue go out",
            shard.counters.queued_recipients.get()
        )),
    }
}

/// How much clients hold, and how much they may.
fn no_memory(instruments: &[Arc<Instruments>]) -> String {
    let held = |shard: &Arc<Instruments>| {
        shard.counters.client_memory.get().saturating_sub(shard.counters.session_memory.get())
    };
    let most = instruments.iter().map(|shard| shard.room.memory_max.get()).max().unwrap_or(0);
    format!(
        "clients hold {} in open transactions, of {} that they may (one {}th of the machine's or control group's memory); find who leaves \
         them open, lower connections_per_client, or give the relay more memory",
        exact(instruments.iter().map(held).sum()),
        exact(most),
        2 * limits::CLIENT_MEMORY_SHARE
    )
}

/// Bytes, for eyes: to a tenth of a MiB.
pub(crate) fn exact(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(count: usize) -> Vec<Arc<Instruments>> {
        (0..count).map(|_| Arc::default()).collect()
    }

    #[test]
    fn a_shard_that_stands_still_is_found_and_found_again() {
        let (shards, mut pulse) = (shards(2), Pulse::new(2));
        let mut words = String::new();
        for _ in 0..limits::STANDSTILL.as_secs() + 2 {
            shards[0].beat.add(4);
            words = pulse.look(&shards);
        }
        assert_eq!(words, "shard 1 has not moved for 12 s");
        shards[1].beat.add(1);
        assert_eq!(pulse.look(&shards), "");
    }

    #[test]
    fn what_is_wanted_and_where_is_said() {
        let shards = shards(2);
        let free = |_: &Path| Some(DiskRoom { bytes: 12 << 20, spare: 0 });
        assert_eq!(shut_now(&shards, Path::new("/d"), free), "");
        let room = &shards[1].room;
        room.lane.set(1);
        room.wanted.set(64 << 20);
        room.bytes.set(4 << 26);
        room.set(Shut::NoSegment);
        room.set_problem("No space left on device");
        let words = shut_now(&shards, Path::new("/d"), free);
        assert_eq!(
            words,
            "lane 1 needs a new segment of 64MiB in /d/lane-001, where 12.0 MiB are free (No space left \
             on device); free 52.0 MiB more there"
        );
        let beside = |_: &Path| Some(DiskRoom { bytes: 70 << 20, spare: 30 << 20 });
        let words = shut_now(&shards, Path::new("/d"), beside);
        assert!(
            words.contains("where 70.0 MiB are free and 30.0 MiB stay free for the journal of events (")
                && words.ends_with("; free 24.0 MiB more there"),
            "{words}"
        );
        room.set(Shut::SizeMax);
        let words = shut_now(&shards, Path::new("/d"), free);
        assert!(
            words.contains("has 256.0 MiB in /d/lane-001, as much as spool.size_max allows it"),
            "{words}"
        );
        assert!(words.contains("would need 64MiB more"), "{words}");
        room.set(Shut::NoJournal);
        let words = shut_now(&shards, Path::new("/d"), free);
        assert!(
            words.contains("the journal of events cannot be written") && words.contains("/d/journal"),
            "{words}"
        );
    }

    #[test]
    fn full_memory_is_said_when_it_stays_so() {
        let (shards, mut refusals) = (shards(2), Refusals::default());
        let room = &shards[1].room;
        room.set(Shut::NoMemory);
        shards[0].counters.client_memory.set(9 << 20);
        shards[0].counters.session_memory.set(5 << 20);
        shards[1].counters.client_memory.set(60 << 20);
        shards.iter().for_each(|shard| shard.room.memory_max.set(64 << 20));
        let mut look = || refusals.look(&shards, "");
        assert_eq!([look(), look()], ["", ""], "it may pass at once");
        let words = look();
        assert!(
            words.starts_with("clients hold 64.0 MiB in open transactions, of 64.0 MiB that they may"),
            "{words}"
        );
        room.set(Shut::No);
        assert_eq!(refusals.look(&shards, ""), "");
    }
}
