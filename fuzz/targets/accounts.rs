//! A file of accounts: what is read of it, and what changes to it leave as it was.

use relevo::limits;
use relevo::policy::accounts::Accounts;
use relevo::policy::accounts::edit::{self, NewAccount};

use super::input::Input;

const HASH: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

/// All accounts of `before` but this one are in `after`, and may what they might.
fn assert_others_stay(before: &Accounts, after: &Accounts, name: &str) {
    for (other, _) in before.names().filter(|(other, _)| *other != name) {
        assert!(after.is_as_in(before, other), "{other:?} has changed");
        assert_eq!(after.own(other).map(without_line), before.own(other).map(without_line), "{other:?}");
    }
}

/// What it says of an account, but for the line that says so.
fn without_line(own: &relevo::policy::accounts::Rights) -> String {
    let mut own = own.clone();
    own.pool = own.pool.map(|(pool, _)| (pool, 0));
    format!("{own:?}")
}

/// A name, and the text of a file.
pub fn accounts(data: &[u8]) {
    let mut input = Input(data);
    let name = input.text(40);
    let text = String::from_utf8_lossy(input.0).into_owned();
    let before = match Accounts::parse(&text) {
        Ok(before) => before,
        Err(error) => {
            let words = error.to_string();
            assert!(!words.contains('\n') && words.len() < 300, "{words}");
            assert!((1..=text.split('\n').count()).contains(&error.line), "{error}");
            return;
        }
    };
    assert!(before.len() <= limits::ACCOUNTS_MAX && before.names().count() == before.len());
    let account = NewAccount { name: name.clone(), password: Some(HASH.to_owned()), ..NewAccount::default() };
    match edit::add(&text, &account) {
        Ok(grown) => {
            assert!(grown.starts_with(&text));
            let after = Accounts::parse(&grown).expect("it was sound");
            assert!(after.len() == before.len() + 1 && after.has(&name) && !before.has(&name));
            assert_others_stay(&before, &after, &name);
            let back = edit::remove(&grown, &name).expect("it was just added");
            assert_eq!(back.trim_end(), text.trim_end());
        }
        Err(no) => assert!(!no.to_string().contains('\n')),
    }
    let Some((first, _)) = before.names().next() else { return };
    if let Ok(rest) = edit::remove(&text, first) {
        let after = Accounts::parse(&rest).expect("it was sound");
        assert!(after.len() + 1 == before.len() && !after.has(first));
        assert_others_stay(&before, &after, first);
    }
}
