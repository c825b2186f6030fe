//! Which recipients of a message are live, and what happened to them.

use crate::queue::outcome::{Hold, Stored, StoredDeferral};
use crate::spool::index::replies::{NO_REPLY, Replies};

/// Recipients of one message that are live and share a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRange {
    /// First ordinal.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// Attempts so far; 0 for one that was never tried.
    pub attempts: u16,
    /// The last reply, in [`Replies`].
    pub reply: u16,
    /// Not before this time (Unix seconds).
    pub next: u32,
    /// It was told that they are late.
    pub late: bool,
    /// An operator holds them until `next`; his words stand in front of the last reply ([`Hold::text`]).
    pub held: bool,
}

const _: () = assert!(size_of::<LiveRange>() <= 16, "one of these for each message that was tried");

impl LiveRange {
    /// All recipients of a message that nothing happened to.
    pub(super) fn all(total: u16) -> LiveRange {
        LiveRange { first: 0, count: total, attempts: 0, reply: NO_REPLY, next: 0, late: false, held: false }
    }

    /// The same, held or not any more: the rest of what is known of it stays.
    fn hold(self, hold: &Hold, replies: &mut Replies) -> LiveRange {
        let (held, said) = (hold.until > 0, self.said(replies).to_owned());
        let text = if held { Hold { reply: said.into(), ..hold.clone() }.text() } else { said };
        let reply = if text.is_empty() { NO_REPLY } else { replies.keep(&text) };
        LiveRange { reply, next: hold.until, held, ..self }
    }

    /// What was said last of it.
    pub fn said<'a>(&self, replies: &'a Replies) -> &'a str {
        let text = replies.text(self.reply);
        if self.held { Hold::parts(text).1 } else { text }
    }

    /// The words of who holds it; None: nobody does.
    pub fn held_by<'a>(&self, replies: &'a Replies) -> Option<&'a str> {
        self.held.then(|| Hold::parts(replies.text(self.reply)).0)
    }

    /// What is written down of it.
    pub(in crate::spool) fn stored(&self, replies: &Replies) -> Stored {
        let LiveRange { attempts, next, late, .. } = *self;
        let said = self.said(replies);
        match self.held_by(replies) {
            Some(words) => {
                Hold { until: next, words: words.into(), ..Hold::default() }.onto((attempts, said, late))
            }
            None => Stored::Deferred(StoredDeferral { attempts, next, reply: said.into(), late }),
        }
    }

    /// What is left of it without these ordinals: the parts in front of them and behind.
    pub fn around(self, first: u16, count: u16) -> impl Iterator<Item = LiveRange> {
        let (start, end) = (u32::from(self.first), u32::from(self.first) + u32::from(self.count));
        let (from, to) = (u32::from(first), u32::from(first) + u32::from(count));
        let parts = [(start, end.min(from)), (start.max(to), end)];
        parts.into_iter().filter(|(from, to)| from < to).map(move |(from, to)| LiveRange {
            first: from as u16,
            count: (to - from) as u16,
            ..self
        })
    }
}

/// What of a message is live.
#[derive(Clone, Debug, Default)]
pub(super) enum LiveRecipients {
    /// Nothing ever happened to any recipient.
    All,
    One(LiveRange),
    /// More than one range, ascending.
    Many(Vec<LiveRange>),
    #[default]
    None,
}

impl LiveRecipients {
    /// Adds a range behind the others.
    pub(super) fn push(&mut self, range: LiveRange) {
        match self {
            LiveRecipients::Many(ranges) => ranges.push(range),
            LiveRecipients::One(first) => *self = LiveRecipients::Many(vec![*first, range]),
            LiveRecipients::All | LiveRecipients::None => *self = LiveRecipients::One(range),
        }
    }

    /// These ranges, as few bytes as they need.
    pub(super) fn of(ranges: Vec<LiveRange>) -> LiveRecipients {
        match ranges[..] {
            [] => LiveRecipients::None,
            [one] => LiveRecipients::One(one),
            _ => {
                let mut live = LiveRecipients::Many(ranges);
                live.trim();
                live
            }
        }
    }

    /// Those of a message of so many recipients.
    pub(super) fn ranges(&self, total: u16) -> Ranges<'_> {
        match self {
            LiveRecipients::All => Ranges::one(LiveRange::all(total)),
            LiveRecipients::One(range) => Ranges::one(*range),
            LiveRecipients::Many(ranges) => Ranges::many(ranges),
            LiveRecipients::None => Ranges::many(&[]),
        }
    }

    /// Gives back memory, if it is worth a copy of the rest.
    pub(super) fn trim(&mut self) {
        if let LiveRecipients::Many(ranges) = self
            && ranges.capacity() > ranges.len() + ranges.len() / 8
        {
            ranges.shrink_to_fit();
        }
    }
}

/// What an outcome `about` these ordinals (the first, and the one behind the last) leaves of ranges, in their order. How many it touched.
pub(super) fn cut(
    ranges: &[LiveRange],
    (start, end): (u16, u16),
    disposition: &Stored,
    replies: &mut Replies,
    mut keep: impl FnMut(LiveRange),
) -> u16 {
    let mut touched = 0;
    for range in ranges.iter().copied() {
        let (from, to) = (range.first, range.first + range.count);
        let (cut_from, cut_to) = (from.max(start), to.min(end));
        if cut_from >= cut_to {
            keep(range);
            continue;
        }
        touched += cut_to - cut_from;
        let mut pieces = 0;
        if from < cut_from {
            keep(LiveRange { count: cut_from - from, ..range });
            pieces += 1;
        }
        if let Stored::Deferred(StoredDeferral { attempts, next, reply, late }) = disposition {
            let reply = replies.keep(reply);
            let (first, count, late) = (cut_from, cut_to - cut_from, *late || range.late);
            keep(LiveRange { first, count, attempts: *attempts, reply, next: *next, late, held: false });
        }
        if let Stored::Held(hold) = disposition {
            keep(LiveRange { first: cut_from, count: cut_to - cut_from, ..range.hold(hold, replies) });
        }
        if cut_to < to {
            keep(LiveRange { first: cut_to, count: to - cut_to, ..range });
            pieces += 1;
        }
        match pieces {
            0 => replies.release(range.reply),
            2 => replies.share(range.reply),
            _ => {}
        }
    }
    touched
}

/// The live ranges of a message: a slice, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Ranges<'a> {
    one: [LiveRange; 1],
    more: Option<&'a [LiveRange]>,
}

impl<'a> Ranges<'a> {
    pub(super) fn one(range: LiveRange) -> Ranges<'a> {
        Ranges { one: [range], more: None }
    }

    pub(super) fn many(ranges: &'a [LiveRange]) -> Ranges<'a> {
        Ranges { one: [LiveRange::all(0)], more: Some(ranges) }
    }
}

impl std::ops::Deref for Ranges<'_> {
    type Target = [LiveRange];

    fn deref(&self) -> &[LiveRange] {
        self.more.unwrap_or(&self.one)
    }
}
