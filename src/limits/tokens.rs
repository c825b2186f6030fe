//! Who may ask control by HTTP.

use std::time::Duration;

use super::fleet::FLEET_LOOKUPS;

/// Tokens of a file: operators and programs of a node, not its users. Each question is compared with all of them.
pub const TOKENS_MAX: usize = 256;
/// Bytes of such a file.
pub const TOKENS_FILE_MAX: u64 = 256 * 1024;
/// Bytes of the name of a token.
pub const TOKEN_NAME_MAX: usize = 64;
/// Bytes of the tenant that it is bound to.
pub const TOKEN_TENANT_MAX: usize = 255;
/// Random bytes of a token: nobody guesses 256 bits, so that a plain hash of them tells nothing.
pub const TOKEN_BYTES: usize = 32;
/// Bytes of an `Authorization` field that are looked at: what is longer is no token.
pub const TOKEN_TEXT_MAX: usize = 256;
/// Wrong tokens that a client may show in a row before it hears that these are too many.
pub const TOKEN_GUESSES: u32 = 20;
/// So long until one of them is forgotten.
pub const TOKEN_GUESS_FORGOTTEN: Duration = Duration::from_secs(3);
/// Clients that have shown wrong tokens of late and are remembered; where there are more, whoever is soonest forgotten goes.
pub const TOKEN_GUESSERS_MAX: usize = 4_096;
/// Names beside its own by which a node may be asked.
pub const CONTROL_NAMES_MAX: usize = 64;

/// Connections of HTTP that the API has at one time, beside those of its socket: their clients never take the places of commands.
pub const API_CONNECTIONS_MAX: usize = 32;
/// Connections that wait for the API's thread to take them over.
pub const API_PASSED: usize = 64;
/// More of them that are just told that there are too many; one more ends the oldest.
pub const API_REFUSALS_MAX: usize = 8;
/// How long such a one may take.
pub const API_REFUSAL: Duration = Duration::from_secs(5);
/// How long one that was answered may take to read that when another wants its place.
pub const API_READ: Duration = Duration::from_secs(2);
/// How long a client may take nothing of what is written to it: after that nobody reads there.
pub const HTTP_STALL: Duration = Duration::from_secs(10);
/// Searches of HTTP's clients that are kept at one time, beside those of commands.
pub const API_SEARCHES_MAX: usize = 2;
/// Threads of the service that wait for files: a search each, a reload, an import, those that read logs, those that read other files; and
/// for names of other nodes, and for how much room a disk has.
pub const SERVICE_BLOCKING: usize = 10 + FLEET_LOOKUPS + 1;
/// Accounts of a page of the API where nothing is said.
pub const ACCOUNTS_PAGE: usize = 100;
/// And at the most.
pub const ACCOUNTS_PAGE_MAX: usize = 1_000;
