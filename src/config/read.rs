//! The sections of a configuration, each key with what it may be and what it is by default.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::access::{self, Access};
use crate::config::choices::choices;
use crate::config::literal::{
    Fix, Wrong, boolean, bytes, integer, list, of_made, parsed, path, port, quoted, some_path, span, text,
    word,
};
use crate::config::retry;
use crate::config::section::Section;
use crate::config::{
    Choice, Control, Credentials, Delivery, DnsConfig, Node, PoolConfig, PrivateNetworks, Retry, RouteConfig,
    RouteTarget, Scheme, SourceConfig, SpoolConfig, TlsLevel, guess, sources, value,
};
use crate::limits;
use crate::mail::address::{self, international};

pub(super) fn node(section: &Section<'_>) -> Node {
    const USUAL: &str = "relay.example.net";
    let hostname = section.read("hostname", host_name(), |value| {
        let name = text(value, USUAL)?;
        if let Some(name) = international::host_of(name) {
            Ok(name.into_owned())
        } else {
            let meant = guess::hostname(name).unwrap_or_else(|| USUAL.to_owned());
            let problem = format!("{} is no host name", quoted(name));
            Err(Wrong::write(problem, quoted(&meant), ", the name clients and next hops know"))
        }
    });
    let usual = "/var/lib/relevo";
    let data_dir = section.read("data_dir", usual.into(), |value| some_path(value, usual));
    let shards = section.read("shards", 0, |value| integer(value, 0..=limits::SHARDS_MAX as u64, 0)) as usize;
    let stop_grace = section.read("stop_grace", Duration::ZERO, |value| {
        span(value, Duration::ZERO..=limits::STOP_GRACE_MAX, limits::STOP_GRACE_MAX / 4)
    });
    section.finish();
    Node { hostname, data_dir, shards, stop_grace }
}

/// The machine's own name, if it can be used.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if address::is_domain(name.as_bytes()) { name } else { "localhost".to_owned() }
}

pub(super) fn routes(root: &Section<'_>, of_all: &Retry, known: &[Credentials]) -> Vec<RouteConfig> {
    let mut routes: Vec<RouteConfig> = Vec::new();
    for section in root.sections("route") {
        // None: it could not be understood, and then it is not another's double either.
        let domain = section.read("domain", None, |value| {
            parsed(value, value::pattern, guess::pattern, "example.com").map(Some)
        });
        let to = section.read("to", Choice::only(RouteTarget::Mx), choices);
        for (key, usual) in [("domain", "*"), ("to", "mx")] {
            if section.lacks(key) {
                let fix = Fix::Write(quoted(usual), "; a route needs domain and to".to_owned());
                section.fail(key, "", "this key is missing", fix);
            }
        }
        if domain.is_some() && routes.iter().any(|other| Some(&other.domain) == domain.as_ref()) {
            let fix = Fix::Do("remove one of the two".to_owned());
            section.fail("domain", "", "there is a route for this already", fix);
        }
        let tls = section.read("tls", None, |value| TlsLevel::read(value).map(Some));
        if tls == Some(TlsLevel::Off) {
            refuse_plain_text(&section, &to);
        }
        if tls.is_some() {
            refuse_without_meaning(&section, &to);
        }
        let credentials = login(&section, &to, known);
        let retry = retry::read_own(&section, of_all);
        section.finish();
        if let Some(domain) = domain {
            routes.push(RouteConfig { domain, to, tls, credentials, retry });
        }
    }
    routes
}

/// Who we are at the hosts of a route. Only those that the operator names are told: whoever publishes an MX has a certificate for its name.
fn login(section: &Section<'_>, to: &[Choice], known: &[Credentials]) -> Option<Box<str>> {
    let name = section.read("credentials", None, |value| match text(value, "smarthost")? {
        "" => Ok(None),
        name if known.iter().any(|of| *of.name == *name) => Ok(Some(Box::from(name))),
        name => {
            let problem = format!("there are no credentials of this name: {}", quoted(name));
            let fix = "add them in [credentials], as NAME = { user = \"...\", password_file = \"/path\" }";
            Err(Wrong::act(problem, fix))
        }
    })?;
    let by_smtp =
        |one: &Choice| matches!(one.target, RouteTarget::Host { scheme: Scheme::Smtp | Scheme::Smtps, .. });
    if let Some(Choice { target, .. }) = to.iter().find(|one| !by_smtp(one)) {
        let problem = match target {
            RouteTarget::Mx => "whoever publishes an MX would get the password".to_owned(),
            _ => format!("nobody asks for a login there: {target}"),
        };
        let fix = "name hosts alone, as smtp://smart.example.net:587 or smtps://smart.example.net";
        section.fail("credentials", "", &problem, Fix::Do(fix.to_owned()));
    }
    Some(name)
}

/// Where TLS comes first there is no mail without.
fn refuse_plain_text(section: &Section<'_>, to: &[Choice]) {
    let first = |one: &&Choice| matches!(one.target, RouteTarget::Host { scheme: Scheme::Smtps, .. });
    if let Some(Choice { target, .. }) = to.iter().find(first) {
        let problem = format!("{target} is spoken to under TLS from the first byte");
        let more = ", or remove the key, or write smtp://".to_owned();
        section.fail("tls", "", &problem, Fix::Write(quoted(TlsLevel::Required.name()), more));
    }
}

/// A socket of this machine, and what is thrown away, have no TLS: who wants it there would believe to have it.
fn refuse_without_meaning(section: &Section<'_>, to: &[Choice]) {
    let has_tls = |one: &Choice| matches!(one.target, RouteTarget::Host { .. } | RouteTarget::Mx);
    if let Some(Choice { target, .. }) = to.first().filter(|_| !to.iter().any(has_tls)) {
        let problem = match target {
            RouteTarget::Socket(path) => format!("the socket {} is spoken to without TLS", path.display()),
            _ => "mail that stays here goes over no connection".to_owned(),
        };
        section.fail("tls", "", &problem, Fix::Do("remove the key".to_owned()));
    }
}

pub(super) fn dns(section: &Section<'_>) -> DnsConfig {
    let servers = section.read("servers", Vec::new(), |value| {
        list(value, value::name_server, guess::name_server, "127.0.0.1")
    });
    let usual = Duration::from_secs(5);
    let timeout = section.read("timeout", usual, |value| {
        span(value, limits::DNS_TIMEOUT_MIN..=limits::DNS_TIMEOUT_MAX, usual)
    });
    let attempts = section.read("attempts", 3, |value| integer(value, 1..=limits::DNS_ATTEMPTS_MAX, 3));
    let hosts = section.read("hosts", Some("/etc/hosts".into()), |value| path(value, "/etc/hosts"));
    section.finish();
    DnsConfig {
        servers,
        timeout,
        attempts: attempts as u32,
        hosts,
        known: Arc::default(),
        latest: Arc::default(),
    }
}

pub(super) fn delivery(section: &Section<'_>, known: (&[SourceConfig], &[PoolConfig])) -> Delivery {
    let usual = limits::DESTINATION_CONNECTIONS_DEFAULT as u64;
    let most = limits::DESTINATION_CONNECTIONS_LIMIT;
    let connections =
        section.read("connections_per_destination", usual, |value| integer(value, 1..=most, usual));
    let delivery = Delivery {
        connections_per_destination: connections as usize,
        connections_per_address: section
            .read("connections_per_address", connections, |value| integer(value, 1..=most, connections))
            as usize,
        private_networks: section.read("private_networks", PrivateNetworks::Refuse, |value| {
            word(value, [("refuse", PrivateNetworks::Refuse), ("allow", PrivateNetworks::Allow)])
        }),
        messages_per_connection: section.read("messages_per_connection", 0, |value| {
            integer(value, 0..=limits::MESSAGES_PER_CONNECTION_LIMIT, 0)
        }) as usize,
        pipeline_messages: section.read("pipeline_messages", true, boolean),
        mx_port: section.read("mx_port", 25, |value| port(value, 25)),
        starttls: section.read("starttls", true, boolean),
        allow_loopback_mx: section.read("allow_loopback_mx", false, boolean),
        pool: section.read("pool", None, |value| sources::default_pool(value, known)),
    };
    section.finish();
    delivery
}

fn segment_size(value: &DeValue<'_>) -> Result<u64, Wrong> {
    let range = limits::SEGMENT_SIZE_MIN..=limits::SEGMENT_SIZE_MAX;
    let whole = |size: u64| size.next_multiple_of(1 << 20).min(*range.end());
    let size = bytes(value, range.clone(), limits::SEGMENT_SIZE_DEFAULT).map_err(|wrong| {
        let Fix::Write(literal, more) = &wrong.fix else { return wrong };
        match value::size(literal.trim_matches('"')) {
            // The largest in whole GB is none in blocks.
            Ok(size) if !size.is_multiple_of(limits::BLOCK) => {
                let fitting = if size > *range.end() / 2 { *range.end() } else { whole(size) };
                Wrong::write(&*wrong.problem, quoted(&value::show_size(fitting)), more)
            }
            _ => wrong,
        }
    })?;
    if size.is_multiple_of(limits::BLOCK) {
        return Ok(size);
    }
    let whole = whole(size);
    let problem = format!("{size} is no multiple of 4096");
    Err(Wrong::write(problem, quoted(&value::show_size(whole)), ", or other whole MiB"))
}

pub(super) fn spool(section: &Section<'_>) -> SpoolConfig {
    let segment_size = section.read("segment_size", limits::SEGMENT_SIZE_DEFAULT, segment_size);
    // Zero has no unit, and 50 has: a spool of 50 bytes is none.
    let size_max = section.read("size_max", 0, |value| {
        if value.as_integer().is_some_and(|number| number.as_str() == "0") || value.as_str() == Some("0") {
            return Ok(0);
        }
        let least = segment_size * limits::SPOOL_SEGMENTS_LEAST;
        bytes(value, least..=limits::DISK_BYTES_MAX, segment_size * limits::SPOOL_SEGMENTS_USUAL)
    });
    section.finish();
    SpoolConfig { segment_size, size_max }
}

/// Where commands reach the relay, unless said otherwise: in its data directory.
const SOCKET: &str = "control.sock";

pub(super) fn control(section: &Section<'_>, data_dir: &Path) -> (Control, Access) {
    const USUAL: &str = "127.0.0.1:8025";
    let http = section.read("http", value::socket(USUAL, None).ok(), |value| match value.as_str() {
        Some("") => Ok(None),
        _ => parsed(value, value::http, guess::http, USUAL).map(Some),
    });
    let fits = |path: &PathBuf| path.as_os_str().len() <= limits::SOCKET_PATH_MAX;
    let usual = Some(data_dir.join(SOCKET)).filter(fits);
    let mut socket_named = false;
    let mut socket_left_out = usual.is_none();
    let socket = section.read("socket", usual, |value| {
        socket_left_out = false;
        const USUAL: &str = "/run/relevo/control.sock";
        let Some(path) = path(value, USUAL)? else { return Ok(None) };
        let path = data_dir.join(of_made(path, USUAL)?);
        // The shipped file says what holds without it: that asks for nothing.
        socket_named = path != data_dir.join(SOCKET);
        if fits(&path) && path.file_name().is_some() {
            return Ok(Some(path));
        }
        let problem = format!("{} is no path of a socket", quoted(&path.display().to_string()));
        let more =
            format!(", a file in node.data_dir or elsewhere, at most {} bytes", limits::SOCKET_PATH_MAX);
        Err(Wrong::write(problem, quoted(USUAL), &more))
    });
    let journal = limits::JOURNAL_SIZE_DEFAULT;
    let journal_size_max = section.read("journal_size_max", journal, |value| {
        bytes(value, limits::JOURNAL_SIZE_MIN..=limits::DISK_BYTES_MAX, journal)
    });
    let analytics = section.read("analytics", true, boolean);
    let access = access::read(section);
    section.finish();
    (Control { http, journal_size_max, socket, analytics, socket_named, socket_left_out }, access)
}
