//! Who wants reports of a domain: the record `_smtp._tls.DOMAIN` (RFC 8460 section 3).

use crate::limits;
use crate::mail::address;

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To this address.
    Mail(String),
    /// To this web server.
    Web {
        /// Its name.
        host: String,
        /// Another port than that of HTTPS.
        port: Option<u16>,
        /// Path and query.
        path: String,
    },
}

impl Place {
    /// As it is told.
    pub fn words(&self) -> String {
        match self {
            Place::Mail(address) => format!("mailto:{address}"),
            Place::Web { host, port: Some(port), path } => format!("https://{host}:{port}{path}"),
            Place::Web { host, port: None, path } => format!("https://{host}{path}"),
        }
    }
}

/// The places in the records of a domain, those that can be used. None: nobody wants any. RFC 8460 section 3: more than one record is none.
pub fn places(texts: &[Vec<u8>]) -> Option<Vec<Place>> {
    let mut of_version = texts.iter().filter(|text| is_of_version(text));
    let record = str::from_utf8(of_version.next()?).ok()?;
    if of_version.next().is_some() {
        return None;
    }
    let fields = record.split(';').skip(1).map(|field| field.trim_matches([' ', '\t']));
    let value =
        fields.filter_map(|field| field.split_once('=')).find(|(name, _)| name.trim_end() == "rua")?.1;
    let named = value.split(',').map(|uri| uri.trim_matches([' ', '\t']));
    let some: Vec<Place> = named.filter_map(place).take(limits::TLS_RPT_PLACES_MAX).collect();
    Some(some)
}

fn is_of_version(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"v=TLSRPTv1").unwrap_or_default();
    rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')) == Some(&b';')
}

fn place(uri: &str) -> Option<Place> {
    let is_plain = uri.len() <= limits::TLS_RPT_PLACE_MAX && uri.bytes().all(|byte| byte.is_ascii_graphic());
    let (scheme, rest) = uri.split_once(':').filter(|_| is_plain)?;
    if scheme.eq_ignore_ascii_case("mailto") {
        // A subject and the like behind it count for nothing here.
        let address = unquote(rest.split('?').next().unwrap_or_default())?;
        let path = format!("<{address}>");
        let parsed = address::parse_path(path.as_bytes(), false).ok()?;
        let whole = parsed.address.len() == address.len() && address::is_domain(parsed.domain());
        return whole.then_some(Place::Mail(address));
    }
    let rest = rest.strip_prefix("//").filter(|_| scheme.eq_ignore_ascii_case("https"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('#').next().unwrap_or_default();
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
        None => (authority, None),
    };
    // Neither names of users nor addresses: what stands in a certificate is a name.
    let named = address::is_domain(host.as_bytes()) && !address::is_numeric(host);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    named.then(|| Place::Web { host: host.to_ascii_lowercase(), port, path })
}

/// RFC 3986 section 2.1; what is no text of ASCII is no address here.
fn unquote(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = String::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        };
        out.push(char::from(byte).is_ascii_graphic().then_some(char::from(byte))?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str]) -> Option<Vec<String>> {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        places(&texts).map(|places| places.iter().map(Place::words).collect())
    }

    #[test]
    fn who_wants_reports_says_where() {
        for (record, wanted) in [
            ("v=TLSRPTv1; rua=mailto:a@b.example", &["mailto:a@b.example"][..]),
            ("v=TLSRPTv1;rua=mailto:a%2Bb@b.example?subject=x", &["mailto:a+b@b.example"]),
            (
                "v=TLSRPTv1; x=y; rua=mailto:a@b.example, https://R.example/v1/tls?x=1#y ;",
                &["mailto:a@b.example", "https://r.example/v1/tls?x=1"],
            ),
            ("v=TLSRPTv1; rua=HTTPS://r.example:8443", &["https://r.example:8443/"]),
            ("v=TLSRPTv1; rua=https://r.example?x", &["https://r.example/?x"]),
            // What cannot be used is passed over.
            (
                "v=TLSRPTv1; rua=http://r.example/,ftp://x,mailto:x,https://192.0.2.1/,https://a@r.example/",
                &[],
            ),
            ("v=TLSRPTv1; rua=mailto:a@b.example%0d%0aX,https://r.example:0/,https:///x,mailto:%zz@b", &[]),
            ("v=TLSRPTv1; rua=", &[]),
        ] {
            let wanted: Vec<String> = wanted.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(words(&[record]), Some(wanted), "{record}");
        }
        for none in [
            &["v=TLSRPTv1"][..],
            &["v=TLSRPTv1; ruf=mailto:a@b.example"],
            &["v=TLSRPTv2; rua=mailto:a@b.example"],
            &["v=TLSRPTv1x; rua=mailto:a@b.example"],
            &["v=spf1 -all"],
            &["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:c@b.example"],
            &[],
        ] {
            assert_eq!(words(none), None, "{none:?}");
        }
        assert!(words(&["v=spf1 -all", "v=TLSRPTv1; rua=mailto:a@b.example"]).is_some());
        let many = "mailto:a@b.example,".repeat(50);
        assert_eq!(words(&[&format!("v=TLSRPTv1; rua={many}")]).unwrap().len(), limits::TLS_RPT_PLACES_MAX);
    }
}
