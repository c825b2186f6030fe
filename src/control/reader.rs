//! The thread that reads bounces and complaints for the shards: patterns take milliseconds, and the first of them a quarter of a second.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::unsubscribe::{By, NotListed, Unsubscriber};
use crate::control::say::say;
use crate::control::thread::Worker;
use crate::limits;
use crate::mail::bounce::{self, Incoming, Unsubscribe};
use crate::observe::diagnostics::Level;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::shard::reading::Reading;
use tokio::runtime::Runtime;

/// Starts it.
pub(super) fn start(mesh: &Arc<Mesh>, unsubscriber: Option<Arc<Unsubscriber>>) -> io::Result<Worker> {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
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
            while read_next(mesh.reading(), &|token| unsubscribe(&waiting, unsubscriber.as_deref()?, token)) {
            }
            turn.pause(limits::CONTROL_ROUND);
        }
    })
}

/// Reads the next one, if somebody waits.
fn read_next(reading: &Reading, unsubscribe: &dyn Fn(&str) -> Option<Unsubscribe>) -> bool {
    let Some(question) = reading.next() else { return false };
    let (message, to) = question.about();
    let found = catch_unwind(AssertUnwindSafe(|| bounce::read(message, to))).unwrap_or_else(|_| {
        say(
            Level::Error,
            format_args!("a message that came back could not be read, by a fault of the relay's"),
        );
        Incoming::Other
    });
    match found {
        Incoming::Unsubscribe(Unsubscribe::Asked(token)) => {
            // Where it cannot be done now nobody is answered, and it is asked again.
            if let Some(done) = unsubscribe(&token) {
                question.answer(Incoming::Unsubscribe(done));
            }
        }
        found => question.answer(found),
    }
    true
}

/// Puts on the list whom a token names. None: not now.
fn unsubscribe(waiting: &Runtime, unsubscriber: &Unsubscriber, token: &str) -> Option<Unsubscribe> {
    let Some(listed) = unsubscriber.settings().links.and_then(|links| links.read(token)) else {
        unsubscriber.count_unknown();
        return Some(Unsubscribe::Unknown);
    };
    match waiting.block_on(unsubscriber.take(&listed, By::Mail)) {
        Ok(()) => Some(Unsubscribe::Listed),
        Err(NotListed::Unlistable) => Some(Unsubscribe::Unknown),
        Err(NotListed::Later) => None,
    }
}
