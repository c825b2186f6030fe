//! The simulated runtime: whole nodes on one thread, in virtual time, on an in-memory network and disk.
//!
//! A [`World`] is a pure function of its seed and of what the test does to it: it reads no clock, opens no socket, starts no
//! thread. The same seed gives the same interleaving of tasks, the same latencies and the same faults, which
//! [`World::fingerprint`] proves. Call order: [`World::new`], set [`World::faults`], take a [`SimRuntime`] for each shard
//! ([`World::shard`]), spawn tasks on it, drive the world ([`World::block_on`], [`World::run_until`]); at any point
//! [`World::crash`] a node and take shards of its next life.
//!
//! What a seed does not reach: `std` hash maps (iterate over none), and the random numbers inside rustls.
//!
//! Time passes in two ways: each poll of a task costs a little (so that a task which spins still meets its deadline), and when
//! nothing is ready the clock jumps to the next event.

mod base;
mod cores;
mod disk;
mod executor;
mod handle;
mod network;
mod random;
mod segment;
mod shard;
mod sleep;
mod socket;
mod state;
mod trace;
mod waiter;
mod world;

pub use cores::Costs;
pub use disk::DiskFaults;
pub use handle::{EPOCH, SimRuntime};
pub use network::Faults;
pub use segment::SimSegment;
pub use socket::{SimDatagram, SimListener, SimStream};
pub use world::{BLOCK_ON_MAX, World};

#[cfg(test)]
mod tests;
