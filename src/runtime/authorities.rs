//! Whom this machine trusts to issue certificates.

use rustls::pki_types::CertificateDer;

/// The authorities of the operating system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where the environment has these; or why there are
/// none, in words.
pub fn trusted() -> Result<Vec<CertificateDer<'static>>, String> {
    let result = rustls_native_certs::load_native_certs();
    // One file among many that cannot be read keeps nobody from trusting the others.
    if !result.certs.is_empty() {
        return Ok(result.certs);
    }
    Err(result.errors.first().map_or_else(|| "no certificates were found".to_owned(), ToString::to_string))
}
