//! What all parts share: the original, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};

use super::hops::Hop;
use super::names::Names;
use super::parse::Node;
use crate::import::said::Said;
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
    /// Hosts that a `<domain>` sends its mail to, by the domain as routes have it.
    pub led: BTreeMap<String, Vec<Hop>>,
    /// What sections of the shaping file say by which block, as two of them may be about the same hosts.
    pub said: Said,
    /// Where the route of a domain stands.
    pub routes: BTreeMap<String, usize>,
    /// Sources that sections of the shaping file tell apart.
    pub apart: BTreeMap<String, BTreeSet<String>>,
    /// Addresses of sources.
    pub addresses: BTreeMap<String, Vec<std::net::IpAddr>>,
    /// Their names in lower case, as they are called.
    pub called: BTreeMap<String, String>,
    pub out: Imported,
}

impl Reader<'_, '_> {
    /// Says it in a section of the shaping file, for a `<domain>`.
    pub fn say(&mut self, block: &Node, (head, key): (&str, &str), value: &str, id: Id) {
        let who = format!("<domain {}>", block.value);
        self.said.say(&mut self.out, (&who, head, key), value, id);
    }

    /// Names the sources of a virtual MTA or a pool.
    pub fn call(&mut self, name: &str, sources: Vec<String>) {
        self.called.insert(name.to_ascii_lowercase(), name.to_owned());
        self.sources.insert(name.to_owned(), sources);
    }

    /// How a virtual MTA or a pool is called, in whatever case it is named.
    pub fn known(&self, name: &str) -> Option<String> {
        self.called.get(&name.trim_matches('"').to_ascii_lowercase()).cloned()
    }

    /// Its sources.
    pub fn sources_of(&self, name: &str) -> Option<&Vec<String>> {
        self.sources.get(&self.known(name)?)
    }
}
