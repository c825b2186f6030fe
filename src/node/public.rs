//! What pages for anybody are served by: the secret that their links are sealed with, which is made in the data directory when it is first wanted, and the
//! certificate, both of the configuration that is in force.

use std::io;
use std::sync::Arc;

use crate::config::suppression::SuppressionScope;
use crate::config::{Config, ConfigError};
use crate::control::unsubscribe::{PublicInForce, PublicSettings};
use crate::limits;
use crate::mail::unsubscribe::Links;
use crate::node::files::Filled;
use crate::node::secrets;
use crate::node::sts::{InForce, Settings};
use crate::spool::layout;

/// What writes ways out of lists, where pages are served. Links are followed for years: a start never makes another secret.
pub(super) fn load(config: &Config) -> io::Result<Option<Arc<Links>>> {
    if config.public.is_off() {
        return Ok(None);
    }
    let secrets = secrets::load(&config.node.data_dir.join(layout::UNSUBSCRIBE_SECRET), None)?;
    let all = std::iter::once(&secrets.current).chain(&secrets.previous);
    let all = all.map(|(_, secret)| {
        secret.first_chunk::<{ limits::UNSUBSCRIBE_SECRET }>().ok_or_else(|| io::Error::other(SHORT))
    });
    let all: Vec<&[u8; limits::UNSUBSCRIBE_SECRET]> = all.collect::<Result<_, _>>()?;
    let mail_domain = config.feedback.verp_domain.as_deref();
    Ok(Some(Arc::new(Links::new(config.public.host(&config.node.hostname), mail_domain, all))))
}

/// Puts it where what files hold is. What is wrong with it, as an error of the configuration.
pub(super) fn put_into(filled: &mut Filled, config: &Config) -> Option<ConfigError> {
    match load(config) {
        Ok(links) => {
            filled.contents.links = links;
            None
        }
        Err(error) => {
            let path = config.node.data_dir.join(layout::UNSUBSCRIBE_SECRET);
            Some(config.places.remark("public", format!("{}: {error}", path.display()), "mend the file"))
        }
    }
}

const SHORT: &str = "a secret in it has fewer than 32 bytes (64 digits)";

impl<T: InForce> PublicSettings for Settings<T> {
    fn public(&self) -> PublicInForce {
        let live = self.0.in_force();
        let of_node = live.config.suppression.scope == SuppressionScope::Node;
        PublicInForce { tls: live.public_tls.clone(), links: live.links.clone(), of_node }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::mail::unsubscribe::Listed;
    use crate::time::UnixMillis;

    #[test]
    fn links_hold_as_long_as_their_secret() {
        let scratch = tempfile::tempdir().unwrap();
        let read = |more: &str| {
            let directory = scratch.path().display();
            let text = format!("[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"{directory}\"\n{more}");
            Config::parse(&text, Path::new("relevo.toml")).unwrap()
        };
        assert!(load(&read("")).unwrap().is_none());
        let path = scratch.path().join(layout::UNSUBSCRIBE_SECRET);
        assert!(!path.exists());
        let config = read("[public]\nhttp = \"127.0.0.1:8081\"\n");
        let listed = Listed {
            address: "a@b.example".into(),
            tenant: String::new(),
            campaign: String::new(),
            day: UnixMillis(0),
        };
        let fields = load(&config).unwrap().unwrap().fields(&listed).unwrap();
        assert!(fields.starts_with("List-Unsubscribe: <https://mx1.example.net/u/u1"), "{fields}");
        let text = std::fs::read_to_string(&path).unwrap();
        let token = fields.split_once("/u/").unwrap().1.split_once('>').unwrap().0;
        // Another is put in front by hand, and what is out is believed.
        std::fs::write(&path, format!("1790000000 {}\n{text}", "11".repeat(32))).unwrap();
        let after = load(&config).unwrap().unwrap();
        assert!(after.read(token) == Some(listed.clone()) && after.fields(&listed).unwrap() != fields);
        std::fs::write(&path, format!("1790000000 {}\n", "11".repeat(16))).unwrap();
        assert!(load(&config).unwrap_err().to_string().contains("fewer than 32 bytes"));
    }
}
