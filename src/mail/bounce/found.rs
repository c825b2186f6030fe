//! What is found in mail that came back.

use super::original::Original;
use crate::mail::classify::Class;

/// What a message is that came to an address where bounces and complaints come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Mail to some recipients is given up. Reports on others may be among them, with their own actions.
    Bounce(Returned),
    /// Mail is late, and is tried on: nothing is decided.
    Delay(Returned),
    /// Mail arrived, was passed on or was sent to a list: what the sender had asked to be told.
    Receipt(Returned),
    /// A recipient, or somebody for them, complains.
    Complaint(Complaint),
    /// A program answers for somebody who is away, or asks whoever wrote to prove something.
    AutoReply(AutoReply),
    /// Somebody wants out of a list (RFC 2369).
    Unsubscribe(Unsubscribe),
    /// None of these: a human, perhaps, or nothing that is known.
    Other,
}

/// A wish to get no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsubscribe {
    /// It is asked for with this token.
    Asked(String),
    /// Whoever asked is on the suppression list now.
    Listed,
    /// No secret of this node made the token.
    Unknown,
}

/// A report on recipients of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// One a recipient; at least one.
    pub reports: Vec<PerRecipient>,
    /// What came back of the message. Its return paths begin with the address that the report came to.
    pub original: Original,
    /// Original-Envelope-Id (RFC 3464 2.2.1): the ENVID the message was sent with.
    pub envelope_id: Option<String>,
    /// Reporting-MTA, without its type.
    pub reporting_mta: Option<String>,
    /// What it was known by: `rfc3464`, or the name of an entry of `systems.toml`.
    pub matched: &'static str,
}

/// What is said of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerRecipient {
    /// The address that failed; empty: it is not named, and a return path has to say whose it was.
    pub recipient: String,
    /// The address that the sender wrote, where it was forwarded and the report tells.
    pub original_recipient: Option<String>,
    /// What became of it.
    pub action: Action,
    /// Status, or the enhanced code of the reply (RFC 3463).
    pub status: Option<(u8, u16, u16)>,
    /// The reply's code.
    pub code: Option<u16>,
    /// What the hop said, or what the notification says of this recipient, in one line.
    pub diagnostic: String,
    /// The hop that said it.
    pub remote_mta: Option<String>,
    /// What it is about.
    pub class: Class,
    /// Whether another try would fail, too, by its codes and words.
    pub permanent: bool,
}

impl PerRecipient {
    /// Whether the address is bad for good, so that lists should drop it. A full mailbox, age, a block or what is said of the message is no
    /// such thing.
    pub fn is_hard(&self) -> bool {
        let of_address = match self.class {
            Class::BadMailbox | Class::InactiveMailbox | Class::BadDomain => true,
            // A name server that fails says nothing of the domain; one that says "no mail here" does (RFC 7505).
            Class::NoMx => self.status == Some((5, 1, 10)) || self.code == Some(556),
            _ => false,
        };
        self.action == Action::Failed && self.permanent && of_address
    }
}

/// Action of a report (RFC 3464 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the words of the RFC")]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    Relayed,
    Expanded,
}

/// A complaint (RFC 5965), or what providers send in place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What is complained of.
    pub feedback: Feedback,
    /// Who complains, as far as the provider tells: Original-Rcpt-To and its kin. Redacted ones are left out.
    pub recipients: Vec<String>,
    /// Whether the provider hid who it was: then a return path or an id has to tell.
    pub redacted: bool,
    /// What came with it of the message. Its return paths begin with the address the complaint came to.
    pub original: Original,
    /// User-Agent, or who sent it.
    pub reporter: Option<String>,
    /// Source-IP: which of our addresses the message came from.
    pub source_ip: Option<String>,
    /// Reported-Domain.
    pub reported_domain: Option<String>,
    /// What it was known by: `rfc5965`, or the name of a provider's own form.
    pub matched: &'static str,
}

/// Feedback-Type (RFC 5965 7.3, RFC 6591, RFC 6430).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the words of the registry")]
pub enum Feedback {
    Abuse,
    Fraud,
    Virus,
    NotSpam,
    OptOut,
    AuthFailure,
    Other,
}

impl Feedback {
    /// In a word, as RFC 5965 7.3 has it.
    pub fn word(self) -> &'static str {
        match self {
            Feedback::Abuse => "abuse",
            Feedback::Fraud => "fraud",
            Feedback::Virus => "virus",
            Feedback::NotSpam => "not-spam",
            Feedback::OptOut => "opt-out",
            Feedback::AuthFailure => "auth-failure",
            Feedback::Other => "other",
        }
    }

    /// Whether it means that this recipient wants no more of this mail.
    pub fn unsubscribes(self) -> bool {
        matches!(self, Feedback::Abuse | Feedback::OptOut | Feedback::Fraud | Feedback::Virus)
    }
}

/// An answer by a program (RFC 3834).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoReply {
    /// Which.
    pub kind: AutoReplyKind,
    /// Who answers: the address of From.
    pub from: Option<String>,
    /// Message-ID of what is answered, of In-Reply-To or References.
    pub in_reply_to: Option<String>,
    /// What it was known by: a header field, or `subject`.
    pub matched: &'static str,
}

/// Kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoReplyKind {
    /// Somebody is away, or mail was received.
    Vacation,
    /// Whoever wrote is to prove to be human, or wanted: the mail waits for that.
    Challenge,
    /// A reader read, or deleted, the message (RFC 8098).
    Read,
}
