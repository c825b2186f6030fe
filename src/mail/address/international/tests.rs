//! Addresses in UTF-8.

use super::*;

fn kept(input: &[u8]) -> Result<String, AddressError> {
    let path = parse(input, true)?;
    let kept = canonical(&path).map_or_else(|| path.address.to_vec(), |kept| kept.address);
    Ok(String::from_utf8(kept).unwrap())
}

/// RFC 6531 3.3: a local part stays as it is, a domain becomes what the DNS has.
#[test]
fn an_address_is_kept_by_its_a_labels() {
    for (input, address) in [
        ("<δοκιμή@παράδειγμα.example>", "δοκιμή@xn--hxajbheg2az3al.example"),
        ("<a@bücher.example>", "a@xn--bcher-kva.example"),
        ("<a@BÜCHER.Example>", "a@xn--bcher-kva.example"),
        ("<a@bu\u{308}cher.example>", "a@xn--bcher-kva.example"),
        // UTS 46 without its transitional part: not fass.example.
        ("<a@faß.example>", "a@xn--fa-hia.example"),
        ("<ü@xn--bcher-kva.example>", "ü@xn--bcher-kva.example"),
        ("<ü@b.example.>", "ü@b.example"),
        ("<ü@[192.0.2.1]>", "ü@[192.0.2.1]"),
        ("<\"ü b>c\\\"\\ü\"@b.example>", "\"ü b>c\\\"\\ü\"@b.example"),
        ("<@x.example:ü@b.example>", "ü@b.example"),
        ("<用户@例子。在线>", "用户@xn--fsqu00a.xn--3ds443g"),
        ("<a.ü.@b.example>", "a.ü.@b.example"),
        ("<plain@b.example>", "plain@b.example"),
    ] {
        assert_eq!(kept(input.as_bytes()).as_deref(), Ok(address), "{input}");
    }
    let path = parse("<ü@BÜCHER.example> SMTPUTF8".as_bytes(), true).unwrap();
    assert!(path.is_utf8 && canonical(&path).unwrap().u_labels && !path.routed);
    assert_eq!(path.length, "<ü@BÜCHER.example>".len());
    let path = parse("<ü@b.example>".as_bytes(), true).unwrap();
    assert_eq!(canonical(&path).map(|kept| kept.u_labels), Some(false));
    assert_eq!(canonical(&parse(b"<a@b>", true).unwrap()), None);
}

#[test]
fn what_is_no_address_is_refused() {
    for wrong in [
        &b"<\xfc@b.example>"[..],
        b"<a@b\xfccher.example>",
        // Overlong: `/`, `@` and NUL in more bytes than they have, and a surrogate.
        b"<a\xc0\xaf@b.example>",
        b"<a\xc1\x80b.example>",
        b"<a\xe0\x80\x80@b.example>",
        b"<a\xed\xa0\x80@b.example>",
        b"<a\xf4\x90\x80\x80@b.example>",
        b"<a\xc3>",
    ] {
        assert_eq!(kept(wrong), Err(AddressError::NotUtf8), "{}", wrong.escape_ascii());
    }
    for wrong in [
        "<ü\u{85}@b.example>",
        "<ü\u{202e}@b.example>",
        "<ü\u{2028}@b.example>",
        "<\u{feff}a@b.example>",
        "<\u{ffff}a@b.example>",
        "<\"ü\u{2069}\"@b.example>",
        "<ü\t@b.example>",
        "<ü b@b.example>",
        "<ü(b)@b.example>",
        "<\"ü@b.example>",
        "<@ü@b.example>",
        "<ü@b..example>",
        "<ü@[1.2.3]>",
        "<@ü.example:a@b>",
    ] {
        assert_eq!(kept(wrong.as_bytes()), Err(AddressError::Syntax), "{wrong}");
    }
    for wrong in ["<ü>", "<ü@>", "<ü@.>"] {
        assert!(kept(wrong.as_bytes()).is_err(), "{wrong}");
    }
    // Not assigned, in both directions, joined where nothing is, no letters, and an A-label that is none.
    for wrong in [
        "<a@\u{378}.example>",
        "<a@\u{5d0}a.example>",
        "<a@1\u{5d0}.example>",
        "<a@a\u{200d}ü.example>",
        "<a@\u{202e}ü.example>",
        "<a@ü/x.example>",
        "<a@\u{2100}.example>",
        "<a@ü..example>",
        "<a@-ü.example>",
        "<a@xn--a.ü.example>",
        "<a@\u{ad}>",
        "<a@ü x.example>",
    ] {
        assert_eq!(kept(wrong.as_bytes()), Err(AddressError::Labels), "{wrong}");
    }
}

/// RFC 5321 4.5.3.1: the bounds hold for both forms, of which either may be the longer one.
#[test]
fn both_forms_are_bounded() {
    let path = |local: &str, domain: &str| format!("<{local}@{domain}>");
    let short = "ü.".repeat(30) + "example";
    assert!(short.len() < limits::DOMAIN_MAX && to_a_labels(&short).unwrap().len() > limits::DOMAIN_MAX - 60);
    assert!(kept(path("a", &short).as_bytes()).is_ok());
    let grows = "ü.".repeat(40) + "example";
    assert_eq!(kept(path("a", &grows).as_bytes()), Err(AddressError::Labels));
    let long = "ü".repeat(limits::LOCAL_PART_MAX / 2 + 1);
    assert_eq!(kept(path(&long, "b.example").as_bytes()), Err(AddressError::TooLong));
    let local = "ü".repeat(100);
    assert!(kept(path(&local, &short).as_bytes()).is_ok());
    let local = "ü".repeat(limits::LOCAL_PART_MAX / 2);
    assert!(local.len() + 1 + short.len() + 2 <= limits::PATH_MAX);
    assert_eq!(kept(path(&local, &short).as_bytes()), Err(AddressError::TooLong));
}

#[test]
fn a_hop_may_have_u_labels() {
    for (address, written) in [
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("ü@b.example", "ü@b.example"),
        ("ü@[192.0.2.1]", "ü@[192.0.2.1]"),
        ("a@xn--a.example", "a@xn--a.example"),
        ("", ""),
        ("\"a@b\"@xn--fa-hia.example", "\"a@b\"@faß.example"),
    ] {
        let mut out = Vec::new();
        write_u_labels(address.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), written);
    }
    assert_eq!(of_name("Example.org").as_deref(), Some("Example.org"));
    assert_eq!(of_name("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
    assert_eq!(of_name("\u{378}.example"), None);
}
