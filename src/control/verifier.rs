//! The thread that verifies mail of strangers for the shards (`shard/verifying`): SPF, DKIM and DMARC (RFC 7208, 6376, 9989), by a library that asks name
//! servers. It begins with the first such message; a node that takes none has a thread that sleeps.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mail_auth::MessageAuthenticator;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use tokio::sync::Notify;

use crate::control::say::say;
use crate::control::thread::{Turn, Worker};
use crate::limits;
use crate::mail::results::Findings;
use crate::observe::diagnostics::Level;
use crate::policy::clients::Client;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::shard::verifying::{Question, Verifying};

mod find;

/// Which name servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolving {
    /// Of which the quicker ones are asked.
    pub servers: Vec<SocketAddr>,
    /// One try's timeout.
    pub timeout: Duration,
    /// Tries over all servers.
    pub attempts: usize,
}

/// Whoever knows that.
pub trait ResolveSettings: Send + Sync {
    /// As it is now.
    fn resolving(&self) -> Resolving;
}

/// Starts it.
pub(super) fn start(mesh: &Arc<Mesh>, settings: Arc<dyn ResolveSettings>) -> io::Result<Worker> {
    let mesh = mesh.clone();
    Worker::start("relevo-verify", move |turn| {
        process::stand_back();
        let (thread, asked) = (std::thread::current(), Arc::new(Notify::new()));
        let bell = asked.clone();
        mesh.verifying().serve(move || {
            bell.notify_one();
            thread.unpark();
        });
        while !turn.is_over() {
            if !mesh.verifying().is_empty() {
                run(&mesh, &*settings, &asked, turn);
            }
            turn.pause(limits::VERIFY_ROUND);
        }
    })
}

/// Verifies until it is over.
fn run(mesh: &Mesh, settings: &dyn ResolveSettings, asked: &Arc<Notify>, turn: &Turn) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => {
            say(
                Level::Error,
                format_args!("incoming mail is not verified: {error}; it is taken all the same"),
            );
            std::iter::from_fn(|| mesh.verifying().next())
                .for_each(|question| question.answer(Findings::unknown()));
            return;
        }
    };
    runtime.block_on(serve(mesh.verifying(), settings, asked, turn));
    // What still waits for a name server has nobody who waits for it.
    runtime.shutdown_background();
}

async fn serve(verifying: &Verifying, settings: &dyn ResolveSettings, asked: &Arc<Notify>, turn: &Turn) {
    let (under_way, clients) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let mut by: Option<(Resolving, MessageAuthenticator)> = None;
    while !turn.is_over() {
        let resolving = settings.resolving();
        if by.as_ref().is_none_or(|(known, _)| *known != resolving) {
            by = authenticator(&resolving).map(|authenticator| (resolving, authenticator));
        }
        while under_way.load(Ordering::Relaxed) < limits::VERIFY_AT_ONCE
            && let Some(question) = verifying.next()
        {
            let Some((_, authenticator)) = &by else {
                question.answer(Findings::unknown());
                continue;
            };
            let Some(busy) = Busy::new((&under_way, &clients), asked, question.about().client) else {
                question.answer(Findings::unknown());
                continue;
            };
            let asking = Asking { question, busy };
            tokio::spawn(asking.answer(authenticator.clone()));
        }
        // The wait is no shorter for a bell that rang: it is kept.
        let _ = tokio::time::timeout(limits::VERIFY_ROUND, asked.notified()).await;
    }
}

/// One that is verified, counted while it is.
struct Busy {
    under_way: Arc<AtomicUsize>,
    asked: Arc<Notify>,
    clients: Arc<Clients>,
    client: Client,
}

/// How many each client has under way.
type Clients = Mutex<HashMap<Client, usize>>;

impl Busy {
    /// None: this client has so many that no other would get a turn.
    fn new(
        (under_way, clients): (&Arc<AtomicUsize>, &Arc<Clients>),
        asked: &Arc<Notify>,
        client: IpAddr,
    ) -> Option<Busy> {
        let client = Client::from(client);
        {
            let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
            let theirs = clients.entry(client).or_default();
            if *theirs >= limits::VERIFY_PER_CLIENT {
                return None;
            }
            *theirs += 1;
        }
        under_way.fetch_add(1, Ordering::Relaxed);
        Some(Busy { under_way: under_way.clone(), asked: asked.clone(), clients: clients.clone(), client })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get_mut(&self.client) {
            Some(theirs) if *theirs > 1 => *theirs -= 1,
            _ => _ = clients.remove(&self.client),
        }
        drop(clients);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.asked.notify_one();
    }
}

/// Answered in any case, also when the library panics: nobody then waits for longer than he must.
struct Asking {
    question: Arc<Question>,
    busy: Busy,
}

impl Asking {
    async fn answer(self, authenticator: MessageAuthenticator) {
        let Asking { question, busy } = self;
        let told = question.clone();
        let found = tokio::spawn(async move { find::find(&authenticator, &question).await }).await;
        let found = found.unwrap_or_else(|_| {
            say(
                Level::Error,
                format_args!(
                    "a message could not be verified, by a fault of the relay's; it is taken all the same"
                ),
            );
            Findings::unknown()
        });
        told.answer(found);
        drop(busy);
    }
}

/// What asks these name servers, and nobody else: no hosts file, and no domain of ours is put behind a name.
fn authenticator(by: &Resolving) -> Option<MessageAuthenticator> {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.to_vec())
    };
    let config = ResolverConfig::from_name_servers(by.servers.iter().map(server).collect());
    let mut options = ResolverOpts::default();
    options.timeout = by.timeout;
    options.attempts = by.attempts;
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = limits::VERIFY_CACHE;
    // One of them may be dead: two are asked, and those first that answered best.
    options.num_concurrent_reqs = 2;
    options.server_ordering_strategy = ServerOrderingStrategy::QueryStatistics;
    options.max_active_requests = limits::VERIFY_QUESTIONS;
    options.positive_max_ttl = Some(limits::DNS_TTL_MAX);
    options.negative_max_ttl = Some(limits::DNS_NEGATIVE_TTL_MAX);
    match MessageAuthenticator::new(config, options) {
        Ok(authenticator) => Some(authenticator),
        Err(error) => {
            say(
                Level::Error,
                format_args!("incoming mail cannot be verified: {error}; it is taken all the same"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
