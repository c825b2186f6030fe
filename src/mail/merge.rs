//! Mail merge, as PowerMTA's verbs have it: a text in parts with names in brackets, and recipients with a value for each. Which of the parts somebody
//! gets is a value too (`*parts`). Pure: what comes of a merge is a text a recipient.

use std::fmt;

use crate::limits;
use crate::mail::envelope::Recipient;

/// What is defined for the recipients that follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    all: Vec<(Box<str>, Box<[u8]>)>,
    /// None: all parts.
    parts: Option<Parts>,
}

/// Numbers of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts(u64);

const _: () = assert!(limits::MERGE_PARTS_MAX <= u64::BITS as usize);

/// What is wrong with a definition: always its writer's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadDefinition {
    /// It is none.
    Syntax,
    /// Nobody may set that.
    Reserved(Box<str>),
    /// `*parts` is no list of numbers.
    Parts,
    /// There are more than one recipient may have.
    TooMany,
}

impl fmt::Display for BadDefinition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadDefinition::Syntax => {
                formatter.write_str("XDFN wants name=\"value\", and perhaps more of them")
            }
            BadDefinition::Reserved(name) => {
                write!(
                    formatter,
                    "{name} is none to define; *parts, *vmta, *jobid, *envid and *date are, and names without a *"
                )
            }
            BadDefinition::Parts => {
                write!(formatter, "*parts wants numbers from 1 to {}, as in 1,2,5-7", limits::MERGE_PARTS_MAX)
            }
            BadDefinition::TooMany => {
                write!(formatter, "More than {} variables for one recipient", limits::MERGE_VARIABLES_MAX)
            }
        }
    }
}

/// Those with a star that may be defined. The first three are instructions, as header fields are.
const STARRED: [(&str, Option<&str>); 4] = [
    ("*vmta", Some("X-Virtual-MTA")),
    ("*jobid", Some("X-Job")),
    ("*envid", Some("X-Envid")),
    ("*date", None),
];

impl Parts {
    /// `1,2,5-7`
    pub fn parse(text: &[u8]) -> Option<Parts> {
        let number = |text: &str| {
            let number =
                text.trim().parse().ok().filter(|number| (1..=limits::MERGE_PARTS_MAX).contains(number));
            number.filter(|_| text.trim().bytes().all(|byte| byte.is_ascii_digit()))
        };
        let mut parts = Parts::default();
        for piece in std::str::from_utf8(text).ok()?.split(',') {
            let (from, to) = piece.split_once('-').unwrap_or((piece, piece));
            let (from, to) = (number(from)?, number(to)?);
            (from <= to).then_some(())?;
            (from..=to).for_each(|number| parts.0 |= 1 << (number - 1));
        }
        Some(parts)
    }

    /// Whether this one is among them.
    pub fn has(self, number: u8) -> bool {
        number > 0 && u32::from(number) <= u64::BITS && self.0 >> (number - 1) & 1 == 1
    }
}

/// Whether a byte may be in the name of a variable.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'*' | b'#' | b'$' | b'@' | b':')
}

/// A name in brackets, or before `=`, in lower case.
fn name_of(bytes: &[u8]) -> Option<Box<str>> {
    let fits =
        (1..=limits::MERGE_NAME_MAX).contains(&bytes.len()) && bytes.iter().all(|byte| is_of_name(*byte));
    let text = fits.then(|| std::str::from_utf8(bytes).ok()).flatten()?;
    Some(text.to_ascii_lowercase().into())
}

/// `name="value"` at the front of a line, and what is behind it. In quotes a quote is doubled, or has a backslash before it, as a backslash may.
fn definition(line: &[u8]) -> Option<(Box<str>, Vec<u8>, &[u8])> {
    let at = memchr::memchr(b'=', line)?;
    let name = name_of(line[..at].trim_ascii())?;
    let mut rest = line[at + 1..].trim_ascii_start();
    let mut value = Vec::new();
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(rest.len());
        let plain = rest[..end].iter().all(|byte| *byte != b'"');
        return plain.then(|| (name, rest[..end].to_vec(), &rest[end..]));
    };
    rest = quoted;
    loop {
        match rest {
            [b'\\', escaped @ (b'"' | b'\\'), behind @ ..] | [b'"', escaped @ b'"', behind @ ..] => {
                value.push(*escaped);
                rest = behind;
            }
            [b'"', behind @ ..] => {
                let ends = behind.first().is_none_or(u8::is_ascii_whitespace);
                return ends.then_some((name, value, behind));
            }
            [other, behind @ ..] => {
                value.push(*other);
                rest = behind;
            }
            [] => return None,
        }
    }
}

impl Variables {
    /// What a line defines, all of it or nothing; what was defined before is so no more.
    pub fn define(&mut self, line: &[u8]) -> Result<(), BadDefinition> {
        let mut rest = line.trim_ascii();
        let mut own = self.clone();
        loop {
            let (name, value, behind) = definition(rest).ok_or(BadDefinition::Syntax)?;
            own.set(name, value)?;
            rest = behind.trim_ascii();
            if rest.is_empty() {
                *self = own;
                return Ok(());
            }
        }
    }

    fn set(&mut self, name: Box<str>, value: Vec<u8>) -> Result<(), BadDefinition> {
        if &*name == "*parts" {
            self.parts = Some(Parts::parse(&value).ok_or(BadDefinition::Parts)?);
            return Ok(());
        }
        let starred = name.starts_with('*') || &*name == "#";
        if starred && !STARRED.iter().any(|(known, _)| *known == &*name) {
            return Err(BadDefinition::Reserved(name));
        }
        let value = value.into_boxed_slice();
        let known = self.all.iter().position(|(known, _)| *known == name);
        match known {
            Some(at) => self.all[at].1 = value,
            None if self.all.len() < limits::MERGE_VARIABLES_MAX => self.all.push((name, value)),
            None => return Err(BadDefinition::TooMany),
        }
        Ok(())
    }

    /// The value of a name, which is in lower case.
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.all.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// Whether somebody gets this part.
    pub fn has_part(&self, number: u8) -> bool {
        self.parts.is_none_or(|parts| parts.has(number))
    }

    /// Bytes in memory.
    pub fn held(&self) -> usize {
        self.all.iter().map(|(name, value)| name.len() + value.len() + limits::MERGE_VARIABLE_OVERHEAD).sum()
    }
}

/// A merge that is there whole, or comes to be.
#[derive(Debug, Default)]
pub struct Merge {
    /// By number, in the order in which they came.
    parts: Vec<(u8, Vec<u8>)>,
    /// What is defined, each up to the recipient of this place.
    sets: Vec<(usize, Variables)>,
    /// Bytes of these.
    closed: usize,
    current: Variables,
    /// A recipient was named behind what is defined now, whether or not he was taken.
    named: bool,
    /// Something that was to be defined with it was refused.
    spoiled: bool,
}

/// What a text is, piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// As it stands there.
    Text(&'a [u8]),
    /// A name in brackets, with these.
    Name(&'a [u8]),
}

/// The pieces of a text. What is in brackets and no name is text.
fn pieces(text: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    let mut name = None;
    std::iter::from_fn(move || {
        if let Some(found) = name.take() {
            return Some(Piece::Name(found));
        }
        let mut from = 0;
        while let Some(at) = memchr::memchr(b'[', &rest[from..]).map(|at| from + at) {
            let inner = &rest[at + 1..];
            let length =
                inner.iter().take(limits::MERGE_NAME_MAX + 1).take_while(|byte| is_of_name(**byte)).count();
            if (1..=limits::MERGE_NAME_MAX).contains(&length) && inner.get(length) == Some(&b']') {
                let (before, whole) = (&rest[..at], &rest[at..at + length + 2]);
                rest = &rest[at + length + 2..];
                if before.is_empty() {
                    return Some(Piece::Name(whole));
                }
                name = Some(whole);
                return Some(Piece::Text(before));
            }
            from = at + 1;
        }
        (!rest.is_empty()).then(|| Piece::Text(std::mem::take(&mut rest)))
    })
}

/// One of those whom a merge is for.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The sender's address.
    pub from: &'a [u8],
    /// Who gets it.
    pub to: &'a Recipient,
    /// His place among the recipients, from 0.
    pub place: usize,
    /// The time, as a Date field has it.
    pub date: &'a str,
}

impl Merge {
    /// Defines something for the recipients that follow. There are so many by now: those have what was defined before, and no more of it goes on.
    pub fn define(&mut self, line: &[u8], recipients: usize) -> Result<(), BadDefinition> {
        self.begin(recipients);
        let done = self.current.define(line);
        self.spoiled |= done.is_err();
        done
    }

    /// Something that was to be defined is refused: who is named behind that is not to get what others have, nor a part of his own.
    pub fn spoil(&mut self, recipients: usize) {
        self.begin(recipients);
        self.spoiled = true;
    }

    /// A recipient is named, and taken or refused: what is defined next is the next one's. False: he must not be taken, as something that was to be
    /// defined for him was refused.
    pub fn name(&mut self) -> bool {
        self.named = true;
        !self.spoiled
    }

    /// Where somebody was named, nothing is defined any more.
    fn begin(&mut self, recipients: usize) {
        let has_some = recipients > self.covered();
        if !std::mem::take(&mut self.named) && !has_some {
            return;
        }
        self.spoiled = false;
        let before = std::mem::take(&mut self.current);
        // What was only for who was refused is nobody's.
        if has_some {
            self.closed += before.held();
            self.sets.push((recipients, before));
        }
    }

    fn covered(&self) -> usize {
        self.sets.last().map_or(0, |(end, _)| *end)
    }

    /// What is defined for the recipient of this place.
    fn variables(&self, place: usize) -> &Variables {
        let at = self.sets.partition_point(|(end, _)| *end <= place);
        self.sets.get(at).map_or(&self.current, |(_, set)| set)
    }

    /// Whether a part came.
    pub fn has(&self, number: u8) -> bool {
        self.parts.iter().any(|(known, _)| *known == number)
    }

    /// One more part, whose lines end with CRLF.
    pub fn add(&mut self, number: u8, text: Vec<u8>) {
        self.parts.push((number, text));
        self.parts.sort_by_key(|(number, _)| *number);
    }

    /// Bytes of its parts.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|(_, text)| text.len()).sum()
    }

    /// Bytes of names and values.
    pub fn values(&self) -> usize {
        self.closed + self.current.held()
    }

    /// Bytes in memory.
    pub fn held(&self) -> usize {
        let parts: usize = self.parts.iter().map(|(_, text)| text.capacity()).sum();
        parts + self.values() + self.sets.capacity() * size_of::<(usize, Variables)>()
    }

    /// A part that one of so many recipients is to get, and that did not come.
    pub fn lacks(&self, recipients: usize) -> Option<u8> {
        let sets = self.sets.iter().map(|(_, set)| set);
        let last = (recipients > self.covered()).then_some(&self.current);
        let named = sets
            .chain(last)
            .filter_map(|set| set.parts)
            .fold(Parts::default(), |all, set| Parts(all.0 | set.0));
        (1..=limits::MERGE_PARTS_MAX as u8).find(|number| named.has(*number) && !self.has(*number))
    }

    /// The message of one of them: its instructions as fields in front, and the parts that he gets, in the order of their numbers. None: it has more
    /// than `most` bytes, as a value that stands there often may make it.
    pub fn render(&self, who: Who<'_>, most: usize) -> Option<Vec<u8>> {
        let own = self.variables(who.place);
        let mut message = Vec::with_capacity((self.size() + own.held()).min(most));
        for (name, field) in STARRED {
            if let (Some(field), Some(value)) = (field, own.get(name)) {
                message.extend_from_slice(field.as_bytes());
                message.extend_from_slice(b": ");
                message.extend_from_slice(value);
                message.extend_from_slice(b"\r\n");
            }
        }
        let parts = self.parts.iter().filter(|(number, _)| own.has_part(*number));
        for piece in parts.flat_map(|(_, text)| pieces(text)) {
            match piece {
                Piece::Text(text) => message.extend_from_slice(text),
                Piece::Name(whole) => write(own, who, whole, &mut message),
            }
            if message.len() > most {
                return None;
            }
        }
        Some(message)
    }
}

/// What stands in place of a name in brackets. One that nobody defined stays as it is: `[if mso]` in HTML, an address of IPv6.
fn write(own: &Variables, who: Who<'_>, whole: &[u8], message: &mut Vec<u8>) {
    let name = name_of(&whole[1..whole.len() - 1]).unwrap_or_default();
    match (own.get(&name), &*name) {
        (Some(value), _) => message.extend_from_slice(value),
        (None, "*to") => message.extend_from_slice(&who.to.address),
        (None, "*from") => message.extend_from_slice(who.from),
        (None, "*date") => message.extend_from_slice(who.date.as_bytes()),
        (None, "#") => message.extend_from_slice((who.place + 1).to_string().as_bytes()),
        // Instructions that nobody gave.
        (None, "*vmta" | "*jobid" | "*envid") => {}
        (None, _) => message.extend_from_slice(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::Address;

    fn defined(line: &str) -> Result<Vec<(String, String)>, BadDefinition> {
        let mut variables = Variables::default();
        variables.define(line.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(variables.all.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    #[test]
    fn a_definition_is_a_name_and_a_value() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (line, wanted) in [
            (r#"First="Ann""#, vec![pair("first", "Ann")]),
            (r#" first="Ann"  LAST="O'Neill [x]" "#, vec![pair("first", "Ann"), pair("last", "O'Neill [x]")]),
            (
                r#"a="say \"hi\"" b="say ""hi""" c="c:\dir\\x""#,
                vec![pair("a", "say \"hi\""), pair("b", "say \"hi\""), pair("c", "c:\\dir\\x")],
            ),
            (r#"a="" b=7 c="=""#, vec![pair("a", ""), pair("b", "7"), pair("c", "=")]),
            (r#"a="1" A="2""#, vec![pair("a", "2")]),
            (r#"a="\\" *VMTA="ip1" *parts="1,3-4""#, vec![pair("a", "\\"), pair("*vmta", "ip1")]),
        ] {
            assert_eq!(defined(line), Ok(wanted), "{line}");
        }
        for line in [
            "",
            " ",
            "a",
            "=",
            r#"="x""#,
            r#"a="x"#,
            r#"a="x"b="y""#,
            r#"a b="x""#,
            r#"[a]="x""#,
            "a=x\"y\"",
            r#"a="x\""#,
        ] {
            assert_eq!(defined(line), Err(BadDefinition::Syntax), "{line}");
        }
        for (line, name) in [(r#"*to="x""#, "*to"), ("*x=1", "*x"), (r##"#="1""##, "#")] {
            assert_eq!(defined(line), Err(BadDefinition::Reserved(name.into())), "{line}");
        }
        for line in
            ["*parts=0", "*parts=65", "*parts=", "*parts=2-1", "*parts=+1", r#"*parts="a""#, "*parts=1,,2"]
        {
            assert_eq!(defined(line), Err(BadDefinition::Parts), "{line}");
        }
        let many: String = (0..=limits::MERGE_VARIABLES_MAX).map(|at| format!("v{at}=1 ")).collect();
        assert_eq!(defined(&many), Err(BadDefinition::TooMany));
        assert_eq!(
            defined(&format!("{}=1", "n".repeat(limits::MERGE_NAME_MAX + 1))),
            Err(BadDefinition::Syntax)
        );
    }

    #[test]
    fn a_line_that_is_wrong_defines_nothing() {
        let mut variables = Variables::default();
        variables.define(b"a=1").unwrap();
        assert!(variables.define(b"a=2 *to=x").is_err());
        assert_eq!(variables.get("a"), Some(&b"1"[..]));
    }

    fn render(merge: &Merge, place: usize, to: &str) -> String {
        let at = to.find('@').map_or(0, |at| at + 1) as u16;
        let recipient = Recipient::new(Address::from_slice(to.as_bytes()), at);
        let who =
            Who { from: b"news@shop.example", to: &recipient, place, date: "Tue, 1 Dec 2026 04:00:00 +0000" };
        String::from_utf8(merge.render(who, usize::MAX).unwrap()).unwrap()
    }

    #[test]
    fn names_are_replaced_and_what_is_none_stays() {
        let mut merge = Merge::default();
        merge.define(br#"first="Ann" job="[first]" *jobid="sale-7" *envid="e1""#, 0).unwrap();
        let text = "To: [*to]\r\nFrom: [*FROM]\r\nDate: [*date]\r\n\r\nHi [First][job], no. [#]\r\n\
             <!--[if mso]>[x]<![endif]--> [ first] [first [2001:db8::1] [] [first]\r\n[*envid][*vmta]!";
        merge.add(1, text.as_bytes().to_vec());
        assert_eq!(
            render(&merge, 4, "ann@a.example"),
            "X-Job: sale-7\r\nX-Envid: e1\r\nTo: ann@a.example\r\nFrom: news@shop.example\r\n\
             Date: Tue, 1 Dec 2026 04:00:00 +0000\r\n\r\nHi Ann[first], no. 5\r\n\
             <!--[if mso]>[x]<![endif]--> [ first] [first [2001:db8::1] [] Ann\r\ne1!"
        );
        merge.define(br#"*date="yesterday""#, 0).unwrap();
        assert!(render(&merge, 0, "ann@a.example").contains("Date: yesterday\r\n"));
    }

    #[test]
    fn each_has_the_values_that_were_defined_before_him() {
        let mut merge = Merge::default();
        merge.define(b"n=1 only=x", 0).unwrap();
        merge.define(b"m=1", 0).unwrap();
        // Two have the same; then others, which have nothing of the first.
        merge.define(b"n=2 *parts=2", 2).unwrap();
        merge.define(b"m=2", 2).unwrap();
        merge.define(b"n=3 *parts=1-2", 3).unwrap();
        merge.add(2, b"second [n]".to_vec());
        merge.add(1, b"[n][m][only] ".to_vec());
        let texts: Vec<String> = (0..5).map(|place| render(&merge, place, "u@d.example")).collect();
        assert_eq!(
            texts,
            ["11x second 1", "11x second 1", "second 2", "3[m][only] second 3", "3[m][only] second 3"]
        );
        assert_eq!((merge.lacks(3), merge.lacks(4)), (None, None));
    }

    /// Nobody gets what was defined for another, who was refused or whose line was.
    #[test]
    fn what_is_refused_takes_its_values_along() {
        let mut merge = Merge::default();
        merge.add(1, b"[secret][a][b]".to_vec());
        merge.define(b"secret=1 a=1", 0).unwrap();
        assert!(merge.name(), "and refused for another reason");
        merge.define(b"b=2", 0).unwrap();
        assert!(merge.name());
        assert_eq!(render(&merge, 0, "u@d.example"), "[secret][a]2");
        // A line that is wrong begins anew, too, and nobody is taken until all is right.
        assert!(merge.define(b"*to=x", 1).is_err() && !merge.name());
        assert!(merge.define(b"a=3", 1).is_ok() && merge.name());
        assert!(merge.define(b"a=4", 2).is_ok() && merge.define(b"x", 2).is_err());
        assert!(merge.define(b"b=4", 2).is_ok() && !merge.name());
        merge.spoil(2);
        assert!(!merge.name());
        assert!(merge.define(b"a=5", 2).is_ok() && merge.name());
        let texts: Vec<String> = (0..3).map(|place| render(&merge, place, "u@d.example")).collect();
        assert_eq!(texts, ["[secret][a]2", "[secret]3[b]", "[secret]5[b]"]);
    }

    #[test]
    fn a_message_has_its_bound_however_often_a_value_stands_there() {
        let mut merge = Merge::default();
        merge.define(format!("x=\"{}\"", "v".repeat(1000)).as_bytes(), 0).unwrap();
        merge.add(1, b"[x]".repeat(1000));
        let to = Recipient::new(Address::from_slice(b"u@d.example"), 2);
        let of = |most| {
            merge.render(Who { from: b"", to: &to, place: 0, date: "" }, most).map(|message| message.len())
        };
        assert_eq!((of(1_000_000), of(999_999)), (Some(1_000_000), None));
    }

    #[test]
    fn a_part_that_somebody_is_to_get_is_missed() {
        let mut merge = Merge::default();
        merge.define(b"*parts=1,3", 0).unwrap();
        merge.add(1, b"x".to_vec());
        assert_eq!((merge.lacks(1), merge.lacks(0)), (Some(3), None));
        merge.add(3, b"y".to_vec());
        assert_eq!((merge.lacks(1), merge.size()), (None, 2));
        assert!(merge.held() >= 2 && merge.has(3) && !merge.has(2));
    }

    #[test]
    fn pieces_are_the_text_again() {
        for text in [
            "",
            "[",
            "]",
            "[[a]]",
            "[a][b]",
            "x[a]y[",
            "[a",
            &"[".repeat(1000),
            &format!("[{}]", "a".repeat(65)),
        ] {
            let whole: Vec<u8> = pieces(text.as_bytes())
                .flat_map(|piece| match piece {
                    Piece::Text(text) | Piece::Name(text) => text.to_vec(),
                })
                .collect();
            assert_eq!(whole, text.as_bytes(), "{text}");
        }
        let names = |text: &'static str| {
            pieces(text.as_bytes()).filter(|piece| matches!(piece, Piece::Name(_))).count()
        };
        assert_eq!((names("[[a]]"), names("[a][b]"), names("[a b][c")), (1, 2, 0));
    }
}
