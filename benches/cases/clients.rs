//! What a client may need before its mail is taken: who it is, that it knows a password, that it has a right left; and a message in portions.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relevo::config::quota::Quotas;
use relevo::config::{AuthMechanisms, Config, Manner};
use relevo::id::{Durable, MessageId};
use relevo::mail::envelope::Envelopes;
use relevo::policy::quota::{Owner, Spent};
use relevo::policy::rates::{Counted, Whose};
use relevo::shaping::value;
use relevo::shard::quota::ledger::{Keeps, Ledger, QuotaRows};
use relevo::shard::quota::{QuotaCount, QuotaDesk, QuotaTable};
use relevo::shard::rates::{self, Rates};
use relevo::shard::trace::TraceDesk;
use relevo::smtp::proxy::{self, Parsed};
use relevo::smtp::scram::Verifier;
use relevo::smtp::server::{BodyEnd, Intake, PortionEnd, Session, SessionConfig, Step};
use relevo::time::Instant;

use super::Routine;
use super::inputs::{self, BODY};
use super::spool::{NOW, Store};

struct Proxied([Vec<u8>; 2]);

impl Routine for Proxied {
    fn run(&mut self) {
        for _ in 0..50 {
            for header in &self.0 {
                let Parsed::Whole(length, header) = proxy::parse(black_box(header)) else {
                    panic!("a sound header")
                };
                black_box((length, header));
            }
        }
    }
}

/// Headers of balancers: the line of version 1, and version 2 with what it says of TLS.
pub fn proxy() -> Box<dyn Routine> {
    let line = b"PROXY TCP4 192.0.2.17 198.51.100.7 40000 25\r\nEHLO app7.shop.example\r\n".to_vec();
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    let mut rest = vec![192, 0, 2, 17, 198, 51, 100, 7, 0x9c, 0x40, 0, 25];
    let mut field = |kind: u8, value: &[u8]| {
        rest.extend_from_slice(&[kind, 0, value.len() as u8]);
        rest.extend_from_slice(value);
    };
    field(0x02, b"relay.example");
    let mut tls = vec![1, 0, 0, 0, 0];
    for (kind, value) in [(0x21, &b"TLSv1.3"[..]), (0x23, b"TLS_AES_256_GCM_SHA384")] {
        tls.extend_from_slice(&[kind, 0, value.len() as u8]);
        tls.extend_from_slice(value);
    }
    field(0x20, &tls);
    second.extend_from_slice(&(rest.len() as u16).to_be_bytes());
    second.extend_from_slice(&rest);
    Box::new(Proxied([line, second]))
}

/// The exchange of RFC 7677 section 3, user `user` and password `pencil`.
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const STORED: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

struct Logins {
    config: Rc<SessionConfig>,
    peer: SocketAddr,
    verifier: Verifier,
    sessions: Vec<Session>,
    first: Vec<u8>,
    last: Vec<u8>,
    out: Vec<u8>,
}

impl Routine for Logins {
    fn prepare(&mut self) {
        // A session logs in once.
        self.sessions.clear();
        for _ in 0..16 {
            let mut session = Session::new(self.config.clone(), self.peer, false);
            session.tls_established("TLSv1.3".to_owned());
            session.handle(b"EHLO app7.shop.example\r\n", Intake::Open, &mut self.out);
            self.sessions.push(session);
        }
    }

    fn run(&mut self) {
        for session in &mut self.sessions {
            self.out.clear();
            let (_, step) = session.handle(&self.first, Intake::Open, &mut self.out);
            assert_eq!(step, Step::Challenge);
            session.challenge(self.verifier.costs.clone(), (NONCE, None), &mut self.out);
            let (_, step) = session.handle(&self.last, Intake::Open, &mut self.out);
            let Step::Prove(proof) = step else { panic!("no proof") };
            assert!(self.verifier.is_of(&self.verifier.client_key(&proof.signed, &proof.proof)));
            session.proven("user", &self.verifier.signature(&proof.signed), &mut self.out);
            session.handle(b"\r\n", Intake::Open, &mut self.out);
            assert_eq!(session.account(), Some("user"));
            black_box(&self.out);
        }
    }
}

/// Logins by SCRAM-SHA-256: what the session and the look at the proof cost us. Hashing the password is the client's.
pub fn scram() -> Box<dyn Routine> {
    let config =
        SessionConfig { auth: AuthMechanisms::all_that(|_| true), ..SessionConfig::plain("relay.example") };
    Box::new(Logins {
        config: Rc::new(config),
        peer: "192.0.2.17:40000".parse().expect("an address"),
        verifier: Verifier::parse(STORED).expect("that of the RFC"),
        sessions: Vec::new(),
        first: format!("AUTH SCRAM-SHA-256 {}\r\n", STANDARD.encode(FIRST)).into_bytes(),
        last: format!("{}\r\n", STANDARD.encode(LAST)).into_bytes(),
        out: Vec::new(),
    })
}

struct Portions {
    session: Session,
    envelopes: Envelopes,
    id: Durable<MessageId>,
    body: Vec<u8>,
    envelope: Vec<u8>,
    buffers: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Routine for Portions {
    fn prepare(&mut self) {
        for buffer in &mut self.buffers {
            buffer.clone_from(&self.body);
        }
    }

    fn run(&mut self) {
        for buffer in &mut self.buffers {
            self.out.clear();
            let (used, step) = self.session.handle(&self.envelope, Intake::Open, &mut self.out);
            assert!(used == self.envelope.len() && step == Step::Portion);
            assert!(self.session.scan(buffer).done);
            assert!(matches!(self.session.portion_end(&mut self.out), PortionEnd::Message(b"")));
            let expiry = NOW.after(std::time::Duration::from_secs(86_400));
            let BodyEnd::Accept(envelope, _) = self.session.body_end(NOW, expiry, &mut self.out) else {
                panic!("a sound message was refused")
            };
            self.envelopes.give(black_box(envelope));
            self.session.accepted(&self.id, &mut self.out);
            black_box(&self.out);
        }
    }
}

/// A client's session with BDAT, from MAIL to the 250, without its storage: beside `session`, which has DATA.
pub fn portion() -> Box<dyn Routine> {
    let envelopes = Envelopes::default();
    let manner = Manner { chunking: true, smtputf8: false, ..Manner::default() };
    let config =
        SessionConfig { envelopes: envelopes.clone(), manner, ..SessionConfig::plain("relay.example") };
    let peer = "192.0.2.17:40000".parse().expect("an address");
    let mut session = Session::new(Rc::new(config), peer, true);
    let mut out = Vec::new();
    session.handle(b"EHLO app7.shop.example\r\n", Intake::Open, &mut out);
    let envelope = format!(
        "MAIL FROM:<bounce+4711@news.shop.example> SIZE=10240\r\nRCPT TO:<ada.example@mail.example>\r\nBDAT {BODY} LAST\r\n"
    );
    Box::new(Portions {
        session,
        envelopes,
        id: Store::new().store_one(),
        body: inputs::body(BODY),
        envelope: envelope.into_bytes(),
        buffers: vec![Vec::new(); 16],
        out,
    })
}

/// A book that is always written.
struct Kept;

impl Keeps for Kept {
    fn rows(&mut self, _: Owner, _: &str) -> Option<Vec<Spent>> {
        Some(Vec::new())
    }

    fn keep(&mut self, _: &[QuotaRows]) -> bool {
        true
    }
}

struct Rights {
    desk: QuotaDesk,
    quota: Arc<QuotaCount>,
    rates: Arc<Rates>,
    rate: value::Rate,
}

impl Routine for Rights {
    fn run(&mut self) {
        let now = Instant(7 * 3_600_000_000_000);
        for _ in 0..1_000 {
            let of = Some((Whose::Client, self.rates.clone(), self.rate));
            let message = rates::Taken::take([of, None], Counted::Messages, now).expect("there are more");
            let recipients = self.desk.take(&self.quota, (1, false), NOW).expect("there are more");
            // So that the next run finds what this one did.
            self.quota.give_back(black_box(recipients));
            message.give_back(Counted::Messages);
        }
    }
}

/// A message is admitted by the rate of its client and the quota of its tenant, and both are given back.
pub fn rights() -> Box<dyn Routine> {
    let text = "[[tenant]]\nname = \"shop\"\nquota = [\"1000000000/d\"]\n";
    let config = Config::parse(text, Path::new("bench.toml")).expect("a sound configuration");
    assert!(config.tenants.iter().all(|tenant| tenant.quota != Quotas::default()));
    let (desk, table) = (QuotaDesk::default(), Arc::new(QuotaTable::new(&config.tenants, None)));
    desk.put_in_force(1, &table);
    let quota = table.get(Owner::Tenant, "shop").expect("it has one").clone();
    let mut ledger = Ledger::default();
    while desk.take(&quota, (1, false), NOW).is_err() {
        assert!(ledger.serve(&desk, NOW, &mut Kept).0);
    }
    let rate = value::rate("1000000/h").expect("a rate");
    Box::new(Rights { desk, quota, rates: Arc::default(), rate })
}

struct Untraced(TraceDesk);

impl Routine for Untraced {
    fn run(&mut self) {
        for _ in 0..10_000 {
            assert!(!black_box(&self.0).is_on());
        }
    }
}

/// What each line of a session costs while nobody watches.
pub fn untraced() -> Box<dyn Routine> {
    Box::new(Untraced(TraceDesk::default()))
}
