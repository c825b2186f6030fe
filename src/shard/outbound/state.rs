//! What a shard keeps for the way out.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Boot, Particulars};
use crate::limits;
use crate::mail::classify::Classes;
use crate::mail::classify::judge::Judge;
use crate::policy::dane;
use crate::policy::failures::Failures;
use crate::policy::reports::ReportRate;
use crate::policy::tls;
use crate::queue::destinations::{Destinations, DomainKey, SiteKey};
use crate::queue::fair::{FairCounts, FairQueue};
use crate::runtime::{Defect, Runtime};
use crate::shard::background::Background;
use crate::shard::live::InForce;
use crate::shard::mesh::Mesh;
use crate::shard::message::{Handoff, Known, Returned};
use crate::shard::outbound::address::Addresses;
use crate::shard::outbound::asking::pace::AskingPace;
use crate::shard::outbound::known_keys::KnownKeys;
use crate::shard::outbound::opening::{OpeningConnection, Openings};
use crate::shard::outbound::provider::Providers;
use crate::shard::outbound::receiver::Receivers;
use crate::shard::outbound::resolve::{Resolver, Unroutable};
use crate::shard::outbound::site::Site;
use crate::shard::outbound::tenant_counts::TenantCounts;
use crate::shard::outbound::tenant_tags::TenantTags;
use crate::shard::promise::Fulfil;
use crate::shard::timers::Timers;
use crate::time::Instant;

/// The queues, where they lead, and the connections there.
pub(in crate::shard) struct Outbound<R: Runtime> {
    /// Handoffs that found no room.
    pub backlog: RefCell<Backlog>,
    /// The queues.
    pub destinations: RefCell<Destinations>,
    /// Domains that are asked for.
    pub asking: Asking,
    /// Where domains lead.
    pub resolver: Resolver<R>,
    /// What is done between all else.
    pub background: Background,
    /// Where it is looked next for domains that are asked for again while their mail goes on.
    pub busy_looked: Cell<usize>,
    /// What waits to be told, or given up.
    pub tending: Tending,
    /// What is suspended, as far as that was taken up.
    pub suspending: Suspending,
    /// Providers of these that have limits.
    pub providers: Providers,
    /// What its sites lead to.
    pub receivers: Receivers,
    /// By which sources mail leaves.
    pub sources: Sources,
    /// Sites of the queues.
    pub sites: RefCell<HashMap<SiteKey, Rc<Site>, ahash::RandomState>>,
    /// Sites with connections that have nothing to do.
    pub resting: RefCell<BTreeMap<SiteKey, Rc<Site>>>,
    /// Sites that found no free connection.
    pub refused: RefCell<VecDeque<SiteKey>>,
    /// How many of them were not asked yet since a connection may be free.
    pub refused_left: Cell<usize>,
    /// Next hops were left alone when this was looked at last.
    pub rests: Cell<bool>,
    /// Sites that keep a connection free.
    pub spares: RefCell<Vec<SiteKey>>,
    /// Others want connections that idle connections here hold.
    pub asked: Cell<bool>,
    /// Work lent and borrowed.
    pub lending: Lending,
    /// Connections open now, and those that are to be.
    pub connections: Cell<usize>,
    /// Those that are to be.
    pub begun: RefCell<VecDeque<OpeningConnection<R>>>,
    /// They are being opened.
    pub opens: Cell<bool>,
    /// Those that have carried nothing yet.
    pub openings: Rc<Openings>,
    /// Addresses it is connected to, and who waits for one.
    pub addresses: Rc<Addresses>,
    /// TLS towards next hops.
    pub tls_client: tls::Client,
    /// What is proven to smart hosts.
    pub keys: KnownKeys,
    /// What hosts showed of late.
    pub hosts: Hosts,
    /// What replies mean.
    pub judge: RefCell<Judge>,
    /// Outcomes whose message is being read, for the accounting or for a bounce.
    pub settling: Cell<usize>,
    /// Notifications of this second.
    pub reports: RefCell<ReportRate>,
    /// Tenants whose mail got return paths, as this shard told the others.
    pub known_tenants: RefCell<HashSet<Box<str>>>,
    /// All of them, by what return paths have of them.
    pub tenant_tags: RefCell<TenantTags>,
    /// Where what became of their mail is counted.
    pub tenants: TenantCounts,
    /// What was asked of the shards of lanes about mail that is handed over.
    pub standings: Standings,
}

impl<R: Runtime> Outbound<R> {
    /// Nothing is queued and nobody known.
    pub fn new(
        runtime: &R,
        timers: &Timers,
        (boot, particulars): (&Boot, &Particulars),
        live: Rc<InForce>,
        (mesh, shard): (&Arc<Mesh>, usize),
        tls_client: tls::Client,
    ) -> Outbound<R> {
        let uncounted = u32::from(runtime.planted(Defect::CreditsUncounted));
        let credits = mesh.credits() + 1000 * uncounted;
        let node = (&*boot.node.hostname, mesh.dns_cache());
        let per_address = live.config.delivery.connections_per_address;
        let mut destinations = Destinations::new(vec![credits; mesh.lanes()]);
        destinations.set_weights(live.tenants.weights().clone());
        let mut resolver = Resolver::new(runtime.clone(), timers.clone(), live, node);
        resolver.limit_questions(particulars.questions_max);
        resolver.share_policies(mesh.policies().clone());
        Outbound {
            backlog: RefCell::new(Backlog::new(mesh.shards())),
            destinations: RefCell::new(destinations),
            asking: Asking::new(runtime.random(), particulars.questions_max),
            resolver,
            background: Background::default(),
            busy_looked: Cell::new(0),
            tending: Tending::default(),
            suspending: Suspending::default(),
            providers: Providers::default(),
            receivers: Receivers::default(),
            sources: Sources::default(),
            sites: RefCell::default(),
            resting: RefCell::default(),
            refused: RefCell::default(),
            refused_left: Cell::default(),
            rests: Cell::default(),
            spares: RefCell::default(),
            asked: Cell::new(false),
            lending: Lending::new(mesh.shards()),
            connections: Cell::new(0),
            begun: RefCell::default(),
            opens: Cell::new(false),
            openings: Rc::new(Openings::new(runtime.random())),
            addresses: Rc::new(Addresses::new((mesh.clone(), shard), per_address)),
            tls_client,
            keys: KnownKeys::default(),
            hosts: Hosts::default(),
            judge: RefCell::new(Judge::new(Classes::shipped())),
            reports: RefCell::default(),
            known_tenants: RefCell::default(),
            tenant_tags: RefCell::default(),
            tenants: TenantCounts::default(),
            settling: Cell::new(0),
            standings: Standings::default(),
        }
    }
}

/// What was asked of the shards of lanes about mail that is handed over: one question at a time of each connection.
#[derive(Default)]
pub(in crate::shard) struct Standings {
    /// The number of the next.
    pub(super) next: Cell<u32>,
    /// Who waits for an answer, by the number of the question.
    pub(super) asked: RefCell<HashMap<u32, Fulfil<Option<Box<Known>>>>>,
}

/// What a shard knows of sources.
#[derive(Default)]
pub struct Sources {
    /// Changes of suspensions that it has seen to.
    pub(super) seen: Cell<u64>,
    /// Sources are being looked at.
    pub(super) looks: Cell<bool>,
    /// Sites whose source has had its day of warm-up there.
    pub(super) over: RefCell<BTreeSet<SiteKey>>,
    /// Sites that another source sends to in place of their own.
    pub(super) elsewhere: RefCell<BTreeSet<SiteKey>>,
    /// Their mail is being led to others.
    pub(super) overflows: Cell<bool>,
    /// Pools that nobody knows were told of for this configuration, so many.
    pub(super) told: Cell<(u64, usize)>,
}

/// What hosts showed of late.
pub(in crate::shard) struct Hosts {
    /// TLS broke there.
    pub tls_failures: RefCell<Failures>,
    /// They were too busy when TLS was up, or asked for.
    pub tls_loads: RefCell<Failures>,
    /// TLS to them by records of the DNS.
    pub certified: RefCell<dane::Clients>,
    /// They took no message.
    pub hop_failures: RefCell<Failures>,
    /// They hang up on EHLO and know HELO.
    pub ehlo_failures: RefCell<Failures>,
    /// They lose commands which are sent together, though they offer PIPELINING.
    pub pipelining_failures: RefCell<Failures>,
}

impl Default for Hosts {
    fn default() -> Hosts {
        Hosts {
            tls_failures: Failures::new(limits::TLS_FAILURE_KEPT, limits::TLS_FAILURES_MAX).into(),
            tls_loads: Failures::new(limits::TLS_FAILURE_KEPT, limits::TLS_FAILURES_MAX).into(),
            certified: RefCell::default(),
            hop_failures: Failures::new(limits::HOP_FAILURE_KEPT, limits::HOP_FAILURES_MAX).into(),
            ehlo_failures: Failures::new(limits::MANNERS_KEPT, limits::MANNERS_MAX).into(),
            pipelining_failures: Failures::new(limits::MANNERS_KEPT, limits::MANNERS_MAX).into(),
        }
    }
}

/// What a shard lent and borrowed.
pub struct Lending {
    pub(super) lent: RefCell<Vec<Lent>>,
    /// What is to go home, by home shard.
    pub(super) returns: RefCell<Vec<Returned>>,
    /// Sites with borrowed jobs.
    pub(super) borrowing: RefCell<Vec<Rc<Site>>>,
    /// Borrowed jobs that wait for a connection.
    pub(super) waiting: Cell<usize>,
    /// This shard works most of its time.
    pub(super) busy: Cell<bool>,
    /// Since when.
    pub(super) busy_since: Cell<Instant>,
    /// It counts as a lender until then.
    pub(super) lent_until: Cell<Instant>,
    /// When that was last looked at, and how long it had worked until then.
    pub(super) measured: Cell<(Instant, Duration)>,
    pub(super) next_look: Cell<Instant>,
}

/// What another shard has of ours.
#[derive(Clone, Copy)]
pub(super) struct Lent {
    pub(super) jobs: usize,
    /// It gave something back; it is not asked before this.
    pub(super) rests_until: Instant,
}

impl Lending {
    /// Nothing is lent, among so many shards.
    pub fn new(shards: usize) -> Lending {
        Lending {
            lent: RefCell::new(vec![Lent { jobs: 0, rests_until: Instant(0) }; shards]),
            returns: RefCell::new(vec![Returned::default(); shards]),
            borrowing: RefCell::default(),
            waiting: Cell::new(0),
            busy: Cell::new(false),
            busy_since: Cell::new(Instant(0)),
            lent_until: Cell::new(Instant(0)),
            measured: Cell::new((Instant(0), Duration::ZERO)),
            next_look: Cell::new(Instant(0)),
        }
    }

    /// What the site borrowed goes home if nobody gets to it.
    pub(super) fn watch(&self, site: &Rc<Site>) {
        let mut borrowing = self.borrowing.borrow_mut();
        if !borrowing.iter().any(|other| Rc::ptr_eq(other, site)) {
            borrowing.push(site.clone());
        }
    }
}

/// Handoffs that found no room, by home shard: a hot one must not hold up the others.
pub struct Backlog {
    pub(super) homes: Vec<VecDeque<Handoff>>,
    pub(super) length: usize,
}

impl Backlog {
    /// Nothing waits, among so many shards.
    pub fn new(shards: usize) -> Backlog {
        Backlog { homes: vec![VecDeque::new(); shards], length: 0 }
    }

    /// Handoffs that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, home: usize, handoff: Handoff) {
        self.homes[home].push_back(handoff);
        self.length += 1;
    }
}

/// What waits to be seen to.
#[derive(Default)]
pub struct Tending {
    /// The sites are being gone through.
    pub(super) tends: Cell<bool>,
    /// Which is next.
    pub(super) place: Cell<usize>,
    /// Domains that lead nowhere, each once: none is asked for again before it was seen to.
    pub(super) unroutable: RefCell<VecDeque<(DomainKey, Unroutable)>>,
    /// They are being seen to.
    pub(super) settles: Cell<bool>,
}

/// How far what is suspended was taken up.
#[derive(Default)]
pub(in crate::shard) struct Suspending {
    /// How often that had changed.
    pub generation: Cell<u64>,
    /// All domains were looked at for it as often.
    pub looked: Cell<u64>,
    /// They are being looked at.
    pub looks: Cell<bool>,
    /// Mail that is not due is to go back as its record tells.
    pub returns: Cell<bool>,
    /// Keys of sites are set, or were before.
    pub sets: Cell<bool>,
    /// Something ended before its time: what waits for that is due.
    pub resumes: Cell<bool>,
    /// No site is held back here by itself after this time.
    pub holds_until: Cell<Instant>,
    /// The node is to be emptied: no mail is taken in.
    pub drains: Cell<bool>,
}

/// Domains that are resolved, and that wait for it.
pub struct Asking {
    pub(super) waiting: RefCell<FairQueue<(DomainKey, Rc<str>)>>,
    pub(super) prompt_max: usize,
    pub(super) slow_max: usize,
    /// How fast places are given.
    pub(super) pace: AskingPace,
    pub(super) paces: Cell<bool>,
    /// Those asked for since a moment, and those that are slow.
    pub(super) prompt: Cell<usize>,
    pub(super) slow: Cell<usize>,
    /// Who has how many of the slow ones, by message and zone, and by client.
    pub(super) slow_of: RefCell<(FairCounts, FairCounts)>,
    pub(super) admitting: Cell<bool>,
    pub(super) probing: Cell<bool>,
    pub(super) deaf: Cell<bool>,
    /// Since when there is always somebody who waits; None: nobody does.
    pub(super) waits_since: Cell<Option<Instant>>,
    /// Those who wait for long are being told so.
    pub(super) tells: Cell<bool>,
}

impl Asking {
    /// Nothing is asked for. `secret` is what nobody outside can know.
    /// There are open files for so many questions at one time.
    pub fn new(secret: u64, questions: usize) -> Asking {
        let share = |most: usize| (most * questions / limits::DNS_INFLIGHT_MAX).clamp(1, most);
        Asking {
            prompt_max: share(limits::RESOLVES_PROMPT),
            slow_max: share(limits::RESOLVES_SLOW),
            pace: AskingPace::new(share(limits::RESOLVES_PROMPT)),
            paces: Cell::new(false),
            waiting: RefCell::new(FairQueue::new(secret)),
            prompt: Cell::new(0),
            slow: Cell::new(0),
            slow_of: RefCell::new((FairCounts::new(secret), FairCounts::new(!secret))),
            admitting: Cell::new(false),
            probing: Cell::new(false),
            deaf: Cell::new(false),
            waits_since: Cell::new(None),
            tells: Cell::new(false),
        }
    }

    /// Since when somebody has always waited to be asked for, as far as looks four times a second show it.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waits_since.get()
    }

    /// No name server answers.
    pub(in crate::shard) fn is_deaf(&self) -> bool {
        self.deaf.get()
    }

    /// Domains that wait to be asked for, and that are asked for.
    pub fn levels(&self) -> (usize, usize) {
        (self.waiting.borrow().len(), self.prompt.get() + self.slow.get())
    }

    pub(super) fn has_room(&self) -> bool {
        if self.deaf.get() {
            return self.prompt.get() + self.slow.get() < limits::RESOLVES_DEAF;
        }
        self.prompt.get() < self.prompt_max
    }
}
