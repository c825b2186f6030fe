//! A segment by its header, before its commits are read.

use crate::limits;
use crate::spool::commit::CommitReader;
use crate::spool::files::Files;
use crate::spool::segment::{self, COMMIT_HEADER, CommitHeader, Header};
use crate::spool::trouble::SpoolRefusal;

/// A segment as its header has it.
pub(super) struct Headed {
    pub(super) slot: u16,
    pub(super) header: Header,
    pub(super) size: u64,
}

impl Headed {
    /// Its commits.
    pub(super) fn commits<'a, F: Files>(&self, files: &'a F) -> CommitReader<'a, F> {
        CommitReader::new(files, self.slot, &self.header, self.size)
    }

    /// Where this segment validly ends by the header of the next one that there is. A header that names an older predecessor
    /// says that no commit between the two succeeded. None: the one that knew is gone, or this one was out of reach when the next
    /// was written, which the numbers passed over tell.
    pub(super) fn stated_end(&self, next: &Header) -> Option<u32> {
        let (own, before) = (self.header.sequence, next.predecessor);
        let passed_over = next.sequence.saturating_sub(before) > limits::UNREADABLE_GAP;
        match before.cmp(&own) {
            std::cmp::Ordering::Less if passed_over && own - before <= limits::UNREADABLE_GAP => None,
            std::cmp::Ordering::Less => Some(segment::FIRST_COMMIT as u32),
            std::cmp::Ordering::Equal => Some(next.predecessor_end),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// A commit of a later version there, which nobody may pass over.
    pub(super) fn newer(&self, files: &impl Files, at: u64) -> Option<SpoolRefusal> {
        let header = files.read(self.slot, at, COMMIT_HEADER).ok()?;
        let version = CommitHeader::later(&header, self.header.salt, at)?;
        Some(SpoolRefusal::Newer(format!("segment {} has a commit of version {version}", self.slot)))
    }
}
