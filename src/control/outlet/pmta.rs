//! Accounting records as PowerMTA writes them: CSV with a header, a line a recipient, types d, b, t, tq, r, rb and f.
//!
//! Of what it has no type for (a client that was refused, what an operator did, a warning that mail is late) nothing is written.

use std::borrow::Cow;

use crate::control::outlet::hop::Peer;
use crate::control::outlet::line::Line;
use crate::names::columns::PMTA;
use crate::names::{CATEGORIES, CLASSES};
use crate::time::{UnixMillis, write_decimal};

/// The columns of a log.
#[derive(Clone, Debug)]
pub struct Columns(Vec<&'static str>);

impl Columns {
    /// These, in this order; None: those that PowerMTA has.
    pub fn new(names: Option<Vec<&'static str>>) -> Columns {
        Columns(names.unwrap_or_else(|| PMTA.to_vec()))
    }

    /// The line that names them.
    pub fn head(&self) -> Vec<u8> {
        format!("{}\n", self.0.join(",")).into_bytes()
    }

    /// Appends the lines of an event.
    pub(super) fn write(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        let Some(kind) = kind(line) else { return };
        let recipients = line.each("recipients");
        // What came back may not say to whom it was.
        let nobody = [Cow::Borrowed("")];
        let recipients = if recipients.is_empty() { &nobody[..] } else { &recipients[..] };
        let peer = Peer::of(&line.text("hop"));
        for recipient in recipients {
            for (place, column) in self.0.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                field(&value(column, line, (kind, &**recipient), &peer), out);
            }
            out.push(b'\n');
        }
    }
}

/// PowerMTA's type of an event.
fn kind(line: &Line<'_>) -> Option<&'static str> {
    Some(match &*line.text("event") {
        "received" => "r",
        "delivered" => "d",
        "bounced" | "expired" | "suppressed" => "b",
        // Without a hop nobody was asked: it waits in the queue.
        "deferred" if line.raw("source_address").is_some() => "t",
        "deferred" => "tq",
        "oob_bounce" => "rb",
        "feedback" => "f",
        _ => return None,
    })
}

fn value<'a>(
    column: &str,
    line: &'a Line<'_>,
    (kind, recipient): (&'static str, &'a str),
    peer: &'a Peer,
) -> Cow<'a, str> {
    let text = |name: &str| line.text(name);
    let is_out = matches!(kind, "d" | "b" | "t" | "tq");
    match column {
        "type" => kind.into(),
        "timeLogged" => line.time("time").map_or("".into(), |time| shown(time).into()),
        "timeQueued" => queued(line).map_or("".into(), |time| shown(time).into()),
        "orig" => text("sender"),
        "rcpt" => recipient.into(),
        "dsnAction" => action(kind).into(),
        "dsnStatus" => status(line, kind),
        "dsnDiag" if kind != "r" => diagnostic(line),
        "dsnMta" if matches!(kind, "d" | "b" | "t" | "rb") => peer.shown().into(),
        "bounceCat" if matches!(kind, "b" | "t" | "tq" | "rb") => category(line).into(),
        "srcType" if kind == "r" => "smtp".into(),
        "srcMta" if kind == "r" => client(line).into(),
        "dlvType" if is_out && peer.is_some() => "smtp".into(),
        "dlvSourceIp" if is_out => text("source_address"),
        "dlvDestinationIp" if is_out => peer.address.as_str().into(),
        "dlvSize" if is_out || kind == "r" => line.raw("size").map_or("".into(), String::from_utf8_lossy),
        "vmta" => text("source"),
        "jobId" => text("campaign"),
        "envId" => text("envid"),
        "queue" if is_out => queue(line, recipient).into(),
        "vmtaPool" => text("pool"),
        "dlvTlsProtocol" if is_out => tls(line).0.into(),
        "dlvTlsCipher" if is_out => tls(line).1.into(),
        "rcvSmtpUser" => text("account"),
        "feedbackType" => text("complaint"),
        "format" if kind == "f" => "arf".into(),
        "userAgent" if kind == "f" => text("hop"),
        "reportedDomain" => text("reported_domain"),
        "repSourceIp" => text("reported_ip"),
        "reportingMTA" if kind == "f" => peer.name.as_str().into(),
        "eventId" => text("event_id"),
        "messageId" => text("id"),
        "class" => text("class"),
        "provider" => text("provider"),
        _ => "".into(),
    }
}

/// RFC 3464 2.3.3, as PowerMTA uses the words.
fn action(kind: &str) -> &'static str {
    match kind {
        "d" => "relayed",
        "b" | "rb" => "failed",
        "t" | "tq" => "delayed",
        _ => "",
    }
}

/// The code of the reply; where it had none, what its first digit says.
fn status<'a>(line: &'a Line<'_>, kind: &str) -> Cow<'a, str> {
    let code = line.text("enhanced");
    if !code.is_empty() {
        return code;
    }
    match kind {
        "d" => "2.0.0".into(),
        "b" if line.text("event") == "expired" => "4.4.7".into(),
        "b" | "rb" => "5.0.0".into(),
        "t" | "tq" => "4.0.0".into(),
        _ => "".into(),
    }
}

/// The reply, as a diagnostic code (RFC 3464 2.3.6).
fn diagnostic<'a>(line: &'a Line<'_>) -> Cow<'a, str> {
    let reply = line.text("reply");
    if !reply.is_empty() {
        return format!("smtp;{reply}").into();
    }
    match &*line.text("event") {
        "suppressed" => "x-relevo;on the suppression list".into(),
        _ => "".into(),
    }
}

fn category(line: &Line<'_>) -> &'static str {
    let class = line.text("class");
    if class.is_empty() && line.text("event") == "expired" {
        return "message-expired";
    }
    let place = CLASSES.iter().position(|known| *known == class);
    place.map_or("other", |place| CATEGORIES[place].0)
}

/// When it came: what is told says so, or how long ago that was.
pub(super) fn queued(line: &Line<'_>) -> Option<UnixMillis> {
    let time = line.time("time");
    let arrived = line.time("arrived");
    let before = || Some(UnixMillis(time?.0.saturating_sub(line.number("delay_ms")?)));
    let received = || time.filter(|_| line.text("event") == "received");
    arrived.or_else(before).or_else(received)
}

/// `2026-11-30 05:00:00+0000`
fn shown(time: UnixMillis) -> String {
    let civil = time.civil();
    let mut out = Vec::with_capacity(24);
    for (value, width, end) in [
        (civil.year, 4, "-"),
        (civil.month, 2, "-"),
        (civil.day, 2, " "),
        (civil.hour, 2, ":"),
        (civil.minute, 2, ":"),
        (civil.second, 2, "+0000"),
    ] {
        write_decimal(value, width, &mut out);
        out.extend_from_slice(end.as_bytes());
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Which queue it was in: its domain, and by which source.
fn queue(line: &Line<'_>, recipient: &str) -> String {
    let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
    format!("{}/{}", domain.to_ascii_lowercase(), line.text("source"))
}

/// Whose message it was: an address without its port.
fn client(line: &Line<'_>) -> String {
    let client = line.text("client");
    let address = client.rsplit_once(':').map_or("", |(address, _)| address);
    if address.is_empty() { String::new() } else { format!("({})", address.trim_matches(['[', ']'])) }
}

/// Version and cipher suite.
pub(super) fn tls(line: &Line<'_>) -> (String, String) {
    let text = line.text("tls");
    let (version, suite) = text.split_once(' ').unwrap_or((&text, ""));
    (version.to_owned(), suite.to_owned())
}

/// A field by RFC 4180, on one line. What a program for tables would take for a formula has a ' in front.
fn field(text: &str, out: &mut Vec<u8>) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_special = |byte: u8| matches!(byte, b'"' | b',') || byte < b' ' || byte == 0x7F;
    if !is_formula && !text.bytes().any(is_special) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    if is_formula {
        out.push(b'\'');
    }
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\"\""),
            // A line of the log is one of the file, for who reads lines.
            0..b' ' | 0x7F => out.push(b' '),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: &[&'static str], line: &str) -> String {
        let mut out = Vec::new();
        let columns = Columns::new(Some(columns.to_vec()));
        columns.write(&Line::read(line.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    const BOUNCED: &str = r#"{"time":"2026-11-30T05:00:01.500Z","event":"bounced","event_id":"X-b0.2","sender":"s@z","recipients":["a@Y.example","b@y.example"],"arrived":"2026-11-30T04:59:59.000Z","size":12,"hop":"mx.y.example [192.0.2.1]:25","source":"ip1","source_address":"192.0.2.9","tls":"TLSv1.3 AES","reply":"550 5.1.1 \"no\", =SUM","enhanced":"5.1.1","class":"bad_mailbox"}"#;

    #[test]
    fn a_recipient_is_a_line() {
        let found = rows(
            &[
                "type",
                "timeLogged",
                "timeQueued",
                "rcpt",
                "dsnStatus",
                "dsnDiag",
                "dsnMta",
                "bounceCat",
                "queue",
            ],
            BOUNCED,
        );
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(
            lines,
            [
                "b,2026-11-30 05:00:01+0000,2026-11-30 04:59:59+0000,a@Y.example,5.1.1,\"smtp;550 5.1.1 \"\"no\"\", =SUM\",mx.y.example (192.0.2.1),bad-mailbox,y.example/ip1",
                "b,2026-11-30 05:00:01+0000,2026-11-30 04:59:59+0000,b@y.example,5.1.1,\"smtp;550 5.1.1 \"\"no\"\", =SUM\",mx.y.example (192.0.2.1),bad-mailbox,y.example/ip1",
            ]
        );
        assert_eq!(
            rows(
                &["dlvSourceIp", "dlvDestinationIp", "dlvTlsProtocol", "dlvTlsCipher", "dlvSize", "orcpt"],
                BOUNCED
            )
            .lines()
            .next(),
            Some("192.0.2.9,192.0.2.1,TLSv1.3,AES,12,")
        );
    }

    #[test]
    fn every_event_has_its_type_or_no_line() {
        for (event, more, wanted) in [
            ("received", "", "r,,\n"),
            ("delivered", "", "d,2.0.0,relayed\n"),
            ("deferred", r#","source_address":"::1""#, "t,4.0.0,delayed\n"),
            ("deferred", "", "tq,4.0.0,delayed\n"),
            ("expired", "", "b,4.4.7,failed\n"),
            ("suppressed", "", "b,5.0.0,failed\n"),
            ("oob_bounce", r#","enhanced":"5.2.2""#, "rb,5.2.2,failed\n"),
            ("feedback", "", "f,,\n"),
            ("delayed", "", ""),
            ("rejected", "", ""),
            ("admin", "", ""),
            ("discarded", "", ""),
        ] {
            let line = format!("{{\"event\":\"{event}\"{more}}}");
            assert_eq!(rows(&["type", "dsnStatus", "dsnAction"], &line), wanted, "{event}");
        }
    }

    #[test]
    fn a_complaint_says_who_of_whom() {
        let line = r#"{"event":"feedback","complaint":"abuse","reported_domain":"a.example","reported_ip":"192.0.2.1","hop":"B-FBL/1.0"}"#;
        let columns = ["type", "feedbackType", "format", "userAgent", "reportedDomain", "repSourceIp"];
        assert_eq!(rows(&columns, line), "f,abuse,arf,B-FBL/1.0,a.example,192.0.2.1\n");
        let bounce = r#"{"event":"oob_bounce","hop":"mx.example"}"#;
        assert_eq!(rows(&columns, bounce), "rb,,,,,\n");
    }

    #[test]
    fn a_field_is_no_formula_and_no_line() {
        for (text, wanted) in [
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("@cmd", "\"'@cmd\""),
            ("-1", "\"'-1\""),
            ("a\r\nb", "\"a  b\""),
            ("", ""),
        ] {
            let mut out = Vec::new();
            field(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn the_header_names_what_stands_below() {
        let columns = Columns::new(None);
        let head = String::from_utf8(columns.head()).unwrap();
        let mut out = Vec::new();
        columns.write(&Line::read(br#"{"event":"delivered","recipients":["a@b"]}"#).unwrap(), &mut out);
        let row = String::from_utf8(out).unwrap();
        assert_eq!(head.matches(',').count(), row.matches(',').count());
        assert!(head.starts_with("type,timeLogged,timeQueued,orig,rcpt,"));
    }
}
