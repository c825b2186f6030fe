//! The name servers of a day: right in good weather, and wrong in many ways in bad.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use relevo::runtime::sim::{SimRuntime, SimStream, World};
use relevo::runtime::{Listener, Runtime, Stream};
use relevo::time::Instant;

use super::dice::Dice;
use super::plan::{Lookup, Plan};

const SERVERS: [&str; 2] = ["10.0.9.53:53", "10.0.9.54:53"];
/// Seconds an answer holds.
const TTL: u32 = 120;

struct Names {
    /// Before some of them move, and after.
    records: [BTreeMap<String, Vec<RData>>; 2],
    move_at: Instant,
    dice: RefCell<Dice>,
    bad: f64,
    /// How often an answer looks right and is not; never about the senders' own domain and hosts.
    lies: f64,
    never: Vec<String>,
    /// Until when names of the senders and of all others may fail.
    origin_until: Instant,
    others_until: Instant,
}

/// Serves the names of all sites at both addresses, over UDP and TCP.
pub fn start(world: &World, plan: &Plan) {
    let names = Rc::new(Names {
        records: [records(plan, false), records(plan, true)],
        move_at: Instant(0) + Duration::from_secs(plan.names_move),
        dice: RefCell::new(Dice::new(plan.seed, 3)),
        bad: plan.dns,
        lies: plan.dns_lies,
        never: plan
            .sites
            .iter()
            .filter(|site| site.origin)
            .flat_map(|site| site.hosts.iter().map(|host| &host.name).chain(&site.domains).cloned())
            .collect(),
        origin_until: Instant(0) + Duration::from_secs(plan.network_until),
        others_until: Instant(0) + Duration::from_secs(plan.sites_until),
    });
    let runtime = world.shard(3, 0);
    for server in SERVERS {
        let at: SocketAddr = server.parse().expect("an address");
        let (own, all) = (runtime.clone(), names.clone());
        world.serve_datagrams(at, move |question| all.answer(question, own.now(), false));
        let listener = runtime.listen(at).expect("a free address");
        let (own, all) = (runtime.clone(), names.clone());
        runtime.spawn(async move {
            loop {
                poll_fn(|context| listener.poll_acceptable(context)).await;
                while let Ok((stream, _)) = listener.try_accept() {
                    let (server, all) = (own.clone(), all.clone());
                    own.spawn(async move {
                        let _ = all.serve(&server, &stream).await;
                    });
                }
            }
        });
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

fn records(plan: &Plan, moved: bool) -> BTreeMap<String, Vec<RData>> {
    let mut records: BTreeMap<String, Vec<RData>> = BTreeMap::new();
    let mut add = |at: &str, data| records.entry(at.to_owned()).or_default().push(data);
    let loopback = A("127.0.0.1".parse().expect("an address"));
    for site in &plan.sites {
        for domain in &site.domains {
            match site.lookup {
                Lookup::Nowhere | Lookup::Address => {}
                Lookup::Null => add(domain, RData::MX(MX::new(0, Name::root()))),
                Lookup::NoHost => add(domain, RData::MX(MX::new(10, name("nohost.example")))),
                Lookup::Loopback => add(domain, RData::MX(MX::new(10, name("loop.example")))),
                Lookup::Ours => add(domain, RData::MX(MX::new(10, name("ours.example")))),
                Lookup::Written => add(domain, RData::MX(MX::new(10, name("10.0.0.1")))),
                Lookup::Mx => {
                    let (before, after) = site.halves();
                    for host in if moved { after } else { before } {
                        add(domain, RData::MX(MX::new(host.preference, name(&host.name))));
                    }
                }
            }
        }
        for host in site.hosts.iter().filter(|_| !site.is_permanent_failure()) {
            add(&host.name, RData::A(A(host.address)));
        }
    }
    add("loop.example", RData::A(loopback));
    add("ours.example", RData::A(A("10.0.0.1".parse().expect("an address"))));
    records
}

/// An answer that looks right: to another question, of another name's hosts, a loop, or nothing at all.
fn lie(answer: &mut Message, query: &Query, kind: u64, other: &str, records: &BTreeMap<String, Vec<RData>>) {
    match kind {
        0 => {
            answer.queries.clear();
            answer.add_query(Query::query(name(other), query.query_type));
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        1 => {
            for data in records[other].iter().filter(|data| data.record_type() == query.query_type) {
                answer.add_answer(Record::from_rdata(name(other), TTL, data.clone()));
            }
        }
        2 => {
            let middle = name("loop.of.names.example");
            for (from, to) in [(query.name.clone(), middle.clone()), (middle, query.name.clone())] {
                answer.add_answer(Record::from_rdata(from, TTL, RData::CNAME(CNAME(to))));
            }
        }
        _ => {}
    }
}

impl Names {
    /// One question over one connection.
    async fn serve(&self, runtime: &SimRuntime, stream: &SimStream) -> io::Result<()> {
        let mut input = Vec::new();
        loop {
            let mut buffer = [0; 600];
            match stream.try_recv(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| stream.poll_readable(context)).await;
                }
                Err(error) => return Err(error),
            }
            let Some((length, rest)) = input.split_first_chunk::<2>() else { continue };
            let length = usize::from(u16::from_be_bytes(*length));
            if rest.len() < length {
                continue;
            }
            let Some(answer) = self.answer(&rest[..length], runtime.now(), true) else { return Ok(()) };
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            // Shorter than any window, and the network may take it in parts.
            let mut left = &framed[..];
            while !left.is_empty() {
                match stream.try_send(&[io::IoSlice::new(left)]) {
                    Ok(sent) => left = &left[sent..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        poll_fn(|context| stream.poll_writable(context)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            input.clear();
        }
    }

    fn answer(&self, question: &[u8], now: Instant, tcp: bool) -> Option<Vec<u8>> {
        let asked = Message::from_vec(question).ok()?;
        let query = asked.queries.first()?.clone();
        let text = query.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(query.clone());
        let until = if text.ends_with("origin.example") { self.origin_until } else { self.others_until };
        let dice = &mut *self.dice.borrow_mut();
        if now < until && dice.chance(self.bad) {
            match dice.below(6) {
                0 => return None,
                1 => answer.metadata.response_code = ResponseCode::ServFail,
                2 => answer.metadata.response_code = ResponseCode::Refused,
                3 if !tcp => answer.metadata.truncation = true,
                4 => {
                    answer.metadata.id ^= 1;
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                _ => return Some(question.iter().rev().copied().collect()),
            }
            return answer.to_vec().ok();
        }
        let records = &self.records[usize::from(now >= self.move_at)];
        let lies = self.lies > 0.0 && !self.never.contains(&text);
        if lies && now < until && dice.chance(self.lies) {
            let other =
                records.keys().nth(dice.below(records.len() as u64) as usize).cloned().unwrap_or_default();
            lie(&mut answer, &query, dice.below(4), &other, records);
            return answer.to_vec().ok();
        }
        match records.get(&text) {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(records) => {
                for data in records.iter().filter(|data| data.record_type() == query.query_type) {
                    answer.add_answer(Record::from_rdata(query.name.clone(), TTL, data.clone()));
                }
                // More hosts than anybody tries, behind the real ones.
                if self.lies > 0.0 && query.query_type == RecordType::MX && !text.ends_with("origin.example")
                {
                    for number in 0..40 {
                        let data =
                            RData::MX(MX::new(100 + number, name(&format!("mx{number}.nohost.example"))));
                        answer.add_answer(Record::from_rdata(query.name.clone(), TTL, data));
                    }
                }
            }
        }
        debug_assert!(query.query_type != RecordType::ANY);
        answer.to_vec().ok()
    }
}
