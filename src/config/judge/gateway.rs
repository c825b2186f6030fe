//! What would start and should not: domains that are taken from anybody, and go nowhere.

use crate::config::literal::quoted;
use crate::config::{Config, ConfigError, DomainPattern, RouteTarget};

/// Domains of `relay_to` without a route: by their MX they lead back here.
pub(super) fn judge(config: &Config, found: &mut Vec<ConfigError>) {
    for (at, listener) in config.listeners.iter().enumerate() {
        let Some(astray) = listener.gateway.domains.iter().find(|domain| !is_led(config, domain)) else {
            continue;
        };
        let name = match astray {
            DomainPattern::Suffix(name) => format!("*.{name}"),
            DomainPattern::Exact(name) => name.clone(),
            DomainPattern::Any => continue,
        };
        let problem =
            format!("{name} is taken from anybody, and goes to its MX hosts: that is probably this one");
        let fix = format!(
            "say where it goes: a [[route]] with domain = {} and to = \"smtp://host:port\" or \"lmtp:/path\"",
            quoted(&name)
        );
        found.push(config.places.remark(&format!("listener[{at}].relay_to"), problem, fix));
    }
}

/// Whether a route leads such mail somewhere else than its MX does.
fn is_led(config: &Config, domain: &DomainPattern) -> bool {
    config.routes.iter().any(|route| {
        let is_elsewhere = route.to.iter().any(|choice| choice.target != RouteTarget::Mx);
        is_elsewhere
            && match (&route.domain, domain) {
                (DomainPattern::Any, _) => true,
                (one, other) if one == other => true,
                (DomainPattern::Suffix(above), DomainPattern::Exact(name) | DomainPattern::Suffix(name)) => {
                    name.strip_suffix(above.as_str()).is_some_and(|rest| rest.ends_with('.'))
                }
                _ => false,
            }
    })
}
