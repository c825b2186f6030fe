//! What is noted of a message the sink takes or refuses: in ledgers, counters and journal.

use std::sync::atomic::Ordering;

use super::content::Content;
use super::context::{Context, Envelope};
use super::{Action, Tally};
use crate::journal::Receipt;
use crate::ledger::{Ledger, locked};
use crate::message::{Headers, Label, Recipient};

/// A message was taken. Its recipients go to `unsure` until the reply has left, after `pause` nanoseconds.
pub(super) fn record(
    recipients: &[Envelope],
    content: &mut Content,
    action: Option<Action>,
    unsure: &mut Vec<(u64, u64, u32)>,
    pause: u64,
    context: &mut Context<'_>,
) {
    let tally = context.tally;
    Tally::add(&tally.messages, 1);
    context.gate.take(context.now);
    Tally::add(&tally.recipients, recipients.len() as u64);
    Tally::add(&tally.bytes, content.bytes);
    if let [Envelope { recipient: Recipient::Bounce { .. }, .. }] = recipients {
        Tally::add(&tally.bounces, 1);
        return note_bounce(content, context);
    }
    let label = Label::read(&content.head);
    let found = label.and_then(|(label, headers)| Some((label, headers, (context.ledgers)(label.run)?)));
    let Some((label, headers, ledger)) = found else {
        return Tally::add(&tally.unknown, 1);
    };
    if action == Some(Action::Alter) {
        content.sum.update(b"altered");
    }
    let state = match headers {
        _ if content.sum.value() != label.sum => Receipt::Altered,
        Headers::Intact => Receipt::Intact,
        Headers::Reordered | Headers::Altered => Receipt::Reordered,
    };
    if let Some(waited) = context.now.checked_sub(label.due).filter(|_| label.due != 0) {
        locked(&tally.latency).saturating_record(waited / 1000);
    }
    let copies = if action == Some(Action::Repeat) { 2 } else { 1 };
    for envelope in recipients.iter().flat_map(|envelope| std::iter::repeat_n(envelope, copies)) {
        if let Some(ordinal) = deliver(envelope, &label, (state, pause), &ledger, context) {
            unsure.push((label.run, label.n, ordinal));
        }
    }
}

/// Notes one delivery; returns which recipient it was, unless it was misrouted.
fn deliver(
    envelope: &Envelope,
    label: &Label,
    (state, pause): (Receipt, u64),
    ledger: &Ledger,
    context: &mut Context<'_>,
) -> Option<u32> {
    let own = match envelope.recipient {
        Recipient::Ours { run, n, ordinal }
            if (run, n) == (label.run, label.n)
                && ordinal < label.recipients.min(ledger.recipients())
                && !envelope.elsewhere =>
        {
            Some(ordinal)
        }
        _ => None,
    };
    // What is reported of a misrouted copy is the message it holds; its recipient may belong to no message at all.
    let ordinal = match envelope.recipient {
        Recipient::Ours { ordinal, .. } => ordinal,
        _ => 0,
    };
    let receipt = if own.is_some() { state } else { Receipt::Misrouted };
    match receipt {
        Receipt::Misrouted => ledger.misroute(label.n, ordinal),
        Receipt::Altered => ledger.corrupt(label.n, ordinal),
        Receipt::Reordered => ledger.reorder(label.n, ordinal),
        _ => {}
    }
    if receipt != Receipt::Misrouted {
        let moments = (context.now, context.now.saturating_add(pause));
        ledger.deliver_and_reply(label.n, ordinal, label.due, moments, context.lane);
    }
    if let Some(journal) = &mut context.journal {
        journal.received(label.run, label.n, ordinal, receipt);
    }
    own
}

fn note_bounce(content: &Content, context: &mut Context<'_>) {
    content.reported(|recipient, failed| {
        let Recipient::Ours { run, n, ordinal } = recipient else { return };
        if let Some(ledger) = (context.ledgers)(run) {
            if failed {
                ledger.bounce(n, ordinal);
            } else {
                ledger.delay();
            }
        }
        if let Some(journal) = context.journal.as_mut().filter(|_| failed) {
            journal.received(run, n, ordinal, Receipt::Bounced);
        }
    });
}

/// Notes that these are not to be waited for.
pub(super) fn note_refused(recipients: impl Iterator<Item = Recipient>, context: &mut Context<'_>) {
    for recipient in recipients {
        let Recipient::Ours { run, n, ordinal } = recipient else { continue };
        if let Some(ledger) = (context.ledgers)(run) {
            ledger.refuse(n, ordinal);
        }
        if let Some(journal) = &mut context.journal {
            journal.received(run, n, ordinal, Receipt::Refused);
        }
    }
}

/// Notes that nobody was told of these deliveries.
pub(super) fn lose_replies(unsure: &[(u64, u64, u32)], context: &mut Context<'_>) {
    for &(run, n, ordinal) in unsure {
        context.tally.unsure.fetch_add(1, Ordering::Relaxed);
        if let Some(ledger) = (context.ledgers)(run) {
            ledger.lose_reply(n, ordinal);
        }
        if let Some(journal) = &mut context.journal {
            journal.received(run, n, ordinal, Receipt::Unsure);
        }
    }
}
