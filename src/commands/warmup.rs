//! `relevo warmup`: how far sources in warm-up are.

use clap::{Args, Subcommand};
use relevo::control::api::shape::warmup::{Warming, Warmup};

use super::client::Relay;
use super::output::{Failure, complain, say};
use super::table;
use super::words::plain;

/// `relevo warmup …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Show each source in warm-up at each provider: the day of its plan, its volume, what of it is used, and what went by other sources.
    #[command(
        after_help = "Examples:\n  relevo warmup show\n  relevo warmup show --json\n\nDays are those of UTC; what is used counts messages."
    )]
    Show {
        #[command(flatten)]
        relay: Relay,
        /// Print JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Exit 0: done; 1: no relay; 2: wrong use.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Tool::Show { relay, json } = arguments.tool;
    let all: Warmup = relay.client()?.get("/control/v1/warmup")?;
    if json {
        for one in &all.sources {
            say!("{}", serde_json::to_string(one).map_err(|error| error.to_string())?);
        }
        return Ok(());
    }
    if all.sources.is_empty() {
        complain!("no mail went by a source in warm-up yet; [[warmup]] of the configuration names them");
        return Ok(());
    }
    for line in lines(&all, table::columns()) {
        say!("{line}");
    }
    Ok(())
}

fn lines(all: &Warmup, columns: usize) -> Vec<String> {
    let wide = |name: fn(&Warming) -> &str, head: &str, most: usize| {
        let names = all.sources.iter().map(|one| table::wide(&plain(name(one).as_bytes())));
        names.fold(head.len(), usize::max).min(most)
    };
    let source = wide(|one| &one.source, "SOURCE", 14);
    // The rest of the line has 55 columns, a state as long as `throttled -2d` with it.
    let provider = wide(|one| &one.provider, "PROVIDER", columns.saturating_sub(source + 55).max(8));
    let line = |words: [&str; 7]| {
        let [name, whom, day, used, volume, overflowed, state] = words;
        let name = pad(name, source);
        let whom = pad(whom, provider);
        format!("{name}  {whom}  {day:>7}  {used:>7}  {volume:>7}  {overflowed:>9}  {state}")
    };
    let mut lines = vec![line(["SOURCE", "PROVIDER", "DAY", "USED", "OF", "BY OTHERS", "STATE"])];
    for one in &all.sources {
        let day = one.day.map_or("-".to_owned(), |day| format!("{day}/{}", one.days));
        let volume = one.volume.map_or("any".to_owned(), |volume| volume.to_string());
        let state = match one.behind {
            0 => one.state.clone(),
            behind => format!("{} -{behind}d", one.state),
        };
        let (used, overflowed) =
            (one.used_by_all.unwrap_or(one.used).to_string(), one.overflowed.to_string());
        lines.push(line([&one.source, &one.provider, &day, &used, &volume, &overflowed, &state]));
    }
    lines.iter().map(|line| table::fit(line, columns)).collect()
}

fn pad(text: &str, columns: usize) -> String {
    let text = table::fit(&plain(text.as_bytes()), columns);
    let missing = columns.saturating_sub(table::wide(&text));
    text + &" ".repeat(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit() {
        let one = |source: &str, provider: &str, volume: Option<u32>, state: &str| Warming {
            source: source.to_owned(),
            provider: provider.to_owned(),
            day: volume.map(|_| 12),
            days: 30,
            behind: 2,
            volume,
            used: 70_000,
            overflowed: 1_234_567,
            state: state.to_owned(),
            ..Warming::default()
        };
        let sources = vec![
            one("ip9", "gmail", Some(70_000), "throttled"),
            one("a-source-with-a-long-name", "mx-of-somebody.with-a-long-name.example.net", None, "warm"),
        ];
        let all = Warmup { today: "2026-12-12".to_owned(), sources };
        for columns in [80, 100] {
            let shown = lines(&all, columns);
            assert!(shown.iter().all(|line| table::wide(line) <= columns), "{shown:#?}");
            assert!(shown[1].contains("12/30") && shown[1].contains("throttled"), "{shown:#?}");
        }
    }
}
