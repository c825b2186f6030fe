//! What certificates are asked for.

use std::sync::Arc;

use crate::config::AcmeConfig;
use crate::policy::tls::Renewed;

/// What is in force.
pub struct Wanted {
    /// `[acme]`
    pub config: AcmeConfig,
    /// The node's name.
    pub hostname: String,
    /// What listeners and pages show.
    pub renewed: Arc<Renewed>,
}

/// Whoever knows that.
pub trait AcmeSettings: Send + Sync {
    /// As it is now; None: nothing shows such a certificate.
    fn acme(&self) -> Option<Wanted>;
}
