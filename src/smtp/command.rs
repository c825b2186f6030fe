//! Commands of the client (RFC 5321 4.1.1), parsed without copying.

use std::borrow::Cow;
use std::time::Duration;

use crate::limits;
use crate::mail::address::{AddressError, Path, international};
use crate::mail::notify::{self, Asked, BadParameter, Notify, Ret};
use crate::mail::release::SendAt;

/// One command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO with the client's name, as it came.
    Ehlo(&'a [u8]),
    /// HELO with the client's name, as it came.
    Helo(&'a [u8]),
    /// MAIL FROM.
    Mail(Path<'a>, MailParameters<'a>),
    /// RCPT TO.
    Rcpt(Path<'a>, Asked<'a>),
    /// DATA
    Data,
    /// BDAT with the size of what follows, and whether the message ends with it (RFC 3030 section 2).
    Bdat(u64, bool),
    /// RSET
    Rset,
    /// NOOP
    Noop,
    /// VRFY
    Vrfy,
    /// EXPN
    Expn,
    /// HELP
    Help,
    /// QUIT
    Quit,
    /// STARTTLS (RFC 3207)
    StartTls,
    /// AUTH with mechanism and initial response (RFC 4954)
    Auth(&'a str, Option<&'a str>),
    /// XCLIENT with what a gateway says, as it came.
    XClient(&'a [u8]),
    /// One of PowerMTA's for mail merge.
    Merge(MergeCommand<'a>),
}

/// PowerMTA's commands for mail merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeCommand<'a> {
    /// XMRG FROM, in place of MAIL.
    From(Path<'a>, MailParameters<'a>),
    /// XDFN with what it defines, as it came.
    Define(&'a [u8]),
    /// XPRT with the number of a part, and whether it is the last.
    Part(u8, bool),
    /// XACK: whether RCPT and XDFN are acknowledged.
    Acknowledge(bool),
}

impl Command<'_> {
    /// Whether it brings a message nearer, or ends the session: others have their bound between two messages.
    pub fn brings_nearer(&self) -> bool {
        let of_merge = matches!(self, Command::Merge(MergeCommand::Define(..) | MergeCommand::Part(..)));
        of_merge || matches!(self, Command::Rcpt(..) | Command::Data | Command::Bdat(..) | Command::Quit)
    }
}

/// Parameters of MAIL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParameters<'a> {
    /// SIZE= (RFC 1870), bytes.
    pub size: Option<u64>,
    /// BODY=8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// BODY=BINARYMIME (RFC 3030 section 3)
    pub binary: bool,
    /// HOLDFOR= or HOLDUNTIL= (RFC 4865): when it is to go.
    pub hold: Option<SendAt>,
    /// RET= (RFC 3461 4.3)
    pub ret: Option<Ret>,
    /// ENVID= (RFC 3461 4.4), as it came.
    pub envid: Option<&'a [u8]>,
    /// REQUIRETLS (RFC 8689 section 4.1)
    pub require_tls: bool,
    /// SMTPUTF8 (RFC 6531 section 3.4)
    pub utf8: bool,
}

/// A line that is no command we can obey. Always the client's fault; `reply` has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No such verb.
    Unknown,
    /// The arguments are wrong.
    Arguments,
    /// A parameter we do not know (RFC 5321 4.1.1.11).
    Parameter,
    /// One that says what its sender wants to be told (RFC 3461) is wrong, or there twice.
    Notification(BadParameter),
    /// The reverse path is wrong.
    Sender(AddressError),
    /// The forward path is wrong.
    Recipient(AddressError),
    /// There is no EHLO or HELO name, or one that cannot be shown.
    Name,
    /// A BDAT does not say how many bytes follow.
    Portion,
}

/// Parses a line without its CRLF.
pub fn parse(line: &[u8]) -> Result<Command<'_>, CommandError> {
    let verb_end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (verb, rest) = line.split_at(verb_end);
    let rest = rest.trim_ascii();
    let bare = |command| if rest.is_empty() { Ok(command) } else { Err(CommandError::Arguments) };
    // The usual order of a transaction first.
    if verb.eq_ignore_ascii_case(b"MAIL") {
        parse_mail(rest)
    } else if verb.eq_ignore_ascii_case(b"RCPT") {
        parse_rcpt(rest)
    } else if verb.eq_ignore_ascii_case(b"DATA") {
        bare(Command::Data)
    } else if verb.eq_ignore_ascii_case(b"BDAT") {
        parse_bdat(rest)
    } else if verb.eq_ignore_ascii_case(b"EHLO") {
        parse_name(rest).map(Command::Ehlo)
    } else if verb.eq_ignore_ascii_case(b"HELO") {
        parse_name(rest).map(Command::Helo)
    } else if verb.eq_ignore_ascii_case(b"RSET") {
        bare(Command::Rset)
    } else if verb.eq_ignore_ascii_case(b"QUIT") {
        bare(Command::Quit)
    } else if verb.eq_ignore_ascii_case(b"NOOP") {
        Ok(Command::Noop)
    } else if verb.eq_ignore_ascii_case(b"STARTTLS") {
        bare(Command::StartTls)
    } else if verb.eq_ignore_ascii_case(b"AUTH") {
        parse_auth(rest)
    } else if verb.eq_ignore_ascii_case(b"VRFY") {
        if rest.is_empty() { Err(CommandError::Arguments) } else { Ok(Command::Vrfy) }
    } else if verb.eq_ignore_ascii_case(b"EXPN") {
        Ok(Command::Expn)
    } else if verb.eq_ignore_ascii_case(b"HELP") {
        Ok(Command::Help)
    } else if verb.eq_ignore_ascii_case(b"XCLIENT") {
        Ok(Command::XClient(rest))
    } else if let [b'X' | b'x', ..] = verb {
        parse_merge(verb, rest)
    } else {
        Err(CommandError::Unknown)
    }
}

/// XMRG, XDFN, XPRT and XACK.
#[cold]
fn parse_merge<'a>(verb: &[u8], rest: &'a [u8]) -> Result<Command<'a>, CommandError> {
    let command = if verb.eq_ignore_ascii_case(b"XDFN") {
        MergeCommand::Define(rest)
    } else if verb.eq_ignore_ascii_case(b"XPRT") {
        let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let number = words.next().and_then(octets).and_then(|number| u8::try_from(number).ok());
        let number = number.filter(|number| (1..=limits::MERGE_PARTS_MAX).contains(&usize::from(*number)));
        let last = words.next().map(|word| word.eq_ignore_ascii_case(b"LAST"));
        match (number, last, words.next()) {
            (Some(number), None | Some(true), None) => MergeCommand::Part(number, last.is_some()),
            _ => return Err(CommandError::Arguments),
        }
    } else if verb.eq_ignore_ascii_case(b"XACK") {
        match rest {
            _ if rest.eq_ignore_ascii_case(b"ON") => MergeCommand::Acknowledge(true),
            _ if rest.eq_ignore_ascii_case(b"OFF") => MergeCommand::Acknowledge(false),
            _ => return Err(CommandError::Arguments),
        }
    } else if verb.eq_ignore_ascii_case(b"XMRG") {
        // Whether return paths tell recipients apart is for the configuration to say.
        let end = rest.len().saturating_sub(5);
        let rest =
            if rest[end..].eq_ignore_ascii_case(b" VERP") { rest[..end].trim_ascii_end() } else { rest };
        match parse_mail(rest)? {
            Command::Mail(path, parameters) if !parameters.binary => MergeCommand::From(path, parameters),
            _ => return Err(CommandError::Arguments),
        }
    } else {
        return Err(CommandError::Unknown);
    };
    Ok(Command::Merge(command))
}

/// Whether a line that is no command is one of HTTP. Who sends such a line relays what somebody else wrote (a browser, a server that
/// fetches what it is told to), and somewhere behind it stands SMTP in the body.
pub fn is_http(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 8] =
        [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT"];
    let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let host = line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"Host:"));
    host || METHODS.iter().any(|method| verb.eq_ignore_ascii_case(method))
}

/// Whether a line that is no command was to be a RCPT.
pub fn is_recipient(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"RCPT "))
}

/// Whether a line that is no command was to be a MAIL.
pub fn is_mail(line: &[u8]) -> bool {
    let is = |verb: &[u8]| verb.eq_ignore_ascii_case(b"MAIL ") || verb.eq_ignore_ascii_case(b"XMRG ");
    line.get(..5).is_some_and(is)
}

/// Whether a line names or describes a recipient of a merge: XACK says whether it is acknowledged.
pub fn is_of_merge(line: &[u8]) -> bool {
    let is = |verb: &[u8]| verb.eq_ignore_ascii_case(b"RCPT") || verb.eq_ignore_ascii_case(b"XDFN");
    line.get(..4).is_some_and(is)
}

/// RFC 5321 4.1.1.1 wants a domain or a literal. Printers, Windows hosts and mail programs send what their owner called them, with blanks,
/// umlauts and more, and the name decides nothing: it is taken if it can be shown. What a Received field has no room for stands in a comment
/// there (`mail::trace`).
pub(super) fn parse_name(rest: &[u8]) -> Result<&[u8], CommandError> {
    let fits = !rest.is_empty() && rest.len() <= limits::DOMAIN_MAX;
    if fits && !rest.iter().any(u8::is_ascii_control) { Ok(rest) } else { Err(CommandError::Name) }
}

/// The name as text: UTF-8, else the Latin-1 of older hosts. What neither of them can show is replaced.
pub fn name_text(name: &[u8]) -> Cow<'_, str> {
    let shown =
        |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    match std::str::from_utf8(name) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        Ok(text) => text.chars().map(shown).collect(),
        Err(_) => name.iter().map(|byte| shown(char::from(*byte))).collect(),
    }
}

/// After `keyword:`; blanks around the colon are forgiven, as every large server does.
fn after_keyword<'a>(rest: &'a [u8], keyword: &[u8]) -> Result<&'a [u8], CommandError> {
    let (word, rest) = rest.split_at_checked(keyword.len()).ok_or(CommandError::Arguments)?;
    if !word.eq_ignore_ascii_case(keyword) {
        return Err(CommandError::Arguments);
    }
    let rest = rest.trim_ascii_start().strip_prefix(b":").ok_or(CommandError::Arguments)?;
    Ok(rest.trim_ascii_start())
}

fn parse_mail(rest: &[u8]) -> Result<Command<'_>, CommandError> {
    let rest = after_keyword(rest, b"FROM")?;
    let path = international::parse(rest, true).map_err(|error| sender_error(rest, error))?;
    // Of none there are two: which one counts nobody says.
    let (mut has_body, mut has_auth) = (false, false);
    let mut parameters = MailParameters::default();
    for word in parameters_of(rest, path.length)? {
        let (key, value) = split_parameter(word);
        if key.eq_ignore_ascii_case(b"SIZE") {
            let size = value.and_then(octets).filter(|_| parameters.size.is_none());
            parameters.size = Some(size.ok_or(CommandError::Arguments)?);
        } else if key.eq_ignore_ascii_case(b"BODY") && !std::mem::replace(&mut has_body, true) {
            match value {
                Some(value) if value.eq_ignore_ascii_case(b"8BITMIME") => parameters.eight_bit = true,
                Some(value) if value.eq_ignore_ascii_case(b"BINARYMIME") => parameters.binary = true,
                Some(value) if value.eq_ignore_ascii_case(b"7BIT") => {}
                _ => return Err(CommandError::Arguments),
            }
        } else if key.eq_ignore_ascii_case(b"HOLDFOR") || key.eq_ignore_ascii_case(b"HOLDUNTIL") {
            let hold = parse_hold(key.len() == 7, value).filter(|_| parameters.hold.is_none());
            parameters.hold = Some(hold.ok_or(CommandError::Arguments)?);
        } else if key.eq_ignore_ascii_case(b"RET") {
            let ret = value.and_then(Ret::parse).filter(|_| parameters.ret.is_none());
            parameters.ret = Some(ret.ok_or(CommandError::Notification(BadParameter::Ret))?);
        } else if key.eq_ignore_ascii_case(b"ENVID") {
            let is_envid = |value: &&[u8]| notify::parse_envid(value).is_some() && parameters.envid.is_none();
            let envid = value.filter(is_envid);
            parameters.envid = Some(envid.ok_or(CommandError::Notification(BadParameter::Envid))?);
        } else if key.eq_ignore_ascii_case(b"REQUIRETLS") && value.is_none() && !parameters.require_tls {
            parameters.require_tls = true;
        } else if key.eq_ignore_ascii_case(b"SMTPUTF8") && value.is_none() && !parameters.utf8 {
            parameters.utf8 = true;
        } else if key.eq_ignore_ascii_case(b"AUTH")
            && value.is_some()
            && !std::mem::replace(&mut has_auth, true)
        {
            // RFC 4954 section 5: accepted, and not passed on to servers we do not authenticate to.
        } else {
            return Err(CommandError::Parameter);
        }
    }
    if path.is_utf8 && !parameters.utf8 {
        return Err(CommandError::Sender(AddressError::NotAscii));
    }
    Ok(Command::Mail(path, parameters))
}

/// What is wrong with an address in UTF-8 matters to who says that it is to be one.
#[cold]
fn sender_error(rest: &[u8], error: AddressError) -> CommandError {
    let is_asked = || rest.split(|byte| *byte == b' ').any(|word| word.eq_ignore_ascii_case(b"SMTPUTF8"));
    CommandError::Sender(if error.is_of_utf8() && !is_asked() { AddressError::NotAscii } else { error })
}

/// A number of octets: up to 20 digits. That many may pass 64 bits; such a size is over every limit.
fn octets(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let digit = |sum: u64, byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    is_number.then(|| digits.iter().fold(0, digit))
}

/// RFC 3030 section 2: a size, and perhaps LAST.
fn parse_bdat(rest: &[u8]) -> Result<Command<'_>, CommandError> {
    let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let size = words.next().and_then(octets).ok_or(CommandError::Portion)?;
    match (words.next(), words.next()) {
        (None, _) => Ok(Command::Bdat(size, false)),
        (Some(last), None) if last.eq_ignore_ascii_case(b"LAST") => Ok(Command::Bdat(size, true)),
        _ => Err(CommandError::Portion),
    }
}

/// RFC 4865 section 4: up to nine digits of seconds, or a date-time; and one of them at most.
fn parse_hold(seconds: bool, value: Option<&[u8]>) -> Option<SendAt> {
    let text = std::str::from_utf8(value?).ok()?;
    if seconds {
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        return digits
            .then(|| text.parse().ok())
            .flatten()
            .map(|span| SendAt::After(Duration::from_secs(span)));
    }
    SendAt::parse(text).filter(|at| matches!(at, SendAt::At(_)))
}

fn parse_rcpt(rest: &[u8]) -> Result<Command<'_>, CommandError> {
    let rest = after_keyword(rest, b"TO")?;
    let path = international::parse(rest, false).map_err(CommandError::Recipient)?;
    let mut asked = Asked::default();
    for word in parameters_of(rest, path.length)? {
        let (key, value) = split_parameter(word);
        if key.eq_ignore_ascii_case(b"NOTIFY") {
            let notify = value.and_then(Notify::parse).filter(|_| asked.notify.is_unsaid());
            asked.notify = notify.ok_or(CommandError::Notification(BadParameter::Notify))?;
        } else if key.eq_ignore_ascii_case(b"ORCPT") {
            let original = value.filter(|value| {
                let is_one =
                    notify::is_original(value) || !value.is_ascii() && notify::is_original_in_utf8(value);
                is_one && asked.original.is_none()
            });
            asked.original = Some(original.ok_or(CommandError::Notification(BadParameter::Original))?);
        } else {
            return Err(CommandError::Parameter);
        }
    }
    Ok(Command::Rcpt(path, asked))
}

fn parameters_of(rest: &[u8], length: usize) -> Result<impl Iterator<Item = &[u8]>, CommandError> {
    let tail = &rest[length..];
    if !tail.is_empty() && tail[0] != b' ' {
        return Err(CommandError::Arguments);
    }
    Ok(tail.split(|byte| *byte == b' ').filter(|word| !word.is_empty()))
}

fn split_parameter(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    match word.iter().position(|byte| *byte == b'=') {
        Some(place) => (&word[..place], Some(&word[place + 1..])),
        None => (word, None),
    }
}

fn parse_auth(rest: &[u8]) -> Result<Command<'_>, CommandError> {
    let text = std::str::from_utf8(rest).map_err(|_| CommandError::Arguments)?;
    let mut words = text.split_ascii_whitespace();
    let mechanism = words.next().ok_or(CommandError::Arguments)?;
    let initial = words.next();
    if words.next().is_some() { Err(CommandError::Arguments) } else { Ok(Command::Auth(mechanism, initial)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that real clients give.
    #[test]
    fn names_are_shown_as_they_came() {
        for (name, text) in [
            (&b"Empfang Drucker"[..], "Empfang Drucker"),
            (b"win_host", "win_host"),
            (b"(none)", "(none)"),
            ("b\u{fc}ro.example".as_bytes(), "b\u{fc}ro.example"),
            (b"b\xfcro", "b\u{fc}ro"),
            (b"\x9b31m", "\u{fffd}31m"),
            ("\u{9b}31m".as_bytes(), "\u{fffd}31m"),
        ] {
            assert_eq!(parse(&[b"EHLO ", name, b" "].concat()), Ok(Command::Ehlo(name)));
            assert_eq!(name_text(name), text);
        }
    }

    #[test]
    fn commands() {
        assert_eq!(parse(b"ehlo me.example"), Ok(Command::Ehlo(b"me.example")));
        assert_eq!(parse(b"EHLO [127.0.0.1]"), Ok(Command::Ehlo(b"[127.0.0.1]")));
        assert_eq!(parse(b"DATA "), Ok(Command::Data));
        assert_eq!(parse(b"DATA x"), Err(CommandError::Arguments));
        let merge = |command| Ok(Command::Merge(command));
        assert_eq!(parse(b"xprt 2 last"), merge(MergeCommand::Part(2, true)));
        assert_eq!(parse(b"XPRT 64"), merge(MergeCommand::Part(64, false)));
        assert_eq!(parse(b"XACK Off "), merge(MergeCommand::Acknowledge(false)));
        assert_eq!(parse(b"XDFN a=\"b\" "), merge(MergeCommand::Define(b"a=\"b\"")));
        for line in ["XMRG FROM:<a@b>", "xmrg from: <a@b> verp", "XMRG FROM:<a@b> SIZE=7 VERP"] {
            let parsed = parse(line.as_bytes());
            assert!(
                matches!(parsed, Ok(Command::Merge(MergeCommand::From(path, _))) if path.address == b"a@b"),
                "{line}"
            );
        }
        for line in [
            "XPRT",
            "XPRT 0",
            "XPRT 65",
            "XPRT 1 FIRST",
            "XPRT 1 LAST x",
            "XPRT +1",
            "XACK",
            "XACK on off",
            "XMRG <a@b>",
            "XMRG FROM:<a@b> BODY=BINARYMIME",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(CommandError::Arguments), "{line}");
        }
        assert_eq!(parse(b"XFOO"), Err(CommandError::Unknown));
        assert_eq!(parse(b"EHLO"), Err(CommandError::Name));
        let long = [b"HELO ", &b"n".repeat(limits::DOMAIN_MAX)[..]].concat();
        assert!(matches!(parse(&long), Ok(Command::Helo(name)) if name.len() == limits::DOMAIN_MAX));
        assert_eq!(parse(&[&long[..], b"n"].concat()), Err(CommandError::Name));
        for control in (0..32).chain([127]) {
            assert_eq!(parse(&[b"EHLO a", &[control][..], b"b"].concat()), Err(CommandError::Name));
        }
        assert_eq!(parse(b"FROB"), Err(CommandError::Unknown));
        assert_eq!(parse(b"AUTH PLAIN AGEAYg=="), Ok(Command::Auth("PLAIN", Some("AGEAYg=="))));
        let Ok(Command::Mail(path, parameters)) = parse(b"MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME") else {
            panic!()
        };
        assert_eq!(path.address, b"a@b");
        assert_eq!(
            parameters,
            MailParameters { size: Some(10), eight_bit: true, ..MailParameters::default() }
        );
        assert!(matches!(parse(b"MAIL FROM: <a@b>"), Ok(Command::Mail(..))));
        assert_eq!(parse(b"MAIL FROM:<a@b> FOO=1"), Err(CommandError::Parameter));
        assert_eq!(parse(b"MAIL FROM:<a@b> SIZE=x"), Err(CommandError::Arguments));
        assert_eq!(parse(b"MAIL FROM:<a@b> SIZE=1 size=1"), Err(CommandError::Arguments));
        for twice in ["BODY=7BIT BODY=8BITMIME", "AUTH=<> AUTH=<>"] {
            assert_eq!(parse(format!("MAIL FROM:<a@b> {twice}").as_bytes()), Err(CommandError::Parameter));
        }
        assert_eq!(parse(b"MAIL FROM:<a@b>SIZE=1"), Err(CommandError::Arguments));
        assert_eq!(parse(b"RCPT TO:<a@b> FOO=1"), Err(CommandError::Parameter));
        let none = Asked::default();
        assert!(matches!(parse(b"rcpt to:<Postmaster>"), Ok(Command::Rcpt(_, asked)) if asked == none));
    }

    /// RFC 3030 section 2. A size that cannot be understood is none, and what would follow cannot be told from commands.
    #[test]
    fn bdat_says_how_much_follows() {
        assert_eq!(parse(b"BDAT 0"), Ok(Command::Bdat(0, false)));
        assert_eq!(parse(b"bdat 86 last "), Ok(Command::Bdat(86, true)));
        assert_eq!(parse(b"BDAT 18446744073709551615"), Ok(Command::Bdat(u64::MAX, false)));
        for absurd in ["18446744073709551616", "99999999999999999999"] {
            assert_eq!(parse(format!("BDAT {absurd} LAST").as_bytes()), Ok(Command::Bdat(u64::MAX, true)));
            let mail = format!("MAIL FROM:<a@b> SIZE={absurd}");
            let Ok(Command::Mail(_, parameters)) = parse(mail.as_bytes()) else { panic!("{absurd}") };
            assert_eq!(parameters.size, Some(u64::MAX));
        }
        for bad in [
            "",
            " ",
            " LAST",
            " -1",
            " +1",
            " 0x10",
            " 1.5",
            " 1 LAS",
            " 1 LAST LAST",
            " 1\tLAST",
            " 100000000000000000000",
        ] {
            assert_eq!(parse(format!("BDAT{bad}").as_bytes()), Err(CommandError::Portion), "{bad:?}");
        }
    }

    /// RFC 3461 4.3 and 4.4: each once, and as it should be.
    #[test]
    fn mail_says_what_is_returned_and_what_it_is_called() {
        let Ok(Command::Mail(_, parameters)) = parse(b"MAIL FROM:<a@b> ret=hdrs ENVID=Q+2B1 SIZE=1") else {
            panic!()
        };
        assert_eq!((parameters.ret, parameters.envid), (Some(Ret::Headers), Some(&b"Q+2B1"[..])));
        let bad = |text: &str| match parse(format!("MAIL FROM:<a@b> {text}").as_bytes()) {
            Err(CommandError::Notification(bad)) => Some(bad),
            _ => None,
        };
        for text in ["RET", "RET=", "RET=ALL", "RET=FULL RET=FULL", "RET=FULL RET=HDRS"] {
            assert_eq!(bad(text), Some(BadParameter::Ret), "{text}");
        }
        let long = format!("ENVID={}", "x".repeat(limits::ENVID_MAX + 1));
        for text in ["ENVID", "ENVID=", "ENVID=a=b", "ENVID=+0A", "ENVID=+2b", "ENVID=a ENVID=a", &long] {
            assert_eq!(bad(text), Some(BadParameter::Envid), "{text}");
        }
        assert_eq!(parse(b"MAIL FROM:<a@b> NOTIFY=NEVER"), Err(CommandError::Parameter));
    }

    /// RFC 8689 section 4.1: it has no value, and stands there once.
    #[test]
    fn mail_may_require_tls() {
        let requires = |text: &str| match parse(format!("MAIL FROM:<a@b>{text}").as_bytes()) {
            Ok(Command::Mail(_, parameters)) => Some(parameters.require_tls),
            _ => None,
        };
        assert_eq!((requires(""), requires(" SIZE=1 RequireTls")), (Some(false), Some(true)));
        for bad in [" REQUIRETLS=", " REQUIRETLS=1", " REQUIRETLS REQUIRETLS", " REQUIRETL"] {
            assert_eq!(requires(bad), None, "{bad}");
        }
        assert_eq!(parse(b"RCPT TO:<a@b> REQUIRETLS"), Err(CommandError::Parameter));
    }

    /// RFC 6531 section 3.4: it has no value, and stands there once; without it an address is ASCII.
    #[test]
    fn mail_may_be_in_utf8() {
        let sender = |line: &[u8]| match parse(&[b"MAIL FROM:", line].concat()) {
            Ok(Command::Mail(path, parameters)) => Ok((path.is_utf8, parameters.utf8)),
            Err(error) => Err(error),
            Ok(other) => panic!("{other:?}"),
        };
        let wrong = |error| Err(CommandError::Sender(error));
        assert_eq!(sender(b"<a@b> SMTPUTF8"), Ok((false, true)));
        assert_eq!(sender("<\u{fc}@b\u{fc}.example> SIZE=1 smtputf8".as_bytes()), Ok((true, true)));
        assert_eq!(sender("<\u{fc}@b> SIZE=1".as_bytes()), wrong(AddressError::NotAscii));
        for (line, error) in
            [(&b"<\xfc@b>"[..], AddressError::NotUtf8), (b"<a@b\xcd\xb8.example>", AddressError::Labels)]
        {
            assert_eq!(sender(line), wrong(AddressError::NotAscii), "nobody said SMTPUTF8");
            assert_eq!(sender(&[line, b" SMTPUTF8"].concat()), wrong(error));
        }
        for bad in ["SMTPUTF8=", "SMTPUTF8=1", "SMTPUTF8 SMTPUTF8", "SMTPUTF"] {
            assert_eq!(sender(format!("<a@b> {bad}").as_bytes()), Err(CommandError::Parameter), "{bad}");
        }
        let line = "RCPT TO:<\u{fc}@b> ORCPT=utf-8;\u{fc}@b".as_bytes();
        assert!(matches!(parse(line), Ok(Command::Rcpt(path, asked)) if path.is_utf8 && asked.is_utf8()));
        assert_eq!(parse(b"RCPT TO:<a@b> SMTPUTF8"), Err(CommandError::Parameter));
    }

    /// RFC 3461 4.1 and 4.2: each once, and as it should be.
    #[test]
    fn rcpt_says_of_what_the_sender_is_told() {
        let line = b"RCPT TO:<a@b> ORCPT=rfc822;Bob+2B@b NOTIFY=delay,SUCCESS";
        let Ok(Command::Rcpt(path, asked)) = parse(line) else { panic!() };
        assert_eq!((path.address, asked.original), (&b"a@b"[..], Some(&b"rfc822;Bob+2B@b"[..])));
        assert!(asked.notify.wants_success() && asked.notify.wants_delay() && !asked.notify.wants_failure());
        let bad = |text: &str| match parse(format!("RCPT TO:<a@b> {text}").as_bytes()) {
            Err(CommandError::Notification(bad)) => Some(bad),
            _ => None,
        };
        for text in ["NOTIFY", "NOTIFY=", "NOTIFY=NEVER,DELAY", "NOTIFY=x", "NOTIFY=DELAY NOTIFY=DELAY"] {
            assert_eq!(bad(text), Some(BadParameter::Notify), "{text}");
        }
        let long = format!("ORCPT=rfc822;{}", "x".repeat(limits::ORCPT_MAX));
        for text in ["ORCPT", "ORCPT=", "ORCPT=a@b", "ORCPT=rfc822;+0A", "ORCPT=x;a ORCPT=x;a", &long] {
            assert_eq!(bad(text), Some(BadParameter::Original), "{text}");
        }
        assert_eq!(parse(b"RCPT TO:<a@b> RET=FULL"), Err(CommandError::Parameter));
    }
}
