//! Everything that was tried, as one page that needs nothing else.

use std::fmt::Write;

use relevo_load::report::html::{ICON, STYLE};
use relevo_load::report::plot::{Plot, Scale, Series, escape};

use super::setting::Key;
use super::{Comparison, Measured, Outcome, Stage, chart, fragment};
use crate::table::number;

/// The page.
pub fn page(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(outcome, &mut out);
    out
}

fn write_page(outcome: &Outcome, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>relevo-tune sweep</title>{ICON}<style>{STYLE}</style><h1>What helps on this machine</h1>"
    )?;
    writeln!(
        out,
        "<p>{}; relay, sender and sink share it.</p><p>{}</p>",
        escape(&outcome.machine),
        escape(&outcome.load)
    )?;
    if outcome.unfinished {
        out.push_str("<p>Time ran out before everything was tried.</p>");
    }
    cards(outcome, out)?;
    writeln!(out, "<h2>Every comparison</h2>{}", chart::html(outcome))?;
    out.push_str(
        "<p>A dot is a round: the relay with the change and the relay without it, one after the other. The bar is the median. Green: a gain \
         above 3 %, above the spread, and above what two equal relays differ by here (grey).</p>",
    );
    out.push_str("<h2>By setting</h2><div class=\"plots\">\n");
    for key in Key::ALL {
        for plot in plots(outcome, key) {
            out.push_str(&plot.html());
        }
    }
    out.push_str("</div>\n");
    table(outcome, out)?;
    writeln!(
        out,
        "<h2>To put into the configuration</h2><pre>{}</pre></html>",
        escape(&fragment::text(outcome))
    )
}

fn cards(outcome: &Outcome, out: &mut String) -> std::fmt::Result {
    let noise = outcome.comparisons.iter().find(|one| one.stage == Stage::Noise);
    let base: Vec<f64> = outcome
        .comparisons
        .iter()
        .filter(|one| one.base.is_empty())
        .flat_map(|one| one.pairs.iter().map(|(base, _)| base.rate))
        .collect();
    let whole = outcome.whole().map(|whole| number(whole.decision.median));
    let cards = [
        (
            "good",
            whole.unwrap_or_else(|| "1".to_owned()),
            format!("of the default's {}", outcome.goal.words()),
        ),
        ("", outcome.best.to_string(), "is best".to_owned()),
        ("", number(middle(base)), "recipients/s with the defaults".to_owned()),
        (
            "",
            noise.map_or("-".to_owned(), |noise| number(noise.decision.spread)),
            "spread of equal relays".to_owned(),
        ),
    ];
    out.push_str("<div class=\"cards\">");
    for (class, value, name) in cards {
        write!(
            out,
            "<div class=\"card {class}\"><b>{}</b><span>{}</span></div>",
            escape(&value),
            escape(&name)
        )?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Rate and cost by the values of one setting, medians of the rounds, beside the default of the same rounds.
fn plots(outcome: &Outcome, key: Key) -> Vec<Plot> {
    let singles: Vec<&Comparison> =
        outcome.comparisons.iter().filter(|one| one.stage == Stage::Single && one.key == Some(key)).collect();
    if singles.is_empty() {
        return Vec::new();
    }
    let mut ticks = vec![(0.0, key.default_value().to_owned())];
    for (at, one) in singles.iter().enumerate() {
        ticks.push((at as f64 + 1.0, one.tried.get(key).unwrap_or_default().to_owned()));
    }
    // Room for half of the last name.
    ticks.push((singles.len() as f64 + 0.3, String::new()));
    let pairs: Vec<&(Measured, Measured)> = singles.iter().flat_map(|one| &one.pairs).collect();
    let line = |name: &str,
                colour,
                dashed,
                of: &dyn Fn(&(Measured, Measured)) -> f64,
                base: &dyn Fn(&Measured) -> f64| {
        // Both begin at the default.
        let mut points = vec![(0.0, middle(pairs.iter().map(|(measured, _)| base(measured)).collect()))];
        for (at, one) in singles.iter().enumerate() {
            points.push((at as f64 + 1.0, middle(one.pairs.iter().map(of).collect())));
        }
        Series { name: name.to_owned(), colour, dashed, points }
    };
    let plot = |what: &str, unit: &'static str, of: fn(&Measured) -> f64| Plot {
        title: format!("{}: {what}", key.name()),
        labels: ("value", unit),
        scale: Scale::Linear,
        ticks: ticks.clone(),
        marks: Vec::new(),
        series: vec![
            line("with this value", 1, false, &|(_, tried)| of(tried), &of),
            line(&format!("beside it, {}", key.default_value()), 0, true, &|(base, _)| of(base), &of),
        ],
    };
    vec![
        plot("recipients delivered", "a second", |measured| measured.rate),
        plot("CPU of the relay a message", "us", |measured| measured.cpu_us),
        plot("wait for the 250, 99 of 100", "ms", |measured| measured.p99_ms),
    ]
}

fn table(outcome: &Outcome, out: &mut String) -> std::fmt::Result {
    out.push_str(
        "<h2>In numbers</h2><table><tr><th>tried</th><th>base</th><th>ratio</th><th>spread</th><th>pairs</th><th>recipients/s</th>\
         <th>base</th><th>CPU us</th><th>base</th><th>p99 ms</th><th>base</th><th></th></tr>",
    );
    for one in &outcome.comparisons {
        let of = |what: &dyn Fn(&(Measured, Measured)) -> f64| {
            number(middle(one.pairs.iter().map(what).collect()))
        };
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            escape(&one.tried.to_string()),
            escape(&one.base.to_string()),
            number(one.decision.median),
            number(one.decision.spread),
            one.pairs.len()
        )?;
        for of in [
            of(&|(_, tried)| tried.rate),
            of(&|(base, _)| base.rate),
            of(&|(_, tried)| tried.cpu_us),
            of(&|(base, _)| base.cpu_us),
            of(&|(_, tried)| tried.p99_ms),
            of(&|(base, _)| base.p99_ms),
        ] {
            write!(out, "<td>{of}</td>")?;
        }
        writeln!(out, "<td>{}</td></tr>", if one.decision.clear { "clear gain" } else { "" })?;
    }
    out.push_str("</table>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        let outcome = super::fragment::tests::outcome();
        let text = page(&outcome);
        for wanted in ["2 cores &lt;a&gt;", "commit_delay: recipients", "clear gain", "[[shard]]", "</html>"]
        {
            assert!(text.contains(wanted), "{wanted}");
        }
        // The name of a language, which nobody asks for.
        let text = text.replacen(ICON, "", 1);
        for foreign in ["http://", "https://", "<script", "NaN", "<a>"] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        assert_eq!(text.matches("<svg").count(), 1 + 2 * 3);
        assert_eq!(text.matches("<circle").count(), outcome.comparisons.len() * 3);
        assert!(page(&Outcome::default()).contains("they stay"));
    }
}
