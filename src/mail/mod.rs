//! What a message is made of: addresses, the envelope, trace fields, delivery status notifications.

pub mod address;
pub mod dsn;
pub mod envelope;
pub mod trace;
