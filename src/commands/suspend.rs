//! `relevo suspend` and `relevo resume`: which mail waits until when, and that it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, FromArgMatches};
use relevo::config::value;
use relevo::control::api::shape::{Resume, Suspend, SuspensionEntry, Suspensions};
use relevo::queue::select;
use relevo::queue::suspension::{NAMES, Scope};

use super::client::Relay;
use super::output::{Failure, NO, WRONG_USE, complain, say};
use super::table;
use super::words::{count, plain};

/// `relevo suspend …`
#[derive(Args)]
pub struct SuspendArguments {
    #[command(flatten)]
    relay: Relay,
    #[command(flatten)]
    filters: Filters,
    /// All mail; instead of a filter.
    #[arg(long)]
    all: bool,
    /// For how long: 90s, 30m, 2h, 3d.
    #[arg(long = "for", value_name = "TIME", value_parser = value::duration, required_unless_present = "list")]
    lasts: Option<Duration>,
    /// Why; whoever lists what waits is told.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// List what is suspended instead: by operators and by rules.
    #[arg(long, conflicts_with_all = ["lasts", "reason", "all"])]
    list: bool,
    /// Print JSON: of a list one object a line.
    #[arg(long)]
    json: bool,
}

/// `relevo resume …`
#[derive(Args)]
pub struct ResumeArguments {
    #[command(flatten)]
    relay: Relay,
    #[command(flatten)]
    filters: Filters,
    /// The suspension of this number, as `suspend --list` has it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "all")]
    id: Option<u64>,
    /// All suspensions.
    #[arg(long)]
    all: bool,
    /// Print those that ended as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Which mail: that of which all holds. Those that mail is not suspended by are refused by name.
struct Filters(Vec<(&'static str, String)>);

/// Filters of other commands.
fn others() -> impl Iterator<Item = &'static str> {
    let all = select::FILTERS.iter().map(|filter| filter.name);
    // `resume` has an `--id` of its own.
    all.filter(|name| !NAMES.contains(name) && *name != "id")
}

const SOURCE: &str = "That leaves by this [[source]]: others of its pool send it meanwhile; goes alone";

impl Args for Filters {
    fn augment_args(command: clap::Command) -> clap::Command {
        let option = |name: &'static str| Arg::new(name).long(name);
        let known = select::FILTERS.iter().filter(|filter| NAMES.contains(&filter.name));
        let known = known.map(|filter| {
            let help = if filter.name == "source" { SOURCE } else { filter.help };
            option(filter.name).value_name(filter.value).help(help).help_heading("Filters")
        });
        command.args(known).args(others().map(|name| option(name).hide(true)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Filters::augment_args(command)
    }
}

impl FromArgMatches for Filters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Filters, clap::Error> {
        let given = |name| matches.get_one::<String>(name).map(|value| (name, value.clone()));
        Ok(Filters(NAMES.into_iter().chain(others()).filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Filters::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Filters {
    /// By their names. What is wrong in them is told without asking the relay.
    fn by_name(&self) -> Result<BTreeMap<String, String>, Failure> {
        let (mut scope, mut by_name) = (Scope::default(), BTreeMap::new());
        for (name, value) in &self.0 {
            scope.set(name, value).map_err(|bad| Failure(WRONG_USE, format!("--{name}: {bad}")))?;
            by_name.insert((*name).to_owned(), value.clone());
        }
        Ok(by_name)
    }
}

/// Exit 0: done; 1: no relay, or no room; 2: wrong use.
pub fn suspend(arguments: SuspendArguments) -> Result<(), Failure> {
    let SuspendArguments { relay, filters, all, lasts, reason, list, json } = arguments;
    let filter = filters.by_name()?;
    if list {
        if !filter.is_empty() {
            return Err(Failure(WRONG_USE, "--list shows all suspensions: leave the filters out".to_owned()));
        }
        return show(&relay.client()?.get::<Suspensions>("/control/v1/suspensions")?, json);
    }
    if filter.is_empty() != all {
        let words = if all {
            "--all means all mail: leave the filters out, or leave it out"
        } else {
            "all mail would be meant: give a filter, or --all"
        };
        return Err(Failure(WRONG_USE, words.to_owned()));
    }
    let seconds = lasts.unwrap_or_default().as_secs();
    let asked = Suspend { filter, all, seconds, reason };
    let done: Suspensions = relay.client()?.post("/control/v1/suspend", &asked)?;
    for one in &done.suspensions {
        if json {
            print(one)?;
        } else {
            say!("suspension {}: {} waits until {}", one.id, plain(one.mail.as_bytes()), one.until);
        }
    }
    unkept(&done);
    Ok(())
}

/// Exit 0: done; 1: there is none of that, or no relay; 2: wrong use.
pub fn resume(arguments: ResumeArguments) -> Result<(), Failure> {
    let ResumeArguments { relay, filters, id, all, json } = arguments;
    let filter = filters.by_name()?;
    if usize::from(!filter.is_empty()) + usize::from(all) + usize::from(id.is_some()) != 1 {
        let words = "give filters, or --id with a number of `relevo suspend --list`, or --all";
        return Err(Failure(WRONG_USE, words.to_owned()));
    }
    let asked = Resume { filter, all, id };
    let done: Suspensions = relay.client()?.post("/control/v1/resume", &asked)?;
    if json {
        done.suspensions.iter().try_for_each(print)?;
    } else {
        say!("{} ended", count(done.suspensions.len() as u64, "suspension"));
    }
    unkept(&done);
    if done.suspensions.is_empty() {
        return Err(Failure(NO, "nothing of that is suspended".to_owned()));
    }
    Ok(())
}

pub(super) fn unkept(done: &Suspensions) {
    if done.unkept {
        complain!("it is not on disk, which takes nothing now: the next start would not know of it");
    }
}

pub(super) fn print(one: &SuspensionEntry) -> Result<(), Failure> {
    say!("{}", serde_json::to_string(one).map_err(|error| error.to_string())?);
    Ok(())
}

fn show(all: &Suspensions, json: bool) -> Result<(), Failure> {
    if json {
        return all.suspensions.iter().try_for_each(print);
    }
    if all.suspensions.is_empty() {
        complain!("nothing is suspended");
        return Ok(());
    }
    let columns = table::columns();
    say!("ID     EFFECT   UNTIL             MAIL");
    for one in &all.suspensions {
        let set = one.key.as_ref().zip(one.value.as_ref()).map(|(key, value)| format!(": {key} = {value}"));
        let mail = plain(one.mail.as_bytes());
        let until = table::to_the_minute(&one.until);
        let set = set.or_else(|| one.to.as_ref().map(|to| format!(" to {}", plain(to.as_bytes()))));
        let first = format!("{:<6} {:<8} {until:<17} {mail}{}", one.id, one.effect, set.unwrap_or_default());
        let second = format!("by {}: {}", plain(one.by.as_bytes()), plain(one.reason.as_bytes()));
        say!("{}\n  {}", table::fit(&first, columns), table::fit(&second, columns - 2));
    }
    Ok(())
}
