//! Stage 6: where a domain's mail goes: the route table, then MX and addresses through this shard's own resolver and cache.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::config::{Config, DnsConfig, RouteTarget};
use crate::dns::cache::Cache;
use crate::dns::message::{self, Reading};
use crate::dns::{Answer, FAILURE_TTL, Found, Kind};
use crate::limits;
use crate::route::{self, Host, NextHop, NoRoute, Table};
use crate::runtime::{Datagram, Runtime};
use crate::shard::promise::{Fulfil, promise};
use crate::shard::timers::Timers;
use crate::shard::wire::{Wire, WireError};

/// Why a domain or a host leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// For good, or just now.
    pub permanent: bool,
    /// RFC 3463 status.
    pub status: (u8, u16, u16),
    /// In words.
    pub text: String,
}

impl std::fmt::Display for Unroutable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn never(detail: (u16, u16), text: String) -> Unroutable {
    Unroutable { permanent: true, status: (5, detail.0, detail.1), text }
}

fn not_now(text: String) -> Unroutable {
    Unroutable { permanent: false, status: (4, 4, 3), text }
}

type Waiters = HashMap<(Kind, Box<str>), Vec<Fulfil<Rc<Found>>>>;

/// The resolver of one shard.
pub struct Resolver<R: Runtime> {
    runtime: R,
    timers: Timers,
    table: Table,
    dns: DnsConfig,
    own_name: String,
    mx_port: u16,
    allow_loopback: bool,
    cache: RefCell<Cache>,
    /// Who else waits for a question that is being asked.
    waiters: RefCell<Waiters>,
    asking: Cell<usize>,
}

impl<R: Runtime> Resolver<R> {
    /// A resolver with an empty cache.
    pub fn new(runtime: R, timers: Timers, settings: &Config, table: Table) -> Resolver<R> {
        Resolver {
            runtime,
            timers,
            table,
            dns: settings.dns.clone(),
            own_name: settings.node.hostname.clone(),
            mx_port: settings.delivery.mx_port,
            allow_loopback: settings.delivery.allow_loopback_mx,
            cache: RefCell::new(Cache::new(limits::DNS_CACHE_MAX)),
            waiters: RefCell::default(),
            asking: Cell::new(0),
        }
    }

    /// Where the mail of a domain (lower case) goes.
    pub async fn next_hop(&self, domain: &str) -> Result<Rc<NextHop>, Unroutable> {
        match self.table.target(domain) {
            RouteTarget::Smtp { host, port } => Ok(Rc::new(route::fixed(host, *port))),
            RouteTarget::Mx => match route::literal(domain) {
                Some(address) => self.literal_hop(address).map(Rc::new),
                None => self.mx_hop(domain).await.map(Rc::new),
            },
        }
    }

    fn literal_hop(&self, address: IpAddr) -> Result<NextHop, Unroutable> {
        let host = Host { name: address.to_string(), port: self.mx_port, from_dns: true };
        if !self.usable(address) {
            return Err(never((4, 6), format!("{address} is this machine or nobody's")));
        }
        Ok(NextHop { site: format!("[{address}]:{}", self.mx_port), hosts: vec![host] })
    }

    /// MX hosts, or the domain itself where it has none (RFC 5321 section 5.1).
    async fn mx_hop(&self, domain: &str) -> Result<NextHop, Unroutable> {
        let found = self.lookup(Kind::Mx, domain).await;
        let hosts = match &found.answer {
            Ok(Answer::Mx(hosts)) => &hosts[..],
            Ok(Answer::NoDomain) => return Err(never((1, 2), format!("the domain {domain} does not exist"))),
            Ok(_) => &[],
            Err(why) => return Err(not_now(format!("cannot look up the MX of {domain}: {why}"))),
        };
        let hop = route::order_mx(domain, hosts, &self.own_name, self.mx_port, self.runtime.random());
        let hop = hop.map_err(|why| match why {
            NoRoute::NullMx => never((1, 10), format!("the domain {domain} takes no mail (null MX)")),
            NoRoute::Loop => never((4, 6), format!("the mail of {domain} loops back to this relay")),
        })?;
        // A domain none of whose hosts can ever be reached is told so at once, not after days of retries.
        let mut last = None;
        for host in &hop.hosts {
            match self.addresses(host).await {
                Err(why) if why.permanent => last = Some(why),
                _ => return Ok(hop),
            }
        }
        Err(last.unwrap_or_else(|| not_now(format!("no host takes the mail of {domain}"))))
    }

    /// The addresses of a host, IPv4 first.
    pub async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, Unroutable> {
        if let Ok(address) = host.name.parse() {
            return Ok(vec![address]);
        }
        if host.name == "localhost" && !host.from_dns {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        let mut addresses = Vec::new();
        let mut trouble = None;
        for kind in [Kind::A, Kind::Aaaa] {
            match &self.lookup(kind, &host.name).await.answer {
                Ok(Answer::Addresses(some)) => addresses.extend_from_slice(some),
                Ok(_) => {}
                Err(why) => {
                    trouble = Some(not_now(format!("cannot look up the address of {}: {why}", host.name)))
                }
            }
        }
        let found = addresses.len();
        if host.from_dns {
            addresses.retain(|address| self.usable(*address));
        }
        addresses.truncate(limits::MX_ADDRESSES_MAX);
        match (addresses.is_empty(), trouble) {
            (false, _) => Ok(addresses),
            (true, Some(trouble)) => Err(trouble),
            (true, None) if found > 0 => {
                Err(never((4, 6), format!("the host {} is on this machine or nowhere", host.name)))
            }
            (true, None) => Err(never((4, 4), format!("the host {} has no address", host.name))),
        }
    }

    /// Whether an address out of the DNS may be connected to: a stranger's MX must not point us at ourselves.
    fn usable(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        let nowhere = address.is_unspecified() || address.is_multicast() || broadcast;
        !nowhere && (self.allow_loopback || !address.is_loopback())
    }

    /// From the cache, or asked for, once however many want it.
    async fn lookup(&self, kind: Kind, name: &str) -> Rc<Found> {
        if let Some(found) = self.cache.borrow_mut().get(kind, name, self.runtime.now()) {
            return found;
        }
        let joined = {
            let mut waiters = self.waiters.borrow_mut();
            match waiters.get_mut(&(kind, Box::from(name))) {
                Some(others) => {
                    let (fulfil, found) = promise();
                    others.push(fulfil);
                    Some(found)
                }
                None => {
                    waiters.insert((kind, name.into()), Vec::new());
                    None
                }
            }
        };
        if let Some(found) = joined {
            return found.await;
        }
        let found = Rc::new(self.ask(kind, name).await);
        self.cache.borrow_mut().put(kind, name, found.clone(), self.runtime.now());
        let waiters = self.waiters.borrow_mut().remove(&(kind, Box::from(name)));
        for waiter in waiters.into_iter().flatten() {
            waiter.fulfil(found.clone());
        }
        found
    }

    /// Asks, and follows aliases that lead out of an answer.
    async fn ask(&self, kind: Kind, name: &str) -> Found {
        const PAUSE: Duration = Duration::from_millis(20);
        while self.asking.get() >= limits::DNS_INFLIGHT_MAX {
            self.timers.sleep_until(self.runtime.now() + PAUSE).await;
        }
        self.asking.set(self.asking.get() + 1);
        let mut name = name.to_owned();
        let mut bound = crate::dns::TTL_MAX;
        let mut result = Err("the name's aliases do not end".to_owned());
        for _ in 0..limits::DNS_CNAME_MAX {
            match self.ask_servers(kind, &name).await {
                Ok(Reading::Alias(target, ttl)) => {
                    bound = bound.min(ttl);
                    name = target;
                }
                Ok(Reading::Found(found)) => {
                    result = Ok(Found { ttl: found.ttl.min(bound).max(crate::dns::TTL_MIN), ..found });
                    break;
                }
                Ok(_) => {}
                Err(why) => {
                    result = Err(why);
                    break;
                }
            }
        }
        self.asking.set(self.asking.get() - 1);
        result.unwrap_or_else(|why| Found { answer: Err(why), ttl: FAILURE_TTL })
    }

    /// Asks one server after the other until one answers.
    async fn ask_servers(&self, kind: Kind, name: &str) -> Result<Reading, String> {
        let servers = &self.dns.servers;
        if servers.is_empty() {
            return Err("there is no name server; set dns.servers".to_owned());
        }
        let start = self.runtime.random() as usize % servers.len();
        let mut edns = true;
        let mut last = String::new();
        for attempt in 0..self.dns.attempts as usize {
            let server = servers[(start + attempt) % servers.len()];
            let id = self.runtime.random() as u16;
            let Some(question) = message::write_question(id, name, kind, edns) else {
                return Err("the name is no DNS name".to_owned());
            };
            let mut reading = self.ask_udp(server, &question, id, name, kind).await;
            if matches!(reading, Ok(Reading::Truncated)) {
                reading = self.ask_tcp(server, &question, id, name, kind).await;
            }
            match reading {
                Ok(Reading::Plain) if edns => edns = false,
                Ok(Reading::Plain) => last = format!("{server} does not understand the question"),
                Ok(Reading::Failed(why)) => last = format!("{server}: {why}"),
                Ok(Reading::Truncated | Reading::NotOurs) => last = format!("{server} gave no whole answer"),
                Ok(reading) => return Ok(reading),
                Err(error) => last = format!("{server}: {error}"),
            }
        }
        Err(last)
    }

    /// One question over UDP, from a fresh port each time: an answer must guess port and id.
    async fn ask_udp(
        &self,
        server: SocketAddr,
        question: &[u8],
        id: u16,
        name: &str,
        kind: Kind,
    ) -> io::Result<Reading> {
        let socket = self.runtime.datagram(server)?;
        socket.try_send(question)?;
        let mut timeout = self.timers.sleep_until(self.runtime.now() + self.dns.timeout);
        let mut buffer = [0; 4096];
        loop {
            match socket.try_recv(&mut buffer) {
                Ok(length) => match message::read_answer(&buffer[..length], id, name, kind) {
                    Reading::NotOurs => continue,
                    reading => return Ok(reading),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            poll_fn(|context| {
                if socket.poll_readable(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                Pin::new(&mut timeout).poll(context).map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
            })
            .await?;
        }
    }

    /// The same over TCP (RFC 7766): the length goes before the message.
    async fn ask_tcp(
        &self,
        server: SocketAddr,
        question: &[u8],
        id: u16,
        name: &str,
        kind: Kind,
    ) -> io::Result<Reading> {
        let stream = self.runtime.connect(None, server)?;
        let mut wire = Wire::<R>::new(stream, &self.timers);
        wire.limit(&self.timers, self.dns.timeout);
        let exchanged = async {
            wire.writable().await?;
            let length = u16::try_from(question.len()).unwrap_or(0).to_be_bytes();
            wire.send(&[&length[..], question].concat()).await?;
            let mut answer = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                if let Some((length, rest)) = answer.split_first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    if rest.len() >= length {
                        return Ok(rest[..length].to_vec());
                    }
                }
                match wire.try_recv(&mut buffer) {
                    Ok(0) => return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into())),
                    Ok(received) => answer.extend_from_slice(&buffer[..received]),
                    Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                        wire.readable().await?
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        .await;
        let answer = exchanged.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(message::read_answer(&answer, id, name, kind))
    }
}
