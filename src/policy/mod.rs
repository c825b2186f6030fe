//! Who may relay and under what name: networks, accounts, and the TLS we speak.

pub mod accounts;
pub mod clients;
pub mod descriptors;
pub mod relay;
pub mod tls;

pub use accounts::Accounts;
