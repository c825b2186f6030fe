//! The answer of a web server to one GET (RFC 9112), as far as a policy needs it: no redirects, a plain text, and an end within bounds.

use std::fmt;

use crate::limits;

/// The request.
pub fn request(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: relevo\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
    )
}

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadResponse {
    /// It is no HTTP.
    NotHttp,
    /// Head or body is too long.
    TooLong,
    /// It ended too soon.
    CutOff,
    /// Another status than 200; redirects are not followed (RFC 8461 section 3.3).
    Status(u16),
    /// Another media type than text/plain.
    MediaType(String),
    /// The body is coded in a way that was not asked for.
    Coding,
}

impl fmt::Display for BadResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadResponse::NotHttp => formatter.write_str("the answer is no HTTP"),
            BadResponse::TooLong => formatter.write_str("the answer is too long"),
            BadResponse::CutOff => formatter.write_str("the answer was cut off"),
            BadResponse::Status(status) if status / 100 == 3 => {
                write!(formatter, "the web server answers {status}, and redirects are not followed")
            }
            BadResponse::Status(status) => write!(formatter, "the web server answers {status}"),
            BadResponse::MediaType(of) => write!(formatter, "the policy is {of}, not text/plain"),
            BadResponse::Coding => formatter.write_str("the answer is coded in an unknown way"),
        }
    }
}

/// What came so far.
#[derive(Debug, Default)]
pub struct Response {
    bytes: Vec<u8>,
}

impl Response {
    /// More of it. Ok: the whole body, or None where more is to come.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, BadResponse> {
        if self.bytes.len() + bytes.len() > limits::STS_RESPONSE_MAX {
            return Err(BadResponse::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        self.read(false)
    }

    /// It ended.
    pub fn end(self) -> Result<Vec<u8>, BadResponse> {
        self.read(true)?.ok_or(BadResponse::CutOff)
    }

    fn read(&self, ended: bool) -> Result<Option<Vec<u8>>, BadResponse> {
        let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            let long = self.bytes.len() > limits::STS_HEAD_MAX;
            return if long { Err(BadResponse::TooLong) } else { Ok(None) };
        };
        if at > limits::STS_HEAD_MAX {
            return Err(BadResponse::TooLong);
        }
        let head = str::from_utf8(&self.bytes[..at]).map_err(|_| BadResponse::NotHttp)?;
        let body = &self.bytes[at + 4..];
        let framing = framing(head)?;
        let body = match framing {
            Framing::Length(length) if body.len() >= length => Some(body[..length].to_vec()),
            Framing::Length(_) => None,
            Framing::Chunked => chunks(body)?,
            Framing::Close => ended.then(|| body.to_vec()),
        };
        match body {
            Some(body) if body.len() > limits::STS_POLICY_MAX => Err(BadResponse::TooLong),
            body => Ok(body),
        }
    }
}

/// How the end of the body is known.
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

fn framing(head: &str) -> Result<Framing, BadResponse> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).ok_or(BadResponse::NotHttp)?;
    let status = status.get(2..5).and_then(|code| code.parse().ok()).ok_or(BadResponse::NotHttp)?;
    if status != 200 {
        return Err(BadResponse::Status(status));
    }
    let (mut framing, mut media) = (Framing::Close, "of no type");
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(BadResponse::NotHttp)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-type") {
            media = value.split(';').next().unwrap_or_default().trim();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(BadResponse::Coding);
            }
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-encoding") && !value.eq_ignore_ascii_case("identity") {
            return Err(BadResponse::Coding);
        } else if name.eq_ignore_ascii_case("content-length") && !matches!(framing, Framing::Chunked) {
            let length = value.parse().map_err(|_| BadResponse::NotHttp)?;
            if length > limits::STS_POLICY_MAX {
                return Err(BadResponse::TooLong);
            }
            framing = Framing::Length(length);
        }
    }
    if !media.eq_ignore_ascii_case("text/plain") {
        let told = media.chars().filter(char::is_ascii_graphic).take(limits::STS_WORD_MAX).collect();
        return Err(BadResponse::MediaType(told));
    }
    Ok(framing)
}

/// RFC 9112 section 7.1. None: the last chunk is not there yet.
fn chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, BadResponse> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = str::from_utf8(&rest[..end]).map_err(|_| BadResponse::NotHttp)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(size, 16).ok().filter(|_| hex).ok_or(BadResponse::NotHttp)?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
        if body.len().saturating_add(size) > limits::STS_POLICY_MAX {
            return Err(BadResponse::TooLong);
        }
        if rest.len() < size + 2 {
            return Ok(None);
        }
        if &rest[size..size + 2] != b"\r\n" {
            return Err(BadResponse::NotHttp);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, BadResponse> {
        let mut whole = Response::default();
        let at_once = match whole.take(text.as_bytes()) {
            Ok(Some(body)) => Ok(body),
            Ok(None) => whole.end(),
            Err(error) => Err(error),
        };
        // The same in pieces of any size.
        for size in [1, 7] {
            let (mut pieces, mut last) = (Response::default(), Ok(None));
            for piece in text.as_bytes().chunks(size) {
                last = pieces.take(piece);
                if !matches!(last, Ok(None)) {
                    break;
                }
            }
            let last = last.and_then(|body| body.map_or_else(|| pieces.end(), Ok));
            assert_eq!(last, at_once, "{text}");
        }
        at_once.map(|body| String::from_utf8(body).expect("a text"))
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";

    #[test]
    fn bodies() {
        for (rest, wanted) in [
            ("Content-Length: 5\r\n\r\nabcde", Ok("abcde")),
            ("content-length: 5\r\n\r\nabcdefgh", Ok("abcde")),
            ("Content-Length: 5\r\n\r\nabcd", Err(BadResponse::CutOff)),
            ("\r\nabcd", Ok("abcd")),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", Ok("abcde")),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nd", Err(BadResponse::CutOff)),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", Err(BadResponse::NotHttp)),
            ("Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", Err(BadResponse::NotHttp)),
            ("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", Err(BadResponse::TooLong)),
            ("Transfer-Encoding: gzip\r\n\r\nabc", Err(BadResponse::Coding)),
            ("Content-Encoding: gzip\r\n\r\nabc", Err(BadResponse::Coding)),
            ("Content-Length: 65537\r\n\r\n", Err(BadResponse::TooLong)),
            ("Content-Length: x\r\n\r\n", Err(BadResponse::NotHttp)),
            ("no colon\r\n\r\n", Err(BadResponse::NotHttp)),
        ] {
            assert_eq!(read(&format!("{HEAD}{rest}")), wanted.map(str::to_owned), "{rest}");
        }
    }

    #[test]
    fn heads() {
        for (text, wanted) in [
            ("HTTP/1.1 301 Moved\r\nLocation: https://a.example/\r\n\r\n", BadResponse::Status(301)),
            ("HTTP/1.0 404 Not Found\r\n\r\n", BadResponse::Status(404)),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
                BadResponse::MediaType("text/html".to_owned()),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Type: \x1btext\r\n\r\n", BadResponse::MediaType("text".to_owned())),
            ("SSH-2.0-x\r\n\r\n", BadResponse::NotHttp),
            ("HTTP/1.1 \u{e4}\u{e4}\u{e4}\r\n\r\n", BadResponse::NotHttp),
            ("HTTP/1.1 200 OK\r\n", BadResponse::CutOff),
        ] {
            assert_eq!(read(text), Err(wanted), "{text}");
        }
        let long = format!("{HEAD}X: {}\r\n\r\n", "x".repeat(limits::STS_HEAD_MAX));
        assert_eq!(Response::default().take(long.as_bytes()), Err(BadResponse::TooLong));
        let long = format!("{HEAD}\r\n{}", "x".repeat(limits::STS_POLICY_MAX + 1));
        let mut whole = Response::default();
        assert_eq!(
            whole.take(long.as_bytes()).and_then(|_| whole.end().map(Some)),
            Err(BadResponse::TooLong)
        );
    }
}
