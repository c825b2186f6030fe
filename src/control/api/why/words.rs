//! Causes in words.

use std::time::Duration;

use super::later::Later;
use crate::config::value::show_duration;
use crate::control::api::shape::why::Because;
use crate::shard::ask::why::{Cause, RateOf, SiteState};
use crate::time::UnixMillis;

/// A point of time as somebody reads it who waits for it.
pub(super) fn when(at: UnixMillis, now: UnixMillis) -> String {
    let left = Duration::from_secs(at.0.saturating_sub(now.0).div_ceil(1000));
    if left.is_zero() {
        return "now".to_owned();
    }
    let civil = at.civil();
    let clock = format!("{:02}:{:02}:{:02}Z", civil.hour, civil.minute, civil.second);
    let today = now.civil();
    let day = if (civil.year, civil.month, civil.day) == (today.year, today.month, today.day) {
        String::new()
    } else {
        format!("{:04}-{:02}-{:02} ", civil.year, civil.month, civil.day)
    };
    format!("at {day}{clock} (in {})", show_duration(left))
}

/// What mail waits for that is to be tried later.
pub(super) fn next_try(recipients: u64, next: Option<UnixMillis>, now: UnixMillis) -> Because {
    let first = if recipients > 1 { ", the first" } else { "" };
    let words = match next {
        Some(next) => format!("waiting for the next try{first} {}", when(next, now)),
        None => "waiting to be given up: it is too old before its next try".to_owned(),
    };
    because("next_try", words, recipients)
}

/// What mail waits for that is suspended; `by` says by which suspension.
pub(super) fn suspended(
    recipients: u64,
    until: Option<UnixMillis>,
    by: Option<&str>,
    now: UnixMillis,
) -> Because {
    let until =
        until.map_or("until it is given up".to_owned(), |until| format!("until {}", when(until, now)));
    let until = until.replacen("until at ", "until ", 1);
    let by = by.unwrap_or("`relevo suspend --list` says by what");
    because("suspended", format!("suspended {until}: {by}"), recipients)
}

/// What mail waits for whose sender, or a rule, says when it is to go.
pub(super) fn held(recipients: u64, until: Option<UnixMillis>, now: UnixMillis) -> Because {
    let first = if recipients > 1 { ", the first" } else { "" };
    let until = until.map_or("until its time comes".to_owned(), |until| when(until, now));
    because("held", format!("held until its send_at{first} {until}"), recipients)
}

/// What mail waits for that an operator holds; `by` says who, why and until when.
pub(super) fn kept(recipients: u64, by: Option<&str>) -> Because {
    let by = by.unwrap_or("`relevo queue list --state held` says by whom");
    because("kept", format!("held {by}; `relevo queue release` lets it go"), recipients)
}

/// What mail waits for that is to go at a point of time, `then`, and what is suspended beyond that: the words for it without, and with.
pub(super) fn later(
    words: impl Fn(u64, Option<UnixMillis>, UnixMillis) -> Because,
    recipients: u64,
    then: Option<UnixMillis>,
    later: &Later,
    now: UnixMillis,
) -> (Because, Option<UnixMillis>) {
    let Some((until, by)) = &later.suspended else { return (words(recipients, then, now), then) };
    let until = (*until).max(then.unwrap_or(*until));
    let ends = when(until, now);
    let ends = ends.strip_prefix("at ").unwrap_or(&ends);
    let Some(free) = later.free else {
        let due = words(recipients, then, now).words;
        return (
            because("suspended", format!("{due}, but suspended until {ends}: {by}"), recipients),
            Some(until),
        );
    };
    let free = then.map(|then| then.max(free));
    let told = words(recipients, free, now);
    (Because { words: format!("{}; some is suspended until {ends}: {by}", told.words), ..told }, free)
}

pub(super) fn because(cause: &str, words: String, recipients: u64) -> Because {
    Because { cause: cause.to_owned(), words, recipients, domains: 1, until: None }
}

/// What mail waits for whose time has come.
pub(super) fn ready(
    (cause, until): (&Cause, Option<UnixMillis>),
    site: Option<&SiteState>,
    recipients: u64,
    now: UnixMillis,
) -> Because {
    let none = SiteState::default();
    let site = site.unwrap_or(&none);
    let until = until.map(|until| when(until, now)).unwrap_or_default();
    let (name, words) = match cause {
        Cause::LookUp { deaf: true, .. } => {
            ("name_servers", "no name server answers, not even for the root: look at dns.servers".to_owned())
        }
        Cause::LookUp { seconds, line, .. } => {
            let others = if *line > 1 { format!(", and {line} domains are in line") } else { String::new() };
            ("look_up", format!("waiting to hear where the domain leads, for {seconds} s{others}"))
        }
        Cause::Closed { failures, error } => {
            let times = if *failures > 1 { format!("{failures} times in a row") } else { "once".to_owned() };
            ("site_closed", format!("the site failed {times} and is tried next {until}: {error}"))
        }
        Cause::Source { why } => {
            ("source", format!("its source is suspended, and looked at next {until}: {why}"))
        }
        Cause::Rate { of, words } => rate(*of, words, &until, site),
        Cause::WarmUp { provider, used, volume, asked } => {
            ("warm-up", warm_up(provider, (*used, *volume, *asked), &until))
        }
        Cause::Elsewhere(by) => (
            "fallback",
            format!(
                "its source sends nothing there now, and {by} sends in its place (fallback_source): its mail moves there as soon as that can send"
            ),
        ),
        Cause::Connections => ("connections", connections(site)),
        Cause::ProviderConnections(place) => match site.providers.get(*place) {
            Some(provider) => {
                let (most, line) =
                    provider.limit.as_ref().map(|of| (of.most, &*of.words)).unwrap_or_default();
                let (name, used, by) = (&provider.name, provider.used, by(line));
                let words = format!("{used} of {most} connections to provider {name} are in use{by}");
                ("provider_connections", words)
            }
            None => ("provider_connections", "all connections to its provider are in use".to_owned()),
        },
        Cause::Address { address, used, most } => {
            let line = "delivery.connections_per_address";
            ("address", format!("{used} of {most} connections to {address} are in use ({line})"))
        }
        Cause::Opening { used, most } => {
            ("opening", format!("waiting to connect: its shard has {used} of {most} connections in use"))
        }
        Cause::Credits => {
            ("spool", "waiting for the spool: what became of earlier attempts is not on disk yet".to_owned())
        }
        Cause::Turn => ("turn", turn(site)),
        Cause::Stopping => ("stopping", "the relay is stopping: the next start goes on with it".to_owned()),
    };
    because(name, words, recipients)
}

fn warm_up(provider: &str, (used, volume, asked): (u32, u32, bool), until: &str) -> String {
    if asked {
        return format!("warm-up: waiting to hear what its source has left at {provider} today");
    }
    format!(
        "warm-up: its source has used {used} of the {volume} messages of today at {provider} (a kill uses up some that did not leave); the next {until}"
    )
}

fn turn(site: &SiteState) -> String {
    match site.used {
        0 => "next: a connection is to be opened".to_owned(),
        used => format!("next in line: {} ready for {used} of {} connections", site.ready, site.most),
    }
}

fn connections(site: &SiteState) -> String {
    let (used, most, limit) = (site.used, site.most, &site.limit);
    if most < limit.most {
        return format!(
            "{used} of {most} connections to the site are in use: it refused more (adaptive window; {})",
            limit.words
        );
    }
    format!("{used} of {most} connections to the site are in use ({})", limit.words)
}

/// Who says so, behind what is said. It may be known no more, where that was a rule for a time.
fn by(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(" ({line})") }
}

fn rate(of: RateOf, line: &str, until: &str, site: &SiteState) -> (&'static str, String) {
    let until = format!("the next may go {until}");
    let by = by(line);
    match of {
        RateOf::Site(rated) => (rated.cause(), format!("held to {rated}: {until}{by}")),
        RateOf::Tenant => ("tenant_rate", format!("held to the rate of its tenant: {until}{by}")),
        RateOf::Window => (
            "window",
            format!("held to {line} messages a second: {until}; the site refused more (adaptive window)"),
        ),
        RateOf::Provider(place) => {
            let name = site.providers.get(place).map_or("", |provider| &provider.name);
            ("provider_rate", format!("held to the rate of provider {name}: {until}{by}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::rated::Rated;
    use crate::shard::ask::why::{Limit, ProviderState};

    const NOW: UnixMillis = UnixMillis(1_795_867_200_000);

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(NOW.0 + 1000 * seconds)
    }

    #[test]
    fn times_are_those_of_a_clock_and_how_long_that_is() {
        assert_eq!(when(at(0), NOW), "now");
        assert_eq!(when(at(190), NOW), "at 12:03:10Z (in 3m10s)");
        assert_eq!(when(at(86_400), NOW), "at 2026-11-29 12:00:00Z (in 1d)");
        assert_eq!(
            when(at(30 * 86_400), NOW),
            "at 2026-12-28 12:00:00Z (in 30d)",
            "the same day of the month"
        );
        let words = held(1, Some(at(365 * 86_400)), NOW).words;
        assert!(words.starts_with("held until its send_at at 2027-11-28 12:00:00Z"), "{words}");
        assert_eq!(next_try(1, Some(at(190)), NOW).words, "waiting for the next try at 12:03:10Z (in 3m10s)");
        let words = suspended(2, Some(at(190)), Some("3 by user 0: MX moves"), NOW).words;
        assert_eq!(words, "suspended until 12:03:10Z (in 3m10s): 3 by user 0: MX moves");
        assert!(next_try(2, Some(at(9)), NOW).words.starts_with("waiting for the next try, the first at"));
    }

    #[test]
    fn each_cause_says_who_sets_the_limit() {
        let limit = |most, words: &str| Limit { most, words: words.into() };
        let provider = ProviderState {
            name: "big".into(),
            used: 50,
            limit: Some(limit(50, "s.toml:9 provider_connection_limit = 50")),
            ..ProviderState::default()
        };
        let site = SiteState {
            used: 20,
            most: 20,
            limit: limit(20, "s.toml:14 connection_limit = 20"),
            providers: vec![provider],
            ready: 7,
            ..SiteState::default()
        };
        let said = |cause: Cause, until| {
            let told = ready((&cause, until), Some(&site), 3, NOW);
            assert_eq!((told.recipients, told.domains), (3, 1));
            (told.cause, told.words)
        };
        let of = RateOf::Site(Rated::Messages);
        let named = |name: &str, words: &str| (name.to_owned(), words.to_owned());
        assert_eq!(
            said(Cause::Connections, None),
            named(
                "connections",
                "20 of 20 connections to the site are in use (s.toml:14 connection_limit = 20)"
            )
        );
        assert_eq!(
            said(Cause::ProviderConnections(0), None),
            named(
                "provider_connections",
                "50 of 50 connections to provider big are in use (s.toml:9 provider_connection_limit = 50)"
            )
        );
        assert_eq!(
            said(Cause::Closed { failures: 3, error: "connection refused".into() }, Some(at(60))),
            named(
                "site_closed",
                "the site failed 3 times in a row and is tried next at 12:01:00Z (in 1m): connection refused"
            )
        );
        assert_eq!(
            said(Cause::Rate { of, words: "s.toml:3 max_message_rate = 1/h".into() }, Some(at(5))),
            named(
                "rate",
                "held to the rate of the site: the next may go at 12:00:05Z (in 5s) (s.toml:3 max_message_rate = 1/h)"
            )
        );
        assert_eq!(
            said(
                Cause::WarmUp { provider: "big".into(), used: 50, volume: 50, asked: false },
                Some(at(43_200))
            ),
            named(
                "warm-up",
                "warm-up: its source has used 50 of the 50 messages of today at big (a kill uses up some that did not leave); the next at 2026-11-29 00:00:00Z (in 12h)"
            )
        );
        let told = said(Cause::Rate { of, words: Box::default() }, Some(at(5))).1;
        assert_eq!(told, "held to the rate of the site: the next may go at 12:00:05Z (in 5s)");
        assert_eq!(said(Cause::Turn, None), named("turn", "next in line: 7 ready for 20 of 20 connections"));
        let narrow = SiteState { most: 3, used: 3, ..site.clone() };
        let told = ready((&Cause::Connections, None), Some(&narrow), 1, NOW).words;
        assert!(told.starts_with("3 of 3 connections") && told.contains("adaptive window"), "{told}");
    }
}
