//! What the loopback and a load generator do without a relay between them: the ceiling of every measurement here.

use std::io;
use std::time::Duration;

use relevo_load::{Load, LoadConfig, Until};
use serde::Serialize;

/// How long late deliveries are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Mail straight from a sender into a sink, both in this process.
#[derive(Clone, Debug, Serialize)]
pub struct Loopback {
    /// Messages a second.
    pub rate: f64,
    /// Processor time of sender and sink, microseconds a message.
    pub cpu_us_per_message: f64,
    /// Connections.
    pub connections: usize,
    /// What the messages were like.
    pub sizes: String,
}

/// Sends for `time` in a closed loop.
pub fn measure(time: Duration) -> io::Result<Loopback> {
    let mut config = LoadConfig::default();
    config.until = Until::Time(time);
    config.recipients = relevo_load::Recipients::between(1, 1);
    let connections = config.connections;
    let mut load = Load::start(config)?;
    load.send_to(load.sink_addresses()[0])?;
    let report = load.finish(PATIENCE, |_| true)?;
    if report.messages == 0 {
        return Err(io::Error::other("the loopback carried no mail"));
    }
    Ok(Loopback {
        rate: report.rate,
        cpu_us_per_message: report.load_cpu.as_secs_f64() * 1e6 / report.messages as f64,
        connections,
        sizes: "mixed sizes".to_owned(),
    })
}
