//! Towards next hops: sites, replies, loans, retries that are due.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Longest reply line accepted from a next hop; the rest of a longer one is dropped (RFC 5321 4.5.3.1.5 says 512).
pub const REPLY_LINE_MAX: usize = 2048;
/// Times bytes are received from a hop that was sent QUIT before it is left to itself.
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
/// What there is a way to where there is one out of the machine's networks, of each family: a root name server, which has the same addresses for
/// good. Nothing is sent there.
pub const FAR_ADDRESSES: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 41, 0, 4), Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30));
/// How long a host that broke a transaction is asked after the others of its site: longer than the first retries are apart, so that these
/// reach another host, and short enough for the best host to have its mail again soon after it recovered.
pub const HOP_FAILURE_KEPT: Duration = Duration::from_secs(600);
/// Times in that span that messages of a site, on each shard, go from a host in trouble to the next with nothing counted: more than
/// connections that are open when the trouble begins, and an end to it where a host takes some mail and is in trouble with other. Counted with
/// them: messages that go on over another connection as a host ends each at one recipient too many.
pub const MOVES_MAX: u32 = 100;
/// Hosts kept in mind, on each shard, because they hang up on EHLO, and as many because they lose commands that are sent together.
pub const MANNERS_MAX: usize = 10_000;
/// How long such a host is spared them: what is lost by it is some round trips, and TLS where EHLO is not said.
pub const MANNERS_KEPT: Duration = Duration::from_secs(3600);

/// Jobs of one home shard that another shard has on loan, at most: enough to keep it busy while the next loan is on its way.
pub const LOANED_MAX: usize = 128;
/// Jobs of a site that wait before a shard that has no time lends some of them.
pub const LEND_AT: usize = 64;
/// For so long a shard has had no time when it lends mail of a site that several tenants share.
pub const LEND_SHARED_AFTER: Duration = Duration::from_secs(1);
/// A loan nobody works on for this long goes home.
pub const LOAN_IDLE: Duration = Duration::from_secs(2);
/// A shard that gave back work untouched is not asked again for the same site before this.
pub const LEND_PAUSE: Duration = Duration::from_secs(5);
/// A connection without work is kept so long for the shard that has it, though another wants to connect.
pub const IDLE_KEPT: Duration = Duration::from_millis(500);
/// Share of its time (in percent) that a shard must have worked before it lends.
pub const LEND_LOAD: u64 = 60;

/// Jobs that one connection of a prompt hop is trusted with before a busy shard wakes or opens another: fewer connections with
/// more to do each cost less than many with little, and the last of these jobs waits for so many prompt answers.
pub const JOBS_A_CONNECTION: usize = 4;

/// Recipients of one outbound transaction (RFC 5321 4.5.3.1.8: every server takes 100).
pub const TRANSACTION_RECIPIENTS_MAX: usize = 100;
/// Default connections of the node to one destination.
pub const DESTINATION_CONNECTIONS_DEFAULT: usize = 20;
/// Messages a connection carries before its place goes to another site that waits for the same address.
pub const ADDRESS_TURN: usize = 20;

/// New sessions in a row that end before anything comes of them, by the hop's doing: then its site rests. One message that a hop chokes on is none, and
/// what else waits goes by the sessions between.
pub const SITE_IN_VAIN: u32 = 5;

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

/// Looks of one turn, some 0.1 ms where each is a domain that is in no cache; then all others have theirs.
pub const TEND_TURN: usize = 1_024;
/// What is told or given up counts as so many looks: it is written, logged and sent on. 16 a turn.
pub const TEND_SETTLED: usize = 64;

/// Questions without any answer after which it is asked whether the name servers are deaf.
pub const DEAF_SUSPECTED_AT: u32 = 32;
/// And the time without one.
pub const DEAF_SUSPECTED_AFTER: Duration = Duration::from_secs(1);

/// Slices of one vectored write of a body.
pub const SLICES: usize = 32;

/// Connections to one site that a shard opens at one time while none is open.
pub const OPENING_MIN: usize = 4;

/// How long no further connection to a site is tried after one failed while others work.
pub const WIDEN_PAUSE: Duration = Duration::from_secs(5);

/// The span over which it is measured how busy a shard is, at least.
pub const LOAD_MEASURED: Duration = Duration::from_millis(20);

/// How long after a loan a shard leaves others the larger share of the connections.
pub const LENDER_KEPT: Duration = Duration::from_secs(2);
/// Attempted jobs that go home together, unless the borrower has nothing left to do.
pub const RETURN_AT: usize = 16;

/// Flows of a site at most, of whose tenants the rates are counted when it is asked how many connections their mail wants.
pub const TENANTS_COUNTED: usize = 32;

/// Sites looked at for one that may connect when a place is free.
pub const SITES_LOOKED_AT: usize = 16;
/// The same in a tick.
pub const SITES_LOOKED_AT_TICK: usize = 256;

/// How long what is tried for the last time may wait for its look-up and its connection, seconds.
pub const LAST_TRY_MAX: u32 = 300;

/// A domain that led nowhere is asked for again after so many seconds, if not all of its mail could be settled.
pub const DOMAIN_ASKED_AGAIN: u32 = 5;

/// Groups moved from waiting to ready in one tick of dispatch.
pub const TICK_GROUPS: usize = 2_000;
/// The same in one turn.
pub const TURN_GROUPS: usize = 100;
/// Sites looked at in one turn of a sweep.
pub const TURN_SITES: usize = 500;
/// Ticks between sweeps for sites without mail: a minute.
pub const SWEEP_ROUNDS: u32 = 240;
/// How often due retries are looked for.
pub const DISPATCH_TICK: Duration = Duration::from_millis(250);

/// Handoffs that are taken from an inbox in a turn that outcomes made long.
pub const HANDOFFS_LEAST: usize = 4;

/// How often a site with much to do is looked at for what could be lent.
pub const LEND_LOOK: Duration = Duration::from_millis(2);

/// Milliseconds that the wall clock and the queues' clock may be apart over a message before the wall clock counts as set since.
pub const CLOCK_APART_MS: u64 = 5_000;

/// How long the next connection to be free is kept for the shard that it was promised to: who passes it on sends QUIT first.
pub const NODE_PROMISE: Duration = Duration::from_millis(250);
/// Shares over the node are kept so long after the last shard waited for a connection.
pub const NODE_SHARES_KEPT: Duration = Duration::from_secs(10);

/// A shard that has so many connections to a site keeps one of them free for tenants that send there now and then.
pub const SPARE_FROM: usize = 5;
/// It does so for this time after the last message of one that sent so.
pub const SPARE_KEPT: Duration = Duration::from_secs(5);

/// Messages that a connection carries before its place goes to another shard that waits for one and has fewer.
pub const CONNECTION_TURN: usize = 100;
/// For so long (seconds) after a message came its pages are surely in memory still.
pub const RESIDENT_FOR: u32 = 60;

/// Targets of one route: a pool of smart hosts and what stands behind it.
pub const ROUTE_CHOICES_MAX: usize = 16;
/// Hosts of one hop: those of an MX and what a route puts behind them.
pub const HOP_HOSTS_MAX: usize = super::dns::MX_HOSTS_KEPT + ROUTE_CHOICES_MAX;
/// Largest weight of a target: a thousandth of the connections is a trial, and less is none.
pub const ROUTE_WEIGHT_MAX: u64 = 1000;
/// Largest order of a target: room to number them in tens or hundreds.
pub const ROUTE_ORDER_MAX: u64 = 10_000;
/// Bytes of the path of a Unix socket: `sun_path` has 108, and a zero behind it (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;
/// Connections to one destination, or to one address, that a configuration may ask for.
pub const DESTINATION_CONNECTIONS_LIMIT: u64 = 10_000;
/// Messages of one connection that it may ask for; 0 is no bound.
pub const MESSAGES_PER_CONNECTION_LIMIT: u64 = 1_000_000;
/// Waits of a schedule of retries: what is written down of a message that has its own is no longer than a parameter.
pub const RETRY_STEPS_MAX: usize = 16;
/// How long a tenant whose rate lets nothing go waits before it is looked whether another rate is in force.
pub const TENANT_LOOK: Duration = Duration::from_secs(1);
/// Tenants that it may name.
pub const TENANTS_MAX: usize = 10_000;
/// Factor between two waits that it may ask for: with more the second one is the longest.
pub const RETRY_FACTOR_MAX: f64 = 100.0;

/// Sources of a configuration.
pub const SOURCES_MAX: usize = 4096;
/// Pools of a configuration, beside those that each source is alone.
pub const POOLS_MAX: usize = 1024;
/// Sources of a pool: all of them are weighed for each message that goes by it.
pub const POOL_SOURCES_MAX: usize = 256;
/// Pairs of pool and source that one process has known, those of earlier configurations included: queues number them with 14 bits.
pub const EGRESSES_MAX: usize = 0x3fff;
/// Bytes of the name of a source or pool: it stands in the names of sites and as a label of metrics.
pub const SOURCE_NAME_MAX: usize = 64;
/// The share of a source in its pool.
pub const SOURCE_WEIGHT_MAX: u64 = 10_000;
/// Suspended sources that are looked at in one turn: each may take as long as its proxy is waited for.
pub const SOURCES_LOOKED_AT: usize = 16;
/// How long a proxy that failed is waited for to see whether it is there again.
pub const PROXY_LOOK: Duration = Duration::from_secs(5);
/// Sites in a row of which no host greets through the proxy of a source before that is held to be the proxy's fault: one that is dead, or several of one
/// operator, are to suspend no source.
pub const SILENT_SITES: usize = 5;
/// The same while a proxy that was silent is tried again.
pub const SILENT_SITES_ON_TRIAL: usize = 2;
/// For so long none is heard before that: a moment without a network is none of the proxy's.
pub const SILENT_FOR: Duration = Duration::from_secs(3);
/// Messages of each shard of which it is said that they name a pool that is not there, until the next reload.
pub const UNKNOWN_POOLS_TOLD: usize = 10;
/// Groups of one domain that go on by another source in one turn.
pub const TURN_MOVED: usize = 64;
/// Bytes of the name, and of the password, of a user of a SOCKS5 proxy (RFC 1929 section 2).
pub const SOCKS_LOGIN_MAX: usize = u8::MAX as usize;
/// Sources that an error, or `relevo status`, names.
pub const SOURCES_NAMED: usize = 12;
/// Days that a warm-up plan names.
pub const WARMUP_STEPS_MAX: usize = 366;
/// The last of these: two years.
pub const WARMUP_DAY_MAX: u32 = 731;
/// Messages a day of a plan, to one provider.
pub const WARMUP_VOLUME_MAX: u32 = 1_000_000_000;
/// Counts of one source and provider are reserved in blocks: one part in so many of the day's volume, which is what a kill wastes.
pub const WARMUP_BLOCK_PART: u32 = 10;
/// Messages of a block at most: it lasts as long as it takes to get the next at many thousands a second.
pub const WARMUP_BLOCK_MAX: u32 = 1_000;
/// The next block is asked for when one part in so many of a block is left.
pub const WARMUP_LOW_PART: u32 = 4;
/// Days that are remembered of a source at a provider: the clock may be set back by as many that mail went out on.
pub const WARMUP_DAYS_KEPT: usize = 16;
/// Sources at providers that are known at one time. Of others the file of decisions knows.
pub const WARMUPS_KNOWN: usize = 20_000;
/// Days of sources at providers in the file of decisions; beyond it the oldest are forgotten.
pub const WARMUP_ROWS_MAX: usize = 400_000;
/// Blocks that are asked for and not reserved yet.
pub const WARMUPS_ASKED: usize = 4_096;
/// How often what overflowed and what providers said is kept.
pub const WARMUP_NOTED: Duration = Duration::from_secs(1);
/// How long a site waits for a block before it looks again.
pub const WARMUP_LOOK: Duration = Duration::from_millis(100);
/// How long one whose day is over waits before it looks at the clock again, which may be set.
pub const WARMUP_OVER_LOOK: Duration = Duration::from_secs(30);
/// Groups that go on by other sources in one turn, as their own has had its day.
pub const OVERFLOW_TURN: usize = 32;
/// Domains of a site that are looked at for it in one turn.
pub const OVERFLOW_LOOKS: usize = 256;
/// How long a site rests from looking for others to take its mail, where there was none.
pub const OVERFLOW_AGAIN: Duration = Duration::from_secs(1);
/// Days after its last one from which on a plan is told to be over: providers that complain make it last longer.
pub const WARMUP_OVER_DAYS: u32 = 30;
