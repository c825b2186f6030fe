//! Questions as a resolver sends them, over real sockets.

use super::*;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

const ZONE: &str = "
gmail.example 300 MX 20 mx2.gmail.example ; second
gmail.example 300 MX 5 mx1.gmail.example
mx1.gmail.example 300 A 127.1.0.1
mx1.gmail.example 300 AAAA ::1
*.bulk.example 60 MX 10 mx1.gmail.example
own.bulk.example 60 A 127.0.0.1
nomail.example 300 MX 0 .
www.example 30 CNAME mx1.gmail.example
dangling.example 30 CNAME nothere.example
circle.example 30 CNAME circle.example
broken.example SERVFAIL
silent.example DROP
tcp.example TRUNCATE
tcp.example 60 A 127.0.0.1
slow.example DELAY 150ms
slow.example 60 A 127.0.0.1
";

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

fn ask(zone: &Zone, name: &str, kind: RecordType) -> Message {
    let (bytes, _) = zone.answer(&question(name, kind, Some(1232)), Transport::Udp).expect("an answer");
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!((answer.metadata.id, answer.metadata.message_type), (77, MessageType::Response));
    answer
}

#[test]
fn records_wildcards_and_aliases() {
    let zone = Zone::parse(ZONE).unwrap();
    let mx: Vec<_> = ask(&zone, "GMAIL.example.", RecordType::MX)
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::MX(mx) => (mx.preference, mx.exchange.to_ascii()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(mx, [(20, "mx2.gmail.example.".into()), (5, "mx1.gmail.example.".into())]);
    assert_eq!(ask(&zone, "any.deep.bulk.example.", RecordType::MX).answers.len(), 1);
    let own = ask(&zone, "own.bulk.example.", RecordType::MX);
    assert_eq!(
        (own.answers.len(), own.authorities.len()),
        (0, 1),
        "a name of its own has no part in the wildcard"
    );
    assert_eq!(own.metadata.response_code, ResponseCode::NoError);
    assert_eq!(ask(&zone, "www.example.", RecordType::A).answers.len(), 2, "the alias and its address");
    let dangling = ask(&zone, "dangling.example.", RecordType::A);
    assert_eq!((dangling.metadata.response_code, dangling.answers.len()), (ResponseCode::NXDomain, 1));
    assert!(ask(&zone, "circle.example.", RecordType::A).answers.len() <= 16);
    let gone = ask(&zone, "gone.example.", RecordType::A);
    assert_eq!((gone.metadata.response_code, gone.authorities.len()), (ResponseCode::NXDomain, 1));
    assert_eq!(ask(&zone, "broken.example.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert!(zone.answer(&question("silent.example.", RecordType::A, None), Transport::Udp).is_none());
}

#[test]
fn what_is_too_long_is_cut_short_and_whole_over_tcp() {
    let lines: String = (0..60)
        .map(|n| format!("big.example 60 MX {n} host-number-{n}.with.a.long.name.example\n"))
        .collect();
    let zone = Zone::parse(&lines).unwrap();
    let short = ask(&zone, "big.example.", RecordType::MX);
    assert!(short.metadata.truncation && short.answers.is_empty());
    let (whole, _) = zone.answer(&question("big.example.", RecordType::MX, None), Transport::Tcp).unwrap();
    assert_eq!(Message::from_vec(&whole).unwrap().answers.len(), 60);
}

#[test]
fn over_sockets_with_delays_and_truncation() {
    let server = DnsServer::start("127.0.0.1:0".parse().unwrap(), Zone::parse(ZONE).unwrap()).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = [0; 2000];
    let begun = Instant::now();
    socket.send(&question("slow.example.", RecordType::A, None)).unwrap();
    socket.send(&question("tcp.example.", RecordType::A, None)).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    assert!(
        Message::from_vec(&buffer[..length]).unwrap().metadata.truncation,
        "the slow one does not hold up the other"
    );
    socket.recv(&mut buffer).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(150));
    let mut stream = TcpStream::connect(server.address()).unwrap();
    for _ in 0..2 {
        let asked = question("tcp.example.", RecordType::A, None);
        stream.write_all(&(asked.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&asked).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1);
    }
    assert_eq!(server.counts(), DnsCounts { udp: 2, tcp: 2, silent: 0 });
}

#[test]
fn broken_lines_and_hostile_bytes() {
    for (text, wanted) in [
        ("a.example", "line 1: write NAME TTL TYPE"),
        ("\na.example 60 MX ten host", "line 2: \"ten\" is no preference"),
        ("a.example 60 A 1.2.3", "write an address"),
        ("a.example soon A 1.2.3.4", "no TTL"),
        ("a.example DELAY 2h", "no time"),
        ("a..example 60 A 1.2.3.4", "no name"),
        ("a.example 60 TXT x", "write A ADDRESS"),
    ] {
        let error = Zone::parse(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let zone = Zone::parse(ZONE).unwrap();
    let good = question("gmail.example.", RecordType::MX, Some(1232));
    for at in 0..good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 0xFF;
        let _ = zone.answer(&damaged, Transport::Udp);
        let _ = zone.answer(&good[..at], Transport::Tcp);
    }
}
