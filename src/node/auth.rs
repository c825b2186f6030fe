//! What accounts have in the data directory. The secret that salts of accounts that there are not are made with: it is made there when an account first has a
//! verifier of SCRAM, and stays as it is, for a salt that changes tells that nobody has the account. And who has logged in.

use std::io;
use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::control::logins::LoginsInForce;
use crate::control::say;
use crate::limits;
use crate::node::files::Filled;
use crate::node::secrets;
use crate::node::sts::{InForce, Settings};
use crate::observe::diagnostics::Level;
use crate::policy::accounts::SaltKey;
use crate::policy::guesses::kept::KnownPairs;
use crate::runtime::{files, process};
use crate::shard::inbound::logins::Logins;
use crate::spool::layout;

/// Gives it to the accounts that were just read, if one of them wants it.
pub(super) fn fill(filled: &mut Filled, config: &Config) -> io::Result<()> {
    // Nobody else has them yet.
    let Some(logins) = filled.contents.accounts.as_mut().and_then(Arc::get_mut) else { return Ok(()) };
    salt(logins, config)
}

fn salt(logins: &mut Logins, config: &Config) -> io::Result<()> {
    if !logins.is_kept() {
        remember(logins, config);
    }
    if logins.accounts().have_verifiers() {
        let secrets = secrets::load(&config.node.data_dir.join(layout::SALTS_SECRET), None)?;
        logins.salt_by(SaltKey::new(&secrets.current.1));
    }
    Ok(())
}

/// The same, of accounts that are read by themselves.
pub(super) fn salted(mut logins: Logins, config: &Config) -> Result<Logins, Box<ConfigError>> {
    salt(&mut logins, config).map_err(|error| Box::new(told(config, &error)))?;
    Ok(logins)
}

/// The same. What is wrong with it, as an error of the configuration.
pub(super) fn put_into(filled: &mut Filled, config: &Config) -> Option<ConfigError> {
    fill(filled, config).err().map(|error| told(config, &error))
}

fn told(config: &Config, error: &io::Error) -> ConfigError {
    let path = config.node.data_dir.join(layout::SALTS_SECRET);
    config.places.remark("auth.accounts", format!("{}: {error}", path.display()), "mend the file")
}

/// Who had logged in before this process began. Nothing fails for that: who is not known is a stranger until he logs in again.
fn remember(logins: &mut Logins, config: &Config) {
    let path = config.node.data_dir.join(layout::LOGINS);
    let known = match files::read_whole(&path, limits::LOGINS_FILE_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => {
            let known = read.and_then(|file| {
                KnownPairs::read(&file).ok_or_else(|| io::Error::other("it is damaged, and made anew"))
            });
            let words = "clients that have logged in before are strangers until they do again";
            let tell =
                |error: &io::Error| say(Level::Warning, format_args!("{}: {error}; {words}", path.display()));
            known.inspect_err(tell).ok()
        }
    };
    logins.remember(&known.unwrap_or_else(|| KnownPairs::none(process::random_bytes())));
}

impl<T: InForce> LoginsInForce for Settings<T> {
    fn logins(&self) -> Option<Arc<Logins>> {
        self.0.in_force().accounts.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::policy::accounts::Accounts;

    use super::*;

    #[test]
    fn who_has_logged_in_is_known_after_a_restart_unless_the_file_is_damaged() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = format!(
            "[node]\nhostname = \"relay.example\"\ndata_dir = \"{}\"\n[[listener]]\naddress = \"127.0.0.1:25\"\n",
            directory.path().display()
        );
        let (config, path) = (
            Config::parse(&text, Path::new("relevo.toml")).expect("sound"),
            directory.path().join(layout::LOGINS),
        );
        let started = || {
            let accounts = Accounts::parse("").expect("sound");
            let mut logins = Logins::new(accounts, &[[1; 32], process::random_bytes()]);
            salt(&mut logins, &config).expect("no secret is wanted");
            logins
        };
        let first = started();
        assert!(first.is_kept() && first.newly_known().is_none(), "nobody has logged in");
        let mut known = KnownPairs::none([7; 32]);
        std::fs::write(&path, known.write()).expect("room");
        assert_eq!(started().newly_known(), None, "nothing is new");
        // A byte of it, half of it, none of it, more of it.
        known = KnownPairs::none([8; 32]);
        let whole = known.write();
        let mut other = whole.clone();
        other[20] ^= 1;
        for damaged in [
            &other[..],
            &whole[..whole.len() / 2],
            &[],
            &[0; 100][..],
            &[whole.clone(), whole.clone()].concat(),
        ] {
            std::fs::write(&path, damaged).expect("room");
            assert!(started().is_kept(), "it is kept anew");
        }
    }
}
