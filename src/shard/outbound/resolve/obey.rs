//! What a recipient's domain asks of TLS, and what the sender of a message does, as far as that says which hosts it may go to.

use super::sts;
use super::unroutable::{Unroutable, never};
use crate::mail::envelope::TlsWish;
use crate::policy::sts::{KeptPolicy, Mode};
use crate::route::Hop;

/// Leaves the hosts that may have it. `certified`: hosts of which the DNS says what certificate they have. A sender who requires TLS has the domain's own
/// hosts: else nobody knows whether these are (RFC 8689 section 4.2.1). `authentic`: the MX is, by DNSSEC, or the host is the domain itself; `settled`:
/// it is known that the domain has no other policy than this.
pub(super) fn obey(
    mut hop: Hop,
    (domain, wish): (&str, TlsWish),
    (kept, certified): (Option<&KeptPolicy>, &[String]),
    (mut authentic, settled): (bool, bool),
) -> Result<Hop, Unroutable> {
    let required = wish == TlsWish::Required;
    // One that is only tried out names the domain's hosts as well.
    let names = |mode| mode == Mode::Enforce || (required && mode == Mode::Testing);
    if let Some(kept) = kept.filter(|kept| names(kept.policy.mode)) {
        hop = sts::obey(hop, &kept.policy, certified)?;
        authentic = true;
    }
    if !certified.is_empty() {
        hop.obey_records();
    }
    if required && !authentic {
        let text = format!(
            "the message requires TLS (REQUIRETLS), and nothing says for sure which hosts are those of {domain}: neither DNSSEC nor an MTA-STS policy"
        );
        return Err(match settled || kept.is_some() {
            true => never((7, 30), text),
            false => {
                let text = format!("{text}; whether it has one cannot be said now");
                Unroutable { permanent: false, status: (4, 7, 30), text, loops: false }
            }
        });
    }
    Ok(hop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sts::Policy;
    use crate::route::order_mx;
    use crate::time::UnixMillis;

    fn kept(mode: &str, host: &str) -> KeptPolicy {
        let text = format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n");
        let policy = Policy::parse(text.as_bytes()).expect("a policy");
        KeptPolicy { policy, id: "1".into(), fetched: UnixMillis(0) }
    }

    #[test]
    fn a_sender_who_requires_tls_has_the_hosts_of_the_domain_or_none() {
        let answers = [(1, "mx.a.example".to_owned())];
        let told = |wish, kept: Option<&KeptPolicy>, certified: &[String], (authentic, settled)| {
            let hop = order_mx("a.example", &answers, "relay.example", (25, 0)).expect("a hop");
            match obey(hop, ("a.example", wish), (kept, certified), (authentic, settled)) {
                Ok(hop) => Ok((hop.by_policy, hop.by_records)),
                Err(why) => Err((why.permanent, why.status)),
            }
        };
        let status = |wish, kept: Option<&KeptPolicy>, certified: &[String], authentic| {
            told(wish, kept, certified, (authentic, true))
        };
        let (enforced, tested) = (kept("enforce", "mx.a.example"), kept("testing", "mx.a.example"));
        let (none, other) = (kept("none", "mx.a.example"), kept("testing", "mx.b.example"));
        let certified = ["mx.a.example".to_owned()];
        let (usual, required) = (TlsWish::Usual, TlsWish::Required);
        assert_eq!(status(usual, None, &[], false), Ok((false, false)));
        assert_eq!(status(usual, Some(&enforced), &[], false), Ok((true, false)));
        assert_eq!(status(usual, Some(&tested), &[], false), Ok((false, false)));
        assert_eq!(status(usual, Some(&other), &[], false), Ok((false, false)), "it is only tried out");
        let unknown = Err((true, (5, 7, 30)));
        assert_eq!(status(required, None, &[], false), unknown);
        let waits = Err((false, (4, 7, 30)));
        assert_eq!(told(required, None, &[], (false, false)), waits, "nobody can say now");
        assert_eq!(told(required, None, &[], (true, false)), Ok((false, false)));
        assert_eq!(status(required, Some(&none), &[], false), unknown);
        assert_eq!(status(required, None, &[], true), Ok((false, false)));
        assert_eq!(status(required, None, &certified, true), Ok((false, true)));
        assert_eq!(status(required, Some(&tested), &[], false), Ok((true, false)));
        assert_eq!(status(required, Some(&other), &[], false), Err((false, (4, 7, 5))));
    }
}
