//! What the relay offers in EHLO, written in one place.

use crate::config::AuthMechanisms;
use crate::limits;
use crate::mail::handover;
use crate::mail::release;
use crate::smtp::xclient;
use crate::time::UnixMillis;

/// What not every session is offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offered {
    /// STARTTLS
    pub starttls: bool,
    /// AUTH, by these
    pub auth: AuthMechanisms,
    /// DSN
    pub dsn: bool,
    /// REQUIRETLS: behind TLS alone.
    pub require_tls: bool,
    /// FUTURERELEASE, and what time it is.
    pub held_from: Option<UnixMillis>,
    /// CHUNKING, and BINARYMIME
    pub chunking: bool,
    /// SMTPUTF8
    pub smtputf8: bool,
    /// LIMITS: messages of a session, 0 if there may be any number, and recipients of a transaction.
    pub limits: Option<(u32, usize)>,
    /// XMRG
    pub merge: bool,
    /// XCLIENT
    pub xclient: bool,
    /// XRELEVO: mail of another node of the operator goes on as it was there.
    pub handover: bool,
}

/// Writes the EHLO answer (RFC 5321 4.1.1.1) with the extensions this session has.
pub fn write_ehlo(out: &mut Vec<u8>, hostname: &str, size_max: u64, offered: Offered) {
    let Offered {
        starttls,
        auth,
        dsn,
        require_tls,
        held_from,
        chunking,
        smtputf8,
        limits,
        merge,
        xclient,
        handover,
    } = offered;
    out.extend_from_slice(b"250-");
    out.extend_from_slice(hostname.as_bytes());
    // RFC 2920, RFC 6152, RFC 2034
    out.extend_from_slice(b"\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n");
    if chunking {
        // RFC 3030 sections 2 and 3
        out.extend_from_slice(b"250-CHUNKING\r\n250-BINARYMIME\r\n");
    }
    if smtputf8 {
        // RFC 6531 3.1: with 8BITMIME, and without a parameter
        out.extend_from_slice(b"250-SMTPUTF8\r\n");
    }
    if dsn {
        // RFC 3461 section 3
        out.extend_from_slice(b"250-DSN\r\n");
    }
    if require_tls {
        // RFC 8689 section 4.1
        out.extend_from_slice(b"250-REQUIRETLS\r\n");
    }
    if starttls {
        // RFC 3207
        out.extend_from_slice(b"250-STARTTLS\r\n");
    }
    if !auth.is_empty() {
        // RFC 4954 section 3
        out.extend_from_slice(b"250-AUTH");
        for mechanism in auth.iter() {
            out.push(b' ');
            out.extend_from_slice(mechanism.name().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    if let Some(now) = held_from {
        // RFC 4865 section 4: the longest hold, and the latest time.
        let (most, until) = (limits::HOLD_MAX, release::show(now.after(limits::HOLD_MAX)));
        out.extend_from_slice(format!("250-FUTURERELEASE {} {until}\r\n", most.as_secs()).as_bytes());
    }
    if let Some((messages, recipients)) = limits {
        // RFC 9422 section 3
        let messages = if messages > 0 { format!("MAILMAX={messages} ") } else { String::new() };
        out.extend_from_slice(format!("250-LIMITS {messages}RCPTMAX={recipients}\r\n").as_bytes());
    }
    if merge {
        out.extend_from_slice(b"250-XACK\r\n250-XMRG\r\n");
    }
    if xclient {
        out.extend_from_slice(format!("250-XCLIENT {}\r\n", xclient::ATTRIBUTES).as_bytes());
    }
    if handover {
        out.extend_from_slice(format!("250-{} {}\r\n", handover::KEYWORD, handover::VERSION).as_bytes());
    }
    // RFC 1870; last, so that the line without a hyphen is always there.
    out.extend_from_slice(format!("250 SIZE {size_max}\r\n").as_bytes());
}
