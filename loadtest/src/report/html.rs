//! A report as one page that needs nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write;

use super::plot::{COLOURS, Plot, Scale, Series, escape};
use super::{Latency, Report, Run, Sample, compare};

/// How pages of this kind look.
pub const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--line:#dde;--card:#fff;--page:#f5f6f9;--good:#087f5b;--bad:#c92a2a}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#99a;--line:#334;--card:#1b1e26;--page:#12141a;--good:#38d9a9;--bad:#ff8787}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0;padding:2rem;max-width:1400px;margin:auto}\
h1{margin:0;font-size:1.7rem}h2{font-size:1.1rem;margin:2rem 0 .7rem}p{margin:.3rem 0;color:var(--soft)}\
.cards{display:flex;flex-wrap:wrap;gap:1rem;margin:1.4rem 0}\
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.9rem 1.2rem;min-width:9rem}\
.card b{display:block;font-size:1.6rem;font-variant-numeric:tabular-nums}.card span{color:var(--soft);font-size:.85rem}\
.good b{color:var(--good)}.bad b{color:var(--bad)}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:1rem}\
figure{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:0;padding:.8rem}\
figcaption{font-weight:600;margin-bottom:.3rem}svg{width:100%;height:auto}\
svg text{font-size:11px;fill:var(--soft)}svg .grid{stroke:var(--line)}svg .mark{stroke:#d00;stroke-width:1.2}\
svg path{fill:none;stroke-width:1.8;stroke-linejoin:round}\
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.85rem;color:var(--soft)}\
.legend i{display:inline-block;width:22px;margin-right:.4rem;vertical-align:middle}\
table{border-collapse:collapse;background:var(--card);border:1px solid var(--line);border-radius:10px;font-variant-numeric:tabular-nums}\
th,td{padding:.3rem .8rem;text-align:right;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}\
.bar{display:flex;height:12px;width:220px;border-radius:6px;overflow:hidden;background:var(--line)}\
.bar i{display:block;height:100%}pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem;overflow:auto}";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(report, &mut out);
    out
}

fn write_page(report: &Report, out: &mut String) -> std::fmt::Result {
    let shown: Vec<&Run> = report.labels().into_iter().filter_map(|label| report.median(label)).collect();
    let Some(first) = shown.first() else {
        return out.write_str("<!doctype html><title>relevo-load</title><p>No run.</p>");
    };
    let scenario = escape(&first.scenario);
    let relays: Vec<String> = shown.iter().map(|run| escape(&run.label)).collect();
    writeln!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{scenario}: {}</title><style>{STYLE}</style>",
        relays.join(" and ")
    )?;
    writeln!(out, "<h1>{scenario}: {}</h1><p>{}</p>", relays.join(" and "), escape(&first.about))?;
    machine(first, out)?;
    cards(first, out)?;
    if shown.len() > 1 {
        ratios(&shown, report, out)?;
    }
    out.push_str("<h2>On the way</h2><div class=\"plots\">\n");
    for plot in plots(&shown) {
        out.push_str(&plot.html());
    }
    out.push_str("</div>\n");
    for run in &shown {
        sites(run, out)?;
    }
    out.push_str("<h2>Every run in words</h2>\n");
    for run in &report.runs {
        writeln!(out, "<pre>{}</pre>", escape(&super::text::table(run)))?;
    }
    out.push_str("</html>\n");
    Ok(())
}

fn machine(run: &Run, out: &mut String) -> std::fmt::Result {
    let machine = &run.machine;
    writeln!(
        out,
        "<p>{} cores ({}), {} GiB, Linux {}; relay, sender and receivers share them. {} {}</p>",
        machine.cores,
        escape(&machine.processor),
        machine.memory >> 30,
        escape(&machine.kernel),
        crate::message::date(run.began),
        escape(run.settings.trim_start_matches(", "))
    )
}

fn cards(run: &Run, out: &mut String) -> std::fmt::Result {
    let verdict = &run.verdict;
    let ms = |microseconds: u64| format!("{} ms", compare::number(microseconds as f64 / 1000.0));
    let judged = |count: u64| if count == 0 { "good" } else { "bad" };
    let cards = [
        ("", compare::number(run.load.rate), "messages/s accepted".to_owned()),
        ("", compare::number(run.delivery.rate), "recipients/s delivered".to_owned()),
        ("", ms(run.load.accept.p99), "accept, 99 of 100".to_owned()),
        ("", ms(run.delivery.latency.p99), "delivery, 99 of 100".to_owned()),
        ("", format!("{} us", compare::number(run.cost.cpu_us_per_message)), "CPU a message".to_owned()),
        (
            judged(verdict.lost),
            verdict.lost.to_string(),
            format!("lost of {} recipients", verdict.recipients),
        ),
        (
            judged(verdict.repeated),
            verdict.repeated.to_string(),
            format!(
                "repeated without a reason, {} with",
                verdict.duplicated - verdict.repeated.min(verdict.duplicated)
            ),
        ),
        (
            judged(verdict.corrupted + verdict.misrouted + verdict.reordered),
            (verdict.corrupted + verdict.misrouted + verdict.reordered).to_string(),
            "altered or misrouted".to_owned(),
        ),
    ];
    out.push_str("<div class=\"cards\">");
    for (class, value, name) in cards {
        write!(out, "<div class=\"card {class}\"><b>{value}</b><span>{}</span></div>", escape(&name))?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn ratios(shown: &[&Run], report: &Report, out: &mut String) -> std::fmt::Result {
    let rounds = report.runs_of(&shown[0].label).count();
    writeln!(
        out,
        "<h2>Side by side</h2><p>{rounds} round(s), alternating; the run with the median rate of each.</p><table><tr><th></th>"
    )?;
    for run in shown {
        write!(out, "<th>{}</th>", escape(&run.label))?;
    }
    for run in &shown[1..] {
        write!(out, "<th>{} / {}</th>", escape(&shown[0].label), escape(&run.label))?;
    }
    out.push_str("</tr>");
    let columns: Vec<_> = shown.iter().map(|run| compare::figures(run)).collect();
    for (at, figure) in columns[0].iter().enumerate() {
        write!(out, "<tr><td>{}</td>", figure.name)?;
        for column in &columns {
            write!(out, "<td>{}</td>", compare::number(column[at].value))?;
        }
        for column in &columns[1..] {
            write!(out, "<td>{}</td>", compare::ratio(figure.value, column[at].value))?;
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>\n");
    Ok(())
}

fn over_time(run: &Run, name: &str, colour: usize, dashed: bool, of: impl Fn(&Sample) -> f64) -> Series {
    let points = run.samples.iter().map(|sample| (sample.at, of(sample))).collect();
    Series { name: name.to_owned(), colour, dashed, points }
}

/// Name, whether dashed, and value of a line over time.
type Line = (&'static str, bool, fn(&Sample) -> f64);

fn plots(shown: &[&Run]) -> Vec<Plot> {
    let marks: Vec<f64> = shown[0].kills.iter().map(|kill| kill.at).collect();
    let many = shown.len() > 1;
    let plot = |title: &str, unit: &'static str, scale: Scale, lines: &[Line]| {
        let mut series = Vec::new();
        for (at, run) in shown.iter().enumerate() {
            for (line, (name, dashed, of)) in lines.iter().enumerate() {
                let name = if many { format!("{} {name}", run.label) } else { (*name).to_owned() };
                let colour = if many { at } else { line };
                series.push(over_time(run, &name, colour, *dashed, of));
            }
        }
        Plot {
            title: title.to_owned(),
            labels: ("seconds", unit),
            scale,
            ticks: Vec::new(),
            marks: marks.clone(),
            series,
        }
    };
    const MIB: f64 = 1048576.0;
    vec![
        plot(
            "Rate",
            "per second",
            Scale::Linear,
            &[
                ("messages accepted", false, |sample| sample.accepted),
                ("recipients delivered", true, |sample| sample.delivered),
            ],
        ),
        plot(
            "Queue: recipients accepted and not settled",
            "recipients",
            Scale::Linear,
            &[("queue", false, |sample| sample.queue as f64)],
        ),
        percentiles(shown),
        plot(
            "Accept latency over time, from the moment due",
            "ms",
            Scale::Logarithmic,
            &[
                ("p50", true, |sample| waited(sample.accept_p50)),
                ("p99", false, |sample| waited(sample.accept_p99)),
            ],
        ),
        plot("CPU of the relay", "cores", Scale::Linear, &[("busy", false, |sample| sample.cores)]),
        plot(
            "Memory of the relay",
            "MiB",
            Scale::Linear,
            &[
                ("its own", false, |sample| sample.anonymous as f64 / MIB),
                ("with mapped files", true, |sample| sample.resident as f64 / MIB),
            ],
        ),
    ]
}

/// In milliseconds; 0 says that nothing was accepted meanwhile.
fn waited(microseconds: u64) -> f64 {
    if microseconds == 0 { f64::NAN } else { microseconds as f64 / 1000.0 }
}

/// Latencies by the share of messages that waited longer.
fn percentiles(shown: &[&Run]) -> Plot {
    let line = |run: &Run, name: &str, colour: usize, dashed: bool, latency: &Latency| {
        let points =
            latency.curve.iter().map(|(above, value)| (-above.log10(), *value as f64 / 1000.0)).collect();
        let name = if shown.len() > 1 { format!("{} {name}", run.label) } else { name.to_owned() };
        Series { name, colour, dashed, points }
    };
    let mut series = Vec::new();
    for (at, run) in shown.iter().enumerate() {
        let colour = |line: usize| if shown.len() > 1 { at } else { line };
        series.push(line(run, "accept", colour(0), false, &run.load.accept));
        series.push(line(run, "delivery", colour(1), true, &run.delivery.latency));
    }
    let ticks = ["0", "90", "99", "99.9", "99.99"];
    Plot {
        title: "Latency by percentile, from the moment due".to_owned(),
        labels: ("percentile", "ms"),
        scale: Scale::Logarithmic,
        ticks: ticks.iter().enumerate().map(|(at, name)| (at as f64, (*name).to_owned())).collect(),
        marks: Vec::new(),
        series,
    }
}

fn sites(run: &Run, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>Receivers of {}</h2><table><tr><th>site</th><th>share</th><th>outcomes</th><th>taken</th><th>4xx</th><th>5xx</th>\
         <th>cut off</th><th>connections, most at once</th><th>delivery p50</th><th>p99</th></tr>",
        escape(&run.label)
    )?;
    for site in &run.sites {
        let counts = &site.counts;
        let parts = [counts.recipients, counts.tempfails, counts.rejects, counts.disconnects];
        let sum = parts.iter().sum::<u64>().max(1) as f64;
        write!(
            out,
            "<tr><td>{}</td><td>{:.1} %</td><td><div class=\"bar\">",
            escape(&site.name),
            site.share * 100.0
        )?;
        for (part, colour) in parts.iter().zip([COLOURS[2], COLOURS[4], COLOURS[1], COLOURS[3]]) {
            write!(out, "<i style=\"width:{:.2}%;background:{colour}\"></i>", *part as f64 / sum * 100.0)?;
        }
        out.push_str("</div></td>");
        for part in parts {
            write!(out, "<td>{part}</td>")?;
        }
        let ms = |microseconds: u64| compare::number(microseconds as f64 / 1000.0);
        let (p50, p99) = (ms(site.latency.p50), ms(site.latency.p99));
        writeln!(out, "<td>{}</td><td>{p50} ms</td><td>{p99} ms</td></tr>", site.connections_peak)?;
    }
    out.push_str("</table>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        let mut run = Run { label: "a<b".into(), scenario: "steady".into(), ..Run::default() };
        run.samples =
            (0..5).map(|at| Sample { at: f64::from(at), accepted: 7.0, ..Sample::default() }).collect();
        run.sites = vec![super::super::SiteOutcome { name: "gmail".into(), ..Default::default() }];
        let mut other = run.clone();
        other.label = "other".into();
        let text = page(&Report { runs: vec![run, other] });
        for wanted in ["a&lt;b", "Side by side", "gmail", "Queue", "percentile", "</html>"] {
            assert!(text.contains(wanted), "{wanted}");
        }
        for foreign in ["http://", "https://", "<script", "NaN", "a<b"] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        assert_eq!(text.matches("<svg").count(), 6);
        assert!(page(&Report::default()).contains("No run"));
    }
}
