//! What nodes of a cluster say of themselves: to Redis, where anybody may have said it, and when they are asked.

use relevo::config::fleet::bare;
use relevo::control::api::shape::cluster::{NodeSummary, STATES};
use relevo::limits;
use relevo::policy::cluster::nodes::{RegisteredNode, said};
use relevo::time::UnixMillis;

use super::input::Input;

/// What is read keeps its bounds, is of one line, and is read again as the same; where a node is asked is a place of the web, with nothing behind its port.
pub fn cluster(data: &[u8]) {
    let mut input = Input(data);
    let ago = input.below(1 << 20) as u64;
    let text = String::from_utf8_lossy(input.0);
    let (id, words) = text.split_once('\n').unwrap_or(("00000000000000ab", &text));
    let is_line = |text: &str, most: usize| text.len() <= most && !text.chars().any(char::is_control);
    if let Some(node) = RegisteredNode::read(id, ago, words, UnixMillis(1 << 40)) {
        assert!(node.id.len() == 16 && !node.name.is_empty() && is_line(&node.name, limits::FLEET_NAME_MAX));
        assert!(node.version.as_ref().is_none_or(|version| is_line(version, limits::FLEET_WORD_MAX)));
        if let Some(url) = &node.url {
            let text = bare(url);
            assert!(text.starts_with("http://") || text.starts_with("https://"), "{text}");
            assert!(&*url.path == "/" && url.port > 0 && !url.authority().contains('@'), "{text}");
        }
        let again = said(&node.name, node.version.as_deref().unwrap_or("-"), node.url.as_ref());
        let again = RegisteredNode::read(&node.id, ago, &again, UnixMillis(1 << 40)).expect("what it says");
        assert_eq!((again.name, again.url), (node.name, node.url));
    }
    if let Some(summary) = NodeSummary::read(input.0) {
        assert!(summary.id.len() == 16 && STATES.contains(&&*summary.state));
        assert!(is_line(&summary.node, limits::FLEET_NAME_MAX));
        assert!(is_line(&summary.version, limits::FLEET_WORD_MAX));
        let words = summary.words.iter().chain(&summary.redis);
        assert!(words.into_iter().all(|words| is_line(words, limits::FLEET_WORDS_MAX)));
    }
}
