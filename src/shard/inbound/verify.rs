//! Mail of strangers is verified (SPF, DKIM, DMARC) before it is stored: its header section is copied as it came, its body is hashed as it goes to the
//! spool, and when it came whole a thread of control is asked (`shard/verifying`). The reply waits for what it finds, so long and no longer; what is not known
//! by then is told as such, and the mail is taken.

use std::sync::Arc;

use crate::config::Verify;
use crate::limits;
use crate::mail::dkim::BodyHashers;
use crate::mail::envelope::Envelope;
use crate::mail::header;
use crate::mail::results::{self, Findings};
use crate::names::CHECKS;
use crate::policy::reason::Reason;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::listener::Listener;
use crate::shard::verifying::{Question, Unknown};
use crate::smtp::data::Summary;

/// A message that is to be verified.
pub struct Unverified {
    /// Its header section as it came, without a line of a mailbox file.
    header: Vec<u8>,
    hashers: BodyHashers,
    /// Bytes of the header section, as rules left it, in front of the body; 0: it is not there any more.
    ahead: usize,
    enforces: bool,
}

/// What begins it.
pub(super) struct Begun {
    pub(super) unverified: Box<Unverified>,
    /// Bytes of its header section, fields that passed for ours taken out.
    pub(super) length: usize,
}

/// Whether mail that a stranger brings is verified: a recipient of it is one of the domains that are taken from anybody.
pub(super) fn is_wanted(listener: &Listener, envelope: &Envelope) -> bool {
    let Some(gateway) = listener.session.gateway.as_ref() else { return false };
    let is_of = |at: u16, address: &[u8]| gateway.has_domain_of(address, at.into());
    listener.config.gateway.verify != Verify::Off
        && envelope.recipients.iter().any(|one| is_of(one.domain_at, &one.address))
}

/// While the header section is in memory, and nobody changed it: what is said of it is true behind that again. None: it is too long.
pub(super) fn begin<R: Runtime>(
    shard: &Shard<R>,
    listener: &Listener,
    body: &mut Vec<u8>,
    summary: &mut Summary,
) -> Option<Begun> {
    let length = usize::try_from(summary.header_length).unwrap_or(usize::MAX).min(body.len());
    if length > limits::VERIFIED_HEADER_MAX {
        return None;
    }
    let (section, mailbox_line) = (&body[..length], summary.mailbox_line);
    let header = section[header::start(section, mailbox_line)..].to_vec();
    let hashers = BodyHashers::new(results::body_forms(section, mailbox_line));
    let forged = results::forged(section, mailbox_line, &shard.boot.node.hostname);
    shard.gather(header.capacity());
    let after = if forged.is_empty() || shard.runtime.planted(Defect::ForgedResultsKept) {
        length
    } else {
        forged.apply(body, length, mailbox_line)
    };
    summary.header_length = after as u64;
    let enforces = listener.config.gateway.verify == Verify::Enforce;
    let unverified = Box::new(Unverified { header, hashers, ahead: after, enforces });
    Some(Begun { unverified, length: after })
}

impl Unverified {
    /// Rules made its header section so much longer, or shorter.
    pub(super) fn grew(&mut self, by: i64) {
        self.ahead = self.ahead.saturating_add_signed(isize::try_from(by).unwrap_or_default());
    }

    /// The next of the message, which goes to the spool.
    pub(super) fn read(&mut self, piece: &[u8]) {
        let (_, body) = piece.split_at(self.ahead.min(piece.len()));
        self.ahead = 0;
        self.hashers.update(body);
    }

    /// It will not be verified.
    pub(super) fn abandon<R: Runtime>(self, shard: &Shard<R>) {
        shard.ungather(self.header.capacity());
    }

    /// Finds out what the message is, which came whole, and puts that into its envelope; `rest` is what of it is in memory. The reply with which it is
    /// refused, if it is.
    pub(super) async fn finish<R: Runtime>(
        mut self,
        shard: &Shard<R>,
        envelope: &mut Envelope,
        rest: &[u8],
    ) -> Option<(Box<str>, Reason)> {
        let (_, body) = rest.split_at(self.ahead.min(rest.len()));
        for piece in body.chunks(limits::SCRATCH) {
            self.hashers.update(piece);
            if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
        }
        if shard.runtime.planted(Defect::Unverified) {
            shard.ungather(self.header.capacity());
            return None;
        }
        let held = self.header.capacity();
        let asked = shard.mesh.verifying().ask(Unknown {
            // Only what no client brought has none.
            client: envelope
                .origin
                .client
                .map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip().to_canonical()),
            helo: (*envelope.origin.helo).into(),
            sender: envelope.sender.as_slice().into(),
            hostname: shard.boot.node.hostname.as_str().into(),
            header: self.header,
            body: self.hashers.finish(),
        });
        let found = match asked {
            Some(asked) => found(shard, &asked).await,
            None => None,
        };
        shard.ungather(held);
        let found = found.unwrap_or_else(Findings::unknown);
        let counts = &shard.instruments.families.verified;
        let [spf, dkim, dmarc] = CHECKS.map(|check| counts.place(check));
        let verdicts = [(spf, found.spf.verdict), (dkim, found.dkim()), (dmarc, found.dmarc.verdict)];
        verdicts.into_iter().for_each(|(check, verdict)| counts.add(check, verdict as usize, 1));
        let mut field = Vec::new();
        results::write(&mut field, &shard.boot.node.hostname, &found);
        envelope.signatures = Some(field.into());
        found.refusal().filter(|_| self.enforces).map(|reply| (reply, Reason::Dmarc))
    }
}

/// What the thread found that verifies. None: it took too long, or the node stops.
async fn found<R: Runtime>(shard: &Shard<R>, asked: &Arc<Question>) -> Option<Findings> {
    let give_up = shard.runtime.now() + limits::VERIFY_WAIT;
    let mut pause = limits::VERIFY_LOOK;
    loop {
        let found = asked.found();
        if found.is_some() || shard.draining.get() || shard.runtime.now() >= give_up {
            return found;
        }
        shard.timers.sleep_until(shard.runtime.now() + pause).await;
        pause = (pause * 2).min(limits::VERIFY_LOOK_MAX);
    }
}
