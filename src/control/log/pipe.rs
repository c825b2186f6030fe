//! What a log has given to a pipe: it is the reader's when that has read it, and until then may go with the pipe.

use std::collections::VecDeque;

use crate::control::journal::ReadPosition;
use crate::limits;

/// How far a pipe was written, and what of the journal ends where in it.
#[derive(Debug, Default)]
pub(super) struct Passed {
    written: u64,
    /// Up to so many bytes everything before a point is in it; ascending.
    checkpoints: VecDeque<(u64, ReadPosition)>,
}

impl Passed {
    /// Something is about to be written; all before this point was read, or went elsewhere.
    pub(super) fn begin(&mut self, at: ReadPosition) {
        if self.checkpoints.is_empty() {
            self.checkpoints.push_back((self.written, at));
        }
    }

    /// So many bytes were written, and all before this point ends so many before them.
    pub(super) fn wrote(&mut self, bytes: usize, (at, behind): (ReadPosition, usize)) {
        self.written += bytes as u64;
        let until = self.written.saturating_sub(behind as u64);
        if self.checkpoints.back().is_some_and(|(last, _)| *last < until) {
            if self.checkpoints.len() >= limits::PIPE_CHECKPOINTS {
                self.checkpoints.pop_back();
            }
            self.checkpoints.push_back((until, at));
        }
    }

    /// A line that was torn was ended with so many bytes, which are none of the journal's.
    pub(super) fn ended_line(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// The last point before which all was read, if this many bytes were not. None: nothing was written.
    pub(super) fn read(&mut self, unread: u64) -> Option<ReadPosition> {
        // Others may write to it, too: then it is less than it could be.
        let read = self.written.saturating_sub(unread);
        while self.checkpoints.get(1).is_some_and(|(until, _)| *until <= read) {
            self.checkpoints.pop_front();
        }
        self.checkpoints.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::journal::FramePosition;

    fn at(offset: u64) -> ReadPosition {
        FramePosition { segment: 1, offset }.into()
    }

    #[test]
    fn what_was_read_is_known_to_the_line() {
        let mut passed = Passed::default();
        assert_eq!(passed.read(0), None);
        passed.begin(at(0));
        passed.begin(at(1));
        // The second ends within a line, of which there are 4 bytes.
        for (bytes, point) in [(10, (at(10), 0)), (10, (at(16), 4)), (10, (at(30), 0))] {
            passed.wrote(bytes, point);
        }
        let mut read = |unread| passed.read(unread).unwrap();
        assert_eq!([40, 30, 21].map(&mut read), [at(0), at(0), at(0)]);
        assert_eq!([20, 15, 14, 1].map(&mut read), [at(10), at(10), at(16), at(16)]);
        assert_eq!(read(0), at(30));
        assert_eq!(passed.checkpoints.len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut passed = Passed::default();
        passed.begin(at(0));
        let many = 3 * limits::PIPE_CHECKPOINTS as u64;
        (1..=many).for_each(|end| passed.wrote(1, (at(end), 0)));
        assert_eq!(passed.checkpoints.len(), limits::PIPE_CHECKPOINTS);
        assert_eq!(passed.read(many - 7), Some(at(7)));
        assert_eq!(passed.read(1), passed.checkpoints.front().map(|(_, at)| *at), "less than it could be");
        assert_eq!(passed.read(0), Some(at(many)));
    }
}
