//! Where mail goes: relayhost, transport maps, and who we are at smart hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use super::hops::{Hop, Target};
use super::maps::Entry;
use super::parameters::{items, seconds};
use crate::import::words::{self, quoted, time};
use crate::import::{Id, ImportError};

/// What routes know of each other.
#[derive(Default)]
pub(super) struct Routes {
    domains: BTreeSet<String>,
    logins: BTreeMap<String, Entry>,
    /// Login names that are there, by the key of the map.
    made: BTreeMap<String, String>,
    /// Where the mail of a client of master.cf goes.
    places: BTreeMap<usize, BTreeSet<String>>,
}

impl Reader<'_, '_> {
    pub(super) fn routes(&mut self) -> Result<(), ImportError> {
        let mut routes = Routes { logins: self.logins()?, ..Routes::default() };
        self.tls_level();
        if let Some((value, id)) = self.main.get("transport_maps") {
            for entry in self.entries(&value, id, false)? {
                self.transport(&mut routes, &entry);
            }
        }
        self.stores(&mut routes)?;
        self.default_route(&mut routes);
        self.unused_logins(&routes);
        self.limits_of_clients(&routes);
        self.tls_policies()
    }

    fn transport(&mut self, routes: &mut Routes, entry: &Entry) {
        let key = entry.key.as_str();
        let domain = match key {
            "*" => "*".to_owned(),
            key if key.contains('@') => {
                let words = "one address: routes are by domain; a mail store behind the domain's route can tell addresses apart";
                return self.out.ledger.none(entry.id, words);
            }
            key => match key.strip_prefix('.') {
                Some(above) => format!("*.{above}"),
                None => key.to_owned(),
            },
        };
        let (target, client) = self.target(&entry.value);
        self.route(routes, &domain, (target, client), &[entry.id]);
    }

    /// Mail of domains that Postfix keeps itself or relays, where a parameter says by what.
    fn stores(&mut self, routes: &mut Routes) -> Result<(), ImportError> {
        for (domains, transports) in [
            ("relay_domains", &["relay_transport"][..]),
            ("virtual_mailbox_domains", &["virtual_transport"][..]),
            ("mydestination", &["mailbox_transport", "local_transport"][..]),
        ] {
            let found = transports.iter().find_map(|name| self.main.get(name)).filter(|one| !one.0.is_empty());
            let Some((value, id)) = found else { continue };
            let (target, client) = self.target(&value);
            if target == Target::Mx {
                self.out.ledger.usual(id, "by SMTP to the MX, as all mail");
                continue;
            }
            let all = self.main.get(domains).map(|(value, _)| items(&value)).unwrap_or_default();
            let all: Vec<String> = all
                .into_iter()
                .filter(|domain| !domain.contains(['/', ':']) && !domain.starts_with("localhost") && words::is_domain(domain))
                .collect();
            if let Target::Nowhere(words) = &target {
                self.out.ledger.none(id, words);
                continue;
            }
            if all.is_empty() {
                self.out.ledger.none(id, "no domain is named in main.cf for it: write a [[route]] for each");
            }
            for domain in all {
                self.route(routes, &domain, (target.clone(), client), &[id]);
            }
        }
        Ok(())
    }

    /// Of all other mail.
    fn default_route(&mut self, routes: &mut Routes) {
        let spare = self.main.get("smtp_fallback_relay").or_else(|| self.main.get("fallback_relay")).filter(|one| !one.0.is_empty());
        if let Some((value, id)) = self.main.get("default_transport").filter(|(value, _)| value.contains(':') && !value.starts_with("randmap:")) {
            let (target, client) = self.target(&value);
            self.route(routes, "*", (target, client), &[id]);
        } else if let Some((value, id)) = self.main.get("relayhost") {
            if value.is_empty() {
                self.out.ledger.usual(id, "to the MX, as here");
            } else {
                let (target, client) = self.target(&format!("smtp:{value}"));
                self.route(routes, "*", (target, client), &[id]);
            }
        }
        let Some((value, id)) = spare else { return };
        let hops: Option<Vec<Hop>> = items(&value).iter().map(|one| super::hops::hop(one)).collect();
        let Some(hops) = hops.filter(|hops| !hops.is_empty() && hops.len() < 16) else {
            return self.out.ledger.none(id, "no host that can be named in a route");
        };
        if routes.domains.contains("*") {
            let words = "add it to the list of the route of \"*\": { to = \"smtp://spare\", order = 1 }";
            return self.out.ledger.none(id, words);
        }
        let spares = hops.iter().enumerate().map(|(at, hop)| format!("{{ to = {}, order = {} }}", quoted(&hop.url("smtp")), at + 1));
        let to = format!("[{{ to = \"mx\" }}, {}]", spares.collect::<Vec<_>>().join(", "));
        let section = self.out.relevo.push("[[route]]", &[]);
        section.set("domain", &quoted("*"), &[id]);
        section.set("to", &to, &[id]);
        self.out.ledger.translated(id);
    }

    fn route(&mut self, routes: &mut Routes, domain: &str, (target, client): (Target, Option<usize>), from: &[Id]) {
        let Some(first) = from.first().copied() else { return };
        if !routes.domains.insert(domain.to_owned()) {
            return self.out.ledger.none(first, "there is a route for this domain already, and the first one holds");
        }
        if let Target::Nowhere(words) = &target {
            return self.out.ledger.none(first, words);
        }
        if let Target::Reject(words) = &target {
            return self.reject(domain, words, first);
        }
        let pool = client.and_then(|at| self.source_of(at));
        if let Some(pool) = &pool {
            let section = self.out.relevo.push("[[rule]]", &[]);
            let recipient = if domain == "*" || domain.starts_with("*.") { domain.to_owned() } else { format!("@{domain}") };
            section.set("match", &format!("{{ recipient = {} }}", quoted(&recipient)), from);
            section.set("set", &format!("{{ pool = {} }}", quoted(pool)), from);
        }
        if let Some(at) = client {
            let places = routes.places.entry(at).or_default();
            match &target {
                Target::Hosts(_, hops) => places.extend(hops.iter().map(|hop| hop.host.clone())),
                _ => _ = places.insert(domain.trim_start_matches("*.").to_owned()),
            }
        }
        let Some(to) = target.to() else { return };
        let mut lines = vec![("domain".to_owned(), quoted(domain), from.to_vec()), ("to".to_owned(), to, from.to_vec())];
        from.iter().for_each(|id| self.out.ledger.translated(*id));
        let mut logged_in = false;
        if let Target::Hosts(scheme, hops) = &target {
            if hops.iter().any(|hop| hop.by_mx) && *scheme != "lmtp" {
                let words = "Postfix looks for the MX records of a host without brackets; a route goes to the host itself";
                self.out.ledger.differs(first, words);
            }
            if *scheme != "lmtp" {
                if let Some((name, id)) = self.login(routes, hops) {
                    lines.push(("credentials".to_owned(), quoted(&name), vec![id]));
                    logged_in = true;
                }
            }
        }
        let has_tls = matches!(target, Target::Mx | Target::Hosts(..));
        if let Some((level, id)) = client.and_then(|at| self.own_level(at)).filter(|_| has_tls && !logged_in) {
            lines.push(("tls".to_owned(), quoted(level), vec![id]));
        }
        let section = self.out.relevo.push("[[route]]", &[]);
        lines.iter().for_each(|(key, value, from)| section.set(key, value, from));
    }

    fn reject(&mut self, domain: &str, words: &str, id: Id) {
        let text = words.trim_matches('"').trim();
        let (code, text) = match text.split_once(' ') {
            Some((code, text)) if code.starts_with("5.") && code.len() <= 8 => (code, text),
            _ => ("5.1.1", text),
        };
        let text: String = text.chars().filter(|letter| letter.is_ascii() && !letter.is_ascii_control()).take(200).collect();
        let text = if text.is_empty() { "undeliverable".to_owned() } else { text };
        let recipient = if domain.starts_with('*') { domain.to_owned() } else { format!("@{domain}") };
        let section = self.out.relevo.push("[[rule]]", &[]);
        section.set("match", &format!("{{ recipient = {} }}", quoted(&recipient)), &[id]);
        section.set("action", &quoted(&format!("reject 550 {code} {text}")), &[id]);
        self.out.ledger.differs(id, "refused at RCPT, in place of a bounce later");
    }

    /// `smtp_sasl_password_maps`
    fn logins(&mut self) -> Result<BTreeMap<String, Entry>, ImportError> {
        let Some((value, id)) = self.main.get("smtp_sasl_password_maps") else { return Ok(BTreeMap::new()) };
        let on = self.main.get("smtp_sasl_auth_enable").is_some_and(|(value, _)| words::yes(&value));
        let mut all = BTreeMap::new();
        for entry in self.entries(&value, id, true)? {
            if !on {
                self.out.ledger.none(entry.id, "smtp_sasl_auth_enable is not yes, so Postfix does not log in either");
            } else if all.contains_key(&entry.key) {
                self.out.ledger.usual(entry.id, "an earlier line has this host");
            } else {
                all.insert(entry.key.clone(), entry);
            }
        }
        if let Some((_, id)) = self.main.get("smtp_sasl_auth_enable") {
            self.out.ledger.translated(id);
        }
        Ok(all)
    }

    /// Who we are at one of these hosts.
    fn login(&mut self, routes: &mut Routes, hops: &[Hop]) -> Option<(String, Id)> {
        let keys = hops.iter().flat_map(|hop| [hop.written.clone(), format!("[{}]", hop.host), hop.host.clone()]);
        let entry = keys.into_iter().find_map(|key| routes.logins.get(&key))?.clone();
        let name = match routes.made.get(&entry.key) {
            Some(name) => name.clone(),
            None => {
                let Some((user, password)) = entry.value.split_once(':').filter(|(user, secret)| !user.is_empty() && !secret.is_empty()) else {
                    self.out.ledger.none(entry.id, "there is no user:password");
                    return None;
                };
                let host = hops.first().map_or("smart", |hop| hop.host.as_str());
                let mut name = words::name(host).replace('.', "-");
                if routes.made.values().any(|taken| *taken == name) {
                    name = format!("{name}-{}", routes.made.len());
                }
                let path = format!("credentials/{name}.password");
                let full = quoted(&format!("{}/{path}", self.terms.at));
                let value = format!("{{ user = {}, password_file = {full} }}", quoted(user));
                self.out.relevo.set("[credentials]", &quoted(&name), &value, &[entry.id]);
                self.out.files.push((path, format!("{password}\n")));
                routes.made.insert(entry.key.clone(), name.clone());
                name
            }
        };
        let words = "the password is told to a host with a valid certificate for its name alone (docs/smart-hosts.md)";
        self.out.ledger.differs(entry.id, words);
        Some((name, entry.id))
    }

    fn unused_logins(&mut self, routes: &Routes) {
        for (key, entry) in &routes.logins {
            if !routes.made.contains_key(key) && !self.out.ledger.is_marked(entry.id) {
                let words = "no route that was made goes to this host: add [credentials] and name it where one does";
                self.out.ledger.none(entry.id, words);
            }
        }
    }

    /// `CLIENT_destination_concurrency_limit` and its kin, of the hosts that the client's mail goes to.
    fn limits_of_clients(&mut self, routes: &Routes) {
        for at in 0..self.services.len() {
            let service = self.services[at].name.clone();
            if matches!(service.as_str(), "smtp" | "default") || self.client(&service) != Some(at) {
                continue;
            }
            for (suffix, key) in [
                ("destination_concurrency_limit", "connection_limit"),
                ("destination_rate_delay", "max_message_rate"),
                ("destination_recipient_limit", "max_recipients_per_batch"),
            ] {
                let Some((value, id)) = self.main.get(&format!("{service}_{suffix}")) else { continue };
                let value = match (key, seconds(&value, 1)) {
                    (_, Some(0)) | (_, None) => {
                        self.out.ledger.usual(id, "no limit");
                        continue;
                    }
                    ("max_message_rate", Some(span)) => quoted(&format!("1/{}", time(span))),
                    (_, Some(count)) => count.to_string(),
                };
                let none = BTreeSet::new();
                let places = routes.places.get(&at).unwrap_or(&none);
                if places.is_empty() {
                    self.out.ledger.none(id, "no route by domain goes by this client: write a section of shaping.toml for whom it is");
                }
                for place in places.iter().filter(|place| *place != "*") {
                    let source = self.out.relevo.sections.iter().any(|one| one.value("name") == Some(&quoted(&words::name(&service))));
                    let head = match source {
                        true => format!("[{}.sources.{}]", quoted(place), quoted(&words::name(&service))),
                        false => format!("[{}]", quoted(place)),
                    };
                    self.out.shaping.set(&head, key, &value, &[id]);
                    self.out.ledger.translated(id);
                }
            }
        }
    }
}
