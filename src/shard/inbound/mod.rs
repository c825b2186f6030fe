//! The way in: from a connection to a message on disk.

pub mod accept;
pub mod receive;
pub mod authenticate;
pub mod reject;
pub mod upload;
