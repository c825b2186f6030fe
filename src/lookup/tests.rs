use super::*;
use crate::runtime::exchange::server::{ByStream, end, serve};

fn lookup(server: SocketAddr) -> Lookup {
    Lookup { servers: vec![server], timeout: Duration::from_millis(300), attempts: 3 }
}

/// The question as an answer with one TXT record of these strings; more bits of the header, and the code.
fn text(question: &[u8], strings: &[&[u8]], flags: [u8; 2]) -> Vec<u8> {
    let mut reply = question[..12].to_vec();
    (reply[2], reply[3]) = (0x81 | flags[0], 0x80 | flags[1]);
    (reply[7], reply[11]) = (u8::from(!strings.is_empty()), 0);
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    reply.extend_from_slice(&question[12..end]);
    if !strings.is_empty() {
        let length: usize = strings.iter().map(|string| 1 + string.len()).sum();
        reply.extend([0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        reply.extend((length as u16).to_be_bytes());
        for string in strings {
            reply.push(string.len() as u8);
            reply.extend_from_slice(string);
        }
    }
    reply
}

#[test]
fn an_answer_is_found_among_others_and_by_tcp() {
    let of = |words: &str| Ok(Answer::Texts(vec![words.as_bytes().to_vec()]));
    let (server, thread) = serve(|question, _| Some(text(question, &[b"v=DKIM1; ", b"p=x"], [0, 0])), None);
    assert_eq!(lookup(server).ask(QueryType::Txt, "s._domainkey.d.example"), of("v=DKIM1; p=x"));
    end(server, thread);
    let long = [b'x'; 200];
    let whole: ByStream = Box::new(move |question| text(question, &[&long, &long, &long], [0, 0]));
    let (server, thread) = serve(|question, _| Some(text(question, &[], [0x02, 0])), Some(whole));
    assert_eq!(lookup(server).ask(QueryType::Txt, "d.example"), of(&"x".repeat(600)));
    end(server, thread);
}

#[test]
fn strangers_silence_and_old_servers_are_borne() {
    // An answer with another id, one that was for somebody else, and then silence: the next try is answered.
    let (server, thread) = serve(
        |question, number| match number {
            0 => {
                let mut other = text(question, &[b"forged"], [0, 0]);
                other[0] ^= 1;
                Some(other)
            }
            _ => Some(text(question, &[b"right"], [0, 0])),
        },
        None,
    );
    let right = Ok(Answer::Texts(vec![b"right".to_vec()]));
    assert_eq!(lookup(server).ask(QueryType::Txt, "d.example"), right);
    end(server, thread);
    // One that does not know EDNS says so, and is asked without.
    let (server, thread) = serve(
        |question, _| {
            let plain = question[11] == 0;
            Some(text(question, if plain { &[b"right"] } else { &[] }, [0, u8::from(!plain)]))
        },
        None,
    );
    assert_eq!(lookup(server).ask(QueryType::Txt, "d.example"), right);
    end(server, thread);
    let (server, thread) = serve(|_, _| None, None);
    let silent = lookup(server).ask(QueryType::Txt, "d.example").unwrap_err();
    assert_eq!(silent.to_string(), format!("{server}: it does not answer"));
    end(server, thread);
    let none = Lookup { servers: Vec::new(), timeout: Duration::from_secs(1), attempts: 3 };
    assert_eq!(none.ask(QueryType::Txt, "d.example"), Err(LookupError::NoServers));
}

#[test]
fn that_there_is_nothing_is_an_answer() {
    let (server, thread) = serve(|question, _| Some(text(question, &[], [0, 3])), None);
    assert_eq!(lookup(server).ask(QueryType::Txt, "d.example"), Ok(Answer::NoDomain));
    assert_eq!(lookup(server).ask(QueryType::Txt, "d..example"), Err(LookupError::BadName));
    end(server, thread);
    let (server, thread) = serve(|question, _| Some(text(question, &[], [0, 2])), None);
    let failed = lookup(server).ask(QueryType::Txt, "d.example").unwrap_err();
    assert!(failed.to_string().contains("the name server answers Server Failure"), "{failed}");
    end(server, thread);
}
