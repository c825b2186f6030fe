//! `kind` of a listener: who comes there, and how.

use crate::config::literal::{Fix, quoted, word};
use crate::config::section::Section;
use crate::config::{GatewayConfig, TlsFiles};

/// What a listener is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Mail servers and applications (RFC 5321): who may relay does so, and others reach what `relay_to` names.
    #[default]
    Relay,
    /// Those who send mail of their own, after STARTTLS and a login (RFC 6409).
    Submission,
    /// The same under TLS from the first byte (RFC 8314 section 3.3).
    Submissions,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Relay, Kind::Submission, Kind::Submissions];

    /// As the configuration has it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Relay => "relay",
            Kind::Submission => "submission",
            Kind::Submissions => "submissions",
        }
    }

    /// The port that clients look for it at (RFC 5321 4.5.4.2, RFC 6409 section 3.1, RFC 8314 section 7.3).
    pub fn port(self) -> u16 {
        match self {
            Kind::Relay => 25,
            Kind::Submission => 587,
            Kind::Submissions => 465,
        }
    }

    /// Whether clients begin with a TLS handshake.
    pub fn is_tls_first(self) -> bool {
        self == Kind::Submissions
    }

    /// Whether nobody brings mail who neither logged in nor is in `relay_from` (RFC 6409 section 4.3).
    pub fn needs_login(self) -> bool {
        self != Kind::Relay
    }
}

pub(super) fn read(section: &Section<'_>) -> Kind {
    section.read("kind", Kind::default(), |value| word(value, Kind::ALL.map(|kind| (kind.word(), kind))))
}

/// What has no meaning at a listener of this kind, or is missing there.
pub(super) fn check(
    section: &Section<'_>,
    kind: Kind,
    gateway: &GatewayConfig,
    (tls, proxy_tls): (Option<&TlsFiles>, bool),
) {
    if kind.needs_login() && !gateway.domains.is_empty() {
        let problem = format!("nothing is taken from strangers where kind = {}", quoted(kind.word()));
        let fix = "name them at a listener with kind = \"relay\", where other servers come in";
        section.fail("relay_to", "", &problem, Fix::Do(fix.to_owned()));
    }
    if !kind.is_tls_first() {
        return;
    }
    if tls.is_none() && section.lacks("tls_certificate") && section.lacks("tls_key") {
        let more = " and tls_key, PEM files, or kind = \"submission\"";
        let fix = Fix::Write(quoted("/etc/relevo/chain.pem"), more.to_owned());
        section.fail("tls_certificate", "", "TLS from the first byte needs a certificate", fix);
    }
    if proxy_tls {
        let problem = "either the proxy ends TLS or this listener does";
        let fix = "write kind = \"submission\" where the proxy does, and it comes from there in plain text";
        section.fail("proxy_tls", "", problem, Fix::Do(fix.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ListenerConfig};

    const TLS: &str = "tls_certificate = \"/chain.pem\"\ntls_key = \"/key.pem\"\n";

    fn read(keys: &str, accounts: bool) -> Result<ListenerConfig, String> {
        let accounts = if accounts { "[auth]\naccounts = \"/accounts\"\n" } else { "" };
        let text = format!("[[listener]]\naddress = \"127.0.0.1:587\"\n{keys}\n{accounts}");
        let config = Config::parse(&text, Path::new("relevo.toml"));
        config.map(|config| config.listeners[0].clone()).map_err(|mut wrong| wrong.remove(0).to_string())
    }

    /// The machine itself is nobody special where clients log in: each program on it could send as anybody.
    #[test]
    fn nobody_relays_at_a_submission_listener_by_default() {
        let relay = read("", false).unwrap();
        assert_eq!((relay.kind, relay.relay_from.len()), (Kind::Relay, 2));
        assert_eq!(read("kind = \"relay\"", false).unwrap().relay_from, relay.relay_from);
        for kind in ["submission", "submissions"] {
            let read = |keys: &str| read(&format!("kind = {kind:?}\n{TLS}{keys}"), true).unwrap();
            assert_eq!((read("").kind.word(), read("").relay_from), (kind, Vec::new()));
            assert_eq!(read("relay_from = [\"10.0.0.0/8\"]").relay_from.len(), 1, "unless it is said");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let submission = "kind = \"submission\"\n";
        let submissions = "kind = \"submissions\"\n";
        for (keys, accounts, wanted) in [
            ("kind = \"smtps\"".to_owned(), true, "kind"),
            (format!("{submission}{TLS}"), false, "nobody may send here"),
            (submission.to_owned(), true, "nobody may send here"),
            (format!("{submission}{TLS}relay_to = [\"a.example\"]"), true, "nothing is taken from strangers"),
            (submissions.to_owned(), true, "needs a certificate"),
            (format!("{submissions}relay_from = [\"10.0.0.0/8\"]"), true, "needs a certificate"),
            (
                format!("{submissions}{TLS}proxy_from = [\"10.0.0.1\"]\nproxy_tls = true"),
                true,
                "either the proxy ends TLS",
            ),
        ] {
            let error = read(&keys, accounts).unwrap_err();
            assert!(error.contains(wanted), "{keys}: {error}");
        }
        // A proxy that ends TLS is as good as a certificate.
        let by_proxy = format!("{submission}proxy_from = [\"10.0.0.1\"]\nproxy_tls = true");
        assert!(read(&by_proxy, true).is_ok());
        assert!(read(&format!("{submission}relay_from = [\"10.0.0.0/8\"]"), false).is_ok());
    }
}
