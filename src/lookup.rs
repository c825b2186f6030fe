//! The DNS for commands: one question after the other, each waited for. Shards have a resolver of their own (`shard::outbound::resolve`).

pub mod blocklist;
pub mod dmarc;
pub mod reverse;
pub mod spf;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::config::{DnsConfig, value};
use crate::control::names::RESOLV_CONF;
use crate::dns::message::{self, Reading};
use crate::dns::{Answer, LookupError, LookupResult, QueryType, ServerError};
use crate::limits;
use crate::runtime::{exchange, files, process};

/// What the machine says about its name servers.
pub fn machines_name_servers() -> Vec<SocketAddr> {
    let bytes = files::read_whole(Path::new(RESOLV_CONF), limits::HOSTS_FILE_MAX).unwrap_or_default();
    value::name_servers(&String::from_utf8_lossy(&bytes), process::interface_number)
}

/// Asks name servers, the first one first.
#[derive(Clone, Debug)]
pub struct Lookup {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    attempts: usize,
}

impl Lookup {
    /// Asks those of a configuration, or the machine's where it has none.
    pub fn new(config: &DnsConfig) -> Lookup {
        let servers =
            if config.servers.is_empty() { machines_name_servers() } else { config.servers.clone() };
        Lookup { servers, timeout: config.timeout, attempts: config.attempts as usize }
    }

    /// Who is asked.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// What there is of a name; aliases are followed.
    pub fn ask(&self, kind: QueryType, name: &str) -> Result<Answer, LookupError> {
        let until = process::since_boot() + limits::LOOKUP_MAX;
        let mut name = name.to_owned();
        for _ in 0..=limits::DNS_CNAME_MAX {
            match self.ask_servers(kind, &name, until)? {
                Reading::Found(LookupResult { answer, .. }) => return answer,
                Reading::Alias(target, _) => name = target,
                // No other comes back.
                _ => return Err(LookupError::BadName),
            }
        }
        Err(LookupError::EndlessAliases)
    }

    /// An answer, or an alias.
    fn ask_servers(&self, kind: QueryType, name: &str, until: Duration) -> Result<Reading, LookupError> {
        let mut last = LookupError::NoServers;
        let mut edns = true;
        let mut attempt = 0;
        while attempt < self.attempts {
            let Some(server) = self.servers.get(attempt % self.servers.len().max(1)) else { break };
            let soon = until.min(process::since_boot() + self.timeout);
            let failed = match self.ask_one(*server, (kind, name), edns, soon)? {
                Ok(Reading::Plain) if edns => {
                    // Once more without, which is no other try: the server did answer (RFC 6891 section 7).
                    edns = false;
                    continue;
                }
                Ok(Reading::Plain) => ServerError::NotUnderstood,
                Ok(Reading::Failed(why)) => why,
                Ok(Reading::Truncated | Reading::NotOurs) => ServerError::NotWhole,
                Ok(reading) => return Ok(reading),
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    // Some name servers, and firewalls before them, drop questions with EDNS.
                    edns = attempt + 2 < self.attempts;
                    ServerError::Io("it does not answer".into())
                }
                Err(error) => error.into(),
            };
            last = LookupError::Server(*server, failed);
            attempt += 1;
        }
        Err(last)
    }

    /// Of one server, by UDP, or by TCP where the answer is too long for that.
    fn ask_one(
        &self,
        server: SocketAddr,
        (kind, name): (QueryType, &str),
        edns: bool,
        until: Duration,
    ) -> Result<std::io::Result<Reading>, LookupError> {
        let id = u16::from_ne_bytes(process::random_bytes());
        let question = message::write_question(id, name, kind, edns).ok_or(LookupError::BadName)?;
        let read = |bytes: &[u8]| message::read_answer(bytes, id, name, kind);
        let ours = |bytes: &[u8]| Some(read(bytes)).filter(|reading| *reading != Reading::NotOurs);
        Ok(match exchange::datagram(server, &question, until, ours) {
            Ok(Reading::Truncated) => exchange::stream(server, &question, until).map(|bytes| read(&bytes)),
            found => found,
        })
    }
}

#[cfg(test)]
mod tests;
