//! Domains with a policy (MTA-STS, RFC 8461), beside others at the same hosts: those that are enforced go to hosts that prove who they are or wait,
//! and hold nobody else up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, MX, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use relevo::policy::sts::{KeptPolicy, Policy};
use relevo::runtime::Runtime;
use relevo::runtime::sim::World;
use rustls::ServerConfig;

use super::peers::hand_in;
use super::relay::{Launch, Relay};
use super::secure::{self, Secure};
use super::story;

/// Two hosts with a certificate of nobody, and two of which one has a good one.
const HOSTS: [(&str, [u8; 4], bool); 2] =
    [("bad.mx.example", [10, 0, 3, 1], false), ("good.mx.example", [10, 0, 3, 2], true)];

/// Domains, their hosts, and what their policies are.
const DOMAINS: [(&str, &[&str], Option<&str>); 6] = [
    ("none.example", &["bad.mx.example"], None),
    ("broken.example", &["bad.mx.example"], Some("mode: enforce\nmx: bad.mx.example")),
    ("foreign.example", &["bad.mx.example"], Some("mode: enforce\nmx: *.elsewhere.example")),
    ("testing.example", &["bad.mx.example"], Some("mode: testing\nmx: *.elsewhere.example")),
    ("good.example", &["good.mx.example"], Some("mode: enforce\nmx: *.mx.example")),
    ("second.example", &["bad.mx.example", "good.mx.example"], Some("mode: enforce\nmx: *.mx.example")),
];

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

/// What a name server knows. `published`: domains have their records.
fn serve_names(world: &World, published: &Arc<std::sync::atomic::AtomicBool>) {
    let published = published.clone();
    world.serve_datagrams("10.0.9.53:53".parse().expect("an address"), move |question| {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(query.clone());
        let asked = query.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let mut found = Vec::new();
        match query.query_type {
            RecordType::MX => {
                let of = DOMAINS
                    .iter()
                    .filter(|(domain, ..)| *domain == asked)
                    .flat_map(|(_, hosts, _)| hosts.iter());
                found.extend(of.zip(1..).map(|(host, rank)| RData::MX(MX::new(rank, name(host)))));
            }
            RecordType::A => {
                let of = HOSTS.iter().filter(|(host, ..)| *host == asked);
                found.extend(of.map(|(_, [a, b, c, d], _)| RData::A(A::new(*a, *b, *c, *d))));
            }
            RecordType::TXT if published.load(std::sync::atomic::Ordering::SeqCst) => {
                let domain = asked.strip_prefix("_mta-sts.").unwrap_or_default();
                let has = DOMAINS.iter().any(|(known, _, policy)| *known == domain && policy.is_some());
                found.extend(has.then(|| RData::TXT(TXT::from_bytes(vec![b"v=STSv1; id=1;"]))));
            }
            _ => {}
        }
        if found.is_empty() {
            let root = Name::root();
            let data = RData::SOA(SOA::new(root.clone(), root, 1, 60, 60, 60, 60));
            answer.add_authority(Record::from_rdata(query.name, 60, data));
        } else {
            for data in found {
                answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
            }
        }
        answer.to_vec().ok()
    });
}

/// What the hosts took: by domain of the recipient, over TLS or not, and by which host.
type Taken = Rc<RefCell<BTreeMap<String, Vec<(bool, &'static str)>>>>;

fn serve_host(world: &World, at: usize, taken: &Taken, broken: &Rc<Cell<bool>>) {
    let (host, [a, b, c, d], valid) = HOSTS[at];
    let tls: Arc<ServerConfig> = secure::host(host, valid);
    let runtime = world.shard(20 + at as u32, 0);
    let listener = runtime.listen(std::net::SocketAddr::from(([a, b, c, d], 25))).expect("a free address");
    let (own, taken, broken) = (runtime.clone(), taken.clone(), broken.clone());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, taken, broken) = (tls.clone(), taken.clone(), broken.clone());
            own.spawn(async move {
                let _ = converse(Secure::new(stream), host, &tls, (&taken, &broken)).await;
            });
        }
    });
}

async fn converse(
    mut talk: Secure,
    host: &'static str,
    tls: &Arc<ServerConfig>,
    (taken, plain): (&Taken, &Cell<bool>),
) -> io::Result<()> {
    talk.send("220 mx.example\r\n").await?;
    loop {
        let line = talk.line().await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match &*verb {
            "EHLO" if talk.is_protected() || plain.get() => talk.send("250 mx.example\r\n").await?,
            "EHLO" => talk.send("250-mx.example\r\n250 STARTTLS\r\n").await?,
            "STARTTLS" => {
                talk.send("220 go on\r\n").await?;
                talk.protect(tls).await?;
            }
            "RCPT" => {
                let domain =
                    line.split('@').nth(1).and_then(|rest| rest.split('>').next()).expect("a domain");
                taken.borrow_mut().entry(domain.to_owned()).or_default().push((talk.is_protected(), host));
                talk.send("250 2.1.5 ok\r\n").await?;
            }
            "DATA" => {
                talk.send("354 go on\r\n").await?;
                while talk.line().await? != "." {}
                talk.send("250 2.0.0 taken\r\n").await?;
            }
            "QUIT" => return talk.send("221 2.0.0 bye\r\n").await,
            _ => talk.send("250 2.0.0 ok\r\n").await?,
        }
    }
}

fn launch(world: &World) -> Relay<'_> {
    let configuration = "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
         [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\n#authority\n\
         [dns]\nservers = [\"10.0.9.53\"]\n[delivery]\nprivate_networks = \"allow\"\n\
         [retry]\nfirst = \"1m\"\nmax = \"1m\"\n[spool]\nsegment_size = \"4MiB\"\n";
    let room = relevo::shard::mesh::MeshLimits::of(2);
    Relay::launch(world, &Launch { node: 1, shards: 2, lanes: 2, room, configuration })
        .expect("the node lives")
}

/// Plays control: policies are fetched within a second or so, if `answers`.
fn fetch(world: &World, relay: &Relay<'_>, answers: bool, span: Duration) {
    let policies = relay.policies();
    let now = || world.shard(0, 0).wall();
    for _ in 0..span.as_secs() {
        while let Some(wanted) = policies.next() {
            let text = DOMAINS
                .iter()
                .find(|(domain, ..)| **domain == *wanted.domain)
                .and_then(|(.., policy)| *policy);
            let text = format!("version: STSv1\nmax_age: 86400\n{}\n", text.expect("it has one"));
            let policy = Policy::parse(text.as_bytes()).expect("a policy");
            let kept = KeptPolicy { policy, id: wanted.id, fetched: now() };
            policies.fetched(&wanted.domain, answers.then_some(kept), now());
        }
        world.run_for(Duration::from_secs(1));
    }
}

fn hand_in_all(world: &World, first: usize) {
    for (at, (domain, ..)) in DOMAINS.iter().enumerate() {
        hand_in(world, (first + at) as u16, first + at, vec![format!("u@{domain}")]);
    }
}

#[test]
fn a_policy_is_obeyed_by_its_domain_and_holds_up_no_other() {
    story(2, |seed| {
        let world = World::new(seed);
        let published = Arc::new(std::sync::atomic::AtomicBool::new(true));
        serve_names(&world, &published);
        let (taken, plain) = (Taken::default(), Rc::new(Cell::new(false)));
        (0..HOSTS.len()).for_each(|at| serve_host(&world, at, &taken, &plain));
        let relay = launch(&world);
        relay.policies().serve();
        hand_in_all(&world, 0);
        fetch(&world, &relay, true, Duration::from_secs(600));
        let went = |domain: &str| taken.borrow().get(domain).cloned().unwrap_or_default();
        // Nobody asked for a valid certificate.
        assert_eq!(went("none.example"), [(true, "bad.mx.example")]);
        assert_eq!(went("testing.example"), [(true, "bad.mx.example")]);
        assert_eq!((went("broken.example"), went("foreign.example")), (vec![], vec![]));
        assert_eq!(went("good.example"), [(true, "good.mx.example")]);
        assert_eq!(went("second.example"), [(true, "good.mx.example")], "the next host, not a bad one");
        // Not the plain text that all else falls back to, either.
        plain.set(true);
        hand_in_all(&world, 100);
        fetch(&world, &relay, true, Duration::from_secs(600));
        assert_eq!(went("none.example").len(), 2);
        for domain in ["broken.example", "foreign.example"] {
            assert_eq!(went(domain), [], "{domain}");
        }
        for domain in ["good.example", "second.example"] {
            assert!(went(domain).iter().all(|taken| *taken == (true, "good.mx.example")), "{domain}");
        }
        assert_eq!(relay.sum(|of| &of.recipients_bounced), 0);
        // The record is gone: the policy holds as long as it says, and then no more (RFC 8461 section 3.1).
        published.store(false, std::sync::atomic::Ordering::SeqCst);
        fetch(&world, &relay, true, Duration::from_secs(70_000));
        assert_eq!(went("broken.example"), []);
        fetch(&world, &relay, true, Duration::from_secs(25_000));
        assert!(!went("broken.example").is_empty() && !went("foreign.example").is_empty(), "it has ended");
    });
}

/// Mail waits for the first fetch for a bound, and goes on as if there were no policy (RFC 8461 section 5.1): what cannot be fetched holds nobody up.
#[test]
fn a_policy_that_cannot_be_fetched_is_none() {
    for silent in [false, true] {
        let world = World::new(1);
        serve_names(&world, &Arc::new(std::sync::atomic::AtomicBool::new(true)));
        let (taken, plain) = (Taken::default(), Rc::new(Cell::new(false)));
        (0..HOSTS.len()).for_each(|at| serve_host(&world, at, &taken, &plain));
        let relay = launch(&world);
        relay.policies().serve();
        hand_in_all(&world, 0);
        if silent {
            // Nobody fetches, though somebody should.
            world.run_for(Duration::from_secs(30));
        } else {
            fetch(&world, &relay, false, Duration::from_secs(30));
        }
        assert_eq!(taken.borrow().len(), DOMAINS.len(), "{silent}: {:?}", taken.borrow());
    }
}
