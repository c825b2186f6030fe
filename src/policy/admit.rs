//! What rules and instructions make of a message whose header section is in memory: its envelope and the section are changed, or it is
//! refused.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use crate::mail::author::Author;
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::header::{self, Edit};
use crate::mail::instructions::{self, Instructions};
use crate::mail::parameters::{Key, MessageParameters, Parameters};
use crate::mail::trace;
use crate::policy::rules::{Action, Facts, Judged, Judgement, Rules, Settings};

/// Who brings a message.
#[derive(Clone, Copy, Debug)]
pub struct Submitter<'a> {
    /// The account that authenticated.
    pub account: Option<&'a str>,
    /// The listener, by its place in the configuration. None: it came by none.
    pub listener: Option<usize>,
    /// Where it is. None: it came by no session.
    pub address: Option<IpAddr>,
    /// Its instructions are obeyed: an account, or a network that may relay.
    pub trusted: bool,
}

/// Where the header section is: at the front of a message, of so many bytes.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Bytes; 0: there is none.
    pub length: usize,
    /// It begins with the `From ` line of a mailbox file.
    pub mailbox_line: bool,
}

/// What was done to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// How many bytes its header section is longer now.
    pub grown: i64,
    /// What was added to it has 8-bit text.
    pub eight_bit: bool,
    /// How long delivery is tried.
    pub expire: Option<Duration>,
    /// It is to get a way out of its list.
    pub unsubscribe: bool,
}

/// A message is refused with this reply, which ends its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAdmitted(pub Box<str>);

impl fmt::Display for NotAdmitted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.trim_end())
    }
}

impl std::error::Error for NotAdmitted {}

/// Obeys the instructions of a trusted client, and the rules over them; takes instructions out in any case. Waits for `pause` behind each rule and
/// each recipient: where others have waited for long, it is their turn.
pub async fn admit(
    rules: &Rules,
    client: Submitter<'_>,
    envelope: &mut Envelope,
    message: &mut Vec<u8>,
    (at, is_signed): (Section, &dyn Fn(&Author) -> bool),
    pause: impl AsyncFn(),
) -> Result<Admitted, NotAdmitted> {
    let Section { length, mailbox_line } = at;
    let section = message.get(..length).unwrap_or_default();
    let Instructions { parameters, expire, fields: mut gone, wrong } =
        instructions::read(section, mailbox_line);
    if let Some(wrong) = wrong.filter(|_| client.trusted) {
        return Err(NotAdmitted(format!("550 5.6.0 {wrong}\r\n").into()));
    }
    let mut set = Settings::default();
    if client.trusted {
        (set.parameters, set.expire) = (parameters, expire);
    }
    heed_mail(envelope, &mut set.parameters);
    let instructed = set.parameters.clone();
    let fields = rules.fields(Judged { section, mailbox_line, sender: &envelope.sender, is_signed });
    let Submitter { account, listener, address, trusted: _ } = client;
    let sender = &envelope.sender[..];
    let facts = Facts { account, listener, client: address, sender, recipient: None, fields: Some(&fields) };
    let mut judgement = Judgement::default();
    while rules.judge(&facts, &mut judgement) {
        pause().await;
    }
    let action = judgement.message(&mut set);
    take_out(section, mailbox_line, &set, &mut gone);
    let Settings { parameters, expire, sender, mut add, remove: _, hide_trace, unsubscribe } = set;
    if hide_trace {
        envelope.hides_client = true;
        hide(section, mailbox_line, rules.hostname(), (&mut gone, &mut add));
    }
    let reports =
        envelope.parameters.as_mut().map(|all| std::mem::take(&mut all.reports)).unwrap_or_default();
    let mut all = MessageParameters { message: parameters, reports, ..MessageParameters::default() };
    match action {
        Action::Reject(reply) => return Err(NotAdmitted(with_reason(reply, judgement.lacks()))),
        Action::End(end) => envelope.recipients.iter_mut().for_each(|one| one.at_once = Some(end)),
        Action::Proceed if judgement.differs_by_recipient() => {
            recipients(&judgement, &instructed, envelope, &mut all, pause).await?;
        }
        Action::Proceed => {}
    }
    let is_plain = |one: &Recipient| {
        one.parameters == 0 && one.at_once.is_none() && one.notify.is_unsaid() && one.original == 0
    };
    let plain = |envelope: &Envelope| envelope.recipients.iter().all(is_plain);
    let some = !all.message.is_empty() || !all.reports.is_empty() || !plain(envelope);
    envelope.parameters = some.then(|| Box::new(all));
    if let Some(sender) = sender {
        envelope.sender = sender;
    }
    let eight_bit = !add.is_ascii();
    let edit = Edit { remove: gone, add };
    let after = if edit.is_empty() { length } else { edit.apply(message, length, mailbox_line) };
    Ok(Admitted { grown: after as i64 - length as i64, eight_bit, expire, unsubscribe })
}

/// The reply of a rule, with what the message lacks where that is what the rule is about: its sender is to mend it.
fn with_reason(reply: &str, lacks: Option<&str>) -> Box<str> {
    match lacks {
        Some(lacks) => format!("{}: the message {lacks}\r\n", reply.trim_end()).into(),
        None => reply.into(),
    }
}

/// What MAIL said of it, or whoever handed it over by another way: instructions, and rules, set over that (RFC 4865); its sender's name goes on as MAIL has
/// it (RFC 3461 5.2.1 a).
fn heed_mail(envelope: &Envelope, set: &mut Parameters) {
    let Some(said) = &envelope.parameters else { return };
    for (key, value) in said.message.iter() {
        if key == Key::Envid || set.get(key).is_none() {
            set.put(key, value.into());
        }
    }
}

/// Gives each recipient the parameters that it has in place of the message's, and marks those that have their end at once.
async fn recipients(
    judgement: &Judgement<'_>,
    instructed: &Parameters,
    envelope: &mut Envelope,
    all: &mut MessageParameters,
    pause: impl AsyncFn(),
) -> Result<(), NotAdmitted> {
    for one in &mut envelope.recipients {
        let (action, own) = judgement.recipient(&one.address, instructed.borrowed());
        one.at_once = action.end();
        let mut own = own.unlike(all.message.borrowed());
        // All of a message go at one time.
        own.remove(Key::SendAt);
        let number = all.number(own);
        one.parameters =
            number.ok_or_else(|| NotAdmitted("552 5.3.4 Too many parameters of recipients\r\n".into()))?;
        pause().await;
    }
    Ok(())
}

/// In place of each Received field comes one that says as little as one may: loops are found by how many there are (RFC 5321 6.3).
fn hide(
    section: &[u8],
    mailbox_line: bool,
    hostname: &str,
    (gone, add): (&mut Vec<Range<usize>>, &mut Vec<u8>),
) {
    for field in header::fields(section, mailbox_line).filter(|field| field.is("received")) {
        trace::write_hidden(add, hostname, field.value);
        gone.push(field.start..field.end);
    }
    gone.sort_unstable_by_key(|field| field.start);
    gone.dedup();
}

/// Adds to the fields that go those that rules take out, all in order.
fn take_out(section: &[u8], mailbox_line: bool, set: &Settings<'_>, gone: &mut Vec<Range<usize>>) {
    if set.remove.is_empty() {
        return;
    }
    for field in header::fields(section, mailbox_line) {
        let name = field.name.to_ascii_lowercase();
        if std::str::from_utf8(&name).is_ok_and(|name| set.remove.contains(name)) {
            gone.push(field.start..field.end);
        }
    }
    gone.sort_unstable_by_key(|field| field.start);
    gone.dedup();
}
