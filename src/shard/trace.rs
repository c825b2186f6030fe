//! The dialogue of sessions as it goes, for who asks for it: both sides, line by line, secrets left out where they are met.
//!
//! Nobody asks most of the time: then a session looks at one flag. While somebody does, what sessions say is kept on their shard, a little of
//! each, until it is known whether it is meant. Who asks says again and again that he is there: when he is silent the shard forgets him.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::config::AddressPattern;
use crate::config::value::Network;
use crate::limits;
use crate::mail::address::international;
use crate::queue::select::Pattern;
use crate::time::UnixMillis;

/// Which sessions are meant: those of which all that is set holds.
#[derive(Clone, Debug, Default)]
pub struct TraceFilter {
    /// A sender that MAIL names.
    pub sender: Option<AddressPattern>,
    /// A recipient that RCPT names.
    pub recipient: Option<AddressPattern>,
    /// The client, of sessions that come in.
    pub client: Option<Network>,
    /// The host, of sessions that go out.
    pub site: Option<Pattern>,
    /// The messages too.
    pub bodies: bool,
}

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client's.
    In,
    /// With a next hop.
    Out,
}

/// A line of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// When it was said.
    pub at: UnixMillis,
    /// The session's number on its shard.
    pub session: u32,
    /// Whose it is.
    pub side: Side,
    /// We said it.
    pub ours: bool,
    /// Who is at the other end.
    pub peer: Arc<str>,
    /// What was said, as it may be shown.
    pub text: Box<str>,
}

/// What somebody wants to see, and what was seen for him.
#[derive(Debug)]
pub struct Tracing {
    filter: TraceFilter,
    lines: Vec<ArrayQueue<TraceLine>>,
    dropped: AtomicU64,
    renewed: AtomicU64,
    over: AtomicBool,
}

impl Tracing {
    /// Of so many shards.
    pub fn new(filter: TraceFilter, shards: usize) -> Tracing {
        Tracing {
            filter,
            lines: (0..shards).map(|_| ArrayQueue::new(limits::TRACE_LINES)).collect(),
            dropped: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// The next line of a shard.
    pub fn take(&self, shard: usize) -> Option<TraceLine> {
        self.lines.get(shard)?.pop()
    }

    /// Lines that found no room since this was asked last.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Who asked is still there.
    pub fn renew(&self) {
        self.renewed.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody wants it any more.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether it is over: also where a shard heard nothing of who asked for too long.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What a session says of itself when it is met first.
pub(in crate::shard) struct About {
    pub side: Side,
    pub peer: String,
    pub client: Option<IpAddr>,
    /// The name of the host, in lower case.
    pub host: Option<String>,
}

/// What was said.
#[derive(Clone, Copy)]
pub(in crate::shard) enum Said<'a> {
    /// By the client of a session: commands, and answers to challenges.
    Commands(&'a [u8]),
    /// By its server.
    Replies(&'a [u8]),
    /// A part of a message.
    Body(&'a [u8]),
}

/// Who watches a shard's sessions.
#[derive(Default)]
pub struct TraceDesk {
    on: Cell<bool>,
    watching: RefCell<Vec<Watching>>,
    sessions: RefCell<BTreeMap<u32, Traced>>,
    last: Cell<u32>,
}

struct Watching {
    tracing: Arc<Tracing>,
    /// How often it was renewed, when that was looked at last, and for how many looks it has been so often.
    renewed: u64,
    silent: u32,
}

impl TraceDesk {
    /// Whether anybody watches: asked wherever something is said.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// One more watches. Too many do not.
    pub fn watch(&self, tracing: Arc<Tracing>) {
        let mut watching = self.watching.borrow_mut();
        if watching.len() >= limits::TRACES_MAX {
            tracing.end();
            return;
        }
        let renewed = tracing.renewed.load(Ordering::Relaxed);
        watching.push(Watching { tracing, renewed, silent: 0 });
        self.on.set(true);
    }

    /// At each tick: who does not say that he is there has gone.
    pub fn tick(&self) {
        if !self.is_on() {
            return;
        }
        let mut watching = self.watching.borrow_mut();
        watching.retain_mut(|one| {
            let renewed = one.tracing.renewed.load(Ordering::Relaxed);
            let is_silent = renewed == one.renewed;
            (one.renewed, one.silent) = (renewed, if is_silent { one.silent + 1 } else { 0 });
            if one.silent >= limits::TRACE_LEASE_TICKS {
                one.tracing.end();
            }
            !one.tracing.is_over()
        });
        if watching.is_empty() {
            self.on.set(false);
            self.sessions.borrow_mut().clear();
        }
    }

    /// Something was said in the session of this number, which it has from here when it says something first; on this shard.
    #[cold]
    pub(in crate::shard) fn tell(
        &self,
        shard: usize,
        number: &mut u32,
        about: impl FnOnce() -> About,
        at: UnixMillis,
        said: Said<'_>,
    ) {
        let watching = self.watching.borrow();
        let mut sessions = self.sessions.borrow_mut();
        if !sessions.contains_key(&*number) {
            if sessions.len() >= limits::TRACE_SESSIONS {
                sessions.pop_first();
            }
            *number = self.last.get().wrapping_add(1).max(1);
            self.last.set(*number);
            sessions.insert(*number, Traced::new(about()));
        }
        let Some(session) = sessions.get_mut(&*number) else { return };
        session.hear(at, said);
        for one in watching.iter() {
            session.tell((shard, *number), &one.tracing);
        }
    }
}

/// One line that is kept.
struct Kept {
    at: UnixMillis,
    ours: bool,
    body: bool,
    text: Box<str>,
}

/// A session of which it may have to be told.
struct Traced {
    side: Side,
    peer: Arc<str>,
    client: Option<IpAddr>,
    host: Option<String>,
    /// Lines that are not whole yet, of the client and of the server.
    partial: [Vec<u8>; 2],
    /// The server asked for something that is nobody's business: the next line of the client is that.
    challenged: bool,
    /// Lines of late, and the number of the first of them.
    kept: VecDeque<Kept>,
    first: u64,
    bytes: usize,
    /// The number of the line with the last MAIL, and those that were named since.
    mail: u64,
    mails: u32,
    sender: Option<String>,
    recipients: Vec<String>,
    /// Bytes of the message since the last line that is none of it.
    body: u64,
    /// How far each of those who watch was told, by the place of what he wants in memory, and whether what went before was meant.
    told: Vec<(*const Tracing, u64, bool)>,
}

impl Traced {
    fn new(about: About) -> Traced {
        let About { side, peer, client, host } = about;
        Traced {
            side,
            peer: peer.into(),
            client,
            host,
            partial: Default::default(),
            challenged: false,
            kept: VecDeque::new(),
            first: 0,
            bytes: 0,
            mail: 0,
            mails: 0,
            sender: None,
            recipients: Vec::new(),
            body: 0,
            told: Vec::new(),
        }
    }

    fn hear(&mut self, at: UnixMillis, said: Said<'_>) {
        let (bytes, by) = match said {
            Said::Commands(bytes) => (bytes, 0),
            Said::Replies(bytes) => (bytes, 1),
            Said::Body(bytes) => return self.hear_body(at, bytes),
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (line, behind) = rest.split_at(end);
            rest = behind;
            let partial = &mut self.partial[by];
            let room = limits::TRACE_LINE_HELD.saturating_sub(partial.len());
            partial.extend_from_slice(&line[..line.len().min(room)]);
            if line.ends_with(b"\n") {
                let whole = std::mem::take(partial);
                let whole = whole.strip_suffix(b"\n").unwrap_or(&whole);
                let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
                if by == 0 { self.hear_command(at, whole) } else { self.hear_reply(at, whole) }
            }
        }
    }

    fn hear_command(&mut self, at: UnixMillis, line: &[u8]) {
        self.end_body(at);
        let text = match std::mem::take(&mut self.challenged) {
            true => hidden(line),
            false => shown_command(line),
        };
        let sender = path_behind(line, b"MAIL FROM:").or_else(|| path_behind(line, b"XMRG FROM:"));
        if let Some(sender) = sender {
            (self.mail, self.mails) = (self.first + self.kept.len() as u64, self.mails.saturating_add(1));
            self.sender = Some(sender);
            self.recipients.clear();
        }
        if let Some(recipient) = path_behind(line, b"RCPT TO:")
            && self.recipients.len() < limits::TRACE_RECIPIENTS
        {
            self.recipients.push(recipient);
        }
        self.keep(at, self.side == Side::Out, false, text);
    }

    fn hear_reply(&mut self, at: UnixMillis, line: &[u8]) {
        self.end_body(at);
        self.challenged = line.starts_with(b"334");
        let text = if self.challenged { "334 [hidden]".to_owned() } else { legible(line) };
        self.keep(at, self.side == Side::In, false, text);
    }

    fn hear_body(&mut self, at: UnixMillis, bytes: &[u8]) {
        let before = self.body;
        self.body = before.saturating_add(bytes.len() as u64);
        let room = limits::TRACE_BODY.saturating_sub(before);
        let shown = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        for line in shown.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.keep(at, self.side == Side::Out, true, legible(line.strip_suffix(b"\r").unwrap_or(line)));
        }
    }

    /// What follows is no part of the message any more: how large it was is told.
    fn end_body(&mut self, at: UnixMillis) {
        if self.body > 0 {
            let text = format!("[{} bytes of a message]", std::mem::take(&mut self.body));
            self.keep(at, self.side == Side::Out, false, text);
        }
    }

    fn keep(&mut self, at: UnixMillis, ours: bool, body: bool, text: String) {
        self.bytes += text.len();
        self.kept.push_back(Kept { at, ours, body, text: text.into() });
        while self.bytes > limits::TRACE_SESSION || self.kept.len() > limits::TRACE_SESSION_LINES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.text.len();
            self.first += 1;
        }
    }

    /// Tells one who watches what he was not told, if it is meant.
    fn tell(&mut self, (shard, session): (usize, u32), to: &Arc<Tracing>) {
        let place = Arc::as_ptr(to);
        let known = self.told.iter().position(|(other, ..)| *other == place);
        let at = known.unwrap_or_else(|| {
            if self.told.len() >= limits::TRACES_MAX {
                self.told.remove(0);
            }
            self.told.push((place, 0, false));
            self.told.len() - 1
        });
        let (_, mut from, was_meant) = self.told[at];
        let next = self.first + self.kept.len() as u64;
        let is_meant = self.is_meant(&to.filter);
        // What was said before the first MAIL may belong to what is meant; what belongs to other mail does not, also where both came at once.
        if self.mails > 1 && !(is_meant && was_meant) {
            from = from.max(self.mail);
        }
        (self.told[at].1, self.told[at].2) = (from, is_meant);
        if !is_meant {
            return;
        }
        let lost = self.first.saturating_sub(from);
        to.dropped.fetch_add(lost, Ordering::Relaxed);
        for kept in
            self.kept.iter().skip(usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX))
        {
            if kept.body && !to.filter.bodies {
                continue;
            }
            let line = TraceLine {
                at: kept.at,
                session,
                side: self.side,
                ours: kept.ours,
                peer: self.peer.clone(),
                text: kept.text.clone(),
            };
            if to.lines.get(shard).is_none_or(|lines| lines.push(line).is_err()) {
                to.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.told[at].1 = next;
    }

    fn is_meant(&self, filter: &TraceFilter) -> bool {
        let TraceFilter { sender, recipient, client, site, bodies: _ } = filter;
        let names = |pattern: &AddressPattern, address: &String| pattern.matches(address.as_bytes());
        client.is_none_or(|network| self.client.is_some_and(|client| network.contains(client)))
            && site.as_ref().is_none_or(|site| self.host.as_ref().is_some_and(|host| site.matches(host)))
            && sender
                .as_ref()
                .is_none_or(|pattern| self.sender.as_ref().is_some_and(|sender| names(pattern, sender)))
            && recipient.as_ref().is_none_or(|pattern| self.recipients.iter().any(|one| names(pattern, one)))
    }
}

/// The address in angle brackets behind a command.
fn path_behind(line: &[u8], command: &[u8]) -> Option<String> {
    let (said, rest) = line.split_at_checked(command.len())?;
    if !said.eq_ignore_ascii_case(command) {
        return None;
    }
    let from = memchr::memchr(b'<', rest)? + 1;
    let to = memchr::memrchr(b'>', rest).filter(|to| *to >= from)?;
    let path = &rest[from..to];
    // Parameters may have brackets of their own.
    let end = memchr::memchr(b'>', path).unwrap_or(path.len());
    let path = String::from_utf8_lossy(&path[..end]);
    // As patterns have it: hops may be told a domain in letters, and clients may tell one so.
    Some(international::of_address(&path).unwrap_or(Cow::Borrowed(&path)).into_owned())
}

/// Commands that have no secrets, as far as they begin so.
const PLAIN: [&[u8]; 20] = [
    b"EHLO",
    b"HELO",
    b"LHLO",
    b"MAIL",
    b"RCPT",
    b"DATA",
    b"BDAT",
    b"RSET",
    b"NOOP",
    b"QUIT",
    b"VRFY",
    b"EXPN",
    b"HELP",
    b"STARTTLS",
    b"XCLIENT",
    b"XMRG",
    b"XPRT",
    b"XACK",
    b"PROXY",
    b"TURN",
];

/// A command as it may be shown: what is none may be a part of a login, and is not.
fn shown_command(line: &[u8]) -> String {
    let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    if PLAIN.iter().any(|plain| verb.eq_ignore_ascii_case(plain)) {
        return legible(line);
    }
    if verb.eq_ignore_ascii_case(b"AUTH") {
        let mut words = line.split(|byte| *byte == b' ').skip(1);
        let mechanism = words.next().map(legible).unwrap_or_default();
        let rest = if words.next().is_some() { " [hidden]" } else { "" };
        return format!("AUTH {mechanism}{rest}");
    }
    hidden(line)
}

fn hidden(line: &[u8]) -> String {
    format!("[{} bytes hidden]", line.len())
}

/// For eyes, and bounded.
fn legible(line: &[u8]) -> String {
    let cut = &line[..line.len().min(limits::TRACE_TEXT)];
    let text = String::from_utf8_lossy(cut);
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
