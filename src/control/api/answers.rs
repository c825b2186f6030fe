//! What handlers are given, and how they answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::shape::Refusal;

use crate::control::Health;
use crate::control::admin::{JournalBarrier, Teller};
use crate::control::analytics::Analytics;
use crate::control::asker::{AskFailure, Asker};
use crate::control::decisions::{Desk, ListDesk};
use crate::control::edits::NotEdited;
use crate::control::erase::Eraser;
use crate::control::fleet::Fleet;
use crate::control::overview::Overviews;
use crate::control::reload::Reload;
use crate::control::room::RoomProbe;
use crate::control::sandbox::desk::Desk as CaptureDesk;
use crate::control::say::say;
use crate::control::search::{NoSearch, Searches, Unfinished};
use crate::control::streams::Streams;
use crate::control::suppression::KeepError;
use crate::control::templates::Templates;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::queue::select::BadFilter;
use crate::shard::mesh::Mesh;
use crate::templates::Fault;
use crate::time::UnixMillis;

/// What the handlers are given.
#[derive(Clone)]
pub(in crate::control) struct Api {
    pub asker: Asker,
    /// Where it is seen what is suspended.
    pub mesh: Arc<Mesh>,
    /// Where it is ordered.
    pub desk: Desk,
    /// The suppression list, where it is ordered.
    pub lists: ListDesk,
    /// Templates of mail.
    pub templates: Arc<Templates>,
    /// Somebody imports into it.
    pub importing: Arc<AtomicBool>,
    /// The node at a glance.
    pub overviews: Arc<Overviews>,
    /// What becomes of mail. None: it is not counted.
    pub analytics: Option<Arc<Analytics>>,
    /// Where people are named. None: no journal is kept.
    pub eraser: Option<Arc<Eraser>>,
    /// Captured mail.
    pub sandbox: Arc<CaptureDesk>,
    /// Who watches.
    pub streams: Arc<Streams>,
    pub searches: Arc<Searches>,
    /// Held by each answer that reads logs.
    pub log_readers: Arc<Semaphore>,
    /// Held by each that reads other files for long, or changes accounts.
    pub file_readers: Arc<Semaphore>,
    /// Held by each who watches sessions.
    pub watchers: Arc<Semaphore>,
    pub instruments: Vec<Arc<Instruments>>,
    /// Tells what was changed.
    pub admin: Option<Arc<Teller>>,
    /// Passed before a change is answered. None: no journal is kept.
    pub journaled: Option<JournalBarrier>,
    pub health: Arc<Health>,
    pub reload: Option<Arc<dyn Reload>>,
    pub runtime: &'static str,
    pub hostname: String,
    /// The node's number, of 16 digits.
    pub id: String,
    /// Where its spool is, and how much room there is.
    pub data_dir: PathBuf,
    pub room: Arc<RoomProbe>,
    /// The way to the other nodes of its cluster. None: it is in none.
    pub fleet: Option<Arc<Fleet>>,
    /// The second of control's clock.
    pub second: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Api {
    /// Before a change is answered the journal has its event, so that no kill takes what an operator was told. Where the journal takes nothing for a
    /// while the answer is given all the same.
    pub(super) async fn journal(&self) {
        if let Some(barrier) = &self.journaled
            && !barrier.passed().await
        {
            say(
                Level::Warning,
                format_args!(
                    "the journal of events did not take what a command did within {} s: the command is answered, and a kill may take its admin event",
                    limits::ADMIN_JOURNALED.as_secs()
                ),
            );
        }
    }
}

/// Why a question has no answer.
#[derive(Debug)]
pub(in crate::control) enum Problem {
    /// No shard could answer.
    Unanswered(AskFailure),
    /// What only records tell could not be found out.
    NoSearch(NoSearch),
    /// The record of a message cannot be read.
    Damaged(String),
    /// A filter is wrong.
    Filter(BadFilter),
    /// Something else in the request is wrong.
    Wrong(String),
    /// What is asked for is not there.
    NotFound(String),
    /// There is no room for it.
    Full(String),
    /// The suppression list does not do it.
    List(KeepError),
    /// A template, or what it is made with, is wrong.
    Template(Fault),
    /// A file does not take it, or give it.
    NotKept(String),
    /// Somebody else does the same now.
    Busy(&'static str),
    /// Whoever decides it did not say so in time.
    Undecided,
    /// It came to an end that nobody foresaw.
    Broken,
    /// Others may ask, not he.
    Forbidden(String),
    /// There are tokens, and the question came without one.
    NoToken,
    /// It is not one of them.
    BadToken,
    /// Too many wrong ones come from there.
    TooManyGuesses,
    /// It needs another role.
    Role(String),
    /// It is of another tenant, or of all.
    OtherTenant(String),
    /// A page of another site asks.
    OtherOrigin,
    /// Its body is too long.
    TooLarge,
    /// The name by which this node is asked, or how that is said.
    Host(StatusCode, &'static str),
    /// A file is as it was.
    Edit(NotEdited),
    /// What is there is in the way of it.
    Conflict(String),
    /// What a cursor goes on from is not there any more.
    Gone(String),
    /// There is no such path, or it has no such method.
    NoSuchQuestion(StatusCode),
}

impl From<AskFailure> for Problem {
    fn from(unanswered: AskFailure) -> Problem {
        Problem::Unanswered(unanswered)
    }
}

impl From<NoSearch> for Problem {
    fn from(why: NoSearch) -> Problem {
        match why {
            NoSearch::Gone => Problem::Unanswered(AskFailure::OldCursor),
            NoSearch::Unfinished(Unfinished::Unanswered(why)) => Problem::Unanswered(why),
            why => Problem::NoSearch(why),
        }
    }
}

impl From<BadFilter> for Problem {
    fn from(bad: BadFilter) -> Problem {
        Problem::Filter(bad)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, error) = match self {
            Problem::Unanswered(why) => {
                let (status, code) = match why {
                    AskFailure::NotServing => (StatusCode::SERVICE_UNAVAILABLE, "not_serving"),
                    AskFailure::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
                    AskFailure::Late(_) => (StatusCode::GATEWAY_TIMEOUT, "late"),
                    AskFailure::OldCursor => (StatusCode::GONE, "old_cursor"),
                    AskFailure::NoCursor => (StatusCode::BAD_REQUEST, "no_cursor"),
                };
                (status, code, why.to_string())
            }
            Problem::NoSearch(why) => no_search(&why),
            Problem::Damaged(words) => (StatusCode::INTERNAL_SERVER_ERROR, "damaged", words),
            Problem::Filter(bad) => (StatusCode::BAD_REQUEST, "bad_filter", bad.to_string()),
            Problem::Wrong(words) => (StatusCode::BAD_REQUEST, "bad_request", words),
            Problem::NotFound(words) => (StatusCode::NOT_FOUND, "not_found", words),
            Problem::Full(words) => (StatusCode::INSUFFICIENT_STORAGE, "full", words),
            Problem::List(why) => list(&why),
            Problem::Template(fault) => (StatusCode::BAD_REQUEST, "template", fault.to_string()),
            Problem::NotKept(words) => (StatusCode::INTERNAL_SERVER_ERROR, "not_kept", words),
            Problem::Busy(words) => (StatusCode::SERVICE_UNAVAILABLE, "busy", words.to_owned()),
            Problem::Undecided => {
                let words = "the relay did not decide it in time, and may do so yet: is the disk of node.data_dir slow?";
                (StatusCode::GATEWAY_TIMEOUT, "late", words.to_owned())
            }
            Problem::Broken => {
                let words = "that ended in the middle, by a fault of the relay's: its log says more";
                (StatusCode::INTERNAL_SERVER_ERROR, "broken", words.to_owned())
            }
            Problem::Forbidden(words) => (StatusCode::FORBIDDEN, "forbidden", words),
            Problem::NoToken | Problem::BadToken | Problem::TooManyGuesses | Problem::OtherOrigin => {
                not_let_in(&self)
            }
            Problem::Role(words) => (StatusCode::FORBIDDEN, "role", words),
            Problem::OtherTenant(words) => (StatusCode::FORBIDDEN, "tenant", words),
            Problem::TooLarge => {
                let words = format!(
                    "the body is too long, or broke off: it may have {} bytes, and where templates are saved {}",
                    limits::HTTP_BODY_MAX,
                    limits::TEMPLATE_BODY_MAX
                );
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large", words)
            }
            Problem::Edit(why) => edit(&why),
            Problem::Conflict(words) => (StatusCode::CONFLICT, "conflict", words),
            Problem::Gone(words) => (StatusCode::GONE, "old_cursor", words),
            Problem::Host(status, words) => (status, "host", words.trim_end().to_owned()),
            Problem::NoSuchQuestion(status) => {
                (status, "no_such_question", "there is nothing to ask here".to_owned())
            }
        };
        let mut response = (status, json(&Refusal { error, code: code.to_owned() })).into_response();
        // RFC 9110 section 11.6.1; and 10.2.3.
        match status {
            StatusCode::UNAUTHORIZED => {
                let wanted = HeaderValue::from_static("Bearer realm=\"relevo\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, wanted);
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

/// Why somebody is not let in at all.
fn not_let_in(problem: &Problem) -> (StatusCode, &'static str, String) {
    let (status, code, words) = match problem {
        Problem::TooManyGuesses => {
            let words = "too many wrong tokens come from there; wait before the next";
            (StatusCode::TOO_MANY_REQUESTS, "too_many_guesses", words)
        }
        Problem::OtherOrigin => {
            let words = "a page of another site asks for this, and only the relay's own may; if this is its own, its proxy is to pass on the Host field";
            (StatusCode::FORBIDDEN, "origin", words)
        }
        Problem::BadToken => {
            let words = "that is no token of control.tokens as it is in force: after a change of the file, `relevo reload`";
            (StatusCode::UNAUTHORIZED, "bad_token", words)
        }
        _ => (StatusCode::UNAUTHORIZED, "no_token", "who asks? give a token: Authorization: Bearer TOKEN"),
    };
    (status, code, words.to_owned())
}

/// Why a file is as it was.
fn edit(why: &NotEdited) -> (StatusCode, &'static str, String) {
    let (status, code) = match why {
        NotEdited::NoFile(_) | NotEdited::NotThere(_) => (StatusCode::NOT_FOUND, "not_found"),
        NotEdited::UnderWay => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        NotEdited::Unusable(..) => (StatusCode::INTERNAL_SERVER_ERROR, "not_kept"),
        NotEdited::There(_) => (StatusCode::CONFLICT, "conflict"),
        NotEdited::Unsound(_) => (StatusCode::BAD_REQUEST, "bad_request"),
    };
    (status, code, why.to_string())
}

fn list(why: &KeepError) -> (StatusCode, &'static str, String) {
    let (status, code) = match why {
        KeepError::Entry(_) | KeepError::Text => (StatusCode::BAD_REQUEST, "bad_request"),
        KeepError::Full => (StatusCode::INSUFFICIENT_STORAGE, "full"),
        KeepError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        KeepError::Store(_) | KeepError::File(..) | KeepError::Lost(..) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "not_kept")
        }
    };
    (status, code, why.to_string())
}

fn no_search(why: &NoSearch) -> (StatusCode, &'static str, String) {
    let (status, code, words) = match why {
        NoSearch::Gone | NoSearch::Unfinished(Unfinished::Unanswered(_) | Unfinished::Broken) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "search_broke_off",
            "the search broke off, by a fault of the relay: the log says more; ask again".to_owned(),
        ),
        NoSearch::Other => (
            StatusCode::BAD_REQUEST,
            "other_filter",
            "that cursor is of another filter: give the one it came with, or begin with the first page"
                .to_owned(),
        ),
        NoSearch::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "another request goes on with that search, or too many are under way; ask again in a moment"
                .to_owned(),
        ),
        NoSearch::Unfinished(Unfinished::TooMany) => (
            StatusCode::BAD_REQUEST,
            "too_many",
            format!("more than {} recipients are meant: narrow it, by --domain for one", limits::FOUND_MAX),
        ),
    };
    (status, code, words)
}

/// What is in a body: an object. As a list a change would be understood, too, and nobody means that.
pub(super) fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let wrong =
        |words: &dyn std::fmt::Display| Problem::Wrong(format!("the body is not what was expected: {words}"));
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(wrong(&"it is no object"));
    }
    serde_json::from_slice(body).map_err(|error| wrong(&error))
}

pub(super) fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => written(text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// An answer that is JSON already.
pub(super) fn written(mut text: Vec<u8>) -> Response {
    let kind = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    text.push(b'\n');
    (kind, text).into_response()
}

pub(super) fn iso(at: UnixMillis) -> String {
    let mut text = Vec::with_capacity(24);
    at.write_iso(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
