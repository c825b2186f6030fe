//! A run as a table on the terminal.

use std::fmt::Write;

use super::{Latency, Run, Throttling, compare};

/// What one run came to.
pub fn table(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(run, &mut out);
    out
}

fn latency(latency: &Latency) -> String {
    if latency.count == 0 {
        return "none".to_owned();
    }
    let ms = |microseconds: u64| compare::number(microseconds as f64 / 1000.0);
    let Latency { p50, p99, p999, max, .. } = latency;
    format!("p50 {} ms   p99 {} ms   p99.9 {} ms   max {} ms", ms(*p50), ms(*p99), ms(*p999), ms(*max))
}

fn write_table(run: &Run, out: &mut String) -> std::fmt::Result {
    let (load, delivery) = (&run.load, &run.delivery);
    writeln!(out, "{} through {}{}", run.scenario, run.label, run.settings)?;
    writeln!(out, "{}", run.answer())?;
    writeln!(out, "accepted        {:>12.0} messages/s over {:.1} s", load.rate, load.seconds)?;
    writeln!(out, "  connect       {}", latency(&load.connect))?;
    writeln!(out, "  accept        {}", latency(&load.accept))?;
    writeln!(out, "delivered       {:>12.0} recipients/s over {:.1} s", delivery.rate, delivery.seconds)?;
    writeln!(out, "  from due      {}", latency(&delivery.latency))?;
    if run.cost.cpu_seconds > 0.0 {
        let mebibytes = run.cost.anonymous_peak >> 20;
        let (us, seconds) = (run.cost.cpu_us_per_message, run.cost.cpu_seconds);
        writeln!(
            out,
            "relay           {us:>12.0} us of CPU a message, {seconds:.1} s in all, {mebibytes} MiB at most"
        )?;
    }
    let refused = load.progress.tempfails + load.progress.rejects;
    if refused + load.progress.broken + load.progress.missed > 0 {
        let (broken, missed) = (load.progress.broken, load.progress.missed);
        writeln!(
            out,
            "not accepted    {refused:>12} refused, {broken} cut off, {missed} never begun in time"
        )?;
    }
    if let Some(throttling) = &run.throttling {
        write_throttling(throttling, out)?;
    }
    for kill in &run.kills {
        writeln!(
            out,
            "killed          {:>12.1} s after the start, greets again after {:.2} s",
            kill.at, kill.back_after
        )?;
    }
    for attack in &run.attacks {
        let crate::attack::Outcome { kind, connections, opened, ended, bytes } = attack;
        writeln!(
            out,
            "attack          {:<13} {connections} connections: opened {opened}, ended by the relay {ended}, {bytes} bytes",
            kind.name()
        )?;
    }
    if run.sites.len() > 1 {
        sites(run, out)?;
    }
    writeln!(out, "{}", run.verdict)?;
    if run.verdict.recipients == 0 {
        writeln!(out, "NOTHING ACCEPTED: the relay took no mail at all")?;
    }
    if !run.drained {
        writeln!(out, "NOT DRAINED: patience ended before everything acknowledged was settled")?;
    }
    if !run.ending.is_empty() {
        writeln!(out, "{}", run.ending)?;
    }
    if !run.left.is_empty() {
        writeln!(out, "left for a look {}", run.left)?;
    }
    Ok(())
}

fn write_throttling(throttling: &Throttling, out: &mut String) -> std::fmt::Result {
    let (taken, deferred) = (100.0 * throttling.taken(), 100.0 * throttling.share_deferred());
    writeln!(
        out,
        "limits          {:>12} {taken:.1}% of what receivers would have taken came in time, {deferred:.2}% of {} attempts deferred as too many",
        if throttling.is_kept() { "kept:" } else { "NOT KEPT:" },
        throttling.attempts
    )?;
    let Throttling { turned_away, exceeded, .. } = throttling;
    writeln!(
        out,
        "                {turned_away:>12} connections refused as too many, {exceeded} refusals where the relay knew the limit"
    )
}

fn sites(run: &Run, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "{:<16}{:>7}{:>12}{:>10}{:>10}{:>9}{:>13}{:>13}",
        "site", "share", "taken", "4xx", "5xx", "cut off", "connections", "p99"
    )?;
    for site in &run.sites {
        let counts = &site.counts;
        writeln!(
            out,
            "{:<16}{:>6.1}%{:>12}{:>10}{:>10}{:>9}{:>13}{:>13}",
            site.name.chars().take(16).collect::<String>(),
            site.share * 100.0,
            counts.recipients,
            counts.tempfails,
            counts.rejects,
            counts.disconnects,
            site.connections_peak,
            match site.latency.p99 {
                0 => "-".to_owned(),
                waited => format!("{} ms", compare::number(waited as f64 / 1000.0)),
            }
        )?;
    }
    Ok(())
}
