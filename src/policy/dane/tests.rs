//! A table of verdicts: handshakes in memory with hosts of all kinds of certificates, by all kinds of records.

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{Connection, ServerConfig, ServerConnection};

use super::*;

struct Made {
    certificate: Certificate,
    key: KeyPair,
}

fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters
}

fn authority(name: &str) -> (Certificate, Issuer<'static, KeyPair>) {
    let mut parameters = parameters(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (certificate, Issuer::new(parameters, key))
}

fn host(parameters: &CertificateParams, issuer: Option<&Issuer<'static, KeyPair>>) -> Made {
    let key = KeyPair::generate().expect("a key");
    let certificate = match issuer {
        Some(issuer) => parameters.signed_by(&key, issuer),
        None => parameters.self_signed(&key),
    };
    Made { certificate: certificate.expect("a certificate"), key }
}

fn record(usage: u8, selector: u8, matching: u8, certificate: &Certificate) -> TlsAssociation {
    let selected = match selector {
        0 => certificate.der().as_ref().to_vec(),
        _ => EndEntityCert::try_from(certificate.der())
            .expect("a certificate")
            .subject_public_key_info()
            .as_ref()
            .to_vec(),
    };
    let data = match matching {
        0 => selected,
        1 => digest(&SHA256, &selected).as_ref().to_vec(),
        _ => digest(&SHA512, &selected).as_ref().to_vec(),
    };
    TlsAssociation { usage, selector, matching, data: data.into() }
}

fn shake(records: Vec<TlsAssociation>, host: &Made, chain: &[&Certificate]) -> Result<(), String> {
    let chain = std::iter::once(&host.certificate).chain(chain.iter().copied()).map(|one| one.der().clone());
    let key = PrivateKeyDer::try_from(host.key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.collect(), key)
        .expect("a certificate and its key");
    let mut ours = client(records.into()).expect("settings").connection("mx.a.example").expect("a name");
    let mut theirs = Connection::from(ServerConnection::new(Arc::new(config)).expect("a server"));
    for _ in 0..8 {
        pass(&mut ours, &mut theirs);
        let _ = theirs.process_new_packets();
        pass(&mut theirs, &mut ours);
        ours.process_new_packets().map_err(|error| flaw(&error).unwrap_or_else(|| error.to_string()))?;
    }
    assert!(!ours.is_handshaking());
    Ok(())
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

#[test]
fn verdicts() {
    let (root, issuer) = authority("authority");
    let (other, _) = authority("another");
    let mut late = parameters("mx.a.example");
    late.not_after = date_time_ymd(2020, 1, 1);
    let own = host(&parameters("mx.elsewhere.example"), None);
    let expired = host(&late, None);
    let issued = host(&parameters("mx.a.example"), Some(&issuer));
    let foreign = host(&parameters("mx.b.example"), Some(&issuer));
    let late = host(&late, Some(&issuer));
    let no = "is another than the DNS names";
    let wrong = |usage| record(usage, 1, 1, &other);
    for (what, records, host, chain, wanted) in [
        ("3 1 1, whatever its name", vec![record(3, 1, 1, &own.certificate)], &own, vec![], Ok(())),
        ("3 0 2", vec![record(3, 0, 2, &own.certificate)], &own, vec![], Ok(())),
        ("3 1 0", vec![record(3, 1, 0, &own.certificate)], &own, vec![], Ok(())),
        ("3 0 0, whatever its time", vec![record(3, 0, 0, &expired.certificate)], &expired, vec![], Ok(())),
        ("one of two", vec![wrong(3), record(3, 1, 1, &own.certificate)], &own, vec![], Ok(())),
        ("of another", vec![wrong(3)], &own, vec![], Err(no)),
        ("a root in place of the host", vec![record(3, 1, 1, &root)], &issued, vec![&root], Err(no)),
        ("2 1 1", vec![record(2, 1, 1, &root)], &issued, vec![&root], Ok(())),
        ("2 0 1", vec![record(2, 0, 1, &root)], &issued, vec![&root], Ok(())),
        ("a root that is not shown", vec![record(2, 1, 1, &root)], &issued, vec![], Err(no)),
        ("another root beside it", vec![wrong(2)], &issued, vec![&root, &other], Err("")),
        ("another name", vec![record(2, 1, 1, &root)], &foreign, vec![&root], Err("")),
        ("another time", vec![record(2, 1, 1, &root)], &late, vec![&root], Err("")),
        (
            "the host in place of the root",
            vec![record(2, 1, 1, &issued.certificate)],
            &issued,
            vec![&root],
            Err(no),
        ),
    ] {
        let told = shake(records, host, &chain);
        match (told, wanted) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(words)) => assert!(error.contains(words), "{what}: {error}"),
            (told, wanted) => panic!("{what}: {told:?}, not {wanted:?}"),
        }
    }
}

/// RFC 7672 section 3.1.3 and 2.2.
#[test]
fn records_that_cannot_be_used_ask_for_tls_and_no_more() {
    let (root, _) = authority("authority");
    let good = record(3, 1, 1, &root);
    for (record, usable) in [
        (good.clone(), true),
        (TlsAssociation { usage: 2, ..good.clone() }, true),
        (TlsAssociation { usage: 0, ..good.clone() }, false),
        (TlsAssociation { usage: 1, ..good.clone() }, false),
        (TlsAssociation { usage: 4, ..good.clone() }, false),
        (TlsAssociation { selector: 2, ..good.clone() }, false),
        (TlsAssociation { matching: 3, ..good.clone() }, false),
        (TlsAssociation { matching: 2, ..good.clone() }, false),
        (TlsAssociation { data: Box::default(), ..good.clone() }, false),
        (TlsAssociation { matching: 0, data: Box::default(), ..good.clone() }, false),
    ] {
        let all = vec![record.clone()].into();
        let wanted = if usable { Demand::Verified(all) } else { Demand::Unverified(all) };
        assert_eq!(Demand::of(std::slice::from_ref(&record)), wanted, "{record:?}");
        assert!(matches!(Demand::of(&[record, good.clone()]), Demand::Verified(_)));
    }
}
