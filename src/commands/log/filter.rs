//! Options that say which events are meant.

use clap::Args;
use relevo::control::logged::filter::{BadLogFilter, LogFilters, Wanted, moment};
use relevo::time::UnixMillis;

use super::super::output::{Failure, WRONG_USE};

/// Options that say which.
#[derive(Args, Clone, Debug, Default)]
pub struct Filters {
    /// Of these kinds: received, delivered, deferred, delayed, bounced, expired, …
    #[arg(long, value_name = "EVENT,...", value_delimiter = ',', help_heading = "Filters")]
    event: Vec<String>,
    /// From then on: 2h, 3d (ago), 2026-11-30 or 2026-11-30T05:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Filters")]
    pub since: Option<UnixMillis>,
    /// Until then
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Filters")]
    until: Option<UnixMillis>,
    /// To somebody in this domain, or below it: *.example.org
    #[arg(long, value_name = "DOMAIN", help_heading = "Filters")]
    domain: Option<String>,
    /// At this site, by its name or one of its hosts
    #[arg(long, value_name = "SITE", help_heading = "Filters")]
    site: Option<String>,
    /// At a site of this provider
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    provider: Option<String>,
    /// That left by this [[source]]
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    source: Option<String>,
    /// From this sender: ada@example.org, @example.org, *.example.org, or <> for notifications
    #[arg(long, value_name = "PATTERN", help_heading = "Filters")]
    sender: Option<String>,
    /// To this address, or such
    #[arg(long, value_name = "PATTERN", help_heading = "Filters")]
    recipient: Option<String>,
    /// That came by this account
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    account: Option<String>,
    /// Of this tenant
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    tenant: Option<String>,
    /// Of this campaign
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    campaign: Option<String>,
    /// For this pool of sources
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    pool: Option<String>,
    /// Of this message
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    id: Option<String>,
    /// Of this class: bad_mailbox, throttled, …
    #[arg(long, value_name = "CLASS", help_heading = "Filters")]
    class: Option<String>,
    /// Whose reply has this in it, a regular expression in either case
    #[arg(long, value_name = "PATTERN", help_heading = "Filters")]
    reply: Option<String>,
}

impl Filters {
    /// What is wrong in them is told.
    pub fn wanted(&self) -> Result<Wanted, Failure> {
        let mut filters = LogFilters::default();
        filters.event.clone_from(&self.event);
        (filters.since, filters.until) = (self.since, self.until);
        let texts = [
            ("domain", &self.domain),
            ("site", &self.site),
            ("provider", &self.provider),
            ("source", &self.source),
            ("sender", &self.sender),
            ("recipient", &self.recipient),
            ("account", &self.account),
            ("tenant", &self.tenant),
            ("campaign", &self.campaign),
            ("pool", &self.pool),
            ("id", &self.id),
            ("class", &self.class),
            ("reply", &self.reply),
        ];
        let wrong = |bad: BadLogFilter| Failure(WRONG_USE, format!("--{}: {}", bad.name, bad.words));
        for (name, text) in texts {
            if let Some(text) = text {
                filters.set(name, text).map_err(wrong)?;
            }
        }
        filters.wanted().map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;
    use relevo::control::logged::filter::LOG_FILTERS;

    use super::*;

    #[test]
    fn each_filter_has_an_option() {
        let command = Filters::augment_args(clap::Command::new("x"));
        let options: Vec<String> =
            command.get_arguments().filter_map(|one| one.get_long().map(str::to_owned)).collect();
        assert_eq!(options, LOG_FILTERS.map(|(name, _)| name));
    }
}
