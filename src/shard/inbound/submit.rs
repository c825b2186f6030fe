//! The way in for a message that no session brings, and the steps that every message of others goes through.
//!
//! In this order: [`gate`]; who has a say is asked about its sender and its recipients (`Acceptance`); its bytes are scanned and counted in memory,
//! and rules and instructions are heard while its header section is there ([`Upload`], `Admission`); what its body is refused for
//! (`Summary::refusal`); its envelope is completed (`Envelope::complete`); it is stored ([`Upload::store`]). A session takes the same steps as
//! commands and bytes come (`receive`); [`submit`] takes them at once. Our own mail is stored with what it is about: `Submission::of_ours`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::{BareNewlines, Duties};
use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::envelope::{Envelope, Origin, WithProtocol};
use crate::mail::parameters::Key;
use crate::mail::tls_report::Letter;
use crate::policy::admit::Submitter;
use crate::policy::rates::{self, Counted, Whose};
use crate::policy::reason::{Reason, Refused};
use crate::policy::rules::Facts;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::admit::{self, Admission};
use crate::shard::inbound::quota::{self, MessageQuota};
use crate::shard::inbound::submission::Submission;
use crate::shard::inbound::upload::{Upload, Whole};
use crate::shard::inbound::{mend, reject, sign};
use crate::shard::live::InForce;
use crate::shard::parcel::{NotTaken, Parcel};
use crate::shard::rates::Taken;
use crate::smtp::client::stuff;
use crate::smtp::data::Scanner;
use crate::smtp::server::Intake;
use crate::smtp::words;

/// Whether mail may come in to this shard, by whatever way.
pub fn gate<R: Runtime>(shard: &Shard<R>) -> Intake {
    match shard.gate() {
        Intake::Open if shard.inbound.memory.is_full(shard.mesh.memory()) => Intake::NoMemory,
        gate => gate,
    }
}

/// A message that is there whole.
#[derive(Debug)]
pub struct SubmittedMessage<'a> {
    /// Sender and recipients, the account, and how it came. All else is put in here.
    pub envelope: Box<Envelope>,
    /// Header and body; every line ends with CRLF.
    pub message: &'a [u8],
    /// Bytes that it may have.
    pub size_max: u64,
    /// Its instructions are obeyed.
    pub trusted: bool,
    /// What is done for it, if it is trusted.
    pub duties: Duties,
    /// The tenant whose mail it has to be; None: anybody's.
    pub tenant: Option<&'a str>,
}

/// Takes in a message that no session brings: its id, when it is on stable storage. To be waited for to its end: what it holds in memory is counted.
pub async fn submit<R: Runtime>(
    shard: &Shard<R>,
    incoming: SubmittedMessage<'_>,
) -> Result<Durable<MessageId>, NotTaken> {
    let (account, trusted) = (incoming.envelope.account.clone(), incoming.trusted);
    let client = Submitter { account: account.as_deref(), listener: None, address: None, trusted };
    submit_of(shard, client, incoming).await
}

/// The same of a client, who is that of a session where one brought what it is made of.
pub(super) async fn submit_of<R: Runtime>(
    shard: &Shard<R>,
    client: Submitter<'_>,
    incoming: SubmittedMessage<'_>,
) -> Result<Durable<MessageId>, NotTaken> {
    let gate = gate(shard);
    if gate != Intake::Open {
        return Err(NotTaken::Closed(gate));
    }
    let live = shard.live.get();
    let SubmittedMessage { mut envelope, message, size_max, trusted, duties, tenant } = incoming;
    let count = envelope.recipients.len();
    if count == 0 || count > limits::RECIPIENTS_MAX {
        let reply = if count == 0 { words::NO_VALID_RECIPIENTS } else { words::TOO_MANY_RECIPIENTS };
        return Err(refuse(shard, &envelope, (reply, None)));
    }
    if let Some(Refused { reply, reason }) = unwelcome(shard, &live, client, &envelope).await {
        return Err(refuse(shard, &envelope, (reply, Some(reason))));
    }
    let duties = if trusted { duties } else { Duties::NONE };
    let judging = Judging { live: &live, client, duties };
    let mut upload = Upload::new(BareNewlines::Refuse);
    let mut scanner = take_in(shard, &mut upload, &judging, (&mut envelope, message, size_max)).await;
    if upload.admission.is_none() {
        judging.decide(shard, &mut upload, &mut envelope, &mut scanner, true).await;
    }
    let summary = scanner.summary();
    if let Some(fault) = summary.refusal() {
        upload.abandon(shard);
        return Err(refuse(shard, &envelope, (&fault.reply(), Some(fault.reason()))));
    }
    // By an instruction in it, or a rule: whoever may send for one tenant alone would use up what is another's.
    let named = envelope.parameters.as_ref().and_then(|all| all.message.get(Key::Tenant));
    if tenant.is_some_and(|own| named != Some(own)) {
        upload.abandon(shard);
        return Err(refuse(shard, &envelope, (words::FOREIGN_TENANT, Some(Reason::SenderDenied))));
    }
    let now = shard.runtime.wall();
    envelope.complete((now, upload.expires(now, &live.config.retry)), summary.facts());
    let counted = match upload.refusal(&live.acceptance, &summary) {
        Some(refused) => Err(refused),
        None if live.quotas.is_empty() => Ok(None),
        None => Box::pin(quota::take(shard, &live.quotas, &envelope)).await,
    };
    let counted = match counted {
        Ok(counted) => counted,
        Err((reply, reason)) => {
            upload.abandon(shard);
            return Err(refuse(shard, &envelope, (&reply, Some(reason))));
        }
    };
    let stored = upload.store(shard, Whole { envelope, summary }).await;
    counted.filter(|_| stored.is_err()).into_iter().for_each(MessageQuota::give_back);
    stored.map_err(NotTaken::NotStored)
}

/// Takes in a message of the node's own that no other one is about, signed where there are keys. Neither rules nor instructions are asked: it is no
/// client's. Why it is not stored, in words.
pub async fn own<R: Runtime>(shard: &Shard<R>, letter: Letter) -> Result<Durable<MessageId>, Box<str>> {
    let gate = gate(shard);
    if let Some((reply, _)) = gate.refusal() {
        return Err(reply.trim_ascii_end().into());
    }
    let envelope = letter.envelope(shard.runtime.wall()).ok_or("its recipient has no address")?;
    let mut submission = Submission::composed(envelope, letter.message);
    shard.gather(submission.body.capacity());
    sign::own(shard, &mut submission).await;
    submission.of_client(shard).await.map_err(|why| why.words().trim_ascii_end().into())
}

/// Whether its sender is refused, or any of its recipients: nobody could be told of one of several. Many rules and many recipients take several
/// turns.
async fn unwelcome<'a, R: Runtime>(
    shard: &Shard<R>,
    live: &'a InForce,
    client: Submitter<'_>,
    envelope: &Envelope,
) -> Option<Refused<'a>> {
    let acceptance = &live.acceptance;
    let Submitter { account, listener, address, trusted: _ } = client;
    let (stages, sender) = (acceptance.stages(), &envelope.sender[..]);
    let facts = Facts { account, listener, client: address, sender, recipient: None, fields: None };
    if let Some(refused) = acceptance.refuses(&facts).filter(|_| stages.sender) {
        return Some(refused);
    }
    if let Some(refused) = admit::foreign(live, account, sender) {
        return Some(refused);
    }
    for one in envelope.recipients.iter().filter(|_| stages.recipient) {
        if let Some(refused) = acceptance.refuses(&Facts { recipient: Some(&one.address), ..facts }) {
            return Some(refused);
        }
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
    None
}

/// Takes in a message of whoever handed it to control: its id, when it is on stable storage. The client of a program of this machine is this machine, as it
/// is over a Unix socket. What rates its account has hold as in a session.
pub async fn parcel<R: Runtime>(shard: &Shard<R>, parcel: Parcel) -> Result<MessageId, NotTaken> {
    let Parcel { sender, recipients, account, message, size_max, duties, by, client, parameters, tenant } =
        parcel;
    let mut envelope = shard.inbound.envelopes.take();
    (envelope.sender, envelope.recipients) = (sender, recipients);
    envelope.account = account.map(Into::into);
    let client = Some(SocketAddr::from((client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0)));
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        envelope.parameters.get_or_insert_default().message = *parameters;
    }
    envelope.origin = Origin { client, helo: by.into(), protocol: WithProtocol::Smtp, tls: None };
    let rates = match account_rates(shard, &envelope) {
        Ok(rates) => rates,
        Err(reply) => return Err(refuse(shard, &envelope, (&reply, None))),
    };
    let tenant = tenant.as_deref();
    let incoming = SubmittedMessage { envelope, message: &message, size_max, trusted: true, duties, tenant };
    let taken = submit(shard, incoming).await.map(|id| *id.get());
    if taken.is_err() {
        rates.into_iter().for_each(|(taken, counted)| taken.give_back(counted));
    }
    taken
}

/// Takes what the rates of its account are to count: one message and each recipient, or nothing. What the client hears, where one is at its end.
fn account_rates<R: Runtime>(shard: &Shard<R>, envelope: &Envelope) -> Result<Vec<(Taken, Counted)>, String> {
    let live = shard.live.get();
    let Some(account) = envelope.account.as_deref() else { return Ok(Vec::new()) };
    let Some(own) = live.accounts.as_ref().and_then(|logins| logins.accounts().own(account)) else {
        return Ok(Vec::new());
    };
    let now = shard.runtime.now();
    let wanted = [
        (own.rate, Counted::Messages, 1),
        (own.recipients_rate, Counted::Recipients, envelope.recipients.len()),
    ];
    let mut all: Vec<(Taken, Counted)> = Vec::new();
    for (rate, counted, many) in wanted {
        let Some(rate) = rate else { continue };
        let rates = shard.mesh.account(account, now).rates().clone();
        if let Some(desk) = shard.mesh.cluster.desk() {
            desk.limited_account(account, (&rates, counted), &rate);
        }
        for _ in 0..many {
            match Taken::take([None, Some((Whose::Account, rates.clone(), rate))], counted, now) {
                Ok(taken) => all.push((taken, counted)),
                Err((whose, wait)) => {
                    all.into_iter().for_each(|(taken, counted)| taken.give_back(counted));
                    return Err(rates::put_off(counted, whose, wait));
                }
            }
        }
    }
    Ok(all)
}

/// By what a message is judged while its header section is in memory.
struct Judging<'a> {
    live: &'a InForce,
    client: Submitter<'a>,
    duties: Duties,
}

impl Judging<'_> {
    /// Duties, rules and instructions have their say.
    async fn decide<R: Runtime>(
        &self,
        shard: &Shard<R>,
        upload: &mut Upload,
        envelope: &mut Envelope,
        scanner: &mut Scanner,
        is_whole: bool,
    ) {
        let Judging { live, client, duties } = self;
        let has_duties = mend::are_any(*duties);
        let mut unfit = None;
        if has_duties && is_whole {
            let of = (client.account, &envelope.sender[..]);
            match mend::mend(shard, (&***live, *duties), of, (&scanner.summary(), &mut upload.body)) {
                Ok(grown) => scanner.header_grew(grown),
                Err(why) => unfit = Some(why),
            }
        }
        let (by, section) = ((&live.acceptance, *client), (scanner.summary(), is_whole));
        let mut admission = Admission::decide(shard, by, envelope, section, &mut upload.body).await;
        if has_duties {
            admission.has_duties(unfit);
        }
        upload.admission = Some(admission);
    }
}

/// Scans it as DATA would have brought it, into memory that is counted, and stores the first of it as it grows.
async fn take_in<R: Runtime>(
    shard: &Shard<R>,
    upload: &mut Upload,
    judging: &Judging<'_>,
    (envelope, message, size_max): (&mut Envelope, &[u8], u64),
) -> Scanner {
    let mut scanner = Scanner::new(size_max, BareNewlines::Refuse);
    // A line that does not end is one whose CRLF is missing.
    let end: &[u8] = if message.is_empty() || message.ends_with(b"\r\n") { b".\r\n" } else { b"\r.\r\n" };
    let pieces = stuff(message, true).flat_map(|piece| piece.chunks(limits::SCRATCH));
    let mut fresh = Vec::new();
    for piece in pieces.chain([end]) {
        fresh.clear();
        fresh.extend_from_slice(piece);
        let scanned = scanner.scan(&mut fresh);
        upload.push(shard, scanned.body(&fresh));
        if upload.wants_chunk(shard) {
            if upload.admission.is_none() {
                let is_whole = scanned.done || !scanner.is_in_header();
                judging.decide(shard, upload, envelope, &mut scanner, is_whole).await;
            }
            upload.store_chunk(shard).await;
        }
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
    scanner
}

/// Records that it is refused.
#[cold]
pub(super) fn refuse<R: Runtime>(
    shard: &Shard<R>,
    envelope: &Envelope,
    (reply, given): (&str, Option<Reason>),
) -> NotTaken {
    shard.instruments.counters.messages_refused.add(1);
    reject::of_unsaid(shard, envelope, (reply, given));
    NotTaken::Refused(reply.into())
}

#[cfg(test)]
mod tests;
