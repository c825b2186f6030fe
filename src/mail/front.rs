//! What goes out in front of a message. Its body is sent as it was stored, so all that the relay adds is added here.

use crate::id::MessageId;
use crate::mail::envelope::OriginRef;
use crate::mail::trace::{self, MAILBOX_FIELD};
use crate::time::UnixMillis;

/// What that is made of.
#[derive(Clone, Copy, Debug)]
pub struct Front<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// The message.
    pub id: MessageId,
    /// How it came in.
    pub origin: OriginRef<'a>,
    /// When.
    pub arrival: UnixMillis,
    /// The only recipient of the envelope; None: there are several.
    pub recipient: Option<&'a [u8]>,
    /// Our signatures, or what was found of a stranger's mail: whole fields. A body that is changed on its way out goes without signatures: they would not
    /// hold.
    pub signatures: &'a [u8],
    /// It has text, and no header section before it.
    pub is_headless: bool,
    /// It begins with the `From ` line of a mailbox file.
    pub mailbox_line: bool,
}

impl Front<'_> {
    /// Appends the fields that are added, and what keeps the message itself from being read as more of them.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let Front { hostname, id, origin, arrival, recipient, signatures, is_headless, mailbox_line } = *self;
        trace::write_received(out, origin, hostname, id, arrival, recipient);
        out.extend_from_slice(signatures);
        if is_headless {
            // It begins with white space, which would be read as more of our field (RFC 5322 2.2.3), or with another line that is no field.
            out.extend_from_slice(b"\r\n");
        } else if mailbox_line {
            // What is a line of a mailbox file becomes a field, for it stands in front of a header section.
            out.extend_from_slice(MAILBOX_FIELD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::WithProtocol;

    #[test]
    fn a_message_is_told_from_what_is_put_before_it() {
        let origin = OriginRef { client: None, helo: "", protocol: WithProtocol::Smtp, tls: None };
        let front = Front {
            hostname: "relay.example",
            id: MessageId { lane: 1, sequence: 2, offset: 4096 },
            origin,
            arrival: UnixMillis(0),
            recipient: None,
            signatures: b"",
            is_headless: false,
            mailbox_line: false,
        };
        let written = |front: Front<'_>| {
            let mut out = Vec::new();
            front.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let plain = written(front);
        assert!(plain.starts_with("Received: by relay.example") && plain.ends_with("+0000\r\n"), "{plain}");
        assert_eq!(written(Front { is_headless: true, ..front }), format!("{plain}\r\n"));
        assert_eq!(written(Front { mailbox_line: true, ..front }), format!("{plain}X-Mailbox-Line: "));
        let signed = Front { signatures: b"DKIM-Signature: v=1\r\n", mailbox_line: true, ..front };
        assert_eq!(written(signed), format!("{plain}DKIM-Signature: v=1\r\nX-Mailbox-Line: "));
    }
}
