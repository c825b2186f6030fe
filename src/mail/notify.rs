//! What a sender wants to be told of its message: RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT (RFC 3461 section 4). Read here as they come,
//! and written as they go on to the next hop, or into a report.

use crate::limits;

/// How much of a message a report of its failure gives back (RFC 3461 4.3). The numbers are those of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ret {
    /// All of it.
    Full = 1,
    /// Its header section.
    Headers = 2,
}

impl Ret {
    /// As MAIL has it.
    pub fn word(self) -> &'static str {
        match self {
            Ret::Full => "FULL",
            Ret::Headers => "HDRS",
        }
    }

    /// The one that a client names.
    pub fn parse(word: &[u8]) -> Option<Ret> {
        [Ret::Full, Ret::Headers].into_iter().find(|ret| word.eq_ignore_ascii_case(ret.word().as_bytes()))
    }

    /// The one with this number in a record.
    pub fn of_number(number: u8) -> Option<Ret> {
        [Ret::Full, Ret::Headers].into_iter().find(|ret| *ret as u8 == number)
    }
}

/// Of which ends of a recipient its sender is to be told (RFC 3461 4.1). The bits are those of the spool; none: it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify(u8);

impl Notify {
    /// Of none.
    pub const NEVER: Notify = Notify(1);
    /// That it was delivered, or went on to where nobody would tell of it.
    pub const SUCCESS: Notify = Notify(2);
    /// That it could not be delivered.
    pub const FAILURE: Notify = Notify(4);
    /// That it takes long.
    pub const DELAY: Notify = Notify(8);

    const WORDS: [(&'static str, Notify); 3] =
        [("SUCCESS", Notify::SUCCESS), ("FAILURE", Notify::FAILURE), ("DELAY", Notify::DELAY)];

    /// As a client has it: NEVER alone, or a list of the others in any order.
    pub fn parse(value: &[u8]) -> Option<Notify> {
        if value.eq_ignore_ascii_case(b"NEVER") {
            return Some(Notify::NEVER);
        }
        value.split(|byte| *byte == b',').try_fold(Notify(0), |all, word| {
            let known = Notify::WORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
            known.map(|(_, one)| Notify(all.0 | one.0))
        })
    }

    /// The one of a record. None: no version of ours wrote that.
    pub fn of_bits(bits: u8) -> Option<Notify> {
        (bits < 2 || (bits < 16 && bits & 1 == 0)).then_some(Notify(bits))
    }

    /// Its number in a record.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether the client said nothing.
    pub fn is_unsaid(self) -> bool {
        self == Notify::default()
    }

    /// Whether the sender is told that it was delivered: only where it asked for that.
    pub fn wants_success(self) -> bool {
        self.has(Notify::SUCCESS)
    }

    /// Whether it is told of a failure: also where it did not say (RFC 3461 5.2.2 f).
    pub fn wants_failure(self) -> bool {
        self.is_unsaid() || self.has(Notify::FAILURE)
    }

    /// The same of a delay. Where it did not say, the operator does.
    pub fn wants_delay(self) -> bool {
        self.is_unsaid() || self.has(Notify::DELAY)
    }

    /// What is heeded of one that a stranger brings, in whose name anybody may send: that it be told of failures, or of nothing.
    pub fn of_stranger(self) -> Notify {
        match self {
            _ if self.is_unsaid() => self,
            _ if self.has(Notify::FAILURE) => Notify::FAILURE,
            _ => Notify::NEVER,
        }
    }

    fn has(self, one: Notify) -> bool {
        self.0 & one.0 != 0
    }

    /// As RCPT has it.
    pub fn write(self, out: &mut Vec<u8>) {
        let mut words = Notify::WORDS.iter().filter(|(_, one)| self.has(*one)).map(|(word, _)| *word);
        out.extend_from_slice(words.next().unwrap_or("NEVER").as_bytes());
        for word in words {
            out.push(b',');
            out.extend_from_slice(word.as_bytes());
        }
    }
}

/// What RCPT says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// NOTIFY
    pub notify: Notify,
    /// ORCPT as it came: the address that the sender knows it by, `type;xtext`.
    pub original: Option<&'a [u8]>,
}

impl Asked<'_> {
    /// Whether its ORCPT has letters beyond ASCII, as only a client that said SMTPUTF8 may send them.
    pub fn is_utf8(&self) -> bool {
        self.original.is_some_and(|original| !original.is_ascii())
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        let Asked { notify, original } = self;
        notify.is_unsaid() && original.is_none()
    }
}

/// What MAIL or RCPT says of it and cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadParameter {
    /// RET
    Ret,
    /// ENVID
    Envid,
    /// NOTIFY
    Notify,
    /// ORCPT
    Original,
}

/// The bytes that xtext stands for (RFC 3461 section 4): a `+` comes before two digits, of 16 and upper case, and `=` is not there. None: it is none.
pub fn unquote(xtext: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(xtext.len());
    let mut rest = xtext.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => digit(*rest.next()?)? << 4 | digit(*rest.next()?)?,
            b'=' => return None,
            b'!'..=b'~' => *byte,
            _ => return None,
        });
    }
    Some(bytes)
}

/// The other way round.
pub fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'+' | b'=') => out.push(*byte),
            _ => out.extend_from_slice(&[b'+', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

/// Printable ASCII: what fields of a report may have in them (RFC 3461 4.2 and 4.4).
fn is_printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The sender's name of its message that ENVID has. None: it is none (RFC 3461 4.4).
pub fn parse_envid(value: &[u8]) -> Option<String> {
    let fits = (1..=limits::ENVID_MAX).contains(&value.len());
    let bytes = unquote(value).filter(|bytes| fits && is_printable(bytes))?;
    String::from_utf8(bytes).ok()
}

/// As MAIL has a sender's name of its message, wherever that came from. None: it has no room for this one.
pub fn quote_envid(envid: &str) -> Option<Vec<u8>> {
    if envid.is_empty() || !is_printable(envid.as_bytes()) {
        return None;
    }
    let mut quoted = Vec::with_capacity(envid.len() + 8);
    quote(envid.as_bytes(), &mut quoted);
    (quoted.len() <= limits::ENVID_MAX).then_some(quoted)
}

/// Whether a value is one of ORCPT (RFC 3461 4.2, RFC 6533 section 3): it goes on as it is, and its address stands in reports.
pub fn is_original(value: &[u8]) -> bool {
    let Some((kind, address)) = split_original(value) else { return false };
    let is_atom = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~".contains(byte);
    let readable = |bytes: Vec<u8>| {
        is_printable(&bytes)
            || (is_utf8_type(kind)
                && std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains(char::is_control)))
    };
    value.len() <= limits::ORCPT_MAX
        && !kind.is_empty()
        && kind.iter().all(is_atom)
        && !address.is_empty()
        && unquote(address).is_some_and(readable)
}

/// The same for one that may come in UTF-8, as it does where SMTPUTF8 was said: it is one when [`in_ascii`] makes it one.
pub fn is_original_in_utf8(value: &[u8]) -> bool {
    let is_text = |text: &str| !text.contains(char::is_control);
    value.len() <= limits::ORCPT_MAX
        && std::str::from_utf8(value).is_ok_and(is_text)
        && split_original(value).is_some_and(|(kind, _)| is_utf8_type(kind))
        && is_original(&in_ascii(value))
}

/// The form of such an ORCPT that goes anywhere (`utf-8-addr-xtext`). One in ASCII stays as it is.
pub fn in_ascii(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for character in String::from_utf8_lossy(value).chars() {
        write_ascii(character, character.is_ascii(), &mut out);
    }
    out
}

/// A character as it is, or as `\x{E9}`.
fn write_ascii(character: char, as_it_is: bool, out: &mut Vec<u8>) {
    if as_it_is {
        out.push(character as u8);
    } else {
        out.extend_from_slice(format!("\\x{{{:02X}}}", u32::from(character)).as_bytes());
    }
}

fn split_original(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b';', value)?;
    Some((&value[..at], &value[at + 1..]))
}

fn is_utf8_type(kind: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(b"utf-8")
}

/// The value of Original-Recipient that an ORCPT gives, `type; address` (RFC 3464 2.3.1). In a report that is ASCII the address of one of the type
/// `utf-8` is in its form for that (RFC 6533 section 3, `utf-8-addr-xtext`); in one that is in UTF-8 it is what it is (RFC 6533 4.1).
pub fn write_original(value: &[u8], in_utf8: bool, out: &mut Vec<u8>) {
    let Some((kind, address)) = split_original(value) else { return };
    let address = unquote(address).unwrap_or_default();
    out.extend_from_slice(kind);
    // On a line of its own where its form for ASCII may be long (RFC 5322 2.1.1).
    out.extend_from_slice(if is_utf8_type(kind) && value.len() > 128 { b";\r\n " } else { b"; " });
    if !is_utf8_type(kind) {
        out.extend(address.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'?' }));
        return;
    }
    let text = String::from_utf8_lossy(&address);
    if in_utf8 && let Some(text) = unembedded(&text) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut rest = &*text;
    while let Some(next) = rest.chars().next() {
        // What is in that form already stays in it.
        let length = embedded(rest).unwrap_or(0);
        if length > 0 {
            out.extend_from_slice(&rest.as_bytes()[..length]);
        } else {
            let plain = matches!(next, '!'..='~') && !matches!(next, '+' | '=' | '\\');
            write_ascii(next, plain, out);
        }
        rest = &rest[if length > 0 { length } else { next.len_utf8() }..];
    }
}

/// An address as it is, without that form. None: it is none then, and stays in it.
fn unembedded(text: &str) -> Option<String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(next) = rest.chars().next() {
        let (character, length) = match embedded(rest) {
            Some(length) => {
                let number = u32::from_str_radix(&rest[3..length - 1], 16).ok()?;
                (char::from_u32(number)?, length)
            }
            None => (next, next.len_utf8()),
        };
        out.push(character);
        rest = &rest[length..];
    }
    let is_address = out.contains('@') && !out.contains(|letter: char| letter.is_control() || letter == ' ');
    is_address.then_some(out)
}

/// Bytes of a character in the form `\x{E9}` that a text begins with.
fn embedded(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\\x{")?;
    let end = inner.bytes().take(7).position(|byte| byte == b'}').filter(|end| (2..=6).contains(end))?;
    let is_hex = inner[..end].bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
    is_hex.then_some("\\x{}".len() + end)
}

/// What a sender wants to be told of a message: in an envelope beside its parameters. Nearly all mail has none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// RET
    pub ret: Option<Ret>,
    /// ORCPT of those recipients that have one, as it came: [`Recipient::original`](super::envelope::Recipient::original) says whose which is.
    pub originals: Vec<Box<[u8]>>,
}

impl Reports {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        let Reports { ret, originals } = self;
        ret.is_none() && originals.is_empty()
    }

    /// The ORCPT of this number; 0: there is none.
    pub fn original(&self, number: u16) -> Option<&[u8]> {
        self.originals.get(usize::from(number).checked_sub(1)?).map(|original| &**original)
    }

    /// Bytes of memory for another ORCPT.
    pub fn held_by(original: &[u8]) -> usize {
        size_of::<Box<[u8]>>() + limits::ALLOCATED + original.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3461 section 4.
    #[test]
    fn xtext_is_read_and_written() {
        for (xtext, bytes) in [
            (&b"abc"[..], &b"abc"[..]),
            (b"a+2Bb+3Dc", b"a+b=c"),
            (b"+20", b" "),
            (b"+C3+A9", "\u{e9}".as_bytes()),
            (b"", b""),
        ] {
            assert_eq!(unquote(xtext).as_deref(), Some(bytes));
            let mut out = Vec::new();
            quote(bytes, &mut out);
            assert_eq!(out, xtext);
        }
        for wrong in [&b"a=b"[..], b"a b", b"+2b", b"+2", b"+", b"+G0", b"\x7f", b"\xc3\xa9", b"a\tb"] {
            assert_eq!(unquote(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    /// RFC 3461 4.1: NEVER stands alone, the others in any order.
    #[test]
    fn notify_is_a_list_or_never() {
        for (value, written) in [
            ("NEVER", "NEVER"),
            ("never", "NEVER"),
            ("SUCCESS", "SUCCESS"),
            ("delay,Failure", "FAILURE,DELAY"),
            ("SUCCESS,FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"),
        ] {
            let notify = Notify::parse(value.as_bytes()).unwrap();
            let mut out = Vec::new();
            notify.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), written);
            assert_eq!(Notify::of_bits(notify.bits()), Some(notify));
        }
        for wrong in ["", "NEVER,DELAY", "SUCCESS,NEVER", "SUCCESS,", ",", "ALWAYS", "SUCCESS DELAY"] {
            assert_eq!(Notify::parse(wrong.as_bytes()), None, "{wrong}");
        }
        for bits in 0..=u8::MAX {
            let known = bits < 2 || (bits < 16 && bits & 1 == 0);
            assert_eq!(Notify::of_bits(bits).is_some(), known, "{bits}");
        }
        let wants = |notify: Notify| (notify.wants_success(), notify.wants_failure(), notify.wants_delay());
        assert_eq!(wants(Notify::default()), (false, true, true));
        assert_eq!(wants(Notify::NEVER), (false, false, false));
        assert_eq!(wants(Notify::SUCCESS), (true, false, false));
        assert_eq!(wants(Notify::parse(b"FAILURE,DELAY").unwrap()), (false, true, true));
    }

    /// RFC 3461 4.3
    #[test]
    fn ret_is_one_of_two() {
        assert_eq!((Ret::parse(b"full"), Ret::parse(b"HDRS")), (Some(Ret::Full), Some(Ret::Headers)));
        assert_eq!((Ret::parse(b""), Ret::parse(b"HEADERS")), (None, None));
        assert_eq!([0, 1, 2, 3].map(Ret::of_number), [None, Some(Ret::Full), Some(Ret::Headers), None]);
    }

    /// RFC 3461 4.4: at most 100 bytes of xtext, of printable characters.
    #[test]
    fn an_envid_is_printable_and_short() {
        assert_eq!(parse_envid(b"Q+20a+2B").as_deref(), Some("Q a+"));
        assert_eq!(parse_envid(&[b'x'; 100]).map(|envid| envid.len()), Some(100));
        for wrong in [&[b'x'; 101][..], b"", b"+0D+0A", b"+7F", b"+C3+A9", b"a=b"] {
            assert_eq!(parse_envid(wrong), None, "{}", wrong.escape_ascii());
        }
        assert_eq!(quote_envid("Q a+").as_deref(), Some(&b"Q+20a+2B"[..]));
        let (fits, long) = ("x".repeat(100), " ".repeat(34));
        assert_eq!(quote_envid(&fits).map(|quoted| quoted.len()), Some(100));
        for none in ["", &long, "\u{e9}", "a\tb"] {
            assert_eq!(quote_envid(none), None, "{none}");
        }
    }

    /// RFC 3461 4.2: a type, a semicolon and an address of printable characters; RFC 6533 section 3 for the type `utf-8`.
    #[test]
    fn an_original_recipient_has_a_type() {
        for (value, field) in [
            ("rfc822;Bob@b.example", "rfc822; Bob@b.example"),
            ("RFC822;a+2Bb@b.example", "RFC822; a+b@b.example"),
            ("x-news;a+20b", "x-news; a b"),
            ("utf-8;u\\x{E9}@b.example", "utf-8; u\\x{E9}@b.example"),
            ("utf-8;u+C3+A9@b.example", "utf-8; u\\x{E9}@b.example"),
            ("utf-8;a+2B\\b@\\x{}", "utf-8; a\\x{2B}\\x{5C}b@\\x{5C}x{}"),
        ] {
            assert!(is_original(value.as_bytes()), "{value}");
            let mut out = Vec::new();
            write_original(value.as_bytes(), false, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), field);
        }
        for (value, field) in [
            ("utf-8;u\\x{E9}@b.example", "utf-8; u\u{e9}@b.example"),
            ("utf-8;u+C3+A9@b.example", "utf-8; u\u{e9}@b.example"),
            ("utf-8;a\\x{A}b@b.example", "utf-8; a\\x{A}b@b.example"),
            ("utf-8;a\\x{0A}b@b.example", "utf-8; a\\x{0A}b@b.example"),
            ("utf-8;a\\x{D800}@b.example", "utf-8; a\\x{D800}@b.example"),
            ("rfc822;a@b.example", "rfc822; a@b.example"),
        ] {
            let mut out = Vec::new();
            write_original(value.as_bytes(), true, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), field, "{value}");
        }
        for (value, kept) in [
            ("utf-8;u\u{e9}@b.example", "utf-8;u\\x{E9}@b.example"),
            ("UTF-8;\u{1f600}@b.example", "UTF-8;\\x{1F600}@b.example"),
            ("utf-8;a@b.example", "utf-8;a@b.example"),
        ] {
            assert!(is_original_in_utf8(value.as_bytes()), "{value}");
            assert_eq!(String::from_utf8(in_ascii(value.as_bytes())).unwrap(), kept);
            assert!(is_original(kept.as_bytes()));
        }
        for wrong in
            ["rfc822;\u{e9}@b", "utf-8;\u{e9}=b", "utf-8;\u{e9} b", "utf-8;\u{85}", "\u{e9}", "utf-8;"]
        {
            assert!(!is_original_in_utf8(wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_original_in_utf8(b"utf-8;\xe9@b"));
        let grows = format!("utf-8;{}", "\u{e9}".repeat(limits::ORCPT_MAX / 4));
        assert!(grows.len() <= limits::ORCPT_MAX && !is_original_in_utf8(grows.as_bytes()));
        let wide = format!("utf-8;{}", "+2B".repeat((limits::ORCPT_MAX - 6) / 3));
        let mut out = Vec::new();
        write_original(wide.as_bytes(), false, &mut out);
        assert!(
            is_original(wide.as_bytes()) && out.split(|byte| *byte == b'\n').all(|line| line.len() <= 998)
        );
        let long = format!("rfc822;{}", "x".repeat(limits::ORCPT_MAX - 7));
        assert!(is_original(long.as_bytes()) && !is_original(format!("{long}x").as_bytes()));
        for wrong in
            ["", "rfc822", "rfc822;", ";a@b", "rfc 822;a@b", "rfc822;a+0D+0Ab", "rfc822;+C3+A9", "rfc822;a=b"]
        {
            assert!(!is_original(wrong.as_bytes()), "{wrong}");
        }
        for wrong in ["utf-8;+C3", "utf-8;+C2+85", "utf-8;\u{e9}"] {
            assert!(!is_original(wrong.as_bytes()), "{wrong}");
        }
    }
}
