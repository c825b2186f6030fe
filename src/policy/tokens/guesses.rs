//! Who has shown wrong tokens of late. A right one is always let in: nobody locks out the owner of a token by guessing behind the same address.

use std::collections::HashMap;

use crate::limits;
use crate::policy::clients::Client;
use crate::time::Instant;

/// What is remembered of clients.
#[derive(Debug, Default)]
pub struct TokenGuesses(HashMap<Client, Guesser>);

/// Of one of them.
#[derive(Clone, Copy, Debug)]
struct Guesser {
    /// When all that it showed is forgotten.
    clean: Instant,
    /// It has heard that these are too many.
    told: bool,
}

/// What a client hears that has shown a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// That it is wrong.
    Wrong,
    /// That these are too many; the first time that it hears so.
    TooManyNow,
    /// The same again.
    TooMany,
}

impl TokenGuesses {
    /// A client shows a wrong one.
    pub fn wrong(&mut self, client: Client, now: Instant) -> Heard {
        if !self.0.contains_key(&client) && self.0.len() >= limits::TOKEN_GUESSERS_MAX {
            self.make_room(now);
        }
        let guesser = self.0.entry(client).or_insert(Guesser { clean: now, told: false });
        if guesser.clean <= now {
            *guesser = Guesser { clean: now, told: false };
        }
        let clean = guesser.clean + limits::TOKEN_GUESS_FORGOTTEN;
        if clean.since(now) <= limits::TOKEN_GUESS_FORGOTTEN * limits::TOKEN_GUESSES {
            guesser.clean = clean;
            return Heard::Wrong;
        }
        if std::mem::replace(&mut guesser.told, true) { Heard::TooMany } else { Heard::TooManyNow }
    }

    /// Whoever is forgotten goes, or who is soonest.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, guesser| guesser.clean > now);
        let soonest = self.0.iter().min_by_key(|(_, guesser)| guesser.clean).map(|(client, _)| *client);
        if self.0.len() >= limits::TOKEN_GUESSERS_MAX
            && let Some(soonest) = soonest
        {
            self.0.remove(&soonest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    fn client(address: &str) -> Client {
        Client::from(address.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn a_client_may_show_so_many_wrong_ones() {
        let mut guesses = TokenGuesses::default();
        let (one, now) = (client("192.0.2.1"), Instant::default() + Duration::from_secs(100));
        for _ in 0..limits::TOKEN_GUESSES {
            assert_eq!(guesses.wrong(one, now), Heard::Wrong);
        }
        assert_eq!(guesses.wrong(one, now), Heard::TooManyNow);
        assert_eq!(guesses.wrong(one, now), Heard::TooMany);
        assert_eq!(guesses.wrong(client("192.0.2.2"), now), Heard::Wrong, "another has its own");
        // One after the other is forgotten.
        let later = now + limits::TOKEN_GUESS_FORGOTTEN;
        assert_eq!(guesses.wrong(one, later), Heard::Wrong);
        assert_eq!(guesses.wrong(one, later), Heard::TooMany);
        let clean = later + limits::TOKEN_GUESS_FORGOTTEN * limits::TOKEN_GUESSES;
        assert_eq!(guesses.wrong(one, clean), Heard::Wrong);
        // A network of IPv6 is one client.
        for host in 0..limits::TOKEN_GUESSES {
            guesses.wrong(client(&format!("2001:db8::{host:x}")), now);
        }
        assert_eq!(guesses.wrong(client("2001:db8::ffff"), now), Heard::TooManyNow);
    }

    #[test]
    fn so_many_clients_are_remembered() {
        let mut guesses = TokenGuesses::default();
        let now = Instant::default();
        for host in 0..2 * limits::TOKEN_GUESSERS_MAX {
            let address = format!("10.{}.{}.1", host / 256, host % 256);
            guesses.wrong(client(&address), now);
            assert!(guesses.0.len() <= limits::TOKEN_GUESSERS_MAX);
        }
        guesses.wrong(client("192.0.2.1"), now + limits::TOKEN_GUESS_FORGOTTEN);
        assert_eq!(guesses.0.len(), 1, "whoever is forgotten goes");
    }
}
