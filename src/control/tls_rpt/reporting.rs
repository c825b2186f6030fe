//! One report: by what it is sent, what is in it, and what came of that.

use std::net::SocketAddr;

use crate::config::{DnsConfig, ReportsConfig};
use crate::policy::tls;
use crate::policy::tls_rpt::PolicyCount;

/// Finds the addresses of a host, for connections to a port; an error says why there are none.
pub type FindAddresses = dyn Fn(&str, u16) -> Result<Vec<SocketAddr>, String> + Send;

/// What is in force, for one report.
pub struct Reporting {
    /// Who sends it.
    pub config: ReportsConfig,
    /// The node's name.
    pub hostname: String,
    /// Whom to ask who wants it.
    pub dns: DnsConfig,
    /// The addresses of a web server that may be connected to.
    pub addresses: Box<FindAddresses>,
    /// TLS to a host that has proven who it is.
    pub tls: Option<tls::Client>,
}

/// Whoever knows that.
pub trait ReportSettings: Send + Sync {
    /// As it is now; None: no reports are sent.
    fn reporting(&self) -> Option<Reporting>;
}

/// A report that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub day: u32,
    pub domain: Box<str>,
    pub counts: Vec<PolicyCount>,
    /// Places that have it already.
    pub done: Vec<String>,
}

/// What came of trying to send one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried {
    /// Places that have it now.
    pub mailed: Vec<String>,
    pub posted: Vec<String>,
    /// Nobody wants it.
    pub unwanted: bool,
    /// Why some have it not, in words.
    pub failed: Option<String>,
}
