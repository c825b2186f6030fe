//! What the relay says in place of a next hop.

use crate::smtp::reply::Reply;

/// A reply of our own making, for what the next hop never said.
pub fn local(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply { code, enhanced: Some(enhanced), text: text.to_owned(), lines: Vec::new(), odd: false, ours: true }
}
