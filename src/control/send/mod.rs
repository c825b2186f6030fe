//! Mail that applications hand in over HTTP, in the shapes of Mailtrap's send API: `[api]`. A thread of its own, `relevo-api`: neither control nor the page
//! waits for it. A message is written here as MIME and handed to a shard, which treats it as it treats mail of a session; 200 means that it is on disk.

mod answers;
mod asked;
mod batch;
mod compose;
mod gate;
mod hand;
mod handlers;
mod keep;
mod keys;
mod once;
mod raw;
mod server;
mod shape;
mod stats;
mod template;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::analytics::Analytics;
use super::decisions::StoreDesk;
use super::health::Health;
use super::reload::Reload;
use super::say::say;
use super::templates::Templates;
use super::thread::{Turn, Worker};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::families::{Family, FamilyInfo};
use crate::runtime::files::Reserve;
use crate::shard::mesh::Mesh;
use crate::time::Instant;

/// What came of messages.
pub(super) const SENT: FamilyInfo = FamilyInfo {
    name: "api_messages",
    help: "Messages handed in over HTTP, by what came of it; refused: by rules, rights or limits for good; deferred: not taken now; invalid: no message could be made of it",
    label: "result",
    values: &["taken", "refused", "deferred", "invalid"],
};

/// What the thread is given.
pub(super) struct Source {
    /// Who may send.
    pub reload: Arc<dyn Reload>,
    /// The way to the shards.
    pub mesh: Arc<Mesh>,
    /// Whether mail is taken at all.
    pub health: Arc<Health>,
    /// What mail is made of that names one.
    pub templates: Arc<Templates>,
    /// What became of mail; None: that is not counted.
    pub analytics: Option<Arc<Analytics>>,
    /// Where keys of requests are kept.
    pub desk: StoreDesk,
    /// The node's name.
    pub hostname: String,
    /// TLS is spoken.
    pub has_tls: bool,
    /// What came of messages.
    pub counts: Arc<Family>,
}

/// Starts it.
pub(super) fn start(
    listener: std::net::TcpListener,
    source: Source,
    reserve: Arc<Reserve>,
) -> io::Result<Worker> {
    Worker::start("relevo-api", move |turn| run(listener, source, reserve, turn))
}

fn run(listener: std::net::TcpListener, source: Source, reserve: Arc<Reserve>, turn: &Turn) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return say(Level::Error, format_args!("api.http cannot be served: {error}")),
    };
    let done = runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let Source { reload, mesh, health, templates, analytics, desk, hostname, has_tls, counts } = source;
        let clock = turn.clock();
        let api = Arc::new(asked::Api {
            reload: reload.clone(),
            gate: gate::Gate::new(move || Instant::default() + clock()),
            hand: hand::Hand::new(mesh, health),
            templates,
            analytics,
            keys: keys::Keys::new(desk),
            hostname,
            memory: Arc::new(Semaphore::new(limits::SEND_MEMORY)),
            counts,
        });
        let router = move |client: IpAddr| handlers::router(api.clone(), client);
        tokio::spawn(server::serve(listener, router, (reload, has_tls, reserve)));
        while !turn.is_over() {
            tokio::time::sleep(limits::CONTROL_ROUND).await;
        }
        Ok::<(), io::Error>(())
    });
    if let Err(error) = done {
        say(Level::Error, format_args!("api.http is served no more: {error}"));
    }
    runtime.shutdown_background();
}
