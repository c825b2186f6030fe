//! Figures of one relay beside those of another.

use std::fmt::Write;

use super::{Report, Run};

/// One figure of a run.
pub struct Figure {
    /// What it is, with its unit.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Whether more is better.
    pub more_is_better: bool,
}

/// The figures that are compared.
pub fn figures(run: &Run) -> Vec<Figure> {
    let more = |name, value| Figure { name, value, more_is_better: true };
    let less = |name, value| Figure { name, value, more_is_better: false };
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    vec![
        more("accepted, messages/s", run.load.rate),
        more("delivered, recipients/s", run.delivery.rate),
        less("accept p50, ms", milliseconds(run.load.accept.p50)),
        less("accept p99, ms", milliseconds(run.load.accept.p99)),
        less("accept p99.9, ms", milliseconds(run.load.accept.p999)),
        less("delivery p50, ms", milliseconds(run.delivery.latency.p50)),
        less("delivery p99, ms", milliseconds(run.delivery.latency.p99)),
        less("CPU a message, us", run.cost.cpu_us_per_message),
        less("own memory at most, MiB", mebibytes(run.cost.anonymous_peak)),
        less("lost", run.verdict.lost as f64),
        less("repeated", run.verdict.repeated as f64),
    ]
}

/// A table of two runs with the ratios of their figures.
pub fn table(one: &Run, other: &Run) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{:<26}{:>14}{:>14}{:>10}",
        one.scenario,
        short(&one.label),
        short(&other.label),
        "ratio"
    );
    for (one, other) in figures(one).iter().zip(figures(other)) {
        let _ = writeln!(
            out,
            "{:<26}{:>14}{:>14}{:>10}  {}",
            one.name,
            number(one.value),
            number(other.value),
            ratio(one.value, other.value),
            better(one, other.value)
        );
    }
    out
}

fn better(one: &Figure, other: f64) -> &'static str {
    match (one.value, one.more_is_better) {
        (value, _) if value == other => "",
        (value, true) if value > other => "better",
        (value, false) if value < other => "better",
        _ => "worse",
    }
}

/// The first value for one of the second.
pub fn ratio(one: f64, other: f64) -> String {
    if other == 0.0 || !one.is_finite() || !other.is_finite() {
        return "-".to_owned();
    }
    format!("{:.2}", one / other)
}

/// A number with as many digits as mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

fn short(label: &str) -> String {
    label.chars().take(13).collect()
}

/// Compares two reports, scenario by scenario: the median run of the first relay of each. None: they have no scenario in
/// common.
pub fn reports(one: &Report, other: &Report) -> Option<String> {
    let first = |report: &Report| report.labels().first().and_then(|label| report.median(label)).cloned();
    let (one, other) = (first(one)?, first(other)?);
    (one.scenario == other.scenario).then(|| table(&one, &other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_median_run() {
        let run = |label: &str, rate: f64| {
            let mut run = Run { label: label.to_owned(), scenario: "steady".to_owned(), ..Run::default() };
            (run.load.rate, run.load.accept.p99) = (rate, 5000);
            run
        };
        let one = Report { runs: vec![run("a", 100.0), run("b", 7.0), run("a", 300.0), run("a", 200.0)] };
        let other = Report { runs: vec![run("c", 50.0)] };
        assert_eq!(one.labels(), ["a", "b"]);
        let text = reports(&one, &other).unwrap();
        let line = text.lines().find(|line| line.starts_with("accepted")).unwrap();
        assert!(line.contains("200") && line.contains("4.00") && line.contains("better"), "{text}");
        assert!(text.contains("accept p99, ms                      5.00          5.00      1.00"), "{text}");
        let mut strange = other.clone();
        strange.runs[0].scenario = "burst".to_owned();
        assert!(reports(&one, &strange).is_none() && reports(&one, &Report::default()).is_none());
        assert_eq!((ratio(1.0, 0.0), number(0.0), number(12345.6)), ("-".into(), "0".into(), "12346".into()));
    }
}
