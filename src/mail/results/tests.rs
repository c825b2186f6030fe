use super::*;

fn text(findings: &Findings) -> String {
    let mut out = Vec::new();
    write(&mut out, "relay.example", findings);
    String::from_utf8(out).unwrap()
}

fn found() -> Findings {
    let signature = |verdict, domain: &str, reason| Signature {
        verdict,
        reason,
        domain: domain.into(),
        selector: "s1".into(),
        algorithm: "rsa-sha256",
        begins: "ab+/12==".into(),
    };
    Findings {
        spf: Spf { verdict: Verdict::SoftFail, domain: "bounce.example.org".into(), of_helo: false },
        dkim: vec![
            signature(Verdict::Fail, "list.example", "the body was changed"),
            signature(Verdict::Pass, "example.org", ""),
        ],
        dmarc: Dmarc {
            verdict: Verdict::Pass,
            domain: "example.org".into(),
            policy: Policy::Reject,
            reason: "",
        },
    }
}

#[test]
fn the_field_says_what_was_found() {
    let expected = "Authentication-Results: relay.example;\r\n\
                    \tspf=softfail smtp.mailfrom=bounce.example.org;\r\n\
                    \tdkim=fail reason=\"the body was changed\" header.d=list.example\r\n\
                    \t\theader.s=s1 header.a=rsa-sha256 header.b=\"ab+/12==\";\r\n\
                    \tdkim=pass header.d=example.org header.s=s1 header.a=rsa-sha256\r\n\
                    \t\theader.b=\"ab+/12==\";\r\n\
                    \tdmarc=pass header.from=example.org policy.dmarc=reject\r\n";
    assert_eq!(text(&found()), expected);
    assert_eq!(verdicts(expected.as_bytes()), Some(["softfail", "pass", "pass"]));
    let nothing = text(&Findings::default());
    assert_eq!(
        nothing,
        "Authentication-Results: relay.example;\r\n\tspf=none;\r\n\tdkim=none;\r\n\tdmarc=none\r\n"
    );
    let unknown = text(&Findings::unknown());
    assert!(unknown.contains("spf=temperror") && unknown.contains("dmarc=temperror reason="), "{unknown}");
    assert_eq!(verdicts(unknown.as_bytes()), Some(["temperror"; 3]));
    assert_eq!(verdicts(b"DKIM-Signature: v=1;\r\n\tspf=pass"), None);
}

/// Whatever senders write into domains, selectors and signatures, the field is one, with the results that we gave it.
#[test]
fn nothing_of_a_stranger_is_read_as_more() {
    for evil in [
        "x\r\nX-Evil: 1",
        "x\r\n\tdmarc=pass",
        "x; dmarc=pass header.from=bank.example",
        "x\" dkim=pass",
        "x (comment",
        "x\0",
        "x y",
        "bücher.example",
        "",
        ".",
        "a..b",
        &"a".repeat(300),
        &"a.".repeat(200),
    ] {
        let mut findings = found();
        findings.spf.domain = evil.into();
        findings.dkim[0].domain = evil.into();
        findings.dkim[1].selector = evil.into();
        findings.dkim[1].begins = evil.into();
        findings.dmarc.domain = evil.into();
        let written = text(&findings);
        let lines: Vec<_> = written.strip_suffix("\r\n").unwrap().split("\r\n").collect();
        assert!(lines[1..].iter().all(|line| line.starts_with('\t')), "{written}");
        assert!(lines.iter().all(|line| line.len() < 300 && line.is_ascii()), "{written}");
        assert_eq!(written.matches("dmarc=").count(), 2, "one, and its policy: {written}");
        assert_eq!(written.matches("dkim=").count(), 2, "{written}");
        assert_eq!(verdicts(written.as_bytes()), Some(["softfail", "pass", "pass"]));
        findings.dmarc.verdict = Verdict::Fail;
        let reply = findings.refusal().unwrap();
        assert!(reply.ends_with("\r\n") && reply.matches('\n').count() == 1 && reply.len() < 512, "{reply}");
    }
}

#[test]
fn longest_names_stay_within_lines() {
    let name: String = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert!(address::is_domain(name.as_bytes()));
    let mut findings = found();
    findings.dkim = vec![
        Signature {
            domain: name.as_str().into(),
            selector: name.as_str().into(),
            ..findings.dkim[0].clone()
        };
        50
    ];
    findings.spf.domain = name.as_str().into();
    findings.dmarc = Dmarc { verdict: Verdict::Fail, domain: name.as_str().into(), ..findings.dmarc };
    let written = text(&findings);
    assert!(written.split("\r\n").all(|line| line.len() < 998), "{written}");
    assert_eq!(written.matches("\tdkim=").count(), limits::VERIFIED_SIGNATURES_MAX);
    assert!(written.len() < 8192);
    assert!(findings.refusal().unwrap().len() < 512);
}

#[test]
fn what_a_domain_wants_refused_is_refused_in_words() {
    let mut findings = found();
    assert_eq!(findings.refusal(), None, "it passes");
    findings.dmarc.verdict = Verdict::Fail;
    let reply = findings.refusal().unwrap();
    assert_eq!(
        &*reply,
        "550 5.7.1 DMARC of example.org says reject: SPF softfail, DKIM pass for another domain\r\n"
    );
    findings.spf.verdict = Verdict::Pass;
    findings.dkim.clear();
    let reply = findings.refusal().unwrap();
    assert_eq!(
        &*reply,
        "550 5.7.1 DMARC of example.org says reject: SPF pass for another domain, DKIM none\r\n"
    );
    for policy in [Policy::Quarantine, Policy::None] {
        findings.dmarc.policy = policy;
        assert_eq!(findings.refusal(), None, "{policy:?}");
    }
    findings.dmarc = Dmarc { verdict: Verdict::TempError, policy: Policy::Reject, ..findings.dmarc };
    assert_eq!(findings.refusal(), None, "nobody knows");
}

/// RFC 8601 section 5, and the ways around it.
#[test]
fn fields_that_pass_for_ours_are_found() {
    for value in [
        " relay.example; spf=pass",
        "relay.example;spf=pass",
        " Relay.EXAMPLE; dmarc=pass",
        " relay.example.; dmarc=pass",
        "\r\n\trelay.example;\r\n\tspf=pass",
        " (comment) relay.example; spf=pass",
        " (a (nested \\) one)) \t\r\n (two)relay.example(three); spf=pass",
        " \"relay.example\"; spf=pass",
        " \"rel\\ay.example\"; spf=pass",
        " relay.example 1; spf=pass",
        " relay.example/1; spf=pass",
        " relay.example / 1 ; spf=pass",
        " relay.example (v) 1 (w); none",
        " relay.example",
        // Nobody is named, or that is in doubt: readers may take it for ours.
        "",
        " ; spf=pass",
        " (relay.example",
        " \"relay.example; spf=pass",
        " relay.example spf=pass",
        " spf=pass smtp.mailfrom=a.example",
        " dmarc = pass",
        " =?utf-8?q?relay.example?=; spf=pass",
        " relay . example; spf=pass",
        " relay(c).example; spf=pass",
        " relay\u{3002}example; spf=pass",
        " \u{ff52}elay.example; spf=pass",
    ] {
        assert!(claims(value.as_bytes(), "relay.example"), "{value:?}");
    }
    assert!(claims(b" rel\xffay.example; spf=pass", "relay.example"), "no text");
    assert!(claims(" bücher.example; spf=pass".as_bytes(), "xn--bcher-kva.example"));
    for value in [
        " mx.example.org; spf=pass",
        " relay.example.org; spf=pass",
        " xrelay.example; spf=pass",
        " (relay.example) mx.example.org; spf=pass",
        " \"mx.example.org\"; spf=pass",
        " mx.example.org 1; spf=pass smtp.mailfrom=relay.example",
        " bücher.example; spf=pass",
    ] {
        assert!(!claims(value.as_bytes(), "relay.example"), "{value:?}");
    }
}

#[test]
fn only_those_are_taken_out() {
    let section = "From relay.example\r\nReceived: x\r\nauthentication-results : relay.example;\r\n\tspf=pass\r\n\
                   Authentication-Results: mx.other.example; spf=pass\r\nAUTHENTICATION-RESULTS:relay.example; dkim=pass\r\n\
                   X-Authentication-Results: relay.example; none\r\nSubject: relay.example\r\n\r\nAuthentication-Results: relay.example; body\r\n";
    let length = section.find("\r\n\r\n").unwrap() + 4;
    let mut message = section.as_bytes().to_vec();
    let edit = forged(&message[..length], true, "relay.example");
    assert_eq!(edit.remove.len(), 2);
    let after = edit.apply(&mut message, length, true);
    let expected = "From relay.example\r\nReceived: x\r\nAuthentication-Results: mx.other.example; spf=pass\r\n\
                    X-Authentication-Results: relay.example; none\r\nSubject: relay.example\r\n\r\nAuthentication-Results: relay.example; body\r\n";
    assert_eq!(String::from_utf8(message).unwrap(), expected);
    assert_eq!(after, expected.find("\r\n\r\n").unwrap() + 4);
}

#[test]
fn bodies_are_hashed_as_signatures_have_it() {
    use Canonicalization::{Relaxed, Simple};
    for (value, form) in [
        (" v=1; c=relaxed/relaxed; d=a", Relaxed),
        (" v=1; c = relaxed / relaxed ; d=a", Relaxed),
        (" v=1;\r\n\tc=simple/Relaxed", Relaxed),
        (" v=1; c=relaxed/simple", Simple),
        (" v=1; c=relaxed", Simple),
        (" v=1; d=a", Simple),
        (" c=", Simple),
    ] {
        assert_eq!(body_form(value.as_bytes()), form, "{value}");
    }
    let section = "DKIM-Signature: c=x/relaxed\r\n".repeat(40);
    assert_eq!(body_forms(section.as_bytes(), false).count(), limits::VERIFIED_SIGNATURES_MAX);
    assert_eq!(domain_of(b"a@b.example"), "b.example");
    for nothing in [&b""[..], b"postmaster", b"a@[192.0.2.1]", b"a@b\xff"] {
        assert_eq!(domain_of(nothing), "");
    }
}
