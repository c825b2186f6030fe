//! What was said in a transaction, told again from what is known of it: of replies that were good only the code.

use super::{Transaction, Verdict};
use crate::smtp::reply::Reply;

/// Whether somebody's mail was not taken.
pub fn has_failed(of: &Transaction<'_>) -> bool {
    of.decided.any(|verdict| !matches!(verdict, Verdict::Delivered(_)))
}

/// Line by line, at most so many: what we said behind `> `, what the hop said behind `< `, and our words of what went wrong behind `* `.
pub fn dialogue(of: &Transaction<'_>, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut out = Vec::new();
    of.mail.write(&mut out);
    lines.push(said(&out));
    if of.unbegun || of.put_off || of.mail_failed {
        lines.extend(of.verdict(0).map(|(_, reply)| heard(reply)));
        return lines;
    }
    lines.push("< 250".to_owned());
    // Who was taken at RCPT was decided by the last reply of all.
    let last = of.decided.last().filter(|_| of.accepted > 0);
    for (place, recipient) in of.recipients.iter().enumerate() {
        if lines.len() + 6 > most {
            lines.push(format!("* and {} recipients more", of.recipients.len() - place));
            break;
        }
        out.clear();
        of.mail.write_rcpt(recipient, place, &mut out);
        lines.push(said(&out));
        let own = of.verdict(place).map(|(_, reply)| reply);
        let own = own.filter(|own| last.is_none_or(|last| !std::ptr::eq(*own, last)));
        lines.push(own.map_or_else(|| "< 250".to_owned(), heard));
    }
    if let Some(last) = last {
        lines.push("> DATA".to_owned());
        if of.in_step {
            lines.extend(["< 354".to_owned(), "> .".to_owned()]);
        }
        lines.push(heard(last));
    }
    lines
}

fn said(command: &[u8]) -> String {
    format!("> {}", String::from_utf8_lossy(command).trim_end())
}

fn heard(reply: &Reply) -> String {
    format!("{} {}", if reply.ours { '*' } else { '<' }, reply.describe())
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Capabilities, NextStep, Recipients};
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        let mut reply = super::super::local(code, (4, 0, 0), text);
        (reply.ours, reply.enhanced) = (false, None);
        reply
    }

    /// What is told when the hop said these.
    fn told(recipients: &[&'static [u8]], replies: &[(u16, &str)], most: usize) -> Vec<String> {
        let capabilities = Capabilities { pipelining: true, ..Capabilities::default() };
        let all: Recipients<'_> = recipients.iter().copied().collect();
        let mut transaction =
            Transaction::new(&capabilities, b"a@b.example", all, 10, Body::default()).unwrap();
        transaction.write_commands(&mut Vec::new());
        for (code, text) in replies {
            let step = transaction.on_reply(reply(*code, text));
            assert!(!matches!(step, NextStep::Done) || transaction.verdict(0).is_some());
        }
        if !transaction.is_decided() {
            transaction.on_failure("the connection broke");
        }
        assert!(has_failed(&transaction));
        dialogue(&transaction, most)
    }

    #[test]
    fn a_dialogue_is_told_again() {
        let two: &[&[u8]] = &[b"x@d.example", b"y@d.example"];
        assert_eq!(
            told(two, &[(250, "ok"), (250, "ok"), (550, "no such user"), (354, "go"), (451, "later")], 24),
            [
                "> MAIL FROM:<a@b.example>",
                "< 250",
                "> RCPT TO:<x@d.example>",
                "< 250",
                "> RCPT TO:<y@d.example>",
                "< 550 no such user",
                "> DATA",
                "< 354",
                "> .",
                "< 451 later"
            ]
        );
        assert_eq!(
            told(two, &[(450, "greylisted")], 24)[..2],
            ["> MAIL FROM:<a@b.example>", "< 450 greylisted"]
        );
        let broke = told(two, &[(250, "ok"), (250, "ok")], 24);
        assert_eq!(broke[2..4], ["> RCPT TO:<x@d.example>", "< 250"]);
        assert!(
            broke.last().unwrap().starts_with("* ") && broke.last().unwrap().contains("broke"),
            "{broke:?}"
        );
        let many = [&b"x@d.example"[..]; 40];
        let told = told(&many, &[(250, "ok")], 24);
        assert!(told.len() <= 24 && told.iter().any(|line| line.ends_with("recipients more")), "{told:?}");
    }
}
