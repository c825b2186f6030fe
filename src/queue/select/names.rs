//! The filters that there are, as commands, their help and refusals name them.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterName {
    /// Its name; that of the option has `--` in front.
    pub name: &'static str,
    /// What its value is.
    pub value: &'static str,
    /// Which mail it means.
    pub help: &'static str,
    /// Messages are read for it, or what was said last of them.
    pub reads: bool,
}

const fn of_queues(name: &'static str, value: &'static str, help: &'static str) -> FilterName {
    FilterName { name, value, help, reads: false }
}

const fn of_records(name: &'static str, value: &'static str, help: &'static str) -> FilterName {
    FilterName { name, value, help, reads: true }
}

/// All of them: whatever stands here is an option of each command.
pub const FILTERS: [FilterName; 15] = [
    of_queues("domain", "DOMAIN", "In this domain, or below it: *.example.org"),
    of_queues(
        "site",
        "SITE",
        "At this site, named as `list` does or by one of its hosts. Mail that waits for its next attempt has none until then",
    ),
    of_queues(
        "provider",
        "NAME",
        "At a site of this provider, by its name in the shaping files. Mail that waits for its next attempt has no site until then",
    ),
    of_queues("source", "NAME", "That leaves by this [[source]]"),
    of_queues(
        "state",
        "STATE",
        "`deferred` waits for its next attempt, `ready` for a connection, `suspended` for a suspension to end, `held` for its send_at or an operator",
    ),
    of_queues("older", "TIME", "Came so long ago, or longer: 30m, 2h, 3d"),
    of_queues("id", "ID", "Of this message"),
    of_records(
        "sender",
        "PATTERN",
        "From this sender: ada@example.org, @example.org, *.example.org, or <> for notifications",
    ),
    of_records(
        "recipient",
        "PATTERN",
        "To this address, or such: ada@example.org, @example.org, *.example.org",
    ),
    of_records("account", "NAME", "That came by this account"),
    of_records("tenant", "NAME", "Of this tenant"),
    of_records("campaign", "NAME", "Of this campaign"),
    of_records("pool", "NAME", "For this pool of sources"),
    of_records(
        "origin",
        "ID",
        "That had this id at the node which handed it over, by `relevo drain`; NODE/ID where several did",
    ),
    of_records(
        "reply",
        "PATTERN",
        "Whose last reply has this in it, a regular expression in either case: '4\\.7\\.1', 'try again'",
    ),
];

/// Their names, for refusals.
pub fn all() -> String {
    FILTERS.map(|filter| filter.name).join(", ")
}
