//! Server-sent events for whoever watches: the overview each second, and lines of the journal as it takes them. What is told is rendered once, however
//! many watch, and once more where some of them are shown less; who is slow loses lines and is told how many, and holds up nobody.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::journal;
use super::overview::Overviews;
use crate::limits;
use lines::Lines;
pub(super) use lines::Wanted;

pub mod lines;

/// That a connection is a stream: it may live, for as long as what it is told is taken.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Streaming(Arc<StreamState>);

#[derive(Debug, Default)]
struct StreamState {
    on: AtomicBool,
    /// How often the connection came for more.
    taken: AtomicU64,
}

impl Streaming {
    /// Whether it is one.
    pub(in crate::control) fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Serves a connection for as long as one may take; a stream for as long as it takes what it is told. `goes_on`: what else has time.
    pub(in crate::control) async fn serve(
        &self,
        answered: impl Future<Output = ()>,
        goes_on: impl Fn() -> bool,
    ) {
        let (mut answered, mut patience) = (std::pin::pin!(answered), Patience::default());
        while tokio::time::timeout(limits::STREAM_LOOK, &mut answered).await.is_err() {
            let taken = self.is_on().then(|| self.0.taken.load(Ordering::Relaxed));
            if patience.is_over(taken, &goes_on) {
                return;
            }
        }
    }
}

/// How long a connection has been waited for, in looks of [`limits::STREAM_LOOK`].
#[derive(Debug, Default)]
struct Patience {
    waited: Duration,
    taken: u64,
}

impl Patience {
    /// One more look: how often a stream came for more, where it is one, and whether another that takes long goes on.
    fn is_over(&mut self, taken: Option<u64>, goes_on: impl Fn() -> bool) -> bool {
        self.waited += limits::STREAM_LOOK;
        match taken {
            Some(taken) => {
                if taken != std::mem::replace(&mut self.taken, taken) {
                    self.waited = Duration::ZERO;
                }
                self.waited >= limits::STREAM_STANDS
            }
            None if self.waited < limits::HTTP_REQUEST => false,
            None => {
                self.waited = Duration::ZERO;
                !goes_on()
            }
        }
    }
}

/// All streams.
pub(super) struct Streams {
    open: AtomicUsize,
    /// Those of them that want lines.
    listening: AtomicUsize,
    lines: broadcast::Sender<Arc<Lines>>,
    overviews: Arc<Overviews>,
    journal: Option<Arc<journal::Shared>>,
    over: AtomicBool,
}

/// The place of one, given back when it ends.
struct Place(Arc<Streams>, bool);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        if self.1 {
            self.0.listening.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Streams {
    pub(super) fn new(overviews: Arc<Overviews>, journal: Option<Arc<journal::Shared>>) -> Arc<Streams> {
        Arc::new(Streams {
            open: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
            lines: broadcast::Sender::new(limits::STREAM_BEHIND),
            overviews,
            journal,
            over: AtomicBool::new(false),
        })
    }

    /// Whether there are lines to be told: a journal is kept.
    pub(super) fn has_lines(&self) -> bool {
        self.journal.is_some()
    }

    /// Hands on what the journal takes, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let Some(journal) = self.journal.clone() else { return };
        let (overhear, mut number, mut on) = (journal.overhear(), 0, false);
        loop {
            let wanted = self.listening.load(Ordering::SeqCst) > 0;
            if wanted != on {
                overhear.watch(wanted);
                on = wanted;
            }
            while on && let Some(batch) = overhear.next() {
                let lines = Lines::of(batch.lines(), number);
                number += lines.len() as u64;
                let _ = self.lines.send(Arc::new(lines));
                // What is full of mail is full of lines, too: others have their turn.
                tokio::task::yield_now().await;
            }
            number += overhear.passed();
            tokio::time::sleep(limits::STREAM_ROUND).await;
        }
    }

    /// Opens one. None: there are as many as may be.
    pub(super) fn open(self: &Arc<Self>, wanted: Wanted, streaming: Streaming) -> Option<StreamBody> {
        let room = |open| (open < limits::STREAMS_MAX).then_some(open + 1);
        self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room).ok()?;
        let listens = wanted.is_some();
        if listens {
            self.listening.fetch_add(1, Ordering::SeqCst);
        }
        let place = Place(self.clone(), listens);
        let (tell, told) = mpsc::channel(1);
        streaming.0.on.store(true, Ordering::Relaxed);
        tokio::spawn(write(place, wanted, tell));
        Some(StreamBody { told, streaming })
    }

    /// The node stops: each is told so, and ends.
    pub(super) async fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        if self.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(limits::STREAM_BYE).await;
        }
    }
}

/// Tells one reader all that he wants, until he goes or the node stops.
async fn write(place: Place, wanted: Wanted, tell: mpsc::Sender<Bytes>) {
    let streams = &place.0;
    let mut overviews = streams.overviews.follow();
    overviews.mark_changed();
    let mut lines = place.1.then(|| streams.lines.subscribe());
    let (mut expected, mut told) = (None, Instant::now());
    let mut out = Vec::new();
    while !tell.is_closed() {
        if overviews.has_changed().unwrap_or(false) {
            let shown = overviews.borrow_and_update().clone();
            let text = shown.text(wanted.veil());
            if !text.is_empty() {
                out.extend_from_slice(b"event: overview\ndata: ");
                out.extend_from_slice(&text);
                out.extend_from_slice(b"\n\n");
            }
        }
        let next = match &mut lines {
            Some(lines) => follow(lines, &wanted, &mut expected, &mut out),
            None => Next::Wait,
        };
        let is_over = streams.over.load(Ordering::SeqCst);
        let (whole, waits) = match next {
            Next::Whole(text) => (Some(text), false),
            Next::More => (None, false),
            Next::Wait => (None, true),
        };
        if !is_over && out.is_empty() && whole.is_none() && told.elapsed() >= limits::STREAM_COMMENT {
            out.extend_from_slice(b": \n\n");
        }
        let bye = if is_over { Bytes::from_static(b"event: bye\ndata: {}\n\n") } else { Bytes::new() };
        for piece in [std::mem::take(&mut out).into(), whole.unwrap_or_default(), bye] {
            if piece.is_empty() {
                continue;
            }
            told = Instant::now();
            if tell.send(piece).await.is_err() {
                return;
            }
        }
        if is_over {
            return;
        }
        if waits {
            tokio::time::sleep(limits::STREAM_ROUND).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// What [`follow`] came to.
enum Next {
    /// Nothing is left for now.
    Wait,
    /// There may be more: a piece is full, or lines were rendered, and others have their turn first.
    More,
    /// The same, and this goes behind what was appended.
    Whole(Bytes),
}

/// Appends the next lines, and how many were lost before them.
fn follow(
    lines: &mut broadcast::Receiver<Arc<Lines>>,
    wanted: &Wanted,
    expected: &mut Option<u64>,
    out: &mut Vec<u8>,
) -> Next {
    while out.len() < limits::STREAM_PIECE {
        match lines.try_recv() {
            Ok(some) => {
                let lost = expected.map_or(0, |expected| some.first.saturating_sub(expected));
                if lost > 0 {
                    out.extend_from_slice(format!("event: lost\ndata: {{\"count\":{lost}}}\n\n").as_bytes());
                }
                *expected = Some(some.first + some.len() as u64);
                if let Some(text) = some.whole(wanted) {
                    return Next::Whole(text);
                }
                if some.write(wanted, out) {
                    return Next::More;
                }
            }
            // The number of the next one says how many.
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Next::Wait,
        }
    }
    Next::More
}

/// What a stream tells.
pub(super) struct StreamBody {
    told: mpsc::Receiver<Bytes>,
    streaming: Streaming,
}

impl HttpBody for StreamBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = self.told.poll_recv(context);
        if polled.is_ready() {
            self.streaming.0.taken.fetch_add(1, Ordering::Relaxed);
        }
        polled.map(|told| told.map(|text| Ok(Frame::data(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::access::Redact;
    use crate::control::api::veil::Veil;
    use crate::policy::tokens::Role;

    fn lines(first: u64, count: usize) -> Arc<Lines> {
        Arc::new(Lines::of("{\"event\":\"bounced\"}\n".repeat(count).as_bytes(), first))
    }

    #[test]
    fn who_lags_is_told_how_many_lines_he_lost() {
        let sender = broadcast::Sender::new(limits::STREAM_BEHIND);
        let mut reader = sender.subscribe();
        let wanted = Wanted::new(Some("bounced"), None).expect("a kind");
        let (mut expected, mut out) = (None, Vec::new());
        let mut number = 0;
        let mut tell = |count: usize| {
            let _ = sender.send(lines(number, count));
            number += count as u64;
        };
        tell(3);
        follow(&mut reader, &wanted, &mut expected, &mut out);
        let text = String::from_utf8(std::mem::take(&mut out)).expect("text");
        assert_eq!((text.matches("event: log").count(), text.matches("event: lost").count()), (3, 0));
        let most = limits::STREAM_BEHIND.next_power_of_two();
        (0..most + 5).for_each(|_| tell(2));
        follow(&mut reader, &wanted, &mut expected, &mut out);
        let text = String::from_utf8(std::mem::take(&mut out)).expect("text");
        assert!(text.starts_with("event: lost\ndata: {\"count\":10}\n\n"), "{text}");
        assert_eq!(text.matches("event: log").count(), 2 * most);
        // And what the journal did not hand on.
        number += 7;
        let _ = sender.send(lines(number, 1));
        follow(&mut reader, &wanted, &mut expected, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("{\"count\":7}"), "{text}");
    }

    /// Others have their turn when lines were rendered for one who is shown less.
    #[test]
    fn who_is_shown_less_holds_up_nobody() {
        let sender = broadcast::Sender::new(limits::STREAM_BEHIND);
        let mut reader = sender.subscribe();
        let redact = Redact { recipient: true, sender: true };
        let plain = Wanted::new(Some("bounced"), None).expect("a kind");
        let veiled = plain.clone().behind(Veil::of(redact, Role::Read));
        let mut follow = |wanted: &Wanted| {
            (0..2).for_each(|number| drop(sender.send(lines(number, 1))));
            let (mut expected, mut turns) = (None, 1);
            while !matches!(super::follow(&mut reader, wanted, &mut expected, &mut Vec::new()), Next::Wait) {
                turns += 1;
            }
            turns
        };
        assert_eq!((follow(&plain), follow(&veiled)), (1, 3));
    }

    /// A connection that takes nothing is ended; one that takes what it is told lives, and so does one that has not asked for a stream yet.
    #[test]
    fn a_stream_lives_as_long_as_it_is_taken() {
        let looks = |span: Duration| (span.as_secs() / limits::STREAM_LOOK.as_secs()) as usize;
        let over = |taken: &dyn Fn(u64) -> Option<u64>, goes_on: bool| {
            let mut patience = Patience::default();
            (1..1_000).find(|look| patience.is_over(taken(*look), || goes_on)).map(|look| look as usize)
        };
        assert_eq!(over(&|_| None, false), Some(looks(limits::HTTP_REQUEST)));
        assert_eq!(over(&|_| None, true), None, "it takes as long as it takes");
        assert_eq!(over(&|_| Some(0), true), Some(looks(limits::STREAM_STANDS)));
        assert_eq!(over(&Some, false), None);
        assert_eq!(over(&|look| Some(look.min(100)), false), Some(100 + looks(limits::STREAM_STANDS)));
        // It began when its connection had stood for a while.
        let late = over(&|look| if look < 20 { None } else { Some(look) }, false);
        assert_eq!(late, None);
    }
}
