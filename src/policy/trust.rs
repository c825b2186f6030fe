//! Next hops that have to prove who they are: by a certificate of an authority that this machine trusts, that holds now (RFC 5280 section 6)
//! and is for the host that was connected to (RFC 9525).

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

use crate::limits;
use crate::policy::certificate::day;
use crate::policy::tls::{Client, provider};

/// There is no authority among the certificates that a machine trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAuthority;

/// TLS to hosts with a certificate of one of these authorities, and to no others.
pub fn verifying(authorities: Vec<CertificateDer<'static>>) -> Result<Client, NoAuthority> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build();
    let verifier = Verifying(verifier.map_err(|_| NoAuthority)?);
    Client::with(Arc::new(verifier)).map_err(|_| NoAuthority)
}

/// As rustls verifies, but that it tells more of what is wrong.
#[derive(Debug)]
struct Verifying(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verifying {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| explained(error, end_entity, server_name))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The host issued its certificate itself.
#[derive(Debug)]
struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("is self-signed")
    }
}

impl std::error::Error for SelfSigned {}

/// The same error, with what the certificate says of its issuer and its names: what rustls repeats of these may hold any bytes.
fn explained(error: Error, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Error {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return error };
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_))
            if certificate.issuer() == certificate.subject() =>
        {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(SelfSigned))))
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            let expected = name.to_owned();
            let names = certificate.valid_dns_names().take(limits::CERTIFICATE_NAMES_TOLD);
            let presented = names.map(str::to_owned).collect();
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented })
        }
        error => error,
    }
}

/// What is wrong with the certificate that a host showed, to be said behind "the certificate"; None: the error is about something else.
pub fn flaw(error: &Error) -> Option<String> {
    let Error::InvalidCertificate(flaw) = error else { return None };
    Some(match flaw {
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}", day(not_after.as_secs()))
        }
        CertificateError::NotValidYet => "does not hold yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("does not hold before {}", day(not_before.as_secs()))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no host name".to_owned() } else { presented.join(", ") };
            format!("is for {names}, not for {}", expected.to_str())
        }
        CertificateError::UnknownIssuer => {
            "was issued by nobody that this machine trusts, or its chain is incomplete".to_owned()
        }
        CertificateError::Other(OtherError(error)) if error.is::<SelfSigned>() => error.to_string(),
        error => format!("cannot be used ({error})"),
    })
}

#[cfg(test)]
mod tests;
