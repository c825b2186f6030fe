//! A report of TLS (RFC 8460) as a message: words for people, and the report itself, packed (section 5.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits;
use crate::mail::address;
use crate::mail::envelope::{BodyFacts, Envelope, Recipient, TlsWish};
use crate::mail::notify::Notify;
use crate::mail::parameters::MessageParameters;
use crate::mail::trace::{HeaderFolder, append, write_date, write_name};
use crate::time::UnixMillis;

/// What a report says of itself.
#[derive(Clone, Copy, Debug)]
pub struct TlsReport<'a> {
    /// Whose address it comes from.
    pub from: &'a str,
    /// Who wants it.
    pub to: &'a str,
    /// The domain that it is of.
    pub domain: &'a str,
    /// Who sends it: a domain.
    pub submitter: &'a str,
    /// No other report has this one.
    pub id: &'a str,
    /// What the file is called.
    pub file_name: &'a str,
    /// It.
    pub packed: &'a [u8],
    /// The node.
    pub hostname: &'a str,
    /// When it is made.
    pub now: UnixMillis,
    /// A random number.
    pub unique: u64,
}

/// A message of ours that nobody asked for: header and body, and who it is from and for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its reverse path.
    pub from: String,
    /// Its one recipient.
    pub to: String,
    /// Header and body, 7-bit; every line ends with CRLF.
    pub message: Vec<u8>,
}

impl Letter {
    /// The envelope it travels in. Nobody hears what becomes of it, and it goes whatever its recipient's domain asks of TLS: it may tell of just that
    /// (RFC 8460 section 3). None: its recipient is none.
    pub fn envelope(&self, arrival: UnixMillis) -> Option<Envelope> {
        let path = format!("<{}>", self.to);
        let domain_at = address::parse_path(path.as_bytes(), false).ok()?.domain_at;
        let mut envelope = Envelope::blank();
        envelope.sender = self.from.as_bytes().to_vec();
        let recipient = Recipient::new(self.to.as_bytes().into(), u16::try_from(domain_at).ok()?);
        envelope.recipients.push(Recipient { notify: Notify::NEVER, ..recipient });
        envelope.parameters = Some(Box::new(MessageParameters::default()));
        envelope.needs.tls = TlsWish::Waived;
        let needs_stuffing = memchr::memmem::find(&self.message, b"\r\n.").is_some();
        let body = BodyFacts { needs_stuffing, ..BodyFacts::default() };
        envelope.complete((arrival, arrival.after(limits::TLS_RPT_LIFE)), body);
        Some(envelope)
    }
}

/// Writes one.
pub fn compose(report: &TlsReport<'_>) -> Letter {
    let TlsReport { from, to, domain, submitter, id, file_name, packed, hostname, now, unique } = *report;
    let mut out = Vec::with_capacity(packed.len() * 3 / 2 + limits::DSN_WORDS_ROOM);
    out.extend_from_slice(b"Date: ");
    write_date(&mut out, now);
    append(&mut out, format_args!("\r\nFrom: <{from}>\r\nTo: <{to}>\r\nMessage-ID: <{unique:016x}.tls@"));
    write_name(&mut out, hostname);
    out.extend_from_slice(b">\r\n");
    let mut subject = HeaderFolder::begin(&mut out, "Subject:");
    for word in ["Report", "Domain:", domain, "Submitter:", submitter, "Report-ID:", &format!("<{id}>")] {
        subject.word(|out| out.extend_from_slice(word.as_bytes()));
    }
    subject.end();
    // RFC 8460 section 5.3; RFC 8689 section 5: also where what it tells of would keep it.
    append(
        &mut out,
        format_args!(
            "TLS-Report-Domain: {domain}\r\nTLS-Report-Submitter: {submitter}\r\nTLS-Required: No\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"=_relevo_{unique:016x}\"\r\n\r\n\
             This is a multipart message in MIME format.\r\n\r\n--=_relevo_{unique:016x}\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is an aggregate TLS report of sessions with the mail servers of\r\n{domain}, by {submitter}.\r\n\r\n\
             --=_relevo_{unique:016x}\r\n\
             Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n\tfilename=\"{file_name}\"\r\n\r\n"
        ),
    );
    let text = STANDARD.encode(packed);
    for line in text.as_bytes().chunks(LINE) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    append(&mut out, format_args!("\r\n--=_relevo_{unique:016x}--\r\n"));
    Letter { from: from.to_owned(), to: to.to_owned(), message: out }
}

/// RFC 2045 section 6.8.
const LINE: usize = 76;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_goes_as_the_rfc_wants_it() {
        let long = format!("{}.example", "a".repeat(60));
        let report = TlsReport {
            from: "tlsrpt@relay.example",
            to: "reports@b.example",
            domain: &long,
            submitter: "relay.example",
            id: "2026-11-29.1@relay.example",
            file_name: "relay.example!b.example!1!2!x.json.gz",
            packed: &[7; 200],
            hostname: "mx.relay.example",
            now: UnixMillis(0),
            unique: 9,
        };
        let letter = compose(&report);
        let text = String::from_utf8(letter.message.clone()).expect("ASCII");
        assert!(text.is_ascii() && text.replace("\r\n", "").find(['\r', '\n']).is_none());
        assert!(text.lines().all(|line| line.len() <= 998));
        let (header, body) = text.split_once("\r\n\r\n").expect("a body");
        let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
        for line in [
            &*format!(
                "Subject: Report Domain: {long} Submitter: relay.example Report-ID: <2026-11-29.1@relay.example>"
            ),
            &format!("TLS-Report-Domain: {long}"),
            "TLS-Report-Submitter: relay.example",
            "TLS-Required: No",
            "Message-ID: <0000000000000009.tls@mx.relay.example>",
            "Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"=_relevo_0000000000000009\"",
        ] {
            assert!(header.split("\r\n").any(|found| found == line), "{line} in {header}");
        }
        let packed = body.split("filename=\"relay.example!b.example!1!2!x.json.gz\"\r\n\r\n").nth(1).unwrap();
        let packed: String = packed.split("\r\n\r\n--").next().unwrap().split("\r\n").collect();
        assert_eq!(STANDARD.decode(packed).unwrap(), [7; 200]);
        let envelope = letter.envelope(UnixMillis(5)).expect("an envelope");
        assert_eq!(envelope.recipients[0].domain(), b"b.example");
        assert_eq!((envelope.recipients[0].notify, envelope.needs.tls), (Notify::NEVER, TlsWish::Waived));
        assert!(Letter { to: "b.example".to_owned(), ..letter }.envelope(UnixMillis(5)).is_none());
    }
}
