//! Which event tells of which end, for whoever tells of one: at once, or again after a start.

use crate::observe::event::{Attempt, Event, Kind, Mail};
use crate::queue::outcome::Disposition;
use crate::time::UnixMillis;

/// What tells of some recipients with this end, be it new or read from a record; `due`: the Unix second in which those that are deferred are
/// tried again.
pub(in crate::shard) fn event_of<'a, D, R>(
    disposition: &Disposition<D, R>,
    mail: Mail<'a>,
    attempt: Attempt<'a>,
    due: impl FnOnce(&D) -> u32,
) -> Event<'a> {
    match disposition {
        Disposition::Delivered => Event::Delivered(mail, attempt),
        Disposition::Deferred(deferral) => {
            Event::Deferred(mail, attempt, UnixMillis(u64::from(due(deferral)) * 1000))
        }
        Disposition::Bounced(_) => Event::Bounced(mail, attempt),
        Disposition::Expired(_) => Event::Expired(mail, attempt),
        Disposition::Discarded => Event::Discarded(mail, attempt),
    }
}

/// The kind of that event.
pub(in crate::shard) fn kind_of<D, R>(disposition: &Disposition<D, R>) -> Kind {
    match disposition {
        Disposition::Delivered => Kind::Delivered,
        Disposition::Deferred(_) => Kind::Deferred,
        Disposition::Bounced(_) => Kind::Bounced,
        Disposition::Expired(_) => Kind::Expired,
        Disposition::Discarded => Kind::Discarded,
    }
}
