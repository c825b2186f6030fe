//! What a message is made of: addresses, the envelope, trace fields, delivery status notifications; what is said of it, and what comes back.

pub mod address;
pub mod author;
pub mod bounce;
pub mod classify;
pub mod dkim;
pub mod dsn;
pub mod duties;
pub mod encoding;
pub mod envelope;
pub mod fold;
pub mod front;
pub mod handover;
pub mod header;
pub mod instructions;
pub mod merge;
pub mod notify;
pub mod origin;
pub mod parameters;
pub mod pickup;
pub mod release;
pub mod results;
pub mod seven_bit;
pub mod submission;
pub mod tls_report;
pub mod trace;
pub mod unsubscribe;
