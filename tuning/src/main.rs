//! The command: looks at a machine, measures it, tries settings of the relay, and applies what helps.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Says what this machine offers a mail relay, and gets more of it.
#[derive(Parser)]
#[command(name = "relevo-tune", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints each limit that matters, what it should be, and the command that changes it. Changes nothing. Exit code 1: something is low.
    Check(cli::Check),
    /// Measures the disk's flush, the loopback, and TLS on one core.
    Probe(cli::Probe),
    /// Runs the relay with one setting after the other changed, beside itself unchanged, and writes down what clearly helps.
    Sweep(Box<cli::sweep::Arguments>),
    /// Writes the kernel settings and limits that `check` asks for, or takes them back.
    Apply(cli::Apply),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check(arguments) => cli::check(&arguments),
        Command::Probe(arguments) => cli::probe(&arguments),
        Command::Sweep(arguments) => cli::sweep::run(*arguments),
        Command::Apply(arguments) => cli::apply(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("relevo-tune: {error}");
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
