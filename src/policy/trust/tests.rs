//! Handshakes in memory with hosts of all kinds of certificates.

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Connection, HandshakeKind, ServerConfig, ServerConnection};

use super::*;

type Authority = (Certificate, Issuer<'static, KeyPair>);

fn parameters(names: &[&str]) -> CertificateParams {
    let mut parameters =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    if let Ok(parameters) = &mut parameters {
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, *names.first().unwrap_or(&"nobody"));
    }
    parameters.expect("names")
}

fn authority(name: &str) -> Authority {
    let mut parameters = parameters(&[name]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (certificate, Issuer::new(parameters, key))
}

/// A server with a certificate of this issuer, or of its own.
fn server(parameters: &CertificateParams, issuer: Option<&Authority>) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let certificate = match issuer {
        Some((_, issuer)) => parameters.signed_by(&key, issuer),
        None => parameters.self_signed(&key),
    };
    let chain = vec![certificate.expect("a certificate").der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_no_client_auth().with_single_cert(chain, key);
    Arc::new(config.expect("a certificate and its key"))
}

/// Shakes hands, and says how.
fn shake(client: &Client, server: &Arc<ServerConfig>, name: &str) -> Result<Option<HandshakeKind>, Error> {
    let mut ours = client.connection(name)?;
    let mut theirs = Connection::from(ServerConnection::new(server.clone())?);
    for _ in 0..8 {
        pass(&mut ours, &mut theirs);
        let read = theirs.process_new_packets();
        pass(&mut theirs, &mut ours);
        // What the client says comes first: the server only hears of it.
        ours.process_new_packets()?;
        read?;
    }
    assert!(!ours.is_handshaking() && !theirs.is_handshaking());
    Ok(ours.handshake_kind())
}

fn pass(from: &mut Connection, to: &mut Connection) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).expect("into memory");
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).expect("from memory");
        let _ = to.process_new_packets();
    }
}

fn trusting(authority: &Authority) -> Client {
    verifying(vec![authority.0.der().clone()]).expect("an authority")
}

#[test]
fn only_a_valid_certificate_for_the_host_will_do() {
    let ours = authority("Ours");
    let (verifying, any) = (trusting(&ours), Client::new().expect("a configuration"));
    let past = |mut parameters: CertificateParams| {
        parameters.not_before = date_time_ymd(2019, 1, 1);
        parameters.not_after = date_time_ymd(2020, 2, 29);
        parameters
    };
    let mut future = parameters(&["mx.a.example"]);
    future.not_before = date_time_ymd(2190, 12, 31);
    future.not_after = date_time_ymd(2191, 1, 1);
    let strangers = authority("Theirs");
    let many = parameters(&["b.example", "*.b.example", "c.example", "d.example"]);
    for (parameters, issuer, host, flaw) in [
        (parameters(&["mx.a.example"]), Some(&ours), "mx.a.example", None),
        (parameters(&["mx.a.example"]), Some(&ours), "mx.a.example.", None),
        (parameters(&["*.a.example"]), Some(&ours), "MX.a.example", None),
        (parameters(&["192.0.2.1"]), Some(&ours), "192.0.2.1", None),
        (parameters(&["2001:db8::1"]), Some(&ours), "2001:db8::1", None),
        (past(parameters(&["mx.a.example"])), Some(&ours), "mx.a.example", Some("expired on 2020-02-29")),
        (future, Some(&ours), "mx.a.example", Some("does not hold before 2190-12-31")),
        (
            parameters(&["mx.a.example"]),
            Some(&ours),
            "192.0.2.1",
            Some("is for mx.a.example, not for 192.0.2.1"),
        ),
        (many, Some(&ours), "a.example", Some("is for b.example, *.b.example, c.example, not for a.example")),
        (
            parameters(&["a.example"]),
            Some(&ours),
            "mx.a.example",
            Some("is for a.example, not for mx.a.example"),
        ),
        (
            parameters(&["*.a.example"]),
            Some(&ours),
            "a.b.a.example",
            Some("is for *.a.example, not for a.b.a.example"),
        ),
        (
            parameters(&["192.0.2.1"]),
            Some(&ours),
            "192.0.2.2",
            Some("is for no host name, not for 192.0.2.2"),
        ),
        (
            parameters(&["mx.a.example"]),
            Some(&strangers),
            "mx.a.example",
            Some("was issued by nobody that this machine trusts"),
        ),
        (parameters(&["mx.a.example"]), None, "mx.a.example", Some("is self-signed")),
    ] {
        let server = server(&parameters, issuer);
        let verified = shake(&verifying, &server, host);
        let found = verified.as_ref().err().and_then(super::flaw);
        match flaw {
            None => assert!(verified.is_ok(), "{host}: {verified:?}"),
            Some(flaw) => {
                assert!(found.as_ref().is_some_and(|found| found.starts_with(flaw)), "{flaw}: {verified:?}")
            }
        }
        assert!(shake(&any, &server, host).is_ok(), "{flaw:?}");
    }
}

/// As `openssl req -x509` makes them: an authority, and a host at once.
#[test]
fn an_authority_is_no_host() {
    let ours = authority("Ours");
    let mut both = parameters(&["mx.a.example"]);
    both.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let refused = shake(&trusting(&ours), &server(&both, None), "mx.a.example").expect_err("self-signed");
    assert_eq!(flaw(&refused).as_deref(), Some("is self-signed"));
    assert_eq!(flaw(&Error::HandshakeNotComplete), None);
}

/// A session that came up with any certificate is not resumed by who wants a valid one.
#[test]
fn sessions_are_not_mixed() {
    let ours = authority("Ours");
    let (verifying, any) = (trusting(&ours), Client::new().expect("a configuration"));
    let (good, bad) =
        (server(&parameters(&["a.example"]), Some(&ours)), server(&parameters(&["a.example"]), None));
    for (client, server) in [(&any, &bad), (&verifying, &good)] {
        assert_eq!(shake(client, server, "a.example"), Ok(Some(HandshakeKind::Full)));
        assert_eq!(shake(client, server, "a.example"), Ok(Some(HandshakeKind::Resumed)));
    }
    assert!(shake(&verifying, &bad, "a.example").is_err());
}

#[test]
fn nobody_is_trusted_where_there_is_nobody() {
    for authorities in [vec![], vec![CertificateDer::from(vec![1, 2, 3])]] {
        assert_eq!(verifying(authorities).err(), Some(NoAuthority));
    }
}
