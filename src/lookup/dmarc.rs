//! What a domain has receivers do with mail that is neither signed by it nor comes from its addresses (DMARC, RFC 9989).

use crate::dns::{Answer, LookupError, QueryType};
use crate::limits;
use crate::lookup::spf::Ask;

/// A record, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The domain whose it is.
    pub domain: String,
    /// Its text.
    pub text: String,
    /// Its tags, in their order.
    tags: Vec<(String, String)>,
}

impl Record {
    /// Reads one. None: it is something else.
    pub fn parse(domain: &str, text: &str) -> Option<Record> {
        let tag = |tag: &str| {
            let (name, value) = tag.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        let tags: Vec<(String, String)> = text.split(';').filter_map(tag).collect();
        let is_one = tags.first().is_some_and(|(name, value)| name == "v" && value == "DMARC1");
        is_one.then(|| Record { domain: domain.to_owned(), text: text.to_owned(), tags })
    }

    /// What a tag says.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    /// What is done with mail of a domain, which is that of the record or one below it. A record that says nothing asks for nothing.
    pub fn policy(&self, domain: &str) -> &str {
        let of_all = self.tag("p").unwrap_or("none");
        if self.domain == domain { of_all } else { self.tag("sp").unwrap_or(of_all) }
    }

    /// Whether a domain must be that of From itself, for `adkim` or `aspf`.
    pub fn is_strict(&self, tag: &str) -> bool {
        self.tag(tag).is_some_and(|value| value.eq_ignore_ascii_case("s"))
    }
}

/// The names that a walk up from a domain asks (RFC 9989 4.10): itself, and those above it, of a long one only the last seven.
fn walk(domain: &str) -> Vec<&str> {
    let labels = domain.split('.').count();
    let above = std::iter::successors(Some(domain), |name| name.split_once('.').map(|(_, above)| above));
    let all: Vec<&str> = above.collect();
    if labels <= limits::DMARC_WALK_MAX {
        return all;
    }
    let skipped = labels - (limits::DMARC_WALK_MAX - 1);
    std::iter::once(domain).chain(all[skipped..].iter().copied()).collect()
}

/// What was found on the way up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The record that counts for the domain.
    pub record: Option<Record>,
    /// The domain that stands for its whole organisation: what is below the same one is aligned.
    pub organisation: String,
}

/// The record that counts for a domain, and its organisation. Two records at one name are none.
pub fn find(ask: &Ask<'_>, domain: &str) -> Result<Found, LookupError> {
    let mut found: Vec<Record> = Vec::new();
    let mut organisation = None;
    for name in walk(domain) {
        let Answer::Texts(texts) = ask(QueryType::Txt, &format!("_dmarc.{name}"))? else { continue };
        let records = texts.iter().filter_map(|text| Record::parse(name, &String::from_utf8_lossy(text)));
        let records: Vec<Record> = records.collect();
        let [record] = &records[..] else { continue };
        let psd = record.tag("psd").unwrap_or("u").to_owned();
        found.push(record.clone());
        match psd.as_str() {
            "n" => organisation = Some(name.to_owned()),
            // The label below a public suffix; of the suffix itself, it.
            "y" => {
                let below = domain.strip_suffix(name).and_then(|rest| rest.strip_suffix('.'));
                let label = below.map(|rest| rest.rsplit('.').next().unwrap_or(rest));
                organisation = Some(label.map_or(name.to_owned(), |label| format!("{label}.{name}")));
            }
            _ => continue,
        }
        break;
    }
    let topmost = found.last().map_or(domain, |record| &record.domain).to_owned();
    let organisation = organisation.unwrap_or(topmost);
    // Its own, else that of the organisation, else that of the public suffix above.
    let of = |name: &str| found.iter().find(|record| record.domain == name).cloned();
    let suffix = || found.iter().find(|record| record.tag("psd") == Some("y")).cloned();
    Ok(Found { record: of(domain).or_else(|| of(&organisation)).or_else(suffix), organisation })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn found(zone: &[(&str, &str)], domain: &str) -> (Option<String>, String) {
        let zone: HashMap<&str, &str> = zone.iter().copied().collect();
        let ask = |_, name: &str| {
            let domain = name.strip_prefix("_dmarc.").unwrap();
            Ok(match zone.get(domain) {
                Some(texts) => Answer::Texts(texts.split('|').map(|text| text.into()).collect()),
                None => Answer::NoDomain,
            })
        };
        let found = find(&ask, domain).unwrap();
        (found.record.map(|record| record.domain), found.organisation)
    }

    #[test]
    fn the_record_is_that_of_the_domain_or_its_organisation() {
        let own = ("news.d.example", "v=DMARC1; p=reject");
        let org = ("d.example", "v=DMARC1; p=none; sp=quarantine");
        for (zone, domain, record, organisation) in [
            (&[org][..], "d.example", Some("d.example"), "d.example"),
            (&[org], "news.d.example", Some("d.example"), "d.example"),
            (&[own, org], "news.d.example", Some("news.d.example"), "d.example"),
            (&[own, org], "x.news.d.example", Some("d.example"), "d.example"),
            (
                &[("news.d.example", "v=DMARC1; psd=n"), org],
                "x.news.d.example",
                Some("news.d.example"),
                "news.d.example",
            ),
            (&[("example", "v=DMARC1; psd=y; p=reject")], "x.d.example", Some("example"), "d.example"),
            (&[("example", "v=DMARC1; psd=y"), org], "x.d.example", Some("d.example"), "d.example"),
            (&[("d.example", "v=DMARC1; p=none|v=DMARC1; p=reject")], "d.example", None, "d.example"),
            (&[("d.example", "hello|v=DMARC1; p=none")], "d.example", Some("d.example"), "d.example"),
            (&[], "x.d.example", None, "x.d.example"),
        ] {
            let (name, of) = found(zone, domain);
            assert_eq!((name.as_deref(), of.as_str()), (record, organisation), "{zone:?} {domain}");
        }
        let record = Record::parse("d.example", "v=DMARC1;p=none; sp = quarantine;adkim=S").unwrap();
        assert_eq!((record.policy("d.example"), record.policy("news.d.example")), ("none", "quarantine"));
        assert!(record.is_strict("adkim") && !record.is_strict("aspf"));
        assert!(Record::parse("d.example", "p=none; v=DMARC1").is_none());
    }

    #[test]
    fn long_names_are_not_asked_for_label_by_label() {
        assert_eq!(walk("a.b.example"), ["a.b.example", "b.example", "example"]);
        let long = walk("a.b.c.d.e.f.g.h.i.example");
        assert_eq!((long.len(), long[0], long[1]), (8, "a.b.c.d.e.f.g.h.i.example", "d.e.f.g.h.i.example"));
    }
}
