//! Which domains a filter means by a provider and a source.

use std::sync::Arc;

use crate::queue::select::{BadFilter, Filter, PlacePredicate};
use crate::shard::live::LiveConfig;

/// As this configuration knows them.
pub(super) fn domains(live: &Arc<LiveConfig>, filter: &Filter) -> Result<PlacePredicate, BadFilter> {
    let provider = match filter.provider.as_deref() {
        Some(name) => {
            let nobody = || BadFilter::Nobody { what: "provider", name: name.to_owned() };
            Some(live.table.provider(name).ok_or_else(nobody)?)
        }
        None => None,
    };
    let source = filter.source.clone();
    let is = |name: &str| live.egresses.sources().any(|source| source.name() == name);
    if let Some(name) = source.as_deref().filter(|name| !is(name)) {
        return Err(BadFilter::Nobody { what: "[[source]]", name: name.to_owned() });
    }
    let egresses = live.egresses.clone();
    Ok(PlacePredicate::new(move |place, egress| {
        let leaves_by = |name: &str| egresses.get(egress).is_some_and(|egress| egress.source.name() == name);
        source.as_deref().is_none_or(leaves_by)
            && provider.as_ref().is_none_or(|matches| place.is_of(matches))
    }))
}
