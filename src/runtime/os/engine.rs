//! What an executor brings to run a shard.

use std::future::Future;
use std::io;

use super::rest::Rest;

/// What runs the tasks of one shard.
pub trait Engine: 'static {
    /// How it syncs a file.
    type Syncer: Syncer;

    /// Starts a task that is never cancelled and never panics.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    /// What will sync this file.
    fn syncer(&self, file: &std::fs::File) -> io::Result<Self::Syncer>;
    /// What its thread waits for when it has nothing to run.
    fn rest(&self) -> &Rest;
}

/// Syncs one file.
pub trait Syncer: 'static {
    /// One fdatasync. Awaited to its end; at most one at a time.
    fn fdatasync(&self) -> impl Future<Output = io::Result<()>>;
}
