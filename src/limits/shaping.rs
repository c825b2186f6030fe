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
