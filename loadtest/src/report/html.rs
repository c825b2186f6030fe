//! A report as one page that needs nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write;

use super::plot::{COLOURS, Plot, Scale, Series, escape};
use super::{Latency, Report, Run, Sample, compare};

/// How pages of this kind look; the relay's page for operators begins with the same.
pub const STYLE: &str = include_str!("style.css");

/// Their mark, as that page has it.
pub const ICON: &str = "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' rx='8' fill='%232352c7'/%3E%3Cpath d='M7 11h11m-4-4 4 4-4 4M25 21H14m4-4-4 4 4 4' fill='none' stroke='%23fff' stroke-width='2.6' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E\">";

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
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{scenario}: {}</title>{ICON}<style>{STYLE}</style>",
        relays.join(" and ")
    )?;
    writeln!(out, "<h1>{scenario}: {}</h1><p>{}</p>", relays.join(" and "), escape(&first.about))?;
    for run in &shown {
        answer(run, shown.len() > 1, out)?;
    }
    cards(first, shown.len() > 1, out)?;
    machine(first, out)?;
    for run in &shown {
        balance(run, shown.len() > 1, out)?;
    }
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
        "<p>{} cores ({}), {} GiB, Linux {}; relay, sender and receivers share them. {}{}{}</p>",
        machine.cores,
        escape(&machine.processor),
        machine.memory >> 30,
        escape(&machine.kernel),
        crate::message::date(run.began),
        if run.settings.is_empty() { "" } else { "; " },
        escape(run.settings.trim_start_matches(", "))
    )
}

/// The verdict, before any number. The word says it, not the colour alone.
fn answer(run: &Run, several: bool, out: &mut String) -> std::fmt::Result {
    let (class, sign) = if run.is_clean() { ("", "\u{2713}") } else { ("bad", "\u{2717}") };
    let whose = if several { format!("{}: ", escape(&run.label)) } else { String::new() };
    let words = run.answer();
    let (first, rest) = words.split_once(": ").unwrap_or((&words, ""));
    write!(out, "<div class=\"verdict {class}\"><b>{sign} {whose}{}</b>", escape(&capital(first)))?;
    if !rest.is_empty() {
        write!(out, "<p>{}.</p>", escape(&capital(rest)))?;
    }
    if run.verdict.duplicated > 0 {
        let (number, reasons) = (run.verdict.duplicated, run.verdict.duplicates());
        write!(out, "<p>{number} delivered once more: {}.", escape(&reasons))?;
        if run.verdict.killed + run.verdict.reply_lost > 0 {
            out.push_str(" RFC 5321 4.5.3.2.6 allows that where the reply to the first was lost.");
        }
        out.push_str("</p>");
    }
    out.push_str("</div>\n");
    Ok(())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Where each recipient went. The parts are of the accepted ones alone, so they add up.
fn balance(run: &Run, several: bool, out: &mut String) -> std::fmt::Result {
    let verdict = &run.verdict;
    let settled = verdict.settled;
    let parts = [
        ("delivered", settled.delivered),
        ("refused for good by their receivers", settled.refused),
        ("bounced", settled.bounced),
        ("lost, or still queued", settled.lost),
    ];
    // A report of an earlier program has no parts.
    if parts.iter().all(|(_, number)| *number == 0) {
        return Ok(());
    }
    let whose = if several { format!(" of {}", escape(&run.label)) } else { String::new() };
    write!(out, "<h2>What became of the recipients{whose}</h2><div class=\"wide\"><table>")?;
    for (name, number) in parts {
        let share = number as f64 / verdict.recipients.max(1) as f64 * 100.0;
        write!(out, "<tr><td>{name}</td><td>{number}</td><td>{share:.2} %</td></tr>")?;
    }
    let sum: u64 = parts.iter().map(|(_, number)| number).sum();
    write!(
        out,
        "<tr class=\"sum\"><td>accepted, of {} messages</td><td>{sum}</td><td>100.00 %</td></tr>",
        verdict.messages
    )?;
    out.push_str("</table></div>\n");
    if verdict.unacknowledged > 0 {
        let reached = match verdict.unacknowledged {
            1 => "1 recipient was reached whose 250".to_owned(),
            number => format!("{number} recipients were reached whose 250"),
        };
        writeln!(
            out,
            "<p>Besides these, {reached} did not come back: their sender may send them again.</p>"
        )?;
    }
    Ok(())
}

fn cards(run: &Run, several: bool, out: &mut String) -> std::fmt::Result {
    let ms = |microseconds: u64| format!("{} ms", compare::number(microseconds as f64 / 1000.0));
    let cards = [
        (compare::number(run.load.rate), "messages/s accepted"),
        (compare::number(run.delivery.rate), "recipients/s delivered"),
        (ms(run.load.accept.p99), "to the 250, 99 of 100"),
        (ms(run.delivery.latency.p99), "to delivery, 99 of 100"),
        (format!("{} us", compare::number(run.cost.cpu_us_per_message)), "CPU a message"),
        (format!("{} MiB", run.cost.anonymous_peak >> 20), "memory at most"),
    ];
    if several {
        writeln!(out, "<p>Figures of {}:</p>", escape(&run.label))?;
    }
    out.push_str("<div class=\"cards\">");
    for (value, name) in cards {
        write!(out, "<div class=\"card\"><b>{value}</b><span>{}</span></div>", escape(name))?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn ratios(shown: &[&Run], report: &Report, out: &mut String) -> std::fmt::Result {
    let rounds = report.runs_of(&shown[0].label).count();
    writeln!(
        out,
        "<h2>Side by side</h2><p>{rounds} round(s), alternating; the run with the median rate of each.</p><div class=\"wide\"><table><tr><th></th>"
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
    out.push_str("</table></div>\n");
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
        "<h2>Receivers of {}</h2><div class=\"wide\"><table><tr><th>site</th><th>share</th><th>outcomes</th><th>taken</th><th>4xx</th><th>5xx</th>\
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
        for (part, colour) in parts.iter().zip([COLOURS[1], COLOURS[2], COLOURS[4], COLOURS[3]]) {
            write!(out, "<i style=\"width:{:.2}%;background:{colour}\"></i>", *part as f64 / sum * 100.0)?;
        }
        out.push_str("</div></td>");
        for part in parts {
            write!(out, "<td>{part}</td>")?;
        }
        let (p50, p99) = (waited_for(site.latency.p50), waited_for(site.latency.p99));
        writeln!(out, "<td>{}</td><td>{p50}</td><td>{p99}</td></tr>", site.connections_peak)?;
    }
    out.push_str("</table></div>\n");
    let words = "Taken counts every delivery: also those of the warm-up before the run, second ones, and bounces that came back to a sender (return).";
    writeln!(out, "<p>{words}</p>")?;
    Ok(())
}

/// Milliseconds, or a dash where nothing that has a time came.
fn waited_for(microseconds: u64) -> String {
    match microseconds {
        0 => "\u{2013}".to_owned(),
        _ => format!("{} ms", compare::number(microseconds as f64 / 1000.0)),
    }
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
        // The name of a language, which nobody asks for.
        let text = text.replacen(ICON, "", 1);
        for foreign in ["http://", "https://", "<script", "NaN", "a<b"] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        assert_eq!(text.matches("<svg").count(), 6);
        // The rule allows what has a reason only.
        let twice = |reasons: (u64, u64)| {
            let mut run = Run { label: "a".into(), ..Run::default() };
            (run.verdict.duplicated, run.verdict.repeated, run.verdict.reply_lost) =
                (1, reasons.0, reasons.1);
            page(&Report { runs: vec![run] })
        };
        assert!(!twice((1, 0)).contains("RFC 5321") && twice((0, 1)).contains("RFC 5321"));
        assert!(page(&Report::default()).contains("No run"));
        assert!(
            !text.contains("RFC 5321") && !text.contains("; </p>") && !text.contains("<td>0 ms</td>"),
            "{text}"
        );
    }
}
