//! What rendering will cost at the most, before it is begun: nothing ends it in the middle.
//!
//! Each element costs something, and the bytes that it handles; a loop costs its body as often as the longest list has items that is found under
//! the name it goes over, wherever that stands in the data; loops in it multiply that. A partial is a copy of what it is given, and what is put in beside that makes all
//! that follows larger. It is more than it takes, never less.

use handlebars::template::TemplateElement::{
    Comment, Expression, HelperBlock, HtmlExpression, PartialBlock, PartialExpression, RawString,
};
use handlebars::template::{BlockParam, DecoratorTemplate, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Handlebars, Path, PathSeg, Template};

use super::check::{PARTIAL_BLOCK, name_of, raw};
use super::data::{Measure, Measured};
use super::fault::{Fault, Part};
use crate::limits;

/// What a name means, as far as that is known without looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning<'a> {
    /// What is under this key.
    Key(&'a str),
    /// An item of what is under it.
    Item(&'a str),
    /// A number, a key, a yes or no.
    Small,
    /// Anything in the data.
    Any,
}

/// Where an element stands.
#[derive(Clone, Copy)]
struct Scope<'s, 'a> {
    /// What `this` is.
    here: Meaning<'a>,
    /// What the data has grown to by what partials were given.
    whole: Measure,
    /// Names of the block it stands in, and of those around it.
    names: Option<&'s Names<'s, 'a>>,
    /// What the block costs that a partial has around its call.
    block: u64,
}

/// A name that stands for something else than a key.
struct Names<'s, 'a> {
    name: &'a str,
    means: Meaning<'a>,
    around: Option<&'s Names<'s, 'a>>,
}

struct Estimate<'a> {
    registry: &'a Handlebars<'static>,
    data: &'a Measured<'a>,
    looks: u32,
}

/// Refuses what would take too long with this data; else about how many nanoseconds it takes at the most.
pub(super) fn weigh(
    part: &Part,
    (registry, template): (&Handlebars<'static>, &Template),
    data: &Measured<'_>,
) -> Result<u64, Fault> {
    let mut estimate = Estimate { registry, data, looks: limits::TEMPLATE_LOOKS_MAX };
    let scope = Scope { here: Meaning::Any, whole: data.whole, names: None, block: 0 };
    match estimate.template(template, scope) {
        Some(cost) if cost <= limits::TEMPLATE_WORK_MAX => Ok(cost),
        _ => {
            let words = "with this data it would take too long: its loops, within each other and in its partials, go over too much; shorten the lists, or loop less deeply";
            Err(Fault::of(part.clone(), words))
        }
    }
}

/// The cost, until it is too much.
type Cost = Option<u64>;

fn bounded(cost: u64) -> Cost {
    Some(cost).filter(|cost| *cost <= limits::TEMPLATE_WORK_MAX)
}

fn handled(bytes: u64) -> u64 {
    bytes.saturating_mul(limits::TEMPLATE_BYTES_COST)
}

impl<'a> Estimate<'a> {
    fn template(&mut self, template: &'a Template, scope: Scope<'_, 'a>) -> Cost {
        let mut sum = 0_u64;
        for element in &template.elements {
            self.looks = self.looks.checked_sub(1)?;
            let cost = self.element(element, scope)?;
            sum = bounded(sum.saturating_add(cost).saturating_add(limits::TEMPLATE_ELEMENT_COST))?;
        }
        Some(sum)
    }

    fn inner(&mut self, inner: &'a Option<Template>, scope: Scope<'_, 'a>) -> Cost {
        inner.as_ref().map_or(Some(0), |inner| self.template(inner, scope))
    }

    fn element(&mut self, element: &'a TemplateElement, scope: Scope<'_, 'a>) -> Cost {
        match element {
            RawString(text) => Some(text.len() as u64),
            Comment(_) => Some(0),
            Expression(of) | HtmlExpression(of) if of.params.is_empty() && of.hash.is_empty() => {
                let cost = match &of.name {
                    Parameter::Path(path) => handled(self.measure(self.meaning(path, scope), scope).bytes),
                    other => self.parameter(other, scope)?,
                };
                Some(cost)
            }
            Expression(of) | HtmlExpression(of) => self.call(of, scope),
            HelperBlock(of) => self.block(of, scope),
            PartialExpression(of) | PartialBlock(of) => self.partial(of, scope),
            _ => None,
        }
    }

    fn block(&mut self, of: &'a HelperTemplate, scope: Scope<'_, 'a>) -> Cost {
        let called = self.call(of, scope)?;
        let means = of.params.first().map_or(Meaning::Small, |first| self.meant(first, scope));
        let measure = self.measure(means, scope);
        let rest = self.inner(&of.inverse, scope)?;
        let (times, here) = match name_of(&of.name) {
            Some("each") => (measure.items, items_of(means)),
            Some("with") => (1, means),
            _ => {
                return bounded(called.saturating_add(rest).saturating_add(self.inner(&of.template, scope)?));
            }
        };
        let (first, second) = block_names(of);
        let second = Names { name: second, means: Meaning::Small, around: scope.names };
        let first = Names { name: first, means: here, around: Some(&second) };
        let body = self.inner(&of.template, Scope { here, names: Some(&first), ..scope })?;
        // What is no part of the data itself is copied, as a whole and item by item.
        let turns = times.saturating_mul(body.saturating_add(limits::TEMPLATE_TURN_COST));
        bounded(called.saturating_add(rest).saturating_add(handled(measure.bytes)).saturating_add(turns))
    }

    /// A helper: what it is given, each of which may be a copy, and what it gives.
    fn call(&mut self, of: &'a HelperTemplate, scope: Scope<'_, 'a>) -> Cost {
        let mut sum = limits::TEMPLATE_ELEMENT_COST;
        for parameter in of.params.iter().chain(of.hash.values()) {
            sum = bounded(sum.saturating_add(self.parameter(parameter, scope)?))?;
        }
        if name_of(&of.name) == Some("lookup") {
            sum = sum.saturating_add(handled(scope.whole.bytes));
        }
        bounded(sum)
    }

    fn parameter(&mut self, parameter: &'a Parameter, scope: Scope<'_, 'a>) -> Cost {
        self.looks = self.looks.checked_sub(1)?;
        match parameter {
            Parameter::Name(_) | Parameter::Literal(_) => Some(limits::TEMPLATE_ELEMENT_COST),
            Parameter::Path(path) => {
                let bytes = self.measure(self.meaning(path, scope), scope).bytes;
                Some(limits::TEMPLATE_ELEMENT_COST.saturating_add(handled(bytes)))
            }
            Parameter::Subexpression(inner) => match inner.as_element() {
                Expression(of) => self.call(of, scope),
                _ => None,
            },
            _ => None,
        }
    }

    fn partial(&mut self, of: &'a DecoratorTemplate, scope: Scope<'_, 'a>) -> Cost {
        let name = name_of(&of.name)?;
        let block = self.inner(&of.template, scope)?;
        if name == PARTIAL_BLOCK {
            return bounded(block.saturating_add(scope.block));
        }
        let mut given = 0_u64;
        let mut sum = limits::TEMPLATE_TURN_COST;
        for parameter in of.params.iter().chain(of.hash.values()) {
            sum = bounded(sum.saturating_add(self.parameter(parameter, scope)?))?;
        }
        for value in of.hash.values() {
            let means = self.meant(value, scope);
            given = given.saturating_add(self.measure(means, scope).bytes);
        }
        let here = of.params.first().map_or(scope.here, |first| self.meant(first, scope));
        let own = self.measure(here, scope).bytes;
        let (inner, copied) = if of.hash.is_empty() {
            (Scope { here, block, ..scope }, handled(own))
        } else {
            let more = own.saturating_add(given);
            let whole = Measure {
                bytes: scope.whole.bytes.saturating_add(more),
                items: scope.whole.items.saturating_add(more),
                item: scope.whole.item.saturating_add(more),
            };
            // What it is called by may be anything now, whatever is in the data under that name.
            let merged = own.saturating_mul(limits::TEMPLATE_MERGE_COST).saturating_add(handled(given));
            (Scope { here: Meaning::Any, whole, block, ..scope }, merged)
        };
        sum = bounded(sum.saturating_add(copied).saturating_add(block))?;
        let template = self.registry.get_template(name)?;
        self.of_given(of, template, inner).and_then(|cost| bounded(sum.saturating_add(cost)))
    }

    /// What a partial costs, in which the names that it is given mean anything.
    fn of_given(&mut self, of: &'a DecoratorTemplate, template: &'a Template, scope: Scope<'_, 'a>) -> Cost {
        let mut names: Vec<&'a str> = of.hash.keys().map(String::as_str).collect();
        self.named(&mut names, template, scope)
    }

    fn named(&mut self, names: &mut Vec<&'a str>, template: &'a Template, scope: Scope<'_, 'a>) -> Cost {
        match names.pop() {
            None => self.template(template, scope),
            Some(name) => {
                let given = Names { name, means: Meaning::Any, around: scope.names };
                self.named(names, template, Scope { names: Some(&given), ..scope })
            }
        }
    }

    /// What a value is of which only that is known.
    fn meant(&self, parameter: &'a Parameter, scope: Scope<'_, 'a>) -> Meaning<'a> {
        match parameter {
            Parameter::Path(path) => self.meaning(path, scope),
            Parameter::Name(_) => Meaning::Small,
            Parameter::Literal(value) if !(value.is_array() || value.is_object()) => Meaning::Small,
            Parameter::Subexpression(inner) if inner.name() != "lookup" => Meaning::Small,
            _ => Meaning::Any,
        }
    }

    fn meaning(&self, path: &'a Path, scope: Scope<'_, 'a>) -> Meaning<'a> {
        let Path::Relative((segments, _)) = path else { return Meaning::Small };
        let mut steps = segments.iter().filter_map(|segment| match segment {
            PathSeg::Named(name) => Some(name.as_str()),
            _ => None,
        });
        let is_plain = segments.iter().all(|segment| matches!(segment, PathSeg::Named(_)));
        let Some(first) = steps.next() else {
            return if is_plain && raw(path) != ".." { scope.here } else { Meaning::Any };
        };
        let last = steps.next_back();
        let key = last.unwrap_or(first);
        match (last, find(scope.names, key).filter(|_| !key.is_empty())) {
            (None, Some(means)) => means,
            // Something given has that name, somewhere.
            (Some(_), Some(Meaning::Any)) => Meaning::Any,
            // A number is a place in a list; nothing is `[]`.
            _ if key.bytes().all(|byte| byte.is_ascii_digit()) => Meaning::Any,
            _ => Meaning::Key(key),
        }
    }

    fn measure(&self, means: Meaning<'a>, scope: Scope<'_, 'a>) -> Measure {
        match means {
            Meaning::Key(key) => self.data.under(key),
            // A list of lists: what these have is not known by its name.
            Meaning::Item(key) => Measure {
                bytes: self.data.under(key).item,
                items: scope.whole.items.min(self.data.under(key).item),
                item: self.data.under(key).item,
            },
            Meaning::Small => Measure { bytes: self.data.longest, ..Measure::default() },
            Meaning::Any => scope.whole,
        }
    }
}

fn items_of(means: Meaning<'_>) -> Meaning<'_> {
    match means {
        Meaning::Key(key) | Meaning::Item(key) => Meaning::Item(key),
        Meaning::Small => Meaning::Small,
        Meaning::Any => Meaning::Any,
    }
}

fn find<'a>(names: Option<&Names<'_, 'a>>, name: &str) -> Option<Meaning<'a>> {
    let mut at = names;
    while let Some(one) = at {
        if one.name == name {
            return Some(one.means);
        }
        at = one.around;
    }
    None
}

fn text(name: &Parameter) -> &str {
    match name {
        Parameter::Name(name) => name,
        _ => "",
    }
}

/// Names that a block gives: of an item, and of its key.
fn block_names(of: &HelperTemplate) -> (&str, &str) {
    match &of.block_param {
        Some(BlockParam::Single(one)) => (text(one), ""),
        Some(BlockParam::Pair((one, two))) => (text(one), text(two)),
        _ => ("", ""),
    }
}
