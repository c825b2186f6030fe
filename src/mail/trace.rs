//! The Received field (RFC 5321 4.4): what the relay adds to a message, and all it adds.

use crate::mail::envelope::Protocol;
use crate::spool::record::MessageView;

/// Appends the field for a copy that goes to `recipient`, or to several (then without a `for` clause, which would tell
/// one recipient of the others).
pub fn write_received(
    out: &mut Vec<u8>,
    message: &MessageView<'_>,
    hostname: &str,
    recipient: Option<&[u8]>,
) {
    out.extend_from_slice(b"Received: from ");
    word(message.helo.as_bytes(), out);
    if let Some(client) = message.client {
        out.extend_from_slice(b" (");
        let ip = client.ip().to_canonical();
        if ip.is_ipv6() {
            out.extend_from_slice(b"[IPv6:");
        } else {
            out.push(b'[');
        }
        out.extend_from_slice(ip.to_string().as_bytes());
        out.extend_from_slice(b"])");
    }
    out.extend_from_slice(b"\r\n\tby ");
    out.extend_from_slice(hostname.as_bytes());
    out.extend_from_slice(b" (relevo) with ");
    out.extend_from_slice(keyword(message.protocol).as_bytes());
    out.extend_from_slice(b" id ");
    out.extend_from_slice(&message.id.to_text());
    if let Some(tls) = message.tls {
        out.extend_from_slice(b"\r\n\t(");
        word(tls.as_bytes(), out);
        out.push(b')');
    }
    if let Some(recipient) = recipient {
        out.extend_from_slice(b"\r\n\tfor <");
        word(recipient, out);
        out.push(b'>');
    }
    out.extend_from_slice(b";\r\n\t");
    message.arrival.write_rfc5322(out);
    out.extend_from_slice(b"\r\n");
}

/// The `with` keyword (RFC 3848).
fn keyword(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "SMTP",
        Protocol::Esmtp => "ESMTP",
        Protocol::Esmtps => "ESMTPS",
        Protocol::Esmtpa => "ESMTPA",
        Protocol::Esmtpsa => "ESMTPSA",
    }
}

/// Outside text in a field of ours: what could end the field or a comment becomes a question mark.
fn word(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.iter().map(|byte| match byte {
        b' '..=b'~' if !matches!(byte, b'(' | b')' | b';' | b'\\') => *byte,
        _ => b'?',
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_ends_the_field() {
        let mut out = Vec::new();
        word(b"a)\r\nX: y;\\(\xff", &mut out);
        assert_eq!(out, b"a???X: y????");
    }
}
