//! Goes through the live messages of all lanes, in the order in which their records lie, at a bounded rate.
//!
//! Shards tell where they lie, from memory. The records are read here, from the files: no shard waits for that. A message that was moved
//! meanwhile is asked for again. What comes while it lasts may be met or not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::read::{Reader, RecordToRead, Step};
use crate::control::api::shape::ScanProgress;
use crate::control::asker::{AskFailure, Asker};
use crate::limits;
use crate::queue::select::{Filter, FoundRecipients, Run};
use crate::shard::ask::{Ask, IndexPage, Keys};

/// When records may be read again: all searches keep one rate together.
pub(super) type Pace = Mutex<Instant>;

/// Why a search has no end.
#[derive(Debug)]
pub(in crate::control) enum Unfinished {
    /// A shard did not answer.
    Unanswered(AskFailure),
    /// More is meant than can be kept.
    TooMany,
    /// It broke off, by our fault.
    Broken,
}

impl From<AskFailure> for Unfinished {
    fn from(unanswered: AskFailure) -> Unfinished {
        Unfinished::Unanswered(unanswered)
    }
}

/// How far a search is.
#[derive(Debug)]
pub(super) struct Scan {
    filter: Arc<Filter>,
    lane: u16,
    lanes: u16,
    /// From where the index of this lane is asked for; None: all of it was told.
    next: Option<Keys>,
    /// What is to be read, by place.
    pass: Vec<RecordToRead>,
    read: usize,
    /// Recipients of these who heard what is asked for, by key: where a reply is.
    heard: Vec<(u32, u16, u16)>,
    stale: Vec<RecordToRead>,
    /// What was found in this lane, and before it.
    runs: Vec<Run>,
    found: FoundRecipients,
    reader: Option<Reader>,
    pub(super) scanned: ScanProgress,
}

impl Scan {
    /// A search through so many lanes, with about so many messages.
    pub(super) fn new(filter: Arc<Filter>, data_dir: PathBuf, lanes: usize, messages: u64) -> Scan {
        let reader = Some(Reader::new(data_dir, filter.clone()));
        let of = if filter.id.is_some() { filter.entries.len() as u64 } else { messages };
        let mut scan = Scan {
            filter,
            lane: 0,
            lanes: u16::try_from(lanes).unwrap_or(u16::MAX),
            next: None,
            pass: Vec::new(),
            read: 0,
            heard: Vec::new(),
            stale: Vec::new(),
            runs: Vec::new(),
            found: FoundRecipients::default(),
            reader,
            scanned: ScanProgress { of, ..ScanProgress::default() },
        };
        scan.next = scan.first();
        scan
    }

    /// What is asked for first of a lane.
    fn first(&self) -> Option<Keys> {
        if self.filter.id.is_none() {
            return Some(Keys::From(0));
        }
        let own = self.filter.entries.iter().filter(|(lane, _)| *lane == self.lane);
        let mut keys: Vec<u32> = own.map(|(_, key)| *key).collect();
        keys.sort_unstable();
        (!keys.is_empty()).then_some(Keys::These(keys))
    }

    /// Goes on until then, or to the end: what was found.
    pub(super) async fn go_on(
        &mut self,
        asker: &Asker,
        pace: &Pace,
        until: Instant,
    ) -> Result<Option<FoundRecipients>, Unfinished> {
        loop {
            if self.lane >= self.lanes {
                self.scanned.of = self.scanned.messages;
                return Ok(Some(std::mem::take(&mut self.found)));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            if self.read < self.pass.len() {
                self.step(pace).await?;
            } else if !self.stale.is_empty() {
                self.ask_again(asker).await?;
            } else if self.next.is_some() {
                self.gather(asker).await?;
            } else {
                self.found.add(self.lane, std::mem::take(&mut self.runs));
                self.lane += 1;
                self.next = self.first();
            }
        }
    }

    /// A part of the index, or all of it, in the order in which records lie.
    async fn gather(&mut self, asker: &Asker) -> Result<(), Unfinished> {
        (self.pass, self.read, self.heard) = Default::default();
        let shard = asker.shard_of(self.lane);
        while let Some(keys) = self.next.take() {
            let (lane, replies) = (self.lane, self.filter.recorded.reply.is_some());
            let page = asker.ask(shard, |reply| Ask::Index(lane, keys, replies, reply)).await?;
            self.next = page.next.map(Keys::From);
            self.take(page);
            if self.pass.len() + self.heard.len() >= limits::SCAN_PASS {
                break;
            }
        }
        if self.filter.recorded.wants_records() {
            self.pass.sort_unstable_by_key(|wanted| wanted.stored.at);
            return Ok(());
        }
        // The index said all that was asked for.
        self.scanned.messages += self.pass.len() as u64;
        let mut heard = &self.heard[..];
        for RecordToRead { stored, .. } in std::mem::take(&mut self.pass) {
            let (slot, offset) = stored.told;
            let own = heard.iter().take_while(|(key, ..)| *key == stored.key).count();
            let (these, rest) = heard.split_at(own);
            let runs = these.iter().map(|(key, first, count)| Run {
                key: *key,
                slot,
                offset,
                first: *first,
                count: *count,
            });
            self.runs.extend(runs);
            heard = rest;
        }
        self.check()
    }

    /// These are to be read, or those of them who heard what is asked for.
    fn take(&mut self, page: IndexPage) {
        self.scanned.messages += u64::from(page.passed);
        let wanted = |stored| RecordToRead { stored, tries: 0 };
        let Some(reply) = &self.filter.recorded.reply else {
            self.pass.extend(page.entries.into_iter().map(wanted));
            return;
        };
        let is_heard: Vec<bool> = page.texts.iter().map(|text| reply.is_in(text)).collect();
        let mut said = page.said.iter().peekable();
        for (entry, stored) in (0u32..).zip(page.entries) {
            let before = self.heard.len();
            while let Some(said) = said.next_if(|said| said.entry == entry) {
                if is_heard.get(said.text as usize).copied().unwrap_or(false) {
                    self.heard.push((stored.key, said.first, said.count));
                }
            }
            if self.heard.len() > before {
                self.pass.push(wanted(stored));
            } else {
                self.scanned.messages += 1;
            }
        }
    }

    /// Reads some, when it may.
    async fn step(&mut self, pace: &Pace) -> Result<(), Unfinished> {
        let mut next = pace.lock().await;
        tokio::time::sleep_until(*next).await;
        let begun = Instant::now();
        let end = self.pass.len().min(self.read + limits::SCAN_STEP);
        let (lane, some) = (self.lane, self.pass[self.read..end].to_vec());
        let mut reader = self.reader.take().ok_or(Unfinished::Broken)?;
        let read = tokio::task::spawn_blocking(move || (reader.step(lane, &some), reader)).await;
        let (Step { runs, stale, bytes }, reader) = read.map_err(|_| Unfinished::Broken)?;
        self.reader = Some(reader);
        *next = begun + cost(end - self.read, bytes);
        drop(next);
        self.scanned.messages += (end - self.read - stale.len()) as u64;
        self.read = end;
        self.stale.extend(stale);
        if self.filter.recorded.reply.is_none() {
            self.runs.extend(runs);
        } else {
            let heard = &self.heard;
            self.runs.extend(runs.into_iter().flat_map(|run| both(run, heard)));
        }
        self.check()
    }

    /// Those that were not where they were said to be: where do they lie now?
    async fn ask_again(&mut self, asker: &Asker) -> Result<(), Unfinished> {
        let from = self.stale.len().saturating_sub(limits::INDEX_PAGE_MAX);
        let stale = self.stale.split_off(from);
        let (again, given_up): (Vec<_>, Vec<_>) =
            stale.into_iter().partition(|wanted| wanted.tries < limits::SCAN_ROUNDS);
        self.scanned.unreadable += given_up.len() as u64;
        self.scanned.messages += given_up.len() as u64;
        let keys = Keys::These(again.iter().map(|wanted| wanted.stored.key).collect());
        let lane = self.lane;
        let page = asker.ask(asker.shard_of(lane), |reply| Ask::Index(lane, keys, false, reply)).await?;
        let mut before: Vec<_> = again.into_iter().map(|wanted| (wanted.stored.key, wanted)).collect();
        before.sort_unstable_by_key(|(key, _)| *key);
        self.read = 0;
        // Others have left, or their entries are other messages' by now.
        self.pass = page
            .entries
            .into_iter()
            .filter_map(|stored| {
                let at = before.binary_search_by_key(&stored.key, |(key, _)| *key).ok()?;
                let known = before[at].1;
                (known.stored.id == stored.id).then_some(RecordToRead { stored, tries: known.tries + 1 })
            })
            .collect();
        self.scanned.messages += (before.len() - self.pass.len()) as u64;
        self.pass.sort_unstable_by_key(|wanted| wanted.stored.at);
        Ok(())
    }

    fn check(&self) -> Result<(), Unfinished> {
        let many = self.found.len() + self.runs.len() > limits::FOUND_MAX;
        if many { Err(Unfinished::TooMany) } else { Ok(()) }
    }
}

/// What of a run is among those who heard what is asked for.
fn both(run: Run, heard: &[(u32, u16, u16)]) -> impl Iterator<Item = Run> {
    let from = heard.partition_point(|(key, ..)| *key < run.key);
    let own = heard[from..].iter().take_while(move |(key, ..)| *key == run.key);
    let end = u32::from(run.first) + u32::from(run.count);
    own.filter_map(move |(_, first, count)| {
        let from = (*first).max(run.first);
        let to = (u32::from(*first) + u32::from(*count)).min(end);
        (u32::from(from) < to).then(|| Run { first: from, count: (to - u32::from(from)) as u16, ..run })
    })
}

/// How long it takes at the rate that is kept.
fn cost(messages: usize, bytes: u64) -> Duration {
    let by_messages = messages as f64 / f64::from(limits::SCAN_A_SECOND);
    let by_bytes = bytes as f64 / limits::SCAN_BYTES_A_SECOND as f64;
    Duration::from_secs_f64(by_messages.max(by_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_cut_to_those_who_heard_it() {
        let run = |first, count| Run { key: 7, slot: 1, offset: 2, first, count };
        let heard = [(6, 0, 100), (7, 0, 2), (7, 5, 5), (7, 20, 1), (8, 0, 100)];
        let cut = |first, count| both(run(first, count), &heard).collect::<Vec<_>>();
        assert_eq!(cut(0, 100), [run(0, 2), run(5, 5), run(20, 1)]);
        assert_eq!(cut(1, 6), [run(1, 1), run(5, 2)]);
        assert_eq!(cut(10, 10), []);
        assert_eq!(both(Run { key: 9, ..run(0, 9) }, &heard).count(), 0);
    }

    #[test]
    fn a_million_takes_twenty_seconds_at_least_and_bytes_count_where_they_are_many() {
        assert_eq!(cost(1_000_000, 0), Duration::from_secs(20));
        assert_eq!(cost(1, 2 * limits::SCAN_BYTES_A_SECOND), Duration::from_secs(2));
    }
}
