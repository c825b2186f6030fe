//! The thread that answers commands: HTTP on a socket of this machine. What is slow or hostile there moves no heartbeat and no mail.

use std::os::unix::net::UnixListener;
use std::sync::Arc;

use axum::{Extension, Router};
use tokio::sync::Semaphore;

use crate::control::api::peer::Peer;
use crate::control::http;
use crate::control::say::say;
use crate::control::thread::Turn;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::files::Reserve;

/// Serves until the node stops.
pub(super) fn run(listener: UnixListener, router: Router, reserve: Arc<Reserve>, turn: &Turn) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return say(Level::Error, format_args!("control's service cannot run: {error}")),
    };
    let done = runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        tokio::spawn(serve(listener, router, reserve));
        while !turn.is_over() {
            tokio::time::sleep(limits::CONTROL_ROUND).await;
        }
        Ok::<(), std::io::Error>(())
    });
    if let Err(error) = done {
        say(Level::Error, format_args!("control's service ends: {error}"));
    }
    runtime.shutdown_background();
}

/// Accepts for ever, so many at one time: all of them are this machine's, and each has its bounds; the others wait in the kernel.
async fn serve(listener: tokio::net::UnixListener, router: Router, reserve: Arc<Reserve>) {
    let places = Arc::new(Semaphore::new(limits::LOCAL_CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = Peer::of(&stream);
                let router = router.clone().layer(Extension(peer));
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(limits::HTTP_REQUEST, http::answer(stream, router)).await;
                    drop(place);
                });
            }
            Err(error) if reserve.helps(&error) => {}
            Err(_) => tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await,
        }
    }
}
