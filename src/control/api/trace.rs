//! `GET /control/v1/trace`: what sessions say, as they say it, a line of JSON each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::actor::Actor;
use super::answers::{Api, Problem, iso};
use super::lasting::Working;
use super::shape::trace::Told;
use crate::config::AddressPattern;
use crate::config::value;
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Admin, Change};
use crate::queue::select::Pattern;
use crate::shard::ask::Ask;
use crate::shard::trace::{Side, TraceFilter, TraceLine, Tracing};

/// Begins to watch.
pub(super) async fn trace(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Extension(working): Extension<Working>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (filter, words) = asked(query)?;
    let watcher = api.watchers.clone().try_acquire_owned().map_err(|_| {
        Problem::Busy("as many watch sessions already as may: try again when one of them has ended")
    })?;
    let tracing = Arc::new(Tracing::new(filter, api.asker.shards()));
    // From here on it is ended whenever this goes.
    let lines = Lines::new(api.clone(), tracing.clone(), (working, watcher));
    for shard in 0..api.asker.shards() {
        api.asker.ask(shard, |reply| Ask::Trace(tracing.clone(), reply)).await?;
    }
    say(Level::Info, format_args!("trace ({words}) by {actor}"));
    if let Some(teller) = &api.admin {
        let by = actor.to_string();
        teller.tell(Admin::Trace(Change { by: &by, filter: &words, reason: "", recipients: 0 }));
    }
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::new(lines)).into_response())
}

/// What is to be watched, and the same in words.
fn asked(query: Option<String>) -> Result<(TraceFilter, String), Problem> {
    let (mut filter, mut words) = (TraceFilter::default(), Vec::new());
    for (name, text) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let wrong = |want: &str| Problem::Wrong(format!("{name} is {want}"));
        let address = || {
            AddressPattern::parse(text.trim())
                .map_err(|_| wrong("an address, @ and a domain, *. and a domain for all below it, *, or <>"))
        };
        if text.is_empty() || text.len() > limits::FILTER_TEXT_MAX {
            return Err(wrong("a text of at most 320 bytes"));
        }
        match &*name {
            "rcpt" => filter.recipient = Some(address()?),
            "sender" => filter.sender = Some(address()?),
            "client" => {
                let network = value::network(text.trim());
                filter.client =
                    Some(network.map_err(|_| wrong("an address, or a network like 192.0.2.0/24"))?);
            }
            "site" => {
                let pattern = Pattern::parse(&text);
                filter.site = Some(pattern.ok_or(wrong("a host, or *. and a domain for all below it"))?);
            }
            "bodies" => filter.bodies = text == "1",
            _ => {
                return Err(Problem::Wrong(format!(
                    "there is no {name}; there are rcpt, sender, client, site and bodies"
                )));
            }
        }
        words.push(format!("{name}={text}"));
    }
    let TraceFilter { sender, recipient, client, site, bodies: _ } = &filter;
    if sender.is_none() && recipient.is_none() && client.is_none() && site.is_none() {
        return Err(Problem::Wrong("say whose sessions: rcpt, sender, client or site".to_owned()));
    }
    Ok((filter, words.join(" ")))
}

/// The lines on their way to who watches.
struct Lines {
    api: Arc<Api>,
    tracing: Arc<Tracing>,
    /// The connection stays open while this goes on.
    working: Working,
    wait: Pin<Box<Sleep>>,
    until: Instant,
    /// Looks since the last line.
    idle: u32,
    ended: bool,
    _watcher: OwnedSemaphorePermit,
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.tracing.end();
    }
}

impl Lines {
    fn new(
        api: Arc<Api>,
        tracing: Arc<Tracing>,
        (working, watcher): (Working, OwnedSemaphorePermit),
    ) -> Lines {
        let until = Instant::now() + limits::TRACE_LASTS;
        let wait = Box::pin(tokio::time::sleep(limits::TRACE_LOOK));
        Lines { api, tracing, working, wait, until, idle: 0, ended: false, _watcher: watcher }
    }

    /// What there is to be passed on now.
    fn next(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        for shard in 0..self.api.asker.shards() {
            let of_shard = std::iter::from_fn(|| self.tracing.take(shard));
            lines.extend(of_shard.take(limits::TRACE_LINES_AT_ONCE).map(|line| (shard, line)));
        }
        // Of one session they are in their order, whatever the clock says.
        lines.sort_by_key(|(_, line)| line.at);
        let mut out = Vec::new();
        for (shard, line) in &lines {
            write(&told(*shard, line), &mut out);
        }
        match self.tracing.take_dropped() {
            0 => {}
            dropped => write(&Told { dropped: Some(dropped), ..Told::default() }, &mut out),
        }
        out
    }
}

fn told(shard: usize, line: &TraceLine) -> Told {
    Told {
        time: Some(iso(line.at)),
        session: format!("{shard}-{}", line.session),
        side: if line.side == Side::In { "in" } else { "out" }.to_owned(),
        dir: if line.ours { ">" } else { "<" }.to_owned(),
        peer: line.peer.to_string(),
        line: line.text.to_string(),
        dropped: None,
        ended: None,
    }
}

fn write(told: &Told, out: &mut Vec<u8>) {
    if serde_json::to_writer(&mut *out, told).is_ok() {
        out.push(b'\n');
    }
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if self.wait.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            self.wait.as_mut().reset(now + limits::TRACE_LOOK);
            self.tracing.renew();
            self.working.goes_on();
            let mut out = self.next();
            let why = if self.api.mesh.stopping() {
                Some("the relay stops")
            } else if self.tracing.is_over() {
                Some("what was told was not taken in time, or too many watch")
            } else {
                (now >= self.until).then_some("that was an hour: ask again")
            };
            if let Some(why) = why {
                self.ended = true;
                write(&Told { ended: Some(why.to_owned()), ..Told::default() }, &mut out);
            }
            self.idle = if out.is_empty() { self.idle + 1 } else { 0 };
            if self.idle >= limits::TRACE_IDLE_LOOKS {
                self.idle = 0;
                out.push(b'\n');
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }
}
