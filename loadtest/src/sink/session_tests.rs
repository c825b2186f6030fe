use std::net::IpAddr;
use std::sync::Arc;

use std::net::Ipv4Addr;
use std::time::Duration;

use super::super::sites::Site;
use super::*;
use crate::ledger::Ledger;
use crate::ledger::Sums;
use crate::random::Random;
use crate::sink::sites::{Gate, Responsible};

const GOOD: &[u8] = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r0.7.1@b>\r\nDATA\r\n\
    X-Loadtest-Id: 0001-7 0 1 00 00 00\r\nSubject: x\r\n\r\nbody\r\n..\r\n.\r\nQUIT\r\n";

struct Talk {
    codes: Vec<String>,
    flow: Flow,
    tally: Tally,
    sums: Sums,
}

/// What came of `input`, cut into `size`d pieces, sent to the first of these sites.
fn talk_to(sites: &[Site], input: &[u8], size: usize, behaviour: &Behaviour, now: u64, gate: &Gate) -> Talk {
    let (tally, ledger) = (Tally::default(), Arc::new(Ledger::new(1)));
    let mut random = Random::new(1);
    let mut find = |run| (run == 1).then(|| Arc::clone(&ledger));
    let mut context = Context {
        behaviour,
        random: &mut random,
        tally: &tally,
        ledgers: &mut find,
        journal: None,
        gate,
        responsible: &Responsible::new(sites),
        site: 0,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        now,
        lane: 0,
    };
    let (mut session, mut flow) = Session::new(&mut context);
    for piece in input.chunks(size) {
        if flow == Flow::More {
            flow = session.input(piece, &mut context);
        }
    }
    session.closed(&mut context);
    let text = String::from_utf8(session.out).unwrap();
    let codes = text.lines().map(|line| line[..4].to_owned()).collect();
    Talk { codes, flow, sums: ledger.sums(), tally }
}

fn talk(input: &[u8], size: usize, behaviour: &Behaviour) -> Talk {
    talk_to(&[], input, size, behaviour, 1, &Gate::default())
}

fn codes(input: &str, behaviour: &str) -> Vec<String> {
    talk(input.as_bytes(), 999, &behaviour.parse().unwrap()).codes
}

#[test]
fn a_message_at_every_split() {
    for size in 1..=GOOD.len() {
        let Talk { codes, flow, tally, sums } = talk(GOOD, size, &Behaviour::default());
        let wanted = "220 250-250-250-250-250-250 250 250 354 250 221 ";
        assert_eq!((codes.concat().as_str(), flow), (wanted, Flow::Close), "by {size}");
        let counts = tally.counts();
        assert_eq!((counts.messages, counts.recipients, counts.unknown), (1, 1, 0), "by {size}");
        assert_eq!((sums.delivered, sums.corrupted, sums.misrouted), (1, 1, 0), "by {size}: sum 0 is wrong");
    }
}

#[test]
fn chunks_at_every_split() {
    let good = String::from_utf8(GOOD.to_vec()).unwrap();
    let (envelope, rest) = good.split_once("DATA\r\n").unwrap();
    let content = rest.replace("\r\n.\r\nQUIT\r\n", "\r\n");
    let (first, last) = content.split_at(20);
    let input = format!(
        "BDAT 3\r\nxyz{envelope}BDAT {}\r\n{first}BDAT {} LAST\r\n{last}BDAT 0 LAST\r\nQUIT\r\n",
        first.len(),
        last.len()
    );
    for size in 1..=input.len() {
        let Talk { codes, tally, sums, .. } = talk(input.as_bytes(), size, &Behaviour::default());
        assert_eq!(codes.concat(), "220 503 250-250-250-250-250-250 250 250 250 250 503 221 ", "by {size}");
        assert_eq!((tally.counts().messages, sums.delivered), (1, 1), "by {size}");
    }
    assert_eq!(codes("BDAT x LAST\r\nNOOP\r\n", ""), ["220 ", "501 "]);
    assert_eq!(codes("BDAT 999999999999 LAST\r\nNOOP\r\n", ""), ["220 ", "501 "]);
}

#[test]
fn order_is_demanded() {
    let input = "DATA\r\nRCPT TO:<a@b>\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\nFOO\r\nRSET\r\nNOOP\r\n";
    assert_eq!(codes(input, "").concat(), "220 503 503 250 503 554 500 250 250 ");
}

#[test]
fn rules_act_at_their_point() {
    let cases = [
        (Point::Connect, 421, "421 ", 1),
        (Point::Hello, 550, "550 ", 2),
        (Point::Mail, 451, "451 ", 8),
        (Point::Rcpt, 550, "550 ", 9),
        (Point::Data, 452, "452 ", 10),
        (Point::Dot, 554, "554 ", 11),
    ];
    for (point, refusal, code, position) in cases {
        let behaviour = Behaviour::default().with(point, Action::Refuse(refusal), 1.0);
        let Talk { codes, tally, sums, .. } = talk(GOOD, 999, &behaviour);
        let refused = matches!(point, Point::Rcpt | Point::Dot);
        assert_eq!(sums.refused, u64::from(refused), "{point:?}");
        assert_eq!(codes.get(position - 1).map(String::as_str), Some(code), "{point:?} {codes:?}");
        assert_eq!(tally.counts().messages, u64::from(point == Point::Hello), "{point:?}");
    }
    let points =
        [Point::Connect, Point::Hello, Point::Mail, Point::Rcpt, Point::Data, Point::Dot, Point::Reply];
    for point in points {
        let behaviour = Behaviour::default().with(point, Action::Disconnect, 1.0);
        let Talk { codes, flow, tally, .. } = talk(GOOD, 999, &behaviour);
        assert_eq!((codes.len(), flow), (0, Flow::Close), "{point:?}");
        let taken = u64::from(point == Point::Reply);
        assert_eq!((tally.counts().messages, tally.counts().unsure), (taken, taken), "{point:?}");
    }
}

#[test]
fn a_421_ends_the_session() {
    let Talk { codes, flow, .. } = talk(GOOD, 999, &"rcpt=421".parse().unwrap());
    assert_eq!((codes.last().map(String::as_str), flow), (Some("421 "), Flow::Close));
}

#[test]
fn sizes_are_heeded() {
    let input = "MAIL FROM:<a@b> BODY=8BITMIME size=268435457\r\nMAIL FROM:<a@b> SIZE=99999999999999999999\r\n\
        MAIL FROM:<a@b> SIZE=10\r\n";
    assert_eq!(codes(input, "").concat(), "220 552 552 250 ");
    assert_eq!(codes(input, "size=9").concat(), "220 552 552 552 ");
}

#[test]
fn what_belongs_elsewhere_is_misrouted() {
    for (from, to) in [("r0.7.1", "r0.8.1"), ("r0.7.1", "r1.7.1"), ("r0.7.1", "joe"), ("r0.7.1", "r0.7.2")] {
        let input = String::from_utf8(GOOD.to_vec()).unwrap().replace(from, to);
        let sums = talk(input.as_bytes(), 999, &Behaviour::default()).sums;
        assert_eq!((sums.misrouted, sums.delivered), (1, 0), "{to}");
    }
    let site = |domain: &str| Site { domains: vec![domain.to_owned()], ..Site::new("x", Vec::new()) };
    for (sites, misrouted) in [([site("b"), site("c")], 0), ([site("c"), site("b")], 1)] {
        let talk = talk_to(&sites, GOOD, 999, &Behaviour::default(), 1, &Gate::default());
        assert_eq!((talk.sums.misrouted, talk.sums.delivered), (misrouted, 1 - misrouted));
    }
}

#[test]
fn bounces_are_understood() {
    let input = "MAIL FROM:<>\r\nRCPT TO:<bounce.7.1@b>\r\nDATA\r\nSubject: x\r\n\r\n\
        Final-Recipient: rfc822; r0.7.1@b\r\nAction: failed\r\n.\r\n";
    let Talk { tally, sums, .. } = talk(input.as_bytes(), 999, &Behaviour::default());
    assert_eq!((tally.counts().bounces, sums.bounced, sums.misrouted), (1, 1, 0));
    let delayed = input.replace("failed", "delayed");
    let sums = talk(delayed.as_bytes(), 999, &Behaviour::default()).sums;
    assert_eq!((sums.bounced, sums.delayed), (0, 1));
}

#[test]
fn strangers_wait_once() {
    let (gate, behaviour) = (Gate::default(), "greylist=1s".parse().unwrap());
    let code = |now| talk_to(&[], GOOD, 999, &behaviour, now, &gate).codes[8].clone();
    let second = Duration::from_secs(1).as_nanos() as u64;
    assert_eq!([code(1), code(second / 2), code(second + 1)], ["450 ", "450 ", "250 "]);
}

#[test]
fn limits_are_kept() {
    let one = "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n";
    let two = one.repeat(2);
    assert_eq!(codes(&two, "rate=1").concat(), "220 250 250 354 250 450 503 503 500 ");
    assert_eq!(codes(&two, "messages=1").concat(), "220 250 250 354 250 421 ");
    let gmail = codes(&two, "rate=1,texts=gmail");
    assert_eq!(gmail.last().map(String::as_str), Some("421 "));
    let many = "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\nRCPT TO:<d@b>\r\n";
    assert_eq!(codes(many, "rcpts=2").concat(), "220 250 250 250 452 ");
    let gate = Gate::default();
    assert!(gate.enter(IpAddr::V4(Ipv4Addr::LOCALHOST), None));
    let talk = talk_to(&[], GOOD, 999, &"connections=1".parse().unwrap(), 1, &gate);
    assert_eq!((talk.codes.concat().as_str(), talk.flow), ("421 ", Flow::Close));
}

#[test]
fn security_is_demanded() {
    assert_eq!(codes("STARTTLS\r\n", ""), ["220 ", "500 "]);
    assert_eq!(codes("MAIL FROM:<>\r\n", "tls=required").concat(), "220 530 ");
    let talk = talk(b"STARTTLS\r\nMAIL FROM:<>\r\n", 999, &"tls=offered".parse().unwrap());
    assert_eq!(
        (talk.codes.concat().as_str(), talk.flow),
        ("220 220 ", Flow::Secure),
        "the rest was not protected"
    );
    let login = |text: &str| {
        let initial = base64::engine::general_purpose::STANDARD.encode(text);
        codes(&format!("MAIL FROM:<>\r\nAUTH PLAIN {initial}\r\nMAIL FROM:<>\r\n"), "auth=joe:secret")
            .concat()
    };
    assert_eq!(login("\0joe\0secret"), "220 530 235 250 ");
    for wrong in ["\0joe\0secre", "", "joe\0secret", "\0joe:secret", "\0\0"] {
        assert_eq!(login(wrong), "220 530 535 530 ", "{wrong:?}");
    }
}

#[test]
fn replies_come_late() {
    let behaviour = "delay=20ms,delay.mail=5ms,tarpit=1ms".parse().unwrap();
    assert_eq!(talk(GOOD, 999, &behaviour).flow, Flow::Pause(1_000_000, 0), "the greeting too");
    let behaviour = "delay.mail=5ms".parse().unwrap();
    assert_eq!(talk(GOOD, 999, &behaviour).flow, Flow::Pause(5_000_000, 25));
    let behaviour = "delay=20ms".parse().unwrap();
    let at = GOOD.len() - "QUIT\r\n".len();
    let talk = talk(GOOD, 999, &behaviour);
    assert_eq!(talk.flow, Flow::Pause(20_000_000, at));
    assert_eq!(talk.tally.counts().unsure, 1, "closed before its reply left");
}

#[test]
fn endless_lines_are_bounded() {
    assert_eq!(talk(&vec![b'x'; LINE_MAX + 1], 100, &Behaviour::default()).flow, Flow::Close);
}

/// What hostile sites do, as a client sees it.
#[test]
fn hostile_answers() {
    let begin = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r0.7.1@b>\r\n";
    let message = "DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\n";
    let tail = |behaviour: &str| codes(&format!("{begin}{message}"), behaviour).split_off(9);
    assert_eq!(tail("data=early"), ["354 ", "250 ", "550 "]);
    assert_eq!(tail("dot=twice"), ["354 ", "250 ", "250 "]);
    assert_eq!(tail("body=552"), ["354 ", "552 "]);
    assert_eq!(tail("dot=354"), ["354 ", "354 "]);
    assert_eq!(tail("dot=mute"), ["354 "]);
    assert_eq!(codes(begin, "mail=354")[7..], ["354 ", "503 "]);
    assert_eq!(codes("EHLO a\r\nSTARTTLS\r\n", "tls=offered,starttls=454").last().unwrap(), "454 ");
    let refused = talk(format!("{begin}{message}").as_bytes(), 7, &"body=552".parse().unwrap());
    assert_eq!(refused.flow, Flow::Close);
}
