use super::*;

fn id(texts: &[&str]) -> Option<String> {
    let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    record_id(&texts).map(String::from)
}

/// RFC 8461 section 3.1.
#[test]
fn records() {
    for (texts, wanted) in [
        (&["v=STSv1; id=20160831085700Z;"][..], Some("20160831085700Z")),
        (&["v=STSv1;id=1"], Some("1")),
        (&["v=STSv1 ; id=1 ; more=x;"], Some("1")),
        (&["v=STSv1; more=x; id=1; id=2"], Some("1")),
        (&["v=spf1 -all", "v=STSv1; id=1;", "v=STSv12; id=3"], Some("1")),
        (&["v=STSv1; id=1;", "v=STSv1; id=1;"], None),
        (&["v=STSv1;"], None),
        (&["v=STSv1"], None),
        (&["v=STSv1; id=;"], None),
        (&["v=STSv1; id=a-b;"], None),
        (&["v=STSv1; id"], None),
        (&["V=STSv1; id=1"], None),
        (&[" v=STSv1; id=1"], None),
        (&["v=STSv2; id=1"], None),
        (&["v=STSv1; id=123456789012345678901234567890123"], None),
        (&[], None),
    ] {
        assert_eq!(id(texts).as_deref(), wanted, "{texts:?}");
    }
}

fn policy(text: &str) -> Result<Policy, BadPolicy> {
    Policy::parse(text.as_bytes())
}

/// RFC 8461 section 3.2.
#[test]
fn policies() {
    let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.Example.com\r\nmx: *.example.net\r\nmx:backupmx.example.com.\r\nmax_age: 604800\r\n";
    let read = policy(text).expect("the example");
    assert_eq!((read.mode, read.max_age), (Mode::Enforce, Duration::from_secs(604_800)));
    assert_eq!(read.hosts, ["mail.example.com", "*.example.net", "backupmx.example.com"].map(Box::from));
    // The order does not matter, one line end neither, unknown keys are ignored, and of two the first counts.
    let other = "max_age: 604800\nmax_age: 1\nmode: enforce\nmode: none\nfuture: x\n\nmx: mail.example.com\nmx: *.example.net\n\
                 mx: backupmx.example.com\nversion: STSv1\nversion: STSv2";
    assert_eq!(policy(other), Ok(read));
    let none = policy("version: STSv1\nmode: none\nmax_age: 86400\n").expect("no host is named");
    assert_eq!((none.mode, none.hosts.len()), (Mode::None, 0));
    let long = policy("version: STSv1\nmode: none\nmax_age: 9999999999\n").expect("a policy");
    assert_eq!(long.max_age, limits::STS_AGE_MAX, "a year");
    let many: String = (0..=limits::STS_HOSTS_MAX).map(|at| format!("mx: h{at}.example\n")).collect();
    for (text, wanted) in [
        ("", BadPolicy::Version),
        ("version: STSv2\nmode: none\nmax_age: 1", BadPolicy::Version),
        ("version STSv1", BadPolicy::NoColon),
        ("<html>\n<head>", BadPolicy::NoColon),
        ("version: STSv1\nmode: Enforce\nmx: a.example\nmax_age: 1", BadPolicy::Mode),
        ("version: STSv1\nmx: a.example\nmax_age: 1", BadPolicy::Mode),
        ("version: STSv1\nmode: enforce\nmx: a.example", BadPolicy::MaxAge),
        ("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1", BadPolicy::MaxAge),
        ("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 99999999999", BadPolicy::MaxAge),
        ("version: STSv1\nmode: enforce\nmax_age: 1", BadPolicy::Hosts),
        ("version: STSv1\nmode: testing\nmax_age: 1", BadPolicy::Hosts),
        ("version: STSv1\nmode: enforce\nmx: *.*.example\nmax_age: 1", BadPolicy::Hosts),
        ("version: STSv1\nmode: enforce\nmx: *\nmax_age: 1", BadPolicy::Hosts),
        ("version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmax_age: 1", BadPolicy::Hosts),
        ("version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1", BadPolicy::Hosts),
        (&many, BadPolicy::ManyHosts),
    ] {
        assert_eq!(policy(text), Err(wanted), "{text}");
    }
    assert_eq!(Policy::parse(b"version: STSv1\xff"), Err(BadPolicy::NotUtf8));
}

/// RFC 8461 section 4.1: a wildcard stands for the leftmost label and for no more.
#[test]
fn hosts_of_a_policy() {
    let policy =
        policy("version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 1").unwrap();
    for (host, wanted) in [
        ("mail.example.com", true),
        ("MAIL.example.com.", true),
        ("a.mail.example.com", false),
        ("example.com", false),
        ("mx.example.net", true),
        ("a.mx.example.net", false),
        ("example.net", false),
        (".example.net", false),
        ("evilexample.net", false),
        ("mx.example.net.evil.example", false),
        ("", false),
    ] {
        assert_eq!(policy.names(host), wanted, "{host}");
    }
}

#[test]
fn a_kept_policy_is_read_as_it_was_written_and_ends() {
    let policy =
        policy("version: STSv1\nmode: enforce\nmx: a.example\nmx: *.b.example\nmax_age: 604800").unwrap();
    let kept = KeptPolicy { policy, id: "20261129".into(), fetched: UnixMillis(1_000_000) };
    let written = kept.write();
    assert_eq!(KeptPolicy::read(written.as_bytes()), Some(kept.clone()));
    for end in 0..written.len() {
        assert_ne!(KeptPolicy::read(&written.as_bytes()[..end]), Some(kept.clone()), "cut at {end}");
    }
    let after = |seconds: u64| UnixMillis(1_000_000 + seconds * 1000);
    assert!(kept.holds(after(0)) && kept.holds(after(604_799)) && !kept.holds(after(604_800)));
    assert!(!kept.is_stale(after(86_399)) && kept.is_stale(after(86_400)));
    let short =
        KeptPolicy { policy: Policy { max_age: Duration::from_secs(60), ..kept.policy.clone() }, ..kept };
    assert!(!short.is_stale(after(29)) && short.is_stale(after(30)));
}
