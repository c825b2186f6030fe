//! What next hops say, and what the client side makes of it.

use relevo::limits;
use relevo::mail::envelope::Needs;
use relevo::smtp::client::{Body, Capabilities, NextStep, Timeouts, Transaction, Verdict};
use relevo::smtp::reply::{HostileReply, Reply, ReplyReader};

use super::input::{Input, splits};

/// Reads all replies, cut in some way.
fn read(pieces: &[&[u8]]) -> (Vec<Reply>, Option<HostileReply>) {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match reader.read(rest) {
                Err(error) => return (replies, Some(error)),
                Ok((used, reply)) => {
                    assert!(used > 0 && (used == rest.len() || reply.is_some()), "the reader stands still");
                    rest = &rest[used..];
                    replies.extend(reply);
                }
            }
        }
    }
    (replies, None)
}

fn assert_reply(reply: &Reply) {
    assert!((200..600).contains(&reply.code));
    assert!(reply.enhanced.is_none_or(|(class, subject, detail)| {
        u16::from(class) == reply.code / 100 && subject < 1000 && detail < 1000
    }));
    assert!(reply.text.len() <= limits::REPLY_TEXT_MAX);
    assert!((1..=limits::REPLY_LINES_MAX).contains(&reply.lines.len()));
    for text in reply.lines.iter().chain([&reply.text, &reply.describe(), &reply.status()]) {
        assert!(text.len() <= limits::REPLY_LINE_MAX);
        assert!(text.bytes().all(|byte| (32..127).contains(&byte)), "{text:?}");
    }
    assert!(!(reply.is_positive() && reply.is_permanent()));
    let _ = Capabilities::of_ehlo(reply);
}

/// Replies do not depend on how they were cut, and keep their bounds.
pub fn reply(data: &[u8]) {
    let mut input = Input(data);
    let choices = input.piece(8);
    let ways = splits(input.0, choices);
    let whole = read(&ways[0]);
    for reply in &whole.0 {
        assert_reply(reply);
    }
    for way in &ways[1..] {
        assert_eq!(read(way), whole);
    }
}

/// A transaction against arbitrary replies: it ends, everybody has a verdict, and nobody is delivered to but by a positive
/// reply to a body that was sent.
pub fn client(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let capabilities = Capabilities {
        pipelining: flags & 1 != 0,
        eight_bit: flags & 2 != 0,
        starttls: false,
        size: (flags & 4 != 0).then_some(u64::from(input.byte())),
        ..Capabilities::default()
    };
    let eight_bit = flags & 8 != 0;
    let body = Body { needs: Needs { eight_bit, ..Needs::default() }, encoded: false };
    let size = u64::from(input.byte());
    let count = input.below(5) + 1;
    let names: Vec<String> = (0..count).map(|number| format!("r{number}@x.example")).collect();
    let recipients = names.iter().map(|name| name.as_bytes()).collect();
    let sender: &[u8] = if flags & 16 != 0 { b"" } else { b"a@b.example" };
    let transaction = Transaction::new(&capabilities, sender, recipients, size, body);
    let Ok(transaction) = transaction else {
        assert!(eight_bit && !capabilities.eight_bit || capabilities.size.is_some());
        return;
    };
    let (replies, _) = read(&[input.0]);
    converse(transaction, &capabilities, &names, replies);
}

/// What the hop has been told and has said, as a careful onlooker would write it down.
#[derive(Default)]
struct Onlooker {
    /// MAIL was taken.
    welcome: bool,
    /// Per recipient: the code of the answer to its RCPT.
    answers: Vec<u16>,
    body_sent: bool,
    /// The code of the answer to the body.
    last: Option<u16>,
    /// DATA was answered by 354 and what followed by anything.
    finished: bool,
}

fn converse(mut transaction: Transaction<'_>, with: &Capabilities, names: &[String], replies: Vec<Reply>) {
    let mut seen = Onlooker::default();
    let mut sent = Vec::new();
    transaction.write_commands(&mut sent);
    let mut over = false;
    // MAIL, a RCPT each, DATA, the end of data.
    let most = names.len() + 3;
    for (number, reply) in replies.into_iter().take(most).enumerate() {
        let code = reply.code;
        if (1..=names.len()).contains(&number) {
            seen.answers.push(code);
        }
        seen.welcome |= number == 0 && code / 100 == 2;
        let after_data = number == names.len() + 2;
        if after_data {
            seen.last = Some(code);
            seen.finished = code != 421;
        }
        let _ = (transaction.patience(&Timeouts::default()), transaction.awaiting());
        match transaction.on_reply(reply) {
            NextStep::AwaitReply => assert!(with.pipelining),
            NextStep::WriteCommands => {
                assert!(!with.pipelining);
                transaction.write_commands(&mut sent);
            }
            NextStep::AwaitAnswer => panic!("SMTP has one answer to a body"),
            NextStep::SendBody => {
                assert_eq!((number, code), (names.len() + 1, 354));
                assert!(seen.answers.iter().any(|answer| answer / 100 == 2), "a body for nobody");
                seen.body_sent = true;
            }
            NextStep::SendDot => assert!(code == 354 && with.pipelining && !seen.body_sent),
            NextStep::Done => {
                over = true;
                break;
            }
        }
        assert!(number + 1 < most, "it never ends");
    }
    if !over {
        transaction.on_failure("lost");
        seen.finished = false;
    }
    assert_commands(&sent);
    assert_verdicts(&transaction, &seen, names.len());
}

fn assert_commands(sent: &[u8]) {
    let sent = std::str::from_utf8(sent).expect("commands are ASCII");
    assert!(sent.starts_with("MAIL FROM:<") && sent.ends_with("\r\n"));
    for line in sent.split_terminator("\r\n") {
        assert!(!line.contains(['\r', '\n']));
        assert!(["MAIL FROM:<", "RCPT TO:<", "DATA"].iter().any(|verb| line.starts_with(verb)));
    }
}

fn assert_verdicts(transaction: &Transaction<'_>, seen: &Onlooker, count: usize) {
    for place in 0..count {
        let (verdict, reply) = transaction.verdict(place).expect("everybody has a verdict");
        let taken = seen.answers.get(place).is_some_and(|answer| answer / 100 == 2);
        let stored = seen.body_sent && seen.last.is_some_and(|last| last / 100 == 2);
        match verdict {
            Verdict::Delivered(_) => {
                assert!(taken && stored, "delivered to nobody's knowledge");
                assert!(reply.is_positive());
            }
            Verdict::Failed(_) => assert!(reply.is_permanent()),
            Verdict::Deferred(_) | Verdict::Later(_) => assert!(!reply.is_positive()),
        }
        // Its replies were no answers to what was asked: nobody is returned for them.
        if transaction.must_close() && reply.enhanced == Some((4, 5, 0)) {
            assert!(!(taken && stored), "taken, and not believed");
            continue;
        }
        if seen.welcome
            && let Some(answer) = seen.answers.get(place).filter(|answer| **answer != 421)
        {
            // RFC 5321 4.5.3.1.10: a 552 to RCPT is a 452; RFC 3463 X.5.3 is one whatever its code.
            let many = reply.enhanced.is_some_and(|(_, subject, detail)| (subject, detail) == (5, 3));
            let failed = answer / 100 == 5 && *answer != 552 && !many;
            assert!(taken || failed == matches!(verdict, Verdict::Failed(_)), "a {answer} was {verdict:?}");
        }
        assert!(!(taken && stored) || matches!(verdict, Verdict::Delivered(_)), "taken, and not believed");
    }
    assert!(transaction.verdict(count).is_none());
    // A hop that is in the middle of a transaction does not take the next MAIL (RFC 5321 4.1.4).
    let open = !seen.finished;
    assert!(!open || transaction.must_close() || transaction.needs_reset(), "RSET is owed");
}
