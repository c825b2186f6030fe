//! The tags of a template, found before the parser sees it: that one works itself into each bracket and block by its stack, and what it says of an
//! error tells no author what to write.

use crate::limits;

/// What a tag does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Puts a value in.
    Value,
    /// `{{#each …}}`
    Open,
    /// `{{/each}}`
    Close,
    /// `{{else}}`
    Else,
    /// `{{> footer}}`
    Partial,
    /// `{{! … }}`
    Comment,
}

/// One of them, with its braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
}

/// What is wrong, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub at: usize,
    pub words: String,
}

fn flaw<T>(at: usize, words: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw { at, words: words.into() })
}

/// Line and column of a byte, from 1 on, in letters.
pub(super) fn position(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

/// All tags of it in order, where they are sound as far as their braces, brackets and blocks go.
pub(super) fn tags(source: &str) -> Result<Vec<Tag>, Flaw> {
    let bytes = source.as_bytes();
    let (mut tags, mut blocks, mut at) = (Vec::new(), Blocks::default(), 0);
    while let Some(found) = memchr::memmem::find(&bytes[at..], b"{{") {
        let start = at + found;
        // A brace behind a backslash is text; behind two it is a tag (handlebars: "escaping").
        let slashes = bytes[..start].iter().rev().take_while(|byte| **byte == b'\\').count();
        if slashes == 1 {
            at = start + 2;
            continue;
        }
        let tag = tag(source, start)?;
        if tags.len() >= limits::TEMPLATE_TAGS_MAX {
            return flaw(start, format!("more tags than {}: split it", limits::TEMPLATE_TAGS_MAX));
        }
        blocks.see(source, &tag)?;
        at = tag.end;
        tags.push(tag);
    }
    blocks.end()?;
    if source.len().saturating_mul(tags.len()) > limits::TEMPLATE_PARSE_MAX {
        let words = "too many tags for its length: use loops, or split it into partials";
        return flaw(source.len(), words);
    }
    Ok(tags)
}

/// The tag that begins there.
fn tag(source: &str, start: usize) -> Result<Tag, Flaw> {
    let rest = &source[start..];
    if rest.starts_with("{{{{") {
        return flaw(start, "raw blocks are not known here: write \\{{ for braces that are text");
    }
    for (open, close) in [("{{!--", "--}}"), ("{{!", "}}")] {
        if let Some(text) = rest.strip_prefix(open) {
            let Some(length) = text.find(close) else {
                return flaw(start, format!("this comment has no end: write {close}"));
            };
            let end = start + open.len() + length + close.len();
            return Ok(Tag { start, end, kind: Kind::Comment });
        }
    }
    let (open, close) = if rest.starts_with("{{{") { ("{{{", "}}}") } else { ("{{", "}}") };
    let length = body(source, start, &rest[open.len()..], close)?;
    let text = rest[open.len()..open.len() + length].trim_matches('~').trim();
    let end = start + open.len() + length + close.len();
    let first_word = text.split(|letter: char| letter.is_whitespace()).next();
    let kind = match text.as_bytes().first() {
        None => return flaw(start, "nothing is in these braces: write the name of a variable"),
        Some(_) if open == "{{{" => Kind::Value,
        Some(b'*') => return flaw(start, DECORATORS),
        Some(b'#') if text[1..].trim_start().starts_with('*') => return flaw(start, DECORATORS),
        Some(b'#') => Kind::Open,
        Some(b'/') => Kind::Close,
        Some(b'>') => Kind::Partial,
        Some(b'^') => Kind::Else,
        Some(_) if first_word == Some("else") => Kind::Else,
        Some(_) => Kind::Value,
    };
    Ok(Tag { start, end, kind })
}

const DECORATORS: &str =
    "inline partials are not known here: save it as a partial of its own, and write {{> NAME}}";

/// How long it is to its closing braces: those in strings are text.
fn body(source: &str, start: usize, text: &str, close: &str) -> Result<usize, Flaw> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut quote) = (0, 0_usize, None);
    while at < bytes.len() {
        if at > limits::TEMPLATE_TAG_MAX {
            break;
        }
        match (bytes[at], quote) {
            (b'\\', Some(_)) => at += 1,
            (byte, Some(open)) => quote = Some(open).filter(|open| *open != byte),
            (byte @ (b'"' | b'\''), None) => quote = Some(byte),
            (b'(' | b'[', None) => {
                depth += 1;
                if depth > limits::TEMPLATE_BRACKETS_MAX {
                    let most = limits::TEMPLATE_BRACKETS_MAX;
                    return flaw(start, format!("brackets within brackets, more than {most}: simplify it"));
                }
            }
            (b')' | b']', None) => depth = depth.saturating_sub(1),
            (b'{', None) => return flaw(start, format!("these braces have no end: write {close}")),
            (b'}', None) if text[at..].starts_with(close) => return Ok(at),
            _ => {}
        }
        at += 1;
    }
    let (line, _) = position(source, start);
    flaw(
        start,
        format!("the tag of line {line} has no end within {} bytes: write {close}", limits::TEMPLATE_TAG_MAX),
    )
}

/// Blocks that are open.
#[derive(Default)]
struct Blocks<'a> {
    /// Where each began, and its name.
    open: Vec<(usize, &'a str)>,
    /// How deep each is, with what `else if` adds.
    depths: Vec<usize>,
}

impl<'a> Blocks<'a> {
    fn see(&mut self, source: &'a str, tag: &Tag) -> Result<(), Flaw> {
        let text = source[tag.start..tag.end].trim_matches(['{', '}']).trim_matches('~').trim();
        match tag.kind {
            Kind::Open => {
                let name = text[1..].trim_start().trim_start_matches('>').trim_start();
                let name = name.split(|letter: char| letter.is_whitespace()).next().unwrap_or_default();
                self.open.push((tag.start, name));
                self.depths.push(1);
            }
            Kind::Else => match self.depths.last_mut() {
                None => return flaw(tag.start, "this else is in no block: write {{#if NAME}} before it"),
                Some(depth) => *depth += usize::from(text != "else" && text != "^"),
            },
            Kind::Close => {
                let name = text[1..].trim();
                match self.open.pop() {
                    Some((_, open)) if open == name => drop(self.depths.pop()),
                    Some((at, open)) => {
                        let (line, _) = position(source, at);
                        let words = format!(
                            "{{{{/{name}}}}} closes nothing: {{{{#{open}}}}} of line {line} is open, write {{{{/{open}}}}}"
                        );
                        return flaw(tag.start, words);
                    }
                    None => return flaw(tag.start, format!("{{{{/{name}}}}} closes nothing: remove it")),
                }
            }
            _ => {}
        }
        let most = limits::TEMPLATE_BLOCKS_MAX;
        if self.depths.iter().sum::<usize>() > most {
            return flaw(tag.start, format!("blocks within blocks, more than {most}: simplify it"));
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Flaw> {
        match self.open.last() {
            Some((at, name)) => flaw(*at, format!("{{{{#{name}}}}} is never closed: write {{{{/{name}}}}}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_with_what_they_do() {
        let source = "a {{b}} {{{c}}} {{#if d}}{{else}}{{/if}} \\{{no}} \\\\{{yes \"}}\"}} {{> f}} {{!-- }} --}}{{~x~}}";
        let found = tags(source).unwrap();
        let told: Vec<_> = found.iter().map(|tag| (&source[tag.start..tag.end], tag.kind)).collect();
        use Kind::{Close, Comment, Else, Open, Partial, Value};
        let wanted = [
            ("{{b}}", Value),
            ("{{{c}}}", Value),
            ("{{#if d}}", Open),
            ("{{else}}", Else),
            ("{{/if}}", Close),
            ("{{yes \"}}\"}}", Value),
            ("{{> f}}", Partial),
            ("{{!-- }} --}}", Comment),
            ("{{~x~}}", Value),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        for (source, line, column, words) in [
            ("a\n é{{#if b}}", 2, 3, "{{#if}} is never closed: write {{/if}}"),
            ("{{#if b}}\n{{#each c}}{{/if}}", 2, 12, "{{#each}} of line 2 is open, write {{/each}}"),
            ("{{/if}}", 1, 1, "closes nothing"),
            ("x {{else}}", 1, 3, "in no block"),
            ("{{a", 1, 1, "no end"),
            ("{{a {{b}}", 1, 1, "no end"),
            ("{{{{raw}}}}{{{{/raw}}}}", 1, 1, "raw blocks"),
            ("{{!-- a }}", 1, 1, "no end"),
            ("{{#*inline \"a\"}}{{/inline}}", 1, 1, "save it as a partial"),
            ("{{}}", 1, 1, "nothing is in these braces"),
            ("{{a ((((((((b))))))))}}", 1, 1, "brackets"),
        ] {
            let flaw = tags(source).unwrap_err();
            assert_eq!(position(source, flaw.at), (line, column), "{source}: {flaw:?}");
            assert!(flaw.words.contains(words), "{source}: {flaw:?}");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |open: &str, close: &str, times: usize| open.repeat(times) + &close.repeat(times);
        assert!(tags(&nested("{{#if a}}", "{{/if}}", limits::TEMPLATE_BLOCKS_MAX)).is_ok());
        assert!(tags(&nested("{{#if a}}", "{{/if}}", limits::TEMPLATE_BLOCKS_MAX + 1)).is_err());
        let chain =
            format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if b}}".repeat(limits::TEMPLATE_BLOCKS_MAX));
        assert!(tags(&chain).unwrap_err().words.contains("blocks within blocks"));
        assert!(tags(&"{{a}}".repeat(limits::TEMPLATE_TAGS_MAX + 1)).is_err());
        assert!(tags(&("{{a}}".repeat(2_000) + &"x".repeat(200_000))).is_err(), "the parser would take long");
    }
}
