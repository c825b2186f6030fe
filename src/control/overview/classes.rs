//! What replies said: how many of each class, and the latest text of it that went by.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memmem;
use serde::Deserialize;

use crate::control::api::shape::overview::ClassTotals;
use crate::limits;
use crate::names::CLASSES;
use crate::observe::Instruments;

/// The latest texts.
#[derive(Debug, Default)]
pub(super) struct Texts(BTreeMap<&'static str, String>);

/// As much of an event as counts here.
#[derive(Deserialize)]
struct Line {
    class: String,
    reply: String,
}

impl Texts {
    /// Looks through lines that the journal took: the latest of each class is remembered.
    pub(super) fn read(&mut self, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n') {
            if memmem::find(line, b"\"class\":\"").is_none() {
                continue;
            }
            let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
            if let Some(class) = CLASSES.iter().find(|class| **class == line.class) {
                self.0.insert(class, line.reply.chars().take(limits::ROW_TEXT_MAX).collect());
            }
        }
    }

    /// All classes that came up, most first.
    pub(super) fn told(&self, instruments: &[Arc<Instruments>]) -> Vec<ClassTotals> {
        let mut counts = BTreeMap::<&str, u64>::new();
        for shard in instruments {
            for (class, count) in shard.families.classified.each() {
                *counts.entry(class).or_default() += count;
            }
        }
        let one = |(class, recipients): (&str, u64)| ClassTotals {
            class: class.to_owned(),
            recipients,
            text: self.0.get(class).cloned(),
        };
        let mut all: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).map(one).collect();
        all.sort_by(|one, other| {
            other.recipients.cmp(&one.recipients).then_with(|| one.class.cmp(&other.class))
        });
        all.truncate(limits::SUMMARY_NAMES);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_text_of_each_class_is_known() {
        let mut texts = Texts::default();
        texts.read(
            b"{\"event\":\"deferred\",\"class\":\"throttled\",\"reply\":\"421 slow\"}\n\
              {\"event\":\"received\",\"reply\":\"\"}\n\
              {\"event\":\"bounced\",\"class\":\"made_up\",\"reply\":\"550\"}\n\
              {\"event\":\"deferred\",\"class\":\"throttled\",\"reply\":\"421 slower\"}\ntorn",
        );
        assert_eq!(texts.0.into_iter().collect::<Vec<_>>(), [("throttled", "421 slower".to_owned())]);
    }
}
