//! Rates of what a client brings to a listener, and of what an account does: counts that all shards share, so that each holds over the node.
//!
//! Clients bring much at once and then nothing for hours, which is their right: so nothing is spread evenly, as it is towards next hops
//! (`shaping::pace`). In any window of its length there are at most as many as the rate says.

use std::array;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::config::ListenAddress;
use crate::limits;
use crate::policy::clients::Client;
use crate::policy::rates::{Counted, Whose};
use crate::shaping::value::Rate;
use crate::shard::cluster_part::ClusterPart;
use crate::shard::counts::Forgettable;
use crate::time::Instant;

/// What was taken in a window that moves with the time, in slots of so many parts of it. A slot that has begun counts whole until the last of it is out of the
/// window, so that a right comes back late by one slot at most, and never early.
#[derive(Debug)]
struct Window {
    /// The length, in nanoseconds, that the slots are of.
    period: AtomicU64,
    /// When the last that was taken is out of the window.
    until: AtomicU64,
    /// Each with the number of its slot since the clock began in the upper half, and how many were taken in the lower one.
    slots: [AtomicU64; limits::RATE_SLOTS_HELD],
    /// What this node has of it, where it shares it with others.
    part: OnceLock<Arc<ClusterPart>>,
    /// Of which rate they know.
    shared: AtomicU64,
}

impl Default for Window {
    fn default() -> Window {
        let slots = array::from_fn(|_| AtomicU64::new(0));
        let (period, until, shared) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Window { period, until, slots, part: OnceLock::new(), shared }
    }
}

/// A slot of a window of some length, at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    number: u64,
    length: u64,
}

impl Slot {
    fn at(now: Instant, period: u64) -> Slot {
        let length = period.div_ceil(limits::RATE_SLOTS as u64).max(1);
        Slot { number: now.0 / length, length }
    }

    fn place(self) -> usize {
        (self.number % limits::RATE_SLOTS_HELD as u64) as usize
    }

    /// As it stands beside its count.
    fn tag(self) -> u64 {
        self.number << 32
    }

    /// When a window has nothing of it any more.
    fn out(self) -> u64 {
        self.number.saturating_add(limits::RATE_SLOTS_HELD as u64).saturating_mul(self.length)
    }

    /// Those that a window has which ends in this one, the oldest first.
    fn window(self) -> impl Iterator<Item = Slot> {
        let first = self.number.saturating_sub(limits::RATE_SLOTS as u64);
        (first..=self.number).map(move |number| Slot { number, ..self })
    }
}

/// How many were taken in a slot, as it is held.
fn count(held: u64) -> u64 {
    u64::from(held as u32)
}

/// Whether it is held of this slot, and of none before it in the same place.
fn is_of(held: u64, slot: Slot) -> bool {
    held - count(held) == slot.tag()
}

impl Window {
    fn taken(&self, slot: Slot) -> u64 {
        let held = self.slots[slot.place()].load(Ordering::SeqCst);
        if is_of(held, slot) { count(held) } else { 0 }
    }

    fn sum(&self, now: Slot) -> u64 {
        now.window().map(|slot| self.taken(slot)).sum()
    }

    fn add(&self, slot: Slot) {
        let more = |held: u64| Some(if is_of(held, slot) { held + 1 } else { slot.tag() + 1 });
        let _ = self.slots[slot.place()].fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        self.until.fetch_max(slot.out(), Ordering::SeqCst);
    }

    /// One that was taken in it is not used. If it is out of the window by now, nothing comes of that.
    fn remove(&self, slot: Slot) {
        let less = |held: u64| (is_of(held, slot) && count(held) > 0).then(|| held - 1);
        let _ = self.slots[slot.place()].fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// Takes one, or says after how long one may be taken. Who finds that others were faster gives back, so there are never too many.
    fn take(&self, rate: &Rate, now: Instant) -> Result<Slot, Duration> {
        let (period, whole) = (period(rate), rate.count.min(u64::from(u32::MAX)));
        let most = self.part.get().map_or(whole, |part| part.units(whole));
        if self.period.swap(period, Ordering::SeqCst) != period {
            // Of another rate, before a reload: its slots were of another length.
            self.slots.iter().for_each(|slot| slot.store(0, Ordering::SeqCst));
        }
        let slot = Slot::at(now, period);
        for _ in 0..limits::RATE_TRIES {
            if self.sum(slot) >= most {
                break;
            }
            self.add(slot);
            let sum = self.sum(slot);
            if sum <= most {
                self.want(sum.saturating_mul(4) > most.saturating_mul(3), (most, whole));
                return Ok(slot);
            }
            self.remove(slot);
        }
        self.want(true, (most, whole));
        let wait = self.wait(slot, most, now);
        // Other nodes may have left some by then.
        Err(if most < whole { wait.min(limits::CLUSTER_RENEW) } else { wait })
    }

    /// Other nodes hear that more is wanted here, where there may be more.
    fn want(&self, is_so: bool, (most, whole): (u64, u64)) {
        if let Some(part) = self.part.get().filter(|_| is_so && most < whole) {
            part.wants(None);
        }
    }

    /// How many of it are taken now.
    fn used(&self, now: Instant) -> u64 {
        match self.period.load(Ordering::SeqCst) {
            0 => 0,
            period => self.sum(Slot::at(now, period)),
        }
    }

    /// When so many of the oldest are out of the window that one more fits in.
    fn wait(&self, now_in: Slot, most: u64, now: Instant) -> Duration {
        if most == 0 {
            return limits::CLUSTER_RENEW;
        }
        let mut left = self.sum(now_in);
        let out = now_in.window().find(|slot| {
            left -= self.taken(*slot).min(left);
            left < most
        });
        Instant(out.unwrap_or(now_in).out()).since(now)
    }

    fn is_empty(&self, now: Instant) -> bool {
        self.until.load(Ordering::SeqCst) <= now.0
    }
}

fn period(rate: &Rate) -> u64 {
    u64::try_from(rate.period.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// What one of them brought. There is a window for what is counted alone.
#[derive(Debug, Default)]
pub struct Rates {
    messages: OnceLock<Box<Window>>,
    recipients: OnceLock<Box<Window>>,
}

impl Forgettable for Rates {
    fn is_empty(&self, now: Instant) -> bool {
        [&self.messages, &self.recipients].iter().all(|of| of.get().is_none_or(|window| window.is_empty(now)))
    }
}

impl Rates {
    fn of(&self, counted: Counted) -> &Window {
        let of = match counted {
            Counted::Messages => &self.messages,
            Counted::Recipients => &self.recipients,
        };
        of.get_or_init(Box::default)
    }

    /// What this node has of a rate that it shares with others, where they have not been told of it yet.
    pub fn untold(&self, counted: Counted, rate: &Rate) -> Option<&Arc<ClusterPart>> {
        let window = self.of(counted);
        let told = if rate.local { u64::MAX } else { rate.count.rotate_left(32) ^ period(rate) };
        if window.shared.swap(told, Ordering::SeqCst) == told {
            return None;
        }
        let part = window.part.get_or_init(Arc::default);
        if rate.local {
            part.set(None, u64::MAX);
        }
        Some(part).filter(|_| !rate.local)
    }

    /// How many are taken in a window that ends now.
    pub fn used(&self, counted: Counted, now: Instant) -> u64 {
        self.of(counted).used(now)
    }
}

/// Those of clients, by the listener that they come to. A client is looked up once a connection, behind a lock.
#[derive(Debug, Default)]
pub struct ClientRates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    rates: HashMap<(ListenAddress, Client), Arc<Rates>>,
    /// When they are looked through for those that say nothing any more.
    look: Instant,
}

impl ClientRates {
    /// What a client brings. None: so many others brought something of late that no more are counted. Whoever has as many networks as that is held by no rate of a
    /// network.
    pub fn of(&self, client: (ListenAddress, Client), now: Instant) -> Option<Arc<Rates>> {
        let Known { rates, look } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rates.get(&client) {
            return Some(known.clone());
        }
        if rates.len() >= limits::CLIENT_RATES_KEPT && *look <= now {
            rates.retain(|_, of| Arc::strong_count(of) > 1 || !of.is_empty(now));
            *look = now + limits::CLIENT_RATES_LOOK;
        }
        (rates.len() < limits::CLIENT_RATES_MAX).then(|| rates.entry(client).or_default().clone())
    }
}

/// One was taken of each of these: to be given back, or to be forgotten when it was used.
#[derive(Debug, Default)]
pub struct Taken([Option<(Arc<Rates>, Slot)>; 2]);

impl Taken {
    /// Takes one of each, or none of any: then whose is at its end, and for how long.
    pub fn take(
        all: [Option<(Whose, Arc<Rates>, Rate)>; 2],
        counted: Counted,
        now: Instant,
    ) -> Result<Taken, (Whose, Duration)> {
        let mut taken = Taken::default();
        for (place, (whose, rates, rate)) in taken.0.iter_mut().zip(all.into_iter().flatten()) {
            match rates.of(counted).take(&rate, now) {
                Ok(slot) => *place = Some((rates, slot)),
                Err(wait) => {
                    taken.give_back(counted);
                    return Err((whose, wait));
                }
            }
        }
        Ok(taken)
    }

    /// They are not used.
    pub fn give_back(self, counted: Counted) {
        self.0.into_iter().flatten().for_each(|(rates, slot)| rates.of(counted).remove(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::value::rate as read;

    const HOUR: u64 = 3_600_000_000_000;

    fn rate(text: &str) -> Rate {
        read(text).expect("a rate")
    }

    #[test]
    fn no_window_has_more_than_the_rate_says() {
        for (text, step) in [("100/h", 7u64), ("100/h", 400), ("7/min", 3), ("1000/d", 61), ("1/10s", 1)] {
            let (window, rate) = (Window::default(), rate(text));
            let (period, step) = (period(&rate), step * 1_000_000_000);
            let mut taken: Vec<u64> = Vec::new();
            // As many as there are at once, then at each step: three windows.
            for now in (1..3 * period).step_by(step as usize) {
                while window.take(&rate, Instant(now)).is_ok() {
                    taken.push(now);
                }
            }
            let within =
                |from: usize| taken[from..].iter().take_while(|at| **at < taken[from] + period).count();
            let most = (0..taken.len()).map(within).max().unwrap_or_default() as u64;
            assert_eq!(most, rate.count, "{text}");
            assert!(taken.len() as u64 >= 2 * rate.count, "{text}: {}", taken.len());
        }
    }

    #[test]
    fn it_says_when_one_is_to_be_had() {
        let (window, rate) = (Window::default(), rate("10/h"));
        let start = Instant(50 * HOUR + 1);
        for minute in 0..10u64 {
            window.take(&rate, Instant(start.0 + minute * HOUR / 60)).expect("one of ten");
        }
        let now = Instant(start.0 + 10 * HOUR / 60);
        let wait = window.take(&rate, now).expect_err("there were ten");
        let wait = u64::try_from(wait.as_nanos()).expect("a time");
        // When the first is an hour old, and the slot that it was in is out of the window.
        let (least, most) = (50 * HOUR / 60, 50 * HOUR / 60 + HOUR / 64 + 1);
        assert!((least..=most).contains(&wait), "{wait} {least}");
        assert!(window.take(&rate, Instant(now.0 + wait - 1)).is_err());
        assert!(window.take(&rate, Instant(now.0 + wait)).is_ok());
        assert!(!window.is_empty(now) && window.is_empty(Instant(now.0 + 3 * HOUR)));
    }

    /// However many shards take at one time, there are never too many, and none is lost.
    #[test]
    fn shards_take_no_more_than_there_is() {
        let (window, rate, now) = (Window::default(), rate("500/h"), Instant(7 * HOUR));
        let take = || (0..1_000).filter(|_| window.take(&rate, now).is_ok()).count();
        let took: usize = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            shards.into_iter().map(|shard| shard.join().expect("no panic")).sum()
        });
        assert_eq!(took + take(), 500);
    }

    #[test]
    fn a_reload_has_its_rate_in_force_at_once() {
        let (window, now) = (Window::default(), Instant(7 * HOUR));
        (0..20).for_each(|_| _ = window.take(&rate("20/h"), now).expect("one of twenty"));
        assert!(window.take(&rate("10/h"), now).is_err(), "what was taken stays taken");
        assert!(window.take(&rate("21/h"), now).is_ok() && window.take(&rate("21/h"), now).is_err());
        assert!(window.take(&rate("1/min"), now).is_ok(), "another length is another count");
    }

    /// However many clients come, what is known of them has a bound, and who brings nothing is forgotten.
    #[test]
    fn clients_are_forgotten_when_they_bring_nothing() {
        let all = ClientRates::default();
        let listener: ListenAddress = "192.0.2.1:25".parse().expect("an address");
        let client = |number: usize| (listener.clone(), Client::V6(number as u64));
        let bring = |number: usize, now| {
            let of = all.of(client(number), now).map(|rates| (Whose::Client, rates, rate("1/h")));
            let was_known = of.is_some();
            (was_known, Taken::take([of, None], Counted::Messages, now).is_ok())
        };
        let now = Instant(7 * HOUR);
        for number in 0..limits::CLIENT_RATES_MAX {
            assert_eq!(bring(number, now), (true, true));
        }
        assert_eq!((bring(0, now), bring(limits::CLIENT_RATES_MAX, now)), ((true, false), (false, true)));
        let later = Instant(now.0 + 2 * HOUR);
        assert_eq!(bring(limits::CLIENT_RATES_MAX, later), (true, true));
        assert_eq!(all.0.lock().expect("no panic").rates.len(), 1);
    }

    #[test]
    fn who_is_at_the_end_costs_the_others_nothing() {
        let (client, account) = (Arc::<Rates>::default(), Arc::<Rates>::default());
        let of = |whose, rates: &Arc<Rates>, text: &str| Some((whose, rates.clone(), rate(text)));
        let take = |both: bool, counted| {
            let account = of(Whose::Account, &account, "1/h").filter(|_| both);
            Taken::take([of(Whose::Client, &client, "3/h"), account], counted, Instant(7 * HOUR))
        };
        let first = take(true, Counted::Messages).expect("the first");
        for _ in 0..5 {
            assert_eq!(take(true, Counted::Messages).map(drop).map_err(|of| of.0), Err(Whose::Account));
        }
        // The client has what the account could not use.
        assert!(take(false, Counted::Messages).is_ok() && take(false, Counted::Messages).is_ok());
        assert_eq!(take(false, Counted::Messages).map(drop).map_err(|of| of.0), Err(Whose::Client));
        assert!(take(true, Counted::Recipients).is_ok(), "recipients are another matter");
        first.give_back(Counted::Messages);
        assert!(take(true, Counted::Messages).is_ok());
    }
}
