//! What a configuration may say and hardly means: each a warning with the line to write in place of it. Pure; what only the machine
//! knows is looked at by `crate::check`.

mod gateway;
mod listener;
mod public;
mod warmup;

pub use public::clashes;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::literal::quoted;
use crate::config::rule::order::{self, Doubt};
use crate::config::value::{covers, show_duration, show_size};
use crate::config::{Config, ConfigError, ListenerConfig, RouteTarget, SourceConfig, TlsLevel};
use crate::limits;
use crate::mail::parameters::Key;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Ends of names that mean nothing to anybody else (RFC 2606, RFC 6761, RFC 6762, RFC 8375, RFC 9476, and what routers make up).
const PRIVATE_NAMES: [&str; 20] = [
    "alt",
    "arpa",
    "corp",
    "domain",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "localnet",
    "mail",
    "onion",
    "private",
    "test",
    "host",
    "workgroup",
];

/// What is doubtful in it, in the order of the lines. `shards`: so many will run.
pub fn judge(config: &Config, shards: usize) -> Vec<ConfigError> {
    let mut found = Vec::new();
    found.extend(judge_hostname(config));
    listener::judge(config, shards, &mut found);
    gateway::judge(config, &mut found);
    judge_overlaps(config, &mut found);
    judge_accounts(config, &mut found);
    judge_routes(config, &mut found);
    judge_rules(config, &mut found);
    judge_sources(config, &mut found);
    warmup::judge(config, &mut found);
    public::judge(config, &mut found);
    judge_delivery(config, &mut found);
    judge_times(config, &mut found);
    judge_bounces(config, &mut found);
    judge_blocklists(config, &mut found);
    judge_spool(config, shards, &mut found);
    judge_places(config, &mut found);
    found.sort_by_key(|warning| warning.line);
    found
}

/// Receivers look at the name in EHLO: many refuse or distrust one that cannot be a host's (RFC 5321 4.1.1.1, 2.3.5).
fn judge_hostname(config: &Config) -> Option<ConfigError> {
    let name = config.node.hostname.as_str();
    let problem = doubt_of_name(name)?;
    let default = if config.places.has("node.hostname") { "" } else { ", this machine's own name," };
    let problem = format!("{name}{default} {problem}");
    let more = ", a name of yours whose address leads back to it";
    Some(config.places.propose("node.hostname", problem, &quoted("relay.example.net"), more))
}

/// Why receivers doubt a name.
fn doubt_of_name(name: &str) -> Option<&'static str> {
    let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    let labels: Vec<_> = name.split('.').collect();
    Some(if name.parse::<IpAddr>().is_ok() || last.bytes().all(|byte| byte.is_ascii_digit()) {
        "is an address or a number, no name: receivers refuse it in EHLO"
    } else if labels.len() < 2 {
        "is not fully qualified: many receivers refuse it in EHLO, and bounces come from a domain that does not exist"
    } else if PRIVATE_NAMES.contains(&last.as_str()) {
        "is a name nobody else can resolve: receivers refuse or distrust it in EHLO"
    } else if name.contains('_') {
        "has an underscore, which no host name has: receivers with strict checks refuse it in EHLO"
    } else if labels.iter().any(|label| label.starts_with('-') || label.ends_with('-')) {
        "has a hyphen at an end of a part, which no host name has"
    } else {
        return None;
    })
}

/// Sources that nobody would take for hosts, or that are one twice; rules that name no pool.
fn judge_sources(config: &Config, found: &mut Vec<ConfigError>) {
    let places = &config.places;
    for (at, source) in config.sources.iter().enumerate() {
        let key = |name: &str| format!("source[{at}].{name}");
        if let Some((name, problem)) =
            source.ehlo.as_ref().and_then(|name| Some((name, doubt_of_name(name)?)))
        {
            let more = ", the name that its address has";
            let problem = format!("{name} {problem}");
            found.push(places.propose(&key("ehlo"), problem, &quoted("mta1.example.net"), more));
        }
        let same = |other: &&SourceConfig| {
            source.proxy == other.proxy
                && source.addresses().any(|own| other.addresses().any(|its| own == its))
        };
        if let Some(other) = config.sources[..at].iter().find(same) {
            let problem = format!(
                "source {} has the same address: receivers see one sender, which has the limits of both",
                other.name
            );
            found.push(places.remark(&key("address"), problem, "give each an address of its own"));
        }
    }
    if config.sources.is_empty() {
        return;
    }
    for (at, rule) in config.rules.iter().enumerate() {
        let pools = rule.set.parameters.iter().filter(|(key, _)| *key == Key::Pool);
        for pool in pools.filter_map(|(_, template)| template.text()) {
            if !config.knows_pool(pool) {
                let problem = format!(
                    "no [[pool]] and no [[source]] is called {}: this mail leaves by the default",
                    quoted(pool)
                );
                found.push(places.remark(
                    &format!("rule[{at}].set.pool"),
                    problem,
                    "name one that there is, or add it",
                ));
            }
        }
    }
}

/// One listener that takes part of another's connections, and HTTP where SMTP is.
fn judge_overlaps(config: &Config, found: &mut Vec<ConfigError>) {
    for (at, listener) in config.listeners.iter().enumerate() {
        for (other_at, other) in config.listeners.iter().enumerate() {
            let covers = other.address.network().zip(listener.address.network());
            if at != other_at && covers.is_some_and(|(other, this)| self::covers(other, this)) {
                let problem = format!(
                    "{} is part of {} (listener[{other_at}]): its clients get the settings of this listener, not of that one",
                    listener.address, other.address
                );
                let fix = "give one of the two another port or address, if that is not meant";
                found.push(config.places.remark(&format!("listener[{at}].address"), problem, fix));
            }
        }
    }
    if config.control.socket_left_out {
        let problem = "there is no socket for commands: its path in node.data_dir would be too long";
        let fix = "give a shorter one: socket = \"/run/relevo/control.sock\" in [control], or \"\" for none";
        found.push(config.places.remark("node.data_dir", problem, fix));
    }
    let Some(http) = config.control.http else { return };
    if !http.ip().to_canonical().is_loopback() {
        let problem = match config.access.tokens {
            None => {
                format!("{http} shows metrics and health to everybody who can reach it, without a password")
            }
            Some(_) => format!(
                "{http} shows metrics and health to everybody who can reach it, and tokens go to it in plain text: whoever reads on the way has them"
            ),
        };
        let more = match config.access.tokens {
            None => ", or see to it that a firewall lets only your monitoring in",
            Some(_) => {
                ", behind a web server with TLS that passes it on, or in a network that only you read in"
            }
        };
        let literal = quoted(&SocketAddr::from((Ipv4Addr::LOCALHOST, http.port())).to_string());
        found.push(config.places.propose("control.http", problem, &literal, more));
    }
}

fn judge_accounts(config: &Config, found: &mut Vec<ConfigError>) {
    if config.accounts.is_some() && !config.listeners.iter().any(|listener| listener.has_tls()) {
        let problem =
            "nobody can log in: AUTH is offered after STARTTLS only, and no listener has a certificate";
        let fix = "add tls_certificate and tls_key to a [[listener]]";
        found.push(config.places.remark("auth.accounts", problem, fix));
    }
}

/// Rules that do nothing where they stand, or more than that.
fn judge_rules(config: &Config, found: &mut Vec<ConfigError>) {
    for (at, other, doubt) in order::doubts(&config.rules) {
        let (problem, fix) = match doubt {
            Doubt::NeverReached => (
                format!("this rule is never reached: rule[{other}] matches all of it, and ends"),
                format!("move it in front of rule[{other}], or remove it"),
            ),
            Doubt::Overtakes => (
                format!(
                    "this rule refuses at MAIL or RCPT, before rule[{other}] is decided, which stands in front of it"
                ),
                format!("if rule[{other}] is to come first, match a header here too"),
            ),
            Doubt::RefusesAll => (
                format!(
                    "this rule refuses a message for all of its recipients, also those that rule[{other}] takes, which stands in front of it"
                ),
                "do the same here, or match another sender, if those are not to be refused".to_owned(),
            ),
        };
        found.push(config.places.remark(&format!("rule[{at}].action"), problem, fix));
    }
    judge_expiry(config, found);
}

/// Rules that give mail up too soon or too late.
fn judge_expiry(config: &Config, found: &mut Vec<ConfigError>) {
    for (at, rule) in config.rules.iter().enumerate() {
        let Some(expire) = rule.set.expire else { continue };
        let shown = show_duration(expire);
        let problem = if expire <= config.retry.first {
            let first = show_duration(config.retry.first);
            format!("mail is given up after {shown}, before its first retry after {first}")
        } else if expire > 30 * DAY {
            format!("a sender hears only after {shown} that mail did not arrive")
        } else {
            continue;
        };
        let fix = "make it longer than that, and at most 30 days";
        found.push(config.places.remark(&format!("rule[{at}].set.expire"), problem, fix));
    }
}

/// Mail that comes back to where it came from.
fn judge_routes(config: &Config, found: &mut Vec<ConfigError>) {
    let named = |name: &str| config.routes.iter().any(|route| route.credentials.as_deref() == Some(name));
    for unused in config.credentials.iter().filter(|of| !named(&of.name)) {
        let key = format!("credentials.{}", unused.name);
        let problem = "no route names these credentials";
        found.push(config.places.remark(&key, problem, "remove them, or name them in a [[route]]"));
    }
    for (at, route) in config.routes.iter().enumerate() {
        if let (Some(level), Some(TlsLevel::Verified)) = (route.tls, route.tls())
            && level != TlsLevel::Verified
        {
            let problem =
                "credentials are given to no host that has not proven who it is: tls is \"verify\" here";
            found.push(config.places.propose(
                &format!("route[{at}].tls"),
                problem,
                "\"verify\"",
                ", or remove the key",
            ));
        }
        for choice in &route.to {
            let RouteTarget::Host { host, port, .. } = &choice.target else { continue };
            let mut listeners = config.listeners.iter();
            let Some(listener) = listeners.find(|listener| is_at(config, listener, host, *port)) else {
                continue;
            };
            let problem = format!(
                "{host} port {port} is this relay itself ({}): mail would go round until it is bounced as a loop",
                listener.address
            );
            let fix = "name another host or port, or \"mx\"";
            found.push(config.places.remark(&format!("route[{at}].to"), problem, fix));
        }
    }
}

/// Whether who connects to this port of this host comes to this listener.
fn is_at(config: &Config, listener: &ListenerConfig, host: &str, port: u16) -> bool {
    let Some(address) = listener.address.network() else { return false };
    let ip = address.ip();
    address.port() == port
        && match host.parse::<IpAddr>() {
            Ok(host) => {
                host == ip
                    || host.is_unspecified()
                    || (ip.is_unspecified() && host.is_loopback() && host.is_ipv4() == ip.is_ipv4())
            }
            Err(_) => {
                host.eq_ignore_ascii_case(&config.node.hostname)
                    || (host == "localhost" && (ip.is_unspecified() || ip.is_loopback()))
            }
        }
}

fn judge_delivery(config: &Config, found: &mut Vec<ConfigError>) {
    let (delivery, places) = (&config.delivery, &config.places);
    if delivery.mx_port != 25 {
        let problem =
            format!("no MX host of the internet listens on port {} (RFC 5321 4.5.4.2)", delivery.mx_port);
        found.push(places.propose("delivery.mx_port", problem, "25", ", but in tests"));
    }
    if delivery.allow_loopback_mx {
        let problem = "whoever publishes an MX can make this relay connect to services of this machine";
        found.push(places.propose("delivery.allow_loopback_mx", problem, "false", ", but in tests"));
    }
    if !delivery.starttls {
        let problem = "mail leaves unencrypted even where the next hop offers TLS";
        found.push(places.propose("delivery.starttls", problem, "true", ""));
    }
    if config.dns.timeout < Duration::from_secs(1) {
        let timeout = show_duration(config.dns.timeout);
        let problem = format!(
            "a name server has {timeout} for an answer: many take longer for a name they do not know"
        );
        found.push(places.propose("dns.timeout", problem, "\"2s\"", ""));
    }
    let waits = config.dns.timeout * config.dns.attempts;
    if waits > MINUTE {
        let problem = format!(
            "{} tries of {} are {}: mail waits so long where name servers are silent",
            config.dns.attempts,
            show_duration(config.dns.timeout),
            show_duration(waits)
        );
        let (key, literal) = if config.dns.timeout > 5 * Duration::from_secs(1) {
            ("timeout", "\"5s\"")
        } else {
            ("attempts", "3")
        };
        found.push(places.propose(&format!("dns.{key}"), problem, literal, ""));
    }
}

fn judge_times(config: &Config, found: &mut Vec<ConfigError>) {
    let (retry, places) = (&config.retry, &config.places);
    let mut say = |key: &str, problem: String, literal: &str, more: &str| {
        found.push(places.propose(&format!("retry.{key}"), problem, literal, more));
    };
    let (first, max, expire) =
        (show_duration(retry.first), show_duration(retry.max), show_duration(retry.expire));
    if retry.first < Duration::from_secs(10) {
        say(
            "first",
            format!("a retry after {first}: receivers take that for abuse, and greylisting never passes"),
            "\"1m\"",
            "",
        );
    } else if retry.first > 6 * HOUR {
        say("first", format!("the first retry comes only after {first}"), "\"1m\"", "");
    }
    if retry.max > 2 * DAY {
        say("max", format!("mail may wait {max} for its next try after a host is back"), "\"2h\"", "");
    } else if retry.max < MINUTE {
        say(
            "max",
            format!("each message is tried every {max} until it expires: receivers take that for abuse"),
            "\"2h\"",
            "",
        );
    }
    if retry.expire <= retry.first {
        say(
            "expire",
            format!("mail is given up after {expire}, before its first retry after {first}"),
            "\"5d\"",
            "",
        );
    } else if retry.expire < HOUR {
        say(
            "expire",
            format!("mail is given up after {expire}: a restart of the receiver bounces it"),
            "\"5d\"",
            " (RFC 5321 4.5.4.1: four or five days)",
        );
    } else if retry.expire < retry.max {
        let problem = format!("mail is given up after {expire}, and the longest wait between tries is {max}");
        let literal = quoted(&show_duration((retry.expire / 4).max(retry.first).max(MINUTE)));
        say("max", problem, &literal, ", or raise expire");
    } else if retry.expire > 30 * DAY {
        say(
            "expire",
            format!("a sender hears only after {expire} that mail did not arrive"),
            "\"5d\"",
            " (RFC 5321 4.5.4.1: four or five days)",
        );
    }
}

fn judge_blocklists(config: &Config, found: &mut Vec<ConfigError>) {
    let mut sources = config.sources.iter();
    if !config.blocklists.zones.is_empty() && !sources.any(|source| source.addresses().next().is_some()) {
        let problem = "no [[source]] has an address that could be looked up there".to_owned();
        found.push(config.places.propose(
            "blocklists.zones",
            problem,
            "[]",
            ", or name the relay's address in a [[source]]",
        ));
    }
}

fn judge_bounces(config: &Config, found: &mut Vec<ConfigError>) {
    let (late, expire) = (config.bounces.delay_warning, config.retry.expire);
    if !late.is_zero() && late >= expire {
        let (late, expire) = (show_duration(late), show_duration(expire));
        let problem = format!("mail is late after {late}, and given up after {expire}: nobody is warned");
        let literal = quoted(&show_duration((config.retry.expire / 4).max(MINUTE)));
        found.push(config.places.propose("bounces.delay_warning", problem, &literal, ""));
    }
}

fn judge_spool(config: &Config, shards: usize, found: &mut Vec<ConfigError>) {
    let spool = &config.spool;
    let least = (limits::SEGMENTS_RESERVED + 2) as u64 * shards as u64 * spool.segment_size;
    if spool.size_max > 0 && spool.size_max < least {
        let problem = format!(
            "{shards} shards need at least {} segments of {} each, {} in all: size_max will be exceeded",
            limits::SEGMENTS_RESERVED + 2,
            show_size(spool.segment_size),
            show_size(least)
        );
        found.push(config.places.propose("spool.size_max", problem, &quoted(&show_size(least)), " or more"));
    }
}

/// Paths that mean something else in another directory.
fn judge_places(config: &Config, found: &mut Vec<ConfigError>) {
    let mut paths = vec![
        ("node.data_dir".to_owned(), Some(&config.node.data_dir)),
        ("auth.accounts".to_owned(), config.accounts.as_ref()),
        ("dns.hosts".to_owned(), config.dns.hosts.as_ref()),
    ];
    paths.extend(config.logs.iter().map(|log| (format!("{}.path", log.section), log.path.as_ref())));
    for (at, listener) in config.listeners.iter().enumerate() {
        for files in listener.certificates() {
            paths.push((format!("listener[{at}].tls_certificate"), Some(&files.certificate)));
            paths.push((format!("listener[{at}].tls_key"), Some(&files.key)));
        }
        paths.push((format!("listener[{at}].client_ca"), listener.client_ca.as_ref()));
    }
    for (key, path) in &paths {
        if let Some(path) = path.filter(|path| !path.is_absolute()) {
            let problem = format!("{} is below whatever directory the relay is started in", path.display());
            found.push(config.places.remark(key, problem, "write the whole path, from /"));
        }
    }
    if config.node.data_dir.starts_with("/tmp")
        || config.node.data_dir.starts_with("/dev/shm")
        || config.node.data_dir.starts_with("/run")
    {
        let problem = format!(
            "{} is emptied by the system, at a boot or sooner: accepted mail is lost with it",
            config.node.data_dir.display()
        );
        found.push(config.places.propose("node.data_dir", problem, "\"/var/lib/relevo\"", ""));
    }
}

#[cfg(test)]
mod tests;
