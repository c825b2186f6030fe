//! What a configuration means, in sentences: the output of `relevo check`.

mod logs;

use std::fmt::Write;

use crate::config::dkim::EightBit;
use crate::config::hook::{HookConfig, HookFail};
use crate::config::suppression::{OnMatch, SuppressionConfig, SuppressionScope};
use crate::config::{
    AuthMechanism, BareNewlines, Choice, Config, DomainPattern, GatewayConfig, Kind, ListenerConfig, Network,
    PrivateNetworks, RouteTarget, RuntimeChoice, Scheme, ShardConfig, TlsLevel, Verify, rule, value,
};
use crate::time::UnixMillis;

/// Says what the relay would do.
pub fn describe(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_description(config, &mut out);
    out
}

fn write_description(config: &Config, out: &mut String) -> std::fmt::Result {
    let shards = match config.node.shards {
        0 => "one shard per core".to_owned(),
        count => format!("{count} shards"),
    };
    writeln!(out, "{}: {shards}, mail kept in {}", config.node.hostname, config.node.data_dir.display())?;
    config.listeners.iter().try_for_each(|listener| write_listener(config, listener, out))?;
    logs::write_pickup(config, out)?;
    logs::write_api(config, out)?;
    if !config.rules.is_empty() {
        writeln!(
            out,
            "rules, in this order; what they refuse without the header they refuse at MAIL or RCPT:"
        )?;
    }
    let addresses: Vec<_> = config.listeners.iter().map(|listener| listener.address.clone()).collect();
    config.rules.iter().try_for_each(|rule| writeln!(out, "  {}", rule::describe(rule, &addresses)))?;
    write_routes(config, out)?;
    write_sources(config, out)?;
    write_delivery(config, out)?;
    write_signing(config, out)?;
    write_feedback(config, out)?;
    write_suppression(config, out)?;
    write_hook(config, out)?;
    write_pages(config, out)?;
    write_acme(config, out)?;
    let bound = match config.spool.size_max {
        0 => "as many as the disk holds".to_owned(),
        size => format!("{} in all", value::show_size(size)),
    };
    writeln!(out, "spool segments of {}, {bound}", value::show_size(config.spool.segment_size))?;
    logs::write(config, out)?;
    match config.control.http {
        Some(address) => {
            let alone = if address.is_ipv6() && address.ip().is_unspecified() { " (IPv6 alone)" } else { "" };
            writeln!(out, "metrics at http://{address}/metrics, health at /healthz{alone}")?;
        }
        None => writeln!(out, "no HTTP")?,
    }
    write_access(config, out)?;
    match &config.control.socket {
        Some(path) => writeln!(out, "commands reach it at {}", path.display())?,
        None => writeln!(out, "no socket for commands")?,
    }
    write_tuning(config, out)?;
    config.shards.iter().try_for_each(|shard| write_shard(config, shard, out))
}

/// Who may ask over HTTP, and what he is shown.
fn write_access(config: &Config, out: &mut String) -> std::fmt::Result {
    if config.control.http.is_none() {
        return Ok(());
    }
    match &config.access.tokens {
        Some(path) => write!(out, "commands over HTTP by the tokens in {}", path.display())?,
        None => write!(out, "commands over HTTP only read, and only from this machine")?,
    }
    if !config.access.names.is_empty() {
        write!(out, ", also as {}", config.access.names.join(", "))?;
    }
    let redact = config.access.redact;
    match (redact.recipient, redact.sender) {
        (true, true) => write!(out, "; who only reads sees recipients and senders shortened")?,
        (true, false) => write!(out, "; who only reads sees recipients shortened")?,
        (false, true) => write!(out, "; who only reads sees senders shortened")?,
        (false, false) => {}
    }
    writeln!(out)
}

/// What one of them is for, and for whom.
fn write_listener(config: &Config, listener: &ListenerConfig, out: &mut String) -> std::fmt::Result {
    write!(out, "listens on {}", listener.address)?;
    if listener.kind != Kind::Relay {
        write!(out, " for {}", listener.kind.word())?;
    }
    write!(out, ", messages up to {}", value::show_size(listener.message_size_max))?;
    write!(out, ", {} recipients each", listener.recipients_max)?;
    if listener.bare_newlines == BareNewlines::Normalise {
        write!(out, ", bare CR and LF become CRLF")?;
    }
    write!(out, "{}{}{}", listener.content, listener.duties, listener.manner)?;
    writeln!(out, "{}", offered_tls(listener))?;
    write_certificates(listener, out)?;
    write_proxies(listener, out)?;
    writeln!(
        out,
        "  at most {} clients at one time, {} of one address",
        listener.connections_max, listener.connections_per_client
    )?;
    let networks: Vec<_> = listener.relay_from.iter().map(ToString::to_string).collect();
    if !networks.is_empty() {
        writeln!(out, "  relays for {}", networks.join(", "))?;
    }
    write_gateway(listener, out)?;
    write_logins(config, listener, out)
}

fn offers_starttls(listener: &ListenerConfig) -> bool {
    listener.tls.is_some() && !listener.kind.is_tls_first()
}

fn offered_tls(listener: &ListenerConfig) -> &'static str {
    match (&listener.tls, listener.kind.is_tls_first()) {
        (Some(_), true) => ", TLS from the first byte",
        (Some(_), false) => ", STARTTLS",
        (None, _) if listener.proxy.tls => ", TLS at its proxies",
        (None, _) => ", no TLS",
    }
}

/// What it shows beside its first certificate, and whose it believes.
fn write_certificates(listener: &ListenerConfig, out: &mut String) -> std::fmt::Result {
    if !listener.more_tls.is_empty() {
        writeln!(
            out,
            "  has {} certificates, by the name that a client asks for",
            listener.certificates().count()
        )?;
    }
    match &listener.client_ca {
        Some(file) => {
            writeln!(out, "  logs clients in by certificates of the authorities in {}", file.display())
        }
        None => Ok(()),
    }
}

/// Whose word is taken for who a client is.
fn write_proxies(listener: &ListenerConfig, out: &mut String) -> std::fmt::Result {
    let names =
        |networks: &[Network]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let proxy = &listener.proxy;
    if !proxy.xclient.is_empty() {
        writeln!(out, "  believes {} for whom they are there (XCLIENT)", names(&proxy.xclient))?;
    }
    if !proxy.handover.is_empty() {
        writeln!(out, "  takes over mail of {} as it was there (XRELEVO)", names(&proxy.handover))?;
    }
    if proxy.from.is_empty() {
        return Ok(());
    }
    let tls = if listener.proxy.tls { " and whether it is under TLS" } else { "" };
    writeln!(out, "  believes {} who a client is{tls} (PROXY protocol)", names(&proxy.from))
}

/// Who gives certificates, and for whom.
fn write_acme(config: &Config, out: &mut String) -> std::fmt::Result {
    if !config.uses_acme() {
        return Ok(());
    }
    let (acme, names) = (&config.acme, config.acme.names(&config.node.hostname).join(", "));
    writeln!(out, "certificates for {names} from {} (ACME)", acme.directory)
}

/// Where recipients unsubscribe.
fn write_pages(config: &Config, out: &mut String) -> std::fmt::Result {
    let public = &config.public;
    for (address, how) in [(public.https, "https"), (public.http, "http")] {
        if let Some(address) = address {
            writeln!(
                out,
                "pages to unsubscribe at {how}://{address}, linked as https://{}/u/...",
                public.host(&config.node.hostname)
            )?;
        }
    }
    Ok(())
}

/// What one shard does differently.
fn write_shard(config: &Config, shard: &ShardConfig, out: &mut String) -> std::fmt::Result {
    let mut parts = Vec::new();
    parts.extend(shard.core.map(|core| format!("on core {core}")));
    if let Some(listeners) = &shard.listeners {
        let addresses = listeners.iter().filter_map(|at| config.listeners.get(*at));
        let addresses: Vec<_> = addresses.map(|listener| listener.address.to_string()).collect();
        parts.push(match addresses.len() {
            0 => "takes no clients".to_owned(),
            _ => format!("listens on {} only", addresses.join(", ")),
        });
    }
    if let Some(lanes) = &shard.lanes {
        let lanes: Vec<_> = lanes.iter().map(u16::to_string).collect();
        parts.push(match lanes.len() {
            0 => "keeps no lane but its own".to_owned(),
            _ => format!("keeps lanes {} besides its own", lanes.join(", ")),
        });
    }
    parts.extend(shard.connections_inbound_max.map(|most| format!("at most {most} clients")));
    parts.extend(
        shard.connections_outbound_max.map(|most| format!("at most {most} connections to next hops")),
    );
    parts.extend(shard.spin.map(|span| format!("looks for work for {}", value::show_duration(span))));
    let delay = shard.commit_delay.map(value::show_duration);
    parts.extend(delay.map(|delay| format!("a commit waits {delay} for more clients")));
    let parts = if parts.is_empty() { "as all of them".to_owned() } else { parts.join("; ") };
    writeln!(out, "shard {}: {parts}", shard.index)
}

fn write_tuning(config: &Config, out: &mut String) -> std::fmt::Result {
    let tuning = &config.tuning;
    match tuning.runtime {
        RuntimeChoice::Auto => write!(out, "shards run on glommio, or on epoll where io_uring is refused")?,
        RuntimeChoice::Glommio => write!(out, "shards run on glommio")?,
        RuntimeChoice::Epoll => write!(out, "shards run on epoll")?,
    }
    if !tuning.spin.is_zero() {
        write!(out, "; idle ones look for work for {}", value::show_duration(tuning.spin))?;
    }
    if tuning.runtime != RuntimeChoice::Epoll {
        write!(out, "; rings of {} entries", tuning.ring_depth)?;
    }
    if !tuning.commit_delay.is_zero() {
        write!(out, "; a commit waits {} for more clients", value::show_duration(tuning.commit_delay))?;
    }
    writeln!(out)
}

fn pattern(domain: &DomainPattern) -> String {
    match domain {
        DomainPattern::Exact(domain) => domain.clone(),
        DomainPattern::Suffix(suffix) => format!("*.{suffix}"),
        DomainPattern::Any => "every other domain".to_owned(),
    }
}

/// How fast one client may go, and who may log in.
fn write_logins(config: &Config, listener: &ListenerConfig, out: &mut String) -> std::fmt::Result {
    let rates = [("messages", listener.messages_per_client), ("recipients", listener.recipients_per_client)];
    for (what, rate) in rates.into_iter().filter_map(|(what, rate)| Some((what, rate?))) {
        writeln!(out, "  at most {rate} {what} of one client")?;
    }
    match (&config.accounts, listener.has_tls()) {
        (Some(_), _) if listener.auth.is_some_and(|auth| auth.is_empty()) => {
            writeln!(out, "  accounts cannot log in here: auth is empty")?
        }
        (Some(file), true) => {
            let after = if offers_starttls(listener) { ", after STARTTLS" } else { "" };
            let by = listener.auth.map(|auth| auth.iter().map(AuthMechanism::name).collect::<Vec<_>>());
            let by = by.map_or(String::new(), |by| format!(", by {}", by.join(", ")));
            writeln!(out, "  relays for the accounts in {}{after}{by}", file.display())?
        }
        (Some(_), false) => writeln!(out, "  accounts cannot log in here: there is no certificate")?,
        _ => {}
    }
    Ok(())
}

/// What strangers may bring.
fn write_gateway(listener: &ListenerConfig, out: &mut String) -> std::fmt::Result {
    let GatewayConfig { domains, verify } = &listener.gateway;
    if domains.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = domains.iter().map(pattern).collect();
    let verified = match verify {
        Verify::Off => "not verified",
        Verify::Report => "verified (SPF, DKIM, DMARC), which is told in Authentication-Results",
        Verify::Enforce => {
            "verified (SPF, DKIM, DMARC), which is told in Authentication-Results; refused where DMARC says reject"
        }
    };
    writeln!(out, "  takes mail to {} from anybody, {verified}", names.join(", "))
}

fn write_routes(config: &Config, out: &mut String) -> std::fmt::Result {
    for route in &config.routes {
        let domain = pattern(&route.domain);
        write!(out, "mail for {domain} {}", ways(&route.to))?;
        let login = route.credentials.iter().map(|name| format!(", logged in with the credentials {name}"));
        login.into_iter().try_for_each(|words| write!(out, "{words}"))?;
        match route.tls() {
            // From the first byte: said with the way.
            Some(TlsLevel::Opportunistic | TlsLevel::Required) if route.to.iter().all(is_smtps) => {
                writeln!(out)?
            }
            Some(TlsLevel::Verified) if route.to.iter().all(is_smtps) => {
                writeln!(out, ", to hosts with a valid certificate")?;
            }
            Some(level) => writeln!(out, ", {}", level.words())?,
            None => writeln!(out)?,
        }
    }
    if !config.routes.iter().any(|route| route.domain == DomainPattern::Any) {
        writeln!(out, "mail for every other domain goes to its MX hosts, port {}", config.delivery.mx_port)?;
    }
    Ok(())
}

/// By which identities mail leaves.
fn write_sources(config: &Config, out: &mut String) -> std::fmt::Result {
    for source in &config.sources {
        let addresses: Vec<_> = source.addresses().map(|address| address.to_string()).collect();
        let from = if addresses.is_empty() { "any address".to_owned() } else { addresses.join(" and ") };
        let name = source.ehlo.as_deref().unwrap_or(&config.node.hostname);
        write!(out, "source {}: from {from} as {name}", source.name)?;
        match &source.proxy {
            Some(proxy) => writeln!(out, ", through {proxy}")?,
            None => writeln!(out)?,
        }
    }
    for pool in &config.pools {
        let member = |(place, weight): &(usize, u16)| format!("{} ({weight})", config.sources[*place].name);
        let members: Vec<_> = pool.members.iter().map(member).collect();
        writeln!(out, "pool {}: sources by weight {}", pool.name, members.join(", "))?;
    }
    match &config.delivery.pool {
        Some(pool) => writeln!(out, "mail that names no pool leaves by {pool}"),
        None if config.sources.is_empty() => Ok(()),
        None => writeln!(out, "mail that names no pool leaves by this machine's own choice of address"),
    }
}

fn write_delivery(config: &Config, out: &mut String) -> std::fmt::Result {
    let servers: Vec<_> = config.dns.servers.iter().map(ToString::to_string).collect();
    let servers =
        if servers.is_empty() { "those of /etc/resolv.conf".to_owned() } else { servers.join(", ") };
    writeln!(
        out,
        "name servers: {servers}; {} tries of {}",
        config.dns.attempts,
        value::show_duration(config.dns.timeout)
    )?;
    writeln!(
        out,
        "at most {} connections to one destination, {} to one address; STARTTLS to next hops {}",
        config.delivery.connections_per_destination,
        config.delivery.connections_per_address,
        if config.delivery.starttls { "where they offer it" } else { "never" }
    )?;
    let policies = if config.tls.mta_sts { "obeyed" } else { "not asked for" };
    writeln!(out, "policies of domains on TLS (MTA-STS) are {policies}")?;
    if config.tls.dane {
        let servers: Vec<_> = config.tls.trust_ad.iter().map(ToString::to_string).collect();
        writeln!(out, "certificates that the DNS names (DANE) are believed of {}", servers.join(", "))?;
    }
    if let Some(reports) = &config.tls.reports {
        let words = "domains that want reports of TLS get them from";
        writeln!(out, "{words} {}; ask {} about them", reports.from, reports.contact)?;
    }
    if config.delivery.private_networks == PrivateNetworks::Allow {
        writeln!(out, "MX hosts may be in private networks")?;
    }
    let retry = &config.retry;
    let wait = |attempts| std::time::Duration::from_secs(retry.wait(attempts) as u64);
    let waits: Vec<String> = (1..=6).map(|attempts| value::show_duration(wait(attempts))).collect();
    writeln!(
        out,
        "retries after {} and so on, each a fifth more or less, at most {} apart; given up after {}",
        waits.join(", "),
        value::show_duration(retry.max),
        value::show_duration(retry.expire)
    )?;
    let lists = &config.blocklists;
    if !lists.zones.is_empty() {
        let rests = if lists.rest { ", and rests while it is listed" } else { "" };
        let every = value::show_duration(lists.every);
        writeln!(
            out,
            "addresses of sources are looked up in {} every {every}; one that is listed is told{rests}",
            lists.zones.join(", ")
        )?;
    }
    let late = config.bounces.delay_warning;
    match (config.bounces.dsn, late.is_zero()) {
        (false, _) => writeln!(out, "senders are not told what becomes of their mail (bounces.dsn)"),
        (true, true) => Ok(()),
        (true, false) => {
            writeln!(out, "senders of mail that has waited for {} are told so", value::show_duration(late))
        }
    }
}

/// What comes back, and where to.
fn write_feedback(config: &Config, out: &mut String) -> std::fmt::Result {
    if let Some(domain) = &config.feedback.verp_domain {
        writeln!(out, "each copy leaves with a return path of its own at {domain}")?;
    }
    let places: Vec<&str> = config.feedback.places().collect();
    match places.is_empty() {
        true => Ok(()),
        false => writeln!(out, "bounces and complaints are taken from anybody for {}", places.join(", ")),
    }
}

/// Who gets no mail.
fn write_suppression(config: &Config, out: &mut String) -> std::fmt::Result {
    let SuppressionConfig { auto, hard_bounces, scope, on_match } = config.suppression;
    let what = if on_match == OnMatch::Reject { "refused" } else { "taken, and get nothing" };
    write!(out, "recipients on the suppression list are {what}")?;
    let times = if hard_bounces > 1 { format!(" ({hard_bounces} times)") } else { String::new() };
    let who = match (auto.hard_bounce, auto.complaint) {
        (false, false) => return writeln!(out, "; nobody comes on it by himself"),
        (true, false) => format!("mailboxes that are not there{times}"),
        (false, true) => "whoever complains".to_owned(),
        (true, true) => format!("mailboxes that are not there{times} and whoever complains"),
    };
    let whom = if scope == SuppressionScope::Tenant { "for the tenant" } else { "for all mail" };
    writeln!(out, "; {who} come on it, {whom}")
}

/// Who is asked about mail.
fn write_hook(config: &Config, out: &mut String) -> std::fmt::Result {
    let Some(HookConfig { url, deadline, fail, secret_file, .. }) = &config.hook else { return Ok(()) };
    let signed = if secret_file.is_some() { ", by signed questions" } else { "" };
    let mail = if *fail == HookFail::Accept { "taken" } else { "put off" };
    let time = value::show_duration(*deadline);
    writeln!(out, "each message is asked about at {url}{signed}; without an answer in {time} it is {mail}")
}

/// Who signs mail.
fn write_signing(config: &Config, out: &mut String) -> std::fmt::Result {
    let dkim = &config.dkim;
    let Some(keys) = &dkim.keys else { return writeln!(out, "mail is not signed") };
    write!(
        out,
        "mail from accounts and relay_from is signed by the domain of its From field, keys in {}",
        keys.display()
    )?;
    if let Some(relay) = &dkim.relay_domain {
        write!(out, ", and by {relay}")?;
    }
    write!(out, "; {}/{}", dkim.header.name(), dkim.body.name())?;
    if let Some(lifetime) = dkim.lifetime {
        write!(out, ", for {}", value::show_duration(lifetime))?;
    }
    match dkim.eight_bit {
        EightBit::Encode => writeln!(out, "; 8-bit text is encoded before")?,
        EightBit::Keep => writeln!(out, "; 8-bit text stays as it is")?,
    }
    for key in &dkim.named {
        let day = |point: UnixMillis| {
            let mut text = Vec::new();
            point.write_iso(&mut text);
            String::from_utf8_lossy(&text).replace(".000Z", "Z")
        };
        write!(out, "  key {} of {} signs", key.selector, key.domain)?;
        if key.from > UnixMillis(0) {
            write!(out, " from {}", day(key.from))?;
        }
        if key.until < UnixMillis(u64::MAX) {
            write!(out, " until {}", day(key.until))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn is_smtps(choice: &Choice) -> bool {
    matches!(choice.target, RouteTarget::Host { scheme: Scheme::Smtps, .. })
}

/// Where a route leads, in words.
fn ways(choices: &[Choice]) -> String {
    let one = |choice: &Choice| match &choice.target {
        RouteTarget::Mx => "its MX hosts".to_owned(),
        target @ RouteTarget::Local(_) => target.to_string(),
        RouteTarget::Host { scheme, host, port } => {
            let by = match scheme {
                Scheme::Smtp => "",
                Scheme::Smtps => " under TLS",
                Scheme::Lmtp => " by LMTP",
            };
            format!("{host} port {port}{by}")
        }
        RouteTarget::Socket(path) => format!("the socket {} by LMTP", path.display()),
    };
    match choices {
        [Choice { target: RouteTarget::Local(end), .. }] => format!("is {}", end.word()),
        [only] => format!("goes to {}", one(only)),
        _ => {
            let mut sorted: Vec<&Choice> = choices.iter().collect();
            sorted.sort_by_key(|choice| choice.order);
            let ranks = sorted.chunk_by(|one, other| one.order == other.order).map(|rank| {
                let weights = rank.len() > 1;
                let share = |choice: &&Choice| {
                    let weight = if weights { format!(" (weight {})", choice.weight) } else { String::new() };
                    format!("{}{weight}", one(choice))
                };
                rank.iter().map(share).collect::<Vec<_>>().join(" or ")
            });
            format!("goes to {}", ranks.collect::<Vec<_>>().join(", and where that cannot be reached to "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn signing_is_told_in_words() {
        let told = |text: &str| super::describe(&Config::parse(text, Path::new("relevo.toml")).expect(text));
        assert!(told("").contains("mail is not signed\n"));
        let keys = "[dkim]\nkeys = \"/keys\"\n";
        let begin =
            "mail from accounts and relay_from is signed by the domain of its From field, keys in /keys";
        let usual = format!("{begin}; relaxed/relaxed; 8-bit text is encoded before\n");
        assert!(told(keys).contains(&usual), "{}", told(keys));
        let text = format!(
            "{keys}relay_domain = \"r.example\"\nlifetime = \"7d\"\neight_bit = \"keep\"\n\
             [[dkim.key]]\ndomain = \"d.example\"\nselector = \"r1\"\nfrom = 2026-12-01\n"
        );
        let words =
            format!("{begin}, and by r.example; relaxed/relaxed, for 7d; 8-bit text stays as it is\n");
        assert!(told(&text).contains(&words), "{}", told(&text));
        assert!(
            told(&text).contains("  key r1 of d.example signs from 2026-12-01T00:00:00Z\n"),
            "{}",
            told(&text)
        );
    }

    #[test]
    fn routes_are_told_in_words() {
        for (to, words) in [
            ("\"mx\"", "goes to its MX hosts"),
            ("\"discard\"", "is discarded"),
            ("\"smtps://a.example\"", "goes to a.example port 465 under TLS"),
            ("\"lmtp:/run/dovecot/lmtp\"", "goes to the socket /run/dovecot/lmtp by LMTP"),
            (
                "[{ to = \"smtp://c\", order = 1 }, { to = \"smtp://a\", weight = 3 }, { to = \"smtp://b\" }]",
                "goes to a port 25 (weight 3) or b port 25 (weight 1), and where that cannot be reached to c port 25",
            ),
        ] {
            let text = format!("[[route]]\ndomain = \"x.example\"\nto = {to}\n");
            let told = Config::parse(&text, Path::new("relevo.toml")).expect("a configuration");
            let told = super::describe(&told);
            let line = format!("mail for x.example {words}\n");
            assert!(told.contains(&line), "{told}");
        }
        for (tls, words) in
            [("opportunistic", ""), ("require", ""), ("verify", ", to hosts with a valid certificate")]
        {
            let text = format!("[[route]]\ndomain = \"*\"\nto = \"smtps://a.example\"\ntls = \"{tls}\"\n");
            let told = super::describe(&Config::parse(&text, Path::new("relevo.toml")).expect("one"));
            let line = format!("mail for every other domain goes to a.example port 465 under TLS{words}\n");
            assert!(told.contains(&line), "{told}");
        }
        for to in ["lmtp:/run/x", "discard"] {
            for tls in ["off", "opportunistic", "require", "verify"] {
                let text = format!("[[route]]\ndomain = \"*\"\nto = \"{to}\"\ntls = \"{tls}\"\n");
                let refused =
                    Config::parse(&text, Path::new("relevo.toml")).expect_err("it means nothing there");
                assert!(refused.len() == 1 && refused[0].key == "route[0].tls", "{refused:?}");
            }
        }
        for (tls, words) in [
            ("off", "in plain text"),
            ("opportunistic", "under TLS where it is offered"),
            ("require", "under TLS only"),
            ("verify", "only under TLS, to hosts with a valid certificate"),
        ] {
            let text = format!("[[route]]\ndomain = \"*\"\nto = \"mx\"\ntls = \"{tls}\"\n");
            let told = super::describe(&Config::parse(&text, Path::new("relevo.toml")).expect("one"));
            let line = format!("mail for every other domain goes to its MX hosts, {words}\n");
            assert!(told.contains(&line), "{told}");
        }
    }
}
