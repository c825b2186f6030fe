//! Opening a session to a next hop: its addresses in order, and each once more where what failed can be done without.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::config::TlsLevel;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::dane::Demand;
use crate::policy::failures::Failures;
use crate::route::gate::NamedBy;
use crate::route::{Endpoint, Hop, Host, HostAddress, Protocol, SitePolicy};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::counts::FarEnd;
use crate::shard::outbound::greet::{AskedBy, Manners, greet, name};
use crate::shard::outbound::hop_error::{HopError, loops};
use crate::shard::outbound::manners::{do_without_tls, keep_in_mind};
use crate::shard::outbound::rates::Rights;
use crate::shard::outbound::resolve::{HostRecords, Unroutable};
use crate::shard::outbound::session::{Choice, Connection, Starttls};
use crate::shard::outbound::sessions::{self, Asked};
use crate::shard::wire::WireError;
use crate::smtp::client::local;
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
                (search.hope, search.unproven_all) = (true, false);
                search.last = unusable(&error, host);
                continue;
            }
        };
        let choice = if hop.hosts.len() > 1 || endpoints.len() > 1 { Choice::First } else { Choice::Only };
        for endpoint in endpoints {
            if is_beyond(ours, host) {
                break;
            }
            if let Some(until) = failed_until(shard, hop, host, &endpoint) {
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
    if let HostAddress::Socket(path) = &host.at {
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
    /// Each that was asked has no TLS as it is wanted.
    unproven_all: bool,
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
            unproven_all: true,
        }
    }

    /// What to say where none gave a session.
    fn end(self) -> HopError {
        let Search { shard, hop, last, tried, cut, full, none, hope, unproven_all, .. } = self;
        // RFC 8689 section 4.2.1: where none does what the sender requires its mail is returned, and not kept until one does.
        if hop.requires_tls
            && unproven_all
            && !cut
            && full.is_empty()
            && let HopError::NoTls(words) | HopError::BadTls(words) = &last
        {
            return HopError::TakesNone(local(550, (5, 7, 30), words), hop.label.to_string());
        }
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
                way(self.shard, self.hop, to, Way::Found);
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
        self.unproven_all &= matches!(error, HopError::NoTls(_) | HopError::BadTls(_));
        // One that answers, be it with a refusal, costs the next message no wait.
        if choice != Choice::Only && is_silence(&error) {
            let now = self.shard.timers.recent();
            self.shard.outbound.hosts.hop_failures.borrow_mut().note(&name(host, to), now);
            if leads_nowhere(self.shard, self.hop, to, &error) {
                way(self.shard, self.hop, to, Way::None);
            }
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
        HopError::Ungreeted(_) | HopError::Wire(WireError::TimedOut) => true,
        _ => false,
    }
}

/// There is no way from here to any address of this family, which the machine itself says: a router, a proxy or a prefix that it has no way to
/// says nothing of the others, and whoever has such an address would move all mail by it.
fn leads_nowhere<R: Runtime>(shard: &Shard<R>, hop: &Hop, at: &Endpoint, error: &HopError) -> bool {
    let by_proxy = hop.by.as_ref().is_some_and(|source| source.config.proxy.is_some());
    let is_said =
        matches!(error, HopError::Connect(_, error) if error.kind() == io::ErrorKind::NetworkUnreachable);
    let root = match at.ip() {
        Some(address) if address.is_ipv4() => limits::FAR_ADDRESSES.0.into(),
        Some(_) => limits::FAR_ADDRESSES.1.into(),
        None => return false,
    };
    is_said && !by_proxy && !shard.runtime.knows_way(root)
}

/// Until when an address comes behind others: it failed of late, or there was no way to one of its family.
fn failed_until<R: Runtime>(shard: &Shard<R>, hop: &Hop, host: &Host, at: &Endpoint) -> Option<Instant> {
    let failures = shard.outbound.hosts.hop_failures.borrow();
    if failures.is_empty() {
        return None;
    }
    let now = shard.timers.recent();
    failures.until(&name(host, at), now).or_else(|| failures.until(&family(hop, at)?, now))
}

/// Whether there was a way to an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Found,
    None,
}

/// What that says of all addresses of its family, by the source that was asked: many machines have IPv6 and no way out by it, and each host
/// would be asked there first.
fn way<R: Runtime>(shard: &Shard<R>, hop: &Hop, at: &Endpoint, way: Way) {
    let mut failures = shard.outbound.hosts.hop_failures.borrow_mut();
    if failures.is_empty() && way == Way::Found {
        return;
    }
    let Some(family) = family(hop, at) else { return };
    if way == Way::Found {
        failures.forget(&family);
    } else if failures.note(&family, shard.timers.recent()) {
        let kept = limits::HOP_FAILURE_KEPT.as_secs() / 60;
        shard.say(
            Level::Info,
            format_args!(
                "there is no way to {family} from this machine: these addresses are tried last for {kept} min"
            ),
        );
    }
}

/// As what the addresses of a family, by a source, are kept in mind; no host is called so.
fn family(hop: &Hop, at: &Endpoint) -> Option<String> {
    let family = if at.ip()?.is_ipv4() { "IPv4 addresses" } else { "IPv6 addresses" };
    Some(match &hop.by {
        Some(source) => format!("{family} by source {}", source.name()),
        None => family.to_owned(),
    })
}

/// What an address is asked for by the policy of its site.
fn manners<'a, R: Runtime>(
    shard: &Shard<R>,
    (hop, policy, records): (&Hop, &'a SitePolicy, Option<&'a Demand>),
    host: &Host,
    to: &Endpoint,
) -> Manners<'a> {
    let login = policy.credentials.as_ref();
    // What stands behind the hosts of a domain is the operator's, and none of its policy's.
    let beside = hop.by_policy && host.named_by == NamedBy::Operator;
    let level = match (login, to.ip()) {
        // Whatever else is said: a password is told to no other.
        (Some(_), _) => TlsLevel::Verified,
        // What its sender asks for holds at all hosts, those behind the domain's too.
        (None, Some(_)) if hop.requires_tls && !shard.runtime.planted(Defect::TlsUnasked) => {
            TlsLevel::Verified
        }
        _ if matches!(records, Some(Demand::Verified(_))) => TlsLevel::Verified,
        _ if records.is_some() => TlsLevel::Required,
        (None, Some(_)) if beside => TlsLevel::Opportunistic,
        (None, Some(_)) => policy.tls,
        // Nobody listens on a socket of this machine who could not read its memory.
        (None, None) => TlsLevel::Off,
    };
    let asked_by = match (login, hop.tls) {
        (Some(_), _) => AskedBy::Credentials,
        _ if hop.requires_tls => AskedBy::Message,
        _ if records.is_some() => AskedBy::Records,
        (None, Some(_)) if hop.by_policy => AskedBy::Policy,
        (None, Some(_)) => AskedBy::Route,
        (None, None) => AskedBy::Shaping,
    };
    let (lmtp, required) = (hop.protocol == Protocol::Lmtp, level.is_required() && !host.tls_first);
    let hangs_up = || {
        let failures = shard.outbound.hosts.ehlo_failures.borrow();
        failures.is_known(&name(host, to), shard.timers.recent())
    };
    Manners {
        lmtp,
        timeouts: policy.timeouts,
        tls_first: host.tls_first,
        // HELO offers no TLS.
        ehlo: required || lmtp || !hangs_up(),
        starttls: level != TlsLevel::Off && !host.tls_first,
        required,
        verifies: level == TlsLevel::Verified,
        login,
        records,
        asked_by,
        watch: None,
    }
}

/// One address: with STARTTLS if offered, and if anything goes wrong with that, once more in plain text. RFC 3207 section 4.1 leaves that to
/// the client; opportunistic TLS asks for nothing better than what mail had before (RFC 7435). A host that hangs up on EHLO is told HELO.
async fn open<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (hop, policy, rights): (&Hop, &SitePolicy, &Rights<'_, R>),
    host: &Host,
    to: &Endpoint,
) -> Result<Connection<R>, HopError> {
    if hop.credentials.is_some() && policy.credentials.is_none() {
        return Err(HopError::Login(format!("the credentials of the route to {} are gone", hop.label)));
    }
    let (named, by) = (|| name(host, to), &hop.by);
    let now = shard.timers.recent();
    let is_known = |failures: &RefCell<Failures>| failures.borrow().is_known(&named(), now);
    let records = records(shard, hop, host).await?;
    let records = records.as_ref();
    let mut manners = manners(shard, (hop, policy, records), host, to);
    let (asked_by, required) = (manners.asked_by, manners.required);
    let avoids_tls = manners.starttls && !required && is_known(&shard.outbound.hosts.tls_failures);
    if avoids_tls {
        shard.instruments.counters.tls_avoided.add(1);
        manners.starttls = false;
    }
    let greeted = match greet_counted(shard, (hop, records), (host, to), (manners, avoids_tls), rights).await
    {
        Err(HopError::BrokenTls(why)) if required => {
            Err(HopError::UnprovenTls(format!("{}: {why}; {}", named(), asked_by.requires())))
        }
        Err(HopError::BrokenTls(why)) => {
            let plain = Manners { starttls: false, ..manners };
            let greeted = greet(shard, host, (to, by), (plain, rights)).await;
            // One that takes no plain text either has some other trouble. Where it may not be asked by now it will be.
            if matches!(greeted, Ok(_) | Err(HopError::OverRate)) {
                do_without_tls(shard, &named(), &why);
            }
            greeted.map_err(|error| error.or(|| HopError::BrokenTls(why)))
        }
        // HELO has no STARTTLS: that says nothing of the host's.
        Err(HopError::BrokenEhlo(error)) if hop.requires_tls => {
            let why = HopError::BrokenEhlo(error);
            Err(HopError::UnprovenTls(format!("{}: {why}; {}", named(), asked_by.requires())))
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
    if required || hop.requires_tls {
        insist_on_tls(shard, &mut connection, (asked_by, hop.requires_tls)).await?;
    }
    if host.named_by == NamedBy::Operator {
        refuse_ourselves(shard, host, &mut connection).await?;
    }
    connection.capabilities.pipelining &= !is_known(&shard.outbound.hosts.pipelining_failures);
    Ok(connection)
}

/// What the DNS says of the certificate of a host; None: nothing.
async fn records<R: Runtime>(shard: &Shard<R>, hop: &Hop, host: &Host) -> Result<Option<Demand>, HopError> {
    if !hop.by_records || host.named_by != NamedBy::Stranger {
        return Ok(None);
    }
    match shard.outbound.resolver.records(host).await {
        HostRecords::None => Ok(None),
        HostRecords::Some(demand) => Ok(Some(demand)),
        // RFC 7672 section 2.1.2: it is as if it could not be reached.
        HostRecords::Unknown(why) => {
            sessions::tell_unknown(shard, hop, host, &why);
            Err(HopError::NoRecords(why))
        }
    }
}

/// As [`greet`]. What it comes to is counted, where reports of TLS are sent. `avoids_tls`: it failed there a moment ago.
async fn greet_counted<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (hop, records): (&Hop, Option<&Demand>),
    (host, to): (&Host, &Endpoint),
    (manners, avoids_tls): (Manners<'_>, bool),
    rights: &Rights<'_, R>,
) -> Result<Connection<R>, HopError> {
    let watch = sessions::watch(shard, hop, host);
    let watched = Manners { watch: watch.as_ref(), ..manners };
    let mut greeted = greet(shard, host, (to, &hop.by), (watched, rights)).await;
    if let Some(watch) = watch.as_ref().filter(|_| manners.starttls || host.tls_first || avoids_tls) {
        let asked = match manners.verifies {
            _ if avoids_tls => Asked::NotAgain,
            true => Asked::Verified,
            false => Asked::Any,
        };
        sessions::tell(shard, (hop, records), (host, to), (watch, asked), &greeted);
    }
    if let Ok(connection) = &mut greeted {
        connection.watch = None;
    }
    greeted
}

/// The mail of this site never goes in plain text.
async fn insist_on_tls<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    (asked_by, for_all): (AskedBy, bool),
) -> Result<(), HopError> {
    if connection.tls.is_empty() {
        connection.leave(shard).await;
        let (hop, wants) = (&connection.hop, asked_by.requires());
        return Err(match connection.starttls {
            // It may have none just now (RFC 3207 section 4).
            Starttls::Refused if for_all => HopError::UnprovenTls(format!("{hop} refuses STARTTLS; {wants}")),
            Starttls::Refused => HopError::NoTls(format!("{hop} refuses STARTTLS; {wants}")),
            _ => HopError::NoTls(format!("{hop} offers no STARTTLS; {wants}")),
        });
    }
    if for_all && !connection.capabilities.require_tls {
        connection.leave(shard).await;
        let words = "does not ask the next host for TLS (no REQUIRETLS)";
        return Err(HopError::NoTls(format!("{} {words}; {}", connection.hop, asked_by.requires())));
    }
    // Whatever comes now, plain text is not tried next.
    connection.starttls = Starttls::Settled;
    Ok(())
}

/// The operator's host is not this relay. At other ports of ours there may be others of our name, a filter beside us above all.
async fn refuse_ourselves<R: Runtime>(
    shard: &Rc<Shard<R>>,
    host: &Host,
    connection: &mut Connection<R>,
) -> Result<(), HopError> {
    if !std::mem::take(&mut connection.loops) || !shard.outbound.resolver.listens_on(host.port) {
        return Ok(());
    }
    connection.leave(shard).await;
    Err(HopError::Ourselves(loops(&connection.hop)))
}
