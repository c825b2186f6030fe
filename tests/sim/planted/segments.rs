//! Days that use segments up.

use super::super::day::dice::Dice;
use super::super::day::plan::{End, Plan};

/// One lane, and enough mail to fill segments while some of it waits.
pub(super) fn large(plan: &mut Plan, dice: &mut Dice, least: u64) {
    plan.shards = vec![1];
    for message in plan.clients.iter_mut().flatten() {
        message.size = dice.between(least, 400_000) as usize;
        message.at *= 10;
    }
}

pub(super) fn full_segments(plan: &mut Plan, dice: &mut Dice) {
    large(plan, dice, 100_000);
    plan.ends = vec![(40_000, End::Power)];
}

/// What was refused and what came later are in one lane; there is enough mail to use segments again, of which some waits.
pub(super) fn failing_segments(plan: &mut Plan, dice: &mut Dice) {
    large(plan, dice, 100_000);
    plan.disk.sync_error = 0.3;
    plan.ends = vec![(40_000, End::Power), (60_000, End::Power), (90_000, End::Power)];
}

pub(super) fn outcomes_apart(plan: &mut Plan, dice: &mut Dice) {
    large(plan, dice, 50_000);
    plan.ends = (1..7).map(|life| (life * 6_000 + dice.below(3_000), End::Power)).collect();
}
