use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::control::store::Store;
use crate::limits;
use crate::policy::suppression::canonical::Kind;
use crate::policy::suppression::entry::{Entry, Reason};
use crate::policy::suppression::exchange::{self, Defaults, Import};
use crate::policy::suppression::shared::{Shared, Taken};
use crate::time::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_764_000_000_000);

/// Names that are asked for: addresses, domains and those below, of the node and of two tenants.
fn names() -> Vec<(Option<&'static str>, String)> {
    let text = |number: u32| match number % 10 {
        8 => format!("@d{number}.example"),
        9 => format!("*.d{number}.example"),
        _ => format!("user{number}@example.org"),
    };
    (0..400).map(|number| ([None, Some("shop"), Some("other")][number as usize % 3], text(number))).collect()
}

fn entry<'a>(tenant: Option<&'a str>, address: &'a str, expires: Option<u64>) -> Entry<'a> {
    let expires = expires.map(UnixMillis);
    Entry { tenant, address, reason: Reason::Complaint, added: NOW, expires, note: "said so" }
}

/// A list, and what it should be.
struct Story {
    directory: tempfile::TempDir,
    store: Option<Store>,
    shared: Arc<Shared>,
    keeper: Option<Keeper>,
    model: BTreeMap<(Option<String>, String), Option<u64>>,
    seed: u64,
}

impl Story {
    fn new(seed: u64) -> Story {
        let mut story = Story {
            directory: tempfile::tempdir().unwrap(),
            store: None,
            shared: Arc::default(),
            keeper: None,
            model: BTreeMap::new(),
            seed,
        };
        story.start();
        story
    }

    /// A process that ends as by kill -9, and the next one.
    fn start(&mut self) {
        (self.keeper, self.store) = (None, None);
        let (mut store, words) = Store::open(self.directory.path());
        assert_eq!(words, None);
        self.shared = Arc::default();
        let (keeper, words) = Keeper::open(self.directory.path(), &mut store, &self.shared, [5; 16]).unwrap();
        assert_eq!(words, None);
        (self.keeper, self.store) = (Some(keeper), Some(store));
    }

    fn parts(&mut self) -> (&mut Keeper, &mut Store) {
        (self.keeper.as_mut().unwrap(), self.store.as_mut().unwrap())
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.seed >> 33) % below
    }

    fn some_names(&mut self, most: u64) -> Vec<(Option<&'static str>, String)> {
        let (all, count) = (names(), self.random(most) + 1);
        (0..count).map(|_| all[self.random(all.len() as u64) as usize].clone()).collect()
    }

    fn add(&mut self, most: u64) {
        let until = [None, None, Some(NOW.0 + 5_000), Some(NOW.0 + 9_000)][self.random(4) as usize];
        let names = self.some_names(most);
        let entries: Vec<_> = names.iter().map(|(tenant, address)| entry(*tenant, address, until)).collect();
        let mut changed = 0;
        for (tenant, address) in &names {
            changed += u64::from(self.expect((*tenant, address), until));
        }
        let (keeper, store) = self.parts();
        let added = keeper.add(store, &entries).unwrap();
        assert_eq!((added.changed, added.known), (changed, names.len() as u64 - changed));
    }

    /// Puts it into the model, if it is not there for as long. Whether it was not.
    fn expect(&mut self, (tenant, address): (Option<&str>, &str), until: Option<u64>) -> bool {
        let name = (tenant.map(str::to_owned), address.to_owned());
        let longer = match self.model.get(&name) {
            None => true,
            Some(None) => false,
            Some(Some(before)) => until.is_none_or(|until| until > *before),
        };
        if longer {
            self.model.insert(name, until);
        }
        longer
    }

    fn remove(&mut self, most: u64) {
        let names = self.some_names(most);
        let entries: Vec<_> = names.iter().map(|(tenant, address)| entry(*tenant, address, None)).collect();
        for (tenant, address) in &names {
            self.model.remove(&(tenant.map(str::to_owned), address.clone()));
        }
        let (keeper, store) = self.parts();
        keeper.remove(store, &entries).unwrap();
    }

    /// What is offered by a file.
    fn offered(&mut self, most: u64) -> Runs {
        let names = self.some_names(most);
        let mut runs = self.keeper.as_ref().unwrap().runs().unwrap();
        for (tenant, address) in &names {
            runs.offer(&entry(*tenant, address, None)).unwrap();
            self.expect((*tenant, address), None);
        }
        runs
    }

    fn merge(&mut self, runs: Option<Runs>, now: UnixMillis) {
        let (keeper, store) = self.parts();
        let job = keeper.begin(store, runs, now).unwrap();
        assert!(matches!(keeper.begin(store, None, now), Err(KeepError::Busy)));
        let made = job.run();
        keeper.finish(store, made).unwrap();
        assert_eq!(keeper.changes(), 0);
        self.model.retain(|_, until| until.is_none_or(|until| until > now.0));
        assert_eq!(self.keeper.as_ref().unwrap().entries(), self.model.len() as u64);
    }

    /// What shards see, and what is told, is what the model has.
    fn check(&mut self) {
        let taken = Taken::new(&self.shared);
        for (tenant, address) in names() {
            let listed = self.model.contains_key(&(tenant.map(str::to_owned), address.clone()));
            let recipient = match Kind::of(&address) {
                Kind::Address => address.to_uppercase(),
                Kind::Domain => format!("x{address}"),
                Kind::Subdomains => format!("x@a.b{}", &address[1..]),
            };
            let at = recipient.find('@').unwrap() + 1;
            let hit = taken.list().find(recipient.as_bytes(), at, tenant);
            assert_eq!(hit.is_some(), listed, "{tenant:?} {address}");
            assert!(
                hit.is_none_or(|hit| hit.of_tenant == tenant.is_some() && hit.kind == Kind::of(&address))
            );
            let (keeper, store) = self.parts();
            let tenants: Vec<&str> = tenant.into_iter().collect();
            let known = keeper.check(store, &address, &tenants).unwrap();
            assert_eq!(known.len(), usize::from(listed), "{tenant:?} {address}");
        }
        let most = 1 + self.random(200) as usize;
        let (mut told, mut behind) = (BTreeMap::new(), None);
        for _ in 0..=names().len() {
            let (keeper, store) = self.parts();
            let page = keeper.page(store, behind, most, &|_| true).unwrap();
            assert!(page.entries.len() <= most + 1);
            for record in &page.entries {
                let entry = record.entry().unwrap();
                let name = (entry.tenant.map(str::to_owned), entry.address.to_owned());
                assert!(told.insert(name, entry.expires.map(|at| at.0)).is_none(), "told once");
            }
            behind = page.next;
            if behind.is_none() {
                break;
            }
        }
        assert_eq!(told, self.model);
    }
}

#[test]
fn it_is_what_a_plain_map_would_be() {
    for seed in 0..6 {
        let mut story = Story::new(seed);
        story.check();
        for _ in 0..40 {
            match story.random(10) {
                0..4 => story.add(60),
                4..6 => story.remove(60),
                6 => story.merge(None, NOW),
                7 => {
                    let runs = story.offered(300);
                    story.merge(Some(runs), NOW);
                }
                8 => story.start(),
                _ => story.check(),
            }
        }
        story.check();
        let later = UnixMillis(NOW.0 + 6_000);
        story.merge(None, later);
        story.check();
    }
}

/// A process that is killed before any step of making a file, or behind the last one, finds the list as it was told to be.
#[test]
fn whenever_the_making_of_a_file_ends_the_list_is_whole() {
    let mut step = 0i32;
    let mut seen = Vec::new();
    loop {
        let mut story = Story::new(9);
        story.add(200);
        story.merge(None, NOW);
        story.add(100);
        story.remove(100);
        let before = story.model.clone();
        let runs = story.offered(100);
        let with_runs = std::mem::replace(&mut story.model, before);
        let (keeper, store) = story.parts();
        let job = keeper.begin(store, Some(runs), NOW).unwrap();
        // Meanwhile others change it.
        let meanwhile = entry(None, "meanwhile@example.org", None);
        keeper.add(store, &[meanwhile]).unwrap();
        let (left, at) = (Cell::new(step), Cell::new(None));
        let ended = job.run_asking(&|next| {
            at.set(Some(next));
            match left.replace(left.get() - 1) {
                0 => Err(io::Error::other("killed")),
                _ => Ok(()),
            }
        });
        let directory = story.directory.path().join(DIRECTORY);
        std::fs::write(directory.join("run-0"), b"of before").unwrap();
        let is_new = ended.is_ok() || at.get() == Some(Step::SyncName);
        assert_eq!(is_new, !directory.join(NEW).exists() && at.get() != Some(Step::Make));
        if is_new {
            story.model = with_runs.clone();
        }
        story.start();
        assert!(!directory.join(NEW).exists() && !directory.join("run-0").exists(), "they are swept away");
        story.model.insert((None, "meanwhile@example.org".into()), None);
        story.check_names_only();
        // It goes on from there.
        story.merge(None, NOW);
        story.add(50);
        story.start();
        story.check_names_only();
        seen.push((ended.is_ok(), is_new));
        if ended.is_ok() {
            break;
        }
        step += 1;
    }
    assert!(seen.len() >= 10, "{seen:?}");
    assert_eq!(seen.iter().filter(|(_, is_new)| *is_new).count(), 2, "behind the rename: {seen:?}");
}

impl Story {
    /// The same of what is in the model, which has a name that is not among those that are asked for.
    fn check_names_only(&mut self) {
        let extra = self.model.clone();
        let taken = Taken::new(&self.shared);
        let meanwhile = "meanwhile@example.org";
        assert!(taken.list().find(meanwhile.as_bytes(), 10, None).is_some());
        assert!(extra.contains_key(&(None, meanwhile.into())));
        self.check();
    }
}

/// What a shard has taken up shows changes at once, and a new file after a look.
#[test]
fn shards_see_what_changes() {
    let mut story = Story::new(1);
    let mut taken = Taken::new(&story.shared);
    let seen = |taken: &Taken, address: &str| {
        taken.list().find(address.as_bytes(), address.find('@').unwrap() + 1, None).is_some()
    };
    let (keeper, store) = story.parts();
    keeper.add(store, &[entry(None, "ada@example.org", None)]).unwrap();
    assert!(seen(&taken, "Ada@example.org"), "without a look");
    let many: Vec<String> = (0..5_000).map(|number| format!("u{number}@example.org")).collect();
    let entries: Vec<_> = many.iter().map(|address| entry(None, address, None)).collect();
    keeper.add(store, &entries).unwrap();
    let job = keeper.begin(store, None, NOW).unwrap();
    keeper.remove(store, &[entry(None, "ada@example.org", None)]).unwrap();
    let made = job.run();
    keeper.finish(store, made).unwrap();
    assert_eq!(keeper.changes(), 1, "what came meanwhile is not in the file");
    taken.look(&story.shared);
    assert!(!seen(&taken, "ada@example.org") && many.iter().all(|address| seen(&taken, address)));
}

fn with_file(seed: u64) -> Story {
    let mut story = Story::new(seed);
    story.add(300);
    story.add(300);
    story.merge(None, NOW);
    story
}

fn refused(story: &mut Story) -> String {
    (story.keeper, story.store) = (None, None);
    let (mut store, _) = Store::open(story.directory.path());
    match Keeper::open(story.directory.path(), &mut store, &Arc::default(), [6; 16]) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it starts"),
    }
}

#[test]
fn a_start_without_its_list_fails_and_says_what_to_do() {
    for (damage, words) in [
        (
            (|path: &Path| std::fs::remove_file(path).unwrap()) as fn(&Path),
            "is gone or was replaced by an earlier one",
        ),
        (|path| std::fs::write(path, b"address,tenant\n").unwrap(), "it is no suppression list of relevo's"),
        (|path| std::fs::write(path, b"").unwrap(), "it is no suppression list of relevo's"),
        (|path| open(path).write_all_at(&[2], 8).unwrap(), "a later version of relevo wrote it"),
        (|path| open(path).write_all_at(b"x", 40).unwrap(), "it is damaged: its head"),
        (|path| open(path).write_all_at(b"xxxx", 4096).unwrap(), "it is damaged: the index"),
        (|path| open(path).set_len(9_000).unwrap(), "it was cut or copied in part"),
    ] {
        let mut story = with_file(3);
        damage(&story.directory.path().join(DIRECTORY).join(FILE));
        let told = refused(&mut story);
        assert!(told.contains(words), "{told}");
        assert!(told.contains("put a copy of it back") && told.contains("suppression/lost"), "{told}");
        // An operator says to go on; what changed since the file was made is still known.
        std::fs::write(story.directory.path().join(DIRECTORY).join(LOST), b"").unwrap();
        story.start();
        story.model.clear();
        story.add(50);
        story.check();
        story.start();
        story.merge(None, NOW);
        story.check();
    }
}

fn open(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// An earlier file that is put back is one that lacks entries.
#[test]
fn an_earlier_file_is_refused() {
    let mut story = with_file(4);
    let path = story.directory.path().join(DIRECTORY).join(FILE);
    let earlier = std::fs::read(&path).unwrap();
    story.add(100);
    story.merge(None, NOW);
    std::fs::write(&path, earlier).unwrap();
    assert!(refused(&mut story).contains("an earlier one"));
}

/// Damage behind what a start reads: found before anybody relies on what it says, or by whoever reads there.
#[test]
fn damage_is_found() {
    let mut story = with_file(5);
    let file = story.keeper.as_ref().unwrap().file().unwrap();
    let base = file.load().unwrap();
    story.keeper.as_mut().unwrap().loaded(base);
    story.check();
    let (head, path) = (*file.head(), story.directory.path().join(DIRECTORY).join(FILE));
    drop(file);
    for (at, load) in
        [(head.parts[0].values_at + 9, true), (head.parts[0].blocks_at, true), (head.end - 3, false)]
    {
        let mut byte = [0];
        std::fs::File::open(&path).unwrap().read_exact_at(&mut byte, at).unwrap();
        open(&path).write_all_at(&[byte[0] ^ 1], at).unwrap();
        story.start();
        let (keeper, store) = story.parts();
        assert_eq!(keeper.file().unwrap().load().is_err(), load);
        let job = keeper.begin(store, None, NOW).unwrap();
        let made = job.run();
        assert_eq!(made.is_ok(), at < head.parts[0].blocks_at, "a new file is made of the book");
        let done = keeper.finish(store, made);
        if at < head.parts[0].blocks_at {
            // The fingerprints are made anew.
            assert!(done.is_ok() && keeper.file().unwrap().load().is_ok());
        }
        story.check_if(at != head.end - 3 && at != head.parts[0].blocks_at);
        open(&path).write_all_at(&byte, at).unwrap();
    }
}

impl Story {
    fn check_if(&mut self, sound: bool) {
        if sound {
            self.check();
        }
    }
}

/// Without `control.db` later changes are lost, which is told.
#[test]
fn the_file_alone_is_a_list() {
    let mut story = with_file(6);
    (story.keeper, story.store) = (None, None);
    std::fs::remove_file(story.directory.path().join("control.db")).unwrap();
    let (mut store, _) = Store::open(story.directory.path());
    let opened = Keeper::open(story.directory.path(), &mut store, &story.shared, [6; 16]);
    let (keeper, words) = opened.unwrap();
    assert!(words.unwrap().contains("later changes are lost"));
    (story.keeper, story.store) = (Some(keeper), Some(store));
    story.check();
}

#[test]
fn what_is_no_entry_changes_nothing() {
    let mut story = Story::new(7);
    let (keeper, store) = story.parts();
    let long = "n".repeat(limits::SUPPRESSION_NOTE_MAX + 1);
    let bad = [
        entry(None, "nobody", None),
        entry(Some(""), "a@example.org", None),
        Entry { note: &long, ..entry(None, "a@example.org", None) },
        Entry { note: "two\nlines", ..entry(None, "a@example.org", None) },
    ];
    for bad in bad {
        assert!(keeper.add(store, &[entry(None, "ok@example.org", None), bad]).is_err());
    }
    assert_eq!(keeper.changes(), 0);
    story.check();
}

#[test]
fn an_import_of_others_is_merged_at_once() {
    let mut story = Story::new(8);
    let text =
        "email,reason\nAda@Example.org,bounce\nada@example.org,complaint\nnobody\n@gone.example,bounce\n";
    let mut runs = story.keeper.as_ref().unwrap().runs().unwrap();
    let mut import = Import::new(Defaults { tenant: None, reason: Reason::Manual, now: NOW });
    import.feed(text.as_bytes(), |entry| runs.offer(entry)).unwrap();
    let summary = import.finish(|entry| runs.offer(entry)).unwrap();
    assert_eq!((summary.entries, summary.wrong, runs.offered()), (3, 1, 3));
    let (keeper, store) = story.parts();
    let job = keeper.begin(store, Some(runs), NOW).unwrap();
    let made = job.run();
    let counts = keeper.finish(store, made).unwrap();
    assert_eq!((counts.entries, counts.added, counts.known), (2, 2, 1));
    let found = keeper.check(store, "ADA@example.org", &["shop"]).unwrap();
    assert_eq!(found[0].entry().unwrap().reason, Reason::HardBounce, "the first of the file");
    let page = keeper.page(store, None, 10, &|entry| entry.kind() == Kind::Domain).unwrap();
    let mut out = Vec::new();
    page.entries.iter().for_each(|record| exchange::write_line(&record.entry().unwrap(), &mut out));
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("'@gone.example,,hard_bounce,2025-11-24T16:00:00Z,,"), "{out}");
    let runs = std::fs::read_dir(story.directory.path().join(DIRECTORY)).unwrap().count();
    assert_eq!(runs, 1, "sorted parts are gone");
}

#[test]
fn the_disk_that_takes_nothing_changes_nothing() {
    let mut story = with_file(11);
    let (keeper, store) = story.parts();
    let job = keeper.begin(store, None, NOW).unwrap();
    std::fs::rename(story.directory.path().join(DIRECTORY), story.directory.path().join("away")).unwrap();
    let made = job.run();
    std::fs::rename(story.directory.path().join("away"), story.directory.path().join(DIRECTORY)).unwrap();
    let (keeper, store) = story.parts();
    assert!(matches!(keeper.finish(store, made), Err(KeepError::File(..))));
    story.add(20);
    story.check();
    story.merge(None, NOW);
    story.check();
}

mod others;
