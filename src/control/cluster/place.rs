//! Places in streams of the server.

use std::fmt;

/// The id of an entry. They are in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub u64, pub u64);

impl Place {
    pub fn read(text: &str) -> Option<Place> {
        let (milli, number) = text.split_once('-')?;
        Some(Place(milli.parse().ok()?, number.parse().ok()?))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.0, self.1)
    }
}
