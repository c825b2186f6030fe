//! What accounts and tenants have left of their quotas, as all shards share it.
//!
//! Control reserves a block, on disk first, and puts it here; shards take recipients out of it without a lock and without asking anybody, so that the
//! count is exact over them. Where nothing is left control is asked for the next, and a message waits for that, for a moment.

pub mod ledger;
#[cfg(test)]
mod tests_of_nodes;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::config::TenantConfig;
use crate::config::quota::{Period, Quotas};
use crate::limits;
use crate::policy::accounts::Accounts;
use crate::policy::quota::{Owner, Spare, Spent, block};
use crate::time::UnixMillis;

/// Why nothing may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// Control is asked.
    Asked,
    /// The quota of this period is used.
    Over(Period),
    /// What this node may give out alone is, and no other can be asked.
    Away,
}

/// What was taken, to be given back where no message comes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Of which of the shortest periods.
    number: u32,
    count: u32,
}

/// Control gives no more for now: it looks again whether it can.
const FOR_NOW: u8 = 0x40;
/// And nobody knows whether others have it.
const AWAY: u8 = 0x80;

/// What one has left.
#[derive(Debug)]
pub struct QuotaCount {
    /// Whose it is.
    pub owner: Owner,
    /// The name of that.
    pub name: Box<str>,
    /// The number of the shortest period in the upper half, and in the lower how many recipients of it are left.
    left: AtomicU64,
    /// The number of the shortest period for which control gives no more, in the same way, and whose quota is used, with whether that is [`FOR_NOW`]; 0: none.
    over: AtomicU64,
    /// The shortest period; more than there are: it has no quota.
    unit: AtomicU8,
    /// With so many left the next block is asked for.
    low: AtomicU32,
    /// Recipients that messages wait for.
    wanted: AtomicU32,
    /// The shortest period in which somebody was refused last.
    refused: AtomicU32,
    asked: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    quotas: Quotas,
    spares: Vec<Spare>,
    told: Vec<Spent>,
}

fn packed(number: u32, left: u32) -> u64 {
    u64::from(number) << 32 | u64::from(left)
}

fn unpacked(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl QuotaCount {
    /// Nothing yet, by no quota.
    fn new(owner: Owner, name: &str) -> QuotaCount {
        QuotaCount {
            owner,
            name: name.into(),
            left: AtomicU64::new(0),
            over: AtomicU64::new(0),
            unit: AtomicU8::new(u8::MAX),
            low: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Its quotas.
    pub fn quotas(&self) -> Quotas {
        lock(&self.state).quotas
    }

    /// These are its quotas. True: that is news, and control says anew what is left, as what was given out was by others.
    fn set_quotas(&self, quotas: Quotas) -> bool {
        let mut state = lock(&self.state);
        if state.quotas == quotas {
            return false;
        }
        let (number, left) = unpacked(self.left.swap(0, Ordering::SeqCst));
        let spare = Spare { quotas: state.quotas, number, left };
        keep_spare(&mut state, spare);
        self.over.store(0, Ordering::SeqCst);
        self.low.store(block(&quotas) / limits::QUOTA_LOW_PART, Ordering::Relaxed);
        self.unit.store(quotas.shortest().map_or(u8::MAX, |period| period as u8), Ordering::SeqCst);
        state.quotas = quotas;
        true
    }

    fn number(&self, now: UnixMillis) -> Option<u32> {
        Period::of_number(self.unit.load(Ordering::Acquire)).map(|period| period.at(now))
    }

    /// The period whose quota is used, if control gives no more of this one; and the flags of that.
    fn over(&self, number: u32) -> Option<(Period, u8)> {
        match unpacked(self.over.load(Ordering::Acquire)) {
            (of, both @ 1..) if of == number => {
                let flags = both as u8 & (FOR_NOW | AWAY);
                Some((Period::of_number((both as u8 ^ flags).checked_sub(1)?)?, flags))
            }
            _ => None,
        }
    }

    /// Whether there is no more of this period for now.
    fn is_short(&self, number: Option<u32>) -> bool {
        number.and_then(|number| self.over(number)).is_some_and(|(_, flags)| flags & FOR_NOW != 0)
    }

    /// How many are left of a period.
    pub fn free(&self, now: UnixMillis) -> u32 {
        let (number, left) = unpacked(self.left.load(Ordering::Acquire));
        if self.number(now) == Some(number) { left } else { 0 }
    }

    /// Those that were taken are not used. Of another period they are worth nothing.
    pub fn give_back(&self, taken: Taken) {
        let more = |both| match unpacked(both) {
            (number, left) if number == taken.number => {
                Some(packed(number, left.saturating_add(taken.count)))
            }
            _ => None,
        };
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    }

    /// A block that is on disk, given out by these quotas.
    fn give(&self, quotas: &Quotas, number: u32, block: u32) {
        let mut state = lock(&self.state);
        if state.quotas != *quotas {
            keep_spare(&mut state, Spare { quotas: *quotas, number, left: block });
            return;
        }
        let more = |both| {
            let (of, left) = unpacked(both);
            // What is left of another period was taken back before.
            let left = if of == number { left } else { 0 };
            Some(packed(number, left.saturating_add(block)))
        };
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    }

    /// By these quotas there is no more for now.
    fn end(&self, quotas: &Quotas, number: u32, (period, flags): (Period, u8)) {
        let state = lock(&self.state);
        if state.quotas == *quotas {
            self.over.store(packed(number, (period as u32 + 1) | u32::from(flags)), Ordering::SeqCst);
        }
    }

    /// There is more after all.
    fn reopen(&self) {
        self.over.store(0, Ordering::SeqCst);
    }

    /// What is left of it, and nobody gets any more of that.
    fn take_out(&self) -> Option<Spare> {
        let state = lock(&self.state);
        let (number, left) = unpacked(self.left.swap(0, Ordering::SeqCst));
        (left > 0).then_some(Spare { quotas: state.quotas, number, left })
    }

    /// What was given out by other quotas.
    fn spares(&self) -> Vec<Spare> {
        std::mem::take(&mut lock(&self.state).spares)
    }

    /// What could not be taken back waits for the next time.
    fn keep(&self, spares: Vec<Spare>) {
        let mut state = lock(&self.state);
        spares.into_iter().for_each(|spare| keep_spare(&mut state, spare));
    }

    fn answered(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }

    /// What of its periods is used as far as was told last: what is left in memory counts as used.
    pub fn told(&self) -> Vec<Spent> {
        lock(&self.state).told.clone()
    }

    fn tell(&self, told: Vec<Spent>) {
        lock(&self.state).told = told;
    }

    /// Of each quota how many recipients are used now, and how many there may be.
    pub fn standing(&self, now: UnixMillis) -> Vec<(Period, u64, u32)> {
        let (quotas, told, unused) = (self.quotas(), self.told(), self.free(now));
        let used = |period: Period| {
            let of = told.iter().find(|one| (one.period, one.number) == (period, period.at(now)));
            of.map_or(0, |one| u64::from(one.used.saturating_sub(unused)))
        };
        quotas.each().map(|(period, most)| (period, used(period), most)).collect()
    }
}

fn keep_spare(state: &mut State, spare: Spare) {
    if spare.left > 0 && state.spares.len() < limits::QUOTA_SPARES {
        state.spares.push(spare);
    }
}

type Named = HashMap<Box<str>, (Arc<QuotaCount>, Quotas)>;

/// The quotas of a configuration, and what is left of them: that is the same from one to the next.
#[derive(Clone, Debug, Default)]
pub struct QuotaTable {
    accounts: Named,
    tenants: Named,
}

impl QuotaTable {
    /// Those of a configuration.
    pub fn new(tenants: &[TenantConfig], accounts: Option<&Accounts>) -> QuotaTable {
        let entry = |owner: Owner| {
            move |(name, quotas): (&str, Quotas)| {
                (Box::from(name), (Arc::new(QuotaCount::new(owner, name)), quotas))
            }
        };
        let tenants = tenants.iter().filter(|one| !one.quota.is_none()).map(|one| (&*one.name, one.quota));
        QuotaTable {
            accounts: accounts.into_iter().flat_map(Accounts::quotas).map(entry(Owner::Account)).collect(),
            tenants: tenants.map(entry(Owner::Tenant)).collect(),
        }
    }

    /// The same in place of others: what was used stays used.
    pub fn after(mut self, before: &QuotaTable) -> QuotaTable {
        for (own, theirs) in [(&mut self.accounts, &before.accounts), (&mut self.tenants, &before.tenants)] {
            for (name, (count, _)) in own {
                if let Some((known, _)) = theirs.get(name) {
                    *count = known.clone();
                }
            }
        }
        self
    }

    /// Whether nobody has one.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.tenants.is_empty()
    }

    /// Whether no tenant has one.
    pub fn has_no_tenants(&self) -> bool {
        self.tenants.is_empty()
    }

    /// What somebody of this name has left; None: any number.
    pub fn get(&self, owner: Owner, name: &str) -> Option<&Arc<QuotaCount>> {
        let of = match owner {
            Owner::Account => &self.accounts,
            Owner::Tenant => &self.tenants,
        };
        of.get(name).map(|(count, _)| count)
    }

    fn each(&self) -> impl Iterator<Item = &(Arc<QuotaCount>, Quotas)> {
        self.accounts.values().chain(self.tenants.values())
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<QuotaCount>> {
        self.each().map(|(count, _)| count)
    }
}

/// A quota, and how much of it is used.
#[derive(Clone, Debug)]
pub struct InUse {
    /// Whose it is.
    pub count: Arc<QuotaCount>,
    /// Its period.
    pub period: Period,
    /// Recipients that count in it now.
    pub used: u64,
    /// How many there may be.
    pub most: u32,
}

/// So many of these quotas at most, those first of which the largest part is used.
pub fn fullest<'a>(
    counts: impl Iterator<Item = &'a Arc<QuotaCount>>,
    now: UnixMillis,
    most: usize,
) -> Vec<InUse> {
    let each = |count: &Arc<QuotaCount>| {
        let count = count.clone();
        let all = count.standing(now).into_iter();
        all.map(move |(period, used, most)| InUse { count: count.clone(), period, used, most })
    };
    let mut all: Vec<InUse> = counts.flat_map(each).collect();
    let order = |one: &InUse| {
        let part = one.used.saturating_mul(limits::QUOTA_MAX) / u64::from(one.most.max(1));
        (std::cmp::Reverse(part), one.count.owner, one.count.name.clone(), one.period)
    };
    all.sort_by_cached_key(order);
    all.truncate(most);
    all
}

/// Where shards ask for blocks.
pub struct QuotaDesk {
    /// Those of the configuration that is in force, and its generation.
    in_force: Mutex<(u64, Arc<QuotaTable>)>,
    asks: ArrayQueue<Arc<QuotaCount>>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Default for QuotaDesk {
    fn default() -> QuotaDesk {
        let asks = ArrayQueue::new(limits::QUOTAS_ASKED);
        QuotaDesk { in_force: Mutex::default(), asks, wake: OnceLock::new() }
    }
}

impl fmt::Debug for QuotaDesk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("QuotaDesk").field("asks", &self.asks.len()).finish_non_exhaustive()
    }
}

impl QuotaDesk {
    /// These are in force from now on, by a configuration of this generation.
    pub fn put_in_force(&self, generation: u64, table: &Arc<QuotaTable>) {
        let mut in_force = lock(&self.in_force);
        if generation < in_force.0 || Arc::ptr_eq(&in_force.1, table) {
            return;
        }
        let before = std::mem::replace(&mut *in_force, (generation, table.clone())).1;
        for (count, quotas) in table.each() {
            count.set_quotas(*quotas);
        }
        for (count, _) in before.each() {
            let is_same = |known: &Arc<QuotaCount>| Arc::ptr_eq(known, count);
            if !table.get(count.owner, &count.name).is_some_and(is_same)
                && count.set_quotas(Quotas::default())
            {
                // What it has goes back.
                self.ask(count);
            }
        }
    }

    /// Those that are in force.
    pub fn in_force(&self) -> Arc<QuotaTable> {
        lock(&self.in_force).1.clone()
    }

    /// Somebody gives out blocks, and is to be woken like this when one is wanted.
    pub fn serve(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Takes so many for a message of this time. Control is asked for the next block before the last is empty. `waits`: it was asked for these before.
    pub fn take(
        &self,
        count: &Arc<QuotaCount>,
        (wanted, waits): (u32, bool),
        now: UnixMillis,
    ) -> Result<Taken, Empty> {
        let Some(number) = count.number(now) else { return Ok(Taken::default()) };
        let less = |both| match unpacked(both) {
            (of, left) if of == number => left.checked_sub(wanted).map(|left| packed(of, left)),
            _ => None,
        };
        match count.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(before) => {
                let left = unpacked(before).1 - wanted;
                if left <= count.low.load(Ordering::Relaxed) && (left == 0 || count.over(number).is_none()) {
                    self.ask(count);
                }
                Ok(Taken { number, count: wanted })
            }
            Err(_) => match count.over(number) {
                Some((period, flags)) => {
                    if flags & FOR_NOW != 0 {
                        // Control looks for more of its own accord.
                        count.wanted.fetch_max(wanted, Ordering::Relaxed);
                    }
                    if flags & AWAY != 0 {
                        return Err(Empty::Away);
                    }
                    if count.refused.swap(number, Ordering::Relaxed) != number {
                        // That is told once.
                        self.ask(count);
                    }
                    Err(Empty::Over(period))
                }
                None => {
                    if waits {
                        // It was given, and others were faster.
                        count.wanted.fetch_max(wanted, Ordering::Relaxed);
                    } else {
                        count.wanted.fetch_add(wanted, Ordering::Relaxed);
                    }
                    self.ask(count);
                    Err(Empty::Asked)
                }
            },
        }
    }

    fn ask(&self, count: &Arc<QuotaCount>) {
        if count.asked.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.asks.push(count.clone()).is_err() {
            // It asks again when it looks again.
            count.answered();
        }
        self.wake.get().inspect(|wake| wake());
    }

    /// Whether nobody asks.
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// The next that asks.
    pub fn next_ask(&self) -> Option<Arc<QuotaCount>> {
        self.asks.pop()
    }
}
