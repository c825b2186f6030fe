//! Which certificates the DNS names for hosts (DANE, RFC 7672), as far as a name server that validates calls its answers authentic.

use std::rc::Rc;

use crate::dns::{Answer, LookupResult, QueryType};
use crate::limits;
use crate::policy::dane::Demand;
use crate::route::{Hop, Host};

/// What the records of a host ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRecords {
    /// There are none: what else is said of it holds.
    None,
    /// This.
    Some(Demand),
    /// Nobody can say, so nothing is sent there (RFC 7672 section 2.1.2): in words.
    Unknown(String),
}

/// Those of one host. Its addresses are to be authentic before its records are asked for (RFC 7672 section 2.2.2): name servers of zones that
/// are not signed often answer no such question.
pub(super) async fn records(
    lookup: impl AsyncFn(QueryType, &str) -> Rc<LookupResult>,
    host: &Host,
) -> HostRecords {
    let mut authentic = false;
    for kind in [QueryType::A, QueryType::Aaaa] {
        let found = lookup(kind, &host.name).await;
        if let Ok(Answer::Addresses(_)) = &found.answer {
            authentic = found.secure;
            break;
        }
    }
    if !authentic {
        return HostRecords::None;
    }
    let found = lookup(QueryType::Tlsa, &format!("_{}._tcp.{}", host.port, host.name)).await;
    match &found.answer {
        Ok(Answer::Associations(all)) if found.secure => HostRecords::Some(Demand::of(all)),
        Ok(_) => HostRecords::None,
        Err(why) => {
            HostRecords::Unknown(format!("cannot look up the TLSA records of {} (DANE): {why}", host.name))
        }
    }
}

/// Hosts of a hop that have some, or may have.
pub(super) async fn hosts(
    lookup: impl AsyncFn(QueryType, &str) -> Rc<LookupResult>,
    hop: &Hop,
) -> Vec<String> {
    let mut named = Vec::new();
    for host in hop.hosts.iter().take(limits::DANE_HOSTS_MAX) {
        if records(&lookup, host).await != HostRecords::None {
            named.push(host.name.clone());
        }
    }
    named
}
