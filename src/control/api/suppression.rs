//! The suppression list: pages, what holds back mail to an address, entries that come and go.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, Problem, iso, json, read};
use super::shape::suppression::{ChangeSuppression, SuppressionChanged, SuppressionEntry, SuppressionPage};
use super::veil::Veil;
use crate::control::suppression::{Added, KeepError};
use crate::limits;
use crate::observe::event::{Admin, ListChange};
use crate::policy::suppression::canonical::{Kind, canonical};
use crate::policy::suppression::entry::{Entry, OwnedEntry, Place, Reason};
use crate::policy::suppression::exchange::moment;
use crate::policy::suppression::merge::Record;
use crate::runtime::process;

/// What of the list is wanted.
#[derive(Default)]
struct ListQuery {
    behind: Option<Place>,
    limit: usize,
    tenant: Option<String>,
    reason: Option<Reason>,
    domain: Option<String>,
}

fn wrong<T>(words: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Wrong(words.into()))
}

fn asked(query: Option<String>) -> Result<ListQuery, Problem> {
    let mut asked = ListQuery { limit: limits::SUPPRESSION_PAGE_MAX, ..ListQuery::default() };
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "cursor" if value.is_empty() => {}
            "cursor" => {
                let known = place_of(&value);
                let words = "that is no cursor: give `next` of the page before as it is";
                asked.behind = Some(known.ok_or_else(|| Problem::Wrong(words.to_owned()))?);
            }
            "limit" => match value.parse() {
                Ok(limit) if (1..=limits::SUPPRESSION_PAGE_MAX).contains(&limit) => asked.limit = limit,
                _ => return wrong(format!("limit is a number from 1 to {}", limits::SUPPRESSION_PAGE_MAX)),
            },
            "tenant" => asked.tenant = Some(value.into_owned()),
            "reason" => asked.reason = Some(reason(&value)?),
            "domain" => {
                let domain = value.trim_start_matches('@').to_ascii_lowercase();
                if domain.is_empty() || value.len() > limits::FILTER_TEXT_MAX {
                    return wrong("domain names one, as example.org".to_owned());
                }
                asked.domain = Some(domain);
            }
            other => return wrong(format!("{other} is no filter: tenant, reason and domain are")),
        }
    }
    Ok(asked)
}

pub(super) fn reason(word: &str) -> Result<Reason, Problem> {
    let all = || Reason::ALL.map(Reason::word).join(", ");
    Reason::named(word).ok_or_else(|| Problem::Wrong(format!("a reason is one of {}", all())))
}

/// A time of day, or a day.
pub(super) fn expires(text: &str) -> Result<crate::time::UnixMillis, Problem> {
    let words = || format!("{text} is no time: write it as 2027-01-31, or as 2027-01-31T12:00:00Z");
    let at = moment(text).ok_or_else(|| Problem::Wrong(words()))?;
    if at <= process::wall() { wrong(format!("{text} is over already")) } else { Ok(at) }
}

/// A page.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let ListQuery { behind, limit, tenant, reason, domain } = asked(query)?;
    let wants = move |entry: &Entry<'_>| {
        tenant.as_deref().is_none_or(|tenant| entry.tenant.unwrap_or_default() == tenant)
            && reason.is_none_or(|reason| entry.reason == reason)
            && domain.as_deref().is_none_or(|domain| is_of(entry, domain))
    };
    let page = api.lists.page(behind, limit, Box::new(wants)).await.ok_or(Problem::Undecided)?;
    let page = page.map_err(Problem::List)?;
    let entries = page.entries.iter().filter_map(told).collect();
    Ok(json(&veil.suppressions(SuppressionPage { entries, next: page.next.map(cursor) })))
}

/// Whether it is about addresses at a domain.
fn is_of(entry: &Entry<'_>, domain: &str) -> bool {
    match entry.kind() {
        Kind::Address | Kind::Domain => entry.address.rsplit_once('@').is_some_and(|(_, of)| of == domain),
        Kind::Subdomains => entry.address.strip_prefix("*.") == Some(domain),
    }
}

/// What holds back mail to an address.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (mut address, mut tenants) = (None, Vec::new());
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "address" => address = Some(value.into_owned()),
            "tenant" => tenants.push(value.into_owned()),
            other => return wrong(format!("{other} is nothing to ask by: address and tenant are")),
        }
    }
    let Some(address) = address else { return wrong("which address? give address=ada@example.org") };
    if tenants.is_empty() {
        tenants.extend(api.reload.iter().flat_map(|reload| reload.tenants()));
    }
    let found = api.lists.check(address, tenants).await.ok_or(Problem::Undecided)?;
    let found = found.map_err(Problem::List)?;
    let entries = found.iter().filter_map(told).collect();
    Ok(json(&veil.suppressions(SuppressionPage { entries, next: None })))
}

/// Entries come on the list.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: ChangeSuppression = read(&body)?;
    let why = if asked.reason.is_empty() { Reason::Manual } else { reason(&asked.reason)? };
    let until = asked.expires.as_deref().map(expires).transpose()?;
    let entries = entries(&asked, |entry| OwnedEntry { reason: why, expires: until, ..entry })?;
    let first = entries[0].address.clone();
    let done = api.lists.add(entries).await.ok_or(Problem::Undecided)?.map_err(Problem::List)?;
    tell(&api, (&actor, &asked, &first), (why.word(), true), done).await;
    Ok(changed(done))
}

/// Entries are taken from it.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: ChangeSuppression = read(&body)?;
    if !asked.reason.is_empty() || asked.expires.is_some() {
        return wrong("an entry is taken from the list by its address and its tenant alone");
    }
    let entries = entries(&asked, |entry| entry)?;
    let first = entries[0].address.clone();
    let done = api.lists.remove(entries).await.ok_or(Problem::Undecided)?.map_err(Problem::List)?;
    tell(&api, (&actor, &asked, &first), ("", false), done).await;
    Ok(changed(done))
}

/// What a request names: one entry at least.
fn entries(
    asked: &ChangeSuppression,
    of: impl Fn(OwnedEntry) -> OwnedEntry,
) -> Result<Vec<OwnedEntry>, Problem> {
    if asked.addresses.is_empty() || asked.addresses.len() > limits::SUPPRESSION_ASKED_MAX {
        let most = limits::SUPPRESSION_ASKED_MAX;
        return wrong(format!("a request names 1 to {most} addresses; for more there is the import"));
    }
    let mut entries = Vec::new();
    for address in &asked.addresses {
        let known = canonical(address).map_err(|bad| Problem::Wrong(format!("{address:?}: {bad}")))?;
        let entry = of(OwnedEntry {
            tenant: asked.tenant.clone().filter(|tenant| !tenant.is_empty()),
            address: known,
            reason: Reason::Manual,
            added: process::wall(),
            expires: None,
            note: asked.note.clone(),
        });
        if !entry.entry().is_sound() {
            return Err(Problem::List(KeepError::Text));
        }
        entries.push(entry);
    }
    Ok(entries)
}

async fn tell(
    api: &Api,
    (actor, asked, first): (&Actor, &ChangeSuppression, &str),
    (why, listed): (&str, bool),
    done: Added,
) {
    if done.changed == 0 {
        return;
    }
    if let Some(teller) = &api.admin {
        let by = actor.to_string();
        let reason = if asked.note.is_empty() { why } else { &asked.note };
        let filter = if asked.addresses.len() == 1 { first } else { "" };
        let change = ListChange { by: &by, filter, reason, entries: done.changed };
        teller.tell(if listed { Admin::Suppress(change) } else { Admin::Unsuppress(change) });
        api.journal().await;
    }
}

fn changed(Added { changed, known }: Added) -> Response {
    json(&SuppressionChanged { changed, known })
}

fn told(record: &Record) -> Option<SuppressionEntry> {
    let Entry { tenant, address, reason, added, expires, note } = record.entry()?;
    Some(SuppressionEntry {
        address: address.to_owned(),
        tenant: tenant.map(str::to_owned),
        reason: reason.word().to_owned(),
        added: iso(added),
        expires: expires.map(iso),
        note: note.to_owned(),
    })
}

fn cursor(place: Place) -> String {
    let mut text = String::from(if place.of_domains { "d" } else { "a" });
    let _ = write!(text, "{:016x}", place.fingerprint);
    text
}

fn place_of(text: &str) -> Option<Place> {
    let of_domains = text.starts_with('d');
    let hex = text.strip_prefix(['a', 'd']).filter(|hex| hex.len() == 16)?;
    Some(Place { of_domains, fingerprint: u64::from_str_radix(hex, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_place() {
        for place in [
            Place::default(),
            Place { of_domains: true, fingerprint: u64::MAX },
            Place { of_domains: false, fingerprint: 0x1234 },
        ] {
            assert_eq!(place_of(&cursor(place)), Some(place));
        }
        for text in ["", "a", "b0000000000000001", "a000000000000000g", "a00000000000000011"] {
            assert_eq!(place_of(text), None, "{text}");
        }
    }
}
