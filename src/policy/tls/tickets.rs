//! What session tickets are sealed with (RFC 8446 4.6.1, RFC 5077): one key for all shards and listeners, which outlives a reload. A client that comes
//! again resumes wherever it comes to, and costs no signature.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring::Ticketer;
use rustls::server::ProducesTickets;

/// The key, which changes by itself every few hours. A ticket says which certificate its client showed, and nothing of what that was worth.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<Option<Arc<dyn ProducesTickets>>>);

impl Tickets {
    /// The key, which is drawn when it is wanted first. An error: the machine gives no random numbers.
    pub(super) fn key(&self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*key {
            Some(key) => Ok(key.clone()),
            None => Ok(key.insert(Ticketer::new()?).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_has_the_same_key() {
        let tickets = Tickets::default();
        let ticket = tickets.key().expect("a key").encrypt(b"state").expect("a ticket");
        let opens = |tickets: &Tickets| tickets.key().expect("a key").decrypt(&ticket);
        assert_eq!(opens(&tickets).as_deref(), Some(&b"state"[..]));
        assert_eq!(opens(&Tickets::default()), None, "another process");
    }
}
