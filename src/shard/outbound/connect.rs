//! Opening a session to a next hop: addresses in order, connect, greeting, EHLO, STARTTLS where it is offered.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::policy::failures::Failures;
use crate::route::egress;
use crate::route::gate::NamedBy;
use crate::route::{At, Endpoint, Hop, Host, Protocol, SitePolicy};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::counts::FarEnd;
use crate::shard::outbound::manners::{blame_tls, do_without_tls, keep_in_mind};
use crate::shard::outbound::rates::Rights;
use crate::shard::outbound::resolve::Unroutable;
use crate::shard::outbound::session::{Behind, Choice, Connection, HopError, Starttls, loops};
use crate::shard::outbound::source;
use crate::shard::wire::WireError;
use crate::smtp::client::{self, Capabilities, Timeouts};
use crate::smtp::reply::Reply;
use crate::time::Instant;

/// What is said of a host none of whose addresses can be used.
fn unusable(why: &Unroutable, host: &Host) -> HopError {
    let words = why.to_string();
    let ours = why.loops && host.named_by == NamedBy::Operator;
    if ours { HopError::Ourselves(words) } else { HopError::NoAddress(words) }
}

/// Tries the hosts of a hop in order, each address of each, until one gives a session by the policy of its site. `Err`: words on the last
/// failure.
pub async fn connect<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (hop, policy): (&Hop, &SitePolicy),
    rights: Rights<'_, R>,
) -> Result<Connection<R>, HopError> {
    let mut search = Search::new(shard, hop, policy, rights);
    // The preference that this relay has itself: what has it too, or is preferred less, leads back here (RFC 5321 5.1).
    let mut ours: Option<u32> = None;
    let mut looked_at = None;
    // Hosts that took no connection, or no mail over it, asked when no other is left: each message would wait for them again, or never
    // come to the next one (RFC 5321 5.1). The one that failed last comes last.
    let mut failing = Vec::new();
    let hosts = hop.in_order(|| shard.runtime.random());
    for (place, host) in hosts.into_iter().enumerate().take(limits::HOP_HOSTS_MAX) {
        let of_dns = host.named_by == NamedBy::Stranger;
        // A host that has all the connections it may have is waited for; it is not beyond reach.
        if !search.may_try(host) || (!of_dns && !search.full.is_empty()) {
            continue;
        }
        if looked_at.replace(host.rank) != Some(host.rank)
            && of_dns
            && let Some(why) = shard.outbound.resolver.leads_back(&hop.hosts[place..]).await
        {
            ours = Some(host.rank);
            search.last = HopError::NoAddress(why.to_string());
        }
        if is_beyond(ours, host) {
            break;
        }
        let endpoints = match endpoints(shard, host).await {
            Ok(endpoints) => endpoints,
            Err(error) => {
                // What an operator orders has no such rule: the others stand in for it, and else its mail waits for him.
                if error.loops && of_dns {
                    ours = Some(host.rank);
                }
                search.hope = true;
                search.last = unusable(&error, host);
                continue;
            }
        };
        let choice = if hop.hosts.len() > 1 || endpoints.len() > 1 { Choice::First } else { Choice::Only };
        for endpoint in endpoints {
            if is_beyond(ours, host) {
                break;
            }
            if let Some(until) = failed_until(shard, host, &endpoint) {
                let choice = if choice == Choice::Only { choice } else { Choice::Last };
                failing.push((until, host, endpoint, choice));
            } else if let Some(connection) = search.attempt(host, &endpoint, choice).await
                && !search.leads_back(&connection, host, &mut ours)
            {
                return Ok(connection);
            }
        }
    }
    failing.sort_by_key(|(until, ..)| *until);
    for (_, host, endpoint, choice) in failing {
        if !is_beyond(ours, host)
            && let Some(connection) = search.attempt(host, &endpoint, choice).await
            && !search.leads_back(&connection, host, &mut ours)
        {
            return Ok(connection);
        }
    }
    search.remember();
    Err(search.end())
}

/// Where a host may be connected to.
async fn endpoints<R: Runtime>(shard: &Shard<R>, host: &Host) -> Result<Vec<Endpoint>, Unroutable> {
    if let At::Socket(path) = &host.at {
        return Ok(vec![Endpoint::Socket(path.clone())]);
    }
    let addresses = shard.outbound.resolver.addresses(host).await?;
    Ok(addresses.into_iter().map(Endpoint::Network).collect())
}

/// What trying one address after the other has brought.
struct Search<'a, R: Runtime> {
    shard: &'a Rc<Shard<R>>,
    hop: &'a Hop,
    policy: &'a SitePolicy,
    rights: Rights<'a, R>,
    last: HopError,
    tried: usize,
    /// Enough were tried, and others were not.
    cut: bool,
    /// Those that answered at once, with a refusal.
    failed: Vec<String>,
    full: Vec<FarEnd>,
    /// A host that never takes mail, and what it said.
    none: Option<(Reply, String)>,
    /// Another one may.
    hope: bool,
}

impl<'a, R: Runtime> Search<'a, R> {
    fn new(
        shard: &'a Rc<Shard<R>>,
        hop: &'a Hop,
        policy: &'a SitePolicy,
        rights: Rights<'a, R>,
    ) -> Search<'a, R> {
        Search {
            shard,
            hop,
            policy,
            rights,
            last: HopError::NoAddress(format!("no host of {} has an address", hop.label)),
            tried: 0,
            cut: false,
            failed: Vec::new(),
            full: Vec::new(),
            none: None,
            hope: false,
        }
    }

    /// What to say where none gave a session.
    fn end(self) -> HopError {
        let Search { shard, last, tried, cut, full, none, hope, .. } = self;
        if let Some((reply, named)) = none
            && !(hope || cut)
            && full.is_empty()
        {
            return HopError::TakesNone(reply, named);
        }
        // Any of those that were full will do.
        let chosen = shard.runtime.random() as usize % full.len().max(1);
        match full.get(chosen) {
            Some(address) if tried < limits::MX_ADDRESSES_MAX => HopError::Full(*address),
            _ => last,
        }
    }

    /// Whether another address is tried. Those that strangers name have a bound of their own: what the operator puts behind them is reached.
    fn may_try(&mut self, host: &Host) -> bool {
        let most = match host.named_by {
            NamedBy::Stranger => limits::MX_ADDRESSES_MAX,
            NamedBy::Operator => 2 * limits::MX_ADDRESSES_MAX,
        };
        self.cut |= self.tried >= most;
        self.tried < most
    }

    /// Where some were not tried, the next search begins with these: those that refused come behind them, as a host that is silent does. Else
    /// all have their turn each time, in their order.
    fn remember(&self) {
        let now = self.shard.timers.recent();
        let mut failures = self.shard.outbound.hosts.hop_failures.borrow_mut();
        for name in self.failed.iter().filter(|_| self.cut) {
            failures.note(name, now);
        }
    }

    /// Where a connection ends, and whose it is there.
    fn far_end(&self, to: &Endpoint) -> Option<FarEnd> {
        let source = self.hop.by.as_ref().map_or(0, |by| by.number());
        to.ip().map(|ip| FarEnd { ip, source })
    }

    /// A session with this address, unless it has all the connections it may have, or enough were tried.
    async fn attempt(&mut self, host: &Host, to: &Endpoint, choice: Choice) -> Option<Connection<R>> {
        if !self.may_try(host) {
            return None;
        }
        let uncounted = usize::from(self.shard.runtime.planted(Defect::AddressUncounted));
        // A site that a shaping file names may have all its connections to one address.
        let least = if self.policy.named { self.policy.connections } else { 0 };
        // What an operator names has the limit of its site alone.
        let place = match (host.named_by, self.far_end(to)) {
            (NamedBy::Operator, _) | (_, None) => None,
            (NamedBy::Stranger, Some(ip)) => {
                match self.shard.outbound.addresses.take(ip, least + 1000 * uncounted) {
                    Some(place) => Some(place),
                    None => {
                        self.full.push(ip);
                        return None;
                    }
                }
            }
        };
        self.tried += 1;
        match open(self.shard, (self.hop, self.policy, &self.rights), host, to).await {
            Ok(mut connection) => {
                connection.place = place;
                connection.choice = choice;
                connection.routed = host.named_by == NamedBy::Operator;
                Some(connection)
            }
            Err(error) => {
                self.note(host, to, choice, error);
                None
            }
        }
    }

    /// Nothing came of an address: what that says of it, and whether others are tried.
    fn note(&mut self, host: &Host, to: &Endpoint, choice: Choice, error: HopError) {
        // One that answers, be it with a refusal, costs the next message no wait.
        if choice != Choice::Only && is_silence(&error) {
            let now = self.shard.timers.recent();
            self.shard.outbound.hosts.hop_failures.borrow_mut().note(&name(host, to), now);
        } else {
            self.failed.push(name(host, to));
        }
        match error {
            // No other is asked by now, and what was said before stands.
            HopError::OverRate => {
                if self.tried == 1 {
                    self.last = HopError::OverRate;
                }
                self.tried = usize::MAX;
                self.failed.clear();
            }
            // No other host fares better.
            error @ HopError::Source(_) => {
                self.tried = usize::MAX;
                self.failed.clear();
                self.hope = true;
                self.last = error;
            }
            // The operator's host should take mail, so that is no last word.
            HopError::TakesNone(reply, _) if host.named_by == NamedBy::Stranger => {
                self.none = Some((reply.clone(), name(host, to)));
                self.last = HopError::Refused(reply);
            }
            HopError::TakesNone(reply, _) => {
                self.hope = true;
                self.last = HopError::Refused(reply);
            }
            error => {
                self.hope = true;
                self.last = error;
            }
        }
    }
}

impl<R: Runtime> Search<'_, R> {
    /// Whether a host is this relay and others are preferred to it, which mail is left for; those preferred less lead there too, sooner or
    /// later (RFC 5321 5.1). Where none is preferred its mail is returned over this connection.
    fn leads_back(&mut self, connection: &Connection<R>, host: &Host, ours: &mut Option<u32>) -> bool {
        let preferred = self.hop.hosts.iter().any(|other| other.rank < host.rank);
        if !(connection.loops && preferred) {
            return false;
        }
        // Not its equals either: they are as far from the mail's end as we are.
        *ours = Some(ours.map_or(host.rank, |ours| ours.min(host.rank)));
        self.hope = true;
        self.last = HopError::NoAddress(loops(&connection.hop));
        true
    }
}

/// Whether a host is preferred no more than this relay.
fn is_beyond(ours: Option<u32>, host: &Host) -> bool {
    ours.is_some_and(|ours| host.rank >= ours)
}

/// Nothing came of an address, and that took its time: nobody there answers a SYN, or greets.
fn is_silence(error: &HopError) -> bool {
    match error {
        HopError::Connect(_, error) => matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
        ),
        HopError::Wire(WireError::TimedOut) => true,
        _ => false,
    }
}

/// A host's name and address, for records and to know it again.
fn name(host: &Host, at: &Endpoint) -> String {
    match at {
        Endpoint::Network(address) => {
            let at = address.address();
            format!("{} [{}]:{}", host.name, at.ip(), at.port())
        }
        Endpoint::Socket(_) => at.to_string(),
    }
}

fn failed_until<R: Runtime>(shard: &Shard<R>, host: &Host, at: &Endpoint) -> Option<Instant> {
    let failures = shard.outbound.hosts.hop_failures.borrow();
    if failures.is_empty() {
        return None;
    }
    failures.until(&name(host, at), shard.timers.recent())
}

/// What a host is asked for in a session.
#[derive(Clone, Copy)]
struct Manners {
    protocol: Protocol,
    timeouts: Timeouts,
    tls_first: bool,
    ehlo: bool,
    starttls: bool,
}

/// One address: with STARTTLS if offered, and if anything goes wrong with that, once more in plain text. RFC 3207 section 4.1 leaves that to
/// the client; opportunistic TLS asks for nothing better than what mail had before (RFC 7435). A host that hangs up on EHLO is told HELO.
async fn open<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (hop, policy, rights): (&Hop, &SitePolicy, &Rights<'_, R>),
    host: &Host,
    to: &Endpoint,
) -> Result<Connection<R>, HopError> {
    let named = || name(host, to);
    let (protocol, by) = (hop.protocol, &hop.by);
    let now = shard.timers.recent();
    let is_known = |failures: &RefCell<Failures>| failures.borrow().is_known(&named(), now);
    let mut manners = Manners {
        protocol,
        timeouts: policy.timeouts,
        tls_first: host.tls_first,
        ehlo: protocol == Protocol::Lmtp || !is_known(&shard.outbound.hosts.ehlo_failures),
        // Nobody listens on a socket of this machine who could not read its memory.
        starttls: policy.starttls && !host.tls_first && to.ip().is_some(),
    };
    let required = policy.tls_required && !host.tls_first && to.ip().is_some();
    let avoids_tls = manners.starttls && !required && is_known(&shard.outbound.hosts.tls_failures);
    if avoids_tls {
        shard.instruments.counters.tls_avoided.add(1);
        manners.starttls = false;
    }
    let greeted = match greet(shard, host, (to, by), (manners, rights)).await {
        Err(HopError::BrokenTls(why)) if !required => {
            let plain = Manners { starttls: false, ..manners };
            let greeted = greet(shard, host, (to, by), (plain, rights)).await;
            // One that takes no plain text either has some other trouble. Where it may not be asked by now it will be.
            if matches!(greeted, Ok(_) | Err(HopError::OverRate)) {
                do_without_tls(shard, &named(), &why);
            }
            greeted.map_err(|error| error.or(|| HopError::BrokenTls(why)))
        }
        Err(HopError::BrokenEhlo(error)) => {
            let greeted = greet(shard, host, (to, by), (Manners { ehlo: false, ..manners }, rights)).await;
            // A host that hangs up on everything is no host of HELO.
            if matches!(greeted, Ok(_) | Err(HopError::OverRate)) {
                let why = format!("it hung up on EHLO ({error})");
                keep_in_mind(shard, &shard.outbound.hosts.ehlo_failures, &named(), &why, "it is told HELO");
            }
            greeted.map_err(|other| other.or(|| HopError::BrokenEhlo(error)))
        }
        Err(error) => {
            if avoids_tls {
                shard.outbound.hosts.tls_failures.borrow_mut().forget(&named());
            }
            Err(error)
        }
        result => result,
    };
    let mut connection = greeted?;
    if required && connection.tls.is_empty() {
        connection.leave(shard).await;
        let words = format!("{} offers no STARTTLS, and a shaping file's enable_tls requires it", named());
        return Err(HopError::BrokenTls(words));
    }
    // At other ports of ours there may be others of our name, a filter beside us above all.
    if connection.loops && host.named_by == NamedBy::Operator {
        connection.loops = false;
        if shard.outbound.resolver.listens_on(host.port) {
            connection.leave(shard).await;
            return Err(HopError::Ourselves(loops(&connection.hop)));
        }
    }
    connection.capabilities.pipelining &= !is_known(&shard.outbound.hosts.pipelining_failures);
    Ok(connection)
}

/// What a reply between STARTTLS and the end of EHLO under TLS says: a 421, or a refusal under TLS, is that of a host that is busy or does
/// not want us, now, whatever we speak. One that cannot follow (50z) has lost its way, and one that goes on for long has no working TLS.
fn is_load<R: Runtime>(shard: &Shard<R>, connection: &Connection<R>, reply: &Reply) -> bool {
    let under_tls = !connection.tls.is_empty();
    if connection.starttls == Starttls::Refused
        || reply.code / 10 == 50
        || !(reply.code == 421 || (under_tls && reply.code >= 400))
    {
        return false;
    }
    let now = shard.timers.recent();
    let mut loads = shard.outbound.hosts.tls_loads.borrow_mut();
    let since = loads.since(&connection.hop, now);
    if since.is_none() {
        loads.note(&connection.hop, now);
    }
    since.is_none_or(|since| since < limits::TLS_LOAD_MAX)
}

async fn greet<R: Runtime>(
    shard: &Rc<Shard<R>>,
    host: &Host,
    (to, by): (&Endpoint, &Option<Arc<egress::Source>>),
    (manners, rights): (Manners, &Rights<'_, R>),
) -> Result<Connection<R>, HopError> {
    if !rights.take().await {
        return Err(HopError::OverRate);
    }
    let wire = source::connect(shard, by.as_deref(), to, manners.timeouts.connect).await?;
    let mut connection = Connection::new(wire, name(host, to), (manners.protocol, manners.timeouts));
    connection.by.clone_from(by);
    match introduce(shard, &mut connection, &host.name, manners).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            connection.leave(shard).await;
            Err(error)
        }
    }
}

/// From the greeting to the first MAIL.
async fn introduce<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    host: &str,
    manners: Manners,
) -> Result<(), HopError> {
    if manners.tls_first {
        secure(shard, connection, host).await?;
    }
    connection.owe(1);
    let greeting = connection.reply(shard, manners.timeouts.greeting).await?;
    if greeting.code != 220 {
        // Only in place of a greeting does 521 speak of all mail.
        let believed = greeting.is_permanent() && shard.runtime.planted(Defect::GreetingBelieved);
        let judged = || shard.outbound.judge.borrow_mut().judge_surely(&greeting.describe(), &connection.hop);
        return Err(match believed || client::never_takes_mail(&greeting, judged) {
            true => HopError::TakesNone(greeting, String::new()),
            false => HopError::Refused(greeting),
        });
    }
    if manners.ehlo {
        hello(shard, connection, manners.timeouts.hello).await.map_err(|error| match error {
            HopError::Wire(error @ WireError::Lost(_)) if manners.protocol == Protocol::Smtp => {
                HopError::BrokenEhlo(error)
            }
            error => error,
        })?;
    } else {
        helo(shard, connection, manners.timeouts.hello).await?;
    }
    if manners.starttls && connection.capabilities.starttls {
        connection.starttls = Starttls::Begun;
        let protected = protect(shard, connection, host).await;
        if protected.is_ok() {
            shard.outbound.hosts.tls_loads.borrow_mut().forget(&connection.hop);
        }
        protected.map_err(|(step, error)| match error {
            HopError::Refused(reply) if is_load(shard, connection, &reply) => HopError::Refused(reply),
            error => HopError::BrokenTls(words(connection.starttls, step, &error)),
        })?;
    }
    connection.be_terse();
    match connection.behind(shard).await {
        Behind::Nothing => Ok(()),
        // A hop that says more than it was asked for from the start will not be in step later.
        Behind::Words => Err(HopError::Unasked),
        Behind::End(error) => Err(blame_tls(connection.starttls, &error).map_or(error, HopError::BrokenTls)),
    }
}

fn words(starttls: Starttls, step: &str, error: &HopError) -> String {
    match (starttls, error) {
        (Starttls::Refused, _) => format!("it refused STARTTLS, and the session failed then ({error})"),
        (_, HopError::Wire(WireError::Tls(error))) => format!("TLS broke ({step}: {error})"),
        _ => format!("TLS broke ({step}: {error})"),
    }
}

/// EHLO, or HELO to a hop that refuses it (RFC 5321 3.2); LHLO to one that speaks LMTP, which has no HELO (RFC 2033 section 4.1). What an earlier EHLO offered is void (RFC 3207 section 4.2).
async fn hello<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    patience: Duration,
) -> Result<(), HopError> {
    connection.capabilities = Capabilities::default();
    let ours = &shard.boot.node.hostname;
    let own_name = connection.own_name(ours);
    let lmtp = connection.protocol == Protocol::Lmtp;
    let word = if lmtp { client::lmtp::HELLO } else { "EHLO" };
    let line = format!("{word} {own_name}\r\n");
    connection.send(shard, line.as_bytes(), 1, patience).await?;
    let reply = connection.reply(shard, patience).await?;
    if reply.is_done() {
        connection.capabilities = Capabilities::of_ehlo(&reply);
        // A mail store on this machine has its name, and sends nothing back.
        connection.loops = !lmtp && names(&reply, ours);
        return Ok(());
    }
    if lmtp || !reply.is_permanent() {
        return Err(HopError::Refused(reply));
    }
    helo(shard, connection, patience).await
}

/// HELO, which offers nothing.
async fn helo<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    patience: Duration,
) -> Result<(), HopError> {
    let ours = &shard.boot.node.hostname;
    let line = format!("HELO {}\r\n", connection.own_name(ours));
    connection.send(shard, line.as_bytes(), 1, patience).await?;
    let reply = connection.reply(shard, patience).await?;
    connection.loops = names(&reply, ours);
    if reply.is_done() { Ok(()) } else { Err(HopError::Refused(reply)) }
}

/// Whether the server says that this is its name (RFC 5321 4.1.1.1: the first word of its answer).
fn names(reply: &Reply, host: &str) -> bool {
    let first = reply.lines.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
    first.strip_suffix('.').unwrap_or(first).eq_ignore_ascii_case(host)
}

/// The handshake of TLS with a host of this name.
async fn secure<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    name: &str,
) -> Result<(), HopError> {
    let client = shard.outbound.tls_client.connection(name).map_err(WireError::Tls)?;
    connection.wire.limit(&shard.timers, limits::client::HANDSHAKE.min(connection.timeouts.starttls));
    connection.wire.protect(client, usize::MAX).await?;
    shard.instruments.counters.tls_outbound.add(1);
    connection.tls = connection.wire.describe_tls();
    Ok(())
}

/// STARTTLS and what follows it. A refusal leaves the session in plain text, if the hop goes on with it. An error comes with the step that
/// failed: whatever it is, plain text is tried next.
async fn protect<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    name: &str,
) -> Result<(), (&'static str, HopError)> {
    let patience = connection.timeouts.starttls;
    let at = |step| move |error: HopError| (step, error);
    let starttls = at("at STARTTLS");
    connection.send(shard, b"STARTTLS\r\n", 1, patience).await.map_err(starttls)?;
    let reply = connection.reply(shard, patience).await.map_err(starttls)?;
    if matches!(reply.code / 100, 4 | 5) && reply.code != 421 {
        shard.instruments.counters.tls_refused.add(1);
        connection.starttls = Starttls::Refused;
        // Some say 454 and close. Whether this one goes on is known before a message depends on it.
        return hello(shard, connection, patience).await.map_err(at("after STARTTLS was refused"));
    }
    if reply.code != 220 {
        return Err(("at STARTTLS", HopError::Refused(reply)));
    }
    // What came in plain text behind the 220 is not part of the protected session (CVE-2011-0411).
    connection.discard();
    secure(shard, connection, name).await.map_err(at("in the handshake"))?;
    hello(shard, connection, patience).await.map_err(at("after the handshake"))
}
