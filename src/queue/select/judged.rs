//! Domains that no pattern describes: whoever asks for them says of each whether it is meant.

use std::fmt;
use std::sync::Arc;

use super::place::Place;
use crate::route::egress::EgressKey;

/// Says it of a domain by where its mail goes, and by which egress.
#[derive(Clone)]
pub struct PlacePredicate(Arc<dyn Fn(Place<'_>, EgressKey) -> bool + Send + Sync>);

impl PlacePredicate {
    /// By this judgement, which must not wait for anything: it is made on the shard's thread.
    pub fn new(means: impl Fn(Place<'_>, EgressKey) -> bool + Send + Sync + 'static) -> PlacePredicate {
        PlacePredicate(Arc::new(means))
    }

    /// Whether it is meant.
    pub fn means(&self, place: Place<'_>, egress: EgressKey) -> bool {
        (self.0)(place, egress)
    }
}

/// Only the same one is known to say the same.
impl PartialEq for PlacePredicate {
    fn eq(&self, other: &PlacePredicate) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PlacePredicate {}

impl fmt::Debug for PlacePredicate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Judged")
    }
}
