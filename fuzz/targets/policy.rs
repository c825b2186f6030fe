//! What web servers and name servers say of a domain's policy (MTA-STS), and the file that it is kept in.

use std::time::Duration;

use relevo::limits;
use relevo::policy::sts::response::Response;
use relevo::policy::sts::{self, KeptPolicy, Policy};
use relevo::time::UnixMillis;

use super::input::{Input, splits};

/// An answer means the same wherever it is cut and keeps its bounds; a policy names hosts only, and is kept as what it is.
pub fn policy(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte() % 3;
    let choices = input.take(8);
    match kind {
        0 => answer(input.0, choices),
        1 => kept(input.0),
        _ => {
            let texts: Vec<Vec<u8>> = input.0.split(|byte| *byte == 0).map(<[u8]>::to_vec).take(16).collect();
            if let Some(id) = sts::record_id(&texts) {
                assert!(sts::is_id(&id));
            }
        }
    }
    if let Ok(policy) = Policy::parse(input.0) {
        assert_policy(policy);
    }
}

fn answer(bytes: &[u8], choices: &[u8]) {
    let mut first = None;
    for pieces in splits(bytes, choices) {
        let mut response = Response::default();
        let mut seen = Ok(None);
        for piece in pieces {
            seen = response.take(piece);
            if seen != Ok(None) {
                break;
            }
        }
        if seen == Ok(None) {
            seen = response.end().map(Some);
        }
        if let Ok(Some(body)) = &seen {
            assert!(body.len() <= limits::STS_POLICY_MAX);
        }
        // Where nothing is too long.
        if bytes.len() <= limits::STS_HEAD_MAX {
            let seen = seen.map_err(|error| error.to_string());
            assert_eq!(*first.get_or_insert_with(|| seen.clone()), seen);
        }
    }
}

fn assert_policy(policy: Policy) {
    assert!(policy.hosts.len() <= limits::STS_HOSTS_MAX && policy.max_age <= limits::STS_AGE_MAX);
    for host in &policy.hosts {
        let name = host.strip_prefix("*.").unwrap_or(host);
        assert!(relevo::mail::address::is_domain(name.as_bytes()) && **host == *host.to_ascii_lowercase());
        let is_wild = name.len() < host.len();
        assert!(policy.names(&format!("a.{name}")) || !is_wild, "a wildcard stands for a label");
        if policy.hosts.len() == 1 {
            assert_eq!(policy.names(name), !is_wild);
            assert!(!policy.names(&format!("a.b.{name}")), "and for no more than one");
        }
    }
    let kept = KeptPolicy { policy, id: "20261130".into(), fetched: UnixMillis(1_796_014_800_000) };
    assert_eq!(KeptPolicy::read(kept.write().as_bytes()), Some(kept.clone()));
    assert!(kept.policy.max_age == Duration::ZERO || kept.holds(kept.fetched));
}

fn kept(bytes: &[u8]) {
    if let Some(kept) = KeptPolicy::read(bytes) {
        assert_eq!(KeptPolicy::read(kept.write().as_bytes()), Some(kept));
    }
}
