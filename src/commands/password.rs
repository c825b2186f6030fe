//! `relevo hash-password`.

use std::io::{IsTerminal, Read};
use std::num::NonZeroU32;

use clap::Args;
use relevo::limits;
use relevo::policy::accounts;
use relevo::runtime::{files, process, terminal};

use super::output::{Failure, NO, complain, say};

/// `relevo hash-password`
#[derive(Args)]
pub struct Arguments {
    /// Print a verifier of SCRAM-SHA-256, for `scram =` of an account, in place of a hash for `password =`.
    #[arg(long)]
    scram: bool,
    /// Iterations of it: clients compute so many at each login.
    #[arg(
        long,
        requires = "scram",
        value_name = "COUNT",
        default_value_t = limits::SCRAM_ITERATIONS,
        value_parser = clap::value_parser!(u32).range(
            i64::from(limits::client::ITERATIONS_MIN)..=i64::from(limits::client::ITERATIONS_MAX)
        )
    )]
    iterations: u32,
}

/// Asks for a password, and prints what is kept of it.
pub fn hash(arguments: &Arguments) -> Result<(), Failure> {
    let password = password()?;
    let hash = match NonZeroU32::new(arguments.iterations).filter(|_| arguments.scram) {
        Some(iterations) => accounts::verifier(&password, process::random_bytes(), iterations),
        None => accounts::hash(&password, &process::random_bytes()),
    };
    if arguments.scram && !password.is_ascii() {
        complain!("clients write letters beyond ASCII in another form (RFC 4013): try it with yours");
    }
    say!("{}", hash.map_err(|error| error.to_string())?);
    Ok(())
}

/// Asks for one on a terminal, twice and without showing it; reads it from standard input where that is none.
pub(super) fn password() -> Result<Vec<u8>, Failure> {
    let password = if std::io::stdin().is_terminal() { ask()? } else { read()? };
    if password.is_empty() { Err("the password is empty".to_owned().into()) } else { Ok(password) }
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
