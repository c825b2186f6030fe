//! A next hop: where the mail of some domains goes, and what is spoken there.
//!
//! What a route or the MX of a domain gives. By what limits and manners is for its site to know (`route::site`).

use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Choice, RouteTarget, Scheme, TlsLevel};
use crate::names::ends::End;
use crate::route::draw::wait;
use crate::route::egress;
use crate::route::gate::{AdmittedAddress, NamedBy};
use crate::shaping::provider::canonical;

/// What is spoken with a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP (RFC 5321).
    Smtp,
    /// LMTP (RFC 2033): each recipient has its own reply behind the dot.
    Lmtp,
    /// Nothing, as there is none: the mail ends here.
    Local(End),
    /// The same: it is a bounce or a complaint, and is read here.
    Feedback,
}

impl Protocol {
    /// Whether no host is there.
    pub fn is_here(&self) -> bool {
        matches!(self, Protocol::Local(_) | Protocol::Feedback)
    }
}

/// How a host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// By the addresses that its name has.
    Name,
    /// At this address.
    Address(IpAddr),
    /// Over a Unix socket.
    Socket(Arc<Path>),
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Over the network.
    Network(AdmittedAddress),
    /// To a Unix socket.
    Socket(Arc<Path>),
}

impl Endpoint {
    /// The address, where there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Endpoint::Network(address) => Some(address.address().ip()),
            Endpoint::Socket(_) => None,
        }
    }

    /// What the operator may do about a socket that cannot be connected to.
    pub fn remedy(&self, error: ErrorKind) -> &'static str {
        match (self, error) {
            (Endpoint::Network(_), _) => "",
            (_, ErrorKind::NotFound | ErrorKind::ConnectionRefused) => "; is the mail store running?",
            (_, ErrorKind::PermissionDenied) => "; let the user of this relay write to it",
            _ => "",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Network(address) => write!(formatter, "{}", address.address()),
            Endpoint::Socket(path) => write!(formatter, "lmtp:{}", path.display()),
        }
    }
}

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, or its address or the path of its socket as text.
    pub name: String,
    /// How it is reached.
    pub at: HostAddress,
    /// TCP port; 0 for a socket.
    pub port: u16,
    /// Who named it.
    pub named_by: NamedBy,
    /// Preference of its MX record, or order in its route; 0 where there is none. What stands behind all MX hosts is above their 16 bits.
    pub rank: u32,
    /// Its share of the connections to all of its rank; 0: they come in the order they stand in.
    pub weight: u16,
    /// TLS from the first byte, or no mail goes there.
    pub tls_first: bool,
}

/// Where the mail of a domain goes.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Canonical name: domains that go to the same hosts, in the same way, have the same. Only ever compared.
    pub site: String,
    /// Hosts, the lowest rank first.
    pub hosts: Vec<Host>,
    /// What people call it: the domain whose mail goes there, or the route.
    pub label: Box<str>,
    /// What is spoken with all of them.
    pub protocol: Protocol,
    /// How TLS is used with all of them, if a route says so: then nothing else does.
    pub tls: Option<TlsLevel>,
    /// It is a policy of the domain that says so (RFC 8461), of the hosts that the DNS names.
    pub by_policy: bool,
    /// The DNS names certificates of some of its hosts (RFC 7672): each goes by its own records.
    pub by_records: bool,
    /// Its mail goes to nobody but who has proven who he is and says that he asks the same of the next (RFC 8689).
    pub requires_tls: bool,
    /// It is the domain's alone, whoever else goes to its hosts.
    pub apart: bool,
    /// It is another node of the operator, into which this one is emptied: what that can take over of its mail goes along.
    pub hands_over: bool,
    /// Who we are at all of them: one of `[credentials]`.
    pub credentials: Option<Box<str>>,
    /// Who connects to them; None: the node by its own addresses.
    pub by: Option<Arc<egress::Source>>,
}

/// The name of its site says all of a hop.
impl PartialEq for Hop {
    fn eq(&self, other: &Hop) -> bool {
        self.site == other.site
    }
}

impl Eq for Hop {}

impl Hop {
    /// The next hop of these targets of a route, none of which is the domain's MX; None: there are none.
    pub fn of(targets: &[&Choice]) -> Option<Hop> {
        let mut sorted = targets.to_vec();
        sorted.sort_by(|one, other| (one.order, &one.target).cmp(&(other.order, &other.target)));
        let (first, others) = sorted.split_first()?;
        let label = match others.len() {
            0 => first.target.to_string(),
            more => format!("{} (and {more} more)", first.target),
        };
        // Order and weight belong to the name: the same hosts in other shares are another site.
        let site = match others.len() {
            0 => label.clone(),
            _ => sorted.iter().map(|one| format!("{}*{} {},", one.order, one.weight, one.target)).collect(),
        };
        let protocol = match &first.target {
            RouteTarget::Local(end) => Protocol::Local(*end),
            target if target.speaks_lmtp() => Protocol::Lmtp,
            _ => Protocol::Smtp,
        };
        let hosts = sorted.iter().filter_map(|choice| Host::of_choice(choice)).collect();
        Some(Hop {
            site,
            hosts,
            label: label.into(),
            protocol,
            tls: None,
            by_policy: false,
            by_records: false,
            requires_tls: false,
            apart: false,
            hands_over: false,
            credentials: None,
            by: None,
        })
    }

    /// Where bounces and complaints go that come back to this node.
    pub fn feedback() -> Hop {
        let (site, label) = ("feedback".to_owned(), "feedback".into());
        Hop {
            site,
            hosts: Vec::new(),
            label,
            protocol: Protocol::Feedback,
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

    /// What a shaping file knows its site by: the domain whose mail goes there, or the first host that the operator names; and the names of
    /// its hosts, sorted. What stands behind MX hosts is no part of that.
    pub fn names(&self) -> (String, Vec<String>) {
        let first = if self.is_of_dns() { NamedBy::Stranger } else { NamedBy::Operator };
        let named = self.hosts.iter().filter(|host| host.named_by == first && host.at == HostAddress::Name);
        let mut hosts: Vec<String> = named.map(|host| canonical(&host.name)).collect();
        let domain = match (first, hosts.first()) {
            (NamedBy::Operator, Some(host)) => host.clone(),
            _ => canonical(&self.label),
        };
        hosts.sort_unstable();
        hosts.dedup();
        (domain, hosts)
    }

    /// Whether the DNS says where the domain's mail goes, and no route does.
    pub fn is_of_dns(&self) -> bool {
        self.hosts.first().is_some_and(|host| host.named_by == NamedBy::Stranger)
    }

    /// Makes it the site of a source: it has limits and back-off of its own. Names of sites have no such beginning.
    pub fn leave_by(&mut self, source: &Arc<egress::Source>) {
        if !self.protocol.is_here() {
            self.site.insert_str(0, &format!("{} ", source.name()));
            self.by = Some(source.clone());
        }
    }

    /// The source's name; empty: there is none.
    pub fn source(&self) -> &str {
        self.by.as_ref().map_or("", |source| source.name())
    }

    /// Its mail asks for this TLS. It is a site of its own: mail that asks for less has other connections to the same hosts.
    pub fn ask_for_tls(&mut self, level: Option<TlsLevel>) {
        if let Some(level) = level.filter(|_| !self.protocol.is_here()) {
            self.site.insert_str(0, &format!("tls={} ", level.name()));
            self.tls = Some(level);
        }
    }

    /// A policy of the domain names its hosts, and asks each for a valid certificate (RFC 8461 section 4). It is a site of its own: mail of domains
    /// without one has other connections to the same hosts, and does not wait for a certificate. False: it names none of them.
    pub fn obey_policy(&mut self, names: impl Fn(&str) -> bool) -> bool {
        let before = self.hosts.len();
        self.hosts.retain(|host| names(&host.name));
        if self.hosts.len() < before {
            let left: Vec<&str> = self.hosts.iter().map(|host| &*host.name).collect();
            self.site = format!("{} but only {}", self.site, left.join(","));
        }
        self.site.insert_str(0, "sts ");
        self.tls = Some(TlsLevel::Verified);
        self.by_policy = true;
        !self.hosts.is_empty()
    }

    /// Hosts of it have records that name their certificates, and its MX records are authentic. It is a site of its own: those of domains whose are
    /// not, at the same hosts, ask for less.
    pub fn obey_records(&mut self) {
        self.site.insert_str(0, "dane ");
        self.by_records = true;
    }

    /// Its mail asks that each host on its way has proven who it is (RFC 8689). It is a site of its own: no connection to it carries mail for which any
    /// certificate would do, and other mail waits for none.
    pub fn require_tls(&mut self) {
        if !self.protocol.is_here() {
            self.site.insert_str(0, "requiretls ");
            self.tls = Some(TlsLevel::Verified);
            self.requires_tls = true;
        }
    }

    /// The node is emptied into it. It is a site of its own: what a route leads there goes as any mail does.
    pub fn hand_over(&mut self) {
        self.site.insert_str(0, "drain ");
        self.hands_over = true;
    }

    /// Its mail goes to hosts that know us by this name. It is a site of its own: no connection carries mail of others.
    pub fn log_in_as(&mut self, credentials: Option<&str>) {
        if let Some(name) = credentials {
            self.site.insert_str(0, &format!("auth={name} "));
            self.credentials = Some(name.into());
        }
    }

    /// What its limits are of: its hosts, whatever the way there, for a source. Two hops to the same hosts that differ in TLS, credentials or the order in
    /// which hosts are tried have connections of their own, and one limit.
    pub fn receiver(&self) -> String {
        if self.hosts.is_empty() {
            return self.site.clone();
        }
        let mut hosts: Vec<String> =
            self.hosts.iter().map(|host| format!("{}:{}", canonical(&host.name), host.port)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut name = hosts.join(",");
        if let Some(source) = &self.by {
            name.insert_str(0, &format!("{} ", source.name()));
        }
        if self.apart {
            name.push_str(&format!(" of {}", self.label));
        }
        name
    }

    /// Makes it a site of this domain alone.
    pub fn set_apart(&mut self, domain: &str) {
        self.apart = true;
        self.site.push_str(" of ");
        self.site.push_str(domain);
    }

    /// What the operator calls the way there: the target of the route, or `mx`, whatever the domain.
    pub fn route(&self) -> &str {
        let by_dns = self.hosts.first().is_some_and(|host| host.named_by == NamedBy::Stranger);
        if by_dns { "mx" } else { &self.label }
    }

    /// Those of another hop are asked where none of these gives a session.
    pub fn put_behind(&mut self, other: &Hop) {
        self.site = format!("{} then {}", self.site, other.site);
        // Preferences of MX records have 16 bits (RFC 1035 section 3.3.9).
        let behind = |host: &Host| Host { rank: u32::from(u16::MAX) + 1 + host.rank, ..host.clone() };
        self.hosts.extend(other.hosts.iter().map(behind));
    }

    /// The hosts in the order to try for one connection: by rank, and among equals by chance as their weights say. A number of 64 random
    /// bits is drawn for each that has a weight and is not alone.
    pub fn in_order(&self, mut random: impl FnMut() -> u64) -> Vec<&Host> {
        let mut drawn: Vec<(f64, &Host)> = Vec::with_capacity(self.hosts.len());
        for host in &self.hosts {
            let drawing = host.weight > 0 && self.hosts.len() > 1;
            drawn.push((if drawing { wait(random(), host.weight) } else { 0.0 }, host));
        }
        // Stable: those without a weight stay as they stand.
        drawn.sort_by(|(one, a), (other, b)| a.rank.cmp(&b.rank).then(one.total_cmp(other)));
        drawn.into_iter().map(|(_, host)| host).collect()
    }
}

impl Host {
    /// None for what is no host.
    fn of_choice(choice: &Choice) -> Option<Host> {
        let (name, at, port, tls_first) = match &choice.target {
            RouteTarget::Mx | RouteTarget::Local(_) => return None,
            RouteTarget::Host { scheme, host, port } => {
                let at = host.parse().map_or(HostAddress::Name, HostAddress::Address);
                (host.clone(), at, *port, *scheme == Scheme::Smtps)
            }
            RouteTarget::Socket(path) => {
                (path.display().to_string(), HostAddress::Socket(path.as_path().into()), 0, false)
            }
        };
        let named_by = NamedBy::Operator;
        Some(Host {
            name,
            at,
            port,
            named_by,
            rank: u32::from(choice.order),
            weight: choice.weight,
            tls_first,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn hop(to: &str) -> Hop {
        let text = format!("[[route]]\ndomain = \"*\"\nto = {to}\n");
        let config = Config::parse(&text, Path::new("relevo.toml")).expect("a configuration");
        let targets: Vec<&Choice> = config.routes[0].to.iter().collect();
        Hop::of(&targets).expect("a target")
    }

    #[test]
    fn names_of_sites() {
        for (to, site, protocol) in [
            ("\"smtp://A.example\"", "smtp://a.example:25", Protocol::Smtp),
            ("\"smtp://[::1]:26\"", "smtp://[::1]:26", Protocol::Smtp),
            ("\"smtps://a\"", "smtps://a:465", Protocol::Smtp),
            ("\"lmtp://a\"", "lmtp://a:24", Protocol::Lmtp),
            ("\"lmtp:/run/x\"", "lmtp:/run/x", Protocol::Lmtp),
            ("\"discard\"", "discard", Protocol::Local(End::Discarded)),
            (
                "[{ to = \"smtp://b\", order = 1 }, { to = \"smtps://c\", weight = 2 }, { to = \"smtp://a\" }]",
                "0*1 smtp://a:25,0*2 smtps://c:465,1*1 smtp://b:25,",
                Protocol::Smtp,
            ),
            (
                "[{ to = \"smtp://a\" }, { to = \"smtp://b\", order = 1 }, { to = \"smtps://c\", weight = 2 }]",
                "0*1 smtp://a:25,0*2 smtps://c:465,1*1 smtp://b:25,",
                Protocol::Smtp,
            ),
        ] {
            let hop = hop(to);
            assert_eq!((hop.site.as_str(), hop.protocol), (site, protocol), "{to}");
        }
        let hosts = hop("[{ to = \"smtps://c\" }, { to = \"smtp://192.0.2.1\", order = 4 }]").hosts;
        assert_eq!((hosts[0].tls_first, hosts[1].tls_first), (true, false));
        assert_eq!((&hosts[1].at, hosts[1].rank), (&HostAddress::Address("192.0.2.1".parse().unwrap()), 4));
        assert!(hop("\"discard\"").hosts.is_empty());
        assert_eq!((hop("\"smtp://a\"").route(), hop("\"discard\"").route()), ("smtp://a:25", "discard"));
        let mut by_mx = hop("\"smtp://a\"");
        by_mx.hosts[0].named_by = NamedBy::Stranger;
        assert_eq!(by_mx.route(), "mx");
        assert_eq!(&*hop("\"smtp://a\"").label, "smtp://a:25");
    }

    /// Limits are of the hosts, connections of the way there.
    #[test]
    fn ways_to_the_same_hosts_have_one_receiver() {
        let two = "[{ to = \"smtp://A.example\" }, { to = \"smtp://b.example:26\", order = 1 }]";
        let all = "a.example:25,b.example:26";
        assert_eq!(hop(two).receiver(), all);
        assert_eq!(hop("[{ to = \"smtp://b.example:26\" }, { to = \"smtp://a.example\" }]").receiver(), all);
        assert_eq!(hop("\"smtps://a.example:25\"").receiver(), hop("\"smtp://a.example\"").receiver());
        for change in [
            (|hop| hop.ask_for_tls(Some(TlsLevel::Off))) as fn(&mut Hop),
            |hop| hop.log_in_as(Some("smart")),
            |hop| hop.require_tls(),
            |hop| hop.obey_records(),
        ] {
            let mut other = hop(two);
            change(&mut other);
            assert!(other.site != hop(two).site && other.receiver() == all, "{}", other.site);
        }
        let mut mx = Hop { label: "d.example".into(), ..hop("\"smtp://B.example:26\"") };
        mx.set_apart("d.example");
        assert_eq!(mx.receiver(), "b.example:26 of d.example", "it asked for limits of its own");
        assert_eq!(hop("\"lmtp:/run/x\"").receiver(), "/run/x:0");
        assert_eq!(hop("\"discard\"").receiver(), "discard");
    }

    /// What came up for mail that asks for less carries none that asks for more.
    #[test]
    fn mail_that_asks_for_tls_has_a_site_of_its_own() {
        let mut all = std::collections::BTreeSet::from([hop("\"smtp://a\"").site]);
        for level in TlsLevel::ALL {
            let mut hop = hop("\"smtp://a\"");
            hop.ask_for_tls(Some(level));
            assert_eq!((hop.tls, hop.route()), (Some(level), "smtp://a:25"));
            assert!(all.insert(hop.site), "{level:?}");
        }
        assert!(all.contains("tls=verify smtp://a:25"), "{all:?}");
        let mut local = hop("\"discard\"");
        local.ask_for_tls(Some(TlsLevel::Verified));
        assert_eq!((&*local.site, local.tls), ("discard", None));
    }

    #[test]
    fn mail_whose_sender_requires_tls_has_a_site_of_its_own() {
        let mut one = hop("\"smtp://a\"");
        one.ask_for_tls(Some(TlsLevel::Off));
        one.require_tls();
        assert_eq!((&*one.site, one.tls), ("requiretls tls=off smtp://a:25", Some(TlsLevel::Verified)));
        let mut local = hop("\"discard\"");
        local.require_tls();
        assert!(!local.requires_tls && &*local.site == "discard", "it goes nowhere");
    }

    /// What a route leads to the same relay is no mail of a node that is emptied.
    #[test]
    fn mail_that_is_handed_over_has_a_site_of_its_own() {
        let mut one = hop("\"smtp://a\"");
        one.hand_over();
        assert_eq!((&*one.site, one.hands_over, one.route()), ("drain smtp://a:25", true, "smtp://a:25"));
        assert!(!hop("\"smtp://a\"").hands_over && one != hop("\"smtp://a\""));
    }

    #[test]
    fn a_policy_passes_hosts_by_and_makes_a_site_of_its_own() {
        let named = || {
            let mut hop = hop("[{ to = \"smtp://a\" }, { to = \"smtp://b\", order = 1 }]");
            hop.site = "mx:0 a,1 b:25".to_owned();
            hop
        };
        let (mut all, mut one, mut none) = (named(), named(), named());
        assert!(all.obey_policy(|_| true) && one.obey_policy(|host| host == "b"));
        assert_eq!((&*all.site, &*one.site), ("sts mx:0 a,1 b:25", "sts mx:0 a,1 b:25 but only b"));
        assert_eq!((one.hosts.len(), one.tls, one.by_policy), (1, Some(TlsLevel::Verified), true));
        assert!(!none.obey_policy(|_| false));
    }

    #[test]
    fn ranks_come_first_and_weights_are_shares() {
        let hop = hop(
            "[{ to = \"smtp://z\", order = 1, weight = 9 }, { to = \"smtp://a\", weight = 3 }, { to = \"smtp://b\" }]",
        );
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            super::super::draw::mix(state)
        };
        let mut firsts = BTreeMap::new();
        for _ in 0..10_000 {
            let order: Vec<&str> = hop.in_order(&mut random).iter().map(|host| &*host.name).collect();
            assert_eq!(order.len(), 3);
            assert_eq!(order[2], "z", "a higher order comes last");
            *firsts.entry(order[0].to_owned()).or_insert(0) += 1;
        }
        assert!((7_300..7_700).contains(&firsts["a"]), "{firsts:?}");
    }
}
