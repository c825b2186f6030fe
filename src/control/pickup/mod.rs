//! The thread that takes mail out of a directory which programs of this machine drop it into, as PowerMTA's pickup does (`mail::pickup`).
//!
//! A round takes some files: each is moved aside (`places`), read, handed to a shard as a parcel, and removed when that says that its message
//! is on disk. The directories are synced before the next round, so no more than a round's files are sent twice after a kill. What a file
//! is like is the state of its message: nothing is kept in memory.

mod places;

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::config::{Duties, PickupConfig};
use crate::control::health::Health;
use crate::control::say::say;
use crate::control::thread::Turn;
use crate::id::MessageId;
use crate::limits;
use crate::mail::pickup::batch::{self, Batch};
use crate::mail::pickup::{self, Picked};
use crate::mail::trace;
use crate::observe::diagnostics::Level;
use crate::observe::families::{Family, FamilyInfo};
use crate::observe::repeat::Repeat;
use crate::runtime::process;
use crate::shard::ask::{Ask, Reply};
use crate::shard::mesh::Mesh;
use crate::shard::parcel::{NotTaken, Parcel};
use crate::smtp::server::NotStored;
use places::{Look, Opened, Place, Places};

/// What came of files.
pub(super) const PICKED: FamilyInfo = FamilyInfo {
    name: "pickup_files",
    help: "Files in the directory of [pickup], by what came of it; deferred: refused for now, and tried again; again: being taken when the relay ended, so that it may be sent twice; split: of SMTP commands, taken apart into one a message",
    label: "result",
    values: &["taken", "deferred", "bad", "again", "split"],
};

/// The places of these values.
#[derive(Clone, Copy)]
enum Count {
    Taken,
    Deferred,
    Bad,
    Again,
    Split,
}

/// What the thread is given.
pub(super) struct Source {
    /// `[pickup]`
    pub config: PickupConfig,
    /// The way to the shards.
    pub mesh: Arc<Mesh>,
    /// Whether mail is taken at all.
    pub health: Arc<Health>,
    /// What came of files.
    pub counts: Arc<Family>,
}

/// Takes files until it is over.
pub(super) fn run(source: Source, turn: &Turn) {
    let mut clerk = Clerk::new(source, turn);
    while !turn.is_over() {
        let wait = if clerk.source.health.is_open() { clerk.look() } else { limits::PICKUP_LOOK };
        turn.pause(wait);
    }
}

/// The answer of a shard, on its way.
type Answer = Receiver<Result<MessageId, NotTaken>>;

/// A file whose message a shard has.
struct Sent {
    name: OsString,
    answer: Answer,
    /// Gone with this: then nobody waits for the answer.
    _asker: Arc<()>,
}

/// Why no more is taken now: in words.
struct Closed(String);

/// Who does all that.
struct Clerk<'a> {
    source: Source,
    turn: &'a Turn,
    clock: Box<dyn Fn() -> Duration>,
    places: Option<Places>,
    /// The shard that has the next one.
    next: usize,
    /// When those are tried again that were refused for now.
    later: Duration,
    /// The directory cannot be used, or the node takes nothing.
    trouble: Repeat,
    /// Files that are bad, or refused for now.
    refused: Repeat,
}

impl<'a> Clerk<'a> {
    fn new(source: Source, turn: &'a Turn) -> Clerk<'a> {
        let clock = Box::new(turn.clock());
        let (trouble, refused) = (Repeat::default(), Repeat::default());
        Clerk { source, turn, clock, places: None, next: 0, later: Duration::ZERO, trouble, refused }
    }

    /// Takes what is there. How long to wait before the next look.
    fn look(&mut self) -> Duration {
        let places = self.places.take().filter(Places::are_there);
        let taken = match places.map_or_else(|| self.open(), Ok) {
            Ok(places) => {
                let taken = self.all(&places);
                self.places = Some(places);
                taken
            }
            Err(error) => Err(Closed(error.to_string())),
        };
        let now = (self.clock)();
        let at = self.source.config.directory.display();
        match taken {
            Err(Closed(why)) => {
                if self.trouble.lasts(now) {
                    say(
                        Level::Warning,
                        format_args!("pickup: nothing is taken from {at} now, files wait there: {why}"),
                    );
                }
                limits::PICKUP_REST
            }
            Ok(()) => {
                if self.trouble.ended(now).is_some() {
                    say(Level::Info, format_args!("pickup: files are taken from {at} again"));
                }
                limits::PICKUP_LOOK
            }
        }
    }

    /// Opens the directories. What lies among those that are being taken is there since the relay ended.
    fn open(&mut self) -> io::Result<Places> {
        let places = Places::open(&self.source.config)?;
        places.end_splits()?;
        let mut left = 0;
        for name in places.names(Place::Taken)? {
            places.put_off(&name)?;
            left += 1;
        }
        if left > 0 {
            self.source.counts.add(Count::Again as usize, left);
            say(
                Level::Warning,
                format_args!(
                    "pickup: {left} files were being taken when the relay ended, and are taken again: their mail may be sent twice"
                ),
            );
        }
        self.later = Duration::ZERO;
        Ok(places)
    }

    fn all(&mut self, places: &Places) -> Result<(), Closed> {
        if (self.clock)() >= self.later {
            // Unless one of them is taken apart meanwhile.
            let before = std::mem::replace(&mut self.later, (self.clock)() + limits::PICKUP_LATER);
            if let Err(closed) = self.from(places, Place::Later) {
                self.later = before;
                return Err(closed);
            }
        }
        self.from(places, Place::Dropped)
    }

    /// Takes all of one place, a round after the other.
    fn from(&mut self, places: &Places, place: Place) -> Result<(), Closed> {
        let told = |error: io::Error| Closed(error.to_string());
        // Those that were put off meanwhile are not met again and again.
        let most = if place == Place::Later { self.waiting(places).map_err(told)? } else { usize::MAX };
        let mut names = places.names(place).map_err(told)?.take(most).peekable();
        while names.peek().is_some() && !self.turn.is_over() {
            self.round(places, &mut names, place)?;
        }
        Ok(())
    }

    fn waiting(&self, places: &Places) -> io::Result<usize> {
        Ok(places.names(Place::Later)?.count())
    }

    /// Takes as many files as may be under way at one time.
    fn round(
        &mut self,
        places: &Places,
        names: &mut dyn Iterator<Item = OsString>,
        place: Place,
    ) -> Result<(), Closed> {
        let (mut bytes, mut sent) = (0, Vec::new());
        while sent.len() < limits::PICKUP_AT_ONCE && bytes < limits::PICKUP_MEMORY && !self.turn.is_over() {
            let Some(name) = names.next() else { break };
            match places.look(&name, place) {
                Look::Ready(size) => {
                    bytes += size.min(self.source.config.message_size_max);
                    match self.begin(places, &name, place) {
                        Ok(one) => sent.extend(one),
                        Err(error) => self.left(&name, &error),
                    }
                }
                Look::Odd(what) => {
                    let words = format!("it is {what}; files alone are taken");
                    self.put_aside(places, &name, place, &words);
                }
                Look::Young | Look::Other => {}
            }
        }
        let mut closed = Ok(());
        let moved = !sent.is_empty();
        for one in sent {
            if let Err(why) = self.end(places, one) {
                closed = Err(why);
            }
        }
        if moved {
            places.sync().map_err(|error| Closed(error.to_string()))?;
        }
        closed
    }

    /// Moves one aside, reads it and hands it on. None: that was its end, or it stays where it is.
    fn begin(&mut self, places: &Places, name: &OsString, place: Place) -> io::Result<Option<Sent>> {
        places.take(name, place)?;
        let opened = places.read(name, self.source.config.message_size_max);
        let words = match opened {
            Ok(Opened::Whole(text)) if pickup::is_batch(&text) => match batch::read(&text) {
                Ok(batch) => return self.split(places, name, &batch).map(|()| None),
                Err(flaw) => flaw.to_string(),
            },
            Ok(Opened::Whole(text)) => match pickup::read(&text) {
                Ok(picked) => {
                    let sent = self.hand_on(name, picked);
                    return if sent.is_some() { Ok(sent) } else { places.give_back(name).map(|()| None) };
                }
                Err(flaw) => flaw.to_string(),
            },
            Ok(Opened::Written) => return places.give_back(name).map(|()| None),
            Ok(Opened::Odd(words)) => words,
            Err(error) => format!("it cannot be read: {error}; the user of this relay must be able to"),
        };
        self.put_aside(places, name, Place::Taken, &words);
        Ok(None)
    }

    /// One with commands of SMTP in it becomes as many files as it has messages, which are taken in the next round.
    fn split(&mut self, places: &Places, name: &OsString, batch: &Batch) -> io::Result<()> {
        let mut date = Vec::new();
        trace::write_date(&mut date, process::wall());
        let mut number = 0;
        let mut made = Ok(());
        for file in batch.files(&String::from_utf8_lossy(&date)) {
            let Some(file) = file else {
                places.forget_split(name, number)?;
                let most = limits::MERGE_MESSAGE_MAX;
                let words = format!(
                    "a message of it would have more than {most} bytes; nothing of the file was sent"
                );
                self.put_aside(places, name, Place::Taken, &words);
                return Ok(());
            };
            made = places.split(name, number, &file);
            if made.is_err() {
                break;
            }
            number += 1;
        }
        if let Err(error) = made.and_then(|()| places.is_split(name, number)) {
            // It is made anew, over what there is of it.
            self.tell(name, &format!("cannot be taken apart, and is tried again: {error}"));
            return places.put_off(name);
        }
        self.source.counts.add(Count::Split as usize, 1);
        self.later = Duration::ZERO;
        Ok(())
    }

    /// Gives its message to a shard. None: the node stops, and nobody has it.
    fn hand_on(&mut self, name: &OsString, picked: Picked) -> Option<Sent> {
        let Picked { sender, recipients, message } = picked;
        let config = &self.source.config;
        let parcel = Parcel {
            sender,
            recipients,
            account: config.account.as_deref().map(Box::from),
            message,
            size_max: config.message_size_max,
            duties: Duties::SUBMISSION,
            by: "pickup",
            client: None,
            parameters: None,
            tenant: None,
        };
        let (tell, answer) = channel();
        let asker = Arc::new(());
        let reply = Reply::new(&asker, move |taken| drop(tell.send(taken)));
        let mut ask = Ask::Submit(Box::new(parcel), reply);
        let shard = self.next % self.source.mesh.shards().max(1);
        self.next = shard + 1;
        while let Err(back) = self.source.mesh.asks().ask(shard, ask) {
            // It is asked too much: its turn comes.
            if self.turn.is_over() {
                return None;
            }
            self.turn.pause(limits::PICKUP_WAIT);
            ask = back;
        }
        Some(Sent { name: name.clone(), answer, _asker: asker })
    }

    /// Waits for what becomes of one, and does with its file what follows from it.
    fn end(&mut self, places: &Places, sent: Sent) -> Result<(), Closed> {
        let Sent { name, answer, _asker } = sent;
        let moved = match self.wait(&answer) {
            // Whether it is on disk is not known: it is there at the next start, or tried later.
            None if self.turn.is_over() => return Ok(()),
            None => places.put_off(&name),
            Some(Ok(_)) => {
                self.source.counts.add(Count::Taken as usize, 1);
                places.remove(&name)
            }
            Some(Err(NotTaken::Refused(reply))) if reply.starts_with('5') => {
                self.put_aside(places, &name, Place::Taken, reply.trim_end());
                return Ok(());
            }
            Some(Err(NotTaken::Refused(reply))) => {
                self.source.counts.add(Count::Deferred as usize, 1);
                self.tell(&name, &format!("is refused for now, and tried again: {}", reply.trim_end()));
                places.put_off(&name)
            }
            // That may be about this message alone.
            Some(Err(NotTaken::NotStored(why @ NotStored::Unsigned))) => {
                self.source.counts.add(Count::Deferred as usize, 1);
                self.tell(&name, &format!("is not taken now, and tried again: {}", why.words().trim_end()));
                places.put_off(&name)
            }
            Some(Err(why)) => {
                places.give_back(&name).map_err(|error| Closed(error.to_string()))?;
                return Err(Closed(why.reply().trim_end().to_owned()));
            }
        };
        moved.map_err(|error| Closed(format!("{}: {error}", shown(&name))))
    }

    fn wait(&self, answer: &Answer) -> Option<Result<MessageId, NotTaken>> {
        loop {
            match answer.recv_timeout(limits::PICKUP_LOOK) {
                Ok(taken) => return Some(taken),
                Err(RecvTimeoutError::Timeout) if self.turn.is_late() && self.turn.is_over() => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// It is put aside for good.
    fn put_aside(&mut self, places: &Places, name: &OsString, place: Place, words: &str) {
        match places.put_aside(name, place, words) {
            Ok(()) => {
                self.source.counts.add(Count::Bad as usize, 1);
                self.tell(name, &format!("is put aside: {words}"));
            }
            Err(error) => self.tell(name, &format!("cannot be put aside ({error}), and stays: {words}")),
        }
    }

    /// It cannot be taken, and stays where it is.
    fn left(&mut self, name: &OsString, error: &io::Error) {
        // Another one of its name is being taken, or somebody took it away.
        if !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) {
            self.tell(name, &format!("cannot be moved, and stays where it is: {error}"));
        }
    }

    fn tell(&mut self, name: &OsStr, words: &str) {
        if let Some(left_out) = self.refused.happened((self.clock)()) {
            let more = if left_out > 0 {
                format!(" ({left_out} more since such a thing was said)")
            } else {
                String::new()
            };
            say(Level::Warning, format_args!("pickup: {} {words}{more}", shown(name)));
        }
    }
}

/// A name that a program chose, as a line may have it.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy().chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
