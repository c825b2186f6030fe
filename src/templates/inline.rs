//! Rules of style sheets in `style` attributes, as many mail programs read no sheets. All else of the source stays byte for byte as it is, the
//! sheets too: what they say of states and screens stands in them alone.

use super::css::{Declaration, Rules, Step};
use super::html::{Open, Scanner, Token};
use super::scan::Tag;
use crate::limits;

/// The sheets of a template, which hold for its partials as well.
#[derive(Clone, Debug, Default)]
pub(super) struct Sheet(Rules);

/// An element, as selectors see it.
#[derive(Clone, Debug, Default)]
struct Element {
    name: String,
    id: String,
    classes: Vec<String>,
    attributes: Vec<(String, String)>,
}

impl Element {
    fn new(open: &Open<'_>) -> Element {
        let value = |name| open.attribute(name).map_or("", |of| of.value);
        Element {
            name: open.name.to_ascii_lowercase(),
            id: value("id").to_owned(),
            classes: value("class").split_whitespace().map(str::to_owned).collect(),
            attributes: open
                .attributes
                .iter()
                .map(|of| (of.name.to_ascii_lowercase(), of.value.to_owned()))
                .collect(),
        }
    }

    fn is(&self, step: &Step) -> bool {
        let Step { element, id, classes, attributes, .. } = step;
        let has = |(name, value): &(String, Option<String>)| {
            self.attributes
                .iter()
                .any(|(own, is)| own == name && value.as_ref().is_none_or(|value| value == is))
        };
        element.as_ref().is_none_or(|element| *element == self.name)
            && id.as_ref().is_none_or(|id| *id == self.id)
            && classes.iter().all(|class| self.classes.contains(class))
            && attributes.iter().all(has)
    }
}

/// Elements that hold nothing.
const EMPTY: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];
/// Elements that another of the same ends.
const SINGLE: [&str; 6] = ["p", "li", "tr", "td", "th", "option"];
/// Elements that are not seen.
const UNSEEN: [&str; 7] = ["html", "head", "meta", "title", "style", "script", "link"];

impl Sheet {
    /// That of the `style` elements of this HTML. Where tags of the template are in one, its rules are not known before it is rendered.
    pub(super) fn of(source: &str, tags: &[Tag]) -> Result<Sheet, String> {
        let (mut rules, mut is_style) = (Rules::default(), false);
        for token in Scanner::new(source, tags) {
            match token {
                Token::Open(open) => {
                    let media = open.attribute("media").map_or("all", |media| media.value);
                    is_style = open.is("style") && ["all", "screen"].contains(&media);
                }
                Token::Raw(sheet) if is_style && !sheet.contains("{{") => {
                    rules.read(sheet).ok_or_else(too_much)?;
                }
                _ => {}
            }
        }
        Ok(Sheet(rules))
    }

    /// This HTML, with what holds for its elements in each of them.
    pub(super) fn put_into(&self, source: &str, tags: &[Tag]) -> Result<String, String> {
        let mut out = String::with_capacity(source.len());
        if self.0.rules.is_empty() {
            return Ok(source.to_owned());
        }
        let (mut open, mut done, mut steps) = (Vec::<Element>::new(), 0, limits::INLINE_STEPS_MAX);
        for token in Scanner::new(source, tags) {
            match token {
                Token::Open(of) => {
                    let element = Element::new(&of);
                    if SINGLE.contains(&&*element.name)
                        && open.last().is_some_and(|last| last.name == element.name)
                    {
                        open.pop();
                    }
                    let holds = if UNSEEN.contains(&&*element.name) {
                        Vec::new()
                    } else {
                        self.holds(&open, &element, &mut steps).ok_or_else(too_much)?
                    };
                    if !holds.is_empty() {
                        done = style(source, &of, &holds, (done, &mut out));
                    }
                    if !EMPTY.contains(&&*element.name) && open.len() < limits::INLINE_DEPTH_MAX {
                        open.push(element);
                    }
                }
                Token::Close(name) => {
                    if let Some(at) = open.iter().rposition(|element| element.name.eq_ignore_ascii_case(name))
                    {
                        open.truncate(at);
                    }
                }
                _ => {}
            }
            if out.len() > source.len() + limits::INLINE_ADDED_MAX {
                return Err(too_much());
            }
        }
        out.push_str(&source[done..]);
        Ok(out)
    }

    /// What holds for an element in these, the weakest first. None: it takes too long to say.
    fn holds(&self, around: &[Element], element: &Element, steps: &mut u64) -> Option<Vec<&Declaration>> {
        let mut all = Vec::new();
        for rule in &self.0.rules {
            if matches(&rule.steps, around, element, steps)? {
                all.push((rule.specificity(), rule.declarations));
            }
        }
        // Of equals the later one wins, and a sort leaves them in their order.
        all.sort_by_key(|(specificity, _)| *specificity);
        let of = |(_, place): &(_, usize)| self.0.declarations.get(*place).map_or(&[][..], Vec::as_slice);
        Some(all.iter().flat_map(of).collect())
    }
}

fn too_much() -> String {
    "its style sheet is too long to be put into so many elements: shorten it, or set keep_css".to_owned()
}

/// Whether a selector means this element in these. None: there are too many ways to tell.
fn matches(steps: &[Step], around: &[Element], element: &Element, left: &mut u64) -> Option<bool> {
    *left = left.checked_sub(1)?;
    let Some((last, before)) = steps.split_last() else { return Some(true) };
    if !element.is(last) {
        return Some(false);
    }
    if before.is_empty() {
        return Some(true);
    }
    for at in (0..around.len()).rev() {
        if matches(before, &around[..at], &around[at], left)? {
            return Some(true);
        }
        if last.is_child {
            break;
        }
    }
    Some(false)
}

/// Writes the source up to the end of an element's `style`. How far that is.
fn style(source: &str, open: &Open<'_>, holds: &[&Declaration], (done, out): (usize, &mut String)) -> usize {
    let own = open.attribute("style");
    let quote = own.and_then(|own| own.quote).unwrap_or('"');
    let join = |important: bool| {
        let texts = holds.iter().filter(|of| of.is_important == important).map(|of| of.text.as_str());
        let text = texts.collect::<Vec<_>>().join("; ");
        // Quotes within are those that are not around.
        text.replace(quote, if quote == '"' { "'" } else { "\"" })
    };
    let (weak, strong) = (join(false), join(true));
    let own_text = own.map_or("", |own| own.value.trim().trim_end_matches(';'));
    let parts: Vec<&str> =
        [weak.as_str(), own_text, strong.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
    let text = parts.join("; ");
    match own {
        Some(own) if own.quote.is_some() => {
            out.push_str(&source[done..own.start]);
            out.push_str(&text);
            own.start + own.value.len()
        }
        Some(own) if !own.value.is_empty() => {
            out.push_str(&source[done..own.start]);
            out.push_str(&format!("\"{text}\""));
            own.start + own.value.len()
        }
        Some(_) => done,
        None => {
            out.push_str(&source[done..open.end]);
            out.push_str(&format!(" style=\"{text}\""));
            open.end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::tags;
    use super::*;

    fn inlined(html: &str) -> String {
        let tags = tags(html).unwrap();
        Sheet::of(html, &tags).and_then(|sheet| sheet.put_into(html, &tags)).unwrap()
    }

    #[test]
    fn rules_come_into_elements_and_nothing_else_changes() {
        let head = "<style>p { color: red } .big { font-family: \"A B\"; color: blue } td > b { x: 1 } a:hover { y: 2 } p { margin: 0 !important }</style>";
        let body = "<p>{{#if a}}<p class=big {{more}} style='color: {{c}};'>{{/if}}<td><b>1</b><i><b>2</b></i></td><br/><a>";
        let wanted = "<p style=\"color: red; margin: 0\">{{#if a}}<p class=big {{more}} style='color: red; font-family: \"A B\"; color: blue; color: {{c}}; margin: 0'>{{/if}}\
                      <td><b style=\"x: 1\">1</b><i><b>2</b></i></td><br/><a>";
        assert_eq!(inlined(&format!("{head}{body}")), format!("{head}{wanted}"));
        let other = "<style media=print>p{a:b}</style><style>p{color:{{c}}}</style><p>";
        assert_eq!(inlined(other), other);
        assert_eq!(
            inlined("<style>.a{b:\"c\"}</style><br class=a />"),
            "<style>.a{b:\"c\"}</style><br class=a style=\"b: 'c'\" />"
        );
    }

    #[test]
    fn no_sheet_takes_long() {
        let rules = format!("i {}b{{c:d}}", "a ".repeat(limits::INLINE_SELECTOR_MAX - 2));
        let html = format!("<style>{rules}</style>{}{}", "<a>".repeat(120), "<b>".repeat(2_000));
        let tags = tags(&html).unwrap();
        let sheet = Sheet::of(&html, &tags).unwrap();
        assert!(sheet.put_into(&html, &tags).is_err(), "there are too many ways to tell");
    }
}
