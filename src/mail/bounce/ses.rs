//! Notifications of Amazon SES that come by mail: JSON, mostly broken by the fold of long lines.

use serde::Deserialize;

use super::found::{Action, Complaint, Feedback, Incoming, PerRecipient, Returned};
use super::notice::Notice;
use super::original::{self, Original};
use super::report;
use super::text;
use super::verdict::Looker;
use crate::limits;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    #[serde(alias = "eventType")]
    notification_type: String,
    bounce: Option<Bounce>,
    complaint: Option<Complained>,
    delivery: Option<Delivery>,
    mail: Option<Mail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounced_recipients: Vec<Bounced>,
    #[serde(rename = "reportingMTA")]
    reporting_mta: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounced {
    email_address: String,
    action: Option<String>,
    status: Option<String>,
    diagnostic_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complained {
    complained_recipients: Vec<Bounced>,
    complaint_feedback_type: Option<String>,
    user_agent: Option<String>,
}

#[derive(Deserialize)]
struct Delivery {
    recipients: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    source: Option<String>,
    #[serde(default)]
    destination: Vec<String>,
    common_headers: Option<CommonHeaders>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommonHeaders {
    message_id: Option<String>,
    subject: Option<String>,
}

/// As SNS wraps it.
#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "Message")]
    message: String,
}

/// Reads one. None: it is no such thing.
pub(super) fn read(notice: &Notice, looker: &mut Looker) -> Option<Incoming> {
    let body = notice.text();
    let start = memchr::memchr(b'{', body)?;
    if memchr::memmem::find(&body[start..], b"otificationType").is_none() || body[..start].len() > 16 {
        return None;
    }
    // A line that was too long was cut in two, with a blank in front of the rest.
    let joined: Vec<u8> = String::from_utf8_lossy(&body[start..]).replace("\n ", "").into_bytes();
    let notification = first::<Notification>(&joined).or_else(|| {
        let wrapped = first::<Wrapped>(&joined)?;
        first::<Notification>(wrapped.message.as_bytes())
    })?;
    found(notification, looker)
}

/// The first value of a text that may go on with other words.
fn first<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
}

fn found(notification: Notification, looker: &mut Looker) -> Option<Incoming> {
    let original = notification.mail.map(original).unwrap_or_default();
    match (notification.notification_type.as_str(), notification.bounce, notification.complaint) {
        ("Bounce", Some(bounce), _) => {
            let most = limits::INCOMING_REPORTS_MAX;
            let reports: Vec<_> =
                bounce.bounced_recipients.into_iter().take(most).map(|one| bounced(one, looker)).collect();
            let reporting_mta = bounce.reporting_mta;
            let returned =
                Returned { reports, original, reporting_mta, matched: "amazon-ses", envelope_id: None };
            (!returned.reports.is_empty()).then_some(Incoming::Bounce(returned))
        }
        ("Complaint", _, Some(complained)) => {
            let mut recipients = Vec::new();
            for one in complained.complained_recipients {
                original::push(&mut recipients, text::address(&one.email_address));
            }
            let feedback = match complained.complaint_feedback_type.as_deref() {
                Some("fraud") => Feedback::Fraud,
                Some("virus") => Feedback::Virus,
                Some("not-spam") => Feedback::NotSpam,
                Some("auth-failure") => Feedback::AuthFailure,
                Some("other") => Feedback::Other,
                _ => Feedback::Abuse,
            };
            Some(Incoming::Complaint(Complaint {
                feedback,
                redacted: recipients.is_empty(),
                recipients,
                original,
                reporter: complained.user_agent,
                source_ip: None,
                reported_domain: None,
                matched: "amazon-ses",
            }))
        }
        ("Delivery", ..) => {
            let recipients = notification.delivery.map(|delivery| delivery.recipients).unwrap_or_default();
            let of = |address: String| Bounced {
                email_address: address,
                action: Some("delivered".to_owned()),
                status: Some("2.0.0".to_owned()),
                diagnostic_code: None,
            };
            let most = limits::INCOMING_REPORTS_MAX;
            let reports =
                recipients.into_iter().take(most).map(|address| bounced(of(address), looker)).collect();
            let returned = Returned { reports, original, matched: "amazon-ses", ..Returned::default() };
            (!returned.reports.is_empty()).then_some(Incoming::Receipt(returned))
        }
        _ => None,
    }
}

fn bounced(one: Bounced, looker: &mut Looker) -> PerRecipient {
    let status = one.status.as_deref().and_then(report::status);
    let diagnostic = one.diagnostic_code.unwrap_or_default();
    let diagnostic = text::one_line(diagnostic.as_bytes(), limits::INCOMING_VALUE_MAX);
    let verdict = looker.verdict([diagnostic.as_str()], status, "");
    let action = if one.action.as_deref() == Some("delivered") { Action::Delivered } else { Action::Failed };
    PerRecipient {
        recipient: text::address(&one.email_address).unwrap_or_default(),
        original_recipient: None,
        action,
        status,
        code: verdict.code,
        diagnostic,
        remote_mta: None,
        class: verdict.class,
        permanent: verdict.permanent && action == Action::Failed,
    }
}

fn original(mail: Mail) -> Original {
    let mut original = Original::default();
    original::push(&mut original.return_paths, mail.source.as_deref().and_then(text::address));
    for address in mail.destination {
        original::push(&mut original.to, text::address(&address));
    }
    if let Some(headers) = mail.common_headers {
        let line = |value: String| text::one_line(value.as_bytes(), limits::INCOMING_VALUE_MAX);
        original.message_id = headers.message_id.map(line);
        original.subject = headers.subject.map(line);
    }
    original
}
