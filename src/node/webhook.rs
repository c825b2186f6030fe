//! How webhooks are reached: by name servers, gate and authorities of the configuration that is in force.

use std::net::{IpAddr, SocketAddr};

use crate::control::webhook::WebhookSettings;
use crate::dns::{Answer, QueryType};
use crate::lookup::Lookup;
use crate::node::sts::{InForce, Settings};
use crate::policy::tls;
use crate::route::gate::NamedBy;

impl<T: InForce> WebhookSettings for Settings<T> {
    fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let lookup = Lookup::new(&self.0.in_force().config.dns);
        let (mut found, mut trouble) = (Vec::new(), None);
        for kind in [QueryType::A, QueryType::Aaaa] {
            match lookup.ask(kind, host) {
                Ok(Answer::Addresses(some)) => found.extend(some),
                Ok(_) => {}
                Err(error) => trouble = Some(format!("cannot look up the address of {host}: {error}")),
            }
        }
        match trouble.filter(|_| found.is_empty()) {
            Some(trouble) => Err(trouble),
            None => Ok(found),
        }
    }

    fn is_public(&self, address: SocketAddr) -> bool {
        self.0.in_force().gate.admit(address, NamedBy::Stranger).is_ok()
    }

    fn tls(&self) -> Option<tls::Client> {
        self.0.in_force().verifying.clone()
    }
}
