//! Which addresses are this machine's, where the list of them cannot be had.

use std::cell::RefCell;
use std::net::IpAddr;

use crate::route::gate::Gate;
use crate::runtime::Runtime;
use crate::shard::outbound::resolve::unroutable::{Unroutable, not_now};

/// The kernel is asked for each address before the gate judges it. Where it does not say either, nothing is sent there.
pub(super) fn ask<R: Runtime>(runtime: &R, gate: &RefCell<Gate>, found: &[IpAddr]) -> Result<(), Unroutable> {
    if gate.borrow().knows_all() {
        return Ok(());
    }
    for address in found {
        let asked = gate.borrow().in_question(*address);
        for address in asked {
            match runtime.leads_here(address) {
                Ok(true) => gate.borrow_mut().learn_one(address),
                Ok(false) => {}
                Err(error) => {
                    return Err(not_now(format!("cannot tell whether {address} is this machine: {error}")));
                }
            }
        }
    }
    Ok(())
}
