//! Defects that the simulator plants in a lane, to prove that its days would find them. Nothing else calls these.

use crate::spool::Lane;
use crate::spool::lane::State;

impl Lane {
    /// A segment whose commit failed is taken for a full one.
    pub fn plant_sealed(&mut self, slot: u16) {
        self.slots[usize::from(slot)].state = State::Sealed;
    }

    /// What outcomes are about is forgotten, so that they may go before the messages do.
    pub fn plant_forgetful(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.about.clear());
    }
}
