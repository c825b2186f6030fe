//! Names and passwords for AUTH: a file of `[[account]]` sections or of `name:hash` lines, hashes of argon2id in PHC form.
//!
//! Checking a password burns a core for a while, on purpose: callers do it away from the shard
//! (`Runtime::compute`), and the costs a file may ask for are bounded when it is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::limits;

mod sections;

use sections::Section;
pub use sections::{AccountDefaults, Flaw};

/// What an unknown name is checked against while there are no accounts; nobody knows a password for it.
/// Default costs of this argon2 library.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cmVsZXZvIG5vYm9keSE$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The accounts of a node. Immutable: a changed file makes a new one.
#[derive(Clone, Default)]
pub struct Accounts {
    /// Name to place in `hashes`.
    places: HashMap<Box<str>, usize>,
    /// PHC strings, in the order of the file; each was parsed and found within bounds.
    hashes: Vec<Box<str>>,
    /// What holds for an account's mail; most have nothing.
    own: HashMap<usize, AccountDefaults>,
}

/// A line of the file that is wrong. Always the operator's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountsError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line. Never shows any of the line itself, which may be a password in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No colon.
    NoColon,
    /// The name is empty, too long, or holds blanks or control characters.
    Name,
    /// The name stands on an earlier line, too.
    Duplicate,
    /// Not a hash in PHC form, or one that argon2 cannot use.
    Hash,
    /// A hash of another kind than argon2id version 19.
    Kind,
    /// A hash that takes more memory or time than is allowed.
    Costly,
    /// More accounts than ACCOUNTS_MAX.
    TooMany,
    /// A section of a file of sections.
    Section(Flaw),
}

/// A password no account can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// It is empty.
    Empty,
    /// It is longer than PASSWORD_MAX bytes.
    TooLong,
    /// It holds a NUL, which AUTH PLAIN cannot carry (RFC 4616 section 2).
    Nul,
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
            return Ok(accounts);
        }
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                accounts.add_line(line).map_err(|problem| AccountsError { line: place + 1, problem })?;
            }
        }
        Ok(accounts)
    }

    fn add_section(&mut self, section: Section) -> Result<(), AccountsError> {
        let Section { name, password, own, line } = section;
        let place = self.hashes.len();
        self.add(&name, &password).map_err(|problem| AccountsError { line, problem })?;
        if own != AccountDefaults::default() {
            self.own.insert(place, own);
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str) -> Result<(), Problem> {
        let (name, hash) = line.split_once(':').ok_or(Problem::NoColon)?;
        self.add(name, hash)
    }

    fn add(&mut self, name: &str, hash: &str) -> Result<(), Problem> {
        let clean = !name.chars().any(|character| character.is_whitespace() || character.is_control());
        if name.is_empty() || name.len() > limits::ACCOUNT_NAME_MAX || !clean {
            return Err(Problem::Name);
        }
        check_hash(hash)?;
        if self.hashes.len() >= limits::ACCOUNTS_MAX {
            return Err(Problem::TooMany);
        }
        match self.places.entry(name.into()) {
            Entry::Occupied(_) => Err(Problem::Duplicate),
            Entry::Vacant(entry) => {
                entry.insert(self.hashes.len());
                self.hashes.push(hash.into());
                Ok(())
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// What holds for the mail of an account.
    pub fn own(&self, name: &str) -> Option<&AccountDefaults> {
        // Nobody looks for a name where no account has anything.
        let place = if self.own.is_empty() { None } else { self.places.get(name) }?;
        self.own.get(place)
    }

    /// Whether any of them may send only as certain addresses.
    pub fn bind_senders(&self) -> bool {
        self.own.values().any(|own| !own.senders.is_empty())
    }

    /// Whether who logged in by this name may send as this address. The null sender is nobody's (RFC 5321 4.5.5).
    pub fn may_send_as(&self, name: &str, address: &[u8]) -> bool {
        address.is_empty() || self.own(name).is_none_or(|own| own.may_send_as(address))
    }

    /// Every pool that an account has, and in which line.
    pub fn pools(&self) -> impl Iterator<Item = (&str, usize)> {
        self.own.values().filter_map(|own| own.pool.as_ref().map(|(pool, line)| (&**pool, *line)))
    }

    /// The check of one password. It takes as long for a name nobody has as for one somebody has, so that nobody learns names by
    /// the clock.
    pub fn check(&self, name: &str) -> Check {
        let (hash, place) = self.stored(name);
        let (hash, known) = (PasswordHash::new(hash).ok(), place.is_some());
        let params = hash.as_ref().and_then(|hash| Params::try_from(hash).ok()).unwrap_or_default();
        Check { hash, params, known }
    }

    /// The hash to check a password against, and the place of the account whose own it is. An unknown name gets the hash of some
    /// account, always the same for the same name: its costs are then spread as those of the accounts are, even where
    /// these differ.
    pub fn stored(&self, name: &str) -> (&str, Option<usize>) {
        if let Some(place) = self.places.get(name) {
            return (&self.hashes[*place], Some(*place));
        }
        let count = self.hashes.len() as u64;
        let hash = fingerprint(name).checked_rem(count).and_then(|place| self.hashes.get(place as usize));
        (hash.map_or(NOBODY, |hash| hash), None)
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
        formatter.debug_struct("Accounts").field("count", &self.hashes.len()).finish_non_exhaustive()
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
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.len() > limits::PASSWORD_MAX {
        return Err(PasswordError::TooLong);
    }
    if password.contains(&0) {
        return Err(PasswordError::Nul);
    }
    // The inputs were checked, so the library has nothing left to refuse but the length.
    let hash = Argon2::default().hash_password_with_salt(password, salt);
    hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::TooLong)
}

impl fmt::Display for AccountsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoColon => formatter.write_str("no colon; a line is `name:hash`"),
            Problem::Name => {
                write!(
                    formatter,
                    "the name is empty, has blanks in it, or is longer than {} bytes",
                    limits::ACCOUNT_NAME_MAX
                )
            }
            Problem::Duplicate => formatter.write_str("the name is on an earlier line already; remove one"),
            Problem::Hash => {
                formatter.write_str("this is no password hash; make one with `relevo hash-password`")
            }
            Problem::Kind => formatter.write_str(
                "only argon2id hashes (version 19) are known; make one with `relevo hash-password`",
            ),
            Problem::Costly => write!(
                formatter,
                "the hash costs too much; allowed are m <= {}, m * t <= {}, p <= {}",
                limits::ACCOUNT_MEMORY_MAX,
                limits::ACCOUNT_WORK_MAX,
                limits::ACCOUNT_LANES_MAX
            ),
            Problem::TooMany => write!(formatter, "more than {} accounts", limits::ACCOUNTS_MAX),
            Problem::Section(flaw) => write!(formatter, "{flaw}"),
        }
    }
}

impl fmt::Display for PasswordError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordError::Empty => formatter.write_str("the password is empty"),
            PasswordError::TooLong => {
                write!(formatter, "the password is longer than {} bytes", limits::PASSWORD_MAX)
            }
            PasswordError::Nul => formatter.write_str("the password holds a NUL, which AUTH cannot carry"),
        }
    }
}

impl std::error::Error for AccountsError {}
impl std::error::Error for PasswordError {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Cheap hashes, as strong as a test needs.
    pub(crate) fn cheap(password: &str, memory: u32) -> String {
        let params = Params::new(memory, 1, 1, None).unwrap();
        Argon2::from(params).hash_password_with_salt(password.as_bytes(), &[7; 16]).unwrap().to_string()
    }

    fn verify(accounts: &Accounts, name: &str, password: &[u8]) -> bool {
        let check = accounts.check(name);
        let mut memory = vec![Block::new(); check.blocks()];
        check.verify(password, &mut memory).expect("a sound hash and room for it")
    }

    fn file() -> Accounts {
        let text = format!(
            "# accounts\n\n  bob:{} \r\nalice@b.example:{}\n\t# end\n",
            cheap("secret", 8),
            cheap("ünïcode and blanks", 16)
        );
        Accounts::parse(&text).unwrap()
    }

    #[test]
    fn right_and_wrong_passwords() {
        let accounts = file();
        assert_eq!(accounts.len(), 2);
        assert!(verify(&accounts, "bob", b"secret"));
        assert!(verify(&accounts, "alice@b.example", "ünïcode and blanks".as_bytes()));
        for (name, password) in [
            ("bob", "Secret"),
            ("bob", ""),
            ("bob", "secret\0"),
            ("Bob", "secret"),
            ("", "secret"),
            ("alice", "secret"),
        ] {
            assert!(!verify(&accounts, name, password.as_bytes()), "{name} {password}");
        }
        assert!(!verify(&accounts, "bob", &b"secret".repeat(1000)));
        assert!(!verify(&Accounts::default(), "bob", b"secret"));
        let check = accounts.check("bob");
        assert_eq!(check.verify(b"secret", &mut vec![Block::new(); check.blocks() - 1]), None);
    }

    /// The hash of an unknown name is some account's: the same work, and never the right answer.
    #[test]
    fn unknown_names_cost_the_same_and_never_pass() {
        let accounts = file();
        let mut met = [0; 2];
        for number in 0..200 {
            let name = format!("stranger{number}");
            let (hash, place) = accounts.stored(&name);
            assert_eq!(place, None);
            assert_eq!(accounts.stored(&name).0, hash);
            met[accounts.hashes.iter().position(|other| **other == *hash).unwrap()] += 1;
            assert!(!verify(&accounts, &name, b"secret"));
        }
        assert!(met.iter().all(|count| *count > 50), "{met:?}");
        assert_eq!(accounts.stored("bob"), (&*accounts.hashes[0], Some(0)));
        assert_eq!(Accounts::default().stored("bob"), (NOBODY, None));
        assert_eq!(check_hash(NOBODY), Ok(()));
    }

    /// A vector of the argon2 reference implementation: password "password", salt "somesalt".
    #[test]
    fn a_hash_of_another_program() {
        let line = "a:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify(&Accounts::parse(line).unwrap(), "a", b"password"));
    }

    #[test]
    fn errors_name_the_line() {
        let good = cheap("x", 8);
        let tag = "c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for (line, problem) in [
            ("bob".to_owned(), Problem::NoColon),
            (format!(":{good}"), Problem::Name),
            (format!("a b:{good}"), Problem::Name),
            (format!("a\u{1}:{good}"), Problem::Name),
            (format!("{}:{good}", "n".repeat(limits::ACCOUNT_NAME_MAX + 1)), Problem::Name),
            (format!("first:{good}"), Problem::Duplicate),
            ("bob:secret".to_owned(), Problem::Hash),
            ("bob:".to_owned(), Problem::Hash),
            (format!("bob:{good}$more"), Problem::Hash),
            ("bob:$argon2id$v=19$m=8,t=1,p=1".to_owned(), Problem::Hash),
            ("bob:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(), Problem::Hash),
            (format!("bob:$argon2id$v=19$m=7,t=1,p=1${tag}"), Problem::Hash),
            (format!("bob:$argon2id$v=19$m=8,t=0,p=1${tag}"), Problem::Hash),
            (format!("bob:$argon2i$v=19$m=8,t=1,p=1${tag}"), Problem::Kind),
            (format!("bob:$argon2id$v=16$m=8,t=1,p=1${tag}"), Problem::Kind),
            (format!("bob:$argon2id$m=8,t=1,p=1${tag}"), Problem::Kind),
            (format!("bob:$argon2id$v=19$m=65537,t=1,p=1${tag}"), Problem::Costly),
            (format!("bob:$argon2id$v=19$m=65536,t=5,p=1${tag}"), Problem::Costly),
            (format!("bob:$argon2id$v=19$m=4294967295,t=4294967295,p=1${tag}"), Problem::Costly),
            (format!("bob:$argon2id$v=19$m=136,t=1,p=17${tag}"), Problem::Costly),
        ] {
            let text = format!("first:{good}\n# comment\n{line}\nlast:{good}\n");
            let error = Accounts::parse(&text).unwrap_err();
            assert_eq!(error, AccountsError { line: 3, problem }, "{line}");
            assert!(error.to_string().starts_with("line 3: ") && !error.to_string().contains(tag));
        }
        let most = format!("bob:$argon2id$v=19$m=65536,t=4,p=16${tag}");
        assert_eq!(Accounts::parse(&most).map(|accounts| accounts.len()), Ok(1));
    }

    #[test]
    fn hashing() {
        let line = format!("bob:{}", hash(b"correct horse", &[1; 16]).unwrap());
        assert!(line.starts_with("bob:$argon2id$v=19$m="), "{line}");
        let accounts = Accounts::parse(&line).unwrap();
        assert!(verify(&accounts, "bob", b"correct horse") && !verify(&accounts, "bob", b"correct"));
        assert!(hash(b"x", &[1; 16]).unwrap() != hash(b"x", &[2; 16]).unwrap(), "the salt counts");
        assert_eq!(hash(b"", &[1; 16]), Err(PasswordError::Empty));
        assert_eq!(hash(b"a\0b", &[1; 16]), Err(PasswordError::Nul));
        assert_eq!(hash(&[b'x'; limits::PASSWORD_MAX + 1], &[1; 16]), Err(PasswordError::TooLong));
        assert!(!format!("{accounts:?}").contains("argon2id"));
    }

    #[test]
    fn accounts_as_sections() {
        let (one, other) = (cheap("secret", 8), cheap("another", 8));
        let text = format!(
            "# accounts\n\n[[account]]\nname = \"shop\"\npassword = \"{one}\"\npool = \"bulk\"\ntenant = \"one\"\n\n\
             [[account]]\npassword = \"{other}\"\nname = \"bob@b.example\"\n\
             [[account]]\nname = \"c\"\npassword = '{other}'\npool = \"\"\ntenant = \"\"\n\
             [[account]]\nname = \"d\"\npassword = '{other}'\ntenant = \"one\"\n"
        );
        let accounts = Accounts::parse(&text).expect("sound sections");
        assert_eq!(accounts.len(), 4);
        assert_eq!(accounts.stored("shop"), (&*one, Some(0)));
        assert_eq!(accounts.stored("bob@b.example"), (&*other, Some(1)));
        let own = ["shop", "bob@b.example", "c", "d", "nobody"].map(|name| accounts.own(name));
        let (pool, tenant) = (Some(("bulk".into(), 6)), Some("one".into()));
        let both = AccountDefaults { pool, tenant: tenant.clone(), senders: Vec::new() };
        assert_eq!(
            own,
            [Some(&both), None, None, Some(&AccountDefaults { tenant, ..AccountDefaults::default() }), None]
        );
        assert_eq!(accounts.pools().collect::<Vec<_>>(), [("bulk", 6)]);
        let text = format!("[[account]] # note: the shop's\nname = \"shop\"\npassword = \"{one}\"\n");
        assert_eq!(Accounts::parse(&text).expect("a comment").len(), 1);
        // Lines are read as before, whatever their names begin with.
        let lines = Accounts::parse(&format!("[bob]:{one}\n")).expect("a line");
        assert_eq!((lines.stored("[bob]").1, lines.own("[bob]")), (Some(0), None));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_nothing_of_it_is_repeated() {
        let hash = cheap("secret", 8);
        let password = format!("password = \"{hash}\"");
        for (section, line, problem) in [
            (format!("name = \"a\"\n{password}\npasword = \"QQ\""), 7, Problem::Section(Flaw::Key)),
            (format!("name = \"a\"\n{password}\npool = 3"), 7, Problem::Section(Flaw::NoText)),
            (
                format!("name = \"a\"\n{password}\npool = \"{}\"", "QQ".repeat(500)),
                7,
                Problem::Section(Flaw::Pool),
            ),
            (format!("name = \"a\"\n{password}\npool = \"Q\\u0007Q\""), 7, Problem::Section(Flaw::Pool)),
            (format!("name = \"a\"\n{password}\ntenant = \"Q\\u0007Q\""), 7, Problem::Section(Flaw::Tenant)),
            (format!("{password}\nname = \"a QQ\""), 6, Problem::Name),
            (format!("{password}\nname = \"first\""), 6, Problem::Duplicate),
            (password.clone(), 4, Problem::Section(Flaw::NoName)),
            ("name = \"a\"".to_owned(), 4, Problem::Section(Flaw::NoPassword)),
            ("name = \"a\"\npassword = \"QQ\"".to_owned(), 5, Problem::Hash),
            ("name = \"a\"\npassword = QQ".to_owned(), 6, Problem::Section(Flaw::NoToml)),
            (format!("name = \"a\"\n{password}\n[accounts]\nQQ = 1"), 7, Problem::Section(Flaw::NoAccount)),
        ] {
            let text = format!("[[account]]\nname = \"first\"\n{password}\n[[account]]\n{section}\n");
            let error = Accounts::parse(&text).unwrap_err();
            assert_eq!(error, AccountsError { line, problem }, "{section}");
            assert!(!error.to_string().contains("QQ"), "{error}");
        }
        let error = Accounts::parse("[account]\nname = \"a\"\n").unwrap_err();
        assert_eq!(error, AccountsError { line: 1, problem: Problem::Section(Flaw::NoAccount) });
    }

    /// As many as there may be, each with a pool: a start and a reload do not wait for it.
    #[test]
    fn many_are_read_at_once() {
        let hash = cheap("secret", 8);
        let section = |number: usize| {
            format!("[[account]]\nname = \"a{number}\"\npassword = \"{hash}\"\npool = \"p\"\n")
        };
        let text: String = (0..20_000).map(section).collect();
        let accounts = Accounts::parse(&text).expect("sound sections");
        assert_eq!((accounts.len(), accounts.pools().map(|(_, line)| line).max()), (20_000, Some(80_000)));
    }
}
