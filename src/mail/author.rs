//! Whose a message is: the addresses of its From field (RFC 5322 3.4, 3.6.2), as readers and DMARC see them.

use std::ops::Range;

use smallvec::SmallVec;

use crate::limits;
use crate::mail::address::{self, international};

/// An address of a From field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Comments and blanks removed; a quoted local part stays quoted.
    address: SmallVec<[u8; 62]>,
    domain_at: usize,
}

impl Author {
    /// The whole address, its domain in lower case.
    pub fn address(&self) -> &[u8] {
        &self.address
    }

    /// Its domain, in lower case.
    pub fn domain(&self) -> &str {
        std::str::from_utf8(&self.address[self.domain_at..]).unwrap_or_default()
    }
}

/// The authors that a From field names, in order. None: it cannot be read without a doubt, so that nobody should be believed to be one; or it has
/// more than [`limits::AUTHORS_MAX`].
pub fn authors(value: &[u8]) -> Option<SmallVec<[Author; 1]>> {
    let mut authors = SmallVec::new();
    let mut reader = Reader { value, at: 0, depth: 0 };
    // A mailbox is one of `addr-spec`, `phrase <addr-spec>`; those of a group stand between a colon and a semicolon (RFC 5322 3.4).
    let (mut text, mut bracket) = (Spelled::default(), None::<Spelled>);
    let mut in_group = false;
    loop {
        let token = reader.next()?;
        match token {
            Token::Special(b'<') if bracket.is_none() => bracket = Some(reader.bracket()?),
            // Some readers take what stands before an at sign in a name for the author.
            Token::Special(b':') if bracket.is_none() && !in_group && text.domain_at.is_none() => {
                (in_group, text) = (true, Spelled::default());
            }
            Token::Special(b',' | b';') | Token::End => {
                match (bracket.take(), std::mem::take(&mut text)) {
                    (Some(spelled), text) => {
                        let author = spelled.author()?;
                        // `ada@example.org <ada@example.org>` is written by many, though RFC 5322 has it quoted.
                        if text.domain_at.is_some() && text.author().as_ref() != Some(&author) {
                            return None;
                        }
                        authors.push(author);
                    }
                    (None, text) if text.is_empty() => {}
                    (None, text) => authors.push(text.author()?),
                }
                if authors.len() > limits::AUTHORS_MAX {
                    return None;
                }
                match token {
                    Token::Special(b';') if !in_group => return None,
                    Token::Special(b';') => in_group = false,
                    Token::End if in_group => return None,
                    Token::End => return Some(authors),
                    _ => {}
                }
            }
            // Behind `<addr-spec>` only a comma, a semicolon or the end may stand.
            _ if bracket.is_some() => return None,
            Token::Special(b'@' | b'.') | Token::Word(_) | Token::Quoted(_) | Token::Literal(_) => {
                text.push(value, token);
            }
            Token::Special(_) => return None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: usize,
    end: usize,
}

impl Place {
    fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Special(u8),
    Word(Place),
    Quoted(Place),
    Literal(Place),
    End,
}

/// Tokens as they follow one another, comments and blanks left out. At most two of a local part and a domain are joined by `.` and `@`; a phrase
/// in front of a bracket is read into this, too, and forgotten unless an at sign is in it.
#[derive(Default)]
struct Spelled {
    bytes: SmallVec<[u8; 62]>,
    /// Where the domain begins, once an at sign came.
    domain_at: Option<usize>,
    /// What came last was a word: another one behind it is no address.
    after_word: bool,
    is_wrong: bool,
}

impl Spelled {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.is_wrong
    }

    fn push(&mut self, value: &[u8], token: Token) {
        let place = match token {
            Token::Special(byte) => {
                self.is_wrong |= byte == b'@' && self.domain_at.is_some();
                self.bytes.push(byte);
                if byte == b'@' {
                    self.domain_at = Some(self.bytes.len());
                }
                self.after_word = false;
                return;
            }
            Token::Quoted(_) | Token::Literal(_) if self.domain_at.is_some() => {
                self.is_wrong = true;
                return;
            }
            Token::Word(place) | Token::Quoted(place) | Token::Literal(place) => place,
            Token::End => return,
        };
        self.is_wrong |= self.after_word || self.bytes.len() > limits::PATH_MAX;
        self.after_word = true;
        if !self.is_wrong {
            self.bytes.extend_from_slice(&value[place.range()]);
        }
    }

    fn author(mut self) -> Option<Author> {
        let domain_at = self.domain_at.filter(|_| !self.is_wrong)?;
        self.bytes[domain_at..].make_ascii_lowercase();
        let domain = std::str::from_utf8(&self.bytes[domain_at..]).ok()?;
        if !domain.is_ascii() {
            // Keys are named by A-labels (RFC 8616 section 4), and so is whom they are aligned with.
            let labels = international::to_a_labels(domain)?;
            self.bytes.truncate(domain_at);
            self.bytes.extend_from_slice(labels.as_bytes());
        }
        let is_whole = domain_at > 1 && self.bytes.len() <= limits::PATH_MAX;
        // An address literal has no keys.
        let known = is_whole && address::is_domain(&self.bytes[domain_at..]);
        known.then_some(Author { address: self.bytes, domain_at })
    }
}

struct Reader<'a> {
    value: &'a [u8],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    /// The next token; None: what stands there is none.
    fn next(&mut self) -> Option<Token> {
        self.skip_comments()?;
        let Some(byte) = self.value.get(self.at).copied() else { return Some(Token::End) };
        let start = self.at;
        Some(match byte {
            b'"' => {
                self.until(b'"')?;
                Token::Quoted(Place { start, end: self.at })
            }
            b'[' => {
                self.until(b']')?;
                Token::Literal(Place { start, end: self.at })
            }
            b'<' | b'>' | b':' | b';' | b',' | b'@' | b'.' | b')' | b']' | b'\\' => {
                self.at += 1;
                Token::Special(byte)
            }
            0..=31 | 127 => return None,
            _ => {
                let is_word = |byte: &&u8| {
                    !matches!(
                        byte,
                        0..=32
                            | 127
                            | b'"'
                            | b'['
                            | b']'
                            | b'<'
                            | b'>'
                            | b':'
                            | b';'
                            | b','
                            | b'@'
                            | b'.'
                            | b'('
                            | b')'
                            | b'\\'
                    )
                };
                self.at += self.value[start..].iter().take_while(is_word).count();
                Token::Word(Place { start, end: self.at })
            }
        })
    }

    /// `<addr-spec>` behind its opening bracket.
    fn bracket(&mut self) -> Option<Spelled> {
        let mut spelled = Spelled::default();
        loop {
            match self.next()? {
                Token::Special(b'>') => return Some(spelled),
                token @ (Token::Special(b'@' | b'.')
                | Token::Word(_)
                | Token::Quoted(_)
                | Token::Literal(_)) => {
                    spelled.push(self.value, token);
                }
                Token::Special(_) | Token::End => return None,
            }
        }
    }

    /// Behind the byte that ends what begins here, quoted pairs passed over.
    fn until(&mut self, end: u8) -> Option<()> {
        let mut escaped = false;
        for (place, byte) in self.value.iter().enumerate().skip(self.at + 1) {
            match *byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                byte if byte == end => {
                    self.at = place + 1;
                    return Some(());
                }
                _ => {}
            }
        }
        None
    }

    /// Blanks, folds and comments, which may stand inside each other.
    fn skip_comments(&mut self) -> Option<()> {
        while let Some(byte) = self.value.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'(' => self.depth += 1,
                b')' if self.depth > 0 => self.depth -= 1,
                b'\\' if self.depth > 0 => self.at += 1,
                _ if self.depth > 0 => {}
                _ => return Some(()),
            }
            self.at += 1;
        }
        (self.depth == 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Vec<String>> {
        let text = |author: &Author| String::from_utf8(author.address().to_vec()).unwrap();
        authors(value.as_bytes()).map(|authors| authors.iter().map(text).collect())
    }

    #[test]
    fn addresses_of_from_fields() {
        let one = |address: &str| Some(vec![address.to_owned()]);
        for (value, wanted) in [
            (" ada@Example.ORG\r\n", one("ada@example.org")),
            ("Ada Lovelace <ada@example.org>", one("ada@example.org")),
            ("\"Ada, of L. <x@evil.example>\" <ada@example.org>", one("ada@example.org")),
            ("=?utf-8?q?Ada?= <ada@example.org> (home)", one("ada@example.org")),
            ("J. R. Dobbs\r\n <bob@sub.example.org>", one("bob@sub.example.org")),
            ("(x@evil.example) ada (at) @ (home (or not)) example . org", one("ada@example.org")),
            ("\"a b\"@example.org", one("\"a b\"@example.org")),
            ("ada@example.org <ada@Example.org>", one("ada@example.org")),
            ("\"x@evil.example\" <ada@example.org>", one("ada@example.org")),
            ("grüße <ada@example.org>", one("ada@example.org")),
            ("grüße <ada@BÜCHER.example>", one("ada@xn--bcher-kva.example")),
            ("δ@faß.example", one("δ@xn--fa-hia.example")),
            ("a@b.example, C <c@d.example>", Some(vec!["a@b.example".into(), "c@d.example".into()])),
            ("team: a@b.example, c@d.example;", Some(vec!["a@b.example".into(), "c@d.example".into()])),
            ("nobody:;", Some(vec![])),
            ("", Some(vec![])),
            ("a@b.example,", one("a@b.example")),
        ] {
            assert_eq!(read(value), wanted, "{value}");
        }
        let author = &authors(b"x <A@B.example>").unwrap()[0];
        assert_eq!((author.address(), author.domain()), (&b"A@b.example"[..], "b.example"));
    }

    #[test]
    fn of_whom_there_is_a_doubt_nobody_is_the_author() {
        let many = vec!["a@b.example"; limits::AUTHORS_MAX + 1].join(",");
        for value in [
            "ada",
            "<>",
            "<@example.org>",
            "<ada@>",
            "ada@example.org <x@evil.example> y",
            "<a@b.example> <c@d.example>",
            "a@b@c.example",
            "a b@c.example",
            "<a@b.example",
            "a@b.example>",
            "\"a@b.example",
            "(a@b.example",
            "a@[192.0.2.1]",
            "a@\u{378}.example",
            "a@b.example; c@d.example",
            "g: h: a@b.example;;",
            "g: a@b.example",
            "a\0@b.example",
            "<a@evil.example:b@c.example>",
            "y@evil.example <ada@example.org>",
            "y @ evil.example <ada@example.org>",
            "Ada y@evil.example <ada@example.org>",
            "y@evil.example Ada <ada@example.org>",
            "y@evil.example: ada@example.org;",
            "y @ evil.example: ada@example.org;",
            "y@evil.example:;",
            "c@d.example, y@evil.example <ada@example.org>",
            many.as_str(),
        ] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(read(&format!("{}@b.example", "a".repeat(limits::PATH_MAX))), None);
    }
}
