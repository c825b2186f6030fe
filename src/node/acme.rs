//! What listeners and pages with `acme = true` show: the certificate that is kept, or one of our own until an authority gave one.

use std::sync::Arc;

use crate::config::{Config, acme_files};
use crate::control::ShownCertificate;
use crate::control::acme::{AcmeSettings, Wanted};
use crate::limits;
use crate::node::sts::{InForce, Settings};
use crate::policy::certificate::Certificate;
use crate::policy::tls::{self, Renewed};
use crate::runtime::files;

/// As it is known already, or as it is at a start. A start that finds none shows one that nobody has signed: clients that verify no certificate, as
/// other mail servers, have TLS all the same.
pub(super) fn showing(config: &Config, known: Option<&Arc<Renewed>>) -> Arc<Renewed> {
    let renewed = known.cloned().unwrap_or_default();
    if config.uses_acme() && renewed.shown().is_none() {
        let both = acme_files(&config.node.data_dir);
        let kept = tls::certified_key(&both, |path| files::read_whole(path, limits::PEM_FILE_MAX)).ok();
        let key = kept.or_else(|| {
            let text = placeholder(&config.acme.names(&config.node.hostname))?;
            tls::certified_key(&both, |_| Ok(text.clone().into_bytes())).ok()
        });
        key.into_iter().for_each(|key| renewed.show(key));
    }
    renewed
}

/// Certificate and key, signed by nobody else.
fn placeholder(names: &[&str]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).ok()?;
    Some(format!("{}\n{}", made.cert.pem(), made.signing_key.serialize_pem()))
}

/// What it says of itself.
pub(super) fn shown(config: &Config, renewed: &Renewed) -> Option<ShownCertificate> {
    let key = renewed.shown()?;
    let host = config.acme.names(&config.node.hostname).first().map(|name| (*name).to_owned())?;
    let file = acme_files(&config.node.data_dir).certificate.display().to_string();
    let (certificate, for_host) = (Certificate::of(&key.cert)?, Certificate::is_for(&key.cert, &host));
    Some(ShownCertificate { file, certificate, for_host, host })
}

impl<T: InForce> AcmeSettings for Settings<T> {
    fn acme(&self) -> Option<Wanted> {
        let live = self.0.in_force();
        let config = &live.config;
        config.uses_acme().then(|| Wanted {
            config: config.acme.clone(),
            hostname: config.node.hostname.clone(),
            renewed: live.renewed.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn there_is_always_something_to_show() {
        let scratch = tempfile::tempdir().unwrap();
        let text = format!(
            "[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"{}\"\n[[listener]]\nacme = true\n[acme]\nagree_tos = true\n",
            scratch.path().display()
        );
        let config = Config::parse(&text, Path::new("relevo.toml")).unwrap();
        let first = showing(&config, None);
        let of = shown(&config, &first).unwrap();
        assert!(of.for_host && of.host == "mx1.example.net");
        // It is nobody's business to keep it.
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        assert!(Arc::ptr_eq(&showing(&config, Some(&first)), &first), "a reload goes on with it");
        let kept = acme_files(scratch.path()).certificate;
        std::fs::create_dir(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, placeholder(&["mx1.example.net"]).unwrap()).unwrap();
        let (one, other) = (showing(&config, None), showing(&config, None));
        let certificate = |of: &Renewed| of.shown().unwrap().cert.clone();
        assert!(certificate(&one) == certificate(&other) && certificate(&one) != certificate(&first));
        std::fs::write(&kept, "cut off").unwrap();
        assert!(showing(&config, None).shown().is_some(), "what cannot be read is none");
    }
}
