//! `relevo hash-password`.

use std::io::{IsTerminal, Read};

use relevo::limits;
use relevo::policy::accounts;
use relevo::runtime::{files, process, terminal};

use super::output::{Failure, NO, say};

/// Asks for a password on a terminal, twice and without showing it; reads it from standard input where that is none.
pub fn hash() -> Result<(), Failure> {
    let password = if std::io::stdin().is_terminal() { ask()? } else { read()? };
    if password.is_empty() {
        return Err("the password is empty".to_owned().into());
    }
    let hash = accounts::hash(&password, &process::random_bytes()).map_err(|error| error.to_string())?;
    say!("{hash}");
    Ok(())
}

fn ask() -> Result<Vec<u8>, Failure> {
    let one = |prompt: &str| match terminal::secret(prompt, limits::PASSWORD_MAX + 1) {
        Ok(Some(secret)) => Ok(secret),
        // As a shell says that somebody pressed Ctrl-C.
        Ok(None) => Err(Failure(130, String::new())),
        Err(error) => Err(format!("the terminal: {error}; write the password to standard input").into()),
    };
    let first = one("Password: ")?;
    if first.is_empty() {
        return Ok(first);
    }
    if one("The same again: ")? == first { Ok(first) } else { Err(Failure(NO, "the two differ".to_owned())) }
}

fn read() -> Result<Vec<u8>, Failure> {
    let mut password = Vec::new();
    let most = (limits::PASSWORD_MAX + b"\xef\xbb\xbf\r\n\0".len()) as u64;
    let read = std::io::stdin().take(most).read_to_end(&mut password);
    read.map_err(|error| Failure(NO, format!("standard input: {error}")))?;
    files::without_mark(&mut password);
    let end = password.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    password.truncate(end);
    if password.is_empty() {
        return Err("the password is empty; write it to standard input".to_owned().into());
    }
    if password.contains(&b'\n') {
        return Err("standard input has several lines; write the one password to it".to_owned().into());
    }
    Ok(password)
}
