//! Runs one of the cases once, for `benches/instructions` to count its instructions under valgrind; counts its allocations.
//!
//!   instructions             every case: units of one run, allocations, bytes allocated
//!   instructions CASE        one of them
//!   instructions --where CASE    where in the source it allocates
//!   instructions --list, --cpu   the cases; the processor as this program sees it

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;

mod cases;

use cases::{Case, Routine};

/// Runs before the one that counts, so that buffers have grown and caches are full.
const WARM_UP: usize = 3;

/// The system's allocator, with counts.
struct Counting;

thread_local! {
    static COUNTS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    /// Called with the size of each allocation.
    static WATCH: Cell<Option<fn(usize)>> = const { Cell::new(None) };
}

fn count(size: usize) {
    if let Some(watch) = WATCH.get() {
        watch(size);
    }
}

// SAFETY: all is left to the system's allocator; what is counted here allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// valgrind counts what happens in here.
#[inline(never)]
fn counted(routine: &mut dyn Routine) {
    routine.run();
}

/// Allocations of one run, and their bytes.
fn measure(case: &Case) -> (u64, u64) {
    let mut routine = warmed_up(case);
    COUNTS.set((0, 0));
    WATCH.set(Some(|size| {
        let (count, bytes) = COUNTS.get();
        COUNTS.set((count + 1, bytes + size as u64));
    }));
    counted(&mut *routine);
    WATCH.set(None);
    COUNTS.get()
}

fn warmed_up(case: &Case) -> Box<dyn Routine> {
    let mut routine = (case.make)();
    for _ in 0..WARM_UP {
        routine.prepare();
        routine.run();
    }
    routine.prepare();
    routine
}

thread_local! {
    static PLACES: Cell<BTreeMap<String, (u64, u64)>> = const { Cell::new(BTreeMap::new()) };
}

/// Notes which line of the relay allocates.
fn note(size: usize) {
    WATCH.set(None);
    let stack = Backtrace::force_capture().to_string();
    // Lines in pairs: a function, and where it is.
    let lines: Vec<_> = stack.lines().map(str::trim).collect();
    let place = lines.windows(2).find_map(|pair| {
        let at = pair[1].strip_prefix("at ")?;
        let ours = at.contains("src/") && !at.contains("/registry/") && !at.contains("/rustc/");
        ours.then(|| at.trim_start_matches("./").to_owned())
    });
    let mut places = PLACES.take();
    let counts = places.entry(place.unwrap_or_else(|| "the bench itself".to_owned())).or_default();
    *counts = (counts.0 + 1, counts.1 + size as u64);
    PLACES.set(places);
    WATCH.set(Some(note));
}

fn tell_places(case: &Case) {
    let mut routine = warmed_up(case);
    WATCH.set(Some(note));
    counted(&mut *routine);
    WATCH.set(None);
    println!("{}, allocations and bytes in {} times one {}", case.name, case.units, case.unit);
    for (place, (count, bytes)) in PLACES.take() {
        println!("{count:>8} {bytes:>10}  {place}");
    }
}

fn main() {
    // cargo says `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let named = |name: &str| {
        let case = cases::ALL.iter().find(|case| case.name == name);
        case.unwrap_or_else(|| panic!("no case is called {name}"))
    };
    match words[..] {
        ["--where", name] => tell_places(named(name)),
        ["--list"] => cases::ALL.iter().for_each(|case| println!("{}", case.name)),
        ["--cpu"] => println!("{}", cpu()),
        [] => cases::ALL.iter().for_each(tell),
        [name] => tell(named(name)),
        _ => panic!("give one case, or none for all"),
    }
}

/// What the code may choose its ways by.
fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    macro_rules! found {
        ($($name:tt)*) => { [$((std::is_x86_feature_detected!($name), $name)),*] };
    }
    #[cfg(target_arch = "x86_64")]
    let features = found!("sse4.2" "avx" "avx2" "bmi2" "adx" "aes" "pclmulqdq" "vaes" "vpclmulqdq" "sha" "avx512f" "avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    let features: [(bool, &str); 0] = [];
    let names = features.iter().filter(|(found, _)| *found).map(|(_, name)| *name);
    [std::env::consts::ARCH].into_iter().chain(names).collect::<Vec<_>>().join(" ")
}

fn tell(case: &Case) {
    let (count, bytes) = measure(case);
    println!("{} {} {} {count} {bytes}", case.name, case.units, case.unit);
}
