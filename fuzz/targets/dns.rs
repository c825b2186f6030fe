//! Answers of name servers, and their memory.

use std::collections::HashMap;
use std::time::Duration;

use relevo::dns::cache::Cache;
use relevo::dns::message::{Reading, read_answer, write_question};
use relevo::dns::{Answer, LookupResult, QueryType};
use relevo::limits;
use relevo::time::Instant;

use super::input::Input;

const ID: u16 = 0x0102;
const NAME: &str = "d.example";
const KINDS: [(QueryType, u16); 6] = [
    (QueryType::Mx, 15),
    (QueryType::A, 1),
    (QueryType::Aaaa, 28),
    (QueryType::Txt, 16),
    (QueryType::Ptr, 12),
    (QueryType::Tlsa, 52),
];

/// Any datagram is read without harm; only one that is a response to our question counts.
pub fn dns(data: &[u8]) {
    for (kind, number) in KINDS {
        let reading = read_answer(data, ID, NAME, kind);
        if reading != Reading::NotOurs {
            assert_ours(data, number, &reading);
        }
        assert_reading(kind, &reading);
        // The same answer to another question is nothing to us.
        let mut stranger = data.to_vec();
        if let Some(byte) = stranger.get_mut(1) {
            *byte ^= 1;
        }
        assert!(reading == Reading::NotOurs || read_answer(&stranger, ID, NAME, kind) == Reading::NotOurs);
        if matches!(
            reading,
            Reading::Found(LookupResult { answer: Ok(Answer::Mx { .. } | Answer::Addresses(_)), .. })
        ) {
            assert_eq!(read_answer(data, ID, "e.example", kind), Reading::NotOurs);
        }
    }
    let name = String::from_utf8_lossy(data);
    for (kind, _) in KINDS {
        if let Some(question) = write_question(ID, &name, kind, true) {
            assert!(question.len() <= 512 && question.starts_with(&ID.to_be_bytes()));
        }
    }
}

/// What a reader of the first few bytes can tell (RFC 1035 4.1).
fn assert_ours(data: &[u8], number: u16, reading: &Reading) {
    assert!(data.len() >= 12, "a header was made up");
    assert_eq!(data[..2], ID.to_be_bytes(), "a foreign id");
    assert!(data[2] & 0x80 != 0, "not a response");
    if data[4..6] == [0, 0] {
        assert_ne!(data[3] & 15, 0, "an answer to no question");
        return;
    }
    // A compressed name in the first question can point at nothing but the header: left to the reader.
    let question = &data[12..];
    if question.first().is_some_and(|byte| *byte < 64) && question.len() >= 15 {
        let plain = b"\x01d\x07example\x00";
        if question[..11].iter().all(|byte| *byte < 192) {
            assert!(question[..11].eq_ignore_ascii_case(plain), "a foreign name: {reading:?}");
            assert_eq!(
                question[11..15],
                [(number >> 8) as u8, number as u8, 0, 1],
                "a foreign type or class"
            );
        }
    }
}

fn assert_reading(kind: QueryType, reading: &Reading) {
    match reading {
        Reading::Found(LookupResult { answer, ttl, secure: _ }) => {
            assert!((limits::DNS_TTL_MIN..=limits::DNS_TTL_MAX).contains(ttl));
            match answer.as_ref().expect("an answer that was read is no failure") {
                Answer::Mx { hosts, .. } => {
                    assert!(kind == QueryType::Mx && (1..=16).contains(&hosts.len()));
                    hosts.iter().for_each(|(_, host)| assert_host(host));
                }
                Answer::Addresses(addresses) => {
                    assert!(!addresses.is_empty() && matches!(kind, QueryType::A | QueryType::Aaaa));
                    assert!(addresses.iter().all(|address| address.is_ipv4() == (kind == QueryType::A)));
                }
                Answer::Texts(texts) => {
                    assert!(kind == QueryType::Txt && (1..=limits::DNS_TEXTS_KEPT).contains(&texts.len()));
                }
                Answer::Names(names) => {
                    assert!(kind == QueryType::Ptr && (1..=limits::DNS_NAMES_KEPT).contains(&names.len()));
                    names.iter().for_each(|name| assert_host(name));
                }
                Answer::Associations(all) => {
                    assert!(
                        kind == QueryType::Tlsa && (1..=limits::DNS_ASSOCIATIONS_KEPT).contains(&all.len())
                    );
                }
                Answer::NoData | Answer::NoDomain => {}
            }
        }
        Reading::Alias(host, ttl) => {
            assert!(*ttl <= limits::DNS_TTL_MAX);
            assert_host(host);
        }
        Reading::Failed(why) => {
            let why = why.to_string();
            assert!(!why.is_empty() && !why.contains(['\r', '\n']));
        }
        Reading::Truncated | Reading::Plain | Reading::NotOurs => {}
    }
}

/// Hosts go into logs and bounces, and some are asked for in turn.
fn assert_host(host: &str) {
    assert!((1..=1024).contains(&host.len()), "{host:?}");
    assert!(host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{host:?}");
    assert!(host == "." || !host.ends_with('.') || host.ends_with("\\."), "{host:?}");
    let _ = write_question(ID, host, QueryType::A, true);
}

/// The cache against a plain map: what it still knows is the newest that was put, not past its time, and within the bound.
pub fn cache(data: &[u8]) {
    let mut input = Input(data);
    let room = 1024 + 64 * input.below(16);
    let mut cache = Cache::new(room);
    let mut model: HashMap<(QueryType, u8), (Instant, Answer)> = HashMap::new();
    let mut now = Instant(1);
    for turn in 0..512 {
        if input.is_empty() {
            break;
        }
        let choice = input.byte();
        let (kind, number) = (KINDS[usize::from(choice >> 2) % 3].0, input.byte() % 32);
        let name = format!("h{number}.example");
        match choice & 3 {
            0 => now = now + Duration::from_secs(u64::from(number)),
            1 => {
                let ttl = Duration::from_secs(u64::from(input.byte()));
                let answer = Answer::Mx { hosts: vec![(turn, name.clone())], cut: false };
                cache.put(
                    kind,
                    &name,
                    &LookupResult { answer: Ok(answer.clone()), ttl, secure: false },
                    (now, 0),
                );
                model.insert((kind, number), (now + ttl, answer));
                let again = cache.get(kind, &name, now);
                assert_eq!(again.is_some(), !ttl.is_zero(), "forgotten at once");
            }
            _ => {
                let Some(found) = cache.get(kind, &name, now).map(|known| known.result()) else { continue };
                let (expires, known) = model.get(&(kind, number)).expect("an answer nobody gave");
                let found = found.map(|found| found.answer);
                assert_eq!(found, Some(Ok(known.clone())), "an answer that was replaced");
                assert!(*expires > now, "an answer past its time");
            }
        }
        assert!(cache.bytes() <= room + 128);
    }
}
