//! What the nodes of a cluster tell each other of the list. All of them hear all changes, their own too, in one order, and each does what it hears: so their
//! lists come to the same, whoever changed what at the same time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use super::untold::By;
use super::{Added, KeepError, Keeper};
use crate::control::store::{Store, UntoldChange};
use crate::limits;
use crate::policy::suppression::canonical::canonical;
use crate::policy::suppression::entry::{Entry, OwnedEntry};
use crate::policy::suppression::merge::Change;

/// What is said of a name.
struct Word<'a> {
    listed: bool,
    /// It was removed before.
    is_anew: bool,
    entry: &'a OwnedEntry,
}

impl<'a> Word<'a> {
    /// And then this.
    fn then(&mut self, listed: bool, entry: &'a OwnedEntry) {
        let is_longer = || entry.entry().lasts_longer(&self.entry.entry());
        if !listed || !self.listed || is_longer() {
            self.entry = entry;
        }
        self.is_anew |= !self.listed;
        self.listed = listed;
    }
}

/// From now on changes are kept until other nodes are told of them, up to [`limits::SUPPRESSION_UNTOLD_MAX`].
pub fn tell_others(keeper: &mut Keeper, store: &mut Store) -> Result<(), KeepError> {
    keeper.untold.count = Some(store.count_untold()?);
    Ok(())
}

/// Changes that other nodes are not told of yet, the first some; and whether there was no room to keep others.
pub fn untold(keeper: &mut Keeper, store: &mut Store) -> Result<(Vec<UntoldChange>, bool), KeepError> {
    let some = store.untold(limits::CLUSTER_LIST_BATCH)?;
    Ok((some, std::mem::take(&mut keeper.untold.lost)))
}

/// Other nodes are told of all up to this one.
pub fn told(keeper: &mut Keeper, store: &mut Store, to: u64) -> Result<(), KeepError> {
    store.told(to)?;
    if keeper.untold.count.is_some() {
        keeper.untold.count = Some(store.count_untold()?);
    }
    Ok(())
}

/// Takes what other nodes tell, in the order in which they all hear it, and remembers how far that was. What of it no list can have is left out.
pub fn hear(
    keeper: &mut Keeper,
    store: &mut Store,
    (heard, place): (&[(bool, OwnedEntry)], &str),
) -> Result<Added, KeepError> {
    // The last word about each counts: nobody is let go of for a moment in between.
    let mut last: BTreeMap<(Option<&str>, String), Word<'_>> = BTreeMap::new();
    for (listed, entry) in heard {
        let Ok(address) = canonical(&entry.address) else { continue };
        match last.entry((entry.tenant.as_deref(), address)) {
            Slot::Vacant(slot) => _ = slot.insert(Word { listed: *listed, is_anew: false, entry }),
            Slot::Occupied(mut slot) => slot.get_mut().then(*listed, entry),
        }
    }
    let mut all = Added::default();
    for (wanted, is_anew, what) in [
        (true, false, (Change::Put, By::Others)),
        (true, true, (Change::Put, By::OthersAnew)),
        (false, true, (Change::Remove, By::Others)),
        (false, false, (Change::Remove, By::Others)),
    ] {
        let of_kind = last.iter().filter(|(_, word)| (word.listed, word.is_anew) == (wanted, is_anew));
        let entries = of_kind.map(|((_, address), word)| Entry { address, ..word.entry.entry() });
        let entries: Vec<Entry<'_>> =
            entries.filter(|entry| entry.is_sound() && entry.place(&keeper.key).is_some()).collect();
        let Added { changed, known } = keeper.change(store, &entries, what)?;
        all = Added { changed: all.changed + changed, known: all.known + known };
    }
    store.save_heard(place)?;
    Ok(all)
}
