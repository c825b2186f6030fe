//! What the transactions of a site showed, for those that follow.

use std::cell::Cell;

use crate::limits;
use crate::time::Instant;

/// What a site showed of late.
#[derive(Debug)]
pub struct SiteHistory {
    /// It takes so many recipients in a transaction; until when that is believed.
    pub(super) recipients: Cell<(usize, Instant)>,
    /// It takes so many messages over a connection; until when that is believed.
    pub(super) messages: Cell<(usize, Instant)>,
    /// It took a message.
    pub(super) took_at: Cell<Option<Instant>>,
    /// So many messages went from one of its hosts to another with nothing counted; until when that is remembered.
    moved: Cell<(u32, Instant)>,
    /// Until when no commands go behind a body.
    alone_until: Cell<Instant>,
    /// So many new sessions in a row ended before anything came of them; and when it was last said that these are too many.
    vain: Cell<(u32, Instant)>,
}

impl Default for SiteHistory {
    fn default() -> SiteHistory {
        SiteHistory {
            recipients: Cell::new((0, Instant(0))),
            messages: Cell::new((0, Instant(0))),
            took_at: Cell::new(None),
            moved: Cell::new((0, Instant(0))),
            alone_until: Cell::new(Instant(0)),
            vain: Cell::new((0, Instant(0))),
        }
    }
}

impl SiteHistory {
    /// Recipients it takes in a transaction, as far as is known.
    pub fn recipients(&self, now: Instant) -> usize {
        let (most, until) = self.recipients.get();
        if now < until { most } else { usize::MAX }
    }

    /// Messages it takes over a connection, as far as is known.
    pub fn messages(&self, now: Instant) -> usize {
        let (most, until) = self.messages.get();
        if now < until { most } else { usize::MAX }
    }

    /// It could not be told what it answered to commands behind a body.
    pub(super) fn doubt(&self, now: Instant) {
        self.alone_until.set(now + limits::client::AHEAD_DOUBTED);
    }

    /// Whether commands may go behind a body.
    pub fn takes_ahead(&self, now: Instant) -> bool {
        now >= self.alone_until.get()
    }

    /// Whether one more message may go from one host to another so.
    pub(super) fn may_move(&self, now: Instant) -> bool {
        let (moved, until) = self.moved.get();
        let (moved, until) = if now < until { (moved, until) } else { (0, now + limits::HOP_FAILURE_KEPT) };
        self.moved.set((moved.saturating_add(1), until));
        moved < limits::MOVES_MAX
    }

    /// One more new session, begun then, ended before anything came of it. Whether these are too many; those that had begun before that was said are not
    /// counted again.
    pub(super) fn in_vain(&self, begun: Instant, now: Instant) -> bool {
        let (sessions, said) = self.vain.get();
        if begun < said {
            return false;
        }
        let is_over = sessions + 1 >= limits::SITE_IN_VAIN;
        // Behind that each is one too many, until something comes of one.
        self.vain.set(if is_over { (sessions, now) } else { (sessions + 1, said) });
        is_over
    }

    /// Something came of a session, or it goes on.
    pub(super) fn gets_on(&self) {
        if self.vain.get().0 > 0 {
            self.vain.set((0, Instant(0)));
        }
    }

    /// It takes mail, a moment ago at least.
    pub(super) fn takes_mail(&self, now: Instant) -> bool {
        self.took_at.get().is_some_and(|at| now.since(at) < limits::SITE_PAUSE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_in_vain_are_counted_in_a_row() {
        let (shown, at) = (SiteHistory::default(), |second: u64| Instant(second * 1_000_000_000));
        let vain = |begun, now| shown.in_vain(at(begun), at(now));
        assert!((1..limits::SITE_IN_VAIN).all(|_| !vain(1, 2)));
        shown.gets_on();
        assert!((1..limits::SITE_IN_VAIN).all(|_| !vain(1, 2)));
        assert!(vain(2, 3), "one too many");
        assert!(!vain(2, 4) && vain(3, 5), "what had begun before is not counted, and then each is");
        shown.gets_on();
        assert!(!vain(9, 9));
    }

    #[test]
    fn messages_move_a_bounded_number_of_times() {
        let (shown, begin) = (SiteHistory::default(), Instant(7));
        let moves = |now| (0..3 * limits::MOVES_MAX).filter(|_| shown.may_move(now)).count();
        assert_eq!(moves(begin), limits::MOVES_MAX as usize);
        assert_eq!(moves(begin + limits::HOP_FAILURE_KEPT / 2), 0);
        assert_eq!(moves(begin + limits::HOP_FAILURE_KEPT), limits::MOVES_MAX as usize);
    }
}
