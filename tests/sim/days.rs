//! Days of mail: fresh seeds in every run, and all that ever failed.
//!
//! `SIM_SEED=n` tells one seed alone, `SIM_SEEDS=n` says how many fresh ones are told, `SIM_BASE=n` with which they begin.

use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use relevo::runtime::sim::World;

use super::day::dice::Dice;
use super::day::plan::Plan;
use super::day::{Day, Told, tell};

/// Fresh seeds of an ordinary run: about 20 s of two cores in a debug build.
const SEEDS: u64 = 15;
/// Days told at one time.
const THREADS: usize = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Tells one day; what was wrong, a panic included. `before` may plant something.
pub fn wrong(plan: &Plan, before: impl FnOnce(&mut Day<'_>, &World)) -> Vec<String> {
    match catch_unwind(AssertUnwindSafe(|| tell(plan, before))) {
        Ok(Told { wrong, .. }) => wrong,
        Err(panic) => vec![words(&*panic)],
    }
}

/// What a panic said.
pub fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    format!("panic: {}", text.unwrap_or_default())
}

/// Tells the days of these seeds, and gives the seeds that failed and why.
fn tell_all(seeds: &[u64], make: fn(u64) -> Plan, matters: fn(&str) -> bool) {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            // The capture of a test's output reaches scoped threads too.
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let mut wrong = wrong(&make(*seed), |_, _| {});
                    wrong.retain(|what| matters(what));
                    if !wrong.is_empty() {
                        failed.lock().expect("no panic while held").push((*seed, wrong));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic while held");
    for (seed, wrong) in &failed {
        eprintln!("seed {seed}: {} things are wrong:", wrong.len());
        wrong.iter().take(10).for_each(|what| eprintln!("  {what}"));
        eprintln!("repeat it with: SIM_SEED={seed} cargo test --test sim days -- --nocapture");
    }
    assert!(failed.is_empty(), "{} of {} days went wrong", failed.len(), seeds.len());
}

/// Days on which half of all syncs fail, the process dies, and soon after the machine.
fn failed_ends(seed: u64) -> Plan {
    let mut plan = Plan::plain(seed);
    super::planted::failed_ends(&mut plan, &mut Dice::new(seed, 4));
    plan
}

fn fresh(share: u64) -> Vec<u64> {
    if let Some(only) = number("SIM_SEED") {
        return vec![only];
    }
    // The standard hasher's own keys are the one randomness at hand.
    let random = || std::hash::RandomState::new().build_hasher().finish() % 1_000_000_000;
    let base = number("SIM_BASE").unwrap_or_else(random);
    let count = number("SIM_SEEDS").unwrap_or(SEEDS).div_ceil(share);
    println!("seeds {base} to {}", base + count - 1);
    (base..base + count).collect()
}

/// `SIM_RELOADS=0`: the same days as before there were reloads.
fn reloading(seed: u64) -> Plan {
    if number("SIM_RELOADS") == Some(0) { Plan::new(seed) } else { Plan::reloading(seed) }
}

#[test]
fn days_of_fresh_seeds() {
    tell_all(&fresh(1), reloading, |_| true);
}

/// Some new tasks run inside those that make them, as on io_uring.
fn at_once(seed: u64) -> Plan {
    Plan { at_once: 0.5, ..reloading(seed) }
}

#[test]
fn days_of_tasks_that_run_at_once() {
    tell_all(&fresh(3), at_once, |_| true);
}

/// Rot may cost mail, repeat it or keep it in the spool. It must never change mail, send it astray, lose it without a word, or stop the
/// relay.
fn matters_though_rotten(what: &str) -> bool {
    let never = [
        "bytes came",
        "added: ",
        "nobody",
        "delivered to site",
        "never handed in",
        "panic",
        "at RCPT",
        "no reason",
        "lost in silence",
    ];
    never.iter().any(|words| what.contains(words))
}

#[test]
fn days_of_rot() {
    tell_all(&fresh(10), Plan::rotten, matters_though_rotten);
}

/// The same, and one write in ten fails.
fn failed_writes(seed: u64) -> Plan {
    let mut plan = failed_ends(seed);
    plan.disk.append_error = 0.1;
    plan
}

#[test]
fn days_of_failed_ends() {
    tell_all(&fresh(3), failed_ends, |_| true);
    tell_all(&fresh(3), failed_writes, |_| true);
}

/// A plain day, and clients that bring no mail.
fn hostile_clients(seed: u64) -> Plan {
    let mut plan = Plan::plain(seed);
    super::planted::hostile_clients(&mut plan, &mut Dice::new(seed, 4));
    plan
}

#[test]
fn days_of_hostile_clients() {
    tell_all(&fresh(3), hostile_clients, |_| true);
}

#[test]
fn days_of_seeds_that_failed_once() {
    let seeds = |kind: &str| -> Vec<u64> {
        let lines = include_str!("seeds.txt").lines().filter_map(|line| line.strip_prefix(kind));
        let seeds = lines.map(|line| line.split(' ').next().and_then(|seed| seed.parse().ok()));
        seeds.map(|seed| seed.expect("a seed behind its kind")).collect()
    };
    let (days, rot, failed) = (seeds("day "), seeds("rot "), seeds("failed end "));
    let reloads = seeds("reloads ");
    assert!(!days.is_empty() && !rot.is_empty() && !failed.is_empty());
    if number("SIM_SEED").is_none() {
        tell_all(&days, Plan::new, |_| true);
        tell_all(&reloads, Plan::reloading, |_| true);
        tell_all(&rot, Plan::rotten, matters_though_rotten);
        tell_all(&failed, failed_ends, |_| true);
    }
}

#[test]
fn a_day_repeats_itself() {
    for seed in [3, 129] {
        let one = tell(&Plan::reloading(seed), |_, _| {});
        assert_eq!(one, tell(&Plan::reloading(seed), |_, _| {}));
        assert!(one.taken > 0 && one.delivered > 0 && one.returned > 0, "{one:?}");
        assert_ne!(one.fingerprint, tell(&Plan::reloading(seed + 1), |_, _| {}).fingerprint);
    }
}
