//! What operators write.

use std::path::Path;
use std::time::Duration;

use relevo::config::{Config, DomainPattern, target, value};
use relevo::limits;

/// Any text is a configuration within its bounds, or errors that name a place.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Config::parse(&text, Path::new("f.toml")) {
        Ok(config) => assert_config(&config),
        Err(errors) => {
            assert!(!errors.is_empty());
            let lines = text.matches('\n').count() + 1;
            for error in errors {
                assert!((1..=lines).contains(&error.line), "line {} of {lines}", error.line);
                assert!(!error.problem.is_empty() && !error.fix.is_empty(), "{error:?}");
                let shown = error.to_string();
                assert!(shown.starts_with("f.toml:"));
                assert!(!shown.contains(|letter: char| letter.is_control()), "{shown:?}");
            }
        }
    }
    for word in text.split_ascii_whitespace().take(64) {
        values(word);
    }
}

fn assert_config(config: &Config) {
    assert!(!config.listeners.is_empty());
    assert!(!config.node.hostname.is_empty() && config.node.hostname.is_ascii());
    assert!(config.node.shards <= limits::SHARDS_MAX);
    for listener in &config.listeners {
        assert!((1..=limits::RECIPIENTS_MAX).contains(&listener.recipients_max));
        let taken = !listener.gateway.domains.is_empty();
        let named = config.accounts.is_some() && listener.tls.is_some();
        assert!(!listener.relay_from.is_empty() || taken || named);
    }
    for route in &config.routes {
        if let DomainPattern::Exact(domain) | DomainPattern::Suffix(domain) = &route.domain {
            assert!(!domain.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }
    let retry = &config.retry;
    assert!(retry.first <= retry.max && (1.0..=100.0).contains(&retry.factor));
    let spool = &config.spool;
    assert!((limits::SEGMENT_SIZE_MIN..=limits::SEGMENT_SIZE_MAX).contains(&spool.segment_size));
    assert!(spool.segment_size.is_multiple_of(limits::BLOCK));
    assert!(!config.dns.timeout.is_zero() && config.dns.attempts > 0);
    assert!(config.delivery.connections_per_destination > 0 && config.delivery.mx_port > 0);
}

fn values(word: &str) {
    const LONGEST: Duration = Duration::from_secs(366 * 86_400);
    if let Ok(span) = value::duration(word) {
        assert!(span <= LONGEST, "{word} is {span:?}");
        let shown = value::show_duration(span);
        assert!(shown.contains('.') || value::duration(&shown) == Ok(span), "{word} is shown as {shown}");
    }
    if let Ok(size) = value::size(word) {
        assert_eq!(value::size(&value::show_size(size)), Ok(size));
    }
    if let Ok(network) = value::network(word) {
        assert!(network.contains(network.address));
    }
    let _ = (value::pattern(word), value::socket(word, Some(25)));
    if let Ok(to) = target::target(word) {
        assert_eq!(target::target(&to.to_string()), Ok(to));
    }
    assert!(value::name_servers(word, |_| None).len() <= 1);
}
