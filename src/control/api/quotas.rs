//! `GET /control/v1/quotas`: how much of their quotas accounts and tenants have used.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::answers::{Api, iso, json};
use super::shape::quota::{QuotaUse, QuotasUsed};
use crate::limits;
use crate::mail::parameters::Key;
use crate::policy::quota::{Owner, count_name};
use crate::queue::select::Filter;
use crate::runtime::process;
use crate::shard::quota::{InUse, fullest};
use crate::time::UnixMillis;

/// Those that are used the most.
pub(super) async fn show(State(api): State<Arc<Api>>) -> Response {
    let (now, table) = (process::wall(), api.mesh.quotas().in_force());
    let quotas = fullest(table.all(), now, limits::QUOTAS_SHOWN);
    json(&QuotasUsed { now: iso(now), quotas: quotas.iter().map(|one| told(&api, one, now)).collect() })
}

/// Those of whom a filter names: an account, and the tenant of that name.
pub(super) fn of(api: &Api, filter: &Filter) -> Vec<QuotaUse> {
    let Some(name) = &filter.recorded.account else { return Vec::new() };
    let (now, table) = (process::wall(), api.mesh.quotas().in_force());
    // Of one tenant no account's: whose that is nobody says here.
    let tenant = filter.recorded.parameters.iter().find(|(key, _)| *key == Key::Tenant);
    let owners = [Owner::Account, Owner::Tenant]
        .into_iter()
        .filter(|owner| tenant.is_none_or(|(_, tenant)| *owner == Owner::Tenant && **tenant == **name));
    let counts = owners.filter_map(|owner| table.get(owner, name));
    let mut all = fullest(counts, now, limits::QUOTAS_SHOWN);
    all.sort_by_key(|one| (one.count.owner, one.period));
    all.iter().map(|one| told(api, one, now)).collect()
}

fn told(api: &Api, one: &InUse, now: UnixMillis) -> QuotaUse {
    let others = api.mesh.cluster.desk().and_then(|desk| {
        let name = count_name(one.count.owner, &one.count.name, one.period);
        desk.counts.ledger().others(&(name.into(), one.period.at(now)))
    });
    QuotaUse {
        owner: one.count.owner.word().to_owned(),
        name: one.count.name.to_string(),
        period: one.period.unit().to_owned(),
        used: one.used,
        used_by_all: others.map(|others| one.used + u64::from(others)),
        most: one.most.into(),
        until: iso(one.period.begin(one.period.at(now).saturating_add(1))),
    }
}
