//! What a shard tells of itself and of its messages.

use std::cell::{Cell, RefCell};

use crate::observe::accounting::EventQueue;
use crate::observe::latency::Latencies;
use crate::observe::repeat::Repeat;
use crate::shard::ask::Answering;
use crate::shard::dialogues::Dialogues;
use crate::shard::handed::Handed;
use crate::shard::pace::Pace;
use crate::shard::trace::TraceDesk;
use crate::shard::turns::Turns;
use crate::smtp::server::Intake;

/// The log of a shard's messages, and what it measures.
pub(in crate::shard) struct Say {
    /// Events on their way to control.
    pub events: RefCell<EventQueue>,
    /// How far its lanes are with what it is told.
    pub handed: Handed,
    /// Times not yet published.
    pub latencies: RefCell<Latencies>,
    /// How long tasks kept it.
    pub turns: Turns,
    /// Where the task waits that answers control.
    pub answering: Answering,
    /// Who watches sessions.
    pub trace: TraceDesk,
    /// What was said in attempts that failed.
    pub dialogues: RefCell<Dialogues>,
    /// How fast that one answers.
    pub pace: Pace,
    /// How far the wall clock was ahead of the queues' when it was last compared, milliseconds.
    pub wall_ahead: Cell<i64>,
    /// Whether mail is taken, as it was told last.
    pub gate: Cell<Intake>,
    /// The machine's addresses cannot be read.
    pub addressless: RefCell<Repeat>,
}
