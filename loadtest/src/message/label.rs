//! What a message says about itself: the header the sink knows it by, and the addresses that name its recipients.

use std::io::Write;

use memchr::{memchr, memchr_iter, memmem};

use crate::checksum::Checksum;

/// The header, the first of the message as sent:
/// `X-Loadtest-Id: RUN-N DUE RECIPIENTS BODY HEADERS LINES`. Everything between it and the body is covered by the last two.
/// Not `X-Relevo-…`: such fields are instructions, which the relay removes.
pub const LABEL_HEADER: &str = "X-Loadtest-Id";

/// Two checksums over header fields: one that sees their order and one that does not, so that fields which only moved are
/// told from fields that changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderSums {
    /// Over all bytes.
    pub ordered: u64,
    /// The sum of those of the lines.
    pub unordered: u64,
}

impl HeaderSums {
    /// Over whole lines.
    pub fn of(lines: &[u8]) -> HeaderSums {
        let of = |bytes: &[u8]| {
            let mut sum = Checksum::new();
            sum.update(bytes);
            sum.value()
        };
        let (mut start, mut unordered) = (0, 0u64);
        for end in memchr_iter(b'\n', lines) {
            unordered = unordered.wrapping_add(of(&lines[start..=end]));
            start = end + 1;
        }
        HeaderSums { ordered: of(lines), unordered: unordered.wrapping_add(of(&lines[start..])) }
    }
}

/// What became of the header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// As sent, below whatever relays put on top.
    Intact,
    /// All there, in another order.
    Reordered,
    /// Changed, missing, or with others between.
    Altered,
}

/// What the header of one of our messages says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Which run.
    pub run: u64,
    /// Which message of it.
    pub n: u64,
    /// When it was due, on the clock of [`crate::sys::now`]; 0: it does not say.
    pub due: u64,
    /// How many recipients it has.
    pub recipients: u32,
    /// The checksum its body should have.
    pub sum: u64,
    /// And those of its header fields.
    pub headers: HeaderSums,
}

impl Label {
    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Label { run, n, due, recipients, sum, headers } = self;
        let HeaderSums { ordered, unordered } = headers;
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "{LABEL_HEADER}: {run:016x}-{n} {due} {recipients} {sum:016x} {ordered:016x} {unordered:016x}\r\n"
        );
    }

    /// Reads it from a header section, and says what became of the fields below it. None when it is missing or malformed.
    pub fn read(head: &[u8]) -> Option<(Label, Headers)> {
        let at = memmem::find_iter(head, LABEL_HEADER).find(|at| *at == 0 || head[at - 1] == b'\n')?;
        let rest = head[at + LABEL_HEADER.len()..].strip_prefix(b": ")?;
        let end = memchr(b'\n', rest)?;
        let mut words = std::str::from_utf8(&rest[..end]).ok()?.trim_end().split(' ');
        let (run, n) = words.next()?.split_once('-')?;
        let mut word = || words.next();
        let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
        let label = Label {
            run: hexadecimal(run)?,
            n: n.parse().ok()?,
            due: word()?.parse().ok()?,
            recipients: word()?.parse().ok()?,
            sum: hexadecimal(word()?)?,
            headers: HeaderSums { ordered: hexadecimal(word()?)?, unordered: hexadecimal(word()?)? },
        };
        let below = &rest[end + 1..];
        let below = below.strip_suffix(b"\r\n").unwrap_or(below);
        Some((label, label.compare(head, at, below)))
    }

    fn compare(&self, head: &[u8], at: usize, below: &[u8]) -> Headers {
        let mut sum = Checksum::new();
        sum.update(below);
        if sum.value() == self.headers.ordered {
            return Headers::Intact;
        }
        // Ours may have moved above the label too; relays' own fields are there as well, so look for a set of whole
        // lines ending at the label that makes the sum right.
        let mut unordered = HeaderSums::of(below).unordered;
        let mut above = head[..at].strip_suffix(b"\n").unwrap_or_default();
        for _ in 0..64 {
            if unordered == self.headers.unordered {
                return Headers::Reordered;
            }
            let start = above.iter().rposition(|byte| *byte == b'\n').map_or(0, |found| found + 1);
            let line = &head[start..above.len() + 1];
            if line.len() <= 1 {
                break;
            }
            // `of` adds the sum of the empty rest after the last line each time; it is counted once already.
            unordered = unordered.wrapping_add(HeaderSums::of(line).unordered).wrapping_sub(empty());
            above = head[..start].strip_suffix(b"\n").unwrap_or_default();
        }
        Headers::Altered
    }
}

fn empty() -> u64 {
    Checksum::new().value()
}

/// A recipient as its address names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Of a message made by [`Maker::make`](super::Maker::make).
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
    /// From a RCPT command's line, with what follows the `@`.
    pub fn read(command: &[u8]) -> (Recipient, &[u8]) {
        let path = memchr(b'<', command).and_then(|start| {
            let path = &command[start + 1..];
            Some(&path[..memchr(b'>', path)?])
        });
        let path = path.unwrap_or_default();
        let domain = memchr::memrchr(b'@', path).map_or(&b""[..], |at| &path[at + 1..]);
        (Recipient::of(path), domain)
    }

    /// From an address.
    pub fn of(address: &[u8]) -> Recipient {
        Recipient::parse(address).unwrap_or(Recipient::Other)
    }

    fn parse(address: &[u8]) -> Option<Recipient> {
        let local = std::str::from_utf8(&address[..memchr(b'@', address)?]).ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["From: a\r\n", "To: b,\r\n", "  c\r\n", "Subject: x\r\n"];

    fn judge(above: &str, below: &str) -> Headers {
        let headers = HeaderSums::of(FIELDS.concat().as_bytes());
        let label = Label { run: 1, n: 2, due: 3, recipients: 4, sum: 5, headers };
        let mut line = Vec::new();
        label.write(&mut line);
        let head = [above.as_bytes(), &line, below.as_bytes(), b"\r\n"].concat();
        let (found, state) = Label::read(&head).unwrap();
        assert_eq!(found, label);
        state
    }

    #[test]
    fn what_became_of_the_fields() {
        let [from, to, more, subject] = FIELDS;
        let sent = FIELDS.concat();
        assert_eq!(judge("", &sent), Headers::Intact);
        assert_eq!(judge("Received: x\r\n  y\r\nReturn-Path: <>\r\n", &sent), Headers::Intact);
        assert_eq!(judge("", &[to, more, from, subject].concat()), Headers::Reordered);
        assert_eq!(
            judge(&format!("Received: x\r\n{subject}"), &[from, to, more].concat()),
            Headers::Reordered
        );
        assert_eq!(judge(subject, &[from, more, to].concat()), Headers::Reordered);
        assert_eq!(judge("", &[from, to, more].concat()), Headers::Altered, "one is missing");
        assert_eq!(judge("", &sent.replace("Subject: x", "Subject: y")), Headers::Altered);
        assert_eq!(judge("", &format!("{sent}X-Added: x\r\n")), Headers::Altered);
    }

    #[test]
    fn nonsense_is_no_label() {
        for text in
            ["", "X-Loadtest-Id", "X-Loadtest-Id: 1-2 3 4 5 6\r\n", "X-Loadtest-Id: x-2 3 4 5 6 7\r\n"]
        {
            assert_eq!(Label::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_read() {
        let ours = Recipient::Ours { run: 10, n: 7, ordinal: 1 };
        assert_eq!(Recipient::read(b"RCPT TO:<r1.7.a@d0.example> X=<y@z>"), (ours, &b"d0.example"[..]));
        assert_eq!(Recipient::read(b"MAIL FROM:<bounce.7.a@x>").0, Recipient::Bounce { run: 10, n: 7 });
        for other in ["<r.7.1@x>", "<r1.1@x>", "<r1..1@x>", "<joe@x>", "<r1.7.x@x>", "<>", "", "<q1.7.1@x>"] {
            assert_eq!(Recipient::read(other.as_bytes()).0, Recipient::Other, "{other}");
        }
    }
}
