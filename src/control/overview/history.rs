//! What the node did: a point a second of the last hour, and one a minute of the last day.

use std::collections::VecDeque;

use crate::control::api::shape::overview::Series;
use crate::limits;

/// Kinds of numbers that are kept.
const KINDS: usize = 6;

/// A point: accepted, delivered, deferred, bounced, rejected a second, and queued. None: not known.
pub(super) type Point = [Option<f32>; KINDS];

/// The points.
#[derive(Debug, Default)]
pub(super) struct Points {
    seconds: VecDeque<Point>,
    minutes: VecDeque<Point>,
    /// Of the minute that is not over: sums, and how many they are of.
    minute: [(f32, u16); KINDS],
    /// Seconds of it.
    seen: u16,
}

/// Seconds of a minute.
const MINUTE: u16 = 60;

impl Points {
    /// One more second.
    pub(super) fn add(&mut self, point: Point) {
        keep(&mut self.seconds, point, limits::HISTORY_SECONDS);
        for ((sum, count), value) in self.minute.iter_mut().zip(point) {
            if let Some(value) = value {
                *sum += value;
                *count += 1;
            }
        }
        self.seen += 1;
        if self.seen == MINUTE {
            let minute = std::mem::take(&mut self.minute);
            let mean = minute.map(|(sum, count)| (count > 0).then(|| sum / f32::from(count)));
            keep(&mut self.minutes, mean, limits::HISTORY_MINUTES);
            self.seen = 0;
        }
    }

    /// What was accepted and delivered a second, over the last minute.
    pub(super) fn last_minute(&self) -> (Option<f64>, Option<f64>) {
        let mean = |kind: usize| {
            let known = self.seconds.iter().rev().take(MINUTE.into()).filter_map(|point| point[kind]);
            let (sum, count) = known.fold((0.0, 0u16), |(sum, count), value| (sum + value, count + 1));
            (count > 0).then(|| rounded(sum / f32::from(count)))
        };
        (mean(0), mean(1))
    }

    /// All of them, by the step in seconds: 1 or 60. None: there is no such step.
    pub(super) fn series(&self, step: u64) -> Option<Series> {
        let points = match step {
            1 => &self.seconds,
            60 => &self.minutes,
            _ => return None,
        };
        let one = |kind: usize| points.iter().map(|point| point[kind].map(rounded)).collect();
        let [accepted, delivered, deferred, bounced, rejected, queued] = std::array::from_fn(one);
        Some(Series { accepted, delivered, deferred, bounced, rejected, queued })
    }
}

fn keep(points: &mut VecDeque<Point>, point: Point, most: usize) {
    if points.len() >= most {
        points.pop_front();
    }
    points.push_back(point);
}

/// To a tenth: nobody reads more of a rate, and it is sent to many.
pub(super) fn rounded(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_minutes_and_old_ones_go() {
        let mut points = Points::default();
        for second in 0..2 * limits::HISTORY_SECONDS {
            let known = (second >= 30).then_some(4.0);
            points.add([known, Some(second as f32), None, Some(0.26), None, Some(1.0)]);
        }
        let last = (2 * limits::HISTORY_SECONDS) as f64;
        assert_eq!(points.last_minute(), (Some(4.0), Some(last - 30.5)));
        assert_eq!(Points::default().last_minute(), (None, None));
        let seconds = points.series(1).unwrap();
        assert_eq!(seconds.accepted.len(), limits::HISTORY_SECONDS);
        assert_eq!(seconds.delivered.last(), Some(&Some((2 * limits::HISTORY_SECONDS - 1) as f64)));
        assert_eq!((seconds.bounced[0], seconds.deferred[0]), (Some(0.3), None));
        let minutes = points.series(60).unwrap();
        assert_eq!(minutes.accepted.len(), 120);
        assert_eq!((minutes.accepted[0], minutes.delivered[0]), (Some(4.0), Some(29.5)));
        assert_eq!(minutes.delivered[1], Some(89.5));
        assert!(points.series(10).is_none());
    }
}
