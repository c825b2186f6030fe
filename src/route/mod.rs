//! Where mail goes: the route table, the order of MX hosts, and the home shard of a domain.

mod draw;
pub mod egress;
pub mod gate;
pub mod hop;
pub mod silence;
mod shared;
pub mod site;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Config, Credentials, DomainPattern, Retry, RouteConfig, RouteTarget, TlsLevel};
use crate::limits;
use crate::mail::address;
use crate::shaping::layers::{Effective, Shaping, ShapingQuery};
use crate::shaping::provider::Match;
use draw::mix;
use gate::NamedBy;
pub use hop::{Endpoint, Hop, Host, HostAddress, Protocol};
pub use site::SitePolicy;

/// Where a domain's mail goes, as far as its name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To its MX hosts.
    Mx {
        /// Where none of them can be reached, there.
        behind: Option<Hop>,
        /// With this TLS, if the route says so.
        tls: Option<TlsLevel>,
    },
    /// Where the operator says.
    Fixed(Hop),
}

impl Route {
    fn of(route: &RouteConfig) -> Route {
        let (choices, tls) = (&route.to, route.tls());
        let (mx, others): (Vec<_>, Vec<_>) =
            choices.iter().partition(|choice| choice.target == RouteTarget::Mx);
        match (mx.is_empty(), Hop::of(&others)) {
            (true, Some(mut hop)) => {
                hop.ask_for_tls(tls);
                hop.log_in_as(route.credentials.as_deref());
                Route::Fixed(hop)
            }
            (_, behind) => Route::Mx { behind, tls },
        }
    }
}

/// What is said of domains: the exact one, else the longest suffix, else `*`.
#[derive(Clone, Debug, PartialEq)]
struct ByDomain<T> {
    exact: HashMap<String, T>,
    suffixes: HashMap<String, T>,
    any: T,
}

impl<T> ByDomain<T> {
    fn new<'a>(any: T, all: impl Iterator<Item = (&'a DomainPattern, T)>) -> ByDomain<T> {
        let mut known = ByDomain { exact: HashMap::new(), suffixes: HashMap::new(), any };
        for (domain, said) in all {
            match domain {
                DomainPattern::Exact(domain) => drop(known.exact.insert(domain.to_ascii_lowercase(), said)),
                DomainPattern::Suffix(suffix) => {
                    drop(known.suffixes.insert(suffix.to_ascii_lowercase(), said));
                }
                DomainPattern::Any => known.any = said,
            }
        }
        known
    }

    fn get(&self, domain: &str) -> &T {
        if let Some(said) = self.exact.get(domain) {
            return said;
        }
        let mut rest = domain;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(said) = self.suffixes.get(parent) {
                return said;
            }
            rest = parent;
        }
        &self.any
    }
}

/// Routes by domain, and policies by site.
#[derive(Clone, Debug)]
pub struct Table {
    routes: ByDomain<Route>,
    /// When mail is tried again, where a route says; None: none does.
    retries: Option<ByDomain<Option<Arc<Retry>>>>,
    policy: Arc<SitePolicy>,
    /// The same with the TLS of routes, one for each level.
    policies: [Arc<SitePolicy>; TlsLevel::ALL.len()],
    /// The same with credentials, by their names.
    logged_in: HashMap<Box<str>, Arc<SitePolicy>>,
    shaping: Arc<Shaping>,
}

impl Table {
    /// The table of a configuration, and of the shaping files that it names.
    pub fn new(config: &Config, shaping: Arc<Shaping>) -> Table {
        let ours: Vec<DomainPattern> =
            config.feedback.places().map(|place| DomainPattern::Exact(place.to_owned())).collect();
        let routes = config.routes.iter().map(|route| (&route.domain, Route::of(route)));
        // The last word about a domain: what comes back is read here.
        let routes = routes.chain(ours.iter().map(|place| (place, Route::Fixed(Hop::feedback()))));
        let retries = config.routes.iter().map(|route| (&route.domain, route.retry.clone()));
        let own = config.routes.iter().any(|route| route.retry.is_some());
        let policy = SitePolicy::of(config);
        let with = |tls| Arc::new(SitePolicy { tls, ..(*policy).clone() });
        // A password is told to no host that has not proven who it is.
        let logged_in = |credentials: &Credentials| {
            let own = with(TlsLevel::Verified);
            let policy = SitePolicy { credentials: Some(Arc::new(credentials.clone())), ..(*own).clone() };
            (credentials.name.clone(), Arc::new(policy))
        };
        Table {
            routes: ByDomain::new(Route::Mx { behind: None, tls: None }, routes),
            retries: own.then(|| ByDomain::new(None, retries)),
            policies: TlsLevel::ALL.map(with),
            logged_in: config.credentials.iter().map(logged_in).collect(),
            policy,
            shaping,
        }
    }

    /// The route of a domain in lower case: the exact one, else the longest suffix, else `*`, else its MX.
    pub fn route(&self, domain: &str) -> &Route {
        self.routes.get(domain)
    }

    /// Whether any route says when mail is tried again.
    pub fn has_retries(&self) -> bool {
        self.retries.is_some()
    }

    /// When the route of a domain in lower case wants its mail tried again, if it says so.
    pub fn retry(&self, domain: &str) -> Option<&Retry> {
        self.retries.as_ref()?.get(domain).as_deref()
    }

    /// Whether both route every domain to the same place.
    pub fn same_routes_as(&self, other: &Table) -> bool {
        let Table { routes, retries: _, policy: _, policies: _, logged_in: _, shaping } = self;
        *routes == other.routes && shaping.same_domains_apart_as(&other.shaping)
    }

    /// Whether a domain that its MX leads has a site of its own, whoever else goes to its hosts.
    pub fn is_apart(&self, domain: &str) -> bool {
        self.shaping.is_apart(domain)
    }

    /// Whether what the shaping files say of this domain holds for the site that it leads to.
    pub fn is_rolled_up(&self, domain: &str) -> bool {
        self.shaping.is_rolled_up(domain)
    }

    /// What the shaping files say.
    pub fn shaping(&self) -> &Arc<Shaping> {
        &self.shaping
    }

    /// What a provider of the shaping files is known by.
    pub fn provider(&self, name: &str) -> Option<Vec<Match>> {
        let known = self.shaping.providers.iter().find(|known| *known.name == *name)?;
        Some(known.matches.clone())
    }

    /// What the shaping files say of the site of a next hop, and which lines do. `beside`: as below.
    pub fn shaped(&self, hop: &Hop, beside: &[Box<str>]) -> Effective<'_> {
        let (domain, hosts) = hop.names();
        let beside: Vec<&str> = beside.iter().map(|name| &**name).collect();
        let asked = ShapingQuery { domain: &domain, hosts: &hosts, source: hop.source(), beside: &beside };
        self.shaping.effective(asked)
    }

    /// What holds for the site of a next hop. `beside`: domains that lead there, of those that are rolled up.
    pub fn policy_for(&self, hop: &Hop, beside: &[Box<str>]) -> Arc<SitePolicy> {
        let own = hop.credentials.as_ref().and_then(|name| self.logged_in.get(name));
        let of_tls = || hop.tls.map_or(&self.policy, |level| &self.policies[level as usize]);
        let of_all = own.unwrap_or_else(of_tls);
        of_all.shaped(&self.shaped(hop, beside), hop.tls)
    }

    /// Whether both give every site the same limits.
    pub fn same_policies_as(&self, other: &Table) -> bool {
        let Table { policy, shaping, logged_in, policies: _, routes: _, retries: _ } = self;
        *policy == other.policy && *logged_in == other.logged_in && Arc::ptr_eq(shaping, &other.shaping)
    }
}

/// The next hop of an address literal.
pub fn to_literal(domain: &str, address: IpAddr, port: u16) -> Hop {
    let name = address.to_string();
    let site = format!("[{name}]:{port}");
    let host = Host { at: HostAddress::Address(address), ..stranger(name, port, 0) };
    to_strangers(site, vec![host], domain)
}

/// A host that the DNS names.
fn stranger(name: String, port: u16, rank: u16) -> Host {
    let rank = u32::from(rank);
    Host { name, at: HostAddress::Name, port, named_by: NamedBy::Stranger, rank, weight: 0, tls_first: false }
}

fn to_strangers(site: String, hosts: Vec<Host>, domain: &str) -> Hop {
    Hop {
        site,
        hosts,
        label: domain.into(),
        protocol: Protocol::Smtp,
        tls: None,
        by_policy: false,
        by_records: false,
        requires_tls: false,
        apart: false,
        hands_over: false,
        credentials: None,
        by: None,
    }
}

/// The address in a domain literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
pub fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse().ok().map(IpAddr::V6),
        _ => inner.parse().ok().map(IpAddr::V4),
    }
}

/// Why a domain has no next hop, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The domain says it takes no mail (RFC 7505).
    NullMx,
    /// The best MX is this relay itself (RFC 5321 5.1).
    Loop,
    /// What stands in its MX records are addresses and no names of hosts (RFC 1035 3.3.9, RFC 5321 5.1).
    NoNames,
}

/// Puts MX hosts in the order to try (RFC 5321 5.1): by preference, equals shuffled by `random`. If this relay is one of them, only
/// hosts of better preference are left. Addresses in the place of names are no hosts. Empty `answers` stand for an implicit MX, the
/// domain itself.
pub fn order_mx(
    domain: &str,
    answers: &[(u16, String)],
    own_name: &str,
    (port, random): (u16, u64),
) -> Result<Hop, NoRoute> {
    let implicit = [(0, domain.to_owned())];
    let answers = if answers.is_empty() { &implicit[..] } else { answers };
    if answers.iter().all(|(_, host)| host.is_empty() || host == ".") {
        return Err(NoRoute::NullMx);
    }
    let ours =
        answers.iter().filter(|(_, host)| host.eq_ignore_ascii_case(own_name)).map(|(rank, _)| *rank).min();
    let mut usable: Vec<(u16, u64, &str)> = Vec::new();
    for (place, (rank, host)) in answers.iter().enumerate() {
        let named = !host.is_empty() && host != "." && !address::is_numeric(host);
        if named && ours.is_none_or(|ours| *rank < ours) {
            usable.push((*rank, mix(random ^ place as u64), host));
        }
    }
    if usable.is_empty() {
        return Err(if ours.is_some() { NoRoute::Loop } else { NoRoute::NoNames });
    }
    usable.sort_unstable();
    usable.truncate(limits::MX_HOSTS_KEPT);
    let hosts: Vec<Host> =
        usable.iter().map(|(rank, _, name)| stranger(name.to_ascii_lowercase(), port, *rank)).collect();
    let mut ranks: Vec<u16> = usable.iter().map(|(rank, ..)| *rank).collect();
    ranks.dedup();
    let mut names: Vec<(usize, String)> = usable
        .iter()
        .map(|(rank, _, host)| (ranks.partition_point(|one| one < rank) + 1, host.to_ascii_lowercase()))
        .collect();
    names.sort_unstable();
    names.dedup();
    // Their order belongs to the name, and not the numbers that each domain writes it with: customers of a provider have these from everywhere.
    let names: Vec<String> = names.into_iter().map(|(place, host)| format!("{place} {host}")).collect();
    let site = format!("mx:{}:{port}", names.join(","));
    Ok(to_strangers(site, hosts, domain))
}

/// The shard that owns a domain's queue. Letter case does not matter. Stable between versions: mail of a domain stays together.
pub fn home_shard(domain: &[u8], shards: usize) -> usize {
    let hash = domain.iter().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01B3)
    });
    // The high half of a product spreads over any count without the bias and cost of a division.
    ((u128::from(mix(hash)) * shards.max(1) as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Choice;

    #[test]
    fn the_most_specific_route_wins() {
        let route = |domain, port| RouteConfig {
            domain,
            to: Choice::only(RouteTarget::smtp("h", port)),
            tls: None,
            credentials: None,
            retry: None,
        };
        let mut config = Config::embedded();
        config.routes = vec![
            route(DomainPattern::Any, 1),
            route(DomainPattern::Suffix("example".into()), 2),
            route(DomainPattern::Suffix("a.example".into()), 3),
            route(DomainPattern::Exact("b.a.example".into()), 4),
        ];
        let table = Table::new(&config, Arc::default());
        for (domain, port) in [
            ("b.a.example", 4),
            ("c.a.example", 3),
            ("a.example", 2),
            ("x.y.example", 2),
            ("example", 1),
            ("net", 1),
        ] {
            let Route::Fixed(hop) = table.route(domain) else { panic!("{domain} has a route") };
            assert_eq!(hop.hosts[0].port, port, "{domain}");
        }
        assert!(matches!(
            Table::new(&Config::embedded(), Arc::default()).route("x.example"),
            Route::Mx { behind: None, tls: None }
        ));
    }

    /// Whatever the preference of an MX host, hosts of the route come behind it; they are another site than the MX hosts alone.
    #[test]
    fn hosts_behind_an_mx() {
        let choice = |target, order| Choice { target, weight: 1, order };
        let mut config = Config::embedded();
        let to = vec![choice(RouteTarget::smtp("spare", 25), 1), choice(RouteTarget::Mx, 0)];
        config.routes =
            vec![RouteConfig { domain: DomainPattern::Any, to, tls: None, credentials: None, retry: None }];
        let table = Table::new(&config, Arc::default());
        let Route::Mx { behind: Some(spare), .. } = table.route("d.example") else {
            panic!("an MX and what is behind it")
        };
        let answers = [(u16::MAX, "b".to_owned()), (10, "a".to_owned())];
        let mut hop = order_mx("d.example", &answers, "r", (25, 0)).unwrap();
        let alone = hop.site.clone();
        hop.put_behind(spare);
        let names: Vec<_> = hop.in_order(|| 7).iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "spare"]);
        assert!(hop.site.starts_with(&alone) && hop.site.ends_with("smtp://spare:25"), "{}", hop.site);
    }

    /// Whatever the shaping files say, and `delivery.starttls`.
    #[test]
    fn the_tls_of_a_route_is_that_of_its_sites() {
        let shaped = |files: &str, tls: Option<TlsLevel>, domain: &str| {
            let (file, findings) = crate::shaping::file::File::read(files, std::path::Path::new("a.toml"));
            assert!(findings.errors.is_empty(), "{findings:?}");
            let mut config = Config::embedded();
            config.delivery.starttls = false;
            let to = Choice::only(RouteTarget::smtp("h", 25));
            config.routes = vec![RouteConfig {
                domain: DomainPattern::Exact("a.example".into()),
                to,
                tls,
                credentials: None,
                retry: None,
            }];
            let table = Table::new(&config, Arc::new(Shaping::of(vec![file]).0));
            let hop = match table.route(domain) {
                Route::Fixed(hop) => hop.clone(),
                Route::Mx { .. } => order_mx(domain, &[], "r", (25, 0)).unwrap(),
            };
            let policy = table.policy_for(&hop, &[]);
            // One value for all of which no file says anything.
            assert_eq!(files.is_empty(), Arc::ptr_eq(&policy, &table.policy_for(&hop, &[])));
            policy.tls
        };
        for files in ["", "[default]\nenable_tls = 'Required'\nconnection_limit = 3\n"] {
            for level in TlsLevel::ALL {
                assert_eq!(shaped(files, Some(level), "a.example"), level, "{files}");
            }
            let of_files = if files.is_empty() { TlsLevel::Off } else { TlsLevel::Verified };
            assert_eq!(shaped(files, None, "a.example"), of_files);
            assert_eq!(shaped(files, Some(TlsLevel::Required), "b.example"), of_files, "no route of its own");
        }
        let route = |tls| {
            let mut config = Config::embedded();
            let to = Choice::only(RouteTarget::Mx);
            config.routes =
                vec![RouteConfig { domain: DomainPattern::Any, to, tls, credentials: None, retry: None }];
            Table::new(&config, Arc::default())
        };
        assert!(route(None).same_routes_as(&route(None)));
        assert!(!route(None).same_routes_as(&route(Some(TlsLevel::Verified))), "what waits goes by it");
    }

    fn order(answers: &[(u16, &str)], random: u64) -> Result<Vec<String>, NoRoute> {
        let answers: Vec<_> = answers.iter().map(|(rank, host)| (*rank, (*host).to_owned())).collect();
        let hop = order_mx("d.example", &answers, "relay.example", (25, random))?;
        // A connection takes them as they stand.
        let names: Vec<String> = hop.in_order(|| 7).iter().map(|host| host.name.clone()).collect();
        assert!(hop.hosts.iter().map(|host| &host.name).eq(&names));
        Ok(names)
    }

    #[test]
    fn mx_order() {
        assert_eq!(order(&[], 0).unwrap(), ["d.example"]);
        assert_eq!(order(&[(20, "b"), (10, "a")], 0).unwrap(), ["a", "b"]);
        assert_eq!(order(&[(0, ".")], 0), Err(NoRoute::NullMx));
        assert_eq!(order(&[(5, "a"), (10, "RELAY.example"), (10, "b"), (20, "c")], 0).unwrap(), ["a"]);
        assert_eq!(order(&[(10, "relay.example"), (20, "c")], 0), Err(NoRoute::Loop));
        // An address where a name should be is no host, whatever it looks like.
        for address in ["127.0.0.1", "127.0.0.1.", "::1", "192.0.2.1", "0x7f000001", "127.1"] {
            assert_eq!(order(&[(10, address)], 0), Err(NoRoute::NoNames), "{address}");
            assert_eq!(order(&[(10, address), (20, "b")], 0).unwrap(), ["b"], "{address}");
        }
        let firsts: std::collections::HashSet<_> = (0..50)
            .map(|random| order(&[(1, "a"), (1, "b"), (1, "c")], random).unwrap()[0].clone())
            .collect();
        assert_eq!(firsts.len(), 3, "equals share the load");
        let both = [(1, "a".into()), (1, "b".into())];
        let site = |random| order_mx("d", &both, "r", (25, random)).unwrap().site;
        assert!((0..20).all(|random| site(random) == site(0)), "one site however they are shuffled");
    }

    #[test]
    fn a_site_is_hosts_and_their_order_and_no_numbers() {
        let site = |answers: &[(u16, &str)]| {
            let answers: Vec<_> = answers.iter().map(|(rank, host)| (*rank, (*host).to_owned())).collect();
            order_mx("d", &answers, "r.example", (25, 7)).unwrap().site
        };
        assert_eq!(site(&[(10, "a"), (20, "b"), (20, "C")]), "mx:1 a,2 b,2 c:25");
        assert_eq!(site(&[(5, "c"), (1, "a"), (5, "b")]), "mx:1 a,2 b,2 c:25");
        assert_eq!(site(&[(10, "a"), (20, "r.example")]), "mx:1 a:25", "behind us there is nobody");
        assert_eq!(site(&[(1, "b"), (2, "a"), (3, "c")]), "mx:1 b,2 a,3 c:25");
        assert_eq!(site(&[]), "mx:1 d:25");
    }

    #[test]
    fn literals() {
        assert_eq!(literal("[192.0.2.1]"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(literal("[ipv6:2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(literal("192.0.2.1"), None);
    }

    #[test]
    fn homes_are_stable_and_even() {
        assert_eq!(home_shard(b"Example.COM", 16), home_shard(b"example.com", 16));
        assert_eq!(home_shard(b"example.com", 1), 0);
        for shards in [2, 3, 16] {
            let mut counts = vec![0; shards];
            for number in 0..20_000 {
                counts[home_shard(format!("domain{number}.example").as_bytes(), shards)] += 1;
            }
            let even = 20_000 / shards;
            assert!(
                counts.iter().all(|count| *count > even * 8 / 10 && *count < even * 12 / 10),
                "{counts:?}"
            );
        }
    }
}
