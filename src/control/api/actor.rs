//! Who asks, as events and lines name him, and what he may.

use std::fmt;
use std::sync::Arc;

use super::peer::Peer;
use crate::policy::tokens::{Role, Token};

/// Whoever asks, after he was let in.
#[derive(Clone, Debug)]
pub(in crate::control) enum Actor {
    /// By the socket of this machine: as the kernel says.
    Local(Peer),
    /// By HTTP, with a token.
    Token {
        /// Its name.
        name: Arc<str>,
        /// What it may.
        role: Role,
        /// The tenant whose mail alone it sees and moves; None: it is bound to none.
        tenant: Option<Arc<str>>,
    },
    /// By HTTP from this machine, where no tokens are configured.
    Loopback,
}

impl Actor {
    /// Whoever has a token.
    pub(in crate::control) fn of(token: &Token) -> Actor {
        Actor::Token { name: token.name.clone(), role: token.role, tenant: token.tenant.clone() }
    }

    /// What he may. Who has no token reads.
    pub(in crate::control) fn role(&self) -> Role {
        match self {
            Actor::Local(_) => Role::Admin,
            Actor::Token { role, .. } => *role,
            Actor::Loopback => Role::Read,
        }
    }

    /// Whose mail alone he sees and moves.
    pub(in crate::control) fn tenant(&self) -> Option<&Arc<str>> {
        match self {
            Actor::Token { tenant, .. } => tenant.as_ref(),
            Actor::Local(_) | Actor::Loopback => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Local(peer) => write!(formatter, "{peer}"),
            Actor::Token { name, .. } => write!(formatter, "token {name}"),
            Actor::Loopback => formatter.write_str("somebody at this machine"),
        }
    }
}
