//! Reports of TLS (RFC 8460).

use std::time::Duration;

/// What a session counts for: domains that wait at its site, so many at most.
pub const TLS_RPT_DOMAINS_A_SESSION: usize = 16;
/// Policies of domains, by day, that a shard counts before control takes them, which it does each second.
pub const TLS_RPT_SHARD_ENTRIES: usize = 4_096;
/// The same that control keeps, all days together: some hundred bytes each.
pub const TLS_RPT_ENTRIES: usize = 50_000;
/// Bytes that there may be for each of them, on average: strangers choose how long a policy is, and what their hosts call themselves.
pub const TLS_RPT_ENTRY_BYTES: usize = 1_300;
/// Bytes of memory of an entry beside its texts, and of a kind of failure.
pub const TLS_RPT_OVERHEAD: usize = 200;
/// Policies of one domain in a day: it may have changed its own now and then.
pub const TLS_RPT_POLICIES_A_DOMAIN: usize = 8;
/// Kinds of failure of one policy that are told apart.
pub const TLS_RPT_FAILURES_A_POLICY: usize = 64;
/// Bytes of words on a failure.
pub const TLS_RPT_REASON_MAX: usize = 160;
/// Lines of a policy that are repeated: 128 hosts, and what is beside them.
pub const TLS_RPT_POLICY_LINES: usize = 140;
/// Bytes of one of them: a name at its longest, or the numbers of a certificate that stands in the DNS whole.
pub const TLS_RPT_LINE_MAX: usize = 4_096;

/// Places of a record that reports are sent to.
pub const TLS_RPT_PLACES_MAX: usize = 4;
/// Bytes of one.
pub const TLS_RPT_PLACE_MAX: usize = 512;

/// How often control takes what shards counted.
pub const TLS_RPT_ROUND: Duration = Duration::from_secs(1);
/// And how often it writes that down: so much of a day does a kill take.
pub const TLS_RPT_WRITE: Duration = Duration::from_secs(20);
/// Bytes of the file of a day, which is written anew, without what was counted twice, when it has grown beyond that.
pub const TLS_RPT_FILE_MAX: u64 = 128 * 1024 * 1024;
/// From the first second of a day to its last.
pub const TLS_RPT_DAY_LASTS: Duration = Duration::from_secs(86_399);
/// When the reports of a day go out, at the latest after its end (RFC 8460 section 4.1: not all at one moment).
pub const TLS_RPT_DELAY: Duration = Duration::from_secs(4 * 3600);
/// The longest that a configuration may say.
pub const TLS_RPT_DELAY_MAX: Duration = Duration::from_secs(12 * 3600);
/// Days that are kept until their reports are sent: what could not be sent within a day never is.
pub const TLS_RPT_DAYS: u32 = 1;
/// How often a report is tried that could not be sent; the waits between begin with this, and double.
pub const TLS_RPT_TRIES: u32 = 6;
/// The first of them.
pub const TLS_RPT_RETRY: Duration = Duration::from_secs(900);
/// Reports that are sent at one time: each has a thread for as long as name servers and a web server take.
pub const TLS_RPT_AT_ONCE: usize = 4;
/// How long a web server may take, all of it.
pub const TLS_RPT_POST_TIME: Duration = Duration::from_secs(30);
/// Where web servers listen.
pub const HTTPS_PORT: u16 = 443;
/// How long a shard may take to store a report.
pub const TLS_RPT_STORE_TIME: Duration = Duration::from_secs(30);
/// How long a mailed report lives.
pub const TLS_RPT_LIFE: Duration = Duration::from_secs(86_400);

const _: () = {
    assert!(TLS_RPT_DELAY.as_secs() <= TLS_RPT_DELAY_MAX.as_secs());
    assert!(
        TLS_RPT_DELAY_MAX.as_secs() + TLS_RPT_RETRY.as_secs() * ((1 << (TLS_RPT_TRIES - 1)) - 1)
            <= TLS_RPT_DAYS as u64 * 86_400,
        "each has its tries before its day is forgotten"
    );
};
