//! A certificate that is replaced while sessions and listeners go on: the next handshake shows the new one.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The one that is shown now, by all listeners and pages that show one of this kind. Behind a lock that is held for a reference count, at each handshake.
#[derive(Debug, Default)]
pub struct Renewed(Mutex<Option<Arc<CertifiedKey>>>);

impl Renewed {
    /// This one from now on.
    pub fn show(&self, key: Arc<CertifiedKey>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// Which it is; None: there was none yet.
    pub fn shown(&self) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whoever asks, by whatever name: it has all names that there are.
#[derive(Debug)]
pub(super) struct Always(pub(super) Arc<Renewed>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.shown()
    }
}
