//! What a client is offered, which parameters of MAIL are not for it, and what SMTPUTF8 lets it say (RFC 6531 section 3).

use crate::config::AuthMechanisms;
use crate::mail::address::{AddressError, Path, international};
use crate::mail::envelope::{Envelope, TlsWish, Utf8};
use crate::mail::notify::{self, BadParameter};
use crate::mail::parameters::Key;
use crate::smtp::command::{CommandError, MailParameters};
use crate::smtp::extensions::Offered;
use crate::smtp::reply;
use crate::smtp::server::identity::Identity;
use crate::smtp::server::step::SessionConfig;
use crate::smtp::server::transaction::Transaction;
use crate::smtp::words;
use crate::time::UnixMillis;

/// What is offered to it.
pub(super) fn offered(config: &SessionConfig, identity: &Identity) -> Offered {
    let (tls, unnamed) = (identity.is_protected(), identity.account().is_none());
    let mechanisms = config.auth.where_bound(identity.can_bind);
    let auth = !mechanisms.is_empty() && tls && unnamed;
    // Also to who may authenticate now: many say EHLO once.
    let begun = (identity.begun > 0 && (auth || identity.may_relay()))
        .then_some(UnixMillis(u64::from(identity.begun) * 1000));
    Offered {
        starttls: config.starttls && !tls,
        auth: if auth { mechanisms } else { AuthMechanisms::NONE },
        dsn: config.dsn,
        require_tls: tls && (auth || identity.may_relay()),
        held_from: begun,
        chunking: config.manner.chunking,
        smtputf8: config.manner.smtputf8,
        limits: config.limits.then_some((config.manner.messages_per_connection, config.recipients_max)),
        merge: config.manner.merge && identity.may_relay(),
        xclient: identity.may_introduce,
        handover: identity.hands_over(),
    }
}

/// What of MAIL's parameters is not for this client, or not for now.
pub(super) fn refused(
    config: &SessionConfig,
    identity: &Identity,
    parameters: &MailParameters<'_>,
) -> Option<&'static str> {
    if let Some(words) = parameters.hold.and_then(|hold| identity.hold_refused(hold)) {
        return Some(words);
    }
    if parameters.require_tls && !identity.is_protected() {
        return Some(words::REQUIRETLS_NEEDS_TLS);
    }
    // It is offered to those alone whose mail may go on: what strangers bring would come back to whom they name.
    let for_others = parameters.require_tls && !identity.may_relay();
    let reports = !config.dsn && (parameters.ret.is_some() || parameters.envid.is_some());
    let utf8 = parameters.utf8 && !config.manner.smtputf8;
    if parameters.binary && !config.manner.chunking {
        return Some(reply::of_error(CommandError::Arguments));
    }
    (for_others || reports || utf8).then(|| reply::of_error(CommandError::Parameter))
}

/// What MAIL says of the message, but for its paths. `may_relay`: its client may.
pub(super) fn put(envelope: &mut Envelope, parameters: &MailParameters<'_>, may_relay: bool) {
    if parameters.require_tls {
        envelope.needs.tls = TlsWish::Required;
    }
    if let Some(hold) = parameters.hold {
        let all = envelope.parameters.get_or_insert_default();
        all.message.put(Key::SendAt, hold.text().into());
    }
    if parameters.ret.is_some() || parameters.envid.is_some() {
        let all = envelope.parameters.get_or_insert_default();
        // Strangers get nothing sent, to whomever they name, but the header section.
        all.reports.ret = parameters.ret.filter(|_| may_relay);
        if let Some(envid) = parameters.envid.and_then(notify::parse_envid) {
            all.message.put(Key::Envid, envid.into());
        }
    }
}

/// MAIL has SMTPUTF8. Its reverse path as it is kept, if that is another than what came.
#[cold]
pub(super) fn begin_utf8(envelope: &mut Envelope, path: &Path<'_>) -> Option<Vec<u8>> {
    envelope.needs.utf8 = Utf8::OF_CLIENT;
    let kept = international::canonical(path)?;
    if kept.u_labels {
        envelope.needs.utf8.came_in_u_labels();
    }
    Some(kept.address)
}

/// What a recipient in UTF-8 is told where MAIL had no SMTPUTF8; if that one is in ASCII, its ORCPT is not.
pub(super) fn needs_utf8(path: &Path<'_>) -> &'static str {
    reply::of_error(match path.is_utf8 {
        true => CommandError::Recipient(AddressError::NotAscii),
        false => CommandError::Notification(BadParameter::Original),
    })
}

/// What is wrong with an address in UTF-8 matters to who said SMTPUTF8; else it is that there is none.
pub(super) fn of_utf8(error: CommandError, open: Option<&Transaction>) -> CommandError {
    match error {
        CommandError::Recipient(wrong)
            if wrong.is_of_utf8() && open.is_none_or(|open| !open.envelope.needs.utf8.is_asked()) =>
        {
            CommandError::Recipient(AddressError::NotAscii)
        }
        other => other,
    }
}
