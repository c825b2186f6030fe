//! Which sections of a shaping file a `<domain>` is about.

use super::names::Spot;
use super::parse::Node;
use crate::import::words::quoted;
use crate::limits;

/// Where what a block says goes.
pub(super) struct Scope<'n> {
    pub block: &'n Node,
    pub spots: Vec<Spot>,
    /// The sources that it is about; empty: all.
    pub sources: Vec<String>,
    /// Its mail goes to the hosts of `<domain *>`, so that no section of its own holds.
    pub astray: bool,
}

impl Scope<'_> {
    /// The heads of its sections.
    pub fn heads(&self) -> Vec<String> {
        let of_spot = |spot: &Spot| match self.sources.is_empty() {
            true => vec![format!("[{}]", spot.base)],
            false => self
                .sources
                .iter()
                .map(|source| format!("[{}.sources.{}]", spot.base, quoted(source)))
                .collect(),
        };
        self.spots.iter().flat_map(of_spot).take(limits::IMPORT_SECTIONS_MAX).collect()
    }

    /// Whether it is about all mail.
    pub fn is_all(&self) -> bool {
        self.sources.is_empty() && self.block.value == "*"
    }

    /// Domains by name.
    pub fn domains(&self) -> Vec<String> {
        self.spots.iter().flat_map(|spot| spot.domains.clone()).collect()
    }
}
