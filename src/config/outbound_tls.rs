//! `[tls]`: what domains say of TLS to their hosts, and whether that is obeyed.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::literal::{Fix, boolean, list, parsed, port, quoted, span};
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::config::{guess, value};
use crate::limits;
use crate::mail::address::{self, international};

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Policies of domains are fetched and obeyed (MTA-STS, RFC 8461).
    pub mta_sts: bool,
    /// Port that policies are fetched from; 443 but in tests.
    pub mta_sts_port: u16,
    /// Certificates that the DNS names for hosts are obeyed (DANE, RFC 7672).
    pub dane: bool,
    /// Name servers that validate DNSSEC, on a way that nobody else is on: what they call authentic is believed.
    pub trust_ad: Vec<SocketAddr>,
    /// `tls_rpt`: domains that want reports are told what sessions with their hosts came to (RFC 8460). None: nobody is.
    pub reports: Option<ReportsConfig>,
}

/// `tls.tls_rpt`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportsConfig {
    /// Whose address reports come from; its domain is who sends them.
    pub from: Box<str>,
    /// Whom to ask about them: an address.
    pub contact: Box<str>,
    /// They go out so long after the end of their day at the latest.
    pub delay: Duration,
}

impl ReportsConfig {
    /// Who sends them.
    pub fn submitter(&self) -> &str {
        self.from.rsplit('@').next().unwrap_or_default()
    }
}

pub(super) fn read(section: &Section<'_>) -> TlsConfig {
    let usual = value::name_server("127.0.0.1").into_iter().collect();
    let tls = TlsConfig {
        mta_sts: section.read("mta_sts", true, boolean),
        mta_sts_port: section.read("mta_sts_port", 443, |value| port(value, 443)),
        dane: section.read("dane", true, boolean),
        trust_ad: section.read("trust_ad", usual, |value| {
            list(value, value::name_server, guess::name_server, "127.0.0.1")
        }),
        reports: section.has("tls_rpt").then(|| reports(&section.section("tls_rpt"))).flatten(),
    };
    section.finish();
    tls
}

fn reports(section: &Section<'_>) -> Option<ReportsConfig> {
    let read = |key, usual: &'static str| {
        section.read(key, Box::default(), |value| {
            parsed(value, address_of, |_| None, usual).map(String::into_boxed_str)
        })
    };
    let config = ReportsConfig {
        from: read("from", "tlsrpt@relay.example"),
        contact: read("contact", "postmaster@relay.example"),
        delay: section.read("delay", limits::TLS_RPT_DELAY, |value| {
            span(value, Duration::ZERO..=limits::TLS_RPT_DELAY_MAX, limits::TLS_RPT_DELAY)
        }),
    };
    for (key, usual) in [("from", "tlsrpt@relay.example"), ("contact", "postmaster@relay.example")] {
        if section.lacks(key) {
            let fix = Fix::Write(quoted(usual), ", an address of yours".to_owned());
            section.fail(key, "", "reports of TLS need it", fix);
        }
    }
    section.finish();
    (!config.from.is_empty() && !config.contact.is_empty()).then_some(config)
}

fn address_of(name: &str) -> Result<String, BadValue> {
    let address = international::of_address(name).filter(|address| {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        // Reports go out in ASCII.
        address.is_ascii() && address::is_domain(domain.as_bytes())
    });
    address.map(Cow::into_owned).ok_or(BadValue::Syntax("an address, as tlsrpt@relay.example"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::Config;
    use crate::limits;

    #[test]
    fn who_sends_reports_of_tls_is_read() {
        let read =
            |text: &str| Config::parse(text, Path::new("relevo.toml")).map(|config| config.tls.reports);
        assert_eq!(read("").unwrap(), None);
        let text = "[tls]\ntls_rpt = { from = \"tlsrpt@relay.example\", contact = \"p@relay.example\" }\n";
        let reports = read(text).unwrap().expect("they are sent");
        assert_eq!((reports.submitter(), &*reports.contact), ("relay.example", "p@relay.example"));
        assert_eq!(reports.delay, limits::TLS_RPT_DELAY);
        let soon = "[tls.tls_rpt]\nfrom = \"a@b.example\"\ncontact = \"a@b.example\"\ndelay = \"1s\"\n";
        assert_eq!(read(soon).unwrap().unwrap().delay, Duration::from_secs(1));
        for (text, wanted) in [
            ("[tls]\ntls_rpt = { from = \"a@b.example\" }\n", "add contact = \"postmaster@relay.example\""),
            ("[tls]\ntls_rpt = { from = \"x\", contact = \"a@b.example\" }\n", "an address, as"),
            ("[tls]\ntls_rpt = true\n", "this is a section"),
            ("[tls.tls_rpt]\nfrom = \"a@b.example\"\ncontact = \"a@b.example\"\ndelay = \"2d\"\n", "12h"),
            ("[tls.tls_rpt]\nfrom = \"a@b.example\"\ncontact = \"a@b.example\"\nto = \"x\"\n", "unknown key"),
        ] {
            let errors = read(text).unwrap_err();
            assert!(errors.iter().any(|error| error.to_string().contains(wanted)), "{text}: {errors:?}");
        }
    }
}
