//! Who has guessed passwords of late, by network: what they may try still, and before whom others go.
//!
//! Nothing here ever counts against an account, so that nobody can lock its owner out: what fails counts against the client's
//! address, the wider network around it, and the pair of account and network. A pair that has succeeded is *known*: it is not
//! subject to what others of its network do, only to what fails for the pair itself.
//!
//! The tables have a fixed number of places. Where a row is full, the entry goes that is soonest forgotten anyway. What is kept of names
//! and addresses are keyed hashes: nobody can aim at a row without the key.

use std::net::IpAddr;
use std::time::Duration;

use ring::hmac;

use crate::limits;
use crate::time::Instant;

/// So many failures, and how long it takes until one of them is forgotten.
#[derive(Clone, Copy)]
struct Allowance {
    most: u64,
    each: Duration,
}

/// Of one address (IPv6: one /64).
const ADDRESS: Allowance = Allowance { most: limits::GUESSES_MAX, each: limits::GUESS_FORGOTTEN };
/// Of the network around it (a /24, a /48), in which others live too.
const NETWORK: Allowance = Allowance {
    most: limits::GUESSES_MAX * limits::GUESSES_NETWORK,
    each: Duration::from_nanos(limits::GUESS_FORGOTTEN.as_nanos() as u64 / limits::GUESSES_NETWORK),
};
/// Of a pair that is known.
const PAIR: Allowance = Allowance { most: limits::GUESSES_KNOWN_MAX, each: limits::GUESS_FORGOTTEN };

/// Entries of one row.
const ROW: usize = 8;

/// What a client is to its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has been this account, from there, before.
    Known,
    /// Nothing is known against it.
    New,
    /// Its network has guessed of late, or tries much at one time.
    Suspect,
}

/// What an attempt may do.
#[derive(Debug)]
pub enum Verdict {
    /// Its password is checked: before those of a higher rank and the same standing.
    Try {
        /// How it stands.
        standing: Standing,
        /// Failures and attempts under way.
        rank: u32,
        /// To be given back with what became of it, whatever that is.
        attempt: Attempt,
    },
    /// Not even that: its network has failed too often. It hears so after this long.
    Refuse(Duration),
    /// Its network has too much under way already.
    Busy,
}

/// An attempt that was let through.
#[derive(Debug)]
#[must_use = "the network keeps an attempt until it is told what became of it"]
pub struct Attempt {
    address: u64,
    network: u64,
    pair: u64,
    known: bool,
}

/// What is remembered of clients. One for the node.
pub struct Guesses {
    key: hmac::Key,
    /// Addresses and networks that have failed or are trying.
    clients: Table,
    /// Pairs of account and network that have succeeded.
    pairs: Table,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    /// 0: nobody.
    name: u64,
    /// When all its failures are forgotten.
    clean_at: Instant,
    /// When a pair succeeded last.
    succeeded: Instant,
    /// Attempts under way.
    trying: u32,
}

impl Entry {
    fn failures(&self, now: Instant, allowance: Allowance) -> u64 {
        let left = self.clean_at.since(now).as_nanos();
        u64::try_from(left.div_ceil(allowance.each.as_nanos())).unwrap_or(u64::MAX)
    }

    fn fail(&mut self, now: Instant, allowance: Allowance) {
        let most = now + allowance.each * u32::try_from(allowance.most).unwrap_or(u32::MAX);
        self.clean_at = (self.clean_at.max(now) + allowance.each).min(most);
    }

    /// What goes first of a row.
    fn worth(&self) -> (bool, Instant) {
        (self.trying > 0, self.clean_at.max(self.succeeded))
    }
}

impl Guesses {
    /// `key`: bytes nobody knows, drawn once a process.
    pub fn new(key: &[u8; 32]) -> Guesses {
        Guesses {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            clients: Table::new(limits::GUESSERS_MAX),
            pairs: Table::new(limits::KNOWN_CLIENTS_MAX),
        }
    }

    /// A client asks whether it may try to be `account`.
    pub fn ask(&mut self, client: IpAddr, account: &str, now: Instant) -> Verdict {
        let (address, network) = (self.name(1, client, ""), self.name(2, client, ""));
        let pair = self.name(3, client, account);
        if let Some(entry) = self.pairs.find(pair) {
            let failures = entry.failures(now, PAIR);
            if failures < PAIR.most && entry.trying < limits::GUESSES_AT_ONCE {
                let rank = rank(failures + u64::from(entry.trying));
                entry.trying += 1;
                let attempt = Attempt { address, network, pair, known: true };
                return Verdict::Try { standing: Standing::Known, rank, attempt };
            }
        }
        let (failures, trying) =
            self.clients.find(address).map_or((0, 0), |entry| (entry.failures(now, ADDRESS), entry.trying));
        let around = self.clients.find(network).map_or(0, |entry| entry.failures(now, NETWORK));
        if failures >= ADDRESS.most || around >= NETWORK.most {
            return Verdict::Refuse(delay(failures.max(around / limits::GUESSES_NETWORK)));
        }
        if trying >= limits::GUESSES_AT_ONCE {
            return Verdict::Busy;
        }
        self.clients.place(address).trying += 1;
        let against = failures + around / limits::GUESSES_NETWORK;
        let standing = if against == 0 && trying < limits::GUESSES_AT_ONCE / 2 {
            Standing::New
        } else {
            Standing::Suspect
        };
        let attempt = Attempt { address, network, pair, known: false };
        Verdict::Try { standing, rank: rank(against + u64::from(trying)), attempt }
    }

    /// The password was wrong. How long the client waits until it hears so.
    pub fn failed(&mut self, attempt: Attempt, now: Instant) -> Duration {
        let failures = |entry: &mut Entry, allowance| {
            entry.fail(now, allowance);
            entry.failures(now, allowance)
        };
        let mut most = failures(self.clients.place(attempt.address), ADDRESS);
        let around = failures(self.clients.place(attempt.network), NETWORK);
        most = most.max(around / limits::GUESSES_NETWORK);
        if let Some(entry) = self.pairs.find(attempt.pair) {
            most = most.max(failures(entry, PAIR));
        }
        self.ended(attempt);
        delay(most)
    }

    /// It was right: from now on the pair is known.
    pub fn succeeded(&mut self, attempt: Attempt, now: Instant) {
        self.pairs.place(attempt.pair).succeeded = now;
        self.ended(attempt);
    }

    /// The same, of an attempt that nobody had to be asked about.
    pub fn recognised(&mut self, client: IpAddr, account: &str, now: Instant) {
        let pair = self.name(3, client, account);
        self.pairs.place(pair).succeeded = now;
    }

    /// It was not checked, which is not the client's fault.
    pub fn withdrawn(&mut self, attempt: Attempt) {
        self.ended(attempt);
    }

    fn ended(&mut self, attempt: Attempt) {
        let entry = match attempt.known {
            true => self.pairs.find(attempt.pair),
            false => self.clients.find(attempt.address),
        };
        // One that had to go meanwhile has nothing under way any more.
        if let Some(entry) = entry {
            entry.trying = entry.trying.saturating_sub(1);
        }
    }

    /// The keyed hash that stands for an address, the network around it, or a pair.
    fn name(&self, kind: u8, client: IpAddr, account: &str) -> u64 {
        let mut text = [0; 17];
        text[0] = kind;
        // Others of a /64 are the same client, and others of a /48 or a /24 its neighbours.
        let kept = match (client.to_canonical(), kind) {
            (IpAddr::V4(address), 2) => (u128::from(address.to_bits()) | 0xFFFF << 32) & !0xFF,
            (IpAddr::V4(address), _) => u128::from(address.to_bits()) | 0xFFFF << 32,
            (IpAddr::V6(address), 2) => address.to_bits() & !0 << 80,
            (IpAddr::V6(address), _) => address.to_bits() & !0 << 64,
        };
        text[1..].copy_from_slice(&kept.to_be_bytes());
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&text);
        context.update(account.as_bytes());
        let tag = context.sign();
        let bytes = tag.as_ref().first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(bytes).max(1)
    }
}

fn rank(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A second, doubled with each failure, up to a bound: nobody who mistyped minds, and a guesser has few guesses a minute.
fn delay(failures: u64) -> Duration {
    let doubled = 1 << failures.saturating_sub(1).min(16);
    (limits::GUESS_DELAY * doubled).min(limits::GUESS_DELAY_MAX)
}

/// Rows of a few entries; which row one belongs to, its name says.
struct Table(Vec<[Entry; ROW]>);

impl Table {
    fn new(entries: usize) -> Table {
        Table(vec![[Entry::default(); ROW]; (entries / ROW).max(1)])
    }

    fn row(&mut self, name: u64) -> &mut [Entry; ROW] {
        let rows = self.0.len();
        &mut self.0[(name % rows as u64) as usize]
    }

    fn find(&mut self, name: u64) -> Option<&mut Entry> {
        self.row(name).iter_mut().find(|entry| entry.name == name)
    }

    /// The entry of that name, a fresh one if there is none.
    fn place(&mut self, name: u64) -> &mut Entry {
        let row = self.row(name);
        let found = row.iter().position(|entry| entry.name == name);
        let place = found.unwrap_or_else(|| {
            let least = (0..ROW).min_by_key(|place| row[*place].worth()).unwrap_or(0);
            row[least] = Entry { name, ..Entry::default() };
            least
        });
        &mut row[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant(1_000_000_000_000);

    fn guesses() -> Guesses {
        Guesses::new(&[7; 32])
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
    ) -> Option<(Standing, Duration)> {
        match guesses.ask(at(client), account, now) {
            Verdict::Try { standing, attempt, .. } => Some((standing, guesses.failed(attempt, now))),
            Verdict::Refuse(_) => None,
            Verdict::Busy => panic!("nothing is under way"),
        }
    }

    fn succeed(guesses: &mut Guesses, client: &str, account: &str, now: Instant) -> Standing {
        let Verdict::Try { standing, attempt, .. } = guesses.ask(at(client), account, now) else {
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
        assert_eq!(met[0].expect("not refused").0, Standing::New);
        assert_eq!(met[1].expect("not refused").0, Standing::Suspect);
        // Another account makes no difference.
        let refused = guesses.ask(at("192.0.2.1"), "alice", START);
        assert!(matches!(refused, Verdict::Refuse(delay) if delay == limits::GUESS_DELAY_MAX), "{refused:?}");
        // One guess comes back after a while, and no more than one.
        let later = START + limits::GUESS_FORGOTTEN;
        assert!(guess(&mut guesses, "192.0.2.1", "bob", later - Duration::from_nanos(1)).is_none());
        assert!(guess(&mut guesses, "192.0.2.1", "bob", later).is_some());
        assert!(guess(&mut guesses, "192.0.2.1", "bob", later).is_none());
        // However long the clock says it took, nothing overflows.
        assert!(guess(&mut guesses, "192.0.2.1", "bob", Instant(u64::MAX - 1)).is_some());
        assert!(guess(&mut guesses, "192.0.9.9", "bob", Instant(0)).is_some());
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
            assert_eq!(
                guess(&mut guesses, neighbour, "bob", START).map(|met| met.0),
                Some(Standing::Suspect)
            );
            assert_eq!(guess(&mut guesses, stranger, "bob", START).map(|met| met.0), Some(Standing::New));
        }
        let mut guesses = guesses();
        let neighbours = (0..=255).map(|last| format!("198.51.100.{last}"));
        let tried = neighbours.filter(|client| guess(&mut guesses, client, "bob", START).is_some()).count();
        assert_eq!(tried as u64, limits::GUESSES_MAX * limits::GUESSES_NETWORK);
        assert_eq!(guess(&mut guesses, "198.51.101.1", "bob", START).map(|met| met.0), Some(Standing::New));
    }

    /// Who was here before keeps its way in, whatever others of its network do; what it may guess there is bounded, too.
    #[test]
    fn the_owner_is_not_locked_out() {
        let mut guesses = guesses();
        assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", START), Standing::New);
        for round in 0..1000u64 {
            let now = START + Duration::from_millis(round);
            let _ = guess(&mut guesses, "192.0.2.1", "alice", now);
            let _ = guess(&mut guesses, &format!("203.0.{}.{}", round % 200, round % 7), "bob", now);
            assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", now), Standing::Known);
        }
        // Of its network, and at this account: a few are let through, and then they are guesses like others.
        let mut known = 0;
        while let Some((Standing::Known, _)) = guess(&mut guesses, "192.0.2.1", "bob", START) {
            known += 1;
        }
        assert_eq!(known, limits::GUESSES_KNOWN_MAX);
        // A password that was verified lately needs no attempt at all: `Verified`.
        let later = START + limits::GUESS_FORGOTTEN;
        assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", later), Standing::Known);
        guesses.recognised(at("192.0.2.77"), "bob", later);
        assert_eq!(succeed(&mut guesses, "192.0.2.77", "bob", later), Standing::Known);
    }

    /// What is under way counts before anybody knows what becomes of it, and what was not checked does not count after.
    #[test]
    fn attempts_at_one_time_are_bounded_and_given_back() {
        let mut guesses = guesses();
        let mut under_way = Vec::new();
        for number in 0..limits::GUESSES_AT_ONCE {
            match guesses.ask(at("192.0.2.1"), "bob", START) {
                Verdict::Try { standing, rank, attempt } => {
                    assert_eq!(rank, number);
                    assert_eq!(standing == Standing::New, number < limits::GUESSES_AT_ONCE / 2);
                    under_way.push(attempt);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(guesses.ask(at("192.0.2.1"), "bob", START), Verdict::Busy));
        assert!(matches!(guesses.ask(at("192.0.2.2"), "bob", START), Verdict::Try { .. }));
        under_way.into_iter().for_each(|attempt| guesses.withdrawn(attempt));
        assert_eq!(succeed(&mut guesses, "192.0.2.1", "bob", START), Standing::New);
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
            if let Verdict::Try { attempt, .. } = guesses.ask(client, "bob", START) {
                guesses.failed(attempt, START);
            }
        }
        assert_eq!((guesses.clients.0.len(), guesses.pairs.0.len()), places);
        assert!(guess(&mut guesses, "192.0.2.1", "bob", START).is_none(), "it is remembered still");
        assert_eq!(guess(&mut guesses, "192.0.3.1", "bob", START).map(|met| met.0), Some(Standing::New));
    }
}
