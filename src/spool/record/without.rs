//! What planted defects make of the fields of a message.

use super::{PARAMETERS, field, parameters, tag};

/// They lack parameters.
pub(in crate::spool) fn without_parameters(fields: &[u8]) -> Vec<u8> {
    let tags = [PARAMETERS.message, PARAMETERS.critical, PARAMETERS.recipients];
    parameters::without(fields, &tags, field)
}

/// They lack signatures.
pub(in crate::spool) fn without_signatures(fields: &[u8]) -> Vec<u8> {
    parameters::without(fields, &[tag::SIGNATURES], field)
}
