//! Every entry has examples, and is the first to fit each of them.

use super::*;

fn shipped() -> File {
    toml::from_str(include_str!("classes.toml")).expect("it is TOML of this shape")
}

fn masked(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    mask(text.as_bytes(), &mut out);
    out
}

/// What is wrong with a file: examples that another entry takes, and bounds that are passed.
fn faults(file: &File) -> Vec<String> {
    let Some(classes) = Classes::new(file) else { return vec!["it does not compile".to_owned()] };
    let mut faults = Vec::new();
    let provider_of = |entry: &Entry| {
        let name = entry.provider.as_ref()?;
        let provider = file.provider.iter().find(|provider| provider.name == *name)?;
        classes.provider(&format!("mx{}", provider.mx.first()?))
    };
    for (place, entry) in file.class.iter().enumerate() {
        if entry.example.is_empty() {
            faults.push(format!("entry {place} has no example"));
        }
        for example in &entry.example {
            let first = classes.first(&masked(example), provider_of(entry));
            if first != Some(place) {
                faults.push(format!("entry {place}, {:?}: entry {first:?} takes {example}", entry.class));
            }
        }
    }
    faults
}

#[test]
fn each_entry_is_the_first_to_fit_its_examples() {
    let file = shipped();
    assert_eq!(faults(&file), Vec::<String>::new());
    assert!(file.class.len() > 200);
    assert!(!Classes::shipped().entries.is_empty());
    for word in CLASSES {
        assert!(file.class.iter().any(|entry| entry.class.word() == word), "{word} never occurs");
    }
}

#[test]
fn each_entry_of_notices_is_the_first_to_fit_its_examples() {
    let file: File = toml::from_str(include_str!("notices.toml")).expect("it is TOML of this shape");
    assert_eq!(faults(&file), Vec::<String>::new());
    assert!(file.provider.is_empty());
}

#[test]
fn a_fault_of_the_file_is_seen() {
    let entry = |pattern: &str, example: &str| {
        let (pattern, example) = (pattern.to_owned(), vec![example.to_owned()]);
        Entry {
            class: Class::Spam,
            pattern,
            permanent: None,
            about: None,
            provider: None,
            last_resort: false,
            example,
        }
    };
    let of = |class| faults(&File { provider: Vec::new(), class });
    assert_eq!(of(vec![entry("^550 a", "550 a"), entry("^550", "550 b")]), Vec::<String>::new());
    assert_eq!(of(vec![entry("^550", "550 b"), entry("^550 a", "550 a")]).len(), 1, "another takes it");
    assert_eq!(of(vec![entry("^550 a", "550 b")]).len(), 1, "none takes it");
    assert_eq!(of(vec![entry("(", "550 b")]).len(), 1);
    assert_eq!(of(vec![Entry { example: Vec::new(), ..entry("^550", "") }]).len(), 1);
    assert_eq!(of(vec![Entry { provider: Some("qq".to_owned()), ..entry("^5", "550 a") }]).len(), 1);
}

#[test]
fn a_name_is_that_of_the_class() {
    for (place, word) in CLASSES.iter().enumerate() {
        let read: Class = serde_json::from_value((*word).into()).expect("each is read by its name");
        assert_eq!((read as usize, read.word()), (place, *word));
    }
}

#[test]
fn what_differs_from_message_to_message_is_masked() {
    for (text, expected) in [
        ("550 5.1.1 <a.b+c@x.example>: no", "550 5.1.1 <x@x>: no"),
        ("550 5.1.1 o'b=/x@mx-1.x.example. No", "550 5.1.1 o'x@x. No"),
        ("421 4.7.0 [192.0.2.155] [TSS04] later", "421 4.7.0 [0.0.0.0] [TSS04] later"),
        ("421 4.7.0 [2001:db8::25:a] later", "421 4.7.0 [0.0.0.0] later"),
        ("421 IPv6:2001:db8:1:2:3:4:5:6: later", "421 IPv6:0.0.0.0: later"),
        ("550 de:ad:be fed: a:b", "550 de:ad:be fed: a:b"),
        ("550 id 1234567 12345 and 39si2626666ywh.98", "550 id 000000 12345 and 0000000000"),
        ("550 a12b34c56d78-5c9-x.1 ends", "550 0000000000-x.1 ends"),
        ("550 1.2.3 1.2.3.4.5 1.2.3.4444 1.2.3", "550 1.2.3 0.0.0.0.5 1.2.3.4444 1.2.3"),
        ("550 @a @ b@. c@d.", "550 x@x x@ x@. x@x."),
        ("", ""),
    ] {
        assert_eq!(String::from_utf8(masked(text)).expect("text"), expected, "{text}");
    }
    assert!(masked(&"a".repeat(9_999)).len() <= limits::CLASS_TEXT_MAX);
}

#[test]
fn receivers_are_taken_at_their_words_not_at_their_codes() {
    let classes = Classes::shipped();
    for (text, hop, class, permanent) in [
        (
            "550 Sender frequency limited. http://a.example",
            "mx3.qq.com [192.0.2.1]:25",
            Class::Throttled,
            Some(false),
        ),
        (
            "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred",
            "",
            Class::Reputation,
            None,
        ),
        ("550 5.1.1 no such user", "", Class::BadMailbox, None),
        ("550", "", Class::Other, None),
        ("", "", Class::Other, None),
    ] {
        let judged = classes.find(&masked(text), classes.provider(hop));
        assert_eq!((judged.class, judged.permanent), (class, permanent), "{text}");
    }
}
