//! Defects planted on purpose: each is found within a few seeds, and the same days without it are clean. So a day of mail can
//! fail, and fails for these.
//!
//! Some are planted in the world (a disk that lies, a process that was not ended), the others in the relay at a place
//! that asks `Runtime::planted`, which is a constant `false` on every real machine.

use std::time::Duration;

use relevo::runtime::sim::World;

use super::day::Day;
use super::day::dice::Dice;
use super::day::plan::{DOT, End, Lookup, Manner, Plan, RCPT, VERBS};
use super::days::wrong;

/// Seeds within which a defect must be found.
const SEEDS: u64 = 30;

struct Defect {
    /// What the days are like on which it shows; without it they are clean.
    days: fn(&mut Plan, &mut Dice),
    /// How it is planted: in the plan, or in the relay and its world.
    plan: fn(&mut Plan),
    plant: fn(&mut Day<'_>, &World),
    /// Words one of which must be said about it.
    words: &'static [&'static str],
}

/// A relay without defects.
const NONE: Defect = Defect { days: |_, _| {}, plan: |_| {}, plant: |_, _| {}, words: &[] };

impl Defect {
    /// With `SIM_SEEDS=n` so many days without the defect are looked at instead: each of these kinds of days is hard on something.
    fn is_clean(&self, days: u64) {
        let day = |seed| {
            let mut plan = Plan::plain(seed);
            (self.days)(&mut plan, &mut Dice::new(seed, 4));
            wrong(&plan, |_, _| {})
        };
        let bad: Vec<_> =
            (1..=days).map(|seed| (seed, day(seed))).filter(|(_, found)| !found.is_empty()).collect();
        assert!(bad.is_empty(), "{} of {days} days went wrong: {bad:?}", bad.len());
    }

    fn is_found(&self) {
        if let Some(days) = std::env::var("SIM_SEEDS").ok().and_then(|days| days.parse().ok()) {
            return self.is_clean(days);
        }
        let mut seen = Vec::new();
        for seed in 1..=SEEDS {
            let mut plan = Plan::plain(seed);
            (self.days)(&mut plan, &mut Dice::new(seed, 4));
            assert_eq!(wrong(&plan, |_, _| {}), Vec::<String>::new(), "without the defect, seed {seed}");
            (self.plan)(&mut plan);
            let found = wrong(&plan, self.plant);
            if let Some(what) = found.iter().find(|what| self.words.iter().any(|words| what.contains(words)))
            {
                println!("seed {seed}: {what}");
                return;
            }
            seen.extend(found);
        }
        panic!("not found in {SEEDS} days, but: {:?}", &seen[..seen.len().min(10)]);
    }
}

/// Several power failures while mail comes in.
fn power_failures(plan: &mut Plan, dice: &mut Dice) {
    plan.ends = (1..5).map(|life| (life * 900 + dice.below(800), End::Power)).collect();
}

fn kills(plan: &mut Plan, dice: &mut Dice) {
    plan.ends = (1..5).map(|life| (life * 1_500 + dice.below(800), End::Kill)).collect();
}

/// A sync fails, the process dies, and soon after the machine.
pub fn failed_ends(plan: &mut Plan, dice: &mut Dice) {
    plan.disk.sync_error = 0.5;
    plan.sites.iter_mut().for_each(|site| site.manners[DOT] = Manner::default());
    plan.sites.iter_mut().for_each(|site| site.unknown_users = 3_000 * u64::from(!site.origin));
    plan.ends = (1..10)
        .flat_map(|life| {
            let at = life * 1_500 + dice.below(1_000);
            [(at, End::Kill), (at + 650, End::Power)]
        })
        .collect();
    plan.ends.sort_by_key(|(at, _)| *at);
}

const LOST: &[&str] = &["lost ("];

#[test]
fn an_answer_before_the_sync_is_found() {
    Defect { days: power_failures, plan: |plan| plan.disk.sync_lies = 0.5, words: LOST, ..NONE }.is_found();
}

#[test]
fn a_sync_error_nobody_looks_at_is_found() {
    Defect { days: power_failures, plan: |plan| plan.disk.sync_hides = 0.2, words: LOST, ..NONE }.is_found();
}

#[test]
fn a_lost_outcome_is_found() {
    let words = &["does not end"];
    Defect { plant: |_, world| world.plant("an outcome is lost", 0.02), words, ..NONE }.is_found();
}

#[test]
fn an_outcome_of_another_recipient_is_found() {
    let plant = |_: &mut Day<'_>, world: &World| world.plant("an outcome goes to another recipient", 1.0);
    Defect { days: kills, plant, words: &["lost (", "delivered again", "does not end"], ..NONE }.is_found();
}

#[test]
fn a_forgotten_retry_is_found() {
    Defect { plant: |_, world| world.plant("a retry is forgotten", 0.05), words: LOST, ..NONE }.is_found();
}

#[test]
fn a_retry_that_comes_late_is_found() {
    // Nothing else on these days makes mail wait.
    let days = |plan: &mut Plan, _: &mut Dice| {
        plan.sites.iter_mut().for_each(|site| site.manners[DOT] = Manner::default());
    };
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a retry comes late", 0.05);
    Defect { days, plant, words: &["starved"], ..NONE }.is_found();
}

/// The clock is set forward while much waits for its next try, and the process starts anew.
fn clocks(plan: &mut Plan, dice: &mut Dice) {
    plan.clock = vec![(dice.between(3, 6), 400 * 86_400_000)];
    plan.ends = vec![(10_000 + dice.below(3_000), End::Kill)];
    // Nothing else makes mail wait.
    plan.sites.iter_mut().for_each(|site| site.manners[DOT] = Manner::default());
}

/// Hops that break the rules at every turn.
fn rule_breakers(plan: &mut Plan, change: fn(&mut super::day::plan::SitePlan)) {
    for site in plan.sites.iter_mut().filter(|site| !site.origin) {
        site.manners = [Manner::default(); VERBS];
        change(site);
    }
}

#[test]
fn an_early_reply_taken_for_the_answer_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| rule_breakers(plan, |site| site.early = 0.3);
    let plant = |_: &mut Day<'_>, world: &World| world.plant("an early reply is taken for the answer", 1.0);
    Defect { days, plant, words: LOST, ..NONE }.is_found();
}

#[test]
fn a_reply_nobody_asked_for_that_is_kept_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| {
        rule_breakers(plan, |site| (site.twice, site.pipelining) = (0.5, false));
    };
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a reply nobody asked for is kept", 1.0);
    Defect { days, plant, words: &["returned for no reason", "delivered and returned"], ..NONE }.is_found();
}

#[test]
fn a_refusal_out_of_step_that_is_believed_is_found() {
    // What they say twice comes when the commands of the next message are under way already; and then they leave.
    let days = |plan: &mut Plan, _: &mut Dice| {
        plan.limit = 1;
        rule_breakers(plan, |site| {
            (site.twice, site.pipelining) = (0.5, true);
            site.manners[RCPT] = Manner { shut: 0.3, ..Manner::default() };
        });
    };
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a refusal out of step is believed", 1.0);
    Defect { days, plant, words: &["returned for no reason", "delivered and returned"], ..NONE }.is_found();
}

#[test]
fn recipients_forgotten_by_a_hop_that_takes_few_are_found() {
    let days = |plan: &mut Plan, _: &mut Dice| rule_breakers(plan, |site| site.few = 1);
    let plant = |_: &mut Day<'_>, world: &World| world.plant("what a hop takes too few of is forgotten", 1.0);
    Defect { days, plant, words: &["lost (", "does not end"], ..NONE }.is_found();
}

/// Kills while hops that take one recipient a transaction take their time over the next.
fn kills_amid_parts(plan: &mut Plan, dice: &mut Dice) {
    rule_breakers(plan, |site| {
        site.few = 1;
        site.manners[DOT] = Manner { late: 0.5, ..Manner::default() };
    });
    plan.ends = (1..5).map(|life| (life * 5_000 + dice.below(800), End::Kill)).collect();
}

#[test]
fn parts_told_when_all_is_over_are_found() {
    let plant = |_: &mut Day<'_>, world: &World| {
        world.plant("what was delivered is told when all is over", 1.0);
    };
    Defect { days: kills_amid_parts, plant, words: &["delivered again"], ..NONE }.is_found();
    // With few credits, and where others deliver for a shard.
    let days = |plan: &mut Plan, dice: &mut Dice| {
        kills_amid_parts(plan, dice);
        (plan.credits, plan.busy, plan.lend_at) = (4, true, 1);
    };
    Defect { days, plant, words: &["delivered again"], ..NONE }.is_found();
}

#[test]
fn a_wait_by_the_wall_clock_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| plan.clock = vec![(4, -400 * 86_400_000)];
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a wait follows the wall clock", 1.0);
    Defect { days, plant, words: &["starved", "does not end"], ..NONE }.is_found();
}

#[test]
fn mail_given_up_without_a_last_try_is_found() {
    let plant = |_: &mut Day<'_>, world: &World| world.plant("mail expires without a last try", 1.0);
    Defect { days: clocks, plant, words: &["without a last try"], ..NONE }.is_found();
}

#[test]
fn a_log_without_order_is_found() {
    let plant = |_: &mut Day<'_>, world: &World| world.plant("the log has no order", 1.0);
    Defect { plant, words: &["before it was received"], ..NONE }.is_found();
}

#[test]
fn a_log_that_a_kill_cut_is_found() {
    let plant = |_: &mut Day<'_>, world: &World| {
        world.plant("what a kill took of the log is not told again", 1.0);
    };
    Defect { days: kills, plant, words: &["before it was received"], ..NONE }.is_found();
}

#[test]
fn a_credit_nobody_counts_is_found() {
    let days = |plan: &mut Plan, dice: &mut Dice| {
        power_failures(plan, dice);
        plan.credits = 1;
        plan.limit = 20;
        // Much is under way at any time, if nobody counts it.
        plan.disk.sync_max = Duration::from_millis(500);
        plan.sites.iter_mut().for_each(|site| site.manners = [Manner::default(); VERBS]);
    };
    let words = &["more letters than credits", "attempts were repeated"];
    let plant = |_: &mut Day<'_>, world: &World| world.plant("credits are not counted", 1.0);
    Defect { days, plant, words, ..NONE }.is_found();
}

#[test]
fn one_message_too_many_over_a_connection_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| plan.messages_per_connection = 2;
    let words = &["messages over a connection"];
    let plant = |_: &mut Day<'_>, world: &World| world.plant("messages of a connection are not counted", 1.0);
    Defect { days, plant, words, ..NONE }.is_found();
}

#[test]
fn lent_work_done_twice_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| (plan.busy, plan.lend_at) = (true, 1);
    let plant = |_: &mut Day<'_>, world: &World| world.plant("what was lent is done again", 0.5);
    Defect { days, plant, words: &["delivered again"], ..NONE }.is_found();
}

#[test]
fn a_bounce_after_its_outcome_is_found() {
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a bounce comes after its outcome", 1.0);
    Defect { days: power_failures, plant, words: LOST, ..NONE }.is_found();
}

#[test]
fn a_segment_recycled_early_is_found() {
    let days = |plan: &mut Plan, dice: &mut Dice| {
        // Enough mail to fill segments while some of it waits.
        plan.shards = vec![1];
        for message in plan.clients.iter_mut().flatten() {
            message.size = dice.between(100_000, 400_000) as usize;
            message.at *= 10;
        }
        plan.ends = vec![(40_000, End::Power)];
    };
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a segment is recycled early", 1.0);
    Defect { days, plant, words: LOST, ..NONE }.is_found();
}

#[test]
fn two_processes_on_one_lane_are_found() {
    let days = |plan: &mut Plan, _: &mut Dice| {
        plan.shards = vec![2, 3];
        plan.ends = vec![(2_000, End::Kill)];
    };
    let words = &["delivered again", "panic", "connections to site"];
    Defect { days, plant: |day, _| day.two_at_once = true, words, ..NONE }.is_found();
}

#[test]
fn one_connection_too_many_is_found() {
    let words = &["connections to site"];
    Defect { plan: |plan| plan.limit_exceeded = 1, words, ..NONE }.is_found();
}

#[test]
fn an_address_nobody_counts_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| (plan.limit, plan.address_limit) = (5, 1);
    let plant =
        |_: &mut Day<'_>, world: &World| world.plant("connections to an address are not counted", 1.0);
    Defect { days, plant, words: &["connections to address"], ..NONE }.is_found();
}

/// Sites with several hosts of one place each: whoever waits for one of them gets his turn.
#[test]
fn addresses_of_one_place_starve_nobody() {
    for seed in 1..=4 {
        let mut plan = Plan::plain(seed);
        (plan.limit, plan.address_limit) = (5, 1);
        assert_eq!(wrong(&plan, |_, _| {}), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn an_address_that_skips_the_gate_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| plan.sites[0].lookup = Lookup::Ours;
    let plant = |_: &mut Day<'_>, world: &World| world.plant("an address skips the gate", 1.0);
    Defect { days, plant, words: &["went round"], ..NONE }.is_found();
}

#[test]
fn a_repeated_handoff_is_found() {
    let days = |plan: &mut Plan, _: &mut Dice| plan.inbox = 1;
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a handoff is repeated", 0.5);
    Defect { days, plant, words: &["delivered again"], ..NONE }.is_found();
}

#[test]
fn a_failed_segment_taken_for_a_full_one_is_found() {
    let days = |plan: &mut Plan, dice: &mut Dice| {
        // One lane, so that what was refused and what came later are in it; enough mail to use segments again, of which some waits.
        plan.shards = vec![1];
        plan.disk.sync_error = 0.3;
        for message in plan.clients.iter_mut().flatten() {
            message.size = dice.between(100_000, 400_000) as usize;
            message.at *= 10;
        }
        plan.ends = vec![(40_000, End::Power), (60_000, End::Power), (90_000, End::Power)];
    };
    let plant =
        |_: &mut Day<'_>, world: &World| world.plant("a segment that failed is taken for a full one", 1.0);
    let words = &["refused, yet sent", "delivered again", "lost ("];
    // It shows where a segment is used again soon after: on few days.
    Defect { days, plant, words, ..NONE }.is_found();
}

#[test]
fn forgetting_what_outcomes_are_about_is_found() {
    let days = |plan: &mut Plan, dice: &mut Dice| {
        plan.shards = vec![1];
        for message in plan.clients.iter_mut().flatten() {
            message.size = dice.between(50_000, 400_000) as usize;
            message.at *= 10;
        }
        plan.ends = (1..7).map(|life| (life * 6_000 + dice.below(3_000), End::Power)).collect();
    };
    let plant = |_: &mut Day<'_>, world: &World| world.plant("what outcomes are about is forgotten", 1.0);
    Defect { days, plant, words: &["delivered again", "rose again"], ..NONE }.is_found();
}

#[test]
fn an_end_that_is_not_secured_is_found() {
    let plant = |_: &mut Day<'_>, world: &World| world.plant("the end found at start is not secured", 1.0);
    Defect {
        days: failed_ends,
        plant,
        // What the next header vouched for is not there: damage, where there was none.
        words: &["lost (", "delivered again", "delivered and returned", "came twice", "hold nothing"],
        ..NONE
    }
    .is_found();
}

/// Clients that bring no mail and try to stay.
pub fn hostile_clients(plan: &mut Plan, dice: &mut Dice) {
    plan.hostile = dice.between(8, 24) as usize;
}

#[test]
fn a_session_without_an_end_is_found() {
    let plant = |_: &mut Day<'_>, world: &World| world.plant("a session has no end", 1.0);
    Defect { days: hostile_clients, plant, words: &["was kept for", "does not end"], ..NONE }.is_found();
}
