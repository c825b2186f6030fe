//! `relevo log find`.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

use clap::Args;
use relevo::control::logged::files;
use relevo::control::outlet::line::Line;

use super::super::output::{Failure, NO};
use super::super::table;
use super::super::words::plain;
use super::filter::Filters;
use super::place::{self, Place};

/// `relevo log find`
#[derive(Args)]
pub struct FindArguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Box<Filters>,
    /// At most so many; 0 is all of them.
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    limit: u64,
    /// The lines as they stand there.
    #[arg(long)]
    json: bool,
}

/// Prints events.
pub(super) struct Printer<W> {
    out: W,
    json: bool,
    columns: usize,
    pub count: u64,
}

impl<W: Write> Printer<W> {
    pub fn new(out: W, json: bool) -> Printer<W> {
        Printer { out, json, columns: table::columns(), count: 0 }
    }

    pub fn print(&mut self, raw: &[u8], line: &Line<'_>) -> io::Result<()> {
        if self.json {
            self.out.write_all(raw.trim_ascii_end())?;
            self.out.write_all(b"\n")?;
        } else {
            if self.count == 0 {
                writeln!(self.out, "{}", row("TIME", "EVENT", "ID", "WHO AND WHAT", self.columns))?;
            }
            let shown =
                [line.text("time"), line.text("event"), line.text("id")].map(|text| plain(text.as_bytes()));
            let second = shown[0].get(..19).unwrap_or(&shown[0]);
            writeln!(self.out, "{}", row(second, &shown[1], &shown[2], &what(line), self.columns))?;
        }
        self.count += 1;
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn row(time: &str, event: &str, id: &str, what: &str, columns: usize) -> String {
    table::fit(&format!("{time:19}  {event:10}  {id:16}  {what}"), columns)
}

/// To whom, and what was said.
fn what(line: &Line<'_>) -> String {
    let mut parts = Vec::new();
    let recipients = line.each("recipients");
    match recipients.len() {
        0 => {}
        1 => parts.push(recipients[0].clone().into_owned()),
        more => parts.push(format!("{} (and {} more)", recipients[0], more - 1)),
    }
    for name in ["class", "action", "filter", "reason", "reply"] {
        let text = line.text(name);
        if !text.is_empty() {
            parts.push(text.into_owned());
        }
    }
    plain(parts.join("  ").as_bytes())
}

pub(super) fn run(arguments: &FindArguments) -> Result<(), Failure> {
    let (log, wanted) = (arguments.place.log()?, arguments.filters.wanted()?);
    let since = arguments.filters.since.map(|since| SystemTime::UNIX_EPOCH + Duration::from_millis(since.0));
    let files = files::all(&log, since);
    if files.is_empty() {
        return Err(Failure(NO, format!("{}: there is no such file", log.display())));
    }
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), arguments.json);
    let most = if arguments.limit == 0 { u64::MAX } else { arguments.limit };
    place::each(&files, &wanted, &mut |raw, line| {
        printer.print(raw, line)?;
        Ok(printer.count < most)
    })?;
    printer.flush()?;
    if printer.count == 0 {
        return Err(Failure(NO, "there are no such events in the log".to_owned()));
    }
    Ok(())
}
