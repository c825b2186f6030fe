//! Which event tells of which end, for whoever tells of one: at once, or again after a start.

use crate::mail::classify::Class;
use crate::observe::event::{Attempt, Event, Kind, Mail};
use crate::queue::outcome::Disposition;
use crate::runtime::Runtime;
use crate::shaping::answers::Answers;
use crate::shard::Shard;
use crate::shard::outbound::hop_error::reply_in;
use crate::smtp::reply;
use crate::spool::record::MessageView;
use crate::time::UnixMillis;

/// What tells of some recipients with this end, be it new or read from a record; `due`: the Unix second in which those that are deferred are
/// tried again.
pub(in crate::shard) fn event_of<'a, D, R>(
    disposition: &Disposition<D, R>,
    mail: Mail<'a>,
    attempt: Attempt<'a>,
    due: impl FnOnce(&D) -> u32,
) -> Event<'a> {
    match disposition {
        Disposition::Delivered => Event::Delivered(mail, attempt),
        Disposition::Deferred(deferral) => {
            Event::Deferred(mail, attempt, UnixMillis(u64::from(due(deferral)) * 1000))
        }
        Disposition::Bounced(_) => Event::Bounced(mail, attempt),
        Disposition::Expired(_) => Event::Expired(mail, attempt),
        Disposition::Local(end) => Event::Local(*end, mail, attempt),
        // Nobody asks: of a hold it is told who does it, and not each recipient.
        Disposition::Held(hold) => Event::Deferred(mail, attempt, UnixMillis(u64::from(hold.until) * 1000)),
    }
}

/// A call for each set of parameters of these recipients, however they take turns with others.
pub(in crate::shard) fn each_alike(
    view: &MessageView<'_>,
    (first, count): (u16, u16),
    mut record: impl FnMut(u16, &[&[u8]]),
) {
    let mut recipients =
        view.recipients().skip(usize::from(first)).take(usize::from(count)).map(|(address, _)| address);
    if count == 1 {
        return record(first, &[recipients.next().unwrap_or_default()]);
    }
    let recipients = recipients.collect::<Vec<_>>();
    let Some(alike) = view.alike(first, count) else { return record(first, &recipients) };
    for ordinals in alike {
        let place = |ordinal: &u16| recipients.get(usize::from(ordinal - first)).copied();
        let own: Vec<&[u8]> = ordinals.iter().filter_map(place).collect();
        record(ordinals[0], &own);
    }
}

/// The kind of that event.
pub(in crate::shard) fn kind_of<D, R>(disposition: &Disposition<D, R>) -> Kind {
    match disposition {
        Disposition::Delivered => Kind::Delivered,
        Disposition::Deferred(_) => Kind::Deferred,
        Disposition::Bounced(_) => Kind::Bounced,
        Disposition::Expired(_) => Kind::Expired,
        Disposition::Local(end) => Kind::Local(*end),
        Disposition::Held(_) => Kind::Deferred,
    }
}

/// What the reply to recipients that were not delivered is about; `ours`: no hop said it. Time that is over says nothing of an address. What
/// the rules of the site say comes first.
pub(in crate::shard) fn class_of<R: Runtime, D, B>(
    shard: &Shard<R>,
    disposition: &Disposition<D, B>,
    ours: bool,
    reply: &str,
    (hop, enhanced): (&str, Option<(u8, u16, u16)>),
    answers: Option<&Answers>,
) -> Option<Class> {
    match disposition {
        Disposition::Delivered | Disposition::Local(_) | Disposition::Held(_) => return None,
        Disposition::Expired(_) => return Some(Class::Expired),
        Disposition::Deferred(_) | Disposition::Bounced(_) => {}
    }
    // Of what was returned before a kill nobody knows the reply any more.
    if reply.is_empty() {
        return None;
    }
    let by_rule = |said: &str, own| answers.and_then(|answers| answers.judge(said.as_bytes(), own).0);
    let (said, enhanced) = match reply_in(reply) {
        _ if !ours => (reply, enhanced),
        // The words are ours, and what it is about is what the hop said.
        Some(said) => (said, reply::enhanced(said)),
        None => return by_rule(reply, true).or_else(|| Some(Class::of_ours(reply, enhanced))),
    };
    if let Some(class) = by_rule(said, false) {
        return Some(class);
    }
    let judged = shard.outbound.judge.borrow_mut().judge(said, hop, shard.timers.recent());
    if judged.is_none() {
        shard.instruments.counters.replies_unread.add(1);
    }
    Some(judged.map_or_else(|| Class::of_status(enhanced), |judged| judged.class))
}
