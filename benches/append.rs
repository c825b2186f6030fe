//! How bytes should enter a segment: pwritev beside a read map, or through a writable map. The shipped code does what wins here.
//!
//! Each sample is one commit: sixteen bodies of a size, then fdatasync, in a recycled file that was zero-written once.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::IoSlice;
use std::path::PathBuf;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const FILE: usize = 64 << 20;
const BODIES: usize = 16;

fn segment(name: &str) -> (File, PathBuf) {
    let path = std::env::temp_dir().join(format!("relevo-append-{}-{name}", std::process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .expect("a scratch file");
    let zeroes = vec![0; 1 << 20];
    for at in (0..FILE).step_by(zeroes.len()) {
        rustix::io::pwrite(&file, &zeroes, at as u64).expect("room for 64 MiB");
    }
    rustix::fs::fsync(&file).expect("a working disk");
    (file, path)
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append and fdatasync");
    group.sample_size(30);
    for size in [1 << 10, 10 << 10, 1 << 20] {
        let body = vec![b'x'; size];
        let step = (size * BODIES).next_multiple_of(4096);
        group.throughput(Throughput::Bytes((size * BODIES) as u64));
        let (file, path) = segment("pwritev");
        let mut at = 0;
        group.bench_function(BenchmarkId::new("pwritev", size), |bencher| {
            bencher.iter(|| {
                at = if at + step > FILE { 0 } else { at };
                let parts: Vec<_> = (0..BODIES).map(|_| IoSlice::new(black_box(&body))).collect();
                rustix::io::pwritev(&file, &parts, at as u64).expect("a working disk");
                rustix::fs::fdatasync(&file).expect("a working disk");
                at += step;
            });
        });
        let _ = std::fs::remove_file(path);
        let (file, path) = segment("map");
        // SAFETY: the file is this benchmark's own, of fixed size, and mapped once.
        let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.expect("a mapping");
        let mut at = 0;
        group.bench_function(BenchmarkId::new("map", size), |bencher| {
            bencher.iter(|| {
                at = if at + step > FILE { 0 } else { at };
                for number in 0..BODIES {
                    let from = at + number * size;
                    map[from..from + size].copy_from_slice(black_box(&body));
                }
                rustix::fs::fdatasync(&file).expect("a working disk");
                at += step;
            });
        });
        let _ = std::fs::remove_file(path);
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
