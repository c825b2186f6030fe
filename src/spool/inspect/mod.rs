//! Looking at a spool from outside: what lies in a lane, whether it is sound, what became of one message.
//!
//! Pure, as the fold is, over the same [`Files`](crate::spool::files::Files). The fold asks what to deliver and stops at the first doubt; what is here asks
//! what there is, reads every byte, and goes on behind damage as far as salts and CRCs allow.

mod survey;
mod walk;
mod message;
mod verify;

pub use message::{Fault, History, Placed, RecipientState, find, history, read_extent, read_message};
pub use survey::{FoundSegment, Survey, Unsound, is_current, survey};
pub use verify::{LaneReport, Rot, TornTail, verify};
pub use walk::{Salvage, Step, walk};
