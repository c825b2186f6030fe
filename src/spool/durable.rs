//! The proof that something is on stable storage.

/// A value whose record is synced. Only `spool::lane` makes one, and only from a runtime's `Synced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    pub(in crate::spool) fn mint(value: T) -> Durable<T> {
        Durable(value)
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.0
    }
}
