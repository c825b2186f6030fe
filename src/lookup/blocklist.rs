//! Lists of addresses in the DNS (DNSBL, RFC 5782).

use std::net::IpAddr;

use crate::dns::{Answer, QueryType};
use crate::limits;
use crate::lookup::reverse;
use crate::lookup::spf::Ask;
use crate::mail::header;

/// What a list says of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not listed.
    Clear,
    /// It is listed, for this reason.
    Listed(String),
    /// That cannot be known now.
    Unknown(String),
}

/// A list whose domain was given up often answers for every name, and would have all our sources rest: 127.0.0.1 is on none (RFC 5782 section 5).
pub fn is_kept(by: &Ask<'_>, zone: &str) -> Result<(), String> {
    match ask(by, zone, IpAddr::from([127, 0, 0, 1])) {
        Standing::Clear => Ok(()),
        Standing::Listed(_) => {
            Err("it lists 127.0.0.1, as one does that is not kept any more (RFC 5782 section 5)".to_owned())
        }
        Standing::Unknown(why) => Err(why),
    }
}

/// What a list says of an address.
pub fn ask(by: &Ask<'_>, zone: &str, address: IpAddr) -> Standing {
    let name = format!("{}.{zone}", reverse::labels(address));
    let found = match by(QueryType::A, &name) {
        Ok(Answer::Addresses(found)) => found,
        Ok(_) => return Standing::Clear,
        Err(error) => return Standing::Unknown(error.to_string()),
    };
    match judge(&found) {
        Standing::Listed(codes) => {
            let words = match by(QueryType::Txt, &name) {
                Ok(Answer::Texts(texts)) => {
                    texts.first().map(|text| String::from_utf8_lossy(text).into_owned())
                }
                _ => None,
            };
            let words = words.unwrap_or(codes);
            Standing::Listed(header::one_line(words.as_bytes(), limits::BLOCKLIST_WORDS_MAX).into_owned())
        }
        standing => standing,
    }
}

/// What answers mean: an address within 127.0.0.0/8 that it is listed (RFC 5782 2.1); 127.255.255.0/24 that the list refuses to tell us.
fn judge(found: &[IpAddr]) -> Standing {
    let mut codes = Vec::new();
    for address in found {
        match address {
            IpAddr::V4(code) if code.octets()[..3] == [127, 255, 255] => {
                return Standing::Unknown(format!(
                    "it refuses to tell our name servers ({code}): ask it through a resolver of your own"
                ));
            }
            IpAddr::V4(code) if code.octets()[0] == 127 => codes.push(code.to_string()),
            other => {
                return Standing::Unknown(format!(
                    "it answers {other}, which means nothing (RFC 5782 section 2.1)"
                ));
            }
        }
    }
    if codes.is_empty() { Standing::Clear } else { Standing::Listed(codes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5782 2.1: an answer says that an address is listed, and by its value why.
    #[test]
    fn answers_within_127_mean_listed() {
        let judge = |texts: &[&str]| {
            let found: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            super::judge(&found)
        };
        assert_eq!(judge(&[]), Standing::Clear);
        assert_eq!(judge(&["127.0.0.2"]), Standing::Listed("127.0.0.2".into()));
        assert_eq!(judge(&["127.0.0.4", "127.0.1.10"]), Standing::Listed("127.0.0.4, 127.0.1.10".into()));
        for unknown in
            [&["127.255.255.254"][..], &["127.0.0.2", "127.255.255.252"], &["203.0.113.7"], &["::1"]]
        {
            assert!(matches!(judge(unknown), Standing::Unknown(_)), "{unknown:?}");
        }
    }

    #[test]
    fn lists_have_addresses_backwards() {
        assert_eq!(reverse::labels("192.0.2.10".parse().unwrap()), "10.2.0.192");
        let six = reverse::labels("2001:db8::1".parse().unwrap());
        assert_eq!((six.len(), &six[..8], &six[48..]), (63, "1.0.0.0.", "8.b.d.0.1.0.0.2"));
        assert!(six.len() + 1 + limits::BLOCKLIST_ZONE_MAX <= 253);
    }
}
