//! The shards' instruments as text: that of OpenMetrics, or that of Prometheus before it.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::control::Showing;
use crate::control::journal::{Progress, Shared};
use crate::control::reload::Reload;
use crate::control::suppression::ListNumbers;
use crate::observe::Instruments;
use crate::observe::families::Family;
use crate::policy::certificate::Certificate;
use crate::runtime::process;

mod histogram;
mod ranked;
mod renamed;

use ranked::Ranked;

#[derive(Debug)]
struct Shards(Vec<Arc<Instruments>>);

#[derive(Debug)]
struct Certificates(Showing);

#[derive(Debug)]
struct OfJournal(Arc<Shared>);

#[derive(Debug)]
struct Counted(Arc<Family>);

#[derive(Debug)]
struct OfList(Arc<ListNumbers>);

struct Reloads(Arc<dyn Reload>);

impl fmt::Debug for Reloads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reloads")
    }
}

/// Everything under the prefix `relevo`.
pub fn registry(
    (instruments, counted, listed): (Vec<Arc<Instruments>>, Vec<Arc<Family>>, Arc<ListNumbers>),
    journal: Option<Arc<Shared>>,
    runtime: &'static str,
    certificates: Showing,
    reload: Option<Arc<dyn Reload>>,
) -> Registry {
    let mut registry = Registry::with_prefix("relevo");
    registry.register("runtime", "What the shards run on", Info::new(vec![("name", runtime)]));
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The version of the relay", build);
    registry.register_collector(Box::new(Ranked::new(instruments.clone())));
    registry.register_collector(Box::new(Shards(instruments)));
    if let Some(journal) = journal {
        registry.register_collector(Box::new(OfJournal(journal)));
    }
    for family in counted {
        registry.register_collector(Box::new(Counted(family)));
    }
    registry.register_collector(Box::new(OfList(listed)));
    registry.register_collector(Box::new(Certificates(certificates)));
    if let Some(reload) = reload {
        registry.register_collector(Box::new(Reloads(reload)));
    }
    registry
}

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// That of Prometheus before OpenMetrics, which whatever reads metrics understands.
    Classic,
    /// OpenMetrics, for who asks for it.
    Open,
}

impl Form {
    /// The one that the Accept field of a request asks for (RFC 9110 section 12.5.1): who takes either gets the older one, unless he likes
    /// OpenMetrics as much.
    pub fn asked_for(accept: &str) -> Form {
        let (mut open, mut classic) = (0, 0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.filter_map(|part| weight(&part.to_ascii_lowercase())).next().unwrap_or(1000);
            match &*kind {
                "application/openmetrics-text" => open = open.max(weight),
                "text/plain" => classic = classic.max(weight),
                _ => {}
            }
        }
        if open > 0 && open >= classic { Form::Open } else { Form::Classic }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Form::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A `q` parameter in thousandths; one that is malformed is the least.
fn weight(parameter: &str) -> Option<u32> {
    let value = parameter.strip_prefix("q=")?;
    let thousandths = value.parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
    Some(thousandths.map_or(0, |value| (value * 1000.0) as u32))
}

/// The text.
pub fn render(registry: &Registry, form: Form) -> Result<String, fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(match form {
        Form::Classic => classic(&out),
        Form::Open => out,
    })
}

/// OpenMetrics as the text before it: there a metric is described by the name that its samples have, and is of one of four types.
fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        let words = line.strip_prefix("# ").unwrap_or_default();
        if let Some(described) = words.strip_prefix("HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = words.strip_prefix("TYPE ").and_then(|named| named.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            out.extend(["# HELP ", name, suffix, " ", help, "\n# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if words.is_empty() {
            out.extend([line, "\n"]);
        }
    }
    out
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = self.0.get();
        if all.is_empty() {
            return Ok(());
        }
        let mut gauge = |name: &str, help: &str, unit: Unit, value: &dyn Fn(&Certificate) -> i64| {
            let mut metric = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
            for shown in all.iter() {
                let labels = [("file", shown.file.clone())];
                metric.encode_family(&labels)?.encode_gauge(&value(&shown.certificate))?;
            }
            Ok::<(), fmt::Error>(())
        };
        let help = "When the certificate that was read from a file ends, since 1970";
        gauge("certificate_expiry_timestamp", help, Unit::Seconds, &|one| {
            one.not_after.min(i64::MAX as u64) as i64
        })?;
        let help = "Deprecated, see certificate_expiry_timestamp_seconds: how long it still holds; negative where it has ended";
        let now = process::wall();
        gauge("certificate_left", help, Unit::Other("days".into()), &|one| one.days_left(now))
    }
}

impl Collector for Reloads {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        encode_family(self.0.counts(), encoder)
    }
}

impl Collector for Counted {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        encode_family(&self.0, encoder)
    }
}

fn encode_family(counts: &Family, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let what = counts.what();
    let mut metric = encoder.encode_descriptor(what.name, what.help, None, MetricType::Counter)?;
    for (value, count) in counts.each() {
        let labels = [(what.label, value.to_owned())];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}

impl Collector for OfList {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (entries, changes) = self.0.sizes();
        let help = "Entries in the file of the suppression list";
        let mut metric = encoder.encode_descriptor("suppression_entries", help, None, MetricType::Gauge)?;
        metric.encode_gauge(&(entries as i64))?;
        let help = "Changes of the suppression list that are not in its file yet";
        let mut metric = encoder.encode_descriptor("suppression_changes", help, None, MetricType::Gauge)?;
        metric.encode_gauge(&(changes as i64))?;
        encode_family(self.0.family(), encoder)
    }
}

impl Collector for OfJournal {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let bytes = Some(&Unit::Bytes);
        let help = "Events on the disk that some log does not have, or has not had for long";
        let mut metric = encoder.encode_descriptor("journal", help, bytes, MetricType::Gauge)?;
        metric.encode_gauge(&(self.0.bytes() as i64))?;
        let progress = self.0.progress();
        let label = |log: &Progress| [("log", log.name.clone())];
        let help = "Events of the journal that a log has not written yet";
        let mut metric = encoder.encode_descriptor("log_behind", help, bytes, MetricType::Gauge)?;
        for log in &progress {
            metric.encode_family(&label(log))?.encode_gauge(&(log.behind as i64))?;
        }
        let help = "Events that went from the journal before a log had written them";
        let mut metric = encoder.encode_descriptor("log_lost", help, None, MetricType::Counter)?;
        for log in &progress {
            metric.encode_family(&label(log))?.encode_counter::<NoLabelSet, _, u64>(&log.lost, None)?;
        }
        Ok(())
    }
}

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let counts: Vec<_> = self.0.iter().map(|shard| shard.counters.counts()).collect();
        for (place, (name, help, _)) in first.counters.counts().into_iter().enumerate() {
            let help = &*renamed::marked(name, help);
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (shard, counts) in counts.iter().enumerate() {
                let labels = [("shard", shard.to_string())];
                metric
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&counts[place].2, None)?;
            }
        }
        self.encode_families(&mut encoder)?;
        let levels: Vec<_> = self.0.iter().map(|shard| shard.counters.levels()).collect();
        for (place, (name, help, _)) in first.counters.levels().into_iter().enumerate() {
            let help = &*renamed::marked(name, help);
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (shard, levels) in levels.iter().enumerate() {
                let labels = [("shard", shard.to_string())];
                metric.encode_family(&labels)?.encode_gauge(&(levels[place].2 as i64))?;
            }
        }
        renamed::encode(&self.0, &mut encoder)?;
        histogram::encode(&self.0, &mut encoder)?;
        encode_process(&mut encoder)
    }
}

impl Shards {
    fn encode_families(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let help = "Recipients by what became of them, in attempts and without";
        let mut metric = encoder.encode_descriptor("outcomes", help, None, MetricType::Counter)?;
        for (shard, instruments) in self.0.iter().enumerate() {
            for (kind, counter) in instruments.counters.outcomes() {
                let labels = [("shard", shard.to_string()), ("kind", kind.word().to_owned())];
                let count = counter.get();
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        for (place, family) in first.families.plain().iter().enumerate() {
            let what = family.what();
            let mut metric = encoder.encode_descriptor(what.name, what.help, None, MetricType::Counter)?;
            for (shard, instruments) in self.0.iter().enumerate() {
                for (value, count) in instruments.families.plain()[place].each() {
                    let labels = [("shard", shard.to_string()), (what.label, value.to_owned())];
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        for (place, family) in first.families.named().iter().enumerate() {
            let (label, what) = family.what();
            let mut metric = encoder.encode_descriptor(what.name, what.help, None, MetricType::Counter)?;
            for (shard, instruments) in self.0.iter().enumerate() {
                for (name, value, count) in instruments.families.named()[place].each() {
                    let labels = [
                        ("shard", shard.to_string()),
                        (label, name.to_owned()),
                        (what.label, value.to_owned()),
                    ];
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }
}

/// What the process takes of the machine.
fn encode_process(encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let usage = process::usage();
    let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
    let help = "CPU time of the process";
    let mut metric = encoder.encode_descriptor("process_cpu", help, seconds, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&usage.cpu, None)?;
    let mut gauge = |name: &str, help: &str, value: u64| {
        let mut metric = encoder.encode_descriptor(name, help, bytes, MetricType::Gauge)?;
        metric.encode_gauge(&(value as i64))
    };
    gauge("process_resident", "Memory of the process", usage.resident)?;
    let help = "Memory of the process without mapped files (the spool)";
    gauge("process_anonymous", help, usage.anonymous)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_for_who_asks_for_them() {
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0",
            // Prometheus 2 and 3.
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "text/plain;q=0.5, application/openmetrics-text;q=0.5",
        ] {
            assert_eq!(Form::asked_for(accept), Form::Open, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.000, */*",
            "application/openmetrics-text;q=high",
            "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.4",
        ] {
            assert_eq!(Form::asked_for(accept), Form::Classic, "{accept}");
        }
    }

    /// Names of routes are the operator's: what the text's syntax needs is escaped.
    #[test]
    fn labels_say_what_is_counted() {
        let shards: Vec<Arc<Instruments>> = vec![Arc::default(), Arc::default()];
        let families = &shards[1].families;
        families.rejected.add(1, 4);
        shards[0].counters.recipients_expired.add(9);
        families.attempted.add(families.attempted.place("lmtp:/run/\"a\\b\n"), 2, 5);
        for form in [Form::Classic, Form::Open] {
            let text = render(
                &registry(
                    (
                        shards.clone(),
                        vec![crate::control::fired(), crate::control::fetches()],
                        Arc::default(),
                    ),
                    None,
                    "epoll",
                    Showing::default(),
                    None,
                ),
                form,
            )
            .expect("it is written");
            for line in [
                "relevo_rejected_total{shard=\"1\",reason=\"too_many_connections\"} 4",
                "relevo_rejected_total{shard=\"0\",reason=\"too_many_connections\"} 0",
                "relevo_rejected_total{shard=\"0\",reason=\"other\"} 0",
                "relevo_outcomes_total{shard=\"0\",kind=\"expired\"} 9",
                "relevo_outcomes_total{shard=\"1\",kind=\"delivered\"} 0",
                r#"relevo_attempted_recipients_total{shard="1",route="lmtp:/run/\"a\\b\n",outcome="bounced"} 5"#,
                "relevo_attempted_recipients_total{shard=\"0\",route=\"other\",outcome=\"delivered\"} 0",
            ] {
                assert!(text.lines().any(|one| one == line), "{line} in {text}");
            }
        }
    }

    /// Every sample is of a metric that is described, once, before it.
    #[test]
    fn the_older_text_describes_what_it_has() {
        let shards = vec![Arc::default(), Arc::default()];
        let registry = registry(
            (shards, vec![crate::control::fired(), crate::control::fetches()], Arc::default()),
            None,
            "epoll",
            Showing::default(),
            None,
        );
        let text = render(&registry, Form::Classic).expect("it is written");
        let (mut described, mut of) = ("", "");
        let mut names = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(matches!(kind, "counter" | "gauge" | "histogram") && names.insert(name), "{line}");
                (described, of) = (name, kind);
            } else if !line.starts_with("# HELP ") {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let part = name.strip_prefix(described).expect(line);
                let parts: &[&str] = if of == "histogram" { &["_sum", "_count", "_bucket"] } else { &[""] };
                assert!(parts.contains(&part), "{line}");
            }
        }
        assert!(text.contains("# TYPE relevo_recipients_delivered_total counter\n"), "{text}");
        assert!(
            text.contains("# TYPE relevo_runtime_info gauge\nrelevo_runtime_info{name=\"epoll\"} 1\n"),
            "{text}"
        );
        assert!(!text.contains("EOF") && !text.contains("UNIT"), "{text}");
        let open = render(&registry, Form::Open).expect("it is written");
        assert!(open.ends_with("# EOF\n") && open.contains("# TYPE relevo_recipients_delivered counter\n"));
    }
}
