//! Who may relay: by network, or by name and password.

pub mod accounts;
pub mod relay;

pub use accounts::Accounts;
