//! What is told of sessions, and what is not.

use super::*;

const AT: UnixMillis = UnixMillis(1_000);

fn about() -> About {
    About { side: Side::In, peer: "192.0.2.1:25".to_owned(), client: "192.0.2.1".parse().ok(), host: None }
}

fn filter(sender: Option<&str>, recipient: Option<&str>) -> TraceFilter {
    let pattern = |text: &str| AddressPattern::parse(text).unwrap();
    TraceFilter { sender: sender.map(pattern), recipient: recipient.map(pattern), ..TraceFilter::default() }
}

fn told(tracing: &Tracing) -> Vec<String> {
    let line = |line: TraceLine| format!("{} {}", if line.ours { '>' } else { '<' }, line.text);
    std::iter::from_fn(|| tracing.take(0)).map(line).collect()
}

fn say(desk: &TraceDesk, number: &mut u32, said: Said<'_>) {
    assert!(desk.is_on());
    desk.tell(0, number, about, AT, said);
}

#[test]
fn a_session_is_told_from_its_beginning_once_it_is_meant() {
    let desk = TraceDesk::default();
    assert!(!desk.is_on());
    let tracing = Arc::new(Tracing::new(filter(None, Some("@d.example")), 1));
    desk.watch(tracing.clone());
    let (mut one, mut two) = (0, 0);
    for number in [&mut one, &mut two] {
        say(&desk, number, Said::Replies(b"220 hello\r\n"));
        say(&desk, number, Said::Commands(b"EHLO c\r\nMAIL FRO"));
        say(&desk, number, Said::Commands(b"M:<a@b.example> SIZE=3\r\n"));
        say(&desk, number, Said::Replies(b"250 ok\r\n250 ok\r\n"));
    }
    assert!(one != two && told(&tracing).is_empty());
    say(&desk, &mut two, Said::Commands(b"RCPT TO:<x@other.example>\r\n"));
    say(&desk, &mut one, Said::Commands(b"rcpt to:<x@d.example>\r\nDATA\r\n"));
    let lines = [
        "> 220 hello",
        "< EHLO c",
        "< MAIL FROM:<a@b.example> SIZE=3",
        "> 250 ok",
        "> 250 ok",
        "< rcpt to:<x@d.example>",
        "< DATA",
    ];
    assert_eq!(told(&tracing), lines);
    say(&desk, &mut one, Said::Replies(b"354 go\r\n"));
    say(&desk, &mut one, Said::Body(b"Subject: secret\r\n\r\n"));
    say(&desk, &mut one, Said::Body(b"more\r\n.\r\n"));
    say(&desk, &mut one, Said::Replies(b"250 taken\r\n"));
    assert_eq!(told(&tracing), ["> 354 go", "< [28 bytes of a message]", "> 250 taken"]);
    // Other mail of the same session is not meant.
    say(&desk, &mut one, Said::Commands(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@e.example>\r\n"));
    say(&desk, &mut one, Said::Replies(b"250 2\r\n"));
    assert!(told(&tracing).is_empty());
    say(&desk, &mut one, Said::Commands(b"MAIL FROM:<>\r\n"));
    say(&desk, &mut one, Said::Commands(b"RCPT TO:<y@d.example>\r\n"));
    assert_eq!(told(&tracing), ["< MAIL FROM:<>", "< RCPT TO:<y@d.example>"]);
}

/// Where a client sends ahead, other mail and what is meant come at once.
#[test]
fn other_mail_is_not_told_where_it_came_together_with_what_is_meant() {
    let desk = TraceDesk::default();
    let tracing = Arc::new(Tracing::new(filter(None, Some("@d.example")), 1));
    desk.watch(tracing.clone());
    let mut one = 0;
    say(&desk, &mut one, Said::Commands(b"MAIL FROM:<>\r\nRCPT TO:<x@other.example>\r\nDATA\r\n"));
    say(&desk, &mut one, Said::Commands(b"MAIL FROM:<>\r\nRCPT TO:<y@d.example>\r\n"));
    assert_eq!(told(&tracing), ["< MAIL FROM:<>", "< RCPT TO:<y@d.example>"]);
}

#[test]
fn secrets_are_met_and_left_out() {
    let desk = TraceDesk::default();
    let tracing = Arc::new(Tracing::new(TraceFilter { bodies: true, ..TraceFilter::default() }, 1));
    desk.watch(tracing.clone());
    let mut number = 0;
    say(&desk, &mut number, Said::Commands(b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\nauth login\r\n"));
    say(&desk, &mut number, Said::Replies(b"334 VXNlcm5hbWU6\r\n"));
    say(&desk, &mut number, Said::Commands(b"QUIT\r\n"));
    say(&desk, &mut number, Said::Commands(b"c2VjcmV0\r\n"));
    say(&desk, &mut number, Said::Body(b"Subject: a\r\n"));
    assert_eq!(
        told(&tracing),
        [
            "< AUTH PLAIN [hidden]",
            "< AUTH login",
            "> 334 [hidden]",
            "< [4 bytes hidden]",
            "< [8 bytes hidden]",
            "< Subject: a",
        ]
    );
}

#[test]
fn who_does_not_say_that_he_is_there_is_forgotten() {
    let desk = TraceDesk::default();
    let tracing = Arc::new(Tracing::new(filter(None, None), 1));
    desk.watch(tracing.clone());
    for _ in 0..3 * limits::TRACE_LEASE_TICKS {
        tracing.renew();
        desk.tick();
    }
    assert!(desk.is_on() && !tracing.is_over());
    say(&desk, &mut 0, Said::Commands(b"NOOP\r\n"));
    (0..limits::TRACE_LEASE_TICKS).for_each(|_| desk.tick());
    assert!(!desk.is_on() && tracing.is_over() && desk.sessions.borrow().is_empty());
    // One that ends goes at the next tick, and more than a few are not watched for.
    let many: Vec<_> =
        (0..=limits::TRACES_MAX).map(|_| Arc::new(Tracing::new(filter(None, None), 1))).collect();
    many.iter().for_each(|one| desk.watch(one.clone()));
    assert_eq!(many.iter().filter(|one| one.is_over()).count(), 1);
    many.iter().for_each(|one| one.end());
    desk.tick();
    assert!(!desk.is_on());
}

#[test]
fn what_finds_no_room_is_counted() {
    let desk = TraceDesk::default();
    let tracing = Arc::new(Tracing::new(filter(None, None), 1));
    desk.watch(tracing.clone());
    let mut number = 0;
    for _ in 0..limits::TRACE_LINES + 7 {
        say(&desk, &mut number, Said::Commands(b"NOOP\r\n"));
    }
    assert_eq!(
        (told(&tracing).len(), tracing.take_dropped(), tracing.take_dropped()),
        (limits::TRACE_LINES, 7, 0)
    );
    // As many sessions as there may be are kept in mind, and of each so much.
    for session in 0..2 * limits::TRACE_SESSIONS {
        say(&desk, &mut 0, Said::Commands(&vec![b'x'; session]));
    }
    let sessions = desk.sessions.borrow();
    assert_eq!(sessions.len(), limits::TRACE_SESSIONS);
    assert!(sessions.values().all(|one| one.partial[0].len() <= limits::TRACE_LINE_HELD));
}
