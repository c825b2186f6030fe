//! Between receive and persist: mail of another node of the operator, which is emptied into this one. What was decided of it there stands: rules, quotas,
//! signing and verification have had their say, and its hops are to see what that node would have sent them.

use crate::mail::handover::{self, BadHandover, Handover};
use crate::mail::header::Edit;
use crate::mail::instructions;
use crate::policy::reason::Reason;
use crate::runtime::{Defect, Runtime};
use crate::shard::inbound::admit::{self, Admission};
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::upload::Upload;
use crate::smtp::data::Summary;
use crate::smtp::server::OpenTransaction;

/// Decides of a message that is handed over. None: it is mail as any other. `goes_on`: before the first of it is stored, with more to come.
pub(super) fn admit<R: Runtime>(
    connection: &mut Connection<R>,
    upload: &mut Upload,
    goes_on: bool,
) -> Option<Admission> {
    if !connection.session.hands_over() {
        return None;
    }
    let scanner = connection.session.scanner()?;
    let summary = scanner.summary();
    if !summary.may_instruct || (goes_on && scanner.is_in_header()) {
        return None;
    }
    let length = usize::try_from(summary.header_length).unwrap_or(usize::MAX).min(upload.body.len());
    let read = handover::read(&upload.body[..length], summary.mailbox_line).transpose()?;
    let grown = take_out(&mut upload.body, (length, &summary));
    Some(decided(connection, read, (&summary, grown), &upload.body))
}

/// Without the field, and any other that is for a relay alone. By how much the section grew.
fn take_out(body: &mut Vec<u8>, (length, summary): (usize, &Summary)) -> i64 {
    let remove = instructions::read(&body[..length], summary.mailbox_line).fields;
    let after = Edit { remove, add: Vec::new() }.apply(body, length, summary.mailbox_line);
    after as i64 - length as i64
}

fn decided<R: Runtime>(
    connection: &mut Connection<R>,
    read: Result<Handover, BadHandover>,
    (summary, grown): (&Summary, i64),
    body: &[u8],
) -> Admission {
    let (shard, listener) = (connection.shard.clone(), connection.listener.clone());
    let mut handover = match read {
        Ok(handover) => handover,
        Err(wrong) => return Admission::refused(&format!("550 5.6.0 {wrong}\r\n"), Reason::Content),
    };
    if shard.runtime.planted(Defect::AttemptsAnew) {
        handover.begun.attempts = 0;
    }
    if shard.runtime.planted(Defect::LifeAnew) {
        let (arrival, now) = (handover.arrival.0, shard.runtime.wall());
        handover.expiry.0 = handover.expiry.0 - arrival + now.0;
        handover.arrival = now;
    }
    let Some(OpenTransaction { envelope, .. }) = connection.session.open() else {
        return Admission::default();
    };
    // What MAIL and RCPT said for the sender stays.
    let all = envelope.parameters.get_or_insert_default();
    all.message = std::mem::take(&mut handover.parameters);
    if let Some(returns) = listener.live.returns.as_ref().filter(|returns| returns.has_addresses()) {
        returns.set_apart(envelope);
    }
    if summary.speaks_of_tls {
        admit::waive_tls(envelope, summary, body);
    }
    Admission::handed_over(handover, grown)
}
