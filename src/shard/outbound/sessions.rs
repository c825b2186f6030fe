//! What sessions with the hosts of domains came to, as far as reports of TLS tell of that (RFC 8460). Counted for each session, never for a message,
//! and only where the node sends such reports.

use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::UnixTime;

use crate::limits;
use crate::policy::dane::Demand;
use crate::policy::sts::Mode;
use crate::policy::tls_rpt::{AppliedPolicy, Failure, ResultType, of_error};
use crate::queue::destinations::known::{domains_at, site_named};
use crate::route::gate::NamedBy;
use crate::route::{Endpoint, Hop, Host, Protocol};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::session::{Connection, Starttls};
use crate::shard::outbound::watch::Watch;

/// How TLS was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// With a certificate that is valid, by whatever is said of the host.
    Verified,
    /// With any.
    Any,
    /// Not at all, as it failed there a moment ago.
    NotAgain,
}

/// A session with this host is to be counted. None: it is not, as it is no host that the DNS names, or nobody sends reports.
pub(super) fn watch<R: Runtime>(shard: &Shard<R>, hop: &Hop, host: &Host) -> Option<Rc<Watch>> {
    let counts = are_counted(shard) && host.named_by == NamedBy::Stranger && hop.protocol == Protocol::Smtp;
    counts.then(Rc::default)
}

fn are_counted<R: Runtime>(shard: &Shard<R>) -> bool {
    shard.live.get().config.tls.reports.is_some()
}

/// What a session came to, before anything else is tried at this address.
pub(super) fn tell<R: Runtime>(
    shard: &Shard<R>,
    (hop, records): (&Hop, Option<&Demand>),
    (host, to): (&Host, &Endpoint),
    (watch, asked): (&Watch, Asked),
    greeted: &Result<Connection<R>, HopError>,
) {
    let came = match greeted {
        Ok(connection) if !connection.tls.is_empty() => Ok(connection),
        Ok(_) if asked == Asked::NotAgain => {
            Err((ResultType::ValidationFailure, "TLS failed there a moment ago".to_owned()))
        }
        Ok(connection) if connection.starttls == Starttls::Refused => {
            Err((ResultType::StarttlsNotSupported, "it refuses STARTTLS".to_owned()))
        }
        Ok(_) => Err((ResultType::StarttlsNotSupported, String::new())),
        Err(HopError::BrokenTls(why) | HopError::BadTls(why)) => {
            Err(watch.flaw(ResultType::ValidationFailure, why))
        }
        // It is about something else.
        Err(_) => return,
    };
    let failure = |(result, reason): (ResultType, String)| Failure {
        result,
        sending: watch.sending(),
        host: host.name.clone(),
        helo: watch.helo(),
        receiving: to.ip(),
        reason,
    };
    let day = shard.runtime.wall().day();
    for domain in domains(shard, hop) {
        let (policy, came) = by_policy(shard, (&domain, host), (records, asked), &came);
        shard.mesh.sessions().count(shard.index, (day, &domain), &policy, came.err().map(failure));
    }
}

/// The records of a host cannot be looked up: it is not connected to.
pub(super) fn tell_unknown<R: Runtime>(shard: &Shard<R>, hop: &Hop, host: &Host, why: &str) {
    if !are_counted(shard) {
        return;
    }
    let policy = AppliedPolicy::of_records(&host.name, &[]);
    let day = shard.runtime.wall().day();
    for domain in domains(shard, hop) {
        let failure = Failure { host: host.name.clone(), ..Failure::new(ResultType::DnssecInvalid, why) };
        shard.mesh.sessions().count(shard.index, (day, &domain), &policy, Some(failure));
    }
}

type Came<T> = Result<T, (ResultType, String)>;

/// What a domain has said of TLS, and what the session came to by that.
fn by_policy<R: Runtime>(
    shard: &Shard<R>,
    (domain, host): (&str, &Host),
    (records, asked): (Option<&Demand>, Asked),
    came: &Came<&Connection<R>>,
) -> (AppliedPolicy, Came<()>) {
    let came = came.clone();
    match records {
        Some(Demand::Verified(records)) => {
            return (AppliedPolicy::of_records(&host.name, records), came.map(|_| ()));
        }
        Some(Demand::Unverified(records)) => {
            let unusable = || (ResultType::TlsaInvalid, "none of the records can be used".to_owned());
            return (AppliedPolicy::of_records(&host.name, records), came.and_then(|_| Err(unusable())));
        }
        None => {}
    }
    let now = shard.runtime.wall();
    let kept = shard.mesh.policies().policy(domain, now).filter(|kept| kept.policy.mode != Mode::None);
    let Some(kept) = kept else { return (AppliedPolicy::none(), came.map(|_| ())) };
    let policy = AppliedPolicy::of_sts(&kept.policy);
    if !kept.policy.names(&host.name) {
        let stranger = (ResultType::ValidationFailure, "the policy does not name this host".to_owned());
        return (policy, Err(stranger));
    }
    // One that is only tried out, or waived, keeps no mail back: what it would have said is found out here.
    let judged = came.and_then(|connection| match asked {
        Asked::Verified => Ok(()),
        Asked::Any | Asked::NotAgain => {
            let live = shard.live.get();
            let Some(verifying) = &live.verifying else { return Ok(()) };
            let at = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
            verifying.judge(connection.wire.certificates(), &host.name, at).map_err(|error| of_error(&error))
        }
    });
    (policy, judged)
}

/// The domains that a session is for: those whose mail waits there, as far as that is known.
fn domains<R: Runtime>(shard: &Shard<R>, hop: &Hop) -> Vec<Rc<str>> {
    let destinations = shard.outbound.destinations.borrow();
    let most = limits::TLS_RPT_DOMAINS_A_SESSION;
    let site = site_named(&destinations, &hop.site);
    let mut found = site.map(|site| domains_at(&destinations, site, most)).unwrap_or_default();
    if found.is_empty() {
        found.push(Rc::from(&*hop.label));
    }
    // Addresses have no records.
    found.retain(|domain| !domain.starts_with('['));
    found
}
