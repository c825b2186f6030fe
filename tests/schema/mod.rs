//! docs/events.schema.json, and whether an event fits it. Of JSON Schema it knows what that file uses; a word that it does not know
//! fails, so that nothing in the file is there for show.

use std::collections::HashMap;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

/// Words that check nothing.
const NOTES: [&str; 4] = ["$schema", "title", "description", "$defs"];

/// The published schema.
pub struct Schema {
    /// The file.
    pub whole: Value,
    patterns: HashMap<String, Regex>,
}

impl Schema {
    /// As it is in docs.
    pub fn published() -> &'static Schema {
        static PUBLISHED: OnceLock<Schema> = OnceLock::new();
        PUBLISHED.get_or_init(Schema::read)
    }

    fn read() -> Schema {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let whole = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut patterns = HashMap::new();
        compile(&whole, &mut patterns);
        Schema { whole, patterns }
    }

    /// What is wrong with an event; nothing is.
    pub fn wrong(&self, event: &Value) -> Vec<String> {
        self.check(&self.whole, event, "")
    }

    fn check(&self, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for (word, want) in schema.as_object().expect("a schema is an object") {
            match self.fits(word, want, value) {
                Some(true) => {}
                Some(false) => wrong.push(format!("{place}: {value} is not as {word} {want} wants it")),
                None => wrong.extend(self.parts(schema, word, value, place)),
            }
        }
        wrong
    }

    /// Whether a value is as a word wants it that speaks of the value as a whole.
    fn fits(&self, word: &str, want: &Value, value: &Value) -> Option<bool> {
        Some(match word {
            word if NOTES.contains(&word) => true,
            "type" => match want.as_str().expect("one type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                other => panic!("the type {other} is not known here"),
            },
            "const" => value == want,
            "enum" => want.as_array().expect("values").contains(value),
            "pattern" => {
                let pattern = &self.patterns[want.as_str().expect("a pattern")];
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "minimum" => value.as_f64().is_none_or(|number| number >= want.as_f64().expect("a number")),
            "minItems" => {
                value.as_array().is_none_or(|all| all.len() as u64 >= want.as_u64().expect("a number"))
            }
            "maxItems" => {
                value.as_array().is_none_or(|all| all.len() as u64 <= want.as_u64().expect("a number"))
            }
            "required" => {
                let mut names = want.as_array().expect("names").iter().filter_map(Value::as_str);
                value.as_object().is_none_or(|fields| names.all(|name| fields.contains_key(name)))
            }
            _ => return None,
        })
    }

    /// What is wrong with the parts of a value that a word speaks of.
    fn parts(&self, schema: &Value, word: &str, value: &Value, place: &str) -> Vec<String> {
        let want = &schema[word];
        let fields = || value.as_object().into_iter().flatten();
        match word {
            "additionalProperties" => {
                assert_eq!(want, false);
                let unknown = fields().filter(|(name, _)| schema["properties"].get(name).is_none());
                unknown.map(|(name, _)| format!("{place}: {name} is no field of it")).collect()
            }
            "properties" => fields()
                .filter_map(|(name, value)| Some((name, want.get(name)?, value)))
                .flat_map(|(name, want, value)| self.check(want, value, &format!("{place}/{name}")))
                .collect(),
            "items" => {
                let all = value.as_array().into_iter().flatten().enumerate();
                all.flat_map(|(at, value)| self.check(want, value, &format!("{place}/{at}"))).collect()
            }
            "$ref" => {
                let to = want.as_str().and_then(|to| to.strip_prefix('#')).expect("a place in this file");
                self.check(self.whole.pointer(to).expect("it is there"), value, place)
            }
            "oneOf" => {
                // Those of other events are not of interest.
                let all = want.as_array().expect("schemas").iter();
                let all = all.filter(|one| self.event_of(one) == &value["event"]);
                let all: Vec<_> = all.map(|one| self.check(one, value, place)).collect();
                if all.iter().filter(|wrong| wrong.is_empty()).count() == 1 {
                    return Vec::new();
                }
                // What came closest says most.
                let mut wrong = all.into_iter().min_by_key(Vec::len).unwrap_or_default();
                wrong.push(format!("{place}: it is not of one kind"));
                wrong
            }
            other => panic!("{other} is not known here"),
        }
    }

    /// The event that one of `oneOf` is for.
    fn event_of(&self, one: &Value) -> &Value {
        let kind = one["$ref"].as_str().and_then(|to| self.whole.pointer(to.strip_prefix('#')?));
        &kind.expect("a kind is in $defs")["properties"]["event"]["const"]
    }
}

fn compile(schema: &Value, patterns: &mut HashMap<String, Regex>) {
    for (word, value) in schema.as_object().into_iter().flatten() {
        match value.as_str().filter(|_| word == "pattern") {
            Some(text) => drop(patterns.insert(text.to_owned(), Regex::new(text).expect("a pattern"))),
            None => compile(value, patterns),
        }
    }
}
