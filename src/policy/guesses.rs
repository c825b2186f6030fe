//! Who has guessed passwords of late, by network: what they may try still, and before whom others go.
//!
//! No account is ever closed, so that nobody can lock its owner out: what fails counts against the client's address, the wider network
//! around it, and the pair of account and address. A pair that has succeeded is *known*: it is not subject to what others of its
//! network do, only to what fails for the pair itself. What fails at an account, from wherever, only lets strangers at other accounts
//! go first: guesses at one account, of ever new networks, do not hold up the first login of another.
//!
//! The tables have a fixed number of places. Where a row is full, the entry goes that is soonest forgotten anyway. What is kept of names
//! and addresses are keyed hashes: nobody can aim at a row without the key.

use std::net::{IpAddr, Ipv4Addr};
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
/// Of an account: it is closed for nobody by that.
const ACCOUNT: Allowance = Allowance { most: limits::GUESSES_ACCOUNT, each: limits::GUESS_ACCOUNT_FORGOTTEN };
/// Of the whole node.
const NODE: Allowance = Allowance { most: 2 * limits::GUESSES_CALM, each: limits::GUESS_NODE_FORGOTTEN };
/// Of a pair that is known.
const PAIR: Allowance = Allowance { most: limits::GUESSES_KNOWN_MAX, each: limits::GUESS_FORGOTTEN };

/// How much of a client's address a name is made of: all that is one client, what is around it, nothing.
const ONE: u8 = 1;
const AROUND: u8 = 2;
const ANYWHERE: u8 = 3;

/// What a client is to its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTrust {
    /// It has been this account, from there, before.
    Known,
    /// Nothing is known against it.
    New,
    /// Its network has guessed of late, or tries much at one time while somebody guesses.
    Suspect,
}

/// What an attempt may do.
#[derive(Debug)]
pub enum Ruling {
    /// Its password is checked: before those of a higher rank and the same standing.
    Try {
        /// How it stands.
        standing: ClientTrust,
        /// Failures and attempts under way.
        rank: u32,
        /// To be given back with what became of it, whatever that is.
        attempt: Attempt,
    },
    /// Not even that: its network has failed too often. It hears so after this long.
    Refuse(Duration),
    /// These credentials were wrong before, and are so still. A program with an old password repeats it for ever, and that is no guess. It
    /// hears so after this long.
    Again(Duration),
    /// Its network has too much under way already. It hears so after this long.
    Busy(Duration),
}

/// An attempt that was let through.
#[derive(Debug)]
#[must_use = "the network keeps an attempt until it is told what became of it"]
pub struct Attempt {
    address: u64,
    network: u64,
    pair: u64,
    account: u64,
    credentials: u64,
    known: bool,
}

/// What is remembered of clients. One for the node.
pub struct Guesses {
    key: hmac::Key,
    /// Addresses and networks that have failed or are trying.
    clients: Table,
    /// Accounts, or what was taken for one, at which something failed or is under way.
    accounts: Table,
    /// Pairs of account and network that have succeeded.
    pairs: Table,
    /// All that failed at this node.
    node: Entry,
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
    /// Credentials that were wrong, newest first.
    wrong: [u64; limits::WRONG_KEPT],
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
            accounts: Table::new(limits::GUESSED_ACCOUNTS_MAX),
            pairs: Table::new(limits::KNOWN_CLIENTS_MAX),
            node: Entry::default(),
        }
    }

    /// Whether nobody guesses, wherever: who comes is let wait for a turn then.
    pub fn calm(&self, now: Instant) -> bool {
        self.node.failures(now, NODE) <= limits::GUESSES_CALM
    }

    /// A client asks whether it may try to be `account`, with credentials that have this fingerprint.
    pub fn ask(&mut self, client: IpAddr, account: &str, credentials: u64, now: Instant) -> Ruling {
        let (address, network) = (self.name(ONE, client, ""), self.name(AROUND, client, ""));
        let (pair, anywhere) = (self.name(ONE, client, account), self.name(ANYWHERE, client, account));
        let mut attempt = Attempt { address, network, pair, account: anywhere, credentials, known: true };
        if let Some(entry) = self.clients.find(address)
            && entry.wrong.contains(&credentials)
        {
            return Ruling::Again(delay(entry.failures(now, ADDRESS)));
        }
        if let Some(entry) = self.pairs.find(pair) {
            let failures = entry.failures(now, PAIR);
            if failures < PAIR.most && entry.trying < limits::GUESSES_AT_ONCE {
                let rank = rank(failures + u64::from(entry.trying));
                entry.trying += 1;
                return Ruling::Try { standing: ClientTrust::Known, rank, attempt };
            }
        }
        let (failures, trying) = self.clients.state(address, now, ADDRESS);
        let (around, trying_around) = self.clients.state(network, now, NETWORK);
        let around_here = around / limits::GUESSES_NETWORK;
        if failures >= ADDRESS.most || around >= NETWORK.most {
            return Ruling::Refuse(delay(failures.max(around_here)));
        }
        // What is under way may fail, too.
        if trying >= limits::GUESSES_AT_ONCE || failures > 0 && failures + u64::from(trying) >= ADDRESS.most {
            return Ruling::Busy(if failures == 0 { Duration::ZERO } else { delay(failures) });
        }
        let (at_account, trying_account) = self.accounts.state(anywhere, now, ACCOUNT);
        self.clients.place(address).trying += 1;
        self.clients.place(network).trying += 1;
        self.accounts.place(anywhere).trying += 1;
        let against = failures + around_here;
        let forgiven = failures <= limits::GUESSES_FORGIVEN && around_here == 0;
        let few = trying < limits::GUESSES_AT_ONCE / 2 || self.calm(now);
        let standing = if forgiven && few { ClientTrust::New } else { ClientTrust::Suspect };
        attempt.known = false;
        // A network with many addresses has one turn before all of them have one.
        let under_way = u64::from(trying) + u64::from(trying_around) + u64::from(trying_account);
        let rank = rank(against + at_account + under_way);
        Ruling::Try { standing, rank, attempt }
    }

    /// The password was wrong. How long the client waits until it hears so.
    pub fn failed(&mut self, attempt: Attempt, now: Instant) -> Duration {
        let failures = |entry: &mut Entry, allowance| {
            entry.fail(now, allowance);
            entry.failures(now, allowance)
        };
        let entry = self.clients.place(attempt.address);
        entry.wrong.rotate_right(1);
        entry.wrong[0] = attempt.credentials;
        let mut most = failures(entry, ADDRESS);
        let around = failures(self.clients.place(attempt.network), NETWORK);
        most = most.max(around / limits::GUESSES_NETWORK);
        self.accounts.place(attempt.account).fail(now, ACCOUNT);
        self.node.fail(now, NODE);
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
        let pair = self.name(ONE, client, account);
        self.pairs.place(pair).succeeded = now;
    }

    /// It was not checked, which is not the client's fault.
    pub fn withdrawn(&mut self, attempt: Attempt) {
        self.ended(attempt);
    }

    fn ended(&mut self, attempt: Attempt) {
        // One that had to go meanwhile has nothing under way any more.
        let over = |entry: Option<&mut Entry>| {
            if let Some(entry) = entry {
                entry.trying = entry.trying.saturating_sub(1);
            }
        };
        if attempt.known {
            over(self.pairs.find(attempt.pair));
        } else {
            over(self.clients.find(attempt.address));
            over(self.clients.find(attempt.network));
            over(self.accounts.find(attempt.account));
        }
    }

    /// The keyed hash that stands for an address, the network around it, or a pair.
    fn name(&self, kind: u8, client: IpAddr, account: &str) -> u64 {
        let mut text = [0; 17];
        text[0] = kind;
        let client = if kind == ANYWHERE { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { client };
        // Others of a /64 are the same client, and others of a /48 or a /24 its neighbours.
        let kept = match (client.to_canonical(), kind) {
            (IpAddr::V4(address), AROUND) => (u128::from(address.to_bits()) | 0xFFFF << 32) & !0xFF,
            (IpAddr::V4(address), _) => u128::from(address.to_bits()) | 0xFFFF << 32,
            (IpAddr::V6(address), AROUND) => address.to_bits() & !0 << 80,
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
struct Table(Vec<[Entry; limits::GUESSES_ROW]>);

impl Table {
    fn new(entries: usize) -> Table {
        Table(vec![[Entry::default(); limits::GUESSES_ROW]; (entries / limits::GUESSES_ROW).max(1)])
    }

    fn row(&mut self, name: u64) -> &mut [Entry; limits::GUESSES_ROW] {
        let rows = self.0.len();
        &mut self.0[(name % rows as u64) as usize]
    }

    fn find(&mut self, name: u64) -> Option<&mut Entry> {
        self.row(name).iter_mut().find(|entry| entry.name == name)
    }

    /// Failures and attempts under way of that name.
    fn state(&mut self, name: u64, now: Instant, allowance: Allowance) -> (u64, u32) {
        self.find(name).map_or((0, 0), |entry| (entry.failures(now, allowance), entry.trying))
    }

    /// The entry of that name, a fresh one if there is none.
    fn place(&mut self, name: u64) -> &mut Entry {
        let row = self.row(name);
        let found = row.iter().position(|entry| entry.name == name);
        let place = found.unwrap_or_else(|| {
            let least = (0..limits::GUESSES_ROW).min_by_key(|place| row[*place].worth()).unwrap_or(0);
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
        assert_eq!(
            standings[..4],
            [ClientTrust::New, ClientTrust::New, ClientTrust::New, ClientTrust::Suspect]
        );
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
            assert_eq!(
                guess(&mut guesses, neighbour, "bob", START).map(|met| met.0),
                Some(ClientTrust::Suspect)
            );
            assert_eq!(guess(&mut guesses, stranger, "bob", START).map(|met| met.0), Some(ClientTrust::New));
        }
        let mut guesses = guesses();
        let neighbours = (0..=255).map(|last| format!("198.51.100.{last}"));
        let tried = neighbours.filter(|client| guess(&mut guesses, client, "bob", START).is_some()).count();
        assert_eq!(tried as u64, limits::GUESSES_MAX * limits::GUESSES_NETWORK);
        assert_eq!(
            guess(&mut guesses, "198.51.101.1", "bob", START).map(|met| met.0),
            Some(ClientTrust::New)
        );
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
                    assert_eq!(rank, 3 * number);
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
            assert_eq!(ask(&format!("192.0.2.{number}"), &format!("user{number}")), number);
        }
        assert_eq!(ask("192.0.3.1", "bob"), 0);
        under_way.into_iter().for_each(|attempt| guesses.withdrawn(attempt));
        let Ruling::Try { rank, .. } = guesses.ask(at("192.0.2.250"), "carol", fresh(), START) else {
            panic!()
        };
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
}
