//! Addresses made unreadable: one person stays one, in all lines and over restarts, and nobody without the key finds out who it is by trying
//! addresses.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use aws_lc_rs::hmac;

use crate::control::outlet::line::{Line, push_text};
use crate::control::outlet::own::Own;
use crate::limits;
use crate::runtime::{files, process};
use crate::spool::layout;

/// Which addresses become unreadable, and by which key.
#[derive(Clone)]
pub struct Redact {
    key: hmac::Key,
    recipient: bool,
    sender: bool,
}

impl Redact {
    /// Recipients, senders or both.
    pub fn new(key: &[u8], recipient: bool, sender: bool) -> Redact {
        Redact { key: hmac::Key::new(hmac::HMAC_SHA256, key), recipient, sender }
    }

    /// `ada@example.org` as `a…3f9c2b1e07d4@example.org`. No address, as that of a notification, stays none.
    pub fn address(&self, address: &str) -> String {
        let (local, domain) = match address.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (address, None),
        };
        let Some(first) = local.chars().next() else { return address.to_owned() };
        let tag = hmac::sign(&self.key, address.to_ascii_lowercase().as_bytes());
        let mut shown = format!("{first}\u{2026}");
        for byte in &tag.as_ref()[..limits::REDACTED_BYTES] {
            shown.push_str(&format!("{byte:02x}"));
        }
        if let Some(domain) = domain {
            shown.push('@');
            shown.push_str(domain);
        }
        shown
    }

    /// The same of each address in a text: hosts quote them in replies, and operators in filters.
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !has_address(text) {
            return Cow::Borrowed(text);
        }
        let is_part = |letter: char| !letter.is_whitespace() && !"<>()[]\"',;:".contains(letter);
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            self.word(word, &mut shown);
            let more = behind.find(is_part).unwrap_or(behind.len());
            shown.push_str(&behind[..more]);
            rest = &behind[more..];
        }
        Cow::Owned(shown)
    }

    /// A word that may be an address, have one behind a `key=`, or be a URL that has one in it.
    fn word(&self, word: &str, out: &mut String) {
        let found = [word.rfind('@').map(|at| (at, 1)), word.rfind("%40").map(|at| (at, 3))];
        let Some((at, length)) = found.into_iter().flatten().max() else { return out.push_str(word) };
        let (before, behind) = (&word[..at], &word[at + length..]);
        let begin = if length == 3 { in_url(before) } else { behind_key(before) };
        let local = &before[begin..];
        let end = behind.find(|letter| !is_of_domain(letter)).unwrap_or(behind.len());
        let domain = behind[..end].trim_end_matches('.');
        if begin > 0 {
            // There may be more of them in a URL.
            self.word(&before[..begin], out);
        }
        if local.is_empty() {
            out.push_str(&word[begin..]);
            return;
        }
        let local = if length == 3 { unescaped(local) } else { local.to_owned() };
        out.push_str(&self.address(&format!("{local}@{domain}")));
        out.push_str(&behind[domain.len()..]);
    }

    /// The same of a whole event.
    pub(super) fn apply(&self, line: &mut Line<'_>) {
        let (mut own, sender) = (Own::default(), line.text("sender").into_owned());
        if self.recipient {
            let mut list = vec![b'['];
            for recipient in line.each("recipients") {
                if list.len() > 1 {
                    list.push(b',');
                }
                let shown = self.address(&recipient);
                own.add(&recipient, &shown);
                push_text(&shown, &mut list);
            }
            list.push(b']');
            line.put("recipients", list);
        }
        if self.sender || self.recipient && names_recipient(&sender, &own) {
            let shown = self.address(&sender);
            line.put("sender", as_json(&shown));
        }
        if self.sender {
            own.add(&sender, &self.address(&sender));
        }
        for name in ["reply", "filter", "reason", "envid"] {
            let text = line.text(name).into_owned();
            if let Cow::Owned(shown) = own.hide(self.text(&text)) {
                line.put(name, as_json(&shown));
            }
        }
        // Words of a campaign are words: no local part is looked for.
        for name in ["campaign", "helo", "hop"] {
            let text = line.text(name).into_owned();
            if let Cow::Owned(shown) = self.text(&text) {
                line.put(name, as_json(&shown));
            }
        }
    }
}

/// Whether a sender is a return path that says to whom the message went: `bounce+ada=example.org@…`, `b-7-ada@…`.
pub(in crate::control) fn names_recipient(sender: &str, own: &Own) -> bool {
    let local = sender.rsplit_once('@').map_or(sender, |(local, _)| local);
    let has_domain = local.split_once('=').is_some_and(|(_, behind)| behind.contains('.'));
    has_domain || has_address(local) || own.is_marked_in(local)
}

fn has_address(text: &str) -> bool {
    text.contains('@') || text.contains("%40")
}

/// Where a local part begins in what stands before the `%40` of a URL.
fn in_url(before: &str) -> usize {
    let Some(at) = before.rfind(['/', '?', '&', '#']) else { return behind_key(before) };
    let is_field = before[at..].starts_with(['?', '&']);
    let key = before[at + 1..].find('=').filter(|_| is_field).map_or(0, |end| end + 1);
    at + 1 + key
}

/// The same before an `@`, as filters and parameters have it.
fn behind_key(before: &str) -> usize {
    before.find('=').filter(|end| KEYS.contains(&&before[..*end])).map_or(0, |end| end + 1)
}

/// What stands before an address and is none of it.
const KEYS: [&str; 8] = ["recipient", "sender", "rcpt", "from", "to", "email", "address", "orcpt"];

/// What a URL means, so that one person is one there, too.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_of_domain(letter: char) -> bool {
    letter.is_alphanumeric() || ".-_".contains(letter)
}

fn as_json(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_text(text, &mut out);
    out
}

const SENSELESS: &str =
    "it is too short for a secret; remove it to have another made: people have other names in the logs then";

/// The key of a node, which is made where there is none.
pub(in crate::control) fn key(data_dir: &Path) -> io::Result<Vec<u8>> {
    let path = data_dir.join(layout::REDACT_SECRET);
    match files::read_whole(&path, limits::SECRETS_FILE_MAX) {
        Ok(text) if text.trim_ascii().len() >= 2 * limits::REDACT_SECRET => {
            return Ok(text.trim_ascii().to_vec());
        }
        // Half of one is no secret, and another one would make every person another.
        Ok(_) => return Err(io::Error::other(format!("{}: {SENSELESS}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let fresh: [u8; limits::REDACT_SECRET] = process::random_bytes();
    let text: String = fresh.iter().map(|byte| format!("{byte:02x}")).collect();
    files::make_directories(data_dir)?;
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = files::make_file(&new)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    File::open(data_dir)?.sync_all()?;
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_is_one_and_nobody_else() {
        let redact = Redact::new(b"key", true, true);
        let ada = redact.address("ada@example.org");
        assert!(
            ada.starts_with("a\u{2026}") && ada.ends_with("@example.org") && !ada.contains("ada"),
            "{ada}"
        );
        assert_eq!(redact.address("ADA@example.org")[1..], ada[1..]);
        assert_ne!(redact.address("adb@example.org"), ada);
        assert_ne!(Redact::new(b"other", true, true).address("ada@example.org"), ada);
        assert_eq!((redact.address(""), redact.address("@x")), (String::new(), "@x".to_owned()));
        assert_eq!(redact.text("550 <ada@example.org>: unknown. Ask b@x."), {
            format!("550 <{ada}>: unknown. Ask {}.", redact.address("b@x"))
        });
        assert_eq!(redact.text("recipient=ada@example.org domain=*.x @ y"), {
            format!("recipient={ada} domain=*.x @ y")
        });
    }

    #[test]
    fn nothing_of_an_address_is_left_in_a_line() {
        let redact = Redact::new(b"key", true, false);
        let text = br#"{"event":"bounced","sender":"s@z","recipients":["ada@y","\u00f6@y"],"reply":"550 <ada@y> no \u00f6@y"}"#;
        let mut line = Line::read(text).unwrap();
        redact.apply(&mut line);
        let shown = [redact.address("ada@y"), redact.address("\u{f6}@y")];
        assert_eq!(line.each("recipients"), shown);
        assert_eq!(line.text("reply"), format!("550 <{}> no {}", shown[0], shown[1]));
        assert_eq!(line.text("sender"), "s@z");
    }

    fn redacted(redact: &Redact, line: &str) -> String {
        let mut line = Line::read(line.as_bytes()).unwrap();
        redact.apply(&mut line);
        line.fields().map(|(name, value)| format!("{name}={}\n", String::from_utf8_lossy(value))).collect()
    }

    #[test]
    fn return_paths_urls_and_local_parts_name_nobody() {
        let redact = Redact::new(b"key", true, false);
        for sender in [
            "bounce+zoe=y.example@b",
            "b-7-zoe=y.example@b",
            "zoe=y.example@b",
            "SRS0=h=t=y.example=zoe@b",
            "b-zoe@b",
        ] {
            let line = format!(
                r#"{{"event":"bounced","sender":"{sender}","recipients":["zoe@y.example"],"envid":"e-zoe","campaign":"zoe@y.example","reply":"550 5.1.1 user zoe unknown <{sender}> https://y.example/why?a=1&e=zoe%40y.example&n=2"}}"#
            );
            let shown = redacted(&redact, &line);
            assert!(!shown.contains("zoe"), "{shown}");
            let zoe = redact.address("zoe@y.example");
            assert!(shown.contains(&format!("y.example/why?a=1&e={zoe}&n=2")), "{shown}");
            assert!(shown.contains(&format!("user {} unknown", zoe.split('@').next().unwrap())), "{shown}");
        }
        let plain = r#"{"event":"delivered","sender":"news@z.example","recipients":["zoe@y.example"],"campaign":"zoe","reply":"250 ok"}"#;
        let shown = redacted(&redact, plain);
        assert!(
            shown.contains(r#"sender="news@z.example""#) && shown.contains(r#"campaign="zoe""#),
            "{shown}"
        );
        assert_eq!(redact.text("zoe%40y.example/bob%40y.example"), {
            format!("{}/{}", redact.address("zoe@y.example"), redact.address("bob@y.example"))
        });
        assert!(!redact.text("<zoe@[192.0.2.1]> zoe%2Bx%40y").contains("zoe"));
    }

    #[test]
    fn the_key_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let data_dir = scratch.path().join("spool");
        let first = key(&data_dir).unwrap();
        assert_eq!(key(&data_dir).unwrap(), first);
        std::fs::write(data_dir.join(layout::REDACT_SECRET), "short").unwrap();
        assert!(key(&data_dir).is_err());
    }
}
