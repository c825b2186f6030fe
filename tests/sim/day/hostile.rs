//! Clients that bring no mail, and try to stay: bytes that drip, commands in a loop, lines without an end, replies that nobody reads,
//! recipients without a message. None may be kept longer than a session without mail lasts.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use relevo::limits::server;
use relevo::runtime::Runtime;
use relevo::runtime::sim::{SimRuntime, World};

use super::dice::Dice;
use super::ledger::Ledger;
use super::plan::Plan;
use super::talk::Talk;

/// What a session without mail may last: the longest of its bounds, a body's apart, and the pause after which the client finds out.
const KEPT_MAX: Duration = Duration::from_secs(1800 + 300);
const _: () = assert!(server::TRANSACTION.as_secs() + 60 <= KEPT_MAX.as_secs());
/// As long as any of them tries.
const TRIES: Duration = Duration::from_secs(3 * 3600);
/// Times that each of them comes.
const ROUNDS: u64 = 3;
/// What all of it may last, the pauses included.
pub const LASTS: Duration = KEPT_MAX.saturating_mul(ROUNDS as u32 + 1);
const LOOPS: [&str; 6] = [
    "NOOP\r\n",
    "RSET\r\n",
    "VRFY <a@b.example>\r\n",
    "HELP\r\n",
    "EHLO x.example\r\n",
    "MAIL FROM:<a@b.example>\r\nRSET\r\n",
];

/// Starts them; the count falls to zero when all are done.
pub fn start(world: &World, plan: &Plan, ledger: &Rc<Ledger>) -> Rc<Cell<usize>> {
    let left = Rc::new(Cell::new(plan.hostile));
    for number in 0..plan.hostile {
        let runtime = world.shard(201, number as u16);
        let (own, ledger, left) = (runtime.clone(), ledger.clone(), left.clone());
        let mut dice = Dice::new(plan.seed, 5000 + number as u64);
        runtime.spawn(async move {
            own.sleep_until(own.now() + Duration::from_secs(dice.below(600))).await;
            let kind = dice.below(5);
            for _ in 0..dice.between(1, ROUNDS) {
                let began = own.now();
                // However it ends is good, if it does.
                let _ = stay(&own, kind, &mut dice).await;
                let kept = own.now().since(began);
                if kept > KEPT_MAX {
                    ledger.complain(format!(
                        "a client of kind {kind} that brings no mail was kept for {kept:?}"
                    ));
                }
                own.sleep_until(own.now() + Duration::from_secs(dice.between(1, 30))).await;
            }
            left.set(left.get() - 1);
        });
    }
    left
}

/// One session, until the relay ends it.
async fn stay(runtime: &SimRuntime, kind: u64, dice: &mut Dice) -> io::Result<()> {
    let stream = runtime.connect(None, "10.0.0.1:25".parse().expect("an address"))?;
    let mut talk = Talk::new(runtime.clone(), stream, Duration::from_secs(600));
    talk.connected().await?;
    talk.reply().await?;
    talk.ask("EHLO client.example\r\n").await?;
    let until = runtime.now() + TRIES;
    let mut recipients = 0;
    if kind == 4 {
        talk.ask("MAIL FROM:<a@b.example>\r\n").await?;
    }
    while runtime.now() < until {
        let pause = match kind {
            // A line that drips.
            0 => {
                talk.send(b"N").await?;
                dice.between(20, 290)
            }
            1 => {
                let words = dice.pick(&LOOPS);
                if talk.ask(words).await? == 421
                    || (words.contains("RSET") && words.contains("MAIL") && talk.reply().await? == 421)
                {
                    return Ok(());
                }
                dice.between(10, 60)
            }
            // A line without an end.
            2 => {
                talk.send(&[b'x'; 1000]).await?;
                dice.between(0, 30)
            }
            // Nobody reads.
            3 => {
                talk.send("VRFY x\r\nRCPT TO:<a@b.example>\r\n".repeat(20).as_bytes()).await?;
                dice.between(0, 2)
            }
            _ => {
                recipients += 1;
                if talk.ask(&format!("RCPT TO:<{recipients}{}@y.example>\r\n", "l".repeat(200))).await? == 421
                {
                    return Ok(());
                }
                dice.between(20, 200)
            }
        };
        talk.pause(Duration::from_secs(pause)).await;
    }
    Ok(())
}
