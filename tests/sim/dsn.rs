//! Senders are told what they asked to be told, once and nothing else, through crashes and moves: by us, or by the hop that offers to.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::{SimStream, World};
use relevo::runtime::{Defect, Runtime, Stream};

use super::peers::Client;
use super::relay::{Relay, run_until_true};
use super::{signing, story, verify};

const SETTINGS: &str = "[retry]\nfirst = \"2s\"\nmax = \"4s\"\n[bounces]\ndelay_warning = \"20s\"\n[delivery]\nprivate_networks = \"allow\"\n#dkim relay.example\n";
const MESSAGES: usize = 72;

/// What the hop does with a recipient, and what was asked of it: by the number of its message, so that what is to be told of each is known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Taken,
    Refused,
    Later,
}

fn kind(number: usize) -> Kind {
    [Kind::Taken, Kind::Refused, Kind::Later][number % 3]
}

fn notify(number: usize) -> &'static str {
    ["", "NEVER", "SUCCESS", "FAILURE", "DELAY", "SUCCESS,FAILURE,DELAY"][number / 3 % 6]
}

fn ret(number: usize) -> &'static str {
    ["", "FULL", "HDRS"][number / 18 % 3]
}

fn mail(number: usize) -> String {
    let ret = ret(number);
    let ret = if ret.is_empty() { String::new() } else { format!(" RET={ret}") };
    format!("MAIL FROM:<sender@origin.example>{ret} ENVID=Q+2B{number}")
}

fn rcpt(number: usize) -> String {
    let notify = notify(number);
    let notify = if notify.is_empty() { String::new() } else { format!(" NOTIFY={notify}") };
    format!("RCPT TO:<n{number}@d{}.example>{notify} ORCPT=rfc822;Orig+2B{number}@old.example", number % 5)
}

/// The ends that are told: RFC 3461 5.2.1 where the hop tells, 5.2.2 where it does not.
fn told(number: usize, hop_tells: bool) -> Vec<&'static str> {
    let (all, notify) = (notify(number), |word: &str| notify(number).contains(word));
    let mut told = Vec::new();
    if kind(number) == Kind::Refused && (all.is_empty() || notify("FAILURE")) {
        told.push("failed");
    }
    if kind(number) == Kind::Later && (all.is_empty() || notify("DELAY")) {
        told.push("delayed");
    }
    if kind(number) != Kind::Refused && notify("SUCCESS") && !hop_tells {
        told.push("relayed");
    }
    told
}

/// A hop that remembers.
#[derive(Default)]
struct Hop {
    offers: Cell<bool>,
    defers: Cell<bool>,
    /// Commands, by the number of their message.
    mails: RefCell<BTreeMap<usize, BTreeSet<String>>>,
    taken: RefCell<BTreeSet<usize>>,
    /// Notifications, by their Message-ID.
    reports: RefCell<BTreeMap<String, String>>,
}

/// What comes over a connection, piece by piece.
struct Talk {
    stream: SimStream,
    input: Vec<u8>,
}

impl Talk {
    fn new(stream: SimStream) -> Talk {
        Talk { stream, input: Vec::new() }
    }

    async fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let (mut buffer, mut searched) = ([0; 16 * 1024], 0);
        loop {
            if let Some(at) = memchr::memmem::find(&self.input[searched..], end) {
                return Ok(self.input.drain(..searched + at + end.len()).collect());
            }
            searched = self.input.len().saturating_sub(end.len());
            match self.stream.try_recv(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.stream.poll_readable(context)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = self.until(b"\r\n").await?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn send(&self, text: &str) -> io::Result<()> {
        self.stream.send(text.as_bytes()).await
    }
}

/// The number in an address `<n7@`.
fn number(line: &str) -> Option<usize> {
    line.split("<n").nth(1)?.split('@').next()?.parse().ok()
}

impl Hop {
    async fn serve(&self, stream: SimStream) -> io::Result<()> {
        let mut talk = Talk::new(stream);
        talk.send("220 hop.example\r\n").await?;
        let (mut mail, mut named) = (String::new(), Vec::new());
        loop {
            let line = talk.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match &*verb {
                "EHLO" if self.offers.get() => "250-hop.example\r\n250-DSN\r\n250 PIPELINING\r\n",
                "EHLO" => "250-hop.example\r\n250 PIPELINING\r\n",
                "MAIL" => {
                    (mail, named) = (line.clone(), Vec::new());
                    "250 2.1.0 ok\r\n"
                }
                "RCPT" => {
                    let who = number(&line);
                    if let Some(who) = who {
                        self.mails.borrow_mut().entry(who).or_default().extend([mail.clone(), line.clone()]);
                    }
                    match who.map(kind) {
                        Some(Kind::Refused) => "550 5.1.1 no such user\r\n",
                        Some(Kind::Later) if self.defers.get() => "450 4.2.1 not yet\r\n",
                        _ => {
                            named.push(who);
                            "250 2.1.5 ok\r\n"
                        }
                    }
                }
                "DATA" if named.is_empty() => "554 5.5.1 nobody\r\n",
                "DATA" => {
                    talk.send("354 go\r\n").await?;
                    let text = talk.until(b"\r\n.\r\n").await?;
                    if mail.starts_with("MAIL FROM:<>") {
                        let text = String::from_utf8_lossy(&text).into_owned();
                        let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
                        self.reports.borrow_mut().insert(id.expect("it has one").to_owned(), text);
                    }
                    self.taken.borrow_mut().extend(named.drain(..).flatten());
                    "250 2.0.0 taken\r\n"
                }
                "QUIT" => return talk.send("221 bye\r\n").await,
                _ => "250 2.0.0 ok\r\n",
            };
            talk.send(answer).await?;
        }
    }
}

fn hop(world: &World, offers: bool) -> Rc<Hop> {
    let hop = Rc::new(Hop::default());
    hop.offers.set(offers);
    hop.defers.set(true);
    let runtime = world.shard(2, 0);
    let listener = runtime.listen("10.0.0.2:25".parse().expect("an address")).expect("a free address");
    let (own, serving) = (runtime.clone(), hop.clone());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = serving.clone();
            own.spawn(async move {
                let _ = serving.serve(stream).await;
            });
        }
    });
    hop
}

/// Hands in all messages; the last has been taken when it is done.
fn hand_in(world: &World) -> Rc<Cell<usize>> {
    let (runtime, taken) = (world.shard(201, 0), Rc::new(Cell::new(0)));
    let (own, count) = (runtime.clone(), taken.clone());
    runtime.spawn(async move {
        let told = async {
            let stream = own.connect(None, "10.0.0.1:25".parse().expect("an address"))?;
            poll_fn(|context| stream.poll_writable(context)).await;
            let mut talk = Talk::new(stream);
            talk.line().await?;
            talk.send("EHLO client.example\r\n").await?;
            let mut offered = false;
            loop {
                let said = talk.line().await?;
                offered |= said == "250-DSN";
                if said.starts_with("250 ") {
                    break;
                }
            }
            assert!(offered, "RFC 3461 section 3");
            for number in 0..MESSAGES {
                for (command, code) in
                    [(mail(number), "250"), (rcpt(number), "250"), ("DATA".to_owned(), "354")]
                {
                    talk.send(&format!("{command}\r\n")).await?;
                    let said = talk.line().await?;
                    assert!(said.starts_with(code), "{command}: {said}");
                }
                let text = format!("Message-Id: <m{number}@client.example>\r\n\r\nbody of {number}\r\n.\r\n");
                talk.send(&text).await?;
                assert!(talk.line().await?.starts_with("250"));
                count.set(number + 1);
                own.sleep_until(own.now() + Duration::from_millis(40)).await;
            }
            io::Result::Ok(())
        };
        told.await.expect("they are taken");
    });
    taken
}

#[test]
fn senders_are_told_what_they_asked_for() {
    story(4, |seed| asked(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| asked(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}

fn asked(seed: u64, defect: Option<Defect>) {
    let hop_tells = seed.is_multiple_of(2);
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let hop = hop(&world, hop_tells);
    let mut relay = Relay::start(&world, 1, 2, SETTINGS);
    // What waits lies in many segments, and is moved as the other mail leaves; crashes cut off what they can.
    let client = Client::start_bulk(&world, "10.0.0.1:25", 6, 84, 1000);
    let taken = hand_in(&world);
    assert!(run_until_true(&world, Duration::from_secs(60), || taken.get() == MESSAGES), "{}", taken.get());
    let (mut moved, mut late) = (0, BTreeSet::new());
    for life in 0..5 {
        world.run_for(Duration::from_millis(3_300 + seed * 170 + life * 310));
        moved += relay.sum(|counters| &counters.messages_moved);
        late.extend(events(&relay, "delayed"));
        world.crash(1);
        relay = Relay::start(&world, 1, 2, SETTINGS);
    }
    assert!(run_until_true(&world, Duration::from_secs(300), || client.is_done()), "never got through");
    world.run_for(Duration::from_secs(40));
    moved += relay.sum(|counters| &counters.messages_moved);
    assert!(moved > 0, "nothing moved");
    late.extend(events(&relay, "delayed"));
    hop.defers.set(false);
    world.run_for(Duration::from_secs(60));
    assert_eq!(relay.sum(|counters| &counters.spool_messages), 0, "all has its end");
    judge(&hop, hop_tells);
    // Whether anybody is told or not; what a kill takes of a log without a journal is gone.
    let waited: BTreeSet<usize> = (0..MESSAGES).filter(|number| kind(*number) == Kind::Later).collect();
    let told: BTreeSet<usize> = late.iter().filter_map(|address| number(&format!("<{address}"))).collect();
    assert!(told.is_subset(&waited) && told.len() * 2 > waited.len(), "{late:?}");
    relay.drain();
}

/// Recipients that the log tells this of.
fn events(relay: &Relay<'_>, event: &str) -> BTreeSet<String> {
    let log = relay.log();
    let such = log.iter().filter(|record| record["event"] == event);
    such.filter_map(|record| record["recipients"][0].as_str().map(str::to_owned)).collect()
}

fn judge(hop: &Hop, hop_tells: bool) {
    let mut found: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
    for text in hop.reports.borrow().values() {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let number = field("Original-Envelope-Id: Q+").parse().expect("the sender's name for it");
        assert_eq!(field("Original-Recipient: "), format!("rfc822; Orig+{number}@old.example"), "{text}");
        assert_eq!(text.matches("Final-Recipient: ").count(), 1, "{text}");
        let action = field("Action: ").to_owned();
        // RFC 3461 4.3: all of it only where that was asked for, and only with a failure.
        let whole = ret(number) == "FULL" && action == "failed";
        assert_eq!(text.contains(&format!("body of {number}")), whole, "{text}");
        assert!(text.contains("Auto-Submitted: auto-replied"), "RFC 3834");
        let canonical = text.strip_suffix(".\r\n").expect("its end").replace("\r\n", "\n");
        let right = verify::verify(&canonical, &signing::published("relay.example"));
        assert_eq!(right.map(|keys| keys.len()), Ok(2), "{text}");
        found.entry((number, action)).or_default().push(text.clone());
    }
    for number in 0..MESSAGES {
        let expected = told(number, hop_tells);
        for action in ["failed", "delayed", "relayed", "delivered", "expanded"] {
            let times = found.get(&(number, action.to_owned())).map_or(0, Vec::len);
            let wanted = usize::from(expected.contains(&action));
            assert_eq!(times, wanted, "{number} {:?} {}: {action}", kind(number), notify(number));
        }
        let mails = hop.mails.borrow();
        let heard: Vec<&String> = mails.get(&number).into_iter().flatten().collect();
        let plain = (mail(number), rcpt(number));
        let cut = |command: &str| command.split_inclusive('>').next().unwrap_or_default().to_owned();
        let said = if hop_tells { [plain.0, plain.1] } else { [cut(&plain.0), cut(&plain.1)] };
        // SIZE is not offered, so nothing else stands there (RFC 3461 5.2.1 and 5.2.2 a).
        assert_eq!(heard, said.iter().collect::<Vec<_>>(), "each time that it was tried");
        assert_eq!(hop.taken.borrow().contains(&number), kind(number) != Kind::Refused);
    }
}
