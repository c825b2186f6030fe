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
            complaint.add(&text);
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
    complaint.complete(notice);
    complaint
}

impl Complaint {
    fn add(&mut self, value: &str) {
        match text::address(value).filter(|address| !is_redacted(address)) {
            Some(address) => original::push(&mut self.recipients, Some(address)),
            None => self.redacted = true,
        }
    }

    /// Whom it is by, where only the message tells.
    fn complete(&mut self, notice: &Notice) {
        self.reporter = self.reporter.take().or_else(|| text::address(&notice.from));
        if self.recipients.is_empty() {
            let named = self.original.to.iter().filter(|to| !is_redacted(to)).cloned();
            // To of the message is the recipient's only where there is one.
            let named: Vec<_> = named.collect();
            if named.len() == 1 {
                self.recipients = named;
            } else {
                self.redacted = true;
            }
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
        complaint.add(&value);
    } else if matched == "apple" {
        complaint.add(&notice.from);
    }
    complaint.complete(notice);
    Some(complaint)
}
