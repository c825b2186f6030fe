//! How the node is.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::answers::{Api, json};
use super::shape::{ConfigStatus, ShardStatus, Status};
use super::veil::Veil;
use crate::control::overview::said;

pub(super) async fn status(State(api): State<Arc<Api>>, Extension(veil): Extension<Veil>) -> Response {
    let second = (api.second)();
    let (code, words) = api.health.takes_mail(second);
    let ConfigStatus { generation, needs_restart, suspended_sources } =
        api.reload.as_ref().map(|reload| reload.standing()).unwrap_or_default();
    let shards = api.instruments.iter().enumerate().map(|(shard, instruments)| {
        let of = &instruments.counters;
        ShardStatus {
            shard,
            queued: of.queued_recipients.get(),
            messages: of.spool_messages.get(),
            clients: of.connections_inbound.get(),
            connections: of.connections_outbound.get(),
            delivered: of.recipients_delivered.get(),
            handed_over: of.recipients_handed_over.get(),
            handed_anew: of.recipients_handed_anew.get(),
            deferred: of.recipients_deferred.get(),
            bounced: of.recipients_bounced.get(),
            live_bytes: of.spool_bytes_live.get(),
            takes_mail: of.takes_mail.get() == 1,
        }
    });
    let (mut warnings, mut said) = (api.health.notices.standing(), said(&api.health));
    let lines = said.iter_mut().map(|said| &mut said.words);
    warnings.iter_mut().chain(lines).for_each(|words| veil.words(words));
    json(&Status {
        node: api.hostname.clone(),
        version: env!("RELEVO_VERSION").to_owned(),
        runtime: api.runtime.to_owned(),
        seconds: second,
        starting: api.health.is_starting(),
        takes_mail: code == StatusCode::OK,
        words: words.trim_end().to_owned(),
        generation,
        needs_restart,
        suspended_sources,
        warnings,
        said,
        shards: shards.collect(),
    })
}
