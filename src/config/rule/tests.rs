use std::path::Path;

use super::*;
use crate::config::{Config, describe, judge};

fn errors(text: &str) -> Vec<String> {
    match Config::parse(text, Path::new("relevo.toml")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn rules(text: &str) -> Vec<RuleConfig> {
    let read = Config::parse(text, Path::new("relevo.toml"));
    read.unwrap_or_else(|errors| panic!("{text}: {errors:?}")).rules
}

#[test]
fn a_rule_as_the_manual_has_it() {
    let text = r#"
        [[listener]]
        address = "127.0.0.1:587"
        [[rule]]
        match = { account = "shop", listener = "127.0.0.1:587", sender = "@News.example.com", header = { name = "X-Job", pattern = "^promo-(.*)" } }
        set = { tenant = "shop", campaign = "$1", category = "", pool = "bulk", priority = "low", expire = "2d", send_at = "", header_add = { "X-From" = "a$$b" }, header_remove = ["X-Old"], sender = "b+$1@example.net" }
        action = ""
        [[rule]]
        match = { recipient = "*.example.org" }
        action = "reject 550 5.7.1 no mail for them"
        [[rule]]
        action = "reject 451 later"
    "#;
    let rules = rules(text);
    let [first, second, third] = &rules[..] else { panic!("{rules:?}") };
    assert_eq!((first.account.as_deref(), first.listener), (Some("shop"), Some(0)));
    assert_eq!(first.sender, Some(AddressPattern::Domain("news.example.com".into())));
    assert_eq!(first.header.as_ref().map(|header| &*header.name), Some("x-job"));
    let keys: Vec<Key> = first.set.parameters.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [Key::Tenant, Key::Campaign, Key::Pool, Key::Priority]);
    assert_eq!(first.set.header_add[0].1.text(), Some("a$b"));
    assert_eq!(
        first.set.sender.as_ref().map(|sender| sender.expand(100, |_| "x")).as_deref(),
        Some("b+x@example.net")
    );
    assert_eq!((&first.set.header_remove[..], &first.action), (&["x-old".to_owned()][..], &None));
    assert_eq!(second.action, Some(RuleAction::Reject("550 5.7.1 no mail for them\r\n".into())));
    assert_eq!(third.action, Some(RuleAction::Reject("451 4.7.1 later\r\n".into())));
    let words = describe::describe(&Config::parse(text, Path::new("x")).unwrap());
    for line in [
        "  mail of account shop, that comes to 127.0.0.1:587, from @news.example.com, whose x-job matches ^promo-(.*): \
         tenant shop, campaign $1, pool bulk, priority low, given up after 2d, sender <b+$1@example.net>, X-From: a$$b added, x-old removed\n",
        "  mail to *.example.org: refused with 550 5.7.1 no mail for them\n",
        "  every message: refused with 451 4.7.1 later\n",
    ] {
        assert!(words.contains(line), "{words}\n{line}");
    }
}

#[test]
fn clients_are_networks() {
    let text = "[[rule]]\nmatch = { clients = [\"10.0.0.0/8\", \"192.0.2.1\"] }\nset = { pool = \"bulk\" }\n";
    let words = describe::describe(&Config::parse(text, Path::new("x")).unwrap());
    assert!(words.contains("  mail of clients in 10.0.0.0/8 or 192.0.2.1/32: pool bulk\n"), "{words}");
    let wrong = errors(&text.replace("192.0.2.1", "192.0.2"));
    assert!(wrong[0].starts_with("relevo.toml:2: rule[0].match.clients"), "{wrong:?}");
    let of = |clients: &str, action: &str| {
        format!("[[rule]]\nmatch = {{ clients = [{clients}] }}\naction = \"{action}\"\n")
    };
    let doubts = |first: &str, second: &str| {
        order::doubts(&rules(&(of(first, "reject 550 5.7.1 no") + &of(second, "discard")))).len()
    };
    assert_eq!(doubts("\"10.0.0.0/8\"", "\"10.2.0.0/16\""), 1, "the second is never reached");
    assert_eq!(doubts("\"10.2.0.0/16\"", "\"10.0.0.0/8\""), 0);
    assert_eq!(doubts("\"10.2.0.0/16\"", "\"10.2.0.0/16\", \"::1\""), 0);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let rule = |text: &str| format!("[[rule]]\n{text}\naction = \"discard\"\n");
    for (text, words) in [
        (
            rule("match = { listener = \"1.2.3.4:25\" }"),
            "no [[listener]] has the address \"1.2.3.4:25\"; write listener = \"127.0.0.1:2525\"",
        ),
        (rule("match = { sender = \"example.org\" }"), "write sender = \"@example.org\" ("),
        (
            rule("match = { recipient = \"a b@c\" }"),
            "rule[0].match.recipient: \"a b@c\" cannot be understood",
        ),
        (
            rule("match = { header = { name = \"X-Job\", pattern = \"a(b\" } }"),
            "\"a(b\" is no pattern: unclosed group; write pattern = \"a\\\\(b\"",
        ),
        (
            rule("match = { header = { name = \"X-Job\", pattern = \"(a{1000}){1000}\" } }"),
            "takes more than 65536 bytes",
        ),
        (
            rule(&format!("match = {{ header = {{ name = \"X\", pattern = \"{}\" }} }}", "a".repeat(5000))),
            "a pattern of 5000 bytes, and at most 4096 may be",
        ),
        (
            rule("match = { header = { name = \"X-Job\" } }"),
            "rule[0].match.header.pattern: this key is missing",
        ),
        (rule("match = { header = { name = \"X Job:\", pattern = \"a\" } }"), "write name = \"XJob\""),
        (rule("set = { campaign = \"$1\" }"), "$1 stands for what match.header finds, and there is none"),
        (
            rule("match = { header = { name = \"X\", pattern = \"(a)\" } }\nset = { pool = \"$2\" }"),
            "there is no group 2",
        ),
        (
            rule("set = { priority = \"urgent\" }"),
            "\"urgent\" must be high, normal or low; write priority = \"low\"",
        ),
        (rule("set = { expire = \"2\" }"), "\"2\" has no unit"),
        (rule("set = { sender = \"nobody\\\\@\" }"), "is no address"),
        (rule("set = { header_add = { \"X:\" = \"a\" } }"), "\"X:\" is no field of printable ASCII"),
        (rule("set = { header_remove = [\"Received\"] }"), "trace fields stay as they are"),
        (rule("set = { tennant = \"a\" }"), "unknown key; did you mean tenant = \"a\"?"),
        (rule("match = { recipient = \"*\" }\nset = { expire = \"1d\" }"), "expire is for the whole message"),
        ("[[rule]]\n".to_owned(), "rule[0].action: this rule does nothing"),
        (
            "[[rule]]\naction = \"capture\"\n".to_owned(),
            "a rule cannot capture, a route can; write action = \"reject 550 5.7.1 not accepted here\", or \"discard\"",
        ),
        ("[[rule]]\naction = \"reject\"\n".to_owned(), "must name a reply code from 400 to 559"),
        ("[[rule]]\naction = \"reject 250 2.0.0 fine\"\n".to_owned(), "must name a reply code"),
        ("[[rule]]\naction = \"reject 421 go\"\n".to_owned(), "has the code with which sessions end"),
        ("[[rule]]\naction = \"reject 550 4.7.1 no\"\n".to_owned(), "of another class"),
        ("[[rule]]\naction = \"reject 550 5.7.1 \"\n".to_owned(), "has no words that say why"),
        ("[[rule]]\naction = \"reject 550 5.7.1 a\\nb\"\n".to_owned(), "one line of printable ASCII"),
        (
            rule("match = { recipient = \"*\", header = { name = \"X\", pattern = \"a\" } }")
                .replace("discard", "reject 550 no"),
            "one reply is for all recipients",
        ),
    ] {
        let found = errors(&text);
        assert!(found.len() == 1 && found[0].contains(words), "{text}\n{found:#?}\n{words}");
        assert!(!found[0].starts_with("relevo.toml:0"), "{found:?}");
    }
    let many = "[[rule]]\naction = \"discard\"\n".repeat(limits::RULES_MAX + 1);
    assert!(errors(&many)[0].contains("there are more than 1000 rules"));
}

/// Trace fields, instructions, and fields of which a message has one.
#[test]
fn fields_that_only_others_write_are_not_added() {
    for (name, words) in [
        ("Received", "is a trace field"),
        ("return-PATH", "is a trace field"),
        ("X-Relevo-Tenant", "set the parameter itself"),
        ("x-relevo-whatever", "set the parameter itself"),
        ("Bcc", "would name to all"),
        ("Resent-Bcc", "would name to all"),
        ("From", "may be in a message once"),
        ("Sender", "may be in a message once"),
        ("Reply-To", "may be in a message once"),
        ("To", "may be in a message once"),
        ("Cc", "may be in a message once"),
        ("Message-ID", "may be in a message once"),
        ("In-Reply-To", "may be in a message once"),
        ("References", "may be in a message once"),
        ("SUBJECT", "may be in a message once"),
        ("Date", "may be in a message once"),
    ] {
        let found = errors(&format!("[[rule]]\nset = {{ header_add = {{ \"{name}\" = \"a\" }} }}\n"));
        let named = format!("header_add: \"{name}\" ");
        assert!(
            found.len() == 1 && found[0].contains(&named) && found[0].contains(words),
            "{words}: {found:#?}"
        );
        assert!(found[0].contains("write header_add = { \"X-Sent-By\" = \"relevo\" }"), "{found:#?}");
    }
    for name in ["Resent-From", "List-Id", "Comments", "Keywords", "X-Relevo"] {
        assert_eq!(
            errors(&format!("[[rule]]\nset.header_add = {{ \"{name}\" = \"a\" }}\n")),
            [""; 0],
            "{name}"
        );
    }
}

#[test]
fn a_time_to_be_sent_at_is_one_of_the_whole_message() {
    let found = |rule: &str| errors(&format!("[[rule]]\n{rule}\n"))[0].clone();
    let words = "\"now\" must be a time as in 2026-12-01T08:00:00Z, or a wait as in +2h (at most 366d); write send_at = \"+2h\"";
    assert!(found("set = { send_at = \"now\" }").contains(words));
    let of_some = found("match = { recipient = \"*\" }\nset = { send_at = \"+1d\" }");
    assert!(of_some.contains("send_at is for the whole message"), "{of_some}");
}

#[test]
fn addresses() {
    let pattern = |text: &str| AddressPattern::parse(text).unwrap_or_else(|words| panic!("{text}: {words}"));
    for (text, yes, no) in [
        (
            "@example.org",
            &["a@example.org", "\"x@y\"@EXAMPLE.org"][..],
            &["a@b.example.org", "", "a@xexample.org"][..],
        ),
        ("*@example.org", &["a@example.org"], &["a@b.example.org"]),
        (
            "*.example.org",
            &["a@b.example.org", "a@c.b.Example.org"],
            &["a@example.org", "a@.example.org", "a@xexample.org", ""],
        ),
        ("Ada@example.org", &["ada@example.org", "ADA@Example.org"], &["xada@example.org", "ada"]),
        ("@[192.0.2.1]", &["a@[192.0.2.1]"], &["a@192.0.2.1"]),
        ("<>", &[""], &["a@b"]),
        ("*", &["", "a@b", "postmaster"], &[]),
    ] {
        assert!(yes.iter().all(|path| pattern(text).matches(path.as_bytes())), "{text}");
        assert!(no.iter().all(|path| !pattern(text).matches(path.as_bytes())), "{text}");
    }
    for wrong in ["", "example.org", "@", "*.", "a@", "a b@c", "<a@b>", "@a@b"] {
        assert!(AddressPattern::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn templates() {
    for (text, shown) in [
        ("", ""),
        ("a", "a"),
        ("$1", "<1>"),
        ("a$$1", "a$1"),
        ("$1x$22$3", "<1>x<22><3>"),
        ("$", "$"),
        ("$x", "$x"),
        ("$123", "<12>3"),
    ] {
        let found = |group| {
            ["<0>", "<1>", "<2>", "<3>"].get(group).copied().unwrap_or(if group == 12 {
                "<12>"
            } else {
                "<22>"
            })
        };
        assert_eq!(Template::parse(text).expand(100, found), shown, "{text}");
    }
    assert_eq!(Template::parse("a$$").text(), Some("a$"));
    assert_eq!(Template::parse("$1").text(), None);
}

/// Rules by what they match, and what is doubtful of the second.
#[test]
fn order() {
    use order::Doubt::{NeverReached, Overtakes, RefusesAll};
    let doubt = |first: &str, second: &str| {
        let rules = rules(&format!("[[rule]]\n{first}\n[[rule]]\n{second}\n"));
        let found = order::doubts(&rules);
        assert!(found.iter().all(|(place, other, _)| (*place, *other) == (1, 0)));
        found.first().map(|(.., doubt)| *doubt)
    };
    let (discard, reject) = ("action = \"discard\"", "action = \"reject 550 5.7.1 no\"");
    let set = "set = { tenant = \"a\" }";
    let job = "header = { name = \"X-Job\", pattern = \"a\" }";
    let with = |what: &str, action: &str| format!("match = {{ {what} }}\n{action}");
    for (first, second, expected) in [
        (discard.to_owned(), set.to_owned(), Some(NeverReached)),
        (set.to_owned(), discard.to_owned(), None),
        (
            with("sender = \"*.example.org\"", reject),
            with("sender = \"@a.example.org\", account = \"b\"", discard),
            Some(NeverReached),
        ),
        (with("sender = \"*.example.org\"", reject), with("sender = \"@example.org\"", discard), None),
        (
            with("sender = \"@example.org\"", reject),
            with("sender = \"a@example.org\"", set),
            Some(NeverReached),
        ),
        (with("account = \"a\"", reject), with("account = \"b\"", set), None),
        (with("recipient = \"*\"", discard), with("recipient = \"@b\"", set), Some(NeverReached)),
        (with("recipient = \"*\"", discard), set.to_owned(), None),
        (with(job, discard), with(&format!("{job}, sender = \"@b\""), reject), Some(NeverReached)),
        (with(job, discard), with("sender = \"@b\"", reject), Some(Overtakes)),
        (with(&format!("{job}, sender = \"@a\""), discard), with("sender = \"@b\"", reject), None),
        (with("recipient = \"@a\"", discard), with("sender = \"@b\"", reject), Some(Overtakes)),
        (with("recipient = \"@a\"", reject), with("sender = \"@b\"", reject), None),
        (with("recipient = \"@a\"", discard), with(job, reject), Some(RefusesAll)),
        (with("recipient = \"@a\"", set), with(job, reject), None),
        (
            with("recipient = \"@a\", sender = \"@a\"", discard),
            with(&format!("{job}, sender = \"@b\""), reject),
            None,
        ),
    ] {
        assert_eq!(doubt(&first, &second), expected, "{first}\n{second}");
    }
    let text = "[node]\nhostname = \"relay.example.net\"\n[[rule]]\naction = \"discard\"\n[[rule]]\nset = { pool = \"a\" }\n";
    let warnings = judge::judge(&Config::parse(text, Path::new("relevo.toml")).unwrap(), 2);
    let words: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let expected = "relevo.toml:5: rule[1].action: this rule is never reached: rule[0] matches all of it, and ends; \
                    move it in front of rule[0], or remove it";
    assert!(words.iter().any(|one| one == expected), "{words:#?}");
}

#[test]
fn a_rule_about_what_mail_lacks() {
    let text = "[[listener]]\naddress = \"127.0.0.1:587\"\n[[rule]]\nmatch = { lacks = [\"one_click\", \"form\"] }\naction = \"reject 550 5.7.1 no\"\n";
    assert_eq!(rules(text)[0].lacks, [Duty::OneClick, Duty::Form]);
    let words = describe::describe(&Config::parse(text, Path::new("x")).unwrap());
    assert!(words.contains("  mail that lacks one_click or form: refused with 550 5.7.1 no\n"), "{words}");
    let [wrong] = &errors(&text.replace("one_click", "unsubscribe"))[..] else { panic!() };
    assert!(wrong.contains("unsubscribe") && wrong.contains("one_click"), "{wrong}");
    let [both] = &errors(&text.replace("{ lacks", "{ recipient = \"@a.example\", lacks"))[..] else {
        panic!()
    };
    assert!(both.contains("one reply is for all recipients"), "{both}");
}
