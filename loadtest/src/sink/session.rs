//! One SMTP session of the sink: bytes in, replies and counts out. It owns no socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use memchr::{memchr, memmem};

use super::{Action, Behaviour, Point, Tally};
use crate::checksum::Checksum;
use crate::journal::{Journal, Receipt};
use crate::ledger::Ledger;
use crate::message::{Label, Recipient};
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
    /// The ledger of a run, if there is one.
    pub(super) ledgers: &'a mut dyn FnMut(u64) -> Option<Arc<Ledger>>,
    pub(super) journal: Option<&'a mut Journal>,
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
    recipients: Vec<Recipient>,
    dots: DotReader,
    content: Content,
    /// Replies to send.
    pub(super) out: Vec<u8>,
    /// The reply that waits for the end of a pause.
    late: Vec<u8>,
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

const EHLO: &[u8] = b"250-sink.load.example\r\n250-PIPELINING\r\n250-SIZE 268435456\r\n250-8BITMIME\r\n\
    250 ENHANCEDSTATUSCODES\r\n";
/// As EHLO says; a larger announcement is refused at MAIL (RFC 1870 6.1).
const SIZE_MAX: u64 = 268_435_456;

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
            late: Vec::new(),
        };
        let close = match context.behaviour.draw(Point::Connect, context.random) {
            None => {
                session.reply(b"220 sink.load.example ESMTP\r\n");
                false
            }
            Some(Action::Refuse(code)) => {
                session.refuse(code, context.tally);
                true
            }
            Some(_) => true,
        };
        (session, close)
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self) {
        self.out.append(&mut self.late);
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
            return self.mail(line, context);
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
            Action::Refuse(code) => Some(self.refuse(code, context.tally)),
            Action::Disconnect => {
                Tally::add(&context.tally.disconnects, 1);
                // Not a word: not even what was already answered.
                self.out.clear();
                Some(Flow::Close)
            }
            Action::Hide | Action::Repeat | Action::Alter => None,
        }
    }

    /// Replies with `code` and counts that; after a 421 the session is over (RFC 5321 3.8).
    fn refuse(&mut self, code: u16, tally: &Tally) -> Flow {
        Tally::add(if code < 500 { &tally.tempfails } else { &tally.rejects }, 1);
        self.reply(&refusal(code));
        if code == 421 { Flow::Close } else { Flow::More }
    }

    fn hello(&mut self, extended: bool, context: &mut Context<'_>) -> Flow {
        self.end_transaction();
        if let Some(flow) = self.fails(Point::Hello, context) {
            return flow;
        }
        self.reply(if extended { EHLO } else { b"250 sink.load.example\r\n" });
        Flow::More
    }

    fn mail(&mut self, line: &[u8], context: &mut Context<'_>) -> Flow {
        if self.phase == Phase::Envelope {
            self.reply(b"503 5.5.1 nested MAIL\r\n");
            return Flow::More;
        }
        if announced_size(line).is_some_and(|size| size > SIZE_MAX) {
            self.reply(b"552 5.3.4 too large\r\n");
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
        let recipient = Recipient::read(line);
        let rejects = context.tally.rejects.load(Ordering::Relaxed);
        if let Some(flow) = self.fails(Point::Rcpt, context) {
            if context.tally.rejects.load(Ordering::Relaxed) > rejects {
                note_refused(&[recipient], context);
            }
            return flow;
        }
        self.recipients.push(recipient);
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
        match action {
            Some(Action::Refuse(code)) => {
                Tally::add(if code < 500 { &context.tally.tempfails } else { &context.tally.rejects }, 1);
                if code >= 500 {
                    note_refused(&self.recipients, context);
                }
                self.end_transaction();
                let flow = self.answer(&refusal(code), context);
                return if code == 421 { Flow::Close } else { flow };
            }
            Some(Action::Disconnect) => {
                Tally::add(&context.tally.disconnects, 1);
                self.out.clear();
                return Flow::Close;
            }
            _ => {}
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
    fn answer(&mut self, reply: &[u8], context: &Context<'_>) -> Flow {
        if context.behaviour.delay.is_zero() {
            self.reply(reply);
            return Flow::More;
        }
        self.late.extend_from_slice(reply);
        Flow::Pause(u64::try_from(context.behaviour.delay.as_nanos()).unwrap_or(u64::MAX), 0)
    }

    fn record(&mut self, action: Option<Action>, context: &mut Context<'_>) {
        let tally = context.tally;
        Tally::add(&tally.messages, 1);
        Tally::add(&tally.recipients, self.recipients.len() as u64);
        Tally::add(&tally.bytes, self.content.bytes);
        if matches!(self.recipients[..], [Recipient::Bounce { .. }]) {
            Tally::add(&tally.bounces, 1);
            return;
        }
        let label = Label::read(&self.content.head);
        let Some((label, ledger)) = label.and_then(|label| Some((label, (context.ledgers)(label.run)?)))
        else {
            Tally::add(&tally.unknown, 1);
            return;
        };
        if action == Some(Action::Alter) {
            self.content.sum.update(b"altered");
        }
        let intact = self.content.sum.value() == label.sum;
        let copies = if action == Some(Action::Repeat) { 2 } else { 1 };
        for recipient in self.recipients.iter().flat_map(|recipient| std::iter::repeat_n(recipient, copies)) {
            deliver(recipient, &label, intact, &ledger, context);
        }
    }
}

/// Notes one delivery in ledger and journal.
fn deliver(recipient: &Recipient, label: &Label, intact: bool, ledger: &Ledger, context: &mut Context<'_>) {
    let own = match recipient {
        Recipient::Ours { run, n, ordinal }
            if (*run, *n) == (label.run, label.n) && *ordinal < label.recipients.min(ledger.recipients()) =>
        {
            Some(*ordinal)
        }
        _ => None,
    };
    // What is reported of a misrouted copy is the message it holds; its recipient may belong to no message at all.
    let ordinal = match recipient {
        Recipient::Ours { ordinal, .. } => *ordinal,
        _ => 0,
    };
    let receipt = match own {
        None => Receipt::Misrouted,
        Some(_) if !intact => Receipt::Altered,
        Some(_) => Receipt::Intact,
    };
    if receipt == Receipt::Misrouted {
        ledger.misroute(label.n, ordinal);
    } else {
        if receipt == Receipt::Altered {
            ledger.corrupt(label.n, ordinal);
        }
        ledger.deliver(label.n, ordinal, label.due, context.now, context.lane);
    }
    if let Some(journal) = &mut context.journal {
        journal.received(label.run, label.n, ordinal, receipt);
    }
}

/// Notes that these are not to be waited for.
fn note_refused(recipients: &[Recipient], context: &mut Context<'_>) {
    for recipient in recipients {
        let Recipient::Ours { run, n, ordinal } = *recipient else { continue };
        if let Some(ledger) = (context.ledgers)(run) {
            ledger.refuse(n, ordinal);
        }
        if let Some(journal) = &mut context.journal {
            journal.received(run, n, ordinal, Receipt::Refused);
        }
    }
}

/// A reply with this code and an enhanced one of the same class (RFC 2034 4).
fn refusal(code: u16) -> Vec<u8> {
    format!("{code} {}.3.0 as configured\r\n", code / 100).into_bytes()
}

/// The value of a SIZE parameter.
fn announced_size(line: &[u8]) -> Option<u64> {
    let parameters = &line[memchr(b'>', line)? + 1..];
    let size = parameters
        .split(|byte| *byte == b' ')
        .find(|word| word.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"SIZE=")))?;
    // One that does not fit is larger than anything.
    Some(std::str::from_utf8(&size[5..]).ok()?.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r0.7.1@b>\r\nDATA\r\n\
        Subject: x\r\nX-Relevo-Load-Id: 0001-7\r\nX-Relevo-Load-Check: 0000 1\r\n\r\nbody\r\n..\r\n.\r\nQUIT\r\n";

    /// Codes of the replies, how the session ended, and its ledger, with the input cut into `size`d pieces.
    fn talk(input: &[u8], size: usize, behaviour: &Behaviour) -> (Vec<String>, Flow, Tally, Arc<Ledger>) {
        let (tally, ledger) = (Tally::default(), Arc::new(Ledger::new(1)));
        let mut random = Random::new(1);
        let mut find = |run| (run == 1).then(|| Arc::clone(&ledger));
        let mut context = Context {
            behaviour,
            random: &mut random,
            tally: &tally,
            ledgers: &mut find,
            journal: None,
            now: 1,
            lane: 0,
        };
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
            let wanted =
                ["220 ", "250-", "250-", "250-", "250-", "250 ", "250 ", "250 ", "354 ", "250 ", "221 "];
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
            (Point::Connect, 421, "421 ", 1),
            (Point::Hello, 550, "550 ", 2),
            (Point::Mail, 451, "451 ", 7),
            (Point::Rcpt, 550, "550 ", 8),
            (Point::Data, 452, "452 ", 9),
            (Point::Dot, 554, "554 ", 10),
        ];
        for (point, refusal, code, position) in cases {
            let behaviour = Behaviour::default().with(point, Action::Refuse(refusal), 1.0);
            let (codes, _, tally, ledger) = talk(GOOD, 999, &behaviour);
            let refused = matches!(point, Point::Rcpt | Point::Dot);
            assert_eq!(ledger.sums().refused, u64::from(refused), "{point:?}");
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
    fn a_421_ends_the_session() {
        let behaviour = Behaviour::default().with(Point::Rcpt, Action::Refuse(421), 1.0);
        let (codes, flow, ..) = talk(GOOD, 999, &behaviour);
        assert_eq!((codes.last().map(String::as_str), flow), (Some("421 "), Flow::Close));
    }

    #[test]
    fn sizes_are_heeded() {
        let input =
            b"MAIL FROM:<a@b> BODY=8BITMIME size=268435457\r\nMAIL FROM:<a@b> SIZE=99999999999999999999\r\n\
            MAIL FROM:<a@b> SIZE=10\r\n";
        assert_eq!(talk(input, 999, &Behaviour::default()).0, ["220 ", "552 ", "552 ", "250 "]);
    }

    #[test]
    fn what_belongs_elsewhere_is_misrouted() {
        for (from, to) in
            [("r0.7.1", "r0.8.1"), ("r0.7.1", "r1.7.1"), ("r0.7.1", "joe"), ("r0.7.1", "r0.7.2")]
        {
            let input = String::from_utf8(GOOD.to_vec()).unwrap().replace(from, to);
            let sums = talk(input.as_bytes(), 999, &Behaviour::default()).3.sums();
            assert_eq!((sums.misrouted, sums.delivered), (1, 0), "{to}");
        }
        let input = String::from_utf8(GOOD.to_vec()).unwrap().replace("r0.7.1", "bounce.7.1");
        let (_, _, tally, ledger) = talk(input.as_bytes(), 999, &Behaviour::default());
        assert_eq!((tally.counts().bounces, ledger.sums().misrouted), (1, 0));
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
