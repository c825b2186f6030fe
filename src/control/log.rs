//! The accounting log's writer.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::observe::Instruments;

/// Rounds between looks whether the file was moved away (rotated), and between complaints.
const LOOK: u32 = 10;
const COMPLAIN: u32 = 600;

/// The log file, or standard output.
pub struct Log {
    path: Option<PathBuf>,
    file: Option<File>,
    round: u32,
    last_complaint: Option<u32>,
}

impl Log {
    /// Opens the file for appending; its directory is made if it is missing.
    pub fn open(path: Option<PathBuf>) -> io::Result<Log> {
        let file = path.as_ref().map(Log::open_file).transpose()?;
        Ok(Log { path, file, round: 0, last_complaint: None })
    }

    fn open_file(path: &PathBuf) -> io::Result<File> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)?;
        }
        OpenOptions::new().create(true).append(true).open(path)
    }

    /// Writes all that shards have passed on.
    pub fn write(&mut self, instruments: &[Arc<Instruments>]) {
        self.round = self.round.wrapping_add(1);
        if self.round.is_multiple_of(LOOK) {
            self.follow_rotation();
        }
        for shard in instruments {
            while let Some(chunk) = shard.chunks.take() {
                let written = match &mut self.file {
                    Some(file) => file.write_all(&chunk),
                    None => io::stdout().lock().write_all(&chunk),
                };
                if let Err(error) = written {
                    self.complain(&error);
                }
                shard.chunks.give_back(chunk);
            }
        }
    }

    /// A log rotator renames the file and expects a new one.
    fn follow_rotation(&mut self) {
        let (Some(path), Some(file)) = (&self.path, &self.file) else { return };
        let open = file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        let named = std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        if open != named {
            match Log::open_file(path) {
                Ok(file) => self.file = Some(file),
                Err(error) => self.complain(&error),
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if self.last_complaint.is_none_or(|last| self.round.wrapping_sub(last) > COMPLAIN) {
            self.last_complaint = Some(self.round);
            eprintln!("relevo: accounting records are lost: {error}");
        }
    }
}
