//! What is suspended, and what of that is not on disk yet. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::queue::suspension::{Effect, Scope, Suspension, Suspensions};
use crate::time::UnixMillis;

/// What somebody wants suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct SuspensionRequest {
    pub effect: Effect,
    pub scope: Scope,
    pub until: UnixMillis,
    pub by: Box<str>,
    pub reason: Box<str>,
}

impl SuspensionRequest {
    /// Whether the same is done by the same.
    fn is_as(&self, one: &Suspension) -> bool {
        one.effect == self.effect && one.scope == self.scope && one.by == self.by
    }
}

/// Which suspensions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Which {
    All,
    One(u64),
    /// Those of mail of which all this holds.
    Within(Scope),
    /// Those of just this mail, by this name.
    Of(Scope, Box<str>),
}

impl Which {
    fn means(&self, one: &Suspension) -> bool {
        match self {
            Which::All => true,
            Which::One(id) => one.id == *id,
            Which::Within(scope) => one.scope.is_within(scope),
            Which::Of(scope, by) => one.scope == *scope && one.by == *by,
        }
    }
}

/// All that is suspended.
#[derive(Debug, Default)]
pub(super) struct Book {
    all: BTreeMap<u64, Suspension>,
    last: u64,
    /// Those that changed, or are gone, and what is on disk says something else.
    unwritten: BTreeSet<u64>,
}

impl Book {
    /// What was found on disk. What is over by now is forgotten.
    pub(super) fn found(all: Vec<Suspension>) -> Book {
        let last = all.iter().map(|one| one.id).max().unwrap_or(0);
        let all = all.into_iter().map(|one| (one.id, one)).collect();
        Book { all, last, unwritten: BTreeSet::new() }
    }

    /// This is on disk as well, which could not be read before. What was decided meanwhile prolongs it, or gets a number that it does not have.
    pub(super) fn join(&mut self, found: Vec<Suspension>) {
        let meanwhile = std::mem::replace(self, Book { last: self.last, ..Book::found(found) });
        self.last = self.all.keys().last().copied().unwrap_or(0).max(self.last);
        for (number, mut one) in meanwhile.all {
            let same = |known: &&Suspension| {
                known.effect == one.effect && known.scope == one.scope && known.by == one.by
            };
            let known = self.all.values().find(same).map(|known| (known.id, known.since));
            if let Some((id, since)) = known {
                (one.id, one.since) = (id, since);
            } else if self.all.contains_key(&number) {
                self.last += 1;
                one.id = self.last;
            }
            self.unwritten.insert(one.id);
            self.all.insert(one.id, one);
        }
    }

    /// As one value.
    pub(super) fn value(&self) -> Suspensions {
        Suspensions::new(self.all.values().cloned().collect())
    }

    /// Suspends it, or prolongs what does the same by the same. None: there is no room.
    pub(super) fn add(
        &mut self,
        wanted: SuspensionRequest,
        now: UnixMillis,
        room: &Suspensions,
    ) -> Option<&Suspension> {
        let known = self.all.values().find(|one| wanted.is_as(one)).map(|one| (one.id, one.since));
        let SuspensionRequest { effect, scope, until, by, reason } = wanted;
        let full = self.all.len() >= limits::SUSPENSIONS_MAX || !room.has_room(&scope);
        if known.is_none() && full {
            return None;
        }
        self.last += u64::from(known.is_none());
        let (id, since) = known.unwrap_or((self.last, now));
        self.unwritten.insert(id);
        let one = Suspension { id, effect, scope, since, until, by, reason };
        self.all.insert(id, one);
        self.all.get(&id)
    }

    /// Until when the same is suspended by the same.
    pub(super) fn until(&self, wanted: &SuspensionRequest) -> Option<UnixMillis> {
        self.all.values().find(|one| wanted.is_as(one)).map(|one| one.until)
    }

    /// These are over.
    pub(super) fn remove(&mut self, which: &Which) -> Vec<Suspension> {
        self.take(|one| which.means(one))
    }

    /// Those are whose time is.
    pub(super) fn expire(&mut self, now: UnixMillis) -> Vec<Suspension> {
        self.take(|one| one.until <= now)
    }

    fn take(&mut self, is_over: impl Fn(&Suspension) -> bool) -> Vec<Suspension> {
        let over: Vec<u64> = self.all.values().filter(|one| is_over(one)).map(|one| one.id).collect();
        self.unwritten.extend(&over);
        over.iter().filter_map(|id| self.all.remove(id)).collect()
    }

    /// What is to be written: as it is now, and what is no more. Empty: nothing is.
    pub(super) fn unwritten(&self) -> (Vec<&Suspension>, Vec<u64>) {
        let (there, gone): (Vec<_>, Vec<_>) = self.unwritten.iter().partition(|id| self.all.contains_key(id));
        (there.into_iter().filter_map(|id| self.all.get(id)).collect(), gone.into_iter().copied().collect())
    }

    /// That is on disk.
    pub(super) fn written(&mut self) {
        self.unwritten.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &str, until: u64) -> SuspensionRequest {
        let mut scope = Scope::default();
        for (name, value) in words.split(' ').filter_map(|word| word.split_once('=')) {
            scope.set(name, value).unwrap();
        }
        SuspensionRequest {
            effect: Effect::Wait,
            scope,
            until: UnixMillis(until),
            by: "user 0".into(),
            reason: "test".into(),
        }
    }

    #[test]
    fn what_could_be_read_late_holds_beside_what_was_decided_meanwhile() {
        let mut before = Book::default();
        for words in ["domain=a.example", "domain=b.example"] {
            before.add(wanted(words, 10), UnixMillis(1), &Suspensions::default()).unwrap();
        }
        let mut book = Book::default();
        for words in ["domain=c.example", "domain=b.example"] {
            book.add(wanted(words, 20), UnixMillis(5), &Suspensions::default()).unwrap();
        }
        book.join(before.all.into_values().collect());
        let told = |one: &Suspension| format!("{} {} {} {}", one.id, one.scope, one.since.0, one.until.0);
        let all: Vec<String> = book.value().all().iter().map(told).collect();
        assert_eq!(all, ["1 domain=a.example 1 10", "2 domain=b.example 1 20", "3 domain=c.example 5 20"]);
        let (put, gone) = book.unwritten();
        assert_eq!((put.iter().map(|one| one.id).collect::<Vec<_>>(), gone), (vec![2, 3], vec![]));
    }

    #[test]
    fn what_is_suspended_ends_in_time_or_when_it_is_told_to() {
        let mut book = Book::default();
        for (words, until) in
            [("domain=a.example", 10), ("domain=a.example tenant=shop", 20), ("tenant=shop", 30)]
        {
            let room = book.value();
            book.add(wanted(words, until), UnixMillis(1), &room).unwrap();
        }
        let ids = |gone: Vec<Suspension>| gone.iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(book.unwritten().0.len(), 3);
        book.written();
        assert_eq!((ids(book.expire(UnixMillis(9))), ids(book.expire(UnixMillis(10)))), (vec![], vec![1]));
        assert_eq!(book.unwritten(), (vec![], vec![1]));
        let within = Which::Within(wanted("tenant=shop", 0).scope);
        assert!(book.remove(&Which::Within(wanted("domain=a.example campaign=x", 0).scope)).is_empty());
        assert_eq!((ids(book.remove(&Which::One(2))), ids(book.remove(&within))), (vec![2], vec![3]));
        assert!(book.value().is_empty());
    }

    #[test]
    fn the_same_again_is_the_same_one_for_longer() {
        let mut book = Book::default();
        let room = book.value();
        let id = |book: &mut Book, wanted| book.add(wanted, UnixMillis(5), &room).unwrap().id;
        assert_eq!(id(&mut book, wanted("tenant=shop", 10)), 1);
        assert_eq!(id(&mut book, wanted("tenant=shop", 90)), 1);
        assert_eq!(id(&mut book, wanted("tenant=other", 90)), 2);
        assert_eq!(
            id(&mut book, SuspensionRequest { by: "a.toml:3".into(), ..wanted("tenant=shop", 20) }),
            3
        );
        let all: Vec<_> = book.value().all().iter().map(|one| one.until.0).collect();
        assert_eq!(all, [90, 90, 20]);
        let found = Book::found(book.value().all().to_vec());
        assert_eq!((found.last, found.unwritten().0.len()), (3, 0), "numbers go on");
    }
}
