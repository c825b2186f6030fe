use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::super::field::HeaderFlaw;
use super::super::key::{Algorithm, PrivateKey};
use super::super::signer::{Settings, Signer, SignerFlaw};
use super::super::{FieldList, Message, SignatureWriter, Unsigned};
use super::examples::ed25519;
use super::verify::{tag, verify};
use super::{BodyHashes, Canonicalization, FORMS, Random, hashes, text};

/// Made once: it takes a while.
static RSA: LazyLock<Arc<PrivateKey>> =
    LazyLock::new(|| Arc::new(PrivateKey::generate(Algorithm::RsaSha256).unwrap()));
static ED25519: LazyLock<Arc<PrivateKey>> = LazyLock::new(|| Arc::new(ed25519()));

const AT: u64 = 1_764_061_200;

fn settings(key: &Arc<PrivateKey>) -> Settings<'static> {
    let (header, body) = (Canonicalization::Relaxed, Canonicalization::Relaxed);
    let key = key.clone();
    Settings { domain: "shop.example", selector: "k1", header, body, identity: None, lifetime: None, key }
}

fn sign(header: &[u8], body: &BodyHashes, signers: &[Signer]) -> Result<String, Unsigned> {
    let mut out = b"before".to_vec();
    let message = Message { header, mailbox_line: false, body, at: AT, needed_until: 0 };
    SignatureWriter::new(FieldList::default()).write(&message, signers, &mut out)?;
    Ok(text(&out).strip_prefix("before").unwrap().to_owned())
}

/// Each field of a text of fields.
fn fields(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices("DKIM-Signature:").map(|(at, _)| at).collect();
    starts.push(text.len());
    starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// One signer for each key and form, eight in all.
fn all_signers() -> Vec<Signer> {
    let mut signers = Vec::new();
    for key in [&*RSA, &*ED25519] {
        for header in FORMS {
            for body in FORMS {
                signers.push(Signer::new(Settings { header, body, ..settings(key) }).unwrap());
            }
        }
    }
    signers
}

#[test]
fn a_field_as_it_stands_in_a_message() {
    let signer = Signer::new(Settings {
        identity: Some("news@Mail.shop.example"),
        lifetime: Some(Duration::from_secs(86_400)),
        ..settings(&ED25519)
    });
    let header = b"From: Shop <news@shop.example>\r\nSubject: Your order\r\nList-Unsubscribe: <https://shop.example/u/1>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n";
    let field = sign(header, &hashes(b"Hello\r\n"), &[signer.unwrap()]).unwrap();
    let (front, signature) = field.split_at(field.find("\tb=").unwrap());
    assert_eq!(
        front,
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=shop.example;\r\n\
         \ts=k1; i=news@mail.shop.example; t=1764061200; x=1764147600;\r\n\
         \th=from:from:reply-to:subject:subject:date:message-id:to:cc:content-type:\r\n\
         \tlist-unsubscribe:list-unsubscribe:list-unsubscribe-post:\r\n\
         \tlist-unsubscribe-post;\r\n\
         \tbh=Ba3gj8+xBPQLJTahTfzW6RbWQ/XPgESxkCi2B66PSQg=;\r\n"
    );
    assert_eq!(signature.len(), "\tb=".len() + 88 + "\r\n\t".len() + "\r\n".len());
    assert_eq!(verify(&field, header, b"Hello\r\n", &ED25519.txt_record().unwrap()), Ok(()));
}

#[test]
fn several_sign_one_message_and_none_needs_another() {
    let header = b"From: a@shop.example\r\nTo :  b\r\n\t c\r\nto: d\r\n";
    let body = b"one  two \r\n\r\n\r\n";
    let signers = all_signers();
    let together = sign(header, &hashes(body), &signers).unwrap();
    let alone: Vec<_> = signers
        .iter()
        .map(|signer| sign(header, &hashes(body), std::slice::from_ref(signer)).unwrap())
        .collect();
    assert_eq!(fields(&together), alone);
}

/// No field of the message, no key and no form is one that our field does not verify with, and nothing else verifies.
#[test]
fn random_messages_verify() {
    const NAMES: [&[u8]; 10] = [
        b"To",
        b"to ",
        b"SUBJECT",
        b"Cc\t",
        b"X-Other",
        b"Date",
        b"Received",
        b"List-Unsubscribe",
        b"Message-Id",
        b"reply-TO",
    ];
    const VALUES: [&[u8]; 9] =
        [b" ", b"\t", b"\r\n ", b"\r\n\t", b"word", b"a;b=c: d", b"\xc3\xa9\xff", &[b'x'; 99], b"  "];
    const BODIES: [&[u8]; 6] = [b" ", b"\r\n", b"text", b"\t\r\n", b"\xff.", &[b'y'; 200]];
    let records = [RSA.txt_record().unwrap(), ED25519.txt_record().unwrap()];
    let signers = all_signers();
    let mut random = Random(7);
    for _ in 0..60 {
        let mut header = Vec::new();
        let from = random.below(8);
        for number in 0..8 {
            let name: &[u8] = if number == from { b"From" } else { NAMES[random.below(NAMES.len())] };
            header.extend_from_slice(&[name, b":", &random.text(&VALUES, 8), b"\r\n"].concat());
        }
        let body = random.text(&BODIES, 20);
        let signed = sign(&header, &hashes(&body), &signers).unwrap();
        for (place, field) in fields(&signed).into_iter().enumerate() {
            let record = &records[place / 4];
            assert_eq!(verify(field, &header, &body, record), Ok(()), "{field}\n{}", text(&header));
            assert!(
                field
                    .split("\r\n")
                    .all(|line| line.len() <= 78 && (line.trim().len() > 1) != line.is_empty())
            );
            let more = [b"Subject: b\r\n", header.as_slice()].concat();
            assert_eq!(verify(field, &more, &body, record), Err("b"), "nobody adds a subject");
            assert_eq!(verify(field, &header, &[b"x", body.as_slice()].concat(), record), Err("bh"));
        }
    }
}

#[test]
fn what_is_not_signed_leaves_nothing_behind() {
    let signers = all_signers();
    let unsigned = |header: &[u8], body: &BodyHashes| sign(header, body, &signers).unwrap_err();
    assert_eq!(unsigned(b"To: a\r\n", &hashes(b"")), Unsigned::Header(HeaderFlaw::NoFrom));
    assert_eq!(unsigned(b"From: a\r\nFrom: b\r\n", &hashes(b"")), Unsigned::Header(HeaderFlaw::SeveralFrom));
    let half = BodyHashes { relaxed: None, ..hashes(b"") };
    assert_eq!(unsigned(b"From: a\r\n", &half), Unsigned::NotHashed(Canonicalization::Relaxed));
    let mut out = b"before".to_vec();
    let message =
        Message { header: b"From: a\r\n", mailbox_line: false, body: &half, at: AT, needed_until: 0 };
    let written = SignatureWriter::new(FieldList::default()).write(&message, &signers, &mut out);
    assert!(written.is_err() && out == b"before", "the first one could be written");
    assert_eq!(sign(b"To: a\r\n", &half, &[]), Ok(String::new()));
}

#[test]
fn the_line_of_a_mailbox_file_is_no_field() {
    let signers = [Signer::new(settings(&ED25519)).unwrap()];
    let header = b"From a@b Thu Jan  1 00:00:00 2026\r\nFrom: a\r\n";
    let (mut out, body) = (Vec::new(), hashes(b""));
    let message = Message { header, mailbox_line: true, body: &body, at: AT, needed_until: 0 };
    SignatureWriter::new(FieldList::default()).write(&message, &signers, &mut out).unwrap();
    assert_eq!(verify(&text(&out), b"From: a\r\n", b"", &ED25519.txt_record().unwrap()), Ok(()));
}

#[test]
fn identities_are_encoded() {
    let field = |identity: &str| {
        let signer = Signer::new(Settings { identity: Some(identity), ..settings(&ED25519) })?;
        Ok(tag(&sign(b"From: a\r\n", &hashes(b""), &[signer]).unwrap(), "i").unwrap())
    };
    assert_eq!(field("@shop.example"), Ok("@shop.example".into()));
    assert_eq!(field("a=b;é@sub.SHOP.example"), Ok("a=3Db=3B=C3=A9@sub.shop.example".into()));
    assert_eq!(field("shop.example"), Err(SignerFlaw::Identity("shop.example".into())));
    assert_eq!(field("a\r\nb@shop.example"), Err(SignerFlaw::Identity("a\r\nb@shop.example".into())));
    for elsewhere in ["@example", "@bad-shop.example", "a@other.example"] {
        assert_eq!(field(elsewhere), Err(SignerFlaw::Elsewhere(elsewhere.into())));
    }
}

#[test]
fn settings_that_make_no_signer() {
    let flaw = |change: fn(&mut Settings<'static>)| {
        let mut settings = settings(&ED25519);
        change(&mut settings);
        Signer::new(settings).map(|_| ()).unwrap_err()
    };
    assert_eq!(flaw(|settings| settings.domain = ""), SignerFlaw::Domain(String::new()));
    assert_eq!(flaw(|settings| settings.domain = "a b"), SignerFlaw::Domain("a b".into()));
    assert_eq!(flaw(|settings| settings.domain = "192.0.2.1"), SignerFlaw::Domain("192.0.2.1".into()));
    assert_eq!(
        flaw(|settings| settings.domain = "bücher.example"),
        SignerFlaw::NotAscii("bücher.example".into())
    );
    assert_eq!(flaw(|settings| settings.selector = "a;b"), SignerFlaw::Selector("a;b".into()));
    assert_eq!(flaw(|settings| settings.selector = "a..b"), SignerFlaw::Selector("a..b".into()));
    assert_eq!(flaw(|settings| settings.lifetime = Some(Duration::from_millis(900))), SignerFlaw::NoLifetime);
    let long = Box::leak(vec!["x".repeat(60); 4].join(".").into_boxed_str());
    let settings = Settings { domain: long, ..settings(&ED25519) };
    assert_eq!(Signer::new(settings).map(|_| ()), Err(SignerFlaw::TooLong));
}
