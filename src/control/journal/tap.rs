//! The journal for a reader of this process that remembers itself how far it is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::control::journal::place::{FramePosition, ReadPosition};
use crate::control::journal::reader::{Piece, Reader};
use crate::control::journal::shared::Shared;

/// The lines of all events, in order.
pub(in crate::control) struct Tap {
    shared: Arc<Shared>,
    reader: Reader,
}

impl Tap {
    /// From a place that [`Tap::place`] gave, perhaps to an earlier process; from the first line on where there is none, or where the journal was begun
    /// anew meanwhile.
    pub(in crate::control) fn open(shared: &Arc<Shared>, name: &str, place: Option<[u64; 3]>) -> Tap {
        let known = place.map(position).filter(|at| at.frame <= shared.end());
        let reader = Reader::new(shared.clone(), name, known.unwrap_or_default());
        Tap { shared: shared.clone(), reader }
    }

    /// The next lines. None: there are none yet. After an error the same ones are tried again.
    pub(in crate::control) fn next(&mut self) -> io::Result<Option<Piece>> {
        self.reader.next()
    }

    /// How far it is: segment, offset of a frame in it, bytes of its lines.
    pub(in crate::control) fn place(&self) -> [u64; 3] {
        let ReadPosition { frame, within } = self.reader.at();
        [frame.segment, frame.offset, within]
    }

    /// That is remembered: what stands before it needs not be kept for this reader.
    pub(in crate::control) fn saved(&self, place: [u64; 3]) {
        self.shared.saved(self.reader.number(), position(place));
    }

    /// Where the journal is.
    pub(in crate::control) fn directory(&self) -> &Path {
        self.shared.directory()
    }
}

fn position([segment, offset, within]: [u64; 3]) -> ReadPosition {
    ReadPosition { frame: FramePosition { segment, offset }, within }
}
