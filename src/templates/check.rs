//! What the parser found in a part, before it may be rendered: helpers that there are, partials that are called by name, and nothing that changes
//! what is rendered while it is.

use std::collections::HashMap;

use handlebars::Template;
use handlebars::template::TemplateElement::{
    self, Comment, DecoratorBlock, DecoratorExpression, Expression, HelperBlock, HtmlExpression,
    PartialBlock, PartialExpression, RawString,
};
use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter};
use handlebars::{Path, TemplateError};

use super::contents::is_partial_name;
use super::fault::{Fault, Part};

/// Helpers that open blocks, each with one parameter.
const BLOCKS: [&str; 4] = ["if", "unless", "each", "with"];
/// Helpers that give a value, in a tag, in a parenthesis or as a block, with the number of their parameters.
const VALUES: [(&str, usize); 11] = [
    ("lookup", 2),
    ("eq", 2),
    ("ne", 2),
    ("gt", 2),
    ("gte", 2),
    ("lt", 2),
    ("lte", 2),
    ("and", 2),
    ("or", 2),
    ("not", 1),
    ("len", 1),
];
/// What a partial calls to have what stands in its block.
pub(super) const PARTIAL_BLOCK: &str = "@partial-block";

/// What is known of a parameter without the data.
pub(super) fn raw(path: &Path) -> &str {
    match path {
        Path::Relative((_, raw)) | Path::Local((_, _, raw)) => raw,
    }
}

/// The name that a helper or a partial is called by. None: what it is is found out when it is rendered.
pub(super) fn name_of(name: &Parameter) -> Option<&str> {
    match name {
        Parameter::Name(name) => Some(name),
        Parameter::Path(path) => Some(raw(path)),
        _ => None,
    }
}

/// What the parser says.
pub(super) fn unparsed(part: Part, error: &TemplateError) -> Fault {
    let words = format!("{}: is a name or a quote in the tag amiss?", error.reason());
    let place = error.pos();
    Fault { part, place, words }
}

/// Checks a part; the partials that it calls, each once, in order.
pub(super) fn check(part: &Part, template: &Template) -> Result<Vec<String>, Fault> {
    let mut check = Check { part, partials: Vec::new() };
    check.template(template)?;
    Ok(check.partials)
}

struct Check<'a> {
    part: &'a Part,
    partials: Vec<String>,
}

type Checked = Result<(), String>;

fn no(words: impl Into<String>) -> Checked {
    Err(words.into())
}

impl Check<'_> {
    fn template(&mut self, template: &Template) -> Result<(), Fault> {
        for (element, at) in template.elements.iter().zip(&template.mapping) {
            self.element(element).map_err(|words| Fault::at(self.part.clone(), (at.0, at.1), words))?;
            let inner = match element {
                HelperBlock(of) | Expression(of) | HtmlExpression(of) => [&of.template, &of.inverse],
                PartialBlock(of) | PartialExpression(of) => [&of.template, &None],
                _ => [&None, &None],
            };
            inner.into_iter().flatten().try_for_each(|inner| self.template(inner))?;
        }
        Ok(())
    }

    fn element(&mut self, element: &TemplateElement) -> Checked {
        match element {
            RawString(_) | Comment(_) => Ok(()),
            Expression(of) | HtmlExpression(of) if of.params.is_empty() && of.hash.is_empty() => value(of),
            Expression(of) | HtmlExpression(of) => call(of),
            HelperBlock(of) => block(of),
            PartialExpression(of) | PartialBlock(of) => self.partial(of),
            DecoratorExpression(_) | DecoratorBlock(_) => no("inline partials are not known here"),
            _ => no("this is not known here"),
        }
    }

    fn partial(&mut self, of: &DecoratorTemplate) -> Checked {
        let Some(name) = name_of(&of.name) else {
            return no("a partial is called by its name: write {{> NAME}}");
        };
        of.params.iter().chain(of.hash.values()).try_for_each(parameter)?;
        if of.params.len() > 1 {
            return no(format!(
                "{{{{> {name}}}}} takes one value, and names with =: {{{{> {name} order title=\"Hello\"}}}}"
            ));
        }
        if name == PARTIAL_BLOCK {
            return Ok(());
        }
        if !is_partial_name(name) {
            return no(format!("{name} is no name of a partial: letters, digits, - and _ are"));
        }
        if !self.partials.iter().any(|known| known == name) {
            self.partials.push(name.to_owned());
        }
        Ok(())
    }
}

/// `{{name}}`
fn value(of: &HelperTemplate) -> Checked {
    let Some(name) = name_of(&of.name) else { return parameter(&of.name) };
    if is_helper(name) {
        return no(format!("{name} is a helper, and no variable can be called so: {}", usage(name)));
    }
    Ok(())
}

/// `{{helper …}}`, or the same in parentheses.
fn call(of: &HelperTemplate) -> Checked {
    let name = name_of(&of.name).ok_or("a helper is called by its name")?;
    if BLOCKS.contains(&name) {
        return no(format!("{name} opens a block: {}", usage(name)));
    }
    known(name)?;
    parameters(name, &of.params, &of.hash)
}

/// `{{#helper …}}`
fn block(of: &HelperTemplate) -> Checked {
    let name = name_of(&of.name).ok_or("a helper is called by its name")?;
    if ["lookup", "len"].contains(&name) {
        return no(format!("{name} is no block: {}", usage(name)));
    }
    if !is_helper(name) {
        let words = format!(
            "there is no helper {name}: for a list write {{{{#each {name}}}}}, to ask whether it is there {{{{#if {name}}}}}"
        );
        return no(words);
    }
    parameters(name, &of.params, &of.hash)
}

fn is_helper(name: &str) -> bool {
    BLOCKS.contains(&name) || VALUES.iter().any(|(known, _)| *known == name)
}

fn known(name: &str) -> Checked {
    if is_helper(name) {
        return Ok(());
    }
    let all: Vec<&str> = BLOCKS.into_iter().chain(VALUES.iter().map(|(name, _)| *name)).collect();
    no(format!("there is no helper {name}: there are {}", all.join(", ")))
}

fn usage(name: &str) -> String {
    match VALUES.iter().find(|(known, _)| *known == name) {
        Some(("lookup", _)) => "write {{lookup LIST NUMBER}}".to_owned(),
        Some(("len", _)) => "write {{len LIST}}".to_owned(),
        Some((_, 1)) => format!("write {{{{#if ({name} VALUE)}}}}…{{{{/if}}}}"),
        Some(_) => format!("write {{{{#if ({name} VALUE VALUE)}}}}…{{{{/if}}}}"),
        None => format!("write {{{{#{name} NAME}}}}…{{{{/{name}}}}}"),
    }
}

fn parameters(name: &str, given: &[Parameter], named: &HashMap<String, Parameter>) -> Checked {
    let wanted = VALUES.iter().find(|(known, _)| *known == name).map_or(1, |(_, wanted)| *wanted);
    // `and` and `or` take any number.
    let is_right = given.len() == wanted || (given.len() > wanted && ["and", "or"].contains(&name));
    if !is_right {
        return no(format!("{name} takes {wanted}, and here are {}: {}", given.len(), usage(name)));
    }
    if let Some(key) = named.keys().find(|key| *key != "includeZero" || !["if", "unless"].contains(&name)) {
        return no(format!("{name} knows no {key}="));
    }
    given.iter().chain(named.values()).try_for_each(parameter)
}

fn parameter(of: &Parameter) -> Checked {
    match of {
        // Its length would be in no data.
        Parameter::Literal(value) if value.is_array() || value.is_object() => {
            no("a list cannot be written in a tag: put it in the data, or in the default of a variable")
        }
        Parameter::Name(_) | Parameter::Path(_) | Parameter::Literal(_) => Ok(()),
        Parameter::Subexpression(inner) => match inner.as_element() {
            Expression(of) if !(of.params.is_empty() && of.hash.is_empty()) => call(of),
            _ => no("parentheses hold a helper and its values: (eq plan \"pro\")"),
        },
        _ => no("this is not known here"),
    }
}
