//! Between receive and persist: the quotas of the account that a message came from, and of the tenants whose it is. Counted are the recipients that it goes
//! to, once nothing else refuses it; where it is not stored after all they are given back.

use std::sync::Arc;

use crate::limits;
use crate::mail::envelope::Envelope;
use crate::mail::parameters::Key;
use crate::policy::quota::{self, Owner};
use crate::policy::reason::Reason;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::quota::{Empty, QuotaCount, QuotaTable, Taken};

/// What was taken for a message.
#[derive(Debug)]
pub(in crate::shard) struct MessageQuota(Box<[(Arc<QuotaCount>, Taken)]>);

impl MessageQuota {
    /// No message comes of it.
    pub(in crate::shard) fn give_back(self) {
        self.0.iter().for_each(|(count, taken)| count.give_back(*taken));
    }
}

/// Takes what a message needs. The reply with which it is refused, where there is not as much; None: nothing of it is counted.
pub(in crate::shard) async fn take<R: Runtime>(
    shard: &Shard<R>,
    table: &QuotaTable,
    envelope: &Envelope,
) -> Result<Option<MessageQuota>, (Box<str>, Reason)> {
    let wanted = wanted(table, envelope);
    if wanted.is_empty() || shard.runtime.planted(Defect::QuotaForgotten) {
        return Ok(None);
    }
    let mut all = Vec::with_capacity(wanted.len());
    for (count, recipients) in wanted {
        match take_one(shard, &count, recipients).await {
            Ok(taken) => all.push((count, taken)),
            Err(refused) => {
                MessageQuota(all.into()).give_back();
                shard.instruments.families.quota_refused.add(count.owner as usize, 1);
                return Err(refused);
            }
        }
    }
    Ok(Some(MessageQuota(all.into())))
}

/// Who has a quota, and how many recipients of the message count for it.
fn wanted(table: &QuotaTable, envelope: &Envelope) -> Vec<(Arc<QuotaCount>, u32)> {
    // Whose mail ends here gets nothing: he is on the suppression list, or it is discarded.
    let counted = || envelope.recipients.iter().filter(|one| one.at_once.is_none());
    let mut wanted = Vec::new();
    let account = envelope.account.as_deref().and_then(|name| table.get(Owner::Account, name));
    wanted.extend(account.map(|count| (count.clone(), counted().count() as u32)));
    let all = envelope.parameters.as_ref().filter(|_| !table.has_no_tenants());
    if let Some(all) = all {
        let of_message = all.message.get(Key::Tenant).and_then(|name| table.get(Owner::Tenant, name));
        for one in counted() {
            let own = (one.parameters > 0).then(|| all.of(one.parameters));
            let own = own.as_ref().map(|own| table.get(Owner::Tenant, own.get(Key::Tenant)?));
            let Some(tenant) = own.unwrap_or(of_message) else { continue };
            match wanted.iter_mut().find(|(count, _)| Arc::ptr_eq(count, tenant)) {
                Some((_, recipients)) => *recipients += 1,
                None => wanted.push((tenant.clone(), 1)),
            }
        }
    }
    wanted.retain(|(_, recipients)| *recipients > 0);
    wanted
}

async fn take_one<R: Runtime>(
    shard: &Shard<R>,
    count: &Arc<QuotaCount>,
    recipients: u32,
) -> Result<Taken, (Box<str>, Reason)> {
    let (desk, whose) = (shard.mesh.quotas(), (count.owner, &*count.name));
    let give_up = shard.runtime.now() + limits::QUOTA_WAIT;
    let (mut pause, mut waits) = (limits::QUOTA_LOOK, false);
    loop {
        let now = shard.runtime.wall();
        match desk.take(count, (recipients, waits), now) {
            Ok(taken) => return Ok(taken),
            Err(Empty::Over(period)) => {
                let reply = quota::refusal(whose, &count.quotas(), (period, now), recipients);
                return Err((reply.into(), Reason::Quota));
            }
            Err(Empty::Away) => return Err((quota::uncounted(whose).into(), Reason::Quota)),
            Err(Empty::Asked) => {}
        }
        if shard.draining.get() || shard.runtime.now() >= give_up {
            return Err((quota::uncounted(whose).into(), Reason::Quota));
        }
        shard.timers.sleep_until(shard.runtime.now() + pause).await;
        (pause, waits) = ((pause * 2).min(limits::QUOTA_LOOK_MAX), true);
    }
}
