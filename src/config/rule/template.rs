//! Texts with places for what a pattern found.

use crate::mail::header;

/// A text in which `$1` stands for what the first group of the rule's pattern found, and `$$` for a dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    pub(super) fn parse(text: &str) -> Template {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        let mut literal = String::new();
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            let behind = &rest[at + 1..];
            let digits = behind.bytes().take_while(u8::is_ascii_digit).take(2).count();
            if digits > 0 {
                parts.extend((!literal.is_empty()).then(|| Part::Text(std::mem::take(&mut literal))));
                parts.push(Part::Group(behind[..digits].parse().unwrap_or_default()));
                rest = &behind[digits..];
            } else {
                literal.push('$');
                rest = behind.strip_prefix('$').unwrap_or(behind);
            }
        }
        literal.push_str(rest);
        parts.extend((!literal.is_empty()).then_some(Part::Text(literal)));
        Template(parts)
    }

    /// The text, where nothing is to be put in.
    pub fn text(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with what each group found, as far as it has at most so many bytes.
    pub fn expand<'a>(&self, most: usize, group: impl Fn(usize) -> &'a str) -> String {
        let mut whole = String::new();
        for part in &self.0 {
            let text = match part {
                Part::Text(text) => text,
                Part::Group(number) => group(*number),
            };
            let fits = header::cut(text, most - whole.len());
            whole.push_str(fits);
            if fits.len() < text.len() {
                break;
            }
        }
        whole
    }

    /// The groups it names.
    pub(super) fn groups(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|part| if let Part::Group(number) = part { Some(*number) } else { None })
    }

    /// As it is written in a file.
    pub(super) fn expand_as_written(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.replace('$', "$$"),
            Part::Group(number) => format!("${number}"),
        };
        self.0.iter().map(part).collect()
    }
}
