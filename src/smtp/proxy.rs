//! The header of the PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt; sections are its): what a proxy says of
//! the connection that it passes on, in front of all that the client says. Pure: bytes in, the header or what is wrong with it out.
//!
//! It is believed of those proxies alone that the operator names, and read to the letter: whoever could write a header that is read otherwise
//! than it was meant would be whom he likes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::limits;
use crate::policy::reason::{Reason, Refused};

/// What each header of version 2 begins with (section 2.2): no server takes it for lines of its own protocol.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header of version 2 before its addresses: signature, version and command, family, length.
const HEAD: usize = 16;
/// What each header of version 1 begins with (section 2.1).
const WORD: &[u8; 6] = b"PROXY ";

/// Types of fields behind the addresses of version 2 (section 2.2.2 and those below it).
mod kind {
    pub const AUTHORITY: u8 = 0x02;
    pub const CHECKSUM: u8 = 0x03;
    pub const TLS: u8 = 0x20;
    pub const TLS_VERSION: u8 = 0x21;
    pub const TLS_CIPHER: u8 = 0x23;
}

/// The client spoke TLS with the proxy (PP2_CLIENT_SSL).
const SPOKE_TLS: u8 = 1;

/// What there is of a header so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A part of one: there is more to come.
    More,
    /// All of it: so many bytes.
    Whole(usize, Header<'a>),
    /// What there is can become none.
    Bad(Flaw),
}

/// What a proxy says of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// Who connected to it. None: itself, for a look whether we are there (LOCAL), or somebody whose address it does not know (UNKNOWN).
    pub client: Option<SocketAddr>,
    /// The client speaks TLS with the proxy.
    pub tls: Option<Tls<'a>>,
}

/// What a proxy says of the TLS of its client. Words that cannot stand in a header field are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls<'a> {
    /// As `TLSv1.3`.
    pub version: Option<&'a str>,
    /// As OpenSSL calls it.
    pub cipher: Option<&'a str>,
    /// The host name that the client asked for.
    pub authority: Option<&'a str>,
}

impl fmt::Display for Tls<'_> {
    /// For the Received field, as that of a session with TLS of its own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.version.unwrap_or("TLS"), self.cipher.unwrap_or("unknown"))?;
        self.authority.map_or(Ok(()), |name| write!(formatter, " for {name}"))
    }
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It begins like none.
    None,
    /// It is longer than any that is read.
    TooLong,
    /// A line of version 1 is not as section 2.1 has it.
    Line,
    /// Neither version 2, nor LOCAL or PROXY.
    Version,
    /// Its family, or its transport, is none that there is.
    Family,
    /// Its addresses do not have the length of their family.
    Addresses,
    /// A field behind the addresses goes beyond the header.
    Field,
    /// Its checksum is that of another header.
    Checksum,
}

impl Flaw {
    /// What goes to the proxy, and to the log.
    pub const fn refusal(self) -> Refused<'static> {
        let reply = match self {
            Flaw::None => "421 4.5.0 This is no PROXY header, which is due from your address\r\n",
            Flaw::TooLong => "421 4.5.0 PROXY header too long\r\n",
            Flaw::Line => "421 4.5.0 PROXY header malformed: not the line of version 1\r\n",
            Flaw::Version => "421 4.5.0 PROXY header malformed: version or command unknown\r\n",
            Flaw::Family => "421 4.5.0 PROXY header malformed: family or transport unknown\r\n",
            Flaw::Addresses => "421 4.5.0 PROXY header malformed: addresses\r\n",
            Flaw::Field => "421 4.5.0 PROXY header malformed: a field behind the addresses\r\n",
            Flaw::Checksum => "421 4.5.0 PROXY header malformed: checksum\r\n",
        };
        Refused { reply, reason: Reason::Protocol }
    }
}

/// Whether a line that is no command begins a header. The line of a NUL is what one of version 2 has in its middle.
pub fn is_line_of_header(line: &[u8]) -> bool {
    line.starts_with(WORD) || line == b"\0"
}

/// Reads the header that `input` begins with.
pub fn parse(input: &[u8]) -> Parsed<'_> {
    let begins = |with: &[u8]| input.iter().zip(with).all(|(one, other)| one == other);
    if begins(SIGNATURE) {
        return if input.len() < HEAD { Parsed::More } else { second(input) };
    }
    if begins(WORD) {
        return if input.len() < WORD.len() { Parsed::More } else { first(input) };
    }
    Parsed::Bad(Flaw::None)
}

/// Section 2.1: one line of text.
fn first(input: &[u8]) -> Parsed<'_> {
    let most = &input[..input.len().min(limits::PROXY_V1_MAX)];
    let Some(end) = memchr::memchr(b'\n', most) else {
        let full = most.len() == limits::PROXY_V1_MAX;
        return if full { Parsed::Bad(Flaw::TooLong) } else { Parsed::More };
    };
    let line = most[WORD.len()..end].strip_suffix(b"\r").and_then(|line| str::from_utf8(line).ok());
    let client = line.filter(|line| !line.contains('\r')).and_then(|line| {
        let mut words = line.split(' ');
        match words.next()? {
            // Whatever follows is passed over.
            "UNKNOWN" => return Some(None),
            "TCP4" => ends::<Ipv4Addr>(words),
            "TCP6" => ends::<Ipv6Addr>(words),
            _ => None,
        }
        .map(Some)
    });
    match client {
        Some(client) => Parsed::Whole(end + 1, Header { client, tls: None }),
        None => Parsed::Bad(Flaw::Line),
    }
}

/// Both addresses, then both ports, one space before each: where it comes from.
fn ends<'a, Address>(mut words: impl Iterator<Item = &'a str>) -> Option<SocketAddr>
where
    Address: FromStr + Into<IpAddr>,
{
    let mut address = || words.next()?.parse::<Address>().ok();
    let (from, _) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        word.parse::<u16>().ok().filter(|_| plain)
    };
    let (port, _) = (port()?, port()?);
    words.next().is_none().then(|| SocketAddr::new(from.into(), port))
}

/// Section 2.2: of at least [`HEAD`] bytes.
fn second(input: &[u8]) -> Parsed<'_> {
    let (version, family) = (input[12], input[13]);
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Parsed::Bad(Flaw::Version),
    };
    let length = HEAD + usize::from(u16::from_be_bytes([input[14], input[15]]));
    if length > limits::PROXY_V2_MAX {
        return Parsed::Bad(Flaw::TooLong);
    }
    let Some(header) = input.get(..length) else { return Parsed::More };
    // What stands behind LOCAL is passed over, whatever it is.
    let read = if is_local { Ok(Header::default()) } else { passed_on(header, family) };
    match read {
        Ok(read) => Parsed::Whole(length, read),
        Err(flaw) => Parsed::Bad(flaw),
    }
}

/// A connection of somebody else: a whole header.
fn passed_on(header: &[u8], family: u8) -> Result<Header<'_>, Flaw> {
    let rest = &header[HEAD..];
    let (client, taken) = match family {
        // TCP over IPv4, over IPv6.
        0x11 => {
            let ends: &[u8; 12] = rest.first_chunk().ok_or(Flaw::Addresses)?;
            let ip = IpAddr::from([ends[0], ends[1], ends[2], ends[3]]);
            (Some(SocketAddr::new(ip, u16::from_be_bytes([ends[8], ends[9]]))), ends.len())
        }
        0x21 => {
            let ends: &[u8; 36] = rest.first_chunk().ok_or(Flaw::Addresses)?;
            let ip: [u8; 16] = *ends.first_chunk().ok_or(Flaw::Addresses)?;
            (Some(SocketAddr::new(ip.into(), u16::from_be_bytes([ends[32], ends[33]]))), ends.len())
        }
        // No TCP, a Unix socket, or nothing that is known: how long its addresses are only the proxy knows.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Ok(Header::default()),
        // Section 2.2: what is reserved is to be refused.
        _ => return Err(Flaw::Family),
    };
    let mut found = Header { client, tls: None };
    let mut authority = None;
    for field in fields(&rest[taken..]) {
        let (kind, value) = field?;
        match kind {
            kind::AUTHORITY => authority = text(value),
            kind::CHECKSUM => is_sound(header, value)?,
            kind::TLS => found.tls = tls(value)?,
            _ => {}
        }
    }
    if let Some(tls) = &mut found.tls {
        tls.authority = authority;
    }
    Ok(found)
}

/// Type, length and value of each. Behind the first that goes beyond the end there is none.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), Flaw>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = rest.split_first_chunk::<3>().and_then(|([kind, high, low], behind)| {
            let (value, behind) = behind.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
            Some((*kind, value, behind))
        });
        let (kind, value, behind) = field.unwrap_or((0, &[], &[]));
        rest = behind;
        Some(field.map(|_| (kind, value)).ok_or(Flaw::Field))
    })
}

/// Section 2.2.4: flags, whether its certificate was good, and fields of its own. None: the client spoke no TLS.
fn tls(value: &[u8]) -> Result<Option<Tls<'_>>, Flaw> {
    let (head, rest) = value.split_first_chunk::<5>().ok_or(Flaw::Field)?;
    let mut found = Tls::default();
    for field in fields(rest) {
        match field? {
            (kind::TLS_VERSION, value) => found.version = text(value),
            (kind::TLS_CIPHER, value) => found.cipher = text(value),
            _ => {}
        }
    }
    Ok((head[0] & SPOKE_TLS != 0).then_some(found))
}

/// Section 2.2.3: CRC-32C of the whole header, this field being zero.
fn is_sound(header: &[u8], value: &[u8]) -> Result<(), Flaw> {
    let said: [u8; 4] = value.try_into().map_err(|_| Flaw::Field)?;
    let at = value.as_ptr() as usize - header.as_ptr() as usize;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[..at]), &[0; 4]);
    let sum = crc32c::crc32c_append(sum, &header[at + 4..]);
    if sum == u32::from_be_bytes(said) { Ok(()) } else { Err(Flaw::Checksum) }
}

/// A word that may stand in a header field as it is: of letters, digits, and what names of hosts and ciphers have beside these.
fn text(value: &[u8]) -> Option<&str> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let word = !value.is_empty() && value.len() <= limits::DOMAIN_MAX && value.iter().all(fits);
    str::from_utf8(value).ok().filter(|_| word)
}

#[cfg(test)]
mod tests;
