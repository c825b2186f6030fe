//! Compares what was acknowledged with what arrived.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;

use crate::journal::{self, Line, Receipt};
use crate::ledger::{EXAMPLES_MAX, Examples, Ledger, Place};

/// Runs in one pair of files; more means that the file is not one of ours.
const RUNS_MAX: usize = 4096;

/// The judgement over one run or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Verdict {
    /// Messages acknowledged.
    pub messages: u64,
    /// Recipients acknowledged.
    pub recipients: u64,
    /// Recipients reached, each counted once.
    pub delivered: u64,
    /// Recipients the sink refused for good.
    pub refused: u64,
    /// Recipients a bounce gave up.
    pub bounced: u64,
    /// Recipients acknowledged, but neither reached nor refused nor bounced.
    pub lost: u64,
    /// Deliveries beyond the first to the same recipient. RFC 5321 4.5.3.2.6 allows them where a reply was lost.
    pub duplicated: u64,
    /// Those among them that nothing explains: the first delivery was answered, and not within a second of the moment the relay was
    /// killed, if it was, nor did that come before its answer. Files know neither replies that were lost nor kills: from them it is 0.
    pub repeated: u64,
    /// Deliveries with a body other than the one sent.
    pub corrupted: u64,
    /// Deliveries to a recipient that the message does not have.
    pub misrouted: u64,
    /// Deliveries with header fields changed or in another order.
    pub reordered: u64,
    /// Recipients both reached and given up by a bounce.
    pub contradicted: u64,
    /// Recipients refused for good, of whom no bounce told the sender. No fault where bounces do not come to the sink.
    pub unreported: u64,
    /// Recipients reached without an acknowledgement: no fault, the sender could not know.
    pub unacknowledged: u64,
    /// Lines of the files that could not be read.
    pub unreadable: u64,
    /// Received lines of runs the sender's file does not know.
    pub foreign: u64,
    /// The first lost ones.
    pub lost_places: Vec<Place>,
    /// The first of the other faults.
    pub places: Examples,
}

impl Verdict {
    /// Over a run in this process.
    pub fn of(ledger: &Ledger) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.add(ledger);
        verdict
    }

    /// Over the journals of a sender and a sink.
    pub fn of_files(sent: &Path, received: &Path) -> io::Result<Verdict> {
        let mut verdict = Verdict::default();
        let mut ledgers = HashMap::<u64, Ledger>::new();
        let mut unreadable = 0;
        journal::read(sent, |line| match line {
            Line::Sent(run, n, ordinals) if ledgers.len() < RUNS_MAX || ledgers.contains_key(&run) => {
                let ledger = ledgers.entry(run).or_insert_with(|| Ledger::new(run));
                ledger.acknowledge(n, ordinals.into_iter());
            }
            _ => unreadable += 1,
        })?;
        journal::read(received, |line| match line {
            Line::Received(run, n, ordinal, receipt) => match ledgers.get(&run) {
                Some(ledger) => receive(ledger, n, ordinal, receipt),
                None => verdict.foreign += 1,
            },
            _ => unreadable += 1,
        })?;
        verdict.unreadable = unreadable;
        let mut runs: Vec<_> = ledgers.values().collect();
        runs.sort_by_key(|ledger| ledger.run());
        runs.into_iter().for_each(|ledger| verdict.add(ledger));
        (verdict.repeated, verdict.contradicted) = (0, 0);
        Ok(verdict)
    }

    fn add(&mut self, ledger: &Ledger) {
        let sums = ledger.sums();
        self.messages += sums.acknowledged;
        self.recipients += sums.acknowledged_recipients;
        self.delivered += sums.delivered;
        self.refused += sums.refused;
        self.bounced += sums.bounced;
        self.contradicted += sums.contradicted;
        self.unreported += ledger.unreported();
        self.repeated += sums.repeated;
        self.reordered += sums.reordered;
        self.lost += ledger.missing();
        self.duplicated += sums.duplicated;
        self.corrupted += sums.corrupted;
        self.misrouted += sums.misrouted;
        self.unacknowledged += ledger.unacknowledged();
        let examples = ledger.examples();
        extend(&mut self.lost_places, ledger.first_missing(EXAMPLES_MAX));
        extend(&mut self.places.duplicated, examples.duplicated);
        extend(&mut self.places.repeated, examples.repeated);
        extend(&mut self.places.reordered, examples.reordered);
        extend(&mut self.places.corrupted, examples.corrupted);
        extend(&mut self.places.misrouted, examples.misrouted);
    }

    /// Whether every acknowledged recipient was settled in exactly one way, by what was sent. Repeats that have a reason,
    /// missing bounces and unreadable lines do not count.
    pub fn is_clean(&self) -> bool {
        let faults =
            [self.lost, self.repeated, self.corrupted, self.misrouted, self.reordered, self.contradicted];
        faults.iter().all(|count| *count == 0)
    }
}

fn receive(ledger: &Ledger, n: u64, ordinal: u32, receipt: Receipt) {
    match receipt {
        Receipt::Intact => ledger.deliver(n, ordinal, 0, 1, 0),
        Receipt::Altered => {
            ledger.corrupt(n, ordinal);
            ledger.deliver(n, ordinal, 0, 1, 0);
        }
        Receipt::Reordered => {
            ledger.reorder(n, ordinal);
            ledger.deliver(n, ordinal, 0, 1, 0);
        }
        Receipt::Misrouted => ledger.misroute(n, ordinal),
        Receipt::Refused => ledger.refuse(n, ordinal),
        Receipt::Bounced => ledger.bounce(n, ordinal),
        Receipt::Unsure => ledger.lose_reply(n, ordinal),
    }
}

fn extend(list: &mut Vec<Place>, more: Vec<Place>) {
    list.extend(more);
    list.truncate(EXAMPLES_MAX);
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "acknowledged    {:>12} messages, {} recipients", self.messages, self.recipients)?;
        writeln!(out, "delivered       {:>12} recipients", self.delivered)?;
        let lines = [
            ("lost", self.lost, &self.lost_places[..]),
            ("duplicated", self.duplicated, &self.places.duplicated),
            ("corrupted", self.corrupted, &self.places.corrupted),
            ("misrouted", self.misrouted, &self.places.misrouted),
            ("reordered", self.reordered, &self.places.reordered),
            ("repeated", self.repeated, &self.places.repeated),
            ("contradicted", self.contradicted, &[]),
            ("refused", self.refused, &[]),
            ("bounced", self.bounced, &[]),
            ("unreported", self.unreported, &[]),
            ("unacknowledged", self.unacknowledged, &[]),
            ("foreign", self.foreign, &[]),
            ("unreadable", self.unreadable, &[]),
        ];
        for (at, (name, count, places)) in lines.into_iter().enumerate() {
            // The first four faults are always told, the rest when there is something to tell.
            if at > 3 && count == 0 {
                continue;
            }
            write!(out, "{name:<15} {count:>12}")?;
            for (at, place) in places.iter().enumerate() {
                write!(out, "{}{place}", if at == 0 { "   " } else { " " })?;
            }
            writeln!(out)?;
        }
        write!(out, "verdict         {:>12}", if self.is_clean() { "clean" } else { "NOT CLEAN" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::journal::tests::Scratch;
    use crate::ledger::run_number;

    const RUN: u64 = 5 << 10 | 2;
    const AT: Place = Place { run: RUN, n: 31, ordinal: 1 };

    /// The verdict over 100 messages of two recipients, after `change` had its way with the sink's receipts.
    fn judge(name: &str, change: impl Fn(&mut Vec<(u64, u32, Receipt)>)) -> Verdict {
        assert_eq!(RUN, run_number(5, 2));
        let (sent, received) = (Scratch::new(&format!("{name}-s")), Scratch::new(&format!("{name}-r")));
        let mut receipts: Vec<_> =
            (0..100).flat_map(|n| [(n, 0, Receipt::Intact), (n, 1, Receipt::Intact)]).collect();
        change(&mut receipts);
        let (mut sender, mut sink) = (Journal::open(&sent.0).unwrap(), Journal::open(&received.0).unwrap());
        (0..100).for_each(|n| sender.sent(RUN, n, &[0, 1]));
        receipts.iter().for_each(|(n, ordinal, receipt)| sink.received(RUN, *n, *ordinal, *receipt));
        sender.flush().unwrap();
        sink.flush().unwrap();
        Verdict::of_files(&sent.0, &received.0).unwrap()
    }

    #[test]
    fn all_is_well() {
        let verdict = judge("well", |receipts| receipts.reverse());
        let wanted = Verdict { messages: 100, recipients: 200, delivered: 200, ..Verdict::default() };
        assert_eq!(verdict, wanted);
        assert!(verdict.is_clean());
    }

    #[test]
    fn one_hidden_is_lost() {
        let verdict =
            judge("hidden", |receipts| receipts.retain(|(n, ordinal, _)| (*n, *ordinal) != (31, 1)));
        assert_eq!((verdict.lost, verdict.delivered, &verdict.lost_places[..]), (1, 199, &[AT][..]));
        assert!(!verdict.is_clean() && verdict.to_string().contains("0000000000001402-31/1"), "{verdict}");
    }

    #[test]
    fn one_repeated_is_duplicated() {
        let verdict = judge("repeated", |receipts| receipts.push((31, 1, Receipt::Intact)));
        assert_eq!(
            (verdict.duplicated, verdict.delivered, &verdict.places.duplicated[..]),
            (1, 200, &[AT][..])
        );
        assert!(verdict.is_clean(), "a duplicate is told, not condemned");
    }

    #[test]
    fn one_altered_is_corrupted() {
        let verdict = judge("altered", |receipts| receipts[63].2 = Receipt::Altered);
        assert_eq!((verdict.corrupted, verdict.lost, &verdict.places.corrupted[..]), (1, 0, &[AT][..]));
        assert!(!verdict.is_clean());
    }

    #[test]
    fn one_for_another_is_misrouted_and_lost() {
        let verdict = judge("another", |receipts| receipts[63].2 = Receipt::Misrouted);
        assert_eq!((verdict.misrouted, verdict.lost, &verdict.places.misrouted[..]), (1, 1, &[AT][..]));
        assert!(!verdict.is_clean());
    }

    #[test]
    fn refused_and_unacknowledged_are_no_faults() {
        let verdict = judge("refused", |receipts| {
            receipts[63].2 = Receipt::Refused;
            receipts.push((100, 0, Receipt::Intact));
        });
        assert_eq!((verdict.refused, verdict.unacknowledged, verdict.lost), (1, 1, 0));
        assert!(verdict.is_clean());
    }

    #[test]
    fn another_run_is_foreign() {
        let (sent, received) = (Scratch::new("foreign-s"), Scratch::new("foreign-r"));
        std::fs::write(&sent.0, "0000000000000401-0 0 taken\nnonsense\n").unwrap();
        std::fs::write(&received.0, "0000000000000401-0/0 intact\n0000000000000801-0/0 intact\n").unwrap();
        let verdict = Verdict::of_files(&sent.0, &received.0).unwrap();
        assert_eq!((verdict.foreign, verdict.unreadable, verdict.delivered), (1, 1, 1));
        assert!(
            Verdict::of_files(&sent.0, Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere")
        );
    }
}
