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

use kept::KnownPairs;

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
        /// What speaks against its network, then what does at the account: failures, attempts that are under way or were turned away.
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
    /// What `key` is made of.
    secret: [u8; 32],
    is_kept: bool,
    /// There are pairs that were not kept yet.
    changed: bool,
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
    /// Until when those are held against it that were turned away, in seconds.
    pressing: u32,
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

    /// How many attempts were turned away of late, each counted for some seconds.
    fn pressed(&self, now: Instant) -> u64 {
        u64::from(self.pressing.saturating_sub(seconds(now)))
    }

    fn press(&mut self, now: Instant) {
        let now = seconds(now);
        self.pressing = (self.pressing.max(now) + limits::GUESS_PRESSED).min(now + limits::GUESS_PRESSED_MAX);
    }

    /// What goes first of a row.
    fn worth(&self) -> (bool, Instant, u32) {
        (self.trying > 0, self.clean_at.max(self.succeeded), self.pressing)
    }
}

impl Guesses {
    /// `key`: bytes nobody knows, drawn for them alone.
    pub fn new(key: &[u8; 32]) -> Guesses {
        Guesses {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            clients: Table::new(limits::GUESSERS_MAX),
            accounts: Table::new(limits::GUESSED_ACCOUNTS_MAX),
            pairs: Table::new(limits::KNOWN_CLIENTS_MAX),
            node: Entry::default(),
            secret: *key,
            is_kept: false,
            changed: false,
        }
    }

    /// With what was kept: these are known, and longer ago than whoever logs in now.
    pub fn with(known: &KnownPairs) -> Guesses {
        let mut guesses = Guesses::new(&known.key);
        guesses.is_kept = true;
        for (at, name) in known.names.iter().enumerate().filter(|(_, name)| **name != 0) {
            guesses.pairs.place(*name).succeeded = Instant(1 + at as u64);
        }
        guesses
    }

    /// Whether what is known here is what was kept, and is to be kept.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether there is more to be kept than when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed) && self.is_kept
    }

    /// It could not be kept.
    pub fn not_kept(&mut self) {
        self.changed = true;
    }

    /// Some of the pairs, with when they logged in last; for all of them it is asked for one part after the other, so that nobody who logs in waits
    /// for it. None: there are no more.
    pub fn pairs_of(&self, part: usize) -> Option<Vec<(Instant, u64)>> {
        let rows = self.pairs.0.chunks(limits::KNOWN_ROWS_AT_ONCE).nth(part)?;
        let known = rows.iter().flatten().filter(|entry| entry.name != 0);
        Some(known.map(|entry| (entry.succeeded, entry.name)).collect())
    }

    /// All of these, to be kept.
    pub fn known_pairs(&self, mut all: Vec<(Instant, u64)>) -> KnownPairs {
        all.sort_unstable();
        KnownPairs { key: self.secret, names: all.into_iter().map(|(_, name)| name).collect() }
    }

    /// A pair has logged in.
    fn known(&mut self, pair: u64, now: Instant) {
        let entry = self.pairs.place(pair);
        // In which order they did is kept no more exactly than this.
        self.changed |= now.since(entry.succeeded) > limits::KNOWN_ORDER || entry.succeeded == Instant(0);
        entry.succeeded = now;
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
                let rank = rank(failures + u64::from(entry.trying), 0);
                entry.trying += 1;
                return Ruling::Try { standing: ClientTrust::Known, rank, attempt };
            }
        }
        let (failures, trying) = self.clients.state(address, now, ADDRESS);
        let (around, trying_around) = self.clients.state(network, now, NETWORK);
        let pressed = self.clients.find(network).map_or(0, |entry| entry.pressed(now));
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
        let forgiven = failures <= limits::GUESSES_FORGIVEN && around_here == 0;
        let few = trying < limits::GUESSES_AT_ONCE / 2 || self.calm(now);
        let standing = if forgiven && few { ClientTrust::New } else { ClientTrust::Suspect };
        attempt.known = false;
        // A network with many addresses has one turn before all of them have one.
        let under_way = u64::from(trying) + u64::from(trying_around);
        // Each failure of the network counts, though it has many addresses: who comes of one that has none on record goes before. What fails at an
        // account orders those alone of whom the same is known: else whoever guesses at it would hold up the first login of its owner.
        let against = failures.max(around) + under_way + pressed;
        Ruling::Try { standing, rank: rank(against, at_account + u64::from(trying_account)), attempt }
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
        self.known(attempt.pair, now);
        self.ended(attempt);
    }

    /// The same, of an attempt that nobody had to be asked about.
    pub fn recognised(&mut self, client: IpAddr, account: &str, now: Instant) {
        let pair = self.name(ONE, client, account);
        self.known(pair, now);
    }

    /// It was not checked, as too many others were before it: its network has pressed for that, and goes behind those that have not.
    pub fn turned_away(&mut self, attempt: Attempt, now: Instant) {
        if !attempt.known {
            self.clients.place(attempt.network).press(now);
            // Nor is it calm while more come than can be checked, though none of them has failed yet.
            self.node.fail(now, NODE);
        }
        self.ended(attempt);
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

fn rank(against: u64, at_account: u64) -> u32 {
    let most = u64::from(limits::RANK_SPOKEN_AGAINST) - 1;
    let against = against.min(u64::from(u32::MAX) / (most + 1));
    u32::try_from(against * (most + 1) + at_account.min(most)).unwrap_or(u32::MAX)
}

fn seconds(now: Instant) -> u32 {
    u32::try_from(now.0 / 1_000_000_000).unwrap_or(u32::MAX / 2)
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

pub mod kept;

#[cfg(test)]
mod tests;
