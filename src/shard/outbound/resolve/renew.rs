//! Answers that are in use and end soon are asked for again beside, so that the mail of a busy domain never waits for the DNS.

use std::cell::{Cell, RefCell};

use crate::dns::cache::Cache;
use crate::dns::{LookupResult, QueryType};
use crate::limits;
use crate::shard::count_guard::CountGuard;
use crate::time::Instant;

/// A question that is asked again.
pub type Renewal = (QueryType, Box<str>);

/// Those to be asked for, and how many are being.
#[derive(Default)]
pub(super) struct Renewals {
    due: RefCell<Vec<Renewal>>,
    asking: Cell<usize>,
}

impl Renewals {
    /// What is known and still holds. It is used: if it ends soon it is to be asked for again, if there are places free that nobody else has need of.
    pub(super) fn look(
        &self,
        cache: &mut Cache,
        (kind, name): (QueryType, &str),
        now: Instant,
        free: bool,
    ) -> Option<LookupResult> {
        let known = cache.get(kind, name, now)?;
        let (found, is_due) = (known.result(), known.is_due());
        let mut due = self.due.borrow_mut();
        if is_due && free && due.len() + self.asking.get() < limits::DNS_RENEWALS_MAX {
            cache.renew(kind, name);
            due.push((kind, name.into()));
        }
        found
    }

    /// Those that are to be asked for now.
    pub(super) fn take(&self) -> Vec<Renewal> {
        self.due.take()
    }

    /// One is being asked for.
    pub(super) fn begin(&self) -> CountGuard<'_> {
        CountGuard::new(&self.asking)
    }
}
