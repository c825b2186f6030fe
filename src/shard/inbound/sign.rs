//! Signatures of mail that comes in (DKIM, RFC 6376). Who signs is decided while the header section is in memory; the body is hashed as it is stored;
//! what became of both is signed before the message is stored for good, so that it is signed once, however often it is tried.

use std::cell::RefCell;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::author::{self, Author};
use crate::mail::dkim::key::Failed;
use crate::mail::dkim::{BodyHashers, Message, Signer, Unsigned};
use crate::mail::header::{self, Edit};
use crate::mail::seven_bit::{Rewriter, Survey};
use crate::mail::trace;
use crate::observe::diagnostics::Level;
use crate::policy::admit::{Section, Submitter};
use crate::policy::signing::{KeyNumber, Signing};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::submission::Submission;
use crate::shard::live::InForce;
use crate::smtp::server::NotStored;

/// The longest line that all hops must take, CRLF included (RFC 5321 4.5.3.1.6).
const LINE: usize = 1000;

/// What a shard signs with. The library locks an RSA key for a moment at each signature, so each shard reads its own; those that it uses are kept.
#[derive(Default)]
pub struct Signers {
    /// By their numbers.
    read: RefCell<Vec<Option<Rc<Signer>>>>,
}

impl Signers {
    /// The one with this key. None: it cannot be read any more, though it could when the configuration was.
    fn get(&self, signing: &Signing, key: KeyNumber) -> Option<Rc<Signer>> {
        let mut read = self.read.borrow_mut();
        if read.len() != signing.key_count() {
            read.resize(signing.key_count(), None);
        }
        let place = usize::try_from(key.0).ok()?;
        if let Some(signer) = read.get(place)? {
            return Some(signer.clone());
        }
        // 3 KiB each. Mail of so many domains at once comes by chance, and what is needed is read again.
        if read.iter().flatten().count() >= limits::SIGNERS_KEPT {
            read.iter_mut().for_each(|signer| *signer = None);
        }
        let signer = Rc::new(signing.make_signer(key).ok()?);
        read[place] = Some(signer.clone());
        Some(signer)
    }
}

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
}

type Keys = SmallVec<[KeyNumber; limits::SIGNATURES_MAX]>;

/// What is decided of a message whose header section is in memory: who signs it. What has to stand in a message that is signed, and does not, is put in:
/// else somebody on its way does that, and the signature is broken. Also how many bytes that were.
pub(super) fn begin<R: Runtime>(
    shard: &Shard<R>,
    live: &Rc<InForce>,
    body: &mut Vec<u8>,
    at: Section,
) -> (Option<Box<Unfinished>>, usize) {
    let Some(signing) = &live.signing else { return (None, 0) };
    let section = body.get(..at.length).unwrap_or_default();
    let (mut from, mut has_date, mut has_id) = (None, false, false);
    for field in header::fields(section, at.mailbox_line) {
        match () {
            () if field.is("from") => from = from.or(Some(field.value)),
            () if field.is("date") => has_date = true,
            () if field.is("message-id") => has_id = true,
            () => {}
        }
    }
    let authors = from.and_then(author::authors).unwrap_or_default();
    // Several authors of one domain are signed for; for others nobody could.
    let domain = authors.first().map(Author::domain);
    let domain = domain.filter(|domain| authors.iter().all(|author| author.domain() == *domain));
    let keys = if authors.is_empty() { Keys::new() } else { signing.signers_for(domain, shard.runtime.wall()) };
    if keys.is_empty() {
        shard.instruments.counters.messages_unsigned.add(1);
        return (None, 0);
    }
    let mut add = Vec::new();
    if !has_date {
        add.extend_from_slice(b"Date: ");
        trace::write_date(&mut add, shard.runtime.wall());
        add.extend_from_slice(b"\r\n");
    }
    if !has_id {
        let (at, unique) = (shard.runtime.wall().0, shard.runtime.random());
        let id = format!("Message-ID: <{at:x}.{unique:016x}@{}>\r\n", shard.boot.node.hostname);
        add.extend_from_slice(id.as_bytes());
    }
    let grown = add.len();
    if grown > 0 {
        let before = body.capacity();
        Edit { remove: Vec::new(), add }.apply(body, at.length, at.mailbox_line);
        shard.gather(body.capacity() - before);
    }
    let hashers = BodyHashers::new(signing.body_forms());
    let unfinished = Unfinished {
        live: live.clone(),
        keys,
        hashers,
        header: Vec::new(),
        ahead: at.length + grown,
        mailbox_line: at.mailbox_line,
    };
    (Some(Box::new(unfinished)), grown)
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
                shard.say(Level::Error, format_args!("a message cannot be signed and is put off with 451: {fault}"));
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
        if self.ahead > 0 && signing.encodes_eight_bit() && needs_encoding(submission) {
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
        };
        let mut signatures = Vec::new();
        for key in &self.keys {
            let signer = self.live.signers.get(signing, *key).ok_or(Unsigned::Failed(Failed))?;
            shard.inbound.signatures.borrow_mut().write(&message, [&*signer], &mut signatures)?;
            // One of RSA takes most of a turn.
            pause(shard).await;
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
    while rest.len() > LINE {
        let Some(end) = memchr::memrchr(b'\n', &rest[..LINE]) else { return true };
        rest = &rest[end + 1..];
    }
    false
}

/// Encodes what of a message is not 7-bit text of usual lines, if that can be done without a loss. Returns how long its header section is.
async fn encode<R: Runtime>(shard: &Shard<R>, submission: &mut Submission) -> usize {
    let length = submission.header_length as usize;
    let mut survey = Survey::default();
    for piece in submission.body.chunks(limits::ENCODED_AT_ONCE) {
        survey.read(piece);
        pause(shard).await;
    }
    let Some(plan) = survey.finish().ok().filter(|plan| !plan.is_empty()) else { return length };
    let (mut rewriter, mut encoded) = (Rewriter::new(&plan), shard.body_buffer());
    encoded.reserve(submission.body.len() + submission.body.len() / 8);
    for piece in submission.body.chunks(limits::ENCODED_AT_ONCE) {
        rewriter.write(piece, &mut encoded);
        pause(shard).await;
    }
    rewriter.finish(&mut encoded);
    let old = std::mem::replace(&mut submission.body, encoded);
    shard.gather(submission.body.capacity());
    shard.ungather(old.capacity());
    shard.give_body(old);
    let text = &submission.body[..];
    let length = memchr::memmem::find(text, b"\r\n\r\n").map_or(text.len(), |end| end + 4);
    submission.size = text.len() as u64;
    submission.header_length = length as u64;
    submission.envelope.needs.eight_bit = !text.is_ascii();
    submission.envelope.needs_stuffing = text.starts_with(b".") || memchr::memmem::find(text, b"\n.").is_some();
    shard.instruments.counters.messages_encoded.add(1);
    length
}
