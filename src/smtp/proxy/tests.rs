use super::*;

/// A header of version 2 with these fields behind its addresses.
fn second_of(command: u8, family: u8, addresses: &[u8], fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut rest = addresses.to_vec();
    for (kind, value) in fields {
        rest.push(*kind);
        rest.extend((value.len() as u16).to_be_bytes());
        rest.extend_from_slice(value);
    }
    let length = (rest.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[0x20 | command, family], &length, &rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 25];

fn v6() -> Vec<u8> {
    let (from, to): (Ipv6Addr, Ipv6Addr) = ("2001:db8::7".parse().unwrap(), "2001:db8::1".parse().unwrap());
    [&from.octets()[..], &to.octets(), &[0x30, 0x39, 0, 25]].concat()
}

fn client(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn sub(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// As HAProxy writes it with `send-proxy-v2-ssl`.
fn with_tls() -> Vec<u8> {
    let tls = [&[SPOKE_TLS, 0, 0, 0, 1][..], &sub(0x21, b"TLSv1.3"), &sub(0x23, b"TLS_AES_128_GCM_SHA256")]
        .concat();
    second_of(1, 0x11, &V4, &[(kind::AUTHORITY, b"mx.example"), (kind::TLS, &tls), (0x04, &[0; 9])])
}

fn summed(mut header: Vec<u8>) -> Vec<u8> {
    let at = header.len() - 4;
    let sum = crc32c::crc32c(&header);
    header[at..].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Each, with whom it names.
fn whole() -> Vec<(Vec<u8>, Option<SocketAddr>)> {
    let text = |line: &str| line.as_bytes().to_vec();
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(limits::PROXY_V1_MAX - 16));
    assert_eq!(longest.len(), limits::PROXY_V1_MAX);
    vec![
        (text("PROXY TCP4 192.0.2.7 10.0.0.1 12345 25\r\n"), client("192.0.2.7:12345")),
        (text("PROXY TCP6 2001:db8::7 2001:db8::1 12345 25\r\n"), client("[2001:db8::7]:12345")),
        (text("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), client("0.0.0.0:0")),
        (text("PROXY UNKNOWN\r\n"), None),
        (text("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), None),
        (text(&longest), None),
        (second_of(1, 0x11, &V4, &[]), client("192.0.2.7:12345")),
        (second_of(1, 0x21, &v6(), &[]), client("[2001:db8::7]:12345")),
        (with_tls(), client("192.0.2.7:12345")),
        (summed(second_of(1, 0x11, &V4, &[(kind::CHECKSUM, &[0; 4])])), client("192.0.2.7:12345")),
        (second_of(0, 0, &[], &[]), None),
        (second_of(0, 0x11, &V4, &[]), None),
        (second_of(0, 0x11, &[1, 2, 3], &[]), None),
        (second_of(1, 0, &[], &[]), None),
        (second_of(1, 0x31, &[b'/'; 216], &[]), None),
        (second_of(1, 0x12, &V4, &[]), None),
    ]
}

#[test]
fn a_header_says_who_connected_wherever_it_is_cut() {
    for (header, client) in whole() {
        for end in 0..header.len() {
            assert_eq!(parse(&header[..end]), Parsed::More, "{:?}", String::from_utf8_lossy(&header[..end]));
        }
        let with_more = [&header[..], b"EHLO x\r\n"].concat();
        for input in [&header, &with_more] {
            match parse(input) {
                Parsed::Whole(length, found) => assert_eq!((length, found.client), (header.len(), client)),
                other => panic!("{other:?} of {:?}", String::from_utf8_lossy(input)),
            }
        }
    }
}

#[test]
fn what_is_no_header_is_told_at_its_first_wrong_byte() {
    for (bytes, flaw) in [
        (&b"E"[..], Flaw::None),
        (b"EHLO x\r\n", Flaw::None),
        (b"\x16\x03\x01", Flaw::None),
        (b"PROXX", Flaw::None),
        (b"proxy ", Flaw::None),
        (b"\r\nX", Flaw::None),
        (b"PROXY\r\n", Flaw::None),
        (b"PROXY \r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 25\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 25\r\r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 25 \r\n", Flaw::Line),
        (b"PROXY TCP4  192.0.2.7 10.0.0.1 12345 25\r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 012345 25\r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 25\r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 25\r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2.07 10.0.0.1 1 25\r\n", Flaw::Line),
        (b"PROXY TCP4 192.0.2 10.0.0.1 1 25\r\n", Flaw::Line),
        (b"PROXY TCP4 ::1 ::1 1 25\r\n", Flaw::Line),
        (b"PROXY TCP6 192.0.2.7 10.0.0.1 1 25\r\n", Flaw::Line),
        (b"PROXY TCP6 fe80::1%1 ::1 1 25\r\n", Flaw::Line),
        (b"PROXY UDP4 192.0.2.7 10.0.0.1 1 25\r\n", Flaw::Line),
        (b"PROXY TCP4 \xff 10.0.0.1 1 25\r\n", Flaw::Line),
    ] {
        assert_eq!(parse(bytes), Parsed::Bad(flaw), "{:?}", String::from_utf8_lossy(bytes));
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(limits::PROXY_V1_MAX - 15));
    assert_eq!(parse(long.as_bytes()), Parsed::Bad(Flaw::TooLong));
    assert_eq!(parse(&long.as_bytes()[..limits::PROXY_V1_MAX]), Parsed::Bad(Flaw::TooLong));
}

#[test]
fn version_2_is_read_to_the_letter() {
    for command in [2, 15, 0x10, 0xe0] {
        let mut header = second_of(1, 0x11, &V4, &[]);
        header[12] = 0x20 ^ command;
        assert_eq!(parse(&header), Parsed::Bad(Flaw::Version), "{command}");
    }
    for (family, short) in [(0x11, &V4[..11]), (0x21, &v6()[..35]), (0x11, &[])] {
        assert_eq!(parse(&second_of(1, family, short, &[])), Parsed::Bad(Flaw::Addresses));
    }
    // A field that says to be longer than there is.
    let mut header = with_tls();
    let end = header.len();
    header[end - 10] = 10;
    assert_eq!(parse(&header), Parsed::Bad(Flaw::Field));
    for rest in [&[1][..], &[1, 0], &[1, 0, 1]] {
        let header = second_of(1, 0x11, &[&V4[..], rest].concat(), &[]);
        assert_eq!(parse(&header), Parsed::Bad(Flaw::Field), "{rest:?}");
    }
    let short = second_of(1, 0x11, &V4, &[(kind::TLS, &[1, 0, 0, 0])]);
    assert_eq!(parse(&short), Parsed::Bad(Flaw::Field));
    let wrong = second_of(1, 0x11, &V4, &[(kind::CHECKSUM, &[0; 4])]);
    assert_eq!(parse(&wrong), Parsed::Bad(Flaw::Checksum));
    assert_eq!(parse(&second_of(1, 0x11, &V4, &[(kind::CHECKSUM, &[0; 3])])), Parsed::Bad(Flaw::Field));
    // The length alone says that it is too long: none of it is waited for.
    let mut header = second_of(1, 0x11, &V4, &[]);
    header[14..].copy_from_slice(&[0xff; 14]);
    assert_eq!(parse(&header[..HEAD]), Parsed::Bad(Flaw::TooLong));
    let most = vec![0; limits::PROXY_V2_MAX - HEAD - V4.len() - 3];
    assert!(matches!(parse(&second_of(1, 0x11, &V4, &[(4, &most)])), Parsed::Whole(limits::PROXY_V2_MAX, _)));
}

#[test]
fn a_header_says_whether_its_client_speaks_tls() {
    let header = with_tls();
    let Parsed::Whole(_, Header { tls: Some(tls), .. }) = parse(&header) else {
        panic!("{:?}", parse(&header))
    };
    assert_eq!(tls.to_string(), "TLSv1.3 TLS_AES_128_GCM_SHA256 for mx.example");
    let tls_of = |value: &[u8]| {
        let header = second_of(1, 0x11, &V4, &[(kind::AUTHORITY, b"a (b)\r\nX: y"), (kind::TLS, value)]);
        match parse(&header) {
            Parsed::Whole(_, found) => found.tls.map(|tls| tls.to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(tls_of(&[SPOKE_TLS, 0, 0, 0, 0]).as_deref(), Some("TLS unknown"), "it says no more");
    let words = [&[SPOKE_TLS, 0, 0, 0, 0][..], &sub(0x21, b"TLSv1.3)\r\nX: y"), &sub(0x23, b"")].concat();
    assert_eq!(tls_of(&words).as_deref(), Some("TLS unknown"), "words of a proxy are no fields of ours");
    // A certificate in an earlier session (PP2_CLIENT_CERT_SESS) is no TLS.
    assert_eq!(tls_of(&[4, 0, 0, 0, 0]), None);
    // Of a check there is none.
    let check = second_of(0, 0x11, &V4, &[(kind::TLS, &[SPOKE_TLS, 0, 0, 0, 0])]);
    assert!(matches!(parse(&check), Parsed::Whole(_, Header { client: None, tls: None })));
}

#[test]
fn a_line_of_a_header_is_told_from_other_lines() {
    for line in [&b"PROXY TCP4 1.2.3.4"[..], b"PROXY ", b"\0"] {
        assert!(is_line_of_header(line));
    }
    for line in [&b"PROXY"[..], b"", b"\0\0", b"EHLO PROXY ", b"QUIT"] {
        assert!(!is_line_of_header(line));
    }
}
