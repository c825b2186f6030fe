//! Queues by domain and site, fairness, retries.

/// Domains of a failed site asked for again in one tick; the others wait for its next turn.
pub const RESOLVED_A_TICK: usize = 500;
/// Domains of a site whose lanes' credits are looked at to see whether it is starved.
pub const STARVED_LOOKED_AT: usize = 64;

/// The same of each flow, where several have mail at a site.
pub const STARVED_LOOKED_AT_EACH: usize = 4;

/// Of so many messages that a site takes, each class of priority has one at least while it has mail, whatever those above it have: what is `low`
/// goes slowly then, and nothing waits for ever.
pub const CLASS_TURN: u32 = 16;
/// A tenant has had mail at a site for a while once so many messages of it were taken without a gap; before that a connection that is kept free
/// is for it.
pub const STEADY_FROM: u32 = 16;
/// Tenants of each class that shares over the node tell apart at one site; beyond that two share a part.
pub const NODE_TENANTS: usize = 64;
/// Campaigns of one of them that are told apart so, and how many of a tenant each shard looks through for the one that is next.
pub const NODE_CAMPAIGNS: usize = 32;
/// Places of these tables that are looked at for one.
pub const NODE_PROBES: usize = 16;
/// Tenants that a shard looks at, behind the one that is next, for the one of which other shards are to know.
pub const NODE_HEADS: usize = 8;
/// Messages that a tenant of weight 1 may be behind the others over the node: who comes begins there, and further behind nothing is made up for.
pub const NODE_CREDIT: u64 = 12;
/// All connections of a site count for its shares over the node as so many messages that a tenant of weight 1 has had: the higher, the longer a
/// connection stays where it is.
pub const NODE_AHEAD: u64 = 8;
/// Messages by which a shard must be behind, and that is no more than chance.
pub const NODE_SLACK: u64 = 2;
/// Weight of a tenant, at most.
pub const TENANT_WEIGHT_MAX: u64 = 1_000;

/// Places of the table by which newcomers are counted: some tens of thousands of messages and zones apart.
pub const FAIR_COUNTS: usize = 1 << 14;
/// The same of a queue of which there may be thousands: four kilobytes.
pub const FAIR_COUNTS_SMALL: usize = 1 << 10;
/// So many newcomers go before the second of a message or of a zone, twice as many before the third: hardly anybody waits behind those who
/// want much, and these wait for no more than that.
pub const FAIR_STEP: u64 = 256;

/// Flows with mail for one domain by one egress that are told apart: beyond these campaigns of a tenant are one, and beyond twice as many tenants.
/// Each has a queue, and an application may call each message a campaign.
pub const FLOWS_A_DOMAIN: usize = 64;

/// How far a wait may lie from its nominal length, as a share of it.
pub const RETRY_JITTER: f64 = 0.2;

/// The site of a domain is asked for again after so many seconds, if nothing of the domain is under way then. The resolver's cache
/// knows how long an answer holds; this is what a message saves that comes right after another.
pub const RESOLVED_FOR: u32 = 5;

/// Domains that left and still stand in the ring of a site, whatever its length.
pub const RING_LEFT_MAX: usize = 64;

/// A site that failed is remembered so long (seconds) after it was to be tried again, so that its pauses grow.
pub const SITE_FAILURES_KEPT: u32 = 900;

/// Domains without mail that are kept for the next, one for each source and flow: some 400 bytes each, and what is new costs three microseconds.
pub const DOMAINS_LEAVING_MAX: usize = 32_768;

/// Lifetimes of mail that are told apart, so that its age is known: `retry.expire`, those of rules, and those that applications ask for.
pub const LIFETIMES_MAX: usize = 254;

/// Runs of recipients that one search finds, 16 bytes each: more than are queued on nearly all nodes.
pub const FOUND_MAX: usize = 2 * 1024 * 1024;
/// Entries of an index whose runs are looked through together: keys are dense, so these are some cache lines.
pub const FOUND_BLOCK: u32 = 64;
/// How many times dearer a look at a group is where it is looked up among what was found: each is a miss of the caches or two.
pub const FOUND_LOOK_COST: usize = 4;
/// Times at which domains are looked at that are out of date, beside twice as many as there are domains, before they are sorted out.
pub const WAKES_SPARE: usize = 1024;
/// Places for texts of replies that are left to bare codes when all others are taken: there are a thousand codes.
pub const REPLIES_OF_CODES: usize = 1_000;
