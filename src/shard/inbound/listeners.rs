//! The listeners of a shard, which come, change and go while it runs. In two steps, so that all shards do it or none: [`prepare`] opens the sockets
//! that are new and may fail, [`apply`] does the rest and cannot.
//!
//! Where an address stays, its socket does: each shard has one of its own, and what waits in the queue of one that is closed is reset,
//! however many others there are.

use std::rc::Rc;

use crate::config::ListenAddress;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::accept;
use crate::shard::inbound::listener::{ListenError, Listener, ListeningSocket};

/// What a shard is to listen on, with sockets where it does not yet. Dropped instead of applied, it closes these.
pub struct Prepared<R: Runtime>(Vec<(Rc<Listener>, Option<R::Listener>)>);

/// Opens the sockets of those that are new among `wanted`, which are all that the shard is to have. Who connects there waits until they are
/// applied; nothing else changes. One reload is prepared at a time.
pub fn prepare<R: Runtime>(shard: &Shard<R>, wanted: Vec<Rc<Listener>>) -> Result<Prepared<R>, ListenError> {
    let open = shard.inbound.listening.borrow();
    let opened = wanted.into_iter().map(|listener| {
        let address = listener.config.address.clone();
        let open_here = || match &address {
            ListenAddress::Network(address) => shard.runtime.listen(*address),
            ListenAddress::Path(path) => shard.runtime.listen_path(path),
        };
        let socket = if open.contains_key(&address) { None } else { Some(open_here()) };
        let socket = socket.transpose().map_err(|error| ListenError { address, error })?;
        Ok((listener, socket))
    });
    Ok(Prepared(opened.collect::<Result<_, _>>()?))
}

/// From the next connection on: what is new accepts, what stays goes by its new terms, what is no longer wanted takes those that wait and
/// closes. Sessions keep the listener that they began with.
pub fn apply<R: Runtime>(shard: &Rc<Shard<R>>, prepared: Prepared<R>) {
    let mut listening = shard.inbound.listening.borrow_mut();
    let mut before = std::mem::take(&mut *listening);
    for (listener, socket) in prepared.0 {
        let address = listener.config.address.clone();
        let here = match (before.remove(&address), socket) {
            (Some(here), _) => {
                here.change(listener);
                here
            }
            (None, Some(socket)) => {
                let here = Rc::new(ListeningSocket::new(listener));
                shard.runtime.spawn_vital("accept", accept::accept(shard.clone(), socket, here.clone()));
                here
            }
            // It was open when this was prepared, and was closed since.
            (None, None) => continue,
        };
        listening.insert(address, here);
    }
    before.values().for_each(|gone| gone.close());
}

#[cfg(test)]
mod tests;
