//! How whoever reads a lane gets at its files.

use std::io;

/// Reads a lane's files. The fold and the inspection touch nothing else.
pub trait Files {
    /// Slots that have a file, and its size.
    fn slots(&self) -> Vec<(u16, u64)>;
    /// Bytes of a file.
    fn read(&self, slot: u16, offset: u64, length: usize) -> io::Result<Vec<u8>>;
}
