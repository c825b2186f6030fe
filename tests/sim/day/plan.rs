//! What a seed means: the shape of the node, the world around it, the mail, and what goes wrong when.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use relevo::runtime::sim::{DiskFaults, Faults};
use relevo::time::Instant;

use super::dice::Dice;
use super::draw;
use super::reloads::{self, Reload, Version};

/// Commands a hop may answer badly.
pub const BANNER: usize = 0;
pub const HELLO: usize = 1;
pub const MAIL: usize = 2;
pub const RCPT: usize = 3;
pub const DATA: usize = 4;
pub const DOT: usize = 5;
pub const OTHER: usize = 6;
pub const VERBS: usize = 7;

/// How a hop answers one command in bad weather: probabilities, the rest is a plain yes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// 4xx.
    pub soft: f64,
    /// 5xx.
    pub hard: f64,
    /// 421 and the end.
    pub shut: f64,
    /// The end without a word; after the dot before or after the message was taken.
    pub cut: f64,
    /// No answer, for longer than anybody waits.
    pub mute: f64,
    /// An answer after some seconds.
    pub late: f64,
}

/// What the DNS says of a site's domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// MX records to the site's hosts.
    Mx,
    /// No MX, an address of the domain itself.
    Address,
    /// There is no such domain.
    Nowhere,
    /// The null MX.
    Null,
    /// An MX whose host does not exist.
    NoHost,
    /// An MX on the loopback.
    Loopback,
    /// An MX at the relay's own listener.
    Ours,
    /// An address where the name of an MX should be.
    Written,
}

/// Some hosts that share their mail.
#[derive(Clone, Debug)]
pub struct SitePlan {
    pub lookup: Lookup,
    pub hosts: Vec<Host>,
    pub domains: Vec<String>,
    pub manners: [Manner; VERBS],
    /// How many of ten thousand recipients it refuses for good, whatever the weather.
    pub unknown_users: u64,
    pub pipelining: bool,
    /// Where the senders live: notifications come here. Never a 5xx, and bad only while the network is.
    pub origin: bool,
    /// Its names mean the first host until they move, and the others from then on.
    pub moves: bool,
    /// Recipients it takes in a transaction, 0: any number.
    pub few: usize,
    /// How often, in bad weather, it says 250 before it has the end of a message, which it then does not take; says two things to one end;
    /// and refuses in the middle of a body; and says more than the answer to MAIL.
    pub early: f64,
    pub twice: f64,
    pub midway: f64,
    pub strays: f64,
    /// Recipients it puts off hear so in words alone: the code says that they are refused for good.
    pub coded: bool,
}

impl SitePlan {
    pub fn is_permanent_failure(&self) -> bool {
        !matches!(self.lookup, Lookup::Mx | Lookup::Address)
    }

    /// The hosts its names mean before and after they move.
    pub fn halves(&self) -> (&[Host], &[Host]) {
        if self.moves { self.hosts.split_at(1) } else { (&self.hosts, &self.hosts) }
    }

    /// Whether it answers at once whatever it answers: then nothing but the plan of retries makes mail wait.
    fn is_prompt(&self) -> bool {
        let quick = |manner: &Manner| manner.shut + manner.cut + manner.mute + manner.late == 0.0;
        let calm = |verb: usize| self.manners[verb].soft + self.manners[verb].hard == 0.0;
        !self.is_permanent_failure()
            && self.few == 0
            && self.early + self.twice + self.midway + self.strays == 0.0
            && self.manners.iter().all(quick)
            && [BANNER, HELLO, MAIL, OTHER].into_iter().all(calm)
            && self.hosts.iter().all(|host| host.state == HostState::Up)
    }
}

#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    pub address: Ipv4Addr,
    pub preference: u16,
    pub state: HostState,
}

impl Host {
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), 25)
    }
}

/// What a host is in bad weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostState {
    Up,
    Refuses,
    Silent,
}

/// How a client goes about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Plain,
    Pipelined,
    /// Goes away in the middle of the body.
    Aborts,
    /// Says RSET in front of DATA.
    Resets,
}

#[derive(Clone, Debug)]
pub struct MessagePlan {
    /// Milliseconds of virtual time.
    pub at: u64,
    /// Bytes of body, about.
    pub size: usize,
    /// Site and domain of each recipient.
    pub recipients: Vec<(usize, String)>,
    pub flavour: Flavour,
    pub null_sender: bool,
    /// Goes on over the connection of the message before.
    pub reuses: bool,
}

/// How a life of the node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Power,
    Kill,
    /// In the so-many-th write or sync from then.
    InWrite(u32),
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How often a new task runs before its maker goes on.
    pub at_once: f64,
    /// Shards of each life; the last goes on.
    pub shards: Vec<usize>,
    /// Connections to a site.
    pub limit: usize,
    /// A planted defect: so many more are opened.
    pub limit_exceeded: usize,
    /// Connections to an address, over all sites.
    pub address_limit: usize,
    pub messages_per_connection: u64,
    /// Handoffs an inbox takes, and outcome credits of a lane: the bound on what a crash may repeat.
    pub inbox: usize,
    pub credits: usize,
    /// Jobs that wait at a site before the others are asked to help, if all shards are taken for busy.
    pub lend_at: usize,
    pub busy: bool,
    /// Seconds.
    pub retry_first: u64,
    pub retry_max: u64,
    pub expire: u64,
    /// MiB, 0: no bound.
    pub spool_max: u64,
    pub sites: Vec<SitePlan>,
    pub clients: Vec<Vec<MessagePlan>>,
    /// Clients that bring no mail and try to stay.
    pub hostile: usize,
    pub network: Faults,
    /// How often hops say what they say in odd words.
    pub odd: f64,
    /// How often the DNS fails in bad weather.
    pub dns: f64,
    /// How often its answers about others than the senders look right and are not: then mail may be returned for a reason of theirs.
    pub dns_lies: f64,
    pub disk: DiskFaults,
    /// Milliseconds in which the disk has no room for one more segment.
    pub full: Option<(u64, u64)>,
    /// The same of the journal, which takes nothing then.
    pub journal_stall: Option<(u64, u64)>,
    /// Bits that flip on the disk while the node is down.
    pub rot: u64,
    /// How many of these are pages that cannot be read any more instead.
    pub unreadable: f64,
    /// How many segments cannot be opened, at some starts.
    pub unopened: f64,
    /// Second in which all names of some sites move to their other hosts.
    pub names_move: u64,
    /// Seconds until which network, disk and the senders' own hosts are bad, and the other hosts.
    pub network_until: u64,
    pub sites_until: u64,
    /// Milliseconds, in order.
    pub ends: Vec<(u64, End)>,
    /// Seconds in which the wall clock is set, in order, and by how many milliseconds.
    pub clock: Vec<(u64, i64)>,
    /// In order.
    pub reloads: Vec<Reload>,
}

impl Plan {
    /// A day at random.
    pub fn new(seed: u64) -> Plan {
        let dice = &mut Dice::new(seed, 1);
        let retry_first = dice.between(2, 20);
        let retry_max = retry_first.max(dice.between(30, 120));
        let expire = dice.between(1800, 3000);
        let network_until = expire / 4;
        let sites_until = if dice.chance(0.2) { expire * 11 / 10 } else { network_until };
        let sites = draw::sites(dice);
        let clients = draw::clients(dice, &sites);
        let calm = dice.chance(0.2);
        let lives = if dice.chance(0.3) { 1 } else { dice.between(1, 4) };
        let mut ends: Vec<(u64, End)> =
            (1..lives).map(|_| (draw::end_time(dice, network_until), draw::end(dice))).collect();
        ends.sort_by_key(|(at, _)| *at);
        let full = dice.chance(0.15).then(|| {
            let from = dice.between(0, 20_000);
            (from, from + dice.between(5_000, 120_000))
        });
        let disk = if calm || dice.chance(0.5) { draw::quick(dice) } else { draw::disk(dice) };
        let failing = disk.append_error + disk.append_short + disk.sync_error > 0.0;
        let mut plan = Plan {
            seed,
            at_once: 0.0,
            shards: (0..=lives).map(|_| dice.between(1, 4) as usize).collect(),
            limit_exceeded: 0,
            address_limit: 20,
            limit: dice.pick(&[1, 1, 2, 3, 5, 20]),
            messages_per_connection: dice.pick(&[0, 0, 1, 2, 10]),
            inbox: dice.pick(&[1, 2, 7, 64, 4096]),
            credits: 4096,
            lend_at: 64,
            busy: false,
            names_move: 0,
            retry_first,
            retry_max,
            expire,
            // A segment that failed is not used again in this life: bounded and failing, a lane stops.
            spool_max: if failing { 0 } else { dice.pick(&[0, 0, 0, 64, 128]) },
            network: if calm { Faults::default() } else { draw::network(dice) },
            odd: 0.0,
            dns_lies: 0.0,
            dns: if calm || dice.chance(0.3) { 0.0 } else { dice.pick(&[0.05, 0.2, 0.6]) },
            disk,
            full,
            journal_stall: None,
            rot: 0,
            unopened: 0.0,
            unreadable: 0.0,
            network_until,
            sites_until,
            ends,
            clock: Vec::new(),
            reloads: Vec::new(),
            sites,
            clients,
            hostile: 0,
        };
        plan.draw_more();
        plan
    }

    /// The same day, on most of which configurations change.
    pub fn reloading(seed: u64) -> Plan {
        let mut plan = Plan::new(seed);
        plan.reloads = reloads::draw(&plan);
        plan
    }

    /// What was thought of later, with dice of its own, so that a seed means what it meant before there were these.
    fn draw_more(&mut self) {
        let dice = &mut Dice::new(self.seed, 6);
        self.credits = dice.pick(&[8, 64, 4096]);
        self.names_move = dice.between(1, self.network_until);
        (self.lend_at, self.busy) = (dice.pick(&[1, 3, 10]), dice.chance(0.5));
        for site in self.sites.iter_mut().filter(|site| site.lookup == Lookup::Mx && site.hosts.len() > 1) {
            site.moves = dice.chance(0.3);
        }
        self.break_rules(&mut Dice::new(self.seed, 12));
        for site in self.sites.iter_mut().filter(|site| site.lookup == Lookup::Loopback) {
            site.lookup = Dice::new(self.seed, 13).pick(&[Lookup::Loopback, Lookup::Ours, Lookup::Written]);
        }
        self.address_limit = Dice::new(self.seed, 14).pick(&[1, 2, 5, 20]);
        self.odd = Dice::new(self.seed, 9).pick(&[0.0, 0.0, 0.1, 0.5]);
        self.dns_lies = Dice::new(self.seed, 10).pick(&[0.0, 0.0, 0.0, 0.1, 0.3]);
        self.clock = draw::clock(&mut Dice::new(self.seed, 11), self.network_until);
        let dice = &mut Dice::new(self.seed, 15);
        self.journal_stall = dice.chance(0.15).then(|| {
            let from = dice.between(0, 20_000);
            (from, from + dice.between(5_000, 120_000))
        });
        self.unopened = Dice::new(self.seed, 8).pick(&[0.0, 0.0, 0.02, 0.1]);
    }

    /// Hops that say too much, too early, or that they take few recipients.
    fn break_rules(&mut self, dice: &mut Dice) {
        // What is sent together may arrive apart there, and then nobody can tell that it came too early.
        let whole = self.network.short + self.network.delay == 0.0;
        for site in self.sites.iter_mut().filter(|site| !site.origin) {
            site.few = dice.pick(&[0, 0, 0, 1, 2, 5]);
            let [early, twice, midway] = [0, 1, 2].map(|_| dice.pick(&[0.0, 0.0, 0.0, 0.1, 0.5]));
            (site.early, site.twice, site.midway) = (if whole { early } else { 0.0 }, twice, midway);
        }
    }

    /// A day at random with power failures, in each of which bits of the disk flip.
    pub fn rotten(seed: u64) -> Plan {
        let mut plan = Plan::new(seed);
        let dice = &mut Dice::new(seed, 5);
        plan.rot = dice.pick(&[1, 10, 100]);
        plan.unreadable = Dice::new(seed, 7).pick(&[0.0, 0.0, 0.1, 0.5]);
        plan.ends = (0..3).map(|life| (1_500 + life * 4_000 + dice.below(4_000), End::Power)).collect();
        plan
    }

    /// A day with much mail and hops that defer and refuse, on which nothing breaks: the ground for planted defects.
    pub fn plain(seed: u64) -> Plan {
        let dice = &mut Dice::new(seed, 2);
        let mut sites: Vec<SitePlan> = (0..4).map(|number| draw::site(dice, number)).collect();
        sites.push(draw::origin(dice, 4));
        for site in &mut sites {
            site.lookup = Lookup::Mx;
            site.hosts.iter_mut().for_each(|host| host.state = HostState::Up);
            site.manners = [Manner::default(); VERBS];
            if !site.origin {
                site.manners[RCPT] = Manner { soft: 0.3, ..Manner::default() };
                site.manners[DOT] = Manner { late: 0.3, ..Manner::default() };
                site.unknown_users = 1_000;
            }
        }
        let clients = (0..6).map(|_| {
            let mut messages: Vec<MessagePlan> = (0..6).map(|_| draw::message(dice, &sites)).collect();
            for message in &mut messages {
                message.at %= 3_000;
                message.flavour = Flavour::Pipelined;
            }
            messages
        });
        let clients = clients.collect();
        Plan {
            seed,
            at_once: 0.0,
            shards: vec![2],
            limit: 3,
            limit_exceeded: 0,
            address_limit: 20,
            messages_per_connection: 0,
            inbox: 64,
            credits: 4096,
            lend_at: 64,
            busy: false,
            names_move: 0,
            retry_first: 3,
            retry_max: 30,
            expire: 1800,
            spool_max: 0,
            network: Faults::default(),
            odd: 0.0,
            dns_lies: 0.0,
            dns: 0.0,
            disk: DiskFaults::default(),
            full: None,
            journal_stall: None,
            rot: 0,
            unopened: 0.0,
            unreadable: 0.0,
            network_until: 450,
            sites_until: 450,
            ends: Vec::new(),
            clock: Vec::new(),
            reloads: Vec::new(),
            sites,
            clients,
            hostile: 0,
        }
    }

    /// Text of the relay's configuration.
    pub fn configuration(&self, version: &Version) -> String {
        let (connections, messages) = (version.limit + self.limit_exceeded, version.messages_per_connection);
        // On half of the days a shaping file says so, over a configuration that knows no bound.
        let shaped = (version.limit as u64 + messages).is_multiple_of(2) && connections > 0 && messages > 0;
        let of_delivery = if shaped { (1_000, 0) } else { (connections, messages) };
        let of_file = format!(
            "#: [default]\n#: connection_limit = {connections}\n#: max_deliveries_per_connection = {messages}\n"
        );
        format!(
            "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
             [[listener]]\naddress = \"10.0.0.1:{}\"\nrelay_from = [\"10.0.0.0/8\"]\n\
             [dns]\nservers = [\"10.0.9.53\", \"10.0.9.54\"]\ntimeout = \"2s\"\n\
             [delivery]\nconnections_per_destination = {}\nconnections_per_address = {}\nmessages_per_connection = {}\nstarttls = false\nprivate_networks = \"allow\"\n\
             [retry]\nfirst = \"{}s\"\nmax = \"{}s\"\nexpire = \"{}s\"\n\
             [spool]\nsegment_size = \"4MiB\"\n{}{}{}",
            version.port,
            of_delivery.0,
            version.address_limit,
            of_delivery.1,
            version.retry_first,
            version.retry_max,
            self.expire,
            if self.spool_max > 0 {
                format!("size_max = \"{}MiB\"\n", self.spool_max)
            } else {
                String::new()
            },
            version.sections(),
            if shaped { &of_file } else { "" },
        )
    }

    /// Where hosts refuse or swallow connections in bad weather.
    pub fn unreachable(&self, state: HostState) -> impl Iterator<Item = SocketAddr> + '_ {
        let hosts = self.sites.iter().flat_map(|site| &site.hosts);
        hosts.filter(move |host| host.state == state).map(Host::socket)
    }

    /// How long after the end of all bad weather the last mail may still be on its way: a conversation that hangs (all
    /// deadlines of RFC 5321 in a row, at several hosts), then the longest wait, then the pause of its site.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(2000 + 3 * self.retry_max)
    }

    /// From when on, and how long at most, a recipient of a site may go without an attempt, if anything can be said of it: its
    /// next retry and a queue before it, where the site answers at once. In bad weather attempts need not arrive; after it,
    /// what hangs may hang until its time is up.
    pub fn neglect_max(&self, site: usize) -> Option<(Instant, Duration)> {
        let Faults { cut, half_open, delay, datagram_loss, datagram_reorder, .. } = self.network;
        let faults = cut + half_open + delay + datagram_loss + datagram_reorder + self.dns;
        let calm = faults + self.odd == 0.0 && !self.has_disk_faults();
        let bound = Duration::from_secs(self.retry_max * 3 / 2 + 60);
        // With few credits, hops that hang may hold all of them.
        // Who was told of hosts that are none goes on asking them for a long time.
        if self.credits != 4096 || self.dns_lies > 0.0 || !self.sites[site].is_prompt() {
            return None;
        }
        let clear = Instant(0) + Duration::from_secs(self.network_until) + HANGS_MAX;
        Some(if calm { (Instant(0), bound) } else { (clear, bound) })
    }

    /// How long what is under way to a site may go on when routes have changed.
    pub fn under_way_max(&self, site: usize, at: Instant) -> Duration {
        let Faults { cut, half_open, delay, .. } = self.network;
        let calm = cut + half_open + delay + self.odd + self.dns_lies == 0.0 && !self.has_disk_faults();
        let over = at > Instant(0) + Duration::from_secs(self.sites_until) + HANGS_MAX;
        if over || (calm && self.sites[site].is_prompt()) { Duration::from_secs(10) } else { HANGS_MAX }
    }

    pub fn has_disk_faults(&self) -> bool {
        let disk = &self.disk;
        self.full.is_some() || disk.append_error + disk.append_short + disk.sync_error > 0.0
    }
}

/// How long a conversation, or what waits for it, may hang after bad weather.
const HANGS_MAX: Duration = Duration::from_secs(1200);
