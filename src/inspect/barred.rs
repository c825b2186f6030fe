//! What in a data directory this user may not use as a start does. Told before anything of it is opened: a lane in which no segment can be made would
//! wait for room, and never get it.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::runtime::{files, process};
use crate::spool::layout;

/// A file or directory that is in the way of a start.
#[derive(Debug)]
pub struct Barred {
    path: PathBuf,
    why: BarReason,
}

#[derive(Debug)]
enum BarReason {
    /// It is to be a directory.
    NoDirectory,
    /// It is to be a file.
    NoFile,
    /// It belongs to this user, who has taken that from themselves.
    Mode,
    /// It belongs to another one.
    Owner(u32),
    /// It lies in a directory that this user may not enter.
    Above(PathBuf),
    /// The system says so.
    System(io::Error),
}

impl fmt::Display for Barred {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.path.display();
        match &self.why {
            BarReason::NoDirectory => {
                write!(
                    formatter,
                    "{at}: it is no directory; move it away, or bring back the lane or journal that was there"
                )
            }
            BarReason::NoFile => write!(formatter, "{at}: it is no regular file; move it away"),
            BarReason::Mode => write!(
                formatter,
                "{at}: this user may not read and write it, though it is theirs; `chmod u+rwX {at}`"
            ),
            BarReason::Owner(owner) => {
                let (user, group) = process::user();
                write!(
                    formatter,
                    "{at}: it belongs to the user {owner}, and this one ({user}) may not read and write it; run relevo as the user that it \
                     belongs to, or, as root, `chown -R {user}:{group} {at}`"
                )
            }
            BarReason::Above(above) => {
                let (user, _) = process::user();
                let above = above.display();
                write!(
                    formatter,
                    "{at}: this user ({user}) may not enter {above}, in which it lies; as root, `chmod o+x {above}`, or name a directory elsewhere"
                )
            }
            BarReason::System(error) => {
                write!(formatter, "{at}: {error}; mend what keeps it from being read and written")
            }
        }
    }
}

/// What keeps this user from a path: a directory above it that they may not enter.
pub fn shut_off(path: &Path) -> Option<Barred> {
    let denied = |place: &Path| {
        std::fs::symlink_metadata(place).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    let highest = path.ancestors().take_while(|place| denied(place)).last()?;
    // A link may lead there, too: then the path itself can be seen.
    let above = highest.parent()?.to_owned();
    Some(Barred { path: path.to_owned(), why: BarReason::Above(above) })
}

/// The file of decisions, where this user may not use it: a start goes on, and keeps none.
pub fn decisions(data_dir: &Path) -> Option<Barred> {
    let mut look = AccessCheck { mended: false, found: Vec::new() };
    look.file(&data_dir.join(layout::DECISIONS), process::may_read_and_write, false);
    look.found.pop()
}

/// All that is in the way, in order. `mended`: what a start mends by itself has been mended, which are modes of files of this user.
pub fn barred(data_dir: &Path, with_journal: bool, mended: bool) -> Vec<Barred> {
    let mut look = AccessCheck { mended, found: Vec::new() };
    if !look.directory(data_dir, true) {
        return look.found;
    }
    let Ok(names) = files::list(data_dir) else { return look.found };
    // It is opened before anything is mended.
    look.file(&data_dir.join("lock"), process::may_write, true);
    look.file(&data_dir.join("node"), process::may_read, false);
    for lane in layout::lanes(&names) {
        let directory = layout::lane_directory(data_dir, lane);
        if look.directory(&directory, false) {
            look.file(&directory.join(layout::LANE_ORIGIN), process::may_read, false);
            for slot in layout::segments(&files::list(&directory).unwrap_or_default()) {
                look.access(&layout::segment_path(&directory, slot), process::may_read_and_write, false);
            }
        }
    }
    let journal = layout::journal_directory(data_dir);
    if with_journal && names.iter().any(|name| journal.ends_with(name)) && look.directory(&journal, false) {
        let names = files::list(&journal).unwrap_or_default();
        for name in names.iter().filter(|name| name.ends_with(".journal") || name.ends_with(".cursor")) {
            look.file(&journal.join(name), process::may_read_and_write, false);
        }
    }
    look.found
}

/// Whether this process may do what is wanted.
type May = fn(&Path) -> io::Result<()>;

struct AccessCheck {
    mended: bool,
    found: Vec<Barred>,
}

impl AccessCheck {
    fn tell(&mut self, path: &Path, why: BarReason) -> bool {
        self.found.push(Barred { path: path.to_owned(), why });
        false
    }

    /// Whether it is one in which files can be made. `first`: a start needs it before it mends anything.
    fn directory(&mut self, path: &Path, first: bool) -> bool {
        match std::fs::metadata(path) {
            Ok(found) if !found.is_dir() => self.tell(path, BarReason::NoDirectory),
            Ok(_) => self.access(path, process::may_read_and_write, first),
            // Of a lane: told where lanes are looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                let above = shut_off(path).filter(|_| error.kind() == io::ErrorKind::PermissionDenied);
                self.tell(path, above.map_or(BarReason::System(error), |barred| barred.why))
            }
        }
    }

    fn file(&mut self, path: &Path, may: May, first: bool) -> bool {
        match std::fs::metadata(path) {
            Ok(found) if !found.is_file() => self.tell(path, BarReason::NoFile),
            Ok(_) => self.access(path, may, first),
            Err(_) => true,
        }
    }

    fn access(&mut self, path: &Path, may: May, first: bool) -> bool {
        let Err(error) = may(path) else { return true };
        let (Ok(itself), Ok(found)) = (std::fs::symlink_metadata(path), std::fs::metadata(path)) else {
            // It is gone, or leads nowhere, which is told where lanes are looked at.
            return true;
        };
        if error.kind() != io::ErrorKind::PermissionDenied {
            return self.tell(path, BarReason::System(error));
        }
        if found.uid() != process::user().0 {
            // Of what a link names: `chown -R` stops at links.
            let real = std::fs::canonicalize(path).ok().filter(|_| itself.is_symlink());
            return self.tell(real.as_deref().unwrap_or(path), BarReason::Owner(found.uid()));
        }
        if self.mended || first || itself.is_symlink() {
            return self.tell(path, BarReason::Mode);
        }
        // A start makes it so: what is in it cannot be looked at before.
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_in_the_way_is_named_with_what_helps() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for name in ["lane-000", "journal"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["lock", "node", "lane-000/00000.seg", "journal/1.journal"] {
            fs::write(at(name), b"").unwrap();
        }
        let told = || -> Vec<String> {
            let all = barred(scratch.path(), true, true);
            all.iter().map(|one| one.to_string().replace(&at("").display().to_string(), "")).collect()
        };
        assert!(told().is_empty(), "{:?}", told());
        fs::write(at("lane-003"), b"").unwrap();
        fs::remove_file(at("lock")).unwrap();
        fs::create_dir(at("lock")).unwrap();
        let told = told();
        assert!(told.len() == 2 && told[0].starts_with("lock: it is no regular file"), "{told:?}");
        assert!(told[1].starts_with("lane-003: it is no directory; move it away"), "{told:?}");
        fs::write(at("journal/log-1.cursor"), b"").unwrap();
        fs::create_dir(at("journal/log-2.cursor")).unwrap();
        let all = barred(scratch.path(), true, true);
        assert!(
            all.iter().any(|one| one.to_string().contains("log-2.cursor: it is no regular file")),
            "{all:?}"
        );
        assert!(decisions(scratch.path()).is_none());
        fs::create_dir(at("control.db")).unwrap();
        assert!(decisions(scratch.path()).unwrap().to_string().contains("control.db: it is no regular file"));
        assert!(shut_off(scratch.path()).is_none());
        let above = Barred { path: "/srv/x/spool".into(), why: BarReason::Above("/srv".into()) }.to_string();
        assert!(
            above.contains("may not enter /srv, in which") && above.contains("`chmod o+x /srv`"),
            "{above}"
        );
        fs::set_permissions(at("node"), Permissions::from_mode(0o000)).unwrap();
        let other = Barred { path: "/srv/lane-000".into(), why: BarReason::Owner(7) }.to_string();
        assert!(other.contains("belongs to the user 7") && other.contains("chown -R "), "{other}");
    }
}
