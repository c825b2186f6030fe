//! Between shards, the queues, the timers and the resolver's memory.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use relevo::config::Retry;
use relevo::dns::cache::Cache;
use relevo::dns::{Answer, LookupResult, QueryType};
use relevo::id::Location;
use relevo::limits;
use relevo::queue::destinations::summary::SummaryWalk;
use relevo::queue::destinations::{Destinations, Effect, Take};
use relevo::queue::flow::Strand;
use relevo::queue::lifetimes::{Lifetimes, Times};
use relevo::queue::outcome::{Disposition, Outcomes, RangeOutcome, Settled};
use relevo::queue::{Group, GroupPhase, schedule};
use relevo::runtime::Bell;
use relevo::shard::assignment::Assignment;
use relevo::shard::mesh::Mesh;
use relevo::shard::message::{Handoff, ShardMessage};
use relevo::shard::timers::{Deadline, Sleep, Timers};
use relevo::time::Instant;

use super::Routine;
use super::inputs::Numbers;
use super::pipe::PipeRuntime;

const NOW: u32 = 1_764_061_200;
const EXPIRY: u32 = 5 * 86_400;
const FAR: u32 = NOW + EXPIRY;

fn group(number: u32, not_before: u32) -> Group {
    let location = Location { lane: 0, slot: 3, offset: 4096 + number };
    Group {
        location,
        key: number,
        first: 0,
        count: 1,
        attempts: 0,
        standing: GroupPhase::Resident,
        life: 0,
        not_before,
        expiry: FAR,
    }
}

fn mesh() -> Mesh {
    Mesh::new(vec![Arc::new(Bell::new()), Arc::new(Bell::new())], Assignment::in_turn(2, 2))
}

struct Handoffs(Mesh);

impl Routine for Handoffs {
    fn run(&mut self) {
        for number in 0..1_000 {
            let handoff = Handoff {
                domain: black_box(&b"mail.example"[..]).into(),
                group: group(number, 0),
                client: 1,
                strand: Strand::default(),
            };
            assert!(self.0.offer(1, handoff).is_ok());
        }
        while let Some(handoff) = self.0.next_handoff(1) {
            black_box(handoff);
        }
        self.0.announce_room(1);
    }
}

/// Recipients go to their home shard.
pub fn handoff() -> Box<dyn Routine> {
    Box::new(Handoffs(mesh()))
}

struct ShardMessages(Mesh);

impl Routine for ShardMessages {
    fn run(&mut self) {
        for number in 0..1_000 {
            let outcome = RangeOutcome::new(0, 1, Disposition::Delivered);
            let outcomes = Outcomes::One(outcome);
            let settled = Settled { home: 1, location: group(number, 0).location, key: number, outcomes };
            self.0.send(0, ShardMessage::Settled(settled));
        }
        while let Some(message) = self.0.next_message(0) {
            black_box(message);
        }
    }
}

/// Outcomes go back to the shard of the lane.
pub fn shard_message() -> Box<dyn Routine> {
    Box::new(ShardMessages(mesh()))
}

/// Domains to which mail goes, each with one group that waits for another day.
const DOMAINS: u32 = 1_000_000;
const SITES: u32 = 50_000;

struct Dispatch {
    queues: Destinations,
    domains: Vec<Box<str>>,
    sites: Vec<Box<str>>,
    numbers: Numbers,
}

impl Dispatch {
    fn new(domains: u32, sites: u32, due: impl Fn(u32) -> u32) -> Dispatch {
        let name = |number: u32| format!("customer-{number}.example").into();
        let site = |number: u32| format!("mx.provider-{number}.example").into();
        let mut made = Dispatch {
            queues: Destinations::new(vec![1_000_000]),
            domains: (0..domains).map(name).collect(),
            sites: (0..sites).map(site).collect(),
            numbers: Numbers(1),
        };
        for (number, name) in (0..).zip(&made.domains) {
            assert!(made.queues.push(name, group(number, due(number)), NOW).is_none());
        }
        made
    }

    /// The domain is resolved, its mail taken and tried: the rest of it is queued again.
    fn carry_out(&mut self, effect: Effect, now: u32, again: impl Fn(&mut Numbers, Group) -> Option<Group>) {
        let site = match effect {
            Effect::Resolve(key, name) => {
                let site = name.bytes().fold(0, |sum, byte| sum * 31 + usize::from(byte)) % self.sites.len();
                self.queues.resolved(key, &self.sites[site])
            }
            Effect::Pump(site) => Some(site),
        };
        let Some(site) = site else { panic!("nothing to do") };
        while let Take::Job(key, group) = self.queues.take(site, now) {
            match again(&mut self.numbers, group) {
                Some(again) => self.queues.attempted(key, &group, &[again], now),
                None => self.queues.attempted(key, &group, &[], now),
            }
            black_box(self.queues.credit(0, 1));
        }
    }
}

impl Routine for Dispatch {
    fn run(&mut self) {
        for number in 0..10_000 {
            let domain = self.numbers.below(self.domains.len() as u64) as usize;
            let effect = self.queues.push(&self.domains[domain], group(number, 0), NOW);
            self.carry_out(effect.expect("it is due"), NOW, |_, _| None);
        }
        assert_eq!(self.queues.queued(), self.domains.len());
    }
}

/// New mail among a million domains that have some already: queued, resolved, taken, delivered.
pub fn dispatch() -> Box<dyn Routine> {
    Box::new(Dispatch::new(DOMAINS, SITES, |_| FAR - 1))
}

/// The same queues, as time goes on.
struct Retries {
    queues: Dispatch,
    rule: Retry,
}

impl Routine for Retries {
    fn run(&mut self) {
        let (mut left, rule) = (10_000, &self.rule);
        while left > 0 {
            let now = self.queues.queues.next_due().expect("all of it waits");
            for effect in self.queues.queues.tick(now, left) {
                left -= 1;
                self.queues.carry_out(effect, now, |numbers, group| {
                    let not_before = schedule::next_attempt(rule, 3, now, numbers.below(u64::MAX) << 32);
                    Some(Group { not_before, expiry: now + EXPIRY, ..group })
                });
            }
        }
    }
}

/// Mail that was deferred becomes due, is tried and deferred again.
pub fn retry() -> Box<dyn Routine> {
    let seconds = Duration::from_secs;
    let rule = Retry {
        first: seconds(300),
        factor: 2.0,
        max: seconds(7200),
        schedule: None,
        expire: seconds(5 * 86_400),
    };
    // A hundred become due each second.
    let queues = Dispatch::new(100_000, 5_000, |number| NOW + 1 + number / 100);
    Box::new(Retries { queues, rule })
}

/// Groups that an overview sums up.
pub const SUMMED: u32 = 100_000;

struct Summary(Destinations, Lifetimes);

impl Routine for Summary {
    fn run(&mut self) {
        let Summary(queues, lifetimes) = self;
        let mut walk = SummaryWalk::default();
        while !walk.step(queues, Times { now: NOW, lifetimes }, limits::ASK_LOOKS) {}
        let sums = walk.sums(queues);
        assert_eq!(sums.all.all(), u64::from(SUMMED));
        black_box(sums);
    }
}

/// All that waits is summed up for the overview of the node, in slices.
pub fn summary() -> Box<dyn Routine> {
    Box::new(Summary(Dispatch::new(SUMMED, 5_000, |_| FAR - 1).queues, Lifetimes::new()))
}

/// The shard's timers with their task.
struct Clock {
    timers: Timers,
    runtime: PipeRuntime,
    task: Pin<Box<dyn Future<Output = ()>>>,
}

impl Clock {
    fn new() -> Clock {
        let (timers, runtime) = (Timers::new(), PipeRuntime::default());
        let task = Box::pin(timers.clone().run(runtime.clone()));
        let mut clock = Clock { timers, runtime, task };
        clock.advance(Duration::from_secs(1));
        clock
    }

    fn advance(&mut self, span: Duration) {
        self.runtime.advance(span);
        let mut context = Context::from_waker(Waker::noop());
        assert!(self.task.as_mut().poll(&mut context).is_pending());
    }
}

struct Sleeps {
    clock: Clock,
    sleeps: Vec<Sleep>,
    numbers: Numbers,
}

impl Routine for Sleeps {
    fn run(&mut self) {
        let (now, mut context) = (self.clock.runtime.now(), Context::from_waker(Waker::noop()));
        for number in 0..10_000 {
            let at = now + Duration::from_millis(self.numbers.below(2_000));
            let mut sleep = self.clock.timers.sleep_until(at);
            black_box(Pin::new(&mut sleep).poll(&mut context)).is_pending();
            // Half of them are not waited for to the end, as what they limit came in time.
            if number % 2 == 0 {
                self.sleeps.push(sleep);
            }
        }
        for _ in 0..100 {
            self.clock.advance(Duration::from_millis(21));
        }
        for mut sleep in self.sleeps.drain(..) {
            assert!(Pin::new(&mut sleep).poll(&mut context).is_ready());
        }
    }
}

/// Sleeps are made, given up or waited for.
pub fn timers() -> Box<dyn Routine> {
    Box::new(Sleeps { clock: Clock::new(), sleeps: Vec::new(), numbers: Numbers(1) })
}

struct Deadlines {
    clock: Clock,
    deadlines: Vec<Deadline>,
}

impl Routine for Deadlines {
    fn run(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            let at = self.clock.timers.recent() + Duration::from_secs(300);
            for deadline in &self.deadlines {
                deadline.set(at);
                assert!(deadline.poll_passed(&mut context).is_pending());
            }
            self.clock.advance(Duration::from_millis(100));
        }
    }
}

/// A thousand connections move their deadlines, ten times in the second of one sweep.
pub fn deadlines() -> Box<dyn Routine> {
    let clock = Clock::new();
    let deadlines = (0..1_000).map(|_| clock.timers.deadline()).collect();
    Box::new(Deadlines { clock, deadlines })
}

struct Questions {
    cache: Cache,
    names: Vec<Box<str>>,
    numbers: Numbers,
}

impl Routine for Questions {
    fn run(&mut self) {
        let mut found = 0;
        for _ in 0..10_000 {
            let name = self.numbers.below(self.names.len() as u64) as usize;
            found += u32::from(self.cache.get(QueryType::Mx, &self.names[name], Instant(1)).is_some());
        }
        assert!((8_500..9_500).contains(&found), "{found}");
    }
}

/// Questions to a cache that is nearly full; it knows nine of ten answers.
pub fn cache() -> Box<dyn Routine> {
    let names: Vec<Box<str>> =
        (0..50_000).map(|number| format!("customer-{number}.example").into()).collect();
    let mut cache = Cache::new(relevo::limits::DNS_CACHE_BYTES);
    for (number, name) in names.iter().enumerate().filter(|(number, _)| number % 10 > 0) {
        let answer =
            Ok(Answer::Mx { hosts: vec![(10, format!("mx.provider-{}.example", number / 20))], cut: false });
        cache.put(
            QueryType::Mx,
            name,
            &LookupResult { answer, ttl: Duration::from_secs(3600), secure: false },
            (Instant(1), 0),
        );
    }
    Box::new(Questions { cache, names, numbers: Numbers(1) })
}
