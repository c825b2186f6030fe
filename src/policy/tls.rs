//! The TLS we speak: with a certificate from files towards clients, opportunistic towards next hops.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

use crate::config::TlsFiles;

/// AES of 128 bits before 256: its key schedule hashes with SHA-256, which processors have an instruction for and SHA-384 mostly not, and
/// that is a good part of a handshake. All that rustls offers stays on offer.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        suite if format!("{suite:?}").starts_with("TLS13") => 1,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 2,
        _ => 3,
    });
    Arc::new(provider)
}

/// A certificate chain and its key, from files that `read` reads. The error says which file and what to do.
pub fn server(
    files: &TlsFiles,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Arc<ServerConfig>, String> {
    let named = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        format!("{}: {error}; give a PEM file with the {what}", path.display())
    };
    let chain = read(&files.certificate)
        .map_err(|error| named(&files.certificate, "certificate chain", &error))
        .and_then(|text| {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
            chain.map_err(|error| named(&files.certificate, "certificate chain", &error))
        })?;
    if chain.is_empty() {
        return Err(named(&files.certificate, "certificate chain", &"there is no certificate in it"));
    }
    let key = read(&files.key).map_err(|error| named(&files.key, "private key", &error))?;
    let key =
        PrivateKeyDer::from_pem_slice(&key).map_err(|error| named(&files.key, "private key", &error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| {
            let words = match error {
                rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
                error => error.to_string(),
            };
            format!("{} and {}: {words}", files.certificate.display(), files.key.display())
        })?;
    config.ignore_client_order = true;
    // A client that comes again needs one ticket, and no memory of ours: whichever shard it comes to can read it.
    config.ticketer =
        Ticketer::new().map_err(|error| format!("no random key for session tickets: {error}"))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// TLS towards next hops: against listeners on the line, not against impostors.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// The one client configuration.
    pub fn new() -> Result<Client, rustls::Error> {
        let provider = provider();
        let verifier = Arc::new(Opportunistic(provider.clone()));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.enable_sni = true;
        Ok(Client(Arc::new(config)))
    }

    /// A connection to the host of this name (or address).
    pub fn connection(&self, name: &str) -> Result<rustls::Connection, rustls::Error> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| rustls::Error::General(format!("{name} is no name TLS can ask for")))?;
        Ok(rustls::ClientConnection::new(self.0.clone(), name)?.into())
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
