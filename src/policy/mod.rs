//! Who may relay and under what name: networks, accounts, and the TLS we speak.

pub mod accounts;
pub mod certificate;
pub mod clients;
pub mod descriptors;
pub mod failures;
pub mod guesses;
pub mod relay;
pub mod tls;
pub mod verified;

pub use accounts::Accounts;
