//! Senders that require TLS of every host on the way (REQUIRETLS, RFC 8689), or waive what domains ask of it: who gets their mail, and what
//! becomes of the rest.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, MX, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use relevo::policy::sts::{KeptPolicy, Policy};
use relevo::policy::tls;
use relevo::policy::tls_rpt::{AppliedPolicy, PolicyType, ResultType};
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime, Stream};
use rustls::ServerConfig;

use super::relay::{Launch, Relay};
use super::secure::{self, Secure};
use super::story;

/// Hosts: whether their certificate is valid, and what they offer.
const HOSTS: [(&str, bool, bool); 4] = [
    ("good.mx.example", true, true),
    ("bad.mx.example", false, true),
    ("weak.mx.example", true, false),
    ("origin.mx.example", false, false),
];

/// Domains, their hosts, and whether a policy names these.
const DOMAINS: [(&str, &[&str], bool); 6] = [
    ("good.example", &["good.mx.example"], true),
    ("second.example", &["weak.mx.example", "bad.mx.example", "good.mx.example"], true),
    ("bad.example", &["bad.mx.example"], true),
    ("weak.example", &["weak.mx.example"], true),
    ("unnamed.example", &["good.mx.example"], false),
    ("origin.example", &["origin.mx.example"], false),
];

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

fn answer(kind: RecordType, asked: &str) -> Vec<RData> {
    let of = |wanted: &str| DOMAINS.iter().find(|(domain, ..)| *domain == wanted);
    match kind {
        RecordType::MX => {
            let hosts = of(asked).map_or(&[][..], |(_, hosts, _)| hosts);
            hosts.iter().zip(1..).map(|(host, rank)| RData::MX(MX::new(rank, name(host)))).collect()
        }
        RecordType::A => {
            let at = HOSTS.iter().position(|(host, ..)| *host == asked);
            at.map(|at| RData::A(A::new(10, 0, 3, 1 + at as u8))).into_iter().collect()
        }
        RecordType::TXT => {
            let has = asked.strip_prefix("_mta-sts.").and_then(of).is_some_and(|(.., has)| *has);
            has.then(|| RData::TXT(TXT::from_bytes(vec![b"v=STSv1; id=1;"]))).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn serve_names(world: &World) {
    world.serve_datagrams("10.0.9.53:53".parse().expect("an address"), |question| {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        message.add_query(query.clone());
        let asked = query.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let found = answer(query.query_type, &asked);
        if found.is_empty() {
            let root = Name::root();
            let data = RData::SOA(SOA::new(root.clone(), root, 1, 60, 60, 60, 60));
            message.add_authority(Record::from_rdata(query.name.clone(), 60, data));
        }
        for data in found {
            message.add_answer(Record::from_rdata(query.name.clone(), 60, data));
        }
        message.to_vec().ok()
    });
}

/// A message that a host took.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Took {
    host: &'static str,
    recipient: String,
    protected: bool,
    requires: bool,
    text: String,
}

type Taken = Rc<RefCell<Vec<Took>>>;

fn serve_host(world: &World, at: usize, taken: &Taken) {
    let (host, valid, offers) = HOSTS[at];
    let tls: Arc<ServerConfig> = secure::host(host, valid);
    let runtime = world.shard(20 + at as u32, 0);
    let address = std::net::SocketAddr::from(([10, 0, 3, 1 + at as u8], 25));
    let listener = runtime.listen(address).expect("a free address");
    let (own, taken) = (runtime.clone(), taken.clone());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, taken) = (tls.clone(), taken.clone());
            own.spawn(async move {
                let _ = converse(Secure::new(stream), (host, offers), &tls, &taken).await;
            });
        }
    });
}

async fn converse(
    mut talk: Secure,
    (host, offers): (&'static str, bool),
    tls: &Arc<ServerConfig>,
    taken: &Taken,
) -> io::Result<()> {
    let (mut requires, mut recipient) = (false, String::new());
    talk.send("220 mx.example\r\n").await?;
    loop {
        let line = talk.line().await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match &*verb {
            // An offer in plain text is anybody's.
            "EHLO" if !talk.is_protected() => {
                talk.send("250-mx.example\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n").await?;
            }
            "EHLO" if offers => talk.send("250-mx.example\r\n250 REQUIRETLS\r\n").await?,
            "EHLO" => talk.send("250 mx.example\r\n").await?,
            "STARTTLS" => {
                talk.send("220 go on\r\n").await?;
                talk.protect(tls).await?;
            }
            "MAIL" => {
                requires = line.ends_with(" REQUIRETLS");
                talk.send("250 2.1.0 ok\r\n").await?;
            }
            "RCPT" => {
                recipient = line.split(['<', '>']).nth(1).expect("a path").to_owned();
                talk.send("250 2.1.5 ok\r\n").await?;
            }
            "DATA" => {
                talk.send("354 go on\r\n").await?;
                let mut text = String::new();
                while let line = talk.line().await?
                    && line != "."
                {
                    text = text + &line + "\n";
                }
                let (recipient, protected) = (recipient.clone(), talk.is_protected());
                taken.borrow_mut().push(Took { host, recipient, protected, requires, text });
                talk.send("250 2.0.0 taken\r\n").await?;
            }
            "QUIT" => return talk.send("221 2.0.0 bye\r\n").await,
            _ => talk.send("250 2.0.0 ok\r\n").await?,
        }
    }
}

/// Control's part: policies are fetched within a second or so.
fn fetch(world: &World, relay: &Relay<'_>, span: u64) {
    let policies = relay.policies();
    for _ in 0..span {
        while let Some(wanted) = policies.next() {
            let text = "version: STSv1\nmax_age: 864000\nmode: enforce\nmx: *.mx.example\n";
            let policy = Policy::parse(text.as_bytes()).expect("a policy");
            let now = world.shard(0, 0).wall();
            let kept = KeptPolicy { policy, id: wanted.id, fetched: now };
            policies.fetched(&wanted.domain, Some(kept), now);
        }
        world.run_for(Duration::from_secs(1));
    }
}

/// A client under TLS that hands in one message.
fn hand_in(world: &World, number: u16, recipient: &str, (parameter, field): (&str, &str)) {
    let (runtime, recipient) = (world.shard(200, number), recipient.to_owned());
    let (parameter, field) = (parameter.to_owned(), field.to_owned());
    let own = runtime.clone();
    runtime.spawn(async move {
        let told = async {
            let stream = own.connect(None, "10.0.0.1:25".parse().expect("an address"))?;
            poll_fn(|context| stream.poll_writable(context)).await;
            let mut talk = Secure::new(stream);
            talk.line().await?;
            ask(&mut talk, "STARTTLS\r\n").await?;
            let client = tls::Client::new().and_then(|client| client.connection("relay.example"));
            talk.shake(client.map_err(io::Error::other)?).await?;
            ask(&mut talk, "EHLO client.example\r\n").await?;
            ask(&mut talk, &format!("MAIL FROM:<sender@origin.example>{parameter}\r\n")).await?;
            ask(&mut talk, &format!("RCPT TO:<{recipient}>\r\n")).await?;
            ask(&mut talk, "DATA\r\n").await?;
            ask(&mut talk, &format!("{field}Subject: secret\r\n\r\nthe body\r\n.\r\n")).await?;
            ask(&mut talk, "QUIT\r\n").await
        };
        let told: io::Result<()> = told.await;
        told.expect("the message is taken");
    });
}

async fn ask(talk: &mut Secure, words: &str) -> io::Result<()> {
    talk.send(words).await?;
    loop {
        let line = talk.line().await?;
        assert!(matches!(line.as_bytes()[0], b'2' | b'3'), "{words}: {line}");
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

fn mail_that_requires_tls(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    serve_names(&world);
    let taken = Taken::default();
    (0..HOSTS.len()).for_each(|at| serve_host(&world, at, &taken));
    let scratch = tempfile::tempdir().expect("a directory");
    let (chain, key) = secure::certificate("relay.example", true);
    let (chain_at, key_at) = (scratch.path().join("chain.pem"), scratch.path().join("key.pem"));
    std::fs::write(&chain_at, chain).and_then(|()| std::fs::write(&key_at, key)).expect("two files");
    let configuration = format!(
        "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
         [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\n\
         tls_certificate = \"{}\"\ntls_key = \"{}\"\n#authority\n\
         [dns]\nservers = [\"10.0.9.53\"]\n[delivery]\nprivate_networks = \"allow\"\n\
         [retry]\nfirst = \"1m\"\nmax = \"1m\"\n[spool]\nsegment_size = \"4MiB\"\n\
         [tls.tls_rpt]\nfrom = \"t@relay.example\"\ncontact = \"t@relay.example\"\n",
        chain_at.display(),
        key_at.display()
    );
    let room = relevo::shard::mesh::MeshLimits::of(2);
    let launch = Launch { node: 1, shards: 2, lanes: 2, room, configuration: &configuration };
    let relay = Relay::launch(&world, &launch).expect("the node lives");
    relay.policies().serve();
    let places = DOMAINS.iter().filter(|(domain, ..)| *domain != "origin.example");
    for (number, (domain, ..)) in places.clone().enumerate() {
        hand_in(&world, number as u16, &format!("required@{domain}"), (" REQUIRETLS", ""));
        hand_in(&world, 50 + number as u16, &format!("usual@{domain}"), ("", ""));
        hand_in(&world, 100 + number as u16, &format!("waived@{domain}"), ("", "TLS-Required: No\r\n"));
    }
    fetch(&world, &relay, 120);
    let went = |recipient: &str| -> Vec<Took> {
        taken.borrow().iter().filter(|took| took.recipient == recipient).cloned().collect()
    };
    for (domain, ..) in places {
        let required = went(&format!("required@{domain}"));
        let goes = ["good.example", "second.example"].contains(domain);
        assert_eq!(required.len(), usize::from(goes), "{domain}: {required:?}");
        for took in required {
            assert_eq!((took.host, took.protected, took.requires), ("good.mx.example", true, true));
        }
        let usual = went(&format!("usual@{domain}"));
        assert_eq!(usual.len(), usize::from(*domain != "bad.example"), "{domain}: {usual:?}");
        assert!(usual.iter().all(|took| !took.requires), "{usual:?}");
        let waived = went(&format!("waived@{domain}"));
        assert_eq!(waived.len(), 1, "{domain}");
    }
    // What did not go went back at once, and no more of it than its header.
    let returned = went("sender@origin.example");
    assert_eq!(returned.len(), 3, "{returned:?}");
    for took in &returned {
        assert!(took.text.contains("Status: 5.7.30") && took.text.contains("Subject: secret"), "{took:?}");
        assert!(!took.text.contains("the body"), "{took:?}");
    }
    assert!(went("waived@bad.example")[0].text.contains("TLS-Required: No"));
    counted(&relay);
}

/// Each session counts for the domain whose mail it was for, by its policy, whatever the mail asked.
fn counted(relay: &Relay<'_>) {
    let tally = relay.tls_sessions();
    let (_, day) = tally.days().next().expect("a day");
    let of = |domain: &str, kind| day[domain].iter().find(|one| one.policy.kind == kind).expect("some");
    let good = of("good.example", PolicyType::Sts);
    assert!(good.successful > 0 && good.failed == 0, "{good:?}");
    let bad = of("bad.example", PolicyType::Sts);
    assert_eq!((bad.successful, bad.failed), (0, bad.failures.values().sum()), "{bad:?}");
    let failure = bad.failures.keys().next().expect("one");
    assert_eq!((failure.result, &*failure.host), (ResultType::CertificateNotTrusted, "bad.mx.example"));
    assert_eq!(failure.receiving, Some([10, 0, 3, 2].into()));
    assert_eq!(failure.helo, "mx.example");
    let unnamed = of("unnamed.example", PolicyType::NoPolicyFound);
    assert!(unnamed.policy == AppliedPolicy::none() && unnamed.successful > 0, "{unnamed:?}");
    assert!(relay.tls_sessions().is_empty(), "what is taken is not counted again");
}

#[test]
fn what_requires_tls_goes_to_nobody_else() {
    story(3, |seed| mail_that_requires_tls(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| mail_that_requires_tls(seed, Some(defect)));
    assert!((1..=2).any(|seed| told(seed).is_err()), "{defect:?}: not found in 2 stories");
}
