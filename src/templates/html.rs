//! HTML, token by token, as authors write it and not as browsers mend it: tags of the template stand in it wherever they like, and stay as they are.

use super::scan::Tag;

/// A piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text between tags.
    Text(&'a str),
    /// A tag of the template.
    Template(&'a str, Tag),
    /// `<a href="…">`
    Open(Open<'a>),
    /// `</a>`
    Close(&'a str),
    /// What an element holds that has no elements in it: `style`, `script`, `title`, `textarea`.
    Raw(&'a str),
    /// A comment, a doctype.
    Other,
}

/// An element that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open<'a> {
    pub name: &'a str,
    pub attributes: Vec<Attribute<'a>>,
    /// Where another attribute has its place.
    pub end: usize,
}

/// One of its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub name: &'a str,
    pub value: &'a str,
    /// Where its value is, without quotes.
    pub start: usize,
    /// What is around it.
    pub quote: Option<char>,
}

impl<'a> Open<'a> {
    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Elements that hold text alone, whatever is in it.
const RAW: [&str; 4] = ["style", "script", "title", "textarea"];

/// Reads it, in one pass.
pub(super) struct Scanner<'a> {
    source: &'a str,
    tags: &'a [Tag],
    at: usize,
    /// The element whose text comes next.
    raw: Option<&'a str>,
}

impl<'a> Scanner<'a> {
    /// `tags` are those of the template in it.
    pub(super) fn new(source: &'a str, tags: &'a [Tag]) -> Scanner<'a> {
        Scanner { source, tags, at: 0, raw: None }
    }

    /// The tag of the template that begins there.
    fn template(&mut self, at: usize) -> Option<Tag> {
        while self.tags.first().is_some_and(|tag| tag.end <= at) {
            self.tags = &self.tags[1..];
        }
        self.tags.first().copied().filter(|tag| tag.start <= at)
    }

    fn take(&mut self, end: usize) -> &'a str {
        let text = &self.source[self.at..end];
        self.at = end;
        text
    }

    /// All up to what is neither text.
    fn text(&mut self) -> Token<'a> {
        let bytes = self.source.as_bytes();
        let mut end = self.at + 1;
        while end < bytes.len() && bytes[end] != b'<' && self.tags.first().is_none_or(|tag| end < tag.start) {
            end += 1;
        }
        Token::Text(self.take(end))
    }

    /// `<name …>`, from its name on. None: it has no end.
    fn open(&mut self, start: usize) -> Option<Token<'a>> {
        let bytes = self.source.as_bytes();
        let name_end = start + name_length(&bytes[start..]);
        let name = &self.source[start..name_end];
        let (mut attributes, mut at) = (Vec::new(), name_end);
        loop {
            while bytes.get(at).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'/') {
                at += 1;
            }
            if *bytes.get(at)? == b'>' {
                // Behind its name or its last value, so that `/>` stays together.
                let before = self.source[..at].trim_end_matches('/');
                let end = before.trim_end().len();
                self.at = at + 1;
                self.raw = RAW.contains(&&*name.to_ascii_lowercase()).then_some(name);
                return Some(Token::Open(Open { name, attributes, end }));
            }
            if let Some(tag) = self.template(at) {
                at = tag.end;
                continue;
            }
            let from = at;
            at = self.until(at, |byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/'))?;
            // A stray `=` is a name of itself.
            at = at.max(from + 1);
            let name = self.source.get(from..at)?;
            let mut value = at;
            while bytes.get(value).is_some_and(u8::is_ascii_whitespace) {
                value += 1;
            }
            if bytes.get(value) != Some(&b'=') {
                attributes.push(Attribute { name, value: "", start: at, quote: None });
                continue;
            }
            value += 1;
            while bytes.get(value).is_some_and(u8::is_ascii_whitespace) {
                value += 1;
            }
            let quote = bytes.get(value).copied().filter(|byte| matches!(byte, b'"' | b'\''));
            let (start, end) = match quote {
                Some(quote) => (value + 1, self.until(value + 1, |byte| byte == quote)?),
                None => (value, self.until(value, |byte| byte.is_ascii_whitespace() || byte == b'>')?),
            };
            let text = self.source.get(start..end)?;
            attributes.push(Attribute { name, value: text, start, quote: quote.map(char::from) });
            at = end + usize::from(quote.is_some());
        }
    }

    /// Where such a byte is, outside of the template's tags. None: nowhere.
    fn until(&mut self, mut at: usize, is_end: impl Fn(u8) -> bool) -> Option<usize> {
        let bytes = self.source.as_bytes();
        loop {
            if let Some(tag) = self.template(at) {
                at = tag.end;
            } else if is_end(*bytes.get(at)?) {
                return Some(at);
            } else {
                at += 1;
            }
        }
    }

    /// What `<` begins.
    fn markup(&mut self) -> Token<'a> {
        let (rest, after) = (&self.source[self.at..], self.at + 1);
        let next = rest.as_bytes().get(1).copied().unwrap_or(b' ');
        let to_end = |found: Option<usize>, length: usize| found.map_or(rest.len(), |at| at + length);
        let length = match next {
            b'!' if rest.starts_with("<!--") => to_end(rest[4..].find("-->"), 7),
            b'!' | b'?' => to_end(rest.find('>'), 1),
            b'/' if rest.as_bytes().get(2).is_some_and(u8::is_ascii_alphabetic) => {
                let start = self.at + 2;
                let name = &self.source[start..start + name_length(&self.source.as_bytes()[start..])];
                self.at += to_end(rest.find('>'), 1);
                return Token::Close(name);
            }
            letter if letter.is_ascii_alphabetic() => {
                let tags = self.tags;
                return self.open(after).unwrap_or_else(|| {
                    // It has no end: all that is left is text.
                    self.tags = tags;
                    Token::Text(self.take(self.source.len()))
                });
            }
            _ => return self.text(),
        };
        self.at += length;
        Token::Other
    }
}

fn name_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'_')).count()
}

/// Where `</name` is.
fn end_of(text: &str, name: &str) -> usize {
    let is_end = |at: &usize| {
        let rest = &text.as_bytes()[*at + 2..];
        rest.get(..name.len()).is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    };
    memchr::memmem::find_iter(text.as_bytes(), b"</").find(is_end).unwrap_or(text.len())
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.source.get(self.at..).filter(|rest| !rest.is_empty())?;
        if let Some(name) = self.raw.take() {
            let end = self.at + end_of(rest, name);
            if end > self.at {
                return Some(Token::Raw(self.take(end)));
            }
        }
        if let Some(tag) = self.template(self.at) {
            return Some(Token::Template(self.take(tag.end), tag));
        }
        Some(if rest.starts_with('<') { self.markup() } else { self.text() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::tags;
    use super::*;

    fn told(source: &str) -> Vec<String> {
        let tags = tags(source).unwrap();
        let one = |token| match token {
            Token::Text(text) => format!("text {text}"),
            Token::Template(text, _) => format!("template {text}"),
            Token::Open(open) => {
                let all = open.attributes.iter().map(|of| format!(" {}={}", of.name, of.value));
                format!("open {}{}", open.name, all.collect::<String>())
            }
            Token::Close(name) => format!("close {name}"),
            Token::Raw(text) => format!("raw {text}"),
            Token::Other => "other".to_owned(),
        };
        Scanner::new(source, &tags).map(one).collect()
    }

    #[test]
    fn tokens_are_those_an_author_sees() {
        let source = "<!doctype html><p class='a' {{x}} id=b hidden>1 < 2 {{y}}<br/><!-- <p> --></p><style>a<b{}</STYLE>z";
        let wanted = [
            "other",
            "open p class=a id=b hidden=",
            "text 1 ",
            "text < 2 ",
            "template {{y}}",
            "open br",
            "other",
            "close p",
            "open style",
            "raw a<b{}",
            "close STYLE",
            "text z",
        ];
        assert_eq!(told(source), wanted);
        assert_eq!(
            told("<a href=\"{{#if u}}{{u}}?a=\">\"{{/if}}\">x"),
            ["open a href={{#if u}}{{u}}?a=", "text \"", "template {{/if}}", "text \">x"]
        );
        assert_eq!(told("<a href=\"{{lookup u \">\"}}\">x"), ["open a href={{lookup u \">\"}}", "text x"]);
    }

    #[test]
    fn what_never_ends_is_text() {
        for source in ["<a", "<a href='", "<!--", "<style>x", "</a", "<a =", "<", "<é", "<a\n{{x}}"] {
            assert!(!told(source).is_empty(), "{source}");
        }
        let begun = "<a ".repeat(50_000);
        assert_eq!(told(&begun).len(), 1, "once, and not from each of them on");
    }
}
