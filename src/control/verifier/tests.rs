//! Against a name server of the tests' own, with signatures that the relay's own signer makes.

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record, RecordType};

use super::*;
use crate::mail::dkim;
use crate::mail::dkim::key::Algorithm;
use crate::mail::dkim::signer::Settings;
use crate::mail::dkim::{BodyHashers, Canonicalization, PrivateKey, SignatureWriter, Signer};
use crate::mail::results::{Policy, Verdict, body_forms};
use crate::runtime::exchange::server::{end, serve};
use crate::shard::verifying::Unknown;

/// An answer from a zone of texts; names that begin with `silent` have none.
fn answer(question: &[u8], zone: &[(String, String)]) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    let name = query.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    if name.starts_with("silent") {
        return None;
    }
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.add_query(query.clone());
    let texts: Vec<_> = zone.iter().filter(|(known, _)| *known == name).collect();
    if texts.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    if query.query_type == RecordType::TXT {
        for (_, text) in texts {
            let parts = text.as_bytes().chunks(200).map(|part| String::from_utf8(part.to_vec()).unwrap());
            let data = RData::TXT(TXT::new(parts.collect()));
            answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
        }
    }
    answer.to_vec().ok()
}

struct Scene {
    zone: Vec<(String, String)>,
    key: Arc<PrivateKey>,
}

impl Scene {
    fn new(records: &[(&str, &str)]) -> Scene {
        let key = Arc::new(PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap());
        let mut zone: Vec<_> =
            records.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        zone.push(("s._domainkey.a.example".to_owned(), key.txt_record().unwrap()));
        Scene { zone, key }
    }

    /// The message with a signature of a.example.
    fn sign(&self, header: &str, body: &str, form: Canonicalization) -> String {
        let (domain, selector, key) = ("a.example", "s", self.key.clone());
        let settings =
            Settings { domain, selector, header: form, body: form, identity: None, lifetime: None, key };
        let signer = Signer::new(settings).unwrap();
        let mut hashers = BodyHashers::new([form]);
        hashers.update(body.as_bytes());
        let message = dkim::Message {
            header: header.as_bytes(),
            mailbox_line: false,
            body: &hashers.finish(),
            at: 1_700_000_000,
            needed_until: 1_700_000_000,
        };
        let mut out = Vec::new();
        SignatureWriter::default().write(&message, [&signer], &mut out).unwrap();
        String::from_utf8(out).unwrap() + header
    }

    /// What is found of a message of this client and sender.
    fn find(&self, (client, sender): (&str, &str), header: &str, body: &str) -> Findings {
        let mut hashers = BodyHashers::new(body_forms(header.as_bytes(), false));
        hashers.update(body.as_bytes());
        let about = Unknown {
            client: client.parse().unwrap(),
            helo: "helo.example".into(),
            sender: sender.as_bytes().into(),
            hostname: "relay.example".into(),
            header: header.as_bytes().to_vec(),
            body: hashers.finish(),
        };
        let zone = self.zone.clone();
        let (server, thread) = serve(move |question, _| answer(question, &zone), None);
        let resolving = Resolving { servers: vec![server], timeout: Duration::from_millis(300), attempts: 1 };
        let verifying = Verifying::default();
        let asked = verifying.ask(about).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async {
            let authenticator = authenticator(&resolving).expect("it is made");
            find::find(&authenticator, &asked).await
        });
        end(server, thread);
        found
    }
}

const HEADER: &str = "From: Ada <ada@a.example>\r\nSubject: x\r\n\r\n";

fn words(found: &Findings) -> [&'static str; 3] {
    [found.spf.verdict, found.dkim(), found.dmarc.verdict].map(Verdict::word)
}

#[test]
fn who_sent_a_message_is_found_out() {
    let scene = Scene::new(&[
        ("a.example", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("_dmarc.a.example", "v=DMARC1; p=reject"),
        ("b.example", "v=spf1 ip4:192.0.2.0/24 ~all"),
        ("helo.example", "v=spf1 ip4:192.0.2.0/24 -all"),
    ]);
    let found = |from, header: &str| scene.find(from, header, "x\r\n");
    assert_eq!(words(&found(("192.0.2.1", "ada@a.example"), HEADER)), ["pass", "none", "pass"]);
    let other = found(("198.51.100.1", "ada@a.example"), HEADER);
    assert_eq!((words(&other), other.dmarc.policy), (["fail", "none", "fail"], Policy::Reject));
    assert_eq!(words(&found(("198.51.100.1", "ada@b.example"), HEADER)), ["softfail", "none", "fail"]);
    assert_eq!(
        words(&found(("192.0.2.1", "ada@b.example"), HEADER)),
        ["pass", "none", "fail"],
        "not aligned"
    );
    let null = found(("192.0.2.1", ""), HEADER);
    assert!(null.spf.of_helo && &*null.spf.domain == "helo.example" && null.spf.verdict == Verdict::Pass);
    let silent = found(("192.0.2.1", "x@silent.example"), HEADER);
    assert_eq!(words(&silent), ["temperror", "none", "fail"]);
    let literal = found(("192.0.2.1", "x@[192.0.2.1]"), HEADER);
    assert_eq!((literal.spf.verdict, &*literal.spf.domain), (Verdict::None, ""));
    for unclear in [
        "Subject: x\r\n\r\n",
        "From: a@a.example\r\nFrom: b@a.example\r\n\r\n",
        "From: x\r\n\r\n",
        "\r\n",
        "",
    ] {
        assert_eq!(
            found(("192.0.2.1", "ada@a.example"), unclear).dmarc.verdict,
            Verdict::PermError,
            "{unclear:?}"
        );
    }
}

#[test]
fn two_records_of_a_client_are_an_error() {
    let scene =
        Scene::new(&[("a.example", "v=spf1 -all"), ("a.example", "v=spf1 +all"), ("a.example", "other")]);
    assert_eq!(scene.find(("192.0.2.1", "ada@a.example"), HEADER, "").spf.verdict, Verdict::PermError);
}

/// Also of the bodies that the library hashes in another way than RFC 6376 3.4.4 has it: the hash is ours.
#[test]
fn signatures_are_verified() {
    let scene = Scene::new(&[("_dmarc.a.example", "v=DMARC1; p=quarantine; adkim=s")]);
    let from = ("198.51.100.1", "x@elsewhere.example");
    for form in [Canonicalization::Simple, Canonicalization::Relaxed] {
        for body in ["x\r\n", "", "x  y\t\r\n\r\n", "x\r\n \t\r\n\r\n", "x\r\n\r\n \r\n", " \r\n"] {
            let found = scene.find(from, &scene.sign(HEADER, body, form), body);
            assert_eq!(words(&found), ["none", "pass", "pass"], "{body:?} {found:?}");
            let [one] = &found.dkim[..] else { panic!("{found:?}") };
            assert_eq!((&*one.domain, &*one.selector, one.algorithm), ("a.example", "s", "ed25519-sha256"));
            assert_eq!(one.begins.len(), limits::SIGNATURE_BEGIN);
        }
    }
    let signed = scene.sign(HEADER, "x\r\n", Canonicalization::Relaxed);
    for (header, body, verdict, reason) in [
        (signed.clone(), "y\r\n", Verdict::Fail, "the body was changed"),
        (signed.replace("Subject: x", "Subject: y"), "x\r\n", Verdict::Fail, "a signed field was changed"),
        (signed.replace("s=s;", "s=t;"), "x\r\n", Verdict::PermError, "there is no such key"),
        (
            signed.replace("s=s;", "l=1; s=s;"),
            "x\r\n",
            Verdict::Neutral,
            "it covers a part of the body alone (l=)",
        ),
        (
            signed.replace("ed25519-sha256", "rsa-sha1"),
            "x\r\n",
            Verdict::PermError,
            "rsa-sha1 proves nothing any more",
        ),
        (signed.replace("s=s;", "s=silent;"), "x\r\n", Verdict::TempError, "the name server does not answer"),
    ] {
        let found = scene.find(from, &header, body);
        let [one] = &found.dkim[..] else { panic!("{found:?}") };
        assert_eq!((one.verdict, one.reason), (verdict, reason), "{header}");
        let expected = if verdict == Verdict::TempError { "temperror" } else { "fail" };
        assert_eq!(found.dmarc.verdict.word(), expected, "{found:?}");
        assert_eq!(found.dmarc.policy, Policy::Quarantine);
    }
    // What a signature must cover, and how much it may (RFC 6376 6.1.1).
    let at = signed.find("h=").unwrap();
    let end = at + signed[at..].find(';').unwrap();
    let covers = |names: &str| format!("{}h={names}{}", &signed[..at], &signed[end..]);
    for (names, reason) in [
        ("subject", "it does not cover the From field"),
        (&*format!("from{}", ":x".repeat(300)), "it names too many fields"),
    ] {
        let found = scene.find(from, &covers(names), "x\r\n");
        let [one] = &found.dkim[..] else { panic!("{found:?}") };
        assert_eq!((one.verdict, one.reason), (Verdict::PermError, reason));
        assert_eq!(found.dmarc.verdict, Verdict::Fail);
    }
    let many =
        signed.split_once("From:").map(|(field, rest)| format!("{}From:{rest}", field.repeat(30))).unwrap();
    assert_eq!(scene.find(from, &many, "x\r\n").dkim.len(), limits::VERIFIED_SIGNATURES_MAX);
}

#[test]
fn a_client_has_a_share_of_what_is_verified() {
    let (under_way, clients, asked) = (Arc::default(), Arc::default(), Arc::new(Notify::new()));
    let begin = |client: &str| Busy::new((&under_way, &clients), &asked, client.parse().unwrap());
    let mut theirs: Vec<Busy> = (0..200).filter_map(|host| begin(&format!("2001:db8::{host:x}"))).collect();
    assert_eq!(theirs.len(), limits::VERIFY_PER_CLIENT, "of one network");
    let other = begin("2001:db8:0:1::1").expect("another has its own");
    theirs.pop();
    theirs.push(begin("2001:db8::1").expect("one ended"));
    assert!(begin("2001:db8::1").is_none());
    drop((theirs, other));
    assert_eq!((under_way.load(Ordering::Relaxed), clients.lock().unwrap().len()), (0, 0));
}
