//! `pickup`: the directory that files are dropped into.

use super::parse::Node;
use super::reader::Reader;
use crate::import::words::{self, quoted};

pub(super) fn pickup(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    let Some(node) = tree.iter().rfind(|node| node.is("pickup")) else { return };
    let mut paths = paths(&node.value).into_iter();
    let (directory, bad) = (paths.next(), paths.next());
    let Some(directory) = directory.filter(|path| path.starts_with('/')) else {
        let words = "[pickup] directory is a path that begins with /: write the one that programs drop files into here";
        return reader.out.ledger.none(node.id, words);
    };
    reader.out.relevo.set("[pickup]", "directory", &quoted(&directory), &[node.id]);
    if let Some(bad) = bad.filter(|path| path.starts_with('/')) {
        reader.out.relevo.set("[pickup]", "bad", &quoted(&bad), &[]);
    }
    let words = "both directories are in one file system, and the unit needs ReadWritePaths= for them (docs/pickup.md)";
    reader.out.ledger.differs(node.id, words);
    for other in tree.iter().filter(|other| other.is("pickup") && other.id != node.id) {
        reader.out.ledger.usual(other.id, "a later one holds");
    }
    let own = tree.iter().filter(|source| source.is("<source") && source.value == "{pickup}");
    let removes = own.flat_map(|source| &source.children).find(|one| one.is("always-allow-relaying"));
    if let Some(one) = removes.filter(|one| words::yes(&one.value)) {
        reader.out.ledger.usual(one.id, "who may write to the directory may send");
    }
}

/// Two paths, in quotes where they have blanks in them.
fn paths(value: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        let (path, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        paths.push(path.trim_end_matches('/').to_owned());
        rest = behind.trim_start();
    }
    paths
}
