//! Messages: made by the sender, recognised by the sink.
//!
//! A message is a label, header fields, the body of one of a few hundred prepared templates, and a last line naming its id.
//! The checksum of a template is computed once, so that making a message costs about 700 bytes of text whatever
//! its size, and yet every body differs and a body swapped between two messages is seen. A message from a file keeps
//! its own fields and body, below the label.

mod date;
mod label;
mod template;

use std::io::Write;
use std::sync::Arc;

pub use date::date;
pub use label::{HeaderSums, Headers, LABEL_HEADER, Label, Recipient};
pub use template::{Template, Templates};

use crate::mix::{Domains, Recipients};
use crate::random::Random;

/// The domain of every sender: bounces go there.
pub const SENDER_DOMAIN: &str = "news.load.example";

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
    /// Whether content goes out by BDAT, and is not to be dot-stuffed.
    pub chunking: bool,
}

/// The buffers of one message in the making, used again for the next.
#[derive(Debug, Default)]
pub struct Draft {
    /// MAIL, the RCPTs and DATA (or BDAT), each ending with CRLF.
    pub envelope: Vec<u8>,
    /// Ends of the commands within `envelope`: MAIL, one a recipient, DATA.
    pub ends: Vec<usize>,
    /// The label; for a made message the whole header section.
    pub label: Vec<u8>,
    /// The header fields; for a made message its own.
    pub head: Vec<u8>,
    /// The header fields of a message from a file.
    pub shared: Option<Arc<[u8]>>,
    /// The body, dot-stuffed unless it is for BDAT.
    pub body: Option<Arc<[u8]>>,
    /// The body's last line and the final dot.
    pub tail: Vec<u8>,
}

impl Draft {
    /// How many recipients it has.
    pub fn recipients(&self) -> u32 {
        self.ends.len().saturating_sub(2) as u32
    }

    /// The content on the wire, final dot included.
    pub fn content(&self) -> [&[u8]; 5] {
        let shared = self.shared.as_deref().unwrap_or_default();
        let body = self.body.as_deref().unwrap_or_default();
        [&self.label, shared, &self.head, body, &self.tail]
    }

    /// Bytes of that.
    pub fn wire_length(&self) -> usize {
        self.content().iter().map(|part| part.len()).sum()
    }
}

impl Maker {
    /// Makes message `n`, due at `due` ([`crate::sys::now`]'s clock), in `draft`.
    pub fn make(&self, n: u64, due: u64, draft: &mut Draft) {
        // Writing to a Vec cannot fail; the results below are ignored for that reason.
        let mut random = Random::for_item(self.seed, n);
        let template = self.templates.draw(&mut random);
        for buffer in [&mut draft.label, &mut draft.head, &mut draft.tail] {
            buffer.clear();
        }
        let (run, recipients) = (self.run, self.recipients.draw(&mut random));
        let first = self.envelope(n, recipients, template, &mut random, draft);

        let mut sum = template.sum.clone();
        let headers = match &template.head {
            Some((head, sums)) => {
                draft.shared = Some(Arc::clone(head));
                *sums
            }
            None => {
                draft.shared = None;
                self.fields(n, first, random.bits(), &mut draft.head);
                let _ = write!(draft.tail, "-- message {n} of run {run:016x}\r\n");
                sum.update(&draft.tail);
                HeaderSums::of(&draft.head)
            }
        };
        Label { run, n, due, recipients, sum: sum.value(), headers }.write(&mut draft.label);
        draft.head.extend_from_slice(b"\r\n");
        draft.body = Some(Arc::clone(if self.chunking { &template.plain } else { &template.wire }));
        if self.chunking {
            let _ = write!(draft.envelope, "BDAT {} LAST\r\n", draft.wire_length());
        } else {
            draft.tail.extend_from_slice(b".\r\n");
            draft.envelope.extend_from_slice(b"DATA\r\n");
        }
        draft.ends.push(draft.envelope.len());
    }

    /// MAIL and the RCPTs; returns the first recipient's domain.
    fn envelope(
        &self,
        n: u64,
        recipients: u32,
        template: &Template,
        random: &mut Random,
        draft: &mut Draft,
    ) -> &str {
        let (Draft { envelope, ends, .. }, run) = (draft, self.run);
        envelope.clear();
        ends.clear();
        let parameters = if template.eight_bit { " BODY=8BITMIME" } else { "" };
        let _ = write!(envelope, "MAIL FROM:<bounce.{n}.{run:x}@{SENDER_DOMAIN}>{parameters}\r\n");
        ends.push(envelope.len());
        let mut first = "";
        for ordinal in 0..recipients {
            let domain = self.domains.draw(random);
            if ordinal == 0 {
                first = domain;
            }
            let _ = write!(envelope, "RCPT TO:<r{ordinal}.{n}.{run:x}@{domain}>\r\n");
            ends.push(envelope.len());
        }
        first
    }

    /// The header fields of bulk mail.
    fn fields(&self, n: u64, domain: &str, token: u64, head: &mut Vec<u8>) {
        let (run, date) = (self.run, &self.date);
        let _ = write!(
            head,
            "Date: {date}\r\n\
             From: \"Example News\" <news@{SENDER_DOMAIN}>\r\n\
             To: <r0.{n}.{run:x}@{domain}>\r\n\
             Subject: Your monthly statement no. {n} is ready\r\n\
             Message-ID: <{run:016x}.{n}@{SENDER_DOMAIN}>\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             Precedence: bulk\r\n\
             List-Unsubscribe: <https://{SENDER_DOMAIN}/u/{token:016x}>\r\n\
             List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
             Feedback-ID: statement:{run:x}:news:load\r\n",
        );
    }
}

#[cfg(test)]
mod tests {
    use memchr::memmem;

    use super::*;
    use crate::checksum::Checksum;
    use crate::mix::Sizes;
    use crate::wire::DotReader;

    fn maker(sizes: Sizes) -> Maker {
        Maker {
            run: 0xABCD,
            recipients: Recipients::between(3, 3),
            seed: 5,
            templates: Templates::new(&sizes, 5),
            domains: Domains::zipf(10, 1.0),
            date: date(0),
            chunking: false,
        }
    }

    fn wire(draft: &Draft) -> Vec<u8> {
        draft.content().concat()
    }

    #[test]
    fn a_message_is_read_back() {
        let (mut maker, mut draft, mut dots) = (maker(Sizes::Mix), Draft::default(), 0);
        for n in 0..500 {
            maker.chunking = n % 2 == 1;
            maker.make(n, 99, &mut draft);
            let mut content = wire(&draft);
            if maker.chunking {
                let announced = format!("BDAT {} LAST\r\n", content.len());
                assert!(String::from_utf8_lossy(&draft.envelope).ends_with(&announced));
            } else {
                let (mut reader, wire) = (DotReader::default(), std::mem::take(&mut content));
                assert_eq!(reader.read(&wire, |bytes| content.extend_from_slice(bytes)), Some(wire.len()));
            }
            let split = memmem::find(&content, b"\r\n\r\n").unwrap() + 4;
            let (head, body) = content.split_at(split);
            let mut sum = Checksum::new();
            sum.update(body);
            let (label, headers) = Label::read(head).unwrap();
            assert_eq!((label.run, label.n, label.due, label.recipients), (0xABCD, n, 99, 3));
            assert_eq!((label.sum, headers), (sum.value(), Headers::Intact));
            let text = std::str::from_utf8(&content).unwrap();
            assert!(text.ends_with("\r\n") && body.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
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
        let found: Vec<_> = text.lines().map(|line| Recipient::read(line.as_bytes()).0).collect();
        let ours = |ordinal| Recipient::Ours { run: 0xABCD, n: 77, ordinal };
        let bounce = Recipient::Bounce { run: 0xABCD, n: 77 };
        assert_eq!(found, [bounce, ours(0), ours(1), ours(2), Recipient::Other]);
        assert_eq!((draft.ends.len(), draft.recipients()), (5, 3));
    }
}
