//! The examples of the RFCs.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::field::{FieldList, Picked, write_field};
use super::super::{PrivateKey, pem};
use super::verify::{tag, verify};
use super::{Canonicalization, hashes};

/// RFC 6376 A.1 without its Received field, and RFC 8463 A.3.
const HEADER: &str = "From: Joe SixPack <joe@football.example.com>\r\n\
    To: Suzie Q <suzie@shopping.example.net>\r\n\
    Subject: Is dinner ready?\r\n\
    Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
    Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
const BODY: &str = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
const HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

/// RFC 8463 A.2, A.3.
const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const ED25519_SIGNATURE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n \
    d=football.example.com; i=@football.example.com;\r\n \
    q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n \
    subject : date : message-id : from : subject : date;\r\n \
    bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
    b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n \
    Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n";
const RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id\
    Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG\
    4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
const RSA_SIGNATURE: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n \
    d=football.example.com; i=@football.example.com;\r\n \
    q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n \
    date : message-id : from : subject : date;\r\n \
    bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
    b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n \
    DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n \
    dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n";

/// RFC 6376 A.2, A.3, C. Its key is one that we would not sign with.
const SIMPLE: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGe\
    LnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
    tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
const SIMPLE_SIGNATURE: &str = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n\
    \x20     c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n\
    \x20     h=Received : From : To : Subject : Date : Message-ID;\r\n\
    \x20     bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
    \x20     b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n\
    \x20     4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n\
    \x20     KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n\
    \x20     4bmp/YzhwvcubU4=;\r\n";
const RECEIVED: &str = "Received: from client1.football.example.com  [192.0.2.1]\r\n\
    \x20     by submitserver.example.com with SUBMISSION;\r\n\
    \x20     Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n";

/// The key of RFC 8463 A.2, in PKCS#8 (RFC 8410 7).
pub(super) fn ed25519() -> PrivateKey {
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend(STANDARD.decode(SEED).unwrap());
    PrivateKey::from_pem(&pem::write("PRIVATE KEY", &der)).unwrap()
}

#[test]
fn the_body_of_the_examples() {
    let hashes = hashes(BODY.as_bytes());
    assert_eq!(STANDARD.encode(hashes.relaxed.unwrap()), HASH);
}

#[test]
fn the_signature_of_ed25519() {
    let key = ed25519();
    assert_eq!(key.txt_record().unwrap(), ED25519);
    // What the example signs, by our own forms: its order is another one than ours, and so is `h=`.
    let list =
        FieldList::new(["from", "to", "subject", "date", "message-id"].map(|name| (name, false))).unwrap();
    let (mut picked, mut signed) = (Picked::default(), Vec::new());
    picked.pick(HEADER.as_bytes(), false, &list).unwrap();
    picked.write(HEADER.as_bytes(), Canonicalization::Relaxed, &mut signed);
    let opened = ED25519_SIGNATURE.find(" b=").unwrap() + " b=".len();
    write_field(&ED25519_SIGNATURE.as_bytes()[..opened], Canonicalization::Relaxed, &mut signed);
    signed.truncate(signed.len() - 2);
    let mut signature = String::new();
    key.sign(&digest(&SHA256, &signed), &mut signature).unwrap();
    assert_eq!(Some(signature), tag(ED25519_SIGNATURE, "b"));
}

/// The tests' own receiver believes what the RFC says is to be believed, and nothing else.
#[test]
fn signatures_of_the_rfc_verify() {
    let verify = |signature: &str, record| verify(signature, HEADER.as_bytes(), BODY.as_bytes(), record);
    assert_eq!(verify(ED25519_SIGNATURE, ED25519), Ok(()));
    assert_eq!(verify(RSA_SIGNATURE, RSA), Ok(()));
    assert_eq!(verify(&RSA_SIGNATURE.replace("t=15", "t=16"), RSA), Err("b"));
    assert_eq!(verify(&RSA_SIGNATURE.replace("bh=2", "bh=3"), RSA), Err("bh"));
    let section = [RECEIVED, HEADER].concat();
    let body = BODY.replace("  ", " ");
    assert_eq!(super::verify::verify(SIMPLE_SIGNATURE, section.as_bytes(), body.as_bytes(), SIMPLE), Ok(()));
}
