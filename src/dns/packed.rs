//! What was found of a name, in a few bytes.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::dns::{Answer, LookupError, ServerError, TlsAssociation};

const MX: u8 = 0;
const MX_CUT: u8 = 1;
const ADDRESSES: u8 = 2;
const NO_DATA: u8 = 3;
const NO_DOMAIN: u8 = 4;
const NO_SERVERS: u8 = 5;
const BAD_NAME: u8 = 6;
const ENDLESS: u8 = 7;
const TEXTS: u8 = 9;
const NAMES: u8 = 10;
const ASSOCIATIONS: u8 = 11;
/// What came of a question to a server, of which there is one more byte.
const SERVER: u8 = 8;

/// Beside the kind: it is authentic.
const SECURE: u8 = 0x80;

/// Writes it, and whether it is authentic.
pub(super) fn pack(answer: &Result<Answer, LookupError>, secure: bool, out: &mut Vec<u8>) {
    let kind = out.len();
    match answer {
        Ok(Answer::Mx { hosts, cut }) => {
            out.push(if *cut { MX_CUT } else { MX });
            for (preference, host) in hosts {
                out.extend_from_slice(&preference.to_be_bytes());
                pack_text(host, out);
            }
        }
        Ok(Answer::Addresses(addresses)) => {
            out.push(ADDRESSES);
            for address in addresses {
                pack_address(*address, out);
            }
        }
        Ok(Answer::Texts(texts)) => {
            out.push(TEXTS);
            texts.iter().for_each(|text| pack_bytes(text, out));
        }
        Ok(Answer::Names(names)) => {
            out.push(NAMES);
            names.iter().for_each(|name| pack_text(name, out));
        }
        Ok(Answer::Associations(all)) => {
            out.push(ASSOCIATIONS);
            for TlsAssociation { usage, selector, matching, data } in all {
                out.extend([usage, selector, matching]);
                pack_bytes(data, out);
            }
        }
        Ok(Answer::NoData) => out.push(NO_DATA),
        Ok(Answer::NoDomain) => out.push(NO_DOMAIN),
        Err(LookupError::NoServers) => out.push(NO_SERVERS),
        Err(LookupError::BadName) => out.push(BAD_NAME),
        Err(LookupError::EndlessAliases) => out.push(ENDLESS),
        Err(LookupError::Server(server, why)) => {
            out.push(SERVER);
            pack_address(server.ip(), out);
            out.extend_from_slice(&server.port().to_be_bytes());
            let scope = if let SocketAddr::V6(server) = server { server.scope_id() } else { 0 };
            out.extend_from_slice(&scope.to_be_bytes());
            pack_trouble(why, out);
        }
    }
    if secure {
        out[kind] |= SECURE;
    }
}

fn pack_trouble(why: &ServerError, out: &mut Vec<u8>) {
    match why {
        ServerError::Code(code) => {
            out.push(0);
            out.extend_from_slice(&u16::from(*code).to_be_bytes());
        }
        ServerError::NotUnderstood => out.push(1),
        ServerError::NotWhole => out.push(2),
        ServerError::Damaged => out.push(3),
        ServerError::Circle => out.push(4),
        ServerError::BadName => out.push(5),
        ServerError::OffTheQuestion => out.push(7),
        ServerError::Refers => out.push(8),
        ServerError::Io(words) => {
            out.push(6);
            pack_text(words, out);
        }
    }
}

/// No name has 64 KiB, and no error of the system.
fn pack_text(text: &str, out: &mut Vec<u8>) {
    pack_bytes(text.as_bytes(), out);
}

/// No record has 64 KiB, either.
fn pack_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = if bytes.len() <= usize::from(u16::MAX) { bytes } else { &[] };
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn pack_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend_from_slice(&address.octets());
        }
    }
}

/// Reads what [`pack`] wrote. None: that did not.
pub(super) fn unpack(mut bytes: &[u8]) -> Option<(Result<Answer, LookupError>, bool)> {
    let bytes = &mut bytes;
    let [kind] = take(bytes)?;
    let (secure, kind) = (kind & SECURE != 0, kind & !SECURE);
    let answer = match kind {
        MX | MX_CUT => Ok(Answer::Mx { hosts: take_all(bytes, take_host)?, cut: kind == MX_CUT }),
        ADDRESSES => Ok(Answer::Addresses(take_all(bytes, take_address)?)),
        TEXTS => Ok(Answer::Texts(take_all(bytes, |rest| take_bytes(rest).map(<[u8]>::to_vec))?)),
        NAMES => Ok(Answer::Names(take_all(bytes, |rest| take_text(rest).map(str::to_owned))?)),
        ASSOCIATIONS => Ok(Answer::Associations(take_all(bytes, take_association)?)),
        NO_DATA => Ok(Answer::NoData),
        NO_DOMAIN => Ok(Answer::NoDomain),
        NO_SERVERS => Err(LookupError::NoServers),
        BAD_NAME => Err(LookupError::BadName),
        ENDLESS => Err(LookupError::EndlessAliases),
        _ => {
            let (ip, port) = (take_address(bytes)?, u16::from_be_bytes(take(bytes)?));
            let scope = u32::from_be_bytes(take(bytes)?);
            let server = match ip {
                IpAddr::V4(_) => SocketAddr::new(ip, port),
                IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
            };
            Err(LookupError::Server(server, take_trouble(bytes)?))
        }
    };
    Some((answer, secure))
}

fn take_trouble(bytes: &mut &[u8]) -> Option<ServerError> {
    let [kind] = take(bytes)?;
    Some(match kind {
        0 => ServerError::Code(u16::from_be_bytes(take(bytes)?).into()),
        1 => ServerError::NotUnderstood,
        2 => ServerError::NotWhole,
        3 => ServerError::Damaged,
        4 => ServerError::Circle,
        5 => ServerError::BadName,
        7 => ServerError::OffTheQuestion,
        8 => ServerError::Refers,
        _ => ServerError::Io(take_text(bytes)?.into()),
    })
}

fn take_host(bytes: &mut &[u8]) -> Option<(u16, String)> {
    Some((u16::from_be_bytes(take(bytes)?), take_text(bytes)?.to_owned()))
}

/// All there are.
fn take_all<T>(bytes: &[u8], one: fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut rest = bytes;
    let mut all = Vec::new();
    while !rest.is_empty() {
        all.push(one(&mut rest)?);
    }
    Some(all)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(bytes)?).ok()
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(take(bytes)?));
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_association(bytes: &mut &[u8]) -> Option<TlsAssociation> {
    let [usage, selector, matching] = take(bytes)?;
    Some(TlsAssociation { usage, selector, matching, data: take_bytes(bytes)?.into() })
}

fn take_address(bytes: &mut &[u8]) -> Option<IpAddr> {
    match take(bytes)? {
        [4] => Some(IpAddr::from(take::<4>(bytes)?)),
        _ => Some(IpAddr::from(take::<16>(bytes)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::ResponseCode;

    #[test]
    fn what_is_packed_is_what_was_found() {
        let server = |text: &str, why| Err(LookupError::Server(text.parse().expect("an address"), why));
        let hosts = vec![(10, "mx.example".to_owned()), (65535, ".".to_owned())];
        let both = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        for found in [
            Ok(Answer::Mx { hosts: hosts.clone(), cut: false }),
            Ok(Answer::Mx { hosts, cut: true }),
            Ok(Answer::Addresses(both)),
            Ok(Answer::Texts(vec![b"v=spf1 -all".to_vec(), Vec::new(), vec![0xFF; 3_000]])),
            Ok(Answer::Names(vec!["mx1.example".to_owned(), ".".to_owned()])),
            Ok(Answer::Associations(vec![TlsAssociation {
                usage: 3,
                selector: 1,
                matching: 1,
                data: [7; 32].into(),
            }])),
            Ok(Answer::NoData),
            Ok(Answer::NoDomain),
            Err(LookupError::NoServers),
            Err(LookupError::BadName),
            Err(LookupError::EndlessAliases),
            server("192.0.2.53:53", ServerError::Code(ResponseCode::ServFail)),
            server("192.0.2.53:53", ServerError::Code(ResponseCode::Unknown(3000))),
            server("[fe80::1%3]:5353", ServerError::Io("timed out".into())),
            server("[2001:db8::53]:53", ServerError::NotUnderstood),
            server("192.0.2.53:53", ServerError::NotWhole),
            server("192.0.2.53:53", ServerError::Damaged),
            server("192.0.2.53:53", ServerError::Circle),
            server("192.0.2.53:53", ServerError::BadName),
            server("192.0.2.53:53", ServerError::OffTheQuestion),
            server("192.0.2.53:53", ServerError::Refers),
        ] {
            for secure in [false, true] {
                let mut bytes = vec![1, 2];
                pack(&found, secure, &mut bytes);
                assert_eq!(unpack(&bytes[2..]), Some((found.clone(), secure)));
            }
        }
        assert_eq!(unpack(&[]), None);
    }
}
