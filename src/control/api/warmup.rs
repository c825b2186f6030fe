//! `GET /control/v1/warmup`: how far sources in warm-up are at each provider.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::answers::{Api, json};
use super::shape::warmup::{Warming, Warmup};
use crate::config::warmup::written;
use crate::queue::select::hosts;
use crate::runtime::process;
use crate::shaping::warmup::{Complaint, Day, WarmupStage, count_name};
use crate::shard::warm::{AnnouncedStage, WarmCount};

/// All that are known.
pub(super) async fn show(State(api): State<Arc<Api>>) -> Response {
    let today = process::wall().day();
    let others = |count: &WarmCount| {
        let name = count_name(&count.source, &count.provider);
        api.mesh.cluster.desk()?.counts.ledger().others(&(name.into(), today))
    };
    let sources = api.mesh.warm().all().iter().map(|count| told(count, today, others(count))).collect();
    json(&Warmup { today: written(today), sources })
}

fn told(count: &WarmCount, today: u32, others: Option<u32>) -> Warming {
    let (plan, AnnouncedStage { day, standing }) = (count.plan(), count.told());
    // Control has not come to this day yet where nothing was asked for on it.
    let (day, standing) = match standing {
        Some(standing) if day.day == today => (day, standing),
        _ => (Day { day: today, ..Day::default() }, WarmupStage::of(&plan, today, day.behind)),
    };
    let unused = u32::try_from(count.free(today)).unwrap_or(u32::MAX);
    let (of_plan, volume, used) = match standing {
        WarmupStage::Day(of_plan, volume) => (Some(of_plan), Some(volume), day.used.saturating_sub(unused)),
        WarmupStage::Before => (None, Some(0), 0),
        WarmupStage::Warm => (None, None, day.used),
    };
    let used_by_all = others.filter(|_| of_plan.is_some()).map(|others| used.saturating_add(others));
    let all = used_by_all.unwrap_or(used);
    let state = match (standing, day.complaint) {
        (WarmupStage::Before, _) => "not yet",
        (WarmupStage::Warm, _) => "warm",
        (_, Complaint::Blocked) => "blocked",
        (_, Complaint::Throttled) => "throttled",
        // Where no mail asked since the last block was given, or since a start, nobody was told yet that there is no more.
        _ if count.is_over(today) || volume.is_some_and(|volume| all >= volume) => "used up",
        _ => "warming",
    };
    let name = hosts(&count.provider).next().filter(|_| count.provider.contains(':'));
    Warming {
        source: count.source.to_string(),
        provider: name.unwrap_or(&count.provider).to_owned(),
        site: name.map(|_| count.provider.to_string()),
        start: plan.first_day(),
        day: of_plan,
        days: plan.plan.last().map_or(0, |last| last.day),
        behind: day.behind,
        volume,
        used,
        used_by_all,
        overflowed: day.overflowed,
        state: state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WarmupConfig;
    use crate::config::warmup::Step;

    #[test]
    fn a_day_is_used_up_as_soon_as_its_volume_is() {
        let plan = vec![Step { day: 1, volume: 20 }, Step { day: 9, volume: 40 }];
        let plan = Arc::new(WarmupConfig { source: "ip9".into(), start: 100, plan, overflow: None });
        let counts = crate::shard::warm::WarmCounts::default();
        let count = counts.get(("ip9", "big"), &plan);
        let state = |used, complaint| {
            let day = Day { day: 100, used, complaint, ..Day::default() };
            count.tell(AnnouncedStage { day, standing: Some(WarmupStage::of(&plan, 100, 0)) });
            let told = told(&count, 100, None);
            (told.used, told.state)
        };
        // As after a kill: all of it was given out, and nothing of that is left.
        assert_eq!(state(20, Complaint::None), (20, "used up".to_owned()));
        assert_eq!(state(19, Complaint::None), (19, "warming".to_owned()));
        assert_eq!(state(20, Complaint::Throttled), (20, "throttled".to_owned()));
        count.give(100, 1);
        assert_eq!(state(20, Complaint::None), (19, "warming".to_owned()), "one is left of what was given");
        assert_eq!(counts.take(&count, 100), Ok(()));
        assert_eq!(state(20, Complaint::None), (20, "used up".to_owned()));
    }
}
