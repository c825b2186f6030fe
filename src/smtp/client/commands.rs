//! The commands of a transaction that carry something.

use smallvec::SmallVec;

use crate::limits;
use crate::mail::address::international;
use crate::mail::envelope::{Needs, TlsWish, Utf8};
use crate::mail::notify::{Asked, Ret};
use crate::smtp::client::capabilities::Capabilities;
use crate::time::write_decimal;

/// What the body is like on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// What the hop is told that it needs, and must offer.
    pub needs: Needs,
    /// Parts of it are encoded on the way: nobody knows yet how long it will be.
    pub encoded: bool,
}

/// What a hop that offers DSN is told that the sender wants to be told (RFC 3461 5.2.1).
#[derive(Clone, Debug, Default)]
pub struct Reports<'a> {
    /// RET
    pub ret: Option<Ret>,
    /// ENVID as MAIL has it.
    pub envid: Option<Vec<u8>>,
    /// NOTIFY and ORCPT of each recipient, by its place; behind the last, none.
    pub of: SmallVec<[Asked<'a>; limits::RECIPIENTS_INLINE]>,
}

impl Reports<'_> {
    /// Behind what else MAIL says.
    fn write_mail(&self, out: &mut Vec<u8>) {
        if let Some(ret) = self.ret {
            out.extend_from_slice(b" RET=");
            out.extend_from_slice(ret.word().as_bytes());
        }
        if let Some(envid) = &self.envid {
            out.extend_from_slice(b" ENVID=");
            out.extend_from_slice(envid);
        }
    }

    /// The same of RCPT. An ORCPT that did not come is not made up: the next hop has the address from the RCPT that would be in it, which never
    /// differs from the one that came (RFC 3461 5.2.1 d: it may be added).
    fn write_rcpt(&self, place: usize, out: &mut Vec<u8>) {
        let Asked { notify, original } = self.of.get(place).copied().unwrap_or_default();
        if !notify.is_unsaid() {
            out.extend_from_slice(b" NOTIFY=");
            notify.write(out);
        }
        if let Some(original) = original {
            out.extend_from_slice(b" ORCPT=");
            out.extend_from_slice(original);
        }
    }
}

/// What MAIL says.
#[derive(Clone, Debug)]
pub(super) struct Mail<'a> {
    pub(super) sender: &'a [u8],
    /// Where the hop offers SIZE.
    pub(super) size: Option<u64>,
    pub(super) needs: Needs,
    /// What the sender wants to be told, where the hop is to know.
    pub(super) reports: Option<Box<Reports<'a>>>,
}

impl<'a> Mail<'a> {
    /// With what the hop understands.
    pub(super) fn new(capabilities: &Capabilities, sender: &'a [u8], size: u64, body: Body) -> Mail<'a> {
        // RFC 1870 section 6: nothing is better than a wrong number.
        let size = capabilities.size.filter(|_| !body.encoded).map(|_| size);
        let tls = if capabilities.require_tls { body.needs.tls } else { TlsWish::Usual };
        let utf8 = if capabilities.utf8 { body.needs.utf8 } else { Utf8::default() };
        // RFC 6531 3.6: our own fields may have text in UTF-8 by now.
        let eight_bit = body.needs.eight_bit || utf8.is_asked() && capabilities.eight_bit;
        Mail { sender, size, needs: Needs { tls, utf8, eight_bit }, reports: None }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MAIL FROM:<");
        self.write_address(self.sender, out);
        out.push(b'>');
        if let Some(size) = self.size {
            out.extend_from_slice(b" SIZE=");
            write_decimal(size, 1, out);
        }
        if self.needs.eight_bit {
            out.extend_from_slice(b" BODY=8BITMIME");
        }
        if self.needs.utf8.is_asked() {
            out.extend_from_slice(b" SMTPUTF8");
        }
        if self.needs.tls == TlsWish::Required {
            out.extend_from_slice(b" REQUIRETLS");
        }
        if let Some(reports) = &self.reports {
            reports.write_mail(out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// An address, as a hop that offers SMTPUTF8 may have it as its client did.
    fn write_address(&self, address: &[u8], out: &mut Vec<u8>) {
        if self.needs.utf8.has_u_labels() {
            international::write_u_labels(address, out);
        } else {
            out.extend_from_slice(address);
        }
    }

    /// RCPT, of a forward path without angle brackets, at this place among the recipients.
    pub(super) fn write_rcpt(&self, recipient: &[u8], place: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RCPT TO:<");
        self.write_address(recipient, out);
        out.push(b'>');
        if let Some(reports) = &self.reports {
            reports.write_rcpt(place, out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::mail::notify::Notify;

    /// RFC 6531 3.2: a hop that offers it has addresses as they came, and 8-bit text with them; no other is told of it.
    #[test]
    fn a_hop_with_smtputf8_has_u_labels() {
        let mut utf8 = Utf8::OF_CLIENT;
        let written = |utf8, offered| {
            let capabilities = Capabilities { utf8: offered, eight_bit: true, ..Capabilities::default() };
            let body = Body { needs: Needs { utf8, ..Needs::default() }, encoded: false };
            let mail = Mail::new(&capabilities, b"a@xn--bcher-kva.example", 10, body);
            let mut out = Vec::new();
            mail.write(&mut out);
            mail.write_rcpt(b"b@xn--bcher-kva.example", 0, &mut out);
            String::from_utf8(out).unwrap()
        };
        let labels = "MAIL FROM:<a@xn--bcher-kva.example> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<b@xn--bcher-kva.example>\r\n";
        assert_eq!(written(utf8, true), labels, "as they came");
        utf8.came_in_u_labels();
        let came =
            "MAIL FROM:<a@b\u{fc}cher.example> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<b@b\u{fc}cher.example>\r\n";
        assert_eq!(written(utf8, true), came);
        let plain = "MAIL FROM:<a@xn--bcher-kva.example>\r\nRCPT TO:<b@xn--bcher-kva.example>\r\n";
        assert_eq!((written(utf8, false), written(Utf8::default(), true)), (plain.into(), plain.into()));
    }

    /// RFC 3461 5.2.1: what came goes on, each to its own recipient, and what did not come is not made up.
    #[test]
    fn what_the_sender_wants_to_be_told_goes_on() {
        let original = Some(&b"rfc822;Bob+2B@z"[..]);
        let asked = Asked { notify: Notify::parse(b"DELAY,SUCCESS").unwrap(), original };
        let never = Asked { notify: Notify::NEVER, original: None };
        let (envid, of) = (Some(b"Q+2B7".to_vec()), smallvec![asked, never]);
        let reports = Some(Box::new(Reports { ret: Some(Ret::Headers), envid, of }));
        let written = |reports| {
            let mail = Mail { sender: b"a@b", size: Some(10), needs: Needs::default(), reports };
            let mut out = Vec::new();
            mail.write(&mut out);
            (0..3).for_each(|place| mail.write_rcpt(b"x@z", place, &mut out));
            String::from_utf8(out).unwrap()
        };
        let mail = "MAIL FROM:<a@b> SIZE=10 RET=HDRS ENVID=Q+2B7\r\n";
        let first = "RCPT TO:<x@z> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2B@z\r\n";
        let rest = "RCPT TO:<x@z> NOTIFY=NEVER\r\nRCPT TO:<x@z>\r\n";
        assert_eq!(written(reports), format!("{mail}{first}{rest}"));
        assert_eq!(written(None), format!("MAIL FROM:<a@b> SIZE=10\r\n{}", "RCPT TO:<x@z>\r\n".repeat(3)));
    }
}
