//! Whom this machine trusts to issue certificates.

use std::fmt;

use rustls::pki_types::CertificateDer;

/// There are none.
#[derive(Debug)]
pub struct NoAuthorities(Option<rustls_native_certs::Error>);

impl fmt::Display for NoAuthorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(error) => error.fmt(formatter),
            None => formatter.write_str("no certificates were found"),
        }
    }
}

/// The authorities of the operating system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where the environment has these.
pub fn trusted() -> Result<Vec<CertificateDer<'static>>, NoAuthorities> {
    let result = rustls_native_certs::load_native_certs();
    // One file among many that cannot be read keeps nobody from trusting the others.
    if !result.certs.is_empty() {
        return Ok(result.certs);
    }
    Err(NoAuthorities(result.errors.into_iter().next()))
}
