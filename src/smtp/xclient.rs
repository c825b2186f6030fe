//! What XCLIENT says (postfix.org/XCLIENT_README.html): a gateway tells for whom it is there. Pure: the command's arguments in, what they mean out.

use std::net::{IpAddr, Ipv6Addr};

use crate::limits;
use crate::mail::notify;
use crate::smtp::command;

/// What may be said, as EHLO offers it.
pub const ATTRIBUTES: &str = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT";

/// From where the client calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// That was not said: from where it was.
    #[default]
    Same,
    /// The gateway does not know.
    Unknown,
    /// From there.
    Is(IpAddr),
}

/// For whom a gateway is there. Its name in the DNS, and what it connected to, are looked at and forgotten: nothing here goes by them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// From where it calls.
    pub address: Address,
    /// The port there.
    pub port: Option<u16>,
    /// What it called itself.
    pub helo: Option<String>,
    /// And whether by EHLO.
    pub extended: bool,
    /// The account that it logged in as, at the gateway.
    pub login: Option<String>,
}

/// Reads `NAME=value` one after the other, each once. The case of names does not matter, values are xtext (RFC 3461 section 4). None: that is none.
pub fn parse(said: &[u8]) -> Option<Introduction> {
    let mut introduction = Introduction::default();
    let mut seen = Vec::with_capacity(8);
    for word in said.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_at(word.iter().position(|byte| *byte == b'=')?);
        let name = name.to_ascii_uppercase();
        if seen.contains(&name) {
            return None;
        }
        let value = notify::unquote(&value[1..]).filter(|value| !value.is_empty())?;
        let value = Some(value).filter(|value| !is_unknown(value));
        match &name[..] {
            b"NAME" => value.map_or(Some(()), |name| host(&name).map(drop))?,
            b"ADDR" => {
                introduction.address = match value {
                    Some(value) => Address::Is(address(&value)?),
                    None => Address::Unknown,
                }
            }
            b"PORT" => introduction.port = value.map_or(Some(None), |value| port(&value).map(Some))?,
            b"PROTO" => {
                introduction.extended = match value.as_deref() {
                    Some(word) if word.eq_ignore_ascii_case(b"ESMTP") => true,
                    Some(word) if word.eq_ignore_ascii_case(b"SMTP") => false,
                    _ => return None,
                }
            }
            b"HELO" => introduction.helo = value.map_or(Some(None), |value| host(&value).map(Some))?,
            b"LOGIN" => introduction.login = value.map_or(Some(None), |value| login(value).map(Some))?,
            b"DESTADDR" => value.map_or(Some(()), |value| address(&value).map(drop))?,
            b"DESTPORT" => value.map_or(Some(()), |value| port(&value).map(drop))?,
            _ => return None,
        }
        seen.push(name);
    }
    (!seen.is_empty()).then_some(introduction)
}

/// The gateway does not know, or not now.
fn is_unknown(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"[UNAVAILABLE]") || value.eq_ignore_ascii_case(b"[TEMPUNAVAIL]")
}

/// `192.0.2.1` or `IPV6:2001:db8::1`; some leave the prefix out.
fn address(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?;
    let prefix = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("IPV6:"));
    let address =
        if prefix { text[5..].parse::<Ipv6Addr>().ok()?.into() } else { text.parse::<IpAddr>().ok()? };
    Some(address.to_canonical())
}

fn port(value: &[u8]) -> Option<u16> {
    let is_number = value.len() <= 5 && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

/// As EHLO has it.
fn host(value: &[u8]) -> Option<String> {
    command::parse_name(value).ok().map(|name| command::name_text(name).into_owned())
}

fn login(value: Vec<u8>) -> Option<String> {
    let name = String::from_utf8(value).ok()?;
    let fits = name.len() <= limits::ACCOUNT_NAME_MAX && !name.contains(char::is_control);
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_of(said: &str) -> Option<Address> {
        parse(said.as_bytes()).map(|introduction| introduction.address)
    }

    #[test]
    fn all_that_a_gateway_knows_is_read() {
        let said = b"NAME=mail.example.org ADDR=192.0.2.7 PORT=34567 PROTO=ESMTP HELO=mail+2Bone.example LOGIN=shop+40example.org DESTADDR=192.0.2.1 DESTPORT=25";
        let wanted = Introduction {
            address: Address::Is("192.0.2.7".parse().unwrap()),
            port: Some(34567),
            helo: Some("mail+one.example".to_owned()),
            extended: true,
            login: Some("shop@example.org".to_owned()),
        };
        assert_eq!(parse(said), Some(wanted));
        assert_eq!(parse(b"  proto=smtp  "), Some(Introduction::default()));
    }

    #[test]
    fn what_it_does_not_know_is_unknown() {
        let said = b"NAME=[TEMPUNAVAIL] ADDR=[UNAVAILABLE] PORT=[unavailable] HELO=[UNAVAILABLE] LOGIN=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]";
        assert_eq!(parse(said), Some(Introduction { address: Address::Unknown, ..Introduction::default() }));
        assert_eq!(address_of("NAME=[UNAVAILABLE]"), Some(Address::Same));
    }

    #[test]
    fn addresses_of_both_families() {
        let is = |address: &str| Some(Address::Is(address.parse().unwrap()));
        for (said, address) in [
            ("ADDR=192.0.2.7", "192.0.2.7"),
            ("addr=IPV6:2001:db8::7", "2001:db8::7"),
            ("ADDR=ipv6:2001:DB8::7", "2001:db8::7"),
            ("ADDR=2001:db8::7", "2001:db8::7"),
            // As one is known whoever writes it.
            ("ADDR=IPV6:::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(address_of(said), is(address), "{said}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        let long = format!("HELO={}", "x".repeat(limits::DOMAIN_MAX + 1));
        let name = format!("LOGIN={}", "x".repeat(limits::ACCOUNT_NAME_MAX + 1));
        for said in [
            "",
            " ",
            "ADDR",
            "ADDR=",
            "ADDR=192.0.2",
            "ADDR=192.0.2.7:25",
            "ADDR=IPV6:192.0.2.7",
            "ADDR=IPV6:fe80::1+25eth0",
            "ADDR=[192.0.2.7]",
            "ADDR=mail.example",
            "ADDR=192.0.2.7 ADDR=192.0.2.8",
            "ADDR=192.0.2.7 addr=192.0.2.7",
            "PORT=65536",
            "PORT=-1",
            "PORT=+2B1",
            "PORT=000025",
            "PROTO=LMTP",
            "PROTO=[UNAVAILABLE]",
            "HELO=a+0Ab",
            "HELO=a=b",
            "HELO=a+2g",
            "LOGIN=a+00b",
            "LOGIN=+FF",
            "NAME=a+0Db",
            "DESTADDR=here",
            "DESTPORT=smtp",
            "IDENT=7",
            "ADDR=192.0.2.7\tPORT=1",
            &long,
            &name,
        ] {
            assert_eq!(parse(said.as_bytes()), None, "{said}");
        }
    }
}
