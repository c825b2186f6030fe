//! Replies: those we make up as we go, and the reader of what next hops say.

use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::address::AddressError;
use crate::mail::notify::BadParameter;
use crate::smtp::command::CommandError;

/// The words for a command we cannot obey (RFC 5321 4.2.4).
pub fn of_error(error: CommandError) -> &'static str {
    match error {
        CommandError::Unknown => "500 5.5.2 Command not recognized\r\n",
        CommandError::Arguments => "501 5.5.4 Syntax error in arguments\r\n",
        CommandError::Parameter => "555 5.5.4 Parameter not recognized\r\n",
        CommandError::Notification(BadParameter::Ret) => "501 5.5.4 RET is FULL or HDRS, and there once\r\n",
        CommandError::Notification(BadParameter::Envid) => {
            "501 5.5.4 ENVID is xtext of printable characters, at most 100 bytes, and there once\r\n"
        }
        CommandError::Notification(BadParameter::Notify) => {
            "501 5.5.4 NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY, and there once\r\n"
        }
        CommandError::Notification(BadParameter::Original) => {
            "501 5.5.4 ORCPT is a type, as rfc822, a semicolon and xtext, at most 500 bytes, and there once\r\n"
        }
        CommandError::Portion => "501 5.5.4 Syntax: BDAT size [LAST], closing\r\n",
        CommandError::Name => "501 5.5.4 Your host name is due here, printable and at most 253 bytes\r\n",
        CommandError::Sender(AddressError::Syntax) => "501 5.1.7 Bad sender address syntax\r\n",
        CommandError::Sender(AddressError::TooLong) => "501 5.1.7 Sender address too long\r\n",
        CommandError::Sender(AddressError::NoDomain) => {
            "553 5.1.7 The sender address has no domain: send it as <user@host.example>\r\n"
        }
        CommandError::Recipient(AddressError::Syntax) => "501 5.1.3 Bad address syntax\r\n",
        CommandError::Recipient(AddressError::TooLong) => "501 5.1.3 Address too long\r\n",
        CommandError::Recipient(AddressError::NoDomain) => {
            "553 5.1.3 The recipient address has no domain: send it as <user@host.example>\r\n"
        }
        CommandError::Sender(AddressError::NotAscii) | CommandError::Recipient(AddressError::NotAscii) => {
            "553 5.6.7 An address beyond ASCII needs SMTPUTF8 in MAIL (RFC 6531)\r\n"
        }
        CommandError::Sender(AddressError::NotUtf8) => "501 5.1.7 The sender address is not UTF-8\r\n",
        CommandError::Recipient(AddressError::NotUtf8) => "501 5.1.3 The address is not UTF-8\r\n",
        CommandError::Sender(AddressError::Labels) => {
            "553 5.1.8 The domain of the sender address is no name of the DNS (RFC 5891)\r\n"
        }
        CommandError::Recipient(AddressError::Labels) => {
            "553 5.1.2 The domain of the address is no name of the DNS (RFC 5891)\r\n"
        }
    }
}

/// The 250 after the final dot. It takes a [`Durable`]: without a synced commit there is nothing to say it with.
pub fn write_queued(out: &mut Vec<u8>, message: &Durable<MessageId>) {
    out.extend_from_slice(b"250 2.0.0 Ok: queued as ");
    out.extend_from_slice(&message.get().to_text());
    out.extend_from_slice(b"\r\n");
}

/// A next hop's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// RFC 3463 code, only when its class agrees with `code`.
    pub enhanced: Option<(u8, u16, u16)>,
    /// All lines' text joined by blanks, printable ASCII, at most REPLY_TEXT_MAX bytes, enhanced code removed.
    pub text: String,
    /// Text of each line, for EHLO: the lines' own bounds hold.
    pub lines: Vec<String>,
    /// It has a meaning, and breaks the rules all the same: what comes next on the connection cannot be trusted.
    pub odd: bool,
    /// The hop never said it: the words are those of this relay.
    pub ours: bool,
}

impl Reply {
    /// 2xx
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// What was asked for is done. RFC 5321 4.2.1: the second digit tells information (1) and connections (2) from the transfer of mail,
    /// and RFC 4954 answers AUTH with a 3; a hop that says 214, 220, 221 or 235 answers something else. 200 and 252 are loose, and mean it.
    pub fn is_done(&self) -> bool {
        self.is_positive() && !matches!(self.code / 10 % 10, 1..=3)
    }

    /// 5xx
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// `550 5.1.1 text`, for logs and bounces.
    pub fn describe(&self) -> String {
        match self.enhanced {
            Some((class, subject, detail)) => {
                format!("{} {class}.{subject}.{detail} {}", self.code, self.text)
            }
            None => format!("{} {}", self.code, self.text),
        }
    }

    /// The RFC 3463 code, made up from the reply class where the hop gave none.
    pub fn status(&self) -> String {
        match self.enhanced {
            Some((class, subject, detail)) => format!("{class}.{subject}.{detail}"),
            None => format!("{}.0.0", self.code / 100),
        }
    }
}

/// What a next hop said is no SMTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostileReply {
    /// Not three digits and a separator, or a code out of range: this line.
    Malformed(String),
    /// Lines of one reply with different codes, none of them a refusal: the last one.
    Mixed(String),
    /// More lines than REPLY_LINES_MAX, or a line that never ends.
    Endless,
}

impl std::fmt::Display for HostileReply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Some servers say one before a reply. Which command it belongs to nobody knows, so nothing is taken for an answer behind it.
            HostileReply::Malformed(line) if line.trim().is_empty() => {
                formatter.write_str("an empty line came where a reply was due")
            }
            HostileReply::Malformed(line) => write!(formatter, "a line is no reply: {line}"),
            HostileReply::Mixed(line) => {
                write!(formatter, "the lines of a reply have different codes: {line}")
            }
            HostileReply::Endless => formatter.write_str("a reply without an end"),
        }
    }
}

/// Puts replies together from whatever the connection brings. Bounded.
#[derive(Debug, Default)]
pub struct ReplyReader {
    line: Vec<u8>,
    lines: Vec<String>,
    /// Of the lines so far, the one that counts.
    code: Option<u16>,
    /// They do not all have one code, or not all have one.
    odd: bool,
    skipped: usize,
    /// Keep no text of positive replies.
    terse: bool,
    /// The next reply is that to a body.
    after_body: bool,
    /// What the last one said, if it was positive.
    said: String,
    /// Lines of the reply that is being read, whether kept or not.
    count: usize,
}

impl ReplyReader {
    /// From now on positive replies (2xx and 3xx) come without their text: in a transaction their code says all, and each text
    /// would cost its memory.
    pub fn be_terse(&mut self) {
        self.terse = true;
    }

    /// The next reply is that to a body: if it is positive, its last line is kept, in memory that the next one uses again.
    pub fn body_begins(&mut self) {
        self.after_body = true;
        self.said.clear();
    }

    /// The next reply is that to the same body, of another recipient (RFC 2033 section 4.2).
    pub fn body_goes_on(&mut self) {
        self.after_body = true;
    }

    /// What a hop said when it took the last body, code and all: what its operator finds in a log of theirs. Empty if it did not.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Whether a reply has begun and is not complete.
    pub fn is_midway(&self) -> bool {
        !self.line.is_empty() || self.skipped > 0 || self.code.is_some()
    }

    /// Reads from `input`: how many bytes it used, and a reply if one is complete. Call again with the rest.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), HostileReply> {
        let mut used = 0;
        while let Some(end) = memchr::memchr(b'\n', &input[used..]) {
            let piece = &input[used..used + end];
            used += end + 1;
            // A line that came whole, as nearly all do, is read where it lies.
            let done = if self.line.is_empty() && self.skipped == 0 && piece.len() <= limits::REPLY_LINE_MAX {
                self.line_done(piece.strip_suffix(b"\r").unwrap_or(piece))
            } else {
                self.push(piece)?;
                let line = std::mem::take(&mut self.line);
                let done = self.line_done(line.strip_suffix(b"\r").unwrap_or(&line));
                self.line = line;
                self.line.clear();
                self.skipped = 0;
                done
            };
            if let Some(reply) = done? {
                return Ok((used, Some(reply)));
            }
        }
        self.push(&input[used..])?;
        Ok((input.len(), None))
    }

    /// Keeps the start of a long line and skips the rest, within a bound.
    fn push(&mut self, piece: &[u8]) -> Result<(), HostileReply> {
        let room = limits::REPLY_LINE_MAX - self.line.len();
        let kept = piece.len().min(room);
        self.line.extend_from_slice(&piece[..kept]);
        self.skipped += piece.len() - kept;
        if self.skipped > limits::REPLY_BACKLOG_MAX { Err(HostileReply::Endless) } else { Ok(()) }
    }

    fn line_done(&mut self, line: &[u8]) -> Result<Option<Reply>, HostileReply> {
        if self.count >= limits::REPLY_LINES_MAX {
            return Err(HostileReply::Endless);
        }
        self.count += 1;
        let Some(code) = code(line) else {
            // Within an answer that takes the message, words without a code change nothing: the code of the lines around them counts.
            if self.after_body && self.code.is_some_and(|code| code / 100 == 2) {
                self.odd = true;
                return Ok(None);
            }
            return Err(HostileReply::Malformed(excerpt(line)));
        };
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            // RFC 5321 4.3.2 lets the first digit decide, and a message that was taken must not be sent again.
            Some(_) if self.after_body && code / 100 == 2 => {
                self.odd = true;
                true
            }
            Some(_) => return Err(HostileReply::Malformed(excerpt(line))),
        };
        if last && code < 400 && self.terse && !self.after_body && self.count == 1 {
            // As nearly all replies of a transaction are: one line, and its code says all.
            self.count = 0;
            return Ok(Some(Reply {
                code,
                enhanced: None,
                text: String::new(),
                lines: Vec::new(),
                odd: false,
                ours: false,
            }));
        }
        self.odd |= self.code.is_some_and(|before| before != code);
        // The last line decides among those of a class, and the class that is worse for the message.
        let code = self.code.map_or(code, |before| if before / 100 > code / 100 { before } else { code });
        self.code = Some(code);
        if !(self.terse && code < 400) {
            self.lines.push(printable(line.get(4..).unwrap_or_default()));
        }
        if !last {
            return Ok(None);
        }
        let after_body = std::mem::take(&mut self.after_body);
        let odd = std::mem::take(&mut self.odd);
        // Only a refusal is believed of a reply with several codes, and that a message was taken if all of them say so.
        if odd && code < 400 && !(after_body && code / 100 == 2) {
            return Err(HostileReply::Mixed(excerpt(line)));
        }
        if after_body && code / 100 == 2 {
            let kept = &line[..line.len().min(limits::REPLY_TEXT_MAX)];
            self.said.clear();
            self.said.extend(kept.iter().copied().map(printable_byte));
        }
        self.code = None;
        self.count = 0;
        Ok(Some(assemble(code, std::mem::take(&mut self.lines), odd)))
    }
}

/// The code that a line begins with.
fn code(line: &[u8]) -> Option<u16> {
    let &[b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] = line else { return None };
    Some(line[..3].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

/// The start of a line, to show what is wrong with it.
fn excerpt(line: &[u8]) -> String {
    printable(&line[..line.len().min(limits::REPLY_TEXT_MAX)])
}

/// Remote text ends up in logs, headers and bounces: only printable ASCII passes.
fn printable(text: &[u8]) -> String {
    text.iter().copied().map(printable_byte).collect()
}

fn printable_byte(byte: u8) -> char {
    if (32..127).contains(&byte) { byte as char } else { '?' }
}

fn assemble(code: u16, lines: Vec<String>, odd: bool) -> Reply {
    // RFC 2034 section 4 puts it on every line; some put it on the last one only.
    let enhanced = lines
        .iter()
        .filter_map(|line| parse_enhanced(line))
        .find(|(class, ..)| u16::from(*class) == code / 100);
    let mut text = String::new();
    for line in &lines {
        let line = match enhanced {
            Some(_) if parse_enhanced(line).is_some() => line.split_once(' ').map_or("", |(_, rest)| rest),
            _ => line,
        };
        if !text.is_empty() && !line.is_empty() {
            text.push(' ');
        }
        text.push_str(line);
        if text.len() >= limits::REPLY_TEXT_MAX {
            // ASCII only, so every index is a boundary.
            text.truncate(limits::REPLY_TEXT_MAX);
            break;
        }
    }
    Reply { code, enhanced, text, lines, odd, ours: false }
}

/// The RFC 3463 code in words like those of [`Reply::describe`]: `550 5.1.1 no such user`.
pub fn enhanced(described: &str) -> Option<(u8, u16, u16)> {
    let (code, rest) = described.split_once(' ')?;
    let class: u16 = code.get(..1)?.parse().ok()?;
    parse_enhanced(rest).filter(|(of, ..)| u16::from(*of) == class)
}

fn parse_enhanced(line: &str) -> Option<(u8, u16, u16)> {
    // Most lines have none, and show it at once.
    let [b'2' | b'4' | b'5', b'.', ..] = line.as_bytes() else { return None };
    let word = line.split(' ').next()?;
    let mut parts = word.split('.');
    let class = parts.next()?.parse().ok().filter(|class| matches!(class, 2 | 4 | 5))?;
    let mut number = || {
        let part = parts.next()?;
        if (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()) {
            part.parse().ok()
        } else {
            None
        }
    };
    let (subject, detail) = (number()?, number()?);
    if parts.next().is_some() { None } else { Some((class, subject, detail)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(input: &str) -> Result<Option<Reply>, HostileReply> {
        ReplyReader::default().read(input.as_bytes()).map(|(_, reply)| reply)
    }

    #[test]
    fn replies_at_every_split() {
        let input = b"250-first\r\n250-SIZE 10\r\n250 last\r\n220 next\r\n";
        for split in 0..input.len() {
            let mut reader = ReplyReader::default();
            let mut replies = Vec::new();
            for mut piece in [&input[..split], &input[split..]] {
                while !piece.is_empty() {
                    let (used, reply) = reader.read(piece).unwrap();
                    replies.extend(reply);
                    piece = &piece[used..];
                }
            }
            assert_eq!(replies.len(), 2, "{split}");
            assert_eq!(replies[0].lines, ["first", "SIZE 10", "last"]);
            assert_eq!((replies[0].code, replies[1].code), (250, 220));
        }
    }

    #[test]
    fn enhanced_codes_agree_with_their_class() {
        let reply = one("550 5.1.1 no such user\r\n").unwrap().unwrap();
        assert_eq!((reply.enhanced, reply.text.as_str()), (Some((5, 1, 1)), "no such user"));
        assert_eq!(reply.describe(), "550 5.1.1 no such user");
        // One line that has it is enough, whichever that is.
        for input in ["550-no\r\n550 5.1.1 such user\r\n", "550-4.4.4 no\r\n550-5.1.1 such\r\n550 user\r\n"] {
            let reply = one(input).unwrap().unwrap();
            assert_eq!(reply.enhanced, Some((5, 1, 1)), "{input}");
            assert!(reply.text.ends_with("such user") && !reply.text.contains("5.1.1"), "{}", reply.text);
        }
        let reply = one("550 4.1.1 odd\r\n").unwrap().unwrap();
        assert_eq!((reply.enhanced, reply.text.as_str()), (None, "4.1.1 odd"));
        assert_eq!(one("250\r\n").unwrap().unwrap().text, "");
        assert_eq!(enhanced("550 5.1.1 no such user"), Some((5, 1, 1)));
        assert_eq!(enhanced("451 4.4.1 cannot connect"), Some((4, 4, 1)));
        for none in ["", "550", "550 no", "550 4.1.1 odd", "the domain does not exist", "\u{e4} 5.1.1"] {
            assert_eq!(enhanced(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_said_after_a_body_is_kept() {
        let mut reader = ReplyReader::default();
        reader.be_terse();
        let read = |reader: &mut ReplyReader, input: &[u8]| {
            reader.read(input).unwrap().1.unwrap();
            reader.said().to_owned()
        };
        assert_eq!(read(&mut reader, b"250 2.1.0 sender ok\r\n"), "");
        reader.body_begins();
        assert_eq!(
            read(&mut reader, b"250-first\r\n250 2.0.0 queued as \x1b7\r\n"),
            "250 2.0.0 queued as ?7"
        );
        assert_eq!(read(&mut reader, b"250 2.1.0 the next sender\r\n"), "250 2.0.0 queued as ?7");
        reader.body_begins();
        assert_eq!(read(&mut reader, b"451 4.3.0 no\r\n"), "");
        assert_eq!(read(&mut reader, b"250 2.0.0 of RSET\r\n"), "");
        reader.body_begins();
        let long = format!("250 {}\r\n", "x".repeat(limits::REPLY_LINE_MAX));
        assert_eq!(read(&mut reader, long.as_bytes()).len(), limits::REPLY_TEXT_MAX);
    }

    #[test]
    fn refusals_with_several_codes() {
        for (input, code) in [
            ("220-x\r\n521 blocked\r\n", 521),
            ("550-a\r\n553 b\r\n", 553),
            ("550-a\r\n250 b\r\n", 550),
            ("450-a\r\n451-b\r\n250 c\r\n", 451),
            ("451-a\r\n550 b\r\n", 550),
        ] {
            let reply = one(input).unwrap().unwrap();
            assert_eq!((reply.code, reply.odd), (code, true), "{input}");
            assert!(reply.text.contains(' '), "{input}: {}", reply.text);
        }
        assert!(!one("550-a\r\n550 b\r\n").unwrap().unwrap().odd);
    }

    /// RFC 5321 4.3.2: the first digit says whether a message was taken, and one that was is not sent again.
    #[test]
    fn odd_answers_to_a_body() {
        let answer = |input: &str| {
            let mut reader = ReplyReader::default();
            reader.be_terse();
            reader.body_begins();
            let read =
                reader.read(input.as_bytes()).map(|(_, reply)| reply.map(|reply| (reply.code, reply.odd)));
            // The next one is read by the rules again.
            if matches!(read, Ok(Some(_))) {
                assert!(reader.read(b"250OK\r\n").is_err());
            }
            read
        };
        for taken in [
            "250OK\r\n",
            "250\tok\r\n",
            "250-a\r\n251 b\r\n",
            "250-a\r\nwords\r\n250 b\r\n",
            "250-a\r\n\r\n250 b\r\n",
        ] {
            assert!(matches!(answer(taken), Ok(Some((250 | 251, true)))), "{taken}");
        }
        assert_eq!(answer("250-a\r\n250 b\r\n"), Ok(Some((250, false))));
        assert_eq!(answer("250-a\r\n550 b\r\n"), Ok(Some((550, true))));
        assert_eq!(answer("250-a\r\n451 b\r\n"), Ok(Some((451, true))));
        for bad in ["550no\r\n", "354-a\r\n250 b\r\n", "250-a\r\n354 b\r\n", "ok\r\n", "550-a\r\nwords\r\n"] {
            assert!(answer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_replies() {
        assert_eq!(one("hello\r\n"), Err(HostileReply::Malformed("hello".into())));
        assert_eq!(one("250-a\r\n251 b\r\n"), Err(HostileReply::Mixed("251 b".into())));
        assert_eq!(one("250OK\r\n"), Err(HostileReply::Malformed("250OK".into())));
        for (input, words) in [
            ("\r\n250 ok\r\n", "an empty line came"),
            ("  \r\n", "an empty line came"),
            ("x\r\n", "no reply: x"),
        ] {
            let said = one(input).unwrap_err().to_string();
            assert!(said.contains(words), "{input:?}: {said}");
        }
        assert_eq!(one("250-a\r\n\r\n250 b\r\n"), Err(HostileReply::Malformed(String::new())));
        assert_eq!(one(&"220-x\r\n".repeat(limits::REPLY_LINES_MAX + 1)), Err(HostileReply::Endless));
        assert_eq!(one(&format!("220 {}", "x".repeat(100_000))), Err(HostileReply::Endless));
        let long = one(&format!("550 {}\r\n", "x".repeat(5000))).unwrap().unwrap();
        assert_eq!(long.text.len(), limits::REPLY_TEXT_MAX);
        let injected = one("550 a\rb\u{7f}\r\n").unwrap().unwrap();
        assert_eq!(injected.text, "a?b?");
    }
}
