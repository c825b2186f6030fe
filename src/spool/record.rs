//! The records of a commit: messages, chunks, outcomes, snapshots. Reading copies nothing.
//!
//! Every record has a header with its type, length, the segment's salt, its own offset and a CRC32C over all of it. A
//! message is made of fields (tag, length, value). Types and tags have a critical bit: an unknown critical one refuses the
//! spool, an unknown other one is passed over.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::id::MessageId;
use crate::mail::envelope::{Envelope, Needs, OriginRef, TlsWish, Utf8, WithProtocol};
use crate::mail::front::Front;
use crate::mail::parameters::{Key, NamedParameters, Parameters};
use crate::names::ends::End;
use crate::spool::asked::{self, AskedFields};
pub(in crate::spool) use crate::spool::disposition::{
    DISPOSITION, RangeDisposition, read_disposition, write_disposition, write_outcome,
};
use crate::spool::parameters::{self, Tags};
use crate::spool::segment::FieldReader;
use crate::time::UnixMillis;

mod domains;
mod extent;
mod handover;
mod kind;
mod tag;
mod without;

pub use domains::group_by_domain;
pub use extent::Extent;
use extent::{EXTENT, encode_extent};
pub(in crate::spool) use extent::{patch_extent, read_extent};
pub(in crate::spool) use handover::{begun, bound as handover_bound};
pub use kind::RecordKind;
use tag::CRITICAL_TAG;
pub(in crate::spool) use without::{without_parameters, without_signatures};

/// Bytes of a record's header.
pub const HEADER: usize = 24;
/// The bit of a type or tag that forbids to pass over it.
pub const CRITICAL: u8 = 0x80;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Cut off, or the CRC, the salt or the place is wrong.
    Damaged,
    /// Whole, but of a critical type or with a critical field that this version does not know.
    Unknown(u16),
}

pub(in crate::spool) const PARAMETERS: Tags = Tags {
    message: tag::PARAMETERS,
    critical: tag::CRITICAL_PARAMETERS,
    recipients: tag::RECIPIENT_PARAMETERS,
};

const ASKED: asked::Tags = asked::Tags { message: tag::ASKED, recipients: tag::RECIPIENTS_ASKED };

const EIGHT_BIT: u8 = 1;
const NEEDS_STUFFING: u8 = 2;
const MAILBOX_LINE: u8 = 4;
const HIDES_CLIENT: u8 = 8;

/// Starts a record at the end of `out`; returns where.
pub(in crate::spool) fn start(out: &mut Vec<u8>, kind: RecordKind) -> usize {
    let at = out.len();
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.resize(at + HEADER, 0);
    at
}

/// Completes the header of the record at `at`, which is the last of `out` or followed by others from `end` on.
pub(in crate::spool) fn finish(out: &mut [u8], at: usize, end: usize, salt: u64, offset: u32) {
    let length = u32::try_from(end - at - HEADER).expect("a record is smaller than a commit");
    out[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
    out[at + 8..at + 16].copy_from_slice(&salt.to_le_bytes());
    out[at + 20..at + 24].copy_from_slice(&offset.to_le_bytes());
    let crc = checksum(&out[at..end]);
    out[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..16]), &record[20..])
}

/// A whole record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its type.
    pub kind: u8,
    /// Its content.
    pub payload: &'a [u8],
    /// Bytes including the header.
    pub length: usize,
}

/// Bytes that the record beginning here says it has, header included. Nothing is checked.
pub fn claimed_length(bytes: &[u8]) -> Option<usize> {
    let mut fields = FieldReader(bytes.get(4..8)?);
    Some(HEADER + fields.u32()? as usize)
}

/// The id that a message record says it has. Nothing is checked.
pub fn claimed_id(bytes: &[u8]) -> Option<MessageId> {
    let payload = bytes.get(HEADER..claimed_length(bytes)?)?;
    MessageView::parse(payload).ok().map(|view| view.id)
}

/// Whether a record's header seems to stand here: salt and place are right. Its content may be damaged.
pub(in crate::spool) fn stands_at(bytes: &[u8], salt: u64, offset: u64) -> bool {
    let Some(header) = bytes.get(..HEADER) else { return false };
    header[8..16] == salt.to_le_bytes() && header[20..24] == (offset as u32).to_le_bytes()
}

/// Reads the record at the front of `bytes`, which stands at `offset` of a segment with this salt.
pub fn read(bytes: &[u8], salt: u64, offset: u64) -> Result<Record<'_>, RecordError> {
    let length = claimed_length(bytes).ok_or(RecordError::Damaged)?;
    let record = bytes.get(..length).ok_or(RecordError::Damaged)?;
    let mut fields = FieldReader(&record[8..HEADER]);
    let header = (|| Some((fields.u64()?, fields.u32()?, fields.u32()?)))();
    let (found, crc, place) = header.ok_or(RecordError::Damaged)?;
    if found != salt || u64::from(place) != offset || crc != checksum(record) {
        return Err(RecordError::Damaged);
    }
    Ok(Record { kind: record[0], payload: &record[HEADER..], length })
}

/// Reads a record whose place comes from the lane's own index, on a shard that does not know the salt.
pub fn read_known(bytes: &[u8], offset: u64) -> Result<Record<'_>, RecordError> {
    let salt = bytes.get(8..16).and_then(|salt| FieldReader(salt).u64()).ok_or(RecordError::Damaged)?;
    read(bytes, salt, offset)
}

pub(in crate::spool) fn field(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&u32::try_from(value.len()).expect("fields are small").to_le_bytes());
    out.extend_from_slice(value);
}

/// Writes a message's payload; returns where its last extent stands, which the caller fills in with [`patch_extent`].
pub(in crate::spool) fn write_message(
    out: &mut Vec<u8>,
    envelope: &Envelope,
    id: MessageId,
    size: u64,
    header_length: u32,
    extents: &[Extent],
    inline: bool,
) -> Option<usize> {
    let mut core = [0; 42];
    core[..8].copy_from_slice(&envelope.arrival.0.to_le_bytes());
    core[8..16].copy_from_slice(&envelope.expiry.0.to_le_bytes());
    core[16..24].copy_from_slice(&size.to_le_bytes());
    core[24..28].copy_from_slice(&header_length.to_le_bytes());
    core[28] = if envelope.needs.eight_bit { EIGHT_BIT } else { 0 }
        | if envelope.needs_stuffing { NEEDS_STUFFING } else { 0 }
        | if envelope.mailbox_line { MAILBOX_LINE } else { 0 }
        | if envelope.hides_client { HIDES_CLIENT } else { 0 };
    core[29] = envelope.origin.protocol as u8;
    let count = u16::try_from(envelope.recipients.len()).expect("recipients are bounded");
    core[30..32].copy_from_slice(&count.to_le_bytes());
    core[32..34].copy_from_slice(&id.lane.to_le_bytes());
    core[34..38].copy_from_slice(&id.sequence.to_le_bytes());
    core[38..42].copy_from_slice(&id.offset.to_le_bytes());
    field(out, tag::CORE, &core);
    field(out, tag::SENDER, &envelope.sender);
    let bytes: usize = envelope.recipients.iter().map(|recipient| 4 + recipient.address.len()).sum();
    out.extend_from_slice(&tag::RECIPIENTS.to_le_bytes());
    out.extend_from_slice(&u32::try_from(bytes).expect("recipients are bounded").to_le_bytes());
    for recipient in &envelope.recipients {
        let length = u16::try_from(recipient.address.len()).expect("addresses are bounded");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&recipient.domain_at.to_le_bytes());
        out.extend_from_slice(&recipient.address);
    }
    if !envelope.origin.helo.is_empty() {
        field(out, tag::HELO, envelope.origin.helo.as_bytes());
    }
    if let Some(client) = envelope.origin.client {
        let mut value = [0; 18];
        let address = match client.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        value[..16].copy_from_slice(&address.octets());
        value[16..].copy_from_slice(&client.port().to_le_bytes());
        field(out, tag::CLIENT, &value);
    }
    if let Some(tls) = &envelope.origin.tls {
        field(out, tag::TLS, tls.as_bytes());
    }
    if let Some(account) = &envelope.account {
        field(out, tag::ACCOUNT, account.as_bytes());
    }
    if let Some(parameters) = &envelope.parameters {
        parameters::write(out, envelope, parameters, &PARAMETERS, field);
        asked::write(out, envelope, &parameters.reports, ASKED, field);
    }
    if let Some(signatures) = &envelope.signatures {
        field(out, tag::SIGNATURES, signatures);
    }
    write_wishes(out, envelope, count);
    write_extents(out, extents, inline)
}

/// What few messages ask of their way, or brought along.
fn write_wishes(out: &mut Vec<u8>, envelope: &Envelope, count: u16) {
    if let Some(carried) = &envelope.handover {
        field(out, tag::HANDOVER, &handover::value(carried, count));
    }
    if envelope.needs.tls != TlsWish::Usual {
        field(out, tag::TLS_WISH, &[envelope.needs.tls as u8]);
    }
    if envelope.needs.utf8.is_asked() {
        field(out, tag::UTF8, &[envelope.needs.utf8.bits()]);
    }
}

/// Where a body lies; returns where its last extent is to be filled in.
fn write_extents(out: &mut Vec<u8>, extents: &[Extent], inline: bool) -> Option<usize> {
    let count = extents.len() + usize::from(inline);
    out.extend_from_slice(&tag::EXTENTS.to_le_bytes());
    out.extend_from_slice(&u32::try_from(count * EXTENT).expect("extents are bounded").to_le_bytes());
    for extent in extents {
        out.extend_from_slice(&encode_extent(extent));
    }
    inline.then(|| {
        let at = out.len();
        out.resize(at + EXTENT, 0);
        at
    })
}

/// The fields of a message that stay as they are when it moves, those of later versions included: all but where its body
/// lies and what became of its recipients.
pub(in crate::spool) fn lasting_fields(payload: &[u8]) -> Result<Vec<u8>, RecordError> {
    let mut kept = Vec::with_capacity(payload.len());
    let mut rest = FieldReader(payload);
    while !rest.0.is_empty() {
        let tag = rest.u16().ok_or(RecordError::Damaged)?;
        let length = rest.u32().ok_or(RecordError::Damaged)?;
        let value = rest.bytes(length as usize).ok_or(RecordError::Damaged)?;
        if ![tag::EXTENTS, tag::STATE, tag::LATER_STATE].contains(&tag) {
            field(&mut kept, tag, value);
        }
    }
    Ok(kept)
}

/// Writes the payload of a moved message; returns where its last extent is to be filled in. `state` has a range and a disposition
/// for all that is live, written by [`write_disposition`]; `held`: some of it is.
pub(in crate::spool) fn write_moved(
    out: &mut Vec<u8>,
    fields: &[u8],
    (state, held): (&[u8], bool),
    extents: &[Extent],
    inline: bool,
) -> Option<usize> {
    out.extend_from_slice(fields);
    field(out, if held { tag::LATER_STATE } else { tag::STATE }, state);
    write_extents(out, extents, inline)
}

/// A message record, read in place.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// Its id.
    pub id: MessageId,
    /// Reverse path, without brackets.
    pub sender: &'a [u8],
    /// When it was accepted.
    pub arrival: UnixMillis,
    /// When it is given up.
    pub expiry: UnixMillis,
    /// Canonical bytes.
    pub size: u64,
    /// Bytes of the header section.
    pub header_length: u32,
    /// What a hop must offer to have it as it is.
    pub needs: Needs,
    /// Dots must be doubled on the way out.
    pub needs_stuffing: bool,
    /// It begins with the `From ` line of a mailbox file.
    pub mailbox_line: bool,
    /// No hop is told which client brought it.
    pub hides_client: bool,
    /// Recipients.
    pub count: u16,
    /// EHLO name of the client.
    pub helo: &'a str,
    /// Its address.
    pub client: Option<SocketAddr>,
    /// The `with` keyword.
    pub protocol: WithProtocol,
    /// TLS version and suite.
    pub tls: Option<&'a str>,
    /// The account.
    pub account: Option<&'a str>,
    /// Our signatures, or what was found of a stranger's mail: whole header fields.
    pub signatures: &'a [u8],
    recipients: &'a [u8],
    extents: &'a [u8],
    state: Option<&'a [u8]>,
    parameters: &'a [u8],
    critical: &'a [u8],
    recipient_parameters: &'a [u8],
    asked: AskedFields<'a>,
    at_once: [&'a [u8]; End::ALL.len()],
    handover: &'a [u8],
}

impl<'a> MessageView<'a> {
    /// How long it lives, counted from when it may go.
    pub fn lives(&self) -> UnixMillis {
        let from = self.release().map_or(self.arrival, |at| at.max(self.arrival));
        UnixMillis(self.expiry.0.saturating_sub(from.0))
    }

    /// The time before which it does not go.
    pub fn release(&self) -> Option<UnixMillis> {
        if self.critical.is_empty() { None } else { self.parameters().release() }
    }

    /// Reads the payload of a message record.
    pub fn parse(payload: &'a [u8]) -> Result<MessageView<'a>, RecordError> {
        let mut view = MessageView {
            id: MessageId { lane: 0, sequence: 0, offset: 0 },
            sender: b"",
            arrival: UnixMillis(0),
            expiry: UnixMillis(0),
            size: 0,
            header_length: 0,
            needs: Needs::default(),
            needs_stuffing: false,
            mailbox_line: false,
            hides_client: false,
            count: 0,
            helo: "",
            client: None,
            protocol: WithProtocol::Smtp,
            tls: None,
            account: None,
            signatures: b"",
            recipients: b"",
            extents: b"",
            state: None,
            parameters: b"",
            critical: b"",
            recipient_parameters: b"",
            asked: AskedFields::default(),
            at_once: [b""; End::ALL.len()],
            handover: b"",
        };
        let mut rest = FieldReader(payload);
        while !rest.0.is_empty() {
            let tag = rest.u16().ok_or(RecordError::Damaged)?;
            let length = rest.u32().ok_or(RecordError::Damaged)?;
            let value = rest.bytes(length as usize).ok_or(RecordError::Damaged)?;
            view.field(tag, value)?;
        }
        if view.count == 0 || view.recipients().count() != usize::from(view.count) {
            return Err(RecordError::Damaged);
        }
        Ok(view)
    }

    fn field(&mut self, tag: u16, value: &'a [u8]) -> Result<(), RecordError> {
        let text = || std::str::from_utf8(value).map_err(|_| RecordError::Damaged);
        match tag {
            tag::CORE => return self.core(FieldReader(value)).ok_or(RecordError::Damaged),
            tag::SENDER => self.sender = value,
            tag::RECIPIENTS => self.recipients = value,
            tag::EXTENTS => self.extents = value,
            tag::HELO => self.helo = text()?,
            tag::CLIENT => self.client = client(FieldReader(value)),
            tag::TLS => self.tls = Some(text()?),
            tag::ACCOUNT => self.account = Some(text()?),
            tag::STATE | tag::LATER_STATE => self.state = Some(value),
            tag::SIGNATURES => self.signatures = value,
            tag::HANDOVER => self.handover = value,
            tag::TLS_WISH => {
                let wish = value.first().ok_or(RecordError::Damaged)?;
                self.needs.tls = TlsWish::of_number(*wish).ok_or(RecordError::Unknown(tag))?;
            }
            tag::UTF8 => {
                let bits = value.first().ok_or(RecordError::Damaged)?;
                self.needs.utf8 = Utf8::of_bits(*bits).ok_or(RecordError::Unknown(tag))?;
            }
            tag::PARAMETERS | tag::RECIPIENT_PARAMETERS | tag::CRITICAL_PARAMETERS => {
                return self.parameter_field(tag, value);
            }
            tag::ASKED | tag::RECIPIENTS_ASKED => {
                let known = self.asked.take(ASKED, tag, value).ok_or(RecordError::Damaged)?;
                return if known { Ok(()) } else { Err(RecordError::Unknown(tag)) };
            }
            end if End::of_field(end).is_some() => return self.parameter_field(end, value),
            unknown if unknown & CRITICAL_TAG != 0 => return Err(RecordError::Unknown(unknown)),
            _ => {}
        }
        Ok(())
    }

    /// Plain mail has none, and its records are read by the million.
    #[cold]
    fn parameter_field(&mut self, tag: u16, value: &'a [u8]) -> Result<(), RecordError> {
        if !parameters::is_whole(&PARAMETERS, tag, value) {
            return Err(RecordError::Damaged);
        }
        match tag {
            tag::PARAMETERS => self.parameters = value,
            tag::CRITICAL_PARAMETERS if !Parameters::knows(value) => return Err(RecordError::Unknown(tag)),
            tag::CRITICAL_PARAMETERS => self.critical = value,
            tag::RECIPIENT_PARAMETERS => self.recipient_parameters = value,
            _ => End::of_field(tag).into_iter().for_each(|end| self.at_once[end as usize] = value),
        }
        Ok(())
    }

    fn core(&mut self, mut value: FieldReader<'_>) -> Option<()> {
        self.arrival = UnixMillis(value.u64()?);
        self.expiry = UnixMillis(value.u64()?);
        self.size = value.u64()?;
        self.header_length = value.u32()?;
        let flags = value.u8()?;
        self.needs.eight_bit = flags & EIGHT_BIT != 0;
        self.needs_stuffing = flags & NEEDS_STUFFING != 0;
        self.mailbox_line = flags & MAILBOX_LINE != 0;
        self.hides_client = flags & HIDES_CLIENT != 0;
        self.protocol = WithProtocol::of_number(value.u8()?);
        self.count = value.u16()?;
        self.id = MessageId { lane: value.u16()?, sequence: value.u32()?, offset: value.u32()? };
        Some(())
    }

    /// When it came to this node.
    pub fn came(&self) -> UnixMillis {
        handover::came(self.handover).unwrap_or(self.arrival)
    }

    /// How far delivery was when another node handed it over, of ranges that the message has.
    pub(in crate::spool) fn begun(&self) -> impl Iterator<Item = RangeDisposition> + use<'a> {
        handover::dispositions(self.handover, self.count)
    }

    /// How it came in.
    pub fn origin(&self) -> OriginRef<'a> {
        OriginRef { client: self.client, helo: self.helo, protocol: self.protocol, tls: self.tls }
    }

    /// What goes out in front of it, under our name, to its only recipient or to one of several.
    #[inline]
    pub fn front(&self, hostname: &'a str, recipient: Option<&'a [u8]>) -> Front<'a> {
        let client = self.client.filter(|_| !self.hides_client);
        Front {
            hostname,
            id: self.id,
            origin: OriginRef { client, ..self.origin() },
            arrival: self.came(),
            recipient,
            signatures: self.signatures,
            is_headless: self.header_length == 0 && self.size > 0,
            mailbox_line: self.mailbox_line,
        }
    }

    /// Recipients in the order of their ordinals: address, and where its domain begins.
    pub fn recipients(&self) -> impl Iterator<Item = (&'a [u8], usize)> + use<'a> {
        let mut rest = FieldReader(self.recipients);
        std::iter::from_fn(move || {
            let length = rest.u16()?;
            let domain_at = rest.u16()?;
            Some((rest.bytes(usize::from(length))?, usize::from(domain_at)))
        })
    }

    /// The parameters of the message.
    pub fn parameters(&self) -> Parameters<&'a str> {
        let all = Parameters::read(self.parameters).unwrap_or_default();
        if self.critical.is_empty() {
            all
        } else {
            all.with(Parameters::read(self.critical).unwrap_or_default())
        }
    }

    /// The sender's name for it. Of mail without parameters nothing is looked up.
    pub fn envid(&self) -> Option<&'a str> {
        if self.parameters.is_empty() { None } else { self.parameters().value(Key::Envid) }
    }

    /// What holds for a recipient, as events tell it. Of mail without parameters nothing is looked up.
    pub fn named_parameters(&self, ordinal: u16) -> NamedParameters<'a> {
        if self.parameters.is_empty() && self.critical.is_empty() && self.recipient_parameters.is_empty() {
            return NamedParameters::new();
        }
        self.parameters_of(ordinal).to_named()
    }

    /// How many recipients from this one on have the same parameters, it included; all there could be where none has its own.
    pub fn alike_from(&self, ordinal: u16) -> u16 {
        parameters::alike_from(self.recipient_parameters, ordinal)
    }

    /// Which of these recipients have the same parameters, in the order of the first of each. None: all of them, for nobody has any of his own.
    pub fn alike(&self, first: u16, count: u16) -> Option<Vec<Vec<u16>>> {
        (!self.recipient_parameters.is_empty())
            .then(|| parameters::alike(self.recipient_parameters, first, count))
    }

    /// Whether some recipient has parameters of its own.
    pub fn has_own_parameters(&self) -> bool {
        !self.recipient_parameters.is_empty()
    }

    /// What holds for a recipient: the message's, with its own in place of those.
    pub fn parameters_of(&self, ordinal: u16) -> Parameters<&'a str> {
        let message = self.parameters();
        parameters::own(self.recipient_parameters, ordinal).map_or(message, |own| message.with(own))
    }

    /// Ranges of recipients that have their end at once: which end, first ordinal, count.
    pub fn at_once(&self) -> impl Iterator<Item = (End, u16, u16)> + use<'a> {
        let all = End::ALL.into_iter().zip(self.at_once);
        all.flat_map(|(end, value)| {
            parameters::ended_runs(value).map(move |(first, count)| (end, first, count))
        })
    }

    /// What its sender wants to be told.
    pub fn asked(&self) -> AskedFields<'a> {
        self.asked
    }

    /// The pieces of the body, in order.
    pub fn extents(&self) -> impl Iterator<Item = Extent> + use<'a> {
        let mut rest = FieldReader(self.extents);
        std::iter::from_fn(move || read_extent(&mut rest))
    }

    /// Whether it lies elsewhere than where it was first stored.
    pub fn is_moved(&self) -> bool {
        self.state.is_some()
    }

    /// Of a moved message: what was live when it moved. None: it lies where it was first stored.
    pub(in crate::spool) fn state(&self) -> Result<Option<Vec<RangeDisposition>>, RecordError> {
        let Some(state) = self.state else { return Ok(None) };
        let (mut rest, mut ranges) = (FieldReader(state), Vec::new());
        while !rest.0.is_empty() {
            ranges.push(read_disposition(&mut rest).ok_or(RecordError::Damaged)?);
        }
        Ok(Some(ranges))
    }

    /// Runs of neighbours with one domain: first ordinal, count, domain as written.
    pub fn domains(&self) -> impl Iterator<Item = (u16, u16, &'a [u8])> + use<'a> {
        group_by_domain(self.recipients().map(|(address, at)| address.get(at..).unwrap_or_default()))
    }
}

fn client(mut value: FieldReader<'_>) -> Option<SocketAddr> {
    let octets: [u8; 16] = value.bytes(16)?.try_into().ok()?;
    Some(SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), value.u16()?))
}

#[cfg(test)]
mod tests;
