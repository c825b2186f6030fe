//! One SMTP session of the sink: bytes in, replies and counts out. It owns no socket.

use std::sync::Arc;

use memchr::{memchr, memmem};

use super::{Action, Behaviour, Point, Tally};
use crate::checksum::Checksum;
use crate::ledger::Ledger;
use crate::message::{Label, read_recipient};
use crate::random::Random;
use crate::wire::DotReader;

/// Longest command line (RFC 5321 4.5.3.1.4 asks for 512; extensions add parameters).
const LINE_MAX: usize = 4096;
/// Recipients of one transaction (RFC 5321 4.5.3.1.8 asks for 100); one more is answered 452.
const RECIPIENTS_MAX: usize = 1000;
/// Header bytes looked through for our id; a longer section makes the message unknown.
const HEAD_MAX: usize = 64 * 1024;
/// Unanswered replies held before the peer is taken for hostile.
const OUT_MAX: usize = 256 * 1024;

/// What the worker has to do after input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// All input was used: send `out`, wait for more.
    More,
    /// Send `out`; after this many nanoseconds call [`Session::resume`] and pass the rest of the input.
    Pause(u64, usize),
    /// Send `out`, if it goes, and close.
    Close,
}

/// What a session needs of its thread, for the length of one call.
pub(super) struct Context<'a> {
    pub(super) behaviour: &'a Behaviour,
    pub(super) random: &'a mut Random,
    pub(super) tally: &'a Tally,
    pub(super) ledgers: &'a mut dyn FnMut(&Label) -> Option<Arc<Ledger>>,
    pub(super) now: u64,
    pub(super) lane: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before EHLO or between transactions.
    Idle,
    /// After MAIL.
    Envelope,
    /// After the 354.
    Data,
}

#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    line: Vec<u8>,
    recipients: Vec<Option<(u64, u32)>>,
    dots: DotReader,
    content: Content,
    /// Replies to send.
    pub(super) out: Vec<u8>,
    /// The reply that waits for the end of a pause.
    late: &'static [u8],
}

/// The content of the message being received, as far as it is kept.
#[derive(Debug, Default)]
struct Content {
    head: Vec<u8>,
    in_body: bool,
    sum: Checksum,
    bytes: u64,
}

impl Content {
    fn clear(&mut self) {
        self.head.clear();
        *self = Content { head: std::mem::take(&mut self.head), ..Content::default() };
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.in_body {
            return self.sum.update(bytes);
        }
        let from = self.head.len().saturating_sub(3);
        let room = HEAD_MAX.saturating_sub(self.head.len());
        if bytes.len() > room {
            // No header section of ours; what follows only has to be counted.
            self.head.clear();
            self.in_body = true;
            return;
        }
        self.head.extend_from_slice(bytes);
        if let Some(found) = memmem::find(&self.head[from..], b"\r\n\r\n") {
            let end = from + found + 4;
            self.sum.update(&self.head[end..]);
            self.head.truncate(end);
            self.in_body = true;
        }
    }
}

const EHLO: &[u8] = b"250-sink.load.example\r\n250-PIPELINING\r\n250-SIZE 268435456\r\n250 8BITMIME\r\n";

impl Session {
    /// A session and its first reply. The flag says whether to close at once.
    pub(super) fn new(context: &mut Context<'_>) -> (Session, bool) {
        let mut session = Session {
            phase: Phase::Idle,
            line: Vec::new(),
            recipients: Vec::new(),
            dots: DotReader::default(),
            content: Content::default(),
            out: Vec::new(),
            late: b"",
        };
        let close = match context.behaviour.draw(Point::Connect, context.random) {
            None => {
                session.reply(b"220 sink.load.example ESMTP\r\n");
                false
            }
            Some(Action::TempFail) => {
                session.reply(b"421 4.3.2 try again later\r\n");
                true
            }
            Some(Action::Reject) => {
                session.reply(b"554 5.3.2 no mail here\r\n");
                true
            }
            Some(_) => true,
        };
        (session, close)
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self) {
        let late = std::mem::take(&mut self.late);
        self.reply(late);
    }

    /// Takes input in the order it came.
    pub(super) fn input(&mut self, input: &[u8], context: &mut Context<'_>) -> Flow {
        let mut at = 0;
        while at < input.len() {
            if self.out.len() > OUT_MAX {
                return Flow::Close;
            }
            if self.phase == Phase::Data {
                let content = &mut self.content;
                match self.dots.read(&input[at..], |bytes| content.push(bytes)) {
                    None => return Flow::More,
                    Some(used) => at += used,
                }
                match self.end_of_data(context) {
                    Flow::Pause(nanoseconds, _) => return Flow::Pause(nanoseconds, at),
                    Flow::Close => return Flow::Close,
                    Flow::More => continue,
                }
            }
            let rest = &input[at..];
            let Some(end) = memchr(b'\n', rest) else {
                if self.line.len() + rest.len() > LINE_MAX {
                    return Flow::Close;
                }
                self.line.extend_from_slice(rest);
                return Flow::More;
            };
            at += end + 1;
            let flow = if self.line.is_empty() {
                self.command(&rest[..end], context)
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..end]);
                let flow = self.command(&line, context);
                line.clear();
                self.line = line;
                flow
            };
            if flow == Flow::Close {
                return Flow::Close;
            }
        }
        Flow::More
    }

    fn reply(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn command(&mut self, line: &[u8], context: &mut Context<'_>) -> Flow {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let starts =
            |verb: &str| line.len() >= verb.len() && line[..verb.len()].eq_ignore_ascii_case(verb.as_bytes());
        if starts("EHLO") || starts("HELO") {
            return self.hello(starts("EHLO"), context);
        } else if starts("MAIL FROM:") {
            return self.mail(context);
        } else if starts("RCPT TO:") {
            return self.rcpt(line, context);
        } else if starts("DATA") {
            return self.data(context);
        } else if starts("RSET") {
            self.end_transaction();
            self.reply(b"250 2.0.0 ok\r\n");
        } else if starts("NOOP") {
            self.reply(b"250 2.0.0 ok\r\n");
        } else if starts("QUIT") {
            self.reply(b"221 2.0.0 bye\r\n");
            return Flow::Close;
        } else {
            Tally::add(&context.tally.protocol_errors, 1);
            self.reply(b"500 5.5.2 what?\r\n");
        }
        Flow::More
    }

    /// Draws what goes wrong at `point`; Some(flow) when something did and was answered.
    fn fails(&mut self, point: Point, context: &mut Context<'_>) -> Option<Flow> {
        let action = context.behaviour.draw(point, context.random)?;
        match action {
            Action::TempFail => {
                Tally::add(&context.tally.tempfails, 1);
                self.reply(b"451 4.3.0 not now\r\n");
            }
            Action::Reject => {
                Tally::add(&context.tally.rejects, 1);
                self.reply(b"550 5.7.1 no\r\n");
            }
            Action::Disconnect => {
                Tally::add(&context.tally.disconnects, 1);
                // Not a word: not even what was already answered.
                self.out.clear();
                return Some(Flow::Close);
            }
            Action::Hide | Action::Repeat | Action::Alter => return None,
        }
        Some(Flow::More)
    }

    fn hello(&mut self, extended: bool, context: &mut Context<'_>) -> Flow {
        self.end_transaction();
        if let Some(flow) = self.fails(Point::Hello, context) {
            return flow;
        }
        self.reply(if extended { EHLO } else { b"250 sink.load.example\r\n" });
        Flow::More
    }

    fn mail(&mut self, context: &mut Context<'_>) -> Flow {
        if self.phase == Phase::Envelope {
            self.reply(b"503 5.5.1 nested MAIL\r\n");
            return Flow::More;
        }
        if let Some(flow) = self.fails(Point::Mail, context) {
            return flow;
        }
        self.phase = Phase::Envelope;
        self.reply(b"250 2.1.0 ok\r\n");
        Flow::More
    }

    fn rcpt(&mut self, line: &[u8], context: &mut Context<'_>) -> Flow {
        if self.phase != Phase::Envelope {
            self.reply(b"503 5.5.1 MAIL first\r\n");
            return Flow::More;
        }
        if self.recipients.len() >= RECIPIENTS_MAX {
            self.reply(b"452 4.5.3 too many recipients\r\n");
            return Flow::More;
        }
        if let Some(flow) = self.fails(Point::Rcpt, context) {
            return flow;
        }
        self.recipients.push(read_recipient(line));
        self.reply(b"250 2.1.5 ok\r\n");
        Flow::More
    }

    fn data(&mut self, context: &mut Context<'_>) -> Flow {
        if self.phase != Phase::Envelope {
            self.reply(b"503 5.5.1 MAIL first\r\n");
            return Flow::More;
        }
        if self.recipients.is_empty() {
            self.reply(b"554 5.5.1 no valid recipients\r\n");
            return Flow::More;
        }
        if let Some(flow) = self.fails(Point::Data, context) {
            return flow;
        }
        if context.behaviour.draw(Point::Body, context.random) == Some(Action::Disconnect) {
            // The body that is on its way meets a closed connection.
            Tally::add(&context.tally.disconnects, 1);
            self.reply(b"354 go ahead\r\n");
            return Flow::Close;
        }
        self.phase = Phase::Data;
        self.dots.reset();
        self.content.clear();
        self.reply(b"354 go ahead\r\n");
        Flow::More
    }

    fn end_transaction(&mut self) {
        self.phase = Phase::Idle;
        self.recipients.clear();
    }

    fn end_of_data(&mut self, context: &mut Context<'_>) -> Flow {
        let action = context.behaviour.draw(Point::Dot, context.random);
        let failed = match action {
            Some(Action::TempFail) => Some((&context.tally.tempfails, &b"451 4.3.0 not now\r\n"[..])),
            Some(Action::Reject) => Some((&context.tally.rejects, &b"550 5.7.1 no\r\n"[..])),
            Some(Action::Disconnect) => Some((&context.tally.disconnects, &b""[..])),
            _ => None,
        };
        if let Some((counter, reply)) = failed {
            Tally::add(counter, 1);
            self.end_transaction();
            if reply.is_empty() {
                self.out.clear();
                return Flow::Close;
            }
            return self.answer(reply, context);
        }
        if action != Some(Action::Hide) {
            self.record(action, context);
        }
        self.end_transaction();
        if context.behaviour.draw(Point::Reply, context.random) == Some(Action::Disconnect) {
            Tally::add(&context.tally.disconnects, 1);
            self.out.clear();
            return Flow::Close;
        }
        self.answer(b"250 2.0.0 taken\r\n", context)
    }

    /// Replies to the final dot, now or after the delay.
    fn answer(&mut self, reply: &'static [u8], context: &Context<'_>) -> Flow {
        if context.behaviour.delay.is_zero() {
            self.reply(reply);
            return Flow::More;
        }
        self.late = reply;
        Flow::Pause(u64::try_from(context.behaviour.delay.as_nanos()).unwrap_or(u64::MAX), 0)
    }

    fn record(&mut self, action: Option<Action>, context: &mut Context<'_>) {
        let tally = context.tally;
        Tally::add(&tally.messages, 1);
        Tally::add(&tally.recipients, self.recipients.len() as u64);
        Tally::add(&tally.bytes, self.content.bytes);
        let label = Label::read(&self.content.head);
        let Some((label, ledger)) = label.and_then(|label| Some((label, (context.ledgers)(&label)?))) else {
            Tally::add(&tally.unknown, 1);
            return;
        };
        if action == Some(Action::Alter) {
            self.content.sum.update(b"altered");
        }
        if self.content.sum.value() != label.sum {
            ledger.corrupt();
        }
        let copies = if action == Some(Action::Repeat) { 2 } else { 1 };
        for recipient in &self.recipients {
            for _ in 0..copies {
                match recipient {
                    Some((n, ordinal)) if *n == label.n => {
                        ledger.deliver(*n, *ordinal, context.now, context.lane)
                    }
                    _ => ledger.misroute(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r0.7@b>\r\nDATA\r\n\
        Subject: x\r\nX-Relevo-Load-Id: 0001-7\r\nX-Relevo-Load-Check: 0000 1\r\n\r\nbody\r\n..\r\n.\r\nQUIT\r\n";

    /// Codes of the replies, how the session ended, and its ledger, with the input cut into `size`d pieces.
    fn talk(input: &[u8], size: usize, behaviour: &Behaviour) -> (Vec<String>, Flow, Tally, Arc<Ledger>) {
        let (tally, ledger) = (Tally::default(), Arc::new(Ledger::new(1, 1)));
        let mut random = Random::new(1);
        let mut find = |label: &Label| (label.run == 1).then(|| Arc::clone(&ledger));
        let mut context =
            Context { behaviour, random: &mut random, tally: &tally, ledgers: &mut find, now: 1, lane: 0 };
        let (mut session, close) = Session::new(&mut context);
        let mut flow = if close { Flow::Close } else { Flow::More };
        for piece in input.chunks(size) {
            if flow == Flow::More {
                flow = session.input(piece, &mut context);
            }
        }
        let text = String::from_utf8(session.out).unwrap();
        (text.lines().map(|line| line[..4].to_owned()).collect(), flow, tally, ledger)
    }

    #[test]
    fn a_message_at_every_split() {
        for size in 1..=GOOD.len() {
            let (codes, flow, tally, ledger) = talk(GOOD, size, &Behaviour::default());
            let wanted = ["220 ", "250-", "250-", "250-", "250 ", "250 ", "250 ", "354 ", "250 ", "221 "];
            assert_eq!((codes.as_slice(), flow), (&wanted.map(String::from)[..], Flow::Close), "by {size}");
            let counts = tally.counts();
            assert_eq!((counts.messages, counts.recipients, counts.unknown), (1, 1, 0), "by {size}");
            let sums = ledger.sums();
            assert_eq!(
                (sums.delivered, sums.corrupted, sums.misrouted),
                (1, 1, 0),
                "by {size}: sum 0 is wrong"
            );
        }
    }

    #[test]
    fn order_is_demanded() {
        let input =
            b"DATA\r\nRCPT TO:<a@b>\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\nFOO\r\nRSET\r\nNOOP\r\n";
        let codes = talk(input, 999, &Behaviour::default()).0;
        assert_eq!(codes, ["220 ", "503 ", "503 ", "250 ", "503 ", "554 ", "500 ", "250 ", "250 "]);
    }

    #[test]
    fn rules_act_at_their_point() {
        let cases = [
            (Point::Connect, Action::TempFail, "421 ", 1),
            (Point::Hello, Action::Reject, "550 ", 2),
            (Point::Mail, Action::TempFail, "451 ", 6),
            (Point::Rcpt, Action::Reject, "550 ", 7),
            (Point::Data, Action::TempFail, "451 ", 8),
            (Point::Dot, Action::Reject, "550 ", 9),
        ];
        for (point, action, code, position) in cases {
            let behaviour = Behaviour::default().with(point, action, 1.0);
            let (codes, _, tally, _) = talk(GOOD, 999, &behaviour);
            assert_eq!(codes.get(position - 1).map(String::as_str), Some(code), "{point:?} {codes:?}");
            assert_eq!(tally.counts().messages, u64::from(point == Point::Hello), "{point:?}");
        }
        for point in
            [Point::Connect, Point::Hello, Point::Mail, Point::Rcpt, Point::Data, Point::Dot, Point::Reply]
        {
            let (codes, flow, tally, _) =
                talk(GOOD, 999, &Behaviour::default().with(point, Action::Disconnect, 1.0));
            assert_eq!((codes.len(), flow), (0, Flow::Close), "{point:?}");
            assert_eq!(tally.counts().messages, u64::from(point == Point::Reply), "{point:?}");
        }
    }

    #[test]
    fn endless_lines_and_heads_are_bounded() {
        let line = vec![b'x'; LINE_MAX + 1];
        assert_eq!(talk(&line, 100, &Behaviour::default()).1, Flow::Close);
        let mut content = Content::default();
        for _ in 0..3 * HEAD_MAX / 100 {
            content.push(&[b'x'; 100]);
        }
        assert!(content.head.is_empty() && content.bytes as usize / 100 == 3 * HEAD_MAX / 100);
    }
}
