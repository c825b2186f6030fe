//! One shaping file: `["default"]`, `["example.com"]`, `[provider."name"]`, each with sources and rules.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, without_meaning};
use super::provider::{Match, MatchKind, canonical};
use super::reading::{FileLine, Findings, Reading};
use super::rule::{self, Rule};
use super::value::{self, Value};
use crate::config::literal::{Wrong, boolean, kind, quoted, text};
use crate::config::nearest::nearest;
use crate::limits;

/// What a file says, in the order of its lines.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// `["default"]`
    pub default: Option<Block>,
    /// `[provider."name"]`
    pub providers: Vec<Block>,
    /// `["example.com"]`
    pub domains: Vec<Block>,
}

/// One section with all below it.
#[derive(Clone, Debug)]
pub struct Block {
    /// The domain, in lower case; the provider.
    pub name: Box<str>,
    /// Where it begins.
    pub place: FileLine,
    /// `match`, of a provider.
    pub matches: Vec<Match>,
    /// `mx_rollup`, of a domain: it is said of all domains that lead to the same hosts. True unless said otherwise.
    pub mx_rollup: bool,
    /// `replace_base`: what earlier files say of it, and layers below, is forgotten.
    pub replace_base: bool,
    /// What it sets.
    pub settings: Vec<Setting>,
    /// `sources`: what it sets for one source.
    pub sources: Vec<(Box<str>, Vec<Setting>)>,
    /// `automation`
    pub rules: Vec<Arc<Rule>>,
}

/// A key that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub key: Key,
    /// To what.
    pub value: Value,
    /// In which line.
    pub place: FileLine,
}

/// What kind of section it is: which keys it may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SectionKind {
    Default,
    Domain,
    Provider,
    Source { provider: bool },
}

/// The name of [`shipped`] in what is printed.
pub const SHIPPED: &str = "(shipped)";

/// The file that comes with the relay.
pub fn shipped() -> File {
    // A fault in it does not pass the tests.
    File::read(include_str!("shaping.toml"), Path::new(SHIPPED)).0
}

impl File {
    /// Reads one. All that is wrong is told; what could be understood is there all the same.
    pub fn read(text: &str, file: &Path) -> (File, Findings) {
        let reading = Reading::new(text, file);
        let mut found = File::default();
        if text.len() as u64 > limits::SHAPING_FILE_MAX {
            let problem = format!("it has more than {} bytes", limits::SHAPING_FILE_MAX);
            reading.fail(0..0, "", problem, "split it in several files");
            return (found, reading.into_findings());
        }
        match DeTable::parse(text) {
            Ok(table) => found.sections(&reading, table.get_ref()),
            Err(error) => {
                let problem = format!("this is no TOML: {}", error.message().trim().replace('\n', ", "));
                reading.fail(error.span().unwrap_or(0..0), "", problem, "write it as docs/shaping.md shows");
            }
        }
        (found, reading.into_findings())
    }

    fn sections(&mut self, reading: &Reading<'_>, root: &DeTable<'_>) {
        for (name, key, value) in in_order(root) {
            let Some(table) = value.get_ref().as_table() else {
                let fix = if Key::named(name).is_some() {
                    "it belongs below a section, as [\"default\"]"
                } else {
                    "write sections: [\"default\"], [\"example.com\"], [provider.\"name\"]"
                };
                reading.fail(key, name, "this is no section", fix);
                continue;
            };
            match name {
                "default" => {
                    self.default =
                        Some(block(reading, name, "default", table, value.span(), SectionKind::Default));
                }
                "provider" => self.providers(reading, table),
                _ => {
                    let section = format!("\"{name}\"");
                    let name = canonical(name);
                    self.domains.push(block(
                        reading,
                        &name,
                        &section,
                        table,
                        value.span(),
                        SectionKind::Domain,
                    ));
                }
            }
        }
    }

    fn providers(&mut self, reading: &Reading<'_>, all: &DeTable<'_>) {
        for (name, key, value) in in_order(all) {
            let Some(table) = value.get_ref().as_table() else {
                reading.fail(
                    key,
                    &format!("provider.{name}"),
                    "this is no section",
                    "write [provider.\"name\"]",
                );
                continue;
            };
            let section = format!("provider.\"{name}\"");
            self.providers.push(block(reading, name, &section, table, value.span(), SectionKind::Provider));
        }
    }
}

/// The entries of a table as they follow each other in the file: key, where that stands, value.
fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<(&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)> {
    let mut all: Vec<_> = table.iter().map(|(key, value)| (&**key.get_ref(), key.span(), value)).collect();
    all.sort_by_key(|(_, span, _)| span.start);
    all
}

fn block(
    reading: &Reading<'_>,
    name: &str,
    section: &str,
    table: &DeTable<'_>,
    span: Range<usize>,
    of: SectionKind,
) -> Block {
    let mut block = Block {
        name: name.into(),
        place: reading.place(span.start),
        matches: Vec::new(),
        mx_rollup: true,
        replace_base: false,
        settings: Vec::new(),
        sources: Vec::new(),
        rules: Vec::new(),
    };
    let flag = |value, key| reading.value(value, section, key, boolean);
    for (key, at, value) in in_order(table) {
        match key {
            "replace_base" => block.replace_base = flag(value, key).unwrap_or_default(),
            "mx_rollup" if of == SectionKind::Domain => block.mx_rollup = flag(value, key).unwrap_or(true),
            "match" if of == SectionKind::Provider => block.matches = matches(reading, section, value),
            "automation" => {
                let provider = (of == SectionKind::Provider).then_some(name);
                block.rules = rules(reading, (section, provider), value);
            }
            "sources" => block.sources = sources(reading, section, value, of),
            _ => block.settings.extend(setting(reading, section, key, at, value, of)),
        }
    }
    block
}

/// A key that sets something. None: it is wrong or has no meaning here, and that is told.
fn setting(
    reading: &Reading<'_>,
    section: &str,
    name: &str,
    at: Range<usize>,
    value: &Spanned<DeValue<'_>>,
    of: SectionKind,
) -> Option<Setting> {
    let path = format!("{section}.{name}");
    let Some(key) = Key::named(name) else {
        match without_meaning(name) {
            Some(why) => {
                reading.warn(
                    value.span(),
                    &path,
                    format!("it has no meaning here: {why}"),
                    "leave it out; it changes nothing",
                );
            }
            None => {
                reading.fail(value.span(), &path, "unknown key", meant(reading, section, name, value, of))
            }
        }
        return None;
    };
    if key.is_of_providers() && !matches!(of, SectionKind::Provider | SectionKind::Source { provider: true })
    {
        let fix = "move it to [provider.\"name\"], or write connection_limit and max_message_rate here";
        reading.fail(value.span(), &path, "it is a limit of a whole provider", fix);
        return None;
    }
    let read = reading.value(value, section, name, |value| value::read(value, key.kind()))?;
    Some(Setting { key, value: read, place: reading.place(at.start) })
}

/// What to do about a key that nobody knows.
fn meant(
    reading: &Reading<'_>,
    section: &str,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    of: SectionKind,
) -> String {
    let own: &[&'static str] = match of {
        SectionKind::Source { .. } => &[],
        SectionKind::Default => &["automation", "sources", "replace_base"],
        SectionKind::Domain => &["automation", "sources", "replace_base", "mx_rollup"],
        SectionKind::Provider => &["automation", "sources", "replace_base", "match"],
    };
    if matches!(name, "mx_rollup" | "match" | "replace_base") && !own.contains(&name) {
        return if name == "match" {
            "move it to [provider.\"name\"]".to_owned()
        } else {
            "move it to the section of a domain, as [\"example.com\"]".to_owned()
        };
    }
    if matches!(name, "regex" | "trigger" | "action" | "duration" | "example" | "class" | "permanent") {
        return format!("it belongs in a rule, below [[{section}.automation]]");
    }
    if of == SectionKind::Domain && value.get_ref().is_table() {
        let whole = format!("{}.{name}", section.trim_matches('"'));
        return format!("a name with dots stands in quotes: write [{}]", quoted(&whole));
    }
    let known = Key::ALL.iter().map(|key| key.name()).chain(own.iter().copied());
    match nearest(name, known, 3) {
        Some(close) => format!("did you mean {close} = {}?", reading.excerpt(value.span())),
        None => "docs/shaping.md has the keys that there are".to_owned(),
    }
}

fn matches(reading: &Reading<'_>, section: &str, value: &Spanned<DeValue<'_>>) -> Vec<Match> {
    const SHAPE: &str = "[{MXSuffix = \".example.com\"}]";
    let Some(all) = value.get_ref().as_array() else {
        let wrong = |value: &DeValue<'_>| -> Result<(), Wrong> {
            Err(Wrong::write(format!("this is {}, not a list", kind(value)), SHAPE, ""))
        };
        reading.value(value, section, "match", wrong);
        return Vec::new();
    };
    if all.len() > limits::SHAPING_MATCHES_MAX {
        let problem = format!("there are more than {}", limits::SHAPING_MATCHES_MAX);
        reading.fail(value.span(), &format!("{section}.match"), problem, "write several providers");
        return Vec::new();
    }
    let entry = |one: &Spanned<DeValue<'_>>| {
        let (what, name) = reading.value(one, section, "match", |value| {
            let wrong =
                || Wrong::write("an entry has one of MXSuffix, DomainSuffix, HostName, Domain", SHAPE, "");
            let table = value.as_table().filter(|table| table.len() == 1).ok_or_else(wrong)?;
            let (word, name) = table.iter().next().ok_or_else(wrong)?;
            let known = MatchKind::ALL.iter().find(|(known, _)| known == word.get_ref());
            let (_, what) = known.ok_or_else(wrong)?;
            Ok((*what, text(name.get_ref(), ".example.com")?.to_owned()))
        })?;
        let found = Match::new(what, &name, reading.place(one.span().start));
        if let Some(why) = found.cannot_match() {
            let problem = format!("{what} = {} can match nothing: {why}", quoted(&name));
            let fix = "write how the names end, as in {MXSuffix = \".example.com\"}";
            reading.fail(one.span(), &format!("{section}.match"), problem, fix);
        }
        Some(found)
    };
    all.iter().filter_map(entry).collect()
}

fn sources(
    reading: &Reading<'_>,
    section: &str,
    value: &Spanned<DeValue<'_>>,
    of: SectionKind,
) -> Vec<(Box<str>, Vec<Setting>)> {
    let of = SectionKind::Source { provider: of == SectionKind::Provider };
    let path = format!("{section}.sources");
    let Some(all) = value.get_ref().as_table() else {
        reading.fail(value.span(), &path, "this is no section", format!("write [{path}.\"name\"]"));
        return Vec::new();
    };
    if all.len() > limits::SHAPING_SOURCES_MAX {
        let problem = format!("there are more than {}", limits::SHAPING_SOURCES_MAX);
        reading.fail(value.span(), &path, problem, "leave out those that differ in nothing");
        return Vec::new();
    }
    let mut sources = Vec::new();
    for (name, key, value) in in_order(all) {
        let path = format!("{path}.\"{name}\"");
        let Some(table) = value.get_ref().as_table() else {
            reading.fail(key, &path, "this is no section", format!("write [{path}] with its keys below"));
            continue;
        };
        let set = in_order(table).into_iter();
        let settings = set.filter_map(|(key, at, value)| setting(reading, &path, key, at, value, of));
        sources.push((name.into(), settings.collect()));
    }
    sources
}

fn rules(
    reading: &Reading<'_>,
    (section, provider): (&str, Option<&str>),
    value: &Spanned<DeValue<'_>>,
) -> Vec<Arc<Rule>> {
    let path = format!("{section}.automation");
    let tables = value.get_ref().as_array().map(|all| all.iter().collect::<Vec<_>>()).unwrap_or_default();
    if tables.is_empty() || tables.iter().any(|table| !table.get_ref().is_table()) {
        reading.fail(value.span(), &path, "this is a list of rules", format!("write each as [[{path}]]"));
        return Vec::new();
    }
    if tables.len() > limits::SHAPING_RULES_MAX {
        let problem = format!("there are more than {} rules", limits::SHAPING_RULES_MAX);
        reading.fail(value.span(), &path, problem, "write one for several texts: regex = [\"…\", \"…\"]");
        return Vec::new();
    }
    let read = |one: &Spanned<DeValue<'_>>| {
        let table = one.get_ref().as_table()?;
        rule::read(reading, (&path, provider), table, one.span()).map(Arc::new)
    };
    let rules: Vec<Arc<Rule>> = tables.into_iter().filter_map(read).collect();
    let patterns: usize = rules.iter().map(|rule| rule.patterns.len()).sum();
    if patterns > limits::SHAPING_PATTERNS_SECTION_MAX {
        let problem = format!("there are more than {} patterns", limits::SHAPING_PATTERNS_SECTION_MAX);
        reading.fail(value.span(), &path, problem, "put several texts in one pattern: a|b");
    }
    rules
}

#[cfg(test)]
mod tests;
