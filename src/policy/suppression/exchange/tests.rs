use super::*;

const NOW: UnixMillis = UnixMillis(1_764_000_000_000);

fn defaults() -> Defaults {
    Defaults { tenant: None, reason: Reason::Manual, now: NOW }
}

/// The entries of a text, as they are exported, and the rest; whatever pieces it comes in.
fn imported_as(text: &[u8], defaults: &Defaults) -> (Vec<String>, Summary) {
    let whole = imported_by(text, defaults, text.len().max(1));
    for size in [1, 2, 7] {
        assert_eq!(imported_by(text, defaults, size), whole, "in pieces of {size}");
    }
    whole
}

fn imported_by(text: &[u8], defaults: &Defaults, size: usize) -> (Vec<String>, Summary) {
    let mut import = Import::new(defaults.clone());
    let mut lines = Vec::new();
    let mut take = |entry: &Entry<'_>| {
        let mut line = Vec::new();
        write_line(entry, &mut line);
        lines.push(String::from_utf8(line).unwrap().trim_end().to_owned());
        Ok::<(), std::convert::Infallible>(())
    };
    for piece in text.chunks(size) {
        import.feed(piece, &mut take).unwrap();
    }
    let summary = import.finish(&mut take).unwrap();
    (lines, summary)
}

fn imported(text: &str) -> (Vec<String>, Summary) {
    imported_as(text.as_bytes(), &defaults())
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let entry = Entry {
        tenant: Some("shop, \"two\""),
        address: "ada@example.org",
        reason: Reason::Complaint,
        added: UnixMillis(1_700_000_000_000),
        expires: Some(UnixMillis(2_000_000_000_000)),
        note: "it said; \"no\"",
    };
    let all = [
        entry,
        Entry { tenant: None, expires: None, note: "", ..entry },
        Entry { address: "@example.org", ..entry },
        Entry { address: "*.example.org", note: "=cmd|' /C calc'!A0", ..entry },
        Entry { address: "=cmd@example.org", tenant: Some("@shop"), ..entry },
        Entry { address: "'=cmd@example.org", tenant: Some("''"), ..entry },
        Entry { address: "\"a b,c\"@example.org", note: "+1", ..entry },
        Entry { address: "'bob'@example.org", note: "-1", ..entry },
    ];
    for head in [HEAD, ""] {
        let mut text = head.as_bytes().to_vec();
        all.iter().for_each(|entry| write_line(entry, &mut text));
        for line in String::from_utf8(text.clone()).unwrap().lines() {
            for cell in line.split(',').map(|cell| cell.trim_start_matches('"')) {
                assert!(!cell.starts_with(['=', '+', '-', '@']), "a formula: {line}");
            }
        }
        let mut import = Import::new(defaults());
        let mut place = 0;
        let mut take = |entry: &Entry<'_>| {
            assert_eq!(*entry, all[place]);
            place += 1;
            Ok::<(), ()>(())
        };
        import.feed(&text, &mut take).unwrap();
        let summary = import.finish(&mut take).unwrap();
        assert_eq!((summary.entries, summary.wrong, summary.undated), (8, 0, 0), "{summary:?}");
        assert_eq!(place, 8);
    }
}

#[test]
fn lists_of_others_are_taken() {
    let now = "2025-11-24T16:00:00Z";
    for (text, lines) in [
        (
            "ada@example.org\nBob@example.org\r\n\r\n",
            vec!["ada@example.org,,manual,NOW,,", "bob@example.org,,manual,NOW,,"],
        ),
        ("\u{feff}<ada@example.org>", vec!["ada@example.org,,manual,NOW,,"]),
        (
            "email,created_at,reason\nada@example.org,2025-01-02T03:04:05Z,hard bounce\nb@x.example,1700000000,spam_complaint\n",
            vec![
                "ada@example.org,,hard_bounce,2025-01-02T03:04:05Z,,",
                "b@x.example,,complaint,2023-11-14T22:13:20Z,,",
            ],
        ),
        (
            "status;reason;email;created\n5.1.1;550 no such user;ada@example.org;2025-01-02 03:04:05\n",
            vec!["ada@example.org,,imported,2025-01-02T03:04:05Z,,5.1.1"],
        ),
        (
            "\"Email Address\"\t\"Reason\"\r\"ada@example.org\"\t\"550 \"\"no\"\"\"\r",
            vec!["ada@example.org,,imported,NOW,,\"550 \"\"no\"\"\""],
        ),
        (
            "address,created_at\nada@example.org,\"Fri, 21 Oct 2011 11:02:55 UTC\"\nb@x.example,2025-01-02\n",
            vec!["ada@example.org,,manual,NOW,,", "b@x.example,,manual,2025-01-02T00:00:00Z,,"],
        ),
    ] {
        let (found, summary) = imported(text);
        let wanted: Vec<String> = lines.iter().map(|line| line.replace("NOW", now)).collect();
        assert_eq!(found, wanted, "{text}");
        assert_eq!(summary.wrong, 0, "{summary:?}");
    }
    let shop = Defaults { tenant: Some("shop".into()), reason: Reason::Unsubscribe, ..defaults() };
    let (found, summary) = imported_as(b"address,tenant,added\na@b.example,,x\nc@b.example,other,\n", &shop);
    let wanted = ["a@b.example,shop,unsubscribe,NOW,,", "c@b.example,other,unsubscribe,NOW,,"];
    assert_eq!(found, wanted.map(|line| line.replace("NOW", now)));
    assert_eq!(summary.undated, 1);
}

#[test]
fn what_is_wrong_has_its_line() {
    let long = "x".repeat(limits::SUPPRESSION_LINE_MAX + 1);
    let tenant = "t".repeat(limits::PARAMETER_MAX + 1);
    let cells = ",".repeat(limits::SUPPRESSION_CELLS_MAX);
    let text = format!(
        "address,note,tenant\nada@example.org\n\nexample.org\n\"a@b.example\",\"two\nlines\"\nnobody@\nc@d.example,{long}\n\
         d@d.example,,{tenant}\ne@d.example,{cells}\n,x\nf@\u{378}.example\ng@d.example,\"never closed\nh@d.example\n"
    );
    let (found, summary) = imported(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].ends_with(",\"two lines\""), "{found:?}");
    let bad = |why| BadLine::Address(why);
    let told = [
        (4, bad(BadEntry::NoDomain)),
        (7, bad(BadEntry::NoDomain)),
        (8, BadLine::TooLong),
        (9, BadLine::Tenant),
        (10, BadLine::TooLong),
        (11, bad(BadEntry::Empty)),
        (12, bad(BadEntry::NotAscii)),
        (13, BadLine::Unclosed),
    ];
    assert_eq!(summary.told, told);
    assert_eq!((summary.entries, summary.wrong), (2, 8));
    let (found, summary) = imported("name,created,reason\nx,y,z\n");
    assert_eq!((found.len(), summary.told[0]), (0, (1, BadLine::NoColumn)));
    let many = "x\n".repeat(1000);
    let (_, summary) = imported(&many);
    assert_eq!((summary.wrong, summary.told.len()), (1000, limits::SUPPRESSION_WRONG_TOLD));
}

#[test]
fn what_is_over_is_left_out() {
    let (found, summary) = imported(
        "address,expires\na@x.example,2020-01-01\nb@x.example,2030-01-01T00:00:00Z\nc@x.example,soon\n",
    );
    assert_eq!((found.len(), summary.over, summary.undated), (2, 1, 1));
    assert!(found[0].contains(",2030-01-01T00:00:00Z,") && found[1].ends_with(",,"), "for good: {found:?}");
}

#[test]
fn words_of_others_are_reasons() {
    for reason in Reason::ALL {
        assert_eq!(columns::reason(reason.word()), Some(reason));
    }
    assert_eq!(columns::reason("Spam Report"), Some(Reason::Complaint));
    assert_eq!(columns::reason("550 5.1.1 unknown"), None);
}

#[test]
fn whoever_takes_entries_may_end_it() {
    let mut import = Import::new(defaults());
    let mut taken = 0;
    let full = |_: &Entry<'_>| {
        taken += 1;
        if taken == 2 { Err("full") } else { Ok(()) }
    };
    assert_eq!(import.feed(b"a@x.example\nb@x.example\nc@x.example\n", full), Err("full"));
    assert_eq!(taken, 2);
}
