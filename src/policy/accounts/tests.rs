//! Files of accounts, and what is made of their passwords.

use super::*;
use crate::smtp::scram::BadVerifier;

/// Cheap hashes, as strong as a test needs.
pub(crate) fn cheap(password: &str, memory: u32) -> String {
    let params = Params::new(memory, 1, 1, None).unwrap();
    Argon2::from(params).hash_password_with_salt(password.as_bytes(), &[7; 16]).unwrap().to_string()
}

fn verify(accounts: &Accounts, name: &str, password: &[u8]) -> bool {
    let check = accounts.check(name);
    let mut memory = vec![Block::new(); check.blocks()];
    check.verify(password, &mut memory).expect("a sound hash and room for it")
}

fn file() -> Accounts {
    let text = format!(
        "# accounts\n\n  bob:{} \r\nalice@b.example:{}\n\t# end\n",
        cheap("secret", 8),
        cheap("ünïcode and blanks", 16)
    );
    Accounts::parse(&text).unwrap()
}

#[test]
fn right_and_wrong_passwords() {
    let accounts = file();
    assert_eq!(accounts.len(), 2);
    assert!(verify(&accounts, "bob", b"secret"));
    assert!(verify(&accounts, "alice@b.example", "ünïcode and blanks".as_bytes()));
    for (name, password) in [
        ("bob", "Secret"),
        ("bob", ""),
        ("bob", "secret\0"),
        ("Bob", "secret"),
        ("", "secret"),
        ("alice", "secret"),
    ] {
        assert!(!verify(&accounts, name, password.as_bytes()), "{name} {password}");
    }
    assert!(!verify(&accounts, "bob", &b"secret".repeat(1000)));
    assert!(!verify(&Accounts::default(), "bob", b"secret"));
    let check = accounts.check("bob");
    assert_eq!(check.verify(b"secret", &mut vec![Block::new(); check.blocks() - 1]), None);
}

/// The hash of an unknown name is some account's: the same work, and never the right answer.
#[test]
fn unknown_names_cost_the_same_and_never_pass() {
    let accounts = file();
    let mut met = [0; 2];
    for number in 0..200 {
        let name = format!("stranger{number}");
        let (hash, place) = accounts.stored(&name);
        assert_eq!(place, None);
        assert_eq!(accounts.stored(&name).0, hash);
        let of = |account: &Account| account.password.as_deref() == Some(hash);
        met[accounts.all.iter().position(of).unwrap()] += 1;
        assert!(!verify(&accounts, &name, b"secret"));
    }
    assert!(met.iter().all(|count| *count > 50), "{met:?}");
    assert_eq!(accounts.stored("bob"), (&*cheap("secret", 8), Some(0)));
    assert_eq!(Accounts::default().stored("bob"), (NOBODY, None));
    assert_eq!(check_hash(NOBODY), Ok(()));
}

/// A vector of the argon2 reference implementation: password "password", salt "somesalt".
#[test]
fn a_hash_of_another_program() {
    let line = "a:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert!(verify(&Accounts::parse(line).unwrap(), "a", b"password"));
}

#[test]
fn errors_name_the_line() {
    let good = cheap("x", 8);
    let tag = "c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    for (line, problem) in [
        ("bob".to_owned(), Problem::NoColon),
        (format!(":{good}"), Problem::Name),
        (format!("a b:{good}"), Problem::Name),
        (format!("a\u{1}:{good}"), Problem::Name),
        (format!("{}:{good}", "n".repeat(limits::ACCOUNT_NAME_MAX + 1)), Problem::Name),
        (format!("first:{good}"), Problem::Duplicate),
        ("bob:secret".to_owned(), Problem::Hash),
        ("bob:".to_owned(), Problem::Hash),
        (format!("bob:{good}$more"), Problem::Hash),
        ("bob:$argon2id$v=19$m=8,t=1,p=1".to_owned(), Problem::Hash),
        ("bob:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(), Problem::Hash),
        (format!("bob:$argon2id$v=19$m=7,t=1,p=1${tag}"), Problem::Hash),
        (format!("bob:$argon2id$v=19$m=8,t=0,p=1${tag}"), Problem::Hash),
        (format!("bob:$argon2i$v=19$m=8,t=1,p=1${tag}"), Problem::Kind),
        (format!("bob:$argon2id$v=16$m=8,t=1,p=1${tag}"), Problem::Kind),
        (format!("bob:$argon2id$m=8,t=1,p=1${tag}"), Problem::Kind),
        (format!("bob:$argon2id$v=19$m=65537,t=1,p=1${tag}"), Problem::Costly),
        (format!("bob:$argon2id$v=19$m=65536,t=5,p=1${tag}"), Problem::Costly),
        (format!("bob:$argon2id$v=19$m=4294967295,t=4294967295,p=1${tag}"), Problem::Costly),
        (format!("bob:$argon2id$v=19$m=136,t=1,p=17${tag}"), Problem::Costly),
    ] {
        let text = format!("first:{good}\n# comment\n{line}\nlast:{good}\n");
        let error = Accounts::parse(&text).unwrap_err();
        assert_eq!(error, AccountsError { line: 3, problem }, "{line}");
        assert!(error.to_string().starts_with("line 3: ") && !error.to_string().contains(tag));
    }
    let most = format!("bob:$argon2id$v=19$m=65536,t=4,p=16${tag}");
    assert_eq!(Accounts::parse(&most).map(|accounts| accounts.len()), Ok(1));
}

#[test]
fn hashing() {
    let line = format!("bob:{}", hash(b"correct horse", &[1; 16]).unwrap());
    assert!(line.starts_with("bob:$argon2id$v=19$m="), "{line}");
    let accounts = Accounts::parse(&line).unwrap();
    assert!(verify(&accounts, "bob", b"correct horse") && !verify(&accounts, "bob", b"correct"));
    assert!(hash(b"x", &[1; 16]).unwrap() != hash(b"x", &[2; 16]).unwrap(), "the salt counts");
    assert_eq!(hash(b"", &[1; 16]), Err(PasswordError::Empty));
    assert_eq!(hash(b"a\0b", &[1; 16]), Err(PasswordError::Nul));
    assert_eq!(hash(&[b'x'; limits::PASSWORD_MAX + 1], &[1; 16]), Err(PasswordError::TooLong));
    assert!(!format!("{accounts:?}").contains("argon2id"));
}

#[test]
fn accounts_as_sections() {
    let (one, other) = (cheap("secret", 8), cheap("another", 8));
    let text = format!(
        "# accounts\n\n[[account]]\nname = \"shop\"\npassword = \"{one}\"\npool = \"bulk\"\ntenant = \"one\"\n\n\
         [[account]]\npassword = \"{other}\"\nname = \"bob@b.example\"\n\
         [[account]]\nname = \"c\"\npassword = '{other}'\npool = \"\"\ntenant = \"\"\n\
         [[account]]\nname = \"d\"\npassword = '{other}'\ntenant = \"one\"\n"
    );
    let accounts = Accounts::parse(&text).expect("sound sections");
    assert_eq!(accounts.len(), 4);
    assert_eq!(accounts.stored("shop"), (&*one, Some(0)));
    assert_eq!(accounts.stored("bob@b.example"), (&*other, Some(1)));
    let own = ["shop", "bob@b.example", "c", "d", "nobody"].map(|name| accounts.own(name));
    let (pool, tenant) = (Some(("bulk".into(), 6)), Some("one".into()));
    let both = Rights { pool, tenant: tenant.clone(), ..Rights::default() };
    assert_eq!(own, [Some(&both), None, None, Some(&Rights { tenant, ..Rights::default() }), None]);
    assert_eq!(accounts.pools().collect::<Vec<_>>(), [("bulk", 6)]);
    let text = format!("[[account]] # note: the shop's\nname = \"shop\"\npassword = \"{one}\"\n");
    assert_eq!(Accounts::parse(&text).expect("a comment").len(), 1);
    // Lines are read as before, whatever their names begin with.
    let lines = Accounts::parse(&format!("[bob]:{one}\n")).expect("a line");
    assert_eq!((lines.stored("[bob]").1, lines.own("[bob]")), (Some(0), None));
}

#[test]
fn what_is_wrong_is_told_by_its_line_and_nothing_of_it_is_repeated() {
    let hash = cheap("secret", 8);
    let password = format!("password = \"{hash}\"");
    for (section, line, problem) in [
        (format!("name = \"a\"\n{password}\npasword = \"QQ\""), 7, Problem::Section(Flaw::Key)),
        (format!("name = \"a\"\n{password}\npool = 3"), 7, Problem::Section(Flaw::NoText)),
        (
            format!("name = \"a\"\n{password}\npool = \"{}\"", "QQ".repeat(500)),
            7,
            Problem::Section(Flaw::Pool),
        ),
        (format!("name = \"a\"\n{password}\npool = \"Q\\u0007Q\""), 7, Problem::Section(Flaw::Pool)),
        (format!("name = \"a\"\n{password}\ntenant = \"Q\\u0007Q\""), 7, Problem::Section(Flaw::Tenant)),
        (format!("{password}\nname = \"a QQ\""), 6, Problem::Name),
        (format!("{password}\nname = \"first\""), 6, Problem::Duplicate),
        (password.clone(), 4, Problem::Section(Flaw::NoName)),
        ("name = \"a\"".to_owned(), 4, Problem::Section(Flaw::NoPassword)),
        ("name = \"a\"\npassword = \"QQ\"".to_owned(), 5, Problem::Hash),
        ("name = \"a\"\npassword = QQ".to_owned(), 6, Problem::Section(Flaw::NoToml)),
        (format!("name = \"a\"\n{password}\n[accounts]\nQQ = 1"), 7, Problem::Section(Flaw::NoAccount)),
    ] {
        let text = format!("[[account]]\nname = \"first\"\n{password}\n[[account]]\n{section}\n");
        let error = Accounts::parse(&text).unwrap_err();
        assert_eq!(error, AccountsError { line, problem }, "{section}");
        assert!(!error.to_string().contains("QQ"), "{error}");
    }
    let error = Accounts::parse("[account]\nname = \"a\"\n").unwrap_err();
    assert_eq!(error, AccountsError { line: 1, problem: Problem::Section(Flaw::NoAccount) });
}

/// As many as there may be, each with a pool: a start and a reload do not wait for it.
#[test]
fn many_are_read_at_once() {
    let hash = cheap("secret", 8);
    let section =
        |number: usize| format!("[[account]]\nname = \"a{number}\"\npassword = \"{hash}\"\npool = \"p\"\n");
    let text: String = (0..20_000).map(section).collect();
    let accounts = Accounts::parse(&text).expect("sound sections");
    assert_eq!((accounts.len(), accounts.pools().map(|(_, line)| line).max()), (20_000, Some(80_000)));
}

/// The password `pencil` with so many iterations and a salt of so many bytes.
fn verifier(iterations: u32, salt: usize) -> String {
    let iterations = NonZeroU32::new(iterations).expect("not 0");
    Verifier::of(b"pencil", Costs { salt: vec![3; salt].into(), iterations }).text()
}

#[test]
fn accounts_that_prove_their_passwords() {
    let (hash, scram) = (cheap("secret", 8), verifier(4096, 16));
    let section = |name: &str, more: &str| format!("[[account]]\nname = \"{name}\"\n{more}\n");
    let (password, scram) = (format!("password = \"{hash}\""), format!("scram = \"{scram}\""));
    let both = format!("{password}\n{scram}");
    let of = |sections: &[String]| Accounts::parse(&sections.concat()).expect("sound sections");
    let key = SaltKey::new(&[1; 32]);
    let all = of(&[section("a", &both), section("b", &scram), section("c", &password)]);
    assert_eq!((all.verifier("a", &key).1, all.verifier("c", &key).1), (Some(0), None));
    assert_eq!((all.stored("a").1, all.stored("b").1, all.stored("c").1), (Some(0), None, Some(2)));
    assert!(all.has("b") && !all.has("d") && all.have_verifiers());
    // By which mechanisms all of them can log in.
    let names = |all: &Accounts| all.mechanisms().iter().map(AuthMechanism::name).collect::<Vec<_>>();
    assert_eq!(names(&all), ["PLAIN", "LOGIN"]);
    assert_eq!(names(&of(&[section("a", &both), section("b", &scram)])).len(), 4);
    assert_eq!(names(&of(&[section("b", &scram)])), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    assert_eq!(names(&Accounts::default()), ["PLAIN", "LOGIN"]);
    let out = [AuthMechanism::Plain, AuthMechanism::ScramSha256].map(|by| all.kept_out_by(by));
    assert_eq!(out, [1, 1]);
    // Who logged in before is who he was.
    let same = of(&[
        section("z", &password),
        section("a", &format!("{both}\ntenant = \"t\"")),
        section("c", &password),
    ]);
    assert!(same.is_as_in(&all, "a") && same.is_as_in(&all, "c"));
    let other = of(&[section("a", &password), section("b", &scram.replace("4096:", "4097:"))]);
    assert!(!other.is_as_in(&all, "a") && !other.is_as_in(&all, "b") && !other.is_as_in(&all, "c"));
    assert!(!format!("{all:?}").contains("SCRAM"));
}

/// Where accounts differ in what they cost, names that nobody has differ as they do, and stay as they are when an account comes.
#[test]
fn what_unknown_names_are_told_hardly_ever_changes() {
    let section = |number: usize| {
        let scram = verifier(if number.is_multiple_of(2) { 4096 } else { 5000 }, 8 + number % 3);
        format!("[[account]]\nname = \"a{number}\"\nscram = \"{scram}\"\n")
    };
    let text: String = (0..60).map(section).collect();
    let (before, key) = (Accounts::parse(&text).expect("sound"), SaltKey::new(&[1; 32]));
    let after = Accounts::parse(&(text + &section(60))).expect("sound");
    let costs = |accounts: &Accounts, number: usize| accounts.verifier(&format!("x{number}"), &key).0.costs;
    let dear = (0..600).filter(|number| costs(&before, *number).iterations.get() == 5000).count();
    assert!((250..350).contains(&dear), "{dear}");
    let changed = (0..600).filter(|number| costs(&before, *number) != costs(&after, *number)).count();
    assert!(changed < 60, "{changed}");
}

#[test]
fn what_an_account_may() {
    let hash = cheap("secret", 8);
    let rights = "networks = [\"192.0.2.0/24\", \"2001:db8::/32\"]\nrecipients = [\"@example.com\"]\nconnections_max = 5\nrate = \"50000/d\"\nrecipients_rate = \"10/s\"\n";
    let text = format!("[[account]]\nname = \"a\"\npassword = \"{hash}\"\n{rights}");
    let accounts = Accounts::parse(&text).expect("a sound section");
    let own = accounts.own("a").expect("rights");
    for (client, may) in [
        ("192.0.2.7", true),
        ("::ffff:192.0.2.7", true),
        ("2001:db8::1", true),
        ("192.0.3.1", false),
        ("::1", false),
    ] {
        assert_eq!(own.may_come_from(client.parse().expect("an address")), may, "{client}");
    }
    assert!(own.may_send_to(b"x@example.com") && !own.may_send_to(b"x@example.org"));
    assert!(own.names_nothing() && own.may_send_as(b"x@example.org"));
    let rates = [own.rate, own.recipients_rate].map(|rate| rate.expect("a rate").to_string());
    assert_eq!((own.connections_max, rates.join(" ").as_str()), (Some(5), "50000/d 10/s"));
    for (line, flaw) in [
        ("networks = []", Flaw::Networks),
        ("networks = \"192.0.2.0/24\"", Flaw::Networks),
        ("networks = [\"QQ\"]", Flaw::Networks),
        ("recipients = [\"Q Q\"]", Flaw::Recipients),
        ("connections_max = 0", Flaw::Connections),
        ("connections_max = \"QQ\"", Flaw::Connections),
        ("rate = \"QQ\"", Flaw::Rate),
        ("rate = 5", Flaw::Rate),
        ("rate = \"5/s,max_burst=5\"", Flaw::Rate),
        ("recipients_rate = \"0/d\"", Flaw::Rate),
        ("scram = \"QQ\"", Flaw::Scram(BadVerifier::Form)),
        ("scram = \"SCRAM-SHA-256$1:UVFRUVFRUVE=$QQ\"", Flaw::Scram(BadVerifier::Form)),
        ("Networks = [\"192.0.2.0/24\"]", Flaw::Key),
    ] {
        let text = format!("[[account]]\nname = \"a\"\npassword = \"{hash}\"\n{line}\n");
        let error = Accounts::parse(&text).unwrap_err();
        assert_eq!(error, AccountsError { line: 4, problem: Problem::Section(flaw) }, "{line}");
        assert!(!error.to_string().contains("QQ"), "{error}");
    }
}
