//! `relevo queue export`: messages that wait, byte for byte as they were accepted.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use relevo::control::api::shape::{Page, Row};
use relevo::limits;
use relevo::runtime::files;
use serde::Serialize;

use super::client::{Client, Relay};
use super::output::{Failure, NO, WRONG_USE, complain, say};
use super::progress::Progress;
use super::words::count;

/// In front of each message on standard output; so many bytes of it follow.
#[derive(Serialize)]
struct Head<'a> {
    id: &'a str,
    size: usize,
    sender: &'a str,
    accepted: &'a str,
}

/// Writes what a filter means to a directory, a file each, or to standard output. Exit 1: nothing of that waits, or some could not be read.
pub fn run(relay: &Relay, query: &str, to: &str) -> Result<(), Failure> {
    let client = relay.client()?;
    let (mut cursor, mut progress) = (String::new(), Progress::default());
    let (mut done, mut failed) = (BTreeSet::new(), 0u64);
    loop {
        let mut query = form_urlencoded::Serializer::new(query.to_owned());
        query.append_pair("cursor", &cursor);
        let page: Page = client.get(&format!("/control/v1/queue?{}", query.finish()))?;
        progress.show(page.scanned);
        for row in &page.rows {
            // It has a row for each domain.
            if done.insert(row.id.clone()) {
                failed += u64::from(!export(&client, row, to)?);
            }
        }
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    progress.end();
    let written = done.len() as u64 - failed;
    if to != "-" {
        say!("{} written to {to}", count(written, "message"));
    }
    match (written, failed) {
        (0, 0) => Err(Failure(NO, "nothing of that waits".to_owned())),
        (_, 0) => Ok(()),
        _ => Err(Failure(
            NO,
            format!("{} could not be read, or were settled meanwhile", count(failed, "message")),
        )),
    }
}

/// One message. False: it cannot be had, which is said.
fn export(client: &Client, row: &Row, to: &str) -> Result<bool, Failure> {
    let path = format!("/control/v1/queue/message/{}/content", row.id);
    // It may move while it is read.
    let read = client.fetch(&path, limits::EXPORTED_MAX);
    let read = read.or_else(|_| client.fetch(&path, limits::EXPORTED_MAX));
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(Failure(_, words)) => {
            complain!("{}: {words}", row.id);
            return Ok(false);
        }
    };
    if to == "-" {
        let mut out = io::stdout().lock();
        let head = Head { id: &row.id, size: bytes.len(), sender: &row.sender, accepted: &row.accepted };
        serde_json::to_writer(&mut out, &head).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        out.write_all(&bytes)?;
        out.flush()?;
        return Ok(true);
    }
    let file = Path::new(to).join(format!("{}.eml", row.id));
    let fail = |error: io::Error| Failure(WRONG_USE, format!("{}: {error}", file.display()));
    // It is mail: for whoever asked alone, whatever the umask.
    let mut new = files::make_new_file(&file).map_err(fail)?;
    let done = new.write_all(&bytes).and_then(|()| new.sync_all());
    if done.is_err() {
        let _ = std::fs::remove_file(&file);
    }
    done.map_err(fail)?;
    Ok(true)
}
