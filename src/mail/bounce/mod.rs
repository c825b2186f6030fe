//! Mail that comes back: bounces, delays, complaints and answers of programs. Bytes in, findings out.
//!
//! [`read`] goes from what is for machines to what is for humans: a feedback report, a delivery report, a provider's own form of complaint, the
//! words of a system that is known (`systems.toml`), an answer of a program, the words of any mail system, and then what is attached. Of a message
//! only a front piece is looked at, whatever its size. All of it is by strangers, and can be forged: whoever acts on findings first has
//! [`verp`] say that a message of ours was meant.

mod auto;
mod complaint;
mod found;
mod freeform;
mod notice;
mod original;
mod parts;
mod report;
mod ses;
mod text;
mod verdict;
pub mod verp;

pub use found::{
    Action, AutoReply, AutoReplyKind, Complaint, Feedback, Incoming, PerRecipient, Returned, Unsubscribe,
};
pub use original::Original;

use crate::mail::unsubscribe;
use notice::Notice;
use parts::{Kind, Part};
use verdict::Looker;

/// Says what a message is that came to the address `to`.
pub fn read(message: &[u8], to: &[u8]) -> Incoming {
    let front = parts::front(message);
    if unsubscribe::is_address(to)
        && let Some(token) = token(&front)
    {
        return Incoming::Unsubscribe(Unsubscribe::Asked(token));
    }
    let mut looker = Looker::new();
    let mut found = look(&front, 0, &mut looker).unwrap_or(Incoming::Other);
    let to =
        text::address(&String::from_utf8_lossy(&to[..to.len().min(crate::limits::INCOMING_ADDRESS_MAX)]));
    let original = match &mut found {
        Incoming::Bounce(returned) | Incoming::Delay(returned) | Incoming::Receipt(returned) => {
            Some(&mut returned.original)
        }
        Incoming::Complaint(complaint) => Some(&mut complaint.original),
        Incoming::AutoReply(_) | Incoming::Unsubscribe(_) | Incoming::Other => None,
    };
    if let (Some(original), Some(to)) = (original, to) {
        original.return_paths.retain(|path| *path != to);
        original.return_paths.insert(0, to);
    }
    found
}

/// The token in its subject, as mail that RFC 2369 has programs write carries it.
fn token(message: &[u8]) -> Option<String> {
    let (section, _) = parts::split(message);
    let subject = notice::decoded(&parts::value(section, "Subject")?);
    unsubscribe::token_in(&subject).map(str::to_owned)
}

/// A message, or one in it. None: it is nothing of what is looked for.
fn look(message: &[u8], depth: usize, looker: &mut Looker) -> Option<Incoming> {
    let (section, _) = parts::split(message);
    let all = parts::read(message);
    let notice = Notice::read(section, &all);
    let part = |kind: Kind| all.iter().find(|part| part.kind == kind);
    if let Some(part) = part(Kind::Feedback) {
        return Some(Incoming::Complaint(complaint::read(&part.body, &notice)));
    }
    if let Some(found) = reported(&all, &notice, looker) {
        return Some(found);
    }
    if part(Kind::Disposition).is_some() {
        return Some(Incoming::AutoReply(auto::receipt(section, &notice)));
    }
    if let Some(found) = complaint::of_a_provider(section, &notice, &all) {
        return Some(Incoming::Complaint(found));
    }
    if let Some(found) = ses::read(&notice, looker) {
        return Some(found);
    }
    let known = freeform::known(&notice, looker);
    if known.as_ref().is_none_or(|reading| !reading.named)
        && let Some(found) = auto::read(section, &notice)
    {
        return Some(Incoming::AutoReply(found));
    }
    match known.or_else(|| freeform::unknown(&notice, looker)) {
        Some(reading) if reading.named => Some(incoming(reading)),
        // What names nobody may have the report of another in it.
        reading => attached(&all, depth, looker).or_else(|| reading.map(incoming)),
    }
}

fn incoming(reading: freeform::Reading) -> Incoming {
    if reading.delay { Incoming::Delay(reading.returned) } else { Incoming::Bounce(reading.returned) }
}

/// Somebody may have passed it on.
fn attached(parts: &[Part<'_>], depth: usize, looker: &mut Looker) -> Option<Incoming> {
    if depth >= crate::limits::INCOMING_FORWARDS_MAX {
        return None;
    }
    let messages = parts.iter().filter(|part| part.kind == Kind::Message);
    for part in messages.take(crate::limits::INCOMING_FORWARDS_MAX) {
        let inner = part.body.trim_ascii_start();
        match look(inner, depth + 1, looker) {
            None | Some(Incoming::AutoReply(_) | Incoming::Other) => {}
            found => return found,
        }
    }
    None
}

/// Delivery reports, with verdicts.
fn reported(parts: &[Part<'_>], notice: &Notice, looker: &mut Looker) -> Option<Incoming> {
    let mut reports =
        parts.iter().filter(|part| part.kind == Kind::Status).filter_map(|part| report::read(&part.body));
    // Some put the fields into the words for humans, and nowhere else.
    let fields = reports.next().or_else(|| in_text(notice))?;
    let mut returned = report::returned(fields);
    returned.original = notice.original();
    let whole = text::one_line(notice.text(), crate::limits::INCOMING_REASON_MAX);
    let nameless = returned.reports.len() == 1 && !returned.reports[0].recipient.contains('@');
    for report in &mut returned.reports {
        if nameless {
            name(report, notice, &returned.original);
        }
        let [line, lines] = notice.mentions(&report.recipient);
        let more = notice.whole_reply(&report.diagnostic);
        let hop = report.remote_mta.clone().unwrap_or_default();
        let exit = exit_code(&report.diagnostic);
        let texts = [exit, &more, &report.diagnostic, &line, &lines, &whole, &notice.subject];
        let verdict = looker.verdict(texts, report.status, &hop);
        report.class = verdict.class;
        report.code = verdict.code;
        report.status = report.status.or(verdict.status);
        report.permanent = verdict.permanent && report.action == Action::Failed;
    }
    let has = |action: Action| returned.reports.iter().any(|report| report.action == action);
    Some(if has(Action::Failed) {
        Incoming::Bounce(returned)
    } else if has(Action::Delayed) {
        Incoming::Delay(returned)
    } else {
        Incoming::Receipt(returned)
    })
}

/// What the exit code of a local delivery means (`X-Unix; 67`), as BSD's sysexits numbers them; others say too little.
fn exit_code(diagnostic: &str) -> &'static str {
    match diagnostic.trim() {
        "67" => "550 5.1.1 user unknown",
        "68" => "550 5.1.2 host unknown",
        "70" | "71" | "72" | "73" | "74" | "78" => "local configuration error",
        _ => "",
    }
}

/// Fields of a report among words.
fn in_text(notice: &Notice) -> Option<report::Fields> {
    let text = notice.text();
    let is_report = memchr::memmem::find(text, b"Final-Recipient:").is_some()
        && memchr::memmem::find(text, b"Action:").is_some();
    if !is_report {
        return None;
    }
    // A mail reader puts a sign in front of the lines that it passes on.
    if memchr::memmem::find(text, b"\n> Final-Recipient:").is_some() {
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_prefix(b"> ").unwrap_or(line));
        return report::read(&lines.collect::<Vec<_>>().join(&b'\n'));
    }
    report::read(text)
}

/// Whom it is about, where the report names nobody: the notification, or what came back, may.
fn name(report: &mut PerRecipient, notice: &Notice, original: &Original) {
    let known = match (notice.failed.as_slice(), original.to.as_slice()) {
        ([only], _) | ([], [only]) => only,
        _ => return,
    };
    report.recipient.clone_from(known);
}

#[cfg(test)]
mod tests;
