//! The begin of a session with one address: greeting, EHLO, STARTTLS where it is offered, and EHLO again.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Credentials;
use crate::limits;
use crate::policy::dane::{self, Demand};
use crate::policy::trust;
use crate::route::egress;
use crate::route::{Endpoint, Host};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::login;
use crate::shard::outbound::manners::blame_tls;
use crate::shard::outbound::rates::Rights;
use crate::shard::outbound::session::{Behind, Connection, Starttls};
use crate::shard::outbound::source;
use crate::shard::outbound::watch::Watch;
use crate::shard::wire::WireError;
use crate::smtp::client::{self, Capabilities, Timeouts};
use crate::smtp::reply::Reply;

/// What a host is asked for in a session.
#[derive(Clone, Copy)]
pub(super) struct Manners<'a> {
    pub lmtp: bool,
    pub timeouts: Timeouts,
    pub tls_first: bool,
    pub ehlo: bool,
    pub starttls: bool,
    /// There is no mail in plain text.
    pub required: bool,
    /// Its certificate must be valid.
    pub verifies: bool,
    /// Who we are there. Only where its certificate must be valid, and behind it.
    pub login: Option<&'a Arc<Credentials>>,
    /// What the DNS says of its certificate.
    pub records: Option<&'a Demand>,
    pub asked_by: AskedBy,
    /// Who counts what the session comes to.
    pub watch: Option<&'a Rc<Watch>>,
}

/// Who says how TLS is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AskedBy {
    Shaping,
    Route,
    Credentials,
    /// MTA-STS (RFC 8461).
    Policy,
    /// DANE (RFC 7672).
    Records,
    /// REQUIRETLS (RFC 8689).
    Message,
}

impl AskedBy {
    /// Why mail waits that could go in plain text.
    pub(super) fn requires(self) -> &'static str {
        match self {
            AskedBy::Shaping => "a shaping file's enable_tls requires TLS",
            AskedBy::Route => "the route's tls requires TLS",
            AskedBy::Credentials => "the route's credentials require TLS",
            AskedBy::Policy => "the domain's MTA-STS policy (mode enforce) requires TLS",
            AskedBy::Records => "its TLSA records (DANE) require TLS",
            AskedBy::Message => "the message's sender requires TLS (REQUIRETLS)",
        }
    }

    /// Why it waits though there is TLS.
    fn wants_a_valid_one(self) -> &'static str {
        match self {
            AskedBy::Shaping => "a shaping file's enable_tls = \"Required\" wants a valid one",
            AskedBy::Route => "the route's tls = \"verify\" wants a valid one",
            AskedBy::Credentials => "the route's credentials want a valid one",
            AskedBy::Policy => "the domain's MTA-STS policy (mode enforce) wants a valid one",
            AskedBy::Records => "its TLSA records (DANE) want a valid one",
            AskedBy::Message => "the message's sender (REQUIRETLS) wants a valid one",
        }
    }
}

/// What its certificate must be.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    by: AskedBy,
    records: Option<&'a Demand>,
}

impl<'a> Manners<'a> {
    /// How its certificate is looked at; None: not at all.
    fn wants(&self) -> Option<Wanted<'a>> {
        self.verifies.then_some(Wanted { by: self.asked_by, records: self.records })
    }
}

/// A host's name and address, for records and to know it again.
pub(super) fn name(host: &Host, at: &Endpoint) -> String {
    match at {
        Endpoint::Network(address) => {
            let at = address.address();
            format!("{} [{}]:{}", host.name, at.ip(), at.port())
        }
        Endpoint::Socket(_) => at.to_string(),
    }
}

/// Connects to an address and introduces the relay there.
pub(super) async fn greet<R: Runtime>(
    shard: &Rc<Shard<R>>,
    host: &Host,
    (to, by): (&Endpoint, &Option<Arc<egress::Source>>),
    (manners, rights): (Manners<'_>, &Rights<'_, R>),
) -> Result<Connection<R>, HopError> {
    if !rights.take().await {
        return Err(HopError::OverRate);
    }
    let begun = shard.runtime.now();
    let wire = source::connect(shard, by.as_deref(), to, manners.timeouts.connect).await?;
    let mut connection = Connection::new(wire, name(host, to), (manners.lmtp, manners.timeouts));
    connection.by.clone_from(by);
    connection.address = sending(by.as_deref(), to).or_else(|| connection.wire.own_address());
    if let Some(watch) = manners.watch {
        watch.leaves_by(connection.address);
        connection.watch = Some(watch.clone());
    }
    match introduce(shard, &mut connection, &host.name, manners).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            connection.leave(shard).await;
            let is_silence = matches!(error, HopError::Wire(WireError::TimedOut | WireError::Lost(_)));
            match by {
                Some(source) if is_silence && !connection.greeted => {
                    Err(source::unheard(shard, source, (&rights.site(), to), (begun, error)))
                }
                // Its words name it: mail waits for whoever takes connections and says nothing.
                _ if !connection.greeted
                    && !manners.tls_first
                    && matches!(error, HopError::Wire(WireError::TimedOut)) =>
                {
                    Err(HopError::Ungreeted(connection.hop.to_string()))
                }
                _ => Err(error),
            }
        }
    }
}

/// The address of ours that a host sees of a source behind a proxy, as far as that is written.
fn sending(by: Option<&egress::Source>, to: &Endpoint) -> Option<IpAddr> {
    let source = by.filter(|source| source.config.proxy.is_some())?;
    source.config.addresses().find(|own| to.ip().is_some_and(|to| to.is_ipv4() == own.is_ipv4()))
}

/// From the greeting to the first MAIL.
async fn introduce<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    host: &str,
    manners: Manners<'_>,
) -> Result<(), HopError> {
    if manners.tls_first {
        secure(shard, connection, (host, manners.wants())).await?;
    }
    connection.owe(1);
    let greeting = connection.reply(shard, manners.timeouts.greeting).await?;
    connection.greeted = true;
    connection.by.iter().for_each(|source| source.heard(shard.runtime.now()));
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
            HopError::Wire(error @ WireError::Lost(_)) if !manners.lmtp => HopError::BrokenEhlo(error),
            error => error,
        })?;
    } else {
        helo(shard, connection, manners.timeouts.hello).await?;
    }
    if manners.starttls && connection.capabilities.starttls {
        connection.starttls = Starttls::Begun;
        let protected = protect(shard, connection, (host, manners.wants())).await;
        if protected.is_ok() {
            shard.outbound.hosts.tls_loads.borrow_mut().forget(&connection.hop);
        }
        protected.map_err(|(step, error)| match error {
            HopError::Refused(reply) if is_load(shard, connection, &reply) => HopError::Refused(reply),
            error @ (HopError::BadTls(_) | HopError::Unasked) => error,
            error => HopError::BrokenTls(words(connection.starttls, step, &error)),
        })?;
    }
    if let Some(credentials) = manners.login.filter(|_| manners.verifies && !connection.tls.is_empty()) {
        login::log_in(shard, connection, credentials).await?;
    }
    let planted = shard.runtime.planted(Defect::TlsUnasked);
    connection.capabilities.proven = planted || (manners.verifies && !connection.tls.is_empty());
    // What is offered in plain text is offered to anybody on the way.
    connection.capabilities.require_tls &= !connection.tls.is_empty();
    connection.capabilities.require_tls |= planted;
    connection.be_terse();
    match connection.behind(shard).await {
        Behind::Nothing => Ok(()),
        // A hop that says more than it was asked for from the start will not be in step later.
        Behind::Words => Err(HopError::Unasked),
        Behind::End(error) => Err(blame_tls(connection.starttls, &error).map_or(error, HopError::BrokenTls)),
    }
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
    let lmtp = connection.lmtp;
    let word = if lmtp { client::lmtp::HELLO } else { "EHLO" };
    let line = format!("{word} {own_name}\r\n");
    connection.send(shard, line.as_bytes(), 1, patience).await?;
    let reply = connection.reply(shard, patience).await?;
    if reply.is_done() {
        connection.watch.iter().for_each(|watch| watch.greets(&reply));
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

/// The handshake of TLS with a host of this name, whose certificate must be valid if somebody asks for that.
async fn secure<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    (name, wanted): (&str, Option<Wanted<'_>>),
) -> Result<(), HopError> {
    if let Some(wanted) = wanted {
        return verify(shard, connection, (name, wanted)).await;
    }
    let client = shard.outbound.tls_client.connection(name).map_err(WireError::Tls)?;
    shake(shard, connection, client).await
}

/// The same where it must be. Nothing was said to the host yet that it may not know, if it is not.
async fn verify<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    (name, wanted): (&str, Wanted<'_>),
) -> Result<(), HopError> {
    let unverified = |hop: &str, why: &str| {
        shard.instruments.counters.tls_unverified.add(1);
        let wants = wanted.by.wants_a_valid_one();
        Err(HopError::BadTls(format!("the certificate of {hop} {why}; {wants}")))
    };
    let client = match wanted.records {
        Some(Demand::Verified(records)) => {
            Some(shard.outbound.hosts.certified.borrow_mut().client(name, records).map_err(WireError::Tls)?)
        }
        _ => shard.live.get().verifying.clone(),
    };
    let Some(client) = client else {
        return unverified(&connection.hop, "cannot be verified: this machine trusts no authority");
    };
    let client = client.connection(name).map_err(WireError::Tls)?;
    match shake(shard, connection, client).await {
        Err(HopError::Wire(WireError::Tls(error))) => {
            connection.watch.iter().for_each(|watch| watch.fails(&error));
            match dane::flaw(&error).or_else(|| trust::flaw(&error)) {
                Some(flaw) => unverified(&connection.hop, &flaw),
                None => Err(HopError::Wire(WireError::Tls(error))),
            }
        }
        result => result,
    }
}

async fn shake<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    client: rustls::Connection,
) -> Result<(), HopError> {
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
    host: (&str, Option<Wanted<'_>>),
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
    secure(shard, connection, host).await.map_err(at("in the handshake"))?;
    hello(shard, connection, patience).await.map_err(at("after the handshake"))
}
