//! What is known of a captured message without reading it again: who, what about, how it begins, and what is searched. It is by anybody, so that all of it is
//! bounded, and as many messages within messages as somebody likes.

use mail_parser::{Addr, Address, Message, MessageParser, MimeHeaders, PartType};
use serde_json::{Value, json};

use crate::limits;
use crate::mail::header::cut;

/// A name and an address; either may be empty.
pub(super) type Person = (String, String);

/// What is known of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub(super) from: Vec<Person>,
    pub(super) to: Vec<Person>,
    pub(super) cc: Vec<Person>,
    pub(super) bcc: Vec<Person>,
    pub(super) reply_to: Vec<Person>,
    pub(super) subject: String,
    /// Without brackets.
    pub(super) message_id: String,
    /// Parts to be kept by who gets it.
    pub(super) attachments: usize,
    /// Parts that its HTML shows.
    pub(super) inlines: usize,
    /// The front of its text.
    pub(super) body: String,
}

impl Summary {
    /// Never fails: of what is no mail little is known.
    pub fn read(bytes: &[u8]) -> Summary {
        parsed(bytes, Summary::of).unwrap_or_default()
    }

    fn of(message: &Message<'_>) -> Summary {
        let mut body = String::new();
        for place in 0..message.text_body_count() {
            let left = limits::SANDBOX_INDEXED.saturating_sub(body.len());
            let Some(text) = message.body_text(place).filter(|_| left > 0) else { break };
            body.push_str(cut(&text, left));
            body.push('\n');
        }
        let inlines = message.attachments().filter(|part| is_inline(part)).count();
        Summary {
            from: people(message.from()),
            to: people(message.to()),
            cc: people(message.cc()),
            bcc: people(message.bcc()),
            reply_to: people(message.reply_to()),
            subject: line(message.subject().unwrap_or_default()),
            message_id: line(message.message_id().unwrap_or_default()),
            attachments: message.attachment_count() - inlines,
            inlines,
            body,
        }
    }

    /// How it begins, in one line.
    fn snippet(&self) -> String {
        let mut line = String::new();
        for word in self.body.split_whitespace() {
            if line.len() > limits::SANDBOX_SNIPPET {
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        cut(&line, limits::SANDBOX_SNIPPET).to_owned()
    }

    /// What a list shows of it.
    pub(super) fn fields(&self) -> String {
        let all = |people: &[Person]| -> Vec<Value> {
            people.iter().map(|(name, address)| json!({"Name": name, "Address": address})).collect()
        };
        json!({
            "From": all(&self.from).into_iter().next(),
            "To": all(&self.to),
            "Cc": all(&self.cc),
            "Bcc": all(&self.bcc),
            "ReplyTo": all(&self.reply_to),
            "Subject": self.subject,
            "MessageID": self.message_id,
            "Snippet": self.snippet(),
        })
        .to_string()
    }

    /// People as text that is searched.
    pub(super) fn searched(people: &[Person]) -> String {
        people.iter().map(|(name, address)| format!("{name} <{address}>\n")).collect()
    }
}

/// A part that the HTML of its message shows.
pub(super) fn is_inline(part: &mail_parser::MessagePart<'_>) -> bool {
    let disposition = part.content_disposition().map(|of| of.ctype());
    part.content_id().is_some() && !disposition.is_some_and(|of| of.eq_ignore_ascii_case("attachment"))
}

fn people(address: Option<&Address<'_>>) -> Vec<Person> {
    let of = |text: &Option<std::borrow::Cow<'_, str>>| line(text.as_deref().unwrap_or_default());
    let one = |addr: &Addr<'_>| (of(&addr.name), of(&addr.address));
    address.map_or_else(Vec::new, |all| all.iter().take(limits::SANDBOX_PEOPLE).map(one).collect())
}

/// Without what is no text, and not too long.
fn line(text: &str) -> String {
    cut(text, limits::SANDBOX_LINE).chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// What is asked of a message. None: it is none.
pub(super) fn parsed<T>(bytes: &[u8], ask: impl FnOnce(&Message<'_>) -> T) -> Option<T> {
    let message = MessageParser::default().parse(bytes)?;
    let answer = ask(&message);
    // One inside the other, thousands deep, they would take as much stack.
    let mut left = vec![message];
    while let Some(mut message) = left.pop() {
        for part in message.parts.drain(..) {
            if let PartType::Message(inner) = part.body {
                left.push(inner);
            }
        }
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_fields_and_its_text() {
        let text = "From: =?utf-8?q?Ad=C3=A9?= <ada@a.example>\r\nTo: b@b.example, \"C, D\" <c@c.example>\r\nBcc: z@z.example\r\n\
                    Subject: =?utf-8?b?w5xiZXI=?=\r\n a line\r\nMessage-ID: <1@a.example>\r\nMIME-Version: 1.0\r\n\
                    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Hello   <b>you</b></p>\r\n\
                    --b\r\nContent-Type: image/png\r\nContent-ID: <i>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n\
                    --b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nx\r\n--b--\r\n";
        let read = Summary::read(text.as_bytes());
        assert_eq!(read.from, [("Adé".to_owned(), "ada@a.example".to_owned())]);
        assert_eq!((read.to.len(), &read.to[1].0[..], &read.to[1].1[..]), (2, "C, D", "c@c.example"));
        assert_eq!((&read.subject[..], &read.message_id[..]), ("Über a line", "1@a.example"));
        assert_eq!((read.attachments, read.inlines), (1, 1));
        assert_eq!(read.snippet(), "Hello you");
        let fields: Value = serde_json::from_str(&read.fields()).unwrap();
        assert_eq!(fields["From"]["Address"], "ada@a.example");
    }

    #[test]
    fn what_is_no_mail_is_taken_as_it_is() {
        for text in [&b""[..], b"\r\n", b"\xff\xfe\0\0", b"no header section at all", b"From: \r\n"] {
            let _ = Summary::read(text).fields();
        }
        let long = Summary::read(
            format!("Subject: {}\r\n\r\n{}", "é".repeat(5000), "wörd ".repeat(100_000)).as_bytes(),
        );
        assert!(long.subject.len() <= limits::SANDBOX_LINE && long.body.len() <= limits::SANDBOX_INDEXED + 1);
        assert!(long.snippet().len() <= limits::SANDBOX_SNIPPET);
    }

    /// By their own number they would overrun the stack of a thread.
    #[test]
    fn messages_in_messages_are_no_trouble() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
        let _ = Summary::read(deep.as_bytes());
        let mut text = String::new();
        for level in 0..3000 {
            text += &format!("Content-Type: multipart/digest; boundary=b{level}\r\n\r\n--b{level}\r\n\r\n");
        }
        let _ = Summary::read(text.as_bytes());
    }
}
