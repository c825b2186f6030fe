//! Configurations of other relays that are read once, by `relevo import`.

/// Bytes of one file: the largest that are written by hand have a hundredth of it, maps made by programs some MiB.
pub const IMPORT_FILE_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of all of them together.
pub const IMPORT_TOTAL_MAX: u64 = 64 * 1024 * 1024;
/// Files that are read, those included and maps counted: a loop that is none ends here.
pub const IMPORT_FILES_MAX: usize = 2_000;
/// Files that include each other, one in the other.
pub const IMPORT_DEPTH_MAX: usize = 16;
/// Directives, each of which has a line in the report.
pub const IMPORT_DIRECTIVES_MAX: usize = 500_000;
/// Characters of a directive that are shown.
pub const IMPORT_TEXT_MAX: usize = 200;
/// Bytes of words about one directive: what is said of one that is used by many.
pub const IMPORT_WORDS_MAX: usize = 1_000;
/// Variables in variables.
pub const IMPORT_VARIABLES_MAX: usize = 16;
/// Bytes of a value whose variables are replaced.
pub const IMPORT_VALUE_MAX: usize = 256 * 1024;
/// Domains, networks and the like in one list.
pub const IMPORT_LIST_MAX: usize = 10_000;
/// Times that what was made is looked at and what would be refused is taken out of it.
pub const IMPORT_ROUNDS_MAX: usize = 64;
/// Blocks in blocks: the deepest that mean something have three.
pub const IMPORT_BLOCKS_MAX: usize = 16;
/// Places that one directive of a file comes to: a domain of a list, a source of several.
pub const IMPORT_SECTIONS_MAX: usize = 100_000;
/// What weights of a pool are multiplied with at most, so that sources of one virtual MTA have equal parts of its share.
pub const IMPORT_SHARES_MAX: u64 = 100;
/// Days of a warm-up plan that are taken of a list.
pub const IMPORT_DAYS_MAX: usize = 365;
