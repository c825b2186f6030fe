//! Memory that clients and bodies may take.

/// Largest message unless configured otherwise.
pub const MESSAGE_SIZE_DEFAULT: u64 = 50 * 1024 * 1024;
/// A body up to this size is gathered in memory and enters the spool in one piece; a larger one is chunked.
pub const BODY_GATHER_MAX: usize = 256 * 1024;
/// Bytes that clients may make the node keep at one time, where the machine's memory is not known: bodies, envelopes, input,
/// replies, TLS. One half is for transactions: above three quarters of that bodies go to the spool early; at it no transaction begins,
/// and none grows. The other is for sessions: at it no TLS begins.
pub const CLIENT_MEMORY_MAX: usize = 256 * 1024 * 1024;
/// The part of the machine's memory that is it otherwise: the rest is for queues, caches and pages of the spool.
pub const CLIENT_MEMORY_SHARE: u64 = 4;
/// What it is at the least: some hundred transactions of any size.
pub const CLIENT_MEMORY_MIN: u64 = 32 * 1024 * 1024;
/// Bytes that a session under TLS holds where it is idle, twice what was measured; what came and is not complete (`shard::records`) is counted
/// beside it.
pub const TLS_SESSION_MEMORY: usize = 16 * 1024;
/// Bytes of a message of TLS itself that rustls gathers from several records, also behind the handshake.
pub const TLS_MESSAGE_MAX: usize = 64 * 1024;
/// Bytes that a client may send for a handshake: a ClientHello with a key share that withstands quantum computers has 2 KiB, and
/// chains of certificates, where we ask for one, mostly less than 6.
pub const HANDSHAKE_MAX: usize = 16 * 1024;
/// Where clients hold all they may in transactions, bodies go to the spool in pieces of this size at the least: ten thousand of them
/// are few bytes, and a smaller one would cost more than it holds.
pub const CHUNK_MIN: usize = 1024;
/// In that state a large body has at most about so many pieces for each doubling of its length.
pub const CHUNKS_OF_SMALL: u64 = 1024;
/// Buffers of each kind (envelopes, bodies) that a shard keeps for the next messages.
pub const SPARE_BUFFERS: usize = 256;
/// Bytes that a body's buffer may have to be kept; larger ones are given back to the system.
pub const SPARE_BODY_MAX: usize = 64 * 1024;
/// Bytes of the shard's shared receive buffer.
pub const SCRATCH: usize = 64 * 1024;
/// Smallest bound on a message that a configuration may ask for: RFC 5321 4.5.3.1.7 says 64K octets.
pub const MESSAGE_SIZE_LEAST: u64 = 64 * 1024;
/// And the largest: a body's length is 32 bits in many a next hop, and half of that in some.
pub const MESSAGE_SIZE_MOST: u64 = 2 * 1024 * 1024 * 1024;
/// From here on a bound on messages is told to be larger than any large receiver takes (25 to 150 MB).
pub const MESSAGE_SIZE_DOUBTED: u64 = 256 * 1024 * 1024;
/// And below this to be smaller than most mail with a picture.
pub const MESSAGE_SIZE_SMALL: u64 = 1024 * 1024;
