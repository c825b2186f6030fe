//! `GET /control/v1/overview`, `/history`, `/sites`: the node at a glance, what went before, and where mail goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::answers::{Api, Problem, iso, json};
use super::queue::told_as;
use super::shape::overview::{SiteTotals, SitesPage};
use super::veil::Veil;
use crate::limits;
use crate::queue::select::hosts;
use crate::queue::suspension::{Effect, Suspension};
use crate::shard::ask::Ask;
use crate::shard::ask::overview::{SiteRow, SitesWanted};

/// The latest overview.
pub(super) async fn overview(State(api): State<Arc<Api>>, Extension(veil): Extension<Veil>) -> Response {
    let shown = api.overviews.latest();
    let text = shown.text(veil);
    if text.is_empty() {
        // It is made within the second.
        return json(&*shown.overview);
    }
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// What went before.
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut step = 1;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "step" => step = value.parse().unwrap_or(0),
            _ => return Err(Problem::Wrong("history takes step=1 or step=60".to_owned())),
        }
    }
    let history = api.overviews.history(step);
    Ok(json(&history.ok_or_else(|| Problem::Wrong("step is 1 or 60, seconds".to_owned()))?))
}

/// A page of sites, over all shards.
pub(super) async fn sites(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let wanted = wanted(query)?;
    let (mut all, mut more) = (BTreeMap::<Box<str>, SiteRow>::new(), false);
    for shard in 0..api.asker.shards() {
        let wanted = wanted.clone();
        let page = api.asker.ask(shard, |reply| Ask::Sites(wanted, reply)).await?;
        more |= page.more;
        for row in page.rows {
            match all.get_mut(&row.name) {
                // What is of the node is the same on each; what is ready is not.
                Some(known) => known.join(row),
                None => drop(all.insert(row.name.clone(), row)),
            }
        }
    }
    more |= all.len() > limits::SITE_ROWS;
    let suspensions = api.mesh.suspensions();
    let rows: Vec<_> =
        all.into_values().take(limits::SITE_ROWS).map(|row| told(row, suspensions.all())).collect();
    let next = rows.last().filter(|_| more).map(|last| last.name.clone());
    Ok(json(&veil.sites(SitesPage { rows, next })))
}

fn wanted(query: Option<String>) -> Result<SitesWanted, Problem> {
    let mut wanted = SitesWanted::default();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match (&*name, &*value) {
            ("cursor", after) => wanted.after = after.into(),
            ("provider", "") => {}
            ("provider", provider) if provider.len() <= limits::FILTER_TEXT_MAX => {
                wanted.provider = Some(provider.into());
            }
            ("narrowed", "0" | "") => {}
            ("narrowed", "1") => wanted.narrowed = true,
            _ => return Err(Problem::Wrong("sites takes cursor=, provider= and narrowed=1".to_owned())),
        }
    }
    Ok(wanted)
}

fn told(row: SiteRow, suspensions: &[Suspension]) -> SiteTotals {
    let suspended = suspensions.iter().find(|one| holds(one, &row)).map(told_as);
    let site = hosts(&row.name).next().unwrap_or(&row.name).to_owned();
    SiteTotals {
        site,
        provider: row.provider.map(Into::into),
        source: Some(row.source.into()).filter(|source: &String| !source.is_empty()),
        connections: row.connections,
        connection_limit: row.limit,
        window: row.window,
        narrowed: row.narrowed,
        message_rate: row.rate.map(rate),
        ready: row.ready,
        closed_until: row.closed_until.map(iso),
        last_reply: Some(row.last_error.into()).filter(|reply: &String| !reply.is_empty()),
        suspended,
        name: row.name.into(),
    }
}

/// Whether a suspension is of all mail of a site.
fn holds(one: &Suspension, row: &SiteRow) -> bool {
    let scope = &one.scope;
    one.effect == Effect::Wait
        && scope.domain.is_none()
        && !scope.is_of_mail()
        && scope.site.as_ref().is_none_or(|site| site.matches_site(&row.name))
        && (scope.provider.is_none() || scope.provider == row.provider)
        && scope.source.as_ref().is_none_or(|source| *source == row.source)
}

/// As a configuration has it: so many a second, a minute or an hour, whichever is a number that one reads.
fn rate(a_second: f64) -> String {
    let shown = |count: f64, unit| {
        let rounded = (count * 10.0).round() / 10.0;
        format!("{rounded}/{unit}")
    };
    if a_second >= 1.0 {
        shown(a_second, "s")
    } else if a_second * 60.0 >= 1.0 {
        shown(a_second * 60.0, "min")
    } else {
        shown(a_second * 3_600.0, "h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_that_one_reads() {
        for (a_second, text) in
            [(100.0, "100/s"), (1.25, "1.3/s"), (0.5, "30/min"), (1.0 / 60.0, "1/min"), (0.001, "3.6/h")]
        {
            assert_eq!(rate(a_second), text);
        }
    }

    #[test]
    fn what_sites_are_asked_by_is_known() {
        let query = |text: &str| wanted(Some(text.to_owned()));
        let SitesWanted { after, provider, narrowed } =
            query("cursor=mx:10%20a&provider=google&narrowed=1").unwrap();
        assert_eq!((&*after, provider.as_deref(), narrowed), ("mx:10 a", Some("google"), true));
        assert!(query("narrowed=yes").is_err() && query("site=a").is_err());
    }
}
