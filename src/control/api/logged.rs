//! What the log says of mail: `GET /control/v1/log` and `/control/v1/log/stats`. Files are read off this thread, and so much for one answer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::answers::{Api, Problem, json, written};
use super::erase::patiently;
use super::lasting::Working;
use super::shape::logged::{LogCount, LogCounts, LogRead};
use super::told::{Parameter, Told, cursor, limit, of, optional, text};
use super::veil::Veil;
use crate::control::asker::AskFailure;
use crate::control::logged::count::{By, Row, Table};
use crate::control::logged::files::Take;
use crate::control::logged::filter::{BadLogFilter, LOG_FILTERS, LogFilters, Wanted};
use crate::control::logged::part::{self, LogPlace, NoPart, PartRead, PartWanted};
use crate::control::outlet::line::Line;
use crate::limits;
use crate::names::events::Kind;
use crate::time::UnixMillis;

/// Which events, and which part of the log.
struct Asked {
    wanted: Wanted,
    since: Option<UnixMillis>,
    from: Option<LogPlace>,
    limit: usize,
    by: By,
}

fn asked(
    query: Option<&str>,
    (usual, most): (usize, usize),
    (counts, veil): (bool, Veil),
) -> Result<Asked, Problem> {
    let wrong = |bad: BadLogFilter| Problem::Wrong(bad.told());
    let (mut filters, mut from, mut limit, mut by) = (LogFilters::default(), None, usual, By::Provider);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "cursor" => {
                let place = LogPlace::parse(&value).ok_or(Problem::Unanswered(AskFailure::NoCursor))?;
                from = Some(place);
            }
            "limit" => {
                let words = || Problem::Wrong(format!("limit is a number from 1 to {most}"));
                let is_it = |limit: &usize| (1..=most).contains(limit) && !value.starts_with('+');
                limit = value.parse().ok().filter(is_it).ok_or_else(words)?;
            }
            "by" if counts => {
                let all = || By::ALL.map(By::name).join(", ");
                by = By::named(&value).ok_or_else(|| Problem::Wrong(format!("by is one of {}", all())))?;
            }
            // By a hit or none of parts of a text the whole of it would be found out.
            "reply" if veil.is_on() => {
                let words = "replies are not searched for who sees addresses shortened";
                return Err(Problem::Forbidden(words.to_owned()));
            }
            _ if filters.set(&name, &value).map_err(wrong)? => {}
            _ => {
                let known = LOG_FILTERS.map(|(name, _)| name).join(", ");
                return Err(Problem::Wrong(format!("{name:?} is not asked here: the filters are {known}")));
            }
        }
    }
    Ok(Asked { wanted: filters.wanted().map_err(wrong)?, since: filters.since, from, limit, by })
}

/// A page of events.
pub(super) async fn find(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    Extension(working): Extension<Working>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = asked(query.as_deref(), (limits::LOG_PAGE, limits::LOG_PAGE_MAX), (false, veil))?;
    let (out, read) = by_files(&api, &working, move |part| {
        let mut page = Page { out: b"{\"events\":[".to_vec(), rows: 0, broken: 0 };
        let read = part(&asked, &mut |raw, _| {
            page.add(raw, veil);
            Ok(page.rows < asked.limit && page.out.len() < limits::LOG_PAGE_BYTES)
        })?;
        Ok((page.out, LogRead { unreadable: read.unreadable + page.broken, ..read }))
    })
    .await?;
    let rest = serde_json::to_vec(&read).map_err(|_| Problem::Broken)?;
    // Its fields follow in the same object.
    let mut text = out;
    text.extend_from_slice(b"],");
    text.extend_from_slice(rest.strip_prefix(b"{").unwrap_or_default());
    Ok(written(text))
}

/// Events that are written one behind the other.
struct Page {
    out: Vec<u8>,
    rows: usize,
    /// Lines that are no JSON, whatever they look like.
    broken: u64,
}

impl Page {
    fn add(&mut self, raw: &[u8], veil: Veil) {
        let raw = raw.trim_ascii();
        let is_sound = std::str::from_utf8(raw).is_ok() && serde_json::from_slice::<IgnoredAny>(raw).is_ok();
        if !is_sound {
            self.broken += 1;
            return;
        }
        if self.rows > 0 {
            self.out.push(b',');
        }
        match veil.is_on() {
            true => veil.line(raw, &mut self.out),
            false => self.out.extend_from_slice(raw),
        }
        self.rows += 1;
    }
}

/// Counts.
pub(super) async fn stats(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    Extension(working): Extension<Working>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = asked(query.as_deref(), (limits::LOG_STATS_SHOWN, limits::LOG_STATS_ROWS), (true, veil))?;
    let counts = by_files(&api, &working, move |part| {
        let mut table = Table::default();
        let read = part(&asked, &mut |raw, line| {
            count(&mut table, asked.by, (raw, line), veil);
            Ok(true)
        })?;
        let rows = table.sorted(asked.limit).into_iter().map(row).collect();
        Ok(LogCounts { by: asked.by.name().to_owned(), rows, read })
    });
    Ok(json(&counts.await?))
}

/// Whoever sees less has counted what he sees: then no name of a row and no reply tells him more.
fn count(table: &mut Table, by: By, (raw, line): (&[u8], &Line<'_>), veil: Veil) {
    if !veil.is_on() {
        return table.add(by, line);
    }
    let mut seen = Vec::with_capacity(raw.len());
    veil.line(raw, &mut seen);
    if let Some(line) = Line::read(&seen) {
        table.add(by, &line);
    }
}

fn row((name, row): (String, Row)) -> LogCount {
    let [received, delivered, deferred, bounced, expired, feedback] = row.counts;
    let delay_ms = row.delay();
    LogCount { name, received, delivered, deferred, bounced, expired, feedback, delay_ms, text: row.text }
}

/// Reads a part of the log, and gives its lines.
type ReadPart<'a> = &'a mut dyn FnMut(&Asked, &mut Take<'_, NoPart>) -> Result<LogRead, NoPart>;

/// Does it off this thread, where there is a place for it, as long as whoever asked waits.
async fn by_files<T: Send + 'static>(
    api: &Api,
    working: &Working,
    work: impl FnOnce(ReadPart<'_>) -> Result<T, NoPart> + Send + 'static,
) -> Result<T, Problem> {
    let log = api.reload.as_ref().and_then(|reload| reload.json_log());
    let no_log = || Problem::NotFound("no [[log]] writes JSON to a file, so there is none to ask".to_owned());
    let log = log.ok_or_else(no_log)?;
    let busy = |_| Problem::Busy("as many read logs as may; ask again in a moment");
    let place = api.log_readers.clone().try_acquire_owned().map_err(busy)?;
    let wanted = Arc::new(());
    let asks = Arc::downgrade(&wanted);
    let done = patiently(working, move || {
        let _place = place;
        work(&mut |asked, take| {
            let waits = &mut || asks.strong_count() > 0;
            let part =
                PartWanted { log: &log, wanted: &asked.wanted, since: asked.since, from: asked.from, waits };
            part::read(part, take).map(told)
        })
    });
    done.await?.map_err(|none| match none {
        NoPart::NoFile => Problem::NotFound("the log is not there yet, or was removed".to_owned()),
        NoPart::Gone => Problem::Gone(
            "the file of the log in which this would go on is gone: begin with the first page".to_owned(),
        ),
    })
}

fn told(read: PartRead) -> LogRead {
    let PartRead { next, bytes, long, troubles } = read;
    LogRead { next: next.map(|place| place.to_string()), bytes, unreadable: long, troubles }
}

fn filters() -> Vec<Parameter> {
    LOG_FILTERS.iter().map(|(name, help)| optional(name, help, schema(name))).collect()
}

/// The value of one of them.
fn schema(name: &str) -> Value {
    match name {
        "event" => {
            let all = Kind::all().map(Kind::word).collect::<Vec<_>>().join("|");
            json!({ "type": "string", "pattern": format!("^({all})(,({all}))*$"), "maxLength": limits::FILTER_TEXT_MAX })
        }
        "since" | "until" => {
            json!({ "type": "string", "pattern": "^([0-9]{1,4}[smhd]|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?)$" })
        }
        _ => text(),
    }
}

pub(super) fn told_find() -> Told {
    let mut query = filters();
    query.extend([limit(limits::LOG_PAGE_MAX), cursor()]);
    let summary = "Events of the log, over all files that rotations made of it, the oldest first.";
    Told { query, refusals: &[404, 410], ..of(summary, "LogPage") }
}

pub(super) fn told_stats() -> Told {
    let mut query = filters();
    let by = json!({ "type": "string", "enum": By::ALL.map(By::name) });
    query.extend([optional("by", "What makes a row.", by), limit(limits::LOG_STATS_ROWS), cursor()]);
    let summary = "What became of recipients, counted over the log, a part of it in each answer.";
    Told { query, refusals: &[404, 410], ..of(summary, "LogCounts") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::access::Redact;
    use crate::policy::tokens::Role;

    #[test]
    fn what_is_asked_is_one_of_the_filters() {
        let of =
            |query: &str| asked(Some(query), (100, 1000), (false, Veil::default())).map(|asked| asked.limit);
        assert_eq!(of("").expect("all"), 100);
        assert_eq!(
            of("event=bounced,expired&domain=*.y.example&since=2h&limit=7&tenant=a+b").expect("read"),
            7
        );
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=+7",
            "limit=",
            "cursor=",
            "cursor=x",
            "event=nothing",
            "event=",
            "since=yesterday",
            "domain=",
            "domain=*",
            "reply=(",
            "by=domain",
            "other=x",
            "tenant=",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(asked(Some("by=domain"), (20, 100), (true, Veil::default())).expect("read").by == By::Domain);
        assert!(asked(Some("by=x"), (20, 100), (true, Veil::default())).is_err());
    }

    #[test]
    fn a_page_is_json_whatever_is_in_the_log() {
        let mut page = Page { out: Vec::new(), rows: 0, broken: 0 };
        let veil = Veil::of(Redact { recipient: true, sender: false }, Role::Read);
        page.add(b"{\"event\":\"bounced\",\"recipients\":[\"ada@y.example\"]}\n", veil);
        page.add(b"{\"event\":\"bounced\",\"size\":tru}\n", veil);
        page.add(b"{\"event\":\"bounced\",\"reply\":\"\xff\"}\n", veil);
        page.add(b"{\"event\":\"bounced\",\"recipients\":[\"ada@y.example\"]}\n", Veil::default());
        let text = String::from_utf8(page.out).expect("text");
        let wanted = r#"{"event":"bounced","recipients":["a…@y.example"]},{"event":"bounced","recipients":["ada@y.example"]}"#;
        assert_eq!((&*text, page.broken), (wanted, 2));
    }

    #[test]
    fn rows_name_nobody_to_whom_less_is_shown() {
        let raw = br#"{"event":"bounced","recipients":["ada@y.example"],"reply":"550 no ada here"}"#;
        let line = Line::read(raw).expect("a line");
        let counted = |veil| {
            let mut table = Table::default();
            count(&mut table, By::Recipient, (raw, &line), veil);
            table.sorted(9).into_iter().map(row).map(|row| (row.name, row.text)).collect::<Vec<_>>()
        };
        assert_eq!(counted(Veil::default()), [("ada@y.example".to_owned(), "550 no ada here".to_owned())]);
        let veil = Veil::of(Redact { recipient: true, sender: false }, Role::Read);
        assert_eq!(counted(veil), [("a…@y.example".to_owned(), "550 no a… here".to_owned())]);
    }
}
