//! By which name servers incoming mail is verified: those of the configuration that is in force.

use crate::control::verifier::{ResolveSettings, Resolving};
use crate::node::sts::{InForce, Settings};

impl<T: InForce> ResolveSettings for Settings<T> {
    fn resolving(&self) -> Resolving {
        let live = self.0.in_force();
        let dns = &live.config.dns;
        // What the machine says changes without a reload.
        let latest =
            dns.latest.newer(0).map(|(_, files)| files.servers).filter(|servers| !servers.is_empty());
        let servers = latest.unwrap_or_else(|| dns.servers.clone());
        Resolving { servers, timeout: dns.timeout, attempts: dns.attempts as usize }
    }
}
