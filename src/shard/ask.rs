//! What control asks of a shard, and the bounded queue it asks by: never the one that carries outcomes.
//!
//! An ask is answered a slice at a time by a task of its own (`shard::answer`), one after the other.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use crossbeam::queue::ArrayQueue;

use crate::id::{Location, MessageId};
use crate::limits;
use crate::mail::tls_report::Letter;
use crate::queue::select::{Filter, ScanPosition, Tally, WaitingGroup};
use crate::runtime::Bell;
use crate::shard::inbound::listener::ListenError;
use crate::shard::live::LiveConfig;
use crate::shard::parcel::{NotTaken, Parcel};
use crate::shard::trace::Tracing;
use crate::spool::rebind::Changes;
use crate::time::UnixMillis;
use overview::{SitePage, SitesWanted, Summary};
use why::{DomainWait, SiteShare};

mod meant;
pub mod overview;
pub mod why;

pub use meant::Meant;

/// Who asked is told by this, unless he has gone. The answer is handed over on the shard's thread: that must not wait for anything.
pub struct Reply<T> {
    deliver: Box<dyn FnOnce(T) + Send>,
    wanted: Weak<()>,
}

impl<T> Reply<T> {
    /// A way back that is of use while `asker` lives.
    pub fn new(asker: &Arc<()>, deliver: impl FnOnce(T) + Send + 'static) -> Reply<T> {
        Reply { deliver: Box::new(deliver), wanted: Arc::downgrade(asker) }
    }

    /// Gone with whoever waits for it.
    pub fn asker(&self) -> Weak<()> {
        self.wanted.clone()
    }

    /// Whether somebody still waits for it.
    pub fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }

    /// Answers.
    pub fn answer(self, answer: T) {
        if self.is_wanted() {
            (self.deliver)(answer);
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Reply(wanted: {})", self.is_wanted())
    }
}

/// What is asked.
#[derive(Debug)]
pub enum Ask {
    /// How much of what waits is meant, from there on.
    Count(Arc<Filter>, ScanPosition, Reply<Part>),
    /// A page of at most so many rows.
    List(Arc<Filter>, ScanPosition, usize, Reply<Part>),
    /// What is meant is due now.
    Retry(Arc<Filter>, ScanPosition, Reply<Part>),
    /// What is meant goes back to its sender, with these words.
    Bounce(Arc<Filter>, ScanPosition, Arc<str>, Reply<Part>),
    /// What is meant is held until then, in Unix seconds, with these words.
    Hold(Arc<Filter>, ScanPosition, (u32, Arc<str>), Reply<Part>),
    /// What is meant and held goes on.
    Release(Arc<Filter>, ScanPosition, Reply<Part>),
    /// What is meant has these parameters.
    Rebind(Arc<Filter>, ScanPosition, Arc<Changes>, Reply<Part>),
    /// Where the lanes of this shard have a message of this id.
    Find(MessageId, Reply<Vec<(u16, u32)>>),
    /// What lanes of this shard know of these recipients.
    Details(Vec<StoredRecipients>, Reply<Vec<Result<Detail, Untold>>>),
    /// To prepare a configuration, which may come into force as long as somebody waits for that.
    Prepare(Arc<LiveConfig>, Reply<Result<(), ListenError>>),
    /// Which configuration is in force there.
    Generation(Reply<u64>),
    /// All that a lane of this shard knows of a live message: its key there.
    Show(u16, u32, MessageId, Reply<Result<MessageDetail, Untold>>),
    /// Where the live messages of a lane of this shard lie, and, if that is asked for, what was said last of their recipients.
    Index(u16, Keys, bool, Reply<IndexPage>),
    /// Why the mail of a domain of this shard, in lower case, waits: by each egress that has some.
    Why(Arc<str>, Reply<Vec<DomainWait>>),
    /// What this shard has of a site.
    Share(Arc<str>, Reply<SiteShare>),
    /// Somebody wants to see what sessions say.
    Trace(Arc<Tracing>, Reply<()>),
    /// What was said in attempts of late, made on this shard, that failed for a message.
    Dialogues(MessageId, Reply<Vec<FailedDialogue>>),
    /// To forget what was said in attempts of late where such text is in it, or only to count it: how often it is.
    Forget(Meant, bool, Reply<usize>),
    /// To store a message of the node's own. Why it did not, in words.
    Store(Box<Letter>, Reply<Result<(), Box<str>>>),
    /// To take a message as one of a client is taken: its id, when it is on stable storage.
    Submit(Box<Parcel>, Reply<Result<MessageId, NotTaken>>),
    /// All that waits there, and the sites of it, summed up.
    Summary(Reply<Summary>),
    /// Some of its sites, in the order of their names.
    Sites(SitesWanted, Reply<SitePage>),
}

impl Ask {
    /// Whether it is of a configuration: control waits with all shards until each has heard, and goes before what others ask.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Ask::Prepare(..) | Ask::Generation(_))
    }

    /// Whether it is a part of what was asked before, or of something small, and costs nobody else anything.
    pub fn is_small(&self) -> bool {
        matches!(
            self,
            Ask::Details(..)
                | Ask::Find(..)
                | Ask::Show(..)
                | Ask::Share(..)
                | Ask::Store(..)
                | Ask::Submit(..)
                | Ask::Trace(..)
        ) || matches!(self, Ask::Dialogues(..) | Ask::Forget(..))
            || self.is_urgent()
    }

    /// Whether somebody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        match self {
            Ask::Count(.., reply) | Ask::List(.., reply) | Ask::Retry(.., reply) | Ask::Bounce(.., reply) => {
                reply.is_wanted()
            }
            Ask::Hold(.., reply) | Ask::Release(.., reply) | Ask::Rebind(.., reply) => reply.is_wanted(),
            Ask::Find(_, reply) => reply.is_wanted(),
            Ask::Details(_, reply) => reply.is_wanted(),
            Ask::Show(.., reply) => reply.is_wanted(),
            Ask::Prepare(.., reply) => reply.is_wanted(),
            Ask::Generation(reply) => reply.is_wanted(),
            Ask::Index(.., reply) => reply.is_wanted(),
            Ask::Why(_, reply) => reply.is_wanted(),
            Ask::Share(_, reply) => reply.is_wanted(),
            Ask::Trace(_, reply) => reply.is_wanted(),
            Ask::Dialogues(_, reply) => reply.is_wanted(),
            Ask::Forget(.., reply) => reply.is_wanted(),
            Ask::Store(_, reply) => reply.is_wanted(),
            Ask::Submit(_, reply) => reply.is_wanted(),
            Ask::Summary(reply) => reply.is_wanted(),
            Ask::Sites(_, reply) => reply.is_wanted(),
        }
    }
}

/// A part of an answer.
#[derive(Debug, Default)]
pub struct Part {
    /// Rows of a page.
    pub rows: Vec<Row>,
    /// How much was met, or changed.
    pub tally: Tally,
    /// From where to go on; None: this shard has no more.
    pub next: Option<ScanPosition>,
    /// Not all that was met could be changed: the lanes take no more outcomes now.
    pub starved: bool,
    /// Groups that were returned and whose outcome is not on disk yet.
    pub unwritten: u64,
}

/// Why there is nothing to tell of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untold {
    /// It is settled by now.
    Gone,
    /// Its record cannot be read: its id, and what was said last.
    Unreadable(MessageId, String),
}

/// Which entries of a lane's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// From this one on, as many as an answer has.
    From(u32),
    /// These.
    These(Vec<u32>),
}

/// A part of the index of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexPage {
    /// The messages.
    pub entries: Vec<StoredAt>,
    /// What was said of their recipients, in the order of the messages.
    pub said: Vec<ReplyRange>,
    /// The texts of that.
    pub texts: Vec<String>,
    /// Messages of whose recipients nothing was said, where that is asked for: they are left out.
    pub passed: u32,
    /// From where to go on; None: this was the last part.
    pub next: Option<u32>,
}

/// Where a live message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// Its entry in the index.
    pub key: u32,
    /// The message.
    pub id: MessageId,
    /// The file that has its record, and where in it.
    pub at: (u16, u32),
    /// Where it lay when it was handed out: what queues call it by.
    pub told: (u16, u32),
}

/// Recipients of a message who heard the same last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyRange {
    /// The message's place among those told.
    pub entry: u32,
    /// The first ordinal.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// The text's place among those told.
    pub text: u32,
}

/// A group that waits, with times of the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The group, and what the queue knows of it.
    pub seen: WaitingGroup,
    /// When it is tried next, where it waits for that.
    pub next: Option<UnixMillis>,
    /// When its site is tried next, where that failed.
    pub closed_until: Option<UnixMillis>,
    /// When it is given up.
    pub expiry: UnixMillis,
    /// When this was, seconds of the queues' clock.
    pub now: u32,
}

/// Some recipients of a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecipients {
    /// Where the record lay when it was handed out.
    pub location: Location,
    /// The message's entry in the index of its lane.
    pub key: u32,
    /// The first ordinal.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// What the lane knows of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The message.
    pub id: MessageId,
    /// Its sender.
    pub sender: String,
    /// When it came.
    pub arrival: UnixMillis,
    /// How long it lives, seconds.
    pub lives: u32,
    /// Its size.
    pub size: u64,
    /// The tenant, campaign and pool of the first of these recipients.
    pub whose: [String; 3],
    /// The first few of these recipients.
    pub recipients: Vec<String>,
    /// What was said last about the first of them.
    pub reply: String,
    /// Who holds that, and why: in words.
    pub hold: Option<String>,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageDetail {
    /// What is told in each row.
    pub detail: Detail,
    /// What it was called first, at another node.
    pub origin: Option<String>,
    /// When it is given up.
    pub expiry: UnixMillis,
    /// Recipients it came with.
    pub recipients: u16,
    /// Those that are not settled, as many as a page has rows.
    pub live: Vec<UnsettledRecipient>,
    /// How many these are.
    pub left: u32,
}

/// What was said in an attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDialogue {
    /// The first recipient that it was of.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// When it ended.
    pub at: UnixMillis,
    /// With whom.
    pub hop: String,
    /// Line by line.
    pub lines: Vec<String>,
}

/// A recipient that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsettledRecipient {
    /// Which of the message's it is.
    pub ordinal: u16,
    /// Its address.
    pub address: String,
    /// Attempts so far.
    pub attempts: u16,
    /// Not before this time, as the spool has it; 0: it was never tried.
    pub next: u32,
    /// What was said last.
    pub reply: String,
    /// Who holds it, and why: in words. Until `next`.
    pub hold: Option<String>,
}

/// The asks of all shards.
#[derive(Debug)]
pub struct Asks(Vec<Queues>);

/// Those of one shard.
#[derive(Debug)]
struct Queues {
    /// See [`Ask::is_urgent`].
    urgent: ArrayQueue<Ask>,
    others: ArrayQueue<Ask>,
    bell: Arc<Bell>,
}

impl Queues {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.others.is_empty()
    }

    fn pop(&self) -> Option<Ask> {
        self.urgent.pop().or_else(|| self.others.pop())
    }
}

impl Asks {
    /// Queues of shards that have these bells.
    pub fn new(bells: &[Arc<Bell>]) -> Asks {
        let queue = || ArrayQueue::new(limits::ASKS_MAX);
        let queues = |bell: &Arc<Bell>| Queues { urgent: queue(), others: queue(), bell: bell.clone() };
        Asks(bells.iter().map(queues).collect())
    }

    /// Asks a shard, or gives it back: too much is asked already.
    pub fn ask(&self, shard: usize, ask: Ask) -> Result<(), Ask> {
        let Some(queues) = self.0.get(shard) else { return Err(ask) };
        let queue = if ask.is_urgent() { &queues.urgent } else { &queues.others };
        queue.push(ask)?;
        queues.bell.ring();
        Ok(())
    }

    /// Whether a configuration waits for a shard to hear of it: what is being answered makes haste.
    pub fn is_urgent(&self, shard: usize) -> bool {
        self.0.get(shard).is_some_and(|queues| !queues.urgent.is_empty())
    }

    fn queues(&self, shard: usize) -> &Queues {
        &self.0[shard]
    }
}

/// Where the task that answers waits for the next ask.
#[derive(Debug, Default)]
pub struct Answering(RefCell<Option<Waker>>);

impl Answering {
    /// Looks whether something is asked: the bell rang.
    pub fn listen(&self, asks: &Asks, own: usize) {
        if !asks.queues(own).is_empty()
            && let Some(waker) = self.0.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// The next ask.
    pub async fn next(&self, asks: &Asks, own: usize) -> Ask {
        poll_fn(|context| match asks.queues(own).pop() {
            Some(ask) => Poll::Ready(ask),
            None => {
                *self.0.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_has_its_bound_and_who_has_gone_is_not_told() {
        let asks = Asks::new(&[Arc::new(Bell::new())]);
        let (told, asker) = (Arc::new(crossbeam::queue::SegQueue::new()), Arc::new(()));
        let ask = |asker: &Arc<()>| {
            let told = told.clone();
            Ask::Count(
                Arc::default(),
                ScanPosition::default(),
                Reply::new(asker, move |part: Part| told.push(part.tally)),
            )
        };
        for _ in 0..limits::ASKS_MAX {
            asks.ask(0, ask(&asker)).unwrap();
        }
        assert!(asks.ask(0, ask(&asker)).is_err(), "it is given back");
        assert!(asks.ask(1, ask(&asker)).is_err(), "there is no such shard");
        let next = |asks: &Asks| asks.queues(0).pop().unwrap();
        let Ask::Count(.., reply) = next(&asks) else { panic!("it was a count") };
        reply.answer(Part::default());
        assert_eq!(told.len(), 1);
        assert!(!asks.is_urgent(0));
        asks.ask(0, Ask::Generation(Reply::new(&asker, |_| ()))).unwrap();
        assert!(asks.is_urgent(0) && !asks.is_urgent(1) && !asks.is_urgent(2), "of a full queue too");
        assert!(matches!(next(&asks), Ask::Generation(_)), "before what came before it");
        drop(asker);
        let late = next(&asks);
        assert!(!late.is_wanted());
        let Ask::Count(.., reply) = late else { panic!("it was a count") };
        reply.answer(Part::default());
        assert_eq!(told.len(), 1);
    }
}
