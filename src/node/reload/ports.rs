//! Where listeners of a configuration that is read again are to listen.

use super::changes::addresses;
use crate::config::{Config, ConfigError, ListenAddress};
use crate::node::addresses::probe;
use crate::shard::inbound::listener::ListenError;

/// Ports that the file leaves open are those that they were; new addresses must be free.
pub(super) fn resolve_ports(
    config: &mut Config,
    live: &Config,
    written: &[ListenAddress],
) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let open = addresses(live);
    let mut left: Vec<(ListenAddress, ListenAddress)> =
        written.iter().cloned().zip(open.iter().cloned()).collect();
    for (at, listener) in config.listeners.iter_mut().enumerate() {
        let address = listener.address.clone();
        if let Some(place) = left.iter().position(|(written, _)| *written == address) {
            listener.address = left.remove(place).1;
            continue;
        }
        match probe(&address, &open) {
            Ok(address) => listener.address = address,
            Err(error) => {
                let refused = ListenError { address, error };
                errors.push(config.places.told(&format!("listener[{at}].address"), &refused.to_string()));
            }
        }
    }
    errors
}
