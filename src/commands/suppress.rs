//! `relevo suppress`: who gets no mail.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use clap::{Args, Subcommand};
use hyper::body::Frame;
use relevo::control::api::shape::suppression::{
    ChangeSuppression, SuppressionChanged, SuppressionEntry, SuppressionImported, SuppressionPage,
};
use relevo::limits;
use relevo::policy::suppression::entry::{Entry, Reason};
use relevo::policy::suppression::exchange::{HEAD, moment, write_line};
use relevo::time::UnixMillis;

use super::client::{Client, Relay};
use super::output::{Failure, NO, WRONG_USE, complain, say};
use super::table;
use super::words::{count, plain};

/// `relevo suppress …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put addresses on the list: `ada@example.org`, `@example.org` (all of a domain), `*.example.org` (all of the domains below it).
    #[command(
        after_help = "Examples:\n  relevo suppress add ada@example.org --reason complaint --note 'called us'\n  relevo suppress add @example.org --tenant shop --expires 2027-01-31"
    )]
    Add(AddArguments),
    /// Take addresses from the list. Exit 1: none of them was on it.
    #[command(after_help = "Example: relevo suppress remove ada@example.org --tenant shop")]
    Remove(RemoveArguments),
    /// Show what is on the list.
    #[command(
        after_help = "Examples:\n  relevo suppress list --reason complaint\n  relevo suppress list --domain example.org --json"
    )]
    List(ListArguments),
    /// Say whether mail to an address is held back, and by which entries. Exit 1: it is.
    #[command(
        after_help = "Examples:\n  relevo suppress check ada@example.org\n  relevo suppress check ada@example.org --tenant shop"
    )]
    Check(CheckArguments),
    /// Put a table on the list: CSV, or one address a line. All of it is in force when the command ends, and nothing of it before.
    #[command(
        after_help = "Examples:\n  relevo suppress import bounces.csv\n  zcat list.csv.gz | relevo suppress import - --tenant shop --reason unsubscribe\n\nWhere the first line names columns, one of them is address, email or recipient; tenant, reason, added, expires and note are read where they are there."
    )]
    Import(ImportArguments),
    /// Print the list as CSV, as `import` reads it.
    #[command(
        after_help = "Examples:\n  relevo suppress export > list.csv\n  relevo suppress export --reason hard_bounce --tenant shop"
    )]
    Export(ListArguments),
}

#[derive(Args)]
struct AddArguments {
    #[command(flatten)]
    relay: Relay,
    /// Which: addresses, @DOMAIN or *.DOMAIN.
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Whose mail is held back [default: all mail].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Why: hard_bounce, complaint, unsubscribe, manual, imported.
    #[arg(long, value_name = "WORD", default_value = "manual", value_parser = reason)]
    reason: String,
    /// Until when, UTC: 2027-01-31 or 2027-01-31T12:00:00Z [default: for good].
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<String>,
    /// What else is to be known.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RemoveArguments {
    #[command(flatten)]
    relay: Relay,
    /// Which: addresses, @DOMAIN or *.DOMAIN.
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// The entries of this tenant [default: those that hold for all mail].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ListArguments {
    #[command(flatten)]
    relay: Relay,
    /// Entries of this tenant; '' for those that hold for all mail.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Entries of this reason.
    #[arg(long, value_name = "WORD", value_parser = reason)]
    reason: Option<String>,
    /// Entries about this domain, and about addresses at it.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct CheckArguments {
    #[command(flatten)]
    relay: Relay,
    /// Which.
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Mail of this tenant [default: of all that are configured].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ImportArguments {
    #[command(flatten)]
    relay: Relay,
    /// The table; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose mail is held back, where a line does not say it [default: all mail].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Why, where a line does not say it.
    #[arg(long, value_name = "WORD", default_value = "imported", value_parser = reason)]
    reason: String,
    /// Until when, where a line does not say it [default: for good].
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn reason(word: &str) -> Result<String, String> {
    let all = || Reason::ALL.map(Reason::word).join(", ");
    Reason::named(word).map(|_| word.to_owned()).ok_or_else(|| format!("it is one of {}", all()))
}

fn time(text: &str) -> Result<String, String> {
    let words = "write it as 2027-01-31, or as 2027-01-31T12:00:00Z";
    moment(text).map(|_| text.to_owned()).ok_or_else(|| words.to_owned())
}

const LIST: &str = "/control/v1/suppressions";

/// Exit 0: done; 1: no, or no relay; 2: wrong use.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Add(arguments) => add(arguments),
        Command::Remove(arguments) => remove(arguments),
        Command::List(arguments) => list(&arguments, false),
        Command::Export(arguments) => list(&arguments, true),
        Command::Check(arguments) => check(&arguments),
        Command::Import(arguments) => import(&arguments),
    }
}

fn add(arguments: AddArguments) -> Result<(), Failure> {
    let AddArguments { relay, addresses, tenant, reason, expires, note, json } = arguments;
    let asked = ChangeSuppression { addresses, tenant, reason, expires, note };
    let done = ask(&relay.client()?, LIST, &asked)?;
    if json {
        return print(&done);
    }
    let SuppressionChanged { changed, known } = done;
    say!("{} on the list now, {known} already there", count(changed, "entry"));
    Ok(())
}

fn remove(arguments: RemoveArguments) -> Result<(), Failure> {
    let RemoveArguments { relay, addresses, tenant, json } = arguments;
    let asked = ChangeSuppression { addresses, tenant, ..ChangeSuppression::default() };
    let done = ask(&relay.client()?, &format!("{LIST}/remove"), &asked)?;
    if json {
        print(&done)?;
    } else if done.changed > 0 {
        say!("{} removed", count(done.changed, "entry"));
    }
    if done.changed == 0 {
        let words = "none of that is on the list; `relevo suppress check` tells whose entry holds mail back";
        return Err(Failure(NO, words.to_owned()));
    }
    Ok(())
}

/// In as many requests as it takes.
fn ask(client: &Client, path: &str, asked: &ChangeSuppression) -> Result<SuppressionChanged, Failure> {
    let mut all = SuppressionChanged::default();
    for addresses in asked.addresses.chunks(limits::SUPPRESSION_ASKED_MAX / 2) {
        let asked = ChangeSuppression { addresses: addresses.to_vec(), ..asked.clone() };
        let SuppressionChanged { changed, known } = client.post(path, &asked)?;
        all = SuppressionChanged { changed: all.changed + changed, known: all.known + known };
    }
    Ok(all)
}

fn print(value: &impl serde::Serialize) -> Result<(), Failure> {
    say!("{}", serde_json::to_string(value).map_err(|error| error.to_string())?);
    Ok(())
}

fn list(arguments: &ListArguments, csv: bool) -> Result<(), Failure> {
    let ListArguments { relay, tenant, reason, domain, json } = arguments;
    let client = relay.client()?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("tenant", tenant), ("reason", reason), ("domain", domain)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let (mut cursor, mut first, mut shown) = (String::new(), true, 0);
    loop {
        let page: SuppressionPage = client.get(&format!("{LIST}?cursor={cursor}&{query}"))?;
        shown += page.entries.len();
        show(&page.entries, (csv, *json), std::mem::take(&mut first))?;
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    if shown == 0 && !json {
        complain!("nothing of that is on the list");
    }
    Ok(())
}

fn show(entries: &[SuppressionEntry], (csv, json): (bool, bool), is_first: bool) -> Result<(), Failure> {
    if json {
        return entries.iter().try_for_each(print);
    }
    let mut out = Vec::new();
    if csv {
        if is_first {
            out.extend_from_slice(HEAD.as_bytes());
        }
        entries.iter().for_each(|entry| write_csv(entry, &mut out));
    } else {
        let columns = table::columns();
        if is_first && !entries.is_empty() {
            out.extend_from_slice(b"REASON       ADDED             EXPIRES           TENANT       ADDRESS\n");
        }
        for entry in entries {
            let SuppressionEntry { address, tenant, reason, added, expires, note } = entry;
            let (added, expires) =
                (table::to_the_minute(added), expires.as_deref().map(table::to_the_minute));
            let (tenant, expires) =
                (tenant.as_deref().unwrap_or("-"), expires.unwrap_or_else(|| "-".to_owned()));
            let line = format!(
                "{reason:<12} {added:<17} {expires:<17} {:<12} {}",
                plain(tenant.as_bytes()),
                plain(address.as_bytes())
            );
            let more = if note.is_empty() {
                String::new()
            } else {
                format!("\n  {}", table::fit(&plain(note.as_bytes()), columns - 2))
            };
            out.extend_from_slice(format!("{}{more}\n", table::fit(&line, columns)).as_bytes());
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(())
}

fn write_csv(entry: &SuppressionEntry, out: &mut Vec<u8>) {
    let SuppressionEntry { address, tenant, reason, added, expires, note } = entry;
    write_line(
        &Entry {
            tenant: tenant.as_deref(),
            address,
            reason: Reason::named(reason).unwrap_or(Reason::Imported),
            added: moment(added).unwrap_or(UnixMillis(0)),
            expires: expires.as_deref().and_then(moment),
            note,
        },
        out,
    );
}

fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let CheckArguments { relay, address, tenant, json } = arguments;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("address", address);
    if let Some(tenant) = tenant {
        query.append_pair("tenant", tenant);
    }
    let found: SuppressionPage = relay.client()?.get(&format!("{LIST}/check?{}", query.finish()))?;
    if *json {
        found.entries.iter().try_for_each(print)?;
    } else if found.entries.is_empty() {
        let more = match tenant {
            Some(tenant) => format!(" by an entry of tenant {tenant}, or of all mail"),
            None => ", as far as all mail and the tenants of the configuration go".to_owned(),
        };
        say!("{}: mail to it is not held back{}", plain(address.as_bytes()), plain(more.as_bytes()));
    }
    for entry in found.entries.iter().filter(|_| !json) {
        let SuppressionEntry { address, tenant, reason, added, expires, note } = entry;
        let whose =
            tenant.as_ref().map_or("all mail".to_owned(), |tenant| format!("mail of tenant {tenant}"));
        let until = expires
            .as_deref()
            .map_or("for good".to_owned(), |at| format!("until {}", table::to_the_minute(at)));
        say!(
            "{} holds back {}, {until}: {reason}, since {}{}",
            plain(address.as_bytes()),
            plain(whose.as_bytes()),
            table::to_the_minute(added),
            if note.is_empty() { String::new() } else { format!(" ({})", plain(note.as_bytes())) }
        );
    }
    if found.entries.is_empty() { Ok(()) } else { Err(Failure(NO, String::new())) }
}

fn import(arguments: &ImportArguments) -> Result<(), Failure> {
    let ImportArguments { relay, file, tenant, reason, expires, json } = arguments;
    let client = relay.client()?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("reason", reason);
    for (name, value) in [("tenant", tenant), ("expires", expires)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let table = Body::new(Table::open(file)?);
    let path = format!("{LIST}/import?{}", query.finish());
    let done: SuppressionImported = client.send(&path, "text/csv", table)?;
    if *json {
        return print(&done);
    }
    let SuppressionImported { lines, added, known, over, undated, wrong, told, entries } = &done;
    say!(
        "{} read: {added} added, {known} on the list before; {} on it now",
        count(*lines, "line"),
        count(*entries, "entry")
    );
    if *over > 0 {
        say!("{} left out, as their time is over", count(*over, "line"));
    }
    if *undated > 0 {
        say!("{} with a time that is not understood, taken as of now or for good", count(*undated, "line"));
    }
    for line in told {
        complain!("{}:{}: {}", file.display(), line.line, plain(line.problem.as_bytes()));
    }
    if *wrong > 0 {
        return Err(Failure(NO, format!("{} wrong and left out", count(*wrong, "line"))));
    }
    Ok(())
}

/// A file that is sent as it is read, and how far that is, for a person who watches.
struct Table {
    file: Box<dyn Read + Send>,
    size: Option<u64>,
    sent: u64,
    /// Megabytes.
    shown: Option<u64>,
    watched: bool,
}

impl Table {
    fn open(path: &Path) -> Result<Table, Failure> {
        let unread = |error: io::Error| Failure(WRONG_USE, format!("{}: {error}", path.display()));
        let (file, size): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(unread)?;
            let meta = file.metadata().map_err(unread)?;
            if meta.is_dir() {
                return Err(Failure(WRONG_USE, format!("{}: it is a directory", path.display())));
            }
            (Box::new(file), meta.is_file().then_some(meta.len()))
        };
        Ok(Table { file, size, sent: 0, shown: None, watched: io::stderr().is_terminal() })
    }

    fn show(&mut self, is_last: bool) {
        let mega = |bytes: u64| bytes / 1_000_000;
        let is_same = self.shown == Some(mega(self.sent));
        if !self.watched || (is_same && !is_last) {
            return;
        }
        self.shown = Some(mega(self.sent));
        let words = match self.size {
            _ if is_last => "all of it is read; sorted and put on the list …".to_owned(),
            Some(size @ 1..) => {
                format!(
                    "{} of {} MB, {} %",
                    mega(self.sent),
                    mega(size),
                    self.sent.saturating_mul(100) / size
                )
            }
            _ => format!("{} MB", mega(self.sent)),
        };
        let _ = io::stderr().lock().write_all(format!("\r\x1b[Krelevo: {words}").as_bytes());
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.watched && self.shown.is_some() {
            let _ = io::stderr().lock().write_all(b"\n");
        }
    }
}

impl HttpBody for Table {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let table = self.get_mut();
        let mut piece = vec![0; limits::SUPPRESSION_RUN_CHUNK];
        Poll::Ready(match table.file.read(&mut piece) {
            Ok(0) => {
                table.show(true);
                None
            }
            Ok(length) => {
                piece.truncate(length);
                table.sent += length as u64;
                table.show(false);
                Some(Ok(Frame::data(Bytes::from(piece))))
            }
            Err(error) => Some(Err(error)),
        })
    }
}
