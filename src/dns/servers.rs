//! Which name server is asked next.

use std::net::SocketAddr;

use crate::limits;
use crate::time::Instant;

/// The name servers in their order: the first one is asked, and the next only if it gives no answer (resolv.conf(5)). What the first one
/// says is final, also that there is no such name: another may know less. One that hears nothing comes last for a while, so that not
/// each question waits for it.
#[derive(Clone, Debug, Default)]
pub struct Servers(Vec<Server>);

#[derive(Clone, Debug)]
struct Server {
    address: SocketAddr,
    /// It did not answer a question in time, and none since.
    silent: bool,
    /// It did not even answer for the root, and is asked for it again then.
    deaf_until: Option<Instant>,
}

impl Servers {
    /// These, of which nothing is known.
    pub fn new(addresses: &[SocketAddr]) -> Servers {
        let unknown = |address: &SocketAddr| Server { address: *address, silent: false, deaf_until: None };
        Servers(addresses.iter().map(unknown).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The order in which they are asked now.
    pub fn order(&self) -> Vec<SocketAddr> {
        let (hearing, deaf): (Vec<_>, Vec<_>) = self.0.iter().partition(|server| server.deaf_until.is_none());
        hearing.into_iter().chain(deaf).map(|server| server.address).collect()
    }

    /// This one answered. True: it had been deaf.
    pub fn heard(&mut self, address: SocketAddr) -> bool {
        let Some(server) = self.0.iter_mut().find(|server| server.address == address) else { return false };
        server.silent = false;
        server.deaf_until.take().is_some()
    }

    /// It did not answer a question in time: the name servers of that name may be to blame.
    pub fn silent(&mut self, address: SocketAddr) {
        if let Some(server) = self.0.iter_mut().find(|server| server.address == address) {
            server.silent = true;
        }
    }

    /// It did not answer for the root, which every one has at hand. True: that is new.
    pub fn deaf(&mut self, address: SocketAddr, now: Instant) -> bool {
        let Some(server) = self.0.iter_mut().find(|server| server.address == address) else { return false };
        server.deaf_until.replace(now + limits::DNS_DEAF_KEPT).is_none()
    }

    /// Whether they are to be asked for the root: one was silent, or it is time to ask one again that was deaf. A single one
    /// is asked in any case.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        self.0.len() > 1
            && self.0.iter().any(|server| match server.deaf_until {
                Some(until) => until <= now,
                None => server.silent,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_hears_is_asked_first() {
        let [one, two, three] =
            ["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"].map(|text| text.parse().unwrap());
        let mut servers = Servers::new(&[one, two, three]);
        let now = Instant(1);
        for _ in 0..50 {
            assert_eq!(servers.order(), [one, two, three], "resolv.conf(5): in the order listed");
        }
        servers.silent(one);
        assert!(servers.is_doubtful(now) && servers.order()[0] == one, "the names may be to blame");
        assert!(!servers.heard(one) && !servers.is_doubtful(now));
        assert!(servers.deaf(one, now) && !servers.deaf(one, now));
        assert_eq!(servers.order(), [two, three, one]);
        assert!(!servers.is_doubtful(now) && servers.is_doubtful(now + limits::DNS_DEAF_KEPT));
        assert!(servers.heard(one));
        assert_eq!(servers.order(), [one, two, three]);
        let mut alone = Servers::new(&[one]);
        alone.silent(one);
        assert!(!alone.is_doubtful(now));
    }
}
