//! What is signed of a message, and the field that says so.

use std::sync::{Arc, LazyLock};

use relevo::mail::dkim::signer::Settings;
use relevo::mail::dkim::{
    BodyHashers, BodyHashes, Canonicalization, FieldList, Message, PrivateKey, SignatureWriter, Signer,
};
use relevo::mail::header;

use super::input::splits;

/// The key of RFC 8463 A.2.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

static SIGNERS: LazyLock<[Signer; 2]> = LazyLock::new(|| {
    let key = Arc::new(PrivateKey::from_pem(KEY).expect("a key"));
    [Canonicalization::Simple, Canonicalization::Relaxed].map(|form| {
        let (domain, selector, header, body, key) = ("shop.example", "k1", form, form, key.clone());
        let settings = Settings { domain, selector, header, body, identity: None, lifetime: None, key };
        Signer::new(settings).expect("sound settings")
    })
});

fn hashes<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> BodyHashes {
    let mut hashers = BodyHashers::new([Canonicalization::Simple, Canonicalization::Relaxed]);
    pieces.into_iter().for_each(|piece| hashers.update(piece));
    hashers.finish()
}

/// A body has the same hashes in any pieces and with empty lines behind it, and one of them whatever blanks end its lines. A message is signed
/// or refused in words; each signature is one field of lines that are not too long.
pub fn dkim(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").map_or(data.len(), |end| end + 1);
    let crlf = |text: &[u8]| -> Vec<u8> {
        text.iter().flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] }).collect()
    };
    let (header, body) = (crlf(&data[..end]), crlf(&data[end..]));
    let hashed = hashes([body.as_slice()]);
    for pieces in splits(&body, data) {
        assert_eq!(hashes(pieces), hashed);
    }
    let ends_line = body.is_empty() || body.ends_with(b"\r\n");
    if ends_line {
        assert_eq!(hashes([body.as_slice(), b"\r\n", b"\r\n"]), hashed);
    }
    assert_eq!(hashes([body.as_slice(), b" \t\r\n \r\n"]).relaxed, hashed.relaxed);

    let message = Message {
        header: &header,
        mailbox_line: data.starts_with(b"From "),
        body: &hashed,
        at: 1,
        needed_until: 2,
    };
    let mut out = Vec::new();
    match SignatureWriter::new(FieldList::default()).write(&message, &*SIGNERS, &mut out) {
        Err(error) => assert!(out.is_empty() && !error.to_string().is_empty()),
        Ok(()) => {
            let fields: Vec<_> = header::fields(&out, false).collect();
            assert!(fields.len() == 2 && fields.iter().all(|field| field.is("DKIM-Signature")));
            assert_eq!(fields[1].end, out.len());
            assert!(out.is_ascii() && out.ends_with(b"\r\n"));
            assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= 79));
        }
    }
}
