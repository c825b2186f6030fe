//! What the machine lets the process have, shared out: open files and memory.

use std::path::Path;

use super::directory;
use crate::config::{Config, Particulars};
use crate::limits;
use crate::node::error::{FewFiles, ManyListeners, more_files};
use crate::policy::descriptors::{self, FixedDescriptors, Shares};
use crate::runtime::{files, process};
use crate::spool::layout;

/// What holds for each shard, as far as there are open files for it, with words about what had to be made smaller.
pub(crate) fn fitting(
    config: &Config,
    shards: usize,
) -> Result<(Vec<Particulars>, Option<String>), FewFiles> {
    let allowed = files_allowed();
    let shares = share(&config.node.data_dir, (shards, config.listeners.len()), allowed)?;
    let mut particulars = config.particulars(shards);
    let words = fit(&mut particulars, shares, allowed);
    Ok((particulars, words))
}

/// What each shard may have of so many open files. Segments stay open for the life of the process.
pub fn share(data_dir: &Path, (shards, listeners): (usize, usize), allowed: u64) -> Result<Shares, FewFiles> {
    let standing = standing(data_dir, shards, listeners);
    let few = |needed| FewFiles { data_dir: data_dir.to_owned(), standing, needed, allowed };
    descriptors::share(allowed, standing).map_err(few)
}

fn standing(data_dir: &Path, shards: usize, listeners: usize) -> FixedDescriptors {
    let names = |lane: usize| {
        let directory = layout::lane_directory(data_dir, u16::try_from(lane).unwrap_or(u16::MAX));
        files::list(&directory).unwrap_or_default()
    };
    let lanes = directory::lanes(data_dir);
    let segments = (0..lanes).flat_map(names).filter(|name| layout::segment_slot(name).is_some()).count();
    FixedDescriptors { shards: shards as u64, segments: segments as u64, listeners: listeners as u64 }
}

/// The listeners that a reload may add: what a start shared out does not change until the next.
#[derive(Clone, Copy, Debug)]
pub struct ListenerRoom {
    shards: usize,
    /// Listeners at the start.
    started: usize,
    /// Connections of each kind that all shards may have open at one time.
    connections: u64,
}

impl ListenerRoom {
    /// Beside what the shards have.
    pub fn beside(particulars: &[Particulars], started: usize) -> ListenerRoom {
        let of = |one: &Particulars| {
            (one.connections_inbound_max + one.connections_outbound_max + one.questions_max) as u64
        };
        let connections = particulars.iter().map(of).sum();
        ListenerRoom { shards: particulars.len(), started, connections }
    }

    /// Whether so many may be open at one time.
    pub fn holds(&self, data_dir: &Path, listeners: usize, allowed: u64) -> Result<(), ManyListeners> {
        let standing = standing(data_dir, self.shards, listeners);
        let many = |needed| ManyListeners { standing, needed, allowed };
        standing.fits(allowed, self.started as u64, self.connections).map_err(many)
    }
}

/// Lowers what is configured to what there is; in words, if that is less.
pub fn fit(particulars: &mut [Particulars], shares: Shares, allowed: u64) -> Option<String> {
    let mut less = false;
    for one in particulars.iter_mut() {
        for (wanted, share) in [
            (&mut one.connections_inbound_max, shares.inbound),
            (&mut one.connections_outbound_max, shares.outbound),
            (&mut one.questions_max, shares.questions),
        ] {
            less |= *wanted > share;
            *wanted = share.min(*wanted);
        }
    }
    let sum = |of: fn(&Particulars) -> usize| particulars.iter().map(of).sum::<usize>();
    less.then(|| {
        format!(
            "{allowed} open files are allowed (RLIMIT_NOFILE): that makes at most {} clients and {} connections to next hops at one \
             time, with the rest for the spool, the log and control; for more {}",
            sum(|one| one.connections_inbound_max),
            sum(|one| one.connections_outbound_max),
            more_files(allowed + 1),
        )
    })
}

/// Bytes that clients may make the node keep: a part of the memory there is.
pub fn client_memory(machine: Option<u64>) -> usize {
    let share = machine.map_or(limits::CLIENT_MEMORY_MAX as u64, |all| {
        (all / limits::CLIENT_MEMORY_SHARE).max(limits::CLIENT_MEMORY_MIN)
    });
    usize::try_from(share).unwrap_or(usize::MAX)
}

/// The open files this process may have, once it asked for as many as it can get.
pub fn files_allowed() -> u64 {
    process::raise_open_files();
    process::reserve_open_files();
    process::open_files_max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn segments_need_descriptors() {
        let scratch = tempfile::tempdir().unwrap();
        let lane = layout::lane_directory(scratch.path(), 1);
        std::fs::create_dir(&lane).unwrap();
        for slot in 0..20 {
            std::fs::write(layout::segment_path(&lane, slot), b"").unwrap();
        }
        share(scratch.path(), (1, 1), 461).unwrap();
        let words = share(scratch.path(), (1, 1), 460).unwrap_err().to_string();
        assert!(
            words.contains("20 spool segments")
                && words.contains("1 listener need 461")
                && words.contains("LimitNOFILE"),
            "{words}"
        );
    }

    #[test]
    fn listeners_may_be_added_where_there_are_files() {
        let scratch = tempfile::tempdir().unwrap();
        let mut some = Config::embedded().particulars(2);
        let shares = share(scratch.path(), (2, 1), 1024).unwrap();
        fit(&mut some, shares, 1024).expect("less than configured");
        let room = ListenerRoom::beside(&some, 1);
        room.holds(scratch.path(), 9, 1024).unwrap();
        let words = room.holds(scratch.path(), 10, 1024).unwrap_err().to_string();
        assert!(words.starts_with("10 listeners on 2 shards") && words.contains("LimitNOFILE="), "{words}");
        let few = |files| room.holds(scratch.path(), 10, files).is_err();
        let needed = (1024..1100).find(|files| !few(*files)).expect("some more are enough");
        assert!(words.contains(&format!("need {needed} open files")), "{words}");
        let all = ListenerRoom::beside(&Config::embedded().particulars(2), 1);
        all.holds(scratch.path(), 100, 1 << 20).expect("connections leave enough");
    }

    #[test]
    fn connections_fit_the_files_there_are() {
        let scratch = tempfile::tempdir().unwrap();
        let configured = || Config::embedded().particulars(2);
        let mut some = configured();
        some[1].connections_inbound_max = 5;
        let shares = share(scratch.path(), (2, 1), 1024).unwrap();
        let words = fit(&mut some, shares, 1024).expect("less than configured");
        assert_eq!(some[0].connections_inbound_max, shares.inbound);
        assert_eq!(some[1].connections_inbound_max, 5, "what is less stays");
        assert!(
            words.contains(&format!("at most {} clients and {} ", shares.inbound + 5, 2 * shares.outbound)),
            "{words}"
        );
        let mut all = configured();
        let plenty = share(scratch.path(), (2, 1), 1 << 20).unwrap();
        assert_eq!(fit(&mut all, plenty, 1 << 20), None);
        assert_eq!(all, configured());
    }

    #[test]
    fn clients_have_a_part_of_the_memory() {
        assert_eq!(client_memory(None), limits::CLIENT_MEMORY_MAX);
        assert_eq!(client_memory(Some(512 << 20)), 128 << 20);
        assert_eq!(client_memory(Some(1 << 20)), 32 << 20);
    }
}
