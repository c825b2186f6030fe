//! Where a domain's mail goes: the route table, then MX and addresses through this shard's own resolver and cache.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::dns::cache::Cache;
use crate::dns::latest::ResolverFiles;
use crate::dns::message::Reading;
use crate::dns::{Answer, LookupError, LookupResult, QueryType};
use crate::limits;
use crate::mail::address;
use crate::mail::envelope::TlsWish;
use crate::policy::failures::Failures;
use crate::queue::suspension::ActiveSuspensions;
use crate::route::gate::{AdmittedAddress, Gate};
use crate::route::{self, Hop, Host, HostAddress, NoRoute, Route};
use crate::runtime::{Defect, Runtime};
use crate::shard::count_guard::CountGuard;
use crate::shard::live::InForce;
use crate::shard::outbound::servers::NameServers;
use crate::shard::sts::StsPolicies;
use crate::shard::timers::Timers;
use crate::time::Instant;
use renew::Renewals;
use unroutable::{never, no_domain};
use waiters::{Asker, LookupOutcome, Waiters};

mod admitted;
mod cached;
mod dane;
mod hosts;
mod obey;
mod ours;
mod redirect;
mod renew;
mod sts;
mod unroutable;
mod waiters;

pub use dane::HostRecords;
pub use renew::Renewal;
pub use unroutable::Unroutable;
pub(super) use unroutable::not_now;

/// The resolver of one shard.
pub struct Resolver<R: Runtime> {
    runtime: R,
    timers: Timers,
    live: RefCell<Rc<InForce>>,
    servers: NameServers<R>,
    /// What the machine's files say, and which of their changes that is.
    files: RefCell<(u64, ResolverFiles)>,
    own_name: String,
    gate: RefCell<Gate>,
    /// When the machine's addresses were looked at last.
    own_looked: Cell<Instant>,
    cache: RefCell<Cache>,
    /// How often there were other name servers: what those before say counts for nothing.
    replaced: Cell<u64>,
    /// Who else waits for a question that is being asked.
    waiters: Waiters,
    /// Answers that end soon and are in use.
    renewals: Renewals,
    /// Hosts whose addresses were waited for in vain, those of any kind and those of IPv6: whoever can do without them does not wait again
    /// at once. Whoever cannot asks.
    late: RefCell<Failures>,
    late_ipv6: RefCell<Failures>,
    /// Policies of domains.
    policies: Arc<StsPolicies>,
    /// Where operators lead mail meanwhile.
    pub redirects: RefCell<ActiveSuspensions>,
    /// Questions on their way, and how many there may be.
    asking: Cell<usize>,
    asking_max: usize,
}

impl<R: Runtime> Resolver<R> {
    /// A resolver with an empty cache of so many bytes; `own_name` is this relay's.
    pub fn new(
        runtime: R,
        timers: Timers,
        live: Rc<InForce>,
        (own_name, cache): (&str, usize),
    ) -> Resolver<R> {
        let mut gate = live.gate.clone();
        if runtime.planted(Defect::GateSkipped) {
            gate.plant_open();
        }
        let servers = NameServers::new(runtime.clone(), timers.clone(), &live.config.dns);
        servers.trust(&live.config.tls.trust_ad);
        Resolver {
            servers,
            runtime,
            timers,
            files: RefCell::new((0, hosts::files(&live.config.dns))),
            live: RefCell::new(live),
            own_name: own_name.to_owned(),
            gate: RefCell::new(gate),
            own_looked: Cell::new(Instant(0)),
            cache: RefCell::new(Cache::new(cache)),
            replaced: Cell::new(0),
            waiters: Waiters::default(),
            renewals: Renewals::default(),
            late: Failures::new(limits::DNS_FAILURE_TTL, limits::LATE_HOSTS_MAX).into(),
            late_ipv6: Failures::new(limits::MORE_ADDRESSES_FAILED, limits::LATE_HOSTS_MAX).into(),
            policies: Arc::default(),
            redirects: RefCell::default(),
            asking: Cell::new(0),
            asking_max: limits::DNS_INFLIGHT_MAX,
        }
    }

    /// There are open files for so many questions at one time.
    pub fn limit_questions(&mut self, most: usize) {
        self.asking_max = most.clamp(1, limits::DNS_INFLIGHT_MAX);
    }

    /// The policies of domains are the node's.
    pub fn share_policies(&mut self, policies: Arc<StsPolicies>) {
        self.policies = policies;
    }

    /// The machine's addresses, as they are now. What was known stays where nobody can say.
    pub async fn learn_own_addresses(&self) -> io::Result<()> {
        self.own_looked.set(self.runtime.now());
        let own = self.runtime.own_addresses().await?;
        self.gate.borrow_mut().learn(own);
        Ok(())
    }

    /// The same, where that was a moment ago and it is to be said whether a host is this machine. Where the list cannot be had the kernel is asked
    /// for each address.
    async fn look_at_own_addresses(&self) {
        let now = self.runtime.now();
        if now.since(self.own_looked.get()) < limits::OWN_ADDRESSES_FRESH || !self.gate.borrow().knows_all() {
            return;
        }
        Box::pin(self.until(now + limits::OWN_ADDRESSES_PATIENCE, self.learn_own_addresses())).await;
    }

    /// Looks whether the machine's files say something else by now. Other name servers may know other names, as those of another network
    /// do: nothing that was said before holds.
    pub fn look_at_files(&self) {
        let mut files = self.files.borrow_mut();
        let Some(newer) = self.live.borrow().config.dns.latest.newer(files.0) else { return };
        let others = newer.1.servers != files.1.servers;
        *files = newer;
        drop(files);
        if others {
            self.replace_servers();
        }
    }

    /// This is in force from now on. What was begun before begins again.
    pub fn take_up(&self, live: Rc<InForce>) {
        self.gate.borrow_mut().configure(&live.gate);
        let known = hosts::files(&live.config.dns);
        let others = known.servers != self.files.borrow().1.servers;
        *self.files.borrow_mut() = (0, known);
        self.servers.configure(&live.config.dns);
        let trusts = self.servers.trust(&live.config.tls.trust_ad);
        *self.live.borrow_mut() = live;
        if others || trusts {
            self.replace_servers();
        }
    }

    /// Whether one of our own listeners has this port.
    pub fn listens_on(&self, port: u16) -> bool {
        self.gate.borrow().listens_on(port)
    }

    /// Nothing holds that others said before.
    fn replace_servers(&self) {
        self.servers.replace(&self.files.borrow().1.servers);
        self.replaced.set(self.replaced.get() + 1);
        self.cache.borrow_mut().clear();
        self.late.borrow_mut().clear();
        self.late_ipv6.borrow_mut().clear();
    }

    /// Those who are asked.
    pub fn servers(&self) -> &NameServers<R> {
        &self.servers
    }

    /// Whether [`Resolver::next_hop`] asks nobody.
    pub fn needs_no_question(&self, domain: &str) -> bool {
        match self.live.borrow().table.route(domain) {
            Route::Fixed(hop) => {
                let known = |host: &Host| hosts::known(&self.files.borrow().1, host).is_some();
                hop.hosts.iter().all(|host| host.at != HostAddress::Name || known(host))
            }
            Route::Mx { .. } => {
                domain.starts_with('[') || address::is_numeric(domain) || self.is_cached(domain)
            }
        }
    }

    /// Whether the MX of a domain is remembered, and all that is asked of its preferred hosts: those behind them are asked for only if
    /// none of these can be reached.
    fn is_cached(&self, domain: &str) -> bool {
        let now = self.runtime.now();
        let cache = &mut *self.cache.borrow_mut();
        let Some(found) = cache.get(QueryType::Mx, domain, now).and_then(|known| known.result()) else {
            return false;
        };
        let hosts = match &found.answer {
            Ok(Answer::Mx { hosts, .. }) => &hosts[..],
            Ok(Answer::NoDomain) | Err(_) => return true,
            Ok(_) => &[],
        };
        let Ok(hop) = self.order(domain, hosts, 0) else {
            return true;
        };
        let known = (&*self.gate.borrow(), &*self.late_ipv6.borrow());
        cached::reaches(cache, &hop, known, now) && self.knows_policy(cache, domain, now)
    }

    /// Whether it can be said without a question what policy the domain has.
    fn knows_policy(&self, cache: &mut Cache, domain: &str, now: Instant) -> bool {
        !self.obeys_policies() || cache.get(QueryType::Txt, &sts::record_name(domain), now).is_some()
    }

    fn obeys_policies(&self) -> bool {
        self.live.borrow().config.tls.mta_sts && self.policies.is_served()
    }

    /// Where the mail of a domain (lower case) goes that asks this of TLS, by what is in force when that is known.
    pub async fn next_hop(&self, domain: &str, wish: TlsWish) -> Result<Rc<Hop>, Unroutable> {
        loop {
            let live = self.live.borrow().clone();
            let led = |site: Option<&str>| {
                redirect::redirected(&self.redirects.borrow(), (domain, site), wish, self.runtime.wall())
            };
            let found = match led(None) {
                Some(hop) => Ok(hop),
                None => {
                    self.next_hop_by(&live, domain, wish).await.map(|hop| led(Some(&hop.site)).unwrap_or(hop))
                }
            };
            if live.generation == self.live.borrow().generation {
                return found;
            }
        }
    }

    async fn next_hop_by(&self, live: &InForce, domain: &str, wish: TlsWish) -> Result<Rc<Hop>, Unroutable> {
        let mut hop = match live.table.route(domain) {
            // One that fails, or leads back here, waits for the operator: the connection says so.
            Route::Fixed(hop) => hop.clone(),
            Route::Mx { behind, tls } => {
                let mut hop = match route::literal(domain) {
                    Some(address) => {
                        let port = live.config.delivery.mx_port;
                        let hop = route::to_literal(domain, address, port);
                        self.addresses(&hop.hosts[0]).await.map(|_| hop)
                    }
                    None if address::is_numeric(domain) => Err(no_domain(domain)),
                    None => self.mx_hop_or((domain, wish), behind.as_ref()).await,
                }?;
                hop.ask_for_tls(*tls);
                hop
            }
        };
        if wish == TlsWish::Required {
            hop.require_tls();
        }
        Ok(Rc::new(hop))
    }

    /// MX hosts and what stands behind them: also where nobody says now which hosts these are. What is said for good stands.
    async fn mx_hop_or(
        &self,
        (domain, wish): (&str, TlsWish),
        behind: Option<&Hop>,
    ) -> Result<Hop, Unroutable> {
        let found = self.mx_hop(domain, wish).await;
        let Some(behind) = behind else { return found };
        match found {
            Ok(mut hop) => {
                hop.put_behind(behind);
                Ok(hop)
            }
            Err(why) if !why.permanent && !why.loops => Ok(behind.clone()),
            Err(why) => Err(why),
        }
    }

    /// MX hosts, or the domain itself where it has none (RFC 5321 section 5.1).
    async fn mx_hop(&self, domain: &str, wish: TlsWish) -> Result<Hop, Unroutable> {
        let found = self.lookup(QueryType::Mx, domain).await;
        let (hosts, cut) = match &found.answer {
            Ok(Answer::Mx { hosts, cut }) => (&hosts[..], *cut),
            Ok(Answer::NoDomain) => return Err(never((1, 2), format!("the domain {domain} does not exist"))),
            Ok(_) => (&[][..], false),
            Err(why) => return Err(not_now(format!("cannot look up the MX of {domain}: {why}"))),
        };
        let mut hop = self.order(domain, hosts, self.runtime.random()).map_err(|why| match why {
            NoRoute::NullMx => never((1, 10), format!("the domain {domain} takes no mail (null MX)")),
            NoRoute::Loop => never((4, 6), format!("the mail of {domain} loops back to this relay")),
            NoRoute::NoNames => Unroutable {
                permanent: !cut,
                ..never((4, 4), format!("the MX records of {domain} name addresses and no hosts"))
            },
        })?;
        if self.live.borrow().table.is_apart(domain) {
            hop.set_apart(domain);
        }
        let authentic = found.secure || hosts.is_empty();
        let hop = self.obey_domain((domain, wish), hop, (found.secure, authentic)).await?;
        self.reachable(hop, cut).await
    }

    /// A domain may say which hosts are its own (RFC 8461), and signed zones what certificates they have (RFC 7672), which goes before. What a route says
    /// of TLS stands over both, and so does a sender who waives them (RFC 8689 section 5).
    async fn obey_domain(
        &self,
        (domain, wish): (&str, TlsWish),
        hop: Hop,
        (secure, authentic): (bool, bool),
    ) -> Result<Hop, Unroutable> {
        let live = self.live.borrow().clone();
        let routed = matches!(live.table.route(domain), Route::Mx { tls: Some(_), .. });
        if wish == TlsWish::Waived || (routed && wish != TlsWish::Required) {
            return Ok(hop);
        }
        let ask = async |kind: QueryType, name: &str| self.lookup(kind, name).await;
        let certified =
            if secure && live.config.tls.dane { dane::hosts(ask, &hop).await } else { Vec::new() };
        // Nobody can say yet whether there is one, or it is there and could not be fetched.
        let (mut kept, mut settled) = (None, !live.config.tls.mta_sts);
        if self.obeys_policies() {
            let (until, name) = (self.runtime.now() + limits::STS_PATIENCE, sts::record_name(domain));
            let record = self.until(until, self.lookup(QueryType::Txt, &name)).await;
            let id = record.as_ref().and_then(|found| sts::id(found));
            settled = id.is_none() && record.is_some_and(|found| found.answer.is_ok());
            kept = sts::policy((&self.runtime, &self.timers), &self.policies, domain, id).await;
        }
        obey::obey(hop, (domain, wish), (kept.as_deref(), &certified), (authentic, settled))
    }

    /// What certificates the DNS names for a host of a hop that has some.
    pub async fn records(&self, host: &Host) -> HostRecords {
        dane::records(async |kind: QueryType, name: &str| self.lookup(kind, name).await, host).await
    }

    fn order(&self, domain: &str, hosts: &[(u16, String)], random: u64) -> Result<Hop, NoRoute> {
        let port = self.live.borrow().config.delivery.mx_port;
        route::order_mx(domain, hosts, &self.own_name, (port, random))
    }

    /// The hop from its first host on that can be reached, now or later. A domain none of whose hosts ever can is told so at once, not
    /// after days of retries.
    async fn reachable(&self, mut hop: Hop, cut: bool) -> Result<Hop, Unroutable> {
        let mut last: Option<Unroutable> = None;
        for place in 0..hop.hosts.len() {
            match self.addresses(&hop.hosts[place]).await {
                // What is preferred as much as we are, or less, leads back to us sooner or later: RFC 5321 section 5.1 discards it. What is
                // preferred to us cannot be reached.
                Err(why) if why.loops => return Err(why),
                Err(why) if why.permanent => last = Some(why),
                _ => {
                    if let Some(why) = self.leads_back(&hop.hosts[place..]).await {
                        return Err(why);
                    }
                    hop.hosts.drain(..place);
                    return Ok(hop);
                }
            }
        }
        match last {
            // There are others, which nobody looked at.
            Some(why) if cut => {
                Err(not_now(format!("none of the preferred MX hosts of {} can be reached: {why}", hop.label)))
            }
            Some(why) => Err(why),
            None => Err(not_now(format!("no host takes the mail of {}", hop.label))),
        }
    }

    /// Whether one of these that is preferred as much as the first one is this relay: then none of them is to be tried (RFC 5321 section
    /// 5.1), whichever comes first.
    pub async fn leads_back(&self, hosts: &[Host]) -> Option<Unroutable> {
        let (first, others) = hosts.split_first()?;
        let until = self.runtime.now() + limits::EQUALS_PATIENCE;
        for other in others.iter().take_while(|other| other.rank == first.rank) {
            if self.is_late(&other.name) {
                continue;
            }
            let addresses = self.until(until, self.addresses(other)).await;
            if addresses.is_none() {
                // The next connection does not wait for it again, and those behind it had no time.
                self.late.borrow_mut().note(&other.name, self.runtime.now());
                return None;
            }
            if let Some(Err(why)) = addresses
                && why.loops
            {
                return Some(why);
            }
        }
        None
    }

    /// What a question brings, if it does so in time.
    async fn until<T>(&self, at: Instant, question: impl Future<Output = T>) -> Option<T> {
        let mut question = pin!(question);
        let mut late = self.timers.sleep_until(at);
        poll_fn(|context| match question.as_mut().poll(context) {
            Poll::Ready(found) => Poll::Ready(Some(found)),
            Poll::Pending => Pin::new(&mut late).poll(context).map(|()| None),
        })
        .await
    }

    /// Whether its addresses were waited for in vain, and by now neither an address of IPv4 is known nor all there are.
    fn is_late(&self, name: &str) -> bool {
        let now = self.runtime.now();
        if !self.late.borrow().is_known(name, now) {
            return false;
        }
        let cache = &mut *self.cache.borrow_mut();
        match cache.get(QueryType::A, name, now).and_then(|known| known.result()) {
            None => true,
            Some(LookupResult { answer: Ok(Answer::Addresses(some)), .. }) if !some.is_empty() => false,
            Some(_) => cache.get(QueryType::Aaaa, name, now).is_none(),
        }
    }

    /// The same for those of IPv6.
    fn is_late_ipv6(&self, name: &str) -> bool {
        let now = self.runtime.now();
        self.late_ipv6.borrow().is_known(name, now)
            && self.cache.borrow_mut().get(QueryType::Aaaa, name, now).is_none()
    }

    /// Where a host may be connected to, IPv4 first: the addresses it has that pass the gate. An MX host one of whose addresses is ours is
    /// this relay, whatever others it has: they are no further on.
    pub async fn addresses(&self, host: &Host) -> Result<Vec<AdmittedAddress>, Unroutable> {
        let found = match host.at {
            HostAddress::Address(address) => vec![address],
            HostAddress::Name => {
                // No borrow is held while others are asked.
                let known = hosts::known(&self.files.borrow().1, host);
                if let Some(known) = known { known } else { self.look_up_addresses(&host.name).await? }
            }
            HostAddress::Socket(_) => return Ok(Vec::new()),
        };
        self.look_at_own_addresses().await;
        ours::ask(&self.runtime, &self.gate, &found)?;
        admitted::admitted(&self.gate.borrow(), host, found)
    }

    /// The addresses of a host in the DNS.
    async fn look_up_addresses(&self, name: &str) -> Result<Vec<IpAddr>, Unroutable> {
        let mut addresses = Vec::new();
        let mut trouble = None;
        for kind in [QueryType::A, QueryType::Aaaa] {
            let found = if addresses.is_empty() {
                self.lookup(kind, name).await
            } else {
                // Some name servers never answer questions for IPv6 addresses: where there are others these are not waited for.
                if self.is_late_ipv6(name) {
                    break;
                }
                let until = self.runtime.now() + limits::MORE_ADDRESSES_PATIENCE;
                match self.until(until, self.lookup(kind, name)).await {
                    Some(found) => found,
                    None => {
                        self.late_ipv6.borrow_mut().note(name, self.runtime.now());
                        break;
                    }
                }
            };
            match &found.answer {
                Ok(Answer::Addresses(some)) => addresses.extend_from_slice(some),
                Ok(_) => {}
                Err(why) => trouble = Some(not_now(format!("cannot look up the address of {name}: {why}"))),
            }
        }
        match (addresses.is_empty(), trouble) {
            (false, _) => Ok(addresses),
            (true, Some(trouble)) => Err(trouble),
            (true, None) => Err(never((4, 4), format!("the host {name} has no address"))),
        }
    }

    fn remembered(&self, kind: QueryType, name: &str) -> Option<LookupResult> {
        let free = self.asking.get() < self.asking_max / 2;
        self.renewals.look(&mut self.cache.borrow_mut(), (kind, name), self.runtime.now(), free)
    }

    /// Answers in use that end soon: [`Resolver::renew`] is to ask for them.
    pub fn due(&self) -> Vec<Renewal> {
        self.renewals.take()
    }

    /// Asks for one again, unless somebody does.
    pub async fn renew(&self, (kind, name): Renewal) {
        if let Err(asker) = self.waiters.join((self.replaced.get(), kind, name)) {
            let _counted = self.renewals.begin();
            self.ask_for_all(asker).await;
        }
    }

    /// From the cache, or asked for, once however many want it. Where whoever asks gives up half way, or the name servers are others by then,
    /// one of those who wait asks in his place.
    async fn lookup(&self, kind: QueryType, name: &str) -> Rc<LookupResult> {
        loop {
            if let Some(found) = self.remembered(kind, name) {
                return Rc::new(found);
            }
            let asker = match self.waiters.join((self.replaced.get(), kind, name.into())) {
                Err(asker) => asker,
                Ok(joined) => match joined.await {
                    LookupOutcome::Found(found) => return found,
                    LookupOutcome::Ask(asker) => asker,
                    LookupOutcome::Again => continue,
                },
            };
            // On the heap: most answers are in the cache, and whoever looks there is not to carry this along.
            if let Some(found) = Box::pin(self.ask_for_all(asker)).await {
                return found;
            }
        }
    }

    /// The answer is remembered, and the others hear it. None: the name servers that were asked are not asked any more.
    async fn ask_for_all(&self, asker: Asker) -> Option<Rc<LookupResult>> {
        let (servers, kind, name) = asker.question();
        let mut found = None;
        // Who asks in the place of another may be late for that, too.
        if *servers == self.replaced.get() {
            found = Some(Rc::new(self.ask(*kind, name).await));
        }
        match found.filter(|_| *servers == self.replaced.get()) {
            Some(found) => {
                let at = (self.runtime.now(), self.runtime.random());
                self.cache.borrow_mut().put(*kind, name, &found, at);
                asker.tell(|| LookupOutcome::Found(found.clone()));
                Some(found)
            }
            None => {
                asker.tell(|| LookupOutcome::Again);
                None
            }
        }
    }

    /// Asks, and follows aliases that lead out of an answer.
    async fn ask(&self, kind: QueryType, name: &str) -> LookupResult {
        // Domains that wait do it elsewhere, in fair order; this is about those that are being connected to.
        while self.asking.get() >= self.asking_max {
            self.timers.sleep_until(self.runtime.now() + limits::ASKING_PAUSE).await;
        }
        let _counted = CountGuard::new(&self.asking);
        let mut name = name.to_owned();
        let (mut bound, mut aliased) = (limits::DNS_TTL_MAX, false);
        let mut result = Err(LookupError::EndlessAliases);
        for _ in 0..limits::DNS_CNAME_MAX {
            match self.servers.ask(kind, &name).await {
                Ok(Reading::Alias(target, ttl)) => {
                    (bound, aliased) = (bound.min(ttl), true);
                    name = target;
                }
                Ok(Reading::Found(found)) => {
                    // Whether all of a chain is authentic, one answer that has it says.
                    let (ttl, secure) =
                        (found.ttl.min(bound).max(limits::DNS_TTL_MIN), found.secure && !aliased);
                    result = Ok(LookupResult { ttl, secure, ..found });
                    break;
                }
                Ok(_) => {}
                Err(why) => {
                    result = Err(why);
                    break;
                }
            }
        }
        result.unwrap_or_else(|why| LookupResult {
            answer: Err(why),
            ttl: limits::DNS_FAILURE_TTL,
            secure: false,
        })
    }
}

#[cfg(test)]
mod tests;
