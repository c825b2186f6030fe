//! What the records of a name say, of the kind that was asked for.

use std::net::IpAddr;

use hickory_proto::rr::rdata::MX;
use hickory_proto::rr::{Name, RData, RecordType};

use crate::dns::{Answer, QueryType, TlsAssociation};
use crate::limits;

/// As a question has it.
pub(super) fn record_type(kind: QueryType) -> RecordType {
    match kind {
        QueryType::Mx => RecordType::MX,
        QueryType::A => RecordType::A,
        QueryType::Aaaa => RecordType::AAAA,
        QueryType::Txt => RecordType::TXT,
        QueryType::Ptr => RecordType::PTR,
        QueryType::Tlsa => RecordType::TLSA,
    }
}

/// The records of one name that were found so far.
#[derive(Default)]
pub(super) struct Gathered<'a> {
    exchanges: Vec<&'a MX>,
    addresses: Vec<IpAddr>,
    texts: Vec<Vec<u8>>,
    names: Vec<String>,
    associations: Vec<TlsAssociation>,
}

impl<'a> Gathered<'a> {
    /// Takes what one record says. False: it is of another kind.
    pub fn take(&mut self, data: &'a RData, wanted: RecordType) -> bool {
        match data {
            RData::MX(mx) if wanted == RecordType::MX => self.exchanges.push(mx),
            RData::A(a) if wanted == RecordType::A => self.addresses.push(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) if wanted == RecordType::AAAA => self.addresses.push(IpAddr::V6(aaaa.0)),
            RData::TXT(txt) if wanted == RecordType::TXT => self.texts.push(txt.txt_data.concat()),
            RData::PTR(ptr) if wanted == RecordType::PTR => self.names.push(host_name(&ptr.0)),
            RData::TLSA(tlsa) if wanted == RecordType::TLSA => self.associations.push(TlsAssociation {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.as_slice().into(),
            }),
            _ => return false,
        }
        true
    }

    /// What they say together; None: there are none.
    pub fn answer(self) -> Option<Answer> {
        let Gathered { exchanges, addresses, texts, names, associations } = self;
        if !exchanges.is_empty() {
            let (hosts, cut) = keep_preferred(exchanges);
            return Some(Answer::Mx { hosts, cut });
        }
        if !addresses.is_empty() {
            return Some(Answer::Addresses(kept(addresses, limits::HOST_ADDRESSES_KEPT)));
        }
        if !texts.is_empty() {
            return Some(Answer::Texts(kept(texts, limits::DNS_TEXTS_KEPT)));
        }
        if !names.is_empty() {
            return Some(Answer::Names(kept(names, limits::DNS_NAMES_KEPT)));
        }
        if !associations.is_empty() {
            return Some(Answer::Associations(kept(associations, limits::DNS_ASSOCIATIONS_KEPT)));
        }
        None
    }
}

fn kept<T>(mut all: Vec<T>, most: usize) -> Vec<T> {
    all.truncate(most);
    all.shrink_to_fit();
    all
}

/// The preferred hosts, by preference and name, and whether there are more. The same ones in whatever order they came: they name a
/// site.
fn keep_preferred(mut exchanges: Vec<&MX>) -> (Vec<(u16, String)>, bool) {
    exchanges.sort_unstable_by(|one, other| {
        one.preference.cmp(&other.preference).then_with(|| one.exchange.cmp(&other.exchange))
    });
    let mut hosts: Vec<(u16, String)> = Vec::new();
    let mut bytes = 0;
    for mx in exchanges {
        let name = host_name(&mx.exchange);
        // A host listed twice is tried where it is preferred.
        if hosts.iter().any(|(_, host)| *host == name) {
            continue;
        }
        let full = hosts.len() == limits::MX_HOSTS_KEPT || bytes + name.len() > limits::MX_NAMES_MAX;
        if full && !hosts.is_empty() {
            return (hosts, true);
        }
        bytes += name.len();
        hosts.push((mx.preference, name));
    }
    (hosts, false)
}

/// Lower case, without the final dot; the root is ".".
pub(super) fn host_name(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    match text.strip_suffix('.') {
        Some("") | None => text,
        Some(host) => host.to_owned(),
    }
}
