//! What was said in the attempts of late that failed: in memory, of so many, the oldest forgotten first.

use std::collections::VecDeque;

use crate::id::MessageId;
use crate::limits;
use crate::shard::ask::FailedDialogue;
use crate::smtp::client::{Transaction, dialogue};
use crate::time::UnixMillis;

/// Those of the attempts that were made on a shard.
#[derive(Default)]
pub(in crate::shard) struct Dialogues(VecDeque<Kept>);

struct Kept {
    id: MessageId,
    first: u16,
    count: u16,
    at: UnixMillis,
    hop: Box<str>,
    /// Each with a newline behind it.
    lines: Box<str>,
}

impl Dialogues {
    /// Keeps what was said of these recipients of a message.
    #[cold]
    pub fn keep(
        &mut self,
        (id, first, count): (MessageId, u16, u16),
        at: UnixMillis,
        hop: &str,
        transaction: &Transaction<'_>,
    ) {
        let mut lines = String::new();
        for line in dialogue::dialogue(transaction, limits::DIALOGUE_LINES) {
            let letters = line.chars().filter(|letter| !letter.is_control());
            lines.extend(letters.take(limits::DIALOGUE_TEXT));
            lines.push('\n');
        }
        if self.0.len() >= limits::DIALOGUES_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Kept { id, first, count, at, hop: hop.into(), lines: lines.into() });
    }

    /// Forgets those with such a text, or only counts them. How many there were.
    pub fn forget(&mut self, meant: impl Fn(&str) -> bool, dry: bool) -> usize {
        let before = self.0.len();
        if dry {
            return self.0.iter().filter(|kept| meant(&kept.lines)).count();
        }
        self.0.retain(|kept| !meant(&kept.lines));
        before - self.0.len()
    }

    /// Those of a message that are kept, the last first.
    pub fn of(&self, id: MessageId) -> Vec<FailedDialogue> {
        let of_it = self.0.iter().rev().filter(|kept| kept.id == id).take(limits::PAGE_ROWS);
        of_it
            .map(|kept| FailedDialogue {
                first: kept.first,
                count: kept.count,
                at: kept.at,
                hop: kept.hop.to_string(),
                lines: kept.lines.lines().map(str::to_owned).collect(),
            })
            .collect()
    }
}
