//! An address is forgotten, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// The address.
    pub address: String,
    /// Only say where it stands.
    #[serde(default)]
    pub dry_run: bool,
    /// From the suppression list, too: mail may go there again.
    #[serde(default)]
    pub suppression: bool,
}

/// Where it stood.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Erased {
    /// Nothing was changed.
    pub dry_run: bool,
    /// What stands for the address in the admin event.
    pub name: String,
    /// One for each place.
    pub places: Vec<ErasedPlace>,
    /// Recipients of that address whose mail waits: nothing was done to these. None: that could not be found out in time.
    pub queued: Option<u64>,
}

/// A place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasedPlace {
    /// Which.
    pub place: String,
    /// How often it stood there.
    pub found: u64,
    /// How often it does not any more.
    pub erased: u64,
    /// Files in which it stood.
    pub files: u64,
    /// What is left, why, and when it goes.
    pub left: Option<String>,
}

impl ErasedPlace {
    /// All that was found is erased, unless it was only looked for.
    pub fn found(place: &str, found: u64, dry: bool) -> ErasedPlace {
        let erased = if dry { 0 } else { found };
        ErasedPlace { place: place.to_owned(), found, erased, ..ErasedPlace::default() }
    }

    /// Something is left there.
    pub fn left(place: &str, left: &str) -> ErasedPlace {
        ErasedPlace { place: place.to_owned(), left: Some(left.to_owned()), ..ErasedPlace::default() }
    }
}
