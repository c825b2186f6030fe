//! Next hops with manners: what they say, and what they remember.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Listener, Runtime};
use relevo::time::Instant;

use super::dice::Dice;
use super::ledger::Ledger;
use super::plan::{BANNER, DATA, DOT, HELLO, HostState, MAIL, Manner, OTHER, Plan, RCPT, SitePlan};
use super::reloads::{is_smart_host, smart_host};
use super::seen::Seen;
use super::talk::Talk;

/// A rate that was exceeded, as a large receiver says it.
const LATER: &str = "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.\r\n";

/// Longer than the relay waits for anything.
const FOR_EVER: Duration = Duration::from_secs(700);

pub struct Site {
    pub number: usize,
    plan: SitePlan,
    bad_until: u64,
    /// Messages of one connection, 0: any number.
    messages_max: u64,
    /// How often it says what it says in odd words, and breaks off in the middle of a body.
    odd: f64,
    ledger: Rc<Ledger>,
    dice: RefCell<Dice>,
}

/// What comes of a command.
enum Act {
    Yes,
    Soft,
    Hard,
    Shut,
}

/// Opens the hosts of all sites.
pub fn start(world: &World, plan: &Plan, ledger: &Rc<Ledger>) {
    for (number, site_plan) in plan.sites.iter().enumerate() {
        let runtime = world.shard(2, number as u16);
        let site = Rc::new(Site {
            number,
            plan: site_plan.clone(),
            bad_until: if site_plan.origin { plan.network_until } else { plan.sites_until },
            messages_max: plan.messages_per_connection,
            odd: plan.odd,
            ledger: ledger.clone(),
            dice: RefCell::new(Dice::new(plan.seed, 100 + number as u64)),
        });
        for host in site_plan.hosts.iter().chain(&smart_host(plan, number)) {
            listen(&runtime, host.socket(), host.state, &site);
        }
    }
}

fn listen(runtime: &SimRuntime, at: std::net::SocketAddr, state: HostState, site: &Rc<Site>) {
    let listener = runtime.listen(at).expect("a free address");
    let (own, site) = (runtime.clone(), site.clone());
    runtime.spawn(async move {
        loop {
            poll_fn(|context| listener.poll_acceptable(context)).await;
            while let Ok((stream, _)) = listener.try_accept() {
                let talk = Talk::new(own.clone(), stream, FOR_EVER);
                let (site, began) = (site.clone(), own.now());
                own.spawn(async move {
                    if state == HostState::Silent && site.is_bad(&talk) {
                        return talk.pause(FOR_EVER).await;
                    }
                    let (sender, recipients) = (None, Vec::new());
                    let by_route = is_smart_host(at.ip());
                    let session = Session { site, talk, sender, recipients, messages: 0, began, by_route };
                    let _ = session.run().await;
                });
            }
        }
    });
}

struct Session {
    site: Rc<Site>,
    talk: Talk,
    sender: Option<String>,
    recipients: Vec<String>,
    messages: u64,
    began: Instant,
    by_route: bool,
}

impl Site {
    fn is_bad(&self, talk: &Talk) -> bool {
        talk.runtime.now() < Instant(0) + Duration::from_secs(self.bad_until)
    }

    fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.dice.borrow_mut().chance(probability)
    }

    /// A user this site does not know, in any weather.
    fn is_unknown(&self, address: &str) -> bool {
        let mixed =
            address.bytes().fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Dice::new(mixed, 9).below(10_000) < self.plan.unknown_users
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Session {
    fn manner(&self, verb: usize) -> Manner {
        if self.site.is_bad(&self.talk) { self.site.plan.manners[verb] } else { Manner::default() }
    }

    /// Waits, breaks off, or says what to answer.
    async fn act(&self, verb: usize) -> io::Result<Act> {
        let manner = self.manner(verb);
        if self.site.chance(manner.mute) {
            self.talk.pause(FOR_EVER).await;
            return Err(gone());
        }
        if self.site.chance(manner.late) {
            let span = self.site.dice.borrow_mut().between(1, 20_000);
            self.talk.pause(Duration::from_millis(span)).await;
        }
        Ok(if self.site.chance(manner.cut) {
            return Err(gone());
        } else if self.site.chance(manner.shut) {
            Act::Shut
        } else if self.site.chance(manner.hard) {
            Act::Hard
        } else if self.site.chance(manner.soft) {
            Act::Soft
        } else {
            Act::Yes
        })
    }

    /// Answers a command without meaning for a message; whether the answer was yes.
    async fn answer(&self, verb: usize, yes: &str) -> io::Result<bool> {
        let act = self.act(verb).await?;
        self.say(&act, yes).await?;
        Ok(matches!(act, Act::Yes))
    }

    async fn say(&self, act: &Act, yes: &str) -> io::Result<()> {
        if self.site.is_bad(&self.talk) && self.site.chance(self.site.odd) {
            return self.say_oddly(act, yes).await;
        }
        let words = match act {
            Act::Yes => yes,
            Act::Soft if self.site.plan.coded && yes.starts_with("250 2.1.5") => LATER,
            Act::Soft => "451 4.3.0 not now\r\n",
            Act::Hard => "554 5.7.1 never\r\n",
            Act::Shut => "421 4.3.2 closing\r\n",
        };
        self.talk.send(words.as_bytes()).await?;
        if matches!(act, Act::Shut) { Err(gone()) } else { Ok(()) }
    }

    /// The same in other words, among them some that no hop should use.
    async fn say_oddly(&self, act: &Act, yes: &str) -> io::Result<()> {
        let one_of = |choices: &[&str]| self.site.dice.borrow_mut().pick(choices).to_owned();
        let words = match act {
            Act::Yes => {
                let (code, rest) = yes.split_at(3);
                // A longer answer in front of it.
                let more = one_of(&["", " 2.0.0 yes", " ", &"x".repeat(400), "\t\u{fc}"]);
                let lines = self.site.dice.borrow_mut().between(0, 20) as usize;
                format!("{}{code}{rest}", format!("{code}-{more}\r\n").repeat(lines))
            }
            Act::Soft if yes.starts_with("354") => one_of(&["450 4.2.0 no\r\n", "452-a\r\n452 4.2.2 b\r\n"]),
            Act::Soft => one_of(&[
                "450-4.2.0 no\r\n450 4.2.0 no\r\n",
                "354 go\r\n",
                "nonsense\r\n",
                "25\r\n",
                "\r\n",
                "999 what\r\n",
            ]),
            Act::Hard => one_of(&[
                "500 5.5.1 what\r\n",
                "503 5.5.1 when\r\n",
                "552 5.3.4 large\r\n",
                "550-5.1.1 who\r\n550-\r\n550 5.1.1 who\r\n",
                "550\r\n",
            ]),
            // Broken off in the middle.
            Act::Shut => one_of(&["421-4.3.2 clo", "4", "250-", "2", "421 4.3.2 closing\r"]),
        };
        self.talk.send(words.as_bytes()).await?;
        if matches!(act, Act::Shut) { Err(gone()) } else { Ok(()) }
    }

    async fn run(mut self) -> io::Result<()> {
        if !self.answer(BANNER, "220 hop.example\r\n").await? {
            return Ok(());
        }
        let mut before: Option<Rc<Seen>> = None;
        loop {
            let line = self.talk.line().await?;
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            // The commands of the next message may have come together with a body, before its answer was read. Whatever
            // else the relay says shows that it has read it.
            if !matches!(verb.as_str(), "MAIL" | "RCPT" | "DATA")
                && let Some(seen) = before.take()
            {
                seen.known();
            }
            match verb.as_str() {
                "EHLO" | "HELO" => {
                    let yes = if self.site.plan.pipelining && verb == "EHLO" {
                        "250-hop.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
                    } else {
                        "250 hop.example\r\n"
                    };
                    self.answer(HELLO, yes).await?;
                }
                "MAIL" => self.mail(&line).await?,
                "RCPT" => self.rcpt(&line).await?,
                "DATA" => {
                    let (body, seen) = self.data().await?;
                    if let Some(seen) = before.take_if(|_| body) {
                        seen.known();
                    }
                    before = seen.or(before);
                }
                "RSET" => {
                    self.sender = None;
                    self.recipients.clear();
                    self.answer(OTHER, "250 2.0.0 ok\r\n").await?;
                }
                "QUIT" => {
                    self.answer(OTHER, "221 2.0.0 bye\r\n").await?;
                    return Ok(());
                }
                _ => self.talk.send(b"500 5.5.1 what?\r\n").await?,
            }
        }
    }

    async fn mail(&mut self, line: &str) -> io::Result<()> {
        let sender = path(line);
        self.began = self.talk.runtime.now();
        self.recipients.clear();
        let mut act = self.act(MAIL).await?;
        if matches!(act, Act::Hard) {
            if sender.is_empty() {
                // Nobody could tell whom that was about.
                act = Act::Soft;
            } else {
                self.site.ledger.refuse_all(&sender, self.site.number);
            }
        }
        self.sender = matches!(act, Act::Yes).then_some(sender);
        let mut yes = "250 2.1.0 ok\r\n".to_owned();
        if matches!(act, Act::Yes) && self.breaks(self.site.plan.strays) {
            yes += self.site.dice.borrow_mut().pick(&["550 5.1.1 who\r\n", "250 ok\r\n354 go\r\n", "25"]);
        }
        self.say(&act, &yes).await
    }

    async fn rcpt(&mut self, line: &str) -> io::Result<()> {
        if self.sender.is_none() {
            return self.talk.send(b"503 5.5.1 MAIL first\r\n").await;
        }
        let address = path(line);
        self.site.ledger.attempt(self.talk.runtime.now(), &address);
        self.site.ledger.in_force.came(self.talk.runtime.now(), &address, self.by_route);
        if self.site.plan.few > 0 && self.recipients.len() >= self.site.plan.few {
            return self.talk.send(b"452 4.5.3 too many recipients\r\n").await;
        }
        let mut act = self.act(RCPT).await?;
        if self.site.is_unknown(&address) {
            act = Act::Hard;
        }
        match act {
            Act::Hard => self.site.ledger.refuse([&*address]),
            Act::Yes => self.recipients.push(address),
            _ => {}
        }
        self.say(&act, "250 2.1.5 ok\r\n").await
    }

    /// Whether a body came, and what was taken.
    async fn data(&mut self) -> io::Result<(bool, Option<Rc<Seen>>)> {
        if self.recipients.is_empty() {
            self.talk.send(b"554 5.5.1 no valid recipients\r\n").await?;
            return Ok((false, None));
        }
        let act = self.act(DATA).await?;
        self.refuse_on(&act);
        if matches!(act, Act::Yes) && self.breaks(self.site.plan.early) {
            // No 250 that comes before the end of the message is one to it.
            self.talk.send(b"354 go\r\n250 2.0.0 taken\r\n").await?;
            let _ = self.talk.until_dot().await?;
            self.talk.send(b"451 4.3.0 not now\r\n").await?;
            return Err(gone());
        }
        self.say(&act, "354 go\r\n").await?;
        if !matches!(act, Act::Yes) {
            return Ok((false, None));
        }
        if self.breaks(self.site.plan.midway) {
            let _ = self.talk.line().await?;
            self.refuse_on(&Act::Hard);
            self.talk.send(b"552 5.3.4 enough of this\r\n").await?;
            return Err(gone());
        }
        if self.site.is_bad(&self.talk) && self.site.chance(self.site.odd / 8.0) {
            let _ = self.talk.line().await?;
            return Err(gone());
        }
        let text = self.talk.until_dot().await?;
        self.messages += 1;
        if self.site.messages_max > 0 && self.messages > self.site.messages_max {
            let (count, bound) = (self.messages, self.site.messages_max);
            self.site.ledger.complain(format!("{count} messages over a connection of {bound}"));
        }
        let now = self.talk.runtime.now();
        // Half of those that break off now have taken it before.
        let (manner, site) = (self.manner(DOT), self.site.clone());
        if site.chance((manner.cut + manner.mute) / 2.0) {
            let _ = self.take(now, &text);
            if site.chance(manner.mute) {
                self.talk.pause(FOR_EVER).await;
            }
            return Err(gone());
        }
        let act = self.act(DOT).await?;
        self.refuse_on(&act);
        let seen = matches!(act, Act::Yes).then(|| self.take(now, &text));
        self.recipients.clear();
        self.sender = None;
        if matches!(act, Act::Yes) && self.breaks(self.site.plan.twice) {
            let more = self.site.dice.borrow_mut().pick(&[
                "550 5.1.1 who\r\n",
                "250 2.0.0 taken\r\n",
                "451 4.3.0 hm\r\n",
            ]);
            self.talk.send(format!("250 2.0.0 taken\r\n{more}").as_bytes()).await?;
        } else {
            self.say(&act, "250 2.0.0 taken\r\n").await?;
        }
        if let Some(seen) = &seen {
            seen.answered(self.talk.runtime.now());
        }
        Ok((true, seen))
    }

    /// Whether it breaks a rule now.
    fn breaks(&self, often: f64) -> bool {
        self.site.is_bad(&self.talk) && self.site.chance(often)
    }

    fn refuse_on(&self, act: &Act) {
        if matches!(act, Act::Hard) {
            self.site.ledger.refuse(self.recipients.iter().map(|address| &**address));
        }
    }

    fn take(&self, now: Instant, text: &[u8]) -> Rc<Seen> {
        if self.site.plan.origin {
            self.site.ledger.take_bounce(self.began, now, &self.recipients, text)
        } else {
            self.site.ledger.take(self.began, now, self.site.number, &self.recipients, text)
        }
    }
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or("", |(path, _)| path).to_owned()
}
