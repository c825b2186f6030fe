//! TOML, JSON and Lua's tables as one kind of values, each key with its line.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};

use crate::import::ImportError;
use crate::import::words::quoted;
use crate::limits;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// A number, a date, `true`: as TOML has it.
    Plain(String),
    List(Vec<Value>),
    Table(Vec<Entry>),
    /// Code: nobody knows what it comes to.
    Code,
}

/// `key = value`
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub value: Value,
}

impl Value {
    /// As TOML, in one line.
    pub fn to_toml(&self) -> String {
        match self {
            Value::Text(text) => quoted(text),
            Value::Plain(text) => text.clone(),
            Value::Code => "…".to_owned(),
            Value::List(all) => {
                format!("[{}]", all.iter().map(Value::to_toml).collect::<Vec<_>>().join(", "))
            }
            Value::Table(all) => {
                let each: Vec<String> =
                    all.iter().map(|one| format!("{} = {}", key(&one.key), one.value.to_toml())).collect();
                if each.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", each.join(", ")) }
            }
        }
    }

    /// Its text, or number.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// What stands in it.
    pub fn table(&self) -> &[Entry] {
        match self {
            Value::Table(all) => all,
            _ => &[],
        }
    }

    /// Texts of a list, or the one that there is.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Value::List(all) => {
                all.iter().filter_map(Value::text).map(str::to_owned).take(limits::IMPORT_LIST_MAX).collect()
            }
            other => other.text().map(str::to_owned).into_iter().collect(),
        }
    }

    /// `true`
    pub fn is_true(&self) -> bool {
        *self == Value::Plain("true".to_owned())
    }
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// Reads a file by the end of its name.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<Entry>, ImportError> {
    let mut entries = match file.ends_with(".json") {
        true => {
            let value: serde_json::Value = serde_json::from_str(text)
                .map_err(|error| ImportError::new(file, error.line(), error.to_string()))?;
            let places = Places::of(text);
            match of_json(&value, &places, (0, 1)) {
                Value::Table(entries) => entries,
                _ => return Err(ImportError::new(file, 1, "it is no object")),
            }
        }
        false => {
            let lines = Lines::of(text);
            let table = DeTable::parse(text).map_err(|error| {
                let at = error.span().map_or(0, |span| span.start);
                ImportError::new(file, lines.line(at), error.message().to_owned())
            })?;
            of_table(table.get_ref(), &lines)
        }
    };
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    fn line(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at) + 1
    }
}

fn of_table(table: &DeTable<'_>, lines: &Lines) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            line: lines.line(key.span().start),
            value: of_toml(value.get_ref(), lines),
        })
        .collect();
    entries.sort_by_key(|entry| entry.line);
    entries
}

fn of_toml(value: &DeValue<'_>, lines: &Lines) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Plain(number.as_str().to_owned()),
        DeValue::Float(number) => Value::Plain(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Value::Plain(yes.to_string()),
        DeValue::Datetime(time) => Value::Plain(time.to_string()),
        DeValue::Array(all) => Value::List(all.iter().map(|one| of_toml(one.get_ref(), lines)).collect()),
        DeValue::Table(table) => Value::Table(of_table(table, lines)),
    }
}

/// Where texts stand in a file of JSON, as its reader does not say: each with its place and line.
struct Places(HashMap<String, Vec<(usize, usize)>>);

impl Places {
    fn of(text: &str) -> Places {
        let mut places: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        let (mut line, mut begin, mut escaped) = (1, None, false);
        for (at, byte) in text.bytes().enumerate() {
            match (byte, begin) {
                (b'"', Some((from, on))) if !escaped => {
                    places.entry(text[from..=at].to_owned()).or_default().push((from, on));
                    begin = None;
                }
                (b'"', None) => begin = Some((at, line)),
                (b'\n', _) => line += 1,
                _ => {}
            }
            escaped = byte == b'\\' && !escaped && begin.is_some();
        }
        Places(places)
    }

    /// The first one from a place on. Keys are read in the order of the alphabet, so that this may be the one of a sibling.
    fn find(&self, key: &str, from: (usize, usize)) -> (usize, usize) {
        let wanted = serde_json::Value::String(key.to_owned()).to_string();
        let all = self.0.get(&wanted).map(Vec::as_slice).unwrap_or_default();
        all.get(all.partition_point(|place| *place < from)).copied().unwrap_or(from)
    }
}

fn of_json(value: &serde_json::Value, places: &Places, from: (usize, usize)) -> Value {
    match value {
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Null => Value::Text(String::new()),
        serde_json::Value::Array(all) => {
            Value::List(all.iter().map(|one| of_json(one, places, from)).collect())
        }
        serde_json::Value::Object(all) => {
            let entry = |(key, value): (&String, &serde_json::Value)| {
                let place = places.find(key, from);
                Entry { key: key.clone(), line: place.1, value: of_json(value, places, place) }
            };
            Value::Table(all.iter().map(entry).collect())
        }
        plain => Value::Plain(plain.to_string()),
    }
}
