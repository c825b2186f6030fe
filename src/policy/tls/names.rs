//! Which certificate a client is shown: by the host name that it asks for (SNI, RFC 6066 section 3), and by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::policy::certificate::Certificate;

/// Certificates of a listener, by the names in them.
#[derive(Debug)]
pub(super) struct ByName {
    /// In the order of the configuration: the first is for those who ask for no name, or one that none is for.
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<Box<str>, Vec<usize>>,
    /// Of `*.example.net`, as `example.net`: all names one label below (RFC 6125 section 6.4.3).
    below: HashMap<Box<str>, Vec<usize>>,
}

impl ByName {
    /// Of these, at least one.
    pub(super) fn new(all: Vec<Arc<CertifiedKey>>) -> ByName {
        let (mut exact, mut below) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (place, key) in all.iter().enumerate() {
            for name in Certificate::of(&key.cert).map(|read| read.names).unwrap_or_default() {
                let name = name.to_ascii_lowercase();
                let (by, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut below, parent),
                    None => (&mut exact, &*name),
                };
                by.entry(Box::from(name)).or_default().push(place);
            }
        }
        ByName { all, exact, below }
    }

    /// The one for this name, of a kind that the client takes. Where the name has none of such a kind, its first: the handshake fails then, as the
    /// client would have to break it off over the name of any other. Where it has none at all, the first of such a kind, or the first.
    fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let name = name.as_deref().unwrap_or_default();
        let exact = self.exact.get(name);
        let below = name.split_once('.').and_then(|(_, parent)| self.below.get(parent));
        let mut named =
            exact.into_iter().chain(below).flatten().filter_map(|place| self.all.get(*place)).peekable();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        match named.peek().copied() {
            Some(first) => named.find(fits).or(Some(first)),
            None => self.all.iter().find(fits).or(self.all.first()),
        }
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    fn made(names: &[&str], kind: &'static SignatureAlgorithm) -> Arc<CertifiedKey> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate_for(kind).expect("a key");
        let certificate =
            CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = rustls::crypto::ring::default_provider();
        Arc::new(
            CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider)
                .expect("they go together"),
        )
    }

    #[test]
    fn each_name_has_its_certificate() {
        let all = vec![
            made(&["first.example"], &PKCS_ECDSA_P256_SHA256),
            made(&["mx.example", "*.mail.example"], &PKCS_ECDSA_P256_SHA256),
            made(&["a.mail.example"], &PKCS_ECDSA_P256_SHA256),
            made(&["mx.example"], &PKCS_ED25519),
        ];
        let by = ByName::new(all.clone());
        let place = |name, schemes: &[SignatureScheme]| {
            let picked = by.pick(name, schemes).expect("there is always one");
            all.iter().position(|one| Arc::ptr_eq(one, picked)).expect("one of them")
        };
        let any = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];
        for (name, expected) in [
            (None, 0),
            (Some("first.example"), 0),
            (Some("mx.example"), 1),
            (Some("MX.Example."), 1),
            (Some("b.mail.example"), 1),
            // Its own before one for all beside it.
            (Some("a.mail.example"), 2),
            // One label, not two, and not the name itself.
            (Some("a.b.mail.example"), 0),
            (Some("mail.example"), 0),
            (Some("*.mail.example"), 1),
            (Some("nobody.example"), 0),
            (Some(""), 0),
        ] {
            assert_eq!(place(name, &any), expected, "{name:?}");
        }
        // Two of a name, of two kinds of key: whichever the client can verify.
        let only_ed = [SignatureScheme::ED25519];
        assert_eq!(place(Some("mx.example"), &only_ed), 3);
        // One kind of key, and the client takes another: never what is another name's.
        let only_rsa = [SignatureScheme::RSA_PSS_SHA256];
        assert_eq!(place(Some("first.example"), &only_ed), 0);
        assert_eq!(place(Some("b.mail.example"), &only_ed), 1);
        assert_eq!(place(Some("mx.example"), &only_rsa), 1);
        // Who asks for none, or for one that none is for, gets what it can verify.
        assert_eq!((place(None, &only_ed), place(Some("nobody.example"), &only_ed)), (3, 3));
        assert_eq!(place(None, &only_rsa), 0, "what fails fails by the first");
    }
}
