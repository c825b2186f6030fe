//! Deadlines of the server side.

use std::time::Duration;

/// 4.5.3.2.7: waiting for the next command. The rest of a line that has begun may take as long, however its bytes drip.
pub const COMMAND: Duration = Duration::from_secs(300);
/// A session, or what of it follows a message, that brings no mail. Twice the longest silence, and no client that delivers
/// mail needs as much between two messages.
pub const WITHOUT_MAIL: Duration = Duration::from_secs(600);
/// The same once a recipient was taken: a thousand of them, each a round trip, on a slow line.
pub const TRANSACTION: Duration = Duration::from_secs(1800);
/// The whole header of a proxy, which sends it with its first segment (the PROXY protocol asks for three seconds at least).
pub const PROXY: Duration = Duration::from_secs(10);
/// The whole of one TLS handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(60);
/// The whole of one DATA phase, however slowly it drips; large bodies have more, by their length.
pub const DATA: Duration = Duration::from_secs(1800);
/// Bytes of a body that add a second to it: a line of 64 kbit/s.
pub const DATA_RATE: u64 = 8 * 1024;
/// No byte of a body for this long.
pub const DATA_BLOCK: Duration = Duration::from_secs(180);
/// A client that does not read its replies: until the socket has taken all there are.
pub const SEND: Duration = Duration::from_secs(60);
/// A whole session. It ends where a message would begin, so that no mail is lost by it; a client that delivers all day connects
/// again, and meets what changed meanwhile.
pub const SESSION: Duration = Duration::from_secs(4 * 3600);
/// Bytes of a read that ends no line and brings no more than this: one that drips. A client that types, or sends each line of a body by itself,
/// brings more sooner or later.
pub const DRIP: usize = 64;
/// Reads of that kind in a row before the next one waits.
pub const DRIPS_AT_ONCE: u8 = 4;
/// Connections that drip of which a shard reads in a second, one after the other. What each sent meanwhile is read at once.
pub const DRIPS_READ: u64 = 1_000;
/// What one of them waits for its turn: at least what a client that types does not notice, and at most as many as there can be need.
pub const DRIP_WAIT: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(60);
