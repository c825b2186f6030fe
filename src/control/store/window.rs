//! What is kept of a site for the next start.

use crate::time::UnixMillis;

/// What the windows of a site were when they were kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What it is of, for whoever keeps it: a source and a site.
    pub name: String,
    /// What is kept of it, for whoever keeps it.
    pub value: Vec<u8>,
    /// When it was so.
    pub at: UnixMillis,
}
