//! What runs beside the shards: logs, HTTP, watching, starts and stops.

use std::time::Duration;

use super::fleet::{FLEET_ANSWER, FLEET_AT_ONCE, FLEET_NODES_MAX, FLEET_SEARCH};
use super::tokens::API_CONNECTIONS_MAX;

/// Bytes of a configuration file: a few thousand routes, and not whatever `--config /dev/zero` would give.
pub const CONFIG_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of accounting records gathered before they are passed to the writer.
pub const ACCOUNTING_CHUNK: usize = 64 * 1024;
/// Bytes of a usual record, which may be the one that fills a chunk.
pub const ACCOUNTING_RECORD: usize = 2 * 1024;
/// Such chunks waiting for the writer, for each shard, and those that a shard holds back until others told what came before; more
/// are dropped and counted, never waited for, unless a journal is kept.
pub const ACCOUNTING_QUEUE: usize = 64;
/// Empty chunks kept for a shard: two are filled while some are written. What a burst made beyond them is given back.
pub const ACCOUNTING_KEPT: usize = 8;
/// Bytes that a shard holds for a journal before it takes no more mail and begins no attempts: more than a second of a shard at its fastest,
/// which is how long a busy disk may keep a journal waiting, and what is held back until it is on the disk in any case.
pub const ACCOUNTING_BEHIND: usize = 16 * 1024 * 1024;

/// How often mail that was found looks whether its lane writes again: what is told again is seldom much.
pub const RETOLD_LOOK: Duration = Duration::from_millis(1);

/// How often a lane that a journal knows nothing of looks whether it does: at the first start of a lane only.
pub const FIRST_JOURNALED_LOOK: Duration = Duration::from_millis(5);

/// Refusals recorded in one second on one shard, on average: enough to see who attacks, and 2 GB a day at the very most.
pub const REJECTED_A_SECOND: u64 = 100;
/// And at once.
pub const REJECTED_BURST: u64 = 1_000;

/// Words to the operator that wait to be written; more are dropped and counted, never waited for.
pub const DIAGNOSTICS_QUEUE: usize = 1024;
/// Longest of them, bytes: who reads them reads lines.
pub const DIAGNOSTIC_MAX: usize = 1024;

/// Bytes of a name in a path: no file system of Linux takes more (NAME_MAX, limits.h).
pub const FILE_NAME_MAX: usize = 255;
/// Links that are followed to where a log would be made: as many as the kernel follows (path_resolution(7)).
pub const LINKS_FOLLOWED: usize = 40;

/// Bytes of one event: one of a message to a thousand recipients with the longest addresses, every byte of them escaped.
pub const EVENT_MAX: usize = 4 * 1024 * 1024;
/// Bytes of events that are written to the journal at once: a fraction of a millisecond, and few writes where there is much.
pub const JOURNAL_BATCH: usize = 1024 * 1024;
/// Bytes that a frame of the journal may claim to have: more is damage, not a frame.
pub const JOURNAL_FRAME_MAX: usize = 8 * 1024 * 1024;
/// Bytes of batches that readers find in memory: those that keep up never read from the disk, and are behind by a round or two.
pub const JOURNAL_RECENT: usize = 4 * 1024 * 1024;
/// Bytes of a segment of the journal, after which the next one begins: room is given back in such steps, and the last one is read at a start.
pub const JOURNAL_SEGMENT: u64 = 64 * 1024 * 1024;
/// Bytes that the spool leaves free for the journal on a file system that both are on: the journal gives room back only when a segment of it is written
/// and read to its end, and needs some for the next meanwhile.
pub const JOURNAL_SPARE: u64 = JOURNAL_SPARE_SEGMENTS * JOURNAL_SEGMENT;
/// The part of that file system that this is at the most: a small one is to be of use as well. The journal's segments are smaller there.
pub const JOURNAL_SPARE_SHARE: u64 = 20;
/// Segments of the journal that find room in what is left free for it: one that is written, one that is read, and as many again until it is seen
/// that they were.
pub const JOURNAL_SPARE_SEGMENTS: u64 = 4;
/// The least that a segment of the journal is, however small the file system.
pub const JOURNAL_SEGMENT_MIN: u64 = 256 * 1024;
/// How long a segment is written, where little comes.
pub const JOURNAL_SEGMENT_AGE: Duration = Duration::from_secs(86_400);
/// How long events that a log does not take are kept: they name people.
pub const JOURNAL_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Bytes of the journal where the configuration says nothing: minutes of a busy node whose log has no room, hours of most, and less than the disk
/// of a spool can miss.
pub const JOURNAL_SIZE_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;
/// The least that may be said: a segment that is written, and one that is read.
pub const JOURNAL_SIZE_MIN: u64 = 128 * 1024 * 1024;
/// How often the journal is synced, unless a lane waits: what a power cut takes of it is told again from the spool.
pub const JOURNAL_SYNC: Duration = Duration::from_secs(1);
/// How often a shard passes on what it told while a segment of its lane, or of another's, waits for the journal: a lane at its fastest fills one in
/// half a second, and each that waits is another one to be made.
pub const TOLD_HURRIED: Duration = Duration::from_millis(50);
/// How long all shards do so then.
pub const HURRY: Duration = Duration::from_secs(1);
/// How often a log writes its cursor: what a pipe may get twice after a kill.
pub const CURSOR_SAVED: Duration = Duration::from_secs(1);
/// Bytes of one of the two places of a cursor: the longest path, every byte of it escaped, and numbers.
pub const CURSOR_SLOT: usize = 32 * 1024;
/// Bytes of its file.
pub const CURSOR_MAX: u64 = 2 * CURSOR_SLOT as u64;
/// Logs: each has a thread, and a file that is open.
pub const LOGS_MAX: usize = 8;
/// Pieces of the journal that a log writes before it looks whether it is to end, or to open its file again.
pub const LOG_PIECES: u32 = 64;
/// Files of a log's directory that are looked at for the one that was written before a kill: rotated ones are few.
pub const LOG_DIRECTORY_MAX: usize = 10_000;
/// How often a log that could not find out where it goes on tries that again: it may read gigabytes for it.
pub const LOG_RESUMED_AGAIN: Duration = Duration::from_secs(60);
/// Places in what stands unread in a pipe that a log remembers: a page of lines each where much is written, and a pipe has 16 pages, or 256 if
/// somebody asked for that. What is between two of them is written again when nobody read it.
pub const PIPE_CHECKPOINTS: usize = 1024;
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
/// What lasts is said again after this, then after twice that, and so on.
pub const SAID_AGAIN: Duration = Duration::from_secs(60);
/// And at the latest after this: who looks at the last hours' log must find it.
pub const SAID_AGAIN_MAX: Duration = Duration::from_secs(3600);
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

/// The longest that a stop may wait for balancers to see it coming, before it drains.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(60);
/// How long a drain waits for what is in flight before it stops all the same.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long a client that pauses in the middle of a message may take from the begin of a drain on: a message at hand is sent in less, and who is silent
/// longer does not hold up a stop.
pub const STOP_PAUSE: Duration = Duration::from_secs(5);
/// So long before that a drain ends what is in the middle of a body: what an LMTP server answered for some recipients is written down, and the
/// connection is reset.
pub const STOP_PARTIAL: Duration = Duration::from_secs(3);

/// Longest latency told apart, microseconds: a day.
pub const LATENCY_MAX_US: u64 = 86_400_000_000;

/// How long shards may take to read their lanes before the start is given up.
pub const START_MAX: Duration = Duration::from_secs(3600);
/// How long shards may take to end: their drain, and a little for what is not part of it.
pub const STOP_SHARDS_MAX: Duration = DRAIN_MAX.saturating_add(Duration::from_secs(5));
/// How long a start waits for the lock of a process that is ending.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether a stop takes too long.
pub const STOP_LOOK: Duration = Duration::from_millis(500);

/// How long deliveries of the demonstration may take after its last message was sent.
pub const DEMO_PATIENCE: Duration = Duration::from_secs(30);
/// Its connections to the sink: it is one site, whatever domains the mail is for, and takes more than a stranger would.
pub const DEMO_SINK_CONNECTIONS: usize = 100;
/// Its connections to the relay; each sends as fast as it is answered.
pub const DEMO_CONNECTIONS: usize = 16;
/// How often one that stays looks at its internet and at its signals, milliseconds.
pub const DEMO_LOOK: u64 = 200;

/// Errors of one configuration file that are told: a file that is something else has one on every line.
pub const CONFIG_ERRORS_TOLD: usize = 20;

/// Longest time that a configuration may ask for.
pub const CONFIG_TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// So many times longer or shorter than usual nobody means a time to be: a number without a unit has another one then.
pub const TIME_GUESS_FAR: f64 = 200.0;

/// Recipients of a message that a list of the spool names.
pub const LISTED_RECIPIENTS: usize = 3;

/// Rounds of control without which its own answer is worth nothing.
pub const ROUNDS_SILENT: u64 = 5;

/// How long control's HTTP accepts nothing after an accept failed for another reason than the peer's.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked whether a log was moved away (rotated).
pub const LOG_LOOK: Duration = Duration::from_secs(1);
/// How long the reader of a log may take nothing, or the journal's disk, before that is a complaint.
pub const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// How long a supervisor (systemd) may keep a start or a stop waiting to be told of.
pub const NOTIFY_PATIENCE: Duration = Duration::from_secs(5);
/// How often a supervisor is told how the relay is, where nothing changes.
pub const NOTIFY_PAUSE: Duration = Duration::from_secs(20);
/// So many times it is told that the relay lives within the time in which it wants to hear that: one may be late, or lost.
pub const NOTIFY_BEATS: u32 = 3;
/// Characters of what it is told: it shows one line.
pub const NOTIFY_WORDS: usize = 1000;

/// How often the writers of logs look for what is to be written.
pub const CONTROL_ROUND: Duration = Duration::from_millis(100);
/// How often control looks after the shards.
pub const CONTROL_LOOK: Duration = Duration::from_secs(1);

/// The part of the bound on clients' memory that is an excess: where so much was held and half of it came free, it goes back to the system.
/// What comes and goes below that is needed again, and to give it back stops the shards' allocators for a moment each.
pub const MEMORY_EXCESS: u64 = 2;
/// So many more or fewer recipients queued than when it went back last are another reason, once the queue stands: each leaves some 20 bytes
/// between what stays.
pub const MEMORY_QUEUE_CHANGE: u64 = 100_000;
/// A queue stands that changed by fewer recipients than that from one look to the next.
pub const MEMORY_QUEUE_SETTLED: u64 = 1_000;
/// Shortest time between two times that it goes back.
pub const MEMORY_RETURN_PAUSE: Duration = Duration::from_secs(120);

/// Looks in a row at which clients' memory is full before that is told: bodies go to the spool then, and it may pass at once.
pub const MEMORY_FULL_LOOKS: u64 = 3;

/// Lines for the operator held for a reader who is slow.
pub const WORDS_PENDING: usize = 64;
/// How long such lines of one kind are counted together.
pub const WORDS_WINDOW: Duration = Duration::from_secs(10);

/// Asks of control that wait on a shard: as many as there are connections that ask, each of which waits for its answer.
pub const ASKS_MAX: usize = LOCAL_CONNECTIONS_MAX + API_CONNECTIONS_MAX;
/// Groups, or places without one, that an ask looks at in one turn: some tens of microseconds, and a large page is sorted in them.
pub const ASK_LOOKS: usize = 2_048;
/// Part of its time that a shard with mail to move spends on asks, one in so many, whoever asks without a pause: mail is to keep 97 %, and who
/// asks costs about as much on other threads. An idle one answers as fast as it can.
pub const ASK_SHARE: u32 = 50;
/// Time for asks that a busy shard saves up: a count of a million is answered at once, if few are asked for.
pub const ASK_SAVED: Duration = Duration::from_millis(60);
/// What each ask counts at least, for what it costs elsewhere: a page of text that is made, sent and read.
pub const ASK_LEAST: Duration = Duration::from_millis(2);
/// What a slice of one counts at most: no pause is so long that more can pass where it stands than [`ASK_LOOKS`].
pub const ASK_SLICE: Duration = Duration::from_millis(1);
/// How often an ask that pauses looks whether it is in the way of a new configuration.
pub const ASK_LOOK: Duration = Duration::from_millis(20);
/// How long it is measured whether a shard has other work.
pub const ASK_MEASURED: Duration = Duration::from_millis(20);
/// With that it is busy for one part in so many of its time, or more. Between two slices it looks around, which is work, too, and less.
pub const ASK_BUSY: u32 = 4;
/// How many looks one at a domain counts as where whoever asks has to judge it: a name may have 127 parts, each of which is looked up in two
/// tables of routes.
pub const JUDGED_LOOK_COST: usize = 64;
/// Looks of one ask before it is told how far it came: then others have their turn, and an asker that has gone cost no more.
pub const ASK_BUDGET: usize = 200_000;
/// Rows of a page of the queue: some 100 KiB as text.
pub const PAGE_ROWS: usize = 256;
/// Egresses by which `why` tells of a domain: mail of more waits for the like.
pub const WHY_EGRESSES: usize = 16;
/// Groups that `why` looks at one by one, where more is asked for than a domain.
pub const WHY_ROWS: usize = 1_024;
/// Domains of these that it tells all about: those with most recipients.
pub const WHY_DOMAINS: usize = 8;
/// Different replies, and messages, that it tells.
pub const WHY_REPLIES: usize = 5;
/// Queues of these that it shows to a person.
pub const WHY_SHOWN: usize = 3;
/// How long it waits to hear where a domain leads that nobody asked for lately.
pub const WHY_LOOK_UP: Duration = Duration::from_secs(3);
/// Recipients of a group that a row names.
pub const ROW_RECIPIENTS: usize = 3;
/// Bytes of an address or a reply in a row.
pub const ROW_TEXT_MAX: usize = 512;
/// How long an ask changes the queue before it is told how far it came.
pub const CHANGE_TIME: Duration = Duration::from_secs(2);
/// Recipients' groups that an operator returns and whose outcome is not handed in yet: a step of a return, which a kill may cut.
pub const BOUNCE_STEP: usize = 500;
/// How long an ask that returned mail waits until that is on disk; longer, and it is told that it is not yet.
pub const RETURNED_WAIT: Duration = Duration::from_secs(3);
/// How long it is waited before it is looked again whether outcomes can be handed in, or are on disk.
pub const CHANGE_PAUSE: Duration = Duration::from_millis(5);
/// Parts of a change that changed nothing, one after the other, before a command gives up: the spool takes no outcomes.
pub const CHANGES_IN_VAIN: u32 = 10;
/// Entries of a lane's index that one answer tells, 28 bytes each: a hundredth of a second until it is there.
pub const INDEX_PAGE_MAX: usize = 65_536;
/// Messages of a lane whose records are read in one pass, in the order in which they lie: a larger lane takes several. 32 bytes each.
pub const SCAN_PASS: usize = 512 * 1024;
/// Messages whose records are read before others have a turn: the rate is kept in steps of so many.
pub const SCAN_STEP: usize = 512;
/// Records that are read in a second, over all searches: a million in twenty seconds, and less of a core than mail would notice.
pub const SCAN_A_SECOND: u32 = 50_000;
/// Bytes that are read for them in a second: no more than half of what a fast disk gives.
pub const SCAN_BYTES_A_SECOND: u64 = 512 * 1024 * 1024;
/// Bytes that one read of a search takes in: records lie side by side, in front of the bodies of their commit.
pub const SCAN_READ: usize = 32 * 1024;
/// Times that a message which had moved is looked for where it lies now, before its record is said to be unreadable.
pub const SCAN_ROUNDS: u32 = 3;
/// How long a request goes on with a search before it is told how far that is.
pub const SEARCH_TURN: Duration = Duration::from_secs(1);
/// Searches that are kept at one time, of commands that have not ended: each may have found as much as one may.
pub const SEARCHES_MAX: usize = 4;
/// How long one is kept for whoever asked.
pub const SEARCH_KEPT: Duration = Duration::from_secs(120);
/// How long control waits for the answer of a shard.
pub const ASK_WAIT: Duration = Duration::from_secs(20);
/// How long one request goes from shard to shard before it is told how far it came: well within [`HTTP_REQUEST`].
pub const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long the answer to a command waits until the journal has what the command did: a disk that is slow is waited for, one that is full or hangs
/// is not.
pub const ADMIN_JOURNALED: Duration = Duration::from_secs(2);
/// How long control waits until all shards have prepared a configuration: a shard that is busy comes to it far sooner, and nothing has changed yet.
pub const RELOAD_PREPARED: Duration = Duration::from_secs(10);
/// How long it waits to hear that all of them go by it. One that does not say so does all the same before anything new begins there.
pub const RELOAD_TAKEN_UP: Duration = Duration::from_secs(5);
/// How often control looks for that.
pub const RELOAD_LOOK: Duration = Duration::from_millis(5);
/// Replaced policies that control keeps until nothing goes by them, so that no shard spends its time on freeing a large one: the last of a day's
/// changes. Of those before, whoever goes by them last frees them.
pub const POLICIES_KEPT: usize = 4;
/// Turns that a session waits until its shard has taken up a configuration: one is for the inbox to hear of it, one for whoever takes it up.
pub const TAKEN_UP_WITHIN: u32 = 8;
/// How often a shard looks whether a configuration that it prepared was given up: what it opened for that takes connections that nobody serves.
pub const PREPARED_LOOK: Duration = Duration::from_millis(250);
/// How long after routes changed connections are kept for domains that are asked for anew: most are answered at once, from memory.
pub const REROUTED_WITHIN: Duration = Duration::from_secs(1);
/// Longest answer that a command reads: a page of rows with long texts.
pub const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// How long a command waits for it: the relay's own bound, and a little.
pub const ANSWER_WAIT: Duration = HTTP_REQUEST.saturating_add(Duration::from_secs(5));
/// Bytes of the text of a filter: a domain (RFC 1035 2.3.4) or an address (RFC 5321 4.5.3.1.3) and a little.
pub const FILTER_TEXT_MAX: usize = 320;
/// Pieces of a message that wait to be sent to who exports it.
pub const CONTENT_PIECES: usize = 2;
/// Longest message that a command exports: it is whole in memory before any of it is written.
pub const EXPORTED_MAX: usize = 1024 * 1024 * 1024;
/// Bytes of the reason that an operator gives.
pub const REASON_MAX: usize = 400;
/// Connections to control's socket at one time; one more ends the oldest that has asked nothing yet, or waits until one ends.
pub const LOCAL_CONNECTIONS_MAX: usize = 56;
/// How long one of them may take to ask when another wants its place.
pub const LOCAL_SILENCE: Duration = Duration::from_secs(1);
/// How often it is looked for a place while one waits for it.
pub const LOCAL_PLACE_LOOK: Duration = Duration::from_millis(50);
/// Connections of users who may not ask, beside these: to be told so; one more ends the oldest.
pub const LOCAL_REFUSALS_MAX: usize = 8;
/// More of them that the kernel keeps waiting.
pub const LOCAL_BACKLOG: i32 = 256;
/// Names that one label of a metric may have on one shard, what has none of its own included: a page of metrics stays small, and a route file
/// of this length is rare. Looked through once for each site.
pub const METRIC_NAMES_MAX: usize = 128;
/// The same of tenants, whose names come with the mail; a page of metrics has [`METRIC_TOP_MAX`] of them.
pub const METRIC_TENANTS_MAX: usize = 1024;
/// Names of such a label that a page of metrics has, the busiest.
pub const METRIC_TOP_MAX: usize = 64;
/// What was counted this long ago counts half for who is busiest.
pub const METRIC_TOP_HALF: Duration = Duration::from_secs(3600);
/// So many times busier than the least of these another name must be to take its place: who is about as busy does not come and go.
pub const METRIC_TOP_AHEAD: f64 = 2.0;
/// Upper bounds of the buckets of histograms of times, microseconds: 1 ms to a day.
pub const METRIC_BUCKETS_US: [u64; 19] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    3_600_000_000,
    LATENCY_MAX_US,
];
/// Letters of a value, or of a line, that an error of a configuration repeats.
pub const CONFIG_SOURCE_MAX: usize = 200;
/// Letters of a line that is no TOML.
pub const CONFIG_LINE_MAX: usize = 80;
/// Columns of a line that commands print in a list, and those that it has in a narrower terminal at the least.
pub const LINE_COLUMNS: usize = 100;
/// See [`LINE_COLUMNS`].
pub const LINE_COLUMNS_LEAST: usize = 80;
/// A size of more digits than this column has is told in KiB.
pub const LISTED_SIZE: u64 = 10_000_000;
/// The end of the year 9999, in milliseconds: HTTP has no dates beyond (RFC 9110 section 5.6.7), and hyper panics where it is to write one.
pub const HTTP_DATE_END: u64 = 253_402_300_800_000;
/// Blocklists that may be asked.
pub const BLOCKLISTS_MAX: usize = 16;
/// Bytes of the zone of one: with 32 half bytes of an IPv6 address in front it is still a name.
pub const BLOCKLIST_ZONE_MAX: usize = 180;
/// How often each is asked about each address, unless the operator says otherwise.
pub const BLOCKLIST_ASKED: Duration = Duration::from_secs(3600);
/// Not more often: lists stop answering who asks without end.
pub const BLOCKLIST_ASKED_MIN: Duration = Duration::from_secs(60);
/// And not less.
pub const BLOCKLIST_ASKED_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How often it is looked whether another configuration names others.
pub const BLOCKLIST_ROUND: Duration = Duration::from_secs(1);
/// How long a source rests for what a list says, beyond two looks: then an operator who ended that is asked once more.
pub const BLOCKLIST_REST: Duration = Duration::from_secs(86_400);
/// Bytes of what a list says of an address.
pub const BLOCKLIST_WORDS_MAX: usize = 200;

/// Connections to public pages at one time; over that the oldest one ends.
pub const PUBLIC_CONNECTIONS_MAX: usize = 512;
/// Of one client under TLS (of IPv6, one network of 64 bits); it gets no other.
pub const PUBLIC_PER_CLIENT: usize = 16;
/// How long one connection may take, TLS and answer included: phones are slow.
pub const PUBLIC_REQUEST: Duration = Duration::from_secs(20);
/// Bytes of what is posted to a page.
pub const PUBLIC_BODY_MAX: usize = 8 * 1024;

const _: () = assert!(
    FLEET_NODES_MAX.div_ceil(FLEET_AT_ONCE) as u64 * FLEET_ANSWER.as_secs() < HTTP_REQUEST.as_secs(),
    "all may be slow, and whoever looks is answered"
);
const _: () = assert!(FLEET_SEARCH.as_secs() + 5 < HTTP_REQUEST.as_secs(), "and whoever searches");
