//! Options that say which mail is meant.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, FromArgMatches};
use relevo::queue::select::{self, Filter};

use super::output::{Failure, WRONG_USE};

/// Which mail: that of which all holds. An option for each filter of [`select`].
pub struct Filters(Vec<(&'static str, String)>);

impl Args for Filters {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(select::FILTERS.iter().map(|filter| {
            let heading = if filter.reads { READ } else { "Filters" };
            let option = Arg::new(filter.name).long(filter.name).value_name(filter.value);
            option.help(filter.help).help_heading(heading)
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Filters::augment_args(command)
    }
}

impl FromArgMatches for Filters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Filters, clap::Error> {
        let given = |name| matches.get_one::<String>(name).map(|value| (name, value.clone()));
        Ok(Filters(select::FILTERS.iter().map(|filter| filter.name).filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Filters::from_arg_matches(matches)?;
        Ok(())
    }
}

const READ: &str = "Filters that read mail (50,000/s)";

impl Filters {
    /// By their names. What is wrong in them, or not built, is told without asking the relay.
    pub fn by_name(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut filter = Filter::default();
        let mut by_name = BTreeMap::new();
        for (name, value) in &self.0 {
            filter.set(name, value).map_err(|bad| Failure(WRONG_USE, format!("--{name}: {bad}")))?;
            by_name.insert((*name).to_owned(), value.clone());
        }
        Ok(by_name)
    }

    /// As a question has them behind its `?`.
    pub fn query(&self) -> Result<form_urlencoded::Serializer<'static, String>, Failure> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.by_name()?);
        Ok(query)
    }
}
