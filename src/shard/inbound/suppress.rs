//! Between receive and persist: recipients on the suppression list. RCPT is refused by what is known then: the node's entries, and those of the tenant
//! that the client's account belongs to. Whose mail it is may be said by a rule or an instruction: then its tenant's entries are asked as the message
//! comes in, and who is listed is taken and gets nothing.

use crate::config::suppression::OnMatch;
use crate::mail::envelope::Envelope;
use crate::mail::parameters::Key;
use crate::names::ends::End;
use crate::policy::admit::Submitter;
use crate::policy::reason::{Reason, Refused};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::live::LiveConfig;
use crate::smtp::words;

/// Whether each recipient is to be asked about at RCPT.
pub(super) fn asks<R: Runtime>(shard: &Shard<R>, live: &LiveConfig) -> bool {
    live.config.suppression.on_match == OnMatch::Reject && !shard.suppression.is_empty()
}

/// Whether RCPT is refused: of an address, in which its domain begins there.
pub(super) fn refuses<R: Runtime>(
    shard: &Shard<R>,
    live: &LiveConfig,
    account: Option<&str>,
    (recipient, domain_at): (&[u8], usize),
) -> Option<Refused<'static>> {
    if !asks(shard, live) || shard.runtime.planted(Defect::SuppressionUnasked) {
        return None;
    }
    let found = shard.suppression.find(recipient, domain_at, tenant_of(live, account));
    found.map(|_| Refused { reply: words::SUPPRESSED, reason: Reason::Suppressed })
}

/// The tenant that an account belongs to, as its file says.
fn tenant_of<'a>(live: &'a LiveConfig, account: Option<&str>) -> Option<&'a str> {
    let accounts = live.accounts.as_ref().map(|logins| logins.accounts())?;
    accounts.own(account?)?.tenant.as_deref()
}

/// Once it is known whose mail it is: who is listed has his end as soon as it is on disk. True: all of them are, and it is to be refused as a whole.
pub(super) async fn mark<R: Runtime>(
    shard: &Shard<R>,
    live: &LiveConfig,
    client: Submitter<'_>,
    envelope: &mut Envelope,
) -> bool {
    if shard.runtime.planted(Defect::SuppressionUnasked) {
        return false;
    }
    let rejects = live.config.suppression.on_match == OnMatch::Reject;
    let was_asked = rejects && client.listener.is_some();
    let parameters = envelope.parameters.take();
    let of_message = parameters.as_ref().and_then(|all| all.message.get(Key::Tenant));
    let known = tenant_of(live, client.account);
    let mut listed = 0;
    for one in &mut envelope.recipients {
        let own = parameters.as_ref().filter(|_| one.parameters > 0).map(|all| all.of(one.parameters));
        let tenant = own.as_ref().map_or(of_message, |own| own.get(Key::Tenant));
        if was_asked && tenant == known {
            continue;
        }
        if shard.suppression.find(&one.address, one.domain_at.into(), tenant).is_some() {
            one.at_once.get_or_insert(End::Suppressed);
            listed += 1;
        }
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
    envelope.parameters = parameters;
    if listed > 0 {
        envelope.parameters.get_or_insert_default();
    }
    rejects && listed > 0 && listed == envelope.recipients.len()
}
