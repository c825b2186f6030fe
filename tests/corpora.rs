//! The fuzz targets in the ordinary test run: every file of `fuzz/corpus/`, then a bounded number of mutations of them.
//!
//! The mutations are the same in every run, so that a failure is found again; `CORPORA_ROUNDS=50` tries fifty times as many.
//! libFuzzer goes further: `fuzz/README.md`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "../fuzz/targets/mod.rs"]
mod targets;

/// Longest mutated input, bytes.
const LENGTH_MAX: usize = 16 * 1024;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

/// Names of a directory's entries, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A range of at most `longest` bytes of `bytes`.
    fn range(&mut self, bytes: &[u8], longest: usize) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..start + self.below(longest.min(bytes.len() - start) + 1)
    }
}

/// One to four small changes of one corpus file, some of them with pieces of another.
fn mutate(random: &mut SplitMix, corpus: &[Vec<u8>]) -> Vec<u8> {
    const TELLING: [u8; 16] = *b"\0\x01\x7f\x80\xff\r\n. <>@:\"-\x16";
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len());
        match random.below(8) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[place] = random.next() as u8,
            2 if !bytes.is_empty() => bytes[place] = TELLING[random.below(TELLING.len())],
            3 => bytes.insert(place, TELLING[random.below(TELLING.len())]),
            4 => drop(bytes.drain(random.range(&bytes, 16))),
            5 => {
                let piece = bytes[random.range(&bytes, 64)].to_vec();
                bytes.splice(place..place, piece);
            }
            6 => {
                let other = &corpus[random.below(corpus.len())];
                let piece = other[random.range(other, 256)].to_vec();
                let end = (place + piece.len()).min(bytes.len());
                bytes.splice(place..end, piece);
            }
            _ => bytes.truncate(place.max(1)),
        }
    }
    bytes.truncate(LENGTH_MAX);
    bytes
}

/// Runs a target over its corpus and over mutations of it.
fn explore(name: &str) {
    let (_, target, rounds) = *targets::ALL.iter().find(|target| target.0 == name).expect("a target");
    let directory = root().join("corpus").join(name);
    let mut corpus = Vec::new();
    for file in names(&directory) {
        let bytes = fs::read(directory.join(&file)).expect("a readable file");
        attempt(name, target, &bytes, &format!("fuzz/corpus/{name}/{file}"));
        corpus.push(bytes);
    }
    assert!(!corpus.is_empty(), "there is no corpus for {name}");
    target(&[]);
    let times = std::env::var("CORPORA_ROUNDS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let mut random = SplitMix(0);
    for round in 0..rounds * times {
        let bytes = mutate(&mut random, &corpus);
        attempt(name, target, &bytes, &format!("mutation {round}"));
    }
}

/// Keeps an input that fails, where libFuzzer would.
fn attempt(name: &str, target: fn(&[u8]), bytes: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_ok() {
        return;
    }
    let directory = root().join("artifacts").join(name);
    let file = directory.join(what.replace(['/', ' '], "-"));
    let kept = fs::create_dir_all(&directory).and_then(|()| fs::write(&file, bytes));
    panic!("{name} fails on {what}; kept as {} ({kept:?}): {}", file.display(), bytes.escape_ascii());
}

macro_rules! explore {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                explore(stringify!($name));
            }
        )*
        const EXPLORED: &[&str] = &[$(stringify!($name)),*];
    };
}

explore!(record fold command server reply client data admit handover dns cache config address proxy bounce seven_bit shaping dkim incoming suppression accounts tokens lines resp needle rolled hook policy cluster pickup merge import_postfix import_pmta import_kumo);

/// A target has a test here, a binary for libFuzzer, an entry in the manifest and a corpus; nothing is left over.
#[test]
fn every_target_is_everywhere() {
    let mut expected: Vec<_> = targets::ALL.iter().map(|target| target.0.to_owned()).collect();
    expected.sort();
    let mut explored = EXPLORED.to_vec();
    explored.sort_unstable();
    assert_eq!(explored, expected);
    assert_eq!(names(&root().join("corpus")), expected);
    let binaries: Vec<_> = expected.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&root().join("fuzz_targets")), binaries);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    for name in expected {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        let binary = fs::read_to_string(root().join(format!("fuzz_targets/{name}.rs"))).expect("a binary");
        assert!(binary.contains(&format!("targets::{name}(data)")), "{name}");
    }
}
