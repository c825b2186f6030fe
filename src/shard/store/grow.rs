//! A lane gets another segment, or says why it cannot.

use std::io;
use std::rc::Rc;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::{Defect, Runtime, Segment};
use crate::shard::Shard;
use crate::shard::store::writer::LaneWriter;
use crate::spool::layout::{self, segment_path};

pub(super) async fn make_segment<R: Runtime>(shard: Rc<Shard<R>>, writer: Rc<LaneWriter<R>>, slot: u16) {
    let path = segment_path(&writer.directory, slot);
    // What is delivered from a full disk is told to the journal first, which needs room for that.
    let is_kept = shard.say.events.borrow().kept().is_some();
    let journal = is_kept.then(|| layout::journal_directory(&shard.boot.node.data_dir));
    let journal = journal.as_deref().filter(|_| !shard.runtime.planted(Defect::JournalWithoutRoom));
    let made = shard.runtime.create_segment(&path, writer.segment_size, journal).await;
    match made {
        Ok(segment) => {
            let lane = writer.lane().number();
            shard.mesh.publish_map(lane, slot, segment.map().clone());
            let mut segments = writer.segments.borrow_mut();
            if segments.len() <= usize::from(slot) {
                segments.resize(usize::from(slot) + 1, None);
            }
            segments[usize::from(slot)] = Some(segment);
            drop(segments);
            shard.instruments.room.set_problem("");
            writer.lane_mut().segment_created(slot, true);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            shard.say(
                Level::Warning,
                format_args!("{} exists and is not ours; it is left alone", path.display()),
            );
            writer.lane_mut().segment_taken(slot);
        }
        Err(error) => {
            // It is tried every second; control goes on to say what is missing while it keeps mail out.
            if shard.instruments.room.set_problem(&error.to_string()) {
                shard.say(
                    Level::Error,
                    format_args!(
                        "cannot make the spool segment {} of {} bytes: {error}; {}",
                        path.display(),
                        writer.segment_size,
                        remedy(&error)
                    ),
                );
            }
            writer.lane_mut().segment_failed();
            shard.gate();
            writer.resume();
            let unseen = u32::from(shard.runtime.planted(Defect::RoomUnseen)) * 10_000;
            // Two shards that made room for each other would look at the same time again.
            let apart = limits::SEGMENT_PAUSE / 1024 * (shard.runtime.random() % 256) as u32;
            let until = shard.runtime.now() + limits::SEGMENT_PAUSE * (1 + unseen) + apart;
            shard.timers.sleep_until(until).await;
            writer.lane_mut().segment_created(slot, false);
        }
    }
    shard.gate();
    writer.resume();
}

/// What to do about a segment that could not be made.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "raise RLIMIT_NOFILE (LimitNOFILE in the systemd unit)",
        Some(libc::ENFILE) => "the whole machine has too many files open: raise fs.file-max (sysctl)",
        Some(libc::EDQUOT) => "raise the quota, or free some disk space",
        Some(libc::ENOSPC) => "free some disk space, of which a part is left to the journal of events",
        Some(libc::EROFS) => "the file system is read-only: look why, mend it, and mount it writable again",
        Some(libc::EIO) => "the disk fails: look at the kernel's log",
        None if error.kind() == io::ErrorKind::StorageFull => {
            "remove files there, or give the file system more inodes"
        }
        _ => "mend what keeps the relay from writing there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_trouble_has_its_remedy() {
        let of = |code| remedy(&io::Error::from_raw_os_error(code));
        let codes =
            [libc::ENOSPC, libc::EDQUOT, libc::EROFS, libc::EIO, libc::EMFILE, libc::ENFILE, libc::EACCES];
        let mut words: Vec<&str> = codes.into_iter().map(of).collect();
        words.push(remedy(&io::Error::new(io::ErrorKind::StorageFull, "no inode is free there")));
        for (place, part) in
            ["space", "quota", "read-only", "kernel's log", "NOFILE", "file-max", "writing there", "inodes"]
                .iter()
                .enumerate()
        {
            assert!(words[place].contains(part), "{}", words[place]);
        }
    }
}
