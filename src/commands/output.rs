//! What commands print, and how they end when nobody can read it: a reader that has gone (`| head`) has read enough, and the command
//! ends quietly; a full disk is a failure with a word about it. Standard error may be gone too, and stops nothing.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command ended early: exit code and words. Without words it ends quietly.
#[derive(Debug)]
pub struct Failure(pub u8, pub String);

/// The answer is no.
pub const NO: u8 = 1;
/// Wrong use, or a file that cannot be read or written.
pub const WRONG_USE: u8 = 2;

const UNWRITTEN: &str = "standard output: ";

impl From<String> for Failure {
    fn from(words: String) -> Failure {
        Failure(NO, words)
    }
}

impl From<io::Error> for Failure {
    /// Of standard output.
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure(0, String::new())
        } else {
            Failure(NO, format!("{UNWRITTEN}{error}"))
        }
    }
}

impl Failure {
    /// Whether it is that standard output could not be written.
    pub fn is_unwritten(&self) -> bool {
        self.1.starts_with(UNWRITTEN)
    }
}

/// Prints to standard output, at once: what is told late is told wrong.
pub fn print(words: fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(words)?;
    out.flush()
}

/// Says something on standard error, if anybody can hear it.
pub fn warn(words: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(format_args!("relevo: {words}\n"));
}

/// How the process ends.
pub fn end(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, words)) => {
            if !words.is_empty() {
                warn(format_args!("{words}"));
            }
            ExitCode::from(code)
        }
    }
}

/// Ends with what clap has to say: help and version, or wrong use.
pub fn end_of_arguments(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed {
        // Help is an answer, and an answer that could not be given is none.
        Err(failed) if !error.use_stderr() => end(Err(failed.into())),
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USE)),
    }
}

/// Prints a line, or ends the command with why not.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::commands::output::print(format_args!("{}\n", format_args!($($words)*)))?
    };
}

/// Says something on standard error.
macro_rules! complain {
    ($($words:tt)*) => {
        $crate::commands::output::warn(format_args!($($words)*))
    };
}

pub(crate) use {complain, say};
