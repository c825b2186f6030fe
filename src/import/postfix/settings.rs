//! Parameters that are one line of ours.

use super::Reader;
use super::parameters::seconds;
use crate::import::words::{quoted, time};
use crate::import::{Id, ImportError};
use crate::limits;

/// Timeouts of the client, as keys of `["default"]`.
const TIMEOUTS: [(&str, &[&str]); 9] = [
    ("smtp_connect_timeout", &["connect_timeout"]),
    ("smtp_helo_timeout", &["banner_timeout", "ehlo_timeout"]),
    ("smtp_starttls_timeout", &["starttls_timeout"]),
    ("smtp_mail_timeout", &["mail_from_timeout"]),
    ("smtp_rcpt_timeout", &["rcpt_to_timeout"]),
    ("smtp_data_init_timeout", &["data_timeout"]),
    ("smtp_data_done_timeout", &["data_dot_timeout"]),
    ("smtp_rset_timeout", &["rset_timeout"]),
    ("smtp_connection_cache_time_limit", &["idle_timeout"]),
];

impl Reader<'_, '_> {
    pub(super) fn settings(&mut self) -> Result<(), ImportError> {
        self.names();
        self.times();
        self.pace();
        self.timeouts();
        Ok(())
    }

    fn names(&mut self) {
        match self.main.get("myhostname") {
            Some((value, id)) => self.put(("[node]", "hostname"), &quoted(&value), id),
            None => {
                let from = self.main.get("mydomain");
                if let Some((domain, id)) = from {
                    self.out.ledger.differs(id, "without myhostname relevo uses this machine's name; set node.hostname");
                    let _ = domain;
                }
            }
        }
    }

    /// A line of relevo.toml from one parameter.
    pub(super) fn put(&mut self, (head, key): (&str, &str), value: &str, id: Id) {
        self.out.relevo.set(head, key, value, &[id]);
        self.out.ledger.translated(id);
    }

    /// A parameter that is a time; `unit`: of a bare number.
    fn time_of(&mut self, name: &str, unit: u64) -> Option<(u64, Id)> {
        let (value, id) = self.main.get(name)?;
        let span = seconds(&value, unit);
        if span.is_none() {
            self.out.ledger.none(id, "it is no time as Postfix has them");
        }
        Some((span?, id))
    }

    fn times(&mut self) {
        if let Some((span, id)) = self.time_of("maximal_queue_lifetime", 86_400) {
            match span {
                0 => self.out.ledger.none(id, "one attempt and no more: relevo tries until retry.expire; set it short"),
                _ => self.put(("[retry]", "expire"), &quoted(&time(span)), id),
            }
        }
        if let Some((span, id)) = self.time_of("minimal_backoff_time", 1) {
            self.put(("[retry]", "first"), &quoted(&time(span.max(1))), id);
        }
        if let Some((span, id)) = self.time_of("maximal_backoff_time", 1) {
            self.put(("[retry]", "max"), &quoted(&time(span.max(1))), id);
        }
        if let Some((span, id)) = self.time_of("delay_warning_time", 3_600) {
            match span {
                0 => self.out.ledger.usual(id, "off here too"),
                _ => self.put(("[bounces]", "delay_warning"), &quoted(&time(span)), id),
            }
        }
    }

    fn pace(&mut self) {
        let concurrency =
            self.main.get("smtp_destination_concurrency_limit").or_else(|| self.main.get("default_destination_concurrency_limit"));
        if let Some((value, id)) = concurrency {
            match value.trim().parse::<u64>() {
                Ok(0) => self.out.ledger.differs(id, "there is always a limit: delivery.connections_per_destination, 20 unless it is said"),
                Ok(count) => self.put(("[delivery]", "connections_per_destination"), &count.to_string(), id),
                Err(_) => self.out.ledger.none(id, "it is no number"),
            }
        }
        let delay = self.time_of("smtp_destination_rate_delay", 1).or_else(|| self.time_of("default_destination_rate_delay", 1));
        if let Some((span, id)) = delay {
            match span {
                0 => self.out.ledger.usual(id, "no delay"),
                span => {
                    self.out.shaping.set("[\"default\"]", "max_message_rate", &quoted(&format!("1/{}", time(span))), &[id]);
                    self.out.shaping.set("[\"default\"]", "connection_limit", "1", &[id]);
                    self.out.ledger.differs(id, "one message in that time to each site, by one connection; no pause behind each delivery");
                }
            }
        }
        let recipients =
            self.main.get("smtp_destination_recipient_limit").or_else(|| self.main.get("default_destination_recipient_limit"));
        if let Some((value, id)) = recipients {
            match value.trim().parse::<u64>() {
                Ok(count @ 1..=limits::SHAPING_NUMBER_MAX) => {
                    self.out.shaping.set("[\"default\"]", "max_recipients_per_batch", &count.to_string(), &[id]);
                    self.out.ledger.translated(id);
                }
                _ => self.out.ledger.usual(id, "no limit"),
            }
        }
        if let Some((value, id)) = self.main.get("smtp_connection_reuse_count_limit") {
            self.put(("[delivery]", "messages_per_connection"), value.trim(), id);
        }
    }

    fn timeouts(&mut self) {
        for (name, keys) in TIMEOUTS {
            let Some((span, id)) = self.time_of(name, 1) else { continue };
            if span == 0 {
                self.out.ledger.differs(id, "each step has a timeout here; the usual one holds");
                continue;
            }
            for key in keys {
                self.out.shaping.set("[\"default\"]", key, &quoted(&time(span)), &[id]);
            }
            self.out.ledger.translated(id);
        }
    }
}
