//! relevo-load: the client, the receiving internet and the judge for measuring mail relays.
//!
//! - [`send`] produces mail: many connections over a few `epoll` threads, open or closed loop, sizes and domains
//!   like those of real bulk mail. Every message carries an id and a checksum.
//! - [`sink`] receives mail: an SMTP server that keeps nothing but which recipient of which id arrived, and whether
//!   its body was intact. It can also misbehave, in the ways the receiving internet does.
//! - [`verdict`] compares the two: what was acknowledged, what arrived, what was lost, repeated or altered, and
//!   how long it took.
//! - [`attack`] is hostile clients beside them.
//! - [`dns`] answers for the simulated internet's names, well or badly.
//! - [`run`] plays whole scenarios with them, through relays it starts, kills and starts again; [`report`] shows what came of it.
//! - [`demo`] joins them around a relay that is already running.
//!
//! It shares no code with the relay it measures: an error in one cannot hide behind the same error in the other.
//! All that grows with a run is five bits a recipient ([`ledger`]).

pub mod attack;
pub mod checksum;
pub mod demo;
pub mod dns;
pub mod input;
pub mod journal;
pub mod ledger;
pub mod message;
pub mod mix;
pub mod output;
pub mod port;
pub mod random;
pub mod report;
pub mod run;
pub mod send;
pub mod sink;
pub mod stream;
pub mod sys;
pub mod tls;
pub mod unfit;
pub mod units;
pub mod verdict;
pub mod wire;

pub use demo::{Live, Load, LoadConfig, Report};
pub use dns::{DnsCounts, DnsServer, Zone, ZoneError};
pub use ledger::{Ledger, RecipientId};
pub use mix::{Domains, Recipients, Sizes};
pub use send::{Outcome, Progress, SendConfig, Sender, Slow, Tls, Until};
pub use sink::{Action, Behaviour, Counts, Point, Rule, Security, Sink, SinkConfig, Site, Texts};
pub use verdict::Verdict;
