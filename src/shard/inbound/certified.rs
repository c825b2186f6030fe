//! Who is an account by a certificate.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;

use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::listener::Listener;

/// The account that a client is by the chain it showed, and by what is in force at the listener: of the names in its certificate the first that an
/// account has that may log in from there.
pub(super) fn account<R: Runtime>(
    shard: &Shard<R>,
    listener: &Listener,
    (client, shown): (IpAddr, &[CertificateDer<'_>]),
) -> Option<String> {
    let live = &listener.live;
    let authorities = live.listeners.get(usize::from(listener.place))?.clients.as_ref()?;
    let logins = live.accounts.as_ref()?;
    let names = authorities.names(shown, shard.runtime.wall());
    names.into_iter().find(|name| logins.accounts().has(name) && logins.lets(name, client))
}
