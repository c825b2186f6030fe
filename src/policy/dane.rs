//! DANE (RFC 7672, RFC 7671): certificates of hosts as signed zones of the DNS name them. Pure; `shard::outbound::resolve` asks for the records.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

use crate::dns::TlsAssociation;
use crate::limits;
use crate::policy::tls::{Client, provider};

/// What the records of a host ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// One of these fits.
    Verified(Arc<[TlsAssociation]>),
    /// There are these, and none that can be used: TLS, with any certificate (RFC 7672 section 2.2).
    Unverified(Arc<[TlsAssociation]>),
}

impl Demand {
    /// Of the records of a host, of which there are some.
    pub fn of(records: &[TlsAssociation]) -> Demand {
        let usable: Vec<_> = records.iter().filter(|record| is_usable(record)).cloned().collect();
        if usable.is_empty() { Demand::Unverified(records.into()) } else { Demand::Verified(usable.into()) }
    }
}

/// RFC 7672 section 3.1.3: usages 0 and 1 mean nothing between mail servers.
fn is_usable(record: &TlsAssociation) -> bool {
    let length = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == SHA256.output_len(),
        2 => record.data.len() == SHA512.output_len(),
        _ => false,
    };
    matches!(record.usage, TRUST_ANCHOR | END_ENTITY) && record.selector <= 1 && length
}

/// DANE-TA: it issued the host's certificate, or whoever did.
const TRUST_ANCHOR: u8 = 2;
/// DANE-EE: it is the host's certificate.
const END_ENTITY: u8 = 3;

/// TLS to hosts by their records, as it was set up last: sessions that came up by the same are resumed.
#[derive(Debug, Default)]
pub struct Clients(HashMap<String, (Arc<[TlsAssociation]>, Client)>);

impl Clients {
    /// That to this host.
    pub fn client(&mut self, host: &str, records: &Arc<[TlsAssociation]>) -> Result<Client, Error> {
        if let Some((known, client)) = self.0.get(host)
            && known == records
        {
            return Ok(client.clone());
        }
        if self.0.len() >= limits::DANE_CLIENTS_MAX {
            self.0.clear();
        }
        let made = client(records.clone())?;
        self.0.insert(host.to_owned(), (records.clone(), made.clone()));
        Ok(made)
    }
}

/// TLS to a host whose records are these.
pub fn client(records: Arc<[TlsAssociation]>) -> Result<Client, Error> {
    let provider = provider();
    Client::with(Arc::new(Dane { records, provider }))
}

#[derive(Debug)]
struct Dane {
    records: Arc<[TlsAssociation]>,
    provider: Arc<CryptoProvider>,
}

/// Whether no record fits what the host shows.
pub fn is_mismatch(error: &Error) -> bool {
    flaw(error).is_some()
}

/// No record fits what the host shows.
#[derive(Debug)]
struct NoMatch;

impl std::fmt::Display for NoMatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("is another than the DNS names")
    }
}

impl std::error::Error for NoMatch {}

/// Words on an error of this kind, to be said behind "the certificate".
pub fn flaw(error: &Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(error))) if error.is::<NoMatch>() => {
            Some(error.to_string())
        }
        _ => None,
    }
}

impl Dane {
    fn fits(&self, usage: u8, certificate: &CertificateDer<'_>) -> bool {
        self.records.iter().filter(|record| record.usage == usage).any(|record| matches(record, certificate))
    }

    /// Whether it was issued by this one, or by who was issued by it, and is for this name, now (RFC 7672 section 3.1.2).
    fn is_issued_by(
        &self,
        anchor: &CertificateDer<'_>,
        (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone()).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, name, &[], now).map(|_| ())
    }
}

/// RFC 6698 section 2.1: what is compared, and how.
fn matches(record: &TlsAssociation, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => certificate.as_ref().to_vec(),
        _ => match EndEntityCert::try_from(certificate) {
            Ok(read) => read.subject_public_key_info().as_ref().to_vec(),
            Err(_) => return false,
        },
    };
    match record.matching {
        0 => selected == *record.data,
        1 => digest(&SHA256, &selected).as_ref() == &*record.data,
        _ => digest(&SHA512, &selected).as_ref() == &*record.data,
    }
}

impl ServerCertVerifier for Dane {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Neither its name nor its time counts (RFC 7672 section 3.1.1).
        if self.fits(END_ENTITY, end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let mut last = Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NoMatch))));
        for anchor in intermediates.iter().filter(|anchor| self.fits(TRUST_ANCHOR, anchor)) {
            match self.is_issued_by(anchor, (end_entity, intermediates), server_name, now) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
