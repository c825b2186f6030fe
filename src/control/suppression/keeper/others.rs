//! What the nodes of a cluster tell each other of the list. All of them hear all changes, their own too, in one order, and each does what it hears: so their
//! lists come to the same, whoever changed what at the same time.

use std::collections::BTreeMap;

use super::{Added, KeepError, Keeper};
use crate::control::store::{Store, UntoldChange};
use crate::limits;
use crate::policy::suppression::canonical::canonical;
use crate::policy::suppression::entry::{Entry, OwnedEntry};
use crate::policy::suppression::merge::Change;

/// Who makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Somebody of this node.
    Here,
    /// Another node, which tells of it.
    Others,
}

/// Changes that other nodes are not told of yet.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// How many; None: nobody is told.
    count: Option<usize>,
    /// There was no room to keep one.
    lost: bool,
}

impl Untold {
    /// Whether so many more are kept.
    pub fn has_room(&mut self, more: usize) -> bool {
        let has_room = self.count.is_some_and(|count| count + more <= limits::SUPPRESSION_UNTOLD_MAX);
        self.lost |= self.count.is_some() && !has_room;
        has_room
    }

    /// They are kept.
    pub fn add(&mut self, more: usize) {
        self.count = self.count.map(|count| count + more);
    }
}

impl Keeper {
    /// From now on changes are kept until other nodes are told of them, up to [`limits::SUPPRESSION_UNTOLD_MAX`].
    pub fn tell_others(&mut self, store: &mut Store) -> Result<(), KeepError> {
        self.untold.count = Some(store.count_untold()?);
        Ok(())
    }

    /// Changes that other nodes are not told of yet, the first some; and whether there was no room to keep others.
    pub fn untold(&mut self, store: &mut Store) -> Result<(Vec<UntoldChange>, bool), KeepError> {
        let some = store.untold(limits::CLUSTER_LIST_BATCH)?;
        Ok((some, std::mem::take(&mut self.untold.lost)))
    }

    /// Other nodes are told of all up to this one.
    pub fn told(&mut self, store: &mut Store, to: u64) -> Result<(), KeepError> {
        store.told(to)?;
        if self.untold.count.is_some() {
            self.untold.count = Some(store.count_untold()?);
        }
        Ok(())
    }

    /// Takes what other nodes tell, in the order in which they all hear it, and remembers how far that was. What of it no list can have is left out.
    pub fn hear(
        &mut self,
        store: &mut Store,
        (heard, place): (&[(bool, OwnedEntry)], &str),
    ) -> Result<Added, KeepError> {
        // The last word about each counts: nobody is let go of for a moment in between.
        let mut last: BTreeMap<(Option<&str>, String), (bool, &OwnedEntry)> = BTreeMap::new();
        for (listed, entry) in heard {
            let Ok(address) = canonical(&entry.address) else { continue };
            let known = last.get(&(entry.tenant.as_deref(), address.clone()));
            let longer = known.is_none_or(|(before, other)| {
                !(*listed && *before) || entry.entry().lasts_longer(&other.entry())
            });
            if longer {
                last.insert((entry.tenant.as_deref(), address), (*listed, entry));
            }
        }
        let mut all = Added::default();
        for wanted in [true, false] {
            let change = if wanted { Change::Put } else { Change::Remove };
            let of_kind = last.iter().filter(|(_, (listed, _))| *listed == wanted);
            let entries = of_kind.map(|((_, address), (_, entry))| Entry { address, ..entry.entry() });
            let entries: Vec<Entry<'_>> =
                entries.filter(|entry| entry.is_sound() && entry.place(&self.key).is_some()).collect();
            let Added { changed, known } = self.change(store, &entries, (change, By::Others))?;
            all = Added { changed: all.changed + changed, known: all.known + known };
        }
        store.save_heard(place)?;
        Ok(all)
    }
}
