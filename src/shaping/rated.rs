//! What the rates of a site are of, each with its keys and its words. Another is a line here in each of these; `shard/outbound/bucket` says what
//! takes of it, and whoever keeps a rate, counts by it or tells of it has one for each.

use std::ops::{Index, IndexMut};

use super::key::Key;

/// What a rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rated {
    /// Messages.
    Messages,
    /// Connections that are opened.
    Connections,
}

impl Rated {
    /// All of them, in the order of the enum: that in which they are told.
    pub const ALL: [Rated; 2] = [Rated::Messages, Rated::Connections];

    /// The key that sets it for a source at a site.
    pub fn key(self) -> Key {
        match self {
            Rated::Messages => Key::MaxMessageRate,
            Rated::Connections => Key::MaxConnectionRate,
        }
    }

    /// The key that sets it for all sites of a provider together.
    pub fn key_of_provider(self) -> Option<Key> {
        match self {
            Rated::Messages => Some(Key::ProviderMaxMessageRate),
            Rated::Connections => None,
        }
    }

    /// For programs: the line that sets it.
    pub fn name(self) -> &'static str {
        match self {
            Rated::Messages => "message_rate",
            Rated::Connections => "connection_rate",
        }
    }

    /// For programs: mail waits for it.
    pub fn cause(self) -> &'static str {
        match self {
            Rated::Messages => "rate",
            Rated::Connections => "connection_rate",
        }
    }
}

impl std::fmt::Display for Rated {
    /// What mail is held to.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Rated::Messages => "the rate of the site",
            Rated::Connections => "the rate of connections",
        })
    }
}

/// Something for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EachRate<T>([T; Rated::ALL.len()]);

impl<T> EachRate<T> {
    /// What this says of each.
    pub fn of(each: impl FnMut(Rated) -> T) -> EachRate<T> {
        EachRate(Rated::ALL.map(each))
    }

    /// Each with what it is of.
    pub fn iter(&self) -> impl Iterator<Item = (Rated, &T)> {
        Rated::ALL.into_iter().zip(&self.0)
    }
}

impl<T> EachRate<Option<T>> {
    /// Those that there are.
    pub fn set(&self) -> impl Iterator<Item = (Rated, &T)> {
        self.iter().filter_map(|(of, one)| Some((of, one.as_ref()?)))
    }
}

impl<T> Index<Rated> for EachRate<T> {
    type Output = T;

    fn index(&self, of: Rated) -> &T {
        &self.0[of as usize]
    }
}

impl<T> IndexMut<Rated> for EachRate<T> {
    fn index_mut(&mut self, of: Rated) -> &mut T {
        &mut self.0[of as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::key::Kind;

    #[test]
    fn each_has_its_place_and_keys_of_its_own() {
        let places = EachRate::of(|of| of as usize);
        assert!(places.iter().all(|(of, place)| places[of] == *place && Rated::ALL[*place] == of));
        let own = Rated::ALL.map(|of| (of.key(), of.key_of_provider()));
        for (key, of_provider) in own {
            assert!(key.kind() == Kind::Rate && !key.is_of_providers(), "{}", key.name());
            assert!(of_provider.is_none_or(|key| key.kind() == Kind::Rate && key.is_of_providers()));
        }
        let rates = Key::ALL.iter().filter(|key| key.kind() == Kind::Rate);
        for key in rates {
            let of = own.iter().filter(|(own, provider)| own == key || *provider == Some(*key));
            assert_eq!(of.count(), 1, "{} is the rate of something", key.name());
        }
    }
}
