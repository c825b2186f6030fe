//! Policies of domains (MTA-STS, RFC 8461), and certificates that the DNS names (DANE, RFC 7672).

use std::time::Duration;

/// Bytes of a policy (RFC 8461 section 3.3 suggests this).
pub const STS_POLICY_MAX: usize = 64 * 1024;
/// Bytes of what stands before it in an answer of a web server.
pub const STS_HEAD_MAX: usize = 16 * 1024;
/// Bytes of the whole answer, with what chunks add.
pub const STS_RESPONSE_MAX: usize = STS_HEAD_MAX + 2 * STS_POLICY_MAX;
/// Letters of the id in a record (RFC 8461 section 3.1).
pub const STS_ID_MAX: usize = 32;
/// Letters of what a web server says that are repeated.
pub const STS_WORD_MAX: usize = 64;
/// Hosts of a policy: the largest in use have a dozen.
pub const STS_HOSTS_MAX: usize = 128;
/// Longest time that a policy holds (RFC 8461 section 3.2: about a year).
pub const STS_AGE_MAX: Duration = Duration::from_secs(31_557_600);
/// Digits of that in a policy, as its grammar has them.
pub const STS_AGE_DIGITS: usize = 10;
/// A policy that is in use is fetched again after a day (RFC 8461 section 10.2).
pub const STS_REFRESH: Duration = Duration::from_secs(86_400);
/// Policies that are known at one time: some hundred bytes each.
pub const STS_POLICIES_MAX: usize = 20_000;
/// Domains whose policy could not be fetched, and is not asked for again for a while.
pub const STS_FAILED_MAX: usize = 20_000;
/// That while (RFC 8461 section 3.3 asks for some pause).
pub const STS_FAILED_KEPT: Duration = Duration::from_secs(300);
/// Policies that wait to be fetched.
pub const STS_WANTED_MAX: usize = 1_024;
/// Policies that are fetched at one time: each takes a thread for as long as its web server takes.
pub const STS_FETCHES_MAX: usize = 8;
/// How long one may take, all of it (RFC 8461 section 3.3 suggests a minute, and mail may wait for it).
pub const STS_FETCH_TIME: Duration = Duration::from_secs(20);
/// Addresses of a web server that are asked, one after the other.
pub const STS_ADDRESSES_MAX: usize = 4;
/// Bytes of a file of a policy as it is kept: its hosts at their longest.
pub const STS_FILE_MAX: u64 = 64 * 1024;
/// Hosts of a domain that are asked for what certificates they have; those behind them go by what else is said.
pub const DANE_HOSTS_MAX: usize = 8;
/// Hosts whose TLS by such records is remembered by a shard, for sessions to be resumed.
pub const DANE_CLIENTS_MAX: usize = 256;
/// How long mail of a domain waits for its policy; then it goes by what is known.
pub const STS_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it is there.
pub const STS_LOOK: Duration = Duration::from_millis(50);
/// How often control looks for what is to be fetched.
pub const STS_ROUND: Duration = Duration::from_millis(20);
