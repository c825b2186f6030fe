//! Certificates of clients: whoever has one of an authority that the operator named is one of the names in it, without a password.
//!
//! Any certificate will do for a handshake, as long as the client has its key: servers of strangers show theirs too, and would be left with plain text.
//! What it proves is asked behind the handshake, also of one that was resumed: authorities and the clock may have changed since.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::time::UnixMillis;

/// Authorities whose clients are believed.
#[derive(Debug)]
pub struct ClientAuthorities {
    roots: RootCertStore,
}

impl ClientAuthorities {
    /// These, if there is one among them.
    pub fn new(authorities: Vec<CertificateDer<'static>>) -> Option<ClientAuthorities> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities);
        (!roots.is_empty()).then_some(ClientAuthorities { roots })
    }

    /// Asks clients for a certificate of these, and takes any or none.
    pub(super) fn verifier(&self, provider: &Arc<CryptoProvider>) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Asking { provider: provider.clone(), subjects: self.roots.subjects() })
    }

    /// The names that whoever has the key of this chain's first certificate has, as one of the authorities says at that time (RFC 5280 section 6). None:
    /// he proved nothing.
    pub fn names(&self, chain: &[CertificateDer<'_>], now: UnixMillis) -> Vec<String> {
        let Some((first, intermediates)) = chain.split_first() else { return Vec::new() };
        let Ok(certificate) = EndEntityCert::try_from(first) else { return Vec::new() };
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        let proven = certificate.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.roots.roots,
            intermediates,
            now,
            KeyUsage::client_auth(),
            None,
            None,
        );
        if proven.is_err() {
            return Vec::new();
        }
        // What stands for many names is nobody's.
        let own = certificate.valid_dns_names().filter(|name| !name.starts_with('*'));
        own.map(str::to_owned).collect()
    }
}

/// See [`ClientAuthorities::verifier`].
#[derive(Debug)]
struct Asking {
    provider: Arc<CryptoProvider>,
    /// What clients choose by which of theirs they show.
    subjects: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        date_time_ymd,
    };

    use super::*;

    /// An authority, by its certificate and with what it signs.
    fn authority(name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate").der().clone();
        (certificate, Issuer::new(parameters, key))
    }

    fn client(
        issuer: &Issuer<'_, KeyPair>,
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> Vec<CertificateDer<'static>> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key");
        vec![parameters.signed_by(&key, issuer).expect("a certificate").der().clone()]
    }

    /// 2026, and what is between the two ends of those certificates.
    const NOW: UnixMillis = UnixMillis(1_780_000_000_000);

    #[test]
    fn a_name_is_proven_by_an_authority_that_holds_now() {
        let ((own, issuer), (_, stranger)) = (authority("own"), authority("other"));
        let believed = ClientAuthorities::new(vec![own]).expect("an authority");
        let names = |chain: &[CertificateDer<'_>], now| believed.names(chain, now);
        let plain = |_: &mut CertificateParams| {};
        let chain = client(&issuer, &["app7", "b.example", "*.example"], plain);
        assert_eq!(names(&chain, NOW), ["app7", "b.example"], "not those of many");
        assert_eq!(names(&chain, UnixMillis(1_500_000_000_000)), [""; 0], "before it begins");
        assert_eq!(names(&chain, UnixMillis(2_000_000_000_000)), [""; 0], "behind its end");
        assert_eq!(names(&client(&stranger, &["app7"], plain), NOW), [""; 0]);
        assert_eq!(names(&[], NOW), [""; 0], "none was shown");
        assert_eq!(names(&[CertificateDer::from(vec![1, 2, 3])], NOW), [""; 0]);
        // One for servers alone says nothing of a client.
        for (purpose, proven) in
            [(ExtendedKeyUsagePurpose::ServerAuth, false), (ExtendedKeyUsagePurpose::ClientAuth, true)]
        {
            let chain = client(&issuer, &["app7"], |made| made.extended_key_usages = vec![purpose.clone()]);
            assert_eq!(!names(&chain, NOW).is_empty(), proven);
        }
        assert!(ClientAuthorities::new(Vec::new()).is_none());
    }
}
