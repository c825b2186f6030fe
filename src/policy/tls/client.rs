//! TLS towards next hops: opportunistic, or by a verifier that the policy gives.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::policy::tls::provider;

/// TLS towards next hops. Each has sessions of its own that are resumed.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl Client {
    /// Against listeners on the line, not against impostors: any certificate will do.
    pub fn new() -> Result<Client, rustls::Error> {
        Client::with(Arc::new(Opportunistic(provider())))
    }

    /// To hosts whose certificates this one takes.
    pub(in crate::policy) fn with(verifier: Arc<dyn ServerCertVerifier>) -> Result<Client, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        config.enable_sni = true;
        Ok(Client { config: Arc::new(config), verifier })
    }

    /// For a library that speaks it.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// A connection to the host of this name (or address).
    pub fn connection(&self, name: &str) -> Result<rustls::Connection, rustls::Error> {
        Ok(self.waiting(name)?.into())
    }

    /// The same for a thread that waits for it.
    pub fn waiting(&self, name: &str) -> Result<rustls::ClientConnection, rustls::Error> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| rustls::Error::General(format!("{name} is no name TLS can ask for")))?;
        rustls::ClientConnection::new(self.config.clone(), name)
    }

    /// What it would have said of certificates that a host of this name showed to another.
    pub fn judge(
        &self,
        shown: &[CertificateDer<'_>],
        name: &str,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| rustls::Error::General("it has no name that TLS can ask for".into()))?;
        let (first, others) = shown.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.verifier.verify_server_cert(first, others, &name, &[], now).map(|_| ())
    }
}

/// Takes any certificate. Between mail servers without DANE or MTA-STS a refused certificate would only mean plain text
/// (RFC 7435), so it is not looked at. Nor are the handshake's signatures: they prove that the host has the key of a certificate that
/// anybody may have made, and that cannot even be read where it is of X.509's first version or its key is short.
#[derive(Debug)]
struct Opportunistic(Arc<CryptoProvider>);

impl ServerCertVerifier for Opportunistic {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
