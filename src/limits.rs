//! Every bound of the relay, with its reason. Relations between bounds are asserted at compile time.
//!
//! A bound an operator may want to move is a configuration default that starts from here; a bound that protects
//! an invariant is a constant only.

use std::time::Duration;

/// Bytes of a configuration file: a few thousand routes, and not whatever `--config /dev/zero` would give.
pub const CONFIG_MAX: u64 = 4 * 1024 * 1024;

/// Longest command line, CRLF included (RFC 5321 4.5.3.1.4 asks for 512; parameters of extensions add to it).
pub const COMMAND_LINE_MAX: usize = 2048;
/// Longest line in an AUTH exchange, CRLF included (RFC 4954 section 4).
pub const AUTH_LINE_MAX: usize = 12_288;
/// Longest text line accepted inside a message, CRLF excluded. RFC 5321 4.5.3.1.6 says 998; real mail is longer,
/// and refusing it bounces what every other relay passes, so the default is far above and only stops abuse.
pub const TEXT_LINE_MAX: usize = 65_536;
/// Recipients of one transaction (RFC 5321 4.5.3.1.8 asks for at least 100); one more is answered 452.
pub const RECIPIENTS_MAX: usize = 1_000;
/// Longest local part. RFC 5321 4.5.3.1.1 says 64; return paths that carry another address (VERP, SRS) and reply tokens are
/// longer, and every large server takes them.
pub const LOCAL_PART_MAX: usize = 255;
/// Longest domain as text: the 255 octets of RFC 1035 2.3.4 count a length for each label and the root.
pub const DOMAIN_MAX: usize = 253;
/// Longest path, angle brackets included. RFC 5321 4.5.3.1.3 says 256, too few for such local parts; this is what fits with
/// `MAIL FROM:` in the 512 octets of a command line that every next hop takes (4.5.3.1.4), parameters apart.
pub const PATH_MAX: usize = 500;
/// Received fields after which a message is taken to loop (RFC 5321 6.3 asks for at least 100).
pub const HOPS_MAX: u32 = 100;
/// Bytes of header section examined for trace fields and kept for a bounce.
pub const HEADER_MAX: usize = 256 * 1024;
/// Bytes of a parameter of a message (tenant, campaign, pool): names, which stand in every event.
pub const PARAMETER_MAX: usize = 256;
/// Bytes of the metadata of a message, which come back in every event of it.
pub const METADATA_MAX: usize = 16 * 1024;
/// Bytes of all parameters of one message, those that some of its recipients have in place of it included.
pub const PARAMETERS_BYTES_MAX: usize = 64 * 1024;
/// Errors in a row, with no message delivered between them, before a session is closed with 421.
pub const COMMAND_ERRORS_MAX: u32 = 20;
/// Commands without a message between them (NOOP, RSET, VRFY, HELP, EHLO, MAIL) before a session is closed with 421: far more than
/// a client that delivers has use for, and what a loop of them costs ends with it.
pub const COMMANDS_WITHOUT_MAIL_MAX: u32 = 100;
/// RCPT commands of one transaction, taken or not, before a session is closed with 421: a client that does not read the 452 for
/// one too many is still told the rest of its list, within reason.
pub const RECIPIENTS_OFFERED_MAX: u32 = 10 * RECIPIENTS_MAX as u32;
/// Bytes of a line that are passed over in search of its end before a session is closed with 421.
pub const LINE_SKIPPED_MAX: usize = 64 * 1024;
/// Recipients refused in a row, before one is accepted, to a client that may relay: a bad stretch of a list is no attack, and is
/// as long as a transaction that every server takes (RFC 5321 4.5.3.1.8).
pub const RECIPIENTS_REFUSED_MAX: u32 = 100;
/// Failed AUTH attempts before a session is closed with 421.
pub const AUTH_FAILURES_MAX: u32 = 3;
/// Longest reply line accepted from a next hop; the rest of a longer one is dropped (RFC 5321 4.5.3.1.5 says 512).
pub const REPLY_LINE_MAX: usize = 2048;
/// Times bytes are received from a hop that was told goodbye before it is left to itself.
pub const LAST_WORDS_MAX: usize = 64;
/// Lines of one reply accepted from a next hop before it is taken for hostile.
pub const REPLY_LINES_MAX: usize = 128;
/// Bytes of a next hop's reply text kept in records, logs and bounces.
pub const REPLY_TEXT_MAX: usize = 512;
/// Hosts kept in mind, on each shard, because TLS broke there; beyond it the oldest is forgotten and tried again.
pub const TLS_FAILURES_MAX: usize = 10_000;
/// How long a host is spoken to in plain text after TLS broke there: a listener on the line gains no more by breaking it once, and
/// mail is not held up by a time-out more often.
pub const TLS_FAILURE_KEPT: Duration = Duration::from_secs(3600);
/// For so long a host that says under TLS, or to STARTTLS, that it is busy is believed: load passes sooner, and beyond it plain text is
/// tried.
pub const TLS_LOAD_MAX: Duration = Duration::from_secs(600);
/// What cannot be encoded for a hop without 8BITMIME is kept at least so long, or as long as retries are apart at most, and tried again:
/// beyond the half hour for which hosts put off strangers, to whom they offer less.
pub const EIGHT_BIT_KEPT: Duration = Duration::from_secs(3600);
/// Hosts kept in mind, on each shard, because they took no message; beyond it the oldest is forgotten and asked first again.
pub const HOP_FAILURES_MAX: usize = 10_000;
/// How long a host that broke a transaction is asked after the others of its site: longer than the first retries are apart, so that these
/// reach another host, and short enough for the best host to have its mail again soon after it recovered.
pub const HOP_FAILURE_KEPT: Duration = Duration::from_secs(600);
/// Times in that span that messages of a site, on each shard, go from a host in trouble to the next with nothing counted: more than
/// connections that are open when the trouble begins, and an end to it where a host takes some mail and is in trouble with other.
pub const MOVES_MAX: u32 = 100;
/// Hosts kept in mind, on each shard, because they hang up on EHLO, and as many because they lose commands that are sent together.
pub const MANNERS_MAX: usize = 10_000;
/// How long such a host is spared them: what is lost by it is some round trips, and TLS where EHLO is not said.
pub const MANNERS_KEPT: Duration = Duration::from_secs(3600);
/// Bytes of replies held for a client that pipelines and does not read.
pub const REPLY_BACKLOG_MAX: usize = 64 * 1024;

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
/// Bytes that a client may send for a handshake: a ClientHello with a key share that withstands quantum computers has 2 KiB, and we ask
/// for no certificate.
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

/// Default bytes of one spool segment.
pub const SEGMENT_SIZE_DEFAULT: u64 = 64 * 1024 * 1024;
/// Smallest and largest segment a configuration may ask for.
pub const SEGMENT_SIZE_MIN: u64 = 4 * 1024 * 1024;
/// Offsets inside a segment are 32 bits.
pub const SEGMENT_SIZE_MAX: u64 = 1024 * 1024 * 1024;
/// Segments of one lane: slots are 16 bits.
pub const SEGMENTS_MAX: usize = 16_384;
/// The unit a commit starts on, so that no synced block is ever rewritten.
pub const BLOCK: u64 = 4096;
/// Bytes of one commit; what does not fit waits for the next.
pub const COMMIT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Messages, chunks and outcomes of one commit. Also bounds the vectored write (IOV_MAX is 1024).
pub const COMMIT_ITEMS_MAX: usize = 900;
/// Segments a lane keeps for outcomes, bounces and compaction; MAIL closes with 452 before they are touched.
pub const SEGMENTS_RESERVED: usize = 2;
/// Messages of a lane that can be moved: the table that tells other shards where a moved message lies has so many places.
/// Above what a lane holds unless several lanes became one shard's.
pub const MOVABLE_KEYS: u32 = 16 * 1024 * 1024;
/// Bytes of moved messages queued at one time: half a commit, so that compaction never takes more than mail does.
pub const COMPACTION_BYTES_MAX: usize = COMMIT_BYTES_MAX / 2;
/// Entries of the index looked at in one go for messages to move: well below a millisecond.
pub const COMPACTION_SCAN: u32 = 50_000;
/// An outcome waits at most this long for a commit to ride on before it forces one.
pub const OUTCOME_DELAY_MAX: Duration = Duration::from_millis(100);
/// Outcomes of one lane in flight from all home shards: the bound on duplicates after a crash.
pub const OUTCOME_CREDITS: usize = 4096;
/// Of these, what each home shard has at least: hops that hang hold some for minutes, and others must be served meanwhile.
pub const OUTCOME_CREDITS_EACH: usize = 256;
/// Handoffs waiting in one shard's inbox.
pub const HANDOFF_INBOX: usize = 4096;
/// Messages found at start that go to their queues before other tasks have a turn.
pub const REPLAYED_AT_ONCE: usize = 128;
/// Times in a row that a connection is received from without a wait before other tasks have a turn.
pub const RECEIVES_AT_ONCE: u32 = 16;
/// Records of TLS that cost as much as a receive: one of a single byte is decrypted like any other.
pub const RECORDS_OF_RECEIVE: u32 = 64;
/// Bytes of ciphertext taken from a socket at once: two records and their frames.
pub const CIPHERTEXT: usize = 33 * 1024;
/// Bytes of ciphertext that may bring no data before the peer is taken for hostile.
pub const BARREN_MAX: usize = 256 * 1024;
/// Messages of damaged segments that are kept in mind at start though their records are gone.
pub const MISSING_MAX: usize = 10_000;
/// Letters taken from an inbox in one turn before other tasks run.
pub const INBOX_BATCH: usize = 256;
/// Domains of one message that go to their queues before other tasks have a turn.
pub const DOMAINS_AT_ONCE: usize = 64;
/// Jobs of one home shard that another shard has on loan, at most: enough to keep it busy while the next loan is on its way.
pub const LOANED_MAX: usize = 128;
/// Jobs of a site that wait before a shard that has no time lends some of them.
pub const LEND_AT: usize = 64;
/// A loan nobody works on for this long goes home.
pub const LOAN_IDLE: Duration = Duration::from_secs(2);
/// A shard that gave back work untouched is not asked again for the same site before this.
pub const LEND_PAUSE: Duration = Duration::from_secs(5);
/// A connection without work is kept so long for the shard that has it, though another wants its slot.
pub const IDLE_KEPT: Duration = Duration::from_millis(500);
/// Share of its time (in percent) that a shard must have worked before it lends.
pub const LEND_LOAD: u64 = 60;

/// Jobs that one connection of a prompt hop is trusted with before a busy shard wakes or opens another: fewer connections with
/// more to do each cost less than many with little, and the last of these jobs waits for so many prompt answers.
pub const JOBS_A_CONNECTION: usize = 4;

/// Longest time an idle shard may look for work before it sleeps: above this it burns a core and gains nothing.
pub const SPIN_MAX: Duration = Duration::from_millis(1);
/// Entries of a shard's io_uring, which only files, timers and one poll use; a power of two in this range.
pub const RING_DEPTH_DEFAULT: u64 = 128;
/// Fewest entries: a handful of timers, files and polls at one time.
pub const RING_DEPTH_MIN: u64 = 32;
/// Most entries a kernel gives to a ring by default is 32,768; nothing here needs an eighth of it.
pub const RING_DEPTH_MAX: u64 = 4096;
/// Longest time a commit may be held back for more clients: every client waits it for its 250.
pub const COMMIT_DELAY_MAX: Duration = Duration::from_millis(50);

/// Recipients queued on one shard before MAIL closes with 452.
pub const QUEUED_RECIPIENTS_MAX: usize = 4_000_000;
/// Shards of one node and lanes of one data directory.
pub const SHARDS_MAX: usize = 256;

/// Recipients of one outbound transaction (RFC 5321 4.5.3.1.8: every server takes 100).
pub const TRANSACTION_RECIPIENTS_MAX: usize = 100;
/// Default connections of the node to one destination.
pub const DESTINATION_CONNECTIONS_DEFAULT: usize = 20;
/// Messages a connection carries before its place goes to another site that waits for the same address.
pub const ADDRESS_TURN: usize = 20;
/// Outbound connections of one shard.
pub const OUTBOUND_CONNECTIONS_MAX: usize = 4_000;
/// Inbound connections of one shard.
pub const INBOUND_CONNECTIONS_MAX: usize = 30_000;
/// The most a configuration may ask for, of each: about what the descriptors of a process (fs.nr_open) and its ports carry.
pub const INBOUND_CONNECTIONS_LIMIT: u64 = 1_000_000;
/// See [`INBOUND_CONNECTIONS_LIMIT`].
pub const OUTBOUND_CONNECTIONS_LIMIT: u64 = 100_000;
/// Default connections of one client at one time: far more than a mail server opens, far fewer than would starve others.
pub const CONNECTIONS_PER_CLIENT_DEFAULT: u64 = 100;
/// Hosts of one MX answer tried for one delivery (RFC 5321 5.1 asks for at least two).
pub const MX_HOSTS_MAX: usize = 10;
/// Addresses tried for one delivery over all hosts.
pub const MX_ADDRESSES_MAX: usize = 20;
/// MX hosts of a domain that are kept, the preferred ones: some of them may have no address, and [`MX_HOSTS_MAX`] that have are tried.
pub const MX_HOSTS_KEPT: usize = 16;
/// Bytes of their names. Ten hosts of 40 letters fit, and a site, whose name they are, stays small.
pub const MX_NAMES_MAX: usize = 512;
/// Addresses of a host that are kept.
pub const HOST_ADDRESSES_KEPT: usize = 64;
/// Addresses of this machine that are known; a machine with more has them from a pool that a route may name.
pub const OWN_ADDRESSES_MAX: usize = 16_384;
/// Bytes of a hosts file, and names in it: it is for the hosts an operator names by hand.
pub const HOSTS_FILE_MAX: u64 = 1024 * 1024;
/// See [`HOSTS_FILE_MAX`].
pub const HOSTS_NAMES_MAX: usize = 20_000;

/// First pause of a site that takes no connection: long enough not to hammer, short enough for a restart over there.
pub const SITE_PAUSE_MIN: Duration = Duration::from_secs(5);
/// Longest such pause: a site that came back is found within it.
pub const SITE_PAUSE_MAX: Duration = Duration::from_secs(600);

/// The wall clock was set if it goes off by more than this between two looks, a quarter of a second apart: time daemons slew what is less.
pub const CLOCK_JUMP: Duration = Duration::from_secs(60);
/// Groups that wait for sites that take no connection, looked at in one second for those to be told so: some 0.1 ms of work, and a
/// million in 20 s.
pub const TELL_LOOKS: usize = 50_000;
/// Of these, told in one second: each is a record in the spool and one in the log, as a refused attempt makes them.
pub const TOLD_AT_ONCE: usize = 1_000;
/// How long a task that has much to do keeps a shard before all others have a turn: longer than a commit's work for what
/// is handed to us in one, and short enough that what is begun within it ends within a millisecond.
pub const TURN: Duration = Duration::from_micros(400);
/// Looks of one turn, some 0.1 ms where each is a domain that is in no cache; then all others have theirs.
pub const TEND_TURN: usize = 1_024;
/// What is told or given up counts as so many looks: it is written, logged and sent on. 16 a turn.
pub const TEND_SETTLED: usize = 64;
/// Parts of a message that is encoded for a hop without 8BITMIME; one with more is returned as it would be without the encoding.
pub const PARTS_MAX: usize = 1_000;
/// Parts and messages inside each other, in such a message.
pub const PARTS_DEPTH_MAX: usize = 32;
/// Bytes of a Content-Type field that are read there, and of the start of any line.
pub const MIME_FIELD_MAX: usize = 16 * 1024;
/// Bytes that are encoded before they are sent and others have a turn.
pub const ENCODED_AT_ONCE: usize = 16 * 1024;

/// Failed recipients a bounce lists in its part for humans; the part for machines lists all of them.
pub const BOUNCE_LISTED_MAX: usize = 100;

/// Accounts of one file.
pub const ACCOUNTS_MAX: usize = 100_000;
/// Bytes of their file: each a name and a hash of any length that is in use.
pub const ACCOUNTS_FILE_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a file with certificates or a key: a chain has a few KiB.
pub const PEM_FILE_MAX: u64 = 1024 * 1024;
/// Longest account name, bytes.
pub const ACCOUNT_NAME_MAX: usize = 255;
/// Longest password, bytes: what a line of AUTH can carry is more than anybody types.
pub const PASSWORD_MAX: usize = 1024;
/// Memory one password check may take, KiB: a file with costlier hashes would let a few logins exhaust the machine.
/// 64 MiB is the second choice of RFC 9106 section 4.
pub const ACCOUNT_MEMORY_MAX: u32 = 64 * 1024;
/// Memory times passes of one password check, KiB: what bounds its time (about half a second of one core).
pub const ACCOUNT_WORK_MAX: u32 = 4 * ACCOUNT_MEMORY_MAX;
/// Lanes of one password check.
pub const ACCOUNT_LANES_MAX: u32 = 16;

/// Failed logins of one client address (IPv6: one /64) before its AUTH is refused unheard: enough for a person, and for a program that has
/// an old password and is set right within minutes.
pub const GUESSES_MAX: u64 = 10;
/// How many times as many of the network around it (a /24, a /48), in which others live too.
pub const GUESSES_NETWORK: u64 = 10;
/// Failed logins of a client at an account that it has been before, before they count like those of any other.
pub const GUESSES_KNOWN_MAX: u64 = 5;
/// Failed logins of one client address that nobody holds against it, as long as its neighbours have no more of them: somebody mistyped.
pub const GUESSES_FORGIVEN: u64 = 2;
/// Failed logins of the whole node above which somebody is guessing, one a second not counted: of a thousand clients that come after a
/// restart some have an old password, and guesses come as fast as they can be checked.
pub const GUESSES_CALM: u64 = 30;
/// After so long one of them is forgotten: a guesser has some 1,400 guesses a day and address.
pub const GUESS_FORGOTTEN: Duration = Duration::from_secs(60);
/// Passwords of one client address that are checked at one time.
pub const GUESSES_AT_ONCE: u32 = 16;
/// How long the first failed login waits for its 535, doubled with each further one of that network.
pub const GUESS_DELAY: Duration = Duration::from_secs(1);
/// The longest it waits: above this a guesser opens more connections instead.
pub const GUESS_DELAY_MAX: Duration = Duration::from_secs(4);
/// Sessions of one shard that wait so at one time; one more is ended instead.
pub const GUESSERS_DELAYED_MAX: usize = 1_000;
/// Client addresses and networks whose failures are remembered: 4 MiB of the node.
pub const GUESSERS_MAX: usize = 65_536;
/// Names of accounts at which failures are remembered: 1 MiB of the node.
pub const GUESSED_ACCOUNTS_MAX: usize = 16_384;
/// Pairs of account and address that are remembered for having succeeded: 2 MiB of the node.
pub const KNOWN_CLIENTS_MAX: usize = 32_768;
/// Verified credentials that nobody has used for this long are checked anew. A restart forgets all of them at once.
pub const VERIFIED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Most threads of the node that compute password hashes for clients that are known; half as many for others, and one for guessers. Each
/// takes the memory of one hash at a time, and gives it back when it has been idle.
pub const COMPUTE_THREADS_MAX: usize = 4;
/// Logins of known clients that wait for such a thread, and of others while nobody guesses: after a restart nobody is known, and a thousand
/// clients come at once. Each is a name and a password, so a few MiB at the very most.
pub const COMPUTE_PROMPT_MAX: usize = 1_024;
/// Logins of others that wait while somebody guesses, and those of guessers: a second or two of work. Where more come, those least
/// likely to be right are told to come again.
pub const COMPUTE_WAITING_MAX: usize = 64;
/// While somebody guesses, an idle thread that checked a login for others than its own (one of those who are known for a stranger, the first of
/// late at its account and of its network; one of strangers for a suspect) does no more of that for so many times as long: its own wait for
/// it, and mail has the cores first.
pub const COMPUTE_AID_REST: u32 = 3;
/// Longest a login waits for its turn before it is told to come again, while somebody guesses.
pub const COMPUTE_WAIT_MAX: Duration = Duration::from_secs(5);
/// The same while nobody does: clients wait for minutes for a reply, and to come again costs both sides more.
pub const COMPUTE_PATIENCE: Duration = Duration::from_secs(25);
/// Longest a session waits for its password to be checked, its turn and the check itself: on a core that is always wanted elsewhere a
/// check that has begun may take minutes. It goes on, and who comes again hears of it.
pub const AUTH_WAIT_MAX: Duration = Duration::from_secs(30);
/// Segments that one shard has waiting to be made: more than its lanes ask for at one time.
pub const FILLS_WAITING_MAX: usize = 4 * SHARDS_MAX;

/// Names held in a shard's resolver cache.
pub const DNS_CACHE_MAX: usize = 100_000;
/// Bytes of the resolver caches of all shards together; a shard has [`DNS_CACHE_BYTES_LEAST`] whatever its share is.
pub const DNS_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Some tens of thousands of usual answers.
pub const DNS_CACHE_BYTES_LEAST: usize = 4 * 1024 * 1024;
/// DNS questions in flight on one shard, each of which is a socket.
pub const DNS_INFLIGHT_MAX: usize = 1_000;
/// Name servers taken from resolv.conf, which a probe asks all at once; resolv.conf(5) itself knows three.
pub const NAME_SERVERS_MAX: usize = 8;
/// How long a name server that does not answer for the root is asked after the others.
pub const DNS_DEAF_KEPT: Duration = Duration::from_secs(30);
/// How long name servers may take for the root before they are deaf.
pub const DNS_ROOT_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether the machine's resolv.conf or hosts file changed: mail waits no longer for a network that moved.
pub const NAMES_LOOKED_AT: Duration = Duration::from_secs(5);
/// How long one of them that changed is to be as it is before it is read: whoever writes it is done by then.
pub const NAMES_SETTLE: Duration = Duration::from_secs(1);
/// How long the addresses of MX hosts of one preference are waited for together, to see whether one of them is this relay: a few slow
/// answers. One that is not known by then is another's.
pub const EQUALS_PATIENCE: Duration = Duration::from_secs(3);
/// How long the IPv6 addresses of a host are waited for that has IPv4 addresses: these are tried first.
pub const MORE_ADDRESSES_PATIENCE: Duration = Duration::from_secs(1);
/// How long they are not asked for again where they did not come by then.
pub const MORE_ADDRESSES_FAILED: Duration = Duration::from_secs(300);
/// Hosts kept in mind, on each shard, because their addresses came too late; beyond it the oldest is forgotten and waited for again.
pub const LATE_HOSTS_MAX: usize = 10_000;
/// A domain whose mail goes on without a pause is asked for again so often (seconds); what is remembered within its TTL costs no question.
pub const RESOLVED_AGAIN: u32 = 60;
/// Domains that are asked for again for that in a second, about: new ones must not wait behind them.
pub const RESOLVED_AGAIN_MAX: usize = 500;
/// Longest time that one try of a DNS question may be given: a message waits for it behind each dead name server.
pub const DNS_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Domains a shard resolves at one time, of those it has asked for since [`RESOLVE_PROMPT`] at most. Each is one question at a time.
pub const RESOLVES_PROMPT: usize = 400;
/// Domains whose resolution begins before other tasks have a turn; an answer that is known already is worked on at once.
pub const RESOLVES_AT_ONCE: usize = 32;
/// How long a domain may take before it counts as slow: a name server far away that answers takes less.
pub const RESOLVE_PROMPT: Duration = Duration::from_millis(1_000);
/// Slow ones at one time.
pub const RESOLVES_SLOW: usize = 400;
/// Domains asked for at one time while no name server answers.
pub const RESOLVES_DEAF: usize = 8;
/// How long a domain waits to be looked up before its mail is told so, at the least: twice what dead name servers take to be found dead.
pub const RESOLVE_PATIENCE: Duration = Duration::from_secs(30);
/// Longest CNAME chain followed.
pub const DNS_CNAME_MAX: usize = 12;

/// Bytes of accounting records gathered before they are passed to the writer.
pub const ACCOUNTING_CHUNK: usize = 64 * 1024;
/// Such chunks waiting for the writer, for each shard, and those that a shard holds back until others told what came before; more
/// are dropped and counted, never waited for.
pub const ACCOUNTING_QUEUE: usize = 64;

/// How long after a message was received its record is in the log, at the most, unless the log is not taken: shards pass theirs on four times a
/// second.
pub const LOG_BEHIND: Duration = Duration::from_secs(5);

/// How often the clock may be set in that time for all to be told again after a kill. A pause between messages looks the same: then some are
/// told once more than they need be.
pub const LOG_LEAPS: u32 = 1;

/// Messages of a lane that a start looks at for that, the last ones: more than a shard takes in so long, 20,000 a second, and again in as long
/// before each leap.
pub const UNTOLD_MAX: usize = 20_000 * LOG_BEHIND.as_secs() as usize * (1 + LOG_LEAPS as usize);

/// Refusals recorded in one second on one shard, on average: enough to see who attacks, and 2 GB a day at the very most.
pub const REJECTED_A_SECOND: u64 = 100;
/// And at once.
pub const REJECTED_BURST: u64 = 1_000;
/// Refusals that a session keeps from one receive; more are counted.
pub const REFUSALS_HELD: usize = 16;
/// Recipients of a refused message that are recorded: enough to find it by.
pub const REFUSED_RECIPIENTS_MAX: usize = 20;
/// Bytes of a refused path that are recorded: more than RFC 5321 4.5.3.1.3 gives a path.
pub const REFUSED_PATH_MAX: usize = 320;

/// Words to the operator that wait to be written; more are dropped and counted, never waited for.
pub const DIAGNOSTICS_QUEUE: usize = 1024;
/// Longest of them, bytes: who reads them reads lines.
pub const DIAGNOSTIC_MAX: usize = 1024;

/// Bytes of accounting records held while the log cannot be written: seconds of a busy node, and no burden.
pub const ACCOUNTING_HELD: usize = 8 * 1024 * 1024;
/// Lines of one kind that are written in ten seconds; the others are told as a number.
pub const DIAGNOSTICS_ALIKE: usize = 20;
/// The same of errors, which name messages and files: a start that finds a damaged lane has many of them.
pub const ERRORS_ALIKE: usize = 1000;
/// Descriptors that control keeps for the time when all others are taken: the log's, a question's, and a few.
pub const DESCRIPTORS_RESERVED: usize = 8;

/// Connections to control's HTTP at one time; one more ends the oldest.
pub const HTTP_CONNECTIONS_MAX: usize = 64;
/// How long the header section of an HTTP request may take.
pub const HTTP_HEADER: Duration = Duration::from_secs(10);
/// How long a whole HTTP request and its answer may take.
pub const HTTP_REQUEST: Duration = Duration::from_secs(30);
/// Bytes of an HTTP request's header section.
pub const HTTP_HEADER_BYTES: usize = 16 * 1024;
/// Bytes of an HTTP request's body.
pub const HTTP_BODY_MAX: usize = 64 * 1024;

/// A shard that has not come round for this long is said to stand still: far more than a slow disk takes, and soon enough for somebody
/// to look.
pub const STANDSTILL: Duration = Duration::from_secs(10);
/// How often it is said that mail is refused for want of room.
pub const ROOM_SAID: Duration = Duration::from_secs(60);
/// How long the writers of logs get at the end, when nobody reads them.
pub const LAST_WRITES: Duration = Duration::from_secs(3);
/// How long a stop takes at the most; a shard that hangs longer is left, and the process ends.
pub const STOP_MAX: Duration = Duration::from_secs(45);
/// A certificate that ends within this is told: renewals are made weeks before.
pub const CERTIFICATE_SOON: Duration = Duration::from_secs(14 * 86_400);
/// What is doubtful about a certificate in use is said again after this: it is to be seen in each day's log.
pub const CERTIFICATE_SAID: Duration = Duration::from_secs(86_400);
/// A stop that is told again within this is the same one: `timeout`, process managers and terminals signal a process and its group.
pub const STOP_REPEATED: Duration = Duration::from_secs(1);

/// Deadlines of the client side (RFC 5321 4.5.3.2).
pub mod client {
    use super::Duration;
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
    /// The whole of a small body, however slowly it is taken. A hop that takes a byte now and then would hold its connection for ever.
    pub const BODY: Duration = Duration::from_secs(600);
    /// Bytes a second that a hop must take of what is larger: half of what the slowest lines of our time carry.
    pub const BODY_RATE: u64 = 4096;
    /// 4.5.3.2.6 the reply after the final dot.
    pub const DOT: Duration = Duration::from_secs(600);
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
    /// A connection carries one message after the other for so long, a quarter less or not at all, so that not all of a site end together:
    /// then its host is looked up and chosen anew.
    pub const REUSE: Duration = Duration::from_secs(300);
    /// An idle connection is kept this long for more mail.
    pub const IDLE: Duration = Duration::from_secs(10);
}

/// Deadlines of the server side.
pub mod server {
    use super::Duration;
    /// 4.5.3.2.7: waiting for the next command. The rest of a line that has begun may take as long, however its bytes drip.
    pub const COMMAND: Duration = Duration::from_secs(300);
    /// A session, or what of it follows a message, that brings no mail. Twice the longest silence, and no client that delivers
    /// mail needs as much between two messages.
    pub const WITHOUT_MAIL: Duration = Duration::from_secs(600);
    /// The same once a recipient was taken: a thousand of them, each a round trip, on a slow line.
    pub const TRANSACTION: Duration = Duration::from_secs(1800);
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
}

/// How long a drain waits for what is in flight before it stops all the same.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);

const _: () = {
    assert!(PATH_MAX + "MAIL FROM:\r\n".len() <= 512 && LOCAL_PART_MAX + 2 < PATH_MAX);
    assert!(COMMAND_LINE_MAX >= 512 && AUTH_LINE_MAX >= 12_288);
    assert!(AUTH_LINE_MAX <= SCRATCH, "a whole line must fit in what one receive brings");
    assert!(BODY_GATHER_MAX <= COMMIT_BYTES_MAX / 4, "a few whole bodies must fit in one commit");
    assert!(BODY_GATHER_MAX <= COMPACTION_BYTES_MAX, "a body that lies in one piece moves in one piece");
    assert!(PARAMETERS_BYTES_MAX >= METADATA_MAX + 6 * (PARAMETER_MAX + 3) + 3, "a whole set always fits");
    assert!(
        PARAMETERS_BYTES_MAX <= COMMIT_BYTES_MAX / 4,
        "they are in the record of each message, also when it moves"
    );
    assert!((COMMIT_BYTES_MAX as u64) < SEGMENT_SIZE_MIN, "a commit must fit in an empty segment");
    assert!(SEGMENT_SIZE_MAX <= u32::MAX as u64, "offsets are 32 bits");
    assert!(SEGMENTS_MAX <= u16::MAX as usize, "slots are 16 bits");
    assert!(RECIPIENTS_MAX <= u16::MAX as usize, "recipient ordinals are 16 bits");
    assert!(RECIPIENTS_MAX >= 100 && TRANSACTION_RECIPIENTS_MAX >= 100, "RFC 5321 4.5.3.1.8");
    assert!(COMMIT_ITEMS_MAX + 8 <= 1024, "IOV_MAX");
    assert!(HOPS_MAX >= 100, "RFC 5321 6.3");
    assert!(INBOX_BATCH <= HANDOFF_INBOX);
    assert!(
        RESOLVES_PROMPT + RESOLVES_SLOW < DNS_INFLIGHT_MAX,
        "some are left for hosts that are connected to"
    );
    assert!(MX_HOSTS_KEPT >= MX_HOSTS_MAX && MX_HOSTS_MAX >= 2, "RFC 5321 5.1 asks for at least two");
    assert!(MX_NAMES_MAX >= DOMAIN_MAX, "one host is always kept");
    assert!(DRAIN_MAX.as_secs() + LAST_WRITES.as_secs() < STOP_MAX.as_secs(), "a stop in order must fit");
    assert!(STOP_MAX.as_secs() < 60, "TimeoutStopSec of deploy/relevo.service");
    assert!(ACCOUNTING_HELD >= ACCOUNTING_CHUNK * 2);
};
