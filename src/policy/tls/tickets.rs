//! What session tickets are sealed with (RFC 8446 4.6.1, RFC 5077): one key for all shards and listeners, which outlives a reload. A client that comes
//! again resumes wherever it comes to, and costs no signature.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring::Ticketer;
use rustls::server::ProducesTickets;

use crate::limits;

/// Keys of tickets, one for each set of authorities whose clients are believed: a ticket says for which client it was given, so one is no good where
/// others are believed. They change by themselves every few hours.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<VecDeque<TicketKey>>);

/// What is known of the authorities (nothing: no clients are believed), and the key.
type TicketKey = (Box<[u8]>, Arc<dyn ProducesTickets>);

impl Tickets {
    /// The key where clients of these authorities are believed. An error: the machine gives no random numbers.
    pub(super) fn of(&self, authorities: &[u8]) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = kept.iter().find(|(of, _)| **of == *authorities) {
            return Ok(key.clone());
        }
        let key = Ticketer::new()?;
        if kept.len() >= limits::TICKET_KEYS_MAX {
            kept.pop_front();
        }
        kept.push_back((authorities.into(), key.clone()));
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_a_reload_and_is_for_one_set_of_authorities() {
        let tickets = Tickets::default();
        let first = tickets.of(b"").expect("a key");
        let ticket = first.encrypt(b"state").expect("a ticket");
        let opens = |authorities: &[u8]| tickets.of(authorities).expect("a key").decrypt(&ticket);
        assert_eq!(opens(b"").as_deref(), Some(&b"state"[..]));
        for number in 1..limits::TICKET_KEYS_MAX as u32 {
            assert_eq!(opens(&number.to_be_bytes()), None);
        }
        assert_eq!(opens(b"").as_deref(), Some(&b"state"[..]));
        assert_eq!(opens(b"one more"), None);
        assert_eq!(opens(b""), None, "so many are kept");
    }
}
