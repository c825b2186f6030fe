//! The commands of a transaction that carry something.

use crate::mail::envelope::Needs;
use crate::time::write_decimal;

/// What the body is like on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// What the hop is told that it needs, and must offer.
    pub needs: Needs,
    /// Parts of it are encoded on the way: nobody knows yet how long it will be.
    pub encoded: bool,
}

/// What MAIL says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mail<'a> {
    pub(super) sender: &'a [u8],
    /// Where the hop offers SIZE.
    pub(super) size: Option<u64>,
    pub(super) needs: Needs,
}

impl Mail<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(self.sender);
        out.push(b'>');
        if let Some(size) = self.size {
            out.extend_from_slice(b" SIZE=");
            write_decimal(size, 1, out);
        }
        if self.needs.eight_bit {
            out.extend_from_slice(b" BODY=8BITMIME");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// RCPT, of a forward path without angle brackets.
pub(super) fn write_rcpt(recipient: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"RCPT TO:<");
    out.extend_from_slice(recipient);
    out.extend_from_slice(b">\r\n");
}
