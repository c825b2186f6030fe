//! Addresses made unreadable: one person stays one, in all lines and over restarts, and nobody without the key finds out who it is by trying
//! addresses.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use aws_lc_rs::hmac;

use crate::control::outlet::line::{Line, push_text};
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
    fn text(&self, text: &str) -> String {
        let is_part = |letter: char| !letter.is_whitespace() && !"<>()[]\"',;:=".contains(letter);
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            let has_address = word.find('@').is_some_and(|at| at > 0 && at + 1 < word.len());
            if has_address {
                let address = word.trim_end_matches(['.', '!', '?']);
                shown.push_str(&self.address(address));
                shown.push_str(&word[address.len()..]);
            } else {
                shown.push_str(word);
            }
            let more = behind.find(is_part).unwrap_or(behind.len());
            shown.push_str(&behind[..more]);
            rest = &behind[more..];
        }
        shown
    }

    /// The same of a whole event.
    pub(super) fn apply(&self, line: &mut Line<'_>) {
        if self.recipient {
            let mut list = vec![b'['];
            for recipient in line.each("recipients") {
                if list.len() > 1 {
                    list.push(b',');
                }
                push_text(&self.address(&recipient), &mut list);
            }
            list.push(b']');
            line.put("recipients", list);
        }
        if self.sender {
            let shown = self.address(&line.text("sender"));
            line.put("sender", as_json(&shown));
        }
        for name in ["reply", "filter", "reason"] {
            let text = line.text(name).into_owned();
            if text.contains('@') {
                line.put(name, as_json(&self.text(&text)));
            }
        }
    }
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
