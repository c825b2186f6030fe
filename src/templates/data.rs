//! What a template is rendered with: bounded, and measured by its keys, as loops name them.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::contents::{Contents, Variable};
use super::fault::{Fault, Part};
use crate::limits;

/// The most that is found under a key, wherever it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes of it, all in it included.
    pub bytes: u64,
    /// Its items.
    pub items: u64,
    /// Bytes of the largest of these.
    pub item: u64,
}

impl Measure {
    fn or_more(&mut self, other: Measure) {
        self.bytes = self.bytes.max(other.bytes);
        self.items = self.items.max(other.items);
        self.item = self.item.max(other.item);
    }
}

/// All of the data.
#[derive(Debug, Default)]
pub(super) struct Measured<'a> {
    /// The whole, with the most items that something in it has.
    pub whole: Measure,
    /// The longest text, key or number.
    pub longest: u64,
    by_key: HashMap<&'a str, Measure>,
    values: u64,
}

impl<'a> Measured<'a> {
    /// Measures it, where it is not too much.
    pub(super) fn of(data: &'a Map<String, Value>) -> Result<Measured<'a>, Fault> {
        let mut measured = Measured::default();
        let own = measured.object(data, 1)?;
        measured.whole.or_more(Measure { item: own.bytes, ..own });
        if own.bytes > limits::TEMPLATE_DATA_BYTES {
            return Err(too_much(&format!("{} bytes", own.bytes), limits::TEMPLATE_DATA_BYTES));
        }
        Ok(measured)
    }

    /// The most under a key. Nothing: there is no such key.
    pub(super) fn under(&self, key: &str) -> Measure {
        self.by_key.get(key).copied().unwrap_or_default()
    }

    fn value(&mut self, value: &'a Value, depth: usize) -> Result<Measure, Fault> {
        self.values += 1;
        if self.values > limits::TEMPLATE_DATA_VALUES {
            return Err(too_much("more values", limits::TEMPLATE_DATA_VALUES));
        }
        if depth > limits::TEMPLATE_DATA_DEPTH {
            let most = limits::TEMPLATE_DATA_DEPTH;
            return Err(Fault::of(
                Part::Data,
                format!("lists and objects within each other, more than {most}"),
            ));
        }
        let found = match value {
            Value::String(text) => self.text(text.len()),
            Value::Number(_) | Value::Bool(_) | Value::Null => self.text(0),
            Value::Object(object) => self.object(object, depth)?,
            Value::Array(list) => {
                let mut sum = Measure { items: list.len() as u64, ..self.text(0) };
                for item in list {
                    let item = self.value(item, depth + 1)?.bytes;
                    sum = Measure { bytes: sum.bytes + item, item: sum.item.max(item), ..sum };
                }
                sum
            }
        };
        self.whole.items = self.whole.items.max(found.items);
        Ok(found)
    }

    fn object(&mut self, object: &'a Map<String, Value>, depth: usize) -> Result<Measure, Fault> {
        let mut sum = Measure { items: object.len() as u64, ..self.text(0) };
        for (key, value) in object {
            let found = self.value(value, depth + 1)?;
            self.by_key.entry(key).or_default().or_more(found);
            let key = self.text(key.len()).bytes;
            sum = Measure { bytes: sum.bytes + key + found.bytes, item: sum.item.max(found.bytes), ..sum };
        }
        self.whole.items = self.whole.items.max(sum.items);
        Ok(sum)
    }

    fn text(&mut self, length: usize) -> Measure {
        let bytes = length as u64 + limits::TEMPLATE_VALUE_BYTES;
        self.longest = self.longest.max(bytes);
        Measure { bytes, ..Measure::default() }
    }
}

fn too_much(what: &str, most: u64) -> Fault {
    Fault::of(Part::Data, format!("{what} than the {most} that there may be"))
}

/// The data, with what is declared where it says nothing. An error: a variable that it must have is not there.
pub(super) fn with_defaults(
    variables: &[Variable],
    mut data: Map<String, Value>,
) -> Result<Map<String, Value>, Fault> {
    for variable in variables {
        if data.contains_key(&variable.name) {
            continue;
        }
        let Some(default) = &variable.default else {
            let words = format!("{} is not there, and has no default: give it", variable.name);
            return Err(Fault::of(Part::Data, words));
        };
        data.insert(variable.name.clone(), default.clone());
    }
    Ok(data)
}

/// Checks what a template declares.
pub(super) fn check_declared(contents: &Contents) -> Result<(), Fault> {
    let Contents { variables, sample, .. } = contents;
    let bad = |words: String| Err(Fault::of(Part::Whole, words));
    if variables.len() > limits::TEMPLATE_VARIABLES_MAX {
        return bad(format!("more variables are declared than {}", limits::TEMPLATE_VARIABLES_MAX));
    }
    for (place, variable) in variables.iter().enumerate() {
        let name = &variable.name;
        if name.is_empty()
            || name.len() > limits::TEMPLATE_WORDS_MAX
            || variable.help.len() > limits::TEMPLATE_SOURCE_MAX
        {
            return bad(format!("the name of variable {} is empty or too long", place + 1));
        }
        if variables[..place].iter().any(|before| before.name == *name) {
            return bad(format!("the variable {name} is declared twice"));
        }
    }
    let defaults = variables.iter().filter_map(|of| Some((of.name.clone(), of.default.clone()?)));
    Measured::of(&defaults.collect()).map(drop)?;
    Measured::of(sample).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn what_is_under_a_key_is_the_most_that_is_anywhere() {
        let data = object(json!({ "orders": [{ "lines": [1, 2] }, { "lines": [1, 2, 3, 4] }], "lines": [] }));
        let measured = Measured::of(&data).unwrap();
        assert_eq!((measured.under("orders").items, measured.under("lines").items), (2, 4));
        assert_eq!(measured.under("constructor"), Measure::default());
        assert_eq!(measured.whole.items, 4);
        assert!(measured.under("orders").item >= measured.under("lines").bytes);
        assert!(measured.whole.bytes > measured.under("orders").bytes);
    }

    #[test]
    fn too_much_of_it_is_refused() {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        let many = json!(vec![0; 30_000]);
        let long = json!("x".repeat(600_000));
        for (value, words) in [(deep, "within each other"), (many, "more values"), (long, "bytes")] {
            let data = object(json!({ "a": value }));
            let fault = Measured::of(&data).unwrap_err();
            assert!(fault.words.contains(words), "{fault}");
        }
    }

    #[test]
    fn what_is_declared_fills_in() {
        let variables = [
            Variable { name: "name".to_owned(), default: Some(json!("you")), ..Variable::default() },
            Variable { name: "link".to_owned(), ..Variable::default() },
        ];
        let filled = with_defaults(&variables, object(json!({ "link": "x" }))).unwrap();
        assert_eq!(Value::Object(filled), json!({ "link": "x", "name": "you" }));
        let missing = with_defaults(&variables, Map::new()).unwrap_err();
        assert_eq!(missing.to_string(), "data: link is not there, and has no default: give it");
    }
}
