//! The protocol of Redis (RESP2), as much of it as is spoken here.

use std::io;
use std::io::Write;

use crate::limits;

/// Appends a command.
pub fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    // A vector takes all.
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Replies, as they come.
#[derive(Debug)]
pub struct Replies {
    /// Values that are to come: a list has some in it.
    wanted: usize,
    /// Bytes of a text that are to come, with its end.
    skip: usize,
    /// The list that EXEC answers with came: there is no other, and none in it.
    listed: bool,
    line: Vec<u8>,
    refused: Option<String>,
}

impl Replies {
    /// So many are to come.
    pub fn new(wanted: usize) -> Replies {
        Replies { wanted, skip: 0, listed: false, line: Vec::new(), refused: None }
    }

    /// The first of them that is a refusal, in the server's words; or that what was to be done was not.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Takes what came. Whether that is all.
    pub fn take(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while self.wanted > 0 || self.skip > 0 {
            if self.skip > 0 {
                let some = self.skip.min(bytes.len());
                (self.skip, bytes) = (self.skip - some, &bytes[some..]);
                if self.skip > 0 {
                    return Ok(false);
                }
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                if self.line.len() > limits::STREAM_LINE_MAX {
                    return Err(io::Error::other("it answers with a line that has no end"));
                }
                return Ok(false);
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.read(line.trim_ascii_end())?;
        }
        Ok(true)
    }

    fn read(&mut self, line: &[u8]) -> io::Result<()> {
        let strange = || io::Error::other("it does not speak the protocol of Redis");
        let (kind, rest) = line.split_first().ok_or_else(strange)?;
        let number = || std::str::from_utf8(rest).ok()?.parse::<i64>().ok();
        self.wanted -= 1;
        match kind {
            b'+' | b':' => {}
            b'-' => _ = self.refused.get_or_insert_with(|| String::from_utf8_lossy(rest).into_owned()),
            b'$' => {
                let length = number().ok_or_else(strange)?;
                if let Ok(length) = usize::try_from(length) {
                    self.skip = length.min(limits::STREAM_LINE_MAX) + 2;
                }
            }
            b'*' => match number().ok_or_else(strange)? {
                // A transaction that was not carried out.
                ..0 => _ = self.refused.get_or_insert_with(|| "that it did nothing of it".to_owned()),
                some => {
                    let some = usize::try_from(some).unwrap_or(usize::MAX);
                    if some > limits::STREAM_EVENTS || std::mem::replace(&mut self.listed, true) {
                        return Err(strange());
                    }
                    self.wanted += some;
                }
            },
            _ => return Err(strange()),
        }
        Ok(())
    }
}

/// What is answered, where it is looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A number.
    Number(i64),
    /// A text; None: there is none.
    Text(Option<Vec<u8>>),
    /// Several.
    List(Vec<Reply>),
    /// It is refused, in the server's words.
    Refused(String),
}

impl Reply {
    /// The numbers of a list of nothing else.
    pub fn numbers(&self) -> Option<Vec<i64>> {
        let Reply::List(list) = self else { return None };
        let number = |one: &Reply| if let Reply::Number(number) = one { Some(*number) } else { None };
        list.iter().map(number).collect()
    }

    /// A text in UTF-8.
    pub fn text(&self) -> Option<&str> {
        let Reply::Text(Some(text)) = self else { return None };
        std::str::from_utf8(text).ok()
    }
}

/// So many replies, and what is behind them; `Ok(None)`: they are not whole yet.
pub fn replies(bytes: &[u8], wanted: usize) -> io::Result<Option<Vec<Reply>>> {
    let (mut rest, mut all) = (bytes, Vec::new());
    for _ in 0..wanted {
        match reply(rest, limits::CLUSTER_DEPTH)? {
            Some((one, behind)) => {
                all.push(one);
                rest = behind;
            }
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

fn reply(bytes: &[u8], depth: usize) -> io::Result<Option<(Reply, &[u8])>> {
    let strange = || io::Error::other("it does not speak the protocol of Redis");
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() > limits::STREAM_LINE_MAX { Err(strange()) } else { Ok(None) };
    };
    let (line, mut rest) = (bytes[..end].trim_ascii_end(), &bytes[end + 1..]);
    let (kind, words) = line.split_first().ok_or_else(strange)?;
    let number = || std::str::from_utf8(words).ok()?.parse::<i64>().ok();
    let one = match kind {
        b'+' => Reply::Text(Some(words.to_vec())),
        b'-' => Reply::Refused(String::from_utf8_lossy(words).into_owned()),
        b':' => Reply::Number(number().ok_or_else(strange)?),
        b'$' => match usize::try_from(number().ok_or_else(strange)?) {
            Err(_) => Reply::Text(None),
            Ok(length) if length > limits::CLUSTER_ANSWER_MAX => return Err(strange()),
            Ok(length) if rest.len() < length + 2 => return Ok(None),
            Ok(length) => {
                let text = rest[..length].to_vec();
                rest = &rest[length + 2..];
                Reply::Text(Some(text))
            }
        },
        b'*' => {
            let count = usize::try_from(number().ok_or_else(strange)?).unwrap_or(0);
            if depth == 0 || count > limits::CLUSTER_ANSWER_MAX {
                return Err(strange());
            }
            let mut list = Vec::new();
            for _ in 0..count {
                let Some((one, behind)) = reply(rest, depth - 1)? else { return Ok(None) };
                list.push(one);
                rest = behind;
            }
            Reply::List(list)
        }
        _ => return Err(strange()),
    };
    Ok(Some((one, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_wherever_they_are_cut() {
        let whole = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$15\r\n1796014800000-0\r\n$2\r\n\r\n\r\n";
        for cut in 0..whole.len() {
            let mut replies = Replies::new(4);
            let (one, two) = whole.split_at(cut);
            assert!(!replies.take(one).unwrap(), "{cut}");
            assert!(replies.take(two).unwrap() && replies.refused().is_none(), "{cut}");
        }
    }

    #[test]
    fn refusals_are_found_and_what_is_no_answer() {
        let mut replies = Replies::new(4);
        assert!(replies.take(b"+OK\r\n-OOM no room\r\n+QUEUED\r\n-EXECABORT\r\n").unwrap());
        assert_eq!(replies.refused(), Some("OOM no room"));
        let mut replies = Replies::new(1);
        assert!(replies.take(b"*-1\r\n").unwrap() && replies.refused().is_some());
        for bad in
            [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\r\n", b"*9999999\r\n", b"$x\r\n", b"*1\r\n*1\r\n"]
        {
            assert!(Replies::new(1).take(bad).is_err());
        }
        assert!(Replies::new(1).take(&vec![b'+'; 2 * limits::STREAM_LINE_MAX]).is_err());
    }

    #[test]
    fn answers_are_looked_into_wherever_they_are_cut() {
        let whole = b"*3\r\n:5\r\n$2\r\nab\r\n*2\r\n:-1\r\n$-1\r\n-NOSCRIPT No\r\n";
        for cut in 0..whole.len() {
            assert_eq!(replies(&whole[..cut], 2).unwrap(), None, "{cut}");
        }
        let all = replies(whole, 2).unwrap().expect("two");
        let inner = Reply::List(vec![Reply::Number(-1), Reply::Text(None)]);
        assert_eq!(all[0], Reply::List(vec![Reply::Number(5), Reply::Text(Some(b"ab".to_vec())), inner]));
        assert_eq!(all[1], Reply::Refused("NOSCRIPT No".to_owned()));
        for bad in [&b"HTTP/1.1\r\n"[..], b"$9999999999\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", b"\r\n"] {
            assert!(replies(bad, 1).is_err());
        }
    }

    #[test]
    fn a_command_is_what_it_is_whatever_is_in_it() {
        let mut out = Vec::new();
        command(&[b"XADD", b"a\r\n$3"], &mut out);
        assert_eq!(out, b"*2\r\n$4\r\nXADD\r\n$5\r\na\r\n$3\r\n");
    }
}
