//! Paths, Received fields, bounces: strangers' bytes on their way into headers.

use relevo::id::MessageId;
use relevo::limits;
use relevo::mail::address::{self, AddressError, Path, international};
use relevo::mail::dsn::{self, Cause, Notice, ReportedRecipient};
use relevo::mail::envelope::{Origin, WithProtocol};
use relevo::mail::trace::write_received;
use relevo::time::UnixMillis;

use super::input::Input;

const ID: MessageId = MessageId { lane: 1, sequence: 2, offset: 4096 };

/// What holds for every path that was let in, as it is kept.
pub fn assert_path(path: &Path<'_>) {
    let text = std::str::from_utf8(path.address).expect("an address is UTF-8");
    assert!(!text.contains(char::is_control), "{text:?}");
    if path.is_utf8 {
        let kept = international::canonical(path).expect("it was looked at before");
        assert!(kept.address.len() + 2 <= limits::PATH_MAX && kept.domain_at == path.domain_at);
        assert_path(&Path { address: &kept.address, is_utf8: false, ..*path });
        // It goes to a hop, or into a notification, and is the same to whoever reads it there.
        for written in [kept.address.clone(), path.address.to_vec(), labels(&kept.address)] {
            let written = [b"<", &written[..], b">"].concat();
            let again = international::parse(&written, true).expect("what was let in can be written");
            let again =
                international::canonical(&again).map_or(again.address.to_vec(), |again| again.address);
            assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&kept.address));
        }
        return;
    }
    assert_kept(path);
}

/// With U-labels.
fn labels(address: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    international::write_u_labels(address, &mut out);
    out
}

fn assert_kept(path: &Path<'_>) {
    let is_visible = |byte: &u8| *byte > 127 || (32..127).contains(byte);
    assert!(path.domain().is_ascii());
    assert!(path.address.iter().all(is_visible), "{}", path.address.escape_ascii());
    assert!(path.domain_at <= path.address.len());
    assert!(path.local().len() <= limits::LOCAL_PART_MAX && path.domain().len() <= limits::DOMAIN_MAX);
    if path.domain().is_empty() {
        let postmaster = path.address.eq_ignore_ascii_case(b"postmaster");
        assert!(path.address.is_empty() || postmaster, "{}", path.address.escape_ascii());
    } else {
        assert_eq!(path.address[path.domain_at - 1], b'@');
        assert!(!path.local().is_empty());
        assert!(address::is_domain(path.domain()) || address::is_literal(path.domain()));
    }
}

/// Any bytes are a path that can be written again, or an error.
pub fn address(data: &[u8]) {
    for null in [true, false] {
        match address::parse_path(data, null) {
            Ok(path) => {
                assert_path(&path);
                assert!(path.length <= data.len() && data[path.length - 1] == b'>');
                assert!(null || !path.address.is_empty());
                // What we send is what a next hop of our kind reads.
                let written = [b"<", path.address, b"> X=1"].concat();
                let again = address::parse_path(&written, null).expect("what was let in can be written");
                assert_eq!((again.address, again.domain_at), (path.address, path.domain_at));
                assert_eq!(again.length, path.address.len() + 2);
            }
            Err(AddressError::NotAscii) => assert!(!data.is_ascii()),
            Err(AddressError::NotUtf8 | AddressError::Labels) => panic!("none is read in UTF-8 here"),
            Err(AddressError::Syntax | AddressError::TooLong | AddressError::NoDomain) => {}
        }
        match international::parse(data, null) {
            Ok(path) => assert_path(&path),
            Err(error) => assert!(error != AddressError::NotAscii),
        }
    }
    received(data);
}

/// A Received field is one field, whatever the client called itself.
fn received(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let origin = Origin {
        client: (flags & 1 != 0).then(|| "192.0.2.1:25".parse().expect("an address")),
        helo: input.text(255).into(),
        protocol: if flags & 2 != 0 { WithProtocol::Esmtps } else { WithProtocol::Smtp },
        tls: (flags & 4 != 0).then(|| input.text(64).into()),
    };
    let hostname = input.text(255);
    let at = UnixMillis(input.long());
    let recipient = (flags & 8 != 0).then(|| input.piece(320));
    let mut out = Vec::new();
    write_received(&mut out, &origin, &hostname, ID, at, recipient);
    assert_header(&out, "Received:");
}

/// One field: CRLF at the ends of lines and nowhere else, every line after the first is folded and none is empty.
fn assert_header(field: &[u8], name: &str) {
    assert!(field.starts_with(name.as_bytes()));
    assert!(std::str::from_utf8(field).is_ok());
    for (number, line) in lines(field).into_iter().enumerate() {
        assert!(line.len() <= 998 && !line.trim_ascii().is_empty(), "{}", field.escape_ascii());
        let folded = matches!(line[0], b' ' | b'\t');
        assert_eq!(folded, number > 0, "{}", field.escape_ascii());
        assert!(
            line.iter().all(|byte| (32..127).contains(byte) || *byte == b'\t' || !byte.is_ascii()),
            "{}",
            field.escape_ascii()
        );
    }
}

/// Whether it is as messages are stored.
fn is_canonical(text: &[u8]) -> bool {
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r\n"));
    lines.into_iter().all(|line| line.is_some_and(|line| !line.contains(&b'\r') && !line.contains(&0)))
}

/// Lines without their CRLF; fails on a bare CR or LF.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    assert!(text.ends_with(b"\r\n"));
    text.split_inclusive(|byte| *byte == b'\n')
        .map(|line| {
            let line = line.strip_suffix(b"\r\n").expect("no bare LF");
            assert!(!line.contains(&b'\r'), "a bare CR: {}", line.escape_ascii());
            line
        })
        .collect()
}

fn cause(flags: u8) -> Cause {
    match flags >> 5 {
        0..4 if flags & 1 != 0 => Cause::Expired,
        0..4 => Cause::Refused,
        4 => Cause::Late,
        5 => Cause::Relayed,
        _ => Cause::Delivered,
    }
}

/// A bounce is a message of ours, whatever the next hop said and whatever the sender wrote.
pub fn bounce(data: &[u8]) {
    let mut input = Input(data);
    let (hostname, sender) = (input.text(64), input.piece(320));
    let count = input.below(4);
    let words: Vec<_> = (0..count)
        .map(|_| (input.byte(), input.piece(320), input.text(64), input.text(300), input.word()))
        .collect();
    let failures: Vec<_> = words
        .iter()
        .map(|(flags, recipient, remote, text, number)| ReportedRecipient {
            recipient,
            original: (flags & 16 != 0).then_some(recipient),
            cause: cause(*flags),
            status: (flags & 2 != 0).then_some((*flags, *number, *number / 7)),
            remote: (flags & 4 != 0).then_some(remote),
            text,
            last_attempt: (flags & 8 != 0).then_some(UnixMillis(u64::from(*number) << 20)),
        })
        .collect();
    let (arrival, now, unique) = (UnixMillis(input.long()), UnixMillis(input.long()), input.long());
    let header = input.0;
    let notice = Notice {
        hostname: &hostname,
        sender,
        id: ID,
        envid: Some(&hostname),
        arrival,
        expiry: now,
        now,
        unique,
        recipients: &failures,
        header,
        is_whole: unique & 1 == 1 && is_canonical(header),
        utf8: unique & 2 == 2,
    };
    let Some(bounce) = dsn::compose(&notice) else {
        assert!(!dsn::owed(sender) || failures.is_empty());
        return;
    };
    assert_eq!(bounce.recipient.address[..], *sender);
    let lines = lines(&bounce.body);
    assert!(lines.iter().all(|line| line.len() <= 998 && !line.contains(&0)));
    assert_eq!(bounce.needs_stuffing, lines.iter().any(|line| line.starts_with(b".")));
    assert!(bounce.body.is_ascii() || !sender.is_ascii());
    let boundary = format!("--=_relevo_{unique:016x}");
    let marks = lines.iter().filter(|line| line.starts_with(boundary.as_bytes())).count();
    // A header section that happens to hold the boundary would need to guess 64 bits.
    let guessed = header.windows(16).any(|part| part == &boundary.as_bytes()[11..27]);
    assert!(marks == 4 || guessed, "{marks} boundaries");
    assert!(bounce.body.len() <= header.len() * 2 + failures.len() * 4096 + 4096, "it grew out of bounds");
    // The head of the bounce has the fields we gave it and no others.
    for line in lines.iter().take_while(|line| !line.is_empty()) {
        let known = [
            "Date: ",
            "From: ",
            "To: ",
            "Message-ID: ",
            "In-Reply-To:",
            "References:",
            "Subject: ",
            "Auto-Submitted: ",
            "MIME-Version: ",
            "Content-T",
            " ",
            "\t",
        ];
        assert!(known.iter().any(|name| line.starts_with(name.as_bytes())), "{}", line.escape_ascii());
    }
}
