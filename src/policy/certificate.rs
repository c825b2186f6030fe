//! What a certificate of ours says about itself: how long it holds, and for which names.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::limits;
use crate::time::UnixMillis;

/// A time, in seconds, at which every certificate has ended.
const NEVER: u64 = 1 << 40;

/// The first certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Seconds since 1970 from which it holds.
    pub not_before: u64,
    /// Seconds since 1970 until which it holds.
    pub not_after: u64,
    /// The names in it.
    pub names: Vec<String>,
    /// Whether the next certificate of the chain is that of its issuer; true where there is none.
    pub chained: bool,
}

impl Certificate {
    /// Reads a chain, the host's own certificate first. None: it cannot be read, or has no such times.
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Certificate> {
        let first = EndEntityCert::try_from(chain.first()?).ok()?;
        // The times are looked at before anything else, and told where they do not fit: so they are asked for at both ends of time.
        let at = |seconds: u64| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            first.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
        };
        let not_after = match at(NEVER) {
            Some(Error::CertExpired { not_after, .. }) => not_after.as_secs(),
            _ => return None,
        };
        let not_before = match at(0) {
            Some(Error::CertNotValidYet { not_before, .. }) => not_before.as_secs(),
            _ => 0,
        };
        let issuer = chain
            .get(1)
            .and_then(|second| EndEntityCert::try_from(second).ok().map(|it| it.subject().to_vec()));
        let chained = issuer.is_none_or(|subject| subject == first.issuer());
        let names = first.valid_dns_names().map(str::to_owned).collect();
        Some(Certificate { not_before, not_after, names, chained })
    }

    /// Whole days it still holds; negative where it has ended.
    pub fn days_left(&self, now: UnixMillis) -> i64 {
        let (until, now) = (self.not_after.min(NEVER) as i64, (now.0 / 1000).min(NEVER) as i64);
        (until - now).div_euclid(86_400)
    }

    /// What is doubtful about it at a time, each with what to do.
    pub fn doubts(&self, for_host: bool, host: &str, now: UnixMillis) -> Vec<(String, &'static str)> {
        let mut doubts = Vec::new();
        let seconds = now.0 / 1000;
        let days = |seconds: u64| match seconds / 86_400 {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let (from, until) = (self.not_before, self.not_after);
        if until < seconds {
            let problem = format!(
                "EXPIRED on {}, {} ago: clients that verify it refuse STARTTLS",
                day(until),
                days(seconds - until)
            );
            doubts.push((problem, "renew it now"));
        } else if until - seconds < limits::CERTIFICATE_SOON.as_secs() {
            doubts.push((
                format!("expires on {}, in {}", day(until), days(until - seconds)),
                "renew it, and see why that was not done by itself",
            ));
        }
        if from > seconds {
            doubts.push((
                format!("does not hold before {}", day(from)),
                "set this machine's clock, or use the earlier certificate until then",
            ));
        }
        if !for_host {
            let names = match &self.names[..] {
                [] => "no host name".to_owned(),
                names => names.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
            };
            let problem = format!(
                "is for {names}, not for {host} (node.hostname): clients that verify it refuse STARTTLS"
            );
            doubts.push((
                problem,
                "get one with that name, or set node.hostname to the name clients connect to",
            ));
        }
        if !self.chained {
            let problem =
                "the second certificate in it did not issue the first: clients cannot build the chain"
                    .to_owned();
            doubts.push((problem, "put the host's certificate first, its issuer's second, and so on"));
        }
        doubts
    }

    /// Whether it is for this host, wildcards included (RFC 6125).
    pub fn is_for(chain: &[CertificateDer<'_>], host: &str) -> bool {
        let name = ServerName::try_from(host.to_owned());
        let first = chain.first().and_then(|first| EndEntityCert::try_from(first).ok());
        match (first, name) {
            (Some(first), Ok(name)) => first.verify_is_valid_for_subject_name(&name).is_ok(),
            _ => false,
        }
    }
}

/// The day of a time, in seconds since 1970, as `2026-11-23`.
pub(super) fn day(seconds: u64) -> String {
    let mut out = Vec::new();
    UnixMillis(seconds.min(253_402_300_799) * 1000).write_iso(&mut out);
    String::from_utf8_lossy(out.get(..10).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of a new key that holds for some days of the 21st century.
    fn certificate(
        name: &str,
        from: (i32, u8, u8),
        to: (i32, u8, u8),
        authority: bool,
    ) -> CertificateDer<'static> {
        let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        parameters.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        if authority {
            // As `openssl req -x509` makes them.
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn times_and_names() {
        for authority in [false, true] {
            let chain = [certificate("*.example.net", (2024, 1, 1), (2024, 12, 31), authority)];
            let found = Certificate::of(&chain).unwrap();
            assert_eq!((found.not_before, found.not_after), (1_704_067_200, 1_735_603_200));
            assert_eq!((found.names, found.chained), (vec!["*.example.net".to_owned()], true));
            assert!(
                Certificate::is_for(&chain, "relay.example.net")
                    && !Certificate::is_for(&chain, "example.net")
            );
        }
        let stranger = certificate("other", (2024, 1, 1), (2024, 12, 31), true);
        let mut parameters = rcgen::CertificateParams::new(vec!["b".to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "b");
        let first = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone();
        assert!(!Certificate::of(&[first, stranger]).unwrap().chained);
        assert_eq!(Certificate::of(&[]), None);
        assert_eq!(Certificate::of(&[CertificateDer::from(vec![1, 2, 3])]), None);
    }
}
