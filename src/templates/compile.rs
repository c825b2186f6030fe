//! A template, ready to be rendered: its parts, and the partials that they call, each in the form for HTML and in that for text.

use std::collections::BTreeMap;

use handlebars::{Handlebars, Template, html_escape, no_escape};

use super::contents::{Contents, Partial, Partials, Variable, is_partial_name};
use super::data::check_declared;
use super::fault::{Fault, Part};
use super::scan::{Tag, tags};
use super::{check, inline, text};
use crate::limits;

/// Names of parts, as no partial is called.
pub(super) const SUBJECT: &str = "/subject";
pub(super) const HTML: &str = "/html";
pub(super) const TEXT: &str = "/text";

/// One that can be rendered, as often as wanted.
#[derive(Debug)]
pub struct Compiled {
    /// Values are escaped.
    pub(super) html: Option<Handlebars<'static>>,
    /// Values are as they are: subject and text.
    pub(super) plain: Handlebars<'static>,
    pub(super) has_text: bool,
    /// Text was made from HTML: lines that are left empty are taken out.
    pub(super) is_made: bool,
    pub(super) variables: Vec<Variable>,
    /// What mail of it is counted under.
    pub category: String,
    /// Bytes of all its sources.
    pub size: usize,
}

/// Checks a template with the partials it may call, and makes it ready.
pub fn compile(contents: &Contents, partials: &Partials) -> Result<Compiled, Fault> {
    check_declared(contents)?;
    sized(Part::Subject, &contents.subject, limits::TEMPLATE_SUBJECT_MAX)?;
    if contents.category.len() > limits::TEMPLATE_WORDS_MAX || contents.category.contains(char::is_control) {
        let words = format!("its category is one line of at most {} bytes", limits::TEMPLATE_WORDS_MAX);
        return Err(Fault::of(Part::Whole, words));
    }
    let (given, html) = (contents.text.as_deref(), contents.html.as_deref());
    if given.is_none() && html.is_none() {
        return Err(Fault::of(Part::Whole, "there is neither HTML nor text: give one of them"));
    }
    let sheet = html.filter(|_| !contents.keep_css).map(|html| Ok((html, found(Part::Html, html)?)));
    let sheet = sheet.transpose()?.map(|(html, tags)| inline::Sheet::of(html, &tags)).transpose();
    let sheet = sheet.map_err(|words| Fault::of(Part::Html, words))?;
    let of_html = html.map(|html| {
        let mut flavour = Flavour::new(partials, sheet.as_ref());
        flavour.part(Part::Html, HTML, html).map(|()| flavour)
    });
    let of_html = of_html.transpose()?;
    let mut plain = Flavour::new(partials, None);
    plain.is_html = false;
    plain.registry.register_escape_fn(no_escape);
    plain.part(Part::Subject, SUBJECT, &contents.subject)?;
    let made = match (given, html) {
        (None, Some(html)) => Some(text::of_html(html, &found(Part::Html, html)?)),
        _ => None,
    };
    if let Some(text) = given.or(made.as_deref()) {
        let told = |fault: Fault| match made {
            Some(_) => Fault::of(
                Part::Text,
                format!("what was made from the HTML cannot be used ({}): give a text", fault.words),
            ),
            None => fault,
        };
        plain.part(Part::Text, TEXT, text).map_err(told)?;
    }
    let size = plain.size + of_html.as_ref().map_or(0, |of_html| of_html.size);
    Ok(Compiled {
        has_text: given.or(made.as_deref()).is_some(),
        is_made: made.is_some(),
        html: of_html.map(|flavour| flavour.registry),
        plain: plain.registry,
        variables: contents.variables.clone(),
        category: contents.category.clone(),
        size,
    })
}

/// Checks a partial with those that it may call in turn; it is among them.
pub fn compile_partial(name: &str, partials: &Partials) -> Result<(), Fault> {
    let part = Part::Partial(name.to_owned());
    let Some(own) = partials.get(name).filter(|_| is_partial_name(name)) else {
        let words = "it is called by letters, digits, - and _, the first of them a letter";
        return Err(Fault::of(part, words));
    };
    if own.html.is_empty() && own.text.is_none() {
        return Err(Fault::of(part, "there is neither HTML nor text: give one of them"));
    }
    let calls = format!("{{{{> {name}}}}}");
    let mut html = Flavour::new(partials, None);
    html.part(part.clone(), HTML, &calls)?;
    let mut plain = Flavour::new(partials, None);
    plain.is_html = false;
    plain.part(part, TEXT, &calls)
}

fn sized(part: Part, source: &str, most: usize) -> Result<(), Fault> {
    if source.len() > most {
        return Err(Fault::of(part, format!("it has {} bytes, and may have {most}", source.len())));
    }
    Ok(())
}

/// The tags of a source.
fn found(part: Part, source: &str) -> Result<Vec<Tag>, Fault> {
    sized(part.clone(), source, limits::TEMPLATE_SOURCE_MAX)?;
    tags(source).map_err(|flaw| Fault::in_source(part, source, flaw))
}

/// Parts whose values are written in the same way.
struct Flavour<'a> {
    registry: Handlebars<'static>,
    partials: &'a Partials,
    sheet: Option<&'a inline::Sheet>,
    is_html: bool,
    /// Partials that are in it, and how many call each other from each on.
    heights: BTreeMap<String, usize>,
    size: usize,
}

impl<'a> Flavour<'a> {
    fn new(partials: &'a Partials, sheet: Option<&'a inline::Sheet>) -> Flavour<'a> {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        // The lines of a partial are as long as they are.
        registry.set_prevent_indent(true);
        registry.register_escape_fn(html_escape);
        for helper in ["log", "raw"] {
            registry.unregister_helper(helper);
        }
        Flavour { registry, partials, sheet, is_html: true, heights: BTreeMap::new(), size: 0 }
    }

    /// A part, and all that it calls.
    fn part(&mut self, part: Part, name: &str, source: &str) -> Result<(), Fault> {
        let calls = self.put(&part, name, source)?;
        calls.iter().try_for_each(|call| self.partial((&part, &[]), call).map(drop))
    }

    /// A partial that is called there, by those: how many call each other from it on. Whoever calls what calls it would never end.
    fn partial(&mut self, (from, by): (&Part, &[&str]), name: &str) -> Result<usize, Fault> {
        let no = |words: String| Err(Fault::of(from.clone(), words));
        if by.contains(&name) {
            let way: Vec<&str> = by.iter().copied().chain([name]).collect();
            let way = way.join(" > ");
            return no(format!("partials call each other in a circle, {way}: take one of the calls out"));
        }
        let (known, most) = (self.heights.get(name).copied(), limits::TEMPLATE_PARTIAL_DEPTH);
        if by.len() + known.unwrap_or(1) > most {
            return no(format!("partials call partials, more than {most} deep"));
        }
        if let Some(height) = known {
            return Ok(height);
        }
        let Some(partial) = self.partials.get(name) else {
            return no(format!("there is no partial {name}: save it first, or take {{{{> {name}}}}} out"));
        };
        if self.heights.len() >= limits::TEMPLATE_PARTIALS_MAX {
            return no(format!("it uses more than {} partials", limits::TEMPLATE_PARTIALS_MAX));
        }
        let part = Part::Partial(name.to_owned());
        let source = self.source(&part, partial)?;
        let calls = self.put(&part, name, &source)?;
        let by: Vec<&str> = by.iter().copied().chain([name]).collect();
        let mut height = 0;
        for call in &calls {
            height = height.max(self.partial((&part, &by), call)?);
        }
        self.heights.insert(name.to_owned(), height + 1);
        Ok(height + 1)
    }

    /// What a partial is in this form.
    fn source(&self, part: &Part, partial: &Partial) -> Result<String, Fault> {
        let html = found(part.clone(), &partial.html)?;
        Ok(match (self.is_html, &partial.text) {
            (true, _) => partial.html.clone(),
            (false, Some(text)) => text.clone(),
            (false, None) => text::of_html(&partial.html, &html),
        })
    }

    /// Has the parser read it. Which partials it calls.
    fn put(&mut self, part: &Part, name: &str, source: &str) -> Result<Vec<String>, Fault> {
        let tags = found(part.clone(), source)?;
        let inlined = self.sheet.map(|sheet| sheet.put_into(source, &tags)).transpose();
        let inlined = inlined.map_err(|words| Fault::of(part.clone(), words))?;
        let source = inlined.as_deref().unwrap_or(source);
        self.size += source.len();
        let parsed = self.registry.register_template_string(name, source);
        parsed.map_err(|error| check::unparsed(part.clone(), &error))?;
        let empty = Template::new();
        check::check(part, self.registry.get_template(name).unwrap_or(&empty))
    }
}
