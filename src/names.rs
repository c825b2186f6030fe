//! Names that configuration, events and metrics share: each list stands here once, in the order of the enum whose names it holds.

pub mod columns;
pub mod ends;
pub mod events;

/// Why a client was refused ([`crate::policy::reason::Reason`]).
pub const REASONS: [&str; 28] = [
    "rule",
    "too_many_connections",
    "timeout",
    "auth_unavailable",
    "session_over",
    "too_many_errors",
    "tls_failed",
    "connection_lost",
    "auth_failed",
    "auth_refused",
    "relay_denied",
    "sender_denied",
    "too_many_recipients",
    "too_large",
    "not_stored",
    "no_room",
    "bare_newline",
    "line_too_long",
    "loop",
    "bad_address",
    "protocol",
    "suppressed",
    "dmarc",
    "auth_required",
    "content",
    "rate",
    "quota",
    "hook",
];

/// What of a stranger's mail is verified.
pub const CHECKS: [&str; 3] = ["spf", "dkim", "dmarc"];

/// What a check came to ([`crate::mail::results::Verdict`]).
pub const VERDICTS: [&str; 7] = ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"];

/// What a reply is about ([`crate::mail::classify::Class`]); `docs/replies.md` has a line for each.
pub const CLASSES: [&str; 27] = [
    "bad_mailbox",
    "inactive_mailbox",
    "mailbox_full",
    "bad_domain",
    "no_mx",
    "bad_sender",
    "relaying_denied",
    "auth_required",
    "tls_required",
    "too_large",
    "content",
    "spam",
    "virus",
    "policy",
    "reputation",
    "authentication",
    "blocklisted",
    "throttled",
    "too_many_connections",
    "greylisted",
    "protocol",
    "timeout",
    "no_answer",
    "connection",
    "expired",
    "our_fault",
    "other",
];

/// PowerMTA's bounceCat for each of [`CLASSES`], and KumoMTA's bounce_classification.
pub const CATEGORIES: [(&str, &str); CLASSES.len()] = [
    ("bad-mailbox", "InvalidRecipient"),
    ("inactive-mailbox", "InactiveMailbox"),
    ("quota-issues", "QuotaIssues"),
    ("bad-domain", "BadDomain"),
    ("routing-errors", "RoutingErrors"),
    ("invalid-sender", "InvalidSender"),
    ("relaying-issues", "RelayingIssues"),
    ("bad-configuration", "BadConfiguration"),
    ("bad-configuration", "BadConfiguration"),
    ("content-related", "ContentRelated"),
    ("content-related", "ContentRelated"),
    ("spam-related", "SpamContent"),
    ("virus-related", "VirusRelated"),
    ("policy-related", "PolicyRelated"),
    ("policy-related", "SpamBlock"),
    ("policy-related", "AuthenticationFailed"),
    ("policy-related", "SpamBlock"),
    ("other", "TransientFailure"),
    ("other", "TransientFailure"),
    ("other", "TransientFailure"),
    ("protocol-errors", "ProtocolErrors"),
    ("no-answer-from-host", "NoAnswerFromHost"),
    ("no-answer-from-host", "NoAnswerFromHost"),
    ("bad-connection", "BadConnection"),
    ("message-expired", "MessageExpired"),
    ("other", "Uncategorized"),
    ("other", "Uncategorized"),
];
