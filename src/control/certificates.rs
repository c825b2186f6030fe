//! The certificates that listeners show: what is doubtful about them is said at the start and once a day, and how long they hold is a metric.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::control::health::Health;
use crate::control::notices::Concern;
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::certificate::Certificate;
use crate::time::UnixMillis;

/// One that was read at the start or by a reload. What lies in its file now is not looked at: it is not what clients are shown.
#[derive(Clone, Debug)]
pub struct ShownCertificate {
    /// The file it was in.
    pub file: String,
    /// What it says.
    pub certificate: Certificate,
    /// Whether it is for `host`.
    pub for_host: bool,
    /// The name of this relay.
    pub host: String,
}

/// Those that are shown now, one for each file.
#[derive(Clone, Debug, Default)]
pub struct Showing(Arc<Mutex<Arc<[ShownCertificate]>>>);

impl Showing {
    /// These.
    pub fn new(all: Vec<ShownCertificate>) -> Showing {
        Showing(Arc::new(Mutex::new(all.into())))
    }

    /// Others.
    pub fn replace(&self, all: Vec<ShownCertificate>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all.into();
    }

    /// The chain of this file is another now.
    pub(super) fn renewed(&self, file: &str, chain: &[CertificateDer<'_>]) {
        let Some(certificate) = Certificate::of(chain) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let another = |shown: &ShownCertificate| {
            let for_host = Certificate::is_for(chain, &shown.host);
            ShownCertificate { certificate: certificate.clone(), for_host, ..shown.clone() }
        };
        *all =
            all.iter().map(|shown| if shown.file == file { another(shown) } else { shown.clone() }).collect();
    }

    /// Which they are.
    pub(super) fn get(&self) -> Arc<[ShownCertificate]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When they were last told about.
pub(super) struct Certificates {
    all: Showing,
    health: Arc<Health>,
    next: Duration,
}

impl Certificates {
    pub(super) fn new(all: Showing, health: Arc<Health>) -> Certificates {
        Certificates { all, health, next: Duration::ZERO }
    }

    /// One look, at this time of control's clock.
    pub(super) fn look(&mut self, clock: Duration, now: UnixMillis) {
        let words = self.words(now);
        if clock >= self.next {
            self.next = clock + limits::CERTIFICATE_SAID;
            words.iter().for_each(|words| say(Level::Warning, format_args!("{words}")));
        }
        self.health.notices.stand(Concern::Certificates, words);
    }

    fn words(&self, now: UnixMillis) -> Vec<String> {
        let all = self.all.get();
        let all = all.iter().flat_map(|shown| {
            let doubts = shown.certificate.doubts(shown.for_host, &shown.host, now);
            doubts.into_iter().map(|(problem, fix)| {
                format!("{}: {problem}; {fix}, and reload: it is read then", shown.file)
            })
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::diagnostics::said_of;

    #[test]
    fn doubts_are_said_at_the_start_and_daily() {
        const DAY: u64 = 86_400;
        let certificate =
            Certificate { not_before: 0, not_after: 1020 * DAY, names: Vec::new(), chained: true };
        let shown =
            ShownCertificate { file: "daily.pem".into(), certificate, for_host: true, host: "a".into() };
        let health = Arc::<Health>::default();
        let mut all = Certificates::new(Showing::new(vec![shown]), health.clone());
        let at = |day: u64| UnixMillis(day * DAY * 1000);
        let mut said = |seconds: u64, day: u64| {
            let before = said_of("daily.pem").len();
            all.look(Duration::from_secs(seconds), at(day));
            said_of("daily.pem").split_off(before)
        };
        assert_eq!(said(0, 1000), Vec::<String>::new());
        assert_eq!(said(DAY - 1, 1010), Vec::<String>::new(), "not yet");
        assert!(said(DAY, 1010)[0].contains("in 10 days"));
        assert!(said(2 * DAY, 1022)[0].contains("EXPIRED"));
        assert_eq!(said(2 * DAY + 5, 1022), Vec::<String>::new());
        assert!(health.notices.standing()[0].contains("EXPIRED"), "whoever looks sees it");
    }
}
