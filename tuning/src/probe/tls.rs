//! What TLS costs on one core: handshakes, signatures, encryption, all in memory.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{Certificate, CertificateParams, KeyPair};
use relevo_load::{sys, tls};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SignatureScheme};
use serde::Serialize;

/// A key made for this measurement alone; it secures nothing. ring cannot make RSA keys.
const RSA_KEY: &[u8] = include_bytes!("rsa-2048.der");
/// Bytes encrypted in one go.
const RECORDS: usize = 64 << 10;

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What most servers have.
    Rsa2048,
    /// What they should have.
    EcdsaP256,
}

impl Kind {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Rsa2048 => "RSA 2048",
            Kind::EcdsaP256 => "ECDSA P-256",
        }
    }
}

/// What a kind of key costs: a second on one core.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// What it is called.
    pub name: &'static str,
    /// Full handshakes as server, which signs.
    pub server: f64,
    /// Full handshakes as client, which verifies.
    pub client: f64,
    /// Signatures.
    pub signatures: f64,
}

/// Encryption on one core.
#[derive(Clone, Debug, Serialize)]
pub struct Bulk {
    /// Bytes encrypted, MB a second.
    pub encrypted: f64,
    /// Bytes decrypted, MB a second.
    pub decrypted: f64,
    /// The cipher suite.
    pub suite: String,
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("TLS: {error}"))
}

fn private_key(kind: Kind) -> io::Result<PrivatePkcs8KeyDer<'static>> {
    match kind {
        Kind::Rsa2048 => Ok(PrivatePkcs8KeyDer::from(RSA_KEY)),
        Kind::EcdsaP256 => Ok(PrivatePkcs8KeyDer::from(KeyPair::generate().map_err(failed)?.serialize_der())),
    }
}

/// A certificate for `localhost`, and its key.
fn certified(kind: Kind) -> io::Result<(Certificate, KeyPair, PrivatePkcs8KeyDer<'static>)> {
    let key = private_key(kind)?;
    let algorithm = match kind {
        Kind::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        Kind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
    };
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key, algorithm).map_err(failed)?;
    let params = CertificateParams::new(["localhost".to_owned()]).map_err(failed)?;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    Ok((certificate, pair, key))
}

/// The same as files have them: certificate and key, PEM.
pub(super) fn identity(kind: Kind) -> io::Result<(String, String)> {
    let (certificate, pair, _) = certified(kind)?;
    Ok((certificate.pem(), pair.serialize_pem()))
}

/// A client that takes any certificate. No session is resumed: each handshake is a full one.
pub(super) fn client() -> io::Result<Arc<ClientConfig>> {
    let mut client = (*tls::trusting_client()?).clone();
    client.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(client))
}

/// Both ends.
fn ends(kind: Kind) -> io::Result<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let (certificate, _, key) = certified(kind)?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key))
        .map_err(failed)?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok((Arc::new(server), client()?))
}

/// Processor time of a step, added to `spent`.
fn timed<T>(spent: &mut Duration, step: impl FnOnce() -> T) -> T {
    let before = sys::thread_cpu();
    let made = step();
    *spent += sys::thread_cpu().saturating_sub(before);
    made
}

/// One handshake; what each end spent on it is added to `spent`, server first.
fn shake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    spent: &mut [Duration; 2],
) -> io::Result<(ServerConnection, ClientConnection)> {
    let [server_spent, client_spent] = spent;
    let name = ServerName::try_from("localhost").map_err(failed)?;
    let mut server = timed(server_spent, || ServerConnection::new(Arc::clone(server))).map_err(failed)?;
    let mut client =
        timed(client_spent, || ClientConnection::new(Arc::clone(client), name)).map_err(failed)?;
    let mut wire = Vec::new();
    // Two round trips do; a bound all the same.
    for _ in 0..10 {
        wire.clear();
        timed(client_spent, || client.write_tls(&mut wire))?;
        timed(server_spent, || read(&wire, |bytes| server.read_tls(bytes)))?;
        timed(server_spent, || server.process_new_packets()).map_err(failed)?;
        wire.clear();
        while server.wants_write() {
            timed(server_spent, || server.write_tls(&mut wire))?;
        }
        timed(client_spent, || read(&wire, |bytes| client.read_tls(bytes)))?;
        timed(client_spent, || client.process_new_packets()).map_err(failed)?;
        if !server.is_handshaking() && !client.is_handshaking() {
            return Ok((server, client));
        }
    }
    Err(failed("the handshake did not end"))
}

fn read(mut wire: &[u8], mut step: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) -> io::Result<()> {
    while !wire.is_empty() {
        if step(&mut wire)? == 0 {
            return Err(failed("a connection that reads no more"));
        }
    }
    Ok(())
}

fn per_second(count: u64, spent: Duration) -> f64 {
    count as f64 / spent.as_secs_f64().max(1e-9)
}

/// Handshakes and signatures with a kind of key, for about `time`.
pub fn key(kind: Kind, time: Duration) -> io::Result<Key> {
    let (server, client) = ends(kind)?;
    let (began, mut spent, mut shakes) = (Instant::now(), [Duration::ZERO; 2], 0);
    while began.elapsed() < time.mul_f64(0.7) || shakes == 0 {
        shake(&server, &client, &mut spent)?;
        shakes += 1;
    }
    let scheme = match kind {
        Kind::Rsa2048 => SignatureScheme::RSA_PSS_SHA256,
        Kind::EcdsaP256 => SignatureScheme::ECDSA_NISTP256_SHA256,
    };
    let key = ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(private_key(kind)?)).map_err(failed)?;
    let signer = key.choose_scheme(&[scheme]).ok_or_else(|| failed("the key cannot sign"))?;
    let (began, mut signing, mut signatures) = (Instant::now(), Duration::ZERO, 0);
    while began.elapsed() < time.mul_f64(0.3) || signatures == 0 {
        timed(&mut signing, || signer.sign(b"what a server signs in a handshake")).map_err(failed)?;
        signatures += 1;
    }
    Ok(Key {
        name: kind.name(),
        server: per_second(shakes, spent[0]),
        client: per_second(shakes, spent[1]),
        signatures: per_second(signatures, signing),
    })
}

/// Bytes through one connection, for about `time`.
pub fn bulk(time: Duration) -> io::Result<Bulk> {
    use std::io::{Read, Write};
    let (server, client) = ends(Kind::EcdsaP256)?;
    let (mut server, mut client) = shake(&server, &client, &mut [Duration::ZERO; 2])?;
    let (plain, mut wire, mut back) = (vec![b'm'; RECORDS], Vec::new(), vec![0; RECORDS]);
    let (mut encrypting, mut decrypting, mut bytes) = (Duration::ZERO, Duration::ZERO, 0u64);
    let began = Instant::now();
    while began.elapsed() < time || bytes == 0 {
        wire.clear();
        let taken = timed(&mut encrypting, || -> io::Result<usize> {
            let taken = client.writer().write(&plain)?;
            while client.wants_write() {
                client.write_tls(&mut wire)?;
            }
            Ok(taken)
        })?;
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            timed(&mut decrypting, || -> io::Result<()> {
                server.read_tls(&mut rest)?;
                server.process_new_packets().map_err(failed)?;
                loop {
                    match server.reader().read(&mut back) {
                        Ok(0) => return Ok(()),
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
            })?;
        }
        bytes += taken as u64;
    }
    let suite = server.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    Ok(Bulk {
        encrypted: per_second(bytes, encrypting) / 1e6,
        decrypted: per_second(bytes, decrypting) / 1e6,
        suite: suite.unwrap_or_default(),
    })
}
