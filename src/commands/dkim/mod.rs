//! `relevo dkim`: keys that sign mail, and what the DNS has of them. No relay is asked.

mod check;
mod found;
mod keygen;
mod show;

pub use check::Published;
pub use found::{Found, domain};

use clap::{Args, Subcommand};

use super::output::Failure;

/// `relevo dkim …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Make new keys for a domain and print the records to publish. Exit 1: nothing was made.
    #[command(
        after_help = "Examples:\n  relevo dkim keygen example.com\n  relevo dkim keygen example.com --algorithm rsa --selector spring --keys ./dkim\n\nEach key is a file DOMAIN/SELECTOR.pem, never written over another. Standard output is lines of a zone file."
    )]
    Keygen(keygen::Arguments),
    /// Show keys: which of them sign, since or from when, and the records that belong to them. Exit 1: a key cannot be used.
    #[command(after_help = "Examples:\n  relevo dkim show\n  relevo dkim show example.com --json")]
    Show(show::Arguments),
    /// Ask the DNS for the record of each key and compare. Exit 1: a key that signs now is not published as it should be.
    #[command(
        after_help = "Examples:\n  relevo dkim check example.com\n  relevo dkim check --config my.toml --json\n\nThe name servers are those of the configuration, or of /etc/resolv.conf."
    )]
    Check(check::Arguments),
}

/// Exit 0: done; 1: no; 2: wrong use.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.tool {
        Tool::Keygen(arguments) => keygen::run(arguments),
        Tool::Show(arguments) => show::run(arguments),
        Tool::Check(arguments) => check::run(arguments),
    }
}
