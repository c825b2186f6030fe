//! Verification of mail that comes in (SPF, DKIM, DMARC).

use std::time::Duration;

/// Signatures of a message that are looked at, the first ones: mail that lists pass on has two or three.
pub const VERIFIED_SIGNATURES_MAX: usize = 5;
/// Names of fields that a signature may cover: usual ones have 10 to 40.
pub const SIGNED_NAMES_MAX: usize = 200;
/// Bytes of a header section that is verified: what is longer is refused, as it could be neither checked nor rid of forged results. Usual ones have
/// 2 to 20 KiB.
pub const VERIFIED_HEADER_MAX: usize = 128 * 1024;
/// Letters of a signature that tell it from others (RFC 6008 section 3).
pub const SIGNATURE_BEGIN: usize = 8;
/// Letters of a line of the field that says what was found (RFC 5322 2.1.1).
pub const RESULTS_LINE: usize = 78;

/// Messages that wait to be verified, over all shards: beyond it they go on with `temperror`.
pub const VERIFY_WAITING: usize = 256;
/// Messages that are verified at one time: each waits for name servers, and has few questions to them at one time. With those that wait, what they
/// hold in memory is bounded by [`VERIFIED_HEADER_MAX`] each.
pub const VERIFY_AT_ONCE: usize = 64;
/// Those of one client (of IPv6, one network of 64 bits): what is beyond goes on with `temperror`, and nobody else's waits for it.
pub const VERIFY_PER_CLIENT: usize = 16;
/// How long the reply to a message waits: clients wait for minutes (RFC 5321 4.5.3.2.6), and those that give up bring it again.
pub const VERIFY_WAIT: Duration = Duration::from_secs(15);
/// How long all questions for one message may take, so that what was found of it by then is told.
pub const VERIFY_TIME: Duration = Duration::from_secs(13);
/// Of that, those of SPF and DKIM: DMARC needs what they came to, and asks then.
pub const VERIFY_FIRST: Duration = Duration::from_secs(9);
/// How soon a shard looks for what was found, and then at twice the time.
pub const VERIFY_LOOK: Duration = Duration::from_millis(2);
/// At the latest after this.
pub const VERIFY_LOOK_MAX: Duration = Duration::from_millis(50);
/// How often the thread that verifies looks whether it is over, or goes by other name servers.
pub const VERIFY_ROUND: Duration = Duration::from_millis(100);
/// Answers of name servers that it remembers.
pub const VERIFY_CACHE: u64 = 8_192;
/// Questions that it has under way at one time to one name server.
pub const VERIFY_QUESTIONS: usize = 256;

const _: () =
    assert!(VERIFY_FIRST.as_secs() < VERIFY_TIME.as_secs() && VERIFY_TIME.as_secs() < VERIFY_WAIT.as_secs());
