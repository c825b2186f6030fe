//! What others keep in the file of decisions: they say what is to be done with it, and the thread that has it does that.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Thread;

use tokio::sync::oneshot;

use crate::control::store::Store;
use crate::limits;

type Work = Box<dyn FnOnce(&mut Store) + Send>;

/// Where it is said.
#[derive(Clone)]
pub(in crate::control) struct StoreDesk {
    work: SyncSender<Work>,
    thread: Option<Thread>,
}

/// What was said.
pub(in crate::control) struct StoreWork(Receiver<Work>);

impl StoreDesk {
    /// With what the thread is given.
    pub(in crate::control) fn new() -> (StoreDesk, StoreWork) {
        let (work, given) = sync_channel(limits::TEMPLATE_ORDERS_MAX);
        (StoreDesk { work, thread: None }, StoreWork(given))
    }

    /// That of this thread, which is woken.
    pub(in crate::control) fn of(self, thread: Thread) -> StoreDesk {
        StoreDesk { thread: Some(thread), ..self }
    }

    /// Has this done, and waits for it. None: it was not in time, and may be done yet.
    pub(in crate::control) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, told) = oneshot::channel();
        // Who asked may have gone: what is only read is not read then.
        let work = move |store: &mut Store| drop(done.send(work(store)));
        self.work.try_send(Box::new(work)).ok()?;
        self.thread.iter().for_each(Thread::unpark);
        tokio::time::timeout(limits::ORDER_WAIT, told).await.ok()?.ok()
    }
}

impl StoreWork {
    /// Does what was said by now.
    pub(in crate::control) fn serve(&self, store: &mut Store) {
        self.0.try_iter().take(limits::TEMPLATE_ORDERS_MAX).for_each(|work| work(store));
    }
}
