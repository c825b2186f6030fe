//! One shard of one life of a simulated node.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::executor::Owner;
use super::random::Random;
use super::sleep::Sleep;
use super::state::WorldState;
use crate::runtime::Bell;

/// What a shard's handles share.
pub(super) struct Shard {
    state: Rc<WorldState>,
    node: u32,
    number: u16,
    life: u32,
    bell: Arc<Bell>,
    random: RefCell<Random>,
    panics: Rc<Cell<u64>>,
}

impl Shard {
    /// A shard of the present life of a node.
    pub fn new(state: &Rc<WorldState>, node: u32, number: u16, bell: Arc<Bell>) -> Shard {
        let life = state.life(node);
        state.base().note("shard", u64::from(node), u64::from(number));
        let label = u64::from(node) << 48 | u64::from(number) << 32 | u64::from(life) << 8 | 0xff;
        let random = RefCell::new(Random::new(state.base().seed(), label));
        Shard { state: state.clone(), node, number, life, bell, random, panics: Rc::default() }
    }

    pub fn state(&self) -> &Rc<WorldState> {
        &self.state
    }

    pub fn node(&self) -> u32 {
        self.node
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Panics caught in its tasks.
    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// 64 bits of its own.
    pub fn random(&self) -> u64 {
        self.random.borrow_mut().next()
    }

    /// Whether its node still lives the life it belongs to.
    pub fn is_alive(&self) -> bool {
        self.state.life(self.node) == self.life
    }

    pub fn alive(&self) -> io::Result<()> {
        if self.is_alive() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENETDOWN)) }
    }

    /// Starts a task; `vital` is the name of one that it cannot live without.
    pub fn start(&self, vital: Option<&'static str>, task: impl Future<Output = ()> + 'static) {
        // A handle that outlived its node starts nothing: the task is dropped.
        if self.is_alive() {
            let owner = Owner {
                node: self.node,
                life: self.life,
                shard: self.number,
                vital,
                panics: self.panics.clone(),
            };
            self.state.spawn(owner, Box::pin(task));
        }
    }

    /// Waits for a span that the seed chooses.
    pub fn sleep(&self, least: Duration, most: Duration) -> Sleep {
        let base = self.state.base();
        let span = base.random().between(least, most);
        Sleep::new(&self.state, base.now().saturating_add(span))
    }
}
