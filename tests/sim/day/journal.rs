//! Control's side of the journal, as far as the shards see it: what it took survives a kill, and of what it did not sync a power failure takes
//! the end. What is in it when the day is over is held against what everybody saw.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use relevo::id::Position;
use relevo::observe::Instruments;
use relevo::observe::accounting::Room;
use relevo::observe::journaled::{Journaled, LaneWatermark, Readers};
use relevo::time::Instant;
use serde_json::Value;

use super::dice::Dice;
use super::ledger::{Ending, Ledger};
use super::plan::Plan;
use crate::relay::each_chunk;

/// Small enough that a day fills it.
const ROOM: Room = Room { chunk: 2_000, queue: 6, held: 20_000 };

enum Frame {
    Line(Value),
    Recorded(LaneWatermark),
}

pub struct Journal {
    frames: RefCell<Vec<Frame>>,
    synced: Cell<usize>,
    dice: RefCell<Dice>,
    journaled: RefCell<Option<Arc<Journaled>>>,
}

impl Journal {
    pub fn new(seed: u64) -> Journal {
        let dice = RefCell::new(Dice::new(seed, 16));
        let (frames, synced) = (RefCell::default(), Cell::new(0));
        Journal { frames, synced, dice, journaled: RefCell::default() }
    }

    /// What the shards of a life are given.
    pub fn instruments(&self, shards: usize, lanes: usize) -> Vec<Arc<Instruments>> {
        // A start relies on what it finds.
        self.synced.set(self.frames.borrow().len());
        let known: BTreeMap<u16, Position> = self
            .frames
            .borrow()
            .iter()
            .filter_map(
                |frame| if let Frame::Recorded(of) = frame { Some((of.lane, of.until)) } else { None },
            )
            .collect();
        let journaled = Arc::new(Journaled::new(lanes, |lane| known.get(&lane).copied()));
        *self.journaled.borrow_mut() = Some(journaled.clone());
        Instruments::with_room(shards, &Readers::Journal(journaled), ROOM)
    }

    /// A round of control: what shards passed on, in order. Now and then it is synced, and that is published.
    pub fn take(&self, instruments: &Instruments) -> Vec<Value> {
        let mut lines = Vec::new();
        let mut frames = self.frames.borrow_mut();
        each_chunk(instruments, |chunk, recorded| {
            frames.extend(chunk.iter().cloned().map(Frame::Line));
            lines.extend(chunk);
            frames.extend(recorded.map(Frame::Recorded));
        });
        if self.dice.borrow_mut().chance(0.5) {
            let journaled = self.journaled.borrow();
            for frame in &frames[self.synced.get()..] {
                if let (Frame::Recorded(of), Some(journaled)) = (frame, &*journaled) {
                    journaled.publish(*of);
                }
            }
            self.synced.set(frames.len());
        }
        lines
    }

    /// A power failure leaves what is synced, and some of the rest.
    pub fn lost_power(&self) {
        let mut frames = self.frames.borrow_mut();
        let left = (frames.len() - self.synced.get()) as u64 + 1;
        frames.truncate(self.synced.get() + self.dice.borrow_mut().below(left) as usize);
    }

    /// All that happened to mail that was taken is told, all of it once; what is told again says so.
    pub fn judge(&self, plan: &Plan, ledger: &Ledger) {
        let mut seen = Seen::default();
        for frame in self.frames.borrow().iter() {
            if let Frame::Line(record) = frame {
                seen.read(record).into_iter().for_each(|what| ledger.complain(what));
            }
        }
        let wrong: Vec<String> = seen.missing(plan, ledger);
        wrong.into_iter().for_each(|what| ledger.complain(what));
    }
}

#[derive(Default)]
struct Seen {
    received: BTreeSet<String>,
    told: BTreeSet<String>,
    /// By id and recipient: the ids of events of its end.
    ends: BTreeMap<(String, String), BTreeSet<String>>,
    /// The same: attempts that ended with a deferral.
    deferred: BTreeMap<(String, String), BTreeSet<u64>>,
}

impl Seen {
    fn read(&mut self, record: &Value) -> Option<String> {
        let (id, event) = (record["id"].as_str()?, record["event"].as_str()?);
        let again = record["again"] == true;
        if event == "received" {
            let new = self.received.insert(id.to_owned());
            return (!new && !again).then(|| format!("{id}: received is told twice in the journal"));
        }
        let mut wrong = (!self.received.contains(id))
            .then(|| format!("{id}: the journal tells of it before it was received"));
        for address in record["recipients"].as_array()?.iter().filter_map(Value::as_str) {
            let key = format!("{} {address}", record["event_id"]);
            if !self.told.insert(key.clone()) && !again {
                wrong = wrong.or(Some(format!("{key}: told twice in the journal")));
            }
            let place = (id.to_owned(), address.to_owned());
            if event == "deferred" {
                self.deferred.entry(place).or_default().extend(record["attempts"].as_u64());
            } else {
                self.ends.entry(place).or_default().insert(record["event_id"].to_string());
            }
        }
        wrong
    }

    fn missing(&self, plan: &Plan, ledger: &Ledger) -> Vec<String> {
        let mut wrong = Vec::new();
        for ((id, address), ends) in self.ends.iter().filter(|(_, ends)| ends.len() > 1) {
            wrong.push(format!("{address} of {id} has several ends in the journal: {ends:?}"));
        }
        for ((id, address), attempts) in &self.deferred {
            let last = attempts.last().copied().unwrap_or(0);
            if (1..=last).any(|attempt| !attempts.contains(&attempt)) {
                wrong.push(format!("{address} of {id}: deferrals are missing in the journal: {attempts:?}"));
            }
        }
        let tries = ledger.tries.borrow();
        for one in tries.iter().filter(|one| one.ending.get() == Ending::Taken && plan.rot == 0) {
            let Some(id) = one.id.get().map(|id| id.to_string()) else { continue };
            if !self.received.contains(&id) {
                wrong.push(format!("{id}: received is not in the journal"));
            }
            for recipient in one.recipients.iter().filter(|recipient| recipient.accepted.get()) {
                let Some(ends) = self.ends.get(&(id.clone(), recipient.address.clone())) else {
                    wrong.push(format!("{} of {id}: its end is not in the journal", recipient.address));
                    continue;
                };
                let delivered = ends.iter().any(|end| end.contains("-d"));
                if delivered && !recipient.was_delivered() {
                    wrong.push(format!("{} of {id}: delivered is in the journal only", recipient.address));
                }
            }
        }
        wrong
    }
}

/// When the journal takes nothing: its disk is full, or slow.
pub fn stands_still(plan: &Plan, now: Instant) -> bool {
    plan.journal_stall
        .is_some_and(|(from, to)| (Instant(from * 1_000_000)..Instant(to * 1_000_000)).contains(&now))
}
