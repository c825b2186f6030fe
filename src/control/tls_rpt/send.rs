//! One report on its way: who wants it (`_smtp._tls.DOMAIN`), by mail through the relay's own queue, and by HTTPS (RFC 8460 section 5).

use std::sync::Arc;
use std::sync::mpsc::channel;

use crate::control::tls_rpt::reporting::{Due, Reporting, Tried};
use crate::dns::{Answer, QueryType};
use crate::limits;
use crate::lookup::Lookup;
use crate::mail::tls_report::{self, Letter, TlsReport};
use crate::policy::tls_rpt::gzip::gzip;
use crate::policy::tls_rpt::record::{self, Place};
use crate::policy::tls_rpt::report::{Head, json};
use crate::queue::fair;
use crate::runtime::exchange::https;
use crate::runtime::process;
use crate::shard::ask::{Ask, Reply};
use crate::shard::mesh::Mesh;
use crate::time::UnixMillis;

/// Sends it to all who want it and have it not.
pub(super) fn send(mesh: &Arc<Mesh>, reporting: &Reporting, node: u64, due: &Due) -> Tried {
    let mut tried = Tried::default();
    let places = match wanted(reporting, &due.domain) {
        Ok(Some(places)) => places,
        Ok(None) => return Tried { unwanted: true, ..tried },
        Err(why) => return Tried { failed: Some(why), ..tried },
    };
    let submitter = reporting.config.submitter();
    let civil = UnixMillis::of_day(due.day).civil();
    let unique = fair::hash(due.domain.as_bytes());
    let (year, month, day) = (civil.year, civil.month, civil.day);
    let id = format!("{year:04}{month:02}{day:02}.{unique:08x}.{node:016x}@{submitter}");
    let contact = &*reporting.config.contact;
    let head = Head { submitter, contact, id: &id, domain: &due.domain, day: due.day };
    let packed = gzip(json(&head, &due.counts).as_bytes());
    for place in places.iter().filter(|place| !due.done.contains(&place.words())) {
        let sent = match place {
            Place::Mail(to) => mail(mesh, (reporting, unique as usize), (&head, to), &packed),
            Place::Web { host, port, path } => post(reporting, (host, *port, path), &packed),
        };
        match (sent, place) {
            (Ok(()), Place::Mail(_)) => tried.mailed.push(place.words()),
            (Ok(()), Place::Web { .. }) => tried.posted.push(place.words()),
            (Err(why), _) => tried.failed = Some(format!("{}: {why}", place.words())),
        }
    }
    tried
}

/// Where a domain wants its reports. None: nowhere.
fn wanted(reporting: &Reporting, domain: &str) -> Result<Option<Vec<Place>>, String> {
    let name = format!("_smtp._tls.{domain}");
    match Lookup::new(&reporting.dns).ask(QueryType::Txt, &name) {
        Ok(Answer::Texts(texts)) => Ok(record::places(&texts).filter(|places| !places.is_empty())),
        Ok(_) => Ok(None),
        Err(error) => Err(format!("cannot look up {name}: {error}")),
    }
}

/// By mail: a shard stores it as a message of ours.
fn mail(
    mesh: &Arc<Mesh>,
    (reporting, seed): (&Reporting, usize),
    (head, to): (&Head<'_>, &str),
    packed: &[u8],
) -> Result<(), String> {
    let letter = tls_report::compose(&TlsReport {
        from: &reporting.config.from,
        to,
        domain: head.domain,
        submitter: head.submitter,
        id: head.id,
        file_name: &head.file_name(),
        packed,
        hostname: &reporting.hostname,
        now: process::wall(),
        unique: u64::from_ne_bytes(process::random_bytes()),
    });
    store(mesh, seed % mesh.shards().max(1), letter)
}

fn store(mesh: &Arc<Mesh>, shard: usize, letter: Letter) -> Result<(), String> {
    // Dropped with this function: then nobody waits any more.
    let asker = Arc::new(());
    let (tell, told) = channel();
    let reply = Reply::new(&asker, move |answer| drop(tell.send(answer)));
    let asked = mesh.asks().ask(shard, Ask::Store(Box::new(letter), reply));
    asked.map_err(|_| format!("too much is asked of shard {shard}"))?;
    match told.recv_timeout(limits::TLS_RPT_STORE_TIME) {
        Ok(stored) => stored.map_err(String::from),
        Err(_) => Err(format!("shard {shard} does not answer")),
    }
}

/// By HTTPS (RFC 8460 section 5.4): no redirects, to nobody in a private network, and of the answer the status alone counts.
fn post(
    reporting: &Reporting,
    (host, port, path): (&str, Option<u16>, &str),
    packed: &[u8],
) -> Result<(), String> {
    let until = process::since_boot() + limits::TLS_RPT_POST_TIME;
    let tls = reporting.tls.as_ref().ok_or("this machine trusts no authority")?;
    let named = port.map_or(host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {named}\r\nUser-Agent: relevo\r\nContent-Type: application/tlsrpt+gzip\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    request.extend_from_slice(packed);
    let mut last = format!("{host} has no address");
    let addresses = (reporting.addresses)(host, port.unwrap_or(limits::HTTPS_PORT))?;
    for address in addresses.into_iter().take(limits::STS_ADDRESSES_MAX) {
        let connection = tls.waiting(host).map_err(|error| error.to_string())?;
        let mut came = Vec::new();
        let asked = https::request(address, connection, &request, until, |bytes| {
            let room = limits::STS_WORD_MAX - came.len();
            came.extend_from_slice(&bytes[..bytes.len().min(room)]);
            came.contains(&b'\n') || came.len() >= limits::STS_WORD_MAX
        });
        match asked.map(|()| status(&came)) {
            Ok(Some(status)) if status / 100 == 2 => return Ok(()),
            Ok(Some(status)) => return Err(format!("the web server answers {status}")),
            Ok(None) => last = "the answer is no HTTP".to_owned(),
            Err(error) => last = format!("[{address}]: {error}"),
        }
    }
    Err(last)
}

/// That of the first line.
fn status(came: &[u8]) -> Option<u16> {
    let line = str::from_utf8(came.split(|byte| *byte == b'\n').next()?).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.get(2..5)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_answer() {
        for (text, wanted) in [
            ("HTTP/1.1 201 Created\r\n", Some(201)),
            ("HTTP/1.0 404", Some(404)),
            ("HTTP/1.1 2x1 \r\n", None),
            ("HTTP/2 200\r\n", None),
            ("SSH-2.0-x\r\n", None),
            ("", None),
        ] {
            assert_eq!(status(text.as_bytes()), wanted, "{text}");
        }
    }
}
