//! What a shard does four times a second, every second and every minute.

use std::rc::Rc;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::queue::destinations::SiteKey;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::dispatch::carry_out;
use crate::shard::outbound::{asking, borrow, egress, line, overflow, reroute, rest, tend, unanswered};
use crate::shard::{suspend, tell};
use crate::time::Instant;

/// The immortal task behind retries, expiry, levels and the journal's flush.
pub async fn tick<R: Runtime>(shard: Rc<Shard<R>>) {
    let mut round = 0u32;
    // Who looks in the first second sees the spool as it was opened, not zeros.
    shard.publish();
    loop {
        tell::until_tick(&shard).await;
        round = round.wrapping_add(1);
        shard.instruments.beat.add(1);
        notice_the_clock(&shard);
        shard.gate();
        begin_due(&shard).await;
        suspend::tick(&shard);
        shard.say.trace.tick();
        borrow::tick(&shard);
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
        // Whoever was asked may have gone elsewhere meanwhile.
        line::unpark(&shard);
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
        line::tick(&shard);
        asking::tick(&shard);
        if shard.outbound.asked.get() {
            line::give_up_idle(&shard);
        }
        reroute::heed_sources(&shard);
        overflow::tick(&shard);
        if round.is_multiple_of(4) {
            egress::tick(&shard);
            rest::tick(&shard);
            tend::tick(&shard);
            unanswered::tick(&shard);
            shard.outbound.resolver.look_at_files();
            renew_names(&shard);
            shard.publish();
            shard.runtime.spawn_vital("busy domains", resolve_busy(shard.clone()));
        }
        if round.is_multiple_of(limits::SWEEP_ROUNDS) {
            shard.runtime.spawn_vital("site sweep", forget_idle_sites(shard.clone()));
            shard.runtime.spawn(learn_own_addresses(shard.clone()));
        }
        tell::turn(&shard);
    }
}

/// What the DNS said of busy domains is asked for again before it ends.
fn renew_names<R: Runtime>(shard: &Rc<Shard<R>>) {
    for due in shard.outbound.resolver.due() {
        let own = shard.clone();
        shard.runtime.spawn(async move { own.outbound.resolver.renew(due).await });
    }
}

/// Mail that waited is due; a little at a time, as there may be much.
async fn begin_due<R: Runtime>(shard: &Rc<Shard<R>>) {
    let now = shard.seconds();
    for _ in 0..limits::TICK_GROUPS / limits::TURN_GROUPS {
        let effects = shard.outbound.destinations.borrow_mut().tick(now, limits::TURN_GROUPS);
        let more = shard.outbound.destinations.borrow().next_due().is_some_and(|due| due <= now);
        for effect in effects {
            if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
            carry_out(shard, effect);
        }
        if !more {
            return;
        }
        shard.runtime.yield_now().await;
    }
}

/// Domains whose mail never pauses may lead elsewhere by now. All of them are looked at within the time after which one is asked for
/// again.
async fn resolve_busy<R: Runtime>(shard: Rc<Shard<R>>) {
    let slots = shard.outbound.destinations.borrow().domain_slots();
    let share = slots.div_ceil(limits::RESOLVED_AGAIN as usize);
    let first = shard.outbound.busy_looked.get();
    shard.outbound.busy_looked.set(if first + share < slots { first + share } else { 0 });
    let mut asked = 0;
    for from in (first..slots.min(first + share)).step_by(limits::TURN_SITES) {
        if asked >= limits::RESOLVED_AGAIN_MAX {
            // The others have their turn a little later, when fewer are under way.
            shard.outbound.busy_looked.set(from);
            return;
        }
        let to = (from + limits::TURN_SITES).min(first + share);
        let effects = shard.outbound.destinations.borrow_mut().resolve_busy(shard.seconds(), from..to);
        asked += effects.len();
        for effect in effects {
            if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
            carry_out(&shard, effect);
        }
        shard.runtime.yield_now().await;
    }
}

/// Sites nobody has mail for are forgotten, so that memory follows the queue and not all that was ever mailed to.
async fn forget_idle_sites<R: Runtime>(shard: Rc<Shard<R>>) {
    let slots = shard.outbound.destinations.borrow().site_slots();
    for first in (0..slots).step_by(limits::TURN_SITES) {
        {
            let mut sites = shard.outbound.sites.borrow_mut();
            let busy = |key: SiteKey| sites.get(&key).is_some_and(|site| site.is_busy());
            let now = shard.seconds();
            let forgotten = shard.outbound.destinations.borrow_mut().forget_idle_sites(
                now,
                first..first + limits::TURN_SITES,
                busy,
            );
            for key in forgotten {
                sites.remove(&key);
            }
        }
        shard.runtime.yield_now().await;
    }
}

/// The machine may have other addresses now: mail to them would come back. All shards find the same; one says it, and ever more seldom.
pub(in crate::shard) async fn learn_own_addresses<R: Runtime>(shard: Rc<Shard<R>>) {
    let learned = shard.outbound.resolver.learn_own_addresses().await;
    let now = shard.runtime.now().since(Instant::default());
    let mut said = shard.say.addressless.borrow_mut();
    let Err(error) = learned else {
        said.ended(now);
        return;
    };
    if shard.index == 0 && said.lasts(now) {
        shard.say(
            Level::Warning,
            format_args!(
                "cannot read this machine's addresses: {error}; the kernel is asked for each address that mail goes to instead. Under systemd, \
                 RestrictAddressFamilies= wants AF_NETLINK"
            ),
        );
    }
}

/// The wall clock may be set. Waits do not follow it; it is said, as much that is told by wall time looks odd then.
fn notice_the_clock<R: Runtime>(shard: &Shard<R>) {
    let ahead = shard.clock.wall_ahead(shard.runtime.now(), shard.runtime.wall());
    let jump = ahead.saturating_sub(shard.say.wall_ahead.replace(ahead));
    if jump.unsigned_abs() < limits::CLOCK_JUMP.as_millis() as u64 || shard.index != 0 {
        return;
    }
    shard.instruments.counters.clock_jumps.add(1);
    let (seconds, way) = (jump.unsigned_abs() / 1000, if jump > 0 { "forward" } else { "back" });
    let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3600);
    shard.say(
        Level::Warning,
        format_args!(
            "the clock was set {way} by {seconds} s ({days} d {hours} h): retries and expiry go on as they were; dates in logs and \
             notifications follow the clock"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sim::World;
    use crate::shard::alone;

    #[test]
    fn what_cannot_be_learned_is_said_ever_more_seldom() {
        let world = World::new(1);
        let shard = alone::shard(&world, None);
        let said_in_hours = |hours: u64| {
            for _ in 0..hours * 60 {
                world.block_on(learn_own_addresses(shard.clone()));
                world.run_for(limits::DISPATCH_TICK * limits::SWEEP_ROUNDS);
            }
            std::iter::from_fn(|| shard.instruments.diagnostics.take()).count()
        };
        world.faults().no_addresses = true;
        assert_eq!(said_in_hours(4), 9);
        world.faults().no_addresses = false;
        assert_eq!(said_in_hours(3), 0);
        world.faults().no_addresses = true;
        assert_eq!(said_in_hours(1), 6, "it is news again");
    }
}
