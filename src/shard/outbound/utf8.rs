//! Recipients in UTF-8 (RFC 6531): a hop without SMTPUTF8 is told of none, and has the message for the others.

use crate::smtp::client::Capabilities;
use crate::spool::record::MessageView;

/// Of recipients in a row, how many go to a hop in one transaction: where it offers no SMTPUTF8, those in UTF-8 are none of its.
pub(super) fn alike(offered: &Capabilities, view: &MessageView<'_>, (first, most): (u16, u16)) -> u16 {
    if offered.utf8 || !view.needs.utf8.is_asked() {
        return most;
    }
    let mut all = kinds(view, (first, most));
    let Some(kind) = all.next() else { return most };
    1 + all.take_while(|other| *other == kind).count() as u16
}

/// Whether a hop may be told of these recipients.
pub(super) fn may_name(offered: &Capabilities, view: &MessageView<'_>, some: (u16, u16)) -> bool {
    offered.utf8 || !view.needs.utf8.is_asked() || kinds(view, some).all(|is_ascii| is_ascii)
}

/// Whether only a look at its parts tells whether a hop may have the message: the header fields of each of them must be in ASCII, too (RFC 6531
/// section 3.2).
pub(super) fn is_doubtful(offered: &Capabilities, view: &MessageView<'_>) -> bool {
    let utf8 = view.needs.utf8;
    !offered.utf8 && utf8.is_asked() && !utf8.is_needed() && view.needs.eight_bit
}

/// Whether each of them is in ASCII.
fn kinds(view: &MessageView<'_>, (first, count): (u16, u16)) -> impl Iterator<Item = bool> {
    let some = view.recipients().skip(usize::from(first)).take(usize::from(count));
    some.map(|(address, _)| address.is_ascii())
}
