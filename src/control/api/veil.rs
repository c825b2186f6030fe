//! What whoever may only read is shown shortened: addresses, where `control.redact` says so.

use std::borrow::Cow;

use serde_json::Value;

use super::shape::overview::{Overview, SitesPage};
use super::shape::suppression::SuppressionPage;
use super::shape::why::Why;
use super::shape::{Message, Page};
use crate::config::access::Redact;
use crate::control::outlet::line::Line;
use crate::control::outlet::names_recipient;
use crate::control::outlet::own::Own;
use crate::policy::tokens::Role;

/// Stands for what is left out.
const REST: char = '…';

/// Something of each veil that shortens anything.
pub(in crate::control) type OfEachVeil<T> = [T; 3];

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

    /// Its place in [`OfEachVeil`]; None: it shortens nothing.
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

    /// Whom something is about, by the names that hosts have for them.
    fn own<'a>(self, recipients: impl Iterator<Item = &'a str>, sender: &str) -> Own {
        let mut own = Own::default();
        if self.0.recipient {
            recipients.for_each(|address| own.add(address, &shortened(address)));
        }
        if self.0.sender {
            own.add(sender, &shortened(sender));
        }
        own
    }

    /// What was said of these.
    fn said(self, own: &Own, words: &mut String) {
        self.words(words);
        if self.is_on() {
            *words = own.hide(Cow::Owned(std::mem::take(words))).into_owned();
        }
    }

    pub(super) fn page(self, mut page: Page) -> Page {
        for row in &mut page.rows {
            let own = self.own(row.recipients.iter().map(String::as_str), &row.sender);
            if self.0.recipient && names_recipient(&row.sender, &own) {
                row.sender = shortened(&row.sender);
            }
            self.sender(&mut row.sender);
            row.recipients.iter_mut().for_each(|address| self.recipient(address));
            let said = row.last_reply.iter_mut().chain(&mut row.suspended).chain(&mut row.hold);
            said.for_each(|words| self.said(&own, words));
        }
        page
    }

    pub(super) fn message(self, mut message: Message) -> Message {
        let all = message.live.iter().map(|recipient| &*recipient.address);
        let own = self.own(all, &message.sender);
        if self.0.recipient && names_recipient(&message.sender, &own) {
            message.sender = shortened(&message.sender);
        }
        self.sender(&mut message.sender);
        for recipient in &mut message.live {
            self.recipient(&mut recipient.address);
            let said = recipient.last_reply.iter_mut().chain(&mut recipient.hold);
            said.chain(&mut recipient.dialogue).for_each(|words| self.said(&own, words));
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
        let lines = overview.said.iter_mut().map(|said| &mut said.words);
        said.chain(&mut overview.warnings).chain(lines).for_each(|words| self.words(words));
        overview
    }

    pub(super) fn suppressions(self, mut page: SuppressionPage) -> SuppressionPage {
        for entry in &mut page.entries {
            let own = self.own(std::iter::once(&*entry.address), "");
            self.recipient(&mut entry.address);
            self.said(&own, &mut entry.note);
        }
        page
    }

    /// Appends a line of the log, its fields in their order. What is no event says nothing, and may name anybody: nothing is appended.
    pub(in crate::control) fn line(self, line: &[u8], out: &mut Vec<u8>) {
        let Some(event) = Line::read(line) else { return };
        let (recipients, sender) = (event.each("recipients"), event.text("sender"));
        let own = self.own(recipients.iter().map(|address| &**address), &sender);
        let returns = self.0.recipient && names_recipient(&sender, &own);
        out.push(b'{');
        for (place, (name, value)) in event.fields().enumerate() {
            out.extend_from_slice(if place == 0 { &b"\""[..] } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            self.field((name, value), (&own, returns), out);
        }
        out.push(b'}');
    }

    /// All but what is told in full: any other may quote anybody, and so may one that there is not yet.
    fn field(self, (name, value): (&str, &[u8]), (own, returns): (&Own, bool), out: &mut Vec<u8>) {
        let is_told = match name {
            "sender" => !self.0.sender && !returns,
            "recipients" => !self.0.recipient,
            _ => false,
        };
        let is_said = matches!(name, "reply" | "reason" | "filter" | "envid");
        // An @ stands there as it is, behind a backslash as its number, or behind a % as that of a URL.
        if is_told || !is_said && memchr::memchr3(b'@', b'\\', b'%', value).is_none() {
            return out.extend_from_slice(value);
        }
        match serde_json::from_slice(value) {
            Ok(Value::String(mut text)) if is_said => {
                self.said(own, &mut text);
                let _ = serde_json::to_writer(out, &text);
            }
            Ok(value) => {
                // A vector takes all.
                let _ = serde_json::to_writer(out, &self.value(value));
            }
            // What a client gave as metadata may be deeper than anybody reads.
            Err(_) => out.extend_from_slice(b"null"),
        }
    }

    /// With each text in it shortened.
    fn value(self, value: Value) -> Value {
        let short = |mut text: String| {
            self.words(&mut text);
            text
        };
        match value {
            Value::String(text) => Value::String(short(text)),
            Value::Array(all) => Value::Array(all.into_iter().map(|one| self.value(one)).collect()),
            Value::Object(all) => {
                Value::Object(all.into_iter().map(|(name, one)| (short(name), self.value(one))).collect())
            }
            other => other,
        }
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
        let encoded = words[at..].starts_with("%40");
        if letter == '@' || encoded {
            let (sign, behind) = if encoded { ("%40", at + 3) } else { ("@", behind) };
            match words[from..at].chars().next() {
                Some('"') => short.push(REST),
                Some(first) => short.extend([first, REST]),
                // Its first quote was cut off: who knows how much of what stands before is its.
                None if words[..at].ends_with('"') => short = REST.to_string(),
                None => {}
            }
            short.push_str(sign);
            (at, from) = (behind, behind);
            continue;
        }
        if is_border(letter) {
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
    use crate::control::api::shape::suppression::SuppressionEntry;

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
            ("https://y.example/?e=ada%40y.example&n=1", "https:/…%40y.example&n=1"),
            ("ada%40y.example@b%4", "a…%40y…@b%4"),
            ("%40y.example", "%40y.example"),
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
        assert_eq!(kinds.iter().flatten().count(), OfEachVeil::<()>::default().len());
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

    const LINE: &str = r#"{"time":"2026-11-30T05:00:00.123Z","event":"bounced","sender":"news@z.example","recipients":["ada@y.example","\"b c\"@y.example"],"account":"shop@z.example","metadata":{"to@y.example":["\u0061da\u0040y.example",{"n":1}]},"reply":"550 5.1.1 <ada@y.example>: no \"such\" user","attempts":1}"#;

    fn seen(recipient: bool, sender: bool, line: &str) -> String {
        let mut out = b"before ".to_vec();
        Veil(Redact { recipient, sender }).line(line.as_bytes(), &mut out);
        String::from_utf8(out).expect("text").strip_prefix("before ").expect("appended").to_owned()
    }

    #[test]
    fn no_field_names_anybody() {
        let both = r#"{"time":"2026-11-30T05:00:00.123Z","event":"bounced","sender":"n…@z.example","recipients":["a…@y.example","…@y.example"],"account":"s…@z.example","metadata":{"t…@y.example":["a…@y.example",{"n":1}]},"reply":"550 5.1.1 <a…@y.example>: no \"such\" user","attempts":1}"#;
        assert_eq!(seen(true, true, LINE), both);
        let (sender, short) = (r#""sender":"news@z.example""#, r#""sender":"n…@z.example""#);
        assert_eq!(seen(true, false, LINE), both.replace(short, sender));
        let (recipients, short) = (
            r#""recipients":["ada@y.example","\"b c\"@y.example"]"#,
            r#""recipients":["a…@y.example","…@y.example"]"#,
        );
        assert_eq!(seen(false, true, LINE), both.replace(short, recipients));
        let plain = r#"{"event":"admin","count":3}"#;
        assert_eq!((seen(true, true, plain), seen(true, true, "{}")), (plain.to_owned(), "{}".to_owned()));
    }

    #[test]
    fn return_paths_and_local_parts_name_nobody() {
        let line = r#"{"event":"bounced","sender":"b+ada=y.example@z","recipients":["ada@y.example"],"campaign":"ada","reply":"550 no ada: ada%40y.example"}"#;
        let short = r#"{"event":"bounced","sender":"b…@z","recipients":["a…@y.example"],"campaign":"ada","reply":"550 no a…: a…%40y.example"}"#;
        assert_eq!(seen(true, false, line), short);
        let entry = SuppressionEntry {
            address: "ada@y.example".to_owned(),
            note: "550 no ada here".to_owned(),
            ..SuppressionEntry::default()
        };
        let page = SuppressionPage { entries: vec![entry], next: None };
        let veil = Veil(Redact { recipient: true, sender: false });
        assert_eq!(veil.suppressions(page).entries[0].note, "550 no a… here");
    }

    #[test]
    fn what_cannot_be_read_names_nobody() {
        for end in 0..LINE.len() {
            assert_eq!(seen(true, true, &LINE[..end]), "", "{end}");
        }
        let deep = format!(r#"{{"metadata":{}"ada@x"{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(seen(true, true, &deep), r#"{"metadata":null}"#);
    }
}
