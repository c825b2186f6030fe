use super::*;

const START: Instant = Instant(1_000_000_000_000);

fn guesses() -> Guesses {
    Guesses::new(&[7; 32])
}

/// Credentials nobody tried before.
fn fresh() -> u64 {
    use std::cell::Cell;
    thread_local!(static LAST: Cell<u64> = const { Cell::new(0) });
    LAST.set(LAST.get() + 1);
    LAST.get()
}

fn at(client: &str) -> IpAddr {
    client.parse().expect("an address")
}

/// Asks, and fails if it may try. The standing and the delay; None: refused.
fn guess(
    guesses: &mut Guesses,
    client: &str,
    account: &str,
    now: Instant,
) -> Option<(ClientTrust, Duration)> {
    match guesses.ask(at(client), account, fresh(), now) {
        Ruling::Try { standing, attempt, .. } => Some((standing, guesses.failed(attempt, now))),
        Ruling::Refuse(_) => None,
        other => panic!("nothing is under way, and no guess made twice: {other:?}"),
    }
}

fn succeed(guesses: &mut Guesses, client: &str, account: &str, now: Instant) -> ClientTrust {
    let Ruling::Try { standing, attempt, .. } = guesses.ask(at(client), account, fresh(), now) else {
        panic!("{client} may not try")
    };
    guesses.succeeded(attempt, now);
    standing
}

#[test]
fn a_guesser_is_slowed_then_refused_and_forgotten_bit_by_bit() {
    let mut guesses = guesses();
    let met: Vec<_> =
        (0..limits::GUESSES_MAX).map(|_| guess(&mut guesses, "192.0.2.1", "bob", START)).collect();
    let seconds: Vec<_> = met.iter().map(|met| met.expect("not refused").1.as_secs()).collect();
    assert_eq!(seconds[..5], [1, 2, 4, 4, 4]);
    assert_eq!(met[0].expect("not refused").0, ClientTrust::New);
    // Who mistyped once or twice is no suspect.
    let standings: Vec<_> = met.iter().map(|met| met.expect("not refused").0).collect();
    assert_eq!(standings[..4], [ClientTrust::New, ClientTrust::New, ClientTrust::New, ClientTrust::Suspect]);
    // Another account makes no difference.
    let refused = guesses.ask(at("192.0.2.1"), "alice", fresh(), START);
    assert!(matches!(refused, Ruling::Refuse(delay) if delay == limits::GUESS_DELAY_MAX), "{refused:?}");
    // One guess comes back after a while, and no more than one.
    let later = START + limits::GUESS_FORGOTTEN;
    assert!(guess(&mut guesses, "192.0.2.1", "bob", later - Duration::from_nanos(1)).is_none());
    assert!(guess(&mut guesses, "192.0.2.1", "bob", later).is_some());
    assert!(guess(&mut guesses, "192.0.2.1", "bob", later).is_none());
    // However long the clock says it took, nothing overflows.
    assert!(guess(&mut guesses, "192.0.2.1", "bob", Instant(u64::MAX - 1)).is_some());
    assert!(guess(&mut guesses, "192.0.9.9", "bob", Instant(0)).is_some());
}

/// An old password that a program repeats for ever: it keeps nobody out, and is not computed again.
#[test]
fn the_same_mistake_is_one_guess() {
    let mut guesses = guesses();
    let old = fresh();
    let Ruling::Try { attempt, .. } = guesses.ask(at("192.0.2.1"), "bob", old, START) else { panic!() };
    assert_eq!(guesses.failed(attempt, START), limits::GUESS_DELAY);
    for _ in 0..1000 {
        let again = guesses.ask(at("192.0.2.1"), "bob", old, START);
        assert!(matches!(again, Ruling::Again(delay) if delay == limits::GUESS_DELAY), "{again:?}");
    }
    // Elsewhere it is a guess like any other; here, others may try still.
    assert_eq!(succeed(&mut guesses, "192.0.2.1", "alice", START), ClientTrust::New);
    assert!(matches!(guesses.ask(at("192.0.3.1"), "bob", old, START), Ruling::Try { .. }));
}

/// Others of the address, of the /64, of the wider network.
#[test]
fn what_is_one_client_and_what_is_its_neighbourhood() {
    for (guesser, same, neighbour, stranger) in [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "192.0.3.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1", "2001:db8:2:2::1"),
    ] {
        let mut guesses = guesses();
        for _ in 0..limits::GUESSES_MAX {
            assert!(guess(&mut guesses, guesser, "bob", START).is_some());
        }
        assert!(guess(&mut guesses, same, "bob", START).is_none(), "{same}");
        // A neighbour is under suspicion, and may try.
        assert_eq!(guess(&mut guesses, neighbour, "bob", START).map(|met| met.0), Some(ClientTrust::Suspect));
        assert_eq!(guess(&mut guesses, stranger, "bob", START).map(|met| met.0), Some(ClientTrust::New));
    }
    let mut guesses = guesses();
    let neighbours = (0..=255).map(|last| format!("198.51.100.{last}"));
    let tried = neighbours.filter(|client| guess(&mut guesses, client, "bob", START).is_some()).count();
    assert_eq!(tried as u64, limits::GUESSES_MAX * limits::GUESSES_NETWORK);
    assert_eq!(guess(&mut guesses, "198.51.101.1", "bob", START).map(|met| met.0), Some(ClientTrust::New));
}

/// Who was here before keeps its way in, whatever others of its network do; what it may guess there is bounded, too.
#[test]
fn the_owner_is_not_locked_out() {
    let mut guesses = guesses();
    assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", START), ClientTrust::New);
    for round in 0..1000u64 {
        let now = START + Duration::from_millis(round);
        let _ = guess(&mut guesses, "192.0.2.1", "alice", now);
        let _ = guess(&mut guesses, &format!("203.0.{}.{}", round % 200, round % 7), "bob", now);
        assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", now), ClientTrust::Known);
    }
    // Of its network, and at this account: a few are let through, and then they are guesses like others.
    let mut known = 0;
    while let Some((ClientTrust::Known, _)) = guess(&mut guesses, "192.0.2.1", "bob", START) {
        known += 1;
    }
    assert_eq!(known, limits::GUESSES_KNOWN_MAX);
    // A password that was verified lately needs no attempt at all: `Verified`.
    let later = START + limits::GUESS_FORGOTTEN;
    assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", later), ClientTrust::Known);
    guesses.recognised(at("192.0.2.77"), "bob", later);
    assert_eq!(succeed(&mut guesses, "192.0.2.77", "bob", later), ClientTrust::Known);
}

/// What is under way counts before anybody knows what becomes of it, and what was not checked does not count after.
#[test]
fn attempts_at_one_time_are_bounded_and_given_back() {
    let mut guesses = guesses();
    let mut under_way = Vec::new();
    // Somebody guesses: a client that tries much at one time is suspect then.
    for number in 0..=limits::GUESSES_CALM {
        assert!(guesses.calm(START), "{number}");
        assert!(guess(&mut guesses, &format!("10.0.{number}.1"), "alice", START).is_some());
    }
    assert!(!guesses.calm(START) && guesses.calm(START + NODE.each));
    for number in 0..limits::GUESSES_AT_ONCE {
        match guesses.ask(at("192.0.2.1"), "bob", fresh(), START) {
            Ruling::Try { standing, rank, attempt } => {
                // Its own, those around it, and those at the same account.
                assert_eq!(rank, 2 * number * limits::RANK_SPOKEN_AGAINST + number);
                assert_eq!(standing == ClientTrust::New, number < limits::GUESSES_AT_ONCE / 2);
                under_way.push(attempt);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(guesses.ask(at("192.0.2.1"), "bob", fresh(), START), Ruling::Busy(Duration::ZERO)));
    assert!(matches!(guesses.ask(at("192.0.2.2"), "bob", fresh(), START), Ruling::Try { .. }));
    under_way.into_iter().for_each(|attempt| guesses.withdrawn(attempt));
    assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", START), ClientTrust::New);
}

/// However many addresses a network has, a quiet one goes before its second attempt, and is not after it either.
#[test]
fn networks_take_turns() {
    let mut guesses = guesses();
    let mut under_way = Vec::new();
    let mut ask = |client: &str, account: &str| match guesses.ask(at(client), account, fresh(), START) {
        Ruling::Try { rank, attempt, .. } => {
            under_way.push(attempt);
            rank
        }
        other => panic!("{other:?}"),
    };
    for number in 0..200 {
        assert_eq!(
            ask(&format!("192.0.2.{number}"), &format!("user{number}")),
            number * limits::RANK_SPOKEN_AGAINST
        );
    }
    assert_eq!(ask("192.0.3.1", "bob"), 0);
    under_way.into_iter().for_each(|attempt| guesses.withdrawn(attempt));
    let Ruling::Try { rank, .. } = guesses.ask(at("192.0.2.250"), "carol", fresh(), START) else { panic!() };
    assert_eq!(rank, 0, "what is over counts no more");
}

/// A guesser has no more guesses for making them all at one time.
#[test]
fn what_is_under_way_may_fail() {
    let mut guesses = guesses();
    assert!(guess(&mut guesses, "192.0.2.1", "bob", START).is_some());
    let mut under_way = Vec::new();
    let busy = loop {
        match guesses.ask(at("192.0.2.1"), "bob", fresh(), START) {
            Ruling::Try { attempt, .. } => under_way.push(attempt),
            other => break other,
        }
    };
    assert!(matches!(busy, Ruling::Busy(delay) if delay == limits::GUESS_DELAY), "{busy:?}");
    assert_eq!(under_way.len() as u64, limits::GUESSES_MAX - 1);
}

/// Guesses at one account, each of a new network: a first login at another goes before them, and the account is closed for nobody.
#[test]
fn guesses_at_an_account_hold_up_no_other() {
    let mut guesses = guesses();
    let rank = |guesses: &mut Guesses, client: &str, account: &str| match guesses.ask(
        at(client),
        account,
        fresh(),
        START,
    ) {
        Ruling::Try { standing: ClientTrust::New, rank, .. } => rank,
        other => panic!("{other:?}"),
    };
    for network in 0..=255 {
        rank(&mut guesses, &format!("10.0.{network}.1"), "bob");
        assert!(guess(&mut guesses, &format!("10.1.{network}.1"), "bob", START).is_some());
    }
    assert_eq!(rank(&mut guesses, "192.0.2.1", "bob"), 512);
    assert_eq!(rank(&mut guesses, "192.0.3.1", "alice"), 0);
    guesses.recognised(at("192.0.4.1"), "bob", START);
    assert_eq!(succeed(&mut guesses, "192.0.4.1", "bob", START), ClientTrust::Known);
}

/// More networks than there is room for: the table does not grow, and those that guessed most are not forgotten for them.
#[test]
fn the_tables_are_bounded() {
    let mut guesses = guesses();
    for _ in 0..limits::GUESSES_MAX {
        assert!(guess(&mut guesses, "192.0.2.1", "bob", START).is_some());
    }
    let places = (guesses.clients.0.len(), guesses.pairs.0.len());
    for number in 0..2 * limits::GUESSERS_MAX as u32 {
        let client = IpAddr::from((0x0A00_0000 + number).to_be_bytes());
        if let Ruling::Try { attempt, .. } = guesses.ask(client, "bob", fresh(), START) {
            guesses.failed(attempt, START);
        }
    }
    assert_eq!((guesses.clients.0.len(), guesses.pairs.0.len()), places);
    assert!(guess(&mut guesses, "192.0.2.1", "bob", START).is_none(), "it is remembered still");
    assert_eq!(guess(&mut guesses, "192.0.3.1", "bob", START).map(|met| met.0), Some(ClientTrust::New));
}

fn try_now(guesses: &mut Guesses, client: &str, account: &str, now: Instant) -> (ClientTrust, u32, Attempt) {
    match guesses.ask(at(client), account, fresh(), now) {
        Ruling::Try { standing, rank, attempt } => (standing, rank, attempt),
        other => panic!("{other:?}"),
    }
}

/// Many addresses of one network, each with no failure of its own, at the very account that somebody then logs in to for the first time: it goes before
/// them, from a network that has none on record.
#[test]
fn who_has_failed_nowhere_goes_before_each_network_that_has() {
    let mut guesses = guesses();
    for number in 0..5 {
        assert!(guess(&mut guesses, &format!("192.0.2.{number}"), "bob", START).is_some());
    }
    let (standing, guesser, attempt) = try_now(&mut guesses, "192.0.2.9", &format!("{START:?}"), START);
    assert_eq!(standing, ClientTrust::New, "its network is no suspect yet");
    guesses.withdrawn(attempt);
    let (standing, newcomer, attempt) = try_now(&mut guesses, "198.51.100.1", "bob", START);
    assert_eq!(standing, ClientTrust::New);
    assert!(newcomer < limits::RANK_SPOKEN_AGAINST && guesser >= limits::RANK_SPOKEN_AGAINST);
    assert!(newcomer > 0, "it goes behind those at accounts that nobody guesses at");
    guesses.withdrawn(attempt);
}

/// Networks that press on before any of their guesses has been checked: each goes behind who comes for the first time.
#[test]
fn who_was_turned_away_goes_behind_who_comes_first() {
    let mut guesses = guesses();
    let mut last = 0;
    for round in 0..100 {
        let (_, rank, attempt) = try_now(&mut guesses, &format!("192.0.2.{round}"), "alice", START);
        assert!(rank >= last, "{rank} {last}");
        last = rank;
        guesses.turned_away(attempt, START);
    }
    assert!(!guesses.calm(START), "more come than can be checked");
    assert_eq!(last, limits::GUESS_PRESSED_MAX * limits::RANK_SPOKEN_AGAINST);
    let (_, rank, attempt) = try_now(&mut guesses, "198.51.100.1", "alice", START);
    assert_eq!(rank, 0);
    guesses.turned_away(attempt, START);
    // It is forgotten, and no failure: nothing is refused for it, nor is it held against the owner who is known.
    let later = START + Duration::from_secs(limits::GUESS_PRESSED.into());
    let (standing, rank, attempt) = try_now(&mut guesses, "198.51.100.1", "alice", later);
    assert_eq!((standing, rank), (ClientTrust::New, 0));
    guesses.succeeded(attempt, later);
    let (standing, rank, attempt) = try_now(&mut guesses, "198.51.100.1", "alice", later);
    assert_eq!((standing, rank), (ClientTrust::Known, 0));
    guesses.turned_away(attempt, later);
    let (_, rank, _attempt) = try_now(&mut guesses, "198.51.100.2", "alice", later);
    assert_eq!(rank, 0, "who is known presses for nobody");
}

/// Who has logged in before a restart is known behind it; the file has no more than that, and is believed as a whole or not at all.
#[test]
fn known_pairs_are_kept_over_a_restart() {
    let mut guesses = Guesses::with(&kept::KnownPairs::none([7; 32]));
    assert!(!guesses.take_changed());
    let all = |guesses: &Guesses| {
        let parts: Vec<_> = (0..).map_while(|part| guesses.pairs_of(part)).collect();
        assert_eq!(parts.len(), limits::KNOWN_CLIENTS_MAX / limits::GUESSES_ROW / limits::KNOWN_ROWS_AT_ONCE);
        guesses.known_pairs(parts.concat())
    };
    for number in 0..100 {
        let now = START + Duration::from_secs(number);
        assert_eq!(succeed(&mut guesses, &format!("192.0.2.{number}"), "bob", now), ClientTrust::New);
    }
    assert!(guesses.take_changed() && !guesses.take_changed());
    // Who comes again is kept already; the order is, now and then.
    guesses.recognised(at("192.0.2.1"), "bob", START + limits::KNOWN_ORDER);
    assert!(!guesses.take_changed());
    guesses.recognised(at("192.0.2.1"), "bob", START + 3 * limits::KNOWN_ORDER);
    assert!(guesses.take_changed());
    let known = all(&guesses);
    let file = known.write();
    assert_eq!((known.count(), file.len()), (100, 16 + 32 + 100 * 8 + 32));
    assert_eq!(kept::KnownPairs::read(&file), Some(known.clone()));
    let mut again = Guesses::with(&known);
    assert_eq!(all(&again), known, "in the same order");
    assert_eq!(succeed(&mut again, "192.0.2.99", "bob", START + limits::KNOWN_ORDER), ClientTrust::Known);
    assert!(again.take_changed(), "since this start it had not been here");
    assert_eq!(succeed(&mut again, "192.0.2.99", "alice", START), ClientTrust::New);
    assert_eq!(succeed(&mut again, "192.0.2.100", "bob", START), ClientTrust::New);
    for place in 0..file.len() {
        let mut damaged = file.clone();
        damaged[place] ^= 1;
        assert_eq!(kept::KnownPairs::read(&damaged), None, "{place}");
        assert_eq!(kept::KnownPairs::read(&file[..place]), None, "{place}");
    }
    // One that nobody keeps says nothing, and one of more than there is room for is none of ours.
    let mut alone = self::guesses();
    succeed(&mut alone, "192.0.2.1", "bob", START);
    assert!(!alone.take_changed());
    let crowd = (0..=limits::KNOWN_CLIENTS_MAX as u64).map(|name| (Instant(name), name + 1)).collect();
    assert_eq!(kept::KnownPairs::read(&again.known_pairs(crowd).write()), None);
}
