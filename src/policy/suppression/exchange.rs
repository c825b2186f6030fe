//! Lists as files of others: comma-separated values (RFC 4180) in and out. [`Import`] is fed bytes as they come and gives entries; what is wrong is
//! told by its line, and the rest is taken. One address a line is such a file too, and so are the exports of other services.

mod cells;
mod columns;

use std::fmt;

use super::canonical::{self, BadEntry};
use super::entry::{Entry, Reason};
use crate::limits;
use crate::mail::release::show;
use crate::time::UnixMillis;
use cells::{Cells, LineTrouble, MARKED, plain};
pub use columns::moment;
use columns::{Columns, Names, reason};

/// What holds for lines that do not say it.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Whose entries they are.
    pub tenant: Option<String>,
    /// Why.
    pub reason: Reason,
    /// Since when: now, mostly.
    pub now: UnixMillis,
}

/// Why a line gives no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// Its address is none.
    Address(BadEntry),
    /// Its tenant has no name that one could have.
    Tenant,
    /// It is longer than a line may be, or has more cells.
    TooLong,
    /// A quote in it is not closed before the end of the file.
    Unclosed,
    /// The first line names columns, and none of them has addresses.
    NoColumn,
}

impl fmt::Display for BadLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLine::Address(why) => write!(formatter, "{why}"),
            BadLine::Tenant => write!(
                formatter,
                "its tenant is no name: printable text of at most {} bytes",
                limits::PARAMETER_MAX
            ),
            BadLine::TooLong => write!(
                formatter,
                "it has more than {} bytes or {} cells: is a quote not closed?",
                limits::SUPPRESSION_LINE_MAX,
                limits::SUPPRESSION_CELLS_MAX
            ),
            BadLine::Unclosed => {
                formatter.write_str("a quote that opens in it is never closed: all behind it is one cell")
            }
            BadLine::NoColumn => {
                formatter.write_str("none of its columns is called address, email or recipient")
            }
        }
    }
}

impl From<LineTrouble> for BadLine {
    fn from(trouble: LineTrouble) -> BadLine {
        match trouble {
            LineTrouble::TooLong => BadLine::TooLong,
            LineTrouble::Unclosed => BadLine::Unclosed,
        }
    }
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries that it gave, each line's by itself.
    pub entries: u64,
    /// Lines that gave none because of what is in them.
    pub wrong: u64,
    /// The first of these, and why.
    pub told: Vec<(u64, BadLine)>,
    /// Lines whose time is over.
    pub over: u64,
    /// Lines with a time that nobody understands: taken as of now, or for good.
    pub undated: u64,
}

/// A file that is read.
pub struct Import {
    defaults: Defaults,
    cells: Cells,
    columns: Option<Columns>,
    summary: Summary,
    /// The canonical address and the note of a line: room that is used again.
    note: String,
}

impl Import {
    /// One that nothing was read of yet.
    pub fn new(defaults: Defaults) -> Import {
        let (columns, summary) = (None, Summary::default());
        Import { defaults, cells: Cells::default(), columns, summary, note: String::new() }
    }

    /// Takes the next bytes of the file, and gives the entries of lines that end in them.
    pub fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(used) = self.cells.feed(bytes) {
            bytes = &bytes[used..];
            self.line(&mut take)?;
            self.cells.next();
        }
        Ok(())
    }

    /// The file ends here.
    pub fn finish<E>(mut self, mut take: impl FnMut(&Entry<'_>) -> Result<(), E>) -> Result<Summary, E> {
        self.cells.finish();
        self.line(&mut take)?;
        Ok(self.summary)
    }

    fn line<E>(&mut self, take: &mut impl FnMut(&Entry<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.cells.is_blank() {
            return Ok(());
        }
        let line = self.cells.line();
        if let Some(trouble) = self.cells.trouble() {
            self.wrong(line, trouble.into());
            return Ok(());
        }
        let columns = match &self.columns {
            Some(columns) => *columns,
            None => {
                let (columns, is_head) = match Columns::of(&self.cells) {
                    Names::Columns(columns) => (columns, true),
                    Names::Entry => (Columns::usual(), false),
                    Names::NoAddress => {
                        self.wrong(line, BadLine::NoColumn);
                        (Columns::usual(), true)
                    }
                };
                self.columns = Some(columns);
                if is_head {
                    return Ok(());
                }
                columns
            }
        };
        let Import { defaults, cells, summary, note, .. } = self;
        match entry(&columns, cells, defaults, note) {
            Ok((address, tenant, read)) => {
                summary.undated += u64::from(read.undated);
                let Read { reason, added, expires, .. } = read;
                let entry = Entry { tenant, address: &address, reason, added, expires, note: note.trim() };
                if entry.is_over(defaults.now) {
                    summary.over += 1;
                    return Ok(());
                }
                summary.entries += 1;
                take(&entry)
            }
            Err(bad) => {
                self.wrong(line, bad);
                Ok(())
            }
        }
    }

    fn wrong(&mut self, line: u64, bad: BadLine) {
        self.summary.wrong += 1;
        if self.summary.told.len() < limits::SUPPRESSION_WRONG_TOLD {
            self.summary.told.push((line, bad));
        }
    }
}

/// What the other cells of a line say.
struct Read {
    reason: Reason,
    added: UnixMillis,
    expires: Option<UnixMillis>,
    undated: bool,
}

/// The entry of a line: its canonical address, its tenant, and the rest. Its note is put where one was.
fn entry<'a>(
    columns: &Columns,
    cells: &'a Cells,
    defaults: &'a Defaults,
    note: &mut String,
) -> Result<(String, Option<&'a str>, Read), BadLine> {
    let text = |column: Option<usize>| plain(column.and_then(|column| cells.get(column)).unwrap_or_default());
    let address = plain(cells.get(columns.address).unwrap_or_default());
    // As mail programs write it.
    let inner = address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address);
    let address = canonical::canonical(inner).map_err(BadLine::Address)?;
    let tenant = match text(columns.tenant) {
        "" => defaults.tenant.as_deref(),
        tenant => Some(tenant),
    };
    let probe = Entry {
        tenant,
        address: &address,
        reason: defaults.reason,
        added: defaults.now,
        expires: None,
        note: "",
    };
    if !probe.is_sound() {
        return Err(BadLine::Tenant);
    }
    let written = text(columns.reason);
    let known = reason(written);
    note.clear();
    let said = text(columns.note);
    // A reason in other people's words is worth keeping.
    note.extend(
        if said.is_empty() && known.is_none() { written } else { said }
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter }),
    );
    while note.len() > limits::SUPPRESSION_NOTE_MAX {
        note.pop();
    }
    let reason = match known {
        Some(known) => known,
        None if written.is_empty() => defaults.reason,
        None => Reason::Imported,
    };
    let (added, expires) = (text(columns.added), text(columns.expires));
    let (since, until) = (moment(added), moment(expires));
    let undated = since.is_none() && !added.is_empty() || until.is_none() && !expires.is_empty();
    Ok((address, tenant, Read { reason, added: since.unwrap_or(defaults.now), expires: until, undated }))
}

/// The first line of what is exported.
pub const HEAD: &str = "address,tenant,reason,added,expires,note\r\n";

/// Appends the line of an entry. A cell that a spreadsheet would take for a formula has a `'` in front.
pub fn write_line(entry: &Entry<'_>, out: &mut Vec<u8>) {
    write_cell(entry.address, out);
    out.push(b',');
    write_cell(entry.tenant.unwrap_or_default(), out);
    out.push(b',');
    out.extend_from_slice(entry.reason.word().as_bytes());
    out.push(b',');
    out.extend_from_slice(show(entry.added).as_bytes());
    out.push(b',');
    if let Some(at) = entry.expires {
        out.extend_from_slice(show(at).as_bytes());
    }
    out.push(b',');
    write_cell(entry.note, out);
    out.extend_from_slice(b"\r\n");
}

fn write_cell(text: &str, out: &mut Vec<u8>) {
    let mark = if text.starts_with(MARKED) { "'" } else { "" };
    if !text.bytes().any(|byte| matches!(byte, b',' | b';' | b'\t' | b'"' | b'\r' | b'\n' | b' ')) {
        out.extend_from_slice(mark.as_bytes());
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(mark.as_bytes());
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
