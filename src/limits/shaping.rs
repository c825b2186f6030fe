//! Shaping files: how much they may say, how long a reply may be looked at for it, and how exact rates are.

use std::time::Duration;

/// Bytes of one file: a thousand providers with their rules have a tenth of it.
pub const SHAPING_FILE_MAX: u64 = 4 * 1024 * 1024;
/// Files of a configuration, the shipped one not counted.
pub const SHAPING_FILES_MAX: usize = 32;
/// Providers of all files together: each is looked at for each new site.
pub const SHAPING_PROVIDERS_MAX: usize = 2_000;
/// Domains of all files together.
pub const SHAPING_DOMAINS_MAX: usize = 20_000;
/// Suffixes and names that one provider is known by.
pub const SHAPING_MATCHES_MAX: usize = 256;
/// Those of all files together: a new site's hosts are compared with each.
pub const SHAPING_MATCHES_ALL_MAX: usize = 8_192;
/// Sources that one section tells apart.
pub const SHAPING_SOURCES_MAX: usize = 1_000;
/// Rules of one section.
pub const SHAPING_RULES_MAX: usize = 64;
/// Rules of all files together: each pattern is kept compiled.
pub const SHAPING_RULES_ALL_MAX: usize = 10_000;
/// Patterns of one rule.
pub const SHAPING_PATTERNS_MAX: usize = 32;
/// Patterns of one section: all of them are tried on a reply that none of them fits.
pub const SHAPING_PATTERNS_SECTION_MAX: usize = 128;
/// Bytes of a pattern as it is written.
pub const SHAPING_PATTERN_MAX: usize = 1024;
/// Bytes of a compiled one, some 400 of it as it is written: what bounds the time of a match beside the text. Measured on the longest text
/// that is looked at, built to be slow (`[ab]*a[ab]{100}c` and the like): at most 0.75 ms, and the shipped patterns some 40 ns each. With
/// 64 KiB it was 5 ms.
pub const SHAPING_PATTERN_SIZE_MAX: usize = 12 * 1024;
/// Bytes of the cache that a match of one pattern builds its states in.
pub const SHAPING_PATTERN_CACHE_MAX: usize = 256 * 1024;
/// Actions of one rule.
pub const SHAPING_ACTIONS_MAX: usize = 16;
/// Example texts of one rule.
pub const SHAPING_EXAMPLES_MAX: usize = 64;
/// Errors, and warnings, that are told of one file.
pub const SHAPING_FINDINGS_MAX: usize = 1_000;
/// Largest number that a limit or a rate may have.
pub const SHAPING_NUMBER_MAX: u64 = 1_000_000_000;
/// Of a rate, so much may be made up for that somebody was late for: wake-ups of shards that are busy. More would be a burst.
pub const RATE_LATE_MAX: Duration = Duration::from_millis(100);
/// How long a connection that was begun waits for the right to ask the next host, or the same once more without TLS; beyond it the site rests.
pub const RATE_WAIT_MAX: Duration = Duration::from_secs(30);
/// A site that gave a place of its provider to whoever waits for one takes none for so long: the other shard may have to wait for a core first.
pub const PROVIDER_YIELD: Duration = Duration::from_millis(25);
/// An adaptive window is looked at so often where mail goes through it: several round trips to most hosts, so that what it let is known.
pub const WINDOW_LOOK: Duration = Duration::from_millis(250);
/// Connections that it always lets.
pub const WINDOW_CONNECTIONS_MIN: usize = 1;
/// One connection more than a site takes is tried after so long, and at most: what a refusal costs both sides is little, and a limit that was
/// raised is worth little more than that.
pub const WINDOW_PROBE_MIN: Duration = Duration::from_secs(5);
/// See there.
pub const WINDOW_PROBE_MAX: Duration = Duration::from_secs(600);
/// Messages a second that it lets when the first one was refused. It doubles each round, so 500 a second are reached in two seconds.
pub const WINDOW_RATE_START: f64 = 2.0;
/// And the least: one a minute is what the strictest receivers take of those they do not know.
pub const WINDOW_RATE_MIN: f64 = 1.0 / 60.0;
/// With more there is no window: no site is known to take that of one sender.
pub const WINDOW_RATE_MAX: f64 = 20_000.0;
/// For so long, and at most, no more is tried than what is known to be good.
pub const WINDOW_HOLD_MIN: Duration = Duration::from_secs(5);
/// See there: each refusal costs messages, so beyond the first ones they are to be under one in a hundred at a message a second.
pub const WINDOW_HOLD_MAX: Duration = Duration::from_secs(120);
/// Then, if nothing is refused, twice as much is reached in so long.
pub const WINDOW_DOUBLES: Duration = Duration::from_secs(10);
/// What is known of a site that got no mail since is kept so long: beyond a day most receivers count anew.
pub const WINDOW_KEPT: Duration = Duration::from_secs(24 * 3600);
/// What is sent of a rate that is known to be good, after more was refused: whoever counts makes up for what was too much.
pub const WINDOW_NEAR: f64 = 0.9;
/// What is good of a rate that was refused in the end.
pub const WINDOW_BELOW: f64 = 0.95;
/// And of one that was refused soon.
pub const WINDOW_LESS: f64 = 0.7;
/// What was taken beyond the good rate is news if it is so many times as much.
pub const WINDOW_MORE: f64 = 1.05;
/// What a receiver is thought to let a sender have in store: messages of so long, at its rate.
pub const WINDOW_STORE: Duration = Duration::from_secs(1);
/// A rate comes back to the good one within some of these.
pub const WINDOW_BACK: Duration = Duration::from_secs(2);
/// What counts of the time between two looks: where nobody looked nothing was sent.
pub const WINDOW_SPAN_MAX: Duration = Duration::from_secs(1);
/// The form in which a window is kept over a start; one of another is learned anew.
pub const WINDOW_FORM: u8 = 1;
