//! Whether a client is who it says it is.

use crate::observe::diagnostics::Level;
use crate::runtime::{Priority, Runtime, Uncomputed, Urgency};
use crate::shard::Shard;
use crate::smtp::server::Credentials;

/// What became of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// The credentials are an account's.
    Right,
    /// They are not.
    Wrong,
    /// We cannot tell now: too many want to know, or it is our fault.
    Unavailable,
}

impl<R: Runtime> Shard<R> {
    /// Whether the credentials are an account's. The hash is computed away from this core.
    pub async fn authenticate(&self, credentials: &Credentials) -> Login {
        let counters = &self.instruments.counters;
        let Some(accounts) = self.accounts.clone() else { return Login::Wrong };
        let (name, password) = (credentials.name.clone(), credentials.password.clone());
        let priority = Priority { urgency: Urgency::Ordinary, rank: 0 };
        let verified = self
            .runtime
            .compute(priority, move |workspace| {
                let check = accounts.check(&name);
                check.verify(&password, workspace.blocks(check.blocks()).ok()?)
            })
            .await;
        match verified {
            Ok(Some(true)) => Login::Right,
            Ok(Some(false)) => {
                counters.auth_failures.add(1);
                Login::Wrong
            }
            Err(Uncomputed::Full) => {
                counters.auth_shed.add(1);
                Login::Unavailable
            }
            Ok(None) | Err(Uncomputed::Failed) => {
                counters.auth_faults.add(1);
                self.say(
                    Level::Error,
                    format_args!("a password could not be checked: no memory, or a fault of ours"),
                );
                Login::Unavailable
            }
        }
    }
}
