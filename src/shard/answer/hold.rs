//! Operators hold mail that waits, and let it go. Either is an outcome: on disk when it is answered, and found by the next start.

use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::queue::outcome::{Hold, NO_END};
use crate::queue::{Group, GroupPhase};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::answer::written::Written;
use crate::shard::message::Job;
use crate::shard::outbound::settle;
use crate::spool::record::MessageView;

/// What an operator wants with mail.
pub(super) struct Holding {
    /// That it is held until then, in Unix seconds, with these words; None: that it goes on.
    hold: Option<(u32, Arc<str>)>,
    pub(super) written: Written,
}

impl Holding {
    /// Holds it until then.
    pub(super) fn until(until: u32, words: Arc<str>) -> Holding {
        Holding { hold: Some((until, words)), written: Written::default() }
    }

    /// Lets it go.
    pub(super) fn release() -> Holding {
        Holding { hold: None, written: Written::default() }
    }

    /// Whether mail that is due can be meant: none of it is held.
    pub(super) fn takes_ready(&self) -> bool {
        self.hold.is_some()
    }

    /// Whether there is anything to be done with a group: what is held as long or longer stays as it is, so that a command which goes on
    /// does not begin anew.
    pub(super) fn takes<R: Runtime>(&self, shard: &Shard<R>, group: &Group) -> bool {
        match &self.hold {
            Some((until, _)) => {
                let held = if group.is_kept() { group.not_before } else { 0 };
                held < due(shard, *until).saturating_sub(limits::HOLD_APART)
            }
            None => group.is_kept(),
        }
    }

    /// One group, which left its queue: it waits there as it is wanted, and that is recorded.
    pub(super) fn settle<R: Runtime>(&self, shard: &Rc<Shard<R>>, job: &Job, view: Option<&MessageView<'_>>) {
        let group = job.group;
        let hour = view.and_then(|view| hour(&group, view)).filter(|hour| *hour > shard.seconds());
        let (standing, not_before, mut hold) = match &self.hold {
            Some((until, words)) => {
                let due = due(shard, *until).max(hour.unwrap_or(0));
                let until = if due == NO_END { NO_END } else { shard.wall_of(due).seconds() };
                (GroupPhase::Kept, due, Hold::new(until, words))
            }
            None => match hour {
                Some(hour) => (GroupPhase::Held, hour, Hold::default()),
                None => (GroupPhase::Usual, 0, Hold::default()),
            },
        };
        hold.receipt = Some(self.written.receipt());
        settle::kept(shard, job, hold, Group { standing, not_before, ..group });
    }
}

/// When it is due, in seconds of the queues' clock, what is held until this time of the wall clock.
fn due<R: Runtime>(shard: &Shard<R>, until: u32) -> u32 {
    if until == NO_END {
        return NO_END;
    }
    let left = until.saturating_sub(shard.runtime.wall().seconds());
    shard.seconds().saturating_add(left).min(NO_END - 1)
}

/// Before when its sender or a rule does not want it to go, as long as it was not tried: a hold that ends does not change that.
fn hour(group: &Group, view: &MessageView<'_>) -> Option<u32> {
    let release = view.release().filter(|_| group.attempts == 0);
    release.map(|_| group.expiry.saturating_sub(view.lives().seconds()))
}
