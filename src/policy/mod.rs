//! Who may relay and under what name: networks, accounts, and the TLS we speak; and what the operator's rules make of mail.

pub mod acceptance;
pub mod accounts;
pub mod admit;
pub mod certificate;
pub mod clients;
pub mod cluster;
pub mod dane;
pub mod descriptors;
pub mod failures;
pub mod gateway;
pub mod guesses;
pub mod hook;
pub mod quota;
pub mod rates;
pub mod reason;
pub mod relay;
pub mod reports;
pub mod returns;
pub mod rules;
pub mod signing;
pub mod sts;
pub mod suppression;
pub mod tenants;
pub mod tls;
pub mod tls_rpt;
pub mod tokens;
pub mod trust;
pub mod verified;

pub use accounts::Accounts;
