//! Keys of requests: which are worked on now, and where all are kept.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::control::decisions::StoreDesk;

/// A request, by whose it is and its key.
pub(super) type Whose = (String, String);

/// The keys that are worked on now, and where all are kept.
pub(super) struct Keys {
    pub desk: StoreDesk,
    under_way: Arc<Mutex<HashSet<Whose>>>,
}

impl Keys {
    /// Kept there.
    pub fn new(desk: StoreDesk) -> Keys {
        Keys { desk, under_way: Arc::default() }
    }

    /// Works on one. None: it is worked on already.
    pub fn begin(&self, whose: Whose) -> Option<UnderWay> {
        let mut all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(whose.clone()).then(|| UnderWay(self.under_way.clone(), whose))
    }
}

/// One of them, as long as it is worked on.
pub(super) struct UnderWay(Arc<Mutex<HashSet<Whose>>>, Whose);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
