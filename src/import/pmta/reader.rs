//! What all parts share: the original, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Names;
use super::parse::Node;
use crate::import::{Id, Imported, Library, Terms};

/// All of the original, and what is made of it.
pub(super) struct Reader<'a, 'f> {
    pub library: &'a mut Library<'f>,
    pub terms: &'a Terms,
    pub names: Names,
    /// Sources of each virtual MTA and pool, by its name.
    pub sources: BTreeMap<String, Vec<String>>,
    /// The source that a virtual MTA warms up, beside those.
    pub cold: BTreeMap<String, String>,
    /// `<smtp-pattern-list>`, each with how often it was named.
    pub lists: BTreeMap<String, Node>,
    /// Sections of the shaping file, with the lists that their rules are from.
    pub taken: BTreeSet<(String, String)>,
    /// `<domain *>` outside of virtual MTAs.
    pub defaults: Vec<Node>,
    /// Keys that were copied, by domain and selector.
    pub keys: BTreeMap<(String, String), Id>,
    pub out: Imported,
}
