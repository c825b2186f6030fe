//! A hop as events name it, taken apart.

/// Its name and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// Empty: it was asked by address.
    pub name: String,
    /// Without its port; empty: there is none.
    pub address: String,
    pub port: String,
}

impl Peer {
    /// Of `mx.example.org [192.0.2.1]:25`, `[192.0.2.1]:25`, or a name.
    pub fn of(hop: &str) -> Peer {
        let Some((name, rest)) = hop.split_once('[') else {
            return Peer { name: hop.to_owned(), ..Peer::default() };
        };
        let (address, behind) = rest.split_once(']').unwrap_or((rest, ""));
        let port = behind.strip_prefix(':').unwrap_or_default();
        Peer { name: name.trim().to_owned(), address: address.to_owned(), port: port.to_owned() }
    }

    pub fn is_some(&self) -> bool {
        !self.name.is_empty() || !self.address.is_empty()
    }

    /// `mx.example.org (192.0.2.1)`
    pub fn shown(&self) -> String {
        match (self.name.is_empty(), self.address.is_empty()) {
            (_, true) => self.name.clone(),
            (true, _) => format!("({})", self.address),
            _ => format!("{} ({})", self.name, self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_taken_apart() {
        for (hop, name, address, port, shown) in [
            ("mx.a [192.0.2.1]:25", "mx.a", "192.0.2.1", "25", "mx.a (192.0.2.1)"),
            ("mx.a [2001:db8::1]:25", "mx.a", "2001:db8::1", "25", "mx.a (2001:db8::1)"),
            ("[192.0.2.1]:25", "", "192.0.2.1", "25", "(192.0.2.1)"),
            ("example.org", "example.org", "", "", "example.org"),
            ("", "", "", "", ""),
        ] {
            let peer = Peer::of(hop);
            assert_eq!((&*peer.name, &*peer.address, &*peer.port), (name, address, port));
            assert_eq!(peer.shown(), shown);
        }
    }
}
