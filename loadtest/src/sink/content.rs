//! What a sink keeps of a message's content: its header section while it comes in, a checksum of the rest, and the whole
//! of a bounce.

use memchr::{memchr, memchr_iter, memmem};

use crate::checksum::Checksum;
use crate::message::Recipient;

/// Header bytes looked through for our label; a longer section makes the message unknown.
const HEAD_MAX: usize = 64 * 1024;
/// Bytes of a bounce looked through for its recipients.
const BOUNCE_MAX: usize = 256 * 1024;

/// The content of the message being received, as far as it is kept.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) head: Vec<u8>,
    in_body: bool,
    pub(super) sum: Checksum,
    pub(super) bytes: u64,
    /// The body, of a bounce.
    body: Option<Vec<u8>>,
}

impl Content {
    /// Ready for the next message; the body is kept of a bounce.
    pub(super) fn begin(&mut self, bounce: bool) {
        self.head.clear();
        let (head, body) = (std::mem::take(&mut self.head), bounce.then(Vec::new));
        *self = Content { head, body, ..Content::default() };
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.in_body {
            return Content::take_body(&mut self.sum, &mut self.body, bytes);
        }
        let from = self.head.len().saturating_sub(3);
        let room = HEAD_MAX.saturating_sub(self.head.len());
        if bytes.len() > room && memmem::find(&bytes[..room], b"\r\n\r\n").is_none() {
            // No header section of ours; what follows only has to be counted.
            self.head.clear();
            self.in_body = true;
            return;
        }
        self.head.extend_from_slice(bytes);
        if let Some(found) = memmem::find(&self.head[from..], b"\r\n\r\n") {
            let end = from + found + 4;
            self.in_body = true;
            Content::take_body(&mut self.sum, &mut self.body, &self.head[end..]);
            self.head.truncate(end);
        }
    }

    fn take_body(sum: &mut Checksum, body: &mut Option<Vec<u8>>, bytes: &[u8]) {
        sum.update(bytes);
        if let Some(body) = body {
            let room = BOUNCE_MAX.saturating_sub(body.len());
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// The recipients a bounce speaks of (RFC 3464 2.3), and whether each was given up; it may still be tried otherwise.
    pub(super) fn reported(&self, mut each: impl FnMut(Recipient, bool)) {
        let Some(body) = &self.body else { return };
        let (mut recipient, mut start) = (None, 0);
        for end in memchr_iter(b'\n', body) {
            let line = body[start..end].trim_ascii();
            start = end + 1;
            let Some(colon) = memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"Final-Recipient") {
                let address = memchr(b';', value).map_or(value, |at| value[at + 1..].trim_ascii());
                recipient = Some(Recipient::of(address.strip_prefix(b"<").unwrap_or(address)));
            } else if name.eq_ignore_ascii_case(b"Action") {
                let failed = value.eq_ignore_ascii_case(b"failed");
                if let Some(found) =
                    recipient.take().filter(|_| failed || value.eq_ignore_ascii_case(b"delayed"))
                {
                    each(found, failed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8], size: usize, bounce: bool) -> Content {
        let mut content = Content::default();
        content.begin(bounce);
        text.chunks(size).for_each(|piece| content.push(piece));
        content
    }

    #[test]
    fn head_and_body_part_at_every_split() {
        let text = b"A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore\r\n";
        let mut sum = Checksum::new();
        sum.update(&text[14..]);
        for size in 1..=text.len() {
            let content = whole(text, size, true);
            assert_eq!(content.head, &text[..14], "by {size}");
            assert_eq!((content.sum.value(), content.bytes), (sum.value(), text.len() as u64), "by {size}");
            assert_eq!(content.body.as_deref(), Some(&text[14..]), "by {size}");
        }
    }

    #[test]
    fn endless_heads_are_bounded() {
        let content = whole(&vec![b'x'; 3 * HEAD_MAX], 100, false);
        assert!(content.head.is_empty() && content.bytes as usize == 3 * HEAD_MAX);
        let body = [&b"A: b\r\n\r\n"[..], &vec![b'x'; 3 * BOUNCE_MAX]].concat();
        assert_eq!(whole(&body, 100_000, true).body.map(|body| body.len()), Some(BOUNCE_MAX));
        assert_eq!(
            whole(&body, 100_000, false).head,
            b"A: b\r\n\r\n",
            "a large first piece is no large head"
        );
    }

    #[test]
    fn bounces_name_their_recipients() {
        let text = b"From: x\r\n\r\nno luck\r\nAction: failed\r\n\r\n\
            Final-Recipient: rfc822; r0.7.a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
            final-recipient:rfc822;<r1.7.a@x.example>\r\nACTION:  Delayed\r\n\r\n\
            Final-Recipient: rfc822; joe@x.example\r\nAction: relayed\r\n";
        let mut found = Vec::new();
        whole(text, 7, true).reported(|recipient, failed| found.push((recipient, failed)));
        let ours = |ordinal| Recipient::Ours { run: 10, n: 7, ordinal };
        assert_eq!(found, [(ours(0), true), (ours(1), false)]);
    }
}
