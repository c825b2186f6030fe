//! XCLIENT: a gateway says for whom it is there, and the session starts over as that client's.

use std::net::SocketAddr;

use super::Session;
use super::auth::Auth;
use super::dialogue::Dialogue;
use super::step::Step;
use crate::smtp::words;
use crate::smtp::xclient::{self, Introduction};

impl Dialogue {
    /// What XCLIENT says. Whoever may not say it learns nothing of what else is wrong with it.
    pub(super) fn introduce(&mut self, said: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        if !self.identity.may_introduce {
            return self.complain(words::XCLIENT_DENIED, out);
        }
        if self.transaction.is_some() {
            return self.complain(words::XCLIENT_IN_TRANSACTION, out);
        }
        match xclient::parse(said) {
            Some(introduction) => Some(Step::Introduce(Box::new(introduction))),
            None => self.complain(words::XCLIENT_MALFORMED, out),
        }
    }
}

impl Session {
    /// Whether its client may say for whom it is there.
    pub fn may_introduce(&mut self, may: bool) {
        self.dialogue.identity.may_introduce = may;
    }

    /// A gateway said for whom it is there: the session starts over as this client's, and nothing that was said or proven before is this one's. How
    /// many commands and errors there were stays, as that is the gateway's.
    pub fn is_introduced(&mut self, client: SocketAddr, may_relay: bool, introduction: &Introduction) {
        let Introduction { address: _, port: _, helo, extended, login } = introduction;
        let dialogue = &mut self.dialogue;
        dialogue.identity.is_introduced((client, may_relay), (helo.as_deref(), *extended), login.as_deref());
        (dialogue.auth, dialogue.transaction, dialogue.portions) = (Auth::default(), None, None);
        dialogue.conduct.begin_anew();
    }

    /// The account that a gateway names may not log in from there. True: the session is to be closed.
    #[must_use]
    pub fn introduction_refused(&mut self, out: &mut Vec<u8>) -> bool {
        self.dialogue.complain(words::XCLIENT_LOGIN, out).is_some()
    }
}
