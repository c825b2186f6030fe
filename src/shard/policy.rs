//! What an operator may change while the relay runs: one value, complete and never changed, only replaced as a whole.
//!
//! Control makes it, so that whatever can fail fails there. A shard has it with what is its own ([`InForce`]).

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::{Config, Delivery, DnsConfig, ListenerConfig, Retry};
use crate::policy::rules::Rules;
use crate::route::Table;
use crate::route::gate::Gate;
use crate::shard::inbound::logins::Logins;

/// All that is not read at the start alone.
pub struct Policy {
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[retry]`
    pub retry: Retry,
    /// `[dns]`, with the name servers and hosts that were found.
    pub dns: DnsConfig,
    /// `[[listener]]`, ports resolved.
    pub listeners: Vec<ListenerPolicy>,
    /// `[[rule]]`
    pub rules: Rules,
    /// `[[route]]`
    pub table: Table,
    /// Where connections may go, as far as the configuration says.
    pub gate: Gate,
    /// Accounts that may relay.
    pub accounts: Option<Arc<Logins>>,
}

/// A listener, with what its files hold.
#[derive(Debug)]
pub struct ListenerPolicy {
    /// What the configuration says.
    pub config: ListenerConfig,
    /// The certificate and its key.
    pub certificate: Option<Arc<rustls::ServerConfig>>,
    /// Whether each shard opens it.
    pub opens: Vec<bool>,
}

impl Policy {
    /// That of a configuration whose ports are resolved, with what its files hold: a certificate for each listener that has one, and the
    /// accounts; for so many shards.
    pub fn new(
        config: &Config,
        certificates: Vec<Option<Arc<rustls::ServerConfig>>>,
        accounts: Option<Arc<Logins>>,
        shards: usize,
    ) -> Policy {
        let shards = config.particulars(shards);
        let listeners = config.listeners.iter().zip(certificates).enumerate();
        let listener = |(place, (config, certificate)): (usize, (&ListenerConfig, _))| ListenerPolicy {
            config: config.clone(),
            certificate,
            opens: shards.iter().map(|shard| shard.listeners[place]).collect(),
        };
        Policy {
            delivery: config.delivery.clone(),
            retry: config.retry.clone(),
            dns: config.dns.clone(),
            listeners: listeners.map(listener).collect(),
            rules: Rules::new(&config.rules),
            table: Table::new(config),
            gate: Gate::new(config),
            accounts,
        }
    }
}

/// The policy as one shard has it.
pub struct InForce {
    policy: Arc<Policy>,
    /// The rules, this shard's own: what patterns remember while they are matched is not shared between threads.
    pub rules: Rc<Rules>,
}

impl InForce {
    /// For one shard.
    pub fn new(policy: Arc<Policy>) -> Rc<InForce> {
        let rules = Rc::new(policy.rules.clone());
        Rc::new(InForce { policy, rules })
    }
}

impl Deref for InForce {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.policy
    }
}

/// What is in force on a shard.
pub struct Swap(RefCell<Rc<InForce>>);

impl Swap {
    /// With the policy of the start.
    pub fn new(policy: Rc<InForce>) -> Swap {
        Swap(RefCell::new(policy))
    }

    /// What is in force. What begins now goes by this to its end.
    pub fn get(&self) -> Rc<InForce> {
        self.0.borrow().clone()
    }
}
