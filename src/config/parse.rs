//! TOML to [`Config`]: every error found at once, each with file, line, key, problem and fix.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::config::{
    BareNewlines, Config, Control, Delivery, DnsConfig, ListenerConfig, Network, Node, PrivateNetworks,
    Retry, RouteConfig, SpoolConfig, TlsFiles, shard, tuning, value,
};
use crate::limits;
use crate::mail::address;

/// One thing that is wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// The key, as in `listener[0].address`; empty when the file is no TOML.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: ", self.file.display(), self.line)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        write!(formatter, "{}; {}", self.problem, self.fix)
    }
}

/// The file being read, and what was found wrong in it.
struct Reader<'a> {
    text: &'a str,
    file: &'a Path,
    errors: RefCell<Vec<ConfigError>>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn fail(&self, at: usize, key: &str, problem: impl Into<String>, fix: impl Into<String>) {
        let line = self.line(at);
        self.errors.borrow_mut().push(ConfigError {
            file: self.file.to_owned(),
            line,
            key: on_one_line(key),
            problem: on_one_line(&problem.into()),
            fix: fix.into(),
        });
    }
}

/// What a file says may hold line ends and terminal controls; an error is one plain line.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}

/// One table; keys nobody asked for are errors when it is dropped out of use by [`Section::finish`].
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    table: Option<&'a DeTable<'a>>,
    path: String,
    at: usize,
    known: RefCell<BTreeSet<&'static str>>,
}

/// What is wrong with a value, and the fix.
pub(super) type Wrong = (String, String);

impl<'a> Section<'a> {
    fn new(reader: &'a Reader<'a>, table: Option<&'a DeTable<'a>>, path: String, at: usize) -> Section<'a> {
        Section { reader, table, path, at, known: RefCell::default() }
    }

    /// Where it stands: file, path as in `shard[0]`, and line.
    pub(super) fn place(&self) -> (PathBuf, String, usize) {
        (self.reader.file.to_owned(), self.path.clone(), self.reader.line(self.at))
    }

    /// The line of a key.
    pub(super) fn line(&self, key: &'static str) -> Option<usize> {
        self.get(key).map(|(_, at)| self.reader.line(at))
    }

    /// Says what is wrong with the whole of it.
    pub(super) fn fail(&self, key: &str, problem: &str, fix: &str) {
        self.reader.fail(self.at, &self.key(key), problem, fix);
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &'static str) -> Option<(&'a DeValue<'a>, usize)> {
        self.known.borrow_mut().insert(key);
        self.table?.get(key).map(|value| (value.get_ref(), value.span().start))
    }

    /// A value, read by `parse`; `default` where there is none or it is wrong.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&'a DeValue<'a>) -> Result<T, Wrong>,
    ) -> T {
        let Some((value, at)) = self.get(key) else { return default };
        match parse(value) {
            Ok(value) => value,
            Err((problem, fix)) => {
                self.reader.fail(at, &self.key(key), problem, fix);
                default
            }
        }
    }

    fn section(&self, key: &'static str) -> Section<'a> {
        let path = self.key(key);
        match self.get(key) {
            Some((DeValue::Table(table), at)) => Section::new(self.reader, Some(table), path, at),
            Some((_, at)) => {
                self.reader.fail(
                    at,
                    &path,
                    "this is a section",
                    format!("write it as [{path}] with its keys below"),
                );
                Section::new(self.reader, None, path, at)
            }
            None => Section::new(self.reader, None, path, 0),
        }
    }

    fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some((value, at)) = self.get(key) else { return Vec::new() };
        let tables = value.as_array().map(|array| array.iter().collect::<Vec<_>>()).unwrap_or_default();
        if tables.is_empty() || tables.iter().any(|table| !table.get_ref().is_table()) {
            self.reader.fail(
                at,
                key,
                "this is a list of sections",
                format!("write each as [[{key}]] with its keys below"),
            );
            return Vec::new();
        }
        let tables = tables.into_iter().enumerate();
        tables
            .map(|(number, table)| {
                let path = format!("{key}[{number}]");
                Section::new(self.reader, table.get_ref().as_table(), path, table.span().start)
            })
            .collect()
    }

    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            if known.contains(&**key.get_ref()) {
                continue;
            }
            let close = known.iter().find(|known| distance(known, key.get_ref()) <= 2);
            let fix = match close {
                Some(close) => format!("did you mean \"{close}\"?"),
                None => format!("known here: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            self.reader.fail(key.span().start, &self.key(key.get_ref()), "unknown key", fix);
        }
    }
}

/// Letters to change to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], place + 1);
        for (at, candidate) in other.iter().enumerate() {
            let change = corner + usize::from(letter != *candidate);
            corner = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

pub(super) fn text<'a>(value: &'a DeValue<'a>) -> Result<&'a str, Wrong> {
    value.as_str().ok_or_else(|| (format!("this is a {}", value.type_str()), "write it in quotes".to_owned()))
}

pub(super) fn parsed<T>(
    value: &DeValue<'_>,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, Wrong> {
    let words = text(value)?;
    parse(words).map_err(|fix| (format!("\"{words}\" cannot be understood"), fix.to_owned()))
}

pub(super) fn integer(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, Wrong> {
    let fix = || format!("write a number from {least} to {most}");
    let number = value.as_integer().filter(|number| number.radix() == 10);
    let number = number.ok_or_else(|| (format!("this is a {}", value.type_str()), fix()))?;
    let number: u64 =
        number.as_str().parse().map_err(|_| (format!("{} is no such number", number.as_str()), fix()))?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err((format!("{number} is out of range"), fix()))
    }
}

/// One of a few words.
fn word<T: Copy, const N: usize>(value: &DeValue<'_>, words: [(&'static str, T); N]) -> Result<T, Wrong> {
    let found = text(value)?;
    let known = words.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning);
    known.ok_or_else(|| {
        let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        (format!("\"{found}\" cannot be understood"), format!("write {}", all.join(" or ")))
    })
}

fn boolean(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value
        .as_bool()
        .ok_or_else(|| (format!("this is a {}", value.type_str()), "write true or false".to_owned()))
}

fn bytes(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, Wrong> {
    let size = if value.is_integer() { integer(value, 0, u64::MAX)? } else { parsed(value, value::size)? };
    if (least..=most).contains(&size) {
        Ok(size)
    } else {
        let range = format!("write a size from {} to {}", value::show_size(least), value::show_size(most));
        Err((format!("{} is out of range", value::show_size(size)), range))
    }
}

fn span(value: &DeValue<'_>, least: Duration) -> Result<Duration, Wrong> {
    let span = parsed(value, value::duration)?;
    if span >= least {
        Ok(span)
    } else {
        Err((
            format!("{} is too short", value::show_duration(span)),
            format!("write at least {}", value::show_duration(least)),
        ))
    }
}

pub(super) fn list<T>(
    value: &DeValue<'_>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, Wrong> {
    let array = value.as_array();
    let array = array.ok_or_else(|| {
        (format!("this is a {}", value.type_str()), "write a list: [\"…\", \"…\"]".to_owned())
    })?;
    array.iter().map(|value| parsed(value.get_ref(), &parse)).collect()
}

impl Config {
    /// Reads a configuration. All errors are reported, not only the first.
    pub fn parse(text: &str, file: &Path) -> Result<Config, Vec<ConfigError>> {
        let reader = Reader { text, file, errors: RefCell::default() };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let problem = error.message().trim().replace('\n', ", ");
                reader.fail(at, "", problem, "write valid TOML (see deploy/relevo.toml)");
                return Err(reader.errors.into_inner());
            }
        };
        let root = Section::new(&reader, Some(table.get_ref()), String::new(), 0);
        let config = read(&root);
        root.finish();
        let errors = reader.errors.take();
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// What an empty file means.
    pub fn embedded() -> Config {
        Config::parse("", Path::new("(built-in defaults)")).expect("an empty configuration is valid")
    }
}

fn read(root: &Section<'_>) -> Config {
    let auth = root.section("auth");
    let accounts = auth.read("accounts", None, |value| Ok(Some(PathBuf::from(text(value)?))));
    auth.finish();
    let log = root.section("log");
    let path = log.read("path", Some("/var/log/relevo/relevo.jsonl".into()), |value| {
        Ok(Some(text(value)?).filter(|path| *path != "-").map(PathBuf::from))
    });
    log.finish();
    let node = node(&root.section("node"));
    let listeners = listeners(root, accounts.is_some());
    let config = Config {
        node,
        shards: shard::read(&root.sections("shard"), &listeners),
        listeners,
        routes: routes(root),
        dns: dns(&root.section("dns")),
        delivery: delivery(&root.section("delivery")),
        retry: retry(&root.section("retry")),
        spool: spool(&root.section("spool")),
        accounts,
        log: path,
        control: control(&root.section("control")),
        tuning: tuning::read(&root.section("tuning")),
    };
    if config.node.shards > 0 && root.reader.errors.borrow().is_empty() {
        // Else only the start knows how many there are; and one wrong key should not look like several.
        root.reader.errors.borrow_mut().extend(config.judge_shards(config.node.shards, None));
    }
    config
}

fn node(section: &Section<'_>) -> Node {
    let hostname = section.read("hostname", host_name(), |value| {
        let name = text(value)?;
        if address::is_domain(name.as_bytes()) {
            Ok(name.to_owned())
        } else {
            Err((
                format!("\"{name}\" is no host name"),
                "write the name clients and next hops know: relay.example.net".to_owned(),
            ))
        }
    });
    let data_dir =
        section.read("data_dir", "/var/lib/relevo".into(), |value| Ok(PathBuf::from(text(value)?)));
    let shards = section.read("shards", 0, |value| integer(value, 0, limits::SHARDS_MAX as u64)) as usize;
    section.finish();
    Node { hostname, data_dir, shards }
}

/// The machine's own name, if it can be used.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if address::is_domain(name.as_bytes()) { name } else { "localhost".to_owned() }
}

/// Who may relay unless said otherwise: this machine.
fn loopback() -> Vec<Network> {
    ["127.0.0.0/8", "::1"].iter().filter_map(|network| value::network(network).ok()).collect()
}

fn listeners(root: &Section<'_>, accounts: bool) -> Vec<ListenerConfig> {
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    let sections = root.sections("listener");
    for section in &sections {
        let listener = listener(section, accounts);
        if listeners.iter().any(|other| other.address == listener.address && listener.address.port() != 0) {
            let problem = format!("{} is listened on twice", listener.address);
            section.reader.fail(
                section.at,
                &section.key("address"),
                problem,
                "give each listener its own address",
            );
        }
        listeners.push(listener);
    }
    if listeners.is_empty() {
        listeners.push(listener(&Section::new(root.reader, None, "listener[0]".to_owned(), 0), accounts));
    }
    listeners
}

fn listener(section: &Section<'_>, accounts: bool) -> ListenerConfig {
    let default = value::socket("127.0.0.1:2525", None).expect("a constant");
    let address = section.read("address", default, |value| parsed(value, |text| value::socket(text, None)));
    let relay_from = section.read("relay_from", loopback(), |value| list(value, value::network));
    let message_size_max = section.read("message_size_max", limits::MESSAGE_SIZE_DEFAULT, |value| {
        bytes(value, 64 * 1024, 2 * 1024 * 1024 * 1024)
    });
    let recipients_max = section.read("recipients_max", limits::RECIPIENTS_MAX as u64, |value| {
        integer(value, 100, limits::RECIPIENTS_MAX as u64)
    });
    let bare_newlines = section.read("bare_newlines", BareNewlines::Refuse, |value| {
        word(value, [("refuse", BareNewlines::Refuse), ("normalise", BareNewlines::Normalise)])
    });
    let connections_max = section.read("connections_max", limits::INBOUND_CONNECTIONS_MAX as u64, |value| {
        integer(value, 1, limits::INBOUND_CONNECTIONS_LIMIT)
    });
    let per_client = limits::CONNECTIONS_PER_CLIENT_DEFAULT;
    let connections_per_client = section.read("connections_per_client", per_client, |value| {
        integer(value, 1, limits::INBOUND_CONNECTIONS_LIMIT)
    });
    let certificate = section.read("tls_certificate", None, |value| Ok(Some(PathBuf::from(text(value)?))));
    let key = section.read("tls_key", None, |value| Ok(Some(PathBuf::from(text(value)?))));
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            section.reader.fail(
                section.at,
                &section.key("tls_key"),
                "the key of tls_certificate is missing",
                "add tls_key = \"/path/key.pem\"",
            );
            None
        }
        (None, Some(_)) => {
            section.reader.fail(
                section.at,
                &section.key("tls_certificate"),
                "the certificate of tls_key is missing",
                "add tls_certificate = \"/path/chain.pem\"",
            );
            None
        }
    };
    // Nobody could ever relay here: surely not what was meant.
    if relay_from.is_empty() && !(accounts && tls.is_some()) {
        section.reader.fail(
            section.at,
            &section.key("relay_from"),
            "nobody may relay here",
            "name networks, or set auth.accounts and a certificate so that accounts may",
        );
    }
    section.finish();
    ListenerConfig {
        address,
        relay_from,
        message_size_max,
        recipients_max: recipients_max as usize,
        tls,
        bare_newlines,
        connections_max: connections_max as usize,
        connections_per_client: connections_per_client as usize,
    }
}

fn routes(root: &Section<'_>) -> Vec<RouteConfig> {
    let mut routes: Vec<RouteConfig> = Vec::new();
    for section in root.sections("route") {
        let any = crate::config::DomainPattern::Any;
        let domain = section.read("domain", any, |value| parsed(value, value::pattern));
        let to = section.read("to", crate::config::RouteTarget::Mx, |value| parsed(value, value::target));
        for key in ["domain", "to"] {
            if section.table.is_some_and(|table| !table.contains_key(key)) {
                section.reader.fail(
                    section.at,
                    &section.key(key),
                    "this key is missing",
                    "a route needs domain and to",
                );
            }
        }
        if routes.iter().any(|other| other.domain == domain) {
            section.reader.fail(
                section.at,
                &section.key("domain"),
                "there is a route for this already",
                "remove one of the two",
            );
        }
        section.finish();
        routes.push(RouteConfig { domain, to });
    }
    routes
}

fn dns(section: &Section<'_>) -> DnsConfig {
    let servers =
        section.read("servers", Vec::new(), |value| list(value, |text| value::socket(text, Some(53))));
    let timeout =
        section.read("timeout", Duration::from_secs(5), |value| span(value, Duration::from_millis(100)));
    let attempts = section.read("attempts", 3, |value| integer(value, 1, 20));
    let hosts = section.read("hosts", Some("/etc/hosts".into()), |value| {
        Ok(Some(text(value)?).filter(|path| !path.is_empty()).map(PathBuf::from))
    });
    section.finish();
    DnsConfig { servers, timeout, attempts: attempts as u32, hosts, known: Arc::default() }
}

fn delivery(section: &Section<'_>) -> Delivery {
    let connections = limits::DESTINATION_CONNECTIONS_DEFAULT as u64;
    let connections =
        section.read("connections_per_destination", connections, |value| integer(value, 1, 10_000));
    let delivery = Delivery {
        connections_per_destination: connections as usize,
        connections_per_address: section
            .read("connections_per_address", connections, |value| integer(value, 1, 10_000))
            as usize,
        private_networks: section.read("private_networks", PrivateNetworks::Refuse, |value| {
            word(value, [("refuse", PrivateNetworks::Refuse), ("allow", PrivateNetworks::Allow)])
        }),
        messages_per_connection: section
            .read("messages_per_connection", 0, |value| integer(value, 0, 1_000_000))
            as usize,
        pipeline_messages: section.read("pipeline_messages", true, boolean),
        mx_port: section.read("mx_port", 25, |value| integer(value, 1, 65_535)) as u16,
        starttls: section.read("starttls", true, boolean),
        allow_loopback_mx: section.read("allow_loopback_mx", false, boolean),
    };
    section.finish();
    delivery
}

fn retry(section: &Section<'_>) -> Retry {
    let second = Duration::from_secs(1);
    let first = section.read("first", Duration::from_secs(60), |value| span(value, second));
    let factor = section.read("factor", 2.0, |value| {
        let text = value
            .as_float()
            .map(|float| float.as_str())
            .or(value.as_integer().map(|integer| integer.as_str()));
        let factor =
            text.and_then(|text| text.parse::<f64>().ok()).filter(|factor| (1.0..=100.0).contains(factor));
        factor.ok_or_else(|| ("not a factor".to_owned(), "write a number from 1.0 to 100.0".to_owned()))
    });
    let max = section.read("max", Duration::from_secs(7200), |value| span(value, second));
    let expire = section.read("expire", Duration::from_secs(432_000), |value| span(value, second));
    if max < first {
        let problem = format!(
            "max ({}) is shorter than first ({})",
            value::show_duration(max),
            value::show_duration(first)
        );
        section.reader.fail(section.at, &section.key("max"), problem, "make it at least as long");
    }
    section.finish();
    Retry { first, factor, max, expire }
}

fn spool(section: &Section<'_>) -> SpoolConfig {
    let segment_size = section.read("segment_size", limits::SEGMENT_SIZE_DEFAULT, |value| {
        let size = bytes(value, limits::SEGMENT_SIZE_MIN, limits::SEGMENT_SIZE_MAX)?;
        if size.is_multiple_of(limits::BLOCK) {
            Ok(size)
        } else {
            Err((format!("{size} is no multiple of 4096"), "write whole MiB".to_owned()))
        }
    });
    let size_max = section.read("size_max", 0, |value| bytes(value, 0, 1 << 50));
    if size_max != 0 && size_max < segment_size * 8 {
        let least = value::show_size(segment_size * 8);
        section.reader.fail(
            section.at,
            &section.key("size_max"),
            "too small to work with",
            format!("write at least {least}, or 0 for no bound"),
        );
    }
    section.finish();
    SpoolConfig { segment_size, size_max }
}

fn control(section: &Section<'_>) -> Control {
    let default = value::socket("127.0.0.1:8025", None).ok();
    let http = section.read("http", default, |value| {
        if text(value)?.is_empty() {
            Ok(None)
        } else {
            parsed(value, |text| value::socket(text, None)).map(Some)
        }
    });
    section.finish();
    Control { http }
}

#[cfg(test)]
mod tests;
