//! Heap allocations of the shards for each message, in a whole relay that is driven over the loopback.
//!
//!   cargo bench --bench allocations                 allocations and bytes for each message in steady state
//!   cargo bench --bench allocations -- --where      and where most of them are made (slow, approximate)
//!
//! A node of two shards runs in this process, with the load generator and its sink beside it. What threads named `relevo-shard`
//! allocate between two moments is divided by what was delivered between them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use relevo::config::{Choice, Config, DomainPattern, LogConfig, RouteConfig, RouteTarget};
use relevo::node::Node;
use relevo::runtime::process;
use relevo_load::Until;
use relevo_load::demo::{Load, LoadConfig};
use relevo_load::mix::{Domains, Recipients};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static TRACING: AtomicBool = AtomicBool::new(false);
static TRACES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

/// Allocations looked at before a thread's name is taken to be final.
const UNNAMED: u8 = 200;
/// Of so many allocations one is traced.
const SAMPLE: u64 = 61;

thread_local! {
    /// Whether this is a shard: 0 to UNNAMED, not known yet; then 254 no, 255 yes.
    static SHARD: Cell<u8> = const { Cell::new(0) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn is_shard() -> bool {
    SHARD
        .try_with(|shard| {
            if shard.get() < 254 {
                let mut name = [0u8; 16];
                // SAFETY: the call writes at most 16 bytes.
                unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
                let named = name.starts_with(b"relevo-shard");
                shard.set(match (named, shard.get()) {
                    (true, _) => 255,
                    (false, UNNAMED..) => 254,
                    (false, seen) => seen + 1,
                });
            }
            shard.get() == 255
        })
        .unwrap_or(false)
}

fn count(size: usize) {
    if !is_shard() || INSIDE.get() {
        return;
    }
    let number = COUNT.fetch_add(1, Relaxed);
    BYTES.fetch_add(size as u64, Relaxed);
    if TRACING.load(Relaxed) && number.is_multiple_of(SAMPLE) {
        INSIDE.set(true);
        let trace = Backtrace::force_capture();
        TRACES.lock().expect("no thread died").push(trace);
        INSIDE.set(false);
    }
}

// SAFETY: everything is the system's allocator's; counting allocates only under a flag that stops the recursion.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The frames of this program in a trace, innermost first.
fn frames(trace: &Backtrace) -> String {
    let text = trace.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let ours = lines.windows(2).filter(|pair| pair[0].contains("relevo::") && pair[1].starts_with("at "));
    let names: Vec<String> = ours
        .take(3)
        .map(|pair| {
            let name = pair[0].split_once(": ").map_or(pair[0], |(_, name)| name);
            let place = pair[1].rsplit('/').next().unwrap_or_default();
            format!("{name} ({place})")
        })
        .collect();
    names.join(" < ")
}

fn main() {
    let trace = std::env::args().any(|word| word == "--where");
    if std::env::args().any(|word| word == "--test") {
        return;
    }
    process::hold_signals();
    let directory = std::env::temp_dir().join(format!("relevo-allocations-{}", std::process::id()));
    let mut config = LoadConfig::default();
    config.sizes = "10240".parse().expect("a size");
    config.recipients = Recipients::between(1, 1);
    config.domains = Domains::zipf(100, 0.0);
    config.until = Until::Time(Duration::from_secs(9));
    let mut load = Load::start(config).expect("a sink");
    let sink = load.sink_addresses()[0];
    let mut settings = Config::embedded();
    settings.node.data_dir = directory.join("spool");
    settings.node.shards = 2;
    settings.logs = vec![LogConfig::to(directory.join("accounting.jsonl"))];
    settings.control.http = None;
    settings.listeners[0].address = std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into();
    let to = Choice::only(RouteTarget::smtp(sink.ip().to_string(), sink.port()));
    settings.routes =
        vec![RouteConfig { domain: DomainPattern::Any, to, tls: None, credentials: None, retry: None }];
    let node = Node::start(settings).expect("a node");
    load.send_to(node.settings.listeners[0].address.network().expect("a port")).expect("a sender");
    let mut begin = None;
    let mut end = None;
    let reading = || {
        let delivered: u64 = node.instruments.iter().map(|of| of.counters.recipients_delivered.get()).sum();
        (delivered, COUNT.load(Relaxed), BYTES.load(Relaxed))
    };
    let report = load.finish(Duration::from_secs(30), |live| {
        if begin.is_none() && live.elapsed > Duration::from_secs(3) {
            begin = Some(reading());
            TRACING.store(trace, Relaxed);
        }
        if end.is_none() && live.elapsed > Duration::from_secs(8) {
            TRACING.store(false, Relaxed);
            end = Some(reading());
        }
        true
    });
    let (begin, end) = (begin.expect("a begin"), end.expect("an end"));
    let messages = (end.0 - begin.0).max(1) as f64;
    println!("messages                 {messages}");
    println!("allocations a message    {:.3}", (end.1 - begin.1) as f64 / messages);
    println!("bytes a message          {:.1}", (end.2 - begin.2) as f64 / messages);
    assert!(report.is_ok_and(|report| report.verdict.is_clean()), "mail was lost");
    assert!(node.stop());
    let _ = std::fs::remove_dir_all(directory);
    let mut places: HashMap<String, usize> = HashMap::new();
    let traces = TRACES.lock().expect("no thread died");
    for trace in traces.iter() {
        *places.entry(frames(trace)).or_default() += 1;
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (place, count) in places.iter().take(60) {
        let each = *count as f64 * SAMPLE as f64 / messages;
        println!("{each:8.2}  {place}");
    }
}
