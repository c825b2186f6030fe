//! KumoMTA: the helper files that a policy loads, in TOML or JSON, and what init.lua says in plain words.
//!
//! `values` reads both formats; `shaping`, `queues`, `sources`, `domains` and `keys` a helper file each, `lua` the policy.

mod reader;
mod values;
mod shaping;
mod queues;
mod sources;
mod domains;
mod keys;
mod lua;
mod policy;
mod helpers;

use std::collections::BTreeMap;

use super::prove::finish;
use super::{ImportError, Imported, Library, Terms};
use reader::Reader;

/// Helper files that are looked for, whether the policy names them or not.
const USUAL: [&str; 12] = [
    "shaping.toml",
    "shaping.json",
    "shaping_custom.toml",
    "custom-shaping.toml",
    "sources.toml",
    "sources.json",
    "queues.toml",
    "queues.json",
    "listener_domains.toml",
    "listener_domains.json",
    "dkim_data.toml",
    "dkim_data.json",
];

/// Reads the directory of a policy.
pub fn import(directory: &str, library: &mut Library<'_>, terms: &Terms) -> Result<Imported, ImportError> {
    let directory = directory.trim_end_matches('/').to_owned();
    let mut reader = Reader { directory, library, terms, intake: Vec::new(), out: Imported::default() };
    let policy = reader::text(&mut reader, "init.lua")?;
    let mut names: Vec<String> = USUAL.map(str::to_owned).to_vec();
    let mut kinds = BTreeMap::new();
    if let Some(text) = &policy {
        names.extend(lua::files(text).into_iter().filter(|name| !USUAL.contains(&name.as_str())));
        lua::calls(text).iter().for_each(|call| helpers::kinds(call, &mut kinds));
    }
    let kind = |name: &str| kinds.get(name).copied().unwrap_or_else(|| kind(name));
    // Sources first: pools are named by what follows.
    names.sort_by_key(|name| (kind(name), !USUAL.contains(&name.as_str())));
    let mut any = policy.is_some();
    for name in &names {
        any |= helper(&mut reader, name, kind(name))?;
    }
    if !any {
        let problem = "there is no init.lua and no helper file: name the directory of the policy";
        return Err(ImportError::new(&reader.directory, 0, problem));
    }
    policy::policy(&mut reader, policy.as_deref().unwrap_or_default())?;
    if !reader.out.relevo.has("[retry]") {
        let words = "KumoMTA waits for 20m, twice as long each time, for 7 days where nothing says otherwise; here it is as deploy/relevo.toml has [retry].";
        reader.out.notes.push(words.to_owned());
    }
    Ok(finish(reader.out, terms))
}

/// Which helper a file is for, by its name, where none is called with it.
fn kind(name: &str) -> u8 {
    let name = name.rsplit('/').next().unwrap_or(name);
    ["source", "queue", "shaping", "dkim", "listener"]
        .iter()
        .position(|one| name.contains(one))
        .map_or(9, |at| at as u8)
}

fn helper(reader: &mut Reader<'_, '_>, name: &str, kind: u8) -> Result<bool, ImportError> {
    let Some(text) = reader::text(reader, name)? else { return Ok(false) };
    let entries = values::read(name, &text)?;
    match kind {
        0 => sources::sources(reader, name, &entries)?,
        1 => queues::queues(reader, name, &entries)?,
        2 => shaping::shaping(reader, name, &entries)?,
        3 => keys::keys(reader, name, &entries)?,
        4 => domains::domains(reader, name, &entries)?,
        _ => {
            for one in &entries {
                let id = reader::enter(reader, name, "", one)?;
                reader.out.ledger.none(id, "a file for code of the policy's own");
            }
        }
    }
    Ok(true)
}
