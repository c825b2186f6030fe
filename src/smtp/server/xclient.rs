//! XCLIENT: whether a gateway may say now for whom it is there, and whether that can be read.

use crate::smtp::words;
use crate::smtp::xclient::{self, Introduction};

/// What it says; else what it hears. Whoever may not say it learns nothing of what else is wrong with it.
pub(super) fn read(said: &[u8], may: bool, in_transaction: bool) -> Result<Introduction, &'static str> {
    match xclient::parse(said) {
        _ if !may => Err(words::XCLIENT_DENIED),
        _ if in_transaction => Err(words::XCLIENT_IN_TRANSACTION),
        Some(introduction) => Ok(introduction),
        None => Err(words::XCLIENT_MALFORMED),
    }
}
