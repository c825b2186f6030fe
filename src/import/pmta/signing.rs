//! `domain-key`: who signs.

use super::parse::Node;
use super::reader::Reader;
use crate::import::library::Missing;
use crate::import::words::{is_domain, quoted, shown};
use crate::mail::dkim::PrivateKey;

pub(super) fn signing(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    let inside = tree.iter().filter(|node| node.name.starts_with('<')).flat_map(|node| &node.children);
    let deeper = inside.clone().filter(|node| node.is("<domain")).flat_map(|node| &node.children);
    let all: Vec<Node> =
        tree.iter().chain(inside).chain(deeper).filter(|node| node.is("domain-key")).cloned().collect();
    for node in all {
        self::key(reader, &node);
    }
    if !reader.keys.is_empty() {
        let from: Vec<_> = reader.keys.values().copied().collect();
        let path = quoted(&format!("{}/dkim", reader.terms.at));
        reader.out.relevo.set("[dkim]", "keys", &path, &from);
        for ((domain, selector), id) in reader.keys.clone() {
            let section = reader.out.relevo.push("[[dkim.key]]", &[id]);
            section.set("domain", &quoted(&domain), &[]);
            section.set("selector", &quoted(&selector), &[]);
        }
    }
}

fn key(reader: &mut Reader<'_, '_>, node: &Node) {
    let parts: Vec<&str> = node.value.split(',').map(|part| part.trim().trim_matches('"')).collect();
    let [selector, domain, path] = parts[..] else {
        return reader.out.ledger.none(node.id, "a key has a selector, a domain and a file");
    };
    let (selector, domain) =
        (selector.to_ascii_lowercase(), domain.trim_start_matches("[*.]").to_ascii_lowercase());
    if domain == "*" {
        let words = "one key for every domain: copy it as DOMAIN/SELECTOR.pem for each that signs, or sign all mail with relay_domain of [dkim] too";
        return reader.out.ledger.none(node.id, words);
    }
    if !is_domain(&domain) || !is_domain(&selector) {
        return reader
            .out
            .ledger
            .none(node.id, "no selector or no domain: a key is a file DOMAIN/SELECTOR.pem");
    }
    let made = (domain.clone(), selector.clone());
    if reader.keys.contains_key(&made) {
        return reader.out.ledger.usual(
            node.id,
            "the key is there already: who signs goes by the domain in From, not by virtual MTA",
        );
    }
    let text = match reader.library.text(path) {
        Ok(text) => text,
        Err(missing) => {
            let why = match missing {
                Missing::Unread(why) => why,
                Missing::Broken(error) => error.problem,
            };
            let words = format!(
                "the key cannot be read ({why}): copy it to {}/dkim/{domain}/{selector}.pem and set [dkim] keys",
                reader.terms.at
            );
            return reader.out.ledger.none(node.id, &words);
        }
    };
    if let Err(flaw) = PrivateKey::from_pem(&text) {
        let words = format!("the key cannot be used ({}): {}", shown(&flaw.to_string()), shown(flaw.fix()));
        return reader.out.ledger.none(node.id, &words);
    }
    reader.out.files.push((format!("dkim/{domain}/{selector}.pem"), text));
    reader.keys.insert(made, node.id);
    reader.out.ledger.differs(node.id, "it signs all mail from the domain that may be signed for (docs/dkim.md), by whatever virtual MTA it leaves");
}
