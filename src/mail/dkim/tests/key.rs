use super::super::key::{Algorithm, KeyFlaw, PrivateKey};
use super::super::pem;
use super::examples::ed25519;

fn flaw(text: &str) -> KeyFlaw {
    PrivateKey::from_pem(text).err().unwrap_or_else(|| panic!("a key: {text}"))
}

/// An element of DER whose content is shorter than 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16;
    [&[tag, 0x82], &length.to_be_bytes()[..], content].concat()
}

/// The begin of an RSA key whose modulus has so many bits.
fn rsa_of(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= (8 - bits % 8) % 8;
    modulus.insert(0, 0);
    element(0x30, &[element(2, &[0]), element(2, &modulus)].concat())
}

#[test]
fn new_keys_go_into_a_file_and_come_back() {
    for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let text = key.to_pem().unwrap();
        assert!(
            text.starts_with("-----BEGIN PRIVATE KEY-----\nM") && text.lines().all(|line| line.len() <= 64)
        );
        let mail = format!("Subject: the key\r\n\r\n{}\r\nregards", text.replace('\n', " \r\n"));
        for text in [text.as_str(), &mail] {
            let read = PrivateKey::from_pem(text).unwrap();
            assert_eq!(read.algorithm(), algorithm);
            assert_eq!(read.txt_record().unwrap(), key.txt_record().unwrap());
        }
        assert_eq!(format!("{key:?}"), format!("PrivateKey({})", algorithm.name()), "no secret in a log");
        if algorithm == Algorithm::RsaSha256 {
            // Of 2048 bits and the exponent 65537: the same begin and end for all.
            let record = key.txt_record().unwrap();
            assert!(record.starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"));
            assert!(record.ends_with("IDAQAB"));
            let der = pem::sections(&text).ok().unwrap().remove(0).bytes.unwrap();
            let old = pem::write("RSA PRIVATE KEY", pem::pkcs8(&der).unwrap().1);
            assert_eq!(PrivateKey::from_pem(&old).unwrap().txt_record().unwrap(), record);
        }
    }
}

#[test]
fn what_is_no_key_is_told_apart() {
    let section = |label: &str, bytes: &[u8]| pem::write(label, bytes);
    assert_eq!(flaw(""), KeyFlaw::NoPem);
    assert_eq!(flaw("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), KeyFlaw::NoPem);
    assert_eq!(flaw("-----BEGIN PRIVATE KEY-----\nAAAA\n"), KeyFlaw::CutOff);
    assert_eq!(flaw("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END KEY-----\n"), KeyFlaw::CutOff);
    assert_eq!(flaw("-----BEGIN PRIVATE KEY-----\nA!\n-----END PRIVATE KEY-----\n"), KeyFlaw::Damaged);
    assert_eq!(flaw(&section("PRIVATE KEY", b"abc")), KeyFlaw::Damaged);
    assert_eq!(flaw(&section("PUBLIC KEY", b"abc")), KeyFlaw::Public);
    assert_eq!(flaw(&section("RSA PUBLIC KEY", b"abc")), KeyFlaw::Public);
    assert_eq!(flaw(&section("CERTIFICATE", b"abc")), KeyFlaw::NoKey);
    assert_eq!(flaw(&section("ENCRYPTED PRIVATE KEY", b"abc")), KeyFlaw::Encrypted);
    assert_eq!(flaw(&section("OPENSSH PRIVATE KEY", b"abc")), KeyFlaw::OpenSsh);
    assert_eq!(flaw(&section("EC PRIVATE KEY", b"abc")), KeyFlaw::OtherAlgorithm);
    let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA";
    let old = format!("-----BEGIN RSA PRIVATE KEY-----\n{headers}\n-----END RSA PRIVATE KEY-----\n");
    assert_eq!(flaw(&old), KeyFlaw::Encrypted);
    // id-ecPublicKey
    let algorithm = element(0x30, &element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]));
    let ec = element(0x30, &[element(2, &[0]), algorithm, element(4, b"abc")].concat());
    assert_eq!(flaw(&section("PRIVATE KEY", &ec)), KeyFlaw::OtherAlgorithm);
}

#[test]
fn rsa_has_2048_to_4096_bits() {
    for (bits, expected) in [
        (512, KeyFlaw::Short(512)),
        (1024, KeyFlaw::Short(1024)),
        (2047, KeyFlaw::Short(2047)),
        (2048, KeyFlaw::Damaged),
        (4096, KeyFlaw::Damaged),
        (4097, KeyFlaw::Long(4097)),
    ] {
        assert_eq!(flaw(&pem::write("RSA PRIVATE KEY", &rsa_of(bits))), expected, "{bits}");
    }
    assert_eq!(
        KeyFlaw::Short(1024).to_string(),
        "an RSA key of 1024 bits is too short: a signature is to have 2048 at least (RFC 8301)"
    );
}

#[test]
fn damaged_keys_harm_nobody() {
    for text in [PrivateKey::generate(Algorithm::RsaSha256).unwrap().to_pem(), ed25519().to_pem()] {
        let der = pem::sections(&text.unwrap()).ok().unwrap().remove(0).bytes.unwrap();
        for at in 0..der.len().min(80) {
            let mut damaged = der.clone();
            damaged[at] ^= 0x55;
            let _ = PrivateKey::from_pem(&pem::write("PRIVATE KEY", &damaged));
            let _ = PrivateKey::from_pem(&pem::write("RSA PRIVATE KEY", &damaged));
            assert!(PrivateKey::from_pem(&pem::write("PRIVATE KEY", &der[..at])).is_err());
        }
    }
}
