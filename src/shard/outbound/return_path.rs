//! Beside transact: return paths that tell, when something comes back, of which message and which recipient it is (VERP). Where a message gets them,
//! each of its recipients has a transaction of its own.

use crate::mail::bounce::verp::Copy;
use crate::mail::parameters::Key;
use crate::queue::Group;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::session::Connection;
use crate::spool::record::MessageView;

/// Whether a message gets them on this connection: mail that others gave us to relay, and that has a sender, by SMTP. A mail store keeps the sender.
pub(super) fn applies<R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
) -> bool {
    let live = shard.live.get();
    let writes = live.returns.as_ref().is_some_and(|returns| returns.verp.is_some());
    // The node that takes it over writes its own.
    writes
        && !connection.lmtp
        && !connection.capabilities.handover
        && !view.sender.is_empty()
        && view.client.is_some()
        && (view.has_own_parameters() || live.tenants.has_return_paths(&view.parameters()))
}

/// That of one recipient's copy. None: it has the sender that the message has.
pub(super) fn of<R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
    ordinal: u16,
) -> Option<Vec<u8>> {
    if !applies(shard, connection, view) {
        return None;
    }
    let live = shard.live.get();
    let verp = live.returns.as_ref()?.verp.as_ref()?;
    let parameters = view.parameters_of(ordinal);
    if !live.tenants.has_return_paths(&parameters) {
        return None;
    }
    let tenant = parameters.get(Key::Tenant).unwrap_or_default();
    know(shard, tenant);
    let (recipient, _) = view.recipients().nth(ordinal.into())?;
    let copy = Copy { id: view.id, ordinal, recipient, tenant };
    Some(verp.write(&copy, shard.runtime.wall()).into_bytes())
}

/// That of a group whose commands are sent before it is its turn. None: it goes in several transactions, and so has to wait for it.
pub(super) fn ahead<R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
    group: &Group,
) -> Option<Option<Vec<u8>>> {
    let alone = group.count == 1 || !applies(shard, connection, view);
    alone.then(|| of(shard, connection, view, group.first))
}

/// What comes back is to say whose mail it was. Each name is told to the others once.
fn know<R: Runtime>(shard: &Shard<R>, tenant: &str) {
    if tenant.is_empty() || shard.outbound.known_tenants.borrow().contains(tenant) {
        return;
    }
    shard.mesh.known_tenants().add(tenant);
    let mut known = shard.outbound.known_tenants.borrow_mut();
    if known.len() < crate::limits::KNOWN_TENANTS_MAX {
        known.insert(tenant.into());
    }
}
