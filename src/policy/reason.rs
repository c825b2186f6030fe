//! Why something is refused to a client.

use crate::names::REASONS;

/// A refusal by somebody who has a say: what the client hears, and why, whatever the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The reply, line end included.
    pub reply: &'a str,
    /// Why.
    pub reason: Reason,
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule of the operator says so.
    Rule,
    /// There are as many connections as there may be, of all or of this client.
    TooManyConnections,
    /// The client did not go on in time.
    Timeout,
    /// A login could not be checked now.
    AuthUnavailable,
    /// The session was long or large enough.
    SessionOver,
    /// The client erred too often.
    TooManyErrors,
    /// TLS did not come about.
    TlsFailed,
    /// The connection ended in the middle of a transaction.
    ConnectionLost,
    /// Name and password do not go together.
    AuthFailed,
    /// The login was not as it must be.
    AuthRefused,
    /// The client may not relay.
    RelayDenied,
    /// The account may not send as this address.
    SenderDenied,
    /// More recipients than a message may have.
    TooManyRecipients,
    /// More bytes than a message may have.
    TooLarge,
    /// The disk did not take it.
    NotStored,
    /// There is no room for it now.
    NoRoom,
    /// A line ends in CR or LF alone.
    BareNewline,
    /// A line is longer than it may be.
    LineTooLong,
    /// It has gone round.
    Loop,
    /// It is no address, or none that can be.
    BadAddress,
    /// Anything else that the protocol forbids.
    Protocol,
    /// The recipient is on the suppression list.
    Suppressed,
    /// The domain in From wants such mail refused.
    Dmarc,
    /// Who brings mail there logs in first.
    AuthRequired,
    /// Bytes of the message are none that the listener takes.
    Content,
    /// The client, or its account, brings more in a time than it may.
    Rate,
    /// The quota of the account, or of the tenant, is used.
    Quota,
    /// The service of `[hook]` refuses it, or cannot be asked.
    Hook,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Reason; 28] = [
        Reason::Rule,
        Reason::TooManyConnections,
        Reason::Timeout,
        Reason::AuthUnavailable,
        Reason::SessionOver,
        Reason::TooManyErrors,
        Reason::TlsFailed,
        Reason::ConnectionLost,
        Reason::AuthFailed,
        Reason::AuthRefused,
        Reason::RelayDenied,
        Reason::SenderDenied,
        Reason::TooManyRecipients,
        Reason::TooLarge,
        Reason::NotStored,
        Reason::NoRoom,
        Reason::BareNewline,
        Reason::LineTooLong,
        Reason::Loop,
        Reason::BadAddress,
        Reason::Protocol,
        Reason::Suppressed,
        Reason::Dmarc,
        Reason::AuthRequired,
        Reason::Content,
        Reason::Rate,
        Reason::Quota,
        Reason::Hook,
    ];

    /// In a word.
    pub const fn word(self) -> &'static str {
        REASONS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_name_of_its_place() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!((reason as usize, reason.word()), (place, REASONS[place]));
            assert_eq!(reason.word().replace('_', ""), format!("{reason:?}").to_lowercase());
        }
    }
}
