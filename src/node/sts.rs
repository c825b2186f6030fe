//! By what the policies of domains are fetched: name servers, gate and authorities of the configuration that is in force.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::control::sts::{FetchSettings, Fetching};
use crate::control::tls_rpt::{ReportSettings, Reporting};
use crate::dns::{Answer, QueryType};
use crate::lookup::Lookup;
use crate::route::gate::NamedBy;
use crate::shard::live::LiveConfig;

/// What is in force.
pub(super) trait InForce: Send + Sync {
    /// As it is now.
    fn in_force(&self) -> Arc<LiveConfig>;
}

/// The settings that it has.
pub(super) struct Settings<T>(pub Arc<T>);

impl<T: InForce> FetchSettings for Settings<T> {
    fn fetching(&self) -> Fetching {
        let live = self.0.in_force();
        let (port, tls) = (live.config.tls.mta_sts_port, live.verifying.clone());
        let reports = live.config.tls.reports.is_some();
        Fetching { port, tls, reports, addresses: Box::new(move |host| addresses(&live, host, port)) }
    }
}

impl<T: InForce> ReportSettings for Settings<T> {
    fn reporting(&self) -> Option<Reporting> {
        let live = self.0.in_force();
        let (config, hostname) = (live.config.tls.reports.clone()?, live.config.node.hostname.clone());
        let (dns, tls) = (live.config.dns.clone(), live.verifying.clone());
        let addresses = Box::new(move |host: &str, port| addresses(&live, host, port));
        Some(Reporting { config, hostname, dns, tls, addresses })
    }
}

/// Where a stranger's web server may be asked: what is in a private network is none.
fn addresses(live: &LiveConfig, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let lookup = Lookup::new(&live.config.dns);
    let (mut found, mut trouble) = (Vec::new(), None);
    for kind in [QueryType::A, QueryType::Aaaa] {
        match lookup.ask(kind, host) {
            Ok(Answer::Addresses(some)) => found.extend(some),
            Ok(_) => {}
            Err(error) => trouble = Some(format!("cannot look up the address of {host}: {error}")),
        }
        // The second is asked for only where the first brings nothing.
        if !found.is_empty() {
            break;
        }
    }
    if let Some(trouble) = trouble.filter(|_| found.is_empty()) {
        return Err(trouble);
    }
    let admitted = found.iter().filter_map(|address| {
        live.gate
            .admit(SocketAddr::new(*address, port), NamedBy::Stranger)
            .ok()
            .map(|admitted| admitted.address())
    });
    let admitted: Vec<SocketAddr> = admitted.collect();
    match (admitted.is_empty(), found.first()) {
        (true, Some(address)) => {
            Err(format!("{host} has the address {address}, which may not be connected to"))
        }
        _ => Ok(admitted),
    }
}
