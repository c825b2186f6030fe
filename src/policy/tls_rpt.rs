//! Reports of TLS (RFC 8460): what sessions with the hosts of a domain came to, counted by day and by the policy that was followed. Pure: shards
//! count (`shard::outbound::sessions`), control keeps and sends (`control::tls_rpt`).

pub mod gzip;
pub mod record;
pub mod report;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::dns::TlsAssociation;
use crate::limits;
use crate::policy::sts::Policy;
use crate::policy::{dane, trust};

/// What went wrong (RFC 8460 section 4.3), in its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// The host offers no STARTTLS, or refuses it.
    StarttlsNotSupported,
    /// Its certificate is for others.
    CertificateHostMismatch,
    /// It has expired.
    CertificateExpired,
    /// Nobody that is trusted issued it.
    CertificateNotTrusted,
    /// Anything else.
    ValidationFailure,
    /// No TLSA record fits, or none can be used.
    TlsaInvalid,
    /// They cannot be looked up with DNSSEC.
    DnssecInvalid,
    /// There are none, and the sender wants some: this relay never does.
    DaneRequired,
    /// The policy cannot be fetched.
    StsPolicyFetchError,
    /// It is none.
    StsPolicyInvalid,
    /// Its web server has no certificate that is trusted.
    StsWebpkiInvalid,
}

/// What was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// MTA-STS
    Sts,
    /// DANE
    Tlsa,
    /// Neither.
    NoPolicyFound,
}

/// A policy as a report has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedPolicy {
    /// Of which kind it is.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// Its lines; the records of DANE.
    #[serde(rename = "string", default)]
    pub lines: Vec<String>,
    /// Hosts that it names.
    #[serde(rename = "hosts", default)]
    pub hosts: Vec<String>,
}

impl AppliedPolicy {
    /// There is none.
    pub fn none() -> AppliedPolicy {
        AppliedPolicy { kind: PolicyType::NoPolicyFound, lines: Vec::new(), hosts: Vec::new() }
    }

    /// One of MTA-STS that cannot be had.
    pub fn unknown_sts() -> AppliedPolicy {
        AppliedPolicy { kind: PolicyType::Sts, ..AppliedPolicy::none() }
    }

    /// One of MTA-STS (RFC 8460 section 4.4: its lines).
    pub fn of_sts(policy: &Policy) -> AppliedPolicy {
        let Policy { mode, hosts, max_age } = policy;
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", mode.word())];
        lines.extend(hosts.iter().map(|host| format!("mx: {host}")));
        lines.push(format!("max_age: {}", max_age.as_secs()));
        let hosts = hosts.iter().map(|host| host.to_string()).collect();
        AppliedPolicy { kind: PolicyType::Sts, lines, hosts }
    }

    /// Bytes in memory.
    fn held(&self) -> usize {
        limits::TLS_RPT_OVERHEAD + self.lines.iter().chain(&self.hosts).map(String::len).sum::<usize>()
    }

    /// The TLSA records of a host (RFC 6698 section 2.2: as zone files have them). None are known where they cannot be looked up.
    pub fn of_records(host: &str, records: &[TlsAssociation]) -> AppliedPolicy {
        let line = |record: &TlsAssociation| {
            let data: String = record.data.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut line = format!("{} {} {} {data}", record.usage, record.selector, record.matching);
            line.truncate(limits::TLS_RPT_LINE_MAX);
            line
        };
        let mut lines: Vec<String> = records.iter().take(limits::TLS_RPT_POLICY_LINES).map(line).collect();
        // The DNS gives them in any order.
        lines.sort_unstable();
        AppliedPolicy { kind: PolicyType::Tlsa, lines, hosts: vec![host.to_owned()] }
    }
}

/// A kind of failure; those that are alike are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub result: ResultType,
    /// By which address of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<IpAddr>,
    /// The host; empty: none was connected to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub helo: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving: Option<IpAddr>,
    /// In words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Failure {
    /// Of this kind, where no host was connected to.
    pub fn new(result: ResultType, reason: &str) -> Failure {
        let reason = plain(reason);
        Failure { result, sending: None, host: String::new(), helo: String::new(), receiving: None, reason }
    }

    fn held(&self) -> usize {
        limits::TLS_RPT_OVERHEAD + self.host.len() + self.helo.len() + self.reason.len()
    }
}

/// What an error of TLS is about.
pub fn of_error(error: &rustls::Error) -> (ResultType, String) {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext};
    let result = match error {
        error if dane::is_mismatch(error) => ResultType::TlsaInvalid,
        rustls::Error::InvalidCertificate(flaw) => match flaw {
            Expired | ExpiredContext { .. } => ResultType::CertificateExpired,
            NotValidForName | NotValidForNameContext { .. } => ResultType::CertificateHostMismatch,
            // Not yet valid, of an unknown authority, one that may not issue it, and so on.
            _ => ResultType::CertificateNotTrusted,
        },
        _ => ResultType::ValidationFailure,
    };
    let flaw = dane::flaw(error).or_else(|| trust::flaw(error));
    (result, plain(&flaw.map_or_else(|| error.to_string(), |flaw| format!("the certificate {flaw}"))))
}

/// Words that others chose in part: so many bytes of printable ASCII.
pub fn plain(words: &str) -> String {
    let plain = words.chars().map(|letter| if matches!(letter, ' '..='~') { letter } else { '?' });
    plain.take(limits::TLS_RPT_REASON_MAX).collect()
}

/// What came of sessions under one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCount {
    /// The policy.
    pub policy: AppliedPolicy,
    /// Sessions that were as it wants them.
    pub successful: u64,
    /// Those that were not.
    pub failed: u64,
    /// The same by what was wrong, as far as there is room.
    pub failures: BTreeMap<Failure, u64>,
}

impl PolicyCount {
    fn new(policy: AppliedPolicy) -> PolicyCount {
        PolicyCount { policy, successful: 0, failed: 0, failures: BTreeMap::new() }
    }

    /// So many failed in this way, which is told apart if there is room. Returns the bytes that took.
    fn fail(&mut self, failure: Failure, count: u64, has_room: bool) -> usize {
        self.failed = self.failed.saturating_add(count);
        let has_room = has_room && self.failures.len() < limits::TLS_RPT_FAILURES_A_POLICY;
        if let Some(known) = self.failures.get_mut(&failure) {
            *known = known.saturating_add(count);
        } else if has_room {
            let held = failure.held();
            self.failures.insert(failure, count);
            return held;
        }
        0
    }

    fn held(&self) -> usize {
        self.policy.held() + self.failures.keys().map(Failure::held).sum::<usize>()
    }
}

/// The domains of a day.
pub type Day = BTreeMap<Box<str>, Vec<PolicyCount>>;

/// What was counted, by day (days since 1970) and domain. Bounded: what finds no room is counted as that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    days: BTreeMap<u32, Day>,
    entries: usize,
    /// Bytes of their texts, about.
    held: usize,
    /// Sessions that found no room.
    pub left_out: u64,
}

impl Tally {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.days.is_empty() && self.left_out == 0
    }

    /// The days, and what they have.
    pub fn days(&self) -> impl Iterator<Item = (u32, &Day)> {
        self.days.iter().map(|(day, domains)| (*day, domains))
    }

    /// That of a day.
    pub fn day(&self, day: u32) -> Option<&Day> {
        self.days.get(&day)
    }

    /// A day is over and told.
    pub fn forget(&mut self, day: u32) {
        let domains = self.days.remove(&day).unwrap_or_default();
        self.entries -= domains.values().map(Vec::len).sum::<usize>();
        self.held -= domains.values().flatten().map(PolicyCount::held).sum::<usize>();
    }

    fn has_room(&self, most: usize) -> bool {
        self.held < most.saturating_mul(limits::TLS_RPT_ENTRY_BYTES)
    }

    /// A session with a host of a domain, where there are at most so many entries.
    pub fn count(
        &mut self,
        (day, domain): (u32, &str),
        policy: &AppliedPolicy,
        failure: Option<Failure>,
        most: usize,
    ) {
        let has_room = self.has_room(most);
        match (self.entry((day, domain), policy, most), failure) {
            (None, _) => self.left_out += 1,
            (Some(count), None) => count.successful += 1,
            (Some(count), Some(failure)) => {
                let held = count.fail(failure, 1, has_room);
                self.held += held;
            }
        }
    }

    /// What others counted.
    pub fn add(&mut self, other: &Tally, most: usize) {
        self.left_out += other.left_out;
        for (day, domains) in other.days() {
            for (domain, counts) in domains {
                counts.iter().for_each(|count| self.put((day, domain), count, most));
            }
        }
    }

    /// The same of one policy.
    pub fn put(&mut self, of: (u32, &str), more: &PolicyCount, most: usize) {
        let has_room = self.has_room(most);
        let Some(count) = self.entry(of, &more.policy, most) else {
            self.left_out += more.successful + more.failed;
            return;
        };
        count.successful = count.successful.saturating_add(more.successful);
        let told: u64 = more.failures.values().sum();
        count.failed = count.failed.saturating_add(more.failed.saturating_sub(told));
        let each = more.failures.iter();
        let held: usize = each.map(|(failure, times)| count.fail(failure.clone(), *times, has_room)).sum();
        self.held += held;
    }

    fn entry(
        &mut self,
        (day, domain): (u32, &str),
        policy: &AppliedPolicy,
        most: usize,
    ) -> Option<&mut PolicyCount> {
        let has_room = self.entries < most && self.has_room(most);
        let place = |counts: &[PolicyCount]| counts.iter().position(|known| known.policy == *policy);
        let known = self.days.get(&day).and_then(|domains| domains.get(domain));
        let place = known.and_then(|counts| place(counts));
        if place.is_none() {
            let has_room = has_room && known.is_none_or(|all| all.len() < limits::TLS_RPT_POLICIES_A_DOMAIN);
            has_room.then_some(())?;
            self.entries += 1;
            self.held += policy.held();
            let counts = self.days.entry(day).or_default().entry(domain.into()).or_default();
            counts.push(PolicyCount::new(policy.clone()));
            return counts.last_mut();
        }
        self.days.get_mut(&day)?.get_mut(domain)?.get_mut(place?)
    }
}

#[cfg(test)]
mod tests;
