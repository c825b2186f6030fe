//! Questions and answers on the wire (RFC 1035), and what an answer means for mail.

use std::time::Duration;

use hickory_proto::op::{Edns, Header, HeaderCounts, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, EncodedSize};

use crate::dns::gather::{Gathered, host_name, record_type};
use crate::dns::{Answer, LookupResult, QueryType, ServerError};
use crate::limits;

/// UDP payload we can take without fragments (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// What a datagram means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The answer.
    Found(LookupResult),
    /// The name is an alias, and the target is not in this answer: ask for it.
    Alias(String, Duration),
    /// Too long for UDP: ask by TCP.
    Truncated,
    /// The server does not understand EDNS: ask without.
    Plain,
    /// The server cannot say; another may.
    Failed(ServerError),
    /// Not the answer to this question: keep waiting.
    NotOurs,
}

/// A name as the DNS has it: any labels (RFC 2181 section 11), also those that no host may have. Whether there is such a domain is its
/// answer to give.
fn dns_name(name: &str) -> Option<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut name = match name {
        "" => Name::root(),
        name => Name::from_labels(name.split('.').map(str::as_bytes)).ok()?,
    };
    name.set_fqdn(true);
    Some(name)
}

/// Writes a question. None: the name cannot be one of the DNS.
pub fn write_question(id: u16, name: &str, kind: QueryType, edns: bool) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    // RFC 6840 section 5.7: whether it is authentic is to be said.
    message.metadata.authentic_data = true;
    message.add_query(Query::query(dns_name(name)?, record_type(kind)));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
    }
    message.to_vec().ok()
}

/// Reads a datagram (or a TCP message) that should answer the question. Header and question tell whether it does; what of the rest can be
/// read, and is of use, is believed.
pub fn read_answer(bytes: &[u8], id: u16, name: &str, kind: QueryType) -> Reading {
    let (Some(asked), wanted) = (dns_name(name), record_type(kind)) else {
        return Reading::Failed(ServerError::BadName);
    };
    let mut decoder = BinDecoder::new(bytes);
    let Ok(Header { metadata, counts }) = Header::read(&mut decoder) else { return Reading::NotOurs };
    if metadata.id != id || metadata.message_type != MessageType::Response {
        return Reading::NotOurs;
    }
    let mut queries = (0..counts.queries).map_while(|_| Query::read(&mut decoder).ok());
    let echoes = match queries.next() {
        Some(query) => {
            query.name.eq_ignore_root(&asked)
                && query.query_type == wanted
                && query.query_class == DNSClass::IN
        }
        // Some servers leave the question out of an error.
        None => {
            let none = counts.queries == 0 || bytes.len() == Header::LEN;
            none && metadata.response_code != ResponseCode::NoError
        }
    };
    let whole = echoes && queries.count() + 1 == usize::from(counts.queries);
    if !echoes {
        return Reading::NotOurs;
    }
    // RFC 2181 section 9: what there is may end in the middle of a record.
    if metadata.truncation {
        return Reading::Truncated;
    }
    let mut message = Message::new(id, MessageType::Response, metadata.op_code);
    message.metadata = metadata;
    let damaged = match read_sections(&mut decoder, counts, &mut message) {
        Damage::None if whole || metadata.response_code != ResponseCode::NoError => false,
        Damage::Authority => true,
        Damage::None | Damage::Answer => {
            // That it fails stands in the header.
            message.answers.clear();
            true
        }
    };
    let secure = message.metadata.authentic_data;
    let found = match message.metadata.response_code {
        ResponseCode::NoError => read_records(&message, asked, wanted),
        ResponseCode::NXDomain => {
            Reading::Found(LookupResult { answer: Ok(Answer::NoDomain), ttl: negative_ttl(&message), secure })
        }
        // RFC 6891 section 7, and section 6.1.3 of a version it does not know: 16, which is BADSIG in a TSIG record alone.
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS | ResponseCode::BADSIG => {
            Reading::Plain
        }
        code => Reading::Failed(ServerError::Code(code)),
    };
    match found {
        // Not that there is nothing: it may have been in what cannot be read.
        Reading::Found(LookupResult { answer: Ok(Answer::NoData), .. }) | Reading::Alias(..) if damaged => {
            Reading::Failed(ServerError::Damaged)
        }
        found => found,
    }
}

/// The first section that cannot be read, of those that matter.
enum Damage {
    None,
    Answer,
    Authority,
}

/// Reads the records behind the question. Of the additional ones only EDNS is of use, which may change the code in the header.
fn read_sections(decoder: &mut BinDecoder<'_>, counts: HeaderCounts, message: &mut Message) -> Damage {
    let code = message.metadata.op_code;
    let mut section =
        |count: u16| Message::read_records(decoder, count.into(), false, code).map(|(records, ..)| records);
    let Ok(answers) = section(counts.answers) else { return Damage::Answer };
    message.answers = answers;
    let Ok(authorities) = section(counts.authorities) else { return Damage::Authority };
    message.authorities = authorities;
    for _ in 0..counts.additionals {
        let Ok(record) = Record::<RData>::read(decoder) else { break };
        if record.record_type() == RecordType::OPT {
            message.metadata.merge_response_code((record.ttl >> 24) as u8);
        }
    }
    Damage::None
}

/// Follows aliases through the answer section, then takes what is at the end of the chain.
fn read_records(message: &Message, asked: Name, wanted: RecordType) -> Reading {
    let mut name = asked;
    let mut ttl = limits::DNS_TTL_MAX;
    let mut aliased = false;
    for _ in 0..=limits::DNS_CNAME_MAX {
        let mut gathered = Gathered::default();
        let mut alias = None;
        let mut shortest = ttl;
        for record in message.answers.iter().filter(|record| is_of(record, &name)) {
            let lifetime = Duration::from_secs(u64::from(record.ttl));
            match &record.data {
                RData::CNAME(cname) => alias = Some(cname.0.clone()),
                data if gathered.take(data, wanted) => {}
                _ => continue,
            }
            shortest = shortest.min(lifetime);
        }
        ttl = shortest;
        let found = |answer| {
            Reading::Found(LookupResult {
                answer: Ok(answer),
                ttl: ttl.clamp(limits::DNS_TTL_MIN, limits::DNS_TTL_MAX),
                secure: message.metadata.authentic_data,
            })
        };
        if let Some(answer) = gathered.answer() {
            return found(answer);
        }
        match alias {
            Some(target) => {
                name = target;
                aliased = true;
            }
            None if aliased && !has_soa(message) => return Reading::Alias(host_name(&name), ttl),
            // RFC 2308 section 2.2: that there is nothing is said with an answer section without records.
            None if !aliased && speaks_of_others(message, &name) => {
                return Reading::Failed(ServerError::OffTheQuestion);
            }
            None if refers(message) => return Reading::Failed(ServerError::Refers),
            None => {
                return Reading::Found(LookupResult {
                    answer: Ok(Answer::NoData),
                    ttl: negative_ttl(message),
                    secure: message.metadata.authentic_data,
                });
            }
        }
    }
    Reading::Failed(ServerError::Circle)
}

/// Whether a record is about this name, in the class that was asked for (RFC 1035 section 3.2.4: each class is a tree of its own).
fn is_of(record: &Record, name: &Name) -> bool {
    record.dns_class == DNSClass::IN && record.name.eq_ignore_root(name)
}

/// Whether there are answers, and all of them to another question.
fn speaks_of_others(message: &Message, name: &Name) -> bool {
    let none = !message.answers.iter().any(|record| is_of(record, name));
    !message.answers.is_empty() && none && !has_soa(message)
}

/// RFC 2308 section 2.2.1: the server does not look further itself, and names others to be asked. That says nothing of what there is.
fn refers(message: &Message) -> bool {
    let names = |record: &Record| record.dns_class == DNSClass::IN && matches!(record.data, RData::NS(_));
    !message.metadata.authoritative && !has_soa(message) && message.authorities.iter().any(names)
}

fn has_soa(message: &Message) -> bool {
    soas(message).next().is_some()
}

/// Start-of-authority records, each with its own TTL.
fn soas(message: &Message) -> impl Iterator<Item = (u32, &SOA)> {
    let of_class = message.authorities.iter().filter(|record| record.dns_class == DNSClass::IN);
    of_class.filter_map(|record| match &record.data {
        RData::SOA(soa) => Some((record.ttl, soa)),
        _ => None,
    })
}

/// RFC 2308 section 5: the smaller of the SOA's own TTL and its minimum.
fn negative_ttl(message: &Message) -> Duration {
    let seconds = soas(message).next().map(|(ttl, soa)| ttl.min(soa.minimum));
    let ttl = seconds.map_or(limits::DNS_FAILURE_TTL, |seconds| Duration::from_secs(u64::from(seconds)));
    ttl.clamp(limits::DNS_TTL_MIN, limits::DNS_NEGATIVE_TTL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::TlsAssociation;
    use hickory_proto::rr::rdata::{A, CNAME, MX, NS, PTR, TXT};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn reply(kind: QueryType, records: Vec<Record>, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name("d.example."), record_type(kind)));
        message.answers = records;
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn mx(rank: u16, host: &str) -> Record {
        Record::from_rdata(name("d.example."), 300, RData::MX(MX::new(rank, name(host))))
    }

    fn read(bytes: &[u8], kind: QueryType) -> Reading {
        read_answer(bytes, 7, "D.example", kind)
    }

    fn found(answer: Answer, seconds: u64) -> Reading {
        Reading::Found(LookupResult { answer: Ok(answer), ttl: Duration::from_secs(seconds), secure: false })
    }

    #[test]
    fn questions_ask_with_recursion_and_edns() {
        let bytes = write_question(7, "d.example", QueryType::Mx, true).unwrap();
        let message = Message::from_vec(&bytes).unwrap();
        assert!(message.metadata.recursion_desired && message.edns.is_some());
        assert_eq!(message.queries[0].name, name("d.example."));
        assert!(write_question(7, &"a".repeat(64), QueryType::A, true).is_none());
    }

    #[test]
    fn answers() {
        let both = reply(QueryType::Mx, vec![mx(10, "a.Example."), mx(20, "b.example.")], |_| {});
        let hosts = vec![(10, "a.example".to_owned()), (20, "b.example".to_owned())];
        assert_eq!(read(&both, QueryType::Mx), found(Answer::Mx { hosts, cut: false }, 300));
        let null = reply(QueryType::Mx, vec![mx(0, ".")], |_| {});
        assert_eq!(
            read(&null, QueryType::Mx),
            found(Answer::Mx { hosts: vec![(0, ".".to_owned())], cut: false }, 300)
        );
        let truncated = reply(QueryType::Mx, vec![], |message| message.metadata.truncation = true);
        assert_eq!(read(&truncated, QueryType::Mx), Reading::Truncated);
        let failed =
            reply(QueryType::Mx, vec![], |message| message.metadata.response_code = ResponseCode::ServFail);
        assert!(matches!(read(&failed, QueryType::Mx), Reading::Failed(_)));
        let plain =
            reply(QueryType::Mx, vec![], |message| message.metadata.response_code = ResponseCode::FormErr);
        assert_eq!(read(&plain, QueryType::Mx), Reading::Plain);
        let soa = SOA::new(name("ns.example."), name("h.example."), 1, 2, 3, 4, 60);
        let soa = Record::from_rdata(name("example."), 900, RData::SOA(soa));
        let none = reply(QueryType::Mx, vec![], |message| {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(soa.clone());
        });
        assert_eq!(read(&none, QueryType::Mx), found(Answer::NoDomain, 60));
        let empty = reply(QueryType::A, vec![], |message| {
            message.add_authority(soa.clone());
        });
        assert_eq!(read(&empty, QueryType::A), found(Answer::NoData, 60));
    }

    /// Of a server that does not look further another one is asked: that there is nothing was not said.
    #[test]
    fn a_referral_is_no_answer() {
        let others = Record::from_rdata(name("example."), 900, RData::NS(NS(name("ns1.example."))));
        let referred = |authoritative: bool, soa: bool| {
            let bytes = reply(QueryType::Mx, vec![], |message| {
                message.metadata.authoritative = authoritative;
                message.add_authority(others.clone());
                if soa {
                    let soa = SOA::new(name("ns.example."), name("h.example."), 1, 2, 3, 4, 60);
                    message.add_authority(Record::from_rdata(name("example."), 900, RData::SOA(soa)));
                }
            });
            read(&bytes, QueryType::Mx)
        };
        assert_eq!(referred(false, false), Reading::Failed(ServerError::Refers));
        assert_eq!(referred(false, true), found(Answer::NoData, 60), "RFC 2308 2.2, type 1");
        let short = limits::DNS_FAILURE_TTL.as_secs();
        assert_eq!(referred(true, false), found(Answer::NoData, short), "it is its own");
    }

    #[test]
    fn whether_it_is_authentic_is_read() {
        let question = write_question(7, "d.example", QueryType::Mx, true).unwrap();
        assert!(Message::from_vec(&question).unwrap().metadata.authentic_data);
        for authentic in [false, true] {
            let is = |records| match read(
                &reply(QueryType::Mx, records, |of| of.metadata.authentic_data = authentic),
                QueryType::Mx,
            ) {
                Reading::Found(found) => found.secure,
                other => panic!("{other:?}"),
            };
            assert_eq!((is(vec![mx(1, "a.example.")]), is(vec![])), (authentic, authentic));
        }
    }

    #[test]
    fn texts_and_names() {
        let of = |data| Record::from_rdata(name("d.example."), 300, data);
        let texts = vec![
            of(RData::TXT(TXT::from_bytes(vec![b"v=DKIM1; p=ab", b"cd", b""]))),
            of(RData::TXT(TXT::from_bytes(vec![b"\xff"]))),
            of(RData::A(A::new(192, 0, 2, 1))),
        ];
        let found_texts = Answer::Texts(vec![b"v=DKIM1; p=abcd".to_vec(), b"\xff".to_vec()]);
        assert_eq!(read(&reply(QueryType::Txt, texts, |_| {}), QueryType::Txt), found(found_texts, 300));
        let names = vec![of(RData::PTR(PTR(name("MX1.example.")))), of(RData::PTR(PTR(name("."))))];
        let found_names = Answer::Names(vec!["mx1.example".to_owned(), ".".to_owned()]);
        assert_eq!(read(&reply(QueryType::Ptr, names, |_| {}), QueryType::Ptr), found(found_names, 300));
        // 3 1 1 and a hash of two octets.
        let mut bytes = reply(QueryType::Tlsa, vec![], |_| {});
        bytes[7] = 1;
        bytes.extend([0xC0, 12, 0, 52, 0, 1, 0, 0, 0, 60, 0, 5, 3, 1, 1, 0xAB, 0xCD]);
        let one = TlsAssociation { usage: 3, selector: 1, matching: 1, data: [0xAB, 0xCD].into() };
        assert_eq!(read(&bytes, QueryType::Tlsa), found(Answer::Associations(vec![one]), 60));
        for kind in [QueryType::Txt, QueryType::Ptr, QueryType::Tlsa] {
            let soa = SOA::new(name("ns.example."), name("h.example."), 1, 2, 3, 4, 60);
            let none = reply(kind, vec![of(RData::A(A::new(192, 0, 2, 1)))], |message| {
                message.add_authority(Record::from_rdata(name("example."), 900, RData::SOA(soa)));
            });
            assert_eq!(read(&none, kind), found(Answer::NoData, 60));
        }
    }

    #[test]
    fn names_no_host_may_have_are_asked_for() {
        for asked in ["-d.example", "d-.example", "_a.b_.example", ".", "d.example."] {
            assert!(write_question(7, asked, QueryType::Mx, true).is_some(), "{asked}");
        }
        for none in ["a..example", &format!("{}.example", "d".repeat(64))] {
            assert!(write_question(7, none, QueryType::Mx, true).is_none(), "{none}");
        }
        let odd = Name::from_labels([&b"-d"[..], b"example"]).unwrap();
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(odd, RecordType::MX));
        message.metadata.response_code = ResponseCode::NXDomain;
        let reading = read_answer(&message.to_vec().unwrap(), 7, "-d.example", QueryType::Mx);
        assert!(
            matches!(reading, Reading::Found(LookupResult { answer: Ok(Answer::NoDomain), .. })),
            "{reading:?}"
        );
    }

    #[test]
    fn of_many_hosts_the_preferred_are_kept() {
        // About as many as fit in a message over TCP, the best at the end.
        const ALL: u16 = 1_500;
        let all: Vec<_> = (0..ALL).map(|number| mx(5_000 - number, &format!("m{number}.example."))).collect();
        let bytes = reply(QueryType::Mx, all.clone(), |_| {});
        let kept = |reading| match reading {
            Reading::Found(LookupResult { answer: Ok(Answer::Mx { hosts, cut: true }), .. }) => hosts,
            other => panic!("{other:?}"),
        };
        let hosts = kept(read(&bytes, QueryType::Mx));
        let best: Vec<_> = (0..limits::MX_HOSTS_KEPT as u16)
            .map(|place| (5_001 - ALL + place, format!("m{}.example", ALL - 1 - place)))
            .collect();
        assert_eq!(hosts, best);
        let turned = reply(QueryType::Mx, all.into_iter().rev().collect(), |_| {});
        assert_eq!(kept(read(&turned, QueryType::Mx)), hosts, "one site however the answer is turned");
        // Usual long names, all of them.
        let label = "m".repeat(46);
        let usual = |number: u16| mx(number, &format!("{label}{number:02}.mail.example."));
        let hosts = kept(read(&reply(QueryType::Mx, (1..26).map(usual).collect(), |_| {}), QueryType::Mx));
        assert_eq!((hosts.len(), hosts[0].1.len()), (limits::MX_HOSTS_KEPT, 61));
        // Longer ones: fewer of them, and one always.
        let label = "x".repeat(60);
        let long = |number| mx(number, &format!("{label}.{label}.{label}.h{number}.example."));
        let hosts = kept(read(&reply(QueryType::Mx, (1..40).map(long).collect(), |_| {}), QueryType::Mx));
        assert_eq!(hosts.iter().map(|(rank, _)| *rank).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        let twice = reply(QueryType::Mx, vec![mx(20, "a.example."), mx(10, "A.example.")], |_| {});
        let once = Answer::Mx { hosts: vec![(10, "a.example".to_owned())], cut: false };
        assert_eq!(read(&twice, QueryType::Mx), found(once, 300));
        let addresses = (0..1_000u32).map(|number| {
            Record::from_rdata(name("d.example."), 300, RData::A(A(std::net::Ipv4Addr::from(number))))
        });
        match read(&reply(QueryType::A, addresses.collect(), |_| {}), QueryType::A) {
            Reading::Found(LookupResult { answer: Ok(Answer::Addresses(kept)), .. }) => {
                assert_eq!(kept.len(), limits::HOST_ADDRESSES_KEPT);
            }
            other => panic!("{other:?}"),
        }
    }

    /// RFC 1035 section 3.2.4: what another class has of the name is none of ours.
    #[test]
    fn only_the_internet_is_asked() {
        let of = |mut record: Record, class| {
            record.dns_class = class;
            record
        };
        let chaos = of(mx(5, "bad.example."), DNSClass::CH);
        let both = reply(QueryType::Mx, vec![chaos.clone(), mx(10, "ok.example.")], |_| {});
        let hosts = vec![(10, "ok.example".to_owned())];
        assert_eq!(read(&both, QueryType::Mx), found(Answer::Mx { hosts, cut: false }, 300));
        let address = |last| Record::from_rdata(name("d.example."), 300, RData::A(A::new(192, 0, 2, last)));
        let both = reply(QueryType::A, vec![of(address(1), DNSClass::HS), address(2)], |_| {});
        assert_eq!(
            read(&both, QueryType::A),
            found(Answer::Addresses(vec!["192.0.2.2".parse().unwrap()]), 300)
        );
        let alias = Record::from_rdata(name("d.example."), 30, RData::CNAME(CNAME(name("t.example."))));
        let both = reply(QueryType::A, vec![of(alias, DNSClass::CH), address(2)], |_| {});
        assert!(matches!(read(&both, QueryType::A), Reading::Found(_)));
        let soa = SOA::new(name("ns.example."), name("h.example."), 1, 2, 3, 4, 60);
        let soa = of(Record::from_rdata(name("example."), 900, RData::SOA(soa)), DNSClass::CH);
        let none = reply(QueryType::Mx, vec![], |message| {
            message.add_authority(soa);
        });
        assert_eq!(read(&none, QueryType::Mx), found(Answer::NoData, limits::DNS_FAILURE_TTL.as_secs()));
        assert!(matches!(
            read(&reply(QueryType::Mx, vec![chaos], |_| {}), QueryType::Mx),
            Reading::Failed(_)
        ));
    }

    /// RFC 2308 section 2.2: that there is nothing is not said with the records of another name.
    #[test]
    fn answers_to_another_question_are_none() {
        let other = Record::from_rdata(name("e.example."), 300, RData::MX(MX::new(5, name("m.example."))));
        let soa = SOA::new(name("ns.example."), name("h.example."), 1, 2, 3, 4, 60);
        let soa = Record::from_rdata(name("example."), 900, RData::SOA(soa));
        let failed = Reading::Failed(ServerError::OffTheQuestion);
        assert_eq!(read(&reply(QueryType::Mx, vec![other.clone()], |_| {}), QueryType::Mx), failed);
        let none = reply(QueryType::Mx, vec![other], |message| {
            message.add_authority(soa);
        });
        assert_eq!(read(&none, QueryType::Mx), found(Answer::NoData, 60));
        let of_its_own = Record::from_rdata(name("d.example."), 300, RData::A(A::new(192, 0, 2, 1)));
        assert!(matches!(
            read(&reply(QueryType::Mx, vec![of_its_own], |_| {}), QueryType::Mx),
            Reading::Found(LookupResult { answer: Ok(Answer::NoData), .. })
        ));
    }

    #[test]
    fn aliases() {
        let alias = |from: &str, to: &str| Record::from_rdata(name(from), 30, RData::CNAME(CNAME(name(to))));
        let address = Record::from_rdata(name("t.example."), 300, RData::A(A::new(192, 0, 2, 1)));
        let whole = reply(QueryType::A, vec![address, alias("d.example.", "t.example.")], |_| {});
        assert_eq!(
            read(&whole, QueryType::A),
            found(Answer::Addresses(vec!["192.0.2.1".parse().unwrap()]), 30)
        );
        let partial = reply(QueryType::A, vec![alias("d.example.", "t.example.")], |_| {});
        assert_eq!(read(&partial, QueryType::A), Reading::Alias("t.example".into(), Duration::from_secs(30)));
        let circle = vec![alias("d.example.", "t.example."), alias("t.example.", "d.example.")];
        assert!(matches!(read(&reply(QueryType::A, circle, |_| {}), QueryType::A), Reading::Failed(_)));
    }

    /// Header, `d.example.`, type and class.
    const QUESTION_END: usize = 12 + 11 + 4;

    /// RFC 2181 section 9: what is cut says so in its header, wherever the cut is.
    #[test]
    fn an_answer_cut_in_a_record_is_asked_for_by_tcp() {
        let hosts = vec![mx(10, "a.example."), mx(20, "b.example.")];
        let whole = reply(QueryType::Mx, hosts, |message| message.metadata.truncation = true);
        for cut in QUESTION_END..whole.len() {
            assert_eq!(read(&whole[..cut], QueryType::Mx), Reading::Truncated, "{cut}");
        }
    }

    /// What nobody needs may be damaged; that there is nothing is not believed of an answer that cannot be read.
    #[test]
    fn damage_counts_where_it_matters() {
        let good = reply(QueryType::Mx, vec![mx(10, "a.example.")], |_| {});
        let host = Answer::Mx { hosts: vec![(10, "a.example".to_owned())], cut: false };
        let none = reply(QueryType::Mx, vec![], |_| {});
        // An A record of three octets.
        let bad = [&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 3][..], b"abc"].concat();
        let with = |bytes: &[u8], section: usize| {
            let mut bytes = [bytes, &bad[..]].concat();
            bytes[5 + 2 * section] += 1;
            bytes
        };
        let damaged = |bytes: &[u8]| matches!(read(bytes, QueryType::Mx), Reading::Failed(_));
        let (answer, authority, additional) = (1, 2, 3);
        assert_eq!(read(&with(&good, additional), QueryType::Mx), found(host.clone(), 300));
        assert_eq!(read(&with(&good, authority), QueryType::Mx), found(host.clone(), 300));
        assert_eq!(read(&[&good[..], b"more"].concat(), QueryType::Mx), found(host, 300));
        assert!(damaged(&with(&good, answer)));
        assert!(damaged(&with(&none, answer)) && damaged(&with(&none, authority)));
        assert_eq!(
            read(&with(&none, additional), QueryType::Mx),
            found(Answer::NoData, limits::DNS_FAILURE_TTL.as_secs())
        );
        assert!(
            (QUESTION_END..good.len()).all(|cut| damaged(&good[..cut])),
            "at once, and not after a time-out"
        );
        // A failure has no need of a body, nor of a question.
        let failed = |code| reply(QueryType::Mx, vec![], |message| message.metadata.response_code = code);
        let header = |code| failed(code)[..12].to_vec();
        assert!(matches!(read(&header(ResponseCode::ServFail), QueryType::Mx), Reading::Failed(_)));
        assert_eq!(read(&header(ResponseCode::FormErr), QueryType::Mx), Reading::Plain);
    }

    /// RFC 6891 section 6.1.3: half of the code is in the OPT record.
    #[test]
    fn a_version_of_edns_that_is_not_known_is_done_without() {
        let none = reply(QueryType::Mx, vec![], |_| {});
        let mut bytes = [&none[..], &[0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]].concat();
        bytes[11] += 1;
        assert_eq!(read(&bytes, QueryType::Mx), Reading::Plain);
    }

    #[test]
    fn strangers_and_damage_are_not_believed() {
        let good = reply(QueryType::Mx, vec![mx(10, "a.example.")], |_| {});
        assert_eq!(read_answer(&good, 8, "d.example", QueryType::Mx), Reading::NotOurs, "another id");
        assert_eq!(read_answer(&good, 7, "e.example", QueryType::Mx), Reading::NotOurs, "another name");
        assert_eq!(read_answer(&good, 7, "d.example", QueryType::A), Reading::NotOurs, "another type");
        let question =
            reply(QueryType::Mx, vec![], |message| message.metadata.message_type = MessageType::Query);
        assert_eq!(read(&question, QueryType::Mx), Reading::NotOurs);
        for cut in 0..good.len() {
            let _ = read(&good[..cut], QueryType::Mx);
            let mut damaged = good.clone();
            damaged[cut] ^= 0xFF;
            let _ = read(&damaged, QueryType::Mx);
        }
    }
}
