//! What syncs keep, what crashes and failures take.

use super::*;

const PATH: &str = "/spool/lane-0/segment-0";
const SIZE: u64 = 1 << 20;

fn segment(world: &World, runtime: &SimRuntime) -> SimSegment {
    runtime.create_directory(Path::new("/spool/lane-0")).unwrap();
    world.block_on(runtime.create_segment(Path::new(PATH), SIZE, None)).unwrap()
}

fn append(segment: &SimSegment, offset: u64, bytes: &[u8]) {
    let (head, tail) = bytes.split_at(bytes.len() / 3);
    segment.append(offset, &[IoSlice::new(head), IoSlice::new(tail)]).unwrap();
}

#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    // Counts of pages of 4 KiB: kept whole, lost whole, torn.
    let fates = RefCell::new([0; 3]);
    seeds(60, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        let (synced, loose) = (pattern(10_000), pattern(40_000));
        append(&segment, 0, &synced);
        let _ = world.block_on(segment.sync()).unwrap();
        append(&segment, 12_288, &loose);
        assert!(segment.map().slice(12_288, loose.len()) == Some(&loose[..]), "visible at once");
        world.crash(1);
        assert!(segment.append(0, &[IoSlice::new(b"x")]).is_err(), "a handle of the old life writes nothing");
        assert!(world.block_on(segment.sync()).is_err());

        let runtime = world.shard(1, 0);
        assert_eq!(runtime.list(Path::new("/spool/lane-0")).unwrap(), ["segment-0"]);
        let again = runtime.open_segment(Path::new(PATH)).unwrap();
        assert!(again.map().slice(0, synced.len()) == Some(&synced[..]), "every synced byte");
        let survived = again.map().slice(12_288, loose.len()).unwrap();
        for (page, wanted) in survived.chunks(4096).zip(loose.chunks(4096)) {
            let kept = page == wanted;
            let lost = page.iter().all(|byte| *byte == 0);
            fates.borrow_mut()[if kept {
                0
            } else if lost {
                1
            } else {
                2
            }] += 1;
            for (sector, wanted) in page.chunks(512).zip(wanted.chunks(512)) {
                assert!(sector == wanted || sector.iter().all(|byte| *byte == 0), "sectors are whole");
            }
        }
        assert!(segment.map().slice(12_288, loose.len()) == Some(&loose[..]), "the old map stays");
        assert_eq!(world.block_on(runtime.read(again.map(), 0, 100)).unwrap(), synced[..100]);
    });
    assert!(fates.borrow().iter().all(|count| *count > 50), "{fates:?}");
}

#[test]
fn a_sync_covers_what_was_appended_before_its_call() {
    seeds(40, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        append(&segment, 0, &pattern(5000));
        let (during, done) = (segment.clone(), Rc::new(Cell::new(false)));
        let flag = done.clone();
        runtime.spawn(async move {
            let _ = during.sync().await.unwrap();
            flag.set(true);
        });
        world.run_for(Duration::from_micros(50));
        append(&segment, 5000, &pattern(5000));
        assert!(!done.get(), "a sync takes time");
        world.run_for(Duration::from_millis(5));
        assert!(done.get());
        assert_eq!(world.stable(1, PATH, 0, 5000).unwrap(), pattern(5000));
        assert!(world.stable(1, PATH, 5000, 5000).unwrap().iter().all(|byte| *byte == 0), "not yet");
        let _ = world.block_on(segment.sync()).unwrap();
        assert_eq!(world.stable(1, PATH, 5000, 5000).unwrap(), pattern(5000));
    });
}

#[test]
fn a_crash_during_a_sync_settles_its_pages_by_chance() {
    let seen = RefCell::new([false; 2]);
    seeds(40, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        append(&segment, 0, &pattern(4096));
        runtime.spawn(async move {
            let _ = segment.sync().await;
            panic!("this task must be gone");
        });
        world.run_for(Duration::from_micros(50));
        world.crash(1);
        assert!(world.run_until_idle(Duration::from_secs(1)));
        assert_eq!(world.panics(1), 0);
        let whole = world.stable(1, PATH, 0, 4096).unwrap() == pattern(4096);
        seen.borrow_mut()[usize::from(whole)] = true;
        // The next life's first sync finds no other under way.
        let again = world.shard(1, 0).open_segment(Path::new(PATH)).unwrap();
        let _ = world.block_on(again.sync()).unwrap();
    });
    assert_eq!(*seen.borrow(), [true; 2]);
}

#[test]
fn a_failed_sync_forgets_its_pages() {
    let lost = Cell::new(0);
    seeds(60, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        append(&segment, 0, &pattern(4096));
        world.disk_faults(1).fail_syncs = 1;
        assert!(world.block_on(segment.sync()).is_err());
        assert!(segment.map().slice(0, 4096) == Some(&pattern(4096)[..]), "the page cache still shows it");
        append(&segment, 8192, &pattern(100));
        let _ = world.block_on(segment.sync()).unwrap();
        let before = world.stable(1, PATH, 0, 4096).unwrap();
        world.crash(1);
        assert_eq!(world.stable(1, PATH, 0, 4096).unwrap(), before, "its fate was settled when it failed");
        assert_eq!(world.stable(1, PATH, 8192, 100).unwrap(), pattern(100));
        lost.set(lost.get() + u32::from(before != pattern(4096)));
    });
    assert!((10..60).contains(&lost.get()), "{}", lost.get());
}

#[test]
fn a_disk_may_lie_about_its_syncs() {
    seeds(20, |world| {
        let segment = segment(&world, &world.shard(1, 0));
        append(&segment, 0, &pattern(5_000));
        world.disk_faults(1).sync_lies = 1.0;
        assert!(world.block_on(segment.sync()).is_ok(), "it says that all is well");
        assert_eq!(world.stable(1, PATH, 0, 5_000).unwrap(), [0; 5_000], "and has done nothing");
        world.disk_faults(1).sync_lies = 0.0;
        let _ = world.block_on(segment.sync()).unwrap();
        assert_eq!(
            world.stable(1, PATH, 0, 5_000).unwrap(),
            pattern(5_000),
            "an honest sync makes up for it"
        );
    });
    let lost = Cell::new(0);
    seeds(20, |world| {
        let segment = segment(&world, &world.shard(1, 0));
        append(&segment, 0, &pattern(5_000));
        world.disk_faults(1).sync_hides = 1.0;
        assert!(world.block_on(segment.sync()).is_ok(), "it says that all is well");
        world.disk_faults(1).sync_hides = 0.0;
        let _ = world.block_on(segment.sync()).unwrap();
        lost.set(lost.get() + usize::from(world.stable(1, PATH, 0, 5_000).unwrap() != pattern(5_000)));
    });
    assert!(lost.get() > 10, "no later sync writes what a hidden failure lost");
}

#[test]
fn a_killed_process_leaves_the_page_cache() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    let old = segment(&world, &runtime);
    append(&old, 0, &pattern(5000));
    world.kill(1);
    assert!(!runtime.is_alive());
    let again = world.shard(1, 0).open_segment(Path::new(PATH)).unwrap();
    assert!(again.map().slice(0, 5000) == Some(&pattern(5000)[..]));
    assert_ne!(world.stable(1, PATH, 0, 5000).unwrap(), pattern(5000));
    let _ = world.block_on(again.sync()).unwrap();
    assert_eq!(
        world.stable(1, PATH, 0, 5000).unwrap(),
        pattern(5000),
        "the new life syncs the old one's pages"
    );
}

#[test]
fn appends_fail_whole_short_and_out_of_bounds() {
    let short = Cell::new(0);
    seeds(30, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        assert!(segment.append(SIZE - 1, &[IoSlice::new(b"xy")]).is_err());
        assert!(segment.append(u64::MAX, &[IoSlice::new(b"xy")]).is_err());
        world.disk_faults(1).append_error = 1.0;
        let error = segment.append(0, &[IoSlice::new(b"xy")]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        assert_eq!(segment.map().slice(0, 2), Some(&[0, 0][..]));
        world.disk_faults(1).append_error = 0.0;
        world.disk_faults(1).append_short = 1.0;
        assert!(segment.append(0, &[IoSlice::new(&pattern(5000))]).is_err());
        let written = segment.map().slice(0, 5000).unwrap().iter().take_while(|byte| **byte != 0).count();
        assert!(written < 5000);
        short.set(short.get() + u32::from(written > 0));
        world.disk_faults(1).append_short = 0.0;
        append(&segment, 0, &pattern(5000));
    });
    assert!(short.get() > 20);
}

#[test]
fn the_disk_has_names_and_a_size() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    assert_eq!(runtime.list(Path::new("/spool")).unwrap_err().kind(), ErrorKind::NotFound);
    let early = world.block_on(runtime.create_segment(Path::new(PATH), SIZE, None));
    assert_eq!(early.err().unwrap().kind(), ErrorKind::NotFound);
    segment(&world, &runtime);
    runtime.create_directory(Path::new("/spool/lane-1")).unwrap();
    assert_eq!(runtime.list(Path::new("/spool")).unwrap(), ["lane-0", "lane-1"]);
    assert_eq!(runtime.list(Path::new("/spool/./lane-0/")).unwrap(), ["segment-0"]);
    assert!(world.shard(2, 0).list(Path::new("/spool")).is_err(), "each node has a disk of its own");
    let twice = world.block_on(runtime.create_segment(Path::new(PATH), SIZE, None));
    assert_eq!(twice.err().unwrap().kind(), ErrorKind::AlreadyExists);
    world.disk_faults(1).quota = Some(2 * SIZE);
    world.block_on(runtime.create_segment(Path::new("/spool/lane-1/a"), SIZE, None)).unwrap();
    let full = world.block_on(runtime.create_segment(Path::new("/spool/lane-1/b"), 1, None));
    assert_eq!(full.err().unwrap().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(runtime.list(Path::new("/spool/lane-1")).unwrap(), ["a"]);
    assert_eq!(runtime.open_segment(Path::new("/x")).err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn a_crash_during_creation_leaves_the_whole_file_or_none() {
    let seen = RefCell::new(BTreeMap::new());
    seeds(60, |world| {
        let runtime = world.shard(1, 0);
        runtime.create_directory(Path::new("/spool/lane-0")).unwrap();
        runtime.clone().spawn(async move {
            let _ = runtime.create_segment(Path::new(PATH), SIZE, None).await;
        });
        world.run_for(Duration::from_micros(100));
        world.crash(1);
        let length = world.shard(1, 0).open_segment(Path::new(PATH)).map(|segment| segment.map().len());
        *seen.borrow_mut().entry(length.ok()).or_insert(0) += 1;
    });
    assert_eq!(seen.borrow().keys().copied().collect::<Vec<_>>(), [None, Some(SIZE as usize)]);
}

#[test]
fn rot_and_unreadable_pages_are_seen_by_readers() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    let segment = segment(&world, &runtime);
    append(&segment, 0, &pattern(20_000));
    let _ = world.block_on(segment.sync()).unwrap();
    world.rot(1, PATH, 4100).unwrap();
    let flipped = segment.map().slice(4100, 1).unwrap()[0] ^ pattern(4101)[4100];
    assert_eq!(flipped.count_ones(), 1);
    world.spoil(1, PATH, 9000).unwrap();
    assert!(runtime.read_now(segment.map(), 4096, 4096).is_ok());
    assert!(runtime.read_now(segment.map(), 4096, 4097).is_err());
    assert!(world.block_on(runtime.read(segment.map(), 12_287, 1)).is_err());
    assert_eq!(runtime.read_now(segment.map(), SIZE - 1, 2).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    world.crash(1);
    let again = world.shard(1, 0).open_segment(Path::new(PATH)).unwrap();
    assert_eq!(again.map().slice(4100, 1).unwrap()[0] ^ pattern(4101)[4100], flipped);
    assert!(runtime.read_now(again.map(), 9000, 1).is_err());
}

#[test]
fn a_node_falls_at_a_chosen_operation() {
    let stable = RefCell::new([0; 2]);
    seeds(40, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        let reached = Rc::new(Cell::new(0));
        let (progress, peer) = (reached.clone(), runtime.clone());
        let listener = world.shard(2, 0).listen(SERVER).unwrap();
        let (shared, free) = (Rc::new(RefCell::new(())), Rc::new(Cell::new(0)));
        for _ in 0..3 {
            // Tasks whose end looks at what the running one has borrowed.
            let guard = Borrows(shared.clone(), free.clone());
            runtime.spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        runtime.spawn(async move {
            let stream = peer.connect(None, SERVER).unwrap();
            stream.connected().await.unwrap();
            for index in 0..4 {
                let result = {
                    let _borrowed = shared.borrow_mut();
                    segment.append(index * 4096, &[IoSlice::new(&pattern(4096))])
                };
                if result.is_err() || segment.sync().await.is_err() {
                    assert!(stream.send(b"250 kept").await.is_err(), "a dead node says nothing");
                    peer.yield_now().await;
                }
                progress.set(index + 1);
            }
        });
        // The third append or the third sync.
        world.disk_faults(1).crash_in = Some(5 + world.seed() as u32 % 2);
        assert!(world.run_until_idle(Duration::from_secs(1)));
        assert_eq!((reached.get(), world.tasks(1), world.panics(1)), (2, 0, 0));
        assert_eq!((runtime.is_alive(), free.get()), (false, 3));
        let (stream, _) = listener.try_accept().unwrap();
        assert_eq!(recv_all(&world, &stream), (vec![], Some(ErrorKind::ConnectionReset)));
        assert_eq!(world.stable(1, PATH, 4096, 4096).unwrap(), pattern(4096));
        assert_eq!(world.stable(1, PATH, 12_288, 4096).unwrap(), [0; 4096]);
        let third = world.stable(1, PATH, 8192, 4096).unwrap() == pattern(4096);
        stable.borrow_mut()[usize::from(third)] += 1;
        assert_eq!((world.count("append"), world.count("down")), (3, 1));
    });
    assert!(stable.borrow().iter().all(|count| *count > 5), "{stable:?}");
}

struct Borrows(Rc<RefCell<()>>, Rc<Cell<u32>>);

impl Drop for Borrows {
    fn drop(&mut self) {
        self.1.set(self.1.get() + u32::from(self.0.try_borrow_mut().is_ok()));
    }
}
