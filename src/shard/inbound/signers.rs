//! What a shard signs with.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::limits;
use crate::mail::dkim::Signer;
use crate::policy::signing::{KeyNumber, Signing};

/// What a shard signs with. The library locks an RSA key for a moment at each signature, so each shard reads its own; those that it uses are kept.
#[derive(Default)]
pub struct Signers {
    /// By their numbers.
    read: RefCell<Vec<Option<Rc<Signer>>>>,
    count: Cell<usize>,
    /// Whose turn it is to go where there are too many.
    next: Cell<usize>,
}

impl Signers {
    /// The one with this key. None: it cannot be read any more, though it could when the configuration was.
    pub(super) fn get(&self, signing: &Signing, key: KeyNumber) -> Option<Rc<Signer>> {
        let mut read = self.read.borrow_mut();
        if read.len() != signing.key_count() {
            read.resize(signing.key_count(), None);
        }
        let place = usize::try_from(key.0).ok()?;
        if let Some(signer) = read.get(place)? {
            return Some(signer.clone());
        }
        let signer = Rc::new(signing.make_signer(key).ok()?);
        if self.count.get() < limits::SIGNERS_KEPT {
            self.count.set(self.count.get() + 1);
        } else {
            // One goes for each that comes, in the order of their numbers.
            let first = self.next.get();
            let behind = (first..read.len()).chain(0..first).find(|place| read[*place].is_some())?;
            read[behind] = None;
            self.next.set(behind + 1);
        }
        read[place] = Some(signer.clone());
        Some(signer)
    }
}
