//! The command: looks at a machine, measures it, tries settings of the relay, and applies what helps.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use relevo_load::output;

/// Say what this machine offers a mail relay, and get more of it.
#[derive(Parser)]
#[command(name = "relevo-tune", version = env!("RELEVO_VERSION"), arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start here: relevo-tune check.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print each limit that matters, what it should be, and the command that changes it. Nothing is changed. Exit 1: something is low.
    #[command(
        after_help = "Examples:\n  relevo-tune check\n  relevo-tune check --data-dir /var/lib/relevo --json"
    )]
    Check(cli::Check),
    /// Measure the disk's flush, the loopback, TLS on one core, and what the relay pays for signatures, handshakes and the threads beside its shards.
    #[command(after_help = "Example: relevo-tune probe --data-dir /var/lib/relevo --duration 30s")]
    Probe(cli::Probe),
    /// Run the relay with one setting after the other changed, beside itself unchanged, and write down what clearly helps.
    #[command(
        after_help = "Examples:\n  relevo-tune sweep --data-dir /var/lib\n  relevo-tune sweep --only spin=50us/200us,shards --goal latency"
    )]
    Sweep(Box<cli::sweep::Arguments>),
    /// Write the kernel settings and limits that `check` asks for, or take them back.
    #[command(
        after_help = "Examples:\n  relevo-tune apply --dry-run\n  relevo-tune apply --yes\n  relevo-tune apply --undo"
    )]
    Apply(cli::Apply),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::end_of_arguments("relevo-tune", &error),
    };
    let result = match arguments.command {
        Command::Check(arguments) => cli::check(&arguments),
        Command::Probe(arguments) => cli::probe(&arguments),
        Command::Sweep(arguments) => cli::sweep::run(*arguments),
        Command::Apply(arguments) => cli::apply(&arguments),
    };
    output::end("relevo-tune", result)
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
