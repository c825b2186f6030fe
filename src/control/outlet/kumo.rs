//! Records as KumoMTA's logs have them: JSON, a line a recipient.
//!
//! Of what it has no type for (what an operator did, a warning that mail is late) nothing is written.

use std::borrow::Cow;
use std::io::Write as _;

use crate::control::outlet::hop::Peer;
use crate::control::outlet::line::{Line, push_text};
use crate::control::outlet::pmta::{queued, tls};
use crate::names::columns::KUMO;
use crate::names::{CATEGORIES, CLASSES};
use crate::time::UnixMillis;

/// The fields of a log.
#[derive(Clone, Debug)]
pub struct Fields(Vec<&'static str>);

impl Fields {
    /// These, in their own order; None: all of them.
    pub fn new(names: Option<Vec<&'static str>>) -> Fields {
        Fields(names.unwrap_or_else(|| KUMO.to_vec()))
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
            for (place, field) in self.0.iter().enumerate() {
                out.push(if place == 0 { b'{' } else { b',' });
                push_text(field, out);
                out.push(b':');
                value(field, line, (kind, &**recipient, &peer), out);
            }
            out.extend_from_slice(b"}\n");
        }
    }
}

/// KumoMTA's type of an event.
fn kind(line: &Line<'_>) -> Option<&'static str> {
    Some(match &*line.text("event") {
        "received" => "Reception",
        "delivered" => "Delivery",
        "bounced" if line.text("reply").contains(BY_OPERATOR) => "AdminBounce",
        "bounced" => "Bounce",
        "suppressed" => "AdminBounce",
        "deferred" => "TransientFailure",
        "expired" => "Expiration",
        "oob_bounce" => "OOB",
        "feedback" => "Feedback",
        "rejected" => "Rejection",
        _ => return None,
    })
}

/// So the reply of what an operator returned begins, behind its code.
const BY_OPERATOR: &str = "the operator of this relay ended the delivery";

fn value(field: &str, line: &Line<'_>, (kind, recipient, peer): (&str, &str, &Peer), out: &mut Vec<u8>) {
    let is_in = matches!(kind, "Reception" | "Rejection");
    let text = |name: &str, out: &mut Vec<u8>| push_text(&line.text(name), out);
    match field {
        "type" => push_text(kind, out),
        "id" => text("id", out),
        "event_id" => text("event_id", out),
        "sender" => text("sender", out),
        "recipient" => push_text(recipient, out),
        "queue" => push_text(&queue(line, recipient), out),
        "site" if !is_in => text("site", out),
        "site" => push_text("", out),
        "size" => number(line.number("size").unwrap_or(0), out),
        "response" => response(line, kind, out),
        "peer_address" => peer_address(line, peer, is_in, out),
        "timestamp" => seconds(line.time("time"), out),
        "event_time" => exact(line.time("time"), out),
        "created" => seconds(queued(line), out),
        "created_time" => exact(queued(line), out),
        "num_attempts" => number(line.number("attempts").unwrap_or(0), out),
        "bounce_classification" => push_text(classification(line), out),
        "egress_pool" => some("pool", line, out),
        "egress_source" => some("source", line, out),
        "source_address" => source_address(line, out),
        "feedback_report" => feedback(line, (kind, recipient), out),
        "meta" => out.extend_from_slice(line.raw("metadata").unwrap_or(b"{}")),
        "headers" => out.extend_from_slice(b"{}"),
        "delivery_protocol" if !is_in && peer.is_some() => push_text("ESMTP", out),
        "reception_protocol" if is_in => push_text("ESMTP", out),
        "nodeid" => text("node", out),
        "tls_cipher" => nonempty(&tls(line).1, out),
        "tls_protocol_version" => nonempty(&tls(line).0, out),
        "tls_peer_subject_name" => out.extend_from_slice(b"[]"),
        "provider_name" => some("provider", line, out),
        _ => out.extend_from_slice(b"null"),
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "{value}");
}

fn nonempty(text: &str, out: &mut Vec<u8>) {
    match text {
        "" => out.extend_from_slice(b"null"),
        text => push_text(text, out),
    }
}

fn some(name: &str, line: &Line<'_>, out: &mut Vec<u8>) {
    nonempty(&line.text(name), out);
}

fn seconds(time: Option<UnixMillis>, out: &mut Vec<u8>) {
    match time {
        Some(time) => number(time.0 / 1000, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn exact(time: Option<UnixMillis>, out: &mut Vec<u8>) {
    match time {
        Some(UnixMillis(time)) => _ = write!(out, "{}.{:03}", time / 1000, time % 1000),
        None => out.extend_from_slice(b"null"),
    }
}

/// `campaign:tenant@domain`
fn queue(line: &Line<'_>, recipient: &str) -> String {
    let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
    let (campaign, tenant) = (line.text("campaign"), line.text("tenant"));
    match (campaign.is_empty(), tenant.is_empty()) {
        (true, true) => domain,
        (true, false) => format!("{tenant}@{domain}"),
        (false, _) => format!("{campaign}:{tenant}@{domain}"),
    }
}

fn response(line: &Line<'_>, kind: &str, out: &mut Vec<u8>) {
    let text = line.text("reply");
    let said =
        text.get(..3).and_then(|code| code.parse::<u16>().ok()).filter(|code| (2..6).contains(&(code / 100)));
    let code = said.unwrap_or(match kind {
        "Reception" | "Delivery" => 250,
        "TransientFailure" => 451,
        _ => 550,
    });
    let content = if said.is_some() { text[3..].trim_start() } else { &*text };
    let _ = write!(out, "{{\"code\":{code},\"enhanced_code\":");
    let enhanced = line.text("enhanced");
    let parts: Vec<u16> = enhanced.split('.').filter_map(|part| part.parse().ok()).collect();
    match parts[..] {
        [class, subject, detail] => {
            _ = write!(out, "{{\"class\":{class},\"subject\":{subject},\"detail\":{detail}}}");
        }
        _ => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"content\":");
    let content = content.strip_prefix(&*enhanced).map_or(content, str::trim_start);
    push_text(content, out);
    out.extend_from_slice(b",\"command\":null}");
}

/// The hop, or the client of mail that comes in.
fn peer_address(line: &Line<'_>, peer: &Peer, is_in: bool, out: &mut Vec<u8>) {
    let client = line.text("client");
    let (name, address) = match is_in {
        true => {
            let address = client.rsplit_once(':').map_or("", |(address, _)| address);
            (line.text("helo"), address.trim_matches(['[', ']']))
        }
        false => (Cow::Borrowed(peer.name.as_str()), peer.address.as_str()),
    };
    if address.is_empty() {
        return out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b"{\"name\":");
    push_text(&name, out);
    out.extend_from_slice(b",\"addr\":");
    push_text(address, out);
    out.push(b'}');
}

fn source_address(line: &Line<'_>, out: &mut Vec<u8>) {
    let address = line.text("source_address");
    if address.is_empty() {
        return out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b"{\"address\":");
    // The port is not known any more.
    let address = if address.contains(':') { format!("[{address}]:0") } else { format!("{address}:0") };
    push_text(&address, out);
    out.push(b'}');
}

fn classification(line: &Line<'_>) -> &'static str {
    let class = line.text("class");
    let place = CLASSES.iter().position(|known| *known == class);
    place.map_or("Uncategorized", |place| CATEGORIES[place].1)
}

fn feedback(line: &Line<'_>, (kind, recipient): (&str, &str), out: &mut Vec<u8>) {
    if kind != "Feedback" {
        return out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b"{\"feedback_type\":");
    push_text(&line.text("complaint"), out);
    out.extend_from_slice(b",\"original_rcpt_to\":[");
    if !recipient.is_empty() {
        push_text(recipient, out);
    }
    out.push(b']');
    for (name, of) in [
        ("reporting_mta", "hop"),
        ("user_agent", "hop"),
        ("reported_domain", "reported_domain"),
        ("source_ip", "reported_ip"),
    ] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        push_text(&line.text(of), out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn records(line: &str) -> Vec<Value> {
        let mut out = Vec::new();
        Fields::new(None).write(&Line::read(line.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_bounce_has_what_kumomta_says_of_one() {
        let line = r#"{"time":"2026-11-30T05:00:01.500Z","event":"bounced","event_id":"X-b0.1","node":"0a","id":"X","sender":"s@z","recipients":["a@Y.example","b@y.example"],"arrived":"2026-11-30T04:59:59.000Z","size":12,"hop":"mx.y [192.0.2.1]:25","site":"mx:10 mx.y:25,","provider":"y","source":"ip1","source_address":"192.0.2.9","tls":"TLSv1.3 AES","reply":"550 5.1.1 no such user","tenant":"t","campaign":"c","metadata":{"k": "v"},"enhanced":"5.1.1","class":"bad_mailbox","attempts":2}"#;
        let found = records(line);
        assert_eq!(found.len(), 2);
        let one = &found[0];
        assert_eq!(one["type"], "Bounce");
        assert_eq!(one["recipient"], "a@Y.example");
        assert_eq!(one["queue"], "c:t@y.example");
        assert_eq!(
            one["response"],
            json!({"code": 550, "enhanced_code": {"class": 5, "subject": 1, "detail": 1}, "content": "no such user", "command": null})
        );
        assert_eq!(one["peer_address"], json!({"name": "mx.y", "addr": "192.0.2.1"}));
        assert_eq!(one["source_address"], json!({"address": "192.0.2.9:0"}));
        assert_eq!(
            (&one["created"], &one["num_attempts"], &one["size"]),
            (&json!(1_796_014_799), &json!(2), &json!(12))
        );
        assert_eq!(one["event_time"], json!(1_796_014_801.5));
        assert_eq!(one["meta"], json!({"k": "v"}));
        assert_eq!(one["bounce_classification"], "InvalidRecipient");
        assert_eq!(one["tls_protocol_version"], "TLSv1.3");
    }

    #[test]
    fn every_event_has_its_type_or_no_record() {
        for (event, more, wanted) in [
            ("received", r#","client":"192.0.2.1:5""#, Some("Reception")),
            ("delivered", "", Some("Delivery")),
            ("deferred", "", Some("TransientFailure")),
            ("expired", "", Some("Expiration")),
            ("suppressed", "", Some("AdminBounce")),
            (
                "bounced",
                r#","reply":"550 5.7.1 the operator of this relay ended the delivery: x""#,
                Some("AdminBounce"),
            ),
            ("oob_bounce", "", Some("OOB")),
            ("feedback", r#","complaint":"abuse""#, Some("Feedback")),
            ("rejected", r#","client":"[::1]:5","helo":"h""#, Some("Rejection")),
            ("delayed", "", None),
            ("admin", "", None),
        ] {
            let found = records(&format!("{{\"event\":\"{event}\"{more}}}"));
            assert_eq!(found.first().map(|one| one["type"].as_str().unwrap()), wanted, "{event}");
            for one in &found {
                assert_eq!(one.as_object().unwrap().len(), KUMO.len());
            }
        }
    }
}
