//! A merge as it comes in: what of it lies in memory until its last part has come.

use crate::limits;
use crate::mail::merge::Merge;

/// A merge as it comes in.
#[derive(Debug, Default)]
pub(super) struct OpenMerge {
    pub(super) merge: Merge,
    /// The part that is coming in, and whether it is the last.
    pub(super) coming: Option<(u8, bool)>,
    pub(super) text: Vec<u8>,
    /// There was no room for all of it.
    pub(super) is_too_large: bool,
    pub(super) definitions: u32,
    /// Lines that were refused and not acknowledged, and what the first would have heard.
    pub(super) unsaid: u32,
    pub(super) first: Box<str>,
}

impl OpenMerge {
    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        size_of::<OpenMerge>() + self.merge.held() + self.text.capacity() + self.first.len()
    }

    /// More of the part that is coming in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.is_too_large |= self.merge.size() + self.text.len() + bytes.len() > limits::MERGE_BYTES_MAX;
        if self.is_too_large {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    /// A line was refused that nobody is to acknowledge.
    pub(super) fn leaves_unsaid(&mut self, words: &[u8]) {
        if self.unsaid == 0 {
            self.first = String::from_utf8_lossy(words.trim_ascii()).into();
        }
        self.unsaid = self.unsaid.saturating_add(1);
    }
}
