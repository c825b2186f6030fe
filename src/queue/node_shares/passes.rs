//! How far each of those has come that share something: a table of fixed size that all shards move on.
//!
//! Each has a place of its own while it comes on, found near the one that its number says. Who has fallen back as far as anybody who comes begins has
//! nothing to be remembered, and its place is the next one's. Where no place is left two share one, and with it a part.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::limits;

/// How far the pass of a tenant of weight 1 grows with each message, and that of a campaign.
pub const STRIDE: u64 = 1 << 20;

/// Those of all who share something, and what stands `B`eside each.
#[derive(Debug)]
pub(super) struct Passes<B> {
    /// The highest that was served.
    reached: AtomicU64,
    places: Box<[Place<B>]>,
}

#[derive(Debug, Default)]
struct Place<B> {
    /// Whose it is; 0: nobody's yet.
    owner: AtomicU64,
    pass: AtomicU64,
    beside: B,
}

/// What a search came to.
enum Found<'a, B> {
    Own(&'a Place<B>),
    /// It has none, and may take this, which is still that of another.
    Free(&'a Place<B>, u64),
    Shared(&'a Place<B>),
}

/// A message was counted.
pub(super) struct Served<'a, B> {
    /// How far its owner has come.
    pub(super) pass: u64,
    pub(super) beside: &'a B,
    /// What stands beside it was another's until now.
    pub(super) taken: bool,
}

/// Any number, as a place knows it.
fn owner(number: u64) -> u64 {
    number.wrapping_add(1).max(1)
}

impl<B: Default> Passes<B> {
    /// A table of so many places.
    pub(super) fn of(places: usize) -> Passes<B> {
        Passes { reached: AtomicU64::new(0), places: (0..places).map(|_| Place::default()).collect() }
    }
}

impl<B> Passes<B> {
    /// Who was away gets a little more at first, so that what he sends now and then waits for nobody.
    fn least(&self, weight: u64) -> u64 {
        self.reached.load(Relaxed).saturating_sub(limits::NODE_CREDIT * STRIDE / weight.max(1))
    }

    fn find(&self, owner: u64) -> Found<'_, B> {
        let home = (owner % self.places.len() as u64) as usize;
        let fallen_back = self.least(1);
        let mut free = None;
        for step in 0..limits::NODE_PROBES.min(self.places.len()) {
            let place = &self.places[(home + step) % self.places.len()];
            let of = place.owner.load(Relaxed);
            if of == owner {
                return Found::Own(place);
            }
            if free.is_none() && (of == 0 || place.pass.load(Relaxed) <= fallen_back) {
                free = Some(Found::Free(place, of));
            }
        }
        free.unwrap_or(Found::Shared(&self.places[home]))
    }

    /// How far one of this number and weight has come.
    pub(super) fn pass(&self, number: u64, weight: u64) -> u64 {
        let own = match self.find(owner(number)) {
            Found::Own(place) | Found::Shared(place) => place.pass.load(Relaxed),
            Found::Free(..) => 0,
        };
        own.max(self.least(weight))
    }

    /// Messages, as many as [`STRIDE`] each, that it is behind the one that has come farthest.
    pub(super) fn behind(&self, number: u64) -> u64 {
        self.reached.load(Relaxed).saturating_sub(self.pass(number, 1))
    }

    /// What stands beside its place.
    pub(super) fn beside(&self, number: u64) -> Option<&B> {
        match self.find(owner(number)) {
            Found::Own(place) | Found::Shared(place) => Some(&place.beside),
            Found::Free(..) => None,
        }
    }

    /// A message of it is taken.
    pub(super) fn serve(&self, number: u64, weight: u64) -> Served<'_, B> {
        let owner = owner(number);
        let (place, taken) = match self.find(owner) {
            Found::Own(place) | Found::Shared(place) => (place, false),
            // What it says is as far back as whoever comes begins. Where another was first, they share it this once.
            Found::Free(place, of) => {
                let won = place.owner.compare_exchange(of, owner, Relaxed, Relaxed).is_ok();
                (place, won && of != 0)
            }
        };
        let least = self.least(weight);
        if place.pass.load(Relaxed) < least {
            place.pass.fetch_max(least, Relaxed);
        }
        let stride = STRIDE / weight.max(1);
        let before = place.pass.fetch_add(stride, Relaxed);
        if self.reached.load(Relaxed) < before {
            self.reached.fetch_max(before, Relaxed);
        }
        Served { pass: before + stride, beside: &place.beside, taken }
    }

    /// All have fallen back.
    pub(super) fn forget(&self) {
        self.reached.fetch_add(3 * limits::NODE_CREDIT * STRIDE, Relaxed);
    }

    /// What stands beside those that had something of late.
    pub(super) fn recent(&self) -> impl Iterator<Item = &B> {
        let since = self.reached.load(Relaxed).saturating_sub(2 * limits::NODE_CREDIT * STRIDE);
        self.places.iter().filter(move |place| place.pass.load(Relaxed) > since).map(|place| &place.beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Always the one that has come least far of these numbers, all of one weight: how many messages each had.
    fn served(passes: &Passes<()>, numbers: &[u64], messages: usize) -> Vec<usize> {
        let mut had = vec![0; numbers.len()];
        for _ in 0..messages {
            let next = (0..numbers.len()).min_by_key(|place| (passes.pass(numbers[*place], 1), had[*place]));
            let next = next.expect("there are some");
            passes.serve(numbers[next], 1);
            had[next] += 1;
        }
        had
    }

    #[test]
    fn those_of_one_place_do_not_share_it_while_others_are_free() {
        let passes = Passes::of(8);
        let had = served(&passes, &[3, 11, 19, 27, 35, 4, 12], 700);
        assert!(had.iter().all(|had| (99..=101).contains(had)), "{had:?}");
    }

    #[test]
    fn who_finds_no_place_shares_one() {
        let passes = Passes::of(4);
        let had = served(&passes, &[0, 1, 2, 3, 4], 800);
        assert_eq!(had.iter().sum::<usize>(), 800);
        assert!(had[1..4].iter().all(|had| (199..=201).contains(had)), "{had:?}");
        assert!((99..=101).contains(&had[0]) && (99..=101).contains(&had[4]), "{had:?}");
    }

    #[test]
    fn the_place_of_one_who_went_is_the_next_ones() {
        let passes = Passes::<()>::of(2);
        assert!(!passes.serve(0, 1).taken && !passes.serve(1, 1).taken);
        (0..3 * limits::NODE_CREDIT).for_each(|_| _ = passes.serve(0, 1));
        assert_eq!(passes.recent().count(), 1);
        assert!(passes.serve(3, 1).taken);
        assert!(matches!(passes.find(owner(1)), Found::Shared(_)), "all others are busy");
        let had = served(&passes, &[0, 3], 200);
        assert!(had[1].abs_diff(had[0]) <= 2 * limits::NODE_CREDIT as usize, "{had:?}");
        passes.forget();
        assert_eq!((passes.recent().count(), passes.pass(0, 1)), (0, passes.pass(3, 1)));
    }
}
