//! Attempts that never began: their groups go back to where they came from. Those that report in parts.

use super::{Destinations, DomainKey, Effect};
use crate::queue::Group;

impl Destinations {
    /// The attempt never began (the connection was stale, or never came up): the group goes back to the front with
    /// its credit.
    #[must_use = "nobody works on the group, or asks where its domain leads, unless this is carried out"]
    pub fn put_back(&mut self, key: DomainKey, group: Group) -> Option<Effect> {
        self.take_back(key, group);
        self.activate(key, 1)
    }

    /// As [`Destinations::put_back`], where nothing can be carried out: the next [`Destinations::tick`] says what is to be done.
    pub fn put_back_unheard(&mut self, key: DomainKey, group: Group) {
        self.take_back(key, group);
        // The site may be another by now than the one whose connection gives the group back, or the domain may have none: then it is
        // not asked for by anybody before the tick asks.
        if self.site_of(key).is_some() {
            self.activate(key, 1);
        }
        self.wake(key, self.now);
    }

    /// One more credit of a lane, for an attempt that goes on when what it brought so far went out with the one it had. False: all
    /// are out.
    pub fn take_credit(&mut self, lane: u16) -> bool {
        let credit = self.credits.get_mut(usize::from(lane)).filter(|credit| **credit > 0);
        credit.map(|credit| *credit -= 1).is_some()
    }

    fn take_back(&mut self, key: DomainKey, group: Group) {
        if let Some(credit) = self.credits.get_mut(usize::from(group.location.lane)) {
            *credit += 1;
        }
        let Some(domain) = self.domain_mut(key) else { return };
        domain.active -= 1;
        domain.ready.push_front(group);
    }
}
