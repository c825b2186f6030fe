//! The time each part of a message's way takes, and that of a commit through a real file. `benches/instructions` counts
//! the instructions of the same parts.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use relevo::queue::outcome::Stored;
use relevo::runtime::glommio::{self, GlommioRuntime};
use relevo::runtime::os::Settings;
use relevo::runtime::{Bell, Runtime, Segment};
use relevo::spool::Lane;
use relevo::spool::batch::Item;
use relevo::spool::lane::{Begin, DurableItem, StoredMessage};
use relevo::spool::layout;

mod cases;

use cases::spool::{SHAPE, TOGETHER, message, outcome};

fn parts(criterion: &mut Criterion) {
    for case in &cases::ALL {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(match case.unit {
            "byte" => Throughput::Bytes(case.units),
            _ => Throughput::Elements(case.units),
        });
        // Made when it is asked for, as some take seconds to make.
        let routine = RefCell::new(None);
        group.bench_function(case.unit, |bencher| {
            routine.borrow_mut().get_or_insert_with(case.make);
            let run = |act: fn(&mut Box<dyn cases::Routine>)| routine.borrow_mut().as_mut().map(act);
            bencher.iter_batched(
                || run(|routine| routine.prepare()),
                |_| run(|routine| routine.run()),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

/// A lane with files, on a shard's own thread and runtime.
struct Store {
    runtime: GlommioRuntime,
    directory: PathBuf,
    lane: Lane,
    segments: Vec<<GlommioRuntime as Runtime>::Segment>,
}

impl Store {
    async fn housekeep(&mut self) {
        while let Some((slot, block)) = self.lane.next_to_free() {
            let segment = &self.segments[usize::from(slot)];
            segment.append(0, &[std::io::IoSlice::new(&block)]).expect("a working disk");
            self.lane.freed(slot, Some(segment.sync().await.expect("a working disk")));
        }
        while let Some(slot) = self.lane.wants_segment() {
            let path = layout::segment_path(&self.directory, slot);
            let made = self.runtime.create_segment(&path, SHAPE.segment_size, None).await;
            self.segments.push(made.expect("room for segments"));
            self.lane.segment_created(slot, true);
        }
    }

    /// Makes one commit of these, as `shard::store::persist` does: the time it took, and the messages in it.
    async fn commit(&mut self, items: impl Iterator<Item = Item>) -> (Duration, Vec<DurableItem>) {
        let mut queue = items.collect();
        let begun = self.runtime.now();
        let Begin::Commit(batch) = self.lane.begin(&mut queue, self.runtime.random()) else {
            panic!("no room for a commit")
        };
        let segment = &self.segments[usize::from(batch.slot)];
        if let Some(header) = &batch.header {
            segment.append(0, &[std::io::IoSlice::new(header)]).expect("a working disk");
        }
        segment.append(u64::from(batch.offset), &batch.parts()).expect("a working disk");
        let proof = segment.sync().await.expect("a working disk");
        let mut all = Vec::with_capacity(batch.len());
        self.lane.done(batch, proof, |_, done| all.push(done));
        let took = self.runtime.now().since(begun);
        self.housekeep().await;
        (took, all)
    }

    /// The time of so many commits of bodies of a size; that of their outcomes is not in it.
    async fn commits(&mut self, size: usize, count: u64) -> Duration {
        let mut sum = Duration::ZERO;
        for _ in 0..count {
            let (took, stored) = self.commit((0..TOGETHER).map(|_| message(vec![b'x'; size]))).await;
            sum += took;
            let outcomes = stored.into_iter().filter_map(|done| match done {
                DurableItem::Message(StoredMessage { key, location, .. }, ()) => {
                    Some(outcome((key, location), Stored::Delivered))
                }
                _ => None,
            });
            self.commit(outcomes).await;
        }
        sum
    }
}

async fn serve(
    runtime: GlommioRuntime,
    directory: PathBuf,
    asked: Receiver<(usize, u64)>,
    told: Sender<Duration>,
) {
    let mut store = Store { runtime, directory, lane: Lane::new(SHAPE), segments: Vec::new() };
    store.housekeep().await;
    // Waiting here holds up nobody: the shard has nothing else to do.
    while let Ok((size, count)) = asked.recv() {
        if told.send(store.commits(size, count).await).is_err() {
            return;
        }
    }
}

/// A real disk, unless BENCH_DIR says otherwise.
fn scratch() -> tempfile::TempDir {
    let parent = std::env::var_os("BENCH_DIR").unwrap_or("/var/tmp".into());
    tempfile::tempdir_in(Path::new(&parent)).expect("a scratch directory")
}

fn append(criterion: &mut Criterion) {
    let scratch = scratch();
    let directory = scratch.path().to_owned();
    let ((ask, asked), (tell, told)) = (channel(), channel());
    let settings = Settings { core: 0, spin: Duration::ZERO, ring_depth: 128, compute: None };
    let shard = glommio::start_shard(settings, Arc::new(Bell::new()), move |runtime| async move {
        serve(runtime, directory, asked, tell).await;
        Ok(())
    });
    let shard = shard.expect("io_uring");
    // Segments are made and each is written once.
    ask.send((100 << 10, 200)).expect("the shard lives");
    told.recv().expect("the shard lives");
    let mut group = criterion.benchmark_group("append and commit");
    group.sample_size(20);
    for size in [1 << 10, 10 << 10, 100 << 10] {
        group.throughput(Throughput::Bytes((size * TOGETHER) as u64));
        group.bench_function(BenchmarkId::new("sixteen bodies", size), |bencher| {
            bencher.iter_custom(|count| {
                ask.send((size, count)).expect("the shard lives");
                told.recv().expect("the shard lives")
            });
        });
    }
    group.finish();
    drop(ask);
    shard.join().expect("a clean end");
}

criterion_group!(benches, parts, append);
criterion_main!(benches);
