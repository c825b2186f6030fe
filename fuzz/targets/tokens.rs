//! A file of tokens: what is read of it, and what changes to it leave as it was.

use relevo::limits;
use relevo::policy::tokens::edit;
use relevo::policy::tokens::{Role, Tokens, hash};

use super::input::Input;

const SECRET: &str = "relevo_of_the_fuzzer";

/// A name, and the text of a file.
pub fn tokens(data: &[u8]) {
    let mut input = Input(data);
    let name = input.text(40);
    let text = String::from_utf8_lossy(input.0).into_owned();
    let before = match Tokens::parse(&text) {
        Ok(before) => before,
        Err(error) => {
            let words = error.to_string();
            assert!(!words.contains('\n') && words.len() < 300, "{words}");
            assert!((1..=text.split('\n').count()).contains(&error.line), "{error}");
            return;
        }
    };
    assert!(before.all().len() <= limits::TOKENS_MAX && before.find(&text).is_none());
    match edit::add(&text, (&name, Role::Operate, "shop"), &hash(SECRET)) {
        Ok(grown) => {
            assert!(grown.starts_with(&text));
            let after = Tokens::parse(&grown).expect("it was sound");
            assert!(
                after.find(SECRET).is_some_and(|token| *token.name == *name && token.role == Role::Operate)
            );
            assert_eq!(&after.all()[..before.all().len()], before.all());
            let back = edit::remove(&grown, &name).expect("it was just added");
            assert_eq!(back.trim_end(), text.trim_end());
        }
        Err(no) => assert!(!no.to_string().contains('\n')),
    }
    let Some(first) = before.all().first() else { return };
    let rest = edit::remove(&text, &first.name).expect("it is there");
    assert_eq!(Tokens::parse(&rest).expect("it was sound").all(), &before.all()[1..]);
}
