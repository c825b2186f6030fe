//! What a next hop offers.

use std::fmt;

use crate::mail::envelope::{Needs, TlsWish};
use crate::mail::handover;
use crate::smtp::client::auth::Mechanisms;
use crate::smtp::client::local::local;
use crate::smtp::reply::Reply;

/// What a next hop offers: those of its last EHLO, none after a HELO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920
    pub pipelining: bool,
    /// RFC 6152
    pub eight_bit: bool,
    /// RFC 3207
    pub starttls: bool,
    /// RFC 3461
    pub dsn: bool,
    /// RFC 8689
    pub require_tls: bool,
    /// RFC 6531
    pub utf8: bool,
    /// XRELEVO: it takes what is said of mail that is handed over, in the version that is written here.
    pub handover: bool,
    /// The host has proven who it is.
    pub proven: bool,
    /// RFC 4954
    pub auth: Mechanisms,
    /// RFC 1870: announced, with a bound unless it is 0.
    pub size: Option<u64>,
    /// RFC 9422 RCPTMAX: recipients of one transaction.
    pub recipients_max: Option<u32>,
    /// RFC 9422 MAILMAX: transactions of one session.
    pub messages_max: Option<u32>,
}

impl Capabilities {
    /// Reads the EHLO reply; what is unknown is ignored (RFC 5321 4.1.1.1).
    pub fn of_ehlo(reply: &Reply) -> Capabilities {
        let mut capabilities = Capabilities::default();
        // The first line is the greeting and its name.
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split(' ');
            let keyword = words.next().unwrap_or_default();
            if keyword.eq_ignore_ascii_case("PIPELINING") {
                capabilities.pipelining = true;
            } else if keyword.eq_ignore_ascii_case("8BITMIME") {
                capabilities.eight_bit = true;
            } else if keyword.eq_ignore_ascii_case("DSN") {
                capabilities.dsn = true;
            } else if keyword.eq_ignore_ascii_case("SMTPUTF8") {
                capabilities.utf8 = true;
            } else if keyword.eq_ignore_ascii_case("REQUIRETLS") {
                capabilities.require_tls = true;
            } else if keyword.eq_ignore_ascii_case(handover::KEYWORD) {
                capabilities.handover = words.any(|word| word.parse() == Ok(handover::VERSION));
            } else if keyword.eq_ignore_ascii_case("STARTTLS") {
                capabilities.starttls = true;
            } else if keyword.eq_ignore_ascii_case("SIZE") {
                capabilities.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0));
            } else if keyword.eq_ignore_ascii_case("AUTH") || is_auth_of_old(keyword) {
                capabilities.auth.offer();
                keyword.split('=').skip(1).chain(words).for_each(|word| capabilities.auth.add(word));
            } else if keyword.eq_ignore_ascii_case("LIMITS") {
                words.for_each(|word| capabilities.limit(word));
            }
        }
        capabilities
    }

    /// What a message needs that is not offered. None: it can go there as it is.
    pub fn missing(&self, needs: &Needs) -> Option<MissingExtension> {
        let Needs { eight_bit, tls, utf8 } = needs;
        if *tls == TlsWish::Required && !(self.require_tls && self.proven) {
            return Some(MissingExtension::RequireTls);
        }
        if utf8.is_needed() && !self.utf8 {
            return Some(MissingExtension::Utf8);
        }
        (*eight_bit && !self.eight_bit).then_some(MissingExtension::EightBit)
    }

    /// Whether it was told HELO, or might as well have been.
    pub fn are_none(&self) -> bool {
        let Capabilities { proven, .. } = *self;
        *self == Capabilities { proven, ..Capabilities::default() }
    }

    /// One `NAME=value` of LIMITS; what is unknown or no number is ignored (RFC 9422 section 4).
    fn limit(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        let Some(value) = value.parse().ok().filter(|value| *value > 0) else { return };
        if name.eq_ignore_ascii_case("RCPTMAX") {
            self.recipients_max = Some(value);
        } else if name.eq_ignore_ascii_case("MAILMAX") {
            self.messages_max = Some(value);
        }
    }
}

/// `AUTH=LOGIN`, as hosts write it for clients from before RFC 2554.
fn is_auth_of_old(keyword: &str) -> bool {
    keyword.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("AUTH="))
}

/// What a message needs and a hop does not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingExtension {
    /// RFC 6152 section 3: convert or bounce.
    EightBit,
    /// RFC 8689 section 4.2.1: no other way.
    RequireTls,
    /// RFC 6531 section 3.2: nothing of it may be said there.
    Utf8,
}

impl MissingExtension {
    /// What its recipients are told, and with what behind it.
    pub fn reply(self, for_good: bool, behind: &str) -> Reply {
        let (code, class) = if for_good { (554, 5) } else { (451, 4) };
        // RFC 3463 3.7
        let (subject, detail) = match self {
            MissingExtension::EightBit => (6, 3),
            // RFC 8689 section 8
            MissingExtension::RequireTls => (7, 30),
            // RFC 6531 section 3.5
            MissingExtension::Utf8 => (6, 7),
        };
        local(code, (class, subject, detail), &format!("the next hop {self}{behind}"))
    }
}

/// What such a hop does.
impl fmt::Display for MissingExtension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            MissingExtension::EightBit => "takes no 8-bit text (no 8BITMIME)",
            MissingExtension::Utf8 => {
                "takes no addresses and no header fields in UTF-8 (no SMTPUTF8), which the message has"
            }
            MissingExtension::RequireTls => {
                "has not proven who it is, or does not ask the next host for that (no REQUIRETLS), which the sender requires"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::mail::envelope::Utf8;
    use crate::smtp::client::{Body, Transaction};

    /// RFC 6531 3.2: what is in UTF-8 goes to who takes that, and what is not goes to anybody.
    #[test]
    fn what_is_in_utf8_goes_to_who_takes_that() {
        let mut utf8 = Utf8::OF_CLIENT;
        let missing = |offered, utf8| {
            let capabilities = Capabilities { utf8: offered, ..Capabilities::default() };
            capabilities.missing(&Needs { utf8, ..Needs::default() })
        };
        assert_eq!((missing(false, utf8), missing(true, utf8)), (None, None));
        utf8.settle(true);
        assert_eq!((missing(false, utf8), missing(true, utf8)), (Some(MissingExtension::Utf8), None));
        let reply = MissingExtension::Utf8.reply(true, "");
        assert_eq!((reply.code, reply.status()), (554, "5.6.7".into()));
        let lines = vec!["mx.example".to_owned(), "smtputf8 X".to_owned()];
        assert!(Capabilities::of_ehlo(&Reply { lines, ..local(250, (2, 0, 0), "ok") }).utf8);
    }

    /// A relay of another version is sent mail as any other is.
    #[test]
    fn mail_is_handed_over_to_who_takes_this_version() {
        let offered = |line: &str| {
            let lines = vec!["mx.example".to_owned(), line.to_owned()];
            Capabilities::of_ehlo(&Reply { lines, ..local(250, (2, 0, 0), "ok") }).handover
        };
        assert!(offered("XRELEVO 1") && offered("xrelevo 2 1"));
        assert!(!offered("XRELEVO") && !offered("XRELEVO 2") && !offered("XRELEVOS 1") && !offered("DSN 1"));
    }

    /// RFC 8689 section 4.2.1: to nobody but a host that has proven who it is and offers the same; a bounce asks for it and is not lost without.
    #[test]
    fn what_requires_tls_goes_to_who_asks_the_next_for_it() {
        let body = Body { needs: Needs { tls: TlsWish::Required, ..Needs::default() }, encoded: false };
        let begin = |require_tls, proven, sender: &'static [u8]| {
            let capabilities = Capabilities { require_tls, proven, ..Capabilities::default() };
            Transaction::new(&capabilities, sender, smallvec![&b"x@y"[..]], 10, body).map(|mut begun| {
                let mut out = Vec::new();
                begun.write_commands(&mut out);
                String::from_utf8_lossy(&out).contains("> REQUIRETLS\r\n")
            })
        };
        assert_eq!(begin(true, true, b"a@b").ok(), Some(true));
        for (require_tls, proven) in [(true, false), (false, true), (false, false)] {
            let refused = begin(require_tls, proven, b"a@b").expect_err("it does not go");
            assert_eq!((refused.code, refused.status()), (554, "5.7.30".into()), "{require_tls} {proven}");
        }
        assert_eq!((begin(true, false, b"").ok(), begin(false, false, b"").ok()), (Some(true), Some(false)));
        assert_eq!(
            Capabilities::default().missing(&Needs { tls: TlsWish::Waived, ..Needs::default() }),
            None
        );
        let offered = |line: &str| {
            let lines = vec!["mx.example".to_owned(), line.to_owned()];
            Capabilities::of_ehlo(&Reply { lines, ..local(250, (2, 0, 0), "ok") }).require_tls
        };
        assert!(offered("REQUIRETLS") && offered("requiretls") && !offered("REQUIRE"));
    }
}
