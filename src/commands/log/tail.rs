//! `relevo log tail`: the end of the log, and what comes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::Args;
use relevo::control::logged::files::{Lines, Take};
use relevo::control::logged::filter::Wanted;
use relevo::control::outlet::line::Line;
use relevo::limits;
use relevo::runtime::process;

use super::super::output::{Failure, NO, WRONG_USE};
use super::filter::Filters;
use super::find::Printer;
use super::place::Place;

/// `relevo log tail`
#[derive(Args)]
pub struct TailArguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Box<Filters>,
    /// So many of the last events, if they stand near the end of the log.
    #[arg(short = 'n', long, default_value_t = limits::LOG_TAIL_EVENTS, value_name = "EVENTS")]
    lines: usize,
    /// Go on with those that come, over rotations.
    #[arg(short, long)]
    follow: bool,
    /// The lines as they stand there.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &TailArguments) -> Result<(), Failure> {
    if arguments.lines > limits::LOG_TAIL_EVENTS_MAX {
        let words = format!("--lines: at most {}; `relevo log find` shows all", limits::LOG_TAIL_EVENTS_MAX);
        return Err(Failure(WRONG_USE, words));
    }
    let (log, wanted) = (arguments.place.log()?, arguments.filters.wanted()?);
    let wrong = |error: io::Error| Failure(NO, format!("{}: {error}", log.display()));
    if !log.is_file() {
        return Err(Failure(NO, format!("{}: there is no such file", log.display())));
    }
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), arguments.json);
    let mut file = File::open(&log).map_err(wrong)?;
    let mut lines = Lines::default();
    let length = file.metadata().map_err(wrong)?.len();
    // The beginning of what is read is hardly that of a line: what is none is left out.
    file.seek(SeekFrom::Start(length.saturating_sub(limits::LOG_TAIL))).map_err(wrong)?;
    let mut last = VecDeque::new();
    read(&mut file, &mut lines, &wanted, &mut |raw, _| {
        last.push_back(raw.to_vec());
        if last.len() > arguments.lines {
            last.pop_front();
        }
        Ok(true)
    })?;
    for raw in &last {
        if let Some(line) = Line::read(raw) {
            printer.print(raw, &line)?;
        }
    }
    printer.flush()?;
    if !arguments.follow {
        return Ok(());
    }
    loop {
        process::pause(limits::LOG_FOLLOWED);
        // What was written before it was moved is read to its end first.
        let moved = was_moved(&log, &file);
        read(&mut file, &mut lines, &wanted, &mut |raw, line| {
            printer.print(raw, line)?;
            Ok(true)
        })?;
        printer.flush()?;
        if moved && let Ok(next) = File::open(&log) {
            (file, lines) = (next, Lines::default());
        }
    }
}

/// Whether another file has its name now, or it was cut.
fn was_moved(log: &Path, mut file: &File) -> bool {
    let (Ok(named), Ok(open)) = (std::fs::metadata(log), file.metadata()) else { return false };
    (named.dev(), named.ino()) != (open.dev(), open.ino())
        || file.stream_position().is_ok_and(|at| at > named.len())
}

fn read(
    file: &mut File,
    lines: &mut Lines,
    wanted: &Wanted,
    take: &mut Take<'_, Failure>,
) -> Result<(), Failure> {
    while lines.fill(file).map_err(|error| Failure(NO, format!("the log cannot be read: {error}")))? > 0 {
        lines.each(wanted, take)?;
    }
    Ok(())
}
