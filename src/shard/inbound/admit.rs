//! Between receive and persist: what rules and instructions make of a message. Decided while its header section is in memory, before any
//! of it is stored; so what is stored is what leaves.

use std::time::Duration;

use crate::limits;
use crate::mail::author::Author;
use crate::mail::envelope::{Envelope, TlsWish};
use crate::mail::handover::{Carried, Handover};
use crate::mail::header;
use crate::mail::parameters::Key;
use crate::mail::release::{self, SendAt, TooLate};
use crate::mail::submission::Unfit;
use crate::policy::acceptance::Acceptance;
use crate::policy::admit::{self, Admitted, NotAdmitted, Section, Submitter};
use crate::policy::reason::{Reason, Refused};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::hook::{self, Asking};
use crate::shard::inbound::sign::{self, Unfinished};
use crate::shard::inbound::suppress;
use crate::shard::inbound::verify::{Begun, Unverified};
use crate::shard::live::LiveConfig;
use crate::smtp::data::Summary;
use crate::smtp::words;
use crate::time::UnixMillis;

/// What was decided of a message that is coming in.
#[derive(Default)]
pub struct Admission {
    done: Admitted,
    /// The reply with which it is refused at its end, and why.
    refused: Option<(Box<str>, Reason)>,
    /// The first of it was stored before its header section was whole.
    cut: Option<Cut>,
    /// Age at which its tenant's mail is given up.
    max_age: Option<Duration>,
    /// When it is to go.
    send_at: Option<SendAt>,
    /// The same as a time, once it came whole.
    release: Option<UnixMillis>,
    /// It is to be signed.
    pub(super) signing: Option<Box<Unfinished>>,
    /// It is to be verified.
    pub(super) verifying: Option<Box<Unverified>>,
    /// It is to be signed or verified, and could not be, as the first of it was stored before its header section was whole.
    misses_its_header: bool,
    /// What it was at the node that hands it over.
    handover: Option<Box<Handover>>,
}

/// Why a header section was not whole in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It is longer than what is held.
    TooLong,
    /// There was no memory for more of it.
    NoMemory,
}

/// Where no rule and no instruction names them, the tenant is the account's, and the pool that mail leaves by the account's or else the tenant's.
/// Named here they stand in the record and its events.
fn name_own(live: &LiveConfig, account: Option<&str>, envelope: &mut Envelope) {
    let accounts = live.accounts.as_ref().map(|logins| logins.accounts());
    let own = accounts.and_then(|accounts| accounts.own(account?)).filter(|own| !own.names_nothing());
    if let Some(own) = own {
        let all = envelope.parameters.get_or_insert_default();
        let pool = own.pool.as_ref().map(|(pool, _)| pool);
        for (key, name) in [(Key::Pool, pool), (Key::Tenant, own.tenant.as_ref())] {
            if let Some(name) = name.filter(|_| all.message.get(key).is_none()) {
                all.message.put(key, name.clone());
            }
        }
    }
    if let Some(all) = &mut envelope.parameters {
        live.tenants.name_pools(all);
    }
}

/// Whether a sender is not one that the account may send as.
pub(super) fn foreign(live: &LiveConfig, account: Option<&str>, sender: &[u8]) -> Option<Refused<'static>> {
    let accounts = live.accounts.as_ref().map(|logins| logins.accounts());
    let may = account.zip(accounts).is_none_or(|(account, accounts)| accounts.may_send_as(account, sender));
    (!may).then_some(Refused { reply: words::FOREIGN_SENDER, reason: Reason::SenderDenied })
}

/// Whether a recipient is not one that the account may send to.
pub(super) fn out_of_reach(
    live: &LiveConfig,
    account: Option<&str>,
    recipient: Option<&[u8]>,
) -> Option<Refused<'static>> {
    let own = live.accounts.as_ref().and_then(|logins| logins.accounts().own(account?))?;
    let may = own.may_send_to(recipient?);
    (!may).then_some(Refused { reply: words::FOREIGN_RECIPIENT, reason: Reason::RelayDenied })
}

/// RFC 8689 section 5: a field that says `No` has a message go whatever its recipients' domains ask of TLS, unless its MAIL requires TLS.
#[cold]
pub(super) fn waive_tls(envelope: &mut Envelope, summary: &Summary, body: &[u8]) {
    let length = usize::try_from(summary.header_length).unwrap_or(usize::MAX).min(body.len());
    let mut fields = header::fields(&body[..length], summary.mailbox_line);
    let waives =
        fields.any(|field| field.is("tls-required") && field.value.trim_ascii().eq_ignore_ascii_case(b"no"));
    if waives && envelope.needs.tls == TlsWish::Usual {
        envelope.needs.tls = TlsWish::Waived;
    }
}

impl Admission {
    /// It is refused at its end.
    pub(super) fn refused(reply: &str, reason: Reason) -> Admission {
        Admission { refused: Some((reply.into(), reason)), ..Admission::default() }
    }

    /// Another node hands it over: what was decided of it there stands. Its section is longer by so much now.
    pub(super) fn handed_over(handover: Handover, grown: i64) -> Admission {
        let done = Admitted { grown, ..Admitted::default() };
        Admission { done, handover: Some(Box::new(handover)), ..Admission::default() }
    }

    /// Whether another node hands it over.
    pub(super) fn is_handed_over(&self) -> bool {
        self.handover.is_some()
    }

    /// Before the first of a message is stored, or behind its end: decides, unless that was done. Mail that no rule asks about and that has no
    /// instruction costs a look at two flags. `is_whole`: no more of its header section is to come.
    pub(in crate::shard) async fn decide<R: Runtime>(
        shard: &Shard<R>,
        (acceptance, client): (&Acceptance, Submitter<'_>),
        envelope: &mut Envelope,
        (summary, is_whole): (Summary, bool),
        body: &mut Vec<u8>,
    ) -> Admission {
        let mut admission = Admission::default();
        if summary.speaks_of_tls && is_whole {
            waive_tls(envelope, &summary, body);
        }
        if !is_whole {
            // With room for what a look at the input may bring, no more would be gathered in any case.
            let is_long = body.len() > limits::BODY_GATHER_MAX - 2 * limits::SCRATCH;
            admission.cut = Some(if is_long { Cut::TooLong } else { Cut::NoMemory });
        } else if acceptance.stages().header || summary.may_instruct {
            let length = usize::try_from(summary.header_length).unwrap_or(usize::MAX).min(body.len());
            let section = Section { length, mailbox_line: summary.mailbox_line };
            let before = body.capacity();
            let pause = async || {
                if shard.runtime.should_yield() {
                    shard.runtime.yield_now().await;
                }
            };
            let live = shard.live.get();
            let is_signed =
                |author: &Author| client.trusted && sign::is_signed(&live, client.account, author);
            // In memory of its own: what few messages need must not lie in every session.
            let rules = acceptance.rules();
            match Box::pin(admit::admit(rules, client, envelope, body, (section, &is_signed), pause)).await {
                Ok(done) => admission.done = done,
                Err(NotAdmitted(reply)) => admission.refused = Some((reply, Reason::Rule)),
            }
            shard.gather(body.capacity() - before);
        }
        let live = shard.live.get();
        if live.config.hook.is_some() && admission.refused.is_none() {
            Box::pin(admission.ask_hook(shard, &live, (client, envelope), (&summary, is_whole), body)).await;
        }
        name_own(&live, client.account, envelope);
        let parameters = envelope.parameters.as_ref().map(|all| &all.message);
        admission.max_age = parameters.and_then(|set| live.tenants.max_age(set));
        admission.send_at = parameters.and_then(|set| SendAt::parse(set.get(Key::SendAt)?));
        if !shard.suppression.is_empty() && admission.refused.is_none() {
            // In memory of its own, as above.
            if Box::pin(suppress::mark(shard, &live, client, envelope)).await {
                admission.refused = Some((words::ALL_SUPPRESSED.into(), Reason::Suppressed));
            }
        }
        if let Some(returns) = live.returns.as_ref().filter(|returns| returns.has_addresses()) {
            returns.set_apart(envelope);
        }
        // A link is for those whose mail it is: strangers would get ours into bounces, and others off our lists.
        if admission.done.unsubscribe && client.trusted && admission.refused.is_none() {
            admission.add_way_out(shard, (&live, &summary), envelope, body);
        }
        // We answer for mail of those that we relay for, and for nobody else's.
        if client.trusted && live.signing.is_some() && admission.refused.is_none() {
            admission.misses_its_header = !is_whole;
            if is_whole {
                let section = admission.section(&summary, body);
                let (signing, grown) = sign::begin(shard, &live, client.account, body, section);
                admission.signing = signing;
                admission.done.grown += grown as i64;
            }
        }
        admission
    }

    /// The service has its say that is asked about each message. One whose header section it cannot see is refused.
    async fn ask_hook<R: Runtime>(
        &mut self,
        shard: &Shard<R>,
        live: &LiveConfig,
        (client, envelope): (Submitter<'_>, &mut Envelope),
        (summary, is_whole): (&Summary, bool),
        body: &mut Vec<u8>,
    ) {
        // What its bytes are refused for needs nobody's word.
        let Some(hook) = live.config.hook.as_ref().filter(|_| summary.refusal().is_none()) else { return };
        self.misses_its_header |= !is_whole;
        if is_whole {
            let (section, size) = (self.section(summary, body), summary.size);
            let asking = Asking { client, envelope, body, section, size, done: &mut self.done };
            self.refused = hook::ask(shard, (live, hook), asking).await.err();
        }
    }

    /// Where the header section is by now.
    fn section(&self, summary: &Summary, body: &[u8]) -> Section {
        let length = summary.header_length.saturating_add_signed(self.done.grown);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(body.len());
        Section { length, mailbox_line: summary.mailbox_line }
    }

    /// A way out of the list, by its tenant and its campaign as they are known by now.
    fn add_way_out<R: Runtime>(
        &mut self,
        shard: &Shard<R>,
        (live, summary): (&LiveConfig, &Summary),
        envelope: &Envelope,
        body: &mut Vec<u8>,
    ) {
        let Some(links) = &live.links else { return };
        let Section { length, mailbox_line } = self.section(summary, body);
        let before = body.capacity();
        let (grown, added) = links.add(envelope, body, (length, mailbox_line), shard.runtime.wall());
        shard.gather(body.capacity() - before);
        self.done.grown += grown as i64;
        shard.instruments.families.ways_out.add(added as usize, 1);
    }

    /// It is to be verified, unless it is refused anyway; its header section had so many bytes when it came. None: that is too long for it.
    pub(super) fn verify<R: Runtime>(&mut self, shard: &Shard<R>, begun: Option<Begun>, before: u64) {
        match begun {
            None => {
                self.misses_its_header = true;
                self.cut.get_or_insert(Cut::TooLong);
            }
            Some(Begun { unverified, .. }) if self.refused.is_some() => unverified.abandon(shard),
            Some(Begun { mut unverified, length }) => {
                unverified.grew(self.done.grown);
                self.verifying = Some(unverified);
                self.done.grown += length as i64 - i64::try_from(before).unwrap_or(i64::MAX);
            }
        }
    }

    /// The header section had to be in memory whole for what a listener does for mail (RFC 6409), and was, or the message was not fit.
    pub(super) fn has_duties(&mut self, unfit: Option<Unfit>) {
        self.misses_its_header |= self.cut.is_some();
        if let Some(Unfit { reply, reason }) = unfit {
            self.refused = Some((reply.into(), reason));
        }
    }

    /// Behind the end of a message whose first part was stored early: what was to be done with its header section cannot be done any more.
    pub(in crate::shard) fn settle(&mut self, acceptance: &Acceptance, summary: &Summary) {
        if acceptance.stages().header || summary.may_instruct || self.misses_its_header {
            match self.cut {
                Some(Cut::TooLong) => self.refused = Some((words::HEADER_TOO_LARGE.into(), Reason::TooLarge)),
                Some(Cut::NoMemory) => self.refused = Some((words::NO_MEMORY.into(), Reason::NoRoom)),
                None => {}
            }
        }
    }

    /// Until when delivery of a message that came whole now is tried: its life begins when it may go (RFC 4865 section 3). One that asks for a time
    /// too far ahead is refused.
    pub(in crate::shard) fn expires(&mut self, now: UnixMillis, usual: Duration) -> UnixMillis {
        if let Some(handover) = &self.handover {
            return handover.expiry;
        }
        match self.send_at.map_or(Ok(None), |send_at| send_at.of_arrival(now)) {
            Ok(release) => self.release = release,
            Err(TooLate) => _ = self.refused.get_or_insert((words::HELD_TOO_LONG.into(), Reason::Rule)),
        }
        self.release.unwrap_or(now).after(self.lives(usual))
    }

    /// How long delivery is tried; `usual` where nothing says so.
    fn lives(&self, usual: Duration) -> Duration {
        let said = self.done.expire.unwrap_or(usual);
        self.max_age.map_or(said, |most| said.min(most))
    }

    /// The reply with which it is refused at its end, and why; None: it is not.
    pub(in crate::shard) fn refusal(&mut self) -> Option<(Box<str>, Reason)> {
        self.refused.take()
    }

    /// Says what the message is behind the edit.
    pub(in crate::shard) fn complete(&mut self, envelope: &mut Envelope, summary: &mut Summary) {
        let Admitted { grown, eight_bit, expire: _, unsubscribe: _ } = self.done;
        summary.size = summary.size.saturating_add_signed(grown);
        summary.header_length = summary.header_length.saturating_add_signed(grown);
        envelope.needs.eight_bit |= eight_bit;
        if eight_bit {
            envelope.needs.utf8.settle(true);
        }
        if let Some(handover) = self.handover.take() {
            let Handover { arrival, expiry: _, account, hides_client, parameters: _, begun } = *handover;
            envelope.handover = Some(Box::new(Carried { came: envelope.arrival, begun }));
            // The clock of the other node may be ahead.
            envelope.arrival = arrival.min(envelope.arrival);
            envelope.account = account.map(Into::into);
            envelope.hides_client |= hides_client;
        }
        if self.send_at.is_some()
            && let Some(parameters) = &mut envelope.parameters
        {
            match self.release {
                Some(at) => parameters.message.put(Key::SendAt, release::show(at).into()),
                None => parameters.message.remove(Key::SendAt),
            }
        }
    }
}
