//! What an operator may change while the relay runs: one value, complete and never changed, only replaced as a whole.
//!
//! Control makes it: whatever can fail fails there, or when a shard prepares it (`shard::swap`). When all shards have, one number of the node
//! says that it is in force, and each shard takes it up. What has begun goes on with what it began with.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::config::{AuthMechanisms, Config, ListenerConfig, WarmupConfig};
use crate::mail::bounce::verp::Verp;
use crate::mail::unsubscribe::Links;
use crate::policy::acceptance::Acceptance;
use crate::policy::accounts::Rights;
use crate::policy::gateway::Gateway;
use crate::policy::returns::Returns;
use crate::policy::signing::Signing;
use crate::policy::tenants::Tenants;
use crate::policy::tls::{self, ClientAuthorities, Renewed, Tickets};
use crate::policy::tokens::Tokens;
use crate::route::egress::Egresses;
use crate::route::gate::Gate;
use crate::route::{Route, Table};
use crate::shaping::ages::Ages;
use crate::shaping::layers::Shaping;
use crate::shard::inbound::logins::Logins;
use crate::shard::inbound::signers::Signers;
use crate::shard::quota::QuotaTable;
use crate::shard::tenant_rates::TenantRates;

/// A configuration with what its files hold, and what is derived from it once for all shards.
pub struct LiveConfig {
    /// Its number: no other of this process has it, and a later one has a larger one.
    pub generation: u64,
    /// The generation with which what says where mail goes was last another.
    pub routing: u64,
    /// Who asked for it; empty: it is that of the start.
    pub by: String,
    /// Sections that say something else than before.
    pub changed: Vec<&'static str>,
    /// What it says: ports resolved, name servers and hosts found. What only a start reads is the start's, but `[[shard]]`.
    pub config: Arc<Config>,
    /// The longest wait before a retry that anything asks for.
    pub longest_wait: Duration,
    /// When mail may be given up for its age, by its domain.
    pub ages: Ages,
    /// `[[tenant]]`
    pub tenants: Tenants,
    /// How fast their mail may go.
    pub tenant_rates: TenantRates,
    /// Quotas of accounts and tenants.
    pub quotas: Arc<QuotaTable>,
    /// Beside each `[[listener]]`.
    pub listeners: Vec<LiveListener>,
    /// `[[route]]`, and what the shaping files say of each site.
    pub table: Table,
    /// `[[source]]`, `[[pool]]`: by which identities mail leaves.
    pub egresses: Egresses,
    /// `[[warmup]]`, by source.
    pub warmups: HashMap<Box<str>, Arc<WarmupConfig>>,
    /// Where connections may go, as far as the configuration says.
    pub gate: Gate,
    /// Accounts that may relay.
    pub accounts: Option<Arc<Logins>>,
    /// TLS to hosts whose certificate must be valid; None: no site asks for that, or this machine trusts no authority.
    pub verifying: Option<tls::Client>,
    /// Who signs mail, with which keys; None: nothing is signed.
    pub signing: Option<Arc<Signing>>,
    /// What comes back to this node; None: nothing does.
    pub returns: Option<Arc<Returns>>,
    /// What writes ways out of lists; None: nobody serves their pages.
    pub links: Option<Arc<Links>>,
    /// Who may ask control over HTTP; None: only this machine.
    pub tokens: Option<Arc<Tokens>>,
    /// The certificate of those pages.
    pub public_tls: Option<Arc<rustls::ServerConfig>>,
    /// Who may send by `[api]`, where that has a file of its own.
    pub api_tokens: Option<Arc<Tokens>>,
    /// The certificate that it shows.
    pub api_tls: Option<Arc<rustls::ServerConfig>>,
    /// What tickets of clients are sealed with.
    pub tickets: Arc<Tickets>,
    /// The certificate that an authority gives and renews, as long as the process lives.
    pub renewed: Arc<Renewed>,
}

/// What there is to a listener beside what the configuration says of it.
#[derive(Clone, Debug)]
pub struct LiveListener {
    /// The certificate and its key.
    pub certificate: Option<Arc<rustls::ServerConfig>>,
    /// Whose certificates log clients in.
    pub clients: Option<Arc<ClientAuthorities>>,
    /// Whether each shard opens it.
    pub opens: Vec<bool>,
    /// Domains that it takes from anybody.
    pub gateway: Option<Arc<Gateway>>,
}

/// What files hold that a configuration names, where that has no type for it: it stands above the configuration, or remembers something.
/// All else is put into the configuration.
#[derive(Default)]
pub struct Contents {
    /// Certificate and key of each listener, in their order; it has none where there is no more.
    pub certificates: Vec<Option<Arc<rustls::ServerConfig>>>,
    /// Whose certificates log clients in at each listener, in the same way.
    pub clients: Vec<Option<Arc<ClientAuthorities>>>,
    /// Accounts that may relay.
    pub accounts: Option<Arc<Logins>>,
    /// What the shaping files say.
    pub shaping: Arc<Shaping>,
    /// TLS to hosts whose certificate must be valid, if a file asks for that.
    pub verifying: Option<tls::Client>,
    /// The keys that sign, if there is one.
    pub signing: Option<Arc<Signing>>,
    /// What signs return paths, if anything does.
    pub verp: Option<Verp>,
    /// What writes ways out of lists, if anything does.
    pub links: Option<Arc<Links>>,
    /// Who may ask control over HTTP, if there is a file that says so.
    pub tokens: Option<Arc<Tokens>>,
    /// Certificate and key of `[public]`.
    pub public_tls: Option<Arc<rustls::ServerConfig>>,
    /// Who may send by `[api]`, where that has a file of its own.
    pub api_tokens: Option<Arc<Tokens>>,
    /// Its certificate and key.
    pub api_tls: Option<Arc<rustls::ServerConfig>>,
    /// What tickets of clients are sealed with, as long as the process lives.
    pub tickets: Arc<Tickets>,
    /// The certificate that an authority gives and renews, in the same way.
    pub renewed: Arc<Renewed>,
}

impl LiveConfig {
    /// That of a configuration whose ports are resolved, with what its files hold, for so many shards.
    pub fn new(config: Arc<Config>, contents: Contents, shards: usize) -> LiveConfig {
        let Contents { certificates, clients, accounts, shaping, verifying, .. } = contents;
        let Contents { signing, verp, links, tokens, public_tls, tickets, renewed, .. } = contents;
        let Contents { api_tokens, api_tls, .. } = contents;
        let returns = Returns::new(&config.feedback, verp);
        let shards = config.particulars(shards);
        let certificates = certificates.into_iter().chain(std::iter::repeat(None));
        let listener = |(place, certificate): (usize, _)| LiveListener {
            certificate,
            clients: clients.get(place).cloned().flatten(),
            opens: shards.iter().map(|shard| shard.listeners[place]).collect(),
            gateway: Gateway::new(&config.listeners[place].gateway.domains).map(Arc::new),
        };
        LiveConfig {
            generation: 0,
            routing: 0,
            by: String::new(),
            changed: Vec::new(),
            longest_wait: config.longest_wait().max(shaping.longest_wait()),
            ages: Ages::of(&shaping),
            tenants: Tenants::new(&config.tenants),
            tenant_rates: TenantRates::new(&config.tenants),
            quotas: Arc::new(QuotaTable::new(
                &config.tenants,
                accounts.as_ref().map(|logins| logins.accounts()),
            )),
            listeners: (0..config.listeners.len()).zip(certificates).map(listener).collect(),
            table: Table::new(&config, shaping),
            egresses: Egresses::new(&config),
            warmups: config
                .warmups
                .iter()
                .map(|plan| (plan.source.clone(), Arc::new(plan.clone())))
                .collect(),
            gate: Gate::new(&config),
            accounts,
            verifying,
            signing,
            returns: (!config.feedback.is_off()).then(|| Arc::new(returns)),
            links,
            tokens,
            public_tls,
            api_tokens,
            api_tls,
            tickets,
            renewed,
            config,
        }
    }

    /// Whether some account is bound in this way.
    pub fn binds(&self, how: impl Fn(&Rights) -> bool) -> bool {
        self.accounts.as_ref().is_some_and(|logins| logins.accounts().rights().any(how))
    }

    /// How accounts log in at a listener.
    pub fn mechanisms(&self, listener: &ListenerConfig) -> AuthMechanisms {
        let accounts = self.accounts.as_ref().map(|logins| logins.accounts());
        accounts.map_or(AuthMechanisms::NONE, |all| listener.auth.unwrap_or_else(|| all.mechanisms()))
    }

    /// Whether both route mail of this domain, in lower case, to the same place. What the gate says of addresses only a look-up tells.
    pub fn same_route_as(&self, other: &LiveConfig, domain: &str) -> bool {
        let (ours, theirs) = (self.table.route(domain), other.table.route(domain));
        let by_mx = matches!(ours, Route::Mx { .. });
        let as_by_mx = || {
            self.config.delivery.mx_port == other.config.delivery.mx_port
                && self.table.is_apart(domain) == other.table.is_apart(domain)
        };
        ours == theirs && (!by_mx || as_by_mx())
    }

    /// Whether both do so with every domain.
    pub fn same_routes_as(&self, other: &LiveConfig) -> bool {
        self.table.same_routes_as(&other.table)
            && self.config.delivery.mx_port == other.config.delivery.mx_port
    }

    /// The same with other accounts, and what follows from these.
    pub fn with_accounts(&self, accounts: Arc<Logins>) -> LiveConfig {
        let config = &self.config;
        LiveConfig {
            generation: self.generation,
            routing: self.routing,
            by: String::new(),
            changed: Vec::new(),
            config: config.clone(),
            longest_wait: self.longest_wait,
            ages: self.ages.clone(),
            tenants: self.tenants.clone(),
            tenant_rates: TenantRates::new(&config.tenants),
            quotas: Arc::new(QuotaTable::new(&config.tenants, Some(accounts.accounts()))),
            listeners: self.listeners.clone(),
            table: self.table.clone(),
            egresses: self.egresses.clone(),
            warmups: self.warmups.clone(),
            gate: self.gate.clone(),
            accounts: Some(accounts),
            verifying: self.verifying.clone(),
            signing: self.signing.clone(),
            returns: self.returns.clone(),
            links: self.links.clone(),
            tokens: self.tokens.clone(),
            public_tls: self.public_tls.clone(),
            api_tokens: self.api_tokens.clone(),
            api_tls: self.api_tls.clone(),
            tickets: self.tickets.clone(),
            renewed: self.renewed.clone(),
        }
    }

    /// The same, of this generation, in place of another: who asked for it, and which sections say something else.
    pub fn after(
        self,
        before: &LiveConfig,
        generation: u64,
        (by, changed): (&str, &[&'static str]),
    ) -> LiveConfig {
        let alike = self.same_routes_as(before) && self.gate.same_rules_as(&before.gate);
        // What domains say of TLS leads their mail to sites of their own.
        let alike = alike && self.egresses == before.egresses && self.config.tls == before.config.tls;
        let routing = if alike { before.routing } else { generation };
        let egresses = self.egresses.after(&before.egresses);
        let tenant_rates = self.tenant_rates.after(&before.tenant_rates);
        let quotas = Arc::new(Arc::unwrap_or_clone(self.quotas).after(&before.quotas));
        let (by, changed) = (by.to_owned(), changed.to_vec());
        LiveConfig { generation, routing, by, changed, egresses, tenant_rates, quotas, ..self }
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LiveConfig({})", self.generation)
    }
}

/// The configuration as one shard has it.
pub struct InForce {
    live: Arc<LiveConfig>,
    /// Who has a say in what is taken. This shard's own: what patterns remember while they are matched is not shared between threads.
    pub acceptance: Acceptance,
    /// What mail is signed with.
    pub signers: Signers,
}

impl InForce {
    /// For one shard.
    pub fn new(live: Arc<LiveConfig>) -> Rc<InForce> {
        let acceptance = Acceptance::new(&live.config);
        Rc::new(InForce { live, acceptance, signers: Signers::default() })
    }
}

impl Deref for InForce {
    type Target = LiveConfig;

    fn deref(&self) -> &LiveConfig {
        &self.live
    }
}

/// What is in force on a shard.
pub struct Swap {
    in_force: RefCell<Rc<InForce>>,
    /// Who waits to take up what comes next.
    waiting: RefCell<Vec<Waker>>,
}

impl Swap {
    /// With the configuration of the start.
    pub fn new(live: Rc<InForce>) -> Swap {
        Swap { in_force: RefCell::new(live), waiting: RefCell::default() }
    }

    /// What is in force. What begins now goes by this to its end.
    pub fn get(&self) -> Rc<InForce> {
        self.in_force.borrow().clone()
    }

    /// The generation of that.
    pub fn generation(&self) -> u64 {
        self.in_force.borrow().generation
    }

    /// This is in force now; what was before.
    pub fn set(&self, live: Rc<InForce>) -> Rc<InForce> {
        self.in_force.replace(live)
    }

    /// Wakes who waits for a generation, if one came into force on the node that was not taken up here.
    pub fn hear(&self, generation: u64) {
        if self.generation() != generation {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Waits to hear of the next.
    pub fn listen(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}
