//! Certificates that an authority gives and renews by itself (ACME, RFC 8555): for all listeners and pages with `acme = true` one, by HTTP-01.
//!
//! A thread of its own, which waits for the authority as long as it likes to be waited for: no mail and no heartbeat does. What is shown stays what it
//! is until there is another, whole and on disk.

mod challenges;
mod https;
mod kept;
mod order;
mod wanted;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use challenges::Challenges;
pub(super) use challenges::router;
pub use wanted::{AcmeSettings, Wanted};

use crate::config::AcmeConfig;
use crate::control::certificates::Showing;
use crate::control::say::say;
use crate::control::thread::Turn;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::families::{Family, FamilyInfo};
use crate::policy::certificate::Certificate;
use crate::runtime::process;
use crate::time::UnixMillis;
use kept::Kept;

/// What came of orders.
pub const ORDERS: FamilyInfo = FamilyInfo {
    name: "acme_orders",
    help: "Certificates that were asked for (ACME), by what came of it",
    label: "result",
    values: &["ok", "failed"],
};

/// What the thread works with.
pub(super) struct Orders {
    pub settings: Arc<dyn AcmeSettings>,
    pub data_dir: PathBuf,
    pub counts: Arc<Family>,
    pub challenges: Arc<Challenges>,
    pub showing: Showing,
}

/// When to ask again after orders that failed.
#[derive(Default)]
struct Patience {
    failed: u32,
    until: Duration,
    /// What was wanted then: something else is asked for at once.
    wanted: Option<(AcmeConfig, String)>,
}

/// Asks when it is time, until it is over.
pub(super) fn run(acme: &Orders, turn: &Turn) {
    let kept = Kept::new(&acme.data_dir);
    let (mut patience, jitter) = (Patience::default(), u64::from_le_bytes(process::random_bytes()));
    while !turn.is_over() {
        if let Some(wanted) = acme.settings.acme() {
            let what = (wanted.config.clone(), wanted.hostname.clone());
            if patience.wanted.as_ref() != Some(&what) {
                patience = Patience { wanted: Some(what), ..Patience::default() };
            }
            let now = process::since_boot();
            if now >= patience.until && is_due(&kept, &wanted, process::wall(), jitter) {
                let ok = renew(acme, &kept, &wanted, turn);
                acme.counts.add(usize::from(!ok), 1);
                let is_good = ok && !is_due(&kept, &wanted, process::wall(), jitter);
                if ok && !is_good {
                    let words = "the certificate that came would have to be renewed at once: is this machine's clock right?";
                    say(Level::Warning, format_args!("{words}"));
                }
                patience.failed = if is_good { 0 } else { patience.failed.saturating_add(1) };
                patience.until = process::since_boot() + wait(patience.failed);
            }
        }
        turn.pause(limits::ACME_ROUND);
    }
}

/// How long after so many failures in a row. An authority that is asked too often answers less.
fn wait(failed: u32) -> Duration {
    match failed.checked_sub(1) {
        None => limits::ACME_PAUSE,
        Some(more) => {
            (limits::ACME_RETRY_FIRST * 4u32.saturating_pow(more.min(8))).min(limits::ACME_RETRY_MAX)
        }
    }
}

/// Whether there is none, or one for other names, or one of whose life a third is left, give or take.
fn is_due(kept: &Kept, wanted: &Wanted, now: UnixMillis, jitter: u64) -> bool {
    let Some(certificate) = kept.certificate() else { return true };
    let names = wanted.config.names(&wanted.hostname);
    names.iter().any(|name| !certificate.names.iter().any(|has| has.eq_ignore_ascii_case(name)))
        || now.0 / 1000 >= renewal(&certificate, jitter)
}

/// When it is renewed, in seconds since 1970: many nodes that began on one day do not ask on one day. It is never later than with a third left.
fn renewal(certificate: &Certificate, jitter: u64) -> u64 {
    let life = certificate.not_after.saturating_sub(certificate.not_before);
    let earlier = jitter % (life / limits::ACME_JITTER_PART).max(1);
    certificate.not_after - life / 3 - earlier
}

/// One order. Whether there is another certificate.
fn renew(acme: &Orders, kept: &Kept, wanted: &Wanted, turn: &Turn) -> bool {
    let names = wanted.config.names(&wanted.hostname);
    let what = names.join(", ");
    let done = ask(acme, kept, wanted, turn).and_then(|(chain, key)| {
        let text = format!("{chain}\n{key}");
        let key = kept::certified(text.as_bytes())?;
        kept.write(text.as_bytes()).map_err(|error| format!("{}: {error}", kept.file().display()))?;
        Ok(key)
    });
    match done {
        Ok(key) => {
            let certificate = Certificate::of(&key.cert);
            acme.showing.renewed(&kept.file().display().to_string(), &key.cert);
            wanted.renewed.show(key);
            let days = certificate.map_or(0, |certificate| certificate.days_left(process::wall()));
            say(
                Level::Info,
                format_args!(
                    "a certificate for {what} came from {}: it holds for {days} days",
                    wanted.config.directory
                ),
            );
            true
        }
        Err(_) if turn.is_over() => false,
        Err(why) => {
            let level = Level::Warning;
            say(
                level,
                format_args!(
                    "no certificate for {what} comes from {}: {why}; it is asked for again, and what is shown stays",
                    wanted.config.directory
                ),
            );
            false
        }
    }
}

/// Chain and key, as PEM.
fn ask(acme: &Orders, kept: &Kept, wanted: &Wanted, turn: &Turn) -> Result<(String, String), String> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let runtime = built.map_err(|error| error.to_string())?;
    let asked = runtime.block_on(async {
        let answering = challenges::answer(&wanted.config.http, &acme.challenges);
        let mut order = pin!(order::order(kept, wanted, &acme.challenges));
        let until = process::since_boot() + limits::ACME_ORDER_TIME;
        let asked = loop {
            match tokio::time::timeout(limits::CONTROL_ROUND, &mut order).await {
                Ok(asked) => break asked,
                Err(_) if turn.is_over() => break Err("the relay stops".to_owned()),
                Err(_) if process::since_boot() >= until => {
                    break Err("the authority takes too long".to_owned());
                }
                Err(_) => {}
            }
        };
        // Why nobody could ask us is the better reason.
        asked.map_err(|why| answering.problem().map_or(why.clone(), |problem| format!("{why}; {problem}")))
    });
    acme.challenges.clear();
    runtime.shutdown_background();
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_its_life_is_left_when_it_is_renewed() {
        let of = |from: u64, life: u64| Certificate {
            not_before: from,
            not_after: from + life,
            names: Vec::new(),
            chained: true,
        };
        let day = 86_400;
        for jitter in [0, 1, day, u64::MAX] {
            let at = renewal(&of(1000 * day, 90 * day), jitter);
            assert!((1056 * day..=1060 * day).contains(&at), "{jitter}: {}", at / day);
        }
        assert_eq!(renewal(&of(0, 3), 7), 2, "one that hardly lives has no jitter");
        assert_eq!(renewal(&of(5, 0), u64::MAX), 5);
    }

    #[test]
    fn who_is_refused_asks_less_and_less() {
        let waits: Vec<_> = (0..20).map(wait).collect();
        assert!(waits[1..].is_sorted());
        assert_eq!((waits[1], waits[2]), (limits::ACME_RETRY_FIRST, 4 * limits::ACME_RETRY_FIRST));
        assert_eq!(waits[19], limits::ACME_RETRY_MAX);
        assert_eq!(wait(u32::MAX), limits::ACME_RETRY_MAX);
    }
}
