//! What the shards run on: glommio where the machine lets it, or epoll.

use std::sync::Arc;

use crate::config::RuntimeChoice;
use crate::control::say;
use crate::observe::diagnostics::Level;
use crate::runtime::ending::Ending;
use crate::runtime::glommio::Watchdog;
use crate::runtime::os::{self, Compute, ShardThread, probe};
use crate::runtime::{Bell, epoll, glommio};
use crate::shard::start::{self, ShardSetup};

/// What the shards run on.
#[derive(Clone, Copy)]
pub(super) enum Engine {
    Glommio,
    Epoll,
}

impl Engine {
    pub(super) fn name(self) -> &'static str {
        match self {
            Engine::Glommio => "glommio",
            Engine::Epoll => "epoll",
        }
    }

    /// Watches over the shards where that is needed.
    pub(super) fn watch(self, bells: &[Arc<Bell>]) -> std::io::Result<Option<Watchdog>> {
        match self {
            Engine::Glommio => Watchdog::start(bells.to_vec()).map(Some),
            Engine::Epoll => Ok(None),
        }
    }

    pub(super) fn start_shard(
        self,
        core: usize,
        bell: Arc<Bell>,
        compute: Option<Arc<Compute>>,
        setup: ShardSetup,
        ending: Ending,
    ) -> std::io::Result<ShardThread> {
        let (spin, ring_depth) = (setup.particulars.spin, setup.boot.tuning.ring_depth);
        let settings = os::Settings { core, spin, ring_depth, compute };
        match self {
            Engine::Glommio => glommio::start_shard(settings, bell, move |runtime| {
                ending.of_this_thread();
                start::run(runtime, setup)
            }),
            Engine::Epoll => epoll::start_shard(settings, bell, move |runtime| {
                ending.of_this_thread();
                start::run(runtime, setup)
            }),
        }
    }
}

/// What is configured, or what this machine allows.
pub(super) fn choose(choice: RuntimeChoice, shards: usize) -> Result<Engine, probe::MachineRefusal> {
    if choice == RuntimeChoice::Epoll {
        return Ok(Engine::Epoll);
    }
    match probe::check_ring(shards) {
        Ok(()) => Ok(Engine::Glommio),
        Err(refusal) if choice == RuntimeChoice::Auto => {
            say(Level::Warning, format_args!("{}; running on epoll instead", refusal.problem));
            Ok(Engine::Epoll)
        }
        Err(refusal) => Err(refusal),
    }
}
