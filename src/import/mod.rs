//! The configuration of another relay as one of ours. Text in; text, and what is to be said of each directive of the original, out.
//!
//! A reader (`pmta`, `kumo`, `postfix`) enters every directive in the [`Ledger`] when it meets it, and marks it when it knows what becomes
//! of it. What is never marked is told as unknown, so nothing is dropped in silence and the counts add up. What is made is a [`Draft`], each
//! line of which names the directives that it is from; [`prove`](mod@prove) takes out of it what `relevo check` would refuse, and says so.

pub mod ledger;
pub mod library;
pub mod draft;
pub mod words;
pub mod prove;
mod said;
mod accounts;
mod imported;
pub mod postfix;
pub mod pmta;
pub mod kumo;

#[cfg(test)]
mod tests;

pub use accounts::Account;
pub use draft::Draft;
pub use imported::{Imported, Terms};
pub use ledger::{Directive, Id, Ledger, Outcome};
pub use library::{ImportError, Library};
