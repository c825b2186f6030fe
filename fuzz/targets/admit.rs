//! The header section of a client's message under rules and instructions: whatever it is, the rest of the message stays as it is, no
//! instruction is left, and what was done once is done.

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use relevo::config::Config;
use relevo::limits;
use relevo::mail::envelope::{Envelope, Envelopes, Recipient};
use relevo::mail::instructions;
use relevo::mail::parameters::Parameters;
use relevo::policy::admit::{Admitted, NotAdmitted, Section, Submitter, admit as admit_message};
use relevo::policy::rules::Rules;

use super::input::Input;

const RULES: &str = r#"
[[rule]]
match = { header = { name = "X-Job", pattern = "^(\\w+)-(.*)$" } }
set = { campaign = "$2", pool = "$1", sender = "$1@example.net", header_add = { "X-Seen" = "$2" }, header_remove = ["X-Gone", "Subject"] }
[[rule]]
match = { recipient = "@discarded.example" }
action = "discard"
[[rule]]
match = { recipient = "@other.example" }
set = { tenant = "other" }
[[rule]]
match = { lacks = ["list_unsubscribe", "one_click", "alignment", "form"] }
set = { priority = "low" }
[[rule]]
match = { header = { name = "X-Refuse", pattern = "" } }
action = "reject 550 5.7.1 refused"
"#;

/// One choice, a section, and what follows it.
pub fn admit(data: &[u8]) {
    let rules = Rules::new(&Config::parse(RULES, Path::new("rules")).expect("rules").rules);
    let mut input = Input(data);
    let (flags, length) = (input.byte(), usize::from(input.word()));
    let length = length.min(input.0.len());
    let at = Section { length, mailbox_line: flags & 1 == 1 };
    let client = Submitter { account: None, listener: Some(0), address: None, trusted: flags & 2 == 0 };
    let (mut message, mut envelope) = (input.0.to_vec(), envelope());
    let Ok(Admitted { grown, eight_bit, expire: _, unsubscribe: _ }) =
        run(&rules, client, &mut envelope, &mut message, at)
    else {
        return;
    };
    assert_eq!(message.len() as i64, input.0.len() as i64 + grown);
    let after = usize::try_from(length as i64 + grown).expect("a length");
    assert_eq!(message[after..], input.0[length..], "what is behind the section changed");
    let left = instructions::read(&message[..after], at.mailbox_line);
    assert!(left.fields.is_empty(), "an instruction is left");
    assert!(eight_bit || message[..after].is_ascii() || !input.0[..length].is_ascii());
    let parameters = envelope.parameters.as_deref();
    let bytes = |parameters: &Parameters| parameters.length();
    let all = parameters.map_or(0, |of| bytes(&of.message) + of.recipients.iter().map(bytes).sum::<usize>());
    assert!(all <= limits::PARAMETERS_BYTES_MAX);
    assert!(envelope.recipients[1].at_once.is_some() && envelope.recipients[0].at_once.is_none());
    assert!(client.trusted || parameters.is_some_and(|of| of.recipients.len() == 1));
    let (once, section) = (message.clone(), Section { length: after, ..at });
    let again = run(&rules, client, &mut envelope, &mut message, section).expect("admitted before");
    assert!(again.grown == 0 && once == message, "done twice");
}

fn envelope() -> Envelope {
    let mut envelope = *Envelopes::default().take();
    envelope.sender = b"a@b".to_vec();
    for address in ["a@b.example", "b@discarded.example", "c@other.example"] {
        envelope.recipients.push(Recipient::new(address.as_bytes().into(), 2));
    }
    envelope
}

fn run(
    rules: &Rules,
    client: Submitter<'_>,
    envelope: &mut Envelope,
    message: &mut Vec<u8>,
    at: Section,
) -> Result<Admitted, NotAdmitted> {
    let admitting = pin!(admit_message(rules, client, envelope, message, (at, &|_| false), async || ()));
    match admitting.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}
