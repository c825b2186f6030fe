//! How many connections a client has open to a listener: counted over all shards. A client is an IPv4 address or an IPv6 /64, the smallest
//! network that is given to one site (RFC 6177).

use std::collections::HashMap;
use std::net::IpAddr;

use crate::limits;
use crate::policy::reason::{Reason, Refused};

/// The listener has as many connections as it may, or its shard.
pub const TOO_BUSY: Refused<'static> =
    Refused { reply: "421 4.3.2 Too many connections\r\n", reason: Reason::TooManyConnections };

/// This client has.
pub const TOO_MANY_OF_CLIENT: Refused<'static> = Refused {
    reply: "421 4.7.0 Too many connections from your address\r\n",
    reason: Reason::TooManyConnections,
};

/// A client's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// One address.
    V4(u32),
    /// The first half of an address.
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Client {
        match address.to_canonical() {
            IpAddr::V4(address) => Client::V4(address.to_bits()),
            IpAddr::V6(address) => Client::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The connections that are open to one listener. Nothing is kept of a client that has none.
#[derive(Debug, Default)]
pub struct Clients {
    open: HashMap<Client, u32>,
    all: usize,
}

impl Clients {
    /// Counts a connection in, or refuses it as one too many.
    pub fn enter(&mut self, client: Client, most: usize, most_each: usize) -> Result<(), Refused<'static>> {
        if self.all >= most {
            return Err(TOO_BUSY);
        }
        let open = self.open.get(&client).copied().unwrap_or_default();
        if open as usize >= most_each {
            return Err(TOO_MANY_OF_CLIENT);
        }
        self.open.insert(client, open + 1);
        self.all += 1;
        Ok(())
    }

    /// How many there are.
    #[cfg(test)]
    pub fn all(&self) -> usize {
        self.all
    }

    /// Counts it out.
    pub fn leave(&mut self, client: Client) {
        self.all = self.all.saturating_sub(1);
        let Some(count) = self.open.get_mut(&client) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.open.remove(&client);
            // A wave of clients leaves no large table behind.
            if self.open.capacity() > limits::CLIENTS_ROOM_KEPT && self.open.len() < self.open.capacity() / 8
            {
                self.open.shrink_to(self.open.len() * 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Client {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn a_client_is_an_address_or_a_site() {
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_ne!(client("::1"), client("0.0.0.1"));
    }

    #[test]
    fn each_bound_is_exact_and_what_leaves_makes_room() {
        let mut clients = Clients::default();
        let (one, other) = (client("192.0.2.1"), client("2001:db8::1"));
        for _ in 0..3 {
            assert_eq!(clients.enter(one, 5, 3), Ok(()));
        }
        assert_eq!(clients.enter(one, 5, 3), Err(TOO_MANY_OF_CLIENT));
        assert_eq!(clients.enter(other, 5, 3), Ok(()));
        assert_eq!(clients.enter(other, 5, 3), Ok(()));
        assert_eq!(clients.enter(other, 5, 3), Err(TOO_BUSY));
        clients.leave(one);
        assert_eq!(clients.enter(other, 5, 3), Ok(()));
        assert_eq!(clients.enter(one, 5, 3), Err(TOO_BUSY));
        clients.leave(other);
        assert_eq!(clients.enter(one, 5, 3), Ok(()));
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let mut clients = Clients::default();
        for number in 0..10_000 {
            clients.enter(Client::V4(number), 10_000, 1).expect("there is room");
            assert_eq!(clients.enter(Client::V4(number), 10_001, 1), Err(TOO_MANY_OF_CLIENT));
        }
        for number in 0..10_000 {
            clients.leave(Client::V4(number));
        }
        assert!(clients.open.is_empty() && clients.open.capacity() < 2048, "{}", clients.open.capacity());
        assert_eq!(clients.all, 0);
    }
}
