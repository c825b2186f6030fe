//! Peers that share no code with the relay: a client that never gives up, and a sink that remembers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::{SimRuntime, SimStream, World};
use relevo::runtime::{Listener, Runtime, Stream};

use super::{signing, verify};

/// Lines over a stream.
struct Lines {
    stream: SimStream,
    input: Vec<u8>,
    /// The last line of the last reply.
    heard: String,
}

impl Lines {
    fn new(stream: SimStream) -> Lines {
        Lines { stream, input: Vec::new(), heard: String::new() }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
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

    async fn send(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match self.stream.try_send(&[IoSlice::new(rest)]) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.stream.poll_writable(context)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a command and reads the whole reply: its first digit.
    async fn ask(&mut self, command: &str) -> io::Result<char> {
        self.send(command).await?;
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                self.heard = line;
                return Ok(self.heard.chars().next().unwrap_or('?'));
            }
        }
    }
}

/// Local part of the recipient, lines of the body, characters in a line.
type Kind = (&'static str, usize, usize);

fn small(_: usize, next: usize) -> Kind {
    ("u", 1 + (next * 37) % 400, 14)
}

/// Several connections, each sending its messages one after the other until the relay takes them.
pub struct Client {
    /// Ids the relay answered with 250.
    pub acknowledged: Rc<RefCell<BTreeSet<String>>>,
    /// Times a connection broke after the dot: the message may have been taken.
    pub unsure: Rc<Cell<usize>>,
    /// What was said where a message was not taken.
    pub refusals: Rc<RefCell<BTreeSet<String>>>,
    left: Rc<Cell<usize>>,
}

impl Client {
    /// Small messages.
    pub fn start(world: &World, to: &str, connections: usize, messages: usize) -> Client {
        Client::send(world, to, connections, messages, small)
    }

    /// Large messages, but every `every`-th one of each connection, which is small and goes to an `old` address.
    pub fn start_bulk(world: &World, to: &str, connections: usize, messages: usize, every: usize) -> Client {
        Client::send(world, to, connections, messages, move |_, next| {
            if next.is_multiple_of(every) { ("old", 10, 998) } else { ("u", 200 + next % 50, 998) }
        })
    }

    /// Large and small messages of somebody who says himself that they are what they seem.
    pub fn start_stranger(world: &World, to: &str, connections: usize, messages: usize) -> Client {
        Client::send(world, to, connections, messages, |_, next| {
            if next % 3 == 0 { ("stranger", 300 + next % 50, 998) } else { ("stranger", 10, 14) }
        })
    }

    /// Messages of whatever `kind` says: local part, lines, characters in a line.
    fn send(
        world: &World,
        to: &str,
        connections: usize,
        messages: usize,
        kind: impl Fn(usize, usize) -> Kind + Copy + 'static,
    ) -> Client {
        let client = Client {
            acknowledged: Rc::default(),
            unsure: Rc::default(),
            refusals: Rc::default(),
            left: Rc::new(Cell::new(connections * messages)),
        };
        let to: SocketAddr = to.parse().expect("an address");
        for number in 0..connections {
            let runtime = world.shard(200, number as u16);
            let (acknowledged, unsure, left) =
                (client.acknowledged.clone(), client.unsure.clone(), client.left.clone());
            let refusals = client.refusals.clone();
            let own = runtime.clone();
            runtime.spawn(async move {
                let mut next = 0;
                while next < messages {
                    let told = (&*acknowledged, &*refusals);
                    let _ = session(&own, to, number, kind, &mut next, messages, told, &unsure, &left).await;
                    own.sleep_until(own.now() + Duration::from_millis(50)).await;
                }
            });
        }
        client
    }

    /// Whether every message was acknowledged.
    pub fn is_done(&self) -> bool {
        self.left.get() == 0
    }
}

#[expect(clippy::too_many_arguments, reason = "the state of one sender, used once")]
async fn session(
    runtime: &SimRuntime,
    to: SocketAddr,
    number: usize,
    kind: impl Fn(usize, usize) -> Kind,
    next: &mut usize,
    messages: usize,
    (acknowledged, refusals): (&RefCell<BTreeSet<String>>, &RefCell<BTreeSet<String>>),
    unsure: &Cell<usize>,
    left: &Cell<usize>,
) -> io::Result<()> {
    let stream = runtime.connect(None, to)?;
    poll_fn(|context| stream.poll_writable(context)).await;
    stream.take_error()?;
    let mut peer = Lines::new(stream);
    peer.line().await?;
    peer.ask("EHLO client.example\r\n").await?;
    while *next < messages {
        let (local, lines, length) = kind(number, *next);
        let id = format!("{number}-{next}-{lines}-{length}");
        let domain = (number * 31 + *next) % 7;
        let refused = peer.ask("MAIL FROM:<sender@origin.example>\r\n").await? != '2'
            || peer.ask(&format!("RCPT TO:<{local}@d{domain}.example>\r\n")).await? != '2'
            || peer.ask("DATA\r\n").await? != '3';
        if refused {
            refusals.borrow_mut().insert(peer.heard.clone());
            runtime.sleep_until(runtime.now() + Duration::from_millis(200)).await;
            peer.ask("RSET\r\n").await?;
            continue;
        }
        let body = format!("{}\r\n", "x".repeat(length)).repeat(lines);
        // Mail that waits for long has parameters.
        let tenant = match local {
            "old" => "X-Relevo-Tenant: old\r\n",
            "stranger" => "Authentication-Results: relay.example; dmarc=pass\r\n",
            _ => "",
        };
        let header =
            format!("From: Me <me@origin.example>\r\nMessage-Id: <{id}>\r\n{tenant}Subject: test\r\n");
        peer.send(&format!("{header}\r\n..dot\r\n{body}.\r\n")).await?;
        unsure.set(unsure.get() + 1);
        let answer = peer.ask("").await?;
        if answer == '2' {
            unsure.set(unsure.get() - 1);
            acknowledged.borrow_mut().insert(id);
            left.set(left.get() - 1);
            *next += 1;
        } else {
            refusals.borrow_mut().insert(peer.heard.clone());
        }
    }
    peer.ask("QUIT\r\n").await?;
    Ok(())
}

/// A next hop that takes everything and remembers it.
pub struct Sink {
    /// Ids of messages it answered, or tried to answer, with 250.
    pub received: Rc<RefCell<Vec<String>>>,
    /// Texts of notifications (null sender).
    pub bounces: Rc<RefCell<Vec<String>>>,
    /// Times the connection broke under the 250 after the dot.
    pub unsure: Rc<Cell<usize>>,
    /// Refuse recipients of mail that has a sender.
    pub refuse: Rc<Cell<bool>>,
    /// Put off recipients whose address begins with `old`.
    pub defer: Rc<Cell<bool>>,
    /// Mail comes by two relays.
    pub relayed: Rc<Cell<bool>>,
    /// All mail that has a sender is to be signed with both keys.
    pub signed: Rc<Cell<bool>>,
    /// What it says was found of it, which each is to say once. None: that is not looked at.
    pub verified: Rc<RefCell<Option<Vec<String>>>>,
}

impl Sink {
    pub fn start(world: &World, at: &str) -> Sink {
        let sink = Sink {
            received: Rc::default(),
            bounces: Rc::default(),
            unsure: Rc::default(),
            refuse: Rc::default(),
            defer: Rc::default(),
            relayed: Rc::default(),
            signed: Rc::default(),
            verified: Rc::default(),
        };
        let runtime = world.shard(2, 0);
        let listener = runtime.listen(at.parse().expect("an address")).expect("a free address");
        let (received, bounces) = (sink.received.clone(), sink.bounces.clone());
        let (unsure, refuse, defer) = (sink.unsure.clone(), sink.refuse.clone(), sink.defer.clone());
        let (signed, verified) = (sink.signed.clone(), sink.verified.clone());
        let relayed = sink.relayed.clone();
        let own = runtime.clone();
        runtime.spawn(async move {
            loop {
                poll_fn(|context| listener.poll_acceptable(context)).await;
                while let Ok((stream, _)) = listener.try_accept() {
                    let (received, bounces) = (received.clone(), bounces.clone());
                    let (unsure, refuse, defer) = (unsure.clone(), refuse.clone(), defer.clone());
                    let (signed, verified) = (signed.clone(), verified.clone());
                    let relayed = relayed.clone();
                    own.spawn(async move {
                        let how = (&*refuse, &*defer, &*signed, &*verified, &*relayed);
                        let _ = serve(Lines::new(stream), &received, &bounces, &unsure, how).await;
                    });
                }
            }
        });
        sink
    }
}

/// Refuses, defers, expects signatures, or what was found.
type How<'a> =
    (&'a Cell<bool>, &'a Cell<bool>, &'a Cell<bool>, &'a RefCell<Option<Vec<String>>>, &'a Cell<bool>);

async fn serve(
    mut lines: Lines,
    received: &RefCell<Vec<String>>,
    bounces: &RefCell<Vec<String>>,
    unsure: &Cell<usize>,
    (refuse, defer, signed, verified, relayed): How<'_>,
) -> io::Result<()> {
    lines.send("220 sink.example\r\n").await?;
    let mut null_sender = false;
    let mut recipients = 0;
    loop {
        let line = lines.line().await?.to_ascii_uppercase();
        let answer = if line.starts_with("EHLO") {
            "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        } else if line.starts_with("MAIL") {
            null_sender = line.starts_with("MAIL FROM:<>");
            recipients = 0;
            "250 2.1.0 ok\r\n"
        } else if line.starts_with("RCPT") && refuse.get() && !null_sender {
            "550 5.1.1 no such user\r\n"
        } else if line.starts_with("RCPT TO:<OLD") && defer.get() {
            "450 4.2.1 not yet\r\n"
        } else if line.starts_with("RCPT") {
            recipients += 1;
            "250 2.1.5 ok\r\n"
        } else if line.starts_with("DATA") && recipients == 0 {
            "554 5.5.1 no valid recipients\r\n"
        } else if line.starts_with("DATA") {
            lines.send("354 go\r\n").await?;
            let text = body(&mut lines).await?;
            if null_sender {
                bounces.borrow_mut().push(text);
            } else {
                if signed.get() {
                    let right = verify::verify(&text, &signing::published("origin.example"))
                        .unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
                    assert_eq!(right.len(), 2, "not signed: {text}");
                }
                if let Some(verified) = &mut *verified.borrow_mut() {
                    let all = text.matches("Authentication-Results:").count();
                    let ours = text.split_once("Authentication-Results: relay.example;").filter(|_| all == 1);
                    let field = ours.and_then(|(_, field)| field.split("dmarc=").next());
                    verified.push(field.map_or(format!("{all} fields"), str::to_owned));
                }
                received.borrow_mut().push(check(&text, relayed.get()));
            }
            unsure.set(unsure.get() + 1);
            lines.send("250 2.0.0 taken\r\n").await?;
            // The answer got on its way; whether it arrived is known when the next command does.
            let next = lines.line().await?.to_ascii_uppercase();
            unsure.set(unsure.get() - 1);
            lines.input.splice(0..0, format!("{next}\r\n").into_bytes());
            continue;
        } else if line.starts_with("QUIT") {
            return lines.send("221 bye\r\n").await;
        } else {
            "250 2.0.0 ok\r\n"
        };
        lines.send(answer).await?;
    }
}

/// The text up to the final dot, without the dots that were added on the way.
async fn body(lines: &mut Lines) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let line = lines.line().await?;
        if line == "." {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push('\n');
    }
}

/// One added Received field of each relay, everything else untouched; returns the id.
fn check(text: &str, relayed: bool) -> String {
    assert_eq!(text.matches("Received: ").count(), 1 + usize::from(relayed), "{text}");
    assert!(!text.contains("X-Relevo"), "{text}");
    let by = if relayed { "relay.example" } else { "client.example" };
    assert!(text.starts_with(&format!("Received: from {by}")), "{text}");
    let (_, rest) = text.split_once("Message-Id: <").expect("the id is there");
    let (id, rest) = rest.split_once('>').expect("the id ends");
    let (_, rest) = rest.split_once("\n\n").expect("the header ends");
    let body = rest.strip_prefix(".dot\n").expect("the dot was kept");
    let numbers: Vec<usize> = id.split('-').filter_map(|number| number.parse().ok()).collect();
    let [_, _, lines, length] = numbers[..] else { panic!("{id} is no id of ours") };
    assert_eq!(body.len(), lines * (length + 1), "the body of {id} was cut or grew");
    id.to_owned()
}

/// Hands in one message with this number for these recipients, from a client of its own.
pub fn hand_in(world: &World, client: u16, number: usize, recipients: Vec<String>) {
    hand_in_some(world, client, number..number + 1, recipients);
}

/// The same for some messages, one after the other.
pub fn hand_in_some(world: &World, client: u16, numbers: std::ops::Range<usize>, recipients: Vec<String>) {
    hand_in_from(world, (client, None), numbers, move |_| recipients.clone());
}

/// The same from an address of the client's own, each to others.
pub fn hand_in_from(
    world: &World,
    (client, source): (u16, Option<std::net::IpAddr>),
    numbers: std::ops::Range<usize>,
    recipients: impl Fn(usize) -> Vec<String> + 'static,
) {
    let runtime = world.shard(200, client);
    let own = runtime.clone();
    runtime.spawn(async move {
        let told = async {
            let stream = own.connect(source, "10.0.0.1:25".parse().expect("an address"))?;
            poll_fn(|context| stream.poll_writable(context)).await;
            let mut peer = Lines::new(stream);
            peer.line().await?;
            peer.ask("EHLO client.example\r\n").await?;
            for number in numbers {
                peer.ask("MAIL FROM:<sender@origin.example>\r\n").await?;
                for recipient in recipients(number) {
                    assert_eq!(peer.ask(&format!("RCPT TO:<{recipient}>\r\n")).await?, '2', "{recipient}");
                }
                assert_eq!(peer.ask("DATA\r\n").await?, '3');
                let body = "x".repeat(14);
                peer.send(&format!(
                    "Message-Id: <0-{number}-1-14>\r\nSubject: test\r\n\r\n..dot\r\n{body}\r\n.\r\n"
                ))
                .await?;
                assert_eq!(peer.ask("").await?, '2');
            }
            peer.ask("QUIT\r\n").await
        };
        let told: io::Result<char> = told.await;
        told.expect("the message is taken");
    });
}

/// Two recipients of one message, of which the first is refused: what is answered to each, and to the message for who is left.
pub fn rcpt(world: &World, first: String, second: String) -> Rc<RefCell<Vec<char>>> {
    let (runtime, told) = (world.shard(200, 99), Rc::<RefCell<Vec<char>>>::default());
    let (own, answers) = (runtime.clone(), told.clone());
    runtime.spawn(async move {
        let talk = async {
            let stream = own.connect(None, "10.0.0.1:25".parse().expect("an address"))?;
            poll_fn(|context| stream.poll_writable(context)).await;
            let mut peer = Lines::new(stream);
            peer.line().await?;
            peer.ask("EHLO client.example\r\n").await?;
            peer.ask("MAIL FROM:<sender@origin.example>\r\n").await?;
            for recipient in [first, second] {
                let answer = peer.ask(&format!("RCPT TO:<{recipient}>\r\n")).await?;
                answers.borrow_mut().push(answer);
            }
            peer.ask("DATA\r\n").await?;
            peer.send("Message-Id: <0-7-1-14>\r\nSubject: test\r\n\r\n..dot\r\nxxxxxxxxxxxxxx\r\n.\r\n")
                .await?;
            let answer = peer.ask("").await?;
            answers.borrow_mut().push(answer);
            Ok::<(), io::Error>(())
        };
        let _ = talk.await;
    });
    told
}

/// A message of the null sender, as it is, to one recipient.
pub fn hand_in_text(world: &World, client: u16, recipient: &str, text: String) {
    let (runtime, recipient) = (world.shard(200, client), recipient.to_owned());
    let own = runtime.clone();
    runtime.spawn(async move {
        let told = async {
            let stream = own.connect(None, "10.0.0.1:25".parse().expect("an address"))?;
            poll_fn(|context| stream.poll_writable(context)).await;
            let mut peer = Lines::new(stream);
            peer.line().await?;
            peer.ask("EHLO client.example\r\n").await?;
            peer.ask("MAIL FROM:<>\r\n").await?;
            assert_eq!(peer.ask(&format!("RCPT TO:<{recipient}>\r\n")).await?, '2', "{recipient}");
            assert_eq!(peer.ask("DATA\r\n").await?, '3');
            peer.send(&format!("{text}.\r\n")).await?;
            assert_eq!(peer.ask("").await?, '2');
            peer.ask("QUIT\r\n").await
        };
        let told: io::Result<char> = told.await;
        told.expect("the message is taken");
    });
}
