use serde_json::Value;

use super::report::{Head, json};
use super::*;
use crate::time::UnixMillis;

const MOST: usize = 100;

fn sts() -> AppliedPolicy {
    let text = b"version: STSv1\nmode: testing\nmx: *.mail.a.example\nmax_age: 86400\n";
    AppliedPolicy::of_sts(&Policy::parse(text).expect("a policy"))
}

fn failure(result: ResultType, host: &str) -> Failure {
    Failure {
        sending: Some("2001:db8::1".parse().unwrap()),
        host: host.to_owned(),
        helo: "greets.example".to_owned(),
        receiving: Some("203.0.113.56".parse().unwrap()),
        ..Failure::new(result, "the certificate has expired")
    }
}

#[test]
fn sessions_are_counted_by_day_domain_and_policy() {
    let mut tally = Tally::default();
    assert!(tally.is_empty());
    let expired = || Some(failure(ResultType::CertificateExpired, "mx.a.example"));
    for failure in [None, None, expired(), expired(), Some(failure(ResultType::StarttlsNotSupported, "b"))] {
        tally.count((7, "a.example"), &sts(), failure, MOST);
    }
    tally.count((7, "a.example"), &AppliedPolicy::none(), None, MOST);
    tally.count((8, "a.example"), &sts(), None, MOST);
    let day = tally.day(7).unwrap();
    let [one, other] = &day["a.example"][..] else { panic!("{day:?}") };
    assert_eq!((one.successful, one.failed, one.failures.len()), (2, 3, 2));
    assert_eq!((other.successful, other.failed, other.policy.kind), (1, 0, PolicyType::NoPolicyFound));
    // Those of several shards are the same as those of one.
    let mut both = Tally::default();
    both.add(&tally, MOST);
    assert_eq!(both, tally);
    both.add(&tally, MOST);
    assert_eq!(both.day(7).unwrap()["a.example"][0].failures.values().copied().collect::<Vec<_>>(), [2, 4]);
    tally.forget(7);
    assert!(tally.day(7).is_none() && tally.day(8).is_some() && tally.entries == 1);
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut tally = Tally::default();
    for number in 0..10 {
        tally.count((1, &format!("d{number}.example")), &AppliedPolicy::none(), None, 4);
    }
    assert_eq!((tally.day(1).unwrap().len(), tally.left_out), (4, 6));
    tally.count((1, "d0.example"), &AppliedPolicy::none(), None, 4);
    assert_eq!(tally.left_out, 6, "what is known has room");
    tally.forget(1);
    tally.count((2, "d9.example"), &AppliedPolicy::none(), None, 4);
    assert_eq!(tally.left_out, 6, "a day that is over makes some");
    let mut one = Tally::default();
    for number in 0..limits::TLS_RPT_POLICIES_A_DOMAIN + 3 {
        let policy = AppliedPolicy { lines: vec![number.to_string()], ..sts() };
        one.count((1, "a.example"), &policy, None, MOST);
    }
    assert_eq!(
        (one.day(1).unwrap()["a.example"].len(), one.left_out),
        (limits::TLS_RPT_POLICIES_A_DOMAIN, 3)
    );
    let mut kinds = Tally::default();
    let most = limits::TLS_RPT_FAILURES_A_POLICY;
    for number in 0..most + 5 {
        let failure = Some(failure(ResultType::ValidationFailure, &number.to_string()));
        kinds.count((1, "a.example"), &sts(), failure, MOST);
    }
    let count = &kinds.day(1).unwrap()["a.example"][0];
    assert_eq!((count.failed, count.failures.len()), (most as u64 + 5, most), "all are in the sum");
    let mut again = Tally::default();
    again.add(&kinds, MOST);
    assert_eq!(again, kinds);
    // Nor is it without a bound what strangers call themselves, or have in a policy.
    let mut long = Tally::default();
    for number in 0..1_000 {
        let policy = AppliedPolicy { lines: vec!["x".repeat(1_000)], ..sts() };
        let failure = Failure { helo: number.to_string(), ..failure(ResultType::ValidationFailure, "a") };
        long.count((1, &format!("d{}.example", number % 200)), &policy, Some(failure), MOST);
    }
    assert!(long.held < (MOST + 2) * limits::TLS_RPT_ENTRY_BYTES && long.left_out > 0, "{}", long.held);
    let held = long.days().flat_map(|(_, day)| day.values().flatten()).map(PolicyCount::held);
    assert_eq!(held.sum::<usize>(), long.held);
    long.forget(1);
    assert_eq!((long.held, long.entries), (0, 0));
    assert_eq!(plain("a\r\n\u{e4}b"), "a???b");
    assert_eq!(plain(&"x".repeat(9_999)).len(), limits::TLS_RPT_REASON_MAX);
}

#[test]
fn a_policy_is_told_as_it_was_published() {
    let policy = sts();
    assert_eq!(policy.lines, ["version: STSv1", "mode: testing", "mx: *.mail.a.example", "max_age: 86400"]);
    assert_eq!(policy.hosts, ["*.mail.a.example"]);
    let record = |data: &[u8]| TlsAssociation { usage: 3, selector: 0, matching: 1, data: data.into() };
    let one = AppliedPolicy::of_records("mx.a.example", &[record(&[0x1f, 0x85]), record(&[0, 1])]);
    let other = AppliedPolicy::of_records("mx.a.example", &[record(&[0, 1]), record(&[0x1f, 0x85])]);
    assert_eq!(
        (one.lines.clone(), one.hosts.clone()),
        (vec!["3 0 1 0001".to_owned(), "3 0 1 1f85".to_owned()], vec!["mx.a.example".to_owned()])
    );
    assert_eq!(one, other, "in whatever order they came");
}

/// RFC 8460 section 4.4 and appendix B: each field by its name and its kind.
fn check(report: &Value) {
    let object = |value: &Value, required: &[&str], others: &[&str]| {
        let fields = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
        required.iter().for_each(|name| assert!(fields.contains_key(*name), "{name} is not in {value}"));
        for name in fields.keys() {
            assert!(required.contains(&&**name) || others.contains(&&**name), "{name} of {value}");
        }
    };
    let texts = |value: &Value| value.as_array().unwrap().iter().all(|text| text.is_string());
    let top = ["organization-name", "date-range", "contact-info", "report-id", "policies"];
    object(report, &top, &[]);
    assert!(["organization-name", "contact-info", "report-id"].iter().all(|name| report[name].is_string()));
    object(&report["date-range"], &["start-datetime", "end-datetime"], &[]);
    for name in ["start-datetime", "end-datetime"] {
        let text = report["date-range"][name].as_str().unwrap();
        assert!(crate::time::Civil::time_named(text).is_some() && text.ends_with('Z'), "{text}");
    }
    for one in report["policies"].as_array().unwrap() {
        object(one, &["policy", "summary"], &["failure-details"]);
        object(&one["policy"], &["policy-type", "policy-domain"], &["policy-string", "mx-host"]);
        let kind = one["policy"]["policy-type"].as_str().unwrap();
        assert!(["tlsa", "sts", "no-policy-found"].contains(&kind), "{kind}");
        for name in ["policy-string", "mx-host"] {
            assert!(one["policy"].get(name).is_none_or(texts), "{name}");
        }
        let sums = ["total-successful-session-count", "total-failure-session-count"];
        object(&one["summary"], &sums, &[]);
        assert!(sums.iter().all(|name| one["summary"][name].is_u64()));
        for details in one.get("failure-details").and_then(Value::as_array).into_iter().flatten() {
            let others = [
                "sending-mta-ip",
                "receiving-mx-hostname",
                "receiving-mx-helo",
                "receiving-ip",
                "additional-information",
                "failure-reason-code",
            ];
            object(details, &["result-type", "failed-session-count"], &others);
            assert!(others.iter().all(|name| details.get(name).is_none_or(Value::is_string)));
            assert!(details["failed-session-count"].is_u64());
            for name in ["sending-mta-ip", "receiving-ip"] {
                let parses = |text: &Value| text.as_str().unwrap().parse::<IpAddr>().is_ok();
                assert!(details.get(name).is_none_or(parses), "{name}");
            }
        }
    }
}

#[test]
fn a_report_is_as_the_rfc_has_it() {
    let mut tally = Tally::default();
    let of = (UnixMillis(1_459_468_800_000).day(), "company-y.example");
    (0..5).for_each(|_| tally.count(of, &sts(), None, MOST));
    (0..3).for_each(|_| {
        tally.count(of, &sts(), Some(failure(ResultType::CertificateExpired, "mx1.company-y.example")), MOST)
    });
    let bare = Failure::new(ResultType::StsWebpkiInvalid, "");
    tally.count(of, &AppliedPolicy::unknown_sts(), Some(bare), MOST);
    tally.count(of, &AppliedPolicy::none(), None, MOST);
    let head = Head {
        submitter: "company-x.example",
        contact: "sts-reporting@company-x.example",
        id: "5065427c@company-x.example",
        domain: of.1,
        day: of.0,
    };
    let text = json(&head, &tally.day(of.0).unwrap()[of.1]);
    let report: Value = serde_json::from_str(&text).unwrap();
    check(&report);
    assert_eq!(report["date-range"]["start-datetime"], "2016-04-01T00:00:00Z");
    assert_eq!(report["date-range"]["end-datetime"], "2016-04-01T23:59:59Z");
    let first = &report["policies"][0];
    assert_eq!(first["policy"]["policy-type"], "sts");
    assert_eq!(first["policy"]["policy-string"][2], "mx: *.mail.a.example");
    assert_eq!(first["policy"]["mx-host"][0], "*.mail.a.example");
    assert_eq!(first["policy"]["policy-domain"], "company-y.example");
    assert_eq!(first["summary"]["total-successful-session-count"], 5);
    assert_eq!(first["summary"]["total-failure-session-count"], 3);
    let details = &first["failure-details"][0];
    for (name, wanted) in [
        ("result-type", "certificate-expired"),
        ("sending-mta-ip", "2001:db8::1"),
        ("receiving-mx-hostname", "mx1.company-y.example"),
        ("receiving-mx-helo", "greets.example"),
        ("receiving-ip", "203.0.113.56"),
        ("failure-reason-code", "the certificate has expired"),
    ] {
        assert_eq!(details[name], wanted, "{name}");
    }
    assert_eq!(details["failed-session-count"], 3);
    assert_eq!(report["policies"][1]["failure-details"][0]["result-type"], "sts-webpki-invalid");
    assert!(report["policies"][2].get("failure-details").is_none());
    let wanted = "company-x.example!company-y.example!1459468800!1459555199!5065427c.json.gz";
    assert_eq!(head.file_name(), wanted);
}

#[test]
fn failures_are_called_what_the_rfc_calls_them() {
    for (result, word) in [
        (ResultType::StarttlsNotSupported, "starttls-not-supported"),
        (ResultType::CertificateHostMismatch, "certificate-host-mismatch"),
        (ResultType::CertificateExpired, "certificate-expired"),
        (ResultType::CertificateNotTrusted, "certificate-not-trusted"),
        (ResultType::ValidationFailure, "validation-failure"),
        (ResultType::TlsaInvalid, "tlsa-invalid"),
        (ResultType::DnssecInvalid, "dnssec-invalid"),
        (ResultType::DaneRequired, "dane-required"),
        (ResultType::StsPolicyFetchError, "sts-policy-fetch-error"),
        (ResultType::StsPolicyInvalid, "sts-policy-invalid"),
        (ResultType::StsWebpkiInvalid, "sts-webpki-invalid"),
    ] {
        assert_eq!(serde_json::to_value(result).unwrap(), word);
    }
}
