//! An address in bytes of logs: where it stands, in whatever letters, and how it is made unreadable there.

use std::ops::Range;

use crate::policy::suppression::canonical::canonical;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Needle {
    /// Local parts and domains in lower case, as the address may be written.
    forms: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Needle {
    /// Of an address; None: it is none.
    pub fn new(address: &str) -> Option<Needle> {
        let known = canonical(address).ok()?;
        let mut forms = Vec::new();
        for text in [address, &known] {
            let (local, domain) = text.rsplit_once('@').filter(|(local, _)| !local.is_empty())?;
            // As it stands in JSON, and in a table.
            let json = serde_json::to_string(local).ok()?;
            let json = json.get(1..json.len() - 1)?.to_owned();
            let escaped = [escaped(local, '%', b"-._~"), escaped(local, '+', b"!#$%&'*-./?@^_`{|}~\"")];
            let plain = [local.to_owned(), json, local.replace('"', "\"\"")];
            for local in plain.into_iter().chain(escaped) {
                let form =
                    (local.to_ascii_lowercase().into_bytes(), domain.to_ascii_lowercase().into_bytes());
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        Some(Needle { forms })
    }

    /// Where it stands, one place behind the other: with an `@` between its parts, with the `=` of a return path that has it in it, or with either
    /// encoded as URLs (`%40`), parameters of SMTP (`+40`) and quoted-printable (`=40`) have it.
    pub fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let places = memchr::memchr2_iter(b'@', b'=', bytes).chain(memchr::memchr2_iter(b'%', b'+', bytes));
        for at in places {
            for between in [plain(bytes, at), encoded(bytes, at)].into_iter().flatten() {
                found.extend(self.forms.iter().find_map(|form| around(bytes, (at, between), form)));
            }
        }
        found.sort_unstable_by_key(|place| (place.start, place.end));
        found.dedup_by(|next, before| {
            let is_in = next.start < before.end;
            if is_in {
                before.end = before.end.max(next.end);
            }
            is_in
        });
        found
    }

    /// Whether it stands there.
    pub fn is_in(&self, text: &str) -> bool {
        !self.find(text.as_bytes()).is_empty()
    }

    /// Makes it unreadable where it stands; the rest, and the length, stay. How often.
    pub fn mask(&self, bytes: &mut [u8]) -> u64 {
        let found = self.find(bytes);
        for place in &found {
            mask(&mut bytes[place.clone()]);
        }
        found.len() as u64
    }
}

/// What stands in place of an address: of its length, and still one.
pub(super) fn mask(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| !b"@\\\"".contains(byte)) {
        *byte = b'x';
    }
}

/// What stands between the parts of an address.
#[derive(Clone, Copy)]
struct Between {
    /// An `@`, or the `=` of a return path.
    letter: u8,
    /// In how many bytes.
    length: usize,
}

fn plain(bytes: &[u8], at: usize) -> Option<Between> {
    let letter = *bytes.get(at).filter(|letter| b"@=".contains(letter))?;
    Some(Between { letter, length: 1 })
}

fn encoded(bytes: &[u8], at: usize) -> Option<Between> {
    let letter = decoded(bytes.get(at..at + 3)?).filter(|letter| b"@=".contains(letter))?;
    Some(Between { letter, length: 3 })
}

/// The byte that two digits behind a `%`, a `+` or a `=` stand for.
fn decoded(bytes: &[u8]) -> Option<u8> {
    let digits = match bytes {
        [b'%' | b'+' | b'=', digits @ ..] if digits.len() == 2 => std::str::from_utf8(digits).ok()?,
        _ => return None,
    };
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// With all but letters, digits and these as two digits behind a mark.
fn escaped(text: &str, mark: char, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("{mark}{byte:02x}"));
        }
    }
    out
}

fn around(
    bytes: &[u8],
    (at, between): (usize, Between),
    (local, domain): &(Vec<u8>, Vec<u8>),
) -> Option<Range<usize>> {
    let behind = at + between.length;
    // Which begins where, and ends where.
    let stands = |first: &[u8], second: &[u8]| {
        let (begin, end) = (at.checked_sub(first.len())?, behind + second.len());
        let is_it = bytes[begin..at].eq_ignore_ascii_case(first)
            && bytes.get(behind..end)?.eq_ignore_ascii_case(second);
        is_it.then_some(begin..end)
    };
    let in_return_path = between.letter == b'=';
    let written = stands(local, domain)
        .filter(|place| begins(&bytes[..place.start], in_return_path) && ends(&bytes[place.end..]));
    // A rewritten sender (SRS) has the domain first.
    let turned = || {
        stands(domain, local).filter(|place| {
            let before = &bytes[..place.start];
            (before.ends_with(b"=") || before.last_chunk::<3>().and_then(|code| decoded(code)) == Some(b'='))
                && ends_local(&bytes[place.end..])
        })
    };
    written.or_else(|| turned().filter(|_| in_return_path))
}

/// Whether a local part begins behind this: nothing of one stands there. (`+` and quotes may be of one; what is read as its beginning too often is erased
/// too often.) In a return path a `+`, a `-` or a `/` stands between what a bounce is known by and the address.
fn begins(before: &[u8], in_return_path: bool) -> bool {
    let Some(last) = before.last() else { return true };
    let is_of_one = |byte: u8| match byte {
        b'+' | b'-' => !in_return_path,
        b'.' | b'_' | 0x80.. => true,
        byte => byte.is_ascii_alphanumeric(),
    };
    if !is_of_one(*last) {
        return true;
    }
    // What is encoded may be no part of one: `%3C`, `%2B` of a return path.
    let code = before.last_chunk::<3>().filter(|code| code[0] == b'%').and_then(|code| decoded(code));
    if let Some(byte) = code {
        return !is_of_one(byte);
    }
    // An escape of JSON ends with a letter, or with digits.
    let is_escape = |length: usize| {
        let Some(at) = before.len().checked_sub(length) else { return false };
        let slashes = before[..=at].iter().rev().take_while(|byte| **byte == b'\\').count();
        slashes % 2 == 1
    };
    (b"nrtbf".contains(last) && is_escape(2)) || (is_escape(6) && before[before.len() - 5] == b'u')
}

/// Whether a local part ends before this.
fn ends_local(behind: &[u8]) -> bool {
    let is_of_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte) || *byte >= 0x80;
    behind.first().is_none_or(|next| !is_of_one(next))
}

/// Whether a domain ends before this.
fn ends(behind: &[u8]) -> bool {
    let is_of_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte) || *byte >= 0x80;
    match behind {
        [b'.', next, ..] => !is_of_one(next),
        [next, ..] => !is_of_one(next),
        [] => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_as_it_may_be_written() {
        let needle = Needle::new("Ada@Example.org").unwrap();
        for (text, times) in [
            ("\"recipients\":[\"ada@example.org\",\"ADA@EXAMPLE.ORG\"]", 2),
            ("550 5.1.1 <ada@example.org>: no\\nada@example.org. \\u000aada@example.org", 3),
            ("b,ada@example.org,c", 1),
            ("a+ada@example.org a-ada@example.org", 0),
            ("'ada@example.org'", 1),
            ("xada@example.org a.ada@example.org ada+x@example.org \u{fc}ada@example.org", 0),
            ("ada@example.org.uk ada@example.orgs ada@example.org-x ada@sub.example.org", 0),
            ("\\\\nada@example.org", 0),
            ("ada@example.org", 1),
            ("", 0),
            ("ada@example.or", 0),
        ] {
            assert_eq!(needle.find(text.as_bytes()).len(), times, "{text}");
        }
        let mut line = b"{\"a\":\"ada@example.org\",\"b\":\"bob@example.org\"}".to_vec();
        assert_eq!(needle.mask(&mut line), 1);
        assert_eq!(line, b"{\"a\":\"xxx@xxxxxxxxxxx\",\"b\":\"bob@example.org\"}");
        assert_eq!(needle.mask(&mut line), 0);
    }

    #[test]
    fn a_return_path_has_it_in_it() {
        let needle = Needle::new("ada@example.org").unwrap();
        for (text, times) in [
            ("bounce+ada=example.org@b.example", 1),
            ("bounces-ada=example.org@b.example", 1),
            ("bounces-1/ada=example.org@b.example", 1),
            ("b+123-ada=example.org@b.example", 1),
            ("prvs=ada=example.org@b.example <Ada=Example.Org@b.example>", 2),
            ("SRS0=HhH=TT=example.org=ada@b.example SRS1=HhH=c.example==HhH=TT=example.org=ada@b", 2),
            ("bounce%2Bada%3Dexample.org%40b.example", 1),
            ("bounce+lada=example.org b.ada=example.org b_ada=example.org ada=example.orgs", 0),
            ("SRS0=HhH=TT=example.org=adam@b.example SRS0=HhH=TT=xexample.org=ada@b.example", 0),
        ] {
            assert_eq!(needle.find(text.as_bytes()).len(), times, "{text}");
        }
    }

    #[test]
    fn it_is_found_encoded() {
        let needle = Needle::new("ada+x@example.org").unwrap();
        for (text, times) in [
            ("https://r.example/why?e=ada%2Bx%40example.org&n=1", 1),
            ("https://r.example/why/ada+x%40EXAMPLE.org/", 1),
            ("%3Cada%2bx%40example.org%3E %20ada%2Bx%40example.org", 2),
            ("ORCPT=rfc822;ada+2Bx@example.org ORCPT=rfc822;ada+2Bx+40example.org", 2),
            ("ada+x=40example.org", 1),
            ("bada%2Bx%40example.org %2Bada%2Bx%40example.org ada%2Bx%41example.org", 0),
            ("ada%2Bx%4 ada%2Bx%", 0),
        ] {
            assert_eq!(needle.find(text.as_bytes()).len(), times, "{text}");
            let mut masked = text.as_bytes().to_vec();
            needle.mask(&mut masked);
            assert_eq!((masked.len(), needle.find(&masked).len()), (text.len(), 0), "{text}");
        }
    }

    #[test]
    fn quoted_ones_are_found_in_json_and_in_tables() {
        let needle = Needle::new("\"a b\"@x.example").unwrap();
        for text in
            ["{\"to\":\"\\\"a b\\\"@x.example\"}", "1,\"\"\"a b\"\"@x.example\",2", "to \"a b\"@x.example"]
        {
            let mut text = text.as_bytes().to_vec();
            assert_eq!(needle.mask(&mut text), 1, "{}", String::from_utf8_lossy(&text));
            assert!(!text.windows(3).any(|part| part == b"a b"));
        }
        for bad in ["", "@example.org", "*.example.org", "ada"] {
            assert!(Needle::new(bad).is_none(), "{bad}");
        }
    }
}
