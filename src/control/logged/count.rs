//! What became of recipients, counted over a log.

use std::collections::HashMap;

use crate::control::outlet::line::Line;
use crate::limits;

/// What makes a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The provider of the site.
    Provider,
    /// The domain of each recipient.
    Domain,
    /// What the reply was about.
    Class,
    /// The site.
    Site,
    /// The identity it left by.
    Source,
    /// Whose it is.
    Tenant,
    /// The campaign.
    Campaign,
    /// The account it came by.
    Account,
    /// Who sent it.
    Sender,
    /// Each recipient.
    Recipient,
    /// What happened.
    Event,
}

impl By {
    /// All of them.
    pub const ALL: [By; 11] = [
        By::Provider,
        By::Domain,
        By::Class,
        By::Site,
        By::Source,
        By::Tenant,
        By::Campaign,
        By::Account,
        By::Sender,
        By::Recipient,
        By::Event,
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<By> {
        By::ALL.into_iter().find(|by| by.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            By::Provider => "provider",
            By::Domain => "domain",
            By::Class => "class",
            By::Site => "site",
            By::Source => "source",
            By::Tenant => "tenant",
            By::Campaign => "campaign",
            By::Account => "account",
            By::Sender => "sender",
            By::Recipient => "recipient",
            By::Event => "event",
        }
    }
}

/// What a row counts.
pub const KINDS: [&str; 6] = ["received", "delivered", "deferred", "bounced", "expired", "feedback"];

/// A row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Recipients by [`KINDS`].
    pub counts: [u64; KINDS.len()],
    /// Of what was delivered: from arrival.
    pub delay_ms: u64,
    /// What was said last where it was not delivered.
    pub text: String,
}

/// All of them, within a bound.
#[derive(Debug, Default)]
pub struct Table {
    rows: HashMap<String, Row>,
    other: Row,
}

impl Table {
    /// Counts a line.
    pub fn add(&mut self, by: By, line: &Line<'_>) {
        let event = line.text("event");
        let Some(kind) = KINDS.iter().position(|kind| *kind == event) else { return };
        let recipients = line.each("recipients");
        if matches!(by, By::Domain | By::Recipient) {
            for address in &recipients {
                let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
                let key = if by == By::Domain { domain } else { address };
                self.row(&key.to_ascii_lowercase()).add(kind, 1, line);
            }
            return;
        }
        let key = line.text(by.name());
        // What came back may not say to whom it was.
        self.row(&key).add(kind, recipients.len().max(1) as u64, line);
    }

    fn row(&mut self, key: &str) -> &mut Row {
        if !self.rows.contains_key(key) {
            if self.rows.len() >= limits::LOG_STATS_ROWS {
                return &mut self.other;
            }
            self.rows.insert(key.to_owned(), Row::default());
        }
        self.rows.get_mut(key).expect("it is there")
    }

    /// The largest first, and what has no row of its own last.
    pub fn sorted(self, most: usize) -> Vec<(String, Row)> {
        let mut other = self.other;
        let mut rows: Vec<(String, Row)> = self.rows.into_iter().collect();
        rows.sort_by(|(one, a), (two, b)| b.total().cmp(&a.total()).then_with(|| one.cmp(two)));
        let most = if most == 0 { rows.len() } else { most.min(rows.len()) };
        for (_, row) in rows.drain(most..) {
            other.merge(&row);
        }
        if other.total() > 0 {
            rows.push(("(other)".to_owned(), other));
        }
        rows
    }
}

impl Row {
    fn add(&mut self, kind: usize, recipients: u64, line: &Line<'_>) {
        self.counts[kind] += recipients;
        match KINDS[kind] {
            "delivered" => self.delay_ms += line.number("delay_ms").unwrap_or(0).saturating_mul(recipients),
            "received" => {}
            _ => {
                let text = line.text("reply");
                if !text.is_empty() {
                    self.text.clear();
                    self.text.push_str(&text);
                }
            }
        }
    }

    fn merge(&mut self, row: &Row) {
        self.counts.iter_mut().zip(row.counts).for_each(|(sum, count)| *sum += count);
        self.delay_ms += row.delay_ms;
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Milliseconds on average.
    pub fn delay(&self) -> Option<u64> {
        self.delay_ms.checked_div(self.counts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_counted_and_words_are_the_last() {
        let mut table = Table::default();
        for line in [
            r#"{"event":"delivered","recipients":["a@X.example","b@y.example"],"provider":"p","delay_ms":1000}"#,
            r#"{"event":"deferred","recipients":["a@x.example"],"provider":"p","reply":"450 first"}"#,
            r#"{"event":"deferred","recipients":["a@x.example"],"provider":"p","reply":"450 second"}"#,
            r#"{"event":"bounced","recipients":["c@y.example"],"reply":"550 no"}"#,
            r#"{"event":"admin","action":"retry"}"#,
        ] {
            let line = Line::read(line.as_bytes()).unwrap();
            table.add(By::Domain, &line);
        }
        let rows = table.sorted(1);
        assert_eq!((&*rows[0].0, rows[0].1.counts), ("x.example", [0, 1, 2, 0, 0, 0]));
        assert_eq!((&*rows[0].1.text, rows[0].1.delay()), ("450 second", Some(1000)));
        assert_eq!((&*rows[1].0, rows[1].1.counts), ("(other)", [0, 1, 0, 1, 0, 0]));
        let mut table = Table::default();
        let line = r#"{"event":"received","sender":"robot@b.example","recipients":["Robot@d.example","x@d.example"]}"#;
        let line = Line::read(line.as_bytes()).unwrap();
        table.add(By::Recipient, &line);
        table.add(By::Sender, &line);
        let rows = table.sorted(0);
        let counted: Vec<_> = rows.iter().map(|(key, row)| (&**key, row.counts[0])).collect();
        assert_eq!(counted, [("robot@b.example", 2), ("robot@d.example", 1), ("x@d.example", 1)]);
    }

    #[test]
    fn rows_are_bounded() {
        let mut table = Table::default();
        for number in 0..limits::LOG_STATS_ROWS + 5 {
            let line = format!("{{\"event\":\"bounced\",\"recipients\":[\"a@{number}.example\"]}}");
            table.add(By::Domain, &Line::read(line.as_bytes()).unwrap());
        }
        assert_eq!((table.rows.len(), table.other.total()), (limits::LOG_STATS_ROWS, 5));
    }
}
