//! What is done for mail that is submitted, and asked of it (RFC 6409 section 8), while its header section is in memory.

use crate::config::{AuthorCheck, Duties};
use crate::mail::author;
use crate::mail::header::{self, Edit};
use crate::mail::trace;
use crate::policy::reason::Reason;
use crate::time::UnixMillis;

/// What is known of whoever brings a message.
pub struct Submitted<'a> {
    /// When.
    pub now: UnixMillis,
    /// What no other message has.
    pub unique: u64,
    /// Our name.
    pub hostname: &'a str,
    /// The reverse path.
    pub sender: &'a [u8],
    /// Whether it may write as an address.
    pub may_send_as: &'a dyn Fn(&[u8]) -> bool,
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The reply, line end included.
    pub reply: String,
    /// In a word.
    pub reason: Reason,
}

/// What a header section says to who has these duties.
#[derive(Default)]
struct Found<'a> {
    edit: Edit,
    from: Option<&'a [u8]>,
    /// In which line the second From is.
    second: Option<usize>,
    has_date: bool,
    has_id: bool,
    is_signed: bool,
}

impl<'a> Found<'a> {
    fn read(section: &'a [u8], mailbox_line: bool, duties: Duties) -> Found<'a> {
        let mut found = Found::default();
        for field in header::fields(section, mailbox_line) {
            let whole = field.start..field.end;
            match field.name.len() {
                _ if duties.remove_bcc && is_bcc(field.name) => found.edit.remove.push(whole),
                4 if field.is("from") && found.from.is_some() => {
                    let line = 1 + memchr::memchr_iter(b'\n', &section[..field.start]).count();
                    found.second.get_or_insert(line);
                }
                4 if field.is("from") => found.from = Some(field.value),
                4 if field.is("date") => found.has_date = true,
                10 if field.is("message-id") => found.has_id = true,
                14 if field.is("dkim-signature") => found.is_signed = true,
                _ => {}
            }
        }
        found
    }
}

/// Whether it names whom nobody else is to see, whatever stands between its letters that nobody sees either: a byte order mark, blanks.
fn is_bcc(name: &[u8]) -> bool {
    let is = |name: &[u8]| name.eq_ignore_ascii_case(b"bcc") || name.eq_ignore_ascii_case(b"resent-bcc");
    if name.iter().all(u8::is_ascii_graphic) {
        return is(name);
    }
    // Longer than any that could be meant is none.
    let mut letters = [0; 11];
    let seen = name.iter().filter(|byte| byte.is_ascii_graphic());
    let length = letters.iter_mut().zip(seen).map(|(to, from)| *to = *from).count();
    is(&letters[..length])
}

/// In which line a Bcc field stands that a program took for one of the header section, where there is none: the message begins with an empty line, or
/// with one that is no field, so that all of it is body.
fn stray_bcc(message: &[u8], mailbox_line: bool) -> Option<usize> {
    let mut begun = false;
    // The line of a mailbox file is none of the message.
    let lines = message.split(|byte| *byte == b'\n').enumerate();
    for (line, text) in lines.skip(usize::from(mailbox_line)) {
        let text = text.trim_ascii();
        if text.is_empty() && begun {
            break;
        }
        begun |= !text.is_empty();
        let name = memchr::memchr(b':', text).map(|colon| &text[..colon]);
        if name.is_some_and(is_bcc) {
            return Some(line + 1);
        }
    }
    None
}

/// What is to be changed in the header section of a message, of which so many bytes are that, or why the message is refused.
pub fn mend(
    (message, length): (&[u8], usize),
    mailbox_line: bool,
    duties: Duties,
    by: &Submitted<'_>,
) -> Result<Edit, Unfit> {
    let section = &message[..length];
    let is_empty = header::fields(section, mailbox_line).next().is_none();
    if let Some(line) = Some(message)
        .filter(|_| is_empty && duties.remove_bcc)
        .and_then(|message| stray_bcc(message, mailbox_line))
    {
        let reply = format!(
            "554 5.6.0 There is a Bcc field at line {line}, but no header section that it could be taken out of: the message begins with an empty line, or with one that is no field (RFC 5322 section 2.1)\r\n"
        );
        return Err(Unfit { reply, reason: Reason::Content });
    }
    let Found { mut edit, from, second, has_date, has_id, is_signed } =
        Found::read(section, mailbox_line, duties);
    if let Some(line) = second.filter(|_| duties.one_from) {
        let reply =
            format!("554 5.6.0 There is a second From field at line {line} (RFC 5322 section 3.6)\r\n");
        return Err(Unfit { reply, reason: Reason::Content });
    }
    if duties.author != AuthorCheck::Any && !is_own(from, second, by) {
        if duties.author == AuthorCheck::Refuse {
            let reply = "550 5.7.1 This account may not write as who is in From (RFC 6409 section 6.1)\r\n";
            return Err(Unfit { reply: reply.to_owned(), reason: Reason::SenderDenied });
        }
        says_who_sent(section, mailbox_line, by, &mut edit);
    }
    // What somebody signed gets nothing more: that it had no such field may be what was signed (RFC 6376 section 5.4.2).
    if duties.add_missing && !is_signed {
        add_missing(&mut edit.add, (has_date, has_id), (by.now, by.unique, by.hostname));
    }
    Ok(edit)
}

/// Whether all authors are addresses that the account may send as. A From that is not there, is empty, or cannot be read without a doubt, is nobody's.
fn is_own(from: Option<&[u8]>, second: Option<usize>, by: &Submitted<'_>) -> bool {
    let authors = from.filter(|_| second.is_none()).and_then(author::authors);
    authors.is_some_and(|all| !all.is_empty() && all.iter().all(|author| (by.may_send_as)(author.address())))
}

/// RFC 6409 section 8.1, RFC 5322 section 3.6.2: the reverse path, which the account may send as, in place of whom the message says.
fn says_who_sent(section: &[u8], mailbox_line: bool, by: &Submitted<'_>, edit: &mut Edit) {
    // What would break the line, or be read as something else, is no address that an account is bound to.
    if by.sender.is_empty() || !by.sender.iter().all(u8::is_ascii_graphic) {
        return;
    }
    let senders = header::fields(section, mailbox_line).filter(|field| field.is("sender"));
    edit.remove.extend(senders.map(|field| field.start..field.end));
    edit.remove.sort_unstable_by_key(|range| range.start);
    edit.add.extend_from_slice(b"Sender: <");
    edit.add.extend_from_slice(by.sender);
    edit.add.extend_from_slice(b">\r\n");
}

/// Date and Message-ID (RFC 6409 sections 8.2 and 8.3), where they are not there; of a message that came now, with a number that no other has.
pub fn add_missing(
    out: &mut Vec<u8>,
    (has_date, has_id): (bool, bool),
    (now, unique, hostname): (UnixMillis, u64, &str),
) {
    if !has_date {
        out.extend_from_slice(b"Date: ");
        trace::write_date(out, now);
        out.extend_from_slice(b"\r\n");
    }
    if !has_id {
        let id = format!("Message-ID: <{:x}.{unique:016x}@{hostname}>\r\n", now.0);
        out.extend_from_slice(id.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The section as it becomes, or the reply with which it is refused.
    fn mended(section: &str, duties: Duties) -> Result<String, String> {
        let may_send_as = |address: &[u8]| address.ends_with(b"@own.example");
        let by = Submitted {
            now: UnixMillis(1_700_000_000_000),
            unique: 7,
            hostname: "relay.example",
            sender: b"bob@own.example",
            may_send_as: &may_send_as,
        };
        let mut text = section.as_bytes().to_vec();
        let edit = mend((&text, text.len()), false, duties, &by).map_err(|unfit| unfit.reply)?;
        let length = edit.apply(&mut text, section.len(), false);
        assert_eq!(length, text.len());
        Ok(String::from_utf8(text).expect("text"))
    }

    const DATE: &str = "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n";
    const ID: &str = "Message-ID: <18bcfe56800.0000000000000007@relay.example>\r\n";

    #[test]
    fn what_is_missing_is_added() {
        let add = Duties { add_missing: true, ..Duties::NONE };
        let mended = |section: &str| mended(section, add).unwrap();
        assert_eq!(mended("From: a@b\r\n\r\n"), format!("{DATE}{ID}From: a@b\r\n\r\n"));
        assert_eq!(mended("date: x\r\n\r\n"), format!("{ID}date: x\r\n\r\n"));
        assert_eq!(mended("Message-Id : x\r\n\r\n"), format!("{DATE}Message-Id : x\r\n\r\n"));
        assert_eq!(mended(""), format!("{DATE}{ID}\r\n"));
        for left in ["Date: x\r\nMessage-ID: y\r\n\r\n", "DKIM-Signature: v=1\r\n\r\n"] {
            assert_eq!(mended(left), left);
        }
    }

    /// A message that has no header section, as its first line is no field, has a Bcc in what all see.
    #[test]
    fn bcc_that_cannot_go_is_refused() {
        let remove = Duties { remove_bcc: true, ..Duties::NONE };
        let of = |text: &str, length: usize, duties: Duties| {
            let mailbox_line = text.starts_with("From ");
            let by = Submitted {
                now: UnixMillis(0),
                unique: 7,
                hostname: "relay.example",
                sender: b"",
                may_send_as: &|_| true,
            };
            mend((text.as_bytes(), length), mailbox_line, duties, &by).map_err(|unfit| unfit.reply)
        };
        for (text, length, line) in [
            ("\u{feff}From: a@b\r\nBcc: c@d\r\n\r\nx\r\n", 0, 2),
            ("\u{feff}Bcc: c@d\r\n\r\nx\r\n", 0, 1),
            (" Bcc: c@d\r\nFrom: a@b\r\n\r\nx\r\n", 0, 1),
            ("no field\r\n\tresent-bcc : c@d\r\n", 0, 2),
            ("\r\n\r\nFrom: a@b\r\nBCC: c@d\r\n\r\nx\r\n", 2, 4),
            ("\r\nBcc: c@d", 2, 2),
            ("From x@y\r\n\r\nBcc: c@d\r\n", 12, 3),
        ] {
            let refused = of(text, length, remove).unwrap_err();
            assert!(
                refused.contains(&format!("554 5.6.0 There is a Bcc field at line {line},")),
                "{refused}"
            );
            assert_eq!(of(text, length, Duties::NONE), Ok(Edit::default()), "{text}");
        }
        // Nothing that a program would have meant as its header.
        for (text, length) in [
            ("Hello,\r\n\r\nBcc: is a field\r\n", 0),
            ("\r\nHello,\r\n \r\nBcc: is a field\r\n", 2),
            ("To: x\r\n\r\nBcc: is a field\r\n", 9),
            ("", 0),
        ] {
            assert_eq!(of(text, length, remove), Ok(Edit::default()), "{text}");
        }
    }

    #[test]
    fn bcc_goes() {
        let remove = Duties { remove_bcc: true, ..Duties::NONE };
        let section = "To: x\r\nBCC : a@b,\r\n c@d\r\nResent-Bcc: e@f\r\nX-Bcc: g\r\nBcc:\r\n\r\n";
        assert_eq!(mended(section, remove).unwrap(), "To: x\r\nX-Bcc: g\r\n\r\n");
        // What nobody sees does not hide it.
        let section = "To: x\r\n\u{feff}Bcc: a\r\nB\u{200b}cc: b\r\nBcc\u{a0}: c\r\nno field\r\nRESENT-BCC\t: d\r\nBccs: e\r\nBcc-Bcc-Bcc-Bcc\u{a0}: f\r\n\r\n";
        let left = "To: x\r\nno field\r\nBccs: e\r\nBcc-Bcc-Bcc-Bcc\u{a0}: f\r\n\r\n";
        assert_eq!(mended(section, remove).unwrap(), left);
        assert_eq!(mended(section, Duties::NONE).unwrap(), section);
    }

    #[test]
    fn one_from_is_enough() {
        let one = Duties { one_from: true, ..Duties::NONE };
        let reply = mended("From: a@b\r\n (c)\r\nTo: x\r\nfrom: c@d\r\nFrom: e@f\r\n\r\n", one).unwrap_err();
        assert!(reply.starts_with("554 5.6.0 ") && reply.contains("at line 4 (RFC 5322"), "{reply}");
        for good in ["From: a@b, c@d\r\n\r\n", "To: x\r\n\r\n"] {
            assert_eq!(mended(good, one).unwrap(), good);
        }
    }

    #[test]
    fn authors_are_the_accounts() {
        let refuse = Duties { author: AuthorCheck::Refuse, ..Duties::NONE };
        let sender = Duties { author: AuthorCheck::Sender, ..Duties::NONE };
        for own in ["From: Bob <bob@own.example>\r\n\r\n", "From: a@own.example, b@OWN.example\r\n\r\n"] {
            assert_eq!(
                (mended(own, refuse).unwrap(), mended(own, sender).unwrap()),
                (own.into(), own.into())
            );
        }
        for foreign in [
            "From: ann@other.example\r\n\r\n",
            "From: bob@own.example, ann@other.example\r\n\r\n",
            "From: \"bob@own.example\" <ann@other.example>\r\n\r\n",
            "From: bob@own.example\r\nFrom: bob@own.example\r\n\r\n",
            "From: <bob@own.example> x\r\n\r\n",
            "From: ann@other.example <bob@own.example>\r\n\r\n",
            "From:\r\n\r\n",
            "To: x\r\n\r\n",
        ] {
            assert!(mended(foreign, refuse).unwrap_err().starts_with("550 5.7.1 "), "{foreign}");
            assert_eq!(mended(foreign, sender).unwrap(), format!("Sender: <bob@own.example>\r\n{foreign}"));
        }
        let forged = "Sender: ann@other.example\r\nFrom: ann@other.example\r\nBcc: x\r\nsender: y\r\n\r\n";
        let both = Duties { remove_bcc: true, ..sender };
        let mended = mended(forged, both).unwrap();
        assert_eq!(mended, "Sender: <bob@own.example>\r\nFrom: ann@other.example\r\n\r\n");
    }
}
