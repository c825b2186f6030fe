//! The task that turns what the epoll set holds into wakes, and sleeps on glommio's ring.

use std::future::poll_fn;
use std::os::fd::FromRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_io::AsyncRead;

use crate::runtime::Bell;
use crate::runtime::os::YieldNow;
use crate::runtime::os::reactor::{Events, Reactor};

/// Rounds of a busy shard before glommio's own rings get a turn (finished fdatasyncs, timers).
const ROUNDS: u32 = 16;

/// Never ends: looks, wakes, lets the woken run, looks again; sleeps in glommio when nothing is ready.
pub(super) async fn look(reactor: Rc<Reactor>, bell: Arc<Bell>) {
    let mut events = Events::new();
    bell.awake();
    let mut rounds = 0;
    loop {
        bell.beat();
        let mut busy = reactor.poll(&mut events, Some(Duration::ZERO)) > 0;
        if bell.is_rung() {
            bell.wake();
            busy = true;
        }
        rounds += 1;
        if busy && rounds < ROUNDS {
            YieldNow::default().await;
            continue;
        }
        rounds = 0;
        if bell.fall_asleep() {
            bell.awake();
            YieldNow::default().await;
            continue;
        }
        sleep(&reactor).await;
        bell.awake();
    }
}

/// Waits until the set has events, as one poll entry of glommio's ring. glommio has no public call for that, but a
/// stream made from any descriptor arms such a poll at once, and reports the failing recv that follows it.
async fn sleep(reactor: &Reactor) {
    // SAFETY: the descriptor is open as long as `reactor`. The stream is forgotten below, so it never closes it.
    let mut stream = unsafe { ::glommio::net::TcpStream::from_raw_fd(reactor.descriptor()) };
    poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut []).map(drop)).await;
    // By now the stream holds nothing but a weak count of the executor's reactor.
    std::mem::forget(stream);
}
