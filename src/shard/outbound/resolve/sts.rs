//! The policy of a domain (MTA-STS, RFC 8461): its record is looked up, control fetches what it stands for, and hosts that do not fit are passed by.

use std::sync::Arc;

use crate::dns::{Answer, LookupResult};
use crate::limits;
use crate::policy::sts::{KeptPolicy, Policy, record_id};
use crate::route::Hop;
use crate::runtime::Runtime;
use crate::shard::outbound::resolve::unroutable::Unroutable;
use crate::shard::sts::StsPolicies;
use crate::shard::timers::Timers;

/// The name of a domain's record.
pub(super) fn record_name(domain: &str) -> String {
    format!("_mta-sts.{domain}")
}

/// The id in it.
pub(super) fn id(found: &LookupResult) -> Option<Box<str>> {
    match &found.answer {
        Ok(Answer::Texts(texts)) => record_id(texts),
        _ => None,
    }
}

/// The policy that a domain has now. One that is known holds where there is no record, or nobody can say (RFC 8461 section 3.1); another that the
/// record speaks of is waited for, but not for long.
pub(super) async fn policy<R: Runtime>(
    (runtime, timers): (&R, &Timers),
    policies: &StsPolicies,
    domain: &str,
    id: Option<Box<str>>,
) -> Option<Arc<KeptPolicy>> {
    let now = runtime.wall();
    let known = policies.policy(domain, now);
    let Some(id) = id else { return known };
    if let Some(known) = known.filter(|known| known.id == id) {
        if known.is_stale(now) {
            policies.want(domain, &id, now);
        }
        return Some(known);
    }
    if policies.want(domain, &id, now) {
        let until = runtime.now() + limits::STS_PATIENCE;
        while policies.is_pending(domain) && runtime.now() < until {
            timers.sleep_until(runtime.now() + limits::STS_LOOK).await;
        }
    }
    policies.policy(domain, runtime.wall())
}

/// Leaves the hosts that an enforced policy names, of which each must show a valid certificate. `certified`: DANE says what these show, and goes before
/// (RFC 8461 section 2).
pub(super) fn obey(mut hop: Hop, policy: &Policy, certified: &[String]) -> Result<Hop, Unroutable> {
    let names: Vec<String> = hop.hosts.iter().map(|host| host.name.clone()).collect();
    if hop.obey_policy(|host| policy.names(host) || certified.iter().any(|other| other == host)) {
        return Ok(hop);
    }
    let text = format!(
        "the MTA-STS policy of {} (mode enforce) names none of its MX hosts: {}; it is the domain's to mend",
        hop.label,
        names.join(", ")
    );
    // RFC 8461 section 5: it is tried again, as the policy may be another then.
    Err(Unroutable { permanent: false, status: (4, 7, 5), text, loops: false })
}
