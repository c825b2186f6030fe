//! A smart host that asks for a login by SCRAM-SHA-256 under TLS: mail goes over connections that are logged in, and over no other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relevo::runtime::Runtime;
use relevo::runtime::sim::World;
use rustls::ServerConfig;

use super::peers::hand_in_some;
use super::relay::Relay;
use super::secure::{self, Secure};
use super::story;

const MESSAGES: usize = 40;

/// How it stands to those who log in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Conduct {
    /// It does as it should.
    Fair,
    /// It wants so many iterations.
    Costly(u64),
    /// Says nothing to the first message of SCRAM.
    Silent,
    /// It does not know the password, and says 235 all the same.
    Impostor,
    /// 535, whatever it is told.
    Refuses,
    /// Nobody can know whether it is who it says.
    SelfSigned,
}

struct SmartHost {
    conduct: Cell<Conduct>,
    password: RefCell<String>,
    tls: RefCell<Arc<ServerConfig>>,
    received: RefCell<BTreeSet<String>>,
    logins: Cell<usize>,
    tries: Cell<usize>,
    strange_mail: Cell<usize>,
}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

impl SmartHost {
    fn start(world: &World, conduct: Conduct, password: &str) -> Rc<SmartHost> {
        let host = Rc::new(SmartHost {
            conduct: Cell::new(conduct),
            password: RefCell::new(password.to_owned()),
            tls: RefCell::new(secure::host("10.0.0.2", conduct != Conduct::SelfSigned)),
            received: RefCell::default(),
            logins: Cell::default(),
            tries: Cell::default(),
            strange_mail: Cell::default(),
        });
        let runtime = world.shard(2, 0);
        let listener = runtime.listen("10.0.0.2:25".parse().expect("an address")).expect("a free address");
        let (own, serving) = (runtime.clone(), host.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let host = serving.clone();
                own.spawn(async move {
                    let _ = host.serve(Secure::new(stream)).await;
                });
            }
        });
        host
    }

    async fn serve(&self, mut talk: Secure) -> io::Result<()> {
        talk.send("220 smart.example\r\n").await?;
        let mut logged_in = false;
        loop {
            let line = talk.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match &*verb {
                "EHLO" if talk.is_protected() => {
                    talk.send("250-smart.example\r\n250-PIPELINING\r\n250 AUTH SCRAM-SHA-256\r\n").await?;
                }
                "EHLO" => talk.send("250-smart.example\r\n250 STARTTLS\r\n").await?,
                "STARTTLS" => {
                    talk.send("220 go on\r\n").await?;
                    let tls = self.tls.borrow().clone();
                    talk.protect(&tls).await?;
                }
                "AUTH" => {
                    assert!(talk.is_protected(), "AUTH in plain text");
                    self.tries.set(self.tries.get() + 1);
                    logged_in = self.log_in(&mut talk, &line).await?;
                    self.logins.set(self.logins.get() + usize::from(logged_in));
                }
                "MAIL" => {
                    self.strange_mail.set(self.strange_mail.get() + usize::from(!logged_in));
                    talk.send("250 2.1.0 ok\r\n").await?;
                }
                "DATA" => {
                    talk.send("354 go on\r\n").await?;
                    while let line = talk.line().await?
                        && line != "."
                    {
                        let id = line.strip_prefix("Message-Id: <").and_then(|rest| rest.strip_suffix('>'));
                        self.received.borrow_mut().extend(id.map(str::to_owned));
                    }
                    talk.send("250 2.0.0 taken\r\n").await?;
                }
                "QUIT" => return talk.send("221 2.0.0 bye\r\n").await,
                _ => talk.send("250 2.0.0 ok\r\n").await?,
            }
        }
    }

    async fn log_in(&self, talk: &mut Secure, line: &str) -> io::Result<bool> {
        let decode = |text: &str| {
            String::from_utf8(STANDARD.decode(text).expect("base64")).expect("a message of SCRAM")
        };
        let first = decode(line.rsplit(' ').next().unwrap_or_default());
        let bare = first.strip_prefix("n,,").expect("no channel binding").to_owned();
        let nonce = bare.split_once(",r=").expect("a nonce").1;
        match self.conduct.get() {
            Conduct::Silent => {
                talk.line().await?;
                return Ok(false);
            }
            Conduct::Refuses => {
                talk.send("535 5.7.8 no\r\n").await?;
                return Ok(false);
            }
            _ => {}
        }
        let count = if let Conduct::Costly(count) = self.conduct.get() { count } else { 4096 };
        let asked = format!("r={nonce}theirs,s={},i={count}", STANDARD.encode("salt"));
        talk.send(&format!("334 {}\r\n", STANDARD.encode(&asked))).await?;
        let last = decode(&talk.line().await?);
        let (without, proof) = last.rsplit_once(",p=").expect("a proof");
        let mut salted = [0; 32];
        let iterations = NonZeroU32::new(4096).expect("some");
        let password = self.password.borrow().clone();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, b"salt", password.as_bytes(), &mut salted);
        let (client, server) = (sign(&salted, b"Client Key"), sign(&salted, b"Server Key"));
        let signed = format!("{bare},{asked},{without}");
        let stored = digest::digest(&digest::SHA256, &client);
        let mask = sign(stored.as_ref(), signed.as_bytes());
        let wanted: Vec<u8> = client.iter().zip(mask).map(|(one, other)| one ^ other).collect();
        let right = STANDARD.encode(wanted) == proof;
        if !right && self.conduct.get() != Conduct::Impostor {
            talk.send("535 5.7.8 no\r\n").await?;
            return Ok(false);
        }
        let proof = STANDARD.encode(format!("v={}", STANDARD.encode(sign(&server, signed.as_bytes()))));
        talk.send(&format!("334 {proof}\r\n")).await?;
        assert_eq!(talk.line().await?, "", "the empty answer");
        talk.send("235 2.7.0 welcome\r\n").await?;
        Ok(true)
    }
}

fn configuration(password: &str) -> String {
    super::relay::configuration(&format!(
        "[retry]\nfirst = \"1m\"\nmax = \"1m\"\n#authority\n#password: smart {password}\n\
         [credentials]\nsmart = {{ user = \"relay\", password_file = \"/none\" }}\n"
    ))
    .replace("to = \"smtp://10.0.0.2:25\"\n", "to = \"smtp://10.0.0.2:25\"\ncredentials = \"smart\"\n")
}

fn launch<'a>(world: &'a World, configuration: &str) -> Relay<'a> {
    let room = relevo::shard::mesh::MeshLimits::of(2);
    let launch = super::relay::Launch { node: 1, shards: 2, lanes: 2, room, configuration };
    Relay::launch(world, &launch).expect("the node lives")
}

fn hand_in(world: &World) {
    let recipients = (0..4).map(|number| format!("u@d{number}.example")).collect();
    hand_in_some(world, 0, 0..MESSAGES, recipients);
}

#[test]
fn mail_goes_over_connections_that_are_logged_in() {
    story(2, |seed| {
        let world = World::new(seed);
        let host = SmartHost::start(&world, Conduct::Fair, "pencil");
        let relay = launch(&world, &configuration("pencil"));
        hand_in(&world);
        world.run_for(Duration::from_secs(120));
        assert_eq!(host.received.borrow().len(), MESSAGES);
        assert_eq!((host.strange_mail.get(), host.logins.get()), (0, host.tries.get()));
        assert!(host.logins.get() >= 1 && relay.sum(|of| &of.logins_failed) == 0);
    });
}

/// It waits, and goes when the password is put right by a reload, or the host mends its ways.
#[test]
fn mail_waits_where_no_login_comes_about() {
    for conduct in [
        Conduct::Costly(1 << 31),
        Conduct::Costly(1),
        Conduct::Silent,
        Conduct::Impostor,
        Conduct::Refuses,
        Conduct::SelfSigned,
    ] {
        let world = World::new(1);
        let host = SmartHost::start(&world, conduct, "another");
        let mut relay = launch(&world, &configuration("pencil"));
        hand_in(&world);
        world.run_for(Duration::from_secs(600));
        assert_eq!((host.received.borrow().len(), host.strange_mail.get()), (0, 0), "{conduct:?}");
        assert!(relay.sum(|of| &of.recipients_bounced) == 0, "{conduct:?}");
        let (failed, unverified) = (relay.sum(|of| &of.logins_failed), relay.sum(|of| &of.tls_unverified));
        if conduct == Conduct::SelfSigned {
            assert!(failed == 0 && unverified > 0 && host.tries.get() == 0, "nothing is said to it");
        } else if conduct != Conduct::Silent {
            // A site that rests longer each time is no hail of logins.
            assert!((1..100).contains(&failed) && unverified == 0, "{conduct:?}: {failed}");
        }
        host.conduct.set(Conduct::Fair);
        host.tls.replace(secure::host("10.0.0.2", true));
        relay.reload(&configuration("another")).expect("a reload");
        world.run_for(Duration::from_secs(7200));
        assert_eq!(host.received.borrow().len(), MESSAGES, "{conduct:?}");
        assert_eq!(host.strange_mail.get(), 0, "{conduct:?}");
    }
}
