//! What commands print, and how they end when nobody can read it: a reader that has gone (`| head`) has read enough, and the command
//! ends quietly; a full disk is a failure with a word about it. Standard error may be gone too, and stops nothing.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Standard output that cannot be written: apart from every other error, so that only it ends a command quietly.
#[derive(Debug)]
struct Unwritten(io::Error);

impl fmt::Display for Unwritten {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "standard output: {}", self.0)
    }
}

impl std::error::Error for Unwritten {}

/// Prints to standard output, at once: what is told late is told wrong.
pub fn print(words: fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let printed = out.write_fmt(words).and_then(|()| out.flush());
    printed.map_err(|error| io::Error::other(Unwritten(error)))
}

/// Says something on standard error, if anybody can hear it.
pub fn complain(words: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(format_args!("{words}\n"));
}

/// How the process ends: `program` says what failed. Exit code 2, and 1 where only the answer could not be written.
pub fn end(program: &str, result: io::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let unwritten = error.get_ref().and_then(|inner| inner.downcast_ref::<Unwritten>());
    if unwritten.is_some_and(|Unwritten(error)| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    complain(format_args!("{program}: {error}"));
    ExitCode::from(if unwritten.is_some() { 1 } else { 2 })
}

/// Ends with what clap has to say: help and version, or wrong use.
pub fn end_of_arguments(program: &str, error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(failed) if !error.use_stderr() => end(program, Err(io::Error::other(Unwritten(failed)))),
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

/// Prints a line, or ends the command with why not.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {
        $crate::output::print(format_args!("{}\n", format_args!($($words)*)))?
    };
}

/// Says something on standard error, if anybody can hear it.
#[macro_export]
macro_rules! complain {
    ($($words:tt)*) => {
        $crate::output::complain(format_args!($($words)*))
    };
}
