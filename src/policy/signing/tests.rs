use std::path::Path;
use std::sync::OnceLock;

use super::*;
use crate::config::Config;

fn pem(algorithm: Algorithm) -> &'static str {
    static PEMS: [OnceLock<String>; 2] = [const { OnceLock::new() }; 2];
    PEMS[usize::from(algorithm == Algorithm::RsaSha256)]
        .get_or_init(|| PrivateKey::generate(algorithm).unwrap().to_pem().unwrap())
}

/// `r…` of RSA and `e…` of Ed25519, written at this time.
fn file(domain: &str, selector: &str, at_ns: u64) -> KeyFile {
    let rsa = selector.starts_with('r');
    let text = pem(if rsa { Algorithm::RsaSha256 } else { Algorithm::Ed25519Sha256 });
    KeyFile::new(&domain.into(), selector, Written { at_ns, size: 1, inode: 1 }, text).unwrap()
}

fn signing(text: &str, files: &[(&str, &str, u64)]) -> Signing {
    let text = format!("[dkim]\nkeys = \"/keys\"\n{text}");
    let config = Config::parse(&text, Path::new("relevo.toml")).unwrap();
    let files = files.iter().map(|(domain, selector, at)| file(domain, selector, *at)).collect();
    Signing::new(&config.dkim, files)
}

/// `domain/selector` of each signature.
fn signers(signing: &Signing, domain: Option<&str>, now: UnixMillis) -> Vec<String> {
    let name = |key: KeyNumber| {
        let file = &signing.files()[key.0 as usize];
        format!("{}/{}", file.domain, file.selector)
    };
    signing.signers_for(domain, now).into_iter().map(name).collect()
}

const NOW: UnixMillis = UnixMillis(1_796_000_000_000);

#[test]
fn the_nearest_domain_that_has_keys_signs() {
    let files =
        [("d.example", "r1", 5), ("d.example", "e1", 5), ("news.d.example", "r2", 5), ("example", "r9", 1)];
    let all = signing("", &files);
    for (domain, wanted) in [
        ("d.example", &["d.example/r1", "d.example/e1"][..]),
        ("news.d.example", &["news.d.example/r2"]),
        ("x.news.d.example", &["news.d.example/r2"]),
        ("a.b.c.d.e.f.g.d.example", &["d.example/r1", "d.example/e1"]),
        ("othernews.d.example", &["d.example/r1", "d.example/e1"]),
        ("xd.example", &["example/r9"]),
        ("example", &["example/r9"]),
        ("example.net", &[]),
        ("d.example.net", &[]),
        ("", &[]),
    ] {
        assert_eq!(signers(&all, Some(domain), NOW), wanted, "{domain}");
        assert_eq!(all.has_keys(domain), !wanted.is_empty(), "{domain}");
    }
    assert!(signers(&all, None, NOW).is_empty() && !all.is_empty());
    assert!(signing("", &[]).is_empty() && signers(&signing("", &[]), Some("d.example"), NOW).is_empty());
}

#[test]
fn the_relay_signs_all_and_nothing_twice() {
    let files = [("d.example", "r1", 5), ("r.example", "r2", 5), ("r.example", "e2", 5)];
    let all = signing("relay_domain = \"mx1.r.example\"\n", &files);
    let relay = ["r.example/r2", "r.example/e2"];
    assert_eq!(signers(&all, Some("d.example"), NOW), ["d.example/r1", relay[0], relay[1]]);
    for domain in [None, Some("other.example"), Some("r.example"), Some("mail.r.example")] {
        assert_eq!(signers(&all, domain, NOW), relay, "{domain:?}");
    }
    let without = signing("relay_domain = \"nobody.example\"\n", &files);
    assert_eq!(signers(&without, Some("d.example"), NOW), ["d.example/r1"]);
    assert!(signers(&without, None, NOW).is_empty());
}

#[test]
fn the_newest_signs_of_each_algorithm() {
    let files = [
        ("d.example", "r1", 5),
        ("d.example", "r2", 7),
        ("d.example", "r3", 6),
        ("d.example", "e1", 9),
        ("d.example", "e2", 9),
    ];
    let all = signing("", &files);
    assert_eq!(signers(&all, Some("d.example"), NOW), ["d.example/r2", "d.example/e2"]);
    let standing = |selector: &str| {
        let number = all.files().iter().position(|file| *file.selector == *selector).unwrap();
        all.standing(KeyNumber(number as u32), NOW)
    };
    assert_eq!(
        (standing("r2"), standing("r1"), standing("e1")),
        (Standing::Signs, Standing::Rests, Standing::Rests)
    );
}

#[test]
fn keys_that_are_named_sign_in_their_time() {
    let named = |domain: &str, selector: &str, more: &str| {
        format!("[[dkim.key]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\n{more}\n")
    };
    let text = [
        named("news.d.example", "r1", "until = 2026-12-10"),
        named("news.d.example", "r2", "from = 2026-12-05T12:00:00Z\nuntil = 2026-12-20"),
        named("news.d.example", "r3", "from = 2026-12-15"),
        named("news.d.example", "r7", ""),
    ]
    .concat();
    // e1 and r4 are newer, and are not named.
    let files = [
        ("news.d.example", "r1", 1),
        ("news.d.example", "r2", 1),
        ("news.d.example", "r3", 1),
        ("news.d.example", "r4", 9),
        ("news.d.example", "e1", 9),
        ("d.example", "r5", 9),
    ];
    let all = signing(&text, &files);
    let at = |time: &str| crate::time::Civil::time_named(time).unwrap();
    for (time, wanted) in [
        ("2026-12-01", "news.d.example/r1"),
        ("2026-12-05T11:59:59Z", "news.d.example/r1"),
        ("2026-12-05T12:00:00Z", "news.d.example/r2"),
        ("2026-12-14T23:59:59Z", "news.d.example/r2"),
        ("2026-12-15", "news.d.example/r3"),
        ("2027-12-15", "news.d.example/r3"),
    ] {
        assert_eq!(signers(&all, Some("news.d.example"), at(time)), [wanted], "{time}");
    }
    let standing = |selector: &str, time: &str| {
        let number = all.files().iter().position(|file| *file.selector == *selector).unwrap();
        all.standing(KeyNumber(number as u32), at(time))
    };
    assert_eq!(standing("r2", "2026-12-01"), Standing::Later(at("2026-12-05T12:00:00Z")));
    assert_eq!(standing("r1", "2026-12-07"), Standing::Rests);
    assert_eq!(standing("r1", "2026-12-10"), Standing::Over(at("2026-12-10")));
    assert_eq!(standing("r4", "2026-12-10"), Standing::Rests);
    // Where no key of a domain signs now, the one above it does.
    let late = signing(&named("news.d.example", "r1", "from = 2027-01-01"), &files);
    assert_eq!(signers(&late, Some("news.d.example"), at("2026-12-01")), ["d.example/r5"]);
    assert_eq!(signers(&late, Some("news.d.example"), at("2027-01-01")), ["news.d.example/r1"]);
}

#[test]
fn a_signer_has_what_is_configured() {
    let text = "canonicalization = \"simple/simple\"\nlifetime = \"7d\"\neight_bit = \"keep\"\n";
    let all = signing(text, &[("d.example", "r1", 5)]);
    assert_eq!((all.body_forms(), all.encodes_eight_bit()), ([Canonicalization::Simple], false));
    let [one] = all.signers_for(Some("d.example"), NOW)[..] else { panic!("one") };
    let signer = format!("{:?}", all.make_signer(one).unwrap());
    assert!(signer.contains("Simple") && signer.contains("604800"), "{signer}");
    assert_eq!(all.key_count(), 1);
    let shown = format!("{all:?}");
    assert!(shown.contains("d.example") && !shown.contains("PRIVATE KEY"), "no secret in a log: {shown}");
    assert!(all.make_signer(KeyNumber(1)).is_err());
    let usual = signing("", &[("d.example", "r1", 5)]);
    assert_eq!((usual.body_forms(), usual.encodes_eight_bit()), ([Canonicalization::Relaxed], true));
}

#[test]
fn what_cannot_sign_is_told_with_a_fix() {
    let new = |domain: &str, selector: &str, text: &str| {
        KeyFile::new(&domain.into(), selector, Written::default(), text).unwrap_err()
    };
    let good = pem(Algorithm::Ed25519Sha256);
    assert_eq!(new("d.example", "e1", "hello"), KeyFileFlaw::Key(KeyFlaw::NoPem));
    assert!(matches!(new(&"d".repeat(300), "e1", good), KeyFileFlaw::Name(SignerFlaw::Domain(_))));
    let long = ["d".repeat(60), "e".repeat(60), "f".repeat(60), "g".repeat(60)].join(".");
    let flaw = new(&long, "e1", good);
    assert!(flaw.to_string().contains("too long for a name in DNS") && flaw.fix().contains("SELECTOR.pem"));
}

#[test]
fn a_name_is_looked_for_no_higher_and_no_deeper_than_there_are_domains() {
    let all = |domain: &'static str, labels| nearest(domain, labels).collect::<Vec<_>>();
    assert_eq!(all("a.b.c.d", 2), ["c.d", "d"]);
    assert_eq!(all("a.b.c.d", 9), ["a.b.c.d", "b.c.d", "c.d", "d"]);
    assert_eq!(all("d", 1), ["d"]);
    assert!(all("a.b", 0).is_empty() && all("", 3).is_empty());
}
