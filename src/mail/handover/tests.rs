use super::*;

fn handover() -> Handover {
    let mut parameters = Parameters::default();
    for (key, text) in [
        (Key::Tenant, "shop"),
        (Key::Campaign, "été, 1"),
        (Key::Metadata, "{\"order\": \"a\\\"b\", \"who\": \"\u{1F600}\"}"),
        (Key::SendAt, "2026-12-01T08:00:00Z"),
        (Key::Origin, "00000000000000a1/00000000G0000102"),
    ] {
        parameters.set(key, text).expect("a parameter");
    }
    Handover {
        arrival: UnixMillis(1_767_225_600_123),
        expiry: UnixMillis(1_767_657_600_123),
        account: Some("shop".into()),
        hides_client: true,
        parameters,
        begun: Begun { attempts: 3, next: 1_767_229_200, late: true, reply: "451 4.7.1 später".into() },
    }
}

fn written(handover: &Handover) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(handover.write(&mut out));
    out
}

/// A field of a message that has this value.
fn of_text(text: &str) -> Result<Option<Handover>, BadHandover> {
    read(format!("{FIELD}: {text}\r\nSubject: x\r\n\r\n").as_bytes(), false)
}

#[test]
fn what_is_written_is_read() {
    let plain = Handover {
        account: None,
        hides_client: false,
        begun: Begun::default(),
        parameters: {
            let mut only = Parameters::default();
            only.set(Key::Origin, "00000000000000a1/00000000G0000102").unwrap();
            only
        },
        ..handover()
    };
    let mut long = handover();
    // Letters of which each takes most: one byte becomes six, and quotes become two.
    let text = format!("{{\"a\": \"{}\"}}", "\u{e9}\\\"".repeat(4000));
    long.parameters.set(Key::Metadata, &text).unwrap();
    for all in [plain, handover(), long] {
        let mut section = written(&all);
        assert!(section.is_ascii() && section.ends_with(b"\r\n"));
        assert!(section.split(|byte| *byte == b'\n').all(|line| line.len() < 998), "RFC 5322 2.1.1");
        section.extend_from_slice(b"Received: by mx1.example.net\r\nSubject: x\r\n\r\n");
        assert_eq!(read(&section, false), Ok(Some(all)));
    }
}

#[test]
fn what_stands_behind_another_field_is_none() {
    let field = String::from_utf8(written(&handover())).unwrap();
    for section in [
        "".to_owned(),
        "Subject: x\r\n\r\n".to_owned(),
        format!("Received: by a\r\n{field}\r\n"),
        format!("\r\n{field}\r\n"),
        format!("X-Relevo-Handovers{}\r\n", field.strip_prefix(FIELD).unwrap()),
    ] {
        assert_eq!(read(section.as_bytes(), false), Ok(None), "{section}");
    }
    assert_eq!(read(format!("{field}{field}\r\n").as_bytes(), false), Err(BadHandover::Twice));
}

#[test]
fn what_nobody_writes_is_refused() {
    let text = |more: &str| {
        format!(
            "{{\"version\":1,\"origin\":\"00000000000000a1/00000000G0000102\",\"arrival\":5,\"expiry\":9{more}}}"
        )
    };
    assert!(of_text(&text("")).is_ok_and(|read| read.is_some()));
    let year = 366 * 86_400_000u64;
    let long = "x".repeat(limits::REPLY_MOVED_MAX + 1);
    for (wrong, words) in [
        (String::new(), "X-Relevo-Handover is not what version 1 writes"),
        ("{}".to_owned(), "X-Relevo-Handover is not what version 1 writes"),
        ("[]".to_owned(), "X-Relevo-Handover is not what version 1 writes"),
        (text(",\"more\":1"), "X-Relevo-Handover is not what version 1 writes"),
        (text(",\"attempts\":-1"), "X-Relevo-Handover is not what version 1 writes"),
        (text(",\"attempts\":99999999999"), "X-Relevo-Handover is not what version 1 writes"),
        (text(",\"reply\":\"é\""), "X-Relevo-Handover is not what version 1 writes"),
        (text(",\"reply\":\"\t\""), "X-Relevo-Handover is not what version 1 writes"),
        (text(",\"reply\":\"\\ud83d\""), "X-Relevo-Handover is not what version 1 writes"),
        (text("") + "x", "X-Relevo-Handover is not what version 1 writes"),
        ("{\"version\":2,\"ids\":[]}".to_owned(), "X-Relevo-Handover is of version 2; this is version 1"),
        (text(",\"attempts\":32768"), "X-Relevo-Handover: attempts cannot be understood"),
        (text(",\"reply\":\"a\\u000ab\""), "X-Relevo-Handover: reply cannot be understood"),
        (text(&format!(",\"reply\":\"{long}\"")), "X-Relevo-Handover: reply cannot be understood"),
        (text(",\"account\":\"a\\u0000\""), "X-Relevo-Handover: account cannot be understood"),
        (text("").replace("a1/0", "a10"), "X-Relevo-Handover: origin cannot be understood"),
        (text("").replace(":9", ":4"), "X-Relevo-Handover: expiry cannot be understood"),
        (
            text("").replace(":9", &format!(":{}", 2 * year + 6)),
            "X-Relevo-Handover: expiry cannot be understood",
        ),
        (
            text("").replace(":5,", &format!(":{},", u64::MAX - 1)).replace(":9", &format!(":{}", u64::MAX)),
            "X-Relevo-Handover: expiry cannot be understood",
        ),
        (text(",\"parameters\":{\"colour\":\"red\"}"), "X-Relevo-Handover: parameters cannot be understood"),
        (
            text(",\"parameters\":{\"origin\":\"00000000000000a2/00000000G0000102\"}"),
            "X-Relevo-Handover: parameters cannot be understood",
        ),
        (text(",\"parameters\":{\"tenant\":\"\"}"), "X-Relevo-Handover: tenant is empty"),
        (
            text(",\"parameters\":{\"priority\":\"urgent\"}"),
            "X-Relevo-Handover: priority must be high, normal or low",
        ),
    ] {
        let said = of_text(&wrong).map_err(|wrong| wrong.to_string());
        assert_eq!(said, Err(words.to_owned()), "{wrong}");
    }
    assert!(matches!(
        of_text(&text(",\"parameters\":{\"send_at\":\"+2h\"}")),
        Err(BadHandover::Parameter("send_at", Problem::NoTime))
    ));
    let endless = text(&format!(",\"reply\":\"{}\"", "x".repeat(2 * limits::HANDOVER_MAX)));
    assert_eq!(of_text(&endless), Err(BadHandover::TooLong));
    // Folds come out as they went in; other blanks stay, and a line end without a blank behind it is none.
    assert!(of_text(&text("").replacen(',', "\r\n ,", 1)).is_ok_and(|read| read.is_some()));
    assert!(of_text(&text("").replacen("ver", "ver\r\n ", 1)).is_ok_and(|read| read.is_some()));
    assert!(of_text(&text("").replacen("ver", "ver\r\n\t", 1)).is_err());
    assert!(of_text(&text("").replacen("ver", "ver\r\n  ", 1)).is_err());
}

#[test]
fn one_that_is_too_long_is_not_written() {
    let mut all = handover();
    all.parameters.put(Key::Category, "x".repeat(limits::HANDOVER_MAX).into());
    let mut out = b"before".to_vec();
    assert!(!all.write(&mut out));
    assert_eq!(out, b"before");
    // What a hop said is cut, and has nothing in it that a field must not have.
    let mut all = handover();
    all.begun.reply = format!("451 a\r\nb{}", "é".repeat(limits::HANDOVER_MAX)).into();
    let read = read(&written(&all), false).unwrap().unwrap();
    assert!(read.begun.reply.starts_with("451 abé") && read.begun.reply.len() <= limits::REPLY_MOVED_MAX);
}
