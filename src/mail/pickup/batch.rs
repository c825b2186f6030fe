//! A file with commands of SMTP in it (BSMTP), as PowerMTA's pickup takes it too: transactions one behind the other, and merges (`mail::merge`).
//! Each of its messages becomes a file of its own, as [`super`] reads it.

use std::borrow::Cow;
use std::fmt;

use super::{ENVELOPE_ENDS, path};
use crate::limits;
use crate::mail::envelope::Recipient;
use crate::mail::merge::{Merge, Who};

/// What a file says.
#[derive(Debug)]
pub struct Batch(Vec<Transaction>);

/// What is wrong with one, and in which line. Always the fault of who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchFlaw {
    line: usize,
    words: Cow<'static, str>,
}

impl fmt::Display for BatchFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}; nothing of the file was sent", self.line, self.words)
    }
}

#[derive(Debug)]
struct Transaction {
    sender: Vec<u8>,
    recipients: Vec<Recipient>,
    text: Text,
}

#[derive(Debug)]
enum Text {
    /// The same for all.
    Whole(Vec<u8>),
    /// One of his own for each.
    Merged(Merge),
}

/// Reads a file.
pub fn read(file: &[u8]) -> Result<Batch, BatchFlaw> {
    let mut lines = Lines { rest: file, line: 0 };
    let (mut all, mut open): (Vec<Transaction>, Option<Transaction>) = (Vec::new(), None);
    while let Some(line) = lines.next() {
        let line = line.trim_ascii();
        let (verb, rest) = line.split_at(line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len()));
        let at = lines.line;
        let flaw = |words| Err(BatchFlaw { line: at, words });
        match (&*verb.to_ascii_uppercase(), &mut open) {
            (b"" | b"HELO" | b"EHLO" | b"NOOP" | b"XACK", _) => {}
            (b"RSET", _) => open = None,
            (b"QUIT", _) => break,
            (b"MAIL" | b"XMRG", None) => open = Some(begin(at, verb.eq_ignore_ascii_case(b"XMRG"), rest)?),
            (b"MAIL" | b"XMRG", Some(_)) => return flaw("the message before has no text".into()),
            (_, None) => {
                return flaw("a message begins with MAIL FROM:<address> or XMRG FROM:<address>".into());
            }
            (b"RCPT", Some(transaction)) => {
                let (address, _) = address(at, "RCPT TO", b"TO", rest, false)?;
                transaction.recipients.push(address);
                if transaction.recipients.len() > limits::PICKUP_RECIPIENTS_MAX {
                    return flaw(format!("more than {} recipients", limits::PICKUP_RECIPIENTS_MAX).into());
                }
            }
            (b"XDFN", Some(Transaction { text: Text::Merged(merge), recipients, .. })) => {
                let defined = merge.define(rest, recipients.len());
                defined.map_err(|bad| BatchFlaw { line: at, words: bad.to_string().into() })?;
            }
            (b"DATA" | b"XPRT", Some(transaction)) => {
                if transaction.text(&mut lines, verb, rest)? {
                    all.extend(open.take());
                }
            }
            _ => {
                return flaw(
                    "XDFN is for a message that XMRG begins, and other commands are not known".into(),
                );
            }
        }
    }
    match (open, all.is_empty()) {
        (None, false) => Ok(Batch(all)),
        (None, true) => Err(BatchFlaw { line: lines.line, words: "there is no message".into() }),
        (Some(_), _) => Err(BatchFlaw {
            line: lines.line,
            words: "the last message has no text, or not its last part".into(),
        }),
    }
}

/// The lines of a file, which end as those of any text file.
struct Lines<'a> {
    rest: &'a [u8],
    /// The number of the last.
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let end = memchr::memchr(b'\n', self.rest).map_or(self.rest.len(), |end| end + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The text up to its final dot, without the dots that were put in (RFC 5321 4.5.2); each line ends with CRLF.
    fn text(&mut self) -> Result<Vec<u8>, BatchFlaw> {
        let mut text = Vec::new();
        while let Some(line) = self.next() {
            if line == b"." {
                return Ok(text);
            }
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            text.extend_from_slice(b"\r\n");
        }
        Err(BatchFlaw { line: self.line, words: "the text does not end with a line of one dot".into() })
    }
}

/// MAIL or XMRG.
fn begin(line: usize, merges: bool, rest: &[u8]) -> Result<Transaction, BatchFlaw> {
    let field = if merges { "XMRG FROM" } else { "MAIL FROM" };
    let (sender, parameters) = address(line, field, b"FROM", rest, true)?;
    let known = |word: &[u8]| {
        [&b"VERP"[..], b"BODY=8BITMIME", b"BODY=7BIT"].iter().any(|one| word.eq_ignore_ascii_case(one))
    };
    let mut words = parameters.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if let Some(strange) = words.find(|word| !known(word)) {
        let words = format!("{field}: the parameter {} is not read from files", strange.escape_ascii());
        return Err(BatchFlaw { line, words: words.into() });
    }
    let text = if merges { Text::Merged(Merge::default()) } else { Text::Whole(Vec::new()) };
    Ok(Transaction { sender: sender.address.to_vec(), recipients: Vec::new(), text })
}

/// The address behind `keyword:`, and what is behind it.
fn address<'a>(
    line: usize,
    field: &'static str,
    keyword: &[u8],
    rest: &'a [u8],
    null: bool,
) -> Result<(Recipient, &'a [u8]), BatchFlaw> {
    let wrong = |words: String| BatchFlaw { line, words: words.into() };
    let rest = rest.trim_ascii();
    let named = rest.get(..keyword.len()).is_some_and(|word| word.eq_ignore_ascii_case(keyword));
    let behind = named.then(|| rest[keyword.len()..].trim_ascii_start().strip_prefix(b":")).flatten();
    let behind = behind.ok_or_else(|| wrong(format!("write {field}:<address>")))?.trim_ascii_start();
    let end = match behind.first() {
        Some(b'<') => memchr::memchr(b'>', behind).map_or(behind.len(), |end| end + 1),
        _ => behind.iter().position(u8::is_ascii_whitespace).unwrap_or(behind.len()),
    };
    let (written, parameters) = behind.split_at(end);
    if !null && !parameters.trim_ascii().is_empty() {
        return Err(wrong(format!("{field}: parameters are not read from files")));
    }
    let found = path(field, line, written, null).map_err(|flaw| {
        // It says the line itself.
        let words = flaw.to_string();
        wrong(words.split_once(": ").map_or(words.clone(), |(_, words)| words.to_owned()))
    })?;
    let (address, domain_at) = found;
    Ok((Recipient::new(address.into(), domain_at), parameters))
}

impl Transaction {
    /// DATA, or XPRT. True: the message is whole.
    fn text(&mut self, lines: &mut Lines<'_>, verb: &[u8], rest: &[u8]) -> Result<bool, BatchFlaw> {
        let line = lines.line;
        let wrong = |words: &'static str| Err(BatchFlaw { line, words: words.into() });
        if self.recipients.is_empty() {
            return wrong("the message has no recipient");
        }
        let is_data = verb.eq_ignore_ascii_case(b"DATA");
        match &mut self.text {
            Text::Whole(text) if is_data => {
                if self.recipients.len() > limits::RECIPIENTS_MAX {
                    return wrong("a message has 1000 recipients at most: write several");
                }
                *text = lines.text()?;
                Ok(true)
            }
            Text::Merged(merge) if !is_data => {
                let words = std::str::from_utf8(rest).unwrap_or_default();
                let mut words = words.split_ascii_whitespace();
                let most = limits::MERGE_PARTS_MAX;
                let number = words.next().and_then(|word| word.parse::<u8>().ok());
                let number = number.filter(|number| (1..=most).contains(&usize::from(*number)));
                let last = words.next().map(|word| word.eq_ignore_ascii_case("LAST"));
                let (Some(number), None | Some(true), None) = (number, last, words.next()) else {
                    return wrong(
                        "write XPRT and the number of a part, from 1 to 64, and LAST behind that of the last",
                    );
                };
                if merge.has(number) {
                    return wrong("this part came already");
                }
                merge.add(number, lines.text()?);
                let lacks = merge.lacks(self.recipients.len()).filter(|_| last.is_some());
                match lacks {
                    Some(part) => {
                        let words = format!("part {part}, which a recipient is to get, did not come");
                        Err(BatchFlaw { line, words: words.into() })
                    }
                    None => Ok(last.is_some()),
                }
            }
            _ => wrong("the text of MAIL comes by DATA, and that of XMRG by XPRT"),
        }
    }

    /// The file of a message to these.
    fn file(&self, recipients: &[Recipient], message: &[u8]) -> Vec<u8> {
        let mut file = [b"x-sender: <", &self.sender[..], b">\r\n"].concat();
        for one in recipients {
            file.extend_from_slice(&[b"x-receiver: <", &one.address[..], b">\r\n"].concat());
        }
        file.extend_from_slice(&[ENVELOPE_ENDS.as_bytes(), b":\r\n", message].concat());
        file
    }
}

impl Batch {
    /// A file for each message; None: it would be too large. `date` is what stands for `[*date]`.
    pub fn files(&self, date: &str) -> impl Iterator<Item = Option<Vec<u8>>> {
        self.0.iter().flat_map(move |transaction| {
            let Transaction { sender, recipients, text } = transaction;
            let many = match text {
                Text::Whole(_) => recipients.len(),
                Text::Merged(_) => 1,
            };
            recipients.chunks(many.max(1)).enumerate().map(move |(place, some)| match text {
                Text::Whole(text) => Some(transaction.file(some, text)),
                Text::Merged(merge) => {
                    let who = Who { from: sender, to: &some[0], place, date };
                    let message = merge.render(who, limits::MERGE_MESSAGE_MAX)?;
                    Some(transaction.file(some, &message))
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::pickup;

    fn files(text: &str) -> Result<Vec<String>, String> {
        let batch = read(text.as_bytes()).map_err(|flaw| flaw.to_string())?;
        Ok(batch.files("now").map(|file| String::from_utf8(file.unwrap()).unwrap()).collect())
    }

    #[test]
    fn each_message_is_a_file() {
        let merge = "XACK ON \nXMRG FROM: news@shop.example\nXDFN first=\"Ann\" *vmta=ip1\nRCPT TO:<ann@a.example>\n\
             XDFN first=\"Bob\"\nRCPT TO: <bob@b.example>\n\nXPRT 1 LAST \nTo: [*to]\nDate: [*date]\n\n..Dear [first]\n.\n";
        let ann = "x-sender: <news@shop.example>\r\nx-receiver: <ann@a.example>\r\nx-relevo-message:\r\nX-Virtual-MTA: ip1\r\n\
             To: ann@a.example\r\nDate: now\r\n\r\n.Dear Ann\r\n";
        let bob = ann.replace("ann@a", "bob@b").replace("Ann", "Bob").replace("X-Virtual-MTA: ip1\r\n", "");
        assert_eq!(files(merge), Ok(vec![ann.to_owned(), bob]));
        let picked = pickup::read(ann.as_bytes()).unwrap();
        assert_eq!((&picked.sender[..], picked.recipients.len()), (&b"news@shop.example"[..], 1));
        assert!(picked.message.starts_with(b"X-Virtual-MTA: ip1\r\nTo: "));
        let two = "HELO x\r\nMAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\nSubject: x\r\n.\r\n\
             MAIL FROM:<a@b.example>\r\nRSET\r\nmail from:<a@b.example>\r\nrcpt to:<d@e.example>\r\ndata\r\n\r\nx\r\n.\r\nQUIT\r\nrubbish\r\n";
        let first = "x-sender: <>\r\nx-receiver: <a@b.example>\r\nx-receiver: <c@b.example>\r\nx-relevo-message:\r\nSubject: x\r\n";
        let second = "x-sender: <a@b.example>\r\nx-receiver: <d@e.example>\r\nx-relevo-message:\r\n\r\nx\r\n";
        assert_eq!(files(two), Ok(vec![first.to_owned(), second.to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, words) in [
            ("", "there is no message"),
            ("XACK ON\n", "line 1: there is no message"),
            ("RCPT TO:<a@b.example>\n", "line 1: a message begins with MAIL FROM"),
            ("MAIL FROM:<a@b.example>\nDATA\n.\n", "line 2: the message has no recipient"),
            ("MAIL FROM:<a@b.example>\nMAIL FROM:<a@b.example>\n", "line 2: the message before has no text"),
            ("MAIL FROM:<a@b.example>\nRCPT TO:<x>\n", "line 2: RCPT TO: <x> has no domain"),
            ("MAIL FROM:<a@b.example> RET=HDRS\n", "the parameter RET=HDRS is not read"),
            ("MAIL FROM:<a@b.example>\nRCPT TO:<a@b.example> NOTIFY=NEVER\n", "line 2: RCPT TO: parameters"),
            ("MAIL TO:<a@b.example>\n", "line 1: write MAIL FROM:<address>"),
            ("MAIL FROM:<a@b.example>\nXDFN a=1\n", "line 2: XDFN is for a message that XMRG begins"),
            ("XMRG FROM:<a@b.example>\nXDFN *to=1\n", "line 2: *to is none to define"),
            (
                "XMRG FROM:<a@b.example>\nRCPT TO:<a@b.example>\nDATA\n.\n",
                "line 3: the text of MAIL comes by DATA",
            ),
            ("XMRG FROM:<a@b.example>\nRCPT TO:<a@b.example>\nXPRT 65\n.\n", "line 3: write XPRT"),
            (
                "XMRG FROM:<a@b.example>\nXDFN *parts=2\nRCPT TO:<a@b.example>\nXPRT 1 LAST\n.\n",
                "line 4: part 2",
            ),
            ("XMRG FROM:<a@b.example>\nRCPT TO:<a@b.example>\nXPRT 1\n.\n", "not its last part"),
            ("MAIL FROM:<a@b.example>\nRCPT TO:<a@b.example>\nDATA\nx\n", "line 4: the text does not end"),
            ("MAIL FROM:<a@b.example>\nHELP\n", "other commands are not known"),
        ] {
            let error = files(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
