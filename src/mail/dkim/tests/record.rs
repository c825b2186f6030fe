use super::super::key::{Algorithm, PrivateKey};
use super::super::record::{KeyRecord, RecordFlaw, zone_line};

fn read(text: &str) -> Result<KeyRecord, RecordFlaw> {
    KeyRecord::parse(text.as_bytes())
}

#[test]
fn what_is_published_is_known_again() {
    for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
        let [one, other] = [(); 2].map(|()| PrivateKey::generate(algorithm).unwrap().txt_record().unwrap());
        let (ours, theirs) = (read(&one).unwrap(), read(&other).unwrap());
        assert_eq!(ours.algorithm, Some(algorithm));
        assert!(ours.is_key_of(&ours) && !ours.is_key_of(&theirs));
        assert!(ours.allows_mail && ours.allows_sha256 && !ours.is_test);
        let p = one.split_once("p=").unwrap().1;
        let k = one.split("; ").nth(1).unwrap();
        // Tags in any order but v=, blanks, no version, flags.
        let (first, second) = p.split_at(20);
        let odd = format!(" v = DKIM1 ;t=s:y ; s=email;h=sha1:sha256 ; n=a note;{k};p= {first} {second} ;");
        let odd = read(&odd).unwrap();
        assert!(odd.is_key_of(&ours) && odd.is_test && odd.allows_mail && odd.allows_sha256);
        assert!(read(&format!("{k}; p={p}")).unwrap().is_key_of(&ours));
        let narrow = read(&format!("v=DKIM1; {k}; h=sha1; s=tlsrpt; p={p}")).unwrap();
        assert!(!narrow.allows_mail && !narrow.allows_sha256);
    }
    let rsa = PrivateKey::generate(Algorithm::RsaSha256).unwrap().txt_record().unwrap();
    let ours = read(&rsa).unwrap();
    // Without the frame that names the algorithm, as some write it; not cut elsewhere.
    for (cut, same) in [(24, true), (23, false), (25, false), (100, false)] {
        let bare = KeyRecord { key: ours.key[cut..].to_vec(), ..ours.clone() };
        assert_eq!((bare.is_key_of(&ours), ours.is_key_of(&bare)), (same, same), "{cut}");
    }
    let revoked = read("v=DKIM1; p=").unwrap();
    assert!(revoked.key.is_empty() && !revoked.is_key_of(&revoked));
    let strange = read("v=DKIM1; k=falcon; p=AAAA").unwrap();
    assert!(strange.algorithm.is_none() && !strange.is_key_of(&ours));
}

#[test]
fn what_is_no_record_is_none() {
    for (text, flaw) in [
        ("v=spf1 -all", RecordFlaw::OtherRecord),
        ("v=DKIM2; p=AAAA", RecordFlaw::OtherRecord),
        ("k=rsa; v=DKIM1; p=AAAA", RecordFlaw::OtherRecord),
        ("v=DKIM1; k=rsa", RecordFlaw::OtherRecord),
        ("", RecordFlaw::OtherRecord),
        ("v=DKIM1; p", RecordFlaw::NoTags),
        ("hello", RecordFlaw::NoTags),
        ("v=DKIM1; p=AAAA; p=BBBB", RecordFlaw::Twice),
        ("v=DKIM1; p=A*A", RecordFlaw::NoBase64),
        ("v=DKIM1; p=AAAAA", RecordFlaw::NoBase64),
    ] {
        assert_eq!(read(text), Err(flaw), "{text}");
    }
    assert_eq!(KeyRecord::parse(b"v=DKIM1; p=\xff"), Err(RecordFlaw::OtherRecord));
}

#[test]
fn a_line_of_a_zone_has_short_strings() {
    assert_eq!(zone_line("s._domainkey.d", "p=x"), "s._domainkey.d. IN TXT \"p=x\"");
    let text = "x".repeat(511);
    let line = zone_line("a", &text);
    let strings: Vec<usize> = line.split('"').skip(1).step_by(2).map(str::len).collect();
    assert_eq!(strings, [255, 255, 1]);
}
