//! What large receivers ask of bulk mail beside its signature, as far as a header section shows it: a way out of the list (RFC 2369, RFC 8058), an
//! author whose domain answers for it (RFC 9989, relaxed alignment), and the form of RFC 5322.

use crate::mail::author::{self, Author};
use crate::mail::header::{self, Field};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// List-Unsubscribe with an address to write to or a page (RFC 2369 3.2).
    ListUnsubscribe,
    /// List-Unsubscribe-Post, and an https page beside it (RFC 8058 section 3.1).
    OneClick,
    /// From is of the sender's domain, or signed for.
    Alignment,
    /// The fields that must be there are, and none is there twice (RFC 5322 3.6).
    Form,
}

impl Duty {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [Duty; 4] = [Duty::ListUnsubscribe, Duty::OneClick, Duty::Alignment, Duty::Form];

    /// As a rule names it.
    pub fn word(self) -> &'static str {
        match self {
            Duty::ListUnsubscribe => "list_unsubscribe",
            Duty::OneClick => "one_click",
            Duty::Alignment => "alignment",
            Duty::Form => "form",
        }
    }
}

/// What a message lacks of each duty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks([Option<&'static str>; Duty::ALL.len()]);

impl Lacks {
    /// What it lacks of one, in words that go on after "the message".
    pub fn of(&self, duty: Duty) -> Option<&'static str> {
        self.0[duty as usize]
    }

    /// Looks at a header section. `is_signed`: mail of this author gets a signature of its domain here, and a Date and a Message-ID where it has none.
    pub fn find(
        section: &[u8],
        mailbox_line: bool,
        sender: &[u8],
        is_signed: &dyn Fn(&Author) -> bool,
    ) -> Lacks {
        let mut found = Found::default();
        for field in header::fields(section, mailbox_line) {
            found.take(&field);
        }
        let authors = found.from.and_then(author::authors).filter(|authors| !authors.is_empty());
        let authors = authors.as_deref().unwrap_or_default();
        let is_signed = !authors.is_empty() && authors.iter().all(is_signed);
        let sender = memchr::memrchr(b'@', sender).map_or(&b""[..], |at| &sender[at + 1..]);
        Lacks([
            found.unsubscribe(),
            found.one_click(),
            alignment(authors, sender, is_signed),
            found.form(authors, is_signed),
        ])
    }
}

/// Fields of which there may be one (RFC 5322 3.6), and those for lists.
const ONCE: [&str; 12] = [
    "from",
    "date",
    "message-id",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "in-reply-to",
    "references",
    "list-unsubscribe",
    "list-unsubscribe-post",
];
const FROM: usize = 0;
const DATE: usize = 1;
const ID: usize = 2;
const SENDER: usize = 3;
const UNSUBSCRIBE: usize = 10;
const POST: usize = 11;

#[derive(Default)]
struct Found<'a> {
    counts: [u8; ONCE.len()],
    from: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    unsubscribe: Option<&'a [u8]>,
    post: Option<&'a [u8]>,
    has_no_field: bool,
    has_no_text: bool,
}

impl<'a> Found<'a> {
    fn take(&mut self, field: &Field<'a>) {
        self.has_no_field |= field.name.is_empty() || field.name.iter().any(|byte| !byte.is_ascii_graphic());
        self.has_no_text |= !field.value.is_ascii() && std::str::from_utf8(field.value).is_err();
        let Some(place) = ONCE.iter().position(|name| field.is(name)) else { return };
        self.counts[place] = self.counts[place].saturating_add(1);
        match place {
            FROM => self.from = Some(field.value),
            ID => self.id = Some(field.value),
            UNSUBSCRIBE => self.unsubscribe = Some(field.value),
            POST => self.post = Some(field.value),
            _ => {}
        }
    }

    fn unsubscribe(&self) -> Option<&'static str> {
        let Some(value) = self.unsubscribe else { return Some("has no List-Unsubscribe field (RFC 2369)") };
        if self.counts[UNSUBSCRIBE] > 1 {
            return Some("has several List-Unsubscribe fields (RFC 2369 section 3.2)");
        }
        let usable = links(value).any(|link| ["https:", "http:", "mailto:"].iter().any(|kind| link.is(kind)));
        (!usable).then_some("has no <https:...> or <mailto:...> in its List-Unsubscribe field (RFC 2369)")
    }

    fn one_click(&self) -> Option<&'static str> {
        let Some(post) = self.post else { return Some("has no List-Unsubscribe-Post field (RFC 8058)") };
        if self.counts[POST] > 1 {
            return Some("has several List-Unsubscribe-Post fields (RFC 8058 section 3.1)");
        }
        let said: Vec<u8> = post.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if !said.eq_ignore_ascii_case(b"List-Unsubscribe=One-Click") {
            return Some("says another than List-Unsubscribe=One-Click in List-Unsubscribe-Post (RFC 8058)");
        }
        let has_page = self.unsubscribe.is_some_and(|value| links(value).any(|link| link.is("https:")));
        (!has_page).then_some("has no <https:...> in its List-Unsubscribe field to post to (RFC 8058)")
    }

    fn form(&self, authors: &[Author], is_signed: bool) -> Option<&'static str> {
        let lacks = |place: usize| self.counts[place] == 0 && !is_signed;
        if self.has_no_field {
            return Some("has a line in its header section that is no field (RFC 5322 section 2.2)");
        }
        if self.has_no_text {
            return Some("has bytes in its header section that are no UTF-8 (RFC 6532)");
        }
        if self.counts[FROM] == 0 {
            return Some("has no From field (RFC 5322 section 3.6)");
        }
        if self.counts.iter().any(|count| *count > 1) {
            return Some("has a field twice that may be there once (RFC 5322 section 3.6)");
        }
        if authors.is_empty() {
            return Some("has a From field that cannot be read (RFC 5322 section 3.4)");
        }
        if authors.len() > 1 && self.counts[SENDER] == 0 {
            return Some("has several authors in From, and no Sender field (RFC 5322 section 3.6.2)");
        }
        if lacks(DATE) {
            return Some("has no Date field (RFC 5322 section 3.6)");
        }
        if lacks(ID) {
            return Some("has no Message-ID field (RFC 5322 section 3.6.4)");
        }
        let is_id = |value: &[u8]| {
            let inner = value.trim_ascii().strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
            inner.is_some_and(|inner| {
                inner.contains(&b'@')
                    && inner.iter().all(|byte| byte.is_ascii_graphic() && !b"<>".contains(byte))
            })
        };
        self.id
            .is_some_and(|value| !is_id(value))
            .then_some("has a Message-ID that is none (RFC 5322 section 3.6.4)")
    }
}

/// RFC 9989, relaxed: without a list of public suffixes two domains are known to be of one organization where one is the other, or below it.
fn alignment(authors: &[Author], sender: &[u8], is_signed: bool) -> Option<&'static str> {
    let [first, others @ ..] = authors else {
        return Some("has no author in From whose domain could be compared (RFC 9989)");
    };
    if others.iter().any(|other| other.domain() != first.domain()) {
        return Some("has authors of several domains in From, which DMARC does not pass (RFC 9989)");
    }
    let domain = first.domain().as_bytes();
    let is_within = |one: &[u8], other: &[u8]| {
        let Some(at) = one.len().checked_sub(other.len()) else { return false };
        other.contains(&b'.') && one[at..].eq_ignore_ascii_case(other) && (at == 0 || one[at - 1] == b'.')
    };
    let is_aligned = is_signed || is_within(domain, sender) || is_within(sender, domain);
    (!is_aligned).then_some("has a From domain that is neither its sender's nor signed for here (RFC 9989)")
}

/// What stands in angle brackets.
struct Link<'a>(&'a [u8]);

impl Link<'_> {
    fn is(&self, kind: &str) -> bool {
        self.0.len() > kind.len() && self.0[..kind.len()].eq_ignore_ascii_case(kind.as_bytes())
    }
}

fn links(value: &[u8]) -> impl Iterator<Item = Link<'_>> {
    let inner = |part: &'_ [u8]| -> Option<usize> { memchr::memchr(b'>', part) };
    value
        .split(|byte| *byte == b'<')
        .skip(1)
        .filter_map(move |part| Some(Link(part[..inner(part)?].trim_ascii())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "From: Shop <news@shop.example>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
        Message-ID: <1@shop.example>\r\nList-Unsubscribe: <mailto:out@shop.example>,\r\n\t<https://shop.example/u/1>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";

    fn find(section: &str, sender: &str, is_signed: bool) -> Vec<&'static str> {
        let lacks = Lacks::find(section.as_bytes(), false, sender.as_bytes(), &|_| is_signed);
        Duty::ALL.iter().filter(|duty| lacks.of(**duty).is_some()).map(|duty| duty.word()).collect()
    }

    #[test]
    fn a_message_that_does_its_duties_lacks_nothing() {
        for sender in ["b@shop.example", "b@bounce.SHOP.example", "b@SHOP.EXAMPLE"] {
            assert_eq!(find(GOOD, sender, false), [""; 0], "{sender}");
        }
        assert_eq!(find("", "a@b.example", true), ["list_unsubscribe", "one_click", "alignment", "form"]);
    }

    #[test]
    fn each_duty_is_missed_alone() {
        for (from, to, lacks) in [
            ("List-Unsubscribe:", "X-List:", &["list_unsubscribe", "one_click"][..]),
            ("<https:", "<ftp:", &["one_click"]),
            ("<https://shop.example/u/1>", "https://shop.example/u/1", &["one_click"]),
            ("List-Unsubscribe-Post: List", "List-Unsubscribe-Post: Lost", &["one_click"]),
            ("-Post: ", "-Post:\r\n ", &[]),
            ("List-Unsubscribe-Post", "X-Post", &["one_click"]),
            ("shop.example>\r\nDate", "other.example>\r\nDate", &["alignment"]),
            ("shop.example>\r\nDate", "shop.example>, a@b.example\r\nDate", &["alignment", "form"]),
            ("shop.example>\r\nDate", "shop.example>, a@shop.example\r\nSender: a@shop.example\r\nDate", &[]),
            ("From", "X-From", &["alignment", "form"]),
            ("From: Shop <", "From: Shop (", &["alignment", "form"]),
            ("Date", "X-Date", &["form"]),
            ("Message-ID: <1@", "X-ID: <1@", &["form"]),
            ("<1@shop", "<1 2@shop", &["form"]),
            ("Date:", "no field\r\nDate:", &["form"]),
            ("Date:", "To: a@b.example\r\ntO: c@b.example\r\nDate:", &["form"]),
        ] {
            let section = GOOD.replacen(from, to, 1);
            assert_ne!(section, GOOD);
            assert_eq!(find(&section, "b@shop.example", false), lacks, "{from} -> {to}");
        }
    }

    /// One that is signed here gets the fields that it lacks, and its domain answers for it, whoever is its sender.
    #[test]
    fn what_is_signed_for_is_aligned() {
        assert_eq!(find(GOOD, "", false), ["alignment"]);
        assert_eq!(find(GOOD, "b@example", false), ["alignment"], "a whole top-level domain is nobody's");
        assert_eq!(find(GOOD, "b@xshop.example", false), ["alignment"]);
        let bare = GOOD.replace("Date:", "X-Date:").replace("Message-ID", "X-ID");
        assert_eq!(find(&bare, "", true), [""; 0]);
        let lacks = Lacks::find(b"From: a@b.example\r\nX: \xff\r\n", false, b"", &|_| true);
        assert_eq!(
            lacks.of(Duty::Form),
            Some("has bytes in its header section that are no UTF-8 (RFC 6532)")
        );
    }
}
