//! `relevo log`: what the log says of mail, over all of its files, whether a rotation moved or compressed them. No relay is asked.

mod filter;
mod find;
mod place;
mod stats;
mod tail;

use clap::{Args, Subcommand};

use super::output::Failure;

/// `relevo log …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Find events, the oldest first. Exit 1: there are none.
    #[command(
        after_help = "Examples:\n  relevo log find --recipient ada@example.org --since 2d\n  relevo log find --event bounced --domain '*.example.org' --since 2026-11-29 --json\n  relevo log find --id 00000000G0000102\n\nFiles that a rotation moved or compressed (.zst, .gz) are read as well."
    )]
    Find(find::FindArguments),
    /// Show the last events, and with --follow those that come, over rotations of the log.
    #[command(
        after_help = "Examples:\n  relevo log tail\n  relevo log tail --follow --event deferred,bounced --domain example.org\n  relevo log tail -f --json"
    )]
    Tail(tail::TailArguments),
    /// Count what became of recipients, by provider, domain, class or another field, with what hosts said.
    #[command(
        after_help = "Examples:\n  relevo log stats --since 1h\n  relevo log stats --by domain --event bounced --since 1d\n  relevo log stats --by class --provider google --json"
    )]
    Stats(stats::StatsArguments),
}

/// Exit 0: done; 1: nothing of that; 2: wrong use, or a log that cannot be read.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.tool {
        Tool::Find(arguments) => find::run(&arguments),
        Tool::Tail(arguments) => tail::run(&arguments),
        Tool::Stats(arguments) => stats::run(&arguments),
    }
}
