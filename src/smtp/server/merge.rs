//! PowerMTA's verbs of mail merge: XMRG in place of MAIL, XDFN before a RCPT, XPRT in place of DATA, and XACK. What a line that nobody is to
//! acknowledge is refused for is said with the next XPRT, so that no recipient is lost in silence.

use crate::config::BareNewlines;
use crate::limits;
use crate::mail::address::Path;
use crate::mail::envelope::Envelope;
use crate::mail::merge::{BadDefinition, Merge};
use crate::policy::reason::Reason;
use crate::smtp::command::{self, Command, MailParameters, MergeCommand};
use crate::smtp::data::Scanner;
use crate::smtp::server::dialogue::Dialogue;
use crate::smtp::server::refusals::Refusals;
use crate::smtp::server::step::{Intake, Step};
use crate::smtp::words;

/// A merge that is there whole.
#[derive(Debug)]
pub struct WholeMerge {
    /// Sender, recipients, and what came with XMRG. All else is put in as each message is.
    pub envelope: Box<Envelope>,
    /// What each of them gets.
    pub merge: Merge,
}

/// How a part ended.
#[derive(Debug)]
pub enum PartEnd {
    /// It is taken, and others are to come.
    More,
    /// It was the last: take the messages in, and say what became of them.
    Whole(WholeMerge),
    /// Refused, and with it the merge; the reply is written.
    Refused {
        /// Close after sending.
        close: bool,
    },
}

/// A line, where one may be such a command; None: it is none of them.
pub(super) fn line(
    dialogue: &mut Dialogue,
    line: &[u8],
    gate: Intake,
    out: &mut Vec<u8>,
) -> Option<Option<Step>> {
    if !dialogue.config.manner.merge || dialogue.auth.is_awaited() {
        return None;
    }
    if matches!(line, [b'R' | b'r', ..]) && command::is_of_merge(line) {
        return recipient(dialogue, out);
    }
    if !matches!(line, [b'X' | b'x', ..]) {
        return None;
    }
    match command::parse(line) {
        Ok(Command::Merge(command)) => {
            if !Command::Merge(command).brings_nearer() && !dialogue.conduct.may_command() {
                return Some(dialogue.enough(out));
            }
            Some(merge(dialogue, command, gate, out))
        }
        _ => None,
    }
}

/// A line that names a recipient, however well. One for whom not all could be defined is refused: in a group of commands it stands behind what failed.
#[cold]
fn recipient(dialogue: &mut Dialogue, out: &mut Vec<u8>) -> Option<Option<Step>> {
    let open = dialogue.transaction.as_mut()?.merge()?;
    (!open.merge.name()).then(|| dialogue.refuse_recipient(words::MERGE_SPOILED, out))
}

/// A line was refused: if it was to define something, nobody is to get less than that.
#[cold]
pub(super) fn spoil(dialogue: &mut Dialogue, (line, is_long): (&[u8], bool)) {
    let defines = is_long
        || line.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'x')) && command::is_of_merge(line);
    let Some(transaction) = dialogue.transaction.as_mut().filter(|_| defines) else { return };
    let recipients = transaction.envelope.recipients.len();
    transaction.merge().into_iter().for_each(|open| open.merge.spoil(recipients));
}

/// One of these commands.
#[cold]
fn merge(
    dialogue: &mut Dialogue,
    command: MergeCommand<'_>,
    gate: Intake,
    out: &mut Vec<u8>,
) -> Option<Step> {
    if !dialogue.identity.may_relay() {
        return dialogue.complain(words::MERGE_DENIED, out);
    }
    match command {
        MergeCommand::From(path, parameters) => begin_merge(dialogue, &path, parameters, gate, out),
        MergeCommand::Define(line) => define(dialogue, line, gate, out),
        MergeCommand::Part(number, last) => part(dialogue, (number, last), out),
        MergeCommand::Acknowledge(on) => {
            dialogue.is_silent = !on;
            dialogue.say(words::OK, out)
        }
    }
}

fn begin_merge(
    dialogue: &mut Dialogue,
    path: &Path<'_>,
    parameters: MailParameters<'_>,
    gate: Intake,
    out: &mut Vec<u8>,
) -> Option<Step> {
    let before = dialogue.transaction.is_some();
    let step = dialogue.mail(path, parameters, gate, out);
    if let Some(open) = dialogue.transaction.as_mut().filter(|_| !before) {
        open.begin_merge();
    }
    step
}

fn define(dialogue: &mut Dialogue, line: &[u8], gate: Intake, out: &mut Vec<u8>) -> Option<Step> {
    let Some(transaction) = &mut dialogue.transaction else { return dialogue.need_mail(out) };
    let recipients = transaction.envelope.recipients.len();
    let Some(open) = transaction.merge() else { return dialogue.complain(words::NO_MERGE, out) };
    open.definitions += 1;
    if open.definitions > limits::MERGE_DEFINITIONS_MAX {
        return dialogue.close(words::MERGE_ENDLESS, out);
    }
    if gate == Intake::NoMemory {
        return dialogue.turn_away(words::NO_MEMORY, out);
    }
    if open.merge.values() + line.len() + limits::MERGE_VARIABLE_OVERHEAD > limits::MERGE_VALUES_MAX {
        return dialogue.say(words::MERGE_VALUES_FULL, out);
    }
    match open.merge.define(line, recipients) {
        Ok(()) => dialogue.say(words::OK, out),
        Err(bad) => {
            let code = if bad == BadDefinition::TooMany { "552 5.3.4" } else { "501 5.5.4" };
            dialogue.complain(&format!("{code} {bad}\r\n"), out)
        }
    }
}

fn part(dialogue: &mut Dialogue, (number, last): (u8, bool), out: &mut Vec<u8>) -> Option<Step> {
    let Some(transaction) = &mut dialogue.transaction else { return dialogue.need_mail(out) };
    let nobody = transaction.envelope.recipients.is_empty();
    let Some(open) = transaction.merge() else { return dialogue.complain(words::NO_MERGE, out) };
    if open.unsaid > 0 {
        let words = words::merge_unsaid(open.unsaid, &open.first);
        dialogue.transaction = None;
        return dialogue.complain(&words, out);
    }
    if nobody {
        return dialogue.need_recipients(out);
    }
    if open.merge.has(number) {
        return dialogue.complain(words::MERGE_TWICE, out);
    }
    open.coming = Some((number, last));
    let scanner = Scanner::new(dialogue.config.message_size_max, BareNewlines::Refuse);
    transaction.scanner = Some(dialogue.config.scanners.put(scanner));
    dialogue.say(words::GO_AHEAD, out);
    Some(Step::Part)
}

/// The final dot of a part was seen.
pub(super) fn part_end(dialogue: &mut Dialogue, refusals: &mut Refusals, out: &mut Vec<u8>) -> PartEnd {
    let (conduct_max, said) = (dialogue.config.message_size_max, out.len());
    let Some(transaction) = &mut dialogue.transaction else {
        dialogue.say(words::BAD_SEQUENCE, out);
        return PartEnd::Refused { close: true };
    };
    let scanner = transaction.scanner.take();
    let fault = scanner.as_ref().and_then(|scanner| scanner.summary().refusal());
    scanner.into_iter().for_each(|scanner| dialogue.config.scanners.give(scanner));
    let recipients = transaction.envelope.recipients.len();
    let Some(open) = transaction.merge() else { return PartEnd::Refused { close: true } };
    let Some((number, last)) = open.coming.take() else { return PartEnd::Refused { close: true } };
    // What else is wrong with a part is so with a message of it, and told of that.
    let bare = fault.filter(|fault| fault.is_bare());
    let text = std::mem::take(&mut open.text);
    let words = if let Some(fault) = &bare {
        Some(fault.reply())
    } else if open.is_too_large || text.len() as u64 > conduct_max {
        Some(words::merge_too_large(limits::MERGE_BYTES_MAX))
    } else {
        open.merge.add(number, text);
        let lacks = open.merge.lacks(recipients).filter(|_| last);
        lacks.map(words::merge_lacks)
    };
    if let Some(words) = words {
        let enough = dialogue.complain(&words, out).is_some();
        if let Some(open) = dialogue.transaction.take() {
            let reason = bare.as_ref().map_or(Reason::TooLarge, |fault| fault.reason());
            refusals.note_message((&out[said..], reason), &open.envelope);
        }
        return PartEnd::Refused { close: enough || bare.is_some() };
    }
    if !last {
        dialogue.say(words::OK, out);
        return PartEnd::More;
    }
    let merge = std::mem::take(&mut open.merge);
    let Some(transaction) = dialogue.transaction.take() else { return PartEnd::Refused { close: true } };
    dialogue.conduct.deliver();
    let mut envelope = transaction.envelope;
    dialogue.identity.sign(&mut envelope);
    PartEnd::Whole(WholeMerge { envelope, merge })
}

/// Whether replies to lines that name or describe recipients are left unsaid now.
pub(super) fn is_silent(dialogue: &Dialogue) -> bool {
    dialogue.is_silent && dialogue.transaction.as_ref().is_some_and(|open| open.is_merge())
}

/// The reply to such a line, from here on, is left unsaid.
pub(super) fn hush(dialogue: &mut Dialogue, from: usize, out: &mut Vec<u8>) {
    let refused = matches!(out.get(from), Some(b'4' | b'5'));
    if let Some(open) = dialogue.transaction.as_mut().and_then(|open| open.merge()).filter(|_| refused) {
        open.leaves_unsaid(&out[from..]);
    }
    out.truncate(from);
}
