//! What the machine lets the process have, shared out: open files and memory.

use std::path::Path;

use super::directory;
use crate::config::Particulars;
use crate::limits;
use crate::node::error::{FewFiles, MORE_FILES};
use crate::policy::descriptors::{self, Shares};
use crate::runtime::{files, process};
use crate::spool::layout;

/// What each shard may have of so many open files. Segments stay open for the life of the process.
pub fn share(data_dir: &Path, (shards, listeners): (usize, usize), allowed: u64) -> Result<Shares, FewFiles> {
    let names = |lane: usize| {
        let directory = layout::lane_directory(data_dir, u16::try_from(lane).unwrap_or(u16::MAX));
        files::list(&directory).unwrap_or_default()
    };
    let lanes = directory::lanes(data_dir);
    let segments =
        (0..lanes).flat_map(names).filter(|name| layout::segment_slot(name).is_some()).count() as u64;
    let few = |needed| FewFiles { data_dir: data_dir.to_owned(), segments, shards, needed, allowed };
    descriptors::share(allowed, shards as u64, segments, listeners as u64).map_err(few)
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
             time, with the rest for the spool, the log and control; for more {MORE_FILES}",
            sum(|one| one.connections_inbound_max),
            sum(|one| one.connections_outbound_max),
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
        share(scratch.path(), (1, 1), 285).unwrap();
        let words = share(scratch.path(), (1, 1), 284).unwrap_err().to_string();
        assert!(
            words.contains("20 spool segments")
                && words.contains("need 285")
                && words.contains("LimitNOFILE"),
            "{words}"
        );
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
