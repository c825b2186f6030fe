//! The TLS we speak: with a certificate from files towards clients, opportunistic towards next hops.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::pem::{self, PemObject};
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

/// The certificates of a text; none where one of them cannot be read.
pub fn chain(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().unwrap_or_default()
}

/// Why certificate and key cannot be used: words for the operator, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// It is the key's fault, not the certificate's.
    pub of_key: bool,
    /// Which file, what is wrong and what to do.
    pub words: String,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.words)
    }
}

/// A certificate chain and its key, from files that `read` reads.
pub fn server(
    files: &TlsFiles,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Arc<ServerConfig>, Unusable> {
    let provider = provider();
    let chain = read(&files.certificate)
        .map_err(|error| error.to_string())
        .and_then(|text| read_chain(&text))
        .map_err(|words| unusable(files, false, &words, "give a PEM file with the certificate chain"))?;
    let key = read(&files.key)
        .map_err(|error| (error.to_string(), "give a PEM file with the private key"))
        .and_then(|text| read_key(&text))
        .and_then(|key| match provider.key_provider.load_private_key(key.clone_key()) {
            Ok(_) => Ok(key),
            Err(_) => Err((
                "it is no key that can be used here (RSA of 2048 bits or more, ECDSA on P-256 or P-384, Ed25519)".to_owned(),
                "make a key of one of these kinds, and get a certificate for it",
            )),
        })
        .map_err(|(words, fix)| unusable(files, true, &words, fix))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let words = format!("the key in {} is not the certificate's", files.key.display());
                unusable(files, false, &words, "give the key that belongs to the certificate")
            }
            error => unusable(files, false, &error.to_string(), "get another certificate for the key"),
        })?;
    config.ignore_client_order = true;
    // A client that comes again needs one ticket, and no memory of ours: whichever shard it comes to can read it.
    config.ticketer = Ticketer::new().map_err(|error| {
        unusable(files, true, &format!("no random key for session tickets: {error}"), "start again")
    })?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn unusable(files: &TlsFiles, of_key: bool, problem: &str, fix: &str) -> Unusable {
    let file = if of_key { &files.key } else { &files.certificate };
    Unusable { of_key, words: format!("{}: {problem}; {fix}", file.display()) }
}

fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("there is no certificate in it".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(error.to_string()),
    }
}

/// The key of a text; else what is wrong with it and what to do.
fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, (String, &'static str)> {
    let has = |words: &str| text.windows(words.len()).any(|part| part == words.as_bytes());
    // RFC 7468 section 11, and the older form of RFC 1421.
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        return Err((
            "the key is encrypted, and nobody is there to type its password".to_owned(),
            "write it without one: `openssl pkey -in FILE -out NEW`, for the relay's user alone",
        ));
    }
    let fix = "give a PEM file with the private key";
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if has("-----BEGIN CERTIFICATE-----") => {
            ("there is a certificate in it and no key".to_owned(), fix)
        }
        pem::Error::NoItemsFound => ("there is no private key in it".to_owned(), fix),
        error => (error.to_string(), fix),
    })
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
