//! Logins by SCRAM at a simulated shard, with a real session and a real client of the mechanism, and without the connection between them.

use std::net::SocketAddr;

use super::*;
use crate::config::AuthMechanisms;
use crate::policy::accounts::{Accounts, SaltKey};
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::alone;
use crate::smtp::client::auth::scram::{Costs, Keys, Scram};
use crate::smtp::scram::Verifier;
use crate::smtp::server::{Intake, SessionConfig, Step};

fn accounts() -> Accounts {
    let account = |name: &str, more: &str| {
        let costs =
            Costs { salt: name.repeat(16).as_bytes()[..16].into(), iterations: 4096.try_into().unwrap() };
        let scram = Verifier::of(b"secret", costs).text();
        format!("[[account]]\nname = \"{name}\"\nscram = \"{scram}\"\n{more}")
    };
    let text = [("bob", ""), ("alice", ""), ("carol", "networks = [\"203.0.113.0/24\"]\n")];
    Accounts::parse(&text.map(|(name, more)| account(name, more)).concat()).expect("sound sections")
}

fn shard(world: &World) -> Rc<Shard<SimRuntime>> {
    let shard = alone::shard(world, Some(Logins::new(accounts(), &[[1; 32], [2; 32]])));
    shard.runtime.spawn_vital("timers", shard.timers.clone().run(shard.runtime.clone()));
    shard
}

/// What a client of this name and password proves when it was told this.
fn proof_of(name: &str, password: &str, costs: &Costs) -> Box<Proof> {
    let peer: SocketAddr = "192.0.2.1:1234".parse().expect("an address");
    let auth = AuthMechanisms::all_that(|_| true);
    let config = SessionConfig { auth, ..SessionConfig::plain("relay.example") };
    let mut session = Session::new(Rc::new(config), peer, false);
    session.tls_established("TLSv1.3 X".to_owned());
    let mut say = |line: &str, out: &mut Vec<u8>| {
        let (_, step) = session.handle(format!("{line}\r\n").as_bytes(), Intake::Open, out);
        if step == Step::Challenge {
            session.challenge(costs.clone(), ("ours", None), out);
        }
        step
    };
    let (mut client, first) = Scram::begin(name, b"theirs");
    let encode = |text: &str| STANDARD_NO_PAD.encode(text) + &"=".repeat((3 - text.len() % 3) % 3);
    let mut out = Vec::new();
    say("EHLO client.example", &mut out);
    out.clear();
    let begun = say(&format!("AUTH SCRAM-SHA-256 {}", encode(&first)), &mut out);
    assert_eq!(begun, Step::Challenge);
    let told = String::from_utf8(out).expect("text");
    let told = told.trim_start_matches("334 ").trim_end().trim_end_matches('=');
    let costs = client.on_first(&STANDARD_NO_PAD.decode(told).expect("base64")).expect("a first message");
    let keys = Keys::derive(password.as_bytes(), &costs);
    let last = client.prove(&keys).expect("a proof");
    match say(&encode(&last), &mut Vec::new()) {
        Step::Prove(proof) => proof,
        other => panic!("{other:?}"),
    }
}

fn costs_of(shard: &Shard<SimRuntime>, name: &str) -> Costs {
    let logins = shard.live.get().accounts.clone().expect("accounts");
    logins.accounts.verifier(name, &logins.salts).0.costs
}

async fn login(shard: &Rc<Shard<SimRuntime>>, client: &str, name: &str, password: &str) -> (Login, Duration) {
    let proof = proof_of(name, password, &costs_of(shard, name));
    let begun = shard.runtime.now();
    let (login, _) = prove(shard, &proof, client.parse().expect("an address")).await;
    (login, shard.runtime.now().since(begun))
}

/// Counters: checked, cached, failures, refused.
fn told(shard: &Shard<SimRuntime>) -> [u64; 4] {
    let counters = &shard.instruments.counters;
    [&counters.auth_checked, &counters.auth_cached, &counters.auth_failures, &counters.auth_refused]
        .map(|counter| counter.get())
}

#[test]
fn who_knows_the_password_is_let_in_and_nobody_else() {
    let world = World::new(1);
    let shard = shard(&world);
    world.block_on(async {
        for client in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!(login(&shard, client, "bob", "secret").await.0, Login::Right);
        }
        for (name, password) in [("bob", "Secret"), ("bob", ""), ("Bob", "secret"), ("nobody", "secret")] {
            assert_eq!(login(&shard, "198.51.100.1", name, password).await.0, Login::Wrong, "{name}");
        }
        let costs = costs_of(&shard, "bob");
        let client = "203.0.113.9".parse().expect("an address");
        for (foreign, wanted) in [(false, Login::Right), (true, Login::Wrong)] {
            let mut proof = proof_of("bob", "secret", &costs);
            proof.foreign = foreign;
            assert_eq!(prove(&shard, &proof, client).await.0, wanted, "{foreign}");
        }
        // The accounts were read anew between the two messages, and the salt is another.
        let before = Costs { salt: [0; 16].into(), ..costs };
        let proof = proof_of("bob", "secret", &before);
        assert_eq!(prove(&shard, &proof, client).await.0, Login::Postponed);
    });
    let [checked, cached, failures, _] = told(&shard);
    assert_eq!((checked, cached, failures), (6, 2, 5));
}

/// What fails is delayed, counted and in the end refused unheard, whether the account is there or not; and its owner goes in and out.
#[test]
fn guesses_cost_what_wrong_passwords_do() {
    let world = World::new(2);
    let shard = shard(&world);
    world.block_on(async {
        assert_eq!(login(&shard, "192.0.2.1", "bob", "secret").await.0, Login::Right);
        for number in 0..limits::GUESSES_MAX {
            let name = ["alice", "nobody"][number as usize % 2];
            let (login, waited) = login(&shard, "192.0.2.1", name, &format!("guess {number}")).await;
            assert!(login == Login::Wrong && waited >= limits::GUESS_DELAY, "{login:?} {waited:?}");
        }
        let (refused, waited) = login(&shard, "192.0.2.1", "alice", "secret").await;
        assert!(refused == Login::Unavailable && waited >= limits::GUESS_DELAY_MAX, "{refused:?} {waited:?}");
        assert_eq!(login(&shard, "192.0.2.1", "bob", "secret").await.0, Login::Right);
        assert_eq!(login(&shard, "198.51.100.1", "alice", "secret").await.0, Login::Right);
        // The program that never learns counts once: its nonce is another each time, its key is not.
        for _ in 0..2 * limits::GUESSES_MAX {
            assert_eq!(login(&shard, "203.0.113.1", "alice", "old").await.0, Login::Wrong);
        }
        assert_eq!(login(&shard, "203.0.113.1", "bob", "secret").await.0, Login::Right);
    });
}

/// From elsewhere the right password is as wrong as any other: in words, in time, in what it costs.
#[test]
fn an_account_logs_in_from_its_networks() {
    let world = World::new(3);
    let shard = shard(&world);
    world.block_on(async {
        assert_eq!(login(&shard, "203.0.113.7", "carol", "secret").await.0, Login::Right);
        for password in ["secret", "wrong"] {
            let (login, waited) = login(&shard, "192.0.2.1", "carol", password).await;
            assert!(login == Login::Wrong && waited >= limits::GUESS_DELAY, "{login:?} {waited:?}");
        }
    });
    assert_eq!(told(&shard)[2], 2);
}

/// A name that nobody has is told what looks as if somebody had it, and the same again when the process is another.
#[test]
fn unknown_names_look_as_known_ones() {
    let (accounts, key) = (accounts(), SaltKey::new(&[5; 32]));
    let (known, _) = accounts.verifier("bob", &key);
    for name in ["nobody", "Bob", "bob "] {
        let (unknown, place) = accounts.verifier(name, &key);
        assert_eq!(place, None);
        let (salt, iterations) = (&unknown.costs.salt, unknown.costs.iterations);
        assert_eq!((salt.len(), iterations), (known.costs.salt.len(), known.costs.iterations));
        assert_eq!(accounts.verifier(name, &SaltKey::new(&[5; 32])).0, unknown);
        assert_ne!(accounts.verifier(name, &SaltKey::new(&[6; 32])).0, unknown);
    }
}
