use super::edit::{self, NoEdit};
use super::*;

fn line(name: &str, role: &str, tenant: &str, secret: &str) -> String {
    format!("{name}:{role}:{tenant}:{}", hash(secret))
}

#[test]
fn whoever_shows_a_token_is_known() {
    let secrets = [1, 2, 3].map(|byte| secret(&[byte; limits::TOKEN_BYTES]));
    let text = format!(
        "# who may ask\n\n  {}  \r\n{}\n{}",
        line("ops", "admin", "", &secrets[0]),
        line("shop", "operate", "shop", &secrets[1]),
        line("odd", "read", "a:b", &secrets[2]),
    );
    let tokens = Tokens::parse(&text).expect("sound");
    let known = |secret: &str| {
        let token = tokens.find(secret)?;
        Some((&*token.name, token.role, token.tenant.as_deref()))
    };
    assert_eq!(known(&secrets[0]), Some(("ops", Role::Admin, None)));
    assert_eq!(known(&secrets[1]), Some(("shop", Role::Operate, Some("shop"))));
    assert_eq!(known(&secrets[2]), Some(("odd", Role::Read, Some("a:b"))), "a colon in a tenant");
    let almost = secrets[0].replace("relevo_A", "relevo_B");
    for other in ["", "ops", &secrets[0][1..], &almost, &hash(&secrets[0]), &"x".repeat(1 << 20)] {
        assert_eq!(known(other), None, "{other:.40}");
    }
    assert!(secrets[0].starts_with("relevo_") && secrets[0].len() == 50, "{}", secrets[0]);
    assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
}

#[test]
fn each_wrong_line_says_what_is_wrong() {
    let sound = line("ops", "admin", "", "x");
    let wrong = |text: &str| Tokens::parse(text).map(|tokens| tokens.all().len());
    let is =
        |text: &str, line, problem| assert_eq!(wrong(text), Err(TokensError { line, problem }), "{text:.80}");
    let hashed = hash("y");
    is("ops", 1, Problem::Parts);
    is(&format!("ops:admin:{hashed}"), 1, Problem::Parts);
    is(&format!("# c\n\n:admin::{hashed}"), 3, Problem::Name);
    is(&format!("o p:admin::{hashed}"), 1, Problem::Name);
    is(&format!("{}:admin::{hashed}", "n".repeat(limits::TOKEN_NAME_MAX + 1)), 1, Problem::Name);
    is(&format!("{sound}\nops:read::{hashed}"), 2, Problem::Duplicate);
    is(&format!("ops:root::{hashed}"), 1, Problem::Role);
    is(&format!("ops:Admin::{hashed}"), 1, Problem::Role);
    is(&format!("ops:read:a b:{hashed}"), 1, Problem::Tenant);
    is(&format!("ops:read:{}:{hashed}", "t".repeat(limits::TOKEN_TENANT_MAX + 1)), 1, Problem::Tenant);
    is("ops:read::", 1, Problem::Hash);
    is(&format!("ops:read::{}", &hashed[1..]), 1, Problem::Hash);
    is(&format!("ops:read::{}ä", &hashed[2..]), 1, Problem::Hash);
    is(&format!("ops:read::{}", secret(&[7; limits::TOKEN_BYTES])), 1, Problem::Plain);
    is(&format!("{sound}\n{}", line("other", "read", "", "x")), 2, Problem::SameHash);
    let many = |count: usize| {
        (0..count).map(|at| line(&format!("n{at}"), "read", "", &at.to_string()) + "\n").collect::<String>()
    };
    assert_eq!(wrong(&many(limits::TOKENS_MAX)), Ok(limits::TOKENS_MAX));
    is(&many(limits::TOKENS_MAX + 1), limits::TOKENS_MAX + 1, Problem::TooMany);
    // What is said shows nothing of the line.
    let told = Tokens::parse("relevo_secret:admin:x").expect_err("wrong").to_string();
    assert!(told.starts_with("line 1: ") && !told.contains("secret"), "{told}");
}

#[test]
fn a_token_comes_and_goes_and_all_else_stays() {
    let text = format!("# ours\n{}\n\n# end", line("a", "read", "", "1"));
    let grown = edit::add(&text, ("b", Role::Operate, "shop"), &hash("2")).expect("sound");
    assert_eq!(grown, format!("{text}\n{}\n", line("b", "operate", "shop", "2")));
    assert_eq!(edit::remove(&grown, "b").expect("it is there"), format!("{text}\n"));
    assert_eq!(
        edit::remove(&grown, "a").expect("it is there"),
        format!("# ours\n\n# end\n{}\n", line("b", "operate", "shop", "2"))
    );
    assert_eq!(edit::add(&text, ("a", Role::Read, ""), &hash("3")), Err(NoEdit::There));
    assert_eq!(edit::remove(&text, "c"), Err(NoEdit::NotThere));
    for (name, tenant) in [("", ""), ("#x", ""), ("c:d", ""), ("c\nd", ""), ("c", "x y"), ("c", "x\ny")] {
        assert!(
            matches!(edit::add(&text, (name, Role::Read, tenant), &hash("4")), Err(NoEdit::Unsound(_))),
            "{name:?}"
        );
    }
    assert!(matches!(edit::add("x", ("c", Role::Read, ""), &hash("4")), Err(NoEdit::Unread(_))));
}
