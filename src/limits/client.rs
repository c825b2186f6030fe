//! Deadlines of the client side (RFC 5321 4.5.3.2).

use std::time::Duration;

/// TCP connect; not in the RFC, and long enough for three SYNs.
pub const CONNECT: Duration = Duration::from_secs(30);
/// 4.5.3.2.1 initial 220.
pub const GREETING: Duration = Duration::from_secs(300);
/// EHLO and RSET; the RFC is silent.
pub const HELLO: Duration = Duration::from_secs(300);
/// Each answer from STARTTLS to the EHLO under TLS. Plain text is tried next, so mail must not wait for long.
pub const STARTTLS: Duration = Duration::from_secs(60);
/// The opportunistic handshake: a few round trips and a signature. As above.
pub const HANDSHAKE: Duration = Duration::from_secs(30);
/// Each answer of AUTH: hosts make wrong ones wait, and ask others for the right ones.
pub const AUTH: Duration = Duration::from_secs(60);
/// Bytes of a challenge of AUTH, base64: nonces and a salt, some 200 in practice.
pub const CHALLENGE_MAX: usize = 1024;
/// Steps of one AUTH: a line of ours for each. SCRAM has four.
pub const AUTH_STEPS_MAX: usize = 6;
/// Fewest iterations of SCRAM that a host may ask for (RFC 7677 section 4).
pub const ITERATIONS_MIN: u32 = 4096;
/// Most of them: a second or so of a core that no mail needs, once for each host and shard.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// Letters of what a host says is wrong in SCRAM.
pub const SCRAM_WORD_MAX: usize = 64;
/// Keys of SCRAM that a shard keeps: one or two for each smart host.
pub const SCRAM_KEYS_KEPT: usize = 64;
/// 4.5.3.2.2 MAIL.
pub const MAIL: Duration = Duration::from_secs(300);
/// 4.5.3.2.3 RCPT.
pub const RCPT: Duration = Duration::from_secs(300);
/// A hop that ends the session after so long a silence, with commands unanswered that were sent together, waited for the next of them:
/// those behind the first were lost in it.
pub const GROUP_LOST: Duration = Duration::from_secs(5);
/// 4.5.3.2.4 the 354 after DATA.
pub const DATA: Duration = Duration::from_secs(120);
/// 4.5.3.2.5 each block of the body: no byte of it is taken for so long.
pub const BLOCK: Duration = Duration::from_secs(180);
/// A reply that was begun before the end of data: its rest comes at once, or never.
pub const EARLY: Duration = Duration::from_secs(2);
/// How often it is looked up meanwhile whether the node is to stop.
pub const EARLY_LOOK: Duration = Duration::from_millis(100);
/// The whole of a small body, however slowly it is taken. A hop that takes a byte now and then would hold its connection for ever.
pub const BODY: Duration = Duration::from_secs(600);
/// Bytes a second that a hop must take of what is larger: half of what the slowest lines of our time carry.
pub const BODY_RATE: u64 = 4096;
/// 4.5.3.2.6 the reply after the final dot.
pub const DOT: Duration = Duration::from_secs(600);
/// All replies behind one body, where each recipient has its own (RFC 2033); each is waited for as above. A mail store that sorts a
/// message into a hundred mailboxes, each a second or two of a disk that is busy.
pub const ANSWERS: Duration = Duration::from_secs(1800);
/// How long it is believed that a hop takes fewer recipients in a transaction than it was asked to: the reply may have meant something
/// else.
pub const FEW_RECIPIENTS: Duration = Duration::from_secs(3600);
/// How long no commands go behind the bodies of a site that left when it had refused some that did: whether it refused them cannot be
/// told then, and without a body before them it can.
pub const AHEAD_DOUBTED: Duration = Duration::from_secs(600);
/// A hop that answers a body within this gets the commands of the next message together with a body: what waits behind a
/// slower one could be delivered elsewhere meanwhile.
pub const PROMPT: Duration = Duration::from_secs(1);
/// How long QUIT may take; its outcome changes nothing.
pub const QUIT: Duration = Duration::from_secs(2);
/// How long a hop that answered QUIT may take to close.
pub const QUIT_CLOSE: Duration = Duration::from_millis(100);
/// A connection carries one message after the other for so long, a quarter less or not at all, so that not all of a site end together:
/// then its host is looked up and chosen anew.
pub const REUSE: Duration = Duration::from_secs(300);
/// An idle connection is kept this long for more mail.
pub const IDLE: Duration = Duration::from_secs(10);
