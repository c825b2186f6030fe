//! What a reply means: each gets one class, by patterns of texts that receivers send (`classes.toml`), and a pattern may correct what the
//! first digit of the code says. Replies are hostile: the engine is linear, and of a text only so much is looked at.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::limits;
pub use crate::names::CLASSES;

pub mod judge;

/// What a reply is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the names are what events and metrics say; docs/replies.md has a line for each"
)]
pub enum Class {
    BadMailbox,
    InactiveMailbox,
    MailboxFull,
    BadDomain,
    NoMx,
    BadSender,
    RelayingDenied,
    AuthRequired,
    TlsRequired,
    TooLarge,
    Content,
    Spam,
    Virus,
    Policy,
    Reputation,
    Authentication,
    Blocklisted,
    Throttled,
    TooManyConnections,
    Greylisted,
    Protocol,
    Timeout,
    NoAnswer,
    Connection,
    Expired,
    OurFault,
    Other,
}

impl Class {
    /// All of them, in their order.
    pub const ALL: [Class; CLASSES.len()] = [
        Class::BadMailbox,
        Class::InactiveMailbox,
        Class::MailboxFull,
        Class::BadDomain,
        Class::NoMx,
        Class::BadSender,
        Class::RelayingDenied,
        Class::AuthRequired,
        Class::TlsRequired,
        Class::TooLarge,
        Class::Content,
        Class::Spam,
        Class::Virus,
        Class::Policy,
        Class::Reputation,
        Class::Authentication,
        Class::Blocklisted,
        Class::Throttled,
        Class::TooManyConnections,
        Class::Greylisted,
        Class::Protocol,
        Class::Timeout,
        Class::NoAnswer,
        Class::Connection,
        Class::Expired,
        Class::OurFault,
        Class::Other,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        CLASSES[self as usize]
    }

    /// Its number in records of the spool, from 1: none of these ever means another (docs/record-format.md).
    pub fn number(self) -> u16 {
        self as u16 + 1
    }

    /// The one of this number. None: 0, or one of a later version.
    pub fn of_number(number: u16) -> Option<Class> {
        Class::ALL.get(usize::from(number.checked_sub(1)?)).copied()
    }

    /// What the enhanced code alone of a hop's reply says (RFC 3463 section 3, RFC 7372, RFC 5248): where there is no time for its words.
    pub fn of_status(enhanced: Option<(u8, u16, u16)>) -> Class {
        match enhanced {
            // What its system lacks is no fault of this one.
            None | Some((_, 3, 0..=2 | 5..)) => Class::Other,
            Some((_, subject, detail)) => Class::of_code(subject, detail),
        }
    }

    /// What our own words with this enhanced code are about; they have one each.
    pub fn of_ours(words: &str, enhanced: Option<(u8, u16, u16)>) -> Class {
        match enhanced {
            // It is we who want TLS there.
            Some((_, 7, 4 | 5)) => Class::TlsRequired,
            Some((_, 4, 1 | 2)) if words.contains("timed out waiting") => Class::Timeout,
            Some((_, subject, detail)) => Class::of_code(subject, detail),
            None => Class::Other,
        }
    }

    /// What it says is that we are not let in: to relay, without a login, without TLS. A host that the operator sends mail to should.
    pub fn denies_access(self) -> bool {
        matches!(self, Class::RelayingDenied | Class::AuthRequired | Class::TlsRequired)
    }

    /// What it speaks of is the recipient's address, the sender's, or the message.
    pub fn is_of_the_mail(self) -> bool {
        self.is_of_the_sender() || matches!(self, Class::InactiveMailbox | Class::MailboxFull)
    }

    /// The same where no recipient was named: then what is said of an account, or of its room, is said of the one that sends.
    pub fn is_of_the_sender(self) -> bool {
        matches!(
            self,
            Class::BadMailbox
                | Class::BadDomain
                | Class::NoMx
                | Class::BadSender
                | Class::TooLarge
                | Class::Content
                | Class::Spam
                | Class::Virus
                | Class::Authentication
        )
    }

    fn of_code(subject: u16, detail: u16) -> Class {
        match (subject, detail) {
            (1, 1 | 3 | 6) => Class::BadMailbox,
            (1, 2) => Class::BadDomain,
            (1, 7 | 8) => Class::BadSender,
            (1, 10) | (4, 3 | 4) => Class::NoMx,
            (2, 1) => Class::InactiveMailbox,
            (2, 2) => Class::MailboxFull,
            (2, 3) | (3, 4) => Class::TooLarge,
            (3, 3) | (5, _) => Class::Protocol,
            (3, _) => Class::OurFault,
            (4, 1) => Class::NoAnswer,
            (4, 2) => Class::Connection,
            (4, 5) => Class::Throttled,
            (4, 7) => Class::Expired,
            (6, _) => Class::Content,
            (7, 8 | 9) => Class::AuthRequired,
            (7, 10 | 11) => Class::TlsRequired,
            (7, 20..=24 | 26 | 29) => Class::Authentication,
            (7, _) => Class::Policy,
            _ => Class::Other,
        }
    }
}

/// What a reply was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it is about.
    pub class: Class,
    /// Whether it is final, if it is not as its first digit says.
    pub permanent: Option<bool>,
    /// Whether it speaks of whoever sends, in whatever code, and of no recipient and no message.
    pub about_us: bool,
}

impl Judged {
    /// What nothing is known of.
    pub const UNKNOWN: Judged = Judged { class: Class::Other, permanent: None, about_us: false };
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    provider: Vec<Provider>,
    class: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    name: String,
    mx: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    class: Class,
    pattern: String,
    permanent: Option<bool>,
    about: Option<ReplySubject>,
    provider: Option<String>,
    /// Its words are those of many replies that mean something else; where there are more words than the reply's, they decide.
    #[serde(default)]
    last_resort: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold the patterns to them"))]
    example: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReplySubject {
    Us,
}

/// Entries, ready to be looked through; a copy is cheap, and has memory of its own for the engine.
///
/// Each pattern is an engine of its own: one for all of them has more states than it may keep, and works them out anew for each text, which
/// took milliseconds. Most patterns begin with the code, and end there.
#[derive(Clone, Debug)]
pub struct Classes {
    entries: Vec<Compiled>,
    /// What the names of a provider's hosts end in, and its place.
    suffixes: Vec<(String, u8)>,
}

#[derive(Clone, Debug)]
struct Compiled {
    pattern: Regex,
    judged: Judged,
    /// The place of its provider, if it is of one.
    provider: Option<u8>,
    last_resort: bool,
}

static SHIPPED: LazyLock<Classes> = LazyLock::new(|| {
    // A fault in it does not pass the tests; without entries all replies are `other`.
    toml::from_str(include_str!("classify/classes.toml"))
        .ok()
        .and_then(|file| Classes::new(&file))
        .unwrap_or(Classes { entries: Vec::new(), suffixes: Vec::new() })
});

/// What notifications say in words of their own, and no hop in a reply.
static NOTICES: LazyLock<Classes> = LazyLock::new(|| {
    toml::from_str(include_str!("classify/notices.toml"))
        .ok()
        .and_then(|file| Classes::new(&file))
        .unwrap_or(Classes { entries: Vec::new(), suffixes: Vec::new() })
});

impl Classes {
    /// What the words of a returned message mean, as a reply (`codes` is what it begins with). None: only its codes say something. This is for
    /// one thread, and takes as long as a look at a new reply does.
    pub fn judge_words(text: &str, codes: &str, hop: &str) -> Option<Judged> {
        let (mut masked, mut bare) = (Vec::new(), Vec::new());
        mask(text.as_bytes(), &mut masked);
        mask(format!("{codes} ").as_bytes(), &mut bare);
        let notice = NOTICES.first(&masked, None).and_then(|place| NOTICES.entries.get(place));
        if let Some(entry) = notice.filter(|entry| !entry.last_resort) {
            return Some(entry.judged);
        }
        let provider = SHIPPED.provider(hop);
        let reply = SHIPPED.first(&masked, provider).and_then(|place| {
            let entry = SHIPPED.entries.get(place).filter(|entry| !entry.last_resort)?;
            (SHIPPED.first(&bare, provider) != Some(place)).then_some(entry)
        });
        reply.or(notice).map(|entry| entry.judged)
    }

    /// What codes without words mean.
    pub fn judge_codes(codes: &str, hop: &str) -> Judged {
        SHIPPED.find(codes.as_bytes(), SHIPPED.provider(hop))
    }

    /// Those that come with the relay. They are compiled once a process, by the first who asks.
    pub fn shipped() -> Classes {
        SHIPPED.clone()
    }

    fn new(file: &File) -> Option<Classes> {
        let place = |name: &str| file.provider.iter().position(|provider| provider.name == name);
        let mut entries = Vec::new();
        for entry in &file.class {
            let provider = match &entry.provider {
                Some(name) => Some(u8::try_from(place(name)?).ok()?),
                None => None,
            };
            let pattern = RegexBuilder::new(&entry.pattern)
                .unicode(false)
                .size_limit(limits::CLASS_COMPILED_MAX)
                .dfa_size_limit(limits::CLASS_CACHE_MAX)
                .build()
                .ok()?;
            let about_us = entry.about == Some(ReplySubject::Us);
            // What is too much now is not too much for ever, whatever the code.
            let is_for_now =
                matches!(entry.class, Class::Throttled | Class::TooManyConnections | Class::Greylisted);
            let permanent = entry.permanent.or(is_for_now.then_some(false));
            let judged = Judged { class: entry.class, permanent, about_us };
            entries.push(Compiled { pattern, judged, provider, last_resort: entry.last_resort });
        }
        let numbered = file.provider.iter().zip(0..);
        let suffixes = numbered
            .flat_map(|(provider, place)| provider.mx.iter().map(move |suffix| (suffix.clone(), place)))
            .collect();
        Some(Classes { entries, suffixes })
    }

    /// The place of the provider that a host belongs to; `hop`: its name, and whatever stands behind it.
    fn provider(&self, hop: &str) -> Option<u8> {
        let host = hop.split([' ', '[', ':']).next().unwrap_or_default().trim_end_matches('.').as_bytes();
        let ends = |suffix: &str| {
            let from = host.len().checked_sub(suffix.len());
            from.is_some_and(|from| host[from..].eq_ignore_ascii_case(suffix.as_bytes()))
        };
        self.suffixes.iter().find(|(suffix, _)| ends(suffix)).map(|(_, place)| *place)
    }

    /// The place of the first entry that fits a masked text.
    fn first(&self, masked: &[u8], provider: Option<u8>) -> Option<usize> {
        let fits = |entry: &Compiled| {
            (entry.provider.is_none() || entry.provider == provider) && entry.pattern.is_match(masked)
        };
        self.entries.iter().position(fits)
    }

    /// What the first entry that fits says of a masked text.
    fn find(&self, masked: &[u8], provider: Option<u8>) -> Judged {
        let found = self.first(masked, provider).and_then(|place| self.entries.get(place));
        found.map_or(Judged::UNKNOWN, |entry| entry.judged)
    }

    /// Has each engine get the memory that it works in, so that no reply pays for that.
    fn warm(&self) {
        for entry in &self.entries {
            entry.pattern.is_match(WARMING);
        }
    }
}

/// Text that most of a pattern has to be looked at for.
const WARMING: &[u8] =
    b"550 5.7.1 <x@a.example>: the message from 0.0.0.0 was not taken; see https://a.example/help?id=000000";

/// Appends a text without what differs from message to message: mail addresses, IP addresses, long numbers and ids. Patterns see nothing
/// else of it, so what is kept for one text holds for all that are masked alike.
fn mask(text: &[u8], out: &mut Vec<u8>) {
    let text = &text[..text.len().min(limits::CLASS_TEXT_MAX)];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        at += if length == 0 { mask_sign(rest, out) } else { mask_word(rest, length, out) };
    }
}

/// What a text begins with is no letter and no digit: bytes of it that are done with.
fn mask_sign(rest: &[u8], out: &mut Vec<u8>) -> usize {
    if rest[0] != b'@' {
        out.push(rest[0]);
        return 1;
    }
    let of_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-=!#$%&*/?^{|}~".contains(byte);
    let local = out.iter().rev().take_while(|byte| of_local(byte)).count();
    out.truncate(out.len() - local);
    out.extend_from_slice(b"x@");
    let of_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let domain = rest[1..].iter().take_while(|byte| of_domain(byte)).count();
    // A full stop behind an address ends the sentence.
    let stop = usize::from(domain > 0 && rest[domain] == b'.');
    if domain > stop {
        out.push(b'x');
    }
    1 + domain - stop
}

/// It begins with a word of this length: bytes of it that are done with.
fn mask_word(rest: &[u8], length: usize, out: &mut Vec<u8>) -> usize {
    let address = address(rest);
    if address > 0 {
        out.extend_from_slice(b"0.0.0.0");
        return address;
    }
    let word = &rest[..length];
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == length && length >= limits::CLASS_NUMBER_MASKED {
        out.extend_from_slice(b"000000");
    } else if digits > 0 && digits < length && length >= limits::CLASS_ID_MASKED {
        out.extend_from_slice(b"0000000000");
    } else {
        out.extend_from_slice(word);
        return length;
    }
    // Ids have parts: `39si2626666ywh.98`.
    let mut end = length;
    while rest.get(end).is_some_and(|byte| b"-._".contains(byte)) {
        let part = rest[end + 1..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if !rest[end + 1..][..part].iter().any(u8::is_ascii_digit) {
            break;
        }
        end += 1 + part;
    }
    end
}

/// Bytes of the IP address that it begins with.
fn address(text: &[u8]) -> usize {
    let dotted = dotted(text);
    if dotted > 0 {
        return dotted;
    }
    let of_address = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
    let length = text.iter().take(limits::CLASS_ADDRESS_MAX).take_while(|byte| of_address(byte)).count();
    // What ends in a colon has words behind it, as in `2001:db8::1: refused`.
    let length =
        if text[..length].ends_with(b":") && !text[..length].ends_with(b"::") { length - 1 } else { length };
    let parsed = str::from_utf8(&text[..length]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    if parsed.is_some() { length } else { 0 }
}

/// Bytes of the IPv4 address that it begins with.
fn dotted(text: &[u8]) -> usize {
    let mut length = 0;
    for part in 0..4 {
        if part > 0 {
            if text.get(length) != Some(&b'.') {
                return 0;
            }
            length += 1;
        }
        let digits = text[length..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) {
            return 0;
        }
        length += digits;
    }
    length
}

#[cfg(test)]
mod tests;
