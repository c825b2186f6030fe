//! The secret that salts of accounts that there are not are made with, in the data directory: it is made there when an account first has a verifier of SCRAM,
//! and stays as it is, for a salt that changes tells that nobody has the account.

use std::io;
use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::node::files::Filled;
use crate::node::secrets;
use crate::policy::accounts::SaltKey;
use crate::shard::inbound::logins::Logins;
use crate::spool::layout;

/// Gives it to the accounts that were just read, if one of them wants it.
pub(super) fn fill(filled: &mut Filled, config: &Config) -> io::Result<()> {
    // Nobody else has them yet.
    let Some(logins) = filled.contents.accounts.as_mut().and_then(Arc::get_mut) else { return Ok(()) };
    salt(logins, config)
}

fn salt(logins: &mut Logins, config: &Config) -> io::Result<()> {
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
