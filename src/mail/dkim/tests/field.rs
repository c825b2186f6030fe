use super::super::field::{FieldList, HeaderFlaw, ListFlaw, Picked, write_field};
use super::super::folder::Folder;
use super::{Canonicalization, text};

fn relaxed(field: &str) -> String {
    let mut out = Vec::new();
    write_field(field.as_bytes(), Canonicalization::Relaxed, &mut out);
    text(&out)
}

/// What is hashed, and `h=`.
fn picked(section: &str, list: &FieldList) -> Result<(String, String), HeaderFlaw> {
    let (mut picked, mut out, mut names) = (Picked::default(), Vec::new(), Vec::new());
    picked.pick(section.as_bytes(), false, list)?;
    picked.write(section.as_bytes(), Canonicalization::Relaxed, &mut out);
    picked.write_names(list, &mut Folder::begin(&mut names, "h="));
    Ok((text(&out), text(&names)))
}

#[test]
fn forms_of_a_field() {
    // The first two: RFC 6376 3.4.5.
    for (field, expected) in [
        ("A: X\r\n", "a:X\r\n"),
        ("B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"),
        ("Subject:\r\n", "subject:\r\n"),
        ("Subject: \t \r\n", "subject:\r\n"),
        ("Subject:\r\n \r\n a\r\n", "subject:a\r\n"),
        ("SUBJECT \t:a:  b\r\n \t \r\n c", "subject:a: b c\r\n"),
        ("Subject: a\rb \r c\r\n", "subject:a\rb \r c\r\n"),
        ("Subject: é  ü\r\n", "subject:é ü\r\n"),
    ] {
        assert_eq!(relaxed(field), expected, "{field:?}");
        let mut simple = Vec::new();
        write_field(field.as_bytes(), Canonicalization::Simple, &mut simple);
        assert_eq!(text(&simple), format!("{}\r\n", field.trim_end_matches("\r\n")));
    }
}

/// RFC 6376 5.4.2.
#[test]
fn the_last_of_several_fields_comes_first() {
    let list = FieldList::new([("from", false), ("cc", false), ("to", true), ("date", true)]).unwrap();
    let section = "To: 1\r\nFrom: a\r\nX-Cc: no\r\nCC: 2\r\nTo: 3\r\ncC : 4\r\n\r\nTo: body\r\n";
    let (hashed, names) = picked(section, &list).unwrap();
    assert_eq!(hashed, "from:a\r\ncc:4\r\ncc:2\r\nto:3\r\nto:1\r\n");
    assert_eq!(names, "h=from:cc:cc:to:to:to:date;");
}

#[test]
fn usual_fields() {
    let (hashed, names) = picked(
        "Received: x\r\nReturn-Path: <>\r\nBcc: b\r\nDKIM-Signature: d\r\nX-Job: 1\r\nFrom: a\r\nList-Unsubscribe: <https://b>\r\n",
        &FieldList::default(),
    )
    .unwrap();
    assert_eq!(hashed, "from:a\r\nlist-unsubscribe:<https://b>\r\n");
    let expected = "h=from:from:reply-to:subject:date:message-id:to:cc:content-type:\r\n\t\
        list-unsubscribe:list-unsubscribe:list-unsubscribe-post;";
    assert_eq!(names, expected);
}

#[test]
fn headers_that_are_not_signed() {
    let list = FieldList::default();
    assert_eq!(picked("Subject: a\r\n", &list), Err(HeaderFlaw::NoFrom));
    assert_eq!(picked("\r\nFrom: a\r\n", &list), Err(HeaderFlaw::NoFrom));
    assert_eq!(picked("From: a\r\nfrom : b\r\n", &list), Err(HeaderFlaw::SeveralFrom));
    for (line, flaw) in [
        ("From\r\n : a\r\n", HeaderFlaw::NoField),
        ("no field here\r\n", HeaderFlaw::NoField),
        (": b\r\n", HeaderFlaw::NoField),
        ("quite Delivered-To: x\r\n", HeaderFlaw::NoField),
        ("X\u{e9}: x\r\n", HeaderFlaw::NoField),
        ("Subject: he\0llo\r\n", HeaderFlaw::Nul),
    ] {
        for text in [
            format!("From: a\r\n{line}To: b\r\n"),
            format!("{line}From: a\r\n"),
            format!("From: a\r\n{line}"),
        ] {
            assert_eq!(picked(&text, &list), Err(flaw), "{text:?}");
        }
    }
    assert!(picked("From : a\r\nX-Odd! : b\r\n", &list).is_ok());
    let many = format!("From: a\r\n{}", "To: b\r\n".repeat(249));
    assert!(picked(&many, &list).is_ok());
    assert_eq!(picked(&format!("{many}To: b\r\n"), &list), Err(HeaderFlaw::TooManyFields));
    assert!(picked(&format!("{many}{}", "X-To: b\r\n".repeat(1000)), &list).is_ok());
}

#[test]
fn lists_of_names() {
    let new = |names: &[&str]| FieldList::new(names.iter().map(|name| (*name, true))).map(|_| ());
    assert_eq!(new(&["From", "X-Campaign"]), Ok(()));
    assert_eq!(new(&["Subject"]), Err(ListFlaw::NoFrom));
    assert_eq!(new(&["From", "Received"]), Err(ListFlaw::Changing("received".into())));
    assert_eq!(new(&["From", "To", "to"]), Err(ListFlaw::Twice("to".into())));
    for bad in ["", "a b", "a:", "a;b", "é", "x\r\nTo", &"x".repeat(77)] {
        assert!(matches!(new(&["From", bad]), Err(ListFlaw::NoName(_))), "{bad}");
    }
    let many: Vec<String> = (0..101).map(|number| format!("x-{number}")).collect();
    assert_eq!(new(&many.iter().map(String::as_str).collect::<Vec<_>>()), Err(ListFlaw::TooMany));
    assert_eq!(
        ListFlaw::NoFrom.to_string(),
        "From is missing: a signature without it is worth nothing (RFC 6376 5.4)"
    );
}
