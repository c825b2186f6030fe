//! Delivery status notifications (RFC 3464 in the multipart/report of RFC 6522): what a sender gets when we give up.

use crate::limits;
use crate::mail::envelope::{Envelope, Origin, Protocol, Recipient};
use crate::spool::batch::NewMessage;
use crate::spool::record::MessageView;
use crate::time::UnixMillis;

/// A recipient that is given up.
#[derive(Clone, Debug)]
pub struct Failed<'a> {
    /// Forward path.
    pub recipient: &'a [u8],
    /// RFC 3463 status.
    pub status: &'a str,
    /// The next hop that said so: name, address and port.
    pub remote: Option<&'a str>,
    /// Its reply, or our own words.
    pub diagnostic: String,
    /// Given up for age.
    pub expired: bool,
}

/// What a notification is made of.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// Now.
    pub now: UnixMillis,
    /// Random; parts the boundary from anything in the message.
    pub boundary: u64,
    /// The message that failed.
    pub original: &'a MessageView<'a>,
    /// Its failed recipients.
    pub failures: &'a [Failed<'a>],
    /// Its header section, or the start of it.
    pub headers: &'a [u8],
    /// When the notification itself is given up.
    pub expiry: UnixMillis,
}

/// Makes the notification. The caller sees to it that none is made for the null sender (RFC 5321 6.1).
pub fn compose(notice: &Notice<'_>) -> NewMessage {
    let boundary = format!("=_relevo_{:016x}", notice.boundary);
    let headers = clean_headers(notice.headers);
    let eight_bit = headers.iter().any(|byte| *byte > 127);
    let mut out = Vec::with_capacity(4096 + headers.len());
    write_head(notice, &boundary, eight_bit, &mut out);
    let header_length = out.len();
    part(&boundary, "text/plain; charset=us-ascii", false, &mut out);
    write_words(notice, &mut out);
    part(&boundary, "message/delivery-status", false, &mut out);
    write_status(notice, &mut out);
    part(&boundary, "text/rfc822-headers", eight_bit, &mut out);
    out.extend_from_slice(&headers);
    line(&mut out, &["", "\r\n--", &boundary, "--"]);
    let sender = notice.original.sender;
    let domain_at = sender.iter().rposition(|byte| *byte == b'@').map_or(sender.len(), |at| at + 1);
    let envelope = Envelope {
        sender: Vec::new(),
        recipients: vec![Recipient {
            address: sender.to_vec(),
            domain_at: u16::try_from(domain_at).unwrap_or(0),
        }],
        arrival: notice.now,
        expiry: notice.expiry,
        origin: Origin {
            client: None,
            helo: notice.hostname.to_owned(),
            protocol: Protocol::Esmtp,
            tls: None,
        },
        account: None,
        eight_bit,
        needs_stuffing: out.starts_with(b".") || memchr::memmem::find(&out, b"\n.").is_some(),
    };
    NewMessage {
        envelope: Box::new(envelope),
        size: out.len() as u64,
        header_length: u32::try_from(header_length).unwrap_or(u32::MAX),
        chunks: Vec::new(),
        body: out,
    }
}

fn line(out: &mut Vec<u8>, words: &[&str]) {
    for word in words {
        out.extend_from_slice(word.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn part(boundary: &str, kind: &str, eight_bit: bool, out: &mut Vec<u8>) {
    line(out, &["\r\n--", boundary]);
    line(out, &["Content-Type: ", kind]);
    if eight_bit {
        line(out, &["Content-Transfer-Encoding: 8bit"]);
    }
    line(out, &[""]);
}

fn write_head(notice: &Notice<'_>, boundary: &str, eight_bit: bool, out: &mut Vec<u8>) {
    let hostname = notice.hostname;
    out.extend_from_slice(b"Date: ");
    notice.now.write_rfc5322(out);
    line(out, &[""]);
    line(out, &["From: Mail Delivery System <MAILER-DAEMON@", hostname, ">"]);
    line(out, &["To: <", &printable(notice.original.sender), ">"]);
    line(out, &["Subject: Undelivered Mail Returned to Sender"]);
    line(out, &[&format!("Message-ID: <{:016x}.{}@{hostname}>", notice.boundary, notice.original.id)]);
    line(out, &["Auto-Submitted: auto-replied"]);
    line(out, &["MIME-Version: 1.0"]);
    if eight_bit {
        line(out, &["Content-Transfer-Encoding: 8bit"]);
    }
    line(out, &["Content-Type: multipart/report; report-type=delivery-status;"]);
    line(out, &["\tboundary=\"", boundary, "\""]);
    line(out, &[""]);
    line(out, &["This is a MIME-encapsulated message."]);
}

fn write_words(notice: &Notice<'_>, out: &mut Vec<u8>) {
    line(out, &["This is the mail relay at ", notice.hostname, "."]);
    line(out, &[""]);
    line(out, &["Your message could not be delivered to one or more recipients."]);
    line(out, &["Its header section follows at the end."]);
    for failed in notice.failures {
        line(out, &[""]);
        line(out, &["<", &printable(failed.recipient), ">"]);
        if failed.expired {
            line(out, &["    was tried again and again, and is now given up. The last answer was:"]);
        } else if let Some(remote) = failed.remote {
            line(out, &["    was refused by ", &printable(remote.as_bytes()), ":"]);
        } else {
            line(out, &["    cannot be delivered:"]);
        }
        line(out, &["    ", &printable(failed.diagnostic.as_bytes())]);
    }
}

/// RFC 3464 section 2.
fn write_status(notice: &Notice<'_>, out: &mut Vec<u8>) {
    line(out, &["Reporting-MTA: dns; ", notice.hostname]);
    line(out, &["X-Relevo-Id: ", &notice.original.id.to_string()]);
    out.extend_from_slice(b"Arrival-Date: ");
    notice.original.arrival.write_rfc5322(out);
    line(out, &[""]);
    for failed in notice.failures {
        line(out, &[""]);
        line(out, &["Final-Recipient: rfc822; ", &printable(failed.recipient)]);
        line(out, &["Action: failed"]);
        line(out, &["Status: ", &permanent(failed.status)]);
        if let Some(remote) = failed.remote {
            let name = remote.split(' ').next().unwrap_or(remote);
            line(out, &["Remote-MTA: dns; ", &printable(name.as_bytes())]);
        }
        // Only what a next hop said is an SMTP diagnostic (RFC 3464 2.3.6).
        let kind = if failed.diagnostic.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            "smtp"
        } else {
            "x-relevo"
        };
        line(out, &["Diagnostic-Code: ", kind, "; ", &printable(failed.diagnostic.as_bytes())]);
        out.extend_from_slice(b"Last-Attempt-Date: ");
        notice.now.write_rfc5322(out);
        line(out, &[""]);
    }
}

/// A failed action has a status of class 4 or 5 (RFC 3464 2.3.4); ours for age stays 4.4.7, the others are permanent.
fn permanent(status: &str) -> String {
    match status.strip_prefix("4.") {
        Some(rest) if status != "4.4.7" => format!("5.{rest}"),
        _ => status.to_owned(),
    }
}

/// Outside text in our own lines.
fn printable(text: &[u8]) -> String {
    text.iter().map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' }).collect()
}

/// The header section as valid lines: bounded, CRLF-ended, without the empty line at its end.
fn clean_headers(headers: &[u8]) -> Vec<u8> {
    const LINE: usize = 998;
    let mut out = Vec::with_capacity(headers.len().min(limits::HEADER_MAX));
    for header in headers.split(|byte| *byte == b'\n') {
        let header = header.strip_suffix(b"\r").unwrap_or(header);
        if header.is_empty() {
            break;
        }
        out.extend(header.iter().take(LINE).map(|byte| if matches!(byte, b'\r' | 0) { b'?' } else { *byte }));
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::MessageId;

    #[test]
    fn a_notification_says_what_rfc_3464_asks_for() {
        let mut payload = Vec::new();
        let envelope = Envelope {
            sender: b"news@shop.example".to_vec(),
            recipients: vec![Recipient { address: b"gone@isp.example".to_vec(), domain_at: 5 }],
            arrival: UnixMillis(1_700_000_000_000),
            expiry: UnixMillis(0),
            origin: Origin { client: None, helo: "h".into(), protocol: Protocol::Esmtp, tls: None },
            account: None,
            eight_bit: false,
            needs_stuffing: false,
        };
        let id = MessageId { lane: 0, sequence: 1, offset: 4144 };
        crate::spool::record::write_message(&mut payload, &envelope, id, 5, 5, &[], false);
        let view = MessageView::parse(&payload).unwrap();
        let failures = [Failed {
            recipient: b"gone@isp.example",
            status: "5.1.1",
            remote: Some("mx.isp.example [192.0.2.1]:25"),
            diagnostic: "550 5.1.1 no such\r\nuser".into(),
            expired: false,
        }];
        let made = compose(&Notice {
            hostname: "relay.example",
            now: UnixMillis(1_700_000_100_000),
            boundary: 7,
            original: &view,
            failures: &failures,
            headers: b"Subject: hi\r\n.hidden: x\r\nX-Long: \xe4\r\n\r\nbody",
            expiry: UnixMillis(9),
        });
        let text = String::from_utf8_lossy(&made.body).into_owned();
        assert!(made.envelope.sender.is_empty());
        assert_eq!(made.envelope.recipients[0].domain(), b"shop.example");
        assert!(made.envelope.needs_stuffing && made.envelope.eight_bit);
        assert!(text.ends_with("--\r\n") && !text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
        for wanted in [
            "\r\nFrom: Mail Delivery System <MAILER-DAEMON@relay.example>\r\n",
            "\r\nAuto-Submitted: auto-replied\r\n",
            "report-type=delivery-status",
            "\r\nReporting-MTA: dns; relay.example\r\n",
            "\r\nFinal-Recipient: rfc822; gone@isp.example\r\nAction: failed\r\nStatus: 5.1.1\r\n",
            "\r\nRemote-MTA: dns; mx.isp.example\r\n",
            "\r\nDiagnostic-Code: smtp; 550 5.1.1 no such??user\r\n",
            "\r\nSubject: hi\r\n.hidden: x\r\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in {text}");
        }
        assert!(!text.contains("body"));
    }
}
