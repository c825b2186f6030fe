//! The `relevo` command: arguments, configuration, node. The only place where the process ends.

mod commands;
mod demo;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use commands::check::{self, Configuration};
use commands::output;
use relevo::config::judge::judge;
use relevo::control::say;
use relevo::observe::diagnostics::Level;
use relevo::runtime::os::probe;
use relevo::runtime::output::last_words;

/// A bulk-mail relay: one shard a core, every message on disk before its 250.
#[derive(Parser)]
#[command(version = env!("RELEVO_VERSION"), arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Start here: relevo demo, then relevo check --config my.toml and relevo run --config my.toml."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay.
    #[command(
        after_help = "Example: relevo run --config /etc/relevo/relevo.toml\n\nSIGTERM ends it in order, SIGHUP reads the configuration again, SIGUSR1 opens its log again, SIGUSR2 has the binary that is installed now take over."
    )]
    Run(Configuration),
    /// Say what a configuration means, or what is wrong in it, and what this machine would say to it. Exit 1: the relay would not start.
    #[command(
        after_help = "Examples:\n  relevo check\n  relevo check --config my.toml --json\n  relevo check --config my.toml --file-only   on another machine than the relay's"
    )]
    Check(check::Arguments),
    /// Show what the relay does on this machine: a relay, a sink and ten seconds of mail; or one that stays, with its page.
    #[command(after_help = "Examples:\n  relevo demo --duration 30s\n  relevo demo --stay")]
    Demo {
        /// How long mail is sent: 30, 30s, 2m; at most an hour.
        #[arg(long, alias = "seconds", default_value = "10s", value_name = "TIME", value_parser = demo::duration)]
        duration: std::time::Duration,
        /// Leave the relay up until Ctrl-C, with its page and an internet that throttles, greylists and refuses.
        #[arg(long, conflicts_with = "duration")]
        stay: bool,
    },
    /// Show the status of the running relay. Exit 1: it takes no mail, or there is none.
    #[command(
        after_help = "Examples:\n  relevo status\n  relevo status --cluster\n  relevo status --config my.toml --json"
    )]
    Status(commands::status::Arguments),
    /// Have the running relay read its configuration again. Exit 1: it is refused, and nothing changed.
    #[command(
        after_help = "Examples:\n  relevo reload --dry-run\n  relevo reload --config my.toml --json\n\nWhat only a start reads is named and waits for a restart; all else takes effect at once, or nothing does."
    )]
    Reload(commands::reload::Arguments),
    /// Have the binary that is installed now take over from the running relay: no connection is refused. Exit 1: it would not start, and nothing changed.
    #[command(
        after_help = "Examples:\n  relevo upgrade\n  relevo upgrade --status\n\nThe new process has the same arguments. SIGUSR2 does the same."
    )]
    Upgrade(commands::upgrade::Arguments),
    /// Empty the relay: all that waits goes to another one, and nothing new is taken in. Exit 1: it was ended, or some is held and does not go.
    #[command(
        after_help = "Examples:\n  relevo drain --to smtp://mx2.example.net --reason 'a new disk'\n  relevo drain --status\n  relevo drain --end"
    )]
    Drain(commands::drain::Arguments),
    /// Look at what waits in the running relay, try it now, or return it.
    #[command(
        after_help = "Examples:\n  relevo queue count\n  relevo queue list --domain example.org\n  relevo queue retry --domain example.org"
    )]
    Queue(commands::queue::Arguments),
    /// Watch sessions as they go: what clients and next hops say, and what they are told; of logins only that there are some.
    #[command(
        after_help = "Examples:\n  relevo trace --rcpt @example.org\n  relevo trace --client 192.0.2.0/24 --json\n  relevo trace --site mx.example.org --bodies"
    )]
    Trace(commands::trace::Arguments),
    /// Have mail wait: nothing of it is tried before the time is over, or `resume` says so. What is under way is finished.
    #[command(
        after_help = "Examples:\n  relevo suspend --domain example.org --for 2h --reason 'their MX moves'\n  relevo suspend --tenant shop --for 1d\n  relevo suspend --list"
    )]
    Suspend(commands::suspend::SuspendArguments),
    /// Have mail go on that was suspended, by an operator or by a rule. Exit 1: nothing of that was suspended.
    #[command(
        after_help = "Examples:\n  relevo resume --domain example.org\n  relevo resume --id 3\n  relevo resume --all"
    )]
    Resume(commands::suspend::ResumeArguments),
    /// Say who gets no mail: put addresses on the suppression list, take them from it, look, import, export.
    #[command(
        after_help = "Examples:\n  relevo suppress add ada@example.org --reason complaint\n  relevo suppress check ada@example.org\n  relevo suppress import bounces.csv --tenant shop"
    )]
    Suppress(commands::suppress::Arguments),
    /// Say why mail waits: for which limit, rate, site or time, until when, who has the connections, and what was said last. Exit 1: nothing of that waits.
    #[command(
        after_help = "Examples:\n  relevo why example.org\n  relevo why 00000000G0000102\n  relevo why ada@example.org --json"
    )]
    Why(commands::why::Arguments),
    /// Show how far sources in warm-up are, at each provider.
    #[command(after_help = "Examples:\n  relevo warmup show\n  relevo warmup show --json")]
    Warmup(commands::warmup::Arguments),
    /// Say what shaping files mean: limits by destination, and what replies change. Find what in them is wrong.
    #[command(
        after_help = "Examples:\n  relevo shaping check /etc/relevo/shaping.toml\n  relevo shaping show gmail.com --mx gmail-smtp-in.l.google.com"
    )]
    Shaping(commands::shaping::Arguments),
    /// Make and show the keys that sign mail, and compare them with what the DNS has.
    #[command(after_help = "Examples:\n  relevo dkim keygen example.com\n  relevo dkim check example.com")]
    Dkim(commands::dkim::Arguments),
    /// Say whether receivers would believe mail of a domain: what the DNS says of it, what should be there, and what to publish.
    #[command(after_help = "Example: relevo domain check example.com")]
    Domain(commands::domain::Arguments),
    /// Find events in the log and what was rotated from it, follow it, or count what became of mail.
    #[command(
        after_help = "Examples:\n  relevo log find --recipient ada@example.org --since 2d\n  relevo log tail --follow\n  relevo log stats --by class --since 1h"
    )]
    Log(commands::log::Arguments),
    /// Look at the spool of a stopped or running relay; take over that of another one.
    #[command(
        after_help = "Examples:\n  relevo spool list\n  relevo spool verify --data-dir /var/lib/relevo"
    )]
    Spool(commands::spool::Arguments),
    /// Add, list and remove accounts of the file that the configuration names.
    #[command(
        after_help = "Examples:\n  relevo account add shop --sender @shop.example --rate 50000/d\n  relevo account list\n  relevo account remove shop"
    )]
    Account(commands::account::Arguments),
    /// Add, list and remove tokens of those who may ask the relay over HTTP.
    #[command(
        after_help = "Examples:\n  relevo token add ops --role operate\n  relevo token list\n  relevo token remove ops"
    )]
    Token(commands::token::Arguments),
    /// Ask for a password, or read it from standard input, and print its hash for the account file.
    #[command(
        after_help = "Examples:\n  relevo hash-password\n  relevo hash-password < password-file\n  relevo hash-password --scram"
    )]
    HashPassword(commands::password::Arguments),
    /// Keep templates of mail: add them, look at what they say, try them.
    #[command(
        after_help = "Examples:\n  relevo template add welcome --subject 'Welcome, {{name}}' --html welcome.html\n  relevo template preview welcome --data '{\"name\": \"Ada\"}'\n  relevo template list"
    )]
    Template(commands::template::Arguments),
    /// Print what a shell needs to complete these commands.
    #[command(
        after_help = "Examples:\n  relevo completions bash > /usr/share/bash-completion/completions/relevo\n  relevo completions zsh > ~/.zfunc/_relevo"
    )]
    Completions(commands::install::CompletionArguments),
    /// Write manual pages: that of relevo to standard output, or one for each command into a directory.
    #[command(after_help = "Examples:\n  relevo man | man -l -\n  relevo man /usr/local/share/man/man1")]
    Man(commands::install::ManArguments),
    /// Watch what the relay does: rates, what waits for whom, sites, errors, shards; suspend and resume there.
    #[command(
        after_help = "Examples:\n  relevo top\n  relevo top --once --view domains\n  relevo top --json"
    )]
    Top(commands::top::Arguments),
    /// Forget an address: in logs and what was rotated from them, in texts of receivers, in the journal. Exit 1: something is left, which is told.
    #[command(
        after_help = "Examples:\n  relevo erase ada@example.org --dry-run\n  relevo erase ada@example.org --suppression\n  relevo erase ada@example.org --json"
    )]
    Erase(commands::erase::Arguments),
    /// Make a configuration of that of another relay, and say of each of its directives what became of it. Exit 1: it cannot be read, or there are files already.
    #[command(
        after_help = "Examples:\n  relevo import postfix /etc/postfix --output /etc/relevo/new\n  relevo import pmta /etc/pmta/config --output new --json\n  relevo import kumo /opt/kumomta/etc/policy --output new --force"
    )]
    Import(commands::import::Arguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::end_of_arguments(&error),
    };
    output::end(match arguments.command {
        Command::Run(place) => return run(&place),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo { stay: true, .. } => demo::stay(),
        Command::Demo { duration, .. } => demo::run(duration),
        Command::Status(arguments) => commands::status::run(&arguments),
        Command::Reload(arguments) => commands::reload::run(&arguments),
        Command::Drain(arguments) => commands::drain::run(&arguments),
        Command::Upgrade(arguments) => commands::upgrade::run(&arguments),
        Command::Queue(arguments) => commands::queue::run(arguments),
        Command::Trace(arguments) => commands::trace::run(&arguments),
        Command::Suspend(arguments) => commands::suspend::suspend(arguments),
        Command::Resume(arguments) => commands::suspend::resume(arguments),
        Command::Suppress(arguments) => commands::suppress::run(arguments),
        Command::Why(arguments) => commands::why::run(&arguments),
        Command::Warmup(arguments) => commands::warmup::run(arguments),
        Command::Shaping(arguments) => commands::shaping::run(arguments),
        Command::Dkim(arguments) => commands::dkim::run(&arguments),
        Command::Domain(arguments) => commands::domain::run(&arguments),
        Command::Log(arguments) => commands::log::run(arguments),
        Command::Spool(arguments) => commands::spool::run(arguments),
        Command::Account(arguments) => commands::account::run(arguments),
        Command::Token(arguments) => commands::token::run(arguments),
        Command::Template(arguments) => commands::template::run(arguments),
        Command::HashPassword(arguments) => commands::password::hash(&arguments),
        Command::Completions(arguments) => commands::install::completions(Arguments::command(), &arguments),
        Command::Man(arguments) => commands::install::man(Arguments::command(), &arguments),
        Command::Top(arguments) => commands::top::run(&arguments),
        Command::Erase(arguments) => commands::erase::run(&arguments),
        Command::Import(arguments) => commands::import::run(&arguments),
    })
}

/// Its words go where perhaps nobody reads, and must not wait there.
fn run(place: &Configuration) -> ExitCode {
    let ended = check::load(&place.config).map_err(|error| error.to_string()).and_then(|config| {
        for warning in judge(&config, config.shard_count(probe::cores().len())) {
            say(Level::Warning, format_args!("{warning}"));
        }
        run::run(config).map_err(|error| error.to_string())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            last_words(&format!("relevo: {problem}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_sound() {
        Arguments::command().debug_assert();
    }
}
