//! The TLS we speak: with a certificate from files towards clients, opportunistic towards next hops.

mod client;
mod clients;
mod names;
mod renewed;
mod tickets;

pub use client::Client;
pub use clients::ClientAuthorities;
pub use renewed::Renewed;
pub use tickets::Tickets;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};

use crate::config::TlsFiles;
use names::ByName;
use renewed::Always;

/// AES of 128 bits before 256: its key schedule hashes with SHA-256, which processors have an instruction for and SHA-384 mostly not, and
/// that is a good part of a handshake. All that rustls offers stays on offer.
pub(super) fn provider() -> Arc<CryptoProvider> {
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

/// The certificates of authorities, from such a file.
pub fn authorities(path: &Path, text: io::Result<Vec<u8>>) -> Result<ClientAuthorities, Unusable> {
    let all = text.map_err(Flaw::Unreadable).and_then(|text| read_chain(&text));
    all.and_then(|all| ClientAuthorities::new(all).ok_or(Flaw::NoCertificate)).map_err(|flaw| Unusable {
        path: path.to_owned(),
        of_key: false,
        flaw,
    })
}

/// The certificates of a text; none where one of them cannot be read.
pub fn chain(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().unwrap_or_default()
}

/// Why certificate and key cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// The file that is to blame.
    pub path: PathBuf,
    /// It is the key's fault, not the certificate's.
    pub of_key: bool,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What is wrong with a certificate or a key.
#[derive(Debug)]
pub enum Flaw {
    /// The file cannot be read.
    Unreadable(io::Error),
    /// What is in it is no PEM.
    Pem(pem::Error),
    /// A section that begins in this line has no end.
    CutOff(usize),
    /// There is no certificate in the file for it.
    NoCertificate,
    /// There is no key in the file for it.
    NoKey,
    /// There is a certificate in its place.
    CertificateForKey,
    /// A password protects the key.
    Encrypted,
    /// A kind of key that TLS has no use for here.
    StrangeKey,
    /// The key in that file belongs to another certificate.
    OtherKey(PathBuf),
    /// TLS refuses the certificate.
    Refused(rustls::Error),
    /// The machine gives no random key for session tickets.
    NoTickets(rustls::Error),
}

/// What is wrong with a text that is no PEM.
fn of_pem(text: &[u8], error: pem::Error) -> Flaw {
    if !matches!(error, pem::Error::MissingSectionEnd { .. }) {
        return Flaw::Pem(error);
    }
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let mut begun = None;
    for (at, line) in lines {
        if line.starts_with(b"-----BEGIN ") {
            if begun.is_some() {
                break;
            }
            begun = Some(at + 1);
        } else if line.starts_with(b"-----END ") {
            begun = None;
        }
    }
    begun.map_or(Flaw::Pem(error), Flaw::CutOff)
}

impl Flaw {
    /// What to do.
    fn fix(&self, of_key: bool) -> &'static str {
        match self {
            Flaw::Encrypted => {
                "write it without one: `openssl pkey -in FILE -out NEW`, for the relay's user alone"
            }
            Flaw::StrangeKey => "make a key of one of these kinds, and get a certificate for it",
            Flaw::OtherKey(_) => "give the key that belongs to the certificate",
            Flaw::Refused(_) => "get another certificate for the key",
            Flaw::NoTickets(_) => "start again",
            Flaw::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "let the relay's user read it, and only them if it is a key"
            }
            _ if of_key => "give a PEM file with the private key",
            _ => "give a PEM file with the certificate chain",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Unreadable(error) => write!(formatter, "{error}"),
            Flaw::CutOff(line) => {
                write!(
                    formatter,
                    "line {line}: the section of PEM that begins here has no end (a line -----END ...-----)"
                )
            }
            Flaw::Pem(pem::Error::IllegalSectionStart { line }) => {
                let line = String::from_utf8_lossy(line);
                write!(formatter, "this line begins no section of PEM: {:?}", line.trim_end())
            }
            Flaw::Pem(error) => write!(formatter, "{error}"),
            Flaw::NoCertificate => write!(formatter, "there is no certificate in it"),
            Flaw::NoKey => write!(formatter, "there is no private key in it"),
            Flaw::CertificateForKey => write!(formatter, "there is a certificate in it and no key"),
            Flaw::Encrypted => {
                write!(formatter, "the key is encrypted, and nobody is there to type its password")
            }
            Flaw::StrangeKey => {
                let kinds = "RSA of 2048 bits or more, ECDSA on P-256 or P-384, Ed25519";
                write!(formatter, "it is no key that can be used here ({kinds})")
            }
            Flaw::OtherKey(path) => {
                write!(formatter, "the key in {} is not the certificate's", path.display())
            }
            Flaw::Refused(error) => write!(formatter, "{error}"),
            Flaw::NoTickets(error) => write!(formatter, "no random key for session tickets: {error}"),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}; {}", self.path.display(), self.flaw, self.flaw.fix(self.of_key))
    }
}

impl std::error::Error for Unusable {}

/// A certificate chain and its key, from files that `read` reads; its tickets are its own.
pub fn server(
    files: &TlsFiles,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Arc<ServerConfig>, Unusable> {
    several(&[files], &Tickets::default(), None, read)
}

/// Several of them, at least one: each is shown to those who ask for a name in it, and the first to all others. Clients are asked for theirs where there
/// are authorities that they may have one of.
pub fn several(
    all: &[&TlsFiles],
    tickets: &Tickets,
    clients: Option<&ClientAuthorities>,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Arc<ServerConfig>, Unusable> {
    let provider = provider();
    let keys: Vec<_> =
        all.iter().map(|files| certified(files, &provider, &read)).collect::<Result<_, _>>()?;
    let path = all.first().map(|files| files.certificate.clone()).unwrap_or_default();
    showing(Arc::new(ByName::new(keys)), &provider, (tickets, clients)).map_err(|flaw| Unusable {
        path,
        of_key: false,
        flaw,
    })
}

/// The same with one that is replaced by and by.
pub fn renewed(
    current: &Arc<Renewed>,
    tickets: &Tickets,
    clients: Option<&ClientAuthorities>,
) -> Result<Arc<ServerConfig>, Flaw> {
    showing(Arc::new(Always(current.clone())), &provider(), (tickets, clients))
}

fn showing(
    certificates: Arc<dyn ResolvesServerCert>,
    provider: &Arc<CryptoProvider>,
    (tickets, clients): (&Tickets, Option<&ClientAuthorities>),
) -> Result<Arc<ServerConfig>, Flaw> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Flaw::Refused)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.ignore_client_order = true;
    // A client that comes again needs one ticket, and no memory of ours: whichever shard it comes to can read it.
    config.ticketer = tickets.key().map_err(Flaw::NoTickets)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// A certificate chain and its key, which go together.
pub fn certified_key(
    files: &TlsFiles,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Arc<CertifiedKey>, Unusable> {
    certified(files, &provider(), &read)
}

/// One of them.
fn certified(
    files: &TlsFiles,
    provider: &CryptoProvider,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Arc<CertifiedKey>, Unusable> {
    let of_certificate = |flaw| Unusable { path: files.certificate.clone(), of_key: false, flaw };
    let of_key = |flaw| Unusable { path: files.key.clone(), of_key: true, flaw };
    let chain = read(&files.certificate)
        .map_err(Flaw::Unreadable)
        .and_then(|text| read_chain(&text))
        .map_err(of_certificate)?;
    let key = read(&files.key)
        .map_err(Flaw::Unreadable)
        .and_then(|text| read_key(&text))
        .and_then(|key| match provider.key_provider.load_private_key(key.clone_key()) {
            Ok(_) => Ok(key),
            Err(_) => Err(Flaw::StrangeKey),
        })
        .map_err(of_key)?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Flaw::OtherKey(files.key.clone()),
        error => Flaw::Refused(error),
    });
    certified.map(Arc::new).map_err(of_certificate)
}

fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| of_pem(text, error))?;
    if chain.is_empty() { Err(Flaw::NoCertificate) } else { Ok(chain) }
}

fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Flaw> {
    let has = |words: &str| text.windows(words.len()).any(|part| part == words.as_bytes());
    // RFC 7468 section 11, and the older form of RFC 1421.
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        return Err(Flaw::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if has("-----BEGIN CERTIFICATE-----") => Flaw::CertificateForKey,
        pem::Error::NoItemsFound => Flaw::NoKey,
        error => of_pem(text, error),
    })
}
