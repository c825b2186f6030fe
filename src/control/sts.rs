//! Fetches the policies of domains (MTA-STS, RFC 8461 section 3.3) for the shards, and keeps them in `node.data_dir`.
//!
//! A few at one time, each on a thread of its own for as long as its web server takes, within a bound. One that fails leaves what is kept.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

use crate::control::say::say;
use crate::control::thread::Turn;
use crate::limits;
use crate::mail::address;
use crate::observe::diagnostics::Level;
use crate::observe::families::{Family, FamilyInfo};
use crate::policy::sts::response::{self, Response};
use crate::policy::sts::{KeptPolicy, Policy};
use crate::policy::tls_rpt::{AppliedPolicy, Failure, ResultType};
use crate::policy::{tls, trust};
use crate::runtime::exchange::https;
use crate::runtime::{files, process};
use crate::shard::mesh::Mesh;
use crate::shard::sts::WantedPolicy;
use crate::spool::layout;

/// What came of fetches.
pub const FETCHES: FamilyInfo = FamilyInfo {
    name: "mta_sts_fetches",
    help: "Policies of domains (MTA-STS) that were fetched, by what came of it",
    label: "result",
    values: &["ok", "failed"],
};

/// Finds the addresses of a host; an error says why there are none.
pub type FindAddresses = dyn Fn(&str) -> Result<Vec<SocketAddr>, String> + Send;

/// What is in force, for one fetch.
pub struct Fetching {
    /// Where policies are fetched from.
    pub port: u16,
    /// The addresses of a host that may be connected to.
    pub addresses: Box<FindAddresses>,
    /// TLS to a host that has proven who it is.
    pub tls: Option<tls::Client>,
    /// Domains are told of what fails (RFC 8460).
    pub reports: bool,
}

/// Whoever knows that.
pub trait FetchSettings: Send + Sync {
    /// As it is now.
    fn fetching(&self) -> Fetching;
}

/// Where the policies are kept.
struct Kept(PathBuf);

/// Fetches until it is over.
pub(super) fn run(
    mesh: &Arc<Mesh>,
    settings: &Arc<dyn FetchSettings>,
    (data_dir, counts): (&Path, &Family),
    turn: &Turn,
) {
    let kept = Kept(layout::policies_directory(data_dir));
    for (domain, policy) in kept.read() {
        mesh.policies().restore(&domain, policy, process::wall());
    }
    mesh.policies().serve();
    let (tell, told) = channel();
    let (mut under_way, mut waiting) = (0, VecDeque::new());
    while !turn.is_over() {
        finish(mesh, &kept, (&told, counts), &mut under_way);
        waiting.extend(std::iter::from_fn(|| mesh.policies().next()).take(limits::STS_WANTED_MAX));
        while under_way < limits::STS_FETCHES_MAX
            && let Some(wanted) = waiting.pop_front()
        {
            under_way += usize::from(begin(mesh, settings, wanted, &tell));
        }
        turn.pause(limits::STS_ROUND);
    }
}

/// Why there is no policy: what domains are told of that, and words.
type NoPolicy = (ResultType, String);
type Fetched = (WantedPolicy, Result<Policy, NoPolicy>);

/// Takes what was fetched.
fn finish(mesh: &Mesh, kept: &Kept, (told, counts): (&Receiver<Fetched>, &Family), under_way: &mut usize) {
    while let Ok((wanted, result)) = told.try_recv() {
        *under_way -= 1;
        let now = process::wall();
        counts.add(usize::from(result.is_err()), 1);
        let policy = result.map(|policy| KeptPolicy { policy, id: wanted.id.clone(), fetched: now });
        match &policy {
            Ok(policy) => kept.write(&wanted.domain, policy),
            Err((_, why)) => {
                let (domain, known) = (&wanted.domain, mesh.policies().policy(&wanted.domain, now).is_some());
                // Where none is known mail goes on as if there were none.
                if known {
                    let words = format_args!(
                        "the MTA-STS policy of {domain} cannot be fetched again: {why}; the one that is known holds"
                    );
                    say(Level::Warning, words);
                }
            }
        }
        mesh.policies().fetched(&wanted.domain, policy.ok(), now);
    }
}

/// On a thread of its own. False: there is none.
fn begin(
    mesh: &Arc<Mesh>,
    settings: &Arc<dyn FetchSettings>,
    wanted: WantedPolicy,
    tell: &Sender<Fetched>,
) -> bool {
    let (settings, tell, of) = (settings.clone(), tell.clone(), wanted.clone());
    let own = mesh.clone();
    let spawned = Builder::new().name("relevo-fetch".into()).spawn(move || {
        process::stand_back();
        let fetching = settings.fetching();
        let result = fetch(&fetching, &of.domain);
        if let (Err((result, why)), true) = (&result, fetching.reports) {
            // RFC 8460 section 4.3.2.2: it counts as a session that failed.
            let (day, policy) = (process::wall().day(), AppliedPolicy::unknown_sts());
            own.sessions().count(0, (day, &of.domain), &policy, Some(Failure::new(*result, why)));
        }
        let _ = tell.send((of, result));
    });
    if spawned.is_err() {
        mesh.policies().fetched(&wanted.domain, None, process::wall());
    }
    spawned.is_ok()
}

/// RFC 8461 section 3.3.
fn fetch(settings: &Fetching, domain: &str) -> Result<Policy, NoPolicy> {
    let unfetched = |why: String| (ResultType::StsPolicyFetchError, why);
    let until = process::since_boot() + limits::STS_FETCH_TIME;
    let host = format!("mta-sts.{domain}");
    let tls =
        settings.tls.as_ref().ok_or_else(|| unfetched("this machine trusts no authority".to_owned()))?;
    let request = response::request(&host, "/.well-known/mta-sts.txt");
    let mut last = unfetched(format!("{host} has no address"));
    let addresses = (settings.addresses)(&host).map_err(unfetched)?;
    for address in addresses.into_iter().take(limits::STS_ADDRESSES_MAX) {
        let connection = tls.waiting(&host).map_err(|error| unfetched(error.to_string()))?;
        let (mut response, mut found) = (Response::default(), None);
        let asked = https::request(address, connection, request.as_bytes(), until, |bytes| {
            found = response.take(bytes).transpose();
            found.is_some()
        });
        match asked {
            Ok(()) => {
                let body = found.unwrap_or_else(|| response.end());
                let body = body.map_err(|error| unfetched(format!("{host}: {error}")))?;
                return Policy::parse(&body)
                    .map_err(|error| (ResultType::StsPolicyInvalid, error.to_string()));
            }
            Err(error) => {
                let (result, words) = words(&error);
                last = (result, format!("{host} [{address}]: {words}"));
            }
        }
    }
    Err(last)
}

/// Of an error of TLS what is wrong with a certificate.
fn words(error: &std::io::Error) -> NoPolicy {
    let flaw = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).and_then(trust::flaw);
    match flaw {
        Some(flaw) => (ResultType::StsWebpkiInvalid, format!("the certificate {flaw}")),
        None => (ResultType::StsPolicyFetchError, error.to_string()),
    }
}

impl Kept {
    /// Those that can be read, at most so many as are known at one time.
    fn read(&self) -> Vec<(String, KeptPolicy)> {
        let names = files::list(&self.0).unwrap_or_default();
        let read = |name: String| {
            let bytes = files::read_whole(&self.0.join(&name), limits::STS_FILE_MAX).ok()?;
            let policy = KeptPolicy::read(&bytes);
            if policy.as_ref().is_none_or(|policy| !policy.holds(process::wall())) {
                // Only what is named as one of ours.
                if address::is_domain(name.as_bytes()) {
                    let _ = std::fs::remove_file(self.0.join(&name));
                }
                return None;
            }
            Some((name, policy?))
        };
        names.into_iter().filter_map(read).take(limits::STS_POLICIES_MAX).collect()
    }

    /// Under another name first: a file is whole, or not there. What cannot be written is fetched again after a restart.
    fn write(&self, domain: &str, policy: &KeptPolicy) {
        if !address::is_domain(domain.as_bytes()) {
            return;
        }
        let (path, new) = (self.0.join(domain), self.0.join(NEW));
        let write = || {
            files::make_directories(&self.0)?;
            let _ = std::fs::remove_file(&new);
            files::make_new_file(&new)?.write_all(policy.write().as_bytes())?;
            std::fs::rename(&new, &path)
        };
        if let Err(error) = write() {
            let path = path.display();
            say(
                Level::Warning,
                format_args!("{path}: {error}; this policy is fetched again after a restart"),
            );
        }
    }
}

/// No domain is called so.
const NEW: &str = ".new";
