//! The DNS: name servers, caches, look-ups, hosts.

use std::time::Duration;

/// Addresses tried for one delivery over all hosts (RFC 5321 5.1 asks for at least two); the next one begins with those that were not.
pub const MX_ADDRESSES_MAX: usize = 20;
/// MX hosts of a domain that are kept, the preferred ones: more than large receivers have.
pub const MX_HOSTS_KEPT: usize = 24;
/// Bytes of their names: all of them fit where each has 64 letters. A site, whose name they are, has as many as there are, and so has what is
/// remembered of the answer: what one may cost, and not what it does.
pub const MX_NAMES_MAX: usize = MX_HOSTS_KEPT * 64;
/// Addresses of a host that are kept.
pub const HOST_ADDRESSES_KEPT: usize = 64;
/// Texts of a name that are kept: a domain in use for long has some tens, of all who once wanted a proof that it is its owner's.
pub const DNS_TEXTS_KEPT: usize = 256;
/// Names of an address that are kept.
pub const DNS_NAMES_KEPT: usize = 64;
/// Certificates of a server that are kept.
pub const DNS_ASSOCIATIONS_KEPT: usize = 64;
/// How long what is known of this machine's addresses counts before they are looked at for the next host: mail to one that is new comes back.
pub const OWN_ADDRESSES_FRESH: Duration = Duration::from_secs(2);
/// How long that look is waited for.
pub const OWN_ADDRESSES_PATIENCE: Duration = Duration::from_millis(100);
/// Addresses of this machine that are known; a machine with more has them from a pool that a route may name.
pub const OWN_ADDRESSES_MAX: usize = 16_384;
/// Bytes of a hosts file, and names in it: it is for the hosts an operator names by hand.
pub const HOSTS_FILE_MAX: u64 = 1024 * 1024;
/// See [`HOSTS_FILE_MAX`].
pub const HOSTS_NAMES_MAX: usize = 20_000;

/// Bytes of the resolver caches of all shards together. A name with one or two hosts or addresses takes 65: half of it, which is for what was
/// used of late, has room for a million, and more.
pub const DNS_CACHE_BYTES: usize = 256 * 1024 * 1024;
/// On a machine of less than 4 GiB, the part that it is of what clients may hold in transactions: a sixteenth of the memory.
pub const DNS_CACHE_SHARE: usize = 2;
/// A shard has so much whatever its share is: some tens of thousands of usual answers.
pub const DNS_CACHE_BYTES_LEAST: usize = 4 * 1024 * 1024;
/// Bytes of a part of a cache that grows and is forgotten by itself: that takes some ten microseconds.
pub const DNS_CACHE_PART: usize = 128 * 1024;
/// Letters of a name whose answer is kept: 255 octets (RFC 1035 section 2.3.4), each of which may be written as four.
pub const DNS_NAME_MAX: usize = 1024;
/// Answers that hold for less are not asked for again before they end: a tenth of it is to be time enough.
pub const DNS_RENEWED_TTL_MIN: Duration = Duration::from_secs(30);
/// Answers that a shard begins to ask for again in a second, and such questions in flight; one for which there is no place has another chance with its
/// next use.
pub const DNS_RENEWALS_MAX: usize = 100;
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
/// Looks in a row at which one of them cannot be read before that is said: it may be about to be written.
pub const NAMES_LOST_LOOKS: u32 = 2;
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
pub const RESOLVES_PROMPT: usize = 500;
/// Of them, those that are asked for at once before any is answered.
pub const RESOLVES_BURST: usize = 150;
/// And those that are asked for after that, evenly within [`RESOLVE_PROMPT`], while none is answered: some places stay free at any time.
pub const RESOLVES_SILENT: usize = 300;
/// Domains of whose message and zone nothing waits that are asked for before those that wait, at one time. Their places are kept free; each that
/// is taken is free again when one of those who wait was asked for.
pub const RESOLVES_NEWCOMERS: usize = 16;
/// Domains whose resolution begins before other tasks have a turn; an answer that is known already is worked on at once.
pub const RESOLVES_AT_ONCE: usize = 32;
/// How long a domain may take before it counts as slow: a name server far away that answers takes less.
pub const RESOLVE_PROMPT: Duration = Duration::from_millis(1_000);
/// Slow ones at one time.
pub const RESOLVES_SLOW: usize = 400;
const _: () = assert!(RESOLVES_BURST + RESOLVES_SILENT < RESOLVES_PROMPT);
const _: () = assert!(RESOLVES_PROMPT + RESOLVES_SLOW < DNS_INFLIGHT_MAX);
/// Domains asked for at one time while no name server answers.
pub const RESOLVES_DEAF: usize = 8;
/// How long a domain waits to be looked up before its mail is told so, at the least: twice what dead name servers take to be found dead.
pub const RESOLVE_PATIENCE: Duration = Duration::from_secs(30);
/// Longest CNAME chain followed.
pub const DNS_CNAME_MAX: usize = 12;

/// No answer of the DNS is believed for longer, whatever its TTL says.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(86_400);
/// No name is asked for again sooner.
pub const DNS_TTL_MIN: Duration = Duration::from_secs(5);
/// That there is nothing is believed at most this long (RFC 2308 section 5).
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3 * 3600);
/// A failed look-up is remembered this long, so that a dead zone is not asked for by every message (RFC 2308 section 7).
pub const DNS_FAILURE_TTL: Duration = Duration::from_secs(10);

/// How long a look-up for a host that is connected to waits before it is looked again whether too many are under way.
pub const ASKING_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of an answer that one read takes: over UDP all of it, as we ask for less (`dns::message`) and some servers send more.
pub const DNS_READ: usize = 4096;
/// Tries of a question that a configuration may ask for.
pub const DNS_ATTEMPTS_MAX: u64 = 20;
/// Shortest time that it may give a name server for an answer: a round trip around the earth takes longer.
pub const DNS_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// How long a command waits for what the DNS has of one name, its aliases followed.
pub const LOOKUP_MAX: Duration = Duration::from_secs(30);
/// Bytes of one string of a TXT record (RFC 1035 3.3).
pub const TXT_STRING_MAX: usize = 255;
/// Look-ups that the SPF records of a domain may take (RFC 7208 4.6.4).
pub const SPF_LOOKUPS_MAX: usize = 10;
/// Of them, those that may lead to nothing.
pub const SPF_VOID_MAX: usize = 2;
/// Names that are looked at for the DMARC record of a domain (RFC 9989 4.10).
pub const DMARC_WALK_MAX: usize = 8;
