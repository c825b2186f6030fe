//! What an operator should know besides how the queues are: what is wrong until he mends it, and what was said on standard error of late.
//! Whoever looks at the node finds it there, without the file that standard error goes to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::observe::diagnostics::{Diagnostic, Level};
use crate::time::UnixMillis;

/// What is looked at anew again and again, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// The last reload was refused.
    Reload,
    /// Certificates that clients are shown.
    Certificates,
    /// Our addresses on lists of others.
    Blocklists,
    /// Nodes that limits are shared with.
    Cluster,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    standing: Mutex<[Arc<[String]>; Concern::Cluster as usize + 1]>,
    lately: Mutex<VecDeque<Diagnostic>>,
}

impl Notices {
    /// This is wrong now with one of them; nothing: it is well.
    pub(crate) fn stand(&self, concern: Concern, words: Vec<String>) {
        lock(&self.standing)[concern as usize] = words.into();
    }

    /// All that is wrong.
    pub(super) fn standing(&self) -> Vec<String> {
        lock(&self.standing).iter().flat_map(|words| words.iter().cloned()).collect()
    }

    /// This was said. What is said again takes the place of what it repeats, and one kind takes not all places.
    pub(super) fn heard(&self, said: &Diagnostic) {
        if said.level < Level::Warning {
            return;
        }
        let mut lately = lock(&self.lately);
        lately.retain(|before| before.words != said.words);
        let mut alike = lately.iter().enumerate().filter(|(_, before)| before.place == said.place);
        let oldest = alike.next().map(|(at, _)| at);
        if let Some(oldest) = oldest.filter(|_| alike.count() + 1 >= limits::SAID_ALIKE) {
            lately.remove(oldest);
        }
        if lately.len() >= limits::SAID_KEPT {
            lately.pop_front();
        }
        lately.push_back(said.clone());
    }

    /// What was said within this time, the latest first.
    pub(super) fn lately(&self, now: UnixMillis) -> Vec<Diagnostic> {
        let since = now.0.saturating_sub(limits::SAID_FOR.as_millis() as u64);
        let is_new = |said: &&Diagnostic| said.at.0 >= since;
        lock(&self.lately).iter().rev().filter(is_new).cloned().collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::diagnostics::Diagnostics;

    fn said(words: &str, at: u64, level: Level) -> Diagnostic {
        let queue = Diagnostics::default();
        queue.say(UnixMillis(at), level, format_args!("{words}"));
        queue.take().unwrap()
    }

    #[test]
    fn what_was_said_lately_is_told_once_and_one_kind_leaves_room() {
        let notices = Notices::default();
        let words = |now: u64| -> Vec<String> {
            notices.lately(UnixMillis(now)).into_iter().map(|said| said.words).collect()
        };
        notices.heard(&said("the course of things", 1, Level::Info));
        assert_eq!(words(1), Vec::<String>::new());
        let other = Diagnostics::default();
        other.say(UnixMillis(1), Level::Error, format_args!("the clock"));
        notices.heard(&other.take().unwrap());
        for site in 0..100 {
            notices.heard(&said(&format!("site {site}"), 2, Level::Warning));
        }
        notices.heard(&said("site 98", 3, Level::Warning));
        let told = words(3);
        assert_eq!(told.len(), limits::SAID_ALIKE + 1, "{told:?}");
        assert_eq!(
            (&*told[0], &*told[1], told.last().unwrap().as_str()),
            ("site 98", "site 99", "the clock")
        );
        let long = limits::SAID_FOR.as_millis() as u64;
        assert_eq!(words(2 + long), told[..told.len() - 1], "what is old is not told");
        assert_eq!(words(4 + long), Vec::<String>::new());
    }

    #[test]
    fn what_stands_is_told_until_it_is_mended() {
        let notices = Notices::default();
        notices.stand(Concern::Blocklists, vec!["ip1 is listed".into()]);
        notices.stand(Concern::Reload, vec!["refused".into()]);
        assert_eq!(notices.standing(), ["refused", "ip1 is listed"]);
        notices.stand(Concern::Reload, Vec::new());
        assert_eq!(notices.standing(), ["ip1 is listed"]);
    }
}
