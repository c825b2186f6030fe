//! How attempts end: what the home shard of a domain tells the shard whose lane has the message, and what that writes down.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::id::Location;
use crate::mail::classify::Class;
use crate::names::ends::End;
use crate::smtp::client::Verdict;
use crate::smtp::reply::Reply;

/// What became of a recipient: the one list of it. `D` says more of one that is tried again, `R` of one that is returned to its
/// sender; who carries it further carries less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition<D, R> {
    /// The next hop took it.
    Delivered,
    /// It is tried again.
    Deferred(D),
    /// It was refused for good, and goes back to its sender if one is to be told.
    Bounced(R),
    /// It was given up for age; the same holds for its sender.
    Expired(R),
    /// It ended here, without a next hop.
    Local(End),
    /// An operator holds it, or lets it go: it waits.
    Held(Box<Hold>),
}

/// What an attempt brought, between shards.
pub type Ended = Disposition<Deferral, Box<Failure>>;

/// What a record says; of one that is returned what the reply was about, as far as that is known. The notification of it, if its sender is to be
/// told, stands before it.
pub type Stored = Disposition<StoredDeferral, Option<Class>>;

/// A recipient that is tried again, between shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// Attempts so far.
    pub attempts: u16,
    /// When, in seconds of the queues' clock.
    pub next: u32,
    /// The last reply or error.
    pub reply: Box<str>,
    /// The hop never said that.
    pub ours: bool,
}

/// The same in a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredDeferral {
    /// Attempts so far.
    pub attempts: u16,
    /// When, in Unix seconds.
    pub next: u32,
    /// The last reply or error.
    pub reply: Box<str>,
    /// With this one it was told that it is late. Those that follow need not say so again.
    pub late: bool,
}

impl StoredDeferral {
    /// The last reply or error with a code in front, as it was told first: our own words are stored without.
    pub fn described(&self) -> Cow<'_, str> {
        if self.is_ours() { Cow::Owned(format!("451 {}", self.reply)) } else { Cow::Borrowed(&self.reply) }
    }

    /// No hop said it.
    pub fn is_ours(&self) -> bool {
        is_ours(&self.reply)
    }
}

/// Whether no hop said what is stored of a deferral.
pub fn is_ours(reply: &str) -> bool {
    reply.len() < 3 || !reply.bytes().take(3).all(|byte| byte.is_ascii_digit())
}

/// What an operator wants with recipients that wait: to hold them, or to let them go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Until when, in Unix seconds; [`NO_END`]; 0: not any more.
    pub until: u32,
    /// Who, and why: one line.
    pub words: Box<str>,
    /// Attempts before that. Said where all that is live is listed; an outcome leaves it as it was.
    pub attempts: u16,
    /// The last reply before that; the same holds.
    pub reply: Box<str>,
    /// It was told that they are late; the same holds.
    pub late: bool,
    /// For whoever waits until it is on disk.
    pub receipt: Option<Receipt>,
}

/// Until when mail is held of which an operator did not say it.
pub const NO_END: u32 = u32::MAX;

impl Hold {
    /// What stands between its words and the last reply, where both are one text: neither has any of it in its line.
    pub const BETWEEN: char = '\n';

    /// Holds until then, with these words.
    pub fn new(until: u32, words: &str) -> Hold {
        let words = words.chars().filter(|letter| !letter.is_control()).collect::<String>().into();
        Hold { until, words, ..Hold::default() }
    }

    /// Both as one text.
    pub fn text(&self) -> String {
        format!("{}{}{}", self.words, Hold::BETWEEN, self.reply)
    }

    /// The words and the last reply that [`Hold::text`] made one of.
    pub fn parts(text: &str) -> (&str, &str) {
        text.split_once(Hold::BETWEEN).unwrap_or((text, ""))
    }

    /// What holds of recipients of whom that was known before: attempts, the last reply, and whether it was told that they are late.
    pub fn onto(&self, (attempts, reply, late): (u16, &str, bool)) -> Stored {
        let reply = reply.into();
        match self.until {
            0 => Stored::Deferred(StoredDeferral { attempts, next: 0, reply, late }),
            _ => Stored::Held(Box::new(Hold { attempts, reply, late, receipt: None, ..self.clone() })),
        }
    }

    fn read(of: StoredDeferral) -> Hold {
        let (words, reply) = Hold::parts(&of.reply);
        let (words, reply) = (words.into(), reply.into());
        Hold { until: of.next, words, attempts: of.attempts, reply, late: of.late, receipt: None }
    }
}

/// Why a recipient is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// RFC 3463 code, if it says more than the diagnostic does.
    pub status: Option<(u8, u16, u16)>,
    /// The next hop that said so, if one did.
    pub remote: Option<String>,
    /// Its reply, or our own words.
    pub diagnostic: String,
    /// What that is about, once somebody judged it.
    pub class: Option<Class>,
    /// The record of the accounting, which waits for the id of the notification.
    pub record: Vec<u8>,
    /// For whoever waits until it is on disk.
    pub receipt: Option<Receipt>,
    /// It was ended here, without an attempt: by the operator, or by a rule that returns mail.
    pub unattempted: bool,
    /// Attempts, and milliseconds since it came: of what was given up for age the shard of the lane tells, which knows the last reply to it.
    pub late: Option<(u16, u64)>,
}

impl Failure {
    /// The same without an attempt that came before it.
    pub fn unattempted(status: (u8, u16, u16), diagnostic: String) -> Box<Failure> {
        let mut failure = Failure::ours(status, diagnostic);
        failure.unattempted = true;
        failure
    }

    /// In our own words: no hop said so.
    pub fn ours(status: (u8, u16, u16), diagnostic: String) -> Box<Failure> {
        Box::new(Failure {
            status: Some(status),
            remote: None,
            diagnostic,
            class: None,
            record: Vec::new(),
            receipt: None,
            unattempted: false,
            late: None,
        })
    }
}

/// The number of those that an operator holds: no end has it.
pub(crate) const HELD: u8 = 7;

impl<D, R> Disposition<D, R> {
    /// What is known of it if it is tried again; None: this is its end.
    pub fn deferral(&self) -> Option<&D> {
        match self {
            Disposition::Deferred(deferral) => Some(deferral),
            _ => None,
        }
    }

    /// What is known of it if it is returned.
    pub fn returned(&self) -> Option<&R> {
        match self {
            Disposition::Bounced(why) | Disposition::Expired(why) => Some(why),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn returned_mut(&mut self) -> Option<&mut R> {
        match self {
            Disposition::Bounced(why) | Disposition::Expired(why) => Some(why),
            _ => None,
        }
    }

    /// Its name, as commands tell it.
    pub fn name(&self) -> &'static str {
        match self {
            Disposition::Delivered => "delivered",
            Disposition::Bounced(_) => "bounced",
            Disposition::Expired(_) => "expired",
            Disposition::Deferred(_) => "deferred",
            Disposition::Local(end) => end.word(),
            Disposition::Held(_) => "held",
        }
    }

    /// Whether nothing is left to be done for it.
    pub fn is_end(&self) -> bool {
        !matches!(self, Disposition::Deferred(_) | Disposition::Held(_))
    }

    /// Its number in a record (docs/record-format.md).
    pub fn code(&self) -> u8 {
        match self {
            Disposition::Delivered => 1,
            Disposition::Bounced(_) => 2,
            Disposition::Expired(_) => 3,
            Disposition::Deferred(_) => 4,
            Disposition::Local(end) => end.code(),
            Disposition::Held(_) => HELD,
        }
    }
}

impl Stored {
    /// What a record with this number says; `deferral` reads what stands behind it. None: no version knows the number, or what it says of
    /// a deferral cannot be read.
    pub fn of_code(
        code: u8,
        class: Option<Class>,
        deferral: impl FnOnce() -> StoredDeferral,
    ) -> Option<Stored> {
        Some(match code {
            1 => Disposition::Delivered,
            2 => Disposition::Bounced(class),
            3 => Disposition::Expired(class),
            4 => Disposition::Deferred(deferral()),
            HELD => Disposition::Held(Box::new(Hold::read(deferral()))),
            other => Disposition::Local(End::of_code(other)?),
        })
    }
}

impl Ended {
    /// What a verdict on a recipient and the reply that decided it mean for the queue. `again`: attempts so far, and when the next
    /// one is.
    pub fn of_verdict(
        verdict: &Verdict,
        reply: &Reply,
        hop: &str,
        again: impl FnOnce() -> (u16, u32),
    ) -> Ended {
        match verdict {
            Verdict::Delivered(_) => Disposition::Delivered,
            Verdict::Deferred(_) | Verdict::Later(_) => {
                let (attempts, next) = again();
                let (reply, ours) = (reply.describe().into(), reply.ours);
                Disposition::Deferred(Deferral { attempts, next, reply, ours })
            }
            Verdict::Failed(_) => Disposition::Bounced(Box::new(Failure {
                status: reply.enhanced,
                // RFC 3464 2.3.5: a host that said nothing of it is not reported.
                remote: (!reply.ours).then(|| hop.to_owned()),
                diagnostic: reply.describe(),
                class: None,
                record: Vec::new(),
                receipt: None,
                unattempted: false,
                late: None,
            })),
        }
    }

    /// What is told of it: the words, and how many attempts that makes when `before` were made. `taken`: what the hop said that took it.
    pub fn told<'a>(&'a self, taken: &'a str, before: u16) -> (&'a str, u16) {
        match self {
            Disposition::Delivered => (taken, before.saturating_add(1)),
            Disposition::Deferred(deferral) => (&deferral.reply, deferral.attempts),
            Disposition::Bounced(failure) => {
                (&failure.diagnostic, before.saturating_add(u16::from(!failure.unattempted)))
            }
            Disposition::Expired(failure) => (&failure.diagnostic, before),
            Disposition::Local(_) | Disposition::Held(_) => (taken, before),
        }
    }
}

/// How an attempt ended for a range of recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeOutcome {
    /// First recipient ordinal.
    pub first: u16,
    /// Recipients.
    pub count: u16,
    /// When they are tried again, if they are, in Unix seconds: for the record and for the event, which has its id by it. 0 until that is
    /// told. It stands here as there is room for it: in [`Deferral`] it would make each message between shards larger.
    pub due: u32,
    /// What became of them.
    pub disposition: Ended,
}

const _: () = assert!(size_of::<Settled>() <= 48, "one for each attempt goes between shards");

/// Words of our own without the code in front of them.
pub fn without_code(reply: &str) -> &str {
    reply.split_once(' ').map_or(reply, |(_, words)| words)
}

impl RangeOutcome {
    /// Of this many recipients from this one on.
    pub fn new(first: u16, count: u16, disposition: Ended) -> RangeOutcome {
        RangeOutcome { first, count, due: 0, disposition }
    }

    /// What is written down of them.
    pub fn stored(&self) -> Stored {
        match &self.disposition {
            Disposition::Delivered => Disposition::Delivered,
            Disposition::Deferred(Deferral { attempts, reply, ours, .. }) => {
                // Whoever gives up on it tells a hop's words from ours by the code.
                let reply = if *ours { without_code(reply) } else { reply };
                let (attempts, next, reply) = (*attempts, self.due, reply.into());
                Disposition::Deferred(StoredDeferral { attempts, next, reply, late: false })
            }
            Disposition::Bounced(failure) => Disposition::Bounced(failure.class),
            Disposition::Expired(failure) => Disposition::Expired(failure.class),
            Disposition::Local(end) => Disposition::Local(*end),
            Disposition::Held(hold) => {
                Disposition::Held(Box::new(Hold { receipt: None, ..Hold::clone(hold) }))
            }
        }
    }
}

/// Outcomes of one attempt; most attempts have one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcomes {
    /// One range.
    One(RangeOutcome),
    /// Several.
    Many(Box<[RangeOutcome]>),
    /// Some, of which the sender may have to be told though nobody is returned.
    Told(Box<ToldOutcomes>),
}

/// Outcomes, and what there is to be told of them beside failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldOutcomes {
    /// All of them.
    pub ranges: Vec<RangeOutcome>,
    /// What is told, in the order of the recipients.
    pub news: Vec<News>,
}

/// What a sender may be told of some recipients of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// First recipient ordinal.
    pub first: u16,
    /// Recipients.
    pub count: u16,
    /// What.
    pub what: Tidings,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tidings {
    /// A hop took them, and will not tell.
    Taken {
        /// It was the last one: a mail store.
        delivered: bool,
        /// Which.
        hop: Box<str>,
        /// What it said.
        reply: Box<str>,
    },
    /// They have waited for so long that it is told.
    Late,
}

impl Outcomes {
    /// The ranges.
    pub fn ranges(&self) -> &[RangeOutcome] {
        match self {
            Outcomes::One(one) => std::slice::from_ref(one),
            Outcomes::Many(many) => many,
            Outcomes::Told(told) => &told.ranges,
        }
    }

    /// What there is to be told beside failures.
    pub fn news(&self) -> &[News] {
        match self {
            Outcomes::One(_) | Outcomes::Many(_) => &[],
            Outcomes::Told(told) => &told.news,
        }
    }

    /// The same outcomes with this to be told of them.
    pub fn with_news(self, news: Vec<News>) -> Outcomes {
        if news.is_empty() && !matches!(self, Outcomes::Told(_)) {
            return self;
        }
        let ranges = match self {
            Outcomes::One(one) => vec![one],
            Outcomes::Many(many) => many.into_vec(),
            Outcomes::Told(told) => told.ranges,
        };
        Outcomes::Told(Box::new(ToldOutcomes { ranges, news }))
    }

    /// The ranges, to be changed.
    pub fn ranges_mut(&mut self) -> &mut [RangeOutcome] {
        match self {
            Outcomes::One(one) => std::slice::from_mut(one),
            Outcomes::Many(many) => many,
            Outcomes::Told(told) => &mut told.ranges,
        }
    }
}

/// From a home shard to the shard of the lane: an attempt ended. Carries the attempt's credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The home shard, which gets the credit back.
    pub home: u16,
    /// Where the message record lay when the message was handed out.
    pub location: Location,
    /// The message's entry in its lane's index.
    pub key: u32,
    /// How it ended.
    pub outcomes: Outcomes,
}

/// How many outcomes of those that somebody waits for are on disk. Given to each of them.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<AtomicUsize>);

impl Receipt {
    /// One more is.
    pub fn written(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// How many are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl PartialEq for Receipt {
    fn eq(&self, other: &Receipt) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Receipt {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::client::local;

    fn ended() -> [Ended; 5] {
        let deferral = Deferral { attempts: 3, next: 70, reply: "451 4.4.1 no route".into(), ours: false };
        let failure = || Failure::ours((5, 1, 1), "no such user".to_owned());
        let ended_here = Failure::unattempted((5, 7, 1), "ended".to_owned());
        assert_eq!(Disposition::Bounced(failure()).told("", 1).1, 2);
        assert_eq!(Disposition::Bounced(ended_here).told("", 1).1, 1, "only attempts count");
        [
            Disposition::Delivered,
            Disposition::Bounced(failure()),
            Disposition::Expired(failure()),
            Disposition::Deferred(deferral),
            Disposition::Local(End::Discarded),
        ]
    }

    /// The numbers are those on the disk: they never change, and no other one is read.
    #[test]
    fn each_disposition_has_its_number_for_ever() {
        let deferral =
            || StoredDeferral { attempts: 3, next: 1070, reply: "451 4.4.1 no route".into(), late: false };
        let ends = End::ALL.map(|end| (Disposition::Local(end), end.code()));
        for (one, code) in ended().into_iter().zip(1..).chain(ends) {
            let one = RangeOutcome { due: 1070, ..RangeOutcome::new(0, 1, one) };
            let stored = one.stored();
            assert_eq!((one.disposition.code(), stored.code()), (code, code));
            assert_eq!(Stored::of_code(code, None, deferral), Some(stored));
        }
        let held = Stored::Held(Box::new(Hold::read(deferral())));
        assert_eq!((held.code(), Stored::of_code(7, None, deferral)), (7, Some(held)));
        assert_eq!(End::of_code(HELD), None);
        let known = |code: &u8| (1..=4).contains(code) || *code == HELD || End::of_code(*code).is_some();
        for code in (0..=u8::MAX).filter(|code| !known(code)) {
            assert_eq!(Stored::of_code(code, None, deferral), None, "{code}");
        }
    }

    #[test]
    fn what_is_returned_or_tried_again_says_so() {
        let said = ended().map(|one| (one.deferral().is_some(), one.returned().is_some()));
        assert_eq!(said, [(false, false), (false, true), (false, true), (true, false), (false, false)]);
    }

    #[test]
    fn what_is_held_keeps_what_was_known_of_it() {
        let hold = Hold::new(9000, "by user 0:\r\n the list is bad");
        assert_eq!(&*hold.words, "by user 0: the list is bad");
        let Stored::Held(held) = hold.onto((3, "451 later", true)) else { panic!("it is held") };
        assert_eq!(held.text(), "by user 0: the list is bad\n451 later");
        assert_eq!(Hold::parts(&held.text()), ("by user 0: the list is bad", "451 later"));
        let said = StoredDeferral { attempts: 3, next: 9000, reply: held.text().into(), late: true };
        assert_eq!(Hold::read(said), *held);
        let released = Hold::default().onto((held.attempts, &held.reply, held.late));
        let deferred = StoredDeferral { attempts: 3, next: 0, reply: "451 later".into(), late: true };
        assert_eq!(released, Stored::Deferred(deferred));
    }

    #[test]
    fn our_own_words_are_stored_without_a_code() {
        for (reply, ours, words) in [
            ("451 4.4.1 no route", false, "451 4.4.1 no route"),
            ("451 4.4.1 no route", true, "4.4.1 no route"),
            ("451", true, "451"),
        ] {
            let one = Ended::Deferred(Deferral { attempts: 1, next: 0, reply: reply.into(), ours });
            let stored = RangeOutcome::new(0, 1, one).stored();
            assert_eq!(stored.deferral().map(|deferral| &*deferral.reply), Some(words));
            assert_eq!(stored.deferral().map(|deferral| deferral.described()).as_deref(), Some(reply));
        }
    }

    #[test]
    fn a_verdict_means_one_disposition() {
        let mut theirs = local(550, (5, 1, 1), "no such user");
        theirs.ours = false;
        let ours = local(554, (5, 6, 3), "needs 8-bit");
        let of =
            |verdict: &Verdict, reply: &Reply| Ended::of_verdict(verdict, reply, "mx.x.example", || (7, 9));
        assert_eq!(of(&Verdict::Delivered(0), &theirs), Disposition::Delivered);
        for verdict in [Verdict::Deferred(0), Verdict::Later(0)] {
            for reply in [&theirs, &ours] {
                let (words, ours) = (reply.describe().into(), reply.ours);
                let deferral = Deferral { attempts: 7, next: 9, reply: words, ours };
                assert_eq!(of(&verdict, reply), Disposition::Deferred(deferral));
            }
        }
        for (reply, remote) in [(&theirs, Some("mx.x.example".to_owned())), (&ours, None)] {
            let failure = Failure {
                status: reply.enhanced,
                remote,
                diagnostic: reply.describe(),
                class: None,
                record: Vec::new(),
                receipt: None,
                unattempted: false,
                late: None,
            };
            assert_eq!(of(&Verdict::Failed(0), reply), Disposition::Bounced(Box::new(failure)));
        }
    }
}
