//! What a log has of each event: fields of JSON, or columns.

use toml::de::DeValue;

use crate::config::literal::{Wrong, list};
use crate::config::nearest::nearest;
use crate::config::value::BadValue;
use crate::names::columns::{EVENT, KUMO, PMTA, PMTA_OWN};

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// As they are, by docs/events.schema.json.
    #[default]
    Json,
    /// As PowerMTA's accounting files.
    PmtaCsv,
    /// As KumoMTA's logs.
    KumoJson,
}

/// As PowerMTA's record-fields: `*` is all that the format has, `!name` is not that one.
pub(super) fn read(value: &DeValue<'_>, format: LogFormat) -> Result<Option<Vec<&'static str>>, Wrong> {
    let (usual, parse, meant): (_, Parse, Guess) = match format {
        LogFormat::Json => ("recipients", |word| one(word, &[&EVENT]), |word| near(word, &[&EVENT])),
        LogFormat::PmtaCsv => {
            ("rcpt", |word| one(word, &[&PMTA, &PMTA_OWN]), |word| near(word, &[&PMTA, &PMTA_OWN]))
        }
        LogFormat::KumoJson => ("recipient", |word| one(word, &[&KUMO]), |word| near(word, &[&KUMO])),
    };
    let all: &[&'static str] = match format {
        LogFormat::Json => &EVENT,
        LogFormat::PmtaCsv => &PMTA,
        LogFormat::KumoJson => &KUMO,
    };
    let mut fields: Vec<&'static str> = Vec::new();
    for word in list(value, parse, meant, usual)? {
        match word {
            Word::All => fields.extend_from_slice(all),
            Word::Not(name) => {
                let before = fields.len();
                fields.retain(|field| *field != name);
                if fields.len() == before {
                    let problem = format!("\"!{name}\" takes away what does not stand before it");
                    return Err(Wrong::act(problem, "put it behind \"*\", or remove it"));
                }
            }
            Word::One(name) => fields.push(name),
        }
    }
    if fields.is_empty() {
        return Err(Wrong::act("nothing is written of each event", "name some, or remove this key for all"));
    }
    let twice = fields.iter().enumerate().find(|(at, field)| fields[..*at].contains(field));
    if let Some((_, field)) = twice {
        return Err(Wrong::act(format!("{field} stands there twice"), "remove one of them"));
    }
    Ok(Some(fields))
}

type Parse = fn(&str) -> Result<Word, BadValue>;
type Guess = fn(&str) -> Option<String>;

enum Word {
    All,
    One(&'static str),
    Not(&'static str),
}

fn one(word: &str, known: &[&[&'static str]]) -> Result<Word, BadValue> {
    if word == "*" {
        return Ok(Word::All);
    }
    let (name, is_not) = word.strip_prefix('!').map_or((word, false), |name| (name, true));
    let found = known.iter().copied().flatten().find(|field| **field == name).copied();
    let found = found
        .ok_or(BadValue::Syntax("fields of this format as docs/formats.md names them, \"*\" or \"!name\""))?;
    Ok(if is_not { Word::Not(found) } else { Word::One(found) })
}

fn near(word: &str, known: &[&[&'static str]]) -> Option<String> {
    let (name, not) = word.strip_prefix('!').map_or((word, ""), |name| (name, "!"));
    let found = nearest(name, known.iter().copied().flatten().copied(), 3)?;
    Some(format!("{not}{found}"))
}
