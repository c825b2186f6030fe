//! What lies in `data_dir/acme`: the account at the authority, and the certificate with its key. For the relay's user alone, each whole or not there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use crate::config::TlsFiles;
use crate::limits;
use crate::policy::certificate::Certificate;
use crate::policy::tls;
use crate::runtime::{files, replace};
use crate::spool::layout;

/// Those files.
pub(super) struct Kept {
    certificate: PathBuf,
    account: PathBuf,
}

/// Certificate and key of a text that has both.
pub(super) fn certified(text: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let file = PathBuf::from("what came from the authority");
    let both = TlsFiles { certificate: file.clone(), key: file };
    tls::certified_key(&both, |_| Ok(text.to_vec())).map_err(|unusable| unusable.to_string())
}

impl Kept {
    pub(super) fn new(data_dir: &Path) -> Kept {
        Kept { certificate: layout::acme_certificate(data_dir), account: layout::acme_account(data_dir) }
    }

    /// Where the certificate is.
    pub(super) fn file(&self) -> &Path {
        &self.certificate
    }

    /// What the certificate says that there is.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        let text = files::read_whole(&self.certificate, limits::PEM_FILE_MAX).ok()?;
        certified(&text).ok().and_then(|key| Certificate::of(&key.cert))
    }

    /// Puts another in its place.
    pub(super) fn write(&self, text: &[u8]) -> io::Result<()> {
        put(&self.certificate, text)
    }

    /// The account at an authority, if there is one.
    pub(super) fn account(&self) -> Option<Vec<u8>> {
        files::read_whole(&self.account, limits::ACME_ACCOUNT_MAX).ok()
    }

    /// Remembers it.
    pub(super) fn write_account(&self, text: &[u8]) -> io::Result<()> {
        put(&self.account, text)
    }
}

fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), files::make_directories)?;
    replace::change_whole(path, limits::PEM_FILE_MAX, |_| Ok::<_, io::Error>(text.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_is_for_nobody_else() {
        let scratch = tempfile::tempdir().unwrap();
        let kept = Kept::new(scratch.path());
        assert!(kept.certificate().is_none() && kept.account().is_none());
        let key = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let text = format!("{}\n{}", key.cert.pem(), key.signing_key.serialize_pem());
        kept.write(text.as_bytes()).unwrap();
        kept.write_account(b"{}").unwrap();
        assert_eq!(kept.certificate().unwrap().names, ["a.example"]);
        for path in [kept.file(), &kept.account] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // A key of another certificate is none.
        let other = rcgen::generate_simple_self_signed(vec!["b.example".to_owned()]).unwrap();
        assert!(
            certified(format!("{}\n{}", key.cert.pem(), other.signing_key.serialize_pem()).as_bytes())
                .is_err()
        );
        assert!(certified(key.cert.pem().as_bytes()).is_err() && certified(b"").is_err());
    }
}
