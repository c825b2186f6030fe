//! What all parts share: the original, and what is made of it.

use super::parameters::Parameters;
use super::services::Service;
use crate::import::{Id, Imported, Library, Terms};

/// All of the original, and what is made of it.
pub(super) struct Reader<'a, 'f> {
    pub directory: String,
    pub library: &'a mut Library<'f>,
    pub terms: &'a Terms,
    pub main: Parameters,
    pub services: Vec<Service>,
    /// Domains that are taken from anybody, once they are known, and what they are from.
    pub taken: Option<(Vec<String>, Vec<Id>)>,
    pub out: Imported,
}
