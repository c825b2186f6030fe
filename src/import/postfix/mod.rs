//! Postfix: main.cf, master.cf and the maps that they name.
//!
//! `parameters` and `services` read the two files, `maps` the maps. Then each part of what we can say takes what it needs of them:
//! `listeners`, `routes`, `senders`, `settings`; `others` says what is to be said of the rest.

mod reader;
mod parameters;
mod services;
mod maps;
mod listeners;
mod routes;
mod hops;
mod senders;
mod settings;
mod restrictions;
mod checks;
mod others;

use super::library::Missing;
use super::prove::finish;
use super::{ImportError, Imported, Library, Terms};
use parameters::Parameters;
use reader::Reader;
use services::Service;

/// Reads the directory that has main.cf.
pub fn import(directory: &str, library: &mut Library<'_>, terms: &Terms) -> Result<Imported, ImportError> {
    let directory = directory.trim_end_matches('/').to_owned();
    let mut out = Imported::default();
    let path = format!("{directory}/main.cf");
    let text = library.text(&path).map_err(|missing| missing.needed(&path))?;
    let main = Parameters::read(&text, &mut out.ledger)?;
    let path = format!("{directory}/master.cf");
    let services = match library.text(&path) {
        Ok(text) => services::read(&text, &mut out.ledger)?,
        Err(Missing::Unread(_)) => vec![Service::usual()],
        Err(Missing::Broken(error)) => return Err(error),
    };
    let mut reader = Reader { directory, library, terms, main, services, taken: None, out };
    settings::settings(&mut reader)?;
    listeners::listeners(&mut reader)?;
    let routes = routes::routes(&mut reader)?;
    senders::senders(&mut reader)?;
    routes::choices(&mut reader, routes);
    restrictions::restrictions(&mut reader);
    checks::checks(&mut reader)?;
    others::others(&mut reader);
    if !reader.out.relevo.has("[retry]") {
        let words = "Postfix waits for 300s and at most 4000s between attempts where nothing says otherwise; here it is as deploy/relevo.toml has [retry].";
        reader.out.notes.push(words.to_owned());
    }
    let words = "Limits for large providers that relevo ships hold beside what is here; [shaping] defaults = false leaves them out (docs/shaping.md).";
    reader.out.notes.push(words.to_owned());
    Ok(finish(reader.out, terms))
}
