//! What a recipient's domain asks of TLS, and what the sender of a message does, as far as that says which hosts it may go to.

use super::{Resolver, Unroutable, dane, never, sts};
use crate::dns::QueryType;
use crate::dns::cache::Cache;
use crate::limits;
use crate::mail::envelope::TlsWish;
use crate::policy::sts::Mode;
use crate::route::{Hop, Route};
use crate::runtime::Runtime;
use crate::time::Instant;

impl<R: Runtime> Resolver<R> {
    /// Whether it can be said without a question what policy the domain has.
    pub(super) fn knows_policy(&self, cache: &mut Cache, domain: &str, now: Instant) -> bool {
        !self.obeys_policies() || cache.get(QueryType::Txt, &sts::record_name(domain), now).is_some()
    }

    fn obeys_policies(&self) -> bool {
        self.live.borrow().config.tls.mta_sts && self.policies.is_served()
    }

    /// A domain may say which hosts are its own (RFC 8461), and signed zones what certificates they have (RFC 7672), which goes before. What a route says
    /// of TLS stands over both, and so does a sender who waives them (RFC 8689 section 5). One who requires TLS has either: else nobody knows whether these
    /// are the domain's hosts (section 4.2.1). `secure`: the name server calls the MX authentic; `authentic`: it names no others but the domain itself.
    pub(super) async fn obey_domain(
        &self,
        (domain, wish): (&str, TlsWish),
        mut hop: Hop,
        (secure, mut authentic): (bool, bool),
    ) -> Result<Hop, Unroutable> {
        let live = self.live.borrow().clone();
        let required = wish == TlsWish::Required;
        let routed = matches!(live.table.route(domain), Route::Mx { tls: Some(_), .. });
        if wish == TlsWish::Waived || (routed && !required) {
            return Ok(hop);
        }
        let ask = async |kind: QueryType, name: &str| self.lookup(kind, name).await;
        let certified =
            if secure && live.config.tls.dane { dane::hosts(ask, &hop).await } else { Vec::new() };
        if self.obeys_policies() {
            let (until, name) = (self.runtime.now() + limits::STS_PATIENCE, sts::record_name(domain));
            let record = self.until(until, self.lookup(QueryType::Txt, &name)).await;
            let id = record.and_then(|found| sts::id(&found));
            let kept = sts::policy((&self.runtime, &self.timers), &self.policies, domain, id).await;
            // One that is only tried out names the domain's hosts as well.
            let names = |mode| mode == Mode::Enforce || (required && mode == Mode::Testing);
            if let Some(kept) = kept.filter(|kept| names(kept.policy.mode)) {
                hop = sts::obey(hop, &kept.policy, &certified)?;
                authentic = true;
            }
        }
        if !certified.is_empty() {
            hop.obey_records();
        }
        if required && !authentic {
            let text = format!(
                "the message requires TLS (REQUIRETLS), and nothing says for sure which hosts are those of {domain}: neither DNSSEC nor an MTA-STS policy"
            );
            return Err(never((7, 30), text));
        }
        Ok(hop)
    }
}
