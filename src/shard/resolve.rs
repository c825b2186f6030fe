//! Stage 6: where a domain's mail goes.

use std::net::IpAddr;
use std::rc::Rc;

use crate::config::{Config, RouteTarget};
use crate::route::{self, Host, NextHop, Table};
use crate::runtime::Runtime;
use crate::shard::timers::Timers;

/// Why a domain or a host leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// For good, or just now.
    pub permanent: bool,
    /// RFC 3463 status.
    pub status: (u8, u16, u16),
    /// In words.
    pub text: String,
}

impl std::fmt::Display for Unroutable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The resolver of one shard.
pub struct Resolver<R: Runtime> {
    runtime: R,
    table: Table,
}

impl<R: Runtime> Resolver<R> {
    /// A resolver with an empty cache.
    pub fn new(runtime: R, _timers: Timers, _settings: &Config, table: Table) -> Resolver<R> {
        Resolver { runtime, table }
    }

    /// Where the mail of a domain (lower case) goes.
    pub async fn next_hop(&self, domain: &str) -> Result<Rc<NextHop>, Unroutable> {
        let _ = self.runtime.now();
        match self.table.target(domain) {
            RouteTarget::Smtp { host, port } => Ok(Rc::new(route::fixed(host, *port))),
            RouteTarget::Mx => {
                Err(Unroutable { permanent: false, status: (4, 4, 3), text: "no DNS yet".to_owned() })
            }
        }
    }

    /// The addresses of a host.
    pub async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, Unroutable> {
        host.name.parse().map(|address| vec![address]).map_err(|_| Unroutable {
            permanent: false,
            status: (4, 4, 3),
            text: "no DNS yet".to_owned(),
        })
    }
}
