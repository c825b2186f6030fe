//! Complaints, in the form of the RFC and in those of providers.

use super::*;

fn complaint(message: &str) -> Complaint {
    match found(message) {
        Incoming::Complaint(complaint) => complaint,
        other => panic!("{other:?}"),
    }
}

fn arf(fields: &str, returned: &str) -> Complaint {
    complaint(&format!(
        "From: feedback@b.example\nTo: fbl@a.example\nSubject: FW: Offers\nContent-Type: multipart/report; report-type=feedback-report; boundary=x\n\n\
         --x\n\nThis is an email abuse report.\n--x\nContent-Type: message/feedback-report\n\n{fields}\n\n--x\nContent-Type: message/rfc822\n\n{returned}\n--x--\n"
    ))
}

const RETURNED: &str = "Return-Path: <b1-y@bounces.a.example>\nReceived: from a by b (envelope-from <b1-z@bounces.a.example>); now\nMessage-ID: <1@a.example>\nFeedback-ID: autumn:shop:bulk:a\nList-Unsubscribe: <https://a.example/u/1>\nX-Relevo-Tenant: shop\nTo: ada@b.example\nSubject: Offers\n\nHello";

#[test]
fn a_report_says_who_and_what() {
    let found = arf(
        "Feedback-Type: abuse\nUser-Agent: B-FBL/1.0\nVersion: 1\nOriginal-Mail-From: <b1-w@bounces.a.example>\nOriginal-Rcpt-To: <ada@b.example>\nOriginal-Rcpt-To: bob@b.example\nSource-IP: 192.0.2.1\nReported-Domain: a.example",
        RETURNED,
    );
    assert_eq!((found.feedback, found.matched, found.redacted), (Feedback::Abuse, "rfc5965", false));
    assert_eq!(found.recipients, ["ada@b.example", "bob@b.example"]);
    assert_eq!(found.reporter.as_deref(), Some("B-FBL/1.0"));
    assert_eq!(found.source_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(found.reported_domain.as_deref(), Some("a.example"));
    let original = &found.original;
    assert_eq!(original.message_id.as_deref(), Some("<1@a.example>"));
    assert_eq!(original.feedback_id.as_deref(), Some("autumn:shop:bulk:a"));
    assert_eq!(original.list_unsubscribe.as_deref(), Some("<https://a.example/u/1>"));
    let paths: Vec<_> = original.return_paths.iter().map(|path| &path[..4]).collect();
    assert_eq!(paths, ["b1-x", "b1-y", "b1-z", "b1-w"]);
}

#[test]
fn what_is_hidden_is_not_made_up() {
    let hidden = RETURNED.replace("ada@b.example", "redacted@b.example");
    for fields in [
        "Feedback-Type: abuse\nRedacted-Address: redacted",
        "Feedback-Type: abuse\nOriginal-Rcpt-To: redacted-address@b.example",
        "Feedback-Type: abuse\nOriginal-Rcpt-To: xxxxxxxx@b.example",
        "Feedback-Type: abuse",
    ] {
        let found = arf(fields, &hidden);
        assert!(found.recipients.is_empty() && found.redacted, "{fields}: {found:?}");
        assert_eq!(found.original.return_paths.len(), 3);
    }
    // To of the message stands for it, if it is one address.
    assert_eq!(arf("Feedback-Type: abuse", RETURNED).recipients, ["ada@b.example"]);
    let of_two = RETURNED.replace("To: ada@b.example", "To: ada@b.example, bob@b.example");
    assert!(arf("Feedback-Type: abuse", &of_two).recipients.is_empty());
}

#[test]
fn types() {
    for (word, feedback, unsubscribes) in [
        ("abuse", Feedback::Abuse, true),
        ("Fraud", Feedback::Fraud, true),
        ("virus", Feedback::Virus, true),
        ("not-spam", Feedback::NotSpam, false),
        ("opt-out", Feedback::OptOut, true),
        ("auth-failure", Feedback::AuthFailure, false),
        ("other", Feedback::Other, false),
        ("of-tomorrow", Feedback::Other, false),
    ] {
        let found = arf(&format!("Feedback-Type: {word}"), RETURNED);
        assert_eq!((found.feedback, found.feedback.unsubscribes()), (feedback, unsubscribes));
    }
    assert_eq!(arf("Removal-Recipient: ada@b.example", RETURNED).feedback, Feedback::OptOut);
}

#[test]
fn forms_of_providers() {
    let microsoft = complaint(
        "From: staff@hotmail.example\nSubject: complaint about message from 192.0.2.1\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n\
         X-HmXmrOriginalRecipient: ada@b.example\nReturn-Path: <b1-y@bounces.a.example>\nMessage-ID: <1@a.example>\nTo: hidden@c.example\n\nHello\n--x--\n",
    );
    assert_eq!((microsoft.matched, microsoft.feedback), ("microsoft", Feedback::Abuse));
    assert_eq!(microsoft.recipients, ["ada@b.example"]);
    assert!(microsoft.original.return_paths.contains(&"b1-y@bounces.a.example".to_owned()));
    let apple = complaint(
        "From: ada@icloud.example\nTo: u-1@a.example\nSubject: unsubscribe\nX-Apple-Unsubscribe: true\nAuto-Submitted: auto-replied\n\nSent to unsubscribe.\n",
    );
    assert_eq!((apple.matched, apple.feedback), ("apple", Feedback::OptOut));
    assert_eq!(apple.recipients, ["ada@icloud.example"]);
    // The machine's part was lost.
    let lost = complaint(
        "From: fbl@b.example\nSubject: report\nContent-Type: multipart/report; report-type=\"feedback-report\"; boundary=x\n\n--x\n\nabuse report\n--x\nContent-Type: message/rfc822\n\nMessage-ID: <1@a.example>\nTo: ada@b.example\n\n--x--\n",
    );
    assert_eq!(
        (lost.feedback, lost.recipients.as_slice()),
        (Feedback::Abuse, &["ada@b.example".to_owned()][..])
    );
}

/// What Amazon sends by SNS, cut in two where the line was too long.
#[test]
fn amazon_in_json() {
    let bounce = bounce(
        "From: no-reply@sns.amazonaws.example\nSubject: AWS Notification Message\n\n{\"notificationType\":\"Bounce\",\"bounce\":{\"bounceType\":\"Permanent\",\"bouncedRecipients\":[{\"emailAddress\":\"ada@b.ex\n ample\",\"action\":\"failed\",\"status\":\"5.1.1\",\"diagnosticCode\":\"smtp; 550 5.1.1 user unknown\"}]},\"mail\":{\"source\":\"b1-y@bounces.a.example\",\"destination\":[\"ada@b.example\"],\"commonHeaders\":{\"messageId\":\"<1@a.example>\"}}}\n\n--\nIf you wish to stop\n",
    );
    assert_eq!(told(&bounce), [("ada@b.example", Class::BadMailbox, true)]);
    assert_eq!(bounce.original.message_id.as_deref(), Some("<1@a.example>"));
    let complaint = complaint(
        "From: no-reply@sns.amazonaws.example\nSubject: AWS Notification Message\n\n{\"Message\":\"{\\\"notificationType\\\":\\\"Complaint\\\",\\\"complaint\\\":{\\\"complainedRecipients\\\":[{\\\"emailAddress\\\":\\\"ada@b.example\\\"}],\\\"complaintFeedbackType\\\":\\\"abuse\\\"}}\"}\n",
    );
    assert_eq!((complaint.matched, complaint.recipients.len()), ("amazon-ses", 1));
}
