//! An address is forgotten: in logs and what was made of them, in what is counted, in what was said; and the journal of events lets go of what all
//! its readers have. What cannot be done now is told, with when it goes by itself.

mod files;
pub mod needle;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::config::Config;
use crate::control::analytics::{Analytics, READER};
use crate::control::api::shape::erase::ErasedPlace;
use crate::control::journal::Shared;
use crate::control::outlet::key;
use crate::limits;
use crate::runtime::process;

pub(in crate::control) use needle::Needle;

/// Where people are named.
#[derive(Clone)]
pub(in crate::control) struct Eraser {
    data_dir: PathBuf,
    logs: Vec<PathBuf>,
    /// Logs that go nowhere where something could be changed.
    streams: usize,
    journal: Option<Arc<Shared>>,
    analytics: Option<Arc<Analytics>>,
}

/// What a segment of the journal was begun behind.
pub(in crate::control) struct Asked {
    needle: Needle,
    dry: bool,
}

impl Asked {
    pub fn new(needle: Needle, dry: bool) -> Asked {
        Asked { needle, dry }
    }
}

impl Eraser {
    /// Of a configuration.
    pub fn new(config: &Config, journal: Option<&Arc<Shared>>, analytics: Option<Arc<Analytics>>) -> Eraser {
        let logs = config.logs.iter().filter(|log| !log.is_nowhere());
        let logs: Vec<Option<PathBuf>> = logs.map(|log| log.path.clone()).collect();
        let named: Vec<PathBuf> = logs.iter().flatten().cloned().collect();
        let streams = logs.len() - named.len();
        Eraser {
            data_dir: config.node.data_dir.clone(),
            logs: named,
            streams,
            journal: journal.cloned(),
            analytics,
        }
    }

    /// What stands for the address where it must not stand.
    pub fn hash(&self, address: &str) -> String {
        let known = crate::policy::suppression::canonical::canonical(address);
        // Without a key a hash would be found by trying.
        let Ok(key) = key(&self.data_dir) else { return String::from("hash unknown") };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), known.unwrap_or_default().as_bytes());
        let hex: String =
            tag.as_ref().iter().take(limits::ERASE_HASH).map(|byte| format!("{byte:02x}")).collect();
        format!("hash {hex}")
    }

    /// The journal's last segment, behind which another is begun with the next event: what stands before it can go. None: there is no journal.
    pub fn end_segment(&self, dry: bool) -> Option<u64> {
        let journal = self.journal.as_ref()?;
        let end = journal.end().segment;
        if !dry {
            journal.begin_anew();
        }
        Some(end)
    }

    /// Goes through logs and what is counted, on a thread that may wait for disks.
    pub fn erase(&self, asked: &Asked) -> Vec<ErasedPlace> {
        process::stand_back();
        let behind = if asked.dry { Vec::new() } else { self.wait_for_logs() };
        let mut places: Vec<ErasedPlace> = self.logs.iter().map(|log| logged(log, asked, &behind)).collect();
        if self.streams > 0 {
            let left = "what went to standard output or a pipe is with whoever reads there";
            places.push(ErasedPlace::left("logs elsewhere", left));
        }
        if let Some(analytics) = &self.analytics {
            let found = analytics.forget_texts(|text| asked.needle.is_in(text), asked.dry);
            places.push(match found {
                Ok(found) => ErasedPlace::found("texts of analytics.db", found as u64, asked.dry),
                Err(why) => ErasedPlace::left("texts of analytics.db", &why.to_string()),
            });
        }
        places
    }

    /// Waits until the logs have what the journal had, so that it cannot come there any more. Those that have not.
    fn wait_for_logs(&self) -> Vec<String> {
        let Some(journal) = &self.journal else { return Vec::new() };
        let end = journal.end();
        wait(|| {
            // Who counts has texts in memory yet.
            let mut behind = journal.unsaved(end, false);
            let files = journal.unsaved(end, true);
            behind.retain(|name| name == READER || files.contains(name));
            behind
        })
    }

    /// The journal lets go of segments up to this one, where all have read them. What is left of it.
    pub fn let_go(&self, last: Option<u64>, asked: &Asked) -> Option<ErasedPlace> {
        let (journal, last) = (self.journal.as_ref()?, last?);
        let directory = journal.directory();
        let count = |segments: &[u64]| -> u64 {
            let path = |segment: &u64| directory.join(format!("{segment:012}.journal"));
            let found = segments.iter().map(|segment| files::erase(&path(segment), &asked.needle, true));
            found.map(|found| found.unwrap_or(0)).sum()
        };
        let found = count(&journal.segments_until(last));
        let name = "journal of events";
        if asked.dry || found == 0 {
            return Some(ErasedPlace::found(name, found, asked.dry));
        }
        let left = wait(|| journal.segments_until(last));
        let left = count(&left);
        if left == 0 {
            return Some(ErasedPlace::found(name, found, false));
        }
        let behind =
            journal.unsaved(crate::control::journal::FramePosition { segment: last + 1, offset: 0 }, false);
        let days = limits::JOURNAL_AGE_MAX.as_secs() / 86_400;
        let words = format!(
            "it stays until these have read it: {}; at the latest for {days} days in which the relay runs, or until control.journal_size_max is reached",
            if behind.is_empty() { "nobody any more, so for seconds".to_owned() } else { behind.join(", ") }
        );
        Some(ErasedPlace { found, erased: found - left.min(found), ..ErasedPlace::left(name, &words) })
    }
}

/// Waits until there is none of these, within a bound. Those that are left.
fn wait<T>(left: impl Fn() -> Vec<T>) -> Vec<T> {
    let until = process::since_boot() + limits::ERASE_WAIT;
    loop {
        let now = left();
        if now.is_empty() || process::since_boot() >= until {
            return now;
        }
        process::pause(limits::ERASE_LOOK);
    }
}

/// A log with all that was made of it.
fn logged(log: &Path, asked: &Asked, behind: &[String]) -> ErasedPlace {
    let name = log.display().to_string();
    let mut place = ErasedPlace { place: format!("log {name}"), ..ErasedPlace::default() };
    let mut known = HashSet::new();
    let mut left: Vec<String> = Vec::new();
    // What is moved aside or compressed meanwhile has another name or another number then.
    for _ in 0..limits::ERASE_PASSES {
        let mut news = 0;
        for path in files::all(log) {
            let Some(seen) = files::seen(&path).filter(|seen| !known.contains(seen)) else { continue };
            news += 1;
            match files::erase(&path, &asked.needle, asked.dry) {
                Ok(found) => {
                    place.found += found;
                    place.files += u64::from(found > 0);
                    known.extend(files::seen(&path));
                }
                // Removed, or compressed, in this moment.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    left.push(format!("{}: {error}", path.display()));
                    known.insert(seen);
                }
            }
            known.insert(seen);
        }
        if news == 0 || asked.dry {
            break;
        }
    }
    place.erased = if asked.dry { 0 } else { place.found };
    if behind.contains(&name) {
        left.push("it has not all events yet: erase once more when it has".to_owned());
    }
    place.left = (!left.is_empty()).then(|| left.join("; "));
    place
}
