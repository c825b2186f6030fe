//! Recipients go to the home shard of their domain, as references.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::id::Location;
use crate::limits;
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::handover::Carried;
use crate::queue::flow::Strand;
use crate::queue::{Clock, Group, GroupPhase, fair};
use crate::route::home_shard;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::message::{Handoff, Rebound};
use crate::shard::outbound::dispatch;
use crate::shard::outbound::egress::{Chooser, PoolAndFlow, parts};
use crate::shard::store::at_once;
use crate::spool::record::{self, MessageView};
use crate::time::UnixMillis;

/// No domain: what nobody is handed.
const NOBODYS: &[u8] = b"\0";

/// A message is durable: its recipients go home.
pub(in crate::shard) fn stored<'a, R: Runtime>(
    shard: &Rc<Shard<R>>,
    location: Location,
    key: u32,
    envelope: &'a Envelope,
) {
    // By its age, which is none: the wall clock may just have been set.
    let now = shard.clock.read(shard.timers.recent());
    let after = |span: u64| now.after(Duration::from_millis(span));
    let since = |at: UnixMillis| at.0.saturating_sub(envelope.came().0);
    let hour = envelope.parameters.as_ref().and_then(|all| all.message.release());
    let release = hour.map_or(0, since);
    let expiry = after(since(envelope.expiry)).seconds_up();
    let from = hour.map_or(envelope.arrival, |at| at.max(envelope.arrival));
    let lives = envelope.expiry.0.saturating_sub(from.0);
    let (standing, not_before) = match release {
        0 => (GroupPhase::Resident, 0),
        held => (GroupPhase::Held, after(held).seconds_up()),
    };
    let client = client(envelope.account.as_deref(), envelope.origin.client);
    // Those that have their end at once stand apart, as if they were of one domain.
    let domain = |one: &'a Recipient| if one.at_once.is_some() { NOBODYS } else { one.domain() };
    let life = shard.mesh.lifetimes().number(UnixMillis(lives).seconds());
    let mut all = Group { standing, life, not_before, expiry, ..Group::bare(location, key) };
    if let Some(carried) = &envelope.handover {
        go_on(&mut all, carried, (envelope.expiry, now));
    }
    let domains = record::group_by_domain(envelope.recipients.iter().map(domain));
    let chooser = Chooser::new(shard, || shard.writer(location.lane).lane().id(key));
    let wish = envelope.needs.of_sender(&envelope.sender).tls;
    let mut waits = false;
    for (number, (first, count, domain)) in domains.filter(|(.., domain)| *domain != NOBODYS).enumerate() {
        let group = Group { first, count, ..all };
        let alike = envelope.parameters.is_some().then_some(|first| wish_from(envelope, first));
        for (group, strand) in parts(shard, chooser.as_ref(), (group, domain, wish), alike) {
            // A thousand new domains at once would hold up everybody else: the inbox takes them a few at a time.
            if number < limits::DOMAINS_AT_ONCE && (number == 0 || !shard.runtime.should_yield()) {
                hand_off(shard, (domain, strand), group, client);
            } else {
                waits = true;
                put_off(shard, (domain, strand), group, client);
            }
        }
    }
    if waits {
        shard.runtime.bell().ring();
    }
}

/// It was tried before, at the node that hands it over, and goes on as it stood there.
fn go_on(group: &mut Group, Carried { came, begun }: &Carried, (expiry, now): (UnixMillis, UnixMillis)) {
    let next = (u64::from(begun.next) * 1000).saturating_sub(came.0);
    group.attempts = begun.attempts;
    if expiry <= *came {
        // As at a start: its time was over while it was on its way.
        (group.standing, group.expiry) = (GroupPhase::LastTry, now.seconds_up());
    } else if begun.attempts > 0 {
        let due = now.after(Duration::from_millis(next)).seconds_up();
        group.standing = GroupPhase::Usual;
        group.not_before = if next == 0 { 0 } else { due.min(group.expiry) };
    }
}

/// How many recipients from this one on have the same parameters, and what these wanted.
fn wish_from(envelope: &Envelope, first: u16) -> (u16, PoolAndFlow<'_>) {
    let Some(parameters) = &envelope.parameters else { return (u16::MAX, PoolAndFlow::default()) };
    let mut rest = envelope.recipients[usize::from(first)..].iter().map(|one| one.parameters);
    let own = rest.next().unwrap_or_default();
    let count = 1 + rest.take_while(|other| *other == own).count();
    (u16::try_from(count).unwrap_or(u16::MAX), PoolAndFlow::of(parameters.of(own)))
}

/// Who brought a message, for whoever is to be fair: the account, or else the client's network (a /64 of IPv6). Never 0.
fn client(account: Option<&str>, client: Option<SocketAddr>) -> u32 {
    let hash = match (account, client.map(|client| client.ip().to_canonical())) {
        (Some(account), _) => fair::hash(account.as_bytes()),
        (None, Some(IpAddr::V4(address))) => fair::hash(&address.octets()),
        (None, Some(IpAddr::V6(address))) => fair::hash(&address.octets()[..8]),
        (None, None) => 0,
    };
    hash.max(1)
}

/// A message was found at start: its live recipients go home.
pub(in crate::shard) fn recovered<R: Runtime>(
    shard: &Rc<Shard<R>>,
    location: Location,
    key: u32,
    view: &MessageView<'_>,
) {
    let writer = shard.writer(location.lane);
    let Some(mut live) = writer.lane().entry(key).map(|entry| entry.live().to_vec()) else { return };
    let handed_out = shard.runtime.planted(Defect::DiscardedHandedOut);
    for (end, first, count) in view.at_once().filter(|_| !handed_out) {
        live = live.iter().flat_map(|range| range.around(first, count)).collect();
        at_once::found(shard, (location, key), view, (end, first, count));
    }
    let chooser = Chooser::new(shard, || Some(view.id));
    let life = shard.mesh.lifetimes().number(view.lives().seconds());
    let release = view.release().filter(|_| !shard.runtime.planted(Defect::HeldForgotten));
    let release = release.map(|at| Clock::released(shard.seconds(), view.arrival, at));
    let wish = view.needs.of_sender(view.sender).tls;
    for (first, count, domain) in view.domains() {
        for range in &live {
            let from = first.max(range.first);
            let to = (first + count).min(range.first + range.count);
            if from < to {
                let (now, random) = (shard.seconds(), shard.runtime.random());
                let times = (view.arrival, view.expiry);
                let (not_before, expiry) =
                    Clock::found(now, range.next, times, shard.live.get().longest_wait, random);
                let not_before = if is_old(shard, domain, view.arrival) { 0 } else { not_before };
                let held = release.filter(|at| range.attempts == 0 && *at > now.max(not_before));
                let kept = range.held && range.next > now && !shard.runtime.planted(Defect::HoldForgotten);
                let overdue = expiry <= now && !shard.runtime.planted(Defect::ExpiredUntried);
                let group = Group {
                    location,
                    key,
                    first: from,
                    count: to - from,
                    attempts: range.attempts,
                    standing: match held {
                        _ if kept => GroupPhase::Kept,
                        Some(_) => GroupPhase::Held,
                        None if overdue => GroupPhase::LastTry,
                        None => GroupPhase::Usual,
                    },
                    life,
                    not_before: if kept { range.next } else { held.unwrap_or(not_before) },
                    expiry,
                };
                let client = client(view.account, view.origin().client);
                let alike = |first| (view.alike_from(first), PoolAndFlow::of(view.parameters_of(first)));
                for (group, strand) in parts(shard, chooser.as_ref(), (group, domain, wish), Some(alike)) {
                    hand_off(shard, (domain, strand), group, client);
                }
            }
        }
    }
}

/// Whether the site of a domain may be one that gives this mail up for its age, and did before this process began: it is tried once more, at once
/// and not when it was to be tried next, which may be hours from now.
fn is_old<R: Runtime>(shard: &Shard<R>, domain: &[u8], arrival: UnixMillis) -> bool {
    let live = shard.live.get();
    if live.ages.is_empty() {
        return false;
    }
    let mut room = [0; limits::DOMAIN_MAX + 1];
    let domain = std::str::from_utf8(lower(shard, domain, &mut room)).unwrap_or_default();
    let age = shard.clock.begun().saturating_sub(arrival.seconds_up());
    live.ages.least(domain).is_some_and(|most| age >= most)
}

/// A group left its queue, as its record says something else by now: it goes home again, as it waited there.
pub(in crate::shard) fn rebound<R: Runtime>(shard: &Rc<Shard<R>>, group: &Group, view: &MessageView<'_>) {
    let chooser = Chooser::new(shard, || Some(view.id));
    let wish = view.needs.of_sender(view.sender).tls;
    let Some((address, at)) = view.recipients().nth(group.first.into()) else { return };
    let domain = address.get(at..).unwrap_or_default();
    let client = client(view.account, view.origin().client);
    let alike = |first| (view.alike_from(first), PoolAndFlow::of(view.parameters_of(first)));
    for (group, strand) in parts(shard, chooser.as_ref(), (*group, domain, wish), Some(alike)) {
        hand_off(shard, (domain, strand), group, client);
    }
}

/// The same where nothing can be read of it: by what it left before.
pub(in crate::shard) fn back<R: Runtime>(shard: &Rc<Shard<R>>, rebound: &Rebound) {
    hand_off(shard, (&rebound.domain, rebound.egress.into()), rebound.group, rebound.client);
}

/// A domain in lower case; `<postmaster>` without a domain is ours (RFC 5321 4.5.1).
fn lower<'a, R: Runtime>(
    shard: &Shard<R>,
    domain: &[u8],
    room: &'a mut [u8; limits::DOMAIN_MAX + 1],
) -> &'a [u8] {
    let domain = if domain.is_empty() { shard.boot.node.hostname.as_bytes() } else { domain };
    let lower = &mut room[..domain.len().min(limits::DOMAIN_MAX + 1)];
    for (to, from) in lower.iter_mut().zip(domain) {
        *to = from.to_ascii_lowercase();
    }
    lower
}

/// One group goes home when those before it have.
fn put_off<R: Runtime>(shard: &Shard<R>, (domain, strand): (&[u8], Strand), group: Group, client: u32) {
    let mut room = [0; limits::DOMAIN_MAX + 1];
    let lower = lower(shard, domain, &mut room);
    let home = home_shard(lower, shard.mesh.shards());
    shard.outbound.backlog.borrow_mut().push(home, Handoff { domain: lower.into(), group, client, strand });
}

/// Sends one group home. What finds no room waits here.
fn hand_off<R: Runtime>(shard: &Rc<Shard<R>>, (domain, strand): (&[u8], Strand), group: Group, client: u32) {
    let mut room = [0; limits::DOMAIN_MAX + 1];
    let lower = lower(shard, domain, &mut room);
    let domain = std::str::from_utf8(lower).unwrap_or_default();
    let home = home_shard(lower, shard.mesh.shards());
    if home == shard.index {
        dispatch::enqueue(shard, (domain, strand), group, client);
        return;
    }
    let handoff = Handoff { domain: domain.as_bytes().into(), group, client, strand };
    let mut backlog = shard.outbound.backlog.borrow_mut();
    if !backlog.homes[home].is_empty() {
        backlog.push(home, handoff);
    } else if let Err(handoff) = shard.mesh.offer(home, handoff) {
        backlog.push(home, handoff);
    }
}

/// Sends some of what waits. True: more may go at once, and nobody will ring for it, as no inbox was found full.
pub(in crate::shard) fn send_backlog<R: Runtime>(shard: &Shard<R>) -> bool {
    let backlog = &mut *shard.outbound.backlog.borrow_mut();
    if backlog.is_empty() {
        return false;
    }
    let mut more = false;
    for (home, waiting) in backlog.homes.iter_mut().enumerate() {
        let mut full = false;
        for _ in 0..limits::INBOX_BATCH {
            let Some(handoff) = waiting.pop_front() else { break };
            let copy = shard.runtime.planted(Defect::HandoffRepeated).then(|| handoff.clone());
            if let Err(handoff) = shard.mesh.offer(home, handoff) {
                waiting.push_front(handoff);
                full = true;
                break;
            }
            backlog.length -= 1;
            backlog.length += usize::from(copy.is_some());
            waiting.extend(copy);
        }
        more |= !full && !waiting.is_empty();
        if waiting.is_empty() && waiting.capacity() > limits::HANDOFF_INBOX {
            // After a rush the memory goes too.
            *waiting = VecDeque::new();
        }
    }
    more
}
