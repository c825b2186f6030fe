//! What nodes say of themselves to whoever keeps the leases. Anybody who can write there can have said it: it is read within bounds, and whoever asks a
//! node that is only named there asks in networks that the operator names.

use crate::config::fleet::{bare, place};
use crate::config::hook::HookUrl;
use crate::limits;
use crate::time::UnixMillis;

/// A node, as it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredNode {
    /// Its number, of 16 digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it runs; None: it does not say.
    pub version: Option<String>,
    /// Where it is asked; None: it does not say.
    pub url: Option<HookUrl>,
    /// When it said so last.
    pub said: UnixMillis,
    /// That was a moment ago.
    pub is_here: bool,
}

/// What a node says: its name, its version, and where it is asked.
pub fn said(name: &str, version: &str, url: Option<&HookUrl>) -> String {
    let version = version.replace(char::is_whitespace, "-");
    match url {
        Some(url) => format!("{name} {version} {}", bare(url)),
        None => format!("{name} {version}"),
    }
}

impl RegisteredNode {
    /// Reads what a node said so many milliseconds before `now`. None: no node says that.
    pub fn read(id: &str, ago: u64, words: &str, now: UnixMillis) -> Option<RegisteredNode> {
        let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id || words.len() > limits::FLEET_SAID_MAX {
            return None;
        }
        let fits = |word: &&str, most| word.len() <= most && word.bytes().all(|byte| byte.is_ascii_graphic());
        let mut words = words.split(' ');
        let name = words.next().filter(|name| !name.is_empty() && fits(name, limits::FLEET_NAME_MAX))?;
        let version = words.next().filter(|version| fits(version, limits::FLEET_WORD_MAX));
        let url = words.next().and_then(|url| place(url).ok());
        Some(RegisteredNode {
            id: id.to_ascii_lowercase(),
            name: name.to_owned(),
            version: version.filter(|version| !version.is_empty()).map(str::to_owned),
            url,
            said: UnixMillis(now.0.saturating_sub(ago)),
            is_here: u128::from(ago) < (limits::CLUSTER_HERE * 3).as_millis(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Option<RegisteredNode> {
        RegisteredNode::read("00000000000000Ab", 1_000, words, UnixMillis(90_000))
    }

    #[test]
    fn what_a_node_says_is_read_again() {
        let url = place("http://10.0.0.5:8025/").unwrap();
        let node = read(&said("mx1.example.net", "0.9.0 (abc)", Some(&url))).unwrap();
        assert_eq!((&*node.id, &*node.name), ("00000000000000ab", "mx1.example.net"));
        assert_eq!((node.version.as_deref(), node.url), (Some("0.9.0-(abc)"), Some(url)));
        assert_eq!((node.said, node.is_here), (UnixMillis(89_000), true));
        // One of before says its name alone.
        let node = read("mx1.example.net").unwrap();
        assert_eq!((node.version, node.url), (None, None));
        let late = RegisteredNode::read("0000000000000001", u64::MAX, "mx1 1", UnixMillis(5)).unwrap();
        assert_eq!((late.said, late.is_here), (UnixMillis(0), false));
    }

    #[test]
    fn what_no_node_says_is_none() {
        for words in ["", " 1 http://a", "a\u{1b}[2J", "é", &"a".repeat(limits::FLEET_NAME_MAX + 1)] {
            assert_eq!(read(words), None, "{words:?}");
        }
        assert_eq!(RegisteredNode::read("12", 0, "a", UnixMillis(0)), None);
        assert_eq!(RegisteredNode::read("zzzzzzzzzzzzzzzz", 0, "a", UnixMillis(0)), None);
        for url in [
            "file:///etc/passwd",
            "http://a/latest/meta-data",
            "http://u:p@a/",
            "gopher://a",
            "http://a:0",
            "//a",
        ] {
            assert_eq!(read(&format!("a 1 {url}")).unwrap().url, None, "{url}");
        }
    }
}
