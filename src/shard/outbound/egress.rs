//! By which source mail leaves, and what becomes of a source that does not work: it is suspended on all shards, its mail goes by others of its
//! pool (`reroute`), and it is looked at now and then until it works again.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::id::MessageId;
use crate::limits;
use crate::mail::envelope::TlsWish;
use crate::mail::parameters::{Key, Parameters};
use crate::observe::diagnostics::Level;
use crate::queue::Group;
use crate::queue::flow::{Flow, Strand};
use crate::route::egress::{self, EgressKey, Source};
use crate::route::silence::Sought;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::live::InForce;
use crate::shard::outbound::source;

/// Chooses for the recipients of one message.
pub(super) struct Chooser {
    live: Rc<InForce>,
    message: MessageId,
}

impl Chooser {
    /// None: all mail leaves by the node's own addresses.
    pub(super) fn new<R: Runtime>(
        shard: &Shard<R>,
        message: impl FnOnce() -> Option<MessageId>,
    ) -> Option<Chooser> {
        let live = shard.live.get();
        if live.egresses.is_empty() {
            return None;
        }
        message().map(|message| Chooser { live, message })
    }

    fn choose<R: Runtime>(&self, shard: &Shard<R>, pool: Option<&str>, domain: &[u8]) -> EgressKey {
        if let Some(pool) = pool.filter(|pool| !self.live.egresses.knows(pool)) {
            tell_unknown(shard, &self.live, pool);
        }
        let mut seed = egress::seed(self.message, domain);
        if shard.runtime.planted(Defect::SourceForgotten) {
            seed = shard.runtime.random();
        }
        self.live.egresses.choose(pool, seed)
    }
}

/// Somebody wants mail to leave by what is not there. It leaves by the default.
fn tell_unknown<R: Runtime>(shard: &Shard<R>, live: &InForce, pool: &str) {
    shard.instruments.counters.pools_unknown.add(1);
    let (generation, told) = shard.outbound.sources.told.get();
    let told = if generation == live.generation { told } else { 0 };
    if told < limits::UNKNOWN_POOLS_TOLD {
        shard.outbound.sources.told.set((live.generation, told + 1));
        let words = "no [[pool]] and no [[source]] of this name is in the configuration";
        shard.say(Level::Warning, format_args!("mail for the pool {pool:?} leaves by the default: {words}"));
    }
}

/// What says by which strand a recipient's mail is queued: its pool, and its flow.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PoolAndFlow<'a> {
    pool: Option<&'a str>,
    flow: Flow,
}

impl<'a> PoolAndFlow<'a> {
    /// That of mail with these parameters.
    pub(super) fn of(parameters: Parameters<&'a str>) -> PoolAndFlow<'a> {
        let pool = parameters.value(Key::Pool).filter(|pool| !pool.is_empty());
        PoolAndFlow { pool, flow: Flow::of(&parameters) }
    }
}

/// A group in parts of one strand each; `alike` says of a recipient how many from it on have the same parameters, and what these wanted. None:
/// no recipient has any.
pub(super) fn parts<'a, R: Runtime>(
    shard: &'a Shard<R>,
    chooser: Option<&'a Chooser>,
    (group, domain, wish): (Group, &'a [u8], TlsWish),
    alike: Option<impl Fn(u16) -> (u16, PoolAndFlow<'a>) + 'a>,
) -> impl Iterator<Item = (Group, Strand)> + 'a {
    let mut left = Some(group);
    std::iter::from_fn(move || {
        let group = left.take()?;
        let (count, wanted) =
            alike.as_ref().map_or((group.count, PoolAndFlow::default()), |alike| run(&group, alike));
        if count < group.count {
            left = Some(Group { first: group.first + count, count: group.count - count, ..group });
        }
        let flow = if shard.runtime.planted(Defect::FlowForgotten) { Flow::default() } else { wanted.flow };
        let egress = chooser.map_or(EgressKey::NODE, |chooser| chooser.choose(shard, wanted.pool, domain));
        Some((Group { count, ..group }, Strand { egress: egress.for_tls(wish), flow }))
    })
}

/// How many recipients of a group wanted for the same as its first, and what: their other parameters may differ.
fn run<'a>(group: &Group, alike: impl Fn(u16) -> (u16, PoolAndFlow<'a>)) -> (u16, PoolAndFlow<'a>) {
    let (first, wanted) = alike(group.first);
    let mut count = first.clamp(1, group.count);
    while count < group.count {
        let (more, other) = alike(group.first + count);
        if other != wanted {
            break;
        }
        count += more.clamp(1, group.count - count);
    }
    (count, wanted)
}

/// A connection by a source came up, or not by its fault.
pub(super) fn works<R: Runtime>(shard: &Shard<R>, source: &Source) {
    if source.resume() {
        shard.live.get().egresses.changed();
        shard.say(Level::Info, format_args!("source {} works again", source.name()));
    }
}

/// Nothing leaves by a source, as it does not work.
pub(super) fn failed<R: Runtime>(shard: &Shard<R>, source: &Source, why: &str) {
    if source.suspend(why, (shard.runtime.now(), shard.runtime.random())) {
        shard.live.get().egresses.changed();
        let words =
            "it is suspended; its mail goes by others of its pool where there are any, and else it waits";
        shard.say(Level::Error, format_args!("{why}: {words}"));
    }
}

/// Every second, on one shard of the node: suspended sources are looked at when that is due.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    let live = shard.live.get();
    let suspended = live.egresses.sources().filter(|source| source.is_suspended()).count();
    shard.instruments.counters.sources_suspended.set(if shard.index == 0 { suspended as u64 } else { 0 });
    if shard.index > 0 {
        return;
    }
    look_for_addresses(shard);
    if suspended == 0 || shard.outbound.sources.looks.replace(true) {
        return;
    }
    let now = shard.runtime.now();
    let due = live.egresses.sources().filter(|source| source.is_due(now));
    let due: Vec<Arc<Source>> = due.take(limits::SOURCES_LOOKED_AT).cloned().collect();
    let own = shard.clone();
    shard.runtime.spawn_vital("sources", async move {
        for source in due {
            look_at(&own, &source).await;
        }
        own.outbound.sources.looks.set(false);
    });
}

/// Sources that work by one of two addresses: whether the other is there.
fn look_for_addresses<R: Runtime>(shard: &Shard<R>) {
    let live = shard.live.get();
    let missing: Vec<&Arc<Source>> =
        live.egresses.sources().filter(|source| source.misses() && !source.is_suspended()).collect();
    if missing.is_empty() {
        return;
    }
    // All of them have their turn.
    let from = shard.runtime.random() as usize % missing.len();
    for source in missing.iter().cycle().skip(from).take(missing.len().min(limits::SOURCES_LOOKED_AT)) {
        let _ = without_address(shard, source);
    }
}

/// What is said of a source that has addresses, none of which is on this machine.
fn without_address<R: Runtime>(shard: &Shard<R>, source: &Source) -> Option<String> {
    let is_here = |address: &IpAddr| shard.runtime.has_address(*address).unwrap_or(false);
    let (here, gone): (Vec<IpAddr>, Vec<IpAddr>) = source.config.addresses().partition(is_here);
    here.iter().for_each(|address| source::note_address(shard, source, *address, true));
    gone.iter().for_each(|address| source::note_address(shard, source, *address, false));
    gone.first().filter(|_| here.is_empty()).map(|address| source::gone(source, *address))
}

async fn look_at<R: Runtime>(shard: &Shard<R>, source: &Source) {
    if let Some(why) = trouble(shard, source).await {
        return failed(shard, source, &why);
    }
    match (source.sought(), &source.config.proxy) {
        (Sought::Greeting(to), Some(proxy)) => match source::is_heard(shard, (source, proxy), to).await {
            Ok(()) => {
                source.heard(shard.runtime.now());
                works(shard, source);
            }
            Err(error) => failed(shard, source, &error.to_string()),
        },
        (Sought::Others, _) => {
            if source.try_again(shard.runtime.now()) {
                shard.live.get().egresses.changed();
                shard.say(Level::Info, format_args!("source {} is tried again", source.name()));
            }
        }
        _ => works(shard, source),
    }
}

/// What is wrong with a source, as far as can be told without a host to connect to.
async fn trouble<R: Runtime>(shard: &Shard<R>, source: &Source) -> Option<String> {
    if let Some(proxy) = &source.config.proxy {
        return source::is_there(shard, source, proxy, limits::PROXY_LOOK)
            .await
            .err()
            .map(|error| error.to_string());
    }
    without_address(shard, source)
}
