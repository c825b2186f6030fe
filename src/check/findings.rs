//! What is found, until it is sorted.

use crate::config::ConfigError;

/// Why the relay would not start, and with what it would and should not.
pub(super) struct Findings {
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<ConfigError>,
}
