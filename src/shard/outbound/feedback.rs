//! Beside deliver: bounces and complaints that came back to this node. What they say is found out by a thread of control's (`shard/reading`); what of
//! it is about a message of this node's, as its return path proves, is told as an event, and when the journal has that the mail leaves the spool. None of
//! it is ever answered.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::id::MessageId;
use crate::limits;
use crate::mail::bounce::verp::{Sent, Unfit, Verp};
use crate::mail::bounce::{Complaint, Incoming, PerRecipient, Returned, Unsubscribe};
use crate::names::ends::End;
use crate::observe::event::{Attempt, CameBack, Event, Mail};
use crate::observe::families::CAME_BACK;
use crate::observe::journaled::{Chunk, WriteAck};
use crate::queue::destinations::SiteKey;
use crate::queue::outcome::Ended;
use crate::queue::schedule;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::message::Job;
use crate::shard::outbound::settle::Scene;
use crate::shard::outbound::site::{Site, Work};
use crate::shard::outbound::tally::{self, Tally};
use crate::shard::outbound::work::GroupUnderWay;
use crate::shard::outbound::{pump, settle};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::StoredRecord;
use crate::spool::record::MessageView;

/// What a site of such mail is called as a hop.
const HOP: &str = "feedback";

/// All that is ready is read. `proven` hears of each that was.
pub(super) async fn end<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>, proven: impl Fn()) {
    while !shard.draining.get() {
        match pump::take(shard, key, site) {
            Work::Expired(job) => settle::expired(shard, &job),
            Work::Job(job) => {
                let under_way = GroupUnderWay::new(shard, site, job);
                if !take(shard, site, &job, &under_way).await {
                    // Dropping it puts it back.
                    drop(under_way);
                    shard.timers.sleep_until(shard.runtime.now() + limits::FEEDBACK_AGAIN).await;
                    continue;
                }
                proven();
            }
            Work::Nothing => return,
        }
    }
}

/// Reads one group. False: not now.
async fn take<R: Runtime>(
    shard: &Rc<Shard<R>>,
    site: &Rc<Site>,
    job: &Job,
    under_way: &GroupUnderWay<'_, R>,
) -> bool {
    let group = &job.group;
    let place = Pinned::new(shard, group.key, group.location);
    let source = StoredRecord::read(shard, place.location).await;
    let view = source.as_ref().ok().and_then(|source| source.view().ok());
    let body = match (&source, &view) {
        (Ok(source), Some(view)) => {
            source.body_prefix(shard, group.location.lane, view, limits::INCOMING_FRONT_MAX).await.ok()
        }
        _ => None,
    };
    let (Some(view), Some(body)) = (view, body) else {
        // The spool cannot give it back: it is kept, and tried again.
        let attempts = group.attempts.saturating_add(1);
        let retry = &site.policy.borrow().retry.clone();
        let next = schedule::next_attempt(retry, attempts, shard.seconds_up(), shard.runtime.random());
        let reply = "451 4.3.0 the message cannot be read".into();
        under_way.settled();
        settle::whole(shard, job, tally::deferred((attempts, next), reply, true));
        return true;
    };
    let body: Arc<[u8]> = body.into();
    let (mut tally, mut lines, mut said, mut came) = (Tally::default(), Vec::new(), "", Vec::new());
    let recipients: Vec<(u16, Vec<u8>)> = view
        .recipients()
        .enumerate()
        .skip(group.first.into())
        .take(group.count.into())
        .map(|(ordinal, (address, _))| (ordinal as u16, address.to_vec()))
        .collect();
    for (ordinal, to) in recipients {
        let Some(found) = read(shard, &body, &to).await else { return false };
        let judged = judge(shard, (&view, ordinal), &to, &found, &mut lines);
        came.push(judged.what);
        said = judged.words;
        let ended = if judged.is_told { Ended::Delivered } else { Ended::Local(End::Discarded) };
        tally.merge(ordinal, 1, ended);
    }
    let is_first = shard.runtime.planted(Defect::FeedbackSettledFirst);
    if !is_first && !journaled(shard, std::mem::take(&mut lines)).await {
        return false;
    }
    came.iter().for_each(|what| shard.instruments.families.came_back.add(*what as usize, 1));
    under_way.settled();
    let scene = Scene { hop: HOP, reply: said, ..Scene::without_hop(&view) };
    settle::report(shard, job, tally.take_outcomes(), Vec::new(), Some(&scene));
    if is_first {
        shard.timers.sleep_until(shard.runtime.now() + limits::FEEDBACK_AGAIN).await;
        journaled(shard, lines).await;
    }
    true
}

/// What a message is, as the thread says that reads such mail. None: it has too much to read, or is not there.
async fn read<R: Runtime>(shard: &Rc<Shard<R>>, body: &Arc<[u8]>, to: &[u8]) -> Option<Incoming> {
    let asked = shard.mesh.reading().ask(body.clone(), to)?;
    let give_up = shard.runtime.now() + limits::FEEDBACK_READ;
    while shard.runtime.now() < give_up && !shard.draining.get() {
        if let Some(found) = asked.found() {
            return Some(found);
        }
        shard.timers.sleep_until(shard.runtime.now() + limits::FEEDBACK_LOOK).await;
    }
    None
}

/// What is made of it.
struct Judged {
    /// What it was, by its place in [`CAME_BACK`].
    what: What,
    /// There is an event of it.
    is_told: bool,
    /// In words, as a reply has them.
    words: &'static str,
}

/// What came back, in the order of [`CAME_BACK`].
#[derive(Clone, Copy)]
enum What {
    Bounce,
    Complaint,
    Delay,
    Receipt,
    AutoReply,
    Other,
    Forged,
    Expired,
    Altered,
    OtherNode,
    Unmatched,
    Unsubscribe,
}

const _: () = assert!(CAME_BACK.len() == What::Unsubscribe as usize + 1);

impl What {
    fn left_out(self, words: &'static str) -> Judged {
        Judged { what: self, is_told: false, words }
    }
}

fn judge<R: Runtime>(
    shard: &Shard<R>,
    (view, number): (&MessageView<'_>, u16),
    to: &[u8],
    found: &Incoming,
    lines: &mut Vec<u8>,
) -> Judged {
    let (paths, is_complaint) = match found {
        Incoming::Bounce(Returned { original, .. }) => (&original.return_paths[..], false),
        Incoming::Complaint(Complaint { original, .. }) => (&original.return_paths[..], true),
        Incoming::Delay(_) => return What::Delay.left_out("250 2.0.0 a delay, which is counted"),
        Incoming::Receipt(_) => return What::Receipt.left_out("250 2.0.0 a receipt, which is counted"),
        Incoming::AutoReply(_) => {
            return What::AutoReply.left_out("250 2.0.0 an answer by a program, which is counted");
        }
        Incoming::Unsubscribe(Unsubscribe::Listed) => {
            return Judged {
                what: What::Unsubscribe,
                is_told: true,
                words: "250 2.0.0 who asked gets no more",
            };
        }
        Incoming::Unsubscribe(_) => {
            return What::Forged.left_out("550 5.7.1 this node never wrote that link to unsubscribe");
        }
        Incoming::Other => return What::Other.left_out("250 2.0.0 neither a bounce nor a complaint"),
    };
    let live = shard.live.get();
    let Some(verp) = live.returns.as_ref().and_then(|returns| returns.verp.as_ref()) else {
        return What::Unmatched
            .left_out("550 5.7.1 no return paths are written here: bounces.verp_domain is not set");
    };
    let sent = match sent(verp, shard, to, paths) {
        Ok(sent) => sent,
        Err(Unfit::Forged) => {
            return What::Forged.left_out("550 5.7.1 this node never wrote that return path");
        }
        Err(Unfit::Expired(_)) => return What::Expired.left_out("550 5.7.1 that return path is too old"),
        Err(Unfit::Altered) => {
            return What::Altered.left_out("550 5.7.1 that return path was changed on its way");
        }
        Err(Unfit::OtherNode) => {
            return What::OtherNode.left_out("550 5.7.1 another node wrote that return path");
        }
        Err(Unfit::NotOurs) => {
            return What::Unmatched.left_out("550 5.7.1 it has no return path of this node in it");
        }
    };
    tell(shard, (verp, &sent), (view.id, number), found, lines);
    let (what, words) = match is_complaint {
        true => (What::Complaint, "250 2.0.0 a complaint"),
        false => (What::Bounce, "250 2.0.0 a bounce"),
    };
    Judged { what, is_told: true, words }
}

/// The first return path of ours: the one that it came to, or one that came back in it. An error says what is wrong with the first that looks like one.
fn sent<R: Runtime>(verp: &Verp, shard: &Shard<R>, to: &[u8], paths: &[String]) -> Result<Sent, Unfit> {
    let now = shard.runtime.wall();
    let mut worst = Unfit::NotOurs;
    for path in std::iter::once(to).chain(paths.iter().map(String::as_bytes)) {
        match verp.read(path, now) {
            Err(unfit) => {
                if worst == Unfit::NotOurs {
                    worst = unfit;
                }
            }
            sent => return sent,
        }
    }
    Err(worst)
}

/// Appends the event. Whom it is about is believed where the return path proves it.
fn tell<R: Runtime>(
    shard: &Shard<R>,
    (verp, sent): (&Verp, &Sent),
    (incoming, number): (MessageId, u16),
    found: &Incoming,
    lines: &mut Vec<u8>,
) {
    let proven = |name: &&String| verp.is_recipient(sent, name);
    let behind = |known| shard.mesh.known_tenants().behind(known);
    let tags = (verp, shard.live.generation());
    let tenant = shard.outbound.tenant_tags.borrow_mut().of(tags, sent, behind);
    let tenant = tenant.as_deref();
    let named = tenant.map(|tenant| [("tenant", tenant)]);
    let parameters = named.as_ref().map_or(&[][..], |named| named);
    let is_unknown = tenant.is_none() && !Verp::is_nobodys(sent);
    let (recipient, attempt, kind, counts);
    let mut reported = [""; 2];
    match found {
        Incoming::Bounce(Returned { reports, original, .. }) => {
            let names = |report: &PerRecipient| {
                let more = report.original_recipient.clone();
                std::iter::once(report.recipient.clone())
                    .chain(more)
                    .find(|name| verp.is_recipient(sent, name))
            };
            let fits = reports.iter().find_map(|report| Some((report, names(report)?)));
            let report = fits.as_ref().map(|(report, _)| *report).or(reports.first());
            recipient = fits.map(|(_, name)| name).or_else(|| original.to.iter().find(proven).cloned());
            attempt = report.map_or(Attempt::default(), of_report);
            counts = report.is_some_and(PerRecipient::is_hard);
            kind = "";
        }
        Incoming::Complaint(complaint) => {
            let Complaint { feedback, recipients, original, reporter, reported_domain, source_ip, .. } =
                complaint;
            reported = [reported_domain, source_ip].map(|said| said.as_deref().unwrap_or_default());
            recipient = recipients.iter().chain(&original.to).find(proven).cloned();
            attempt = Attempt { hop: reporter.as_deref().unwrap_or_default(), ..Attempt::default() };
            counts = feedback.unsubscribes();
            kind = feedback.word();
        }
        _ => return,
    }
    let recipients: Vec<&[u8]> = recipient.iter().map(|name| name.as_bytes()).collect();
    let mail = Mail { parameters, ..Mail::new(sent.id, b"", (sent.ordinal, &recipients)) };
    let came = CameBack { incoming, number, complaint: kind, reported, counts, is_unknown };
    shard.say.events.borrow_mut().encode(shard.runtime.wall(), &Event::CameBack(mail, attempt, came), lines);
}

fn of_report(report: &PerRecipient) -> Attempt<'_> {
    Attempt {
        hop: report.remote_mta.as_deref().unwrap_or_default(),
        reply: &report.diagnostic,
        enhanced: report.status,
        class: report.class.word(),
        ..Attempt::default()
    }
}

/// Waits until the journal has these lines. Where none is kept they are told as far as anybody reads them.
async fn journaled<R: Runtime>(shard: &Shard<R>, lines: Vec<u8>) -> bool {
    if lines.is_empty() {
        return true;
    }
    let written = Arc::new(AtomicBool::new(shard.say.events.borrow().kept().is_none()));
    let theirs = written.clone();
    let ack = WriteAck::new(move || theirs.store(true, Ordering::Release));
    let mut chunk = Chunk { lines, awaited: Some(ack), ..Chunk::default() };
    let give_up = shard.runtime.now() + limits::FEEDBACK_JOURNALED;
    while let Err(back) = shard.instruments.chunks.pass(chunk) {
        chunk = back;
        if shard.draining.get() || shard.runtime.now() > give_up {
            return false;
        }
        shard.timers.sleep_until(shard.runtime.now() + limits::FEEDBACK_LOOK).await;
    }
    while !written.load(Ordering::Acquire) {
        if shard.draining.get() || shard.runtime.now() > give_up {
            return false;
        }
        shard.timers.sleep_until(shard.runtime.now() + limits::FEEDBACK_LOOK).await;
    }
    true
}
