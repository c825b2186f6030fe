//! Who waits for a question that is being asked: it is asked once, however many want to know.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::dns::{LookupResult, QueryType};
use crate::shard::promise::{Fulfil, Promise, promise};

/// A question to the name servers of a time, and its name.
pub(super) type Question = (u64, QueryType, Box<str>);

/// What those who wait hear in the end.
pub(super) enum LookupOutcome {
    /// The answer.
    Found(Rc<LookupResult>),
    /// Whoever asked gave up: it is to be asked in his place.
    Ask(Asker),
    /// The name servers are others by now.
    Again,
}

/// Questions that are being asked, and who else waits for each.
#[derive(Clone, Default)]
pub(super) struct Waiters(Rc<RefCell<HashMap<Question, Vec<Fulfil<LookupOutcome>>>>>);

impl Waiters {
    /// Waits with others for a question; or is who asks it.
    pub(super) fn join(&self, question: Question) -> Result<Promise<LookupOutcome>, Asker> {
        let mut waiters = self.0.borrow_mut();
        if let Some(others) = waiters.get_mut(&question) {
            let (fulfil, heard) = promise();
            others.push(fulfil);
            return Ok(heard);
        }
        waiters.insert(question.clone(), Vec::new());
        Err(Asker { waiters: self.clone(), question })
    }
}

/// Who asks a question for all that want to know.
pub(super) struct Asker {
    waiters: Waiters,
    question: Question,
}

impl Asker {
    /// What is asked.
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// The others hear this, all of them.
    pub(super) fn tell(self, heard: impl Fn() -> LookupOutcome) {
        let others = self.waiters.0.borrow_mut().remove(&self.question);
        for other in others.into_iter().flatten() {
            other.fulfil(heard());
        }
    }
}

impl Drop for Asker {
    /// It may have given up half way: one of those who still wait asks in its place. The last that came, who has the most patience left: the
    /// first would give up next, and each of them would ask for a moment.
    fn drop(&mut self) {
        let heir = {
            let mut waiters = self.waiters.0.borrow_mut();
            // None: they were told.
            let Some(others) = waiters.get_mut(&self.question) else { return };
            while others.pop_if(|other| !other.is_awaited()).is_some() {}
            let heir = others.pop();
            if heir.is_none() {
                waiters.remove(&self.question);
            }
            heir
        };
        if let Some(heir) = heir {
            let question = std::mem::take(&mut self.question.2);
            let question = (self.question.0, self.question.1, question);
            heir.fulfil(LookupOutcome::Ask(Asker { waiters: self.waiters.clone(), question }));
        }
    }
}
