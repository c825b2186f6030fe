//! Rules, accounts, guesses, password hashes, descriptors.

use std::time::Duration;

use super::control::{HTTP_CONNECTIONS_MAX, LOCAL_CONNECTIONS_MAX, LOCAL_REFUSALS_MAX};
use super::fleet::FLEET_AT_ONCE;
use super::tokens::{API_CONNECTIONS_MAX, API_PASSED, API_REFUSALS_MAX};

/// Credentials for smart hosts that a configuration may have.
pub const CREDENTIALS_MAX: usize = 1_000;
/// Bytes of a file with a password: one line.
pub const PASSWORD_FILE_MAX: u64 = 4096;
/// Rules of a configuration: they are looked through for each message and recipient.
pub const RULES_MAX: usize = 1_000;
/// Bytes of a pattern as it is written.
pub const PATTERN_MAX: usize = 4 * 1024;
/// Bytes of a compiled one: what bounds the time of a match beside the value, and a thousand of them on each shard.
pub const PATTERN_SIZE_MAX: usize = 64 * 1024;
/// Bytes of a header field that rules match, and of one that they add.
pub const FIELD_VALUE_MAX: usize = 900;
/// Bytes of a line that rules add, CRLF excluded (RFC 5322 2.1.1): strict hops refuse a message for a longer one.
pub const ADDED_LINE_MAX: usize = 998;
/// Bytes of the fields that rules add to one message.
pub const HEADER_ADDED_MAX: usize = 16 * 1024;
/// Addresses and domains that one account may send as, and that it may send to.
pub const ACCOUNT_SENDERS_MAX: usize = 1_000;
/// Parts of a window in which what clients and accounts bring is counted: a right comes back late by one of them, and that is half a kilobyte for each.
pub const RATE_SLOTS: usize = 64;
/// The one that is under way is held beside them.
pub const RATE_SLOTS_HELD: usize = RATE_SLOTS + 1;
/// Clients whose rates are counted, over all listeners: 30 MiB, or twice that where both messages and recipients are.
pub const CLIENT_RATES_MAX: usize = 50_000;
/// So many of them are kept whether they say anything or not.
pub const CLIENT_RATES_KEPT: usize = 1_000;
/// Above that they are looked through no more often than this.
pub const CLIENT_RATES_LOOK: Duration = Duration::from_secs(10);
/// Times that a shard tries to take what another is taking, too.
pub const RATE_TRIES: usize = 4;
/// Networks that one account may log in from.
pub const ACCOUNT_NETWORKS_MAX: usize = 1_000;
/// Accounts of one file.
pub const ACCOUNTS_MAX: usize = 100_000;
/// Bytes of their file: each a name and a hash of any length that is in use.
pub const ACCOUNTS_FILE_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a file with certificates or a key: a chain has a few KiB.
pub const PEM_FILE_MAX: u64 = 1024 * 1024;
/// Certificates of one listener.
pub const CERTIFICATES_MAX: usize = 1_000;
/// Names of a certificate that is for another host, as far as they are told.
pub const CERTIFICATE_NAMES_TOLD: usize = 3;
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
/// Bytes of the salt of a SCRAM verifier that is made here: as everywhere.
pub const SCRAM_SALT: usize = 16;
/// Of one that is made elsewhere: fewer are no salt.
pub const SCRAM_SALT_MIN: usize = 8;
/// More than any program that makes one; clients are told it.
pub const SCRAM_SALT_MAX: usize = 64;
/// Iterations of a verifier that nobody asks for others of: the rule of thumb of RFC 7677 section 4. Clients compute them at each login.
pub const SCRAM_ITERATIONS: u32 = 15_000;

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
/// Wrong guesses at one account before its login is slowed, from wherever: it is closed for nobody by that.
pub const GUESSES_ACCOUNT: u64 = 1_000;
/// How fast one of these is forgotten.
pub const GUESS_ACCOUNT_FORGOTTEN: Duration = Duration::from_secs(6);
/// How fast one of those of the whole node is.
pub const GUESS_NODE_FORGOTTEN: Duration = Duration::from_secs(1);
/// For so many seconds an attempt is held against its network that was turned away while others were checked: who comes more often than passwords
/// can be checked goes behind who comes once, before any of them has failed.
pub const GUESS_PRESSED: u32 = 2;
/// All that is held against a network so, in seconds.
pub const GUESS_PRESSED_MAX: u32 = 60;
/// The rank of a login of whose network nothing is known is below this, and that of each network against which anything speaks is not.
pub const RANK_SPOKEN_AGAINST: u32 = 1 << 16;
/// Passwords of one client address that are checked at one time.
pub const GUESSES_AT_ONCE: u32 = 16;
/// How long the first failed login waits for its 535, doubled with each further one of that network.
pub const GUESS_DELAY: Duration = Duration::from_secs(1);
/// The longest it waits: above this a guesser opens more connections instead.
pub const GUESS_DELAY_MAX: Duration = Duration::from_secs(4);
/// Sessions of one shard that wait so at one time; one more is ended instead.
pub const GUESSERS_DELAYED_MAX: usize = 1_000;
/// Of these, as many as are kept for those against whose network nothing speaks, and for a first failure.
pub const NEWCOMERS_DELAYED: usize = 250;
/// Client addresses and networks whose failures are remembered: 4 MiB of the node.
pub const GUESSERS_MAX: usize = 65_536;
/// Names of accounts at which failures are remembered: 1 MiB of the node.
pub const GUESSED_ACCOUNTS_MAX: usize = 16_384;
/// Pairs of account and address that are remembered for having succeeded: 2 MiB of the node.
pub const KNOWN_CLIENTS_MAX: usize = 32_768;
/// How exactly it is kept over a restart which of them logged in before which: where there are too many, the one goes that did not for the longest.
pub const KNOWN_ORDER: Duration = Duration::from_secs(3600);
/// Rows of that table that are read at one time, while those who log in wait.
pub const KNOWN_ROWS_AT_ONCE: usize = 256;
/// Bytes of the file that they are kept in.
pub const LOGINS_FILE_MAX: u64 = 8 * KNOWN_CLIENTS_MAX as u64 + 1024;
/// How long it takes at most until a client that has logged in for the first time is kept.
pub const LOGINS_KEPT_AFTER: Duration = Duration::from_secs(5);
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
/// Domains that a listener takes from anybody: who is the MX of more has them below a few.
pub const RELAY_TO_MAX: usize = 10_000;

/// Longest a session waits for its password to be checked, its turn and the check itself: on a core that is always wanted elsewhere a
/// check that has begun may take minutes. It goes on, and who comes again hears of it.
pub const AUTH_WAIT_MAX: Duration = Duration::from_secs(30);

/// Descriptors for what is open beside shards: connections of HTTP and of commands, and logs, the journal, standard streams, the lock, and files that
/// are read for a moment.
pub const DESCRIPTORS_OF_CONTROL: u64 = 40
    + (HTTP_CONNECTIONS_MAX + LOCAL_CONNECTIONS_MAX + LOCAL_REFUSALS_MAX) as u64
    + (API_CONNECTIONS_MAX + API_PASSED + API_REFUSALS_MAX) as u64
    + 2 * FLEET_AT_ONCE as u64;
/// Of each shard: rings, bells, sets, questions to name servers; each listener has one more.
pub const DESCRIPTORS_OF_SHARD: u64 = 24;
/// Listeners that a reload may add where open files are short, each with a socket in every shard: what more there are needs files that connections do
/// not have.
pub const DESCRIPTORS_LISTENERS: u64 = 8;
/// Of each segment: for the map, for writing, and the runtime's.
pub const DESCRIPTORS_OF_SEGMENT: u64 = 3;
/// Segments that each lane may grow by before it eats into what connections have.
pub const DESCRIPTORS_GROWTH: u64 = 8;
/// The part of the rest (in percent) for connections to next hops: mail that was taken must leave.
pub const DESCRIPTORS_OUTBOUND: u64 = 25;
/// The part for questions to name servers, each of which has a socket of its own.
pub const DESCRIPTORS_QUESTIONS: u64 = 10;
/// Fewest connections of a shard, of each kind, however few descriptors there are.
pub const CONNECTIONS_LEAST: u64 = 8;

/// Wrong credentials of one address that are remembered.
pub const WRONG_KEPT: usize = 4;
/// Entries of one row of the tables of guesses: where it is full, the one goes that is soonest forgotten anyway.
pub const GUESSES_ROW: usize = 8;
/// Places in the table of clients that are kept whatever leaves: some tens of kilobytes.
pub const CLIENTS_ROOM_KEPT: usize = 1024;
