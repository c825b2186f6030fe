//! Which texts are meant, by whoever asks.

use std::fmt;
use std::sync::Arc;

/// A question to a text.
#[derive(Clone)]
pub struct Meant(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl Meant {
    /// Such of which this holds.
    pub fn new(is: impl Fn(&str) -> bool + Send + Sync + 'static) -> Meant {
        Meant(Arc::new(is))
    }

    /// Whether a text is meant.
    pub fn is(&self, text: &str) -> bool {
        (self.0)(text)
    }
}

impl fmt::Debug for Meant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Meant")
    }
}
