//! Keys of the domains in these stories, and what DNS has of them.

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relevo::config::DkimConfig;
use relevo::mail::dkim::PrivateKey;
use relevo::policy::signing::{KeyFile, Signing, Written};

use super::verify::Published;

const KEYS: [(&str, &str); 2] =
    [("r1", include_str!("keys/rsa.pem")), ("e1", include_str!("keys/ed25519.pem"))];
/// The keys of the domains that a configuration has in lines `#dkim DOMAIN`.
pub fn signing(configuration: &str) -> Option<Arc<Signing>> {
    let domains = configuration.lines().filter_map(|line| line.strip_prefix("#dkim "));
    let file = |domain: Arc<str>| {
        KEYS.map(|(selector, text)| KeyFile::new(&domain, selector, Written::default(), text).expect("a key"))
    };
    let files: Vec<KeyFile> = domains.flat_map(|domain| file(domain.into())).collect();
    (!files.is_empty()).then(|| Arc::new(Signing::new(&DkimConfig::default(), files)))
}

/// What DNS has of them for a domain: all have the same keys.
pub fn published(domain: &str) -> [Published<'_>; 2] {
    static PUBLIC: LazyLock<[(&str, Vec<u8>); 2]> = LazyLock::new(|| {
        KEYS.map(|(selector, text)| {
            let record = PrivateKey::from_pem(text).expect("a key").txt_record().expect("a record");
            let (_, key) = record.rsplit_once("p=").expect("a key");
            let key = STANDARD.decode(key).expect("base64");
            // RSA has its algorithm in front: 24 bytes.
            (selector, if record.contains("k=rsa") { key[24..].to_vec() } else { key })
        })
    });
    [0, 1].map(|place| Published { domain, selector: PUBLIC[place].0, key: &PUBLIC[place].1 })
}
