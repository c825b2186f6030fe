//! Text made of HTML: what is read, in lines, with its links. It is made of the source of a template, whose tags stay in it.

use super::html::{Open, Scanner, Token};
use super::scan::{Kind, Tag, tags};
use crate::limits;

/// The text of this HTML, in which these are the tags of the template.
pub(super) fn of_html(source: &str, tags: &[Tag]) -> String {
    let mut writer = Writer::default();
    for token in Scanner::new(source, tags) {
        writer.token(&token);
    }
    let text = writer.out.trim_end();
    // Nothing that was put together may be a tag that was none.
    let is_sound = self::tags(text).is_ok_and(|found| found.len() <= tags.len());
    if is_sound { text.to_owned() } else { String::new() }
}

/// Takes out what blocks that were left out have left of empty lines.
pub(super) fn tidy(text: &str) -> String {
    let (mut out, mut empty) = (String::with_capacity(text.len()), 0);
    for line in text.lines().map(str::trim_end) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 && !(line.is_empty() && out.is_empty()) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// Elements that begin and end a line.
const LINES: [&str; 21] = [
    "div",
    "tr",
    "li",
    "dt",
    "dd",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "center",
    "nav",
    "aside",
    "form",
    "address",
    "figure",
    "figcaption",
    "tbody",
    "thead",
    "body",
    "html",
];
/// Those that have an empty line around them.
const PARAGRAPHS: [&str; 12] =
    ["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre"];
/// Those that are not read.
const UNREAD: [&str; 5] = ["style", "script", "title", "head", "noscript"];

#[derive(Default)]
struct Writer<'a> {
    out: String,
    /// Ends of lines that come before the next word.
    lines: usize,
    space: bool,
    /// A partial stands alone in its line so far: the end of that is not written then.
    alone: bool,
    /// What is not read: how deep.
    unread: usize,
    /// Where links go, and where their text began.
    links: Vec<(&'a str, usize)>,
}

impl<'a> Writer<'a> {
    fn token(&mut self, token: &Token<'a>) {
        match token {
            Token::Open(open) => self.open(open),
            Token::Close(name) => self.close(name),
            Token::Template(text, tag) if self.unread == 0 => self.template(text, tag.kind),
            Token::Text(text) if self.unread == 0 => self.text(text),
            _ => {}
        }
    }

    fn open(&mut self, open: &Open<'a>) {
        let name = open.name.to_ascii_lowercase();
        if UNREAD.contains(&&*name) {
            self.unread += 1;
        }
        if self.unread > 0 {
            return;
        }
        self.edge(&name);
        match &*name {
            "br" => self.lines = (self.lines + 1).min(2),
            "hr" => {
                self.lines = self.lines.max(2);
                self.word("---");
                self.lines = 2;
            }
            "li" => {
                self.word("-");
                self.space = true;
            }
            "img" => {
                if let Some(alt) = open.attribute("alt") {
                    self.text(alt.value);
                }
            }
            // More than there ever are within each other is nobody's link.
            "a" if self.links.len() < limits::TEXT_LINKS_MAX => {
                let href = open.attribute("href").map_or("", |href| href.value.trim());
                self.links.push((href, self.out.len()));
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if UNREAD.contains(&&*name) {
            self.unread = self.unread.saturating_sub(1);
            return;
        }
        if self.unread > 0 {
            return;
        }
        if name == "a"
            && let Some((href, from)) = self.links.pop()
        {
            self.link(href, from);
        }
        self.edge(&name);
    }

    /// Where a link goes, where its text does not say so.
    fn link(&mut self, href: &str, from: usize) {
        let target = href.strip_prefix("mailto:").or(href.strip_prefix("tel:")).unwrap_or(href);
        let told = self.out.get(from..).unwrap_or_default().trim();
        if target.is_empty() || target.starts_with('#') || told == target {
            return;
        }
        let mut decoded = String::new();
        decode(target, &mut decoded);
        if told.is_empty() {
            self.word(&decoded);
        } else {
            self.space = true;
            self.word(&format!("({decoded})"));
        }
    }

    fn edge(&mut self, name: &str) {
        if LINES.contains(&name) {
            self.lines = self.lines.max(1);
        } else if PARAGRAPHS.contains(&name) {
            self.lines = self.lines.max(2);
        } else if ["td", "th"].contains(&name) {
            self.space = true;
        }
    }

    fn template(&mut self, text: &str, kind: Kind) {
        match kind {
            Kind::Value => self.word(text),
            Kind::Comment => {}
            // Alone in its line it leaves none.
            _ if self.lines > 0 || self.out.is_empty() => {
                self.word(text);
                (self.lines, self.alone) = (usize::from(kind != Kind::Partial), kind == Kind::Partial);
            }
            _ => self.word(text),
        }
    }

    fn text(&mut self, text: &str) {
        let mut decoded = String::new();
        decode(text, &mut decoded);
        self.space |= decoded.starts_with(is_space);
        let mut words = decoded.split(is_space).filter(|word| !word.is_empty()).peekable();
        while let Some(word) = words.next() {
            self.word(word);
            self.space = words.peek().is_some() || decoded.ends_with(is_space);
        }
    }

    fn word(&mut self, word: &str) {
        if self.lines > 0 {
            if !self.out.is_empty() {
                self.out.extend(std::iter::repeat_n('\n', self.lines + usize::from(self.alone)));
            }
        } else if self.space && !self.out.is_empty() {
            self.out.push(' ');
        } else if word.starts_with('{') && self.out.ends_with(['{', '\\']) {
            // Together they would be another tag, or none.
            self.out.push(' ');
        }
        (self.lines, self.space, self.alone) = (0, false, false);
        self.out.push_str(word);
    }
}

/// A space that breaks lines; others are letters.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// Character references that mail has, as letters.
fn decode(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(limits::TEXT_REFERENCE_MAX).position(|byte| byte == b';');
        match end.and_then(|end| Some((letter(&rest[1..end])?, end))) {
            Some((letter, end)) => {
                out.push(letter);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
}

/// What a reference stands for. A brace stays one, so that no tag comes of it.
fn letter(name: &str) -> Option<char> {
    let number = match name.strip_prefix('#') {
        Some(hex) if hex.starts_with(['x', 'X']) => u32::from_str_radix(&hex[1..], 16).ok(),
        Some(decimal) => decimal.parse().ok(),
        None => None,
    };
    let named = NAMED.iter().find(|(known, _)| *known == name).map(|(_, letter)| *letter);
    number
        .and_then(char::from_u32)
        .or(named)
        .filter(|letter| !letter.is_control() && !"{}\\".contains(*letter))
}

/// Those that mail is full of.
const NAMED: [(&str, char); 28] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("hellip", '…'),
    ("mdash", '—'),
    ("ndash", '–'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bull", '•'),
    ("middot", '·'),
    ("euro", '€'),
    ("pound", '£'),
    ("rarr", '→'),
    ("larr", '←'),
    ("times", '×'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("shy", '\u{ad}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn made(html: &str) -> String {
        of_html(html, &tags(html).unwrap())
    }

    #[test]
    fn it_reads_as_the_page_does() {
        let html = "<html><head><title>t</title><style>p{}</style></head><body>\n<h1>Hello&nbsp;{{name}},</h1>\n<p>your order\n  <b>{{order.id}}</b> &amp; more.<br>Soon.</p>\
                    <ul>{{#each items}}<li>{{name}}: {{price}}</li>{{/each}}</ul><p><a href=\"{{url}}\">See it</a> or <a href=\"mailto:a@b.c\">a@b.c</a>.</p><hr><img alt=\"Shop\" src=x></body></html>";
        let wanted = "Hello {{name}},\n\nyour order {{order.id}} & more.\nSoon.\n\n{{#each items}}\n- {{name}}: {{price}}\n{{/each}}\n\nSee it ({{url}}) or a@b.c.\n\n---\n\nShop";
        assert_eq!(made(html), wanted);
        assert_eq!(
            made("Hello {{#if name}}<b>{{name}}</b>{{else}}you{{/if}}, welcome"),
            "Hello {{#if name}}{{name}}{{else}}you{{/if}}, welcome"
        );
    }

    #[test]
    fn no_tag_comes_of_what_was_none() {
        assert_eq!(made("&#123;&#123;x&#125;&#125;"), "&#123;&#123;x&#125;&#125;");
        for html in ["{<b>{</b>x}}", "{<b>{{x}}</b>", "\\<b>{{x}}</b>", "{ {x}}"] {
            let text = made(html);
            assert!(tags(&text).unwrap().len() <= tags(html).unwrap().len(), "{html}: {text}");
        }
    }

    #[test]
    fn lines_that_blocks_leave_empty_are_taken_out() {
        assert_eq!(tidy("\n\na  \n\n\n\nb\n \n"), "a\n\nb\n");
        assert_eq!(tidy("\n \n"), "");
    }
}
