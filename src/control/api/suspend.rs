//! Mail is suspended, and goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, Problem, iso, json, read};
use super::shape::{Redirect, Resume, Suspend, SuspensionEntry, Suspensions};
use super::veil::Veil;
use crate::config::RouteTarget;
use crate::config::literal::quoted;
use crate::control::decisions::{OrderResult, SuspensionRequest, Which};
use crate::limits;
use crate::queue::suspension::{Effect, Scope, Suspension};
use crate::runtime::process;

/// What is suspended.
pub(super) async fn list(State(api): State<Arc<Api>>, Extension(veil): Extension<Veil>) -> Response {
    let mut suspensions: Vec<_> = api.mesh.suspensions().all().iter().map(told).collect();
    // That of a rule is what a host said.
    suspensions.iter_mut().for_each(|one| veil.words(&mut one.reason));
    json(&Suspensions { suspensions, unkept: false })
}

/// Suspends what a filter says.
pub(super) async fn suspend(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: Suspend = read(&body)?;
    let scope = scope(&asked.filter, asked.all)?;
    let wrong = |words: String| Err(Problem::Wrong(words));
    // A pool that is no more may have mail that waits; a source has not.
    let strange = |name: &&str| api.reload.as_ref().is_some_and(|reload| !reload.has_source(name));
    if let Some(name) = scope.source.as_deref().filter(strange) {
        return wrong(format!("no [[source]] of the configuration in force is called {}", quoted(name)));
    }
    decide(&api, actor, (Effect::Wait, scope), asked.seconds, &asked.reason).await
}

/// Leads what a filter says elsewhere.
pub(super) async fn redirect(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: Redirect = read(&body)?;
    let scope = scope(&asked.filter, asked.all)?;
    if scope.is_of_mail() || scope.source.is_some() {
        let words = "mail is redirected by domain, site and provider: what only its record tells, or its source, leads it nowhere";
        return Err(Problem::Wrong(words.to_owned()));
    }
    let to = RouteTarget::host(&asked.to).map_err(|bad| Problem::Wrong(format!("to: {bad}")))?;
    decide(&api, actor, (Effect::Redirect(to), scope), asked.seconds, &asked.reason).await
}

/// Has it decided.
pub(super) async fn decide(
    api: &Api,
    actor: Actor,
    (effect, scope): (Effect, Scope),
    seconds: u64,
    reason: &str,
) -> Result<Response, Problem> {
    let wrong = |words: String| Err(Problem::Wrong(words));
    if reason.len() > limits::REASON_MAX || reason.chars().any(char::is_control) {
        return wrong(format!(
            "a reason is one line of printable text, at most {} bytes",
            limits::REASON_MAX
        ));
    }
    let lasts = Duration::from_secs(seconds);
    if lasts.is_zero() || lasts > limits::CONFIG_TIME_MAX {
        return wrong("it lasts for a second at least and for 366 days at most".to_owned());
    }
    let until = process::wall().after(lasts);
    let reason = if reason.is_empty() { "no reason was given" } else { reason };
    let by = actor.to_string().into();
    let wanted = SuspensionRequest { effect, scope, until, by, reason: reason.into() };
    let done = api.desk.suspend(wanted).await.ok_or(Problem::Undecided)?;
    api.journal().await;
    if done.full {
        return Err(Problem::Full(format!(
            "there are too many suspensions: {} in all, {} of them of no whole domain or site; end some by `relevo resume`",
            limits::SUSPENSIONS_MAX,
            limits::SUSPENSIONS_WIDE_MAX
        )));
    }
    Ok(answer(&done))
}

/// Ends suspensions.
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: Resume = read(&body)?;
    let which = match asked.id {
        Some(id) if asked.filter.is_empty() && !asked.all => Which::One(id),
        Some(_) => {
            return Err(Problem::Wrong("one suspension is meant, or those of a filter, not both".to_owned()));
        }
        None if asked.all && asked.filter.is_empty() => Which::All,
        None => Which::Within(scope(&asked.filter, asked.all)?),
    };
    let done = api.desk.resume(which, &actor.to_string()).await.ok_or(Problem::Undecided)?;
    api.journal().await;
    Ok(answer(&done))
}

fn scope(filter: &BTreeMap<String, String>, all: bool) -> Result<Scope, Problem> {
    let mut scope = Scope::default();
    filter.iter().try_for_each(|(name, value)| scope.set(name, value))?;
    if scope.mixes() {
        let words =
            "a source is suspended as a whole: leave the other filters out, or suspend by these alone";
        return Err(Problem::Wrong(words.to_owned()));
    }
    let words = match (scope.is_all(), all) {
        (true, false) => "all mail would be meant: say which by a filter, or say that all is (all, --all)",
        (false, true) => "all mail is meant, or what a filter says, not both",
        _ => return Ok(scope),
    };
    Err(Problem::Wrong(words.to_owned()))
}

fn answer(done: &OrderResult) -> Response {
    json(&Suspensions { suspensions: done.all.iter().map(told).collect(), unkept: !done.kept })
}

pub(super) fn told(one: &Suspension) -> SuspensionEntry {
    let Suspension { id, effect, scope, since, until, by, reason } = one;
    let Scope { domain, site, provider, tenant, campaign, source, pool } = scope;
    let text = |name: &Option<Box<str>>| name.as_deref().map(str::to_owned);
    let set = if let Effect::Set(key, value) = effect {
        Some((key.name().to_owned(), value.to_string()))
    } else {
        None
    };
    let (key, value) = set.unzip();
    let to = effect.leads_to().map(ToString::to_string);
    SuspensionEntry {
        id: *id,
        effect: effect.name().to_owned(),
        to,
        key,
        value,
        domain: domain.as_ref().map(ToString::to_string),
        site: site.as_ref().map(ToString::to_string),
        provider: text(provider),
        tenant: text(tenant),
        campaign: text(campaign),
        source: text(source),
        pool: text(pool),
        mail: scope.to_string(),
        since: iso(*since),
        until: iso(*until),
        by: by.to_string(),
        reason: reason.to_string(),
    }
}
