//! What OpenAPI says of each question.

use std::sync::Arc;

use axum::Extension;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::control::analytics::{By, Step};
use crate::limits;
use crate::policy::suppression::entry::Reason;
use crate::queue::select::{FILTERS, GroupState};

/// What is said of a question.
pub(super) struct Told {
    /// What it is for, in a line.
    pub summary: &'static str,
    /// What may stand behind its `?`.
    pub query: Vec<Parameter>,
    /// The shape of its body.
    pub body: Option<Body>,
    /// Its answer.
    pub answer: Answer,
    /// How it may be refused beside the usual.
    pub refusals: &'static [u16],
}

/// What is answered.
pub(super) enum Answer {
    /// JSON of this shape.
    Shape(&'static str),
    /// Lines, each JSON of this shape, or empty.
    Lines(&'static str),
    /// Any object.
    Object,
    /// A text of this media type.
    Of(&'static str),
}

/// What is asked with.
pub(super) enum Body {
    /// JSON of this shape.
    Shape(&'static str),
    /// The same, or nothing.
    Maybe(&'static str),
    /// A table.
    Table,
}

/// What may stand behind a `?`.
pub(super) struct Parameter {
    pub name: &'static str,
    pub help: String,
    pub schema: Value,
    pub required: bool,
}

/// The whole document, as it is answered.
#[derive(Clone)]
pub(super) struct Document(pub Arc<str>);

/// Answers it.
pub(super) async fn document(Extension(Document(text)): Extension<Document>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (kind, text.to_string()).into_response()
}

pub(super) fn of(summary: &'static str, answer: &'static str) -> Told {
    Told { summary, query: Vec::new(), body: None, answer: Answer::Shape(answer), refusals: &[] }
}

pub(super) fn optional(name: &'static str, help: &str, schema: Value) -> Parameter {
    Parameter { name, help: help.to_owned(), schema, required: false }
}

pub(super) fn text() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": limits::FILTER_TEXT_MAX })
}

fn any_text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn limit(most: usize) -> Parameter {
    optional("limit", "Rows of a page.", json!({ "type": "integer", "minimum": 1, "maximum": most }))
}

pub(super) fn cursor() -> Parameter {
    optional("cursor", "`next` of the page before.", json!({ "type": "string" }))
}

/// The value of a filter.
pub(super) fn filter(name: &str, help: &str) -> Value {
    let mut schema = match name {
        "state" => json!({ "type": "string", "enum": GroupState::ALL.map(GroupState::name) }),
        "older" => json!({ "type": "string", "pattern": "^[0-9]{1,4}(ms|s|m|h|d)$" }),
        "id" => json!({ "type": "string", "pattern": "^[0-9A-Za-z]{16}$" }),
        _ => text(),
    };
    schema["description"] = help.into();
    schema
}

fn filters() -> Vec<Parameter> {
    FILTERS.iter().map(|of| optional(of.name, of.help, filter(of.name, of.help))).collect()
}

pub(super) fn me() -> Told {
    of("Who asks, and what he may.", "Me")
}

pub(super) fn openapi() -> Told {
    Told { answer: Answer::Object, ..of("This document.", "") }
}

pub(super) fn status() -> Told {
    of("How the node is.", "Status")
}

pub(super) fn overview() -> Told {
    of("The node at a glance.", "Overview")
}

pub(super) fn history() -> Told {
    let step = optional(
        "step",
        "Seconds of a step: the last hour, or the last day.",
        json!({ "type": "integer", "enum": [1, 60] }),
    );
    Told { query: vec![step], ..of("What went before.", "History") }
}

pub(super) fn sites() -> Told {
    let query = vec![
        cursor(),
        optional("provider", "Of this provider; empty: of any.", any_text()),
        optional(
            "narrowed",
            "1: those that got less because they refused what was too much.",
            json!({ "type": "string", "enum": ["0", "1"] }),
        ),
    ];
    Told { query, ..of("Where mail goes: limits and windows in force.", "SitesPage") }
}

pub(super) fn events() -> Told {
    let query = vec![
        optional("events", "Events to be told, with commas between; empty: none.", any_text()),
        optional("domain", "Those of this domain; empty: of all.", any_text()),
    ];
    Told {
        query,
        answer: Answer::Of("text/event-stream"),
        ..of(
            "Server-sent events: the overview each second, and lines of the log where they are asked for.",
            "",
        )
    }
}

pub(super) fn queue() -> Told {
    let query = filters().into_iter().chain([cursor(), limit(limits::PAGE_ROWS)]).collect();
    Told {
        query,
        refusals: &[410],
        ..of("What waits: a row for the recipients of one message in one domain.", "Page")
    }
}

pub(super) fn count() -> Told {
    // It counts all, and takes what a list takes.
    let query = filters().into_iter().chain([cursor(), limit(limits::PAGE_ROWS)]).collect();
    Told { query, refusals: &[410], ..of("How much waits.", "CountPage") }
}

pub(super) fn message() -> Told {
    Told { refusals: &[404], ..of("All about a message that is not settled.", "Message") }
}

pub(super) fn why() -> Told {
    let query = filters().into_iter().chain([cursor(), limit(limits::PAGE_ROWS)]).collect();
    let summary = "What the mail of a domain, a message, an address or an account waits for.";
    Told { query, refusals: &[404, 410], ..of(summary, "Why") }
}

pub(super) fn node() -> Told {
    of("This node in a few numbers, for the others of its cluster.", "NodeSummary")
}

pub(super) fn cluster() -> Told {
    of("The nodes of the cluster: who answers, and how each is.", "ClusterNodes")
}

pub(super) fn cluster_queue() -> Told {
    let summary = "What waits at all nodes of the cluster; nodes that did not answer are named.";
    Told { summary, answer: Answer::Shape("ClusterPage"), refusals: &[404, 410], ..queue() }
}

pub(super) fn cluster_count() -> Told {
    let summary = "How much waits at all nodes of the cluster.";
    Told { summary, answer: Answer::Shape("ClusterCount"), refusals: &[404, 410], ..count() }
}

pub(super) fn cluster_why() -> Told {
    let summary = "What mail waits for, at each node of the cluster that has it.";
    Told { summary, answer: Answer::Shape("ClusterWhy"), ..why() }
}

pub(super) fn suspensions() -> Told {
    of("What is suspended.", "Suspensions")
}

pub(super) fn warmup() -> Told {
    of("How far sources in warm-up are at each provider.", "Warmup")
}

pub(super) fn quotas() -> Told {
    of("How much of their quotas accounts and tenants have used.", "QuotasUsed")
}

pub(super) fn analytics() -> Told {
    let time = |name, help| optional(name, help, json!({ "type": "string", "format": "date-time" }));
    let by = json!({ "type": "string", "enum": By::ALL.map(By::word) });
    let step = json!({ "type": "string", "enum": Step::ALL.map(Step::word) });
    let query = vec![
        optional("by", "By what it is summed up: provider where nothing is said.", by),
        optional("step", "Sums of each such step, too: `series`.", step),
        time(
            "since",
            "From when on; an hour before `until` where nothing is said, of hours a day and of days thirty.",
        ),
        time("until", "Until when; now where nothing is said."),
        optional("provider", "Of this provider alone; empty: of none that is known.", any_text()),
        optional("tenant", "Of this tenant alone; empty: of none.", any_text()),
        optional("campaign", "Of this campaign alone; empty: of none.", any_text()),
        optional("category", "Of this category alone; empty: of none.", any_text()),
        optional("source", "Of mail that went by this source alone; empty: by none.", any_text()),
        optional("class", "What replies were about, alone; empty: what nothing was said of.", any_text()),
        cursor(),
        limit(limits::ANALYTICS_ROWS),
    ];
    Told { query, refusals: &[404], ..of("What became of mail, and what was said.", "Analytics") }
}

fn reasons() -> Value {
    json!({ "type": "string", "enum": Reason::ALL.map(Reason::word) })
}

fn tenant() -> Parameter {
    optional("tenant", "Whose mail; empty: that of all.", any_text())
}

pub(super) fn suppressions() -> Told {
    let query = vec![
        cursor(),
        limit(limits::SUPPRESSION_PAGE_MAX),
        tenant(),
        optional("reason", "Why they are listed.", reasons()),
        optional("domain", "At this domain.", text()),
    ];
    Told { query, ..of("The suppression list.", "SuppressionPage") }
}

pub(super) fn check() -> Told {
    let address = Parameter { required: true, ..optional("address", "Mail to whom.", text()) };
    Told { query: vec![address, tenant()], ..of("What holds back mail to an address.", "SuppressionPage") }
}

fn change(summary: &'static str) -> Told {
    Told { body: Some(Body::Shape("Change")), refusals: &[410], ..of(summary, "Changed") }
}

pub(super) fn retry() -> Told {
    change("What waits is due now.")
}

pub(super) fn bounce() -> Told {
    change("What waits goes back to its sender.")
}

pub(super) fn hold() -> Told {
    change("What waits is held until it is released, or for a time.")
}

pub(super) fn release() -> Told {
    change("What is held goes on.")
}

pub(super) fn rebind() -> Told {
    change("What waits has another tenant, campaign, pool or priority.")
}

pub(super) fn redirect() -> Told {
    Told {
        body: Some(Body::Shape("Redirect")),
        refusals: &[507],
        ..of("Leads mail of domains, sites or providers to another hop for a time.", "Suspensions")
    }
}

pub(super) fn content() -> Told {
    Told {
        answer: Answer::Of("message/rfc822"),
        refusals: &[404],
        ..of("A message that waits, byte for byte.", "")
    }
}

pub(super) fn trace() -> Told {
    let help = |what: &str| format!("Sessions of {what}.");
    let one = |name, what: &str| optional(name, &help(what), text());
    let query = vec![
        one("rcpt", "this recipient: an address, @ and a domain, or *. and a domain for all below it"),
        one("sender", "this sender, in the same forms"),
        one("client", "this client: an address or a network"),
        one("site", "this next hop: its name, or *. and a domain for all below it"),
        optional(
            "bodies",
            "1: what messages say is told too.",
            json!({ "type": "string", "enum": ["0", "1"] }),
        ),
    ];
    Told {
        query,
        answer: Answer::Lines("Told"),
        ..of(
            "What sessions say, as they say it: a line of JSON each. At least one of rcpt, sender, client and site is needed.",
            "",
        )
    }
}

pub(super) fn suspend() -> Told {
    Told {
        body: Some(Body::Shape("Suspend")),
        refusals: &[507],
        ..of("Has mail wait for a time.", "Suspensions")
    }
}

pub(super) fn resume() -> Told {
    Told { body: Some(Body::Shape("Resume")), ..of("Has mail go on that was suspended.", "Suspensions") }
}

fn list(summary: &'static str) -> Told {
    Told {
        body: Some(Body::Shape("ChangeSuppression")),
        refusals: &[507],
        ..of(summary, "SuppressionChanged")
    }
}

pub(super) fn add() -> Told {
    list("Puts addresses on the suppression list.")
}

pub(super) fn remove() -> Told {
    list("Takes addresses from the suppression list.")
}

pub(super) fn import() -> Told {
    let query = vec![
        tenant(),
        optional("reason", "Why, where a line does not say.", reasons()),
        optional(
            "expires",
            "Until when, where a line does not say.",
            json!({ "type": "string", "format": "date-time" }),
        ),
    ];
    let summary = "A table comes on the suppression list: all of it, or nothing.";
    Told { query, body: Some(Body::Table), refusals: &[507], ..of(summary, "SuppressionImported") }
}

pub(super) fn reload() -> Told {
    let summary = "The configuration is read again.";
    Told { body: Some(Body::Maybe("Reload")), refusals: &[404], ..of(summary, "Reloaded") }
}

pub(super) fn erase() -> Told {
    let summary = "Makes an address unreadable in logs, texts and the journal of events; takes it off the suppression list where that is asked for.";
    Told { body: Some(Body::Shape("Erase")), refusals: &[404, 507], ..of(summary, "Erased") }
}

/// What shapes look like.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("Refusal", r#"{"error":"who asks? give a token: Authorization: Bearer TOKEN","code":"no_token"}"#),
    ("Me", r#"{"who":"token ops","role":"operate","tenant":null,"redacts":false,"cluster":null}"#),
    ("Change", r#"{"filter":{"domain":"example.org","state":"deferred"},"reason":"their MX moved"}"#),
    (
        "Changed",
        r#"{"recipients":412,"groups":400,"under_way":2,"waits_for_spool":false,"unwritten":0,"next":null}"#,
    ),
    // Of hold: for so long, and what the next request gives back.
    ("Change", r#"{"filter":{"domain":"example.org"},"seconds":7200,"reason":"their MX moves"}"#),
    (
        "Changed",
        r#"{"recipients":412,"groups":400,"under_way":2,"waits_for_spool":false,"unwritten":0,"until":1796022000,"next":"0-4-17"}"#,
    ),
    ("Suspend", r#"{"filter":{"domain":"example.org"},"seconds":7200,"reason":"their MX moves"}"#),
    (
        "Redirect",
        r#"{"filter":{"domain":"example.org"},"to":"smtp://relay.example.net:25","seconds":7200,"reason":"their MX is down"}"#,
    ),
    (
        "Suspensions",
        r#"{"suspensions":[{"id":12,"effect":"redirect","to":"smtp://relay.example.net:25","domain":"example.org","mail":"domain example.org","since":"2026-11-30T05:00:00.000Z","until":"2026-11-30T07:00:00.000Z","by":"token ops","reason":"their MX is down"}],"unkept":false}"#,
    ),
    (
        "Told",
        r#"{"time":"2026-11-30T05:00:00.000Z","session":"0-123","side":"out","dir":">","peer":"192.0.2.1:25","line":"MAIL FROM:<news@example.net>"}"#,
    ),
    ("Told", r#"{"dropped":17}"#),
    ("Told", r#"{"ended":"the relay stops"}"#),
    ("Resume", r#"{"filter":{"domain":"example.org"}}"#),
    ("NewToken", r#"{"name":"night","role":"operate","tenant":"shop"}"#),
    (
        "TokenAdded",
        r#"{"name":"night","role":"operate","tenant":"shop","token":"relevo_…","file":"/var/lib/relevo/tokens","in_force":true,"others":[]}"#,
    ),
    (
        "NewAccount",
        r#"{"name":"shop","password":"…","rights":{"tenant":"shop","senders":["@shop.example"],"rate":"50000/d"}}"#,
    ),
    ("NewPassword", r#"{"password":"…","logs_in":"scram"}"#),
    (
        "LogCounts",
        r#"{"by":"domain","rows":[{"name":"example.org","received":9,"delivered":7,"deferred":1,"bounced":1,"expired":0,"feedback":0,"delay_ms":812,"text":"550 5.1.1 no such user"}],"next":null,"bytes":4096,"unreadable":0,"troubles":[]}"#,
    ),
    ("Reload", r#"{"dry_run":true}"#),
    ("Erase", r#"{"address":"ada@example.org","dry_run":true,"suppression":false}"#),
    (
        "ChangeSuppression",
        r#"{"addresses":["ada@example.org"],"tenant":"shop","reason":"complaint","note":"by phone"}"#,
    ),
    ("SuppressionChanged", r#"{"changed":1,"known":0}"#),
    (
        "ClusterNodes",
        r#"{"cluster":"relays","as_of":"2026-11-30T05:00:00.000Z","trouble":null,"nodes":[{"node":"mx2.example.net","id":"00000000000000ab","url":"http://10.0.0.6:8025","own":false,"reach":"away","words":"[10.0.0.6]:8025: Connection refused (os error 111)","since":"2026-11-30T04:58:12.000Z","answered":"2026-11-30T04:58:07.000Z","registered":null,"version":"0.1.0","summary":null}],"more":0}"#,
    ),
    (
        "CountPage",
        r#"{"recipients":412,"deferred":400,"ready":12,"suspended":0,"held":0,"groups":400,"under_way":2,"next":null}"#,
    ),
    (
        "Page",
        r#"{"rows":[{"id":"00000000G0000102","state":"deferred","domain":"example.org","site":"mx.example.org","sender":"news@example.net","count":1,"recipients":["ada@example.org"],"accepted":"2026-11-30T05:00:00.000Z","size":2048,"attempts":1,"next_attempt":"2026-11-30T05:30:00.000Z","site_closed_until":null,"expires":"2026-12-05T05:00:00.000Z","last_reply":"451 4.7.1 try later","damaged":false}],"under_way":0,"next":null}"#,
    ),
];
