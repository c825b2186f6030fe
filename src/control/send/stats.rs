//! What became of mail, in the shapes that Mailtrap's clients read: `/api/accounts/ACCOUNT/stats` and `/api/stats`. Whose mail it is says the token, whatever
//! the account.

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::answers::{answer, later, refusal};
use super::asked::Asked;
use crate::control::analytics::{StatsGroup, StatsQuestion, Unanswered};
use crate::limits;
use crate::policy::tokens::Role;
use crate::runtime::process;
use crate::time::Civil;

const DAY: u64 = 86_400;

/// All that may be asked.
pub(super) fn routes() -> Router<Asked> {
    Router::new()
        .route("/api/stats", get(stats))
        .route("/api/stats/{group}", get(stats))
        .route("/api/accounts/{account}/stats", get(stats))
        .route("/api/accounts/{account}/stats/{group}", get(stats))
}

async fn stats(State(asked): State<Asked>, path: RawPathParams, request: Request) -> Response {
    let group = path.iter().find(|(name, _)| *name == "group").map(|(_, group)| group.to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let read = match asked.read_as(Role::Read, request, |_| 0).await {
        Ok(read) => read,
        Err(no) => return no,
    };
    let Some(analytics) = &asked.api.analytics else {
        return refusal(
            StatusCode::NOT_FOUND,
            "nothing is counted: control.analytics is false, or no events are kept",
        );
    };
    let (group, key) = match group.as_deref() {
        None => (StatsGroup::All, ""),
        Some("categories") => (StatsGroup::Category, "category"),
        Some("email_service_providers") => (StatsGroup::Provider, "email_service_provider"),
        Some("date") => (StatsGroup::Date, "date"),
        Some("domains") => {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "mail is not counted by sending domain");
        }
        Some(_) => return refusal(StatusCode::NOT_FOUND, "Not Found"),
    };
    let tenant = read.sender.tenant.as_deref().map(str::to_owned);
    let question = match question(&query, process::wall().0 / 1000) {
        Ok(question) => StatsQuestion { tenant, group, ..question },
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    match analytics.stats(question).await {
        Some(Ok(all)) if group == StatsGroup::All => {
            answer(StatusCode::OK, &all.first().map(|(_, stats)| stats))
        }
        Some(Ok(all)) => {
            let one = |(name, stats)| {
                let named = Map::from_iter([(key.to_owned(), Value::String(name))]);
                Value::Object(named.into_iter().chain([("stats".to_owned(), json!(stats))]).collect())
            };
            answer(StatusCode::OK, &all.into_iter().map(one).collect::<Vec<Value>>())
        }
        Some(Err(why @ Unanswered::Apart(_))) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &why.to_string()),
        Some(Err(Unanswered::Store(_))) | None => later("what was counted cannot be read now"),
    }
}

/// Reads a question: the last thirty days are meant where no day is named.
fn question(query: &str, now: u64) -> Result<StatsQuestion, String> {
    let mut asked = StatsQuestion { now, ..StatsQuestion::default() };
    let (mut since, mut until) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()).take(limits::STATS_PARAMETERS) {
        let day = || {
            let day = Civil::time_named(&value).filter(|_| value.len() == "2026-12-01".len());
            day.map(|at| at.0 / 1000).ok_or_else(|| format!("'{name}' is a day, as 2026-12-01"))
        };
        let names = match name.strip_suffix("[]").unwrap_or(&name) {
            "start_date" => {
                since = Some(day()?);
                continue;
            }
            "end_date" => {
                until = Some(day()?.saturating_add(DAY));
                continue;
            }
            "categories" => &mut asked.categories,
            "email_service_providers" => &mut asked.providers,
            "sending_streams" | "sending_domain_ids" => {
                return Err(format!("mail is not counted by what '{name}' names"));
            }
            _ => return Err(format!("'{name}' is nothing to ask by")),
        };
        if value.len() > limits::ANALYTICS_NAME {
            return Err(format!("'{name}' has too long a name"));
        }
        names.push(value.into_owned());
    }
    let tomorrow = now / DAY * DAY + DAY;
    asked.until = until.unwrap_or(tomorrow).min(tomorrow);
    asked.since = since.unwrap_or(asked.until.saturating_sub(30 * DAY));
    if asked.since >= asked.until {
        return Err("'start_date' is not before 'end_date', or not over yet".to_owned());
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_both_are_meant() {
        let now = Civil::time_named("2026-12-01T13:00:00Z").unwrap().0 / 1000;
        let day = |text| Civil::time_named(text).unwrap().0 / 1000;
        let usual = question("", now).unwrap();
        assert_eq!((usual.since, usual.until), (day("2026-11-02"), day("2026-12-02")));
        let one = question("start_date=2026-11-30&end_date=2026-11-30&categories[]=a+b&categories%5B%5D=c&email_service_providers=google", now).unwrap();
        assert_eq!((one.since, one.until), (day("2026-11-30"), day("2026-12-01")));
        assert_eq!(
            (one.categories, one.providers),
            (vec!["a b".to_owned(), "c".to_owned()], vec!["google".to_owned()])
        );
        for bad in [
            "start_date=x",
            "start_date=2026-12-01T00:00:00Z",
            "start_date=2026-12-02",
            "start_date=2026-11-30&end_date=2026-11-29",
            "sending_streams[]=bulk",
            "x=1",
        ] {
            assert!(question(bad, now).is_err(), "{bad}");
        }
    }
}
