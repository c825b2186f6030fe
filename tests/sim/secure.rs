//! Next hops under TLS, with certificates of an authority that the relay trusts where its configuration has the line `#authority`.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use relevo::config::TlsFiles;
use relevo::policy::{tls, trust};
use relevo::runtime::Stream;
use relevo::runtime::sim::SimStream;
use rustls::pki_types::CertificateDer;
use rustls::{Connection, ServerConfig, ServerConnection};

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut parameters = CertificateParams::new(vec!["authority.example".to_owned()]).expect("a name");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate").der().clone();
        Authority { certificate, issuer: Issuer::new(parameters, key) }
    })
}

/// TLS that trusts that authority.
pub fn verifying() -> tls::Client {
    trust::verifying(vec![authority().certificate.clone()]).expect("an authority")
}

/// What a host of this name shows: valid, or made by itself.
pub fn host(name: &str, valid: bool) -> Arc<ServerConfig> {
    let (chain, key) = certificate(name, valid);
    let files = TlsFiles { certificate: "chain".into(), key: "key".into() };
    let read = |path: &Path| Ok(if path == files.key { &key } else { &chain }.clone().into_bytes());
    tls::server(&files, read).expect("a certificate and its key")
}

/// The same as PEM: the certificate and its key.
pub fn certificate(name: &str, valid: bool) -> (String, String) {
    let parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let made =
        if valid { parameters.signed_by(&key, &authority().issuer) } else { parameters.self_signed(&key) };
    (made.expect("a certificate").pem(), key.serialize_pem())
}

/// One side of a connection, in plain text until it is protected.
pub struct Secure {
    stream: SimStream,
    tls: Option<Box<Connection>>,
    input: Vec<u8>,
}

impl Secure {
    pub fn new(stream: SimStream) -> Secure {
        Secure { stream, tls: None, input: Vec::new() }
    }

    pub fn is_protected(&self) -> bool {
        self.tls.is_some()
    }

    /// The handshake. An error: the client does not like what it is shown.
    pub async fn protect(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        self.shake(connection.into()).await
    }

    /// The same by whichever side.
    pub async fn shake(&mut self, connection: Connection) -> io::Result<()> {
        self.tls = Some(Box::new(connection));
        self.flush().await?;
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.receive().await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let length = loop {
            match self.stream.try_recv(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.stream.poll_readable(context)).await;
                }
                Err(error) => return Err(error),
            }
        };
        let Some(tls) = &mut self.tls else {
            self.input.extend_from_slice(&buffer[..length]);
            return Ok(());
        };
        let mut rest = &buffer[..length];
        let mut processed = Ok(());
        while !rest.is_empty() && processed.is_ok() {
            tls.read_tls(&mut rest)?;
            processed = tls.process_new_packets().map(|_| ()).map_err(io::Error::other);
            let mut plain = [0; 16 * 1024];
            while let Ok(length) = tls.reader().read(&mut plain) {
                if length == 0 {
                    break;
                }
                self.input.extend_from_slice(&plain[..length]);
            }
        }
        self.flush().await?;
        processed
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut out)?;
            }
        }
        self.send_raw(&out).await
    }

    async fn send_raw(&self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.stream.try_send(&[IoSlice::new(rest)]) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.stream.poll_writable(context)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next line, without its end.
    pub async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.receive().await?;
        }
    }

    pub async fn send(&mut self, text: &str) -> io::Result<()> {
        match &mut self.tls {
            None => self.send_raw(text.as_bytes()).await,
            Some(tls) => {
                tls.writer().write_all(text.as_bytes())?;
                self.flush().await
            }
        }
    }
}
