//! A report of one domain and day, as JSON (RFC 8460 section 4.4 and appendix B).

use std::net::IpAddr;

use serde::Serialize;

use crate::limits;
use crate::policy::tls_rpt::{Failure, PolicyCount, PolicyType, ResultType};
use crate::time::UnixMillis;

/// What a report says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Who sends it: a domain.
    pub submitter: &'a str,
    /// Whom to ask about it.
    pub contact: &'a str,
    /// No other report has this one.
    pub id: &'a str,
    /// The domain that it is of.
    pub domain: &'a str,
    /// The day, since 1970.
    pub day: u32,
}

impl Head<'_> {
    /// The first second of the day, and its last.
    pub fn range(&self) -> (UnixMillis, UnixMillis) {
        let begin = UnixMillis::of_day(self.day);
        (begin, begin.after(limits::TLS_RPT_DAY_LASTS))
    }

    /// The name of the file (RFC 8460 section 5.1).
    pub fn file_name(&self) -> String {
        let (begin, end) = self.range();
        let (submitter, domain, id) = (self.submitter, self.domain, self.id.split('@').next().unwrap_or(""));
        format!("{submitter}!{domain}!{}!{}!{id}.json.gz", begin.0 / 1000, end.0 / 1000)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    organization_name: &'a str,
    date_range: DateRange,
    contact_info: &'a str,
    report_id: &'a str,
    policies: Vec<OfPolicy<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DateRange {
    start_datetime: String,
    end_datetime: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct OfPolicy<'a> {
    policy: PolicyText<'a>,
    summary: Summary,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_details: Vec<Details<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PolicyText<'a> {
    policy_type: PolicyType,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    policy_string: &'a [String],
    policy_domain: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    mx_host: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    total_successful_session_count: u64,
    total_failure_session_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Details<'a> {
    result_type: ResultType,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending_mta_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    receiving_mx_hostname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    receiving_mx_helo: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<IpAddr>,
    failed_session_count: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    failure_reason_code: &'a str,
}

/// As one line of JSON.
pub fn json(head: &Head<'_>, counts: &[PolicyCount]) -> String {
    let (begin, end) = head.range();
    let policies = counts
        .iter()
        .map(|count| {
            let PolicyCount { policy, successful, failed, failures } = count;
            OfPolicy {
                policy: PolicyText {
                    policy_type: policy.kind,
                    policy_string: &policy.lines,
                    policy_domain: head.domain,
                    mx_host: &policy.hosts,
                },
                summary: Summary {
                    total_successful_session_count: *successful,
                    total_failure_session_count: *failed,
                },
                failure_details: failures.iter().map(|(failure, times)| details(failure, *times)).collect(),
            }
        })
        .collect();
    let report = Report {
        organization_name: head.submitter,
        date_range: DateRange { start_datetime: stamp(begin), end_datetime: stamp(end) },
        contact_info: head.contact,
        report_id: head.id,
        policies,
    };
    serde_json::to_string(&report).unwrap_or_default()
}

fn details(failure: &Failure, times: u64) -> Details<'_> {
    let Failure { result, sending, host, helo, receiving, reason } = failure;
    Details {
        result_type: *result,
        sending_mta_ip: *sending,
        receiving_mx_hostname: host,
        receiving_mx_helo: helo,
        receiving_ip: *receiving,
        failed_session_count: times,
        failure_reason_code: reason,
    }
}

/// RFC 3339, whole seconds.
fn stamp(at: UnixMillis) -> String {
    let civil = at.civil();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}
