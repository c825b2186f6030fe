//! The `DKIM-Signature` fields of a message (RFC 6376 3.5, 3.7).

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Canonicalization;
use super::body::BodyHashes;
use super::field::{self, FieldList, HeaderFlaw, Picked};
use super::folder::Folder;
use super::key::Failed;
use super::signer::Signer;
use crate::limits;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its header section; what is behind an empty line in it is not looked at.
    pub header: &'a [u8],
    /// The section begins with the `From ` line of a mailbox file, which is no field.
    pub mailbox_line: bool,
    /// Its body, hashed in all forms that its signers want.
    pub body: &'a BodyHashes,
    /// `t=`: when it is signed, in seconds of Unix time.
    pub at: u64,
    /// Until when it may be on its way to its first receiver, in the same seconds: no signature ends before.
    pub needed_until: u64,
}

/// Why a message has no signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// The message is to blame.
    Header(HeaderFlaw),
    /// We are: its body was not hashed in the form that a signer wants.
    NotHashed(Canonicalization),
    /// The machine is.
    Failed(Failed),
}

impl fmt::Display for Unsigned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsigned::Header(flaw) => write!(formatter, "{flaw}"),
            Unsigned::NotHashed(form) => {
                write!(
                    formatter,
                    "the body was not hashed in {} form, which is a fault of this program",
                    form.name()
                )
            }
            Unsigned::Failed(failed) => write!(formatter, "{failed}"),
        }
    }
}

impl std::error::Error for Unsigned {}

/// Signs messages, one after another, and keeps its memory between them.
#[derive(Debug)]
pub struct SignatureWriter {
    list: FieldList,
    picked: Picked,
    /// The canonical form of what is hashed next.
    canonical: Vec<u8>,
    /// `h=` of the message, folded.
    names: Vec<u8>,
    encoded: String,
}

impl Default for SignatureWriter {
    fn default() -> SignatureWriter {
        SignatureWriter::new(FieldList::default())
    }
}

impl SignatureWriter {
    /// Of messages of which these fields are signed.
    pub fn new(list: FieldList) -> SignatureWriter {
        let (canonical, names, encoded) = (Vec::new(), Vec::new(), String::new());
        SignatureWriter { list, picked: Picked::default(), canonical, names, encoded }
    }

    /// Appends one whole field for each signer, to be put in front of the header section. The section is walked and hashed once for all of
    /// them; none signs what another one says. An error leaves `out` as it was. Without a signer the message is not looked at.
    pub fn write<'s>(
        &mut self,
        message: &Message<'_>,
        signers: impl IntoIterator<Item = &'s Signer>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsigned> {
        let start = out.len();
        let written = self.write_all(message, signers, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write_all<'s>(
        &mut self,
        message: &Message<'_>,
        signers: impl IntoIterator<Item = &'s Signer>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsigned> {
        let mut signers = signers.into_iter().peekable();
        if signers.peek().is_none() {
            return Ok(());
        }
        self.picked.pick(message.header, message.mailbox_line, &self.list).map_err(Unsigned::Header)?;
        self.names.clear();
        let mut field = Folder::begin(&mut self.names, "");
        field.open("h=");
        self.picked.write_names(&self.list, &mut field);
        let mut hashed = Hashed::default();
        for signer in signers {
            let start = out.len();
            self.write_unsigned(message, signer, out)?;
            let mut digest = hashed.header(signer.header, |form| {
                self.canonical.clear();
                self.picked.write(message.header, form, &mut self.canonical);
                &self.canonical
            });
            // RFC 6376 3.7: the field itself comes last, with nothing behind `b=` and no line end.
            self.canonical.clear();
            field::write_field(&out[start..], signer.header, &mut self.canonical);
            digest.update(self.canonical.strip_suffix(b"\r\n").unwrap_or(&self.canonical));
            self.encoded.clear();
            signer.key.sign(&digest.finish(), &mut self.encoded).map_err(Unsigned::Failed)?;
            Folder::resume(out, start).text(&self.encoded);
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// All of the field up to `b=`.
    fn write_unsigned(
        &mut self,
        message: &Message<'_>,
        signer: &Signer,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsigned> {
        let hash = message.body.of(signer.body).ok_or(Unsigned::NotHashed(signer.body))?;
        let start = out.len();
        out.extend_from_slice(&signer.opening);
        let mut field = Folder::resume(out, start);
        field.tag(format_args!("t={}", message.at));
        if let Some(lifetime) = signer.lifetime {
            let until = message
                .at
                .saturating_add(lifetime)
                .max(message.needed_until.saturating_add(lifetime.min(limits::SIGNATURE_OUTLASTS)));
            field.tag(format_args!("x={until}"));
        }
        out.extend_from_slice(&self.names);
        let mut field = Folder::resume(out, start);
        field.open("bh=");
        self.encoded.clear();
        STANDARD.encode_string(hash, &mut self.encoded);
        field.part(&self.encoded, ";");
        field.open("b=");
        Ok(())
    }
}

/// Hashes of the fields that are signed, in each form that was asked for.
#[derive(Default)]
struct Hashed {
    simple: Option<Context>,
    relaxed: Option<Context>,
}

impl Hashed {
    fn header<'a>(
        &mut self,
        form: Canonicalization,
        write: impl FnOnce(Canonicalization) -> &'a Vec<u8>,
    ) -> Context {
        let hashed = match form {
            Canonicalization::Simple => &mut self.simple,
            Canonicalization::Relaxed => &mut self.relaxed,
        };
        let fresh = || {
            let mut digest = Context::new(&SHA256);
            digest.update(write(form));
            digest
        };
        hashed.get_or_insert_with(fresh).clone()
    }
}
