//! Compares what was acknowledged with what arrived.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;

use crate::journal::{self, Line, Receipt};
use crate::ledger::{EXAMPLES_MAX, Examples, Ledger, RecipientId, Settled};

/// Runs in one pair of files; more means that the file is not one of ours.
const RUNS_MAX: usize = 4096;

/// The judgement over one run or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Verdict {
    /// Whether anything was sent, accepted or not.
    #[serde(default)]
    pub tried: bool,
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
    /// Those of which the first delivery's reply was lost with its connection.
    #[serde(default)]
    pub reply_lost: u64,
    /// Those of which the relay was killed before the first delivery was on its disk.
    #[serde(default)]
    pub killed: u64,
    /// What became of the recipients acknowledged, each counted once.
    #[serde(default)]
    pub settled: Settled,
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
    pub lost_places: Vec<RecipientId>,
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
            Line::Untaken(run) if ledgers.len() < RUNS_MAX => {
                ledgers.entry(run).or_insert_with(|| Ledger::new(run));
                verdict.tried = true;
            }
            Line::Untaken(_) => verdict.tried = true,
            _ => unreadable += 1,
        })?;
        journal::read(received, |line| match line {
            Line::Received(run, n, ordinal, receipt) => match ledgers.get(&run) {
                Some(ledger) => receive(ledger, n, ordinal, receipt),
                None => verdict.foreign += 1,
            },
            _ => unreadable += 1,
        })?;
        if ledgers.is_empty() && unreadable > 0 {
            let problem = format!("{}: no ledger that `send --ledger` wrote", sent.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        verdict.unreadable = unreadable;
        let mut runs: Vec<_> = ledgers.values().collect();
        runs.sort_by_key(|ledger| ledger.run());
        runs.into_iter().for_each(|ledger| verdict.add(ledger));
        (verdict.repeated, verdict.contradicted) = (0, 0);
        (verdict.reply_lost, verdict.killed) = (0, 0);
        Ok(verdict)
    }

    fn add(&mut self, ledger: &Ledger) {
        let sums = ledger.sums();
        self.tried |= sums.sent > 0 || sums.acknowledged > 0;
        self.messages += sums.acknowledged;
        self.recipients += sums.acknowledged_recipients;
        self.delivered += sums.delivered;
        self.refused += sums.refused;
        self.bounced += sums.bounced;
        self.contradicted += sums.contradicted;
        self.unreported += ledger.unreported();
        self.repeated += sums.repeated;
        self.reply_lost += sums.reply_lost;
        self.killed += sums.killed;
        let settled = ledger.settled();
        self.settled.delivered += settled.delivered;
        self.settled.refused += settled.refused;
        self.settled.bounced += settled.bounced;
        self.settled.lost += settled.lost;
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

/// A number with what it is a number of.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

impl Verdict {
    /// The answer in a sentence.
    pub fn sentence(&self) -> String {
        let recipients = count(self.recipients, "recipient");
        if self.recipients == 0 {
            return if self.tried { "nothing was accepted" } else { "nothing was sent" }.to_owned();
        }
        if self.is_clean() {
            return format!("clean: {recipients} accepted, and each settled in one way");
        }
        let faults = [
            (self.lost, "lost"),
            (self.repeated, "repeated without a reason"),
            (self.corrupted, "corrupted"),
            (self.misrouted, "misrouted"),
            (self.reordered, "with their header fields changed"),
            (self.contradicted, "both delivered and bounced"),
        ];
        let faults = faults.iter().filter(|(number, _)| *number > 0);
        let faults: Vec<_> = faults.map(|(number, what)| format!("{number} {what}")).collect();
        format!("NOT CLEAN: of {recipients} accepted {}", faults.join(", "))
    }

    /// Where the recipients accepted went: parts, and their sum.
    pub fn balance(&self) -> String {
        let Settled { delivered, refused, bounced, lost } = self.settled;
        let recipients = self.recipients;
        format!(
            "{recipients} accepted = {delivered} delivered + {refused} refused by their receivers + {bounced} bounced + {lost} lost"
        )
    }

    /// Why recipients were reached twice: how many of each reason.
    pub fn duplicates(&self) -> String {
        let mut parts = Vec::new();
        if self.killed > 0 {
            parts.push(format!(
                "{} because the relay was killed before it had written down the first",
                self.killed
            ));
        }
        if self.reply_lost > 0 {
            parts.push(format!(
                "{} because the reply to the first was lost with its connection",
                self.reply_lost
            ));
        }
        if self.repeated > 0 {
            parts.push(format!("{} WITHOUT A REASON", self.repeated));
        }
        let told = self.killed + self.reply_lost + self.repeated;
        if self.duplicated > told {
            parts.push(format!("{} of which ledgers alone do not tell the reason", self.duplicated - told));
        }
        parts.join(", ")
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

fn extend(list: &mut Vec<RecipientId>, more: Vec<RecipientId>) {
    list.extend(more);
    list.truncate(EXAMPLES_MAX);
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "acknowledged    {:>12} messages, {} recipients", self.messages, self.recipients)?;
        let Settled { delivered, refused, bounced, lost } = self.settled;
        // The parts of the recipients, and nothing else, so that they add up.
        writeln!(out, "  delivered     {delivered:>12}")?;
        writeln!(out, "  refused       {refused:>12}   for good, by their receivers")?;
        writeln!(out, "  bounced       {bounced:>12}")?;
        writeln!(out, "  lost          {lost:>12}{}", listed(&self.lost_places))?;
        let lines = [
            ("duplicated", self.duplicated, &self.places.duplicated[..]),
            ("corrupted", self.corrupted, &self.places.corrupted),
            ("misrouted", self.misrouted, &self.places.misrouted),
            ("reordered", self.reordered, &self.places.reordered),
            ("repeated", self.repeated, &self.places.repeated),
            ("contradicted", self.contradicted, &[]),
            ("unreported", self.unreported, &[]),
            ("unacknowledged", self.unacknowledged, &[]),
            ("foreign", self.foreign, &[]),
            ("unreadable", self.unreadable, &[]),
        ];
        for (at, (name, count, places)) in lines.into_iter().enumerate() {
            // The first three faults are always told, the rest when there is something to tell.
            if at > 2 && count == 0 {
                continue;
            }
            writeln!(out, "{name:<15} {count:>12}{}", listed(places))?;
            if name == "duplicated" && count > 0 {
                for reason in self.duplicates().split(", ") {
                    writeln!(out, "  {reason}")?;
                }
            }
        }
        let word = match self.is_clean() {
            _ if self.recipients == 0 && self.tried => "NOTHING ACCEPTED",
            _ if self.recipients == 0 => "NOTHING SENT",
            true => "clean",
            false => "NOT CLEAN",
        };
        write!(out, "verdict         {word:>12}")
    }
}

/// Examples behind a number: as many as fit on its line.
fn listed(places: &[RecipientId]) -> String {
    let mut text = String::new();
    for place in places.iter().take(3) {
        text += if text.is_empty() { "   " } else { " " };
        text += &place.to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::journal::tests::Scratch;
    use crate::ledger::run_number;

    const RUN: u64 = 5 << 10 | 2;
    const AT: RecipientId = RecipientId { run: RUN, n: 31, ordinal: 1 };

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
        let settled = Settled { delivered: 200, ..Settled::default() };
        let wanted = Verdict {
            tried: true,
            messages: 100,
            recipients: 200,
            delivered: 200,
            settled,
            ..Verdict::default()
        };
        assert_eq!(verdict, wanted);
        assert!(verdict.is_clean());
    }

    #[test]
    fn no_ledger_is_no_verdict() {
        let (sent, received) = (Scratch::new("none-s"), Scratch::new("none-r"));
        std::fs::write(&received.0, "").unwrap();
        for text in ["ledger\n", "0000000000001402-31/1 intact\n"] {
            std::fs::write(&sent.0, text).unwrap();
            assert!(Verdict::of_files(&sent.0, &received.0).is_err(), "{text}");
        }
        std::fs::write(&sent.0, "").unwrap();
        let verdict = Verdict::of_files(&sent.0, &received.0).unwrap();
        assert!(verdict.to_string().ends_with("NOTHING SENT"), "{verdict}");
        assert_eq!(verdict.sentence(), "nothing was sent");
        // Sent, and not taken.
        let mut journal = Journal::open(&sent.0).unwrap();
        journal.untaken(RUN);
        journal.flush().unwrap();
        let verdict = Verdict::of_files(&sent.0, &received.0).unwrap();
        assert!(verdict.to_string().ends_with("NOTHING ACCEPTED"), "{verdict}");
        assert_eq!((verdict.sentence(), verdict.unreadable), ("nothing was accepted".to_owned(), 0));
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
    fn the_parts_add_up_and_duplicates_have_reasons() {
        let ledger = Ledger::new(RUN);
        ledger.expect_kills();
        (0..10).for_each(|n| ledger.acknowledge(n, 0..2));
        (0..6).for_each(|n| ledger.deliver(n, 0, 0, crate::sys::now(), 0));
        ledger.refuse(6, 0);
        ledger.bounce(6, 0);
        ledger.bounce(7, 0);
        ledger.deliver(20, 0, 0, crate::sys::now(), 0);
        ledger.lose_reply(0, 0);
        ledger.deliver(0, 0, 0, crate::sys::now(), 0);
        ledger.deliver(1, 0, 0, crate::sys::now(), 0);
        ledger.kill(crate::sys::now());
        ledger.deliver(2, 0, 0, crate::sys::now(), 0);
        ledger.deliver(3, 0, 0, crate::sys::now(), 0);
        let verdict = Verdict::of(&ledger);
        let Settled { delivered, refused, bounced, lost } = verdict.settled;
        assert_eq!((delivered, refused, bounced, lost), (6, 1, 1, 12));
        assert_eq!(delivered + refused + bounced + lost, verdict.recipients);
        assert_eq!((lost, verdict.unacknowledged), (verdict.lost, 1));
        assert_eq!((verdict.duplicated, verdict.repeated, verdict.reply_lost, verdict.killed), (4, 1, 1, 2));
        assert!(
            verdict.balance().starts_with("20 accepted = 6 delivered + 1 refused"),
            "{}",
            verdict.balance()
        );
        let words = verdict.to_string();
        assert!(
            words.contains("\n  2 because the relay was killed") && words.contains("\n  1 WITHOUT A REASON"),
            "{words}"
        );
        assert!(words.lines().all(|line| line.chars().count() <= 100), "{words}");
        assert!(verdict.sentence().starts_with("NOT CLEAN: of 20 recipients accepted 12 lost, 1 repeated"));
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
