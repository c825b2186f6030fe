//! The account file: `name:hash` lines, hashes in PHC form (`$argon2id$…`), comments after `#`.

use std::collections::HashMap;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

/// Memory one hash may ask for, KiB: a line in the file must not be able to stall the machine.
const MEMORY_MAX_KIB: u32 = 1024 * 1024;
/// Passes over it.
const PASSES_MAX: u32 = 64;

/// The accounts that may relay.
#[derive(Clone, Debug)]
pub struct Accounts {
    hashes: HashMap<String, String>,
    /// Checked for names that do not exist, so that they take as long as others.
    decoy: String,
}

/// What is wrong with an account file. The operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl std::fmt::Display for AccountsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

impl Accounts {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Accounts, AccountsError> {
        let mut hashes = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |problem: &str| AccountsError { line: number + 1, problem: problem.to_owned() };
            let (name, hash) = line.split_once(':').ok_or_else(|| fail("write it as name:hash"))?;
            if name.is_empty() {
                return Err(fail("the name before the colon is missing"));
            }
            check(hash).map_err(|problem| fail(&problem))?;
            if hashes.insert(name.to_owned(), hash.to_owned()).is_some() {
                return Err(fail("this name is in the file twice; remove one of the lines"));
            }
        }
        let decoy = hashes.values().next().cloned().unwrap_or_default();
        Ok(Accounts { hashes, decoy })
    }

    /// Whether `password` is the account's. Takes tens of milliseconds, also for a name that does not exist.
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        let known = self.hashes.get(name);
        let hash = known.unwrap_or(&self.decoy);
        let matches = PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
        matches && known.is_some()
    }
}

fn check(hash: &str) -> Result<(), String> {
    let hint = "make one with: relevo hash-password";
    let parsed = PasswordHash::new(hash).map_err(|error| format!("not a password hash ({error}); {hint}"))?;
    if !parsed.algorithm.as_str().starts_with("argon2") {
        return Err(format!("the hash is {}, only argon2 is known; {hint}", parsed.algorithm));
    }
    let params = Params::try_from(&parsed).map_err(|error| format!("bad parameters ({error}); {hint}"))?;
    if params.m_cost() > MEMORY_MAX_KIB || params.t_cost() > PASSES_MAX {
        return Err(format!(
            "the hash asks for {} KiB and {} passes, more than is sane; {hint}",
            params.m_cost(),
            params.t_cost()
        ));
    }
    Ok(())
}

/// The hash of a password for the account file. `salt` is random.
pub fn hash(password: &[u8], salt: &[u8; 16]) -> Result<String, String> {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    argon
        .hash_password_with_salt(password, salt)
        .map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_broken_files() {
        let hash = hash(b"secret", b"0123456789abcdef").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let accounts = Accounts::parse(&format!("# ours\n\nnews:{hash}\n")).unwrap();
        assert!(accounts.verify("news", b"secret"));
        assert!(!accounts.verify("news", b"Secret"));
        assert!(!accounts.verify("nobody", b"secret"));
        for (text, line) in [
            ("news", 1),
            ("\n:x", 2),
            ("a:plain", 1),
            (&*format!("a:{hash}\na:{hash}"), 2),
            (
                "a:$argon2id$v=19$m=99999999,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
                1,
            ),
        ] {
            assert_eq!(Accounts::parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
