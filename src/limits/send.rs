//! Mail that applications hand in over HTTP.

use std::time::Duration;

/// Connections at one time; one more is refused. Each ends when it was idle for a while.
pub const SEND_CONNECTIONS_MAX: usize = 4096;
/// Connections of one client, an IPv4 address or an IPv6 /64.
pub const SEND_CONNECTIONS_PER_CLIENT: usize = 512;
/// How long the header section of a request may take, and how long a connection stays idle between two.
pub const SEND_IDLE: Duration = Duration::from_secs(60);
/// How long a body may take.
pub const SEND_BODY_TIME: Duration = Duration::from_secs(120);
/// How long a TLS handshake may take.
pub const SEND_HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a message may take to be on disk.
pub const SEND_TIME: Duration = Duration::from_secs(60);
/// Bytes of bodies and messages in memory at one time, of all requests; a request of more waits for its turn.
pub const SEND_MEMORY: usize = 512 * 1024 * 1024;
/// Largest message that can be configured: in memory it is as JSON, as MIME and on its way to a shard.
pub const SEND_MESSAGE_MAX: u64 = 100 * 1024 * 1024;
/// Bytes of the body of a batch.
pub const SEND_BATCH_MAX: usize = 64 * 1024 * 1024;
/// Requests of a batch.
pub const SEND_BATCH_REQUESTS: usize = 50_000;
/// Messages of a batch that are on their way to disk at one time.
pub const SEND_BATCH_AT_ONCE: usize = 128;
/// How long a request with a key is known.
pub const SEND_KEYS_KEPT: Duration = Duration::from_secs(86_400);
/// Requests with keys that are known, a few hundred bytes each; beyond, the oldest are forgotten.
pub const SEND_KEYS_MAX: usize = 100_000;
/// Of these so many, the latest, whose answers are no small ones: some ten kilobytes packed, a few hundred at the most.
pub const SEND_KEYS_LARGE: usize = 200;
/// Bytes of a key.
pub const SEND_KEY_MAX: usize = 255;
/// Bytes of an answer that is kept for its key as it is; a longer one is packed.
pub const SEND_ANSWER_SMALL: usize = 1024;
/// Requests of a batch with a key.
pub const SEND_BATCH_KEYED: usize = 10_000;
/// What is wrong with a request is told up to so many times.
pub const SEND_ERRORS_MAX: usize = 20;
/// Bytes of a subject.
pub const SEND_SUBJECT_MAX: usize = 4096;
/// Bytes of a name: of somebody, a file, a field.
pub const SEND_NAME_MAX: usize = 512;
/// Further header fields of a message, and bytes of one.
pub const SEND_HEADERS_MAX: usize = 64;
/// Bytes of one.
pub const SEND_HEADER_MAX: usize = 8192;
/// Files of a message.
pub const SEND_ATTACHMENTS_MAX: usize = 256;
/// How long a shard that is asked too much is left alone, and how often it is asked again before the client hears 503.
pub const SEND_AGAIN: Duration = Duration::from_millis(5);
/// How often.
pub const SEND_TRIES: usize = 400;
