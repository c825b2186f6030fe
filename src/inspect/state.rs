//! What the file system says of a data directory: who may read it, and how much room there is. Told by `check` and by a start.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::config::{Config, value::show_size};
use crate::control::exact;
use crate::limits;
use crate::runtime::files::{self, Mended};
use crate::spool::layout::{self, lane_directory};

/// Who may read what is in a data directory besides its owner.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Files and directories that others could read; they cannot any more, if that was to be mended.
    pub open: usize,
    /// One of them that belongs to another user, who alone can mend it.
    pub not_ours: Option<PathBuf>,
    /// Something that is no part of a spool: the directory is somebody else's too, and is left as open as it is.
    pub shared: Option<String>,
}

/// Files of ours in a data directory besides the lanes. What is made there later belongs here too.
const OURS: [&str; 30] = [
    "node",
    "node.new",
    "lock",
    "control.sock",
    "journal",
    layout::DECISIONS,
    layout::SUPPRESSION,
    layout::POLICIES,
    layout::TLS_REPORTS,
    layout::ACME,
    layout::VERP_SECRET,
    layout::UNSUBSCRIBE_SECRET,
    layout::SALTS_SECRET,
    layout::REDACT_SECRET,
    layout::LOGINS,
    "scram.new",
    "redact.new",
    "logins.new",
    "verp.new",
    "unsubscribe.new",
    "control.db-journal",
    "control.db.damaged",
    layout::ANALYTICS,
    layout::SANDBOX,
    "analytics.db-wal",
    "analytics.db-shm",
    "analytics.db.damaged",
    "sandbox.db-wal",
    "sandbox.db-shm",
    "sandbox.db.damaged",
];

/// Looks at a data directory and all of ours in it, and mends it if `mend`. What cannot be looked at is left out: whoever needs it says
/// so.
pub fn modes(data_dir: &Path, mend: bool) -> Modes {
    let mut found = Modes::default();
    let Ok(names) = files::list(data_dir) else { return found };
    let is_lane = layout::resembles_lane;
    let ours = |name: &String| is_lane(name) || OURS.contains(&name.as_str());
    // The socket for commands may have any name.
    let is_socket = |name: &str| {
        std::fs::symlink_metadata(data_dir.join(name)).is_ok_and(|meta| meta.file_type().is_socket())
    };
    let foreign =
        |name: &&String| !ours(name) && !name.starts_with('.') && *name != "lost+found" && !is_socket(name);
    found.shared = names.iter().find(foreign).cloned();
    if found.shared.is_none() {
        // Before what is in it: from here on nobody else can put anything there.
        found.look(data_dir, mend);
    }
    for name in names.iter().filter(|name| ours(name)) {
        let path = data_dir.join(name);
        found.look(&path, mend);
        if !std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        for inside in files::list(&path).unwrap_or_default() {
            // Whatever it is called: what was set aside of a lane has mail in it too.
            found.look(&path.join(inside), mend);
        }
    }
    found
}

impl Modes {
    fn look(&mut self, path: &Path, mend: bool) {
        match files::mend(path, mend) {
            Ok(Mended::Sound) | Err(_) => {}
            Ok(Mended::Others) => self.open += 1,
            Ok(Mended::NotOurs) => self.not_ours = Some(path.to_owned()),
        }
    }

    /// In words, one line each.
    pub fn words(&self, data_dir: &Path, mended: bool) -> Vec<String> {
        let mut words = Vec::new();
        let at = data_dir.display();
        if self.open > 0 && mended {
            words.push(format!(
                "{at}: {} files and directories could be read by others; they are for their owner alone now (0600 and 0700)",
                self.open
            ));
        } else if self.open > 0 {
            words.push(format!(
                "{at}: {} files and directories can be read by others; a start makes them their owner's alone (0600 and 0700)",
                self.open
            ));
        }
        if let Some(path) = &self.not_ours {
            let path = path.display();
            words.push(format!(
                "{path} can be read by others and belongs to another user, so a start cannot change that: as root, `chown -R USER {at}` with the user \
                 that runs the relay, and `chmod -R go= {at}`"
            ));
        }
        if let Some(name) = &self.shared {
            words.push(format!(
                "{at} holds other things than a spool ({name}), and its mode is left as it is: give node.data_dir a directory of its own"
            ));
        }
        words
    }
}

/// Says how much room is wanted where there is less. Every shard's lane wants a few segments before it takes mail, and one more whenever these
/// are full.
pub fn room(config: &Config, shards: usize) -> Option<String> {
    let (data_dir, size) = (&config.node.data_dir, config.spool.segment_size);
    let there: Vec<u64> = (0..shards)
        .map(|shard| {
            let lane = lane_directory(data_dir, u16::try_from(shard).unwrap_or(u16::MAX));
            let files = files::list(&lane).unwrap_or_default();
            layout::segments(&files).count() as u64
        })
        .collect();
    let missing: u64 = there.iter().map(|there| (limits::SEGMENTS_LEAST as u64).saturating_sub(*there)).sum();
    let place = data_dir.ancestors().find(|place| place.is_dir())?;
    let (free, _) = files::free_bytes(place)?;
    let is_kept = config.keeps_journal();
    let spare = if is_kept { files::spare_bytes(place, &layout::journal_directory(data_dir)) } else { 0 };
    let for_journal = match spare {
        0 => String::new(),
        spare => format!(", beside {} that stay free for the journal of events", exact(spare)),
    };
    let may_grow =
        config.spool.size_max == 0 || (there.iter().sum::<u64>() + 1) * size <= config.spool.size_max;
    let (at, inodes) = (data_dir.display(), files::free_inodes(place).unwrap_or(u64::MAX));
    // Files that are no segments: the lanes, the lock, and what a file is called before it is whole.
    if inodes < (if missing > 0 { missing + shards as u64 + 3 } else { u64::from(may_grow) }) {
        return Some(format!(
            "{at}: the file system has {inodes} inodes free, too few for the next segments; remove files there, or give it more inodes"
        ));
    }
    if missing > 0 && free < missing * size + spare {
        return Some(format!(
            "{at}: {shards} lanes want {} for their first segments before all of them take mail{for_journal}, and {} are free; free {} more, or \
             set spool.segment_size or node.shards lower",
            show_size(missing * size),
            exact(free),
            exact(missing * size + spare - free)
        ));
    }
    (missing == 0 && may_grow && free < size + spare).then(|| {
        format!(
            "{at}: a lane whose segments are full wants {} for the next one{for_journal}, and {} are free: it refuses mail with 452 then; free {} \
             more there",
            show_size(size),
            exact(free),
            exact(size + spare - free)
        )
    })
}

/// Says how much the lanes have, or will in any case, where that is more than `spool.size_max`: files are never deleted.
pub fn bound(config: &Config, shards: usize) -> Option<String> {
    let (data_dir, spool) = (&config.node.data_dir, &config.spool);
    let least = limits::SEGMENTS_LEAST as u64 * spool.segment_size;
    let (mut there, mut wanted) = (0, least * shards as u64);
    // Shards alone that want more are told by the configuration.
    if spool.size_max == 0 || wanted > spool.size_max {
        return None;
    }
    for number in 0..limits::SHARDS_MAX {
        let lane = lane_directory(data_dir, number as u16);
        let files = files::list(&lane).unwrap_or_default();
        let size = |slot| std::fs::metadata(layout::segment_path(&lane, slot)).map_or(0, |file| file.len());
        let bytes = layout::segments(&files).map(size).sum::<u64>();
        there += bytes;
        wanted += bytes.saturating_sub(if number < shards { least } else { 0 });
    }
    (wanted > spool.size_max).then(|| {
        format!(
            "{}: its lanes have {} and will have {}, which is more than spool.size_max {}: files are never deleted, and each of {shards} \
             shards needs a few; raise spool.size_max to {} at least",
            data_dir.display(),
            exact(there),
            exact(wanted),
            show_size(spool.size_max),
            show_size(wanted.next_multiple_of(1 << 20))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn all_of_ours_is_mended_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join("spool").join(name);
        fs::create_dir_all(at("lane-000")).unwrap();
        let theirs = scratch.path().join("theirs");
        fs::write(&theirs, b"").unwrap();
        fs::create_dir_all(at("journal")).unwrap();
        let ours = [
            "node",
            "lock",
            "journal/log-1.cursor",
            "lane-000/00000.seg",
            "lane-000/birthplace",
            "lane-000/00001.new",
            "lane-000/00002.seg.damaged",
        ];
        for name in ours {
            fs::write(at(name), b"").unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(0o644)).unwrap();
        }
        symlink(&theirs, at("lane-000/00002.seg")).unwrap();
        let _sockets =
            ["control.sock", "commands"].map(|name| crate::runtime::local::listen(&at(name), 1).unwrap());
        for path in [at(""), at("lane-000"), at("journal"), theirs.clone()] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        let looked = modes(&at(""), false);
        assert_eq!((looked.open, mode(&at("node"))), (10, 0o644));
        assert_eq!(modes(&at(""), true), looked);
        assert_eq!(modes(&at(""), true), Modes::default());
        assert!(ours.iter().all(|name| mode(&at(name)) == 0o600));
        assert_eq!((mode(&at("")), mode(&at("lane-000")), mode(&theirs)), (0o700, 0o700, 0o755));
        assert_eq!(mode(&at("journal")), 0o700);
    }

    #[test]
    fn a_directory_of_others_keeps_its_mode() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("node"), b"").unwrap();
        fs::write(scratch.path().join("passwd"), b"").unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        let found = modes(scratch.path(), true);
        assert_eq!((found.shared.as_deref(), mode(scratch.path())), (Some("passwd"), 0o755));
        assert_eq!(mode(&scratch.path().join("node")), 0o600);
        assert!(found.words(scratch.path(), true)[1].contains("a directory of its own"));
    }

    #[test]
    fn a_start_that_wants_more_than_there_is_says_so() {
        let text = "[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"/dev/shm/none/of/it\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                    [spool]\nsegment_size = \"1GiB\"\n";
        let config = Config::parse(text, Path::new("relevo.toml")).unwrap();
        let words = room(&config, 256).expect("nobody has a TiB of memory here");
        assert!(words.contains("256 lanes want 1TiB") && words.contains("free "), "{words}");
        assert_eq!(room(&config, 0), None);
    }

    #[test]
    fn lanes_that_exceed_their_bound_are_told() {
        let scratch = tempfile::tempdir().unwrap();
        let config = |most: &str| {
            let text = format!(
                "[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"{}\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                 [spool]\nsegment_size = \"4MiB\"\nsize_max = \"{most}\"\n",
                scratch.path().display()
            );
            Config::parse(&text, Path::new("relevo.toml")).unwrap()
        };
        assert_eq!(bound(&config("32MiB"), 2), None);
        assert_eq!(bound(&config("32MiB"), 16), None, "the configuration alone tells this");
        // A shard that is gone, and one that has more than its share.
        for (lane, segments) in [("lane-000", 5), ("lane-002", 1)] {
            fs::create_dir(scratch.path().join(lane)).unwrap();
            for slot in 0..segments {
                let file =
                    fs::File::create(scratch.path().join(lane).join(format!("{slot:05}.seg"))).unwrap();
                file.set_len(4 << 20).unwrap();
            }
        }
        let words = bound(&config("32MiB"), 2).expect("36 MiB and 4");
        assert!(words.contains("have 24.0 MiB and will have 40.0 MiB"), "{words}");
        assert!(words.ends_with("; raise spool.size_max to 40MiB at least"), "{words}");
        assert_eq!(bound(&config("40MiB"), 2), None);
        assert_eq!(bound(&config("32MiB"), 1), None);
    }
}
