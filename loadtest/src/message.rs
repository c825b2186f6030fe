//! Messages: made by the sender, recognised by the sink.
//!
//! A message is a header section of its own, the body of one of a few hundred prepared templates, and a last line
//! naming its id. The checksum of a template is computed once, so that making a message costs about 600 bytes of
//! text whatever its size, and yet every body differs and a body swapped between two messages is seen.

use std::io::Write;
use std::sync::Arc;

use memchr::memmem;

use crate::checksum::Checksum;
use crate::mix::{Domains, Recipients, Sizes};
use crate::random::Random;

/// Header with run and number of the message: `X-Relevo-Load-Id: 00f3...-17`.
pub const ID_HEADER: &str = "X-Relevo-Load-Id";
/// Header with the checksum over the body and the number of recipients: `X-Relevo-Load-Check: 9a0c... 1`.
pub const CHECK_HEADER: &str = "X-Relevo-Load-Check";
/// Header with the moment the message was due to be sent, on the clock of [`crate::sys::now`].
pub const DUE_HEADER: &str = "X-Relevo-Load-Due";

/// Templates of a run with mixed sizes. Sizes are drawn evenly over the quantiles, so the mean is exact.
const TEMPLATES: usize = 256;
/// What header section and last line take of a message's size.
const OVERHEAD: usize = 760;
/// Longest text line without CRLF; RFC 2045 6.7 keeps encoded lines to 76.
const LINE: usize = 76;

/// The prepared bodies of a run.
#[derive(Debug)]
pub struct Templates(Vec<Template>);

/// The body of a message but its last line.
#[derive(Clone, Debug)]
pub struct Template {
    /// Dot-stuffed, ends with CRLF.
    pub wire: Arc<[u8]>,
    /// Over the content, not stuffed.
    sum: Checksum,
}

impl Templates {
    /// Prepares bodies of these sizes.
    pub fn new(sizes: &Sizes, seed: u64) -> Templates {
        let count = if matches!(sizes, Sizes::Fixed(_)) { 1 } else { TEMPLATES };
        let body = |at: usize| {
            let size = sizes.quantile((at as f64 + 0.5) / count as f64);
            Template::new(size.saturating_sub(OVERHEAD), &mut Random::for_item(seed, at as u64))
        };
        Templates((0..count).map(body).collect())
    }

    fn draw(&self, random: &mut Random) -> &Template {
        &self.0[random.below(self.0.len())]
    }
}

const WORDS: [&str; 24] = [
    "offer",
    "your",
    "account",
    "the",
    "statement",
    "of",
    "this",
    "month",
    "is",
    "ready",
    "order",
    "has",
    "been",
    "shipped",
    "and",
    "will",
    "arrive",
    "on",
    "Tuesday",
    "please",
    "confirm",
    "address",
    "thank",
    "you",
];

impl Template {
    /// Lines of words up to `size` bytes; every few lines one starts with a dot.
    fn new(size: usize, random: &mut Random) -> Template {
        let (mut content, mut wire) = (Vec::with_capacity(size), Vec::with_capacity(size + size / 500 + 8));
        let mut line = Vec::with_capacity(LINE);
        while content.len() + 2 < size {
            let room = (size - content.len() - 2).min(LINE);
            line.clear();
            if random.chance(0.04) {
                line.push(b'.');
            }
            while line.len() < room {
                line.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes());
                line.push(b' ');
            }
            line.truncate(room);
            if line.first() == Some(&b'.') {
                wire.push(b'.');
            }
            for text in [&mut content, &mut wire] {
                text.extend_from_slice(&line);
                text.extend_from_slice(b"\r\n");
            }
        }
        let mut sum = Checksum::new();
        sum.update(&content);
        Template { wire: wire.into(), sum }
    }
}

/// Makes the messages of one run. The n-th is the same on whichever thread it is made.
#[derive(Debug)]
pub struct Maker {
    /// Of the ids; from [`crate::ledger::run_number`].
    pub run: u64,
    /// Of each message.
    pub recipients: Recipients,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Bodies.
    pub templates: Templates,
    /// Where recipients are.
    pub domains: Domains,
    /// The Date header's text.
    pub date: String,
}

/// The buffers of one message in the making, used again for the next.
#[derive(Debug, Default)]
pub struct Draft {
    /// MAIL, the RCPTs and DATA, each ending with CRLF.
    pub envelope: Vec<u8>,
    /// Ends of the commands within `envelope`: MAIL, one a recipient, DATA.
    pub ends: Vec<usize>,
    /// The header section with its empty line.
    pub head: Vec<u8>,
    /// The body, dot-stuffed.
    pub body: Option<Arc<[u8]>>,
    /// The body's last line and the final dot.
    pub tail: Vec<u8>,
}

impl Draft {
    /// How many recipients it has.
    pub fn recipients(&self) -> u32 {
        self.ends.len().saturating_sub(2) as u32
    }

    /// Bytes of header section and body on the wire.
    pub fn wire_length(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, |body| body.len()) + self.tail.len()
    }
}

impl Maker {
    /// Makes message `n`, due at `due` ([`crate::sys::now`]'s clock), in `draft`.
    pub fn make(&self, n: u64, due: u64, draft: &mut Draft) {
        // Writing to a Vec cannot fail; the results below are ignored for that reason.
        let mut random = Random::for_item(self.seed, n);
        let template = self.templates.draw(&mut random);
        let Draft { envelope, ends, head, body, tail } = draft;
        for buffer in [&mut *envelope, &mut *head, &mut *tail] {
            buffer.clear();
        }
        ends.clear();

        let run = self.run;
        let _ = write!(envelope, "MAIL FROM:<bounce.{n}.{run:x}@news.load.example>\r\n");
        ends.push(envelope.len());
        let mut first = "";
        let recipients = self.recipients.draw(&mut random);
        for ordinal in 0..recipients {
            let domain = self.domains.draw(&mut random);
            if ordinal == 0 {
                first = domain;
            }
            let _ = write!(envelope, "RCPT TO:<r{ordinal}.{n}.{run:x}@{domain}>\r\n");
            ends.push(envelope.len());
        }
        envelope.extend_from_slice(b"DATA\r\n");
        ends.push(envelope.len());

        let _ = write!(tail, "-- message {n} of run {run:016x}\r\n");
        let mut sum = template.sum.clone();
        sum.update(tail);
        tail.extend_from_slice(b".\r\n");
        *body = Some(Arc::clone(&template.wire));

        let token = random.bits();
        let _ = write!(
            head,
            "Date: {date}\r\n\
             From: \"Example News\" <news@news.load.example>\r\n\
             To: <r0.{n}.{run:x}@{first}>\r\n\
             Subject: Your monthly statement no. {n} is ready\r\n\
             Message-ID: <{run:016x}.{n}@news.load.example>\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             Precedence: bulk\r\n\
             List-Unsubscribe: <https://news.load.example/u/{token:016x}>\r\n\
             List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
             Feedback-ID: statement:{run:x}:news:load\r\n\
             {ID_HEADER}: {run:016x}-{n}\r\n\
             {CHECK_HEADER}: {sum:016x} {recipients}\r\n\
             {DUE_HEADER}: {due}\r\n\
             \r\n",
            date = self.date,
            sum = sum.value(),
        );
    }
}

/// What the headers of one of our messages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Which run.
    pub run: u64,
    /// Which message of it.
    pub n: u64,
    /// The checksum its body should have.
    pub sum: u64,
    /// How many recipients it has.
    pub recipients: u32,
    /// When it was due; 0 when it does not say.
    pub due: u64,
}

impl Label {
    /// Reads it from a header section; None when a header is missing or malformed.
    pub fn read(head: &[u8]) -> Option<Label> {
        let (run, n) = value(head, ID_HEADER)?.split_once('-')?;
        let (sum, recipients) = value(head, CHECK_HEADER)?.split_once(' ')?;
        Some(Label {
            run: u64::from_str_radix(run, 16).ok()?,
            n: n.parse().ok()?,
            sum: u64::from_str_radix(sum, 16).ok()?,
            recipients: recipients.parse().ok()?,
            due: value(head, DUE_HEADER).and_then(|due| due.parse().ok()).unwrap_or(0),
        })
    }
}

fn value<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let at = memmem::find_iter(head, name.as_bytes()).find(|at| *at == 0 || head[at - 1] == b'\n')?;
    let rest = head[at + name.len()..].strip_prefix(b": ")?;
    let line = &rest[..memchr::memchr(b'\r', rest).unwrap_or(rest.len())];
    std::str::from_utf8(line).ok()
}

/// A recipient as its address names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Of a message made by [`Maker::make`].
    Ours {
        /// Which run.
        run: u64,
        /// Which message of it.
        n: u64,
        /// Which recipient of that, from 0.
        ordinal: u32,
    },
    /// The sender of such a message: what is addressed to it is a bounce.
    Bounce {
        /// Which run.
        run: u64,
        /// Which message of it.
        n: u64,
    },
    /// Not from here.
    Other,
}

impl Recipient {
    /// From a RCPT command's line.
    pub fn read(command: &[u8]) -> Recipient {
        Recipient::parse(command).unwrap_or(Recipient::Other)
    }

    fn parse(command: &[u8]) -> Option<Recipient> {
        let start = memchr::memchr(b'<', command)? + 1;
        let end = start + memchr::memchr(b'@', &command[start..])?;
        let local = std::str::from_utf8(&command[start..end]).ok()?;
        let (kind, id) = local.split_once('.')?;
        let (n, run) = id.split_once('.')?;
        let (n, run) = (n.parse().ok()?, u64::from_str_radix(run, 16).ok()?);
        if kind == "bounce" {
            return Some(Recipient::Bounce { run, n });
        }
        let ordinal = kind.strip_prefix('r')?.parse().ok()?;
        Some(Recipient::Ours { run, n, ordinal })
    }
}

/// The text of a Date header (RFC 5322 3.3), UTC.
pub fn date(unix_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, u64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let length = |month: usize| MONTHS[month].1 + u64::from(month == 1 && leap(year));
    while day >= length(month) {
        day -= length(month);
        month += 1;
    }
    format!(
        "{}, {} {} {year} {:02}:{:02}:{:02} +0000",
        DAYS[(days % 7) as usize],
        day + 1,
        MONTHS[month].0,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::DotReader;

    fn maker(sizes: Sizes) -> Maker {
        Maker {
            run: 0xABCD,
            recipients: Recipients::between(3, 3),
            seed: 5,
            templates: Templates::new(&sizes, 5),
            domains: Domains::zipf(10, 1.0),
            date: date(0),
        }
    }

    fn wire(draft: &Draft) -> Vec<u8> {
        [&draft.head[..], draft.body.as_deref().unwrap(), &draft.tail].concat()
    }

    #[test]
    fn a_message_is_read_back() {
        let (maker, mut draft, mut dots) = (maker(Sizes::Mix), Draft::default(), 0);
        for n in 0..500 {
            maker.make(n, 99, &mut draft);
            let (mut reader, mut content, wire) = (DotReader::default(), Vec::new(), wire(&draft));
            assert_eq!(reader.read(&wire, |bytes| content.extend_from_slice(bytes)), Some(wire.len()));
            let split = memmem::find(&content, b"\r\n\r\n").unwrap() + 4;
            let (head, body) = content.split_at(split);
            let mut sum = Checksum::new();
            sum.update(body);
            assert_eq!(
                Label::read(head),
                Some(Label { run: 0xABCD, n, sum: sum.value(), recipients: 3, due: 99 })
            );
            let text = std::str::from_utf8(&content).unwrap();
            assert!(text.ends_with("\r\n") && text.split("\r\n").all(|line| line.len() <= LINE));
            dots += text.matches("\r\n.").count();
            assert!((1900..62_000).contains(&content.len()), "{}", content.len());
        }
        assert!(dots > 500, "some lines start with a dot: {dots}");
    }

    #[test]
    fn a_fixed_size_is_kept() {
        let (maker, mut draft) = (maker(Sizes::Fixed(10_240)), Draft::default());
        maker.make(123_456, 1 << 50, &mut draft);
        let size = wire(&draft).len();
        assert!((10_140..10_440).contains(&size), "{size}");
    }

    #[test]
    fn recipients_are_read_back() {
        let (maker, mut draft) = (maker(Sizes::Fixed(0)), Draft::default());
        maker.make(77, 1, &mut draft);
        let text = String::from_utf8(draft.envelope.clone()).unwrap();
        let found: Vec<_> = text.lines().map(|line| Recipient::read(line.as_bytes())).collect();
        let ours = |ordinal| Recipient::Ours { run: 0xABCD, n: 77, ordinal };
        let bounce = Recipient::Bounce { run: 0xABCD, n: 77 };
        assert_eq!(found, [bounce, ours(0), ours(1), ours(2), Recipient::Other]);
        assert_eq!((draft.ends.len(), draft.recipients()), (5, 3));
        for other in ["<r.7.1@x>", "<r1.1@x>", "<r1..1@x>", "<joe@x>", "<r1.7.x@x>", "<>", "", "<q1.7.1@x>"] {
            assert_eq!(Recipient::read(other.as_bytes()), Recipient::Other, "{other}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(1_798_761_599), "Thu, 31 Dec 2026 23:59:59 +0000");
    }
}
