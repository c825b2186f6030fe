//! What the resolver's memory costs: bytes that the allocator gave, not what is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use relevo::dns::cache::Cache;
use relevo::dns::{Answer, LookupResult, QueryType};
use relevo::limits;
use relevo::time::Instant;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Bytes this thread has from the heap.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // The thread may be at its end.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: everything is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Names of 18 letters: half of them have one or two MX hosts, a third one or two addresses, the rest nothing.
fn entry(number: usize) -> (QueryType, String, Answer) {
    let domain = format!("cust{number:06}.example");
    let hosts = |count: usize| (0..count).map(|rank| (10 * rank as u16, format!("mx{rank}.{domain}")));
    let ipv4 = |last: u8| IpAddr::from([192, 0, 2, last]);
    let ipv6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
    let (kind, answer) = match number % 6 {
        0 | 1 => (QueryType::Mx, Answer::Mx { hosts: hosts(1).collect(), cut: false }),
        2 => (QueryType::Mx, Answer::Mx { hosts: hosts(2).collect(), cut: false }),
        3 => (QueryType::A, Answer::Addresses(vec![ipv4(1), ipv4(2)])),
        4 => (QueryType::Aaaa, Answer::Addresses(vec![ipv6(1)])),
        _ => (QueryType::Mx, Answer::NoDomain),
    };
    (kind, domain, answer)
}

/// Puts a name and what it has into the cache.
fn remember(cache: &mut Cache, number: usize) {
    let (kind, name, answer) = entry(number);
    let found = LookupResult { answer: Ok(answer), ttl: Duration::from_secs(3600), secure: false };
    cache.put(kind, &name, &found, (Instant(1), 0));
}

/// A million names are remembered in less than a quarter of a gigabyte. A tenth of them is looked at here: parts fill alike, however many.
#[test]
fn a_million_names_take_less_than_256_mib() {
    const TENTH: usize = 100_000;
    let before = HELD.get();
    let mut cache = Cache::new(limits::DNS_CACHE_BYTES / 10);
    (0..TENTH).for_each(|number| remember(&mut cache, number));
    let held = || usize::try_from(HELD.get() - before).expect("it holds some");
    let all = held();
    println!("{} bytes a name, of which {} are counted", all / TENTH, cache.bytes() / TENTH);
    assert!(cache.bytes().abs_diff(all) <= all / 50, "{} of {all} bytes are counted", cache.bytes());
    assert!(all <= 75 * TENTH && 10 * all <= limits::DNS_CACHE_BYTES, "{all} bytes");
    for number in 0..TENTH {
        let (kind, name, answer) = entry(number);
        let known = cache.get(kind, &name, Instant(1)).and_then(|known| known.result());
        assert_eq!(known.map(|known| known.answer), Some(Ok(answer)), "{name}");
    }
    // However many come, it is no more.
    (TENTH..6 * TENTH).for_each(|number| remember(&mut cache, number));
    assert!(10 * held() <= limits::DNS_CACHE_BYTES, "{} bytes", held());
}
