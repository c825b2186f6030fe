//! What listeners offer to accounts, against what these can do.

use crate::config::{AuthMechanism, Config, ConfigError, ListenerConfig};
use crate::policy::accounts::Accounts;

/// Accounts that cannot log in at a listener by what it says.
pub(super) fn kept_out(config: &Config, accounts: &Accounts) -> Vec<ConfigError> {
    let by_themselves = accounts.mechanisms();
    let asks = |one: &ListenerConfig| one.auth.is_some() || one.tls.is_some() || one.acme || one.proxy.tls;
    let all = config.listeners.iter().enumerate().filter(|(_, one)| asks(one));
    let told = all.filter_map(|(at, one)| {
        let auth = one.auth.unwrap_or(by_themselves);
        // A client takes the strongest that it knows.
        let proves = auth.iter().any(|one| !one.tells_password());
        let (by, fix) = match proves {
            true => (
                AuthMechanism::ScramSha256,
                "give them scram = \"…\", of `relevo hash-password --scram`, or leave SCRAM out of auth",
            ),
            false if one.auth.is_none() => (
                AuthMechanism::Plain,
                "give them password = \"…\", of `relevo hash-password`, or all others scram = \"…\", too: SCRAM is offered where every account has it",
            ),
            false => (
                AuthMechanism::Plain,
                "give them password = \"…\", of `relevo hash-password`, or add SCRAM-SHA-256 to auth",
            ),
        };
        let out = accounts.kept_out_by(by);
        let problem = format!("{out} of {} accounts cannot log in by {}", accounts.len(), by.name());
        let key = format!("listener[{at}].auth");
        (out > 0 && !auth.is_empty()).then(|| config.places.remark(&key, problem, fix))
    });
    told.collect()
}
