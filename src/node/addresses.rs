//! Whether listeners could be opened, before any is.

use std::io;
use std::net::SocketAddr;

use crate::config::ListenAddress;
use crate::runtime::{local, os, process};

/// Whether an address can be listened on beside those that this process has `open`, and which it is: port 0 is one that is free.
pub(crate) fn probe(address: &ListenAddress, open: &[ListenAddress]) -> io::Result<ListenAddress> {
    match address {
        ListenAddress::Network(address) => {
            let open: Vec<SocketAddr> = open.iter().filter_map(ListenAddress::network).collect();
            process::probe_beside(*address, &open).map(ListenAddress::Network)
        }
        ListenAddress::Path(path) => {
            // One that closes just now is opened again before its file goes.
            if !os::paths::is_open(path) {
                local::probe(path)?;
            }
            Ok(address.clone())
        }
    }
}
