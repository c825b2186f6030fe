//! What the simulated internet's names mean, as lines of text.
//!
//! ```text
//! gmail.example        300 MX 5 mx1.gmail.example     ; preference and host
//! mx1.gmail.example    300 A 127.1.0.1
//! *.bulk.example       60  MX 10 mx.bulk.example      ; every name below that has no lines of its own
//! nomail.example       300 MX 0 .                     ; takes no mail (RFC 7505)
//! www.example          300 CNAME host.example
//! broken.example       SERVFAIL                       ; or REFUSED, NXDOMAIN, DROP (no answer), TRUNCATE (UDP only)
//! slow.example         DELAY 200ms
//! ```
//!
//! A name that is not there does not exist: NXDOMAIN with an SOA, so that the negative TTL is known too.

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::dns::Transport;
use crate::unfit::Unfit;

/// What a client that announces nothing takes over UDP (RFC 1035 4.2.1).
const PLAIN_UDP: u16 = 512;
/// Aliases followed inside one answer.
const ALIASES_MAX: usize = 16;
/// How long a "no such name" holds, seconds.
const NEGATIVE_TTL: u32 = 60;

/// A line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and how to write it.
    pub problem: Unfit,
}

impl fmt::Display for ZoneError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ZoneError {}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Code(ResponseCode),
    Drop,
    Truncate,
}

#[derive(Clone, Debug, Default)]
struct Node {
    records: Vec<(u32, RData)>,
    trouble: Option<Trouble>,
    delay: Duration,
}

/// All names.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    /// By lower-case name without the final dot; a wildcard by `*.` and what follows.
    nodes: HashMap<String, Node>,
}

impl Zone {
    /// Reads the lines.
    pub fn parse(text: &str) -> Result<Zone, ZoneError> {
        let mut zone = Zone::default();
        for (place, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split(';').next().unwrap_or("").split_whitespace().collect();
            if !words.is_empty() {
                zone.add(&words).map_err(|problem| ZoneError { line: place + 1, problem })?;
            }
        }
        Ok(zone)
    }

    /// Names.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn add(&mut self, words: &[&str]) -> Result<(), Unfit> {
        let [owner, rest @ ..] = words else { return Ok(()) };
        name(owner.strip_prefix("*.").unwrap_or(owner))?;
        let owner = owner.trim_end_matches('.').to_ascii_lowercase();
        let node = self.nodes.entry(owner).or_default();
        match rest {
            ["SERVFAIL"] => node.trouble = Some(Trouble::Code(ResponseCode::ServFail)),
            ["REFUSED"] => node.trouble = Some(Trouble::Code(ResponseCode::Refused)),
            ["NXDOMAIN"] => node.trouble = Some(Trouble::Code(ResponseCode::NXDomain)),
            ["DROP"] => node.trouble = Some(Trouble::Drop),
            ["TRUNCATE"] => node.trouble = Some(Trouble::Truncate),
            ["DELAY", span] => node.delay = delay(span)?,
            [ttl, kind, data @ ..] => {
                let ttl = ttl.parse().map_err(|_| {
                    Unfit::new(format!("\"{ttl}\" is no TTL in seconds, and no known trouble"))
                })?;
                node.records.push((ttl, record(kind, data)?));
            }
            _ => {
                return Err(Unfit::new(
                    "write NAME TTL TYPE DATA, or NAME SERVFAIL|REFUSED|NXDOMAIN|DROP|TRUNCATE, or NAME DELAY TIME",
                ));
            }
        }
        Ok(())
    }

    /// The node of a name: its own, else the nearest wildcard's.
    fn node(&self, name: &str) -> Option<&Node> {
        if let Some(node) = self.nodes.get(name) {
            return Some(node);
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(node) = self.nodes.get(&format!("*.{parent}")) {
                return Some(node);
            }
            rest = parent;
        }
        None
    }

    /// Answers a question: the bytes, and how long they are held back. None: no answer.
    pub fn answer(&self, question: &[u8], transport: Transport) -> Option<(Vec<u8>, Duration)> {
        let asked = Message::from_vec(question).ok()?;
        let query = asked.queries.first()?.clone();
        if asked.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = asked.metadata.recursion_desired;
        answer.metadata.authoritative = true;
        answer.add_query(query.clone());
        let owner = text(&query.name);
        let delay = self.node(&owner).map_or(Duration::ZERO, |node| node.delay);
        match self.node(&owner).and_then(|node| node.trouble) {
            Some(Trouble::Drop) => return None,
            Some(Trouble::Truncate) if transport == Transport::Udp => {
                answer.metadata.truncation = true;
                return Some((answer.to_vec().ok()?, delay));
            }
            Some(Trouble::Code(code)) => answer.metadata.response_code = code,
            _ => self.fill(&mut answer, query.name.clone(), query.query_type),
        }
        let mut bytes = answer.to_vec().ok()?;
        let most = asked.edns.as_ref().map_or(PLAIN_UDP, |edns| edns.max_payload().max(PLAIN_UDP));
        if transport == Transport::Udp && bytes.len() > usize::from(most) {
            answer.metadata.truncation = true;
            answer.answers.clear();
            bytes = answer.to_vec().ok()?;
        }
        Some((bytes, delay))
    }

    /// Puts in what there is, following aliases as far as this zone knows them.
    fn fill(&self, answer: &mut Message, asked: Name, wanted: RecordType) {
        let mut owner = asked;
        for _ in 0..ALIASES_MAX {
            let Some(node) = self.node(&text(&owner)) else {
                // The end of a chain that does not exist is that of the question (RFC 6604).
                answer.metadata.response_code = ResponseCode::NXDomain;
                break;
            };
            let mut alias = None;
            let before = answer.answers.len();
            for (ttl, data) in &node.records {
                if let RData::CNAME(target) = data
                    && wanted != RecordType::CNAME
                {
                    alias = Some(target.0.clone());
                } else if data.record_type() != wanted {
                    continue;
                }
                answer.add_answer(Record::from_rdata(owner.clone(), *ttl, data.clone()));
            }
            match alias {
                Some(target) => owner = target,
                None if answer.answers.len() > before => return,
                None => break,
            }
        }
        let root = Name::root();
        let soa = SOA::new(root.clone(), root.clone(), 1, 3600, 600, 86_400, NEGATIVE_TTL);
        answer.add_authority(Record::from_rdata(root, NEGATIVE_TTL, RData::SOA(soa)));
    }
}

fn name(words: &str) -> Result<Name, Unfit> {
    let mut name =
        Name::from_ascii(words).map_err(|error| Unfit::new(format!("\"{words}\" is no name: {error}")))?;
    name.set_fqdn(true);
    Ok(name)
}

fn text(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.trim_end_matches('.').to_owned()
}

fn record(kind: &str, data: &[&str]) -> Result<RData, Unfit> {
    let address = "write an address";
    match (kind, data) {
        ("A", [ip]) => ip
            .parse::<Ipv4Addr>()
            .map(|ip| RData::A(A(ip)))
            .map_err(|_| Unfit::new(format!("\"{ip}\": {address}"))),
        ("AAAA", [ip]) => ip
            .parse::<Ipv6Addr>()
            .map(|ip| RData::AAAA(AAAA(ip)))
            .map_err(|_| Unfit::new(format!("\"{ip}\": {address}"))),
        ("MX", [rank, host]) => {
            let rank = rank
                .parse()
                .map_err(|_| Unfit::new(format!("\"{rank}\" is no preference from 0 to 65535")))?;
            Ok(RData::MX(MX::new(rank, name(host)?)))
        }
        ("CNAME", [target]) => Ok(RData::CNAME(CNAME(name(target)?))),
        _ => Err(Unfit::new(format!(
            "\"{kind}\" with {} words: write A ADDRESS, AAAA ADDRESS, MX PREFERENCE HOST or CNAME NAME",
            data.len()
        ))),
    }
}

fn delay(words: &str) -> Result<Duration, Unfit> {
    let (number, unit) = words.split_at(words.find(|c: char| !c.is_ascii_digit()).unwrap_or(words.len()));
    let number: u64 =
        number.parse().map_err(|_| Unfit::new(format!("\"{words}\" is no time: write 200ms or 3s")))?;
    match unit {
        "ms" if number <= 60_000 => Ok(Duration::from_millis(number)),
        "s" if number <= 60 => Ok(Duration::from_secs(number)),
        _ => Err(Unfit::new(format!("\"{words}\" is no time: write 200ms or 3s, at most a minute"))),
    }
}
