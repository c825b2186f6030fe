//! Logins of a simulated shard, without the sessions around them.

use std::cell::RefCell;
use std::task::Poll;

use super::*;
use crate::policy::accounts::Accounts;
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::alone;

fn shard(world: &World) -> Rc<Shard<SimRuntime>> {
    let line = |name: &str| format!("{name}:{}\n", crate::policy::accounts::tests::cheap("secret", 8));
    let accounts = Accounts::parse(&["bob", "alice", "carol"].map(line).concat()).expect("sound lines");
    let shard = alone::shard(world, Some(Logins::new(accounts, &[[1; 32], [2; 32]])));
    shard.runtime.spawn_vital("timers", shard.timers.clone().run(shard.runtime.clone()));
    shard
}

async fn login(shard: &Rc<Shard<SimRuntime>>, client: &str, name: &str, password: &str) -> (Login, Duration) {
    let credentials = Credentials { name: name.into(), password: password.into() };
    let begun = shard.runtime.now();
    let login = authenticate(shard, &credentials, client.parse().expect("an address")).await;
    (login, shard.runtime.now().since(begun))
}

/// Counters: checked, cached, failures, refused.
fn told(shard: &Shard<SimRuntime>) -> [u64; 4] {
    let counters = &shard.instruments.counters;
    [&counters.auth_checked, &counters.auth_cached, &counters.auth_failures, &counters.auth_refused]
        .map(|counter| counter.get())
}

/// Five thousand logins of a known client are one hash.
#[test]
fn a_client_that_comes_again_costs_no_hash() {
    let world = World::new(1);
    let shard = shard(&world);
    world.block_on(async {
        for number in 0..5000 {
            // Also from elsewhere: what was verified are the credentials.
            let client = format!("192.0.2.{}", number % 100);
            assert_eq!(login(&shard, &client, "bob", "secret").await.0, Login::Right);
        }
    });
    assert_eq!(told(&shard), [1, 4999, 0, 0]);
    assert_eq!(world.block_on(login(&shard, "192.0.2.1", "bob", "Secret")).0, Login::Wrong);
    assert_eq!(world.block_on(login(&shard, "192.0.2.1", "nobody", "secret")).0, Login::Wrong);
    assert_eq!(told(&shard), [3, 4999, 2, 0]);
}

/// All connections of a client that starts come at once: one hash, and none of them is one too many.
#[test]
fn the_same_at_one_time_is_checked_once() {
    let world = World::new(2);
    let shard = shard(&world);
    for (password, login_wanted) in [("secret", Login::Right), ("wrong", Login::Wrong)] {
        let heard = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..200 {
            let (shard, heard) = (shard.clone(), heard.clone());
            shard.clone().runtime.spawn(async move {
                let one = login(&shard, "192.0.2.1", "bob", password).await;
                heard.borrow_mut().push(one.0);
            });
        }
        world.run_for(Duration::from_secs(10));
        assert_eq!(*heard.borrow(), [login_wanted; 200]);
    }
    assert_eq!(told(&shard), [2, 0, 200, 0]);
    assert!(shard.inbound.checks.under_way.borrow().is_empty());
}

/// Guesses hear of it later and later, and are then refused unheard; the owner goes in and out meanwhile.
#[test]
fn guesses_are_slowed_and_refused_and_lock_nobody_out() {
    let world = World::new(3);
    let shard = shard(&world);
    world.block_on(async {
        assert_eq!(login(&shard, "192.0.2.1", "bob", "secret").await.0, Login::Right);
        let mut waits = Vec::new();
        for number in 0..limits::GUESSES_MAX {
            let (login, waited) = login(&shard, "192.0.2.1", "alice", &format!("guess {number}")).await;
            assert_eq!(login, Login::Wrong);
            waits.push(waited.as_secs());
        }
        // Deadlines are looked at once a second.
        assert!(
            matches!(waits[..3], [1 | 2, 2 | 3, 4 | 5]) && waits[3..].iter().all(|wait| *wait <= 5),
            "{waits:?}"
        );
        let before = told(&shard)[0];
        let (refused, waited) = login(&shard, "192.0.2.1", "alice", "secret").await;
        assert!(refused == Login::Unavailable && waited >= limits::GUESS_DELAY_MAX, "{refused:?} {waited:?}");
        assert_eq!(told(&shard)[0], before, "it was computed all the same");
        // From the same network, and from another.
        assert_eq!(login(&shard, "192.0.2.1", "bob", "secret").await.0, Login::Right);
        assert_eq!(login(&shard, "198.51.100.1", "alice", "secret").await.0, Login::Right);
        // The program that never learns counts once.
        for _ in 0..2 * limits::GUESSES_MAX {
            assert_eq!(login(&shard, "203.0.113.1", "carol", "old").await.0, Login::Wrong);
        }
        assert_eq!(login(&shard, "203.0.113.1", "carol", "secret").await.0, Login::Right);
    });
    let [_, _, failures, refused] = told(&shard);
    assert_eq!((failures, refused), (3 * limits::GUESSES_MAX, 1));
}

/// Sessions that wait for their answer are bounded, and a drain waits for none of them.
#[test]
fn delayed_sessions_are_bounded_and_end_with_the_node() {
    let world = World::new(4);
    let shard = shard(&world);
    let heard = Rc::new(RefCell::new(Vec::new()));
    let most = limits::GUESSERS_DELAYED_MAX;
    for number in 0..most + 5 {
        let (own, heard) = (shard.clone(), heard.clone());
        shard.runtime.spawn(async move {
            let client = format!("10.{}.{}.1", number / 250, number % 250);
            let one = login(&own, &client, "bob", "guess").await;
            heard.borrow_mut().push(one.0);
        });
    }
    world.run_for(Duration::from_millis(500));
    assert_eq!(*heard.borrow(), [Login::Cut; 5]);
    assert_eq!(shard.inbound.checks.delayed.get(), most);
    shard.draining.set(true);
    shard.timers.expire_idle();
    world.run_for(Duration::from_millis(200));
    assert_eq!(heard.borrow().len(), most + 5);
    assert_eq!(shard.inbound.checks.delayed.get(), 0);
    let (_, waited) = world.block_on(login(&shard, "192.0.2.1", "bob", "guess"));
    assert!(waited < Duration::from_millis(100), "a node that drains delays nobody: {waited:?}");
}

/// Guessers fill what there is of places to wait in but for those that are kept: a first login that is put off, or one that is mistyped, waits as ever.
#[test]
fn guessers_leave_places_for_newcomers() {
    let world = World::new(6);
    let shard = shard(&world);
    let most = limits::GUESSERS_DELAYED_MAX - limits::NEWCOMERS_DELAYED;
    let wait = |login, yields| {
        let (shard, outcome) =
            (shard.clone(), LoginOutcome { login, delay: limits::GUESS_DELAY_MAX, yields });
        async move { delay(&shard, outcome).await }
    };
    let heard = Rc::new(RefCell::new(Vec::new()));
    for (number, yields) in [(most + 3, true), (limits::NEWCOMERS_DELAYED + 2, false), (1, true)] {
        for _ in 0..number {
            let (waited, heard) = (wait(Login::Unavailable, yields), heard.clone());
            shard.runtime.spawn(async move {
                let waited = waited.await;
                heard.borrow_mut().push((yields, waited));
            });
        }
        world.run_for(Duration::from_millis(10));
    }
    let cut = [vec![(true, false); 3], vec![(false, false); 2], vec![(true, false)]].concat();
    assert_eq!(*heard.borrow(), cut);
    assert_eq!(shard.inbound.checks.delayed.get(), limits::GUESSERS_DELAYED_MAX);
    world.run_for(2 * limits::GUESS_DELAY_MAX);
    assert_eq!(
        (heard.borrow().len(), shard.inbound.checks.delayed.get()),
        (6 + limits::GUESSERS_DELAYED_MAX, 0)
    );
}

/// A check that has begun may take for ever where others want the core: the session hears so, and may ask again as often as it likes.
#[test]
fn no_session_waits_for_ever() {
    let world = World::new(5);
    let shard = shard(&world);
    let logins = shard.live.get().accounts.clone().expect("accounts");
    let (hash, _) = logins.accounts.stored("bob");
    let key = (logins.digest_key.digest("bob", b"secret", hash), "192.0.2.1".parse().expect("an address"));
    let check = Rc::<Check>::default();
    shard.inbound.checks.under_way.borrow_mut().insert(key, check.clone());
    let (met, waited) = world.block_on(login(&shard, "192.0.2.1", "bob", "secret"));
    assert_eq!(met, Login::Postponed);
    assert!(
        waited >= limits::AUTH_WAIT_MAX && waited.as_secs() <= limits::AUTH_WAIT_MAX.as_secs() + 1,
        "{waited:?}"
    );
    check.outcome.set(Some(LoginOutcome { login: Login::Right, delay: Duration::ZERO, yields: false }));
    assert_eq!(world.block_on(login(&shard, "192.0.2.1", "bob", "secret")).0, Login::Right);
}

/// A guess counts, and a check is remembered, also when nobody waits for its answer.
#[test]
fn a_check_goes_on_without_its_session() {
    let world = World::new(6);
    let shard = shard(&world);
    for (password, expected) in [("guess", [1, 0, 0, 0]), ("secret", [2, 0, 0, 0])] {
        let credentials = Credentials { name: "bob".into(), password: password.into() };
        world.block_on(async {
            let mut session =
                Box::pin(authenticate(&shard, &credentials, "192.0.2.1".parse().expect("an address")));
            let waits = poll_fn(|context| Poll::Ready(session.as_mut().poll(context).is_pending())).await;
            assert!(waits, "{password}");
        });
        world.run_for(Duration::from_secs(1));
        assert_eq!(told(&shard), expected, "{password}");
    }
    assert!(shard.inbound.checks.under_way.borrow().is_empty());
    assert_eq!(world.block_on(login(&shard, "192.0.2.1", "bob", "guess")).0, Login::Wrong);
    assert_eq!(world.block_on(login(&shard, "192.0.2.1", "bob", "secret")).0, Login::Right);
    assert_eq!(told(&shard), [2, 1, 1, 0]);
}
