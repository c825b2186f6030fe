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
            for local in [local.to_owned(), json, local.replace('"', "\"\"")] {
                let form =
                    (local.to_ascii_lowercase().into_bytes(), domain.to_ascii_lowercase().into_bytes());
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        Some(Needle { forms })
    }

    /// Where it stands. Between its parts is an `@`, or the `=` of a return path that has it in it.
    pub fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for at in memchr::memchr2_iter(b'@', b'=', bytes) {
            if let Some(place) = self.forms.iter().find_map(|form| around(bytes, at, form)) {
                found.push(place);
            }
        }
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

fn around(bytes: &[u8], at: usize, (local, domain): &(Vec<u8>, Vec<u8>)) -> Option<Range<usize>> {
    let begin = at.checked_sub(local.len())?;
    let end = at + 1 + domain.len();
    let is_it =
        bytes[begin..at].eq_ignore_ascii_case(local) && bytes.get(at + 1..end)?.eq_ignore_ascii_case(domain);
    (is_it && begins(&bytes[..begin]) && ends(&bytes[end..])).then_some(begin..end)
}

/// Whether a local part begins behind this: nothing of one stands there. (`+` and quotes may be of one; what is read as its beginning too often is erased
/// too often.)
fn begins(before: &[u8]) -> bool {
    let Some(last) = before.last() else { return true };
    let is_of_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte) || *byte >= 0x80;
    if !is_of_one(last) {
        return true;
    }
    // An escape of JSON ends with a letter, or with digits.
    let is_escape = |length: usize| {
        let Some(at) = before.len().checked_sub(length) else { return false };
        let slashes = before[..=at].iter().rev().take_while(|byte| **byte == b'\\').count();
        slashes % 2 == 1
    };
    (b"nrtbf".contains(last) && is_escape(2)) || (is_escape(6) && before[before.len() - 5] == b'u')
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
            ("bounces+ada=example.org@b.example", 0),
            ("bounces-1/ada=example.org@b.example", 1),
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
