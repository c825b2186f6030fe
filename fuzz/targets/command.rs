//! Command lines (RFC 5321 4.1.1).

use relevo::limits;
use relevo::mail::address::Path;
use relevo::smtp::command::{self, Command, CommandError, MergeCommand, parse};
use relevo::smtp::reply;
use relevo::smtp::xclient;

use super::mail::assert_path;

/// Any line is a command that keeps its bounds, or an error that has words.
pub fn command(data: &[u8]) {
    // As the session cuts lines.
    for line in data.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let parsed = parse(line);
        match parsed {
            Ok(command) => assert_command(line, command),
            Err(error) => assert_words(reply::of_error(error)),
        }
        // Verbs and keywords have no case.
        let verb = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let mut other = line.to_vec();
        other[..verb].make_ascii_uppercase();
        let upper = parse(&other).map(|command| format!("{command:?}"));
        assert_eq!(upper, parsed.map(|command| format!("{command:?}")));
        assert!(!matches!(parsed, Err(CommandError::Unknown)) || !known(&line[..verb]));
    }
}

fn known(verb: &[u8]) -> bool {
    [
        &b"EHLO"[..],
        b"HELO",
        b"MAIL",
        b"RCPT",
        b"DATA",
        b"BDAT",
        b"RSET",
        b"NOOP",
        b"QUIT",
        b"VRFY",
        b"HELP",
        b"AUTH",
        b"XCLIENT",
    ]
    .iter()
    .any(|known| known.eq_ignore_ascii_case(verb))
}

fn assert_command(line: &[u8], command: Command<'_>) {
    match command {
        Command::Ehlo(name) | Command::Helo(name) => {
            assert!((1..=limits::DOMAIN_MAX).contains(&name.len()));
            assert!(!name.iter().any(u8::is_ascii_control));
            assert!(!command::name_text(name).chars().any(char::is_control));
        }
        Command::Mail(path, parameters) => {
            assert_inside(line, path);
            assert!(
                parameters.size.is_none()
                    || line.to_ascii_uppercase().windows(5).any(|five| five == b"SIZE=")
            );
            let eight = line.to_ascii_uppercase().windows(13).any(|word| word == b"BODY=8BITMIME");
            assert!(!parameters.eight_bit || eight);
        }
        Command::Rcpt(path, asked) => {
            assert_inside(line, path);
            assert!(!path.address.is_empty());
            let words = line.to_ascii_uppercase();
            let has = |key: &[u8]| words.windows(key.len()).any(|part| part == key);
            assert!(asked.notify.is_unsaid() || has(b"NOTIFY="));
            assert!(asked.original.is_none() || has(b"ORCPT="));
        }
        Command::Auth(mechanism, initial) => {
            for word in [Some(mechanism), initial].into_iter().flatten() {
                assert!(!word.is_empty() && !word.contains(|letter: char| letter.is_ascii_whitespace()));
            }
        }
        Command::Bdat(size, last) => {
            let mut words =
                line.split(|byte| *byte == b' ').filter(|word| !word.trim_ascii().is_empty()).skip(1);
            let digits = words.next().expect("a size").trim_ascii();
            assert!(digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit));
            let number = std::str::from_utf8(digits).expect("digits").parse().unwrap_or(u64::MAX);
            assert_eq!((size, last), (number, words.next().is_some()));
        }
        Command::XClient(said) => assert_introduction(said),
        Command::Merge(MergeCommand::From(path, _)) => assert_inside(line, path),
        Command::Merge(MergeCommand::Part(number, _)) => assert!((1..=64).contains(&number)),
        Command::Merge(MergeCommand::Define(said)) => assert!(said.len() + 4 <= line.len()),
        Command::Merge(MergeCommand::Acknowledge(..)) => {}
        Command::Data | Command::Rset | Command::Quit | Command::StartTls => assert!(line.len() >= 4),
        Command::Noop | Command::Vrfy | Command::Expn | Command::Help => {}
    }
}

/// What a gateway says is short and clean, and does not depend on the case of its words.
fn assert_introduction(said: &[u8]) {
    let Some(introduction) = xclient::parse(said) else { return };
    let texts = [introduction.helo.as_deref(), introduction.login.as_deref()];
    for text in texts.into_iter().flatten() {
        assert!(!text.is_empty() && !text.chars().any(char::is_control));
    }
    let words = said.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let lower: Vec<u8> = words
        .flat_map(|word| {
            let end = word.iter().position(|byte| *byte == b'=').expect("a value");
            [word[..end].to_ascii_lowercase(), word[end..].to_vec(), b" ".to_vec()].concat()
        })
        .collect();
    assert_eq!(xclient::parse(&lower), Some(introduction));
    assert_eq!(xclient::parse(&[&lower[..], &lower[..]].concat()), None, "each once");
}

fn assert_inside(line: &[u8], path: Path<'_>) {
    assert_path(&path);
    let found = path.address.is_empty() || line.windows(path.address.len()).any(|part| part == path.address);
    assert!(found, "an address nobody wrote");
}

/// One reply line with an enhanced code of its own class.
fn assert_words(words: &str) {
    let line = words.strip_suffix("\r\n").expect("words end their line");
    assert!(!line.contains(['\r', '\n']) && line.is_ascii());
    assert_eq!(
        line.as_bytes()[0],
        line.as_bytes()[4],
        "the classes of code and enhanced code differ: {line}"
    );
}
