//! Which of the addresses of a host may be connected to.

use std::net::{IpAddr, SocketAddr};

use super::unroutable::{Unroutable, refused};
use crate::limits;
use crate::route::Host;
use crate::route::gate::{AdmittedAddress, Gate, GateRefusal, NamedBy};

/// Those that pass the gate. An MX host one of whose addresses is ours is this relay, whatever others it has.
pub(super) fn admitted(
    gate: &Gate,
    host: &Host,
    found: Vec<IpAddr>,
) -> Result<Vec<AdmittedAddress>, Unroutable> {
    let mut admitted = Vec::new();
    let mut why = None;
    for address in found {
        match gate.admit(SocketAddr::new(address, host.port), host.named_by) {
            Ok(address) => {
                if !admitted.contains(&address) && admitted.len() < limits::MX_ADDRESSES_MAX {
                    admitted.push(address);
                }
            }
            Err(GateRefusal::Loop) if host.named_by == NamedBy::Stranger => {
                return Err(refused(host, address, GateRefusal::Loop));
            }
            Err(refusal) => {
                if why.is_none() || refusal == GateRefusal::Loop {
                    why = Some((address, refusal));
                }
            }
        }
    }
    match why {
        Some((address, refusal)) if admitted.is_empty() => Err(refused(host, address, refusal)),
        _ => Ok(admitted),
    }
}
