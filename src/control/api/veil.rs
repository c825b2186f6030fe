//! What whoever may only read is shown shortened: addresses, where `control.redact` says so.

use super::shape::suppression::SuppressionPage;
use super::shape::why::Why;
use super::shape::{Message, Page};
use crate::config::access::Redact;
use crate::policy::tokens::Role;

/// Stands for what is left out.
const REST: char = '…';

/// What is shortened for whoever asks. Each request has one among its extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Veil(Redact);

impl Veil {
    /// For this role.
    pub(in crate::control) fn of(redact: Redact, role: Role) -> Veil {
        if role == Role::Read { Veil(redact) } else { Veil::default() }
    }

    /// Whether anything is.
    pub(in crate::control) fn is_on(self) -> bool {
        self.0.recipient || self.0.sender
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
            row.last_reply.iter_mut().chain(&mut row.suspended).for_each(|words| self.words(words));
        }
        page
    }

    pub(super) fn message(self, mut message: Message) -> Message {
        self.sender(&mut message.sender);
        for recipient in &mut message.live {
            self.recipient(&mut recipient.address);
            recipient.last_reply.iter_mut().for_each(|words| self.words(words));
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

    pub(super) fn suppressions(self, mut page: SuppressionPage) -> SuppressionPage {
        for entry in &mut page.entries {
            self.recipient(&mut entry.address);
            self.words(&mut entry.note);
        }
        page
    }
}

/// With all but the first letter left out of what stands in front of each `@`.
fn shortened(words: &str) -> String {
    let is_border = |letter: char| letter.is_whitespace() || "<>()[]\",:;".contains(letter);
    let (mut short, mut rest) = (String::new(), words);
    while let Some((before, after)) = rest.split_once('@') {
        let local = before.rsplit(is_border).next().unwrap_or_default();
        match local.chars().next() {
            Some(first) => {
                short += &before[..before.len() - local.len()];
                short.extend([first, REST]);
            }
            // A quoted one, with anything in it (RFC 5321 4.1.2).
            None if before.ends_with('"') => {
                let begin = before[..before.len() - 1].rfind('"').unwrap_or(0);
                short += &before[..begin];
                short.push(REST);
            }
            None => short += before,
        }
        short.push('@');
        rest = after;
    }
    short + rest
}

#[cfg(test)]
mod tests {
    use super::*;

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
