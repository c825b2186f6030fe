//! Clients that hand mail in, each in its own way, and note what they were told.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::Runtime;
use relevo::runtime::sim::{SimRuntime, World};
use relevo::smtp::words;

use super::dice::Dice;
use super::instructions;
use super::ledger::{Ending, Ledger, Try};
use super::plan::{Flavour, MessagePlan, Plan};
use super::talk::Talk;

/// Times a client hands the same message in before it gives up.
const TRIES: usize = 40;

/// Starts them; the count falls to zero when all are done.
pub fn start(world: &World, plan: &Plan, ledger: &Rc<Ledger>) -> Rc<Cell<usize>> {
    let left = Rc::new(Cell::new(plan.clients.len()));
    for (number, messages) in plan.clients.iter().enumerate() {
        let runtime = world.shard(200, number as u16);
        let mut messages = messages.clone();
        messages.sort_by_key(|message| message.at);
        let client = Client {
            runtime: runtime.clone(),
            ledger: ledger.clone(),
            patience: Duration::from_secs(60),
            dice: Dice::new(plan.seed, 1000 + number as u64),
        };
        let left = left.clone();
        runtime.spawn(async move {
            client.run(messages).await;
            left.set(left.get() - 1);
        });
    }
    left
}

struct Client {
    runtime: SimRuntime,
    ledger: Rc<Ledger>,
    patience: Duration,
    dice: Dice,
}

impl Client {
    async fn run(mut self, messages: Vec<MessagePlan>) {
        let mut open: Option<Talk> = None;
        for message in messages {
            self.runtime.sleep_until(relevo::time::Instant(message.at * 1_000_000)).await;
            for _ in 0..TRIES {
                if !message.reuses {
                    open = None;
                }
                let number = self.ledger.begin(
                    self.runtime.now(),
                    message.size,
                    message.null_sender,
                    &message.recipients,
                );
                let mut talk = match open.take() {
                    Some(talk) => Ok(talk),
                    None => self.connect().await,
                };
                if let Ok(open_talk) = &mut talk
                    && let Ok(()) = self.hand_in(open_talk, number, &message).await
                {
                    open = talk.ok();
                }
                let (ending, bad) = {
                    let tries = self.ledger.tries.borrow();
                    tries[number].ended.set(self.runtime.now());
                    (tries[number].ending.get(), message.flavour == Flavour::Aborts)
                };
                let refused = self.ledger.in_force.is_refused(number);
                if ending == Ending::Taken || bad || refused || message.flavour == Flavour::Resets {
                    break;
                }
                let span = Duration::from_millis(self.dice.between(50, 10_000));
                self.runtime.sleep_until(self.runtime.now() + span).await;
            }
        }
    }

    async fn connect(&self) -> io::Result<Talk> {
        let to: SocketAddr = "10.0.0.1:25".parse().expect("an address");
        let (count, now) = (self.ledger.in_force.count(), self.runtime.now());
        let stream = self.runtime.connect(None, to)?;
        let mut talk = Talk::new(self.runtime.clone(), stream, self.patience);
        talk.connected().await?;
        let greeting = talk.reply().await?;
        self.ledger.in_force.greeted(count, now).into_iter().for_each(|what| self.ledger.complain(what));
        if greeting != 220 || talk.ask("EHLO client.example\r\n").await? != 250 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(talk)
    }

    fn with<T>(&self, number: usize, look: impl FnOnce(&Try) -> T) -> T {
        look(&self.ledger.tries.borrow()[number])
    }

    /// Notes a refusal for want of room on the disk.
    fn look_for_room(&self, said: &str) {
        if said == words::NO_SPACE.trim_end() {
            self.ledger.no_room.set(Some(self.runtime.now()));
        }
    }

    /// One transaction. Err: the connection is of no use any more.
    async fn hand_in(&mut self, talk: &mut Talk, number: usize, message: &MessagePlan) -> io::Result<()> {
        let sender = if message.null_sender { String::new() } else { format!("t{number}r0@origin.example") };
        let addresses: Vec<String> =
            self.with(number, |one| one.recipients.iter().map(|one| one.address.clone()).collect());
        let mut commands = vec![format!("MAIL FROM:<{sender}>\r\n")];
        commands.extend(addresses.iter().map(|address| format!("RCPT TO:<{address}>\r\n")));
        // By its number, so that a seed means what it meant before there was BDAT.
        let by_portions = number % 3 == 1 && matches!(message.flavour, Flavour::Plain | Flavour::Aborts);
        match message.flavour {
            Flavour::Resets => commands.push("RSET\r\n".to_owned()),
            _ if by_portions => {}
            _ => commands.push("DATA\r\n".to_owned()),
        }
        let pipelined = message.flavour == Flavour::Pipelined;
        let in_force = self.ledger.in_force.count();
        if pipelined {
            talk.send(commands.concat().as_bytes()).await?;
        }
        let mut code = 0;
        for (place, command) in commands.iter().enumerate() {
            if !pipelined {
                talk.send(command.as_bytes()).await?;
            }
            let words;
            (code, words) = talk.reply_in_full().await?;
            self.look_for_room(&words);
            if (1..=addresses.len()).contains(&place) {
                self.with(number, |one| one.recipients[place - 1].accepted.set(code == 250));
                self.ledger.in_force.answered((number, place - 1), &addresses[place - 1], code);
            }
            if place == 0 && code == 250 {
                self.ledger.in_force.begun(number, in_force);
            }
            if place == 0 && code != 250 && !pipelined {
                // 452 or 421: later.
                return if code == 452 { Ok(()) } else { Err(io::ErrorKind::Other.into()) };
            }
        }
        let has_any = || self.with(number, |one| one.recipients.iter().any(|one| one.accepted.get()));
        if if by_portions { !has_any() } else { code != 354 } {
            return if talk.ask("RSET\r\n").await? == 250 {
                Ok(())
            } else {
                Err(io::ErrorKind::Other.into())
            };
        }
        let wire =
            [instructions::fields(number).as_bytes(), &self.with(number, |one| one.wire.clone())].concat();
        if by_portions {
            return self.portions(talk, number, unstuffed(&wire), message.flavour == Flavour::Aborts).await;
        }
        if message.flavour == Flavour::Aborts {
            let part = self.dice.below(wire.len() as u64) as usize;
            talk.send(&wire[..part]).await?;
            return Err(io::ErrorKind::Other.into());
        }
        // A short send may leave anything of the dot unsent, so from the first byte on it is not known.
        let (all_but, last) = wire.split_at(wire.len() - 1);
        talk.send(all_but).await?;
        self.with(number, |one| one.ending.set(Ending::Unsure));
        talk.send(&[last, b".\r\n"].concat()).await?;
        self.end(talk, number).await
    }

    /// The body by BDAT (RFC 3030), in up to four portions; one that aborts goes away within the last of them.
    async fn portions(
        &mut self,
        talk: &mut Talk,
        number: usize,
        body: Vec<u8>,
        aborts: bool,
    ) -> io::Result<()> {
        let parts = 1 + number / 3 % 4;
        let portions: Vec<&[u8]> = body.chunks(body.len().div_ceil(parts).max(1)).collect();
        let (last, others) = portions.split_last().expect("a body has bytes");
        for portion in others {
            talk.send(&[format!("BDAT {}\r\n", portion.len()).as_bytes(), portion].concat()).await?;
            let (code, words) = talk.reply_in_full().await?;
            self.look_for_room(&words);
            if code != 250 {
                self.with(number, |one| one.ending.set(Ending::Refused));
                return if talk.ask("RSET\r\n").await? == 250 {
                    Ok(())
                } else {
                    Err(io::ErrorKind::Other.into())
                };
            }
        }
        talk.send(format!("BDAT {} LAST\r\n", last.len()).as_bytes()).await?;
        if aborts {
            talk.send(&last[..last.len() - 1]).await?;
            return Err(io::ErrorKind::Other.into());
        }
        self.with(number, |one| one.ending.set(Ending::Unsure));
        talk.send(last).await?;
        self.end(talk, number).await
    }

    /// What is said to the whole message.
    async fn end(&self, talk: &mut Talk, number: usize) -> io::Result<()> {
        let (code, words) = talk.reply_in_full().await?;
        self.look_for_room(&words);
        let ending = if code == 250 { Ending::Taken } else { Ending::Refused };
        let id = words.rsplit(' ').next().and_then(|id| id.parse().ok()).filter(|_| code == 250);
        self.with(number, |one| {
            one.ending.set(ending);
            one.id.set(id);
        });
        Ok(())
    }
}

/// A body as DATA has it, without the dots that were put in (RFC 5321 section 4.5.2).
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    wire.split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}
