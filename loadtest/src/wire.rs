//! The two readers of the SMTP wire: message data with its final dot, and replies.

use memchr::{memchr, memmem};

/// Finds the end of message data and removes dot-stuffing (RFC 5321 4.5.2), at any split of the input.
/// Only CRLF `.` CRLF ends the data; a bare CR or LF is content.
#[derive(Clone, Debug, Default)]
pub struct DotReader {
    state: LineState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineState {
    /// After a CRLF, or at the very start.
    #[default]
    LineStart,
    Text,
    /// After a CR.
    Return,
    /// After the first dot of a line, which is not content.
    Dot,
    /// After such a dot and a CR.
    Ending,
}

impl DotReader {
    /// Ready for the next message.
    pub fn reset(&mut self) {
        self.state = LineState::LineStart;
    }

    /// Passes content to `content` piece by piece. Some(used) when the data ended after `used` bytes of `input`;
    /// None when all of it was content and more must follow.
    pub fn read(&mut self, input: &[u8], mut content: impl FnMut(&[u8])) -> Option<usize> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match self.state {
                LineState::LineStart if byte == b'.' => {
                    self.state = LineState::Dot;
                    at += 1;
                }
                LineState::Return if byte == b'\n' => {
                    content(b"\n");
                    self.state = LineState::LineStart;
                    at += 1;
                }
                LineState::Dot if byte == b'\r' => {
                    self.state = LineState::Ending;
                    at += 1;
                }
                LineState::Ending if byte == b'\n' => {
                    self.state = LineState::LineStart;
                    return Some(at + 1);
                }
                LineState::Ending => {
                    // The dot was stuffing after all, and the CR a bare one.
                    content(b"\r");
                    self.state = LineState::Return;
                }
                LineState::LineStart | LineState::Return | LineState::Dot | LineState::Text => {
                    at += self.text(&input[at..], &mut content)
                }
            }
        }
        None
    }

    /// Takes text up to and including the dot after the next CRLF, or all of it; returns how much.
    fn text(&mut self, input: &[u8], content: &mut impl FnMut(&[u8])) -> usize {
        if let Some(found) = memmem::find(input, b"\r\n.") {
            content(&input[..found + 2]);
            self.state = LineState::Dot;
            return found + 3;
        }
        content(input);
        self.state = match input {
            [.., b'\r', b'\n'] => LineState::LineStart,
            [.., b'\r'] => LineState::Return,
            _ => LineState::Text,
        };
        input.len()
    }
}

/// Longest reply line kept; the rest of a longer one is dropped (RFC 5321 4.5.3.1.5 says 512).
const REPLY_LINE_MAX: usize = 2048;
/// Lines of one reply before the server is taken for broken.
const REPLY_LINES_MAX: usize = 256;

/// Reads replies at any split of the input.
#[derive(Clone, Debug, Default)]
pub struct ReplyReader {
    line: Vec<u8>,
    lines: usize,
    offers: Offers,
}

/// What the lines of a reply to EHLO offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4954, with PLAIN.
    pub auth_plain: bool,
}

impl Offers {
    fn read(&mut self, line: &[u8]) {
        let mut words = line.trim_ascii().split(|byte| *byte == b' ');
        let name = words.next().unwrap_or_default();
        let is = |keyword: &str| name.eq_ignore_ascii_case(keyword.as_bytes());
        self.pipelining |= is("PIPELINING");
        self.chunking |= is("CHUNKING");
        self.starttls |= is("STARTTLS");
        self.auth_plain |= is("AUTH") && words.any(|word| word.eq_ignore_ascii_case(b"PLAIN"));
    }
}

/// One reply, all its lines read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// What its lines offer, should it be one to EHLO.
    pub offers: Offers,
}

/// The server sent something that is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSmtp;

impl ReplyReader {
    /// Reads up to the end of the next reply; returns it, if it is complete, and the bytes used.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), NotSmtp> {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let Some(end) = memchr(b'\n', rest) else {
                self.keep(rest);
                return Ok((input.len(), None));
            };
            self.keep(&rest[..end]);
            used += end + 1;
            let code = code_of(&self.line).ok_or(NotSmtp)?;
            let more = self.line.get(3) == Some(&b'-');
            if code == 250 && (more || self.lines > 0) {
                self.offers.read(self.line.get(4..).unwrap_or_default());
            }
            self.line.clear();
            self.lines += 1;
            if self.lines > REPLY_LINES_MAX {
                return Err(NotSmtp);
            }
            if !more {
                let offers = std::mem::take(&mut self.offers);
                self.lines = 0;
                return Ok((used, Some(Reply { code, offers })));
            }
        }
        Ok((used, None))
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = REPLY_LINE_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn code_of(line: &[u8]) -> Option<u16> {
    match line {
        [first @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9', rest @ ..]
            if matches!(rest.first(), None | Some(b' ' | b'-' | b'\r')) =>
        {
            Some(u16::from(first - b'0') * 100 + u16::from(second - b'0') * 10 + u16::from(third - b'0'))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content and the bytes used, with the input cut into `size`d pieces.
    fn dots(input: &[u8], size: usize) -> (Vec<u8>, Option<usize>) {
        let (mut reader, mut content, mut before) = (DotReader::default(), Vec::new(), 0);
        for piece in input.chunks(size) {
            if let Some(used) = reader.read(piece, |bytes| content.extend_from_slice(bytes)) {
                return (content, Some(before + used));
            }
            before += piece.len();
        }
        (content, None)
    }

    #[test]
    fn data_ends_at_its_dot_alone() {
        let cases: &[(&[u8], &[u8], Option<usize>)] = &[
            (b".\r\nQUIT\r\n", b"", Some(3)),
            (b"a\r\n.\r\nQUIT", b"a\r\n", Some(6)),
            (b"..\r\n..b\r\n.\r\n", b".\r\n.b\r\n", Some(12)),
            (b"a\n.\nb\r\n.\nc\r\n.\r\n", b"a\n.\nb\r\n\nc\r\n", Some(15)),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", Some(11)),
            (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", Some(10)),
            (b"a\r.\r\n\r\r\n.\r\n", b"a\r.\r\n\r\r\n", Some(11)),
            (b"a\r\n.", b"a\r\n", None),
        ];
        for (input, content, used) in cases {
            for size in 1..=input.len() {
                let name = format!("{:?} by {size}", String::from_utf8_lossy(input));
                assert_eq!(dots(input, size), (content.to_vec(), *used), "{name}");
            }
        }
    }

    #[test]
    fn replies_at_every_split() {
        let input = b"220 hello\r\n250-x\r\n250-pipelining\r\n250-AUTH LOGIN PLAIN\r\n250-STARTTLS\r\n250 ok\r\n354\r\n";
        let offers = Offers { pipelining: true, auth_plain: true, starttls: true, chunking: false };
        let expected = [(220, Offers::default()), (250, offers), (354, Offers::default())];
        for size in 1..=input.len() {
            let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
            for mut piece in input.chunks(size) {
                while !piece.is_empty() {
                    let (used, reply) = reader.read(piece).unwrap();
                    replies.extend(reply.map(|reply| (reply.code, reply.offers)));
                    piece = &piece[used..];
                }
            }
            assert_eq!(replies, expected, "by {size}");
        }
    }

    #[test]
    fn noise_is_not_a_reply() {
        for noise in ["HTTP/1.1 200 OK\n", "\n", "25\n", "2500\n", "650 x\n"] {
            assert_eq!(ReplyReader::default().read(noise.as_bytes()), Err(NotSmtp), "{noise}");
        }
        let endless = "220-x\r\n".repeat(REPLY_LINES_MAX + 1);
        assert_eq!(ReplyReader::default().read(endless.as_bytes()), Err(NotSmtp));
    }
}
