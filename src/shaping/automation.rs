//! Which rules act on a reply, and when those that want many of them have had enough.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::rule::Rule;
use super::value::Rate;
use crate::limits;

/// The rules of a site that do something, from the bottom layer to the top: each that matches acts. A copy shares them.
#[derive(Clone, Debug)]
pub struct Automation(Box<[Arc<Rule>]>);

impl Automation {
    /// Those of these rules; None: none of them does anything.
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Option<Automation> {
        let acts = |rule: &&Arc<Rule>| !rule.actions.is_empty() || rule.fallback_source.is_some();
        let found: Box<[_]> = rules.filter(acts).cloned().collect();
        (!found.is_empty()).then_some(Automation(found))
    }

    /// Those that a reply is meant by; `own`: this relay said it, not the next hop.
    pub fn matching(&self, reply: &[u8], own: bool) -> impl Iterator<Item = &Arc<Rule>> {
        self.0.iter().filter(move |rule| rule.matches(reply, own))
    }
}

impl PartialEq for Automation {
    /// The same rules, not only such that do the same.
    fn eq(&self, other: &Automation) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// A reply that a rule is to act on, and what it was said of.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The domain of the mail, or one whose mail waits.
    pub domain: Box<str>,
    /// The site.
    pub site: Box<str>,
    /// The source that sent; empty: none has a name.
    pub source: Box<str>,
    /// Tenant and campaign of the message; None: it was said before there was one.
    pub whose: Option<(Box<str>, Box<str>)>,
    /// The reply.
    pub reply: Box<str>,
    /// Who sends to the site while its source rests there, as the rule says or else the section.
    pub fallback: Option<Box<str>>,
}

/// How many replies came of late, for each rule with a threshold and what it would act on.
#[derive(Debug, Default)]
pub struct Thresholds(HashMap<Box<str>, RecentReplies>);

/// Moments at which replies came, and how many in each, within the time of the rate.
#[derive(Debug, Default)]
struct RecentReplies {
    moments: VecDeque<(Duration, u64)>,
    total: u64,
}

impl RecentReplies {
    fn forget(&mut self, period: Duration, now: Duration) {
        while let Some((at, count)) = self.moments.front().copied()
            && now.saturating_sub(at) >= period
        {
            self.moments.pop_front();
            self.total -= count;
        }
    }

    fn last(&self) -> Duration {
        self.moments.back().map_or(Duration::ZERO, |(at, _)| *at)
    }
}

impl Thresholds {
    /// One more reply came. Whether these are so many in such a time; then it is counted anew.
    pub fn reach(&mut self, what: &str, rate: &Rate, now: Duration) -> bool {
        if !self.0.contains_key(what) {
            self.make_room();
            self.0.insert(what.into(), RecentReplies::default());
        }
        let Some(counted) = self.0.get_mut(what) else { return false };
        counted.forget(rate.period, now);
        let moment = rate.period / limits::THRESHOLD_MOMENTS;
        match counted.moments.back_mut() {
            // Counted from the first of a moment: it is forgotten with that, a little early and never late.
            Some((at, count)) if now.saturating_sub(*at) < moment => *count += 1,
            _ => counted.moments.push_back((now, 1)),
        }
        counted.total += 1;
        let reached = counted.total >= rate.count;
        if reached {
            self.0.remove(what);
        }
        reached
    }

    /// What was counted last the longest ago is forgotten, where there is too much.
    fn make_room(&mut self) {
        if self.0.len() < limits::THRESHOLDS_MAX {
            return;
        }
        let mut last: Vec<Duration> = self.0.values().map(RecentReplies::last).collect();
        // A part of them at once, so that this is seldom.
        let place = last.len() / 8;
        let (_, oldest, _) = last.select_nth_unstable(place);
        let oldest = *oldest;
        self.0.retain(|_, counted| counted.last() > oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::value::rate;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(10_000 + seconds)
    }

    #[test]
    fn a_threshold_is_reached_by_so_many_in_such_a_time() {
        let (mut thresholds, rate) = (Thresholds::default(), rate("3/min").expect("a rate"));
        let mut reach = |seconds| thresholds.reach("a", &rate, at(seconds));
        assert_eq!([0, 30, 59].map(&mut reach), [false, false, true]);
        assert_eq!([60, 61].map(&mut reach), [false, false], "it is counted anew");
        assert_eq!([120, 121, 122].map(&mut reach), [false, false, true], "60 and 61 are over");
        assert!(thresholds.reach("b", &crate::shaping::value::rate("1/d").expect("a rate"), at(0)));
    }

    #[test]
    fn many_in_a_moment_are_remembered_as_one() {
        let (mut thresholds, rate) = (Thresholds::default(), rate("5000/h").expect("a rate"));
        for number in 0..4_999 {
            assert!(!thresholds.reach("a", &rate, at(number * 7 / 10)), "{number}");
        }
        assert!(thresholds.0["a"].moments.len() <= limits::THRESHOLD_MOMENTS as usize + 1);
        assert!(thresholds.reach("a", &rate, at(3_598)));
        for number in 0..20_000 {
            assert!(!thresholds.reach("b", &rate, at(number)), "one in a second is fewer: {number}");
        }
        assert!(thresholds.0["b"].moments.len() <= limits::THRESHOLD_MOMENTS as usize + 1);
    }

    #[test]
    fn what_was_counted_longest_ago_makes_room() {
        let (mut thresholds, rate) = (Thresholds::default(), rate("2/h").expect("a rate"));
        for number in 0..2 * limits::THRESHOLDS_MAX as u64 {
            assert!(!thresholds.reach(&number.to_string(), &rate, Duration::from_millis(number)));
            assert!(thresholds.0.len() <= limits::THRESHOLDS_MAX);
        }
        let last = 2 * limits::THRESHOLDS_MAX - 1;
        assert!(thresholds.reach(&last.to_string(), &rate, Duration::from_secs(60)));
    }
}
