//! `<smtp-user>`: who logs in.

use super::parse::Node;
use super::reader::Reader;
use crate::import::Account;
use crate::import::words::{self, quoted};
use crate::limits;

pub(super) fn accounts(reader: &mut Reader<'_, '_>, tree: &[Node], sources: &[&Node], has_certificate: bool) {
    let users: Vec<&Node> = tree.iter().filter(|node| node.is("<smtp-user")).collect();
    if users.is_empty() {
        return;
    }
    let mut accounts: Vec<Account> = Vec::new();
    for user in users {
        let name = user.value.clone();
        let password = user.last("password").map(|one| one.value.clone()).unwrap_or_default();
        let sound = !name.is_empty() && name.len() <= 255 && !name.contains(char::is_whitespace);
        if !sound || password.is_empty() || password.len() > limits::PASSWORD_MAX {
            reader.out.ledger.none(
                user.id,
                "an account has a name without blanks and a password: relevo account add NAME",
            );
            user.children
                .iter()
                .for_each(|one| reader.out.ledger.none(one.id, "of an account that was not made"));
            continue;
        }
        if accounts.iter().any(|other| other.name == name) {
            reader.out.ledger.none(user.id, "there is an account of this name already");
            continue;
        }
        let mut account = Account { name, password, keys: Vec::new(), from: vec![user.id] };
        match has_certificate {
            true => reader.out.ledger.translated(user.id),
            false => reader.out.ledger.differs(
                user.id,
                "nobody logs in without TLS: set tls_certificate and tls_key of a [[listener]]",
            ),
        }
        for one in &user.children {
            match one.name.as_str() {
                "password" => reader.out.ledger.differs(one.id, "its hash stands in accounts.toml"),
                "source" => {
                    let source = sources.iter().find(|source| source.value == one.value);
                    let pool = source.and_then(|source| source.last("default-virtual-mta"));
                    if let Some(pool) = pool.and_then(|pool| reader.known(&pool.value)) {
                        account.keys.push(("pool", quoted(&words::name(&pool))));
                    }
                    match source.is_some() {
                        true => reader.out.ledger.usual(one.id, "what its <source> says is in the account and in rules for it"),
                        false => reader.out.ledger.none(one.id, "there is no <source> of this name"),
                    }
                }
                "default-virtual-mta" if reader.known(&one.value).is_some() => {
                    let pool = reader.known(&one.value).unwrap_or_default();
                    account.keys.retain(|(key, _)| *key != "pool");
                    account.keys.push(("pool", quoted(&words::name(&pool))));
                    reader.out.ledger.usual(one.id, "pool of the account");
                }
                "authentication-method" => reader.out.ledger.usual(one.id, "by PLAIN and LOGIN under TLS; SCRAM where every account has a verifier (docs/accounts.md)"),
                _ => reader.out.ledger.none(one.id, "an account has senders, networks, rates, a tenant and a pool (docs/accounts.md)"),
            }
        }
        accounts.push(account);
    }
    reader.out.accounts = Some(accounts);
}
