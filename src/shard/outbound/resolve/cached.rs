//! Whether a domain's hosts can be connected to without a question.

use std::net::{IpAddr, SocketAddr};

use crate::dns::cache::Cache;
use crate::dns::{Answer, QueryType};
use crate::policy::failures::Failures;
use crate::route::Hop;
use crate::route::gate::Gate;
use crate::time::Instant;

/// Whether all that is asked of the preferred hosts is remembered: those behind them are asked for only if none of these can be reached.
pub(super) fn reaches(
    cache: &mut Cache,
    hop: &Hop,
    (gate, late_ipv6): (&Gate, &Failures),
    now: Instant,
) -> bool {
    let best = hop.hosts.first().map(|host| host.rank);
    let mut reached = false;
    for host in hop.hosts.iter().filter(|host| Some(host.rank) == best) {
        let mut has_ipv4 = false;
        for kind in [QueryType::A, QueryType::Aaaa] {
            let Some(found) = cache.get(kind, &host.name, now).and_then(|known| known.result()) else {
                let skipped = has_ipv4 && late_ipv6.is_known(&host.name, now);
                if skipped {
                    continue;
                }
                return false;
            };
            has_ipv4 |= matches!(&found.answer, Ok(Answer::Addresses(some)) if !some.is_empty());
            let addresses = if let Ok(Answer::Addresses(some)) = &found.answer { &some[..] } else { &[] };
            let admits =
                |address: &IpAddr| gate.admit(SocketAddr::new(*address, host.port), host.named_by).is_ok();
            reached |= found.answer.is_err() || addresses.iter().any(admits);
        }
    }
    reached
}
