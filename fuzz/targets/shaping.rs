//! What operators write about destinations, and what these reply.

use std::path::Path;

use relevo::config::ConfigError;
use relevo::limits;
use relevo::shaping::check::check;
use relevo::shaping::file::{Block, File, Setting};
use relevo::shaping::layers::{Shaping, ShapingQuery};
use relevo::shaping::provider::canonical;
use relevo::shaping::value::{self, Value};

/// Up to the first NUL a file, behind it a reply: values within their bounds, or errors that name a place.
pub fn shaping(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, reply) = (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or_default());
    let lines = text.matches('\n').count() + 1;
    let (file, findings) = File::read(&text, Path::new("f.toml"));
    findings.errors.iter().chain(&findings.warnings).for_each(|one| finding(one, lines));
    let (shaping, found) = Shaping::of(vec![file.clone(), file]);
    found.errors.iter().for_each(|one| finding(one, lines));
    let found = check(&shaping);
    found.errors.iter().chain(&found.warnings).for_each(|one| finding(one, lines));
    let blocks = shaping.default.iter().chain(&shaping.providers).chain(&shaping.domains);
    blocks.for_each(block);
    for block in shaping.domains.iter().chain(&shaping.providers).take(8) {
        let hosts: Vec<String> =
            block.matches.iter().map(|entry| canonical(&format!("mx{}", entry.written))).collect();
        let source = block.sources.first().map_or("", |(name, _)| name);
        let beside: Vec<&str> = shaping.rolled_up().filter(|other| other.len() % 2 == 0).collect();
        let asked = ShapingQuery { domain: &block.name, hosts: &hosts, source, beside: &beside };
        let held = shaping.effective(asked);
        assert!(held.meaning(reply, false).count() <= held.rules.len());
        let _ = held.answers().map(|answers| answers.judge(reply, true));
    }
}

fn finding(one: &ConfigError, lines: usize) {
    assert!((1..=lines).contains(&one.line), "line {} of {lines}", one.line);
    assert!(!one.problem.is_empty() && !one.fix.is_empty(), "{one:?}");
    let shown = one.to_string();
    assert!(shown.starts_with("f.toml:") && !shown.contains(|letter: char| letter.is_control()), "{shown:?}");
}

fn block(block: &Block) {
    // The file lies over itself.
    assert!(block.rules.len() <= 2 * limits::SHAPING_RULES_MAX);
    assert!(block.matches.len() <= 2 * limits::SHAPING_MATCHES_MAX);
    block.settings.iter().chain(block.sources.iter().flat_map(|(_, settings)| settings)).for_each(setting);
    for rule in &block.rules {
        assert!(!rule.patterns.is_empty());
        assert!(rule.actions.is_empty() || rule.duration.is_some());
    }
}

/// What is shown means the same.
fn setting(setting: &Setting) {
    let shown = setting.value.to_string();
    match &setting.value {
        Value::Limit(limit) => assert_eq!(value::limit(&shown), Some(*limit)),
        Value::Rate(rate) => assert_eq!(value::rate(&shown), Some(*rate)),
        Value::Time(time) => assert_eq!(value::time(&shown), Some(*time), "{shown}"),
        Value::Count(count) => assert!((1..=limits::SHAPING_NUMBER_MAX).contains(count)),
        Value::Tls(_) | Value::Flag(_) => assert!(!shown.is_empty()),
        Value::Source(name) => assert!(!name.is_empty() && name.len() <= limits::DOMAIN_MAX),
    }
}
