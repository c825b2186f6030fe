//! The internet behind the relay: a name server, and a sink that plays all its hosts.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::scenario::{DomainNames, Names, Scenario, ScenarioError};
use crate::message::SENDER_DOMAIN;
use crate::sink::{Behaviour, Sink, SinkConfig, Site};
use crate::tls::Authority;
use crate::{DnsServer, Domains, Zone};

/// Where the name server listens if it may: programs that only know port 53 can be pointed to it.
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 53, 53, 53)), 53);
/// Ports for the hosts, the first that can be had.
const PORTS: [u16; 6] = [25, 2525, 20_025, 20_026, 20_027, 20_028];
/// The second byte of the first site's addresses.
const FIRST_NET: usize = 100;
/// How many of them there are.
const NETS: usize = 150;

/// A running internet; it ends when it is dropped.
pub struct Internet {
    /// All its hosts.
    pub sink: Sink,
    /// Its names.
    pub dns: DnsServer,
    /// The port all its hosts listen on.
    pub port: u16,
    /// Where the recipients of the scenario are.
    pub domains: Domains,
    /// Names of its sites, in the order of the sink's.
    pub sites: Vec<String>,
    /// Behaviours to come: when since the start of the load, which site.
    pub changes: Vec<(Duration, usize, Behaviour)>,
}

impl Internet {
    /// Builds the one of a scenario.
    pub fn start(
        scenario: &Scenario,
        threads: usize,
        seed: u64,
        authority: &Arc<Authority>,
    ) -> io::Result<Internet> {
        let plan = Plan::of(scenario);
        let zone = format!("{}\n{}", plan.zone, scenario.zone);
        let zone = Zone::parse(&zone).map_err(|error| io::Error::other(format!("names: {error}")))?;
        let dns = match DnsServer::start(DNS, zone.clone()) {
            Ok(server) => server,
            Err(_) => DnsServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), zone)?,
        };
        let mut last = None;
        for port in PORTS {
            let mut config = SinkConfig::of_sites(plan.sites(port));
            (config.threads, config.seed) = (threads, seed);
            config.authority = Some(Arc::clone(authority));
            config.names = plan.hosts.clone();
            match Sink::start(config) {
                Ok(sink) => {
                    let domains = scenario.domains().map_err(|ScenarioError(text)| io::Error::other(text))?;
                    return Ok(Internet {
                        sink,
                        dns,
                        port,
                        domains,
                        sites: plan.names(),
                        changes: plan.changes,
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }
}

/// What a scenario's internet is made of.
struct Plan {
    zone: String,
    /// Sites without their ports.
    bare: Vec<(Site, Vec<Ipv4Addr>)>,
    hosts: Vec<String>,
    changes: Vec<(Duration, usize, Behaviour)>,
}

impl Plan {
    fn of(scenario: &Scenario) -> Plan {
        let mut plan = Plan { zone: String::new(), bare: Vec::new(), hosts: Vec::new(), changes: Vec::new() };
        for (at, spec) in scenario.sites.iter().enumerate() {
            let owners = match &spec.domains {
                DomainNames::Listed(names) => names.clone(),
                DomainNames::Many(..) => vec![format!("*.{}.example", spec.name)],
            };
            plan.add(at, &spec.name, &owners, spec.hosts, spec.names, spec.behaviour.clone());
            plan.changes.extend(spec.later.iter().map(|(after, behaviour)| (*after, at, behaviour.clone())));
        }
        // Bounces always find somebody.
        let owners = [SENDER_DOMAIN.to_owned()];
        plan.add(scenario.sites.len(), "return", &owners, 1, Names::Ok, Behaviour::default());
        plan.changes.sort_by_key(|(after, ..)| *after);
        plan
    }

    fn add(
        &mut self,
        at: usize,
        name: &str,
        owners: &[String],
        hosts: u32,
        names: Names,
        behaviour: Behaviour,
    ) {
        // Those that do not fit into the second byte go on in the third.
        let (net, below) = (FIRST_NET + at % NETS, at / NETS);
        let address = |host: u32| Ipv4Addr::new(127, net as u8, below as u8, host as u8);
        let addresses: Vec<_> = (1..=hosts).map(address).collect();
        let mut site = Site::new(name, Vec::new());
        (site.domains, site.behaviour) = (owners.to_vec(), behaviour);
        for owner in owners {
            // Writing to a String cannot fail.
            let _ = match names {
                Names::Nxdomain => writeln!(self.zone, "{owner} NXDOMAIN"),
                Names::Servfail => writeln!(self.zone, "{owner} SERVFAIL"),
                Names::Silent => writeln!(self.zone, "{owner} DROP"),
                Names::Nullmx => writeln!(self.zone, "{owner} 300 MX 0 ."),
                Names::Address => writeln!(self.zone, "{owner} 300 A {}", addresses[0]),
                Names::Ok | Names::Closed => Ok(()),
                Names::Truncated => writeln!(self.zone, "{owner} TRUNCATE"),
            };
            if matches!(names, Names::Ok | Names::Closed | Names::Truncated) {
                for host in 1..=hosts {
                    let _ = writeln!(self.zone, "{owner} 300 MX {} mx{host}.{name}.mx.example", host * 10);
                }
            }
        }
        for (host, address) in addresses.iter().enumerate() {
            let host = format!("mx{}.{name}.mx.example", host + 1);
            let _ = writeln!(self.zone, "{host} 300 A {address}");
            self.hosts.push(host);
        }
        let listening = if matches!(names, Names::Ok | Names::Address | Names::Truncated) {
            addresses
        } else {
            Vec::new()
        };
        self.bare.push((site, listening));
    }

    fn sites(&self, port: u16) -> Vec<Site> {
        let with_port = |(site, addresses): &(Site, Vec<Ipv4Addr>)| {
            let addresses = addresses.iter().map(|address| SocketAddr::from((*address, port))).collect();
            Site { addresses, ..site.clone() }
        };
        self.bare.iter().map(with_port).collect()
    }

    fn names(&self) -> Vec<String> {
        self.bare.iter().map(|(site, _)| site.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_has_its_hosts_and_names() {
        let text = "name = 'x'\nabout = 'y'\n[load]\nconnections = 1\ncount = 5\n\
            [[site]]\nname = 'a'\nshare = 1\ndomains = ['a.example', 'b.example']\nhosts = 2\n\
            [[site]]\nname = 'dead'\nshare = 1\nmany = 10\nnames = 'closed'\n\
            [[site.later]]\nafter = '5s'\nbehaviour = 'accept'\n";
        let plan = Plan::of(&Scenario::parse(text).unwrap());
        for line in [
            "a.example 300 MX 20 mx2.a.mx.example",
            "b.example 300 MX 10 mx1.a.mx.example",
            "mx2.a.mx.example 300 A 127.100.0.2",
            "*.dead.example 300 MX 10 mx1.dead.mx.example",
            "news.load.example 300 MX 10 mx1.return.mx.example",
        ] {
            assert!(plan.zone.lines().any(|other| other == line), "{line} in {}", plan.zone);
        }
        let sites = plan.sites(2525);
        let counts: Vec<_> = sites.iter().map(|site| site.addresses.len()).collect();
        assert_eq!(counts, [2, 0, 1], "nothing listens at the dead one");
        assert_eq!((plan.changes.len(), plan.changes[0].1, plan.names().len()), (1, 1, 3));
        Zone::parse(&plan.zone).unwrap();
    }
}
