//! `relevo dkim show`.

use clap::Args;
use relevo::mail::dkim::record;

use super::super::output::{Failure, NO, say};
use super::super::table;
use super::super::words::plain;
use super::found::{Found, Key, Place, domain};

/// What is shown.
#[derive(Args)]
pub struct Arguments {
    /// Of this domain alone, with its records.
    domain: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line for each key.
    #[arg(long)]
    json: bool,
}

/// A table, and for one domain what is to be in the DNS.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let domain = arguments.domain.as_deref().map(domain).transpose()?;
    let (dkim, _) = arguments.place.settings()?;
    let found = Found::read(&dkim, domain.as_deref());
    let keys = found.keys(domain.as_deref());
    if arguments.json {
        for key in &keys {
            say!("{}", key.json()?);
        }
    } else {
        lines(&keys)?.iter().try_for_each(|line| -> Result<(), Failure> {
            say!("{line}");
            Ok(())
        })?;
        if let Some(domain) = &domain {
            records(&found, &keys, domain)?;
        }
    }
    let signs = domain.as_deref().is_some_and(|domain| found.signing.has_keys(domain));
    match found.bad {
        0 if keys.is_empty() && !signs => Err(Failure(NO, found.none(&dkim, domain.as_deref()))),
        0 => Ok(()),
        bad => Err(Failure(NO, format!("{} cannot be used", super::super::words::count(bad as u64, "file")))),
    }
}

fn lines(keys: &[Key<'_>]) -> Result<Vec<String>, Failure> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let wide = |head: &str, of: fn(&Key<'_>) -> usize| keys.iter().map(of).fold(head.len(), usize::max);
    let domain = wide("DOMAIN", |key| key.file.domain.len());
    let selector = wide("SELECTOR", |key| key.file.selector.len());
    let line = |of: &str, name: &str, algorithm: &str, bits: &str, state: &str| {
        format!("{of:<domain$}  {name:<selector$}  {algorithm:<14}  {bits:>4}  {state}")
    };
    let mut lines = vec![line("DOMAIN", "SELECTOR", "ALGORITHM", "BITS", "STATE")];
    for key in keys {
        let bits = key.public()?.0.to_string();
        let algorithm = key.file.algorithm.name();
        lines.push(line(&key.file.domain, &key.file.selector, algorithm, &bits, &key.state()));
    }
    Ok(lines.into_iter().map(|line| table::fit(&plain(line.as_bytes()), line_columns())).collect())
}

/// A name may be longer than a line, and is looked for by programs that read this: then `--json` has it.
fn line_columns() -> usize {
    table::columns()
}

/// The records of a domain, and by whom its mail is signed.
fn records(found: &Found, keys: &[Key<'_>], domain: &str) -> Result<(), Failure> {
    let signers = found.signing.signers_for(Some(domain), found.now);
    let all = found.keys(None);
    let names: Vec<String> = signers
        .iter()
        .filter_map(|number| all.iter().find(|key| key.number == *number))
        .map(|key| format!("{} ({})", key.file.domain, key.file.selector))
        .collect();
    match names.is_empty() {
        true => say!("mail from {domain} is not signed"),
        false => say!("mail from {domain} is signed by {}", names.join(", ")),
    }
    for key in keys {
        say!("{}", record::zone_line(&key.record_name(), &key.public()?.1));
    }
    Ok(())
}
