//! `[credentials]`: who this relay is at smart hosts that ask for a login. Passwords stand in files of their own, and are shown nowhere.

use std::fmt;
use std::path::PathBuf;

use crate::config::literal::{Fix, Wrong, path, quoted, text};
use crate::config::section::Section;
use crate::limits;

/// One line of `[credentials]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// As routes name them.
    pub name: Box<str>,
    /// Who we are there.
    pub user: Box<str>,
    /// Where the password stands.
    pub password_file: PathBuf,
    /// What stands there; empty until it was read.
    pub password: Password,
}

/// A password. It has no text but for who asks for it by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(Box<str>);

/// What a file says that is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPassword {
    /// Nothing.
    Empty,
    /// More than [`limits::PASSWORD_MAX`] bytes.
    TooLong,
    /// It has a second line.
    Lines,
    /// A NUL, which AUTH cannot carry (RFC 4616 section 2).
    Nul,
    /// It is no text.
    NotUtf8,
}

impl Password {
    /// What a file says: one line, whose end is not part of it.
    pub fn of_file(bytes: Vec<u8>) -> Result<Password, BadPassword> {
        let text = String::from_utf8(bytes).map_err(|_| BadPassword::NotUtf8)?;
        let line = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        if line.is_empty() {
            Err(BadPassword::Empty)
        } else if line.contains(['\r', '\n']) {
            Err(BadPassword::Lines)
        } else if line.contains('\0') {
            Err(BadPassword::Nul)
        } else if line.len() > limits::PASSWORD_MAX {
            Err(BadPassword::TooLong)
        } else {
            Ok(Password(line.into()))
        }
    }

    /// What is sent, or proven, to a host.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password")
    }
}

impl fmt::Display for BadPassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadPassword::Empty => formatter.write_str("there is no password in it"),
            BadPassword::TooLong => {
                write!(formatter, "the password is longer than {} bytes", limits::PASSWORD_MAX)
            }
            BadPassword::Lines => formatter.write_str("there is more than one line in it"),
            BadPassword::Nul => formatter.write_str("the password holds a NUL, which AUTH cannot carry"),
            BadPassword::NotUtf8 => formatter.write_str("it is not UTF-8"),
        }
    }
}

pub(super) fn read(root: &Section<'_>) -> Vec<Credentials> {
    let sections = root.section("credentials").named();
    if let Some((_, first)) = sections.get(limits::CREDENTIALS_MAX) {
        let problem = format!("there are more than {} credentials", limits::CREDENTIALS_MAX);
        first.fail("", "", &problem, Fix::Do("leave out those that no route names".to_owned()));
    }
    let mut all = Vec::new();
    for (name, section) in sections.iter().take(limits::CREDENTIALS_MAX) {
        let user = section.read("user", None, |value| user(value).map(Some));
        let file = section.read("password_file", None, |value| path(value, USUAL_FILE));
        if section.has("password") {
            // What stands there is not repeated.
            let problem = "a password does not stand here, where many read it";
            let fix = "write password_file = \"/etc/relevo/NAME.password\", a file with the password alone";
            section.fail("password", "", problem, Fix::Do(fix.to_owned()));
        } else if file.is_none() && !section.has("password_file") {
            let more = ", the file with the password alone".to_owned();
            section.fail("password_file", "", "this key is missing", Fix::Write(quoted(USUAL_FILE), more));
        }
        if section.lacks("user") {
            section.fail("user", "", "this key is missing", Fix::Write(quoted("relay"), String::new()));
        }
        section.finish();
        if !crate::config::sources::is_name(name) {
            let most = limits::SOURCE_NAME_MAX;
            let fix = format!("use at most {most} letters, digits, dots, hyphens and underscores");
            section.fail("", "", "this is no name", Fix::Do(fix));
            continue;
        }
        if let (Some(user), Some(password_file)) = (user, file) {
            all.push(Credentials {
                name: (**name).into(),
                user,
                password_file,
                password: Password::default(),
            });
        }
    }
    all
}

const USUAL_FILE: &str = "/etc/relevo/smarthost.password";

fn user(value: &toml::de::DeValue<'_>) -> Result<Box<str>, Wrong> {
    let user = text(value, "relay")?;
    let clean = !user.chars().any(char::is_control);
    if user.is_empty() || user.len() > limits::ACCOUNT_NAME_MAX || !clean {
        let most = limits::ACCOUNT_NAME_MAX;
        let problem = format!("this is no name of a user: 1 to {most} bytes without control characters");
        return Err(Wrong::write(problem, quoted("relay"), ", who this relay is there"));
    }
    Ok(user.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, TlsLevel};

    fn errors(text: &str) -> Vec<String> {
        let errors = Config::parse(text, Path::new("relevo.toml")).expect_err(text);
        errors.iter().map(|error| format!("{error} {}", error.value)).collect()
    }

    const SMART: &str =
        "[credentials]\nsmart = { user = \"relay@example.net\", password_file = \"/etc/secret\" }\n";

    #[test]
    fn credentials_are_read_and_mean_verified_tls() {
        let text = format!(
            "[[route]]\ndomain = \"*\"\nto = \"smtp://smart.example:587\"\ncredentials = \"smart\"\n{SMART}"
        );
        let config = Config::parse(&text, Path::new("relevo.toml")).expect("a configuration");
        let [known] = &config.credentials[..] else { panic!("{:?}", config.credentials) };
        assert_eq!((&*known.name, &*known.user), ("smart", "relay@example.net"));
        assert_eq!(known.password_file, Path::new("/etc/secret"));
        let route = &config.routes[0];
        assert_eq!((route.credentials.as_deref(), route.tls()), (Some("smart"), Some(TlsLevel::Verified)));
    }

    #[test]
    fn what_is_wrong_is_told_and_no_password_with_it() {
        let route = "[[route]]\ndomain = \"*\"\ncredentials = \"smart\"\n";
        for (text, wanted) in [
            ("[credentials]\na = { user = \"u\" }\n".to_owned(), "add password_file = "),
            ("[credentials]\na = { password_file = \"/p\" }\n".to_owned(), "add user = \"relay\""),
            (
                "[credentials]\na = { user = \"u\", password = \"hunter2\" }\n".to_owned(),
                "write password_file",
            ),
            (
                "[credentials]\na = { user = \"u\", pasword_file = \"hunter2\" }\n".to_owned(),
                "did you mean password_file",
            ),
            (
                "[credentials]\na = { user = \"u\", passwd = \"hunter2\", password_file = \"/p\" }\n"
                    .to_owned(),
                "a.passwd",
            ),
            ("[credentials]\na = \"u:hunter2\"\n".to_owned(), "write it as [credentials.a]"),
            (
                "[credentials]\na = { user = \"\\nhunter2\", password_file = \"/p\" }\n".to_owned(),
                "no name of a user",
            ),
            ("[credentials]\n\"a b\" = { user = \"u\", password_file = \"/p\" }\n".to_owned(), "is no name"),
            (format!("{route}to = \"smtp://h\"\n"), "there are no credentials of this name"),
            (format!("{route}to = \"mx\"\n{SMART}"), "whoever publishes an MX would get the password"),
            (format!("{route}to = \"discard\"\n{SMART}"), "nobody asks for a login there"),
            (format!("{route}to = \"lmtp:/run/x\"\n{SMART}"), "nobody asks for a login there"),
            (
                format!("{route}to = [{{ to = \"smtp://h\" }}, {{ to = \"mx\", order = 1 }}]\n{SMART}"),
                "whoever publishes",
            ),
        ] {
            let told = errors(&text);
            assert!(told.iter().any(|error| error.contains(wanted)), "{text}: {told:?}");
            assert!(!told.iter().any(|error| error.contains("hunter2")), "{told:?}");
        }
    }

    #[test]
    fn a_file_has_one_password_and_its_line_end_is_cut() {
        for (bytes, password) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" a b \n", " a b "),
            ("p\u{e4}ss", "p\u{e4}ss"),
        ] {
            assert_eq!(
                Password::of_file(bytes.into()).map(|of| of.secret().to_owned()),
                Ok(password.to_owned())
            );
        }
        for (bytes, wanted) in [
            (&b""[..], BadPassword::Empty),
            (b"\n", BadPassword::Empty),
            (b"a\n\n", BadPassword::Lines),
            (b"a\nb", BadPassword::Lines),
            (b"a\rb", BadPassword::Lines),
            (b"a\0b", BadPassword::Nul),
            (b"\xff", BadPassword::NotUtf8),
            (&[b'x'; limits::PASSWORD_MAX + 1], BadPassword::TooLong),
        ] {
            assert_eq!(Password::of_file(bytes.to_vec()), Err(wanted), "{bytes:?}");
        }
        let shown = format!("{:?}", Password::of_file(b"hunter2".to_vec()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
