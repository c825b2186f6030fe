//! Files that others should not read: keys, hashes of passwords.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::runtime::{files, process};

/// Whether others may read a secret that is there, and what to do.
pub(crate) fn doubt(path: &Path, of: &Metadata) -> Option<(String, String)> {
    // Nobody else at all, whatever a list says.
    if of.mode() & 0o077 == 0 {
        return None;
    }
    let reader = Reader {
        ids: process::user(),
        has_list: files::has_access_list(path),
        at: path.display().to_string(),
    };
    reader.doubt((of.uid(), of.gid()), of.mode())
}

/// Who looks at a secret, and how else than by its mode it is given to others.
pub(crate) struct Reader {
    /// User and group of this process. The relay's may be others: nobody knows them here.
    pub ids: (u32, u32),
    /// Single users or groups may read it too; the bits of the group are then what all of these may have at most.
    pub has_list: bool,
    /// Where it is.
    pub at: String,
}

impl Reader {
    /// Whether a mode is too wide, and what to do. A group that may read is meant, unless it is just that of the user who looks, at a
    /// file of theirs. No advice may take the file from a relay that runs as somebody else.
    pub fn doubt(&self, owner: (u32, u32), mode: u32) -> Option<(String, String)> {
        let (ours, at) = (owner.0 == self.ids.0, &self.at);
        let too_wide = match (self.has_list, owner == self.ids) {
            (true, _) => 0o007,
            (false, true) => 0o077,
            (false, false) => 0o027,
        };
        if mode & too_wide == 0 {
            return None;
        }
        let what = if mode & too_wide & 0o055 != 0 { "read" } else { "write" };
        let problem = format!("{at} has mode {:04o}: others than the relay can {what} it", mode & 0o7777);
        let shared =
            format!("chown root:GROUP {at} and chmod 640 {at}, with a group of the user that runs the relay");
        let fix = if ours && !self.has_list {
            format!("chmod 600 {at} if the relay runs as this user too, else {shared}")
        } else {
            shared
        };
        Some((problem, fix))
    }
}
