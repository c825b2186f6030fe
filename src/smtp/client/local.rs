//! What the relay says in place of a next hop.

use crate::smtp::reply::Reply;

/// What those are told of whom nobody knows what the hop said.
pub(super) const SURPLUS: &str = "the next hop sent more replies than it was sent commands";

/// A reply of our own making, for what the next hop never said.
pub fn local(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply { code, enhanced: Some(enhanced), text: text.to_owned(), lines: Vec::new(), odd: false, ours: true }
}
