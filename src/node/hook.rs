//! Which service is asked about messages: that of the configuration that is in force.

use crate::control::hook::{HookSettings, InUse};
use crate::node::sts::{InForce, Settings};

impl<T: InForce> HookSettings for Settings<T> {
    fn hook(&self) -> Option<InUse> {
        let live = self.0.in_force();
        let config = live.config.hook.clone()?;
        Some(InUse { config, tls: live.verifying.as_ref().map(|client| client.config().clone()) })
    }
}
