//! Names and passwords for AUTH: a file of `[[account]]` sections or of `name:hash` lines; hashes of argon2id in PHC form, verifiers of SCRAM.
//!
//! Checking a password burns a core for a while, on purpose: callers do it away from the shard
//! (`Runtime::compute`), and the costs a file may ask for are bounded when it is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::num::NonZeroU32;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::config::quota::Quotas;
use crate::config::{AuthMechanism, AuthMechanisms};
use crate::limits;
use crate::smtp::scram::{Costs, Verifier};

pub mod edit;
mod flaw;
mod rights;
mod salts;
mod sections;

pub use flaw::{AccountsError, PasswordError, Problem};
pub use rights::Rights;
pub use salts::SaltKey;
pub use sections::Flaw;
use sections::Section;

/// What an unknown name is checked against while there are no accounts; nobody knows a password for it.
/// Default costs of this argon2 library.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cmVsZXZvIG5vYm9keSE$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The accounts of a node. Immutable: a changed file makes a new one.
#[derive(Clone, Default)]
pub struct Accounts {
    /// Name to place in `all`.
    places: HashMap<Box<str>, usize>,
    /// In the order of the file.
    all: Vec<Account>,
    /// Those that have a password, by their places.
    with_password: Vec<usize>,
    /// Those that have a verifier, by their places: the cheaper one first.
    with_verifier: Vec<usize>,
    /// What holds for an account and its mail; most have nothing.
    own: HashMap<usize, Rights>,
}

/// How one logs in: at least by one of these.
#[derive(Clone)]
struct Account {
    /// A PHC string, which was parsed and found within bounds.
    password: Option<Box<str>>,
    scram: Option<Box<Verifier>>,
}

impl Accounts {
    /// Reads the text of an accounts file: of sections, or of lines. Empty lines and lines that begin with `#` say nothing; blanks around a line do
    /// not count. Names are compared byte by byte.
    pub fn parse(text: &str) -> Result<Accounts, AccountsError> {
        let mut accounts = Accounts::default();
        if sections::is_meant(text) {
            let wrong = |(line, flaw)| AccountsError { line, problem: Problem::Section(flaw) };
            for section in sections::read(text).map_err(wrong)? {
                accounts.add_section(section)?;
            }
        } else {
            for (place, line) in text.lines().enumerate() {
                let line = line.trim();
                if !line.is_empty() && !line.starts_with('#') {
                    accounts.add_line(line).map_err(|problem| AccountsError { line: place + 1, problem })?;
                }
            }
        }
        let Accounts { all, with_password, with_verifier, .. } = &mut accounts;
        let having = |has: fn(&Account) -> bool| (0..all.len()).filter(|place| has(&all[*place])).collect();
        *with_password = having(|account| account.password.is_some());
        *with_verifier = having(|account| account.scram.is_some());
        with_verifier.sort_by_key(|place| all[*place].scram.as_ref().map(|of| salts::weight(&of.costs)));
        Ok(accounts)
    }

    fn add_section(&mut self, section: Section) -> Result<(), AccountsError> {
        let Section { name, password, scram, own, line } = section;
        let place = self.all.len();
        self.add(&name, Account { password, scram }).map_err(|problem| AccountsError { line, problem })?;
        if own != Rights::default() {
            self.own.insert(place, own);
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str) -> Result<(), Problem> {
        let (name, hash) = line.split_once(':').ok_or(Problem::NoColon)?;
        self.add(name, Account { password: Some(hash.into()), scram: None })
    }

    fn add(&mut self, name: &str, account: Account) -> Result<(), Problem> {
        let clean = !name.chars().any(|character| character.is_whitespace() || character.is_control());
        if name.is_empty() || name.len() > limits::ACCOUNT_NAME_MAX || !clean {
            return Err(Problem::Name);
        }
        account.password.as_deref().map_or(Ok(()), check_hash)?;
        if self.all.len() >= limits::ACCOUNTS_MAX {
            return Err(Problem::TooMany);
        }
        match self.places.entry(name.into()) {
            Entry::Occupied(_) => Err(Problem::Duplicate),
            Entry::Vacant(entry) => {
                entry.insert(self.all.len());
                self.all.push(account);
                Ok(())
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Their names, in the order of the file, and whether each has a password and a verifier.
    pub fn names(&self) -> impl Iterator<Item = (&str, [bool; 2])> {
        let mut names: Vec<(&str, usize)> =
            self.places.iter().map(|(name, place)| (&**name, *place)).collect();
        names.sort_by_key(|(_, place)| *place);
        names.into_iter().map(|(name, place)| {
            let Account { password, scram } = &self.all[place];
            (name, [password.is_some(), scram.is_some()])
        })
    }

    /// What holds for an account and its mail.
    pub fn own(&self, name: &str) -> Option<&Rights> {
        // Nobody looks for a name where no account has anything.
        let place = if self.own.is_empty() { None } else { self.places.get(name) }?;
        self.own.get(place)
    }

    /// What all those have that have anything of their own.
    pub fn rights(&self) -> impl Iterator<Item = &Rights> {
        self.own.values()
    }

    /// Those of them that have quotas, with these.
    pub fn quotas(&self) -> Vec<(&str, Quotas)> {
        if self.own.values().all(|own| own.quota.is_none()) {
            return Vec::new();
        }
        let own = |place| self.own.get(place).map(|own| own.quota).filter(|quota| !quota.is_none());
        self.places.iter().filter_map(|(name, place)| Some((&**name, own(place)?))).collect()
    }

    /// Whether who logged in by this name may send as this address. The null sender is nobody's (RFC 5321 4.5.5).
    pub fn may_send_as(&self, name: &str, address: &[u8]) -> bool {
        address.is_empty() || self.own(name).is_none_or(|own| own.may_send_as(address))
    }

    /// Every pool that an account has, and in which line.
    pub fn pools(&self) -> impl Iterator<Item = (&str, usize)> {
        self.own.values().filter_map(|own| own.pool.as_ref().map(|(pool, line)| (&**pool, *line)))
    }

    /// Whether one of them can log in by SCRAM.
    pub fn have_verifiers(&self) -> bool {
        !self.with_verifier.is_empty()
    }

    /// How they log in where nobody says how: by all that every account can. Clients take the strongest that they are offered, and an account
    /// without a verifier would be kept out by an offer of SCRAM.
    pub fn mechanisms(&self) -> AuthMechanisms {
        let all = self.all.len();
        AuthMechanisms::all_that(|one| match one {
            AuthMechanism::ScramSha256Plus | AuthMechanism::ScramSha256 => {
                all > 0 && self.with_verifier.len() == all
            }
            AuthMechanism::Plain | AuthMechanism::Login => all == 0 || !self.with_password.is_empty(),
        })
    }

    /// How many cannot log in by this mechanism.
    pub fn kept_out_by(&self, mechanism: AuthMechanism) -> usize {
        let able = if mechanism.tells_password() { &self.with_password } else { &self.with_verifier };
        self.all.len() - able.len()
    }

    /// Whether the account is one of others, too, and who knew its password then knows it still.
    pub fn is_as_in(&self, others: &Accounts, name: &str) -> bool {
        let (own, other) = (self.account(name), others.account(name));
        own.zip(other).is_some_and(|(own, other)| own.password == other.password && own.scram == other.scram)
    }

    /// Whether the account may what it may among others.
    pub fn may_as_in(&self, others: &Accounts, name: &str) -> bool {
        let none = Rights::default();
        self.own(name).unwrap_or(&none).say_as(others.own(name).unwrap_or(&none))
    }

    fn account(&self, name: &str) -> Option<&Account> {
        self.all.get(*self.places.get(name)?)
    }

    /// The check of one password. It takes as long for a name nobody has as for one somebody has, so that nobody learns names by
    /// the clock.
    pub fn check(&self, name: &str) -> Check {
        let (hash, place) = self.stored(name);
        let (hash, known) = (PasswordHash::new(hash).ok(), place.is_some());
        let params = hash.as_ref().and_then(|hash| Params::try_from(hash).ok()).unwrap_or_default();
        Check { hash, params, known }
    }

    /// The hash to check a password against, and the place of the account whose own it is. An unknown name, or one without a password, gets the hash
    /// of some account, always the same for the same name: its costs are then spread as those of the accounts are, even where
    /// these differ.
    pub fn stored(&self, name: &str) -> (&str, Option<usize>) {
        let password = |place: usize| self.all.get(place)?.password.as_deref();
        if let Some((place, own)) = self.places.get(name).and_then(|place| Some((*place, password(*place)?)))
        {
            return (own, Some(place));
        }
        let count = self.with_password.len() as u64;
        let other = fingerprint(name).checked_rem(count).and_then(|at| self.with_password.get(at as usize));
        (other.and_then(|place| password(*place)).unwrap_or(NOBODY), None)
    }

    /// The verifier to check a proof of SCRAM against, and the place of the account whose own it is. An unknown name, or one without a verifier, gets one
    /// that looks as those of accounts do, always the same for the same name, and that no password fits. That takes as long.
    pub fn verifier(&self, name: &str, key: &SaltKey) -> (Verifier, Option<usize>) {
        let of = |place: usize| self.all.get(place)?.scram.as_deref();
        let alike = |part: f64| {
            let at = (part * self.with_verifier.len() as f64) as usize;
            of(*self.with_verifier.get(at)?).map(|verifier| &verifier.costs)
        };
        // Also where it is not wanted.
        let made = Verifier::of_nobody(key.costs(name, alike));
        match self.places.get(name).and_then(|place| Some((*place, of(*place)?))) {
            Some((place, own)) => (own.clone(), Some(place)),
            None => (made, None),
        }
    }
}

/// What it takes to check a password of one name.
pub struct Check {
    /// None: a hash that was sound when it was read is not any more.
    hash: Option<PasswordHash>,
    params: Params,
    /// The hash is the name's own.
    known: bool,
}

impl Check {
    /// Memory it wants, in blocks.
    pub fn blocks(&self) -> usize {
        self.params.block_count()
    }

    /// Whether `password` is the account's. Burns up to ACCOUNT_WORK_MAX. None: it could not be computed, or `memory` is less than
    /// [`Check::blocks`].
    pub fn verify(&self, password: &[u8], memory: &mut [Block]) -> Option<bool> {
        let hash = self.hash.as_ref()?;
        let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
        // One too long for any account is cut, not refused at once, so that it takes as long as others.
        let (password, whole) =
            (&password[..password.len().min(limits::PASSWORD_MAX)], password.len() <= limits::PASSWORD_MAX);
        let mut tag = [0; Output::MAX_LENGTH];
        let tag = tag.get_mut(..expected.as_ref().len())?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        argon2.hash_password_into_with_memory(password, salt, tag, memory).ok()?;
        // It compares in constant time.
        let right = Output::new(tag).is_ok_and(|tag| tag == *expected);
        Some(right & self.known & whole)
    }
}

/// A count and no more: names are half of a secret.
impl fmt::Debug for Accounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Accounts").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

/// FNV-1a with its high half mixed in, for the remainder looks at the low bits.
fn fingerprint(name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ hash >> 32
}

fn check_hash(text: &str) -> Result<(), Problem> {
    let hash = PasswordHash::new(text).map_err(|_| Problem::Hash)?;
    if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
        return Err(Problem::Kind);
    }
    let params = Params::try_from(&hash).map_err(|_| Problem::Hash)?;
    // Salt as argon2 wants it (RFC 9106 3.1), and a tag worth guessing at.
    let salted = hash.salt.as_ref().is_some_and(|salt| salt.len() >= 8);
    let tagged = hash.hash.as_ref().is_some_and(|tag| tag.len() >= 16);
    if !salted || !tagged {
        return Err(Problem::Hash);
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    let costly = params.m_cost() > limits::ACCOUNT_MEMORY_MAX
        || work > u64::from(limits::ACCOUNT_WORK_MAX)
        || params.p_cost() > limits::ACCOUNT_LANES_MAX;
    if costly { Err(Problem::Costly) } else { Ok(()) }
}

/// The hash of a password, to be written behind `name:` in the file. `salt` is 16 bytes nobody has used before.
pub fn hash(password: &[u8], salt: &[u8; 16]) -> Result<String, PasswordError> {
    possible(password)?;
    // The inputs were checked, so the library has nothing left to refuse but the length.
    let hash = Argon2::default().hash_password_with_salt(password, salt);
    hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::TooLong)
}

/// The verifier of a password, to be written as `scram =` of an account. `salt` is as above; `iterations` are within
/// [`limits::client::ITERATIONS_MIN`] and [`limits::client::ITERATIONS_MAX`].
pub fn verifier(
    password: &[u8],
    salt: [u8; limits::SCRAM_SALT],
    iterations: NonZeroU32,
) -> Result<String, PasswordError> {
    possible(password)?;
    Ok(Verifier::of(password, Costs { salt: salt.into(), iterations }).text())
}

fn possible(password: &[u8]) -> Result<(), PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.len() > limits::PASSWORD_MAX {
        return Err(PasswordError::TooLong);
    }
    if password.contains(&0) {
        return Err(PasswordError::Nul);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
