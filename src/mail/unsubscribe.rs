//! Ways out of a list that hold for one recipient: a page that one click unsubscribes by (RFC 8058), and an address to write to (RFC 2369), both with
//! a token that tells who it is, of whose mail and of which campaign.
//!
//! The token is `u1` and base64url letters (RFC 4648 section 5): the day, tenant, campaign and address, sealed with AES-256-GCM-SIV. Nobody can read
//! it or make one without the secret. The nonce is always the same, for which that cipher is made (RFC 8452 section 9): equal tokens say that they
//! were written on one day for one recipient of one list, and nothing else.
//! No clock and no secret is kept here but what the caller gives.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits;
use crate::mail::envelope::Envelope;
use crate::mail::header::{self, Edit};
use crate::mail::parameters::Key;
use crate::time::UnixMillis;

/// In front of each token, and of the version's form.
const PREFIX: &str = "u1";
/// Where pages are, on the host.
const PATH: &str = "/u/";
/// To whom mail goes, at the domain of return paths.
const LOCAL_PART: &str = "unsubscribe";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What writes such fields, and reads tokens again.
pub struct Links {
    host: Box<str>,
    mail_domain: Option<Box<str>>,
    /// The current one first.
    keys: Vec<LessSafeKey>,
}

/// Who wants out, of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The recipient.
    pub address: String,
    /// Whose mail it was; empty: nobody's.
    pub tenant: String,
    /// In which campaign; empty: in none.
    pub campaign: String,
    /// When it was written: the beginning of that day.
    pub day: UnixMillis,
}

/// What came of giving a message a way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It has one now.
    Added,
    /// It had one, which stays as it is.
    Present,
    /// The field would be the same for all of its recipients.
    SeveralRecipients,
    /// No line is so long.
    TooLong,
    /// Somebody signed it before: another field might break that.
    Signed,
}

impl fmt::Debug for Links {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Links").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Links {
    /// Pages at a host, with its port where that is another than 443, and mail to this domain where there is one. The first secret writes; those behind
    /// it are believed, too.
    pub fn new<'a>(
        host: &str,
        mail_domain: Option<&str>,
        secrets: impl IntoIterator<Item = &'a [u8; limits::UNSUBSCRIBE_SECRET]>,
    ) -> Links {
        let key = |secret: &[u8; limits::UNSUBSCRIBE_SECRET]| {
            UnboundKey::new(&AES_256_GCM_SIV, secret).ok().map(LessSafeKey::new)
        };
        Links {
            host: host.into(),
            mail_domain: mail_domain.map(Into::into),
            keys: secrets.into_iter().filter_map(key).collect(),
        }
    }

    /// The fields List-Unsubscribe and List-Unsubscribe-Post for a recipient, each with its line end. None: the address, or what stands beside it, is
    /// too long for a line, or is no ASCII.
    pub fn fields(&self, listed: &Listed) -> Option<String> {
        let token = self.write(listed)?;
        let Links { host, mail_domain, .. } = self;
        let mut fields = format!("List-Unsubscribe: <https://{host}{PATH}{token}>");
        if let Some(domain) = mail_domain {
            let mail = format!("<mailto:{LOCAL_PART}@{domain}?subject={token}>");
            fields = format!("{fields},\r\n {mail}");
        }
        let fits = fields.lines().all(|line| line.len() < limits::ADDED_LINE_MAX);
        fits.then(|| fields + "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")
    }

    /// Gives a message to one recipient a way out, in front of its other fields, where it has none. How many bytes longer its section is now, and
    /// what came of it.
    pub fn add(
        &self,
        envelope: &Envelope,
        message: &mut Vec<u8>,
        (length, mailbox_line): (usize, bool),
        now: UnixMillis,
    ) -> (usize, Added) {
        let section = message.get(..length).unwrap_or_default();
        if has_way_out(section, mailbox_line) {
            return (0, Added::Present);
        }
        if header::fields(section, mailbox_line).any(|field| field.is("dkim-signature")) {
            return (0, Added::Signed);
        }
        let [recipient] = &envelope.recipients[..] else { return (0, Added::SeveralRecipients) };
        let own = envelope.parameters.as_ref().map(|all| all.of(recipient.parameters));
        let said = |key| own.as_ref().and_then(|own| own.get(key)).unwrap_or_default();
        let listed = Listed {
            address: String::from_utf8_lossy(&recipient.address).into_owned(),
            tenant: said(Key::Tenant).to_owned(),
            campaign: said(Key::Campaign).to_owned(),
            day: now,
        };
        let Some(fields) = self.fields(&listed) else { return (0, Added::TooLong) };
        let edit = Edit { remove: Vec::new(), add: fields.into_bytes() };
        let after = edit.apply(message, length, mailbox_line);
        (after - length, Added::Added)
    }

    /// The token of a recipient.
    fn write(&self, listed: &Listed) -> Option<String> {
        let Listed { address, tenant, campaign, day } = listed;
        let mut text = ((day.0 / DAY_MS) as u16).to_be_bytes().to_vec();
        for name in [tenant, campaign] {
            text.push(u8::try_from(name.len()).ok()?);
            text.extend_from_slice(name.as_bytes());
        }
        if address.is_empty() || address.len() > limits::PATH_MAX {
            return None;
        }
        text.extend_from_slice(address.as_bytes());
        self.keys.first()?.seal_in_place_append_tag(nonce(), Aad::from(PREFIX), &mut text).ok()?;
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(text)))
    }

    /// Who a token is of. None: no secret of this node made it, or it lost letters on its way.
    pub fn read(&self, token: &str) -> Option<Listed> {
        let sealed =
            token.strip_prefix(PREFIX).filter(|sealed| sealed.len() <= limits::UNSUBSCRIBE_TOKEN_MAX)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let text = self.keys.iter().find_map(|key| {
            let mut text = sealed.clone();
            let length = key.open_in_place(nonce(), Aad::from(PREFIX), &mut text).ok()?.len();
            text.truncate(length);
            Some(text)
        })?;
        let (day, rest) = text.split_first_chunk()?;
        let (tenant, rest) = name(rest)?;
        let (campaign, rest) = name(rest)?;
        let day = UnixMillis(u64::from(u16::from_be_bytes(*day)) * DAY_MS);
        Some(Listed { address: String::from_utf8(rest.to_vec()).ok()?, tenant, campaign, day })
    }

    /// Who the path of a page is of.
    pub fn of_path(&self, path: &str) -> Option<Listed> {
        self.read(path.strip_prefix(PATH)?)
    }
}

/// The token in the subject of a message, which programs put words or brackets around.
pub fn token_in(subject: &str) -> Option<&str> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let words = subject.split(|letter: char| !u8::try_from(letter).is_ok_and(is_letter));
    words.filter(|word| word.len() >= limits::UNSUBSCRIBE_TOKEN_MIN).find(|word| word.starts_with(PREFIX))
}

/// Whether an address, in any case and at any domain, is one that such mail goes to.
pub fn is_address(address: &[u8]) -> bool {
    let local = memchr::memrchr(b'@', address).map_or(address, |at| &address[..at]);
    local.eq_ignore_ascii_case(LOCAL_PART.as_bytes())
}

/// Whether a header section has a way out of the list already: what its sender says of that stays as it is.
pub fn has_way_out(section: &[u8], mailbox_line: bool) -> bool {
    header::fields(section, mailbox_line)
        .any(|field| field.is("list-unsubscribe") || field.is("list-unsubscribe-post"))
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// A text with its length in front, and what is behind it.
fn name(text: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = text.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((String::from_utf8(name.to_vec()).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(address: &str) -> Listed {
        let day = UnixMillis(20_000 * DAY_MS);
        Listed { address: address.to_owned(), tenant: "shop".into(), campaign: "autumn".into(), day }
    }

    fn links(secrets: &[[u8; limits::UNSUBSCRIBE_SECRET]]) -> Links {
        Links::new("u.example.net", Some("bounces.example.net"), secrets)
    }

    #[test]
    fn a_token_tells_who_wants_out_of_what() {
        let ours = links(&[[1; 32]]);
        for address in ["ada@example.org", "\u{fc}@example.org", &format!("{}@b.example", "a".repeat(64))] {
            let token = ours.write(&listed(address)).unwrap();
            assert_eq!(ours.read(&token), Some(listed(address)));
            assert_eq!(ours.of_path(&format!("/u/{token}")), Some(listed(address)));
            assert!(
                !token.contains("ada")
                    && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
        }
        let nobodys = Listed { tenant: String::new(), campaign: String::new(), ..listed("ada@example.org") };
        assert_eq!(ours.read(&ours.write(&nobodys).unwrap()), Some(nobodys));
        assert_eq!(ours.write(&listed("")), None);
        assert_eq!(ours.write(&Listed { tenant: "t".repeat(256), ..listed("a@b") }), None);
    }

    #[test]
    fn secrets_are_replaced_and_what_is_out_is_believed() {
        let token = links(&[[1; 32]]).write(&listed("ada@example.org")).unwrap();
        assert!(links(&[[2; 32], [1; 32]]).read(&token).is_some());
        assert!(links(&[[2; 32]]).read(&token).is_none(), "of nobody known");
        assert!(links(&[]).write(&listed("ada@example.org")).is_none());
    }

    #[test]
    fn what_is_no_token_of_ours_is_none() {
        let ours = links(&[[1; 32]]);
        let token = ours.write(&listed("ada@example.org")).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.read(std::str::from_utf8(&other).unwrap()), None, "{at}");
            assert_eq!(ours.read(&token[..at]), None);
        }
        for other in ["", "u1", "u1====", "u2AAAA", &format!("u1{}", "A".repeat(100_000)), "u1\u{e4}\u{f6}"] {
            assert_eq!(ours.read(other), None, "{}", other.len());
        }
    }

    #[test]
    fn fields_have_both_ways_and_lines_that_fit() {
        let ours = links(&[[1; 32]]);
        let fields = ours.fields(&listed("ada@example.org")).unwrap();
        let token = ours.write(&listed("ada@example.org")).unwrap();
        assert_eq!(
            fields,
            format!(
                "List-Unsubscribe: <https://u.example.net/u/{token}>,\r\n <mailto:unsubscribe@bounces.example.net?subject={token}>\r\n\
                 List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            )
        );
        let alone = Links::new("u.example.net:8443", None, [&[1; 32]]);
        let fields = alone.fields(&listed("ada@example.org")).unwrap();
        assert!(
            fields.starts_with("List-Unsubscribe: <https://u.example.net:8443/u/u1")
                && !fields.contains("mailto")
        );
        let longest =
            Listed { tenant: "t".repeat(255), campaign: "c".repeat(255), ..listed(&"a".repeat(254)) };
        assert_eq!(ours.fields(&longest), None, "no line is that long");
    }

    #[test]
    fn a_token_is_found_in_a_subject() {
        let ours = links(&[[1; 32]]);
        let token = ours.write(&listed("ada@example.org")).unwrap();
        for subject in [
            token.clone(),
            format!("Re: {token}"),
            format!("unsubscribe [{token}] please"),
            format!("<{token}>"),
        ] {
            assert_eq!(token_in(&subject), Some(&*token), "{subject}");
        }
        for subject in ["", "unsubscribe", "u1", "U1", "u1short"] {
            assert_eq!(token_in(subject), None);
        }
        assert!(is_address(b"Unsubscribe@bounces.example.net") && !is_address(b"x@bounces.example.net"));
    }

    #[test]
    fn what_a_sender_says_of_the_way_out_is_seen() {
        assert!(has_way_out(b"From: a@b\r\nlist-Unsubscribe: <mailto:x@y>\r\n\r\n", false));
        assert!(!has_way_out(b"From: a@b\r\nList-Id: x\r\n\r\nList-Unsubscribe: x\r\n", false));
    }
}
