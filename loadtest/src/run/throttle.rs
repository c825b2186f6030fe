//! What receivers that take only so much would have taken, and what they were given.

use std::time::Duration;

use super::Plan;
use super::internet::Internet;
use super::scenario::SiteSpec;
use crate::report::Throttling;
use crate::sink::Taken;

/// How much later than at once a message may be given: a few round trips and a turn of the sender.
const GRACE: f64 = 1.0;
/// The steps in which a capacity is followed, seconds.
const STEP: f64 = 0.05;

/// Whether it was as the scenario asks, if it does. `load`: when it began and ended, by the clock of receipts.
pub(super) fn judge(plan: &Plan, internet: &Internet, load: (u64, u64)) -> Option<Throttling> {
    let asked = plan.scenario.throttling?;
    let mut found =
        Throttling { least_taken: asked.taken, most_deferred: asked.deferred, ..Throttling::default() };
    for (at, spec) in plan.scenario.sites.iter().enumerate() {
        let counts = internet.sink.site_counters(at);
        found.attempts += counts.attempts;
        found.deferred += counts.throttled;
        found.turned_away += counts.turned_away;
        if spec.named {
            found.exceeded += counts.throttled + counts.turned_away + counts.overlong;
        }
        let taken = internet.sink.site_taken(at);
        if let Some(due) = due(spec, &taken, counts.messages, load) {
            found.due += counts.messages;
            found.in_time += taken.until(due);
        }
    }
    Some(found)
}

/// When a site had taken all of its mail that waits for nothing but the site. None: it takes as much as comes.
fn due(spec: &SiteSpec, taken: &Taken, messages: u64, (began, ended): (u64, u64)) -> Option<u64> {
    capacity(spec, Duration::ZERO)?;
    let since = taken.since.saturating_sub(began) as f64 / 1e9;
    // A second's worth comes at once.
    let (mut room, mut time) = (capacity(spec, Duration::ZERO)?.max(1.0), since);
    while room < messages as f64 {
        let rate = capacity(spec, Duration::from_secs_f64(time))?;
        room += rate * STEP;
        time += STEP;
    }
    let end = (began + (time * 1e9) as u64).max(ended);
    Some(end + (GRACE * 1e9) as u64)
}

fn capacity(spec: &SiteSpec, at: Duration) -> Option<f64> {
    let now = spec.later.iter().rev().find(|(after, _)| *after <= at).map(|(_, behaviour)| behaviour);
    now.unwrap_or(&spec.behaviour).capacity()
}
