//! Complaints: the abuse reporting format (RFC 5965, 6591, 6650), and what providers send in place of it.

use super::found::{Complaint, Feedback};
use super::notice::Notice;
use super::original::{self, Original};
use super::parts::{self, Kind, Part};
use super::text;

/// Reads a feedback report, with LF between lines.
pub(super) fn read(fields: &[u8], notice: &Notice) -> Complaint {
    let mut complaint = Complaint {
        feedback: Feedback::Other,
        recipients: Vec::new(),
        redacted: false,
        original: notice.original(),
        reporter: None,
        source_ip: None,
        reported_domain: None,
        matched: "rfc5965",
    };
    let mut removal = false;
    for field in parts::fields(fields) {
        let text = field.text();
        if field.is("Feedback-Type") {
            complaint.feedback = feedback(&text);
        } else if field.is("Original-Rcpt-To") || field.is("Removal-Recipient") {
            removal |= field.is("Removal-Recipient");
            add(&mut complaint, &text);
        } else if field.is("Redacted-Address") {
            complaint.redacted = true;
        } else if field.is("Original-Mail-From") {
            original::push(&mut complaint.original.return_paths, text::address(&text));
        } else if field.is("Original-Envelope-Id") {
            complaint.original.ours.push(("Original-Envelope-Id".to_owned(), text));
        } else if field.is("User-Agent") {
            complaint.reporter.get_or_insert(text);
        } else if field.is("Source-IP") {
            complaint.source_ip.get_or_insert(text);
        } else if field.is("Reported-Domain") {
            complaint.reported_domain.get_or_insert(text);
        } else if field.is("Message-ID") {
            complaint.original.message_id.get_or_insert(text);
        }
    }
    if removal && complaint.feedback == Feedback::Other {
        complaint.feedback = Feedback::OptOut;
    }
    complete(&mut complaint, notice);
    complaint
}

/// Takes a recipient, if the provider did not hide who it is.
fn add(complaint: &mut Complaint, value: &str) {
    match text::address(value).filter(|address| !is_redacted(address)) {
        Some(address) => original::push(&mut complaint.recipients, Some(address)),
        None => complaint.redacted = true,
    }
}

/// Whom it is by, where only the message tells.
fn complete(complaint: &mut Complaint, notice: &Notice) {
    complaint.reporter = complaint.reporter.take().or_else(|| text::address(&notice.from));
    if complaint.recipients.is_empty() {
        let named: Vec<_> = complaint.original.to.iter().filter(|to| !is_redacted(to)).cloned().collect();
        // To of the message is the recipient's only where there is one.
        if named.len() == 1 {
            complaint.recipients = named;
        } else {
            complaint.redacted = true;
        }
    }
}

/// What providers put in place of an address, or of its local part.
fn is_redacted(address: &str) -> bool {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local).to_ascii_lowercase();
    local.contains("redacted")
        || local.contains("undisclosed")
        || local.contains("xxxx")
        || local.bytes().all(|byte| matches!(byte, b'*' | b'x' | b'-' | b'.'))
}

fn feedback(value: &str) -> Feedback {
    match value.split([';', ' ', '(']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "abuse" | "complaint" | "spam" => Feedback::Abuse,
        "fraud" | "phishing" => Feedback::Fraud,
        "virus" => Feedback::Virus,
        "not-spam" | "notspam" => Feedback::NotSpam,
        "opt-out" | "opt-out-list" | "unsubscribe" => Feedback::OptOut,
        "auth-failure" => Feedback::AuthFailure,
        _ => Feedback::Other,
    }
}

/// Complaints in forms of their own: Microsoft's (JMRP), Apple's button, SpamCop's, and reports whose machine part was lost.
pub(super) fn of_a_provider(section: &[u8], notice: &Notice, parts: &[Part<'_>]) -> Option<Complaint> {
    let has = |name: &str| parts::value(section, name);
    let message = parts.iter().find(|part| matches!(part.kind, Kind::Message | Kind::Headers));
    let returned = message.map(|part| part.body.as_ref());
    let microsoft = returned.and_then(|body| parts::value(parts::split(body).0, "X-HmXmrOriginalRecipient"));
    let subject = notice.subject.to_ascii_lowercase();
    let from = notice.from.to_ascii_lowercase();
    let (feedback, matched) = if microsoft.is_some()
        || has("X-HmXmrOriginalRecipient").is_some()
        || message.is_some() && subject.starts_with("complaint about message from")
    {
        (Feedback::Abuse, "microsoft")
    } else if has("X-Apple-Unsubscribe").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        (Feedback::OptOut, "apple")
    } else if has("X-SpamCop-SourceIP").is_some()
        || from.contains("spamcop.net") && subject.contains("spamcop (")
    {
        (Feedback::Abuse, "spamcop")
    } else if has("X-Loop").is_some_and(|value| value.eq_ignore_ascii_case("scomp")) {
        (Feedback::Abuse, "aol")
    } else if has("Content-Type").is_some_and(|value| value.to_ascii_lowercase().contains("feedback-report"))
    {
        (Feedback::Abuse, "rfc5965-incomplete")
    } else {
        return None;
    };
    let mut complaint = Complaint {
        feedback,
        recipients: Vec::new(),
        redacted: false,
        original: if returned.is_none() && matched == "microsoft" {
            Original::read(section)
        } else {
            notice.original()
        },
        reporter: None,
        source_ip: has("X-SpamCop-SourceIP"),
        reported_domain: None,
        matched,
    };
    if let Some(value) = microsoft.or_else(|| has("X-HmXmrOriginalRecipient")) {
        add(&mut complaint, &value);
    } else if matched == "apple" {
        add(&mut complaint, &notice.from);
    }
    complete(&mut complaint, notice);
    Some(complaint)
}
