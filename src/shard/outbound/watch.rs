//! What is seen of a session as it begins, for reports of TLS.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use crate::policy::tls_rpt::{ResultType, of_error, plain};
use crate::smtp::reply::Reply;

/// One session.
#[derive(Debug, Default)]
pub struct Watch {
    /// By which address of ours.
    sending: Cell<Option<IpAddr>>,
    /// What the host calls itself.
    helo: RefCell<String>,
    /// What is wrong with its certificate.
    flaw: RefCell<Option<(ResultType, String)>>,
}

impl Watch {
    /// It is connected from there.
    pub(super) fn leaves_by(&self, address: Option<IpAddr>) {
        self.sending.set(address);
    }

    /// The host answered EHLO.
    pub(super) fn greets(&self, reply: &Reply) {
        let first = reply.lines.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
        *self.helo.borrow_mut() = plain(first);
    }

    /// TLS failed for this.
    pub(super) fn fails(&self, error: &rustls::Error) {
        *self.flaw.borrow_mut() = Some(of_error(error));
    }

    /// By which address of ours it left.
    pub(super) fn sending(&self) -> Option<IpAddr> {
        self.sending.get()
    }

    /// What the host calls itself, if it said so.
    pub(super) fn helo(&self) -> String {
        self.helo.borrow().clone()
    }

    /// Why TLS failed; where that was about no certificate, this.
    pub(super) fn flaw(&self, otherwise: ResultType, words: &str) -> (ResultType, String) {
        self.flaw.borrow_mut().take().unwrap_or_else(|| (otherwise, plain(words)))
    }
}
