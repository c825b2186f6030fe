//! What whoever may only read is shown shortened: addresses, where `control.redact` says so.

use super::shape::overview::{Overview, SitesPage};
use super::shape::suppression::SuppressionPage;
use super::shape::why::Why;
use super::shape::{Message, Page};
use crate::config::access::Redact;
use crate::policy::tokens::Role;

mod line;

/// Stands for what is left out.
const REST: char = '…';

/// What is shortened for whoever asks. Each request has one among its extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Veil(Redact);

impl Veil {
    /// How many there are that shorten something.
    pub(in crate::control) const KINDS: usize = 3;

    /// For this role.
    pub(in crate::control) fn of(redact: Redact, role: Role) -> Veil {
        if role == Role::Read { Veil(redact) } else { Veil::default() }
    }

    /// Whether anything is.
    pub(in crate::control) fn is_on(self) -> bool {
        self.0.recipient || self.0.sender
    }

    /// Which of these this is; None: it shortens nothing.
    pub(in crate::control) fn kind(self) -> Option<usize> {
        (usize::from(self.0.recipient) + 2 * usize::from(self.0.sender)).checked_sub(1)
    }

    /// An address that mail is for.
    pub(in crate::control) fn recipient(self, address: &mut String) {
        if self.0.recipient {
            *address = shortened(address);
        }
    }

    /// One that it is from.
    pub(in crate::control) fn sender(self, address: &mut String) {
        if self.0.sender {
            *address = shortened(address);
        }
    }

    /// What somebody wrote, with addresses in it perhaps: whose they are nobody knows.
    pub(in crate::control) fn words(self, words: &mut String) {
        if self.is_on() {
            *words = shortened(words);
        }
    }

    pub(super) fn page(self, mut page: Page) -> Page {
        for row in &mut page.rows {
            self.sender(&mut row.sender);
            row.recipients.iter_mut().for_each(|address| self.recipient(address));
            let said = row.last_reply.iter_mut().chain(&mut row.suspended).chain(&mut row.hold);
            said.for_each(|words| self.words(words));
        }
        page
    }

    pub(super) fn message(self, mut message: Message) -> Message {
        self.sender(&mut message.sender);
        for recipient in &mut message.live {
            self.recipient(&mut recipient.address);
            let said = recipient.last_reply.iter_mut().chain(&mut recipient.hold);
            said.chain(&mut recipient.dialogue).for_each(|words| self.words(words));
        }
        message
    }

    pub(super) fn why(self, mut why: Why) -> Why {
        why.replies.iter_mut().for_each(|heard| self.words(&mut heard.reply));
        why.causes.iter_mut().for_each(|cause| self.words(&mut cause.words));
        for domain in &mut why.domains {
            domain.because.iter_mut().for_each(|cause| self.words(&mut cause.words));
            domain.site.iter_mut().flat_map(|site| &mut site.error).for_each(|words| self.words(words));
        }
        why
    }

    pub(super) fn sites(self, mut page: SitesPage) -> SitesPage {
        for site in &mut page.rows {
            site.last_reply.iter_mut().chain(&mut site.suspended).for_each(|words| self.words(words));
        }
        page
    }

    /// The node at a glance.
    pub(in crate::control) fn overview(self, mut overview: Overview) -> Overview {
        let said = overview.classes.iter_mut().flat_map(|class| &mut class.text);
        said.chain(&mut overview.warnings).for_each(|words| self.words(words));
        overview
    }

    pub(super) fn suppressions(self, mut page: SuppressionPage) -> SuppressionPage {
        for entry in &mut page.entries {
            self.recipient(&mut entry.address);
            self.words(&mut entry.note);
        }
        page
    }
}

/// With all but the first letter left out of what stands in front of each `@`, and all of it where that is quoted.
fn shortened(words: &str) -> String {
    let is_border = |letter: char| letter.is_whitespace() || "<>()[]\",:;".contains(letter);
    // Where the word begins that is gone through, and up to where no quote begins a local part.
    let (mut at, mut from, mut barren) = (0, 0, 0);
    let mut short = String::with_capacity(words.len());
    while let Some(letter) = words[at..].chars().next() {
        let behind = at + letter.len_utf8();
        if letter == '"' && at >= barren {
            match quoted_end(words, behind) {
                Ok(end) => {
                    at = end;
                    continue;
                }
                Err(end) => barren = end,
            }
        }
        if letter == '@' {
            match words[from..at].chars().next() {
                Some('"') => short.push(REST),
                Some(first) => short.extend([first, REST]),
                // Its first quote was cut off: who knows how much of what stands before is its.
                None if words[..at].ends_with('"') => short = REST.to_string(),
                None => {}
            }
            short.push('@');
            from = behind;
        } else if is_border(letter) {
            short += &words[from..behind];
            from = behind;
        }
        at = behind;
    }
    short + &words[from..]
}

/// Where the `@` is behind the quoted local part (RFC 5321 4.1.2) of which this is behind the first quote. An error: it is none, and no quote before that
/// place begins one, so that each letter is looked at once.
fn quoted_end(words: &str, from: usize) -> Result<usize, usize> {
    let bytes = words.as_bytes();
    // Where it is quoted once more, as part of a longer text, a backslash stands before its own quotes.
    let (mut at, mut once_more) = (from, None);
    loop {
        match bytes.get(at) {
            Some(b'\\') => {
                if once_more.is_none() && bytes[at + 1..].starts_with(b"\"@") {
                    once_more = Some(at + 2);
                }
                at += 2;
            }
            Some(b'"') if bytes.get(at + 1) == Some(&b'@') => return Ok(at + 1),
            None | Some(b'"') => return once_more.ok_or(at),
            Some(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::shape::overview::{ClassTotals, SiteTotals};

    #[test]
    fn addresses_are_shortened_wherever_they_stand() {
        for (words, short) in [
            ("ada@example.org", "a…@example.org"),
            ("", ""),
            ("postmaster", "postmaster"),
            ("@example.org", "@example.org"),
            ("*.example.org", "*.example.org"),
            ("äda@example.org", "ä…@example.org"),
            ("\"a b@c\"@example.org", "…@example.org"),
            (r#""a\"@b"@example.org"#, "…@example.org"),
            (r#""a\\"@example.org "b"@x.example"#, "…@example.org …@x.example"),
            (r#"a."b c"@example.org"#, "a…@example.org"),
            (r#"<"a b"@x.example>,<ada@y.example>"#, "<…@x.example>,<a…@y.example>"),
            (r#"550 said "no" to "ä b@c"@x.example and "bob"@y"#, r#"550 said "no" to …@x.example and …@y"#),
            (r#"550 "ada@x.example" is "unknown""#, r#"550 "a…@x.example" is "unknown""#),
            (r#"recipient="\"a b\"@x.example""#, r#"r…@x.example""#),
            ("a b\"@x.example", "…@x.example"),
            ("\"a b", "\"a b"),
            ("\"a b\\", "\"a b\\"),
            (
                "550 5.1.1 <ada@example.org>: no such user (bob.b@x.example)",
                "550 5.1.1 <a…@example.org>: no such user (b…@x.example)",
            ),
            ("bounce+ada=example.org@b.example", "b…@b.example"),
        ] {
            assert_eq!(shortened(words), short, "{words}");
        }
    }

    #[test]
    fn a_long_text_is_gone_through_once() {
        let begun = "\"\\".repeat(200_000);
        assert_eq!(shortened(&begun), begun);
        assert_eq!(shortened(&(begun + "\"@x")), "…@x");
    }

    #[test]
    fn what_hosts_said_is_shortened_in_all_that_is_told() {
        let veil = Veil::of(Redact { recipient: true, sender: false }, Role::Read);
        let said = || Some("550 <ada@x.example>".to_owned());
        let short = Some("550 <a…@x.example>".to_owned());
        let class = ClassTotals { text: said(), ..ClassTotals::default() };
        let overview = Overview { classes: vec![class, ClassTotals::default()], ..Overview::default() };
        assert_eq!(veil.overview(overview.clone()).classes[0].text, short);
        assert_eq!(Veil::default().overview(overview.clone()), overview);
        let site = SiteTotals { last_reply: said(), suspended: said(), ..SiteTotals::default() };
        let page = SitesPage { rows: vec![site], next: None };
        let shown = veil.sites(page.clone());
        assert_eq!((&shown.rows[0].last_reply, &shown.rows[0].suspended), (&short, &short));
        assert_eq!(Veil::default().sites(page.clone()), page);
    }

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        let kinds = [(false, false), (true, false), (false, true), (true, true)]
            .map(|(recipient, sender)| Veil(Redact { recipient, sender }).kind());
        assert_eq!(kinds, [None, Some(0), Some(1), Some(2)]);
        assert_eq!(kinds.iter().flatten().count(), Veil::KINDS);
    }

    #[test]
    fn who_may_only_read_sees_less() {
        let redact = Redact { recipient: true, sender: false };
        let seen = |role| {
            let (mut recipient, mut sender) = ("ada@example.org".to_owned(), "bob@example.org".to_owned());
            let veil = Veil::of(redact, role);
            veil.recipient(&mut recipient);
            veil.sender(&mut sender);
            (recipient, sender)
        };
        assert_eq!(seen(Role::Read), ("a…@example.org".to_owned(), "bob@example.org".to_owned()));
        assert_eq!(seen(Role::Operate).0, "ada@example.org");
        assert!(!Veil::of(Redact::default(), Role::Read).is_on());
    }
}
