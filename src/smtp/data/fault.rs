//! What a message is refused for: which byte, where, and by which RFC.

use std::fmt;

use crate::limits;
use crate::policy::reason::Reason;

/// What is wrong with a message that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Which byte, from 1: of the message as its author has it, so a dot that was put in on the way (RFC 5321 4.5.2) is none.
    pub at: u64,
    /// In which line, from 1, if that is one of the header section; 0: it is in the body, whose lines nobody counts.
    pub line: u32,
}

/// Kinds of faults, with the bound that was passed. Of several kinds the first of these is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A CR that no LF follows.
    BareCr,
    /// An LF that follows no CR.
    BareLf,
    /// More bytes than a message may have.
    TooLarge(u64),
    /// More bytes than a line may have; it begins there.
    LongLine(usize),
    /// More bytes than a header section may have.
    LongHeader(u64),
    /// More fields than that may have.
    ManyFields(u32),
    /// A NUL.
    Nul,
    /// A byte over 127 in the header section.
    EightBitHeader(u8),
    /// A Received field more than there may be.
    Loop,
    /// The message ends there, and its last line does not.
    Unended,
}

impl FaultKind {
    fn rank(self) -> u8 {
        match self {
            FaultKind::BareCr | FaultKind::BareLf => 0,
            FaultKind::TooLarge(_) => 1,
            FaultKind::LongLine(_) => 2,
            FaultKind::LongHeader(_) => 3,
            FaultKind::ManyFields(_) => 4,
            FaultKind::Nul => 5,
            FaultKind::EightBitHeader(_) => 6,
            FaultKind::Loop => 7,
            FaultKind::Unended => 8,
        }
    }
}

impl Fault {
    /// Line ends are not what they must be: whatever follows such a message cannot be trusted.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, FaultKind::BareCr | FaultKind::BareLf)
    }

    /// The one of two that is told: however the message was cut, it is the same.
    pub(super) fn or(self, other: Option<Fault>) -> Fault {
        let key = |fault: &Fault| (fault.kind.rank(), fault.at);
        other.filter(|other| key(other) <= key(&self)).unwrap_or(self)
    }

    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        match self.kind {
            FaultKind::BareCr | FaultKind::BareLf => Reason::BareNewline,
            FaultKind::TooLarge(_) | FaultKind::LongHeader(_) | FaultKind::ManyFields(_) => Reason::TooLarge,
            FaultKind::LongLine(_) => Reason::LineTooLong,
            FaultKind::Nul | FaultKind::EightBitHeader(_) | FaultKind::Unended => Reason::Content,
            FaultKind::Loop => Reason::Loop,
        }
    }

    /// The reply, line end included.
    pub fn reply(&self) -> String {
        format!("{self}\r\n")
    }

    /// Where it is: `byte 1234`, and the line if that is known.
    fn place(&self) -> String {
        match self.line {
            0 => format!("byte {}", self.at),
            line => format!("byte {}, line {line}", self.at),
        }
    }
}

/// The reply without its line end.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        match self.kind {
            FaultKind::BareCr => write!(
                f,
                "550 5.6.11 Bare CR (0x0d) in the message at {place}; lines end with CRLF (RFC 5321 section 2.3.8)"
            ),
            FaultKind::BareLf => write!(
                f,
                "550 5.6.11 Bare LF (0x0a) in the message at {place}; lines end with CRLF (RFC 5321 section 2.3.8)"
            ),
            FaultKind::TooLarge(most) => {
                write!(f, "552 5.3.4 Message size exceeds fixed limit of {most} bytes (RFC 1870 section 6.3)")
            }
            FaultKind::LongLine(most) => write!(
                f,
                "550 5.6.0 A line of the message is too long: that at {place} has more than {most} bytes (RFC 5321 section 4.5.3.1.6)"
            ),
            FaultKind::LongHeader(most) => write!(
                f,
                "552 5.3.4 The header section is too long: {place} is beyond its {most} bytes (RFC 5321 section 4.5.3.1.9)"
            ),
            FaultKind::ManyFields(most) => write!(
                f,
                "552 5.3.4 The header section has too many fields: that at {place} is beyond {most} (RFC 5321 section 4.5.3.1.9)"
            ),
            FaultKind::Nul => {
                write!(f, "550 5.6.0 NUL (0x00) in the message at {place} (RFC 5322 section 2.1)")
            }
            FaultKind::EightBitHeader(byte) => write!(
                f,
                "550 5.6.0 8-bit byte (0x{byte:02x}) in the header at {place}; fields are ASCII, or encoded words (RFC 5322 section 2.2, RFC 2047)"
            ),
            FaultKind::Loop => write!(
                f,
                "554 5.4.6 Too many hops: mail loop, the Received field at {place} is one more than {} (RFC 5321 section 6.3)",
                limits::HOPS_MAX
            ),
            FaultKind::Unended => write!(
                f,
                "550 5.6.0 The message ends within a line, at {place}; lines end with CRLF (RFC 5321 section 2.3.8)"
            ),
        }
    }
}
