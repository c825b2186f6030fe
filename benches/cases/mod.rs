//! What is measured: one routine for each part of a message's way, on fixed inputs. `parts.rs` takes their time,
//! `instructions.rs` counts their instructions and allocations.

mod classes;
mod clients;
mod event;
mod inputs;
mod outlets;
mod pipe;
mod queue;
mod smtp;
pub mod spool;
mod wire;

/// Something to measure, over and over.
pub trait Routine {
    /// Puts everything in place for one run. Not measured.
    fn prepare(&mut self) {}
    /// What is measured.
    fn run(&mut self);
}

/// A routine by its name.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What one run does many of.
    pub unit: &'static str,
    /// How many of them.
    pub units: u64,
    /// Makes it, all set up.
    pub make: fn() -> Box<dyn Routine>,
}

const fn case(name: &'static str, units: u64, unit: &'static str, make: fn() -> Box<dyn Routine>) -> Case {
    Case { name, unit, units, make }
}

/// All of them, in the order a message meets them.
pub const ALL: [Case; 32] = [
    case("proxy", 100, "header", clients::proxy),
    case("scram", 16, "login", clients::scram),
    case("command", 800, "command", smtp::commands),
    case("session", 16, "message", smtp::session),
    case("portion", 16, "message", clients::portion),
    case("rights", 1_000, "message", clients::rights),
    case("untraced", 10_000, "line", clients::untraced),
    case("scan-10k", 16 * inputs::BODY, "byte", smtp::scan_small),
    case("scan-1m", inputs::LARGE, "byte", smtp::scan_large),
    case("layout", 16, "message", spool::layout),
    case("commit", 16, "message", spool::commit),
    case("fold", spool::FOLDED, "record", spool::fold),
    case("handoff", 1_000, "handoff", queue::handoff),
    case("shard_message", 1_000, "message", queue::shard_message),
    case("dispatch", 10_000, "message", queue::dispatch),
    case("retry", 10_000, "message", queue::retry),
    case("summary", queue::SUMMED as u64, "group", queue::summary),
    case("timer", 10_000, "timer", queue::timers),
    case("deadline", 10_000, "deadline", queue::deadlines),
    case("cache", 10_000, "question", queue::cache),
    case("reply", 600, "reply", smtp::replies),
    case("class", classes::TEXTS, "reply", classes::new_texts),
    case("delivery", 16, "message", smtp::delivery),
    case("event", 100, "message", event::events),
    case("tls", 16, "message", wire::tls),
    case("pmta-csv", 300, "event", outlets::pmta),
    case("kumo-json", 300, "event", outlets::kumo),
    case("redacted", 300, "event", outlets::redacted),
    case("webhook", 300, "event", outlets::webhook),
    case("stream", 300, "event", outlets::stream),
    case("analytics", 300, "event", outlets::analytics),
    case("watched", 300, "event", outlets::watched),
];
