//! What others than mail reach: ports that two want, and ways out of lists that lead nowhere.

use std::net::SocketAddr;

use crate::config::literal::quoted;
use crate::config::value::covers;
use crate::config::{Config, ConfigError};

/// Listeners, HTTP and pages that want the same port: the start would fail.
pub fn clashes(config: &Config) -> Vec<ConfigError> {
    let [control, https, http] = [
        ("control.http", config.control.http, 8025),
        ("public.https", config.public.https, 443),
        ("public.http", config.public.http, 8081),
    ];
    let wanted =
        [control, https, http].into_iter().filter_map(|(key, address, usual)| Some((key, address?, usual)));
    let mut taken: Vec<(String, SocketAddr)> = config
        .listeners
        .iter()
        .enumerate()
        .filter_map(|(at, listener)| Some((format!("listener[{at}]"), listener.address.network()?)))
        .collect();
    let mut found = Vec::new();
    for (key, address, usual) in wanted.filter(|(_, address, _)| address.port() != 0) {
        let same = |other: SocketAddr| other == address || covers(other, address) || covers(address, other);
        if let Some((name, other)) = taken.iter().find(|(_, other)| same(*other)) {
            let problem = format!("{address} is wanted by {name} ({other}) too");
            let mut free = address;
            free.set_port(if address.port() == usual { usual + 1 } else { usual });
            found.push(config.places.propose(key, problem, &quoted(&free.to_string()), ", another port"));
        }
        taken.push((key.to_owned(), address));
    }
    found
}

/// Rules that promise pages which nobody serves.
pub(super) fn judge(config: &Config, found: &mut Vec<ConfigError>) {
    if !config.public.is_off() {
        return;
    }
    for (at, _) in config.rules.iter().enumerate().filter(|(_, rule)| rule.set.unsubscribe) {
        let problem = "no pages are served by which anybody could unsubscribe: this adds nothing";
        let fix = "set https in [public], or http behind a web server of yours";
        found.push(config.places.remark(&format!("rule[{at}].set.unsubscribe"), problem, fix));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Config {
        let text = format!("node.hostname = \"mx1.example.net\"\n{text}");
        Config::parse(&text, Path::new("relevo.toml")).expect("a configuration")
    }

    #[test]
    fn a_port_is_for_one_alone() {
        let keys =
            |text: &str| -> Vec<String> { clashes(&read(text)).into_iter().map(|error| error.key).collect() };
        assert_eq!(keys("[public]\nhttp = \"127.0.0.1:8081\"\n"), [""; 0]);
        assert_eq!(keys("[public]\nhttp = \"0.0.0.0:2525\"\n"), ["public.http"]);
        assert_eq!(keys("[control]\nhttp = \"127.0.0.1:2525\"\n"), ["control.http"]);
        assert_eq!(
            keys("[control]\nhttp = \"127.0.0.1:8081\"\n[public]\nhttp = \"127.0.0.1:8081\"\n"),
            ["public.http"]
        );
    }

    #[test]
    fn a_way_out_that_leads_nowhere_is_told() {
        let rule = "[[rule]]\nset = { unsubscribe = true }\n";
        let told = |text: &str| {
            let mut found = Vec::new();
            judge(&read(text), &mut found);
            found.iter().any(|told| told.key.ends_with("unsubscribe"))
        };
        assert!(told(rule) && !told(&format!("{rule}[public]\nhttp = \"127.0.0.1:8081\"\n")));
    }
}
