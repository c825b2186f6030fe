//! Who a client is: where it calls from, what it calls itself, and what it proved since.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::limits;
use crate::mail::envelope::{Envelope, WithProtocol};
use crate::mail::release::SendAt;
use crate::smtp::command::CommandError;
use crate::smtp::{reply, words};

#[derive(Debug)]
pub(super) struct Identity {
    pub(super) peer: SocketAddr,
    /// Its network may relay.
    pub(super) network_may_relay: bool,
    /// When the session began, in Unix seconds; 0: that was not told, and no mail is held. It lies where there was padding: an idle session is small.
    pub(super) begun: u32,
    hello: Option<Box<Hello>>,
    tls: Option<Rc<str>>,
    /// Logins can be bound to that.
    pub(super) can_bind: bool,
    /// It may say for whom it is there.
    pub(super) may_introduce: bool,
    /// It is a node of the operator, whose mail goes on as it was there.
    pub(super) is_node: bool,
    /// No TLS begins now.
    pub(super) tls_put_off: bool,
    /// Somebody has a say in each recipient, whatever the configuration says.
    pub(super) asks_of_recipients: bool,
    account: Option<Rc<str>>,
}

#[derive(Debug)]
struct Hello {
    name: Rc<str>,
    extended: bool,
}

impl Identity {
    pub(super) fn new(peer: SocketAddr, network_may_relay: bool) -> Identity {
        Identity {
            peer,
            network_may_relay,
            begun: 0,
            hello: None,
            tls: None,
            can_bind: false,
            may_introduce: false,
            is_node: false,
            tls_put_off: false,
            asks_of_recipients: false,
            account: None,
        }
    }

    /// It said EHLO, or HELO.
    pub(super) fn says_hello(&mut self, name: Rc<str>, extended: bool) {
        self.hello = Some(Box::new(Hello { name, extended }));
    }

    pub(super) fn said_hello(&self) -> bool {
        self.hello.is_some()
    }

    /// A gateway says for whom it is there, with what it called itself, and whether by EHLO, and as what it logged in. Its TLS stays the gateway's,
    /// to which no login of a client behind it can be bound.
    pub(super) fn is_introduced(
        &mut self,
        (peer, may_relay): (SocketAddr, bool),
        (helo, extended): (Option<&str>, bool),
        account: Option<&str>,
    ) {
        (self.peer, self.network_may_relay, self.can_bind) = (peer, may_relay, false);
        // What follows may be that client's own bytes, which name nobody else.
        (self.may_introduce, self.is_node) = (false, false);
        self.hello = helo.map(|name| Box::new(Hello { name: name.into(), extended }));
        self.account = account.map(Rc::from);
    }

    /// The handshake is done: what was said before it proves nothing (RFC 3207 section 4.2), nor does what a gateway said of a login.
    pub(super) fn protect(&mut self, description: String) {
        (self.hello, self.account) = (None, None);
        self.tls = Some(description.into());
    }

    pub(super) fn is_protected(&self) -> bool {
        self.tls.is_some()
    }

    /// The account's password was right.
    pub(super) fn authenticate(&mut self, account: &str) {
        self.account = Some(account.into());
    }

    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// What it calls itself.
    pub(super) fn helo(&self) -> Option<&str> {
        self.hello.as_ref().map(|hello| &*hello.name)
    }

    pub(super) fn may_relay(&self) -> bool {
        self.network_may_relay || self.account.is_some()
    }

    /// Whether its mail may be handed over.
    pub(super) fn hands_over(&self) -> bool {
        self.is_node && self.may_relay()
    }

    /// Why mail is not held for this client, or not for so long. A date is looked at when the message is there whole.
    pub(super) fn hold_refused(&self, hold: SendAt) -> Option<&'static str> {
        match hold {
            _ if self.begun == 0 => Some(reply::of_error(CommandError::Parameter)),
            _ if !self.may_relay() => Some(words::HOLD_DENIED),
            SendAt::After(span) if span > limits::HOLD_MAX => Some(words::HELD_TOO_LONG),
            _ => None,
        }
    }

    /// RFC 3848
    fn protocol(&self) -> WithProtocol {
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        match (extended, self.tls.is_some(), self.account.is_some()) {
            (false, ..) => WithProtocol::Smtp,
            (true, false, false) => WithProtocol::Esmtp,
            (true, false, true) => WithProtocol::Esmtpa,
            (true, true, false) => WithProtocol::Esmtps,
            (true, true, true) => WithProtocol::Esmtpsa,
        }
    }

    /// Says in an envelope whom it came from, and how.
    pub(super) fn sign(&self, envelope: &mut Envelope) {
        envelope.account = self.account.clone();
        let origin = &mut envelope.origin;
        origin.client = Some(self.peer);
        origin.protocol = self.protocol();
        if envelope.needs.utf8.is_asked() {
            origin.protocol = origin.protocol.with_utf8();
        }
        origin.tls = self.tls.clone();
        if let Some(hello) = &self.hello {
            origin.helo = hello.name.clone();
        }
    }

    /// Bytes of the names in memory.
    pub(super) fn held(&self) -> usize {
        let text = |text: Option<&str>| text.map_or(0, |text| limits::TEXT_OVERHEAD + text.len());
        text(self.helo()) + text(self.tls.as_deref()) + text(self.account())
    }
}
