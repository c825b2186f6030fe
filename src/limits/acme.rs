//! Certificates that an authority gives by itself (ACME, RFC 8555).

use std::time::Duration;

/// Names of one certificate: what Let's Encrypt takes.
pub const ACME_NAMES_MAX: usize = 100;
/// How often it is looked whether one is due.
pub const ACME_ROUND: Duration = Duration::from_secs(2);
/// After one that came.
pub const ACME_PAUSE: Duration = Duration::from_secs(5);
/// After an order that failed, and four times that after each further one (Let's Encrypt takes five failures of a name an hour).
pub const ACME_RETRY_FIRST: Duration = Duration::from_secs(15);
/// At the most.
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
/// All of an order.
pub const ACME_ORDER_TIME: Duration = Duration::from_secs(300);
/// One request of it.
pub const ACME_REQUEST: Duration = Duration::from_secs(60);
/// Bytes of an answer: a chain of certificates at its longest.
pub const ACME_ANSWER_MAX: usize = 256 * 1024;
/// Bytes of the file of an account.
pub const ACME_ACCOUNT_MAX: u64 = 64 * 1024;
/// Letters of what an authority says that are repeated.
pub const ACME_WORDS_MAX: usize = 500;
/// Connections that ask for what proves a name, at one time.
pub const ACME_CONNECTIONS_MAX: usize = 64;
/// The part of a certificate's life by which it may be renewed earlier.
pub const ACME_JITTER_PART: u64 = 30;
