//! Memory for a computation that wants much of it, taken from the system whole and given back whole.
//!
//! Not from the allocator: it keeps what was freed, for each thread that ever asked, and tens of megabytes a password hash would stay.

use std::io;

use argon2::Block;
use memmap2::MmapMut;

/// The memory of one thread that computes. Empty until something is asked of it.
#[derive(Debug, Default)]
pub struct Workspace(Option<MmapMut>);

impl Workspace {
    /// So many blocks of argon2, with anything in them. It grows to the largest that was asked for.
    pub fn blocks(&mut self, count: usize) -> io::Result<&mut [Block]> {
        let bytes = count.checked_mul(size_of::<Block>()).ok_or(io::ErrorKind::OutOfMemory)?;
        if self.0.as_ref().is_none_or(|map| map.len() < bytes) {
            // The old one goes first: both would be more than a thread may have.
            self.0 = None;
            self.0 = Some(MmapMut::map_anon(bytes.max(1))?);
        }
        let Some(map) = &mut self.0 else { return Err(io::ErrorKind::OutOfMemory.into()) };
        // SAFETY: the map is at least `bytes` long, aligned to a page, zeroed or written through this type alone, and borrowed for as
        // long as the slice lives; any bits are a valid Block, which is an array of integers.
        Ok(unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().cast::<Block>(), count) })
    }

    /// Gives everything back to the system.
    pub fn give_back(&mut self) {
        self.0 = None;
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |map| map.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_is_given_back() {
        let mut workspace = Workspace::default();
        assert_eq!((workspace.held(), workspace.blocks(0).map(|blocks| blocks.len()).ok()), (0, Some(0)));
        for (count, held) in [(8, 8), (64, 64), (16, 64), (65, 65)] {
            let blocks = workspace.blocks(count).unwrap();
            assert_eq!(blocks.len(), count);
            blocks.iter_mut().for_each(|block| block.as_mut().fill(u64::MAX));
            assert_eq!(workspace.held(), held * 1024);
        }
        workspace.give_back();
        assert_eq!(workspace.held(), 0);
        assert!(workspace.blocks(usize::MAX).is_err(), "too much is an error");
        assert!(workspace.blocks(usize::MAX / 1024).is_err(), "and so is what the system does not have");
        assert_eq!(workspace.blocks(8).map(|blocks| blocks.len()).ok(), Some(8));
    }
}
