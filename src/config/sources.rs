//! `[[source]]` and `[[pool]]`: the identities that mail leaves by, and which of them share it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::de::{DeTable, DeValue};

use crate::config::literal::{Fix, Wrong, integer, kind, quoted, text};
use crate::config::nearest::nearest;
use crate::config::section::Section;
use crate::config::value::{self, MAPPED, NOBODYS, is_mapped, is_nobodys};
use crate::limits;
use crate::mail::address::international;

/// `[[source]]`: one identity that mail leaves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// What it is called.
    pub name: Box<str>,
    /// Connections over IPv4 come from here; or from the proxy, which is told so.
    pub address: Option<Ipv4Addr>,
    /// Those over IPv6.
    pub address6: Option<Ipv6Addr>,
    /// The name in EHLO; None: the node's.
    pub ehlo: Option<Box<str>>,
    /// What connections go through.
    pub proxy: Option<Proxy>,
}

impl SourceConfig {
    /// The address for connections to this one; None: it has none of that kind.
    pub fn towards(&self, to: IpAddr) -> Option<IpAddr> {
        match to {
            IpAddr::V4(_) => self.address.map(IpAddr::V4),
            IpAddr::V6(_) => self.address6.map(IpAddr::V6),
        }
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.address.map(IpAddr::V4).into_iter().chain(self.address6.map(IpAddr::V6))
    }
}

/// What is spoken with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS5 (RFC 1928).
    Socks5,
    /// A header of the PROXY protocol, version 2, that says from where to where.
    Haproxy,
}

impl ProxyKind {
    const ALL: [ProxyKind; 2] = [ProxyKind::Socks5, ProxyKind::Haproxy];

    fn name(self) -> &'static str {
        match self {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Haproxy => "haproxy",
        }
    }
}

/// `proxy` of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// What is spoken with it.
    pub kind: ProxyKind,
    /// Where it is.
    pub at: SocketAddr,
    /// Who we are there (RFC 1929).
    pub login: Option<Login>,
}

impl fmt::Display for Proxy {
    /// As it is written, without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.kind.name(), self.at)
    }
}

/// A user of a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub user: Box<str>,
    /// And password.
    pub password: Box<str>,
}

impl fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Login({})", self.user)
    }
}

/// `[[pool]]`: sources that share mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// What it is called.
    pub name: Box<str>,
    /// Its sources, by their places in [`sources`](super::Config::sources), each with its share.
    pub members: Vec<(usize, u16)>,
}

/// Reads every `[[source]]`.
pub(super) fn sources(root: &Section<'_>) -> Vec<SourceConfig> {
    let sections = root.sections("source");
    too_many(&sections, limits::SOURCES_MAX, "sources");
    let mut sources: Vec<SourceConfig> = Vec::new();
    for section in sections.iter().take(limits::SOURCES_MAX) {
        let name = name_of(section, "ip1", |name| {
            let taken = sources.iter().any(|other| *other.name == *name);
            taken.then(|| "there is a source of this name already".to_owned())
        });
        let proxy = section.read("proxy", None, proxy);
        let source = SourceConfig {
            name: name.unwrap_or_default(),
            address: section.read("address", None, own_address::<Ipv4Addr>),
            address6: section.read("address6", None, own_address::<Ipv6Addr>),
            ehlo: section.read("ehlo", None, ehlo),
            proxy,
        };
        section.finish();
        let by_header = source.proxy.as_ref().is_some_and(|proxy| proxy.kind == ProxyKind::Haproxy);
        if by_header && source.addresses().next().is_none() {
            let fix = Fix::Write(quoted("192.0.2.1"), ", an address of the proxy's machine".to_owned());
            section.fail("address", "proxy", "an haproxy is told by which of its addresses to connect", fix);
        }
        // Also where its name is wrong: pools know their sources by their places.
        sources.push(source);
    }
    sources
}

/// Reads every `[[pool]]`.
pub(super) fn pools(root: &Section<'_>, sources: &[SourceConfig]) -> Vec<PoolConfig> {
    let sections = root.sections("pool");
    too_many(&sections, limits::POOLS_MAX, "pools");
    let mut pools: Vec<PoolConfig> = Vec::new();
    for section in sections.iter().take(limits::POOLS_MAX) {
        let name = name_of(section, "bulk", |name| {
            let pool = pools.iter().any(|other| *other.name == *name);
            let source = sources.iter().any(|source| *source.name == *name);
            (pool || source)
                .then(|| format!("there is a {} of this name already", if pool { "pool" } else { "source" }))
        });
        let members = section.read("sources", Vec::new(), |value| members(value, sources));
        if section.lacks("sources") {
            let usual = sources.first().map_or("ip1", |source| &source.name);
            let fix = Fix::Write(format!("[{}]", quoted(usual)), "; a pool has sources".to_owned());
            section.fail("sources", "", "this key is missing", fix);
        }
        section.finish();
        pools.extend(name.map(|name| PoolConfig { name, members }));
    }
    pools
}

/// `pool` of `[delivery]`, which names one of these; empty: none.
pub(super) fn default_pool(
    value: &DeValue<'_>,
    (sources, pools): (&[SourceConfig], &[PoolConfig]),
) -> Result<Option<Box<str>>, Wrong> {
    let wanted = text(value, "")?;
    let names = || pools.iter().map(|pool| &*pool.name).chain(sources.iter().map(|source| &*source.name));
    if wanted.is_empty() || names().any(|name| name == wanted) {
        return Ok(Some(wanted).filter(|name| !name.is_empty()).map(Into::into));
    }
    let close = nearest(wanted, names(), 2).or(names().next()).unwrap_or_default();
    let problem = format!("no [[pool]] and no [[source]] is called {}", quoted(wanted));
    Err(Wrong::write(problem, quoted(close), ", or \"\" for the node's own addresses"))
}

fn too_many(sections: &[Section<'_>], most: usize, what: &str) {
    if let Some(first) = sections.get(most) {
        let fix = Fix::Do("leave out those that no mail goes by".to_owned());
        first.fail("name", "", &format!("there are more than {most} {what}"), fix);
    }
}

/// `name`, which is missed where it is not there. `clash` says what else has it.
fn name_of(section: &Section<'_>, usual: &str, clash: impl Fn(&str) -> Option<String>) -> Option<Box<str>> {
    let name = section.read("name", None, |value| {
        let name = text(value, usual)?;
        if is_name(name) {
            return Ok(Some(name.into()));
        }
        let meant: String = name.chars().filter(char::is_ascii).take(limits::SOURCE_NAME_MAX).collect();
        let meant = meant.trim().replace(|letter: char| !is_letter(letter), "-");
        let meant = if is_name(&meant) { meant } else { usual.to_owned() };
        let more =
            format!(", at most {} letters, digits, dots, hyphens and underscores", limits::SOURCE_NAME_MAX);
        Err(Wrong::write(format!("{} is no name", quoted(name)), quoted(&meant), &more))
    });
    if section.lacks("name") {
        section.fail("name", "", "this key is missing", Fix::Write(quoted(usual), String::new()));
    }
    let name: Option<Box<str>> = name;
    if let Some(problem) = name.as_deref().and_then(clash) {
        section.fail("name", "", &problem, Fix::Do("give each a name of its own".to_owned()));
        return None;
    }
    name
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_')
}

/// Whether it can be a name: it stands before those of sites, in metrics and in header fields.
pub(super) fn is_name(name: &str) -> bool {
    (1..=limits::SOURCE_NAME_MAX).contains(&name.len()) && name.chars().all(is_letter)
}

fn own_address<Of: std::str::FromStr + Into<IpAddr> + Copy>(
    value: &DeValue<'_>,
) -> Result<Option<Of>, Wrong> {
    let (four, six) = ("192.0.2.1", "2001:db8::1");
    let usual = if four.parse::<Of>().is_ok() { four } else { six };
    let words = text(value, usual)?;
    if words.is_empty() {
        return Ok(None);
    }
    let Ok(address) = words.parse::<Of>() else {
        let other = words.parse::<IpAddr>().is_ok();
        let (kind, key) = if usual == four { ("IPv4", "address6") } else { ("IPv6", "address") };
        let more = if other { format!("; {} belongs in {key}", quoted(words)) } else { String::new() };
        return Err(Wrong::write(format!("{} is no address of {kind}", quoted(words)), quoted(usual), &more));
    };
    let ip: IpAddr = address.into();
    if is_mapped(ip) || is_nobodys(ip) {
        let problem = format!("{} cannot be used", quoted(words));
        let more = if is_mapped(ip) { MAPPED } else { NOBODYS };
        return Err(Wrong::write(problem, quoted(usual), &format!(" ({more})")));
    }
    Ok(Some(address))
}

fn ehlo(value: &DeValue<'_>) -> Result<Option<Box<str>>, Wrong> {
    const USUAL: &str = "mta1.example.net";
    let name = text(value, USUAL)?;
    if name.is_empty() {
        return Ok(None);
    }
    if let Some(name) = international::host_of(name) {
        return Ok(Some(name.into()));
    }
    let problem = format!("{} is no host name", quoted(name));
    Err(Wrong::write(problem, quoted(USUAL), ", the name that the address has"))
}

fn proxy(value: &DeValue<'_>) -> Result<Option<Proxy>, Wrong> {
    const USUAL: &str = "socks5://192.0.2.9:1080";
    let words = text(value, USUAL)?;
    if words.is_empty() {
        return Ok(None);
    }
    read_proxy(words).map(Some).map_err(|grammar| {
        // Not with what may be a password.
        let problem = "this proxy cannot be used".to_owned();
        Wrong::write(problem, quoted(USUAL), &format!(" ({grammar})"))
    })
}

/// `socks5://[user:password@]address:port`, `haproxy://address:port`.
fn read_proxy(words: &str) -> Result<Proxy, &'static str> {
    const FIX: &str = "socks5://address:port, socks5://user:password@address:port or haproxy://address:port";
    let (scheme, rest) = words.split_once("://").ok_or(FIX)?;
    let kind = ProxyKind::ALL.into_iter().find(|kind| kind.name() == scheme).ok_or(FIX)?;
    let (login, at) = match rest.rsplit_once('@') {
        Some((login, at)) => (Some(read_login(login).ok_or(FIX)?), at),
        None => (None, rest),
    };
    if login.is_some() && kind == ProxyKind::Haproxy {
        return Err("the PROXY protocol has no place for a user and password");
    }
    let at = value::socket(at, None).map_err(|_| FIX)?;
    if at.port() == 0 || is_mapped(at.ip()) || is_nobodys(at.ip()) {
        return Err("nobody listens there; write the address and port of one host");
    }
    Ok(Proxy { kind, at, login })
}

/// Both of 1 to 255 bytes (RFC 1929 section 2). `%40` is an `@` (RFC 3986 section 2.1).
fn read_login(words: &str) -> Option<Login> {
    let (user, password) = words.split_once(':')?;
    let [user, password] = [user, password]
        .map(|part| decoded(part).filter(|part| (1..=limits::SOCKS_LOGIN_MAX).contains(&part.len())));
    Some(Login { user: user?, password: password? })
}

fn decoded(text: &str) -> Option<Box<str>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        let byte = if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            rest = &behind[2..];
            u8::from_str_radix(digits, 16).ok()?
        } else {
            *first
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok().map(String::into_boxed_str)
}

/// `["ip1", { source = "ip2", weight = 3 }]`
fn members(value: &DeValue<'_>, sources: &[SourceConfig]) -> Result<Vec<(usize, u16)>, Wrong> {
    let usual = sources.first().map_or("ip1", |source| &source.name);
    let line = format!("[{{ source = {}, weight = 1 }}]", quoted(usual));
    let Some(list) = value.as_array() else {
        return Err(Wrong::write(format!("this is {}, not a list", kind(value)), line, ""));
    };
    if list.is_empty() || list.len() > limits::POOL_SOURCES_MAX {
        let most = limits::POOL_SOURCES_MAX;
        let problem = format!("the pool has {} sources, and is to have 1 to {most}", list.len());
        return Err(Wrong::write(problem, line, ""));
    }
    let mut members: Vec<(usize, u16)> = Vec::new();
    for (number, item) in list.iter().enumerate() {
        let at = |problem: String| format!("source {} of the list: {problem}", number + 1);
        let (name, weight) = match item.get_ref() {
            DeValue::String(name) => (&**name, 1),
            DeValue::Table(table) => member(table).map_err(|wrong| in_list(at(String::new()), wrong))?,
            other => return Err(Wrong::write(at(format!("this is {}", kind(other))), line, "")),
        };
        let Some(place) = sources.iter().position(|source| *source.name == *name) else {
            let names = sources.iter().map(|source| &*source.name);
            let fix = match nearest(name, names.clone(), 2) {
                Some(close) => format!("did you mean {}?", quoted(close)),
                None if sources.is_empty() => "add a [[source]] of this name".to_owned(),
                None => {
                    format!("there are {}", names.take(limits::SOURCES_NAMED).collect::<Vec<_>>().join(", "))
                }
            };
            return Err(Wrong::act(at(format!("no [[source]] is called {}", quoted(name))), fix));
        };
        if members.iter().any(|(other, _)| *other == place) {
            let problem = at(format!("{} is in the pool twice", quoted(name)));
            return Err(Wrong::act(problem, "name each once, with the weight of both"));
        }
        members.push((place, weight));
    }
    Ok(members)
}

/// What is wrong with one of a list: where, and in words, for a line to copy would be all of the list.
fn in_list(at: String, wrong: Wrong) -> Wrong {
    let fix = match wrong.fix {
        Fix::Write(literal, more) => format!("write {literal}{more}"),
        Fix::Do(words) => words,
    };
    Wrong::act(format!("{at}{}", wrong.problem), fix)
}

fn member<'a>(table: &'a DeTable<'_>) -> Result<(&'a str, u16), Wrong> {
    for key in table.keys() {
        let name = key.get_ref();
        if !["source", "name", "weight"].contains(&&**name) {
            return Err(Wrong::act(format!("unknown key {}", quoted(name)), "known here: source, weight"));
        }
    }
    // KumoMTA's files say `name`.
    let Some(name) = table.get("source").or(table.get("name")).and_then(|name| name.get_ref().as_str())
    else {
        return Err(Wrong::act("source is missing", "write { source = \"ip1\", weight = 1 }"));
    };
    let weight = match table.get("weight") {
        Some(weight) => integer(weight.get_ref(), 1..=limits::SOURCE_WEIGHT_MAX, 1)
            .map_err(|wrong| Wrong { problem: format!("weight: {}", wrong.problem), ..wrong })?,
        None => 1,
    };
    Ok((name, weight as u16))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const TWO: &str = "[[source]]\nname = \"ip1\"\naddress = \"192.0.2.1\"\n[[source]]\nname = \"ip2\"\naddress6 = \"2001:db8::2\"\nehlo = \"mta2.example.net\"\n";

    fn read(text: &str) -> Result<Config, String> {
        let config = Config::parse(text, Path::new("relevo.toml"));
        config.map_err(|errors| errors.iter().map(|error| format!("{error}\n")).collect())
    }

    #[test]
    fn sources_and_pools_are_read() {
        let text = format!(
            "{TWO}[[source]]\nname = \"far\"\nproxy = \"socks5://joe:a%40b@192.0.2.9:1080\"\n\
             [[pool]]\nname = \"bulk\"\nsources = [\"ip2\", {{ source = \"ip1\", weight = 9 }}]\n[delivery]\npool = \"bulk\"\n"
        );
        let config = read(&text).expect("a configuration");
        assert_eq!(config.pools, [PoolConfig { name: "bulk".into(), members: vec![(1, 1), (0, 9)] }]);
        assert_eq!(config.delivery.pool.as_deref(), Some("bulk"));
        let [one, two, far] = &config.sources[..] else { panic!("three sources") };
        let of =
            |source: &SourceConfig, to: &str| source.towards(to.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!((of(one, "10.0.0.1"), of(one, "::1")), (Some("192.0.2.1".into()), None));
        assert_eq!((of(two, "10.0.0.1"), of(two, "::1")), (None, Some("2001:db8::2".into())));
        assert_eq!((one.ehlo.as_deref(), two.ehlo.as_deref()), (None, Some("mta2.example.net")));
        let proxy = far.proxy.as_ref().expect("a proxy");
        let login = proxy.login.as_ref().expect("a login");
        assert_eq!((&*login.user, &*login.password, proxy.kind), ("joe", "a@b", ProxyKind::Socks5));
        assert!(!format!("{proxy:?} {proxy}").contains("a@b"), "{proxy:?} {proxy}");
    }

    #[test]
    fn what_cannot_be_is_told_with_its_place() {
        for (more, wanted) in [
            ("[[source]]\nname = \"ip1\"\n", "9: source[2].name: there is a source of this name already"),
            ("[[source]]\nname = \"a b\"\n", "write name = \"a-b\""),
            (
                "[[source]]\naddress = \"192.0.2.3\"\n",
                "source[2].name: this key is missing; add name = \"ip1\"",
            ),
            ("[[source]]\nname = \"x\"\naddress = \"::1\"\n", "\"::1\" belongs in address6"),
            ("[[source]]\nname = \"x\"\naddress = \"0.0.0.0\"\n", "no host has this address"),
            ("[[source]]\nname = \"x\"\nehlo = \"a b\"\n", "\"a b\" is no host name"),
            ("[[source]]\nname = \"x\"\nproxy = \"http://a\"\n", "proxy cannot be used"),
            ("[[source]]\nname = \"x\"\nproxy = \"socks5://joe@192.0.2.1:1\"\n", "proxy cannot be used"),
            ("[[source]]\nname = \"x\"\nproxy = \"haproxy://192.0.2.1:1\"\n", "by which of its addresses"),
            ("[[pool]]\nname = \"p\"\n", "pool[0].sources: this key is missing; add sources = [\"ip1\"]"),
            ("[[pool]]\nname = \"p\"\nsources = []\n", "the pool has 0 sources"),
            ("[[pool]]\nname = \"ip1\"\nsources = [\"ip1\"]\n", "there is a source of this name already"),
            (
                "[[pool]]\nname = \"p\"\nsources = [\"ip3\"]\n",
                "no [[source]] is called \"ip3\"; did you mean \"ip1\"?",
            ),
            ("[[pool]]\nname = \"p\"\nsources = [\"ip1\", \"ip1\"]\n", "\"ip1\" is in the pool twice"),
            (
                "[[pool]]\nname = \"p\"\nsources = [{ source = \"ip1\", weight = 0 }]\n",
                "weight: 0 is out of range",
            ),
            ("[[pool]]\nname = \"p\"\nsources = [{ sauce = \"ip1\" }]\n", "unknown key \"sauce\""),
            (
                "[delivery]\npool = \"ipl\"\n",
                "no [[pool]] and no [[source]] is called \"ipl\"; write pool = \"ip1\"",
            ),
        ] {
            let found = read(&format!("{TWO}{more}")).expect_err(more);
            assert!(found.contains(wanted), "{more}: {found}");
            assert_eq!(found.lines().count(), 1, "{more}: {found}");
        }
    }

    #[test]
    fn too_many_are_told() {
        let many: String =
            (0..=limits::SOURCES_MAX).map(|at| format!("[[source]]\nname = \"s{at}\"\n")).collect();
        assert!(read(&many).expect_err("too many").contains("more than 4096 sources"));
    }
}
