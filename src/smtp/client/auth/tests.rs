use super::*;

const LOGIN: Login<'_> = Login { user: "user", password: "pencil" };

fn reply(code: u16, text: &str) -> Reply {
    let lines = vec![text.to_owned()];
    Reply { code, enhanced: None, text: text.to_owned(), lines, odd: false, ours: false }
}

fn challenge_of(text: &str) -> Reply {
    reply(334, &STANDARD.encode(text))
}

fn said(step: Result<AuthStep, AuthError>) -> String {
    match step {
        Ok(AuthStep::Say(line)) => decoded(&line),
        other => panic!("{other:?}"),
    }
}

fn decoded(line: &[u8]) -> String {
    let line = str::from_utf8(line).unwrap().strip_suffix("\r\n").unwrap();
    String::from_utf8(STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap()).unwrap()
}

/// RFC 7677 section 3.
#[test]
fn the_example_of_rfc_7677() {
    let (mut scram, first) = Scram::with_nonce("user", "rOprNGfwEbeRWgbNEkqO".to_owned());
    assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let asked = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let costs = scram.on_first(asked.as_bytes()).unwrap();
    assert_eq!((costs.iterations.get(), costs.salt.len()), (4096, 16));
    let keys = Keys::derive(b"pencil", &costs);
    assert_eq!(
        scram.prove(&keys).unwrap(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let right = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(scram.on_last(right), Ok(()));
    let mut wrong = right.to_vec();
    wrong[5] ^= 1;
    assert_eq!(scram.on_last(&wrong), Err(ScramError::WrongSignature));
    assert_eq!(scram.on_last(b"v="), Err(ScramError::WrongSignature));
    assert_eq!(scram.on_last(b"e=invalid-proof"), Err(ScramError::Said("invalid-proof".to_owned())));
    assert!(
        scram.on_last(b"6rri").is_err() && scram.on_last(b"v=!").is_err() && scram.on_last(b"\xff").is_err()
    );
    assert!(scram.prove(&keys).is_err(), "once");
    let other = Keys::derive(b"pencil ", &costs);
    assert!(other != keys && !format!("{other:?}").contains('['));
}

#[test]
fn names_are_escaped() {
    let first = Scram::with_nonce("a=b,c", "x".to_owned()).1;
    assert_eq!(first, "n,,n=a=3Db=2Cc,r=x");
}

#[test]
fn what_a_host_may_ask_for_is_bounded() {
    for (asked, wanted) in [
        ("r=abcd,s=QUJD,i=4096", Ok(4096)),
        ("r=abcd,s=QUJD,i=1000000", Ok(1_000_000)),
        ("r=abcd,s=QUJD,i=4096,x=more", Ok(4096)),
        ("r=abcd,s=QUJD,i=1000001", Err(ScramError::TooMany(1_000_001))),
        ("r=abcd,s=QUJD,i=2147483648", Err(ScramError::TooMany(1 << 31))),
        ("r=abcd,s=QUJD,i=999999999999999999", Err(ScramError::TooMany(999_999_999_999_999_999))),
        ("r=abcd,s=QUJD,i=4095", Err(ScramError::TooFew(4095))),
        ("r=abcd,s=QUJD,i=0", Err(ScramError::TooFew(0))),
        ("r=abcd,s=QUJD,i=-1", Err(ScramError::Malformed("its count of iterations is no number"))),
        ("r=abcd,s=QUJD,i=+4096", Err(ScramError::Malformed("its count of iterations is no number"))),
        ("r=abcd,s=QUJD,i=", Err(ScramError::Malformed("its count of iterations is no number"))),
        (
            "r=abcd,s=QUJD,i=9999999999999999999",
            Err(ScramError::Malformed("its count of iterations is no number")),
        ),
        ("r=abcd,s=QUJD", Err(ScramError::Malformed("it has no count of iterations"))),
        ("r=abcd,s=,i=4096", Err(ScramError::Malformed("its salt is empty"))),
        ("r=abcd,s=*,i=4096", Err(ScramError::Malformed("its salt is no base64"))),
        ("r=abcd,i=4096,s=QUJD", Err(ScramError::Malformed("it has no salt"))),
        ("r=abc,s=QUJD,i=4096", Err(ScramError::Malformed("its nonce does not begin with ours"))),
        ("r=abxd,s=QUJD,i=4096", Err(ScramError::Malformed("its nonce does not begin with ours"))),
        ("r=abc\u{7f},s=QUJD,i=4096", Err(ScramError::Malformed("its nonce does not begin with ours"))),
        ("m=ext,r=abcd,s=QUJD,i=4096", Err(ScramError::Malformed("it has no nonce"))),
        ("e=other-error", Err(ScramError::Malformed("it has no nonce"))),
        ("", Err(ScramError::Malformed("it has no nonce"))),
    ] {
        let mut scram = Scram::with_nonce("user", "abc".to_owned()).0;
        let told = scram.on_first(asked.as_bytes()).map(|costs| costs.iterations.get());
        assert_eq!(told, wanted, "{asked}");
    }
}

/// A host that knows the password.
fn host(first: &str, password: &str) -> (String, impl Fn(&str) -> String + use<>) {
    let bare = first.strip_prefix("n,,").unwrap().to_owned();
    let nonce = bare.rsplit_once("r=").unwrap().1;
    let asked = format!("r={nonce}host,s=QUJD,i=4096");
    let costs = Costs { salt: b"ABC"[..].into(), iterations: 4096.try_into().unwrap() };
    let (keys, signed) = (Keys::derive(password.as_bytes(), &costs), format!("{bare},{asked}"));
    let last = move |proof: &str| {
        let signed = format!("{signed},{}", proof.rsplit_once(",p=").unwrap().0);
        format!("v={}", STANDARD.encode(keys.signature(&signed)))
    };
    (asked, last)
}

#[test]
fn scram_ends_when_the_host_has_proven_itself() {
    let begin = || Exchange::begin(Mechanism::ScramSha256, LOGIN, &[7; 18]);
    let derive = |exchange: &mut Exchange<'_>, asked: &str| match exchange.on_reply(challenge_of(asked)) {
        Ok(AuthStep::Derive(costs)) => exchange.on_keys(&Keys::derive(b"pencil", &costs)),
        other => panic!("{other:?}"),
    };
    let (mut exchange, line) = begin();
    assert!(line.starts_with(b"AUTH SCRAM-SHA-256 "), "{line:?}");
    let (asked, last) = host(&decoded(&line), "pencil");
    let proof = said(derive(&mut exchange, &asked));
    assert_eq!(said(exchange.on_reply(challenge_of(&last(&proof)))), "", "an empty answer");
    assert_eq!(exchange.on_reply(reply(235, "2.7.0 welcome")), Ok(AuthStep::Done));

    // 235 without the proof, whenever it comes.
    let (mut exchange, line) = begin();
    assert_eq!(begin().0.on_reply(reply(235, "")), Err(AuthError::Scram(ScramError::Unproven)));
    let (asked, _) = host(&decoded(&line), "pencil");
    derive(&mut exchange, &asked).unwrap();
    assert_eq!(exchange.on_reply(reply(235, "")), Err(AuthError::Scram(ScramError::Unproven)));

    // The proof of one that knows another password.
    let (mut exchange, line) = begin();
    let (asked, last) = host(&decoded(&line), "guess");
    let proof = said(derive(&mut exchange, &asked));
    let error = exchange.on_reply(challenge_of(&last(&proof))).unwrap_err();
    assert_eq!(error, AuthError::Scram(ScramError::WrongSignature));
    assert!(!error.is_of_the_mechanism(), "no weaker one is tried then");
    assert!(exchange.on_reply(reply(235, "")).is_err());
}

#[test]
fn plain_and_login_tell_the_password_and_no_more() {
    let (mut exchange, line) = Exchange::begin(Mechanism::Plain, LOGIN, &[]);
    assert_eq!(line, b"AUTH PLAIN AHVzZXIAcGVuY2ls\r\n");
    assert_eq!(exchange.on_reply(reply(235, "")), Ok(AuthStep::Done));
    let (mut exchange, _) = Exchange::begin(Mechanism::Plain, LOGIN, &[]);
    assert!(matches!(exchange.on_reply(reply(334, "")), Err(AuthError::OutOfStep(_))));
    let (mut exchange, line) = Exchange::begin(Mechanism::Login, LOGIN, &[]);
    assert_eq!(line, b"AUTH LOGIN\r\n");
    assert_eq!(said(exchange.on_reply(challenge_of("Username:"))), "user");
    assert_eq!(said(exchange.on_reply(challenge_of("Kennwort?"))), "pencil");
    assert_eq!(exchange.on_reply(reply(235, "")), Ok(AuthStep::Done));
    let (mut exchange, _) = Exchange::begin(Mechanism::Login, LOGIN, &[]);
    assert!(matches!(exchange.on_reply(reply(235, "")), Err(AuthError::OutOfStep(_))), "nobody was named");
}

#[test]
fn what_is_no_step_ends_it() {
    let long = "A".repeat(limits::client::CHALLENGE_MAX + 4);
    for (code, text) in [(334, "no base64!"), (334, &*long), (250, "fine"), (220, ""), (354, "go on")] {
        let (mut exchange, _) = Exchange::begin(Mechanism::Login, LOGIN, &[]);
        let error = exchange.on_reply(reply(code, text)).unwrap_err();
        assert!(matches!(error, AuthError::OutOfStep(_)), "{code} {text}: {error:?}");
        assert!(!format!("{error} {exchange:?}").contains("pencil"));
    }
    let mut lines = challenge_of("Username:");
    lines.lines.push(String::new());
    assert!(Exchange::begin(Mechanism::Login, LOGIN, &[]).0.on_reply(lines).is_err());
    for (code, next) in [(535, false), (454, false), (534, false), (504, true), (432, true), (421, false)] {
        let error = Exchange::begin(Mechanism::Plain, LOGIN, &[]).0.on_reply(reply(code, "no")).unwrap_err();
        assert_eq!(
            (error.is_of_the_mechanism(), matches!(error, AuthError::Refused(_))),
            (next, true),
            "{code}"
        );
    }
}

#[test]
fn the_strongest_is_chosen() {
    let of = |words: &str| {
        let mut offered = Mechanisms::default();
        offered.offer();
        words.split(' ').for_each(|word| offered.add(word));
        offered
    };
    use Mechanism::{Login, Plain, ScramSha256};
    assert_eq!(of("LOGIN PLAIN scram-sha-256 XOAUTH2").choose(&[]), Ok(ScramSha256));
    assert_eq!(of("LOGIN PLAIN SCRAM-SHA-256").choose(&[ScramSha256]), Ok(Plain));
    assert_eq!(of("LOGIN CRAM-MD5").choose(&[]), Ok(Login));
    assert_eq!(of("LOGIN").choose(&[Login]), Err(AuthError::NothingInCommon));
    assert_eq!(of("CRAM-MD5 SCRAM-SHA-256-PLUS").choose(&[]), Err(AuthError::NothingInCommon));
    assert_eq!(Mechanisms::default().choose(&[]), Err(AuthError::NotOffered));
}
