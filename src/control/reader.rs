//! The thread that reads bounces and complaints for the shards: patterns take milliseconds, and the first of them a quarter of a second.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::control::say::say;
use crate::control::thread::Worker;
use crate::limits;
use crate::mail::bounce::{self, Incoming};
use crate::observe::diagnostics::Level;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::shard::reading::Reading;

/// Starts it.
pub(super) fn start(mesh: &Arc<Mesh>) -> io::Result<Worker> {
    let mesh = mesh.clone();
    Worker::start("relevo-reader", move |turn| {
        process::stand_back();
        mesh.reading().reads(std::thread::current());
        // What is compiled once is compiled before anybody waits for it.
        let _ = bounce::read(
            b"Subject: Undelivered\r\n\r\n550 5.1.1 <a@b.example> no such user\r\n",
            b"a@b.example",
        );
        while !turn.is_over() {
            while read_next(mesh.reading()) {}
            turn.pause(limits::CONTROL_ROUND);
        }
    })
}

/// Reads the next one, if somebody waits.
fn read_next(reading: &Reading) -> bool {
    let Some(question) = reading.next() else { return false };
    let (message, to) = question.about();
    let found = catch_unwind(AssertUnwindSafe(|| bounce::read(message, to))).unwrap_or_else(|_| {
        say(
            Level::Error,
            format_args!("a message that came back could not be read, by a fault of the relay's"),
        );
        Incoming::Other
    });
    question.answer(found);
    true
}
