use std::path::Path;

use super::*;
use crate::config::Config;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

fn rules(text: &str) -> Rules {
    let config = Config::parse(text, Path::new("test")).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    Rules::new(&config.rules)
}

fn facts<'a>(account: Option<&'a str>, sender: &'a str, recipient: Option<&'a str>) -> Facts<'a> {
    let recipient = recipient.map(str::as_bytes);
    Facts {
        account,
        listener: Some(0),
        client: Some(CLIENT),
        sender: sender.as_bytes(),
        recipient,
        fields: None,
    }
}

fn judgement<'r>(rules: &'r Rules, facts: &Facts<'_>) -> Judgement<'r> {
    let mut judgement = Judgement::default();
    while rules.judge(facts, &mut judgement) {}
    judgement
}

fn judged_section(header: &str) -> Judged<'_> {
    let is_signed = &|author: &Author| author.domain() == "signed.example";
    Judged { section: header.as_bytes(), mailbox_line: false, sender: b"news@shop.example", is_signed }
}

/// Parameters by name, of the message and of each recipient, and what becomes of them.
fn judged(rules: &Rules, header: &str, facts: &Facts<'_>, recipients: &[&str]) -> Vec<String> {
    let fields = rules.fields(judged_section(header));
    let facts = Facts { fields: Some(&fields), ..*facts };
    let judgement = judgement(rules, &facts);
    let mut set = Settings::default();
    set.parameters.set(Key::Campaign, "instructed").unwrap();
    let instructed = set.parameters.clone();
    let action = judgement.message(&mut set);
    let mut found = vec![format!("{:?} {action:?}", set.parameters.named())];
    found.extend(recipients.iter().map(|recipient| {
        let (action, own) = judgement.recipient(recipient.as_bytes(), instructed.borrowed());
        format!("{recipient} {:?} {action:?}", own.named())
    }));
    found
}

#[test]
fn a_client_is_known_by_its_network() {
    let rules = rules(
        "[[rule]]\nmatch = { clients = [\"10.1.0.0/16\", \"2001:db8::/32\"], sender = \"@bad.example\" }\naction = \"reject 550 5.7.1 no\"\n",
    );
    let refuses = |client: Option<&str>| {
        let client = client.map(|client| client.parse().expect("an address"));
        rules.refuses(&Facts { client, ..facts(None, "a@bad.example", None) }).is_some()
    };
    assert!(refuses(Some("10.1.2.3")) && refuses(Some("2001:db8::9")) && refuses(Some("::ffff:10.1.0.1")));
    assert!(!refuses(Some("10.2.2.3")) && !refuses(Some("2001:db9::9")) && !refuses(None));
}

#[test]
fn each_stage_refuses_what_it_knows() {
    let rules = rules(
        "[[rule]]\nmatch = { header = { name = \"X-Job\", pattern = \"bad\" } }\naction = \"reject 550 5.7.1 header\"\n\
         [[rule]]\nmatch = { account = \"good\" }\naction = \"discard\"\n\
         [[rule]]\nmatch = { sender = \"@bad.example\" }\naction = \"reject 550 5.7.1 sender\"\n\
         [[rule]]\nmatch = { recipient = \"@bad.example\", sender = \"@odd.example\" }\naction = \"reject 450 4.7.1 recipient\"\n",
    );
    assert_eq!(rules.stages(), Stages { sender: true, recipient: true, header: true });
    let refuses = |account, sender, recipient| rules.refuses(&facts(account, sender, recipient));
    assert_eq!(refuses(None, "a@bad.example", None), Some("550 5.7.1 sender\r\n"));
    assert_eq!(refuses(Some("good"), "a@bad.example", None), None, "an earlier rule takes it");
    assert_eq!(refuses(None, "a@odd.example", None), None);
    assert_eq!(refuses(None, "a@odd.example", Some("x@bad.example")), Some("450 4.7.1 recipient\r\n"));
    assert_eq!(refuses(None, "a@even.example", Some("x@bad.example")), None);
    let header = |text| judged(&rules, text, &facts(Some("good"), "a@b", None), &[]);
    assert_eq!(
        header("X-Job: bad one\r\n\r\n"),
        ["[(\"campaign\", \"instructed\")] Reject(\"550 5.7.1 header\\r\\n\")"]
    );
    assert_eq!(header("X-Job: fine\r\n\r\n"), ["[(\"campaign\", \"instructed\")] End(Discarded)"]);
    assert_eq!(header("Subject: bad\r\n\r\nX-Job: bad"), ["[(\"campaign\", \"instructed\")] End(Discarded)"]);
}

#[test]
fn later_rules_set_over_earlier_ones_and_recipients_have_their_own() {
    let rules = rules(
        "[[rule]]\nmatch = { header = { name = \"X-Job\", pattern = \"^promo-(\\\\w*)\" } }\nset = { campaign = \"$1\", pool = \"first\" }\n\
         [[rule]]\nmatch = { recipient = \"@one.example\" }\nset = { pool = \"one\", tenant = \"t\" }\n\
         [[rule]]\nmatch = { sender = \"@b\" }\nset = { pool = \"last\" }\n\
         [[rule]]\nmatch = { recipient = \"@two.example\" }\nset = { pool = \"two\" }\naction = \"discard\"\n\
         [[rule]]\nset = { pool = \"never for two\" }\n",
    );
    assert_eq!(rules.stages(), Stages { sender: false, recipient: false, header: true });
    let found = judged(
        &rules,
        "x-job : promo-spring\r\n\r\n",
        &facts(None, "a@b", None),
        &["x@one.example", "y@two.example", "z@three.example"],
    );
    assert_eq!(
        found,
        [
            "[(\"campaign\", \"spring\"), (\"pool\", \"never for two\")] Proceed",
            "x@one.example [(\"tenant\", \"t\"), (\"campaign\", \"spring\"), (\"pool\", \"never for two\")] Proceed",
            "y@two.example [(\"campaign\", \"spring\"), (\"pool\", \"two\")] End(Discarded)",
            "z@three.example [(\"campaign\", \"spring\"), (\"pool\", \"never for two\")] Proceed",
        ]
    );
    // What cannot be a value is not set: nothing was found between the slashes.
    let found = judged(&rules, "X-Job: promo-\r\n\r\n", &facts(None, "a@c", None), &[]);
    assert_eq!(found, ["[(\"campaign\", \"instructed\"), (\"pool\", \"never for two\")] Proceed"]);
}

#[test]
fn the_rest_of_a_set() {
    let rules = rules(
        "[[rule]]\nmatch = { header = { name = \"X-Job\", pattern = \"(.*)\" } }\n\
         set = { expire = \"1d\", sender = \"$1@example.net\", header_add = { \"X-Seen\" = \"as $1\" }, header_remove = [\"X-Job\", \"X-Old\"] }\n\
         [[rule]]\nset = { expire = \"2d\" }\n",
    );
    let settings = |header: &str| {
        let fields = rules.fields(judged_section(header));
        let facts = Facts { fields: Some(&fields), ..facts(None, "a@b", None) };
        let mut set = Settings::default();
        assert_eq!(judgement(&rules, &facts).message(&mut set), Action::Proceed);
        (
            set.expire,
            set.sender,
            String::from_utf8(set.add).unwrap(),
            set.remove.into_iter().collect::<Vec<_>>(),
        )
    };
    let two_days = Some(Duration::from_secs(2 * 86_400));
    assert_eq!(
        settings("X-Job: a\r\n\r\n"),
        (two_days, Some(b"a@example.net".to_vec()), "X-Seen: as a\r\n".to_owned(), vec!["x-job", "x-old"])
    );
    let (_, sender, add, _) = settings("X-Job: a\x01> b\r\n\r\n");
    assert_eq!((sender, &*add), (None, "X-Seen: as a > b\r\n"), "no address comes of it, and no control");
    assert_eq!(settings("\r\n"), (two_days, None, String::new(), Vec::new()));
}

#[test]
fn a_long_value_is_matched_as_far_as_it_may_be() {
    let rules =
        rules("[[rule]]\nmatch = { header = { name = \"X\", pattern = \"end$\" } }\naction = \"discard\"\n");
    let value = "x".repeat(limits::FIELD_VALUE_MAX);
    for (value, action) in [
        ("the end", "End(Discarded)"),
        (&format!("{value}end"), "Proceed"),
        (&format!("{}end", &value[3..]), "End(Discarded)"),
    ] {
        let found = judged(&rules, &format!("X: {value}\r\n\r\n"), &facts(None, "", None), &[]);
        assert!(found[0].ends_with(action), "{found:?}");
    }
}

/// A match with a long value and a pattern that is hard on it takes milliseconds: others have a turn in between.
#[test]
fn a_thousand_rules_are_looked_at_one_at_a_time() {
    let last = "[[rule]]\nmatch = { sender = \"@b\" }\nset = { pool = \"last\" }\n";
    let rules = rules(&("[[rule]]\nset = { tenant = \"t\" }\n".repeat(limits::RULES_MAX - 1) + last));
    let facts = facts(None, "a@b", None);
    let (mut judgement, mut calls) = (Judgement::default(), 1);
    while rules.judge(&facts, &mut judgement) {
        calls += 1;
    }
    assert_eq!(calls, limits::RULES_MAX);
    let mut set = Settings::default();
    judgement.message(&mut set);
    assert_eq!(set.parameters.named(), [("tenant", "t"), ("pool", "last")]);
}

#[test]
fn nothing_is_looked_at_behind_a_rule_that_ends() {
    let rules = rules(
        "[[rule]]\nmatch = { recipient = \"@x\" }\naction = \"discard\"\n\
         [[rule]]\naction = \"discard\"\n[[rule]]\nset = { pool = \"never\" }\n",
    );
    let found = judgement(&rules, &facts(None, "a@b", None));
    assert_eq!((found.looked_at, found.hits.len()), (2, 2));
}

/// RFC 5322 2.1.1: a line has at most 998 octets, whatever its name. And all that is added has its bound.
#[test]
fn added_lines_are_no_longer_than_lines_may_be() {
    let name = "N".repeat(limits::PARAMETER_MAX);
    let field = format!("header_add = {{ \"{name}\" = \"$1$1\" }}");
    let rule = format!(
        "[[rule]]\nmatch = {{ header = {{ name = \"X\", pattern = \"(.*)\" }} }}\nset = {{ {field} }}\n"
    );
    let rules = rules(&rule.repeat(20));
    let header = format!("X: {}\r\n\r\n", "v".repeat(limits::FIELD_VALUE_MAX));
    let fields = rules.fields(judged_section(&header));
    let facts = Facts { fields: Some(&fields), ..facts(None, "a@b", None) };
    let mut set = Settings::default();
    judgement(&rules, &facts).message(&mut set);
    let lines: Vec<&[u8]> = set.add.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.iter().all(|line| line.len() == limits::ADDED_LINE_MAX + 2), "{:?}", lines[0].len());
    assert_eq!(lines.len(), limits::HEADER_ADDED_MAX / (limits::ADDED_LINE_MAX + 2));
}

/// Mail that lacks a duty is refused or flagged, and its sender is told what it lacks.
#[test]
fn duties_of_bulk_mail_are_asked_of_the_header() {
    let rules = rules(
        "[[rule]]\nmatch = { account = \"shop\", lacks = [\"one_click\", \"alignment\"] }\naction = \"reject 550 5.7.1 no bulk mail\"\n\
         [[rule]]\nmatch = { lacks = [\"form\"] }\nset = { category = \"odd\" }\n",
    );
    assert_eq!(rules.stages(), Stages { sender: false, recipient: false, header: true });
    assert_eq!(
        rules.refuses(&facts(Some("shop"), "a@b.example", None)),
        None,
        "nothing is known of the header"
    );
    let good = "From: a@signed.example\r\nList-Unsubscribe: <https://a.example/>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    let told = |account, header: &str| {
        let fields = rules.fields(judged_section(header));
        let facts = Facts { fields: Some(&fields), ..facts(account, "news@shop.example", None) };
        let judgement = judgement(&rules, &facts);
        let mut set = Settings::default();
        let action = format!("{:?}", judgement.message(&mut set));
        (action, set.parameters.get(Key::Category).map(str::to_owned), judgement.lacks())
    };
    let proceed = "Proceed".to_owned();
    assert_eq!(told(Some("shop"), good), (proceed.clone(), None, None));
    let refused = "Reject(\"550 5.7.1 no bulk mail\\r\\n\")".to_owned();
    let lacks = Some("has no List-Unsubscribe-Post field (RFC 8058)");
    assert_eq!(told(Some("shop"), &good.replace("-Post", "-Put")), (refused.clone(), None, lacks));
    let lacks = Some("has a From domain that is neither its sender's nor signed for here (RFC 9989)");
    assert_eq!(told(Some("shop"), &good.replace("signed", "other")), (refused, None, lacks));
    let lacks = Some("has no Date field (RFC 5322 section 3.6)");
    assert_eq!(told(None, &good.replace("signed", "other")), (proceed, Some("odd".into()), lacks));
}
