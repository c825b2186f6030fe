//! All comparisons in one picture: a row each, a dot each round, a bar at the median.

use std::fmt::Write;

use relevo_load::report::plot::{COLOURS, escape};

use super::decision;
use super::{Comparison, Outcome, Stage};

/// Units of SVG.
const WIDTH: f64 = 900.0;
const ROW: f64 = 22.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 70.0;
const FOOT: f64 = 26.0;

/// The ratios' axis.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn of(ratios: &[f64]) -> Axis {
        let finite = || ratios.iter().copied().filter(|ratio| ratio.is_finite());
        let low = finite().fold(0.9, f64::min);
        let high = finite().fold(1.1, f64::max);
        Axis { low: (low * 10.0).floor() / 10.0, high: (high * 10.0).ceil() / 10.0 }
    }

    fn x(&self, ratio: f64) -> f64 {
        let share = (ratio - self.low) / (self.high - self.low);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
        let step = step.into_iter().find(|step| (self.high - self.low) / step <= 10.0).unwrap_or(50.0);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|at| at as f64 * step).collect()
    }
}

fn ratios(outcome: &Outcome, comparison: &Comparison) -> Vec<f64> {
    let score = |measured| outcome.goal.score(measured);
    comparison.pairs.iter().map(|(base, tried)| score(tried) / score(base).max(1e-9)).collect()
}

fn title(comparison: &Comparison) -> String {
    match comparison.stage {
        Stage::Noise => "the default beside itself".to_owned(),
        Stage::Single => comparison.tried.to_string(),
        Stage::Combined => format!("{} / {}", comparison.tried, comparison.base),
        Stage::Whole => format!("all: {}", comparison.tried),
    }
}

/// At most so many letters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// The picture, as an element of HTML.
pub(super) fn html(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(outcome, &mut out);
    out
}

fn write(outcome: &Outcome, out: &mut String) -> std::fmt::Result {
    let all: Vec<Vec<f64>> = outcome.comparisons.iter().map(|one| ratios(outcome, one)).collect();
    let axis = Axis::of(&all.concat());
    let bottom = ROW * all.len() as f64 + 6.0;
    let words = outcome.goal.words();
    writeln!(out, "<figure><figcaption>Ratio of the {words}, tried over base, of every round</figcaption>")?;
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"all comparisons\">",
        bottom + FOOT
    )?;
    if let Some(noise) = outcome.comparisons.iter().find(|one| one.stage == Stage::Noise) {
        let floor = decision::floor(&noise.decision);
        let (x, end) = (axis.x(1.0 - floor), axis.x(1.0 + floor));
        writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"0\" width=\"{:.1}\" height=\"{bottom:.1}\" fill=\"currentColor\" opacity=\"0.08\"><title>no gain: what equal relays differ by</title></rect>",
            end - x
        )?;
    }
    for tick in axis.ticks() {
        let x = axis.x(tick);
        writeln!(out, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/>")?;
        let y = bottom + 16.0;
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{tick:.2}</text>")?;
    }
    for (at, (comparison, ratios)) in outcome.comparisons.iter().zip(&all).enumerate() {
        row(&axis, ROW * (at as f64 + 0.5) + 3.0, comparison, ratios, out)?;
    }
    out.push_str("</svg></figure>\n");
    Ok(())
}

fn row(axis: &Axis, y: f64, comparison: &Comparison, ratios: &[f64], out: &mut String) -> std::fmt::Result {
    let colour = COLOURS[if comparison.decision.clear { 1 } else { 0 }];
    let name = title(comparison);
    writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}<title>{}</title></text>",
        LEFT - 8.0,
        y + 4.0,
        escape(&cut(&name, 52)),
        escape(&name)
    )?;
    for ratio in ratios.iter().filter(|ratio| ratio.is_finite()) {
        let x = axis.x(*ratio);
        writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\" opacity=\"0.6\"><title>{ratio:.3}</title></circle>"
        )?;
    }
    let median = comparison.decision.median;
    if median.is_finite() {
        let x = axis.x(median);
        let (top, foot) = (y - 8.0, y + 8.0);
        writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{foot:.1}\" stroke=\"{colour}\" stroke-width=\"2.5\"/>"
        )?;
        writeln!(out, "<text x=\"{:.0}\" y=\"{:.1}\">{median:.2}</text>", WIDTH - RIGHT + 10.0, y + 4.0)?;
    }
    Ok(())
}
