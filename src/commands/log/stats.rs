//! `relevo log stats`: what became of recipients, counted over the log.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use relevo::control::logged::count::{By, KINDS, Table};
use relevo::control::logged::files;
use relevo::limits;
use serde_json::json;

use super::super::output::{Failure, NO};
use super::super::table;
use super::super::words::plain;
use super::filter::Filters;
use super::place::{self, Place};

/// `relevo log stats`
#[derive(Args)]
pub struct StatsArguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Box<Filters>,
    /// What makes a row.
    #[arg(long, value_parser = by(), default_value = By::Provider.name())]
    by: By,
    /// At most so many rows, those with the most recipients; 0 is all of them.
    #[arg(long, default_value_t = limits::LOG_STATS_SHOWN, value_name = "ROWS")]
    limit: usize,
    /// Print JSON, one object a row.
    #[arg(long)]
    json: bool,
}

fn by() -> impl TypedValueParser<Value = By> {
    PossibleValuesParser::new(By::ALL.map(By::name)).map(|name| By::named(&name).unwrap_or(By::Provider))
}

pub(super) fn run(arguments: &StatsArguments) -> Result<(), Failure> {
    let (log, wanted, by) = (arguments.place.log()?, arguments.filters.wanted()?, arguments.by);
    let since = arguments.filters.since.map(|since| SystemTime::UNIX_EPOCH + Duration::from_millis(since.0));
    let files = files::all(&log, since);
    if files.is_empty() {
        return Err(Failure(NO, format!("{}: there is no such file", log.display())));
    }
    let mut table = Table::default();
    place::each(&files, &wanted, &mut |_, line| {
        table.add(by, line);
        Ok(true)
    })?;
    let rows = table.sorted(arguments.limit);
    if rows.is_empty() {
        return Err(Failure(NO, "there are no such events in the log".to_owned()));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let columns = table::columns();
    if !arguments.json {
        let head = by.name().to_uppercase();
        let line = format!(
            "{head:24} {:>9} {:>9} {:>8} {:>7} {:>7} {:>7}  LAST WORDS",
            "RECEIVED", "DELIVERED", "DEFERRED", "BOUNCED", "EXPIRED", "DELAY"
        );
        writeln!(out, "{}", table::fit(&line, columns))?;
    }
    for (key, row) in &rows {
        let delay = row.delay();
        if arguments.json {
            let mut object = json!({ by.name(): key, "delay_ms": delay, "text": row.text });
            for (kind, count) in KINDS.iter().zip(row.counts) {
                object[kind] = count.into();
            }
            writeln!(out, "{object}")?;
            continue;
        }
        let key = if key.is_empty() { "(none)".to_owned() } else { plain(key.as_bytes()) };
        let [received, delivered, deferred, bounced, expired, _] = row.counts;
        let delay =
            delay.map_or("-".to_owned(), |delay| format!("{}.{:01}s", delay / 1000, delay % 1000 / 100));
        let line = format!(
            "{:24} {received:>9} {delivered:>9} {deferred:>8} {bounced:>7} {expired:>7} {delay:>7}  {}",
            table::fit(&key, 24),
            plain(row.text.as_bytes())
        );
        writeln!(out, "{}", table::fit(&line, columns))?;
    }
    out.flush()?;
    Ok(())
}
