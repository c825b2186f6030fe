//! Counters by names that come with the mail or its hops: the busiest have a line each, all others are `other`. No line ever goes down: what is
//! counted between two looks goes to the line that the name had then, so that a name that comes among the busiest, or goes, moves nothing from one
//! line to another.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::limits;
use crate::observe::Instruments;
use crate::observe::families::OTHER;
use crate::runtime::process;

/// Those of all shards together.
#[derive(Debug)]
pub(super) struct Ranked {
    shards: Vec<Arc<Instruments>>,
    tables: Mutex<Vec<Table>>,
}

/// What is known of one metric.
#[derive(Debug, Default)]
struct Table {
    /// No more than the shards have names for.
    names: BTreeMap<Box<str>, Row>,
    /// Counts of all that had no line of their own when they were counted.
    other: Vec<u64>,
    looked: Duration,
}

#[derive(Clone, Debug, Default)]
struct Row {
    /// What the shards had counted at the last look.
    last: Vec<u64>,
    /// What its line says.
    own: Vec<u64>,
    /// How busy it was of late.
    score: f64,
    has_line: bool,
}

impl Ranked {
    pub(super) fn new(shards: Vec<Arc<Instruments>>) -> Ranked {
        Ranked { shards, tables: Mutex::default() }
    }
}

impl Collector for Ranked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(first) = self.shards.first() else { return Ok(()) };
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.resize_with(first.families.ranked().len(), Table::default);
        for (place, (family, table)) in first.families.ranked().iter().zip(tables.iter_mut()).enumerate() {
            let (label, what) = family.what();
            let mut totals: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
            for shard in &self.shards {
                for (at, (name, _, count)) in shard.families.ranked()[place].each().enumerate() {
                    let total = totals.entry(name).or_insert_with(|| vec![0; what.values.len()]);
                    total[at % what.values.len()] += count;
                }
            }
            table.look(process::since_boot(), &totals, what.values.len());
            let mut metric = encoder.encode_descriptor(what.name, what.help, None, MetricType::Counter)?;
            for (name, counts) in table.lines() {
                for (value, count) in what.values.iter().zip(counts) {
                    let labels = [(label, name.to_owned()), (what.label, (*value).to_owned())];
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
                }
            }
        }
        Ok(())
    }
}

impl Table {
    /// Takes what the shards have counted until now.
    fn look(&mut self, now: Duration, totals: &BTreeMap<&str, Vec<u64>>, values: usize) {
        self.other.resize(values, 0);
        let since = now.saturating_sub(self.looked).as_secs_f64();
        let fades = 0.5f64.powf(since / limits::METRIC_TOP_HALF.as_secs_f64());
        self.looked = now;
        let mut news: Vec<(&str, Vec<u64>)> = Vec::new();
        for (name, total) in totals {
            let row = self.names.entry((*name).into()).or_default();
            row.last.resize(values, 0);
            row.own.resize(values, 0);
            let added: Vec<u64> =
                total.iter().zip(&row.last).map(|(total, last)| total.saturating_sub(*last)).collect();
            row.last.clone_from(total);
            row.score = row.score * fades + added.iter().sum::<u64>() as f64;
            news.push((name, added));
        }
        self.choose();
        for (name, added) in news {
            let row = self.names.get_mut(name).filter(|row| row.has_line);
            let line = row.map_or(&mut self.other, |row| &mut row.own);
            line.iter_mut().zip(added).for_each(|(count, added)| *count += added);
        }
    }

    /// Gives lines to the busiest; one that has a line keeps it until another is clearly busier.
    fn choose(&mut self) {
        let mut lines = self.names.values().filter(|row| row.has_line).count();
        loop {
            let named = self.names.iter().filter(|(name, row)| ***name != *OTHER && row.score > 0.0);
            let waiting = named.filter(|(_, row)| !row.has_line);
            let Some((best, score)) = waiting.map(|(name, row)| (name.clone(), row.score)).max_by(busier)
            else {
                return;
            };
            if lines < limits::METRIC_TOP_MAX {
                lines += 1;
            } else {
                let all = self.names.iter().filter(|(_, row)| row.has_line);
                let least = all.map(|(name, row)| (name.clone(), row.score)).min_by(busier);
                let Some((least, of)) = least.filter(|(_, of)| score > of * limits::METRIC_TOP_AHEAD) else {
                    return;
                };
                debug_assert!(of < score);
                self.names.get_mut(&least).into_iter().for_each(|row| row.has_line = false);
            }
            self.names.get_mut(&best).into_iter().for_each(|row| row.has_line = true);
        }
    }

    /// Each line, that of all others at the end.
    fn lines(&self) -> impl Iterator<Item = (&str, &Vec<u64>)> {
        let named = self.names.iter().filter(|(_, row)| row.has_line).map(|(name, row)| (&**name, &row.own));
        named.chain([(OTHER, &self.other)])
    }
}

fn busier(one: &(Box<str>, f64), other: &(Box<str>, f64)) -> std::cmp::Ordering {
    one.1.total_cmp(&other.1).then_with(|| other.0.cmp(&one.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that come and go are where they were counted: no line goes down, and nothing is counted twice or not at all.
    #[test]
    fn no_line_goes_down() {
        let mut table = Table::default();
        let mut totals: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut before: BTreeMap<String, u64> = BTreeMap::new();
        let (mut counted, mut told) = (0, 0);
        for round in 0..200u64 {
            for name in 0..100u64 {
                // Another part of them is busy in each twenty rounds.
                let busy = (name + round / 20 * 13) % 100 < 30;
                let added = if busy { 100 + name } else { name % 3 };
                totals.entry(format!("tenant {name}")).or_insert_with(|| vec![0])[0] += added;
                counted += added;
            }
            *totals.entry(OTHER.to_owned()).or_insert_with(|| vec![0]) = vec![round];
            counted += u64::from(round > 0);
            let borrowed = totals.iter().map(|(name, total)| (&**name, total.clone())).collect();
            table.look(Duration::from_secs(60 * round), &borrowed, 1);
            let lines: Vec<_> = table.lines().map(|(name, counts)| (name.to_owned(), counts[0])).collect();
            assert!(lines.len() <= limits::METRIC_TOP_MAX + 1 && lines.iter().any(|(name, _)| name == OTHER));
            for (name, count) in lines {
                let last = before.entry(name).or_default();
                assert!(*last <= count);
                told += count - *last;
                *last = count;
            }
        }
        assert_eq!(told, counted);
        assert!(before.len() > limits::METRIC_TOP_MAX + 1, "some came later");
    }

    #[test]
    fn the_busiest_have_lines_and_who_is_as_busy_takes_none() {
        let (mut table, mut totals) = (Table::default(), BTreeMap::new());
        let names: Vec<String> = (0..limits::METRIC_TOP_MAX + 1).map(|name| format!("{name:03}")).collect();
        for name in &names[1..] {
            totals.insert(&**name, vec![10]);
        }
        table.look(Duration::from_secs(1), &totals, 1);
        totals.insert(&names[0], vec![15]);
        table.look(Duration::from_secs(2), &totals, 1);
        assert!(table.lines().all(|(name, _)| name != "000"));
        assert_eq!(table.other, [15]);
        totals.insert(&names[0], vec![50]);
        table.look(Duration::from_secs(3), &totals, 1);
        let line = table.lines().find(|(name, _)| *name == "000").expect("it is the busiest");
        assert_eq!((line.1[0], table.other[0]), (35, 15), "what was counted before stays where it was");
    }
}
