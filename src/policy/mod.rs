//! Who may relay and under what name: accounts, and the TLS we speak.

pub mod accounts;
pub mod tls;
