//! Looks at a machine and says what limits a relay on it. Reads only; what to change it prints as commands.

mod facts;

use clap::{Parser, Subcommand};
use facts::{Finding, Grade};

/// Says what this machine offers a mail relay, and what to change.
#[derive(Parser)]
#[command(name = "relevo-tune", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints each limit that matters, whether it is enough, and the command that raises it. Changes nothing.
    Check,
}

fn main() {
    let Command::Check = Arguments::parse().command;
    let findings = facts::all();
    for Finding { name, value, grade, why, fix } in &findings {
        let mark = match grade {
            Grade::Good => "ok  ",
            Grade::Low => "LOW ",
            Grade::Unknown => "?   ",
        };
        println!("{mark}{name:<36}{value}");
        if *grade == Grade::Low {
            println!("    {why}");
            for line in fix.lines() {
                println!("      {line}");
            }
        }
    }
    let low = findings.iter().filter(|finding| finding.grade == Grade::Low).count();
    println!();
    match low {
        0 => println!("Nothing to change."),
        _ => println!(
            "{low} to change. `sysctl -w` lasts until the next boot; write the same to /etc/sysctl.d/90-relevo.conf to keep it."
        ),
    }
}
