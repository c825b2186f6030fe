//! What everybody saw, and what it proves.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use relevo::id::MessageId;
use relevo::time::Instant;

use super::in_force::InForce;
use super::instructions;
use super::notices::Notices;
use super::plan::Plan;
use super::seen::Seen;

/// Within which the relay finds that there is room again.
const ROOM_NOTICED: Duration = Duration::from_secs(10);

/// How a client's attempt to hand in a message ended, as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No final dot was sent: nobody may ever see it.
    Unfinished,
    /// A final dot was sent, and no answer came.
    Unsure,
    /// The dot was answered with 4xx or 5xx.
    Refused,
    /// It was answered with 250.
    Taken,
}

/// One attempt to hand in a message; a repetition is another one.
pub struct Try {
    pub began: Instant,
    pub ended: Cell<Instant>,
    pub ending: Cell<Ending>,
    pub null_sender: bool,
    /// The id that the 250 names.
    pub id: Cell<Option<MessageId>>,
    /// Header and body as they go over the wire, up to the final dot.
    pub wire: Rc<Vec<u8>>,
    pub recipients: Vec<Recipient>,
}

pub struct Recipient {
    pub site: usize,
    pub address: String,
    /// RCPT was answered with 250.
    pub accepted: Cell<bool>,
    /// A hop said 5xx to it, or to a transaction of it.
    refused: Cell<bool>,
    /// When hops were asked to take it.
    attempts: RefCell<Vec<Instant>>,
    deliveries: RefCell<Vec<Rc<Seen>>>,
    /// Notifications by their Message-ID.
    bounces: RefCell<Vec<(String, Rc<Seen>)>>,
}

impl Recipient {
    /// A hop took it.
    pub fn was_delivered(&self) -> bool {
        !self.deliveries.borrow().is_empty()
    }

    /// By when hops began: a slow one may make up its mind, and bytes under way may arrive, after a crash and the next attempt.
    fn sort(&self) {
        self.deliveries.borrow_mut().sort_by_key(|seen| (seen.began, seen.at));
        self.bounces.borrow_mut().sort_by_key(|(_, seen)| (seen.began, seen.at));
    }
}

#[derive(Default)]
pub struct Ledger {
    pub tries: RefCell<Vec<Try>>,
    /// What needs no end of the day to be wrong.
    pub wrong: RefCell<Vec<String>>,
    /// When lives of the node ended.
    pub crashes: RefCell<Vec<Instant>>,
    /// What starts said of damage: lanes, and messages.
    pub damage: RefCell<Vec<(u16, Option<MessageId>)>>,
    /// How often the relay said so of a message that it was to read, notifications of its own among them.
    pub unreadable: Cell<u64>,
    /// When the wall clock was set, and by how many milliseconds.
    pub clock: RefCell<Vec<(Instant, i64)>>,
    /// Ids whose `received` the log has, and those of which it told something else before.
    logged: RefCell<BTreeSet<String>>,
    early: RefCell<BTreeSet<String>>,
    /// Recipients that the log says have their end.
    ended: RefCell<BTreeSet<String>>,
    notices: Notices,
    /// When a message was refused last for want of room.
    pub no_room: Cell<Option<Instant>>,
    /// The configurations of the day.
    pub in_force: InForce,
    /// What is still in the spool though the day is over: not lost, and the log has it.
    pub kept: RefCell<BTreeSet<MessageId>>,
}

/// `t12r3@...`: the number of the try and of the recipient. Senders are `t12r0@`.
pub fn numbers(address: &str) -> Option<(usize, usize)> {
    let (local, _) = address.split_once('@')?;
    let (number, recipient) = local.strip_prefix('t')?.split_once('r')?;
    Some((number.parse().ok()?, recipient.parse().ok()?))
}

/// The lines of a body, stuffed; as long as asked, about.
fn wire(number: usize, size: usize) -> Vec<u8> {
    let mut text = format!("Message-Id: <t{number}@client.example>\r\nSubject: day\r\n\r\n").into_bytes();
    for line in 0.. {
        if text.len() >= size {
            break;
        }
        let start = ["", "..", "...", ".. "][line % 17 % 4];
        text.extend_from_slice(
            format!("{start}{line} of {number} {:-<1$}\r\n", "", line * 7 % 90).as_bytes(),
        );
    }
    text
}

impl Ledger {
    /// A new try for these (site, domain): its number.
    pub fn begin(&self, now: Instant, size: usize, null_sender: bool, to: &[(usize, String)]) -> usize {
        let mut tries = self.tries.borrow_mut();
        let number = tries.len();
        let recipients = to.iter().enumerate().map(|(place, (site, domain))| Recipient {
            site: *site,
            address: format!("t{number}r{place}@{domain}"),
            accepted: Cell::new(false),
            refused: Cell::new(false),
            attempts: RefCell::default(),
            deliveries: RefCell::default(),
            bounces: RefCell::default(),
        });
        let recipients = recipients.collect();
        tries.push(Try {
            began: now,
            ended: Cell::new(now),
            ending: Cell::new(Ending::Unfinished),
            null_sender,
            id: Cell::new(None),
            wire: Rc::new(wire(number, size)),
            recipients,
        });
        number
    }

    pub fn complain(&self, what: String) {
        self.wrong.borrow_mut().push(what);
    }

    fn with(&self, address: &str, note: impl FnOnce(&Recipient)) {
        let tries = self.tries.borrow();
        let Some((number, place)) = numbers(address) else { return };
        let recipient = tries.get(number).and_then(|one| one.recipients.get(place));
        if let Some(recipient) = recipient.filter(|recipient| recipient.address == address) {
            note(recipient);
        }
    }

    /// A hop is asked to take it.
    pub fn attempt(&self, at: Instant, address: &str) {
        self.with(address, |recipient| recipient.attempts.borrow_mut().push(at));
    }

    /// A hop says 5xx to these.
    pub fn refuse<'a>(&self, addresses: impl IntoIterator<Item = &'a str>) {
        for address in addresses {
            self.with(address, |recipient| recipient.refused.set(true));
        }
    }

    /// Everything a try has at a site was refused with its MAIL.
    pub fn refuse_all(&self, sender: &str, site: usize) {
        let tries = self.tries.borrow();
        let Some(one) = numbers(sender).and_then(|(number, _)| tries.get(number)) else { return };
        for recipient in one.recipients.iter().filter(|recipient| recipient.site == site) {
            recipient.refused.set(true);
        }
    }

    /// A hop takes a message for these recipients.
    pub fn take(
        &self,
        began: Instant,
        at: Instant,
        site: usize,
        recipients: &[String],
        text: &[u8],
    ) -> Rc<Seen> {
        let seen = Rc::new(Seen::new(began, at));
        let tries = self.tries.borrow();
        for address in recipients {
            let found = numbers(address).and_then(|(number, place)| {
                let one = tries.get(number)?;
                Some((one, one.recipients.get(place)?))
            });
            let Some((one, recipient)) = found.filter(|(_, recipient)| recipient.address == *address) else {
                self.complain(format!("a delivery to {address}, whom nobody wrote to"));
                continue;
            };
            if recipient.site != site {
                self.complain(format!("{address} was delivered to site {site}"));
            }
            if let Err(words) = check_text(text, &one.wire) {
                self.complain(format!("{address}: {words}"));
            }
            recipient.deliveries.borrow_mut().push(seen.clone());
        }
        seen
    }

    /// The sender's host takes a notification.
    pub fn take_bounce(&self, began: Instant, at: Instant, recipients: &[String], text: &[u8]) -> Rc<Seen> {
        let seen = Rc::new(Seen::new(began, at));
        let text = String::from_utf8_lossy(text);
        let unique = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or("none");
        let failed = text.lines().filter_map(|line| line.strip_prefix("Final-Recipient: rfc822; "));
        let tries = self.tries.borrow();
        let mut count = 0;
        for address in failed {
            count += 1;
            let found = numbers(address).and_then(|(number, place)| {
                let one = tries.get(number)?;
                Some((number, one, one.recipients.get(place)?))
            });
            let Some((number, one, recipient)) = found else {
                self.complain(format!("a notification about {address}, whom nobody wrote to"));
                continue;
            };
            if recipients != [format!("t{number}r0@origin.example")] || one.null_sender {
                self.complain(format!("the notification about {address} went to {recipients:?}"));
            }
            recipient.bounces.borrow_mut().push((unique.to_owned(), seen.clone()));
        }
        if count == 0 {
            self.complain(format!("a notification about nobody: {text}"));
        }
        seen
    }

    /// Every recipient that was taken has its end, as far as one can see.
    pub fn is_settled(&self) -> bool {
        self.tries.borrow().iter().filter(|one| one.ending.get() == Ending::Taken).all(|one| {
            let ended = |one: &Recipient| {
                !one.accepted.get() || !one.deliveries.borrow().is_empty() || !one.bounces.borrow().is_empty()
            };
            one.null_sender || one.recipients.iter().all(ended)
        })
    }

    /// Recipients that were delivered, and that were returned.
    pub fn totals(&self) -> (usize, usize) {
        let tries = self.tries.borrow();
        let all = || tries.iter().flat_map(|one| &one.recipients);
        let delivered = all().filter(|one| !one.deliveries.borrow().is_empty()).count();
        (delivered, all().filter(|one| !one.bounces.borrow().is_empty()).count())
    }

    /// After the last power failure the spool is empty, but for mail that was refused because its commit failed: without another
    /// commit behind it, nothing on the disk says that it is void.
    pub fn nothing_rose(&self, end: Instant, found: usize) {
        let tries = self.tries.borrow();
        let told = |one: &&Try| matches!(one.ending.get(), Ending::Refused | Ending::Unsure);
        let void = tries.iter().filter(told).count();
        if found > void {
            self.complain(format!("{found} messages rose again, of which {void} may"));
        }
        for one in tries.iter().filter(|one| one.ending.get() == Ending::Taken) {
            for recipient in &one.recipients {
                let late = recipient.deliveries.borrow().iter().any(|seen| seen.at > end)
                    || recipient.bounces.borrow().iter().any(|(_, seen)| seen.at > end);
                if late {
                    self.complain(format!("{}: rose again after its end", recipient.address));
                }
            }
        }
    }

    /// A record of the accounting, as the log has it.
    pub fn log(&self, now: Instant, record: &serde_json::Value) {
        self.notices.log(now, record);
        let recipients = record["recipients"].as_array().into_iter().flatten().filter_map(|one| one.as_str());
        let ours = recipients.filter(|address| !address.ends_with("@origin.example")).find_map(numbers);
        if let Some((number, _)) = ours.filter(|_| record["event"] != "rejected") {
            let wrong =
                instructions::wrong(number, record).into_iter().chain(self.in_force.log(number, record));
            wrong.for_each(|what| self.complain(what));
        }
        let Some(id) = record["id"].as_str() else { return };
        let event = record["event"].as_str().unwrap_or_default();
        if event == "received" {
            self.logged.borrow_mut().insert(id.to_owned());
        } else if !self.logged.borrow().contains(id) && self.early.borrow_mut().insert(id.to_owned()) {
            // In every life: what a kill took is told again at the start.
            self.complain(format!("{id}: the log tells of it before it was received"));
        }
        if !matches!(event, "received" | "deferred" | "rejected" | "admin") {
            let recipients = record["recipients"].as_array().into_iter().flatten();
            self.ended.borrow_mut().extend(recipients.filter_map(|one| one.as_str().map(str::to_owned)));
        }
    }

    /// At the end of the only life, of which nothing was cut off: the log has all that was taken, and how it ended.
    pub fn judge_log(&self) {
        let (logged, ended) = (self.logged.borrow(), self.ended.borrow());
        for one in self.tries.borrow().iter().filter(|one| one.ending.get() == Ending::Taken) {
            if one.id.get().is_some_and(|id| !logged.contains(&id.to_string())) {
                self.complain(format!("{:?} is not in the log", one.id.get()));
            }
            for recipient in one.recipients.iter().filter(|recipient| recipient.accepted.get()) {
                if !ended.contains(&recipient.address) {
                    self.complain(format!("{}: its end is not in the log", recipient.address));
                }
            }
        }
    }

    /// How far the wall clock was ahead, in milliseconds.
    fn ahead(&self, at: Instant) -> i64 {
        self.clock.borrow().iter().filter(|(set, _)| *set <= at).map(|(_, by)| by).sum()
    }

    /// When the relay may give up a message, by the wall clock of one of its starts, to the millisecond, as records have it; and that start.
    fn expires(&self, plan: &Plan, one: &Try) -> Option<(Instant, Instant)> {
        let clock = self.clock.borrow();
        let ahead = |at| self.ahead(at);
        // The relay dates it when it has its end, and a client that goes away does not see when that is.
        let (began, mut ended) = (one.began, one.ended.get());
        if one.ending.get() == Ending::Unsure {
            ended = ended + plan.network.delay_max;
        }
        let set = clock.iter().map(|(set, _)| *set).filter(|set| (began..=ended).contains(set));
        let dated = std::iter::once(began).chain(set).map(ahead).min().unwrap_or(0);
        let lives = plan.expire as i64 * 1000 - 1;
        let starts = self.crashes.borrow();
        let given_up = starts.iter().filter(|start| **start >= began).filter_map(|start| {
            let passed = start.since(began).as_millis() as i64;
            let age = passed + ahead(*start) - dated;
            (age > passed).then(|| (*start + Duration::from_millis((lives - age).max(0) as u64), *start))
        });
        given_up.min()
    }

    /// All that is wrong at the end of the day.
    pub fn verdict(&self, plan: &Plan) -> Vec<String> {
        let mut wrong = self.wrong.borrow().clone();
        for one in self.tries.borrow().iter() {
            self.judge(plan, one, &mut wrong);
        }
        self.judge_repetitions(plan, &mut wrong);
        wrong.extend(self.in_force.judge(plan));
        wrong.extend(self.judge_room(plan));
        self.excuse_named(&mut wrong);
        wrong
    }

    /// Room on a disk that was full is noticed within seconds.
    fn judge_room(&self, plan: &Plan) -> Option<String> {
        // A lane that failed or waits for the journal has no room either.
        let faults = plan.disk.append_error + plan.disk.append_short + plan.disk.sync_error;
        let sound = faults == 0.0 && plan.spool_max == 0 && plan.journal_stall.is_none();
        let (_, to) = plan.full.filter(|_| sound)?;
        let noticed = Instant(to * 1_000_000) + ROOM_NOTICED;
        let at = self.no_room.get().filter(|at| *at > noticed)?;
        Some(format!("refused for want of room at {at:?}, and there was some since {to} ms"))
    }

    /// As many messages as the log of the relay named while it ran, those of notifications among them, are not lost in silence.
    fn excuse_named(&self, wrong: &mut Vec<String>) {
        let mut named = BTreeSet::new();
        wrong.retain(|what| {
            let silent = what.strip_suffix(": lost in silence").and_then(numbers);
            let Some((number, _)) = silent else { return true };
            named.insert(number);
            named.len() as u64 > self.unreadable.get()
        });
    }

    /// What each crash made the relay deliver again: at most the attempts it may have had under way, one a credit.
    fn judge_repetitions(&self, plan: &Plan, wrong: &mut Vec<String>) {
        let crashes = self.crashes.borrow();
        // On a good network every answer arrives; on a bad one only what the relay goes on after is sure to have.
        let good = plan.network.cut + plan.network.half_open == 0.0;
        let known = |seen: &Seen| seen.sure.get() || (good && seen.answered.get().is_some());
        let mut repeated: BTreeMap<Instant, BTreeSet<(usize, &str)>> = BTreeMap::new();
        let tries = self.tries.borrow();
        for (number, one) in tries.iter().enumerate() {
            for recipient in &one.recipients {
                let deliveries = recipient.deliveries.borrow();
                for seen in deliveries.iter().rev().skip(1).filter(|seen| known(seen)) {
                    let crash = crashes.iter().find(|crash| **crash >= seen.at);
                    let domain = recipient.address.rsplit('@').next().unwrap_or_default();
                    if let Some(crash) = crash {
                        repeated.entry(*crash).or_default().insert((number, domain));
                    }
                }
            }
        }
        let shards = plan.shards.iter().copied().max().unwrap_or(1);
        let bound = shards * plan.credits.max(shards);
        for (crash, attempts) in repeated.iter().filter(|(_, attempts)| attempts.len() > bound) {
            let count = attempts.len();
            wrong.push(format!(
                "{count} attempts were repeated after the crash at {crash:?}, at most {bound} may"
            ));
        }
    }

    fn judge(&self, plan: &Plan, one: &Try, wrong: &mut Vec<String>) {
        let touched =
            |one: &&Recipient| !one.deliveries.borrow().is_empty() || !one.bounces.borrow().is_empty();
        let seen = one.recipients.iter().find(touched);
        let crashed_after = self.crashes.borrow().iter().any(|crash| *crash >= one.ended.get());
        if let Some(seen) = seen {
            match one.ending.get() {
                Ending::Unfinished => wrong.push(format!("{}: never handed in", seen.address)),
                Ending::Refused if !crashed_after || self.is_void(plan, one) => {
                    wrong.push(format!("{}: refused, yet sent", seen.address))
                }
                _ => {}
            }
        } else if one.ending.get() != Ending::Taken {
            return;
        }
        for recipient in &one.recipients {
            self.judge_recipient(plan, one, recipient, wrong);
        }
    }

    fn judge_recipient(&self, plan: &Plan, one: &Try, recipient: &Recipient, wrong: &mut Vec<String>) {
        let address = &recipient.address;
        recipient.sort();
        let (deliveries, bounces) = (recipient.deliveries.borrow(), recipient.bounces.borrow());
        let discards = self.in_force.discards(address);
        if !recipient.accepted.get() || discards == Some(true) {
            if !deliveries.is_empty() || !bounces.is_empty() {
                let what = if discards == Some(true) { "discarded by a rule" } else { "refused at RCPT" };
                wrong.push(format!("{address}: {what}, yet handled"));
            }
            return;
        }
        if one.ending.get() == Ending::Taken {
            self.judge_patience(plan, one, recipient, wrong);
        }
        let site = &plan.sites[recipient.site];
        let expires = one.began + Duration::from_millis(plan.expire * 1000 - 1);
        let crashes = self.crashes.borrow();
        let late = crashes.len() as u64 * 60;
        let lied = plan.dns_lies > 0.0 && !site.origin;
        let early = self.expires(plan, one);
        let may_be_returned = |at: Instant| {
            let expired = at >= expires || early.is_some_and(|(expires, _)| at >= expires);
            recipient.refused.get() || lied || site.is_permanent_failure() || expired
        };
        if deliveries.is_empty() && bounces.is_empty() {
            let may_end_unseen = one.null_sender
                && may_be_returned(Instant::FAR)
                && (recipient.refused.get()
                    || lied
                    || site.is_permanent_failure()
                    || plan.sites_until + late >= plan.expire);
            // The clock went forward and the relay started anew: what then failed its last try is given up, notifications too, which are
            // dated when they are made. The log may not have it if there was another start.
            let given_up =
                early.is_some_and(|(_, start)| one.null_sender || crashes.iter().any(|crash| *crash > start));
            let lives = plan.expire as i64 * 1000 - 1;
            let no_notice = self.notices.was_given_up(address, lives, &crashes, |at| self.ahead(at));
            let may_end_unseen = may_end_unseen || given_up || no_notice || discards.is_some();
            // Nobody was promised what was refused: after a failed sync it may stand in memory for one life, and be gone in the next.
            let promised = one.ending.get() == Ending::Taken;
            if !may_end_unseen && (promised || !plan.has_disk_faults()) {
                wrong.push(format!("{address}: lost ({:?} at {:?})", one.ending.get(), one.ended.get()));
                let is_kept = one.id.get().is_some_and(|id| self.kept.borrow().contains(&id));
                if promised && !one.null_sender && !is_kept && !self.is_said(one) {
                    wrong.push(format!("{address}: lost in silence"));
                }
            }
            return;
        }
        for (unique, seen) in bounces.iter() {
            if one.null_sender {
                wrong.push(format!("{address}: a notification to the null sender ({unique})"));
            }
            if let Some((_, start)) = early
                && !(recipient.refused.get() || lied || site.is_permanent_failure() || seen.at >= expires)
                && plan.neglect_max(recipient.site).is_some_and(|(from, _)| from <= start)
                && !recipient.attempts.borrow().iter().any(|at| (start..=seen.began).contains(at))
            {
                wrong.push(format!("{address}: given up at {:?} without a last try", seen.at));
            }
            if !may_be_returned(seen.at) {
                wrong.push(format!("{address}: returned for no reason at {:?}", seen.at));
            }
        }
        self.judge_repeats(plan, address, &deliveries, &bounces, wrong);
    }

    /// What came more than once, and why it may have.
    fn judge_repeats(
        &self,
        plan: &Plan,
        address: &str,
        deliveries: &[Rc<Seen>],
        bounces: &[(String, Rc<Seen>)],
        wrong: &mut Vec<String>,
    ) {
        let crashes = self.crashes.borrow();
        let excused = |seen: &Seen| self.excused(plan, seen);
        let last = if bounces.is_empty() { deliveries.len() - 1 } else { deliveries.len() };
        if let Some(seen) = deliveries[..last].iter().find(|seen| !excused(seen)) {
            let what = if bounces.is_empty() { "delivered again" } else { "delivered and returned" };
            wrong.push(format!(
                "{address}: {what}, though the relay knew of {:?} (all: {deliveries:?}, crashes: {crashes:?})",
                seen.at
            ));
        }
        let notices: BTreeSet<&String> = bounces.iter().map(|(unique, _)| unique).collect();
        if notices.len() > 1 + crashes.len() {
            wrong.push(format!("{address}: {} notifications", notices.len()));
        }
        for unique in notices {
            let same: Vec<_> = bounces.iter().filter(|(other, _)| other == unique).collect();
            if same[..same.len() - 1].iter().any(|(_, seen)| !excused(seen)) {
                let all: Vec<_> = same.iter().map(|(_, seen)| seen).collect();
                wrong.push(format!(
                    "{address}: its notification {unique} came twice ({all:?}, crashes: {crashes:?})"
                ));
            }
        }
    }

    /// It was refused because its commit failed, and a later one of the only lane succeeded before the node ended: whatever of it is on
    /// the disk is void for ever.
    fn is_void(&self, plan: &Plan, one: &Try) -> bool {
        let crashes = self.crashes.borrow();
        let Some(crash) = crashes.iter().find(|crash| **crash >= one.ended.get()) else { return true };
        let later = |other: &Try| {
            other.ending.get() == Ending::Taken
                && other.began >= one.ended.get()
                && other.ended.get() <= *crash
        };
        plan.shards.iter().all(|shards| *shards == 1)
            && plan.rot == 0
            && self.tries.borrow().iter().any(later)
    }

    /// A start said that this message is lost, or of damage in its lane whose messages nobody here knows.
    fn is_said(&self, one: &Try) -> bool {
        let Some(id) = one.id.get() else { return false };
        let tries = self.tries.borrow();
        let is_another =
            |named: MessageId| named != id && tries.iter().any(|other| other.id.get() == Some(named));
        let damage = self.damage.borrow();
        damage.iter().any(|(lane, named)| *lane == id.lane && !named.is_some_and(is_another))
    }

    /// Nobody is left waiting: from its 250, or from a start of the relay, to an attempt and from there to the next one.
    fn judge_patience(&self, plan: &Plan, one: &Try, recipient: &Recipient, wrong: &mut Vec<String>) {
        let Some((from, bound)) = plan.neglect_max(recipient.site) else { return };
        let mut before = one.ended.get().max(from);
        for attempt in recipient.attempts.borrow().iter() {
            let start = self.crashes.borrow().iter().rev().find(|crash| *crash <= attempt).copied();
            let waited = attempt.since(start.map_or(before, |start| start.max(before)));
            if waited > bound {
                let address = &recipient.address;
                wrong.push(format!("{address}: starved, no attempt for {waited:?} before {attempt:?}"));
            }
            before = before.max(*attempt);
        }
    }

    /// Whether the relay need not remember it: it never had the answer, or a crash came before its record was synced. That
    /// takes OUTCOME_DELAY_MAX and a commit or two, and longer only while the disk fails.
    fn excused(&self, plan: &Plan, seen: &Seen) -> bool {
        if !seen.sure.get() {
            return true;
        }
        let under_way = plan.network.delay_max + plan.disk.sync_max * 4 + Duration::from_secs(1);
        let written = seen.answered.get().unwrap_or(seen.at) + under_way;
        let crashes = self.crashes.borrow();
        crashes.iter().any(|crash| *crash >= seen.at && (*crash <= written || plan.has_disk_faults()))
    }
}

/// One added Received field, everything else untouched.
fn check_text(text: &[u8], wire: &[u8]) -> Result<(), String> {
    let Some(added) = text.strip_suffix(wire) else {
        return Err(format!("{} bytes came of {}, or others", text.len(), wire.len()));
    };
    let added = String::from_utf8_lossy(added);
    let fields = added.lines().filter(|line| !line.starts_with([' ', '\t'])).count();
    if fields == 1 && added.starts_with("Received: from ") && added.ends_with("\r\n") {
        Ok(())
    } else {
        Err(format!("added: {added}"))
    }
}
