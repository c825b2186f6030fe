//! Signatures of mail that comes in (DKIM, RFC 6376). Who signs is decided while the header section is in memory; the body is hashed as it is stored;
//! what became of both is signed before the message is stored for good, so that it is signed once, however often it is tried.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::author::{self, Author};
use crate::mail::dkim::key::Failed;
use crate::mail::dkim::{BodyHashers, Message, Unsigned};
use crate::mail::header::{self, Edit};
use crate::mail::submission;
use crate::observe::diagnostics::Level;
use crate::policy::admit::Section;
use crate::policy::signing::{KeyNumber, Signing};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::encode;
use crate::shard::inbound::submission::Submission;
use crate::shard::live::{InForce, LiveConfig};
use crate::smtp::server::NotStored;

/// A message that is to be signed.
pub struct Unfinished {
    /// What was in force when it came.
    live: Rc<InForce>,
    keys: Keys,
    hashers: BodyHashers,
    /// A copy of its header section, once that went to the spool; until then it lies in front of the body.
    header: Vec<u8>,
    /// Bytes of it; 0: it is not in front of the body any more.
    ahead: usize,
    mailbox_line: bool,
    /// Somebody signed it before: nothing in it may change.
    is_signed: bool,
}

type Authors = SmallVec<[Author; 1]>;
type Keys = SmallVec<[KeyNumber; limits::SIGNATURES_MAX]>;

/// What a header section says to who signs it.
#[derive(Default)]
struct Found<'a> {
    from: Option<&'a [u8]>,
    has_several: bool,
    has_date: bool,
    has_id: bool,
    is_signed: bool,
}

impl<'a> Found<'a> {
    fn read(section: &'a [u8], mailbox_line: bool) -> Found<'a> {
        let mut found = Found::default();
        for field in header::fields(section, mailbox_line) {
            match field.name.len() {
                4 if field.is("from") => {
                    found.has_several |= found.from.is_some();
                    found.from = Some(field.value);
                }
                4 if field.is("date") => found.has_date = true,
                10 if field.is("message-id") => found.has_id = true,
                14 if field.is("dkim-signature") => found.is_signed = true,
                _ => {}
            }
        }
        found
    }

    /// Who wrote it. Nobody: there is a doubt, and readers may show another one than we would sign for.
    fn authors(&self) -> Authors {
        let from = self.from.filter(|_| !self.has_several);
        from.and_then(author::authors).unwrap_or_default()
    }
}

/// Which keys sign mail of these authors. An account that is bound to addresses gets no signature of others: neither of the domain in From, nor
/// the relay's where that would pass for the domain's own.
fn keys_of<R: Runtime>(
    shard: &Shard<R>,
    live: &LiveConfig,
    signing: &Signing,
    (authors, account): (&Authors, Option<&str>),
) -> Keys {
    let Some(first) = authors.first() else { return Keys::new() };
    let now = shard.runtime.wall();
    if authors.iter().all(|author| owns(live, account, author)) {
        // Several authors of one domain are signed for; for others nobody could.
        let is_one = authors.iter().all(|author| author.domain() == first.domain());
        return signing.signers_for(is_one.then_some(first.domain()), now);
    }
    let would_pass = |author: &Author| signing.relay_passes_for(author.domain());
    if authors.iter().any(would_pass) { Keys::new() } else { signing.signers_for(None, now) }
}

/// Whether an account may write as an author: one that is bound to addresses, as these.
fn owns(live: &LiveConfig, account: Option<&str>, author: &Author) -> bool {
    let accounts = live.accounts.as_ref().map(|logins| logins.accounts());
    let own = account.and_then(|account| accounts?.own(account));
    own.is_none_or(|own| own.may_send_as(author.address()))
}

/// Whether mail of an author that an account brings is signed with a key of its domain, or of one above it.
pub(super) fn is_signed(live: &LiveConfig, account: Option<&str>, author: &Author) -> bool {
    let signing = live.signing.as_ref().filter(|signing| signing.has_keys(author.domain()));
    signing.is_some() && owns(live, account, author)
}

/// What is decided of a message whose header section is in memory: who signs it. What has to stand in a message that is signed, and does not, is put in:
/// else somebody on its way does that, and the signature is broken. Also how many bytes that were.
pub(super) fn begin<R: Runtime>(
    shard: &Shard<R>,
    live: &Rc<InForce>,
    account: Option<&str>,
    body: &mut Vec<u8>,
    at: Section,
) -> (Option<Box<Unfinished>>, usize) {
    let Some(signing) = &live.signing else { return (None, 0) };
    let section = body.get(..at.length).unwrap_or_default();
    let found = Found::read(section, at.mailbox_line);
    let keys = keys_of(shard, live, signing, (&found.authors(), account));
    if keys.is_empty() {
        shard.instruments.counters.messages_unsigned.add(1);
        return (None, 0);
    }
    let Found { has_date, has_id, is_signed, .. } = found;
    let mut add = Vec::new();
    if !is_signed {
        let (now, unique) = (shard.runtime.wall(), if has_id { 0 } else { shard.runtime.random() });
        submission::add_missing(&mut add, (has_date, has_id), (now, unique, &shard.boot.node.hostname));
    }
    let grown = add.len();
    if grown > 0 {
        let before = body.capacity();
        Edit { remove: Vec::new(), add }.apply(body, at.length, at.mailbox_line);
        shard.gather(body.capacity() - before);
    }
    let hashers = BodyHashers::new(signing.body_forms());
    let (header, ahead, mailbox_line) = (Vec::new(), at.length + grown, at.mailbox_line);
    let live = live.clone();
    (Some(Box::new(Unfinished { live, keys, hashers, header, ahead, mailbox_line, is_signed })), grown)
}

/// Signs a message of our own, as far as its domain or the relay's has keys. One that cannot be signed goes as it is: nobody could send it again.
pub(in crate::shard) async fn own<R: Runtime>(shard: &Shard<R>, submission: &mut Submission) {
    let live = shard.live.get();
    let length = usize::try_from(submission.header_length).unwrap_or(usize::MAX);
    let section = Section { length, mailbox_line: false };
    let (unfinished, grown) = begin(shard, &live, None, &mut submission.body, section);
    debug_assert_eq!(grown, 0, "it has all fields that one needs");
    if let Some(unfinished) = unfinished
        && unfinished.sign(shard, submission).await.is_err()
    {
        shard.instruments.counters.messages_unsigned.add(1);
    }
}

impl Unfinished {
    /// The next of the message, which goes to the spool.
    pub(super) fn read<R: Runtime>(&mut self, shard: &Shard<R>, piece: &[u8]) {
        let (header, body) = piece.split_at(self.ahead.min(piece.len()));
        if self.ahead > 0 {
            self.header = header.to_vec();
            shard.gather(self.header.capacity());
            self.ahead = 0;
        }
        if !shard.runtime.planted(Defect::PieceNotSigned) {
            self.hashers.update(body);
        }
    }

    /// It will not be signed.
    pub(super) fn abandon<R: Runtime>(self, shard: &Shard<R>) {
        shard.ungather(self.header.capacity());
    }

    /// Signs the message, which came whole and may be taken, and stores it.
    pub(super) async fn store<R: Runtime>(
        self,
        shard: &Shard<R>,
        mut submission: Submission,
    ) -> Result<Durable<MessageId>, NotStored> {
        if let Err(why) = self.sign(shard, &mut submission).await {
            submission.give_up(shard, why);
            return Err(why);
        }
        submission.of_client(shard).await
    }

    async fn sign<R: Runtime>(
        mut self,
        shard: &Shard<R>,
        submission: &mut Submission,
    ) -> Result<(), NotStored> {
        let signed = self.write(shard, submission).await;
        shard.ungather(self.header.capacity());
        let counters = &shard.instruments.counters;
        match signed {
            Ok(signatures) => {
                counters.messages_signed.add(1);
                submission.envelope.signatures = Some(signatures.into());
                Ok(())
            }
            // Nobody would believe a signature of it. Whether it is taken then is for the receiver to say.
            Err(Unsigned::Header(_)) => {
                counters.messages_unsigned.add(1);
                Ok(())
            }
            Err(fault @ (Unsigned::NotHashed(_) | Unsigned::Failed(_))) => {
                shard.say(
                    Level::Error,
                    format_args!("a message cannot be signed: {fault}; a client's is put off with 451"),
                );
                Err(NotStored::Unsigned)
            }
        }
    }

    async fn write<R: Runtime>(
        &mut self,
        shard: &Shard<R>,
        submission: &mut Submission,
    ) -> Result<Vec<u8>, Unsigned> {
        let signing = self.live.signing.as_ref().ok_or(Unsigned::Failed(Failed))?;
        if self.ahead > 0 && !self.is_signed && signing.encodes_eight_bit() && needs_encoding(submission) {
            self.ahead = encode(shard, submission).await;
        }
        let (ahead, rest) = submission.body.split_at(self.ahead.min(submission.body.len()));
        for piece in rest.chunks(limits::SCRATCH) {
            self.hashers.update(piece);
            pause(shard).await;
        }
        let hashes = std::mem::take(&mut self.hashers).finish();
        let message = Message {
            header: if self.header.is_empty() { ahead } else { &self.header },
            mailbox_line: self.mailbox_line,
            body: &hashes,
            at: submission.envelope.arrival.0 / 1000,
            needed_until: submission.envelope.expiry.0.div_ceil(1000),
        };
        let mut signatures = Vec::new();
        for key in &self.keys {
            let signer = self.live.signers.get(signing, *key).ok_or(Unsigned::Failed(Failed))?;
            let turn = if signer.is_slow() { Some(shard.inbound.signing.take().await) } else { None };
            shard.inbound.signatures.borrow_mut().write(&message, [&*signer], &mut signatures)?;
            match turn {
                // One of RSA takes two turns of others.
                Some(_turn) => shard.runtime.yield_now().await,
                None => pause(shard).await,
            }
        }
        Ok(signatures)
    }
}

/// Others have their turn where this one lasted.
async fn pause<R: Runtime>(shard: &Shard<R>) {
    if shard.runtime.should_yield() {
        shard.runtime.yield_now().await;
    }
}

/// Whether somebody on its way might change a message: a hop that takes no 8-bit text (RFC 6152 section 3), or one that breaks lines that are too long
/// (RFC 5321 4.5.3.1.6).
fn needs_encoding(submission: &Submission) -> bool {
    submission.envelope.needs.eight_bit || has_long_line(&submission.body)
}

/// Whether a line has more than 998 bytes, its CRLF not counted. Looks at the end of what a line may be and back from there, so that a tenth of the
/// lines is found.
fn has_long_line(text: &[u8]) -> bool {
    let mut rest = text;
    while rest.len() > limits::LINE_OF_ALL {
        let Some(end) = memchr::memrchr(b'\n', &rest[..limits::LINE_OF_ALL]) else { return true };
        rest = &rest[end + 1..];
    }
    false
}

/// Encodes what of a message is not 7-bit text of usual lines, if that can be done without a loss. Returns how long its header section is.
async fn encode<R: Runtime>(shard: &Shard<R>, submission: &mut Submission) -> usize {
    let length = submission.header_length as usize;
    let Some(encoded) = encode::encode(shard, &submission.body).await else { return length };
    let old = std::mem::replace(&mut submission.body, encoded);
    shard.gather(submission.body.capacity());
    shard.ungather(old.capacity());
    shard.give_body(old);
    let text = &submission.body[..];
    let length = memchr::memmem::find(text, b"\r\n\r\n").map_or(text.len(), |end| end + 4);
    submission.size = text.len() as u64;
    submission.header_length = length as u64;
    submission.envelope.needs.eight_bit = !text.is_ascii();
    submission.envelope.needs_stuffing =
        text.starts_with(b".") || memchr::memmem::find(text, b"\n.").is_some();
    shard.instruments.counters.messages_encoded.add(1);
    length
}
