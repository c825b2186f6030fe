//! Changes to the text of an accounts file that leave all else in it as it was: comments, order, empty lines, the ends of lines.

use std::fmt;
use std::fmt::Write;

use crate::policy::accounts::Accounts;
use crate::policy::accounts::flaw::{AccountsError, Problem};
use crate::policy::accounts::sections;

/// What an account is written with.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// A hash of argon2id.
    pub password: Option<String>,
    /// A verifier of SCRAM.
    pub scram: Option<String>,
    /// What it may, and what holds for its mail: keys with their values, in this order.
    pub rights: Vec<(&'static str, RightValue)>,
}

/// A value of such a key.
#[derive(Clone, Debug)]
pub enum RightValue {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// A number.
    Number(u32),
}

/// Why a file is not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEdit {
    /// It cannot be read as it is.
    Unread(AccountsError),
    /// It is empty, and so many are in force: whoever writes it anew may be about to.
    Empty(usize),
    /// What would be written is no account.
    Unsound(Problem),
    /// There is an account of this name.
    There,
    /// There is none.
    NotThere,
    /// A file of lines has no room for anything but a password.
    Lines,
}

impl fmt::Display for NoEdit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoEdit::Unread(error) => write!(formatter, "{error}"),
            NoEdit::Empty(number) => write!(
                formatter,
                "it is empty, and {number} accounts are in force: if all of these are to go, reload first"
            ),
            NoEdit::Unsound(problem) => write!(formatter, "{problem}"),
            NoEdit::There => formatter.write_str("there is an account of this name already"),
            NoEdit::NotThere => formatter.write_str("there is no account of this name"),
            NoEdit::Lines => formatter.write_str(
                "this is a file of name:hash lines, which has room for passwords alone; write it as [[account]] sections",
            ),
        }
    }
}

/// The text with one more account, at its end.
pub fn add(text: &str, account: &NewAccount) -> Result<String, NoEdit> {
    let before = Accounts::parse(text).map_err(NoEdit::Unread)?;
    if before.has(&account.name) {
        return Err(NoEdit::There);
    }
    let line = end_of_line(text);
    let mut grown = text.to_owned();
    if !grown.is_empty() && !grown.ends_with('\n') {
        grown.push_str(line);
    }
    let of_lines = !before.is_empty() && !sections::is_meant(text);
    let begin = grown.len();
    if of_lines {
        let only_password = account.scram.is_none() && account.rights.is_empty();
        let hash = account.password.as_deref().filter(|_| only_password).ok_or(NoEdit::Lines)?;
        let _ = write!(grown, "{}:{hash}{line}", account.name);
    } else {
        if !grown.is_empty() {
            grown.push_str(line);
        }
        grown.push_str(&section(account).replace('\n', line));
    }
    // Nothing else may come of it, whatever is in a name.
    let after = Accounts::parse(&grown).map_err(|error| NoEdit::Unsound(error.problem))?;
    let is_one_more = after.len() == before.len() + 1 && after.has(&account.name);
    if is_one_more && grown.is_char_boundary(begin) { Ok(grown) } else { Err(NoEdit::Unsound(Problem::Name)) }
}

fn section(account: &NewAccount) -> String {
    let NewAccount { name, password, scram, rights } = account;
    let mut text = format!("[[account]]\nname = {}\n", quoted(name));
    for (key, value) in [("password", password), ("scram", scram)] {
        value.iter().for_each(|value| _ = writeln!(text, "{key} = {}", quoted(value)));
    }
    for (key, value) in rights {
        let value = match value {
            RightValue::Text(value) => quoted(value),
            RightValue::Number(number) => number.to_string(),
            RightValue::List(all) => {
                format!("[{}]", all.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", "))
            }
        };
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

/// As a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => _ = write!(quoted, "\\u{:04X}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// The text without an account. Comments stay, those inside of its section go with it.
pub fn remove(text: &str, name: &str) -> Result<String, NoEdit> {
    let before = Accounts::parse(text).map_err(NoEdit::Unread)?;
    if !before.has(name) {
        return Err(NoEdit::NotThere);
    }
    let (from, to) = place_of(text, name).ok_or(NoEdit::NotThere)?;
    let mut rest = text[..from].to_owned();
    rest.push_str(&text[to..]);
    let after = Accounts::parse(&rest).map_err(|error| NoEdit::Unsound(error.problem))?;
    let is_one_less = after.len() + 1 == before.len() && !after.has(name);
    if is_one_less { Ok(rest) } else { Err(NoEdit::NotThere) }
}

/// The text with another password, and another verifier, of an account that there is. What else is said of it stays.
pub fn set_password(text: &str, account: &NewAccount) -> Result<String, NoEdit> {
    let NewAccount { name, password, scram, rights: _ } = account;
    let before = Accounts::parse(text).map_err(NoEdit::Unread)?;
    let (from, to) = place_of(text, name).filter(|_| before.has(name)).ok_or(NoEdit::NotThere)?;
    let line = end_of_line(text);
    let mut changed = text[..from].to_owned();
    if sections::is_meant(text) {
        let is_old = |line: &str| {
            let key = line.split_once('=').map(|(key, _)| key.trim().trim_matches(['"', '\'']));
            matches!(key, Some("password" | "scram"))
        };
        let mut own = text[from..to].split_inclusive('\n');
        let header = own.next().unwrap_or_default();
        changed.push_str(header);
        for (key, value) in [("password", password), ("scram", scram)] {
            value.iter().for_each(|value| _ = write!(changed, "{key} = {}{line}", quoted(value)));
        }
        changed.extend(own.filter(|line| !is_old(line)));
    } else {
        let hash = password.as_deref().filter(|_| scram.is_none()).ok_or(NoEdit::Lines)?;
        let _ = write!(changed, "{name}:{hash}{line}");
    }
    changed.push_str(&text[to..]);
    let after = Accounts::parse(&changed).map_err(|error| NoEdit::Unsound(error.problem))?;
    // Nothing else may come of it, whatever the section looks like.
    let logs_in = [password.is_some(), scram.is_some()];
    let others = |all: &Accounts| -> Vec<String> {
        all.names().filter(|(other, _)| other != name).map(|(other, _)| other.to_owned()).collect()
    };
    let is_meant = after.names().any(|(other, how)| other == name && how == logs_in)
        && others(&after) == others(&before)
        && others(&after).iter().all(|other| after.is_as_in(&before, other))
        && after.may_as_in(&before, name);
    if is_meant { Ok(changed) } else { Err(NoEdit::Unsound(Problem::Name)) }
}

/// Where its lines begin and end.
fn place_of(text: &str, name: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    let lines: Vec<(usize, &str)> = text
        .split_inclusive('\n')
        .map(|line| {
            at += line.len();
            (at - line.len(), line)
        })
        .collect();
    if !sections::is_meant(text) {
        let is_it = |(_, line): &&(usize, &str)| {
            line.trim().split_once(':').is_some_and(|(of, _)| of == name && !line.trim().starts_with('#'))
        };
        return lines.iter().find(is_it).map(|(at, line)| (*at, at + line.len()));
    }
    let begins = sections::places(text)?;
    let place = begins.iter().position(|(_, of)| of == name)?;
    let begin = begins[place].0;
    let end = begins.get(place + 1).map_or(text.len(), |next| next.0);
    let within: Vec<_> = lines.iter().filter(|(at, _)| (begin..end).contains(at)).collect();
    let says = |line: &str| !line.trim().is_empty() && !line.trim().starts_with('#');
    // What stands above the next header belongs to that.
    let last = within.iter().rposition(|(_, line)| says(line))?;
    let mut to = within[last].0 + within[last].1.len();
    // One empty line goes with it, and what is said at the end of the file stays.
    if let Some((at, line)) = within.get(last + 1).filter(|(_, line)| line.trim().is_empty()) {
        to = at + line.len();
    }
    Some((begin, to))
}

fn end_of_line(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::accounts::tests::cheap;

    fn account(name: &str) -> NewAccount {
        NewAccount { name: name.into(), password: Some(cheap("secret", 8)), ..NewAccount::default() }
    }

    #[test]
    fn what_is_added_is_taken_away_again() {
        let hash = cheap("secret", 8);
        let one = |name: &str| format!("[[account]]\nname = \"{name}\"\npassword = \"{hash}\"\n");
        for text in [
            String::new(),
            "# nobody yet\n".to_owned(),
            one("a"),
            format!("# ours\n\n{}\n# of the shop\n{}", one("a"), one("b")),
            format!("{}# the end\n", one("a")),
            one("a").replace('\n', "\r\n"),
            format!("a:{hash}\n# more\nb:{hash}\n"),
            format!("a:{hash}"),
        ] {
            for name in ["new", "n,e=w", "ü\"'\\]"] {
                let grown = add(&text, &account(name)).expect("a sound account");
                assert!(grown.starts_with(&text) && Accounts::parse(&grown).expect("sound").has(name));
                assert_eq!(add(&grown, &account(name)), Err(NoEdit::There));
                let back = remove(&grown, name).expect("it is there");
                assert_eq!(back.trim_end(), text.trim_end(), "{text:?}");
                assert_eq!(remove(&back, name), Err(NoEdit::NotThere));
            }
        }
    }

    #[test]
    fn one_in_the_middle_goes_and_comments_stay() {
        let hash = cheap("secret", 8);
        let body =
            |name: &str| format!("[[account]] # {name}\nname = \"{name}\"\n# inside\npassword = '{hash}'\n");
        let text = format!("# first\n{}\n# second\n{}\n# third\n{}# end\n", body("a"), body("b"), body("c"));
        let without = |name| remove(&text, name).expect("it is there");
        assert_eq!(without("a"), format!("# first\n# second\n{}\n# third\n{}# end\n", body("b"), body("c")));
        assert_eq!(without("b"), format!("# first\n{}\n# second\n# third\n{}# end\n", body("a"), body("c")));
        assert_eq!(
            without("c"),
            format!("# first\n{}\n# second\n{}\n# third\n# end\n", body("a"), body("b"))
        );
    }

    #[test]
    fn all_that_an_account_may_have() {
        let list = |all: &[&str]| RightValue::List(all.iter().map(|&one| one.to_owned()).collect());
        let rights = vec![
            ("tenant", RightValue::Text("shop".into())),
            ("senders", list(&["@a.example", "*.b.example"])),
            ("connections_max", RightValue::Number(5)),
        ];
        let text = add("", &NewAccount { rights, ..account("a") }).expect("a sound account");
        let accounts = Accounts::parse(&text).expect("sound");
        let own = accounts.own("a").expect("rights");
        assert_eq!(
            (own.tenant.as_deref(), own.senders.len(), own.connections_max),
            (Some("shop"), 2, Some(5))
        );
    }

    #[test]
    fn another_password_leaves_all_else_as_it_is() {
        let hash = cheap("secret", 8);
        let body = |name: &str| {
            format!(
                "[[account]] # {name}\nname = \"{name}\"\n# inside\npassword = '{hash}'\npool = \"p{name}\"\n"
            )
        };
        let text = format!("# first\n{}\n# second\n{}# end\n", body("a"), body("b"));
        let other = NewAccount { password: Some(cheap("other", 8)), ..account("a") };
        let changed = set_password(&text, &other).expect("it is there");
        let (old, new) = (body("a"), cheap("other", 8));
        let lines: Vec<&str> = old.lines().filter(|line| !line.starts_with("password")).collect();
        let there = lines.iter().all(|line| changed.contains(line));
        assert!(
            there && changed.contains(&new) && changed.ends_with(&format!("# second\n{}# end\n", body("b"))),
            "{changed}"
        );
        assert_eq!(changed.matches(&hash).count(), 1, "{changed}");
        let accounts = Accounts::parse(&changed).expect("sound");
        assert_eq!(accounts.own("a").and_then(|own| own.pool.clone()).map(|pool| pool.0), Some("pa".into()));
        // In lines too, which have room for a hash alone.
        let lines = format!("a:{hash}\n# more\nb:{hash}\n");
        assert_eq!(set_password(&lines, &other), Ok(format!("a:{new}\n# more\nb:{hash}\n")));
        let scram = NewAccount { scram: Some("SCRAM-SHA-256$".into()), ..account("a") };
        assert_eq!(set_password(&lines, &scram), Err(NoEdit::Lines));
        assert_eq!(set_password(&text, &account("c")), Err(NoEdit::NotThere));
        let crlf = set_password(&text.replace('\n', "\r\n"), &other).expect("it is there");
        assert_eq!(crlf.matches("\r\n").count(), crlf.matches('\n').count());
    }

    #[test]
    fn what_cannot_be_written_is_not() {
        let hash = cheap("secret", 8);
        let with = |name: &str, key, value: &str| {
            let rights = vec![(key, RightValue::Text(value.into()))];
            add("", &NewAccount { rights, ..account(name) })
        };
        assert!(matches!(with("a", "rate", "fast"), Err(NoEdit::Unsound(_))));
        assert!(matches!(with("a b", "rate", "1/s"), Err(NoEdit::Unsound(Problem::Name))));
        assert!(matches!(with("a\nb", "rate", "1/s"), Err(NoEdit::Unsound(Problem::Name))));
        assert!(matches!(add("a", &account("b")), Err(NoEdit::Unread(_))));
        let lines = format!("a:{hash}\n");
        let scram = NewAccount { scram: Some("SCRAM-SHA-256$".into()), ..account("b") };
        assert_eq!(add(&lines, &scram), Err(NoEdit::Lines));
        // A name with a colon would be another's, with another hash, in a line.
        assert!(add(&lines, &account("b:c")).is_err());
        assert_eq!(remove(&lines, "b"), Err(NoEdit::NotThere));
    }
}
