//! Endings that smuggle a second message past some servers, by DATA and by BDAT, cut at every byte.

use super::{check, parse, replay, unescape};

/// The endings that some servers take for the end of the data and others do not, each with a second message smuggled
/// behind it: one message at most may come of it, and it must be refused.
const SMUGGLING: [&str; 15] = [
    "\\n.\\n",
    "\\n.\\r\\n",
    "\\r.\\r",
    "\\r.\\r\\n",
    "\\r\\n.\\r",
    "\\r\\n.\\n",
    "\\n.\\r",
    "\\r.\\n",
    "\\n\\n.\\n\\n",
    "\\r\\r\\n.\\r\\r\\n",
    "\\r\\n.\\r\\r\\n",
    "\\n\\r\\n.\\n\\r\\n",
    "\\r\\n\\n.\\n\\r\\n",
    "\\n\\r.\\r\\n",
    "\\r\\n.\\n\\r",
];

#[test]
fn no_ending_smuggles_a_second_message() {
    for ending in SMUGGLING {
        let text = format!(
            "C: EHLO c.example\nC: MAIL FROM:<a@b.example>\nC: RCPT TO:<x@y.example>\nC: DATA\n\
             R: Subject: one{ending}MAIL FROM:<evil@b.example>\\r\\nRCPT TO:<x@y.example>\\r\\nDATA\\r\\nSubject: two\\r\\n.\\r\\n\n\
             C: QUIT\n\
             S: 220 relay.example ESMTP relevo\nS: 250-relay.example\nS: 250-PIPELINING\nS: 250-8BITMIME\n\
             S: 250-ENHANCEDSTATUSCODES\nS: 250 SIZE 1000\nS: 250 2.1.0 Ok\nS: 250 2.1.5 Ok\n\
             S: 354 End data with <CR><LF>.<CR><LF>\n\
             S: 550 5.6.11 {}\nX:\n",
            bare(ending)
        );
        let transcript = parse(&text).expect("a good transcript");
        check(&transcript).unwrap_or_else(|error| panic!("{ending}: {error}"));
    }
}

/// What is said of an ending behind a line of twelve bytes: its first bare byte, and where that is. A dot that begins a line is none of the
/// message.
fn bare(ending: &str) -> String {
    let bytes = unescape(ending).expect("bytes");
    let lone = |place: &usize| match bytes[*place] {
        b'\r' => bytes.get(place + 1) != Some(&b'\n'),
        b'\n' => *place == 0 || bytes[place - 1] != b'\r',
        _ => false,
    };
    let place = (0..bytes.len()).find(lone).expect("there is one");
    let (name, byte) = if bytes[place] == b'\r' { ("CR", 0x0d) } else { ("LF", 0x0a) };
    let dots = bytes[..place].windows(3).filter(|at| at == b"\r\n.").count();
    let line = 1 + bytes[..place].windows(2).filter(|pair| pair == b"\r\n").count();
    // An empty line ends the header section.
    let header = !bytes[..place].windows(4).any(|four| four == b"\r\n\r\n");
    let line = if header { format!(", line {line}") } else { String::new() };
    let at = 12 + place + 1 - dots;
    format!(
        "Bare {name} (0x{byte:02x}) in the message at byte {at}{line}; lines end with CRLF (RFC 5321 section 2.3.8)"
    )
}

/// The table by BDAT (RFC 3030), where nothing but the count ends a message: in one portion, and in two cut at every byte. It is refused, or
/// one message with all of it.
#[test]
fn no_ending_smuggles_by_bdat() {
    for ending in SMUGGLING {
        let text =
            unescape(&format!("Subject: one{ending}MAIL FROM:<evil@b.example>\\r\\nDATA\\r\\n.\\r\\n"));
        let text = text.expect("bytes");
        for (bare, refused) in [("refuse", true), ("normalise", false)] {
            let head = format!(
                "@ chunking=yes bare={bare}\nC: EHLO c.example\nC: MAIL FROM:<a@b.example>\nC: RCPT TO:<x@y.example>\n"
            );
            let mut transcript = parse(&head).unwrap_or_else(|error| panic!("{error}"));
            let head = transcript.inputs[0].clone();
            let mut first = None;
            for cut in 0..=text.len() {
                let (one, two) = text.split_at(cut);
                transcript.inputs[0].clone_from(&head);
                transcript.inputs[0].extend_from_slice(format!("BDAT {}\r\n", one.len()).as_bytes());
                transcript.inputs[0].extend_from_slice(one);
                transcript.inputs[0].extend_from_slice(format!("BDAT {} LAST\r\n", two.len()).as_bytes());
                transcript.inputs[0].extend_from_slice(two);
                transcript.inputs[0].extend_from_slice(b"QUIT\r\n");
                for split in [0, cut / 2, head.len() + cut] {
                    let events = replay(&transcript, |_, input| vec![&input[..split], &input[split..]]);
                    let taken = events.iter().filter(|event| event.starts_with("E: <a@b.example> ")).count();
                    assert_eq!(taken, usize::from(!refused), "{ending}: {events:#?}");
                    assert_eq!(events.iter().filter(|event| event.contains("evil")).count(), 0);
                    assert!(refused != events.iter().any(|event| event.starts_with("S: 221")), "{events:#?}");
                    let end: Vec<_> = events.into_iter().filter(|event| !event.contains("octets")).collect();
                    assert_eq!(first.get_or_insert(end.clone()), &end, "{ending} cut at {cut}");
                }
            }
        }
    }
}

/// The table within a binary part (RFC 3030 section 3), where all of it is legal: it is one message, and what is stored of it is base64.
#[test]
fn no_ending_smuggles_in_a_binary_part() {
    for ending in SMUGGLING {
        let head = "@ chunking=yes\nC: EHLO c.example\nC: MAIL FROM:<a@b.example> BODY=BINARYMIME\nC: RCPT TO:<x@y.example>\n";
        let mut transcript = parse(head).unwrap_or_else(|error| panic!("{error}"));
        transcript.bodies = true;
        let head = transcript.inputs[0].clone();
        let text = unescape(&format!(
            "Content-Transfer-Encoding: binary\\r\\n\\r\\nx{ending}MAIL FROM:<evil@b.example>\\r\\nDATA\\r\\n.\\r\\n"
        ));
        let (text, mut first) = (text.expect("bytes"), None);
        for cut in 0..=text.len() {
            let (one, two) = text.split_at(cut);
            transcript.inputs[0].clone_from(&head);
            transcript.inputs[0].extend_from_slice(format!("BDAT {}\r\n", one.len()).as_bytes());
            transcript.inputs[0].extend_from_slice(one);
            transcript.inputs[0].extend_from_slice(format!("BDAT {} LAST\r\n", two.len()).as_bytes());
            transcript.inputs[0].extend_from_slice(two);
            for split in [0, cut / 2, head.len() + cut] {
                let events = replay(&transcript, |_, input| vec![&input[..split], &input[split..]]);
                assert_eq!(events.iter().filter(|event| event.starts_with("E: <a@b.example> ")).count(), 1);
                let body: Vec<_> = events.iter().filter_map(|event| event.strip_prefix("B:")).collect();
                assert_eq!(body[..2], [" Content-Transfer-Encoding: base64", ""]);
                let is_base64 =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b' ');
                assert!(body[2..].iter().all(|line| line.bytes().all(is_base64)), "{body:?}");
                let end: Vec<_> = events.into_iter().filter(|event| !event.contains("octets")).collect();
                assert_eq!(first.get_or_insert(end.clone()), &end, "{ending} cut at {cut}");
            }
        }
    }
}

/// The same where bare line ends are normalised: the one message that comes of it has all of it for its body.
#[test]
fn no_ending_smuggles_where_line_ends_are_normalised() {
    for ending in SMUGGLING {
        let text = format!(
            "@ bare=normalise\nC: HELO c.example\nC: MAIL FROM:<a@b.example>\nC: RCPT TO:<x@y.example>\nC: DATA\n\
             R: Subject: one{ending}MAIL FROM:<evil@b.example>\\r\\nRCPT TO:<x@y.example>\\r\\nDATA\\r\\nSubject: two\\r\\n.\\r\\n\n\
             C: QUIT\n"
        );
        let transcript = parse(&text).expect("a good transcript");
        let whole = replay(&transcript, |_, input| vec![input]);
        let taken = whole.iter().filter(|event| event.starts_with("E: ")).count();
        assert_eq!(taken, 1, "{ending}: {whole:#?}");
        assert!(whole.iter().any(|event| event.starts_with("E: <a@b.example> ")), "{ending}: {whole:#?}");
        assert_eq!(whole.last().map(String::as_str), Some("X:"), "{ending}: {whole:#?}");
        for cut in 0..transcript.inputs[0].len() {
            let events = replay(&transcript, |_, input| vec![&input[..cut], &input[cut..]]);
            assert_eq!(events, whole, "{ending} cut at {cut}");
        }
    }
}
