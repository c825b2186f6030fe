//! Configurations that come into force during a day, and broken ones, of which nothing may: drawn here, and carried out as control does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use relevo::config::Config;
use relevo::limits;
use relevo::time::Instant;

use super::dice::Dice;
use super::ledger::Ledger;
use super::plan::{Host, HostState, Plan};
use crate::relay::{Preparing, Relay};

/// Where clients come to, and where the listener is while it is gone from there.
const PORTS: [u16; 2] = [25, 2525];
/// Another process on the relay's machine listens there.
pub const TAKEN: &str = "10.0.0.1:99";
/// How often control looks for answers.
const LOOK: Duration = Duration::from_micros(250);
/// Within which a shard goes by what is in force, and shows it: counters are published once a second.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);

/// What a configuration says.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// Its number, which a rule writes into the parameters of each message; None: there is no such rule.
    pub number: Option<usize>,
    pub port: u16,
    /// None is above that of the plan, so that what holds for it holds all day.
    pub limit: usize,
    pub address_limit: usize,
    pub messages_per_connection: u64,
    pub retry_first: u64,
    pub retry_max: u64,
    /// Domains that a route leads to the smart host of their site.
    pub led: BTreeSet<String>,
    /// Those that rules refuse, and those of which they discard what comes.
    pub refused: BTreeSet<String>,
    pub discarded: BTreeSet<String>,
    /// It wants a listener where it cannot have one.
    pub taken: bool,
}

/// What comes of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    InForce,
    /// It cannot be read.
    Unreadable,
    /// No shard can open one of its listeners.
    Refused,
    /// Shards prepare it, and control does not wait for it.
    GivenUp,
}

#[derive(Clone, Debug)]
pub struct Reload {
    /// Microseconds of virtual time.
    pub at: u64,
    /// How long control takes from the last answer to putting it in force.
    pub takes: Duration,
    pub fate: Fate,
    pub version: Version,
}

impl Version {
    /// That of the first start.
    pub fn first(plan: &Plan) -> Version {
        Version {
            number: (!plan.reloads.is_empty()).then_some(0),
            port: PORTS[0],
            limit: plan.limit,
            address_limit: plan.address_limit,
            messages_per_connection: plan.messages_per_connection,
            retry_first: plan.retry_first,
            retry_max: plan.retry_max,
            ..Version::default()
        }
    }

    /// The one of this number.
    pub fn of(plan: &Plan, number: usize) -> Version {
        number
            .checked_sub(1)
            .map_or_else(|| Version::first(plan), |place| plan.reloads[place].version.clone())
    }

    /// Routes and rules, and a listener more.
    pub fn sections(&self) -> String {
        let Some(number) = self.number else { return String::new() };
        let mut text = format!("[[rule]]\nset = {{ pool = \"v{number}\" }}\n");
        let rules = |domains: &BTreeSet<String>, action: &str| -> String {
            let rule = |domain| {
                format!("[[rule]]\nmatch = {{ recipient = \"@{domain}\" }}\naction = \"{action}\"\n")
            };
            domains.iter().map(rule).collect()
        };
        text += &rules(&self.refused, "reject 550 5.7.1 not here");
        text += &rules(&self.discarded, "discard");
        for domain in &self.led {
            text += &format!(
                "[[route]]\ndomain = \"{domain}\"\nto = \"smtp://{}\"\n",
                smart_host_address(domain)
            );
        }
        if !self.led.is_empty() {
            text += "[[route]]\ndomain = \"*\"\nto = \"mx\"\n";
        }
        if self.taken {
            text += &format!("[[listener]]\naddress = \"{TAKEN}\"\n");
        }
        text
    }

    /// Whether it has the relay listen where clients come to.
    pub fn listens(&self) -> bool {
        self.port == PORTS[0]
    }

    fn change(&mut self, plan: &Plan, dice: &mut Dice) {
        let site = dice.pick(&plan.sites);
        let one = site.domains[..1].to_vec();
        match dice.below(6) {
            0 | 1 => {
                let domains = if dice.chance(0.5) { one } else { site.domains };
                let was = self.led.contains(&domains[0]);
                for domain in domains {
                    if was {
                        self.led.remove(&domain)
                    } else {
                        self.led.insert(domain)
                    };
                }
            }
            2 => self.change_limits(plan, dice),
            // Notifications are told in any case.
            _ if site.origin => {}
            3 => {
                let was = self.refused.take(&one[0]).is_some();
                self.refused.extend(one.into_iter().filter(|_| !was));
            }
            4 => {
                let was = self.discarded.take(&one[0]).is_some();
                self.discarded.extend(one.into_iter().filter(|_| !was));
            }
            _ => {
                (self.retry_first, self.retry_max) =
                    (dice.between(1, plan.retry_first), dice.between(plan.retry_first, plan.retry_max));
            }
        }
    }

    fn change_limits(&mut self, plan: &Plan, dice: &mut Dice) {
        self.limit = dice.between(1, plan.limit as u64) as usize;
        self.address_limit = dice.between(1, plan.address_limit as u64) as usize;
        let most = plan.messages_per_connection;
        self.messages_per_connection = if most == 0 { dice.pick(&[0, 1, 5]) } else { dice.between(1, most) };
    }
}

/// The smart host of a domain's site, which only routes lead to.
fn smart_host_address(domain: &str) -> Ipv4Addr {
    let site = domain.split('.').find_map(|label| label.strip_prefix('s')?.parse().ok());
    Ipv4Addr::new(10, 2, site.unwrap_or(255), 1)
}

/// That of a site, if it ever is led to.
pub fn smart_host(plan: &Plan, site: usize) -> Option<Host> {
    let site = &plan.sites[site];
    let led = |reload: &Reload| site.domains.iter().any(|domain| reload.version.led.contains(domain));
    plan.reloads.iter().any(led).then(|| Host {
        name: String::new(),
        address: smart_host_address(&site.domains[0]),
        preference: 0,
        state: HostState::Up,
    })
}

/// Those of a day, with dice of their own: it is the same day, but for these.
pub fn draw(plan: &Plan) -> Vec<Reload> {
    let dice = &mut Dice::new(plan.seed, 17);
    if dice.chance(0.4) {
        return Vec::new();
    }
    let mut times: Vec<u64> = (0..dice.between(1, 5)).map(|_| time(plan, dice)).collect();
    times.sort_unstable();
    let first = Version { number: Some(0), ..Version::first(plan) };
    let (mut reloads, mut now): (Vec<Reload>, _) = (Vec::new(), first);
    for at in times {
        let mut version = Version { number: Some(reloads.len() + 1), ..now.clone() };
        for _ in 0..dice.between(1, 4) {
            version.change(plan, dice);
        }
        let broken = dice.pick(&[Fate::Unreadable, Fate::Refused, Fate::GivenUp]);
        let fate = if dice.chance(0.3) { broken } else { Fate::InForce };
        let is_gone = !now.listens() && fate == Fate::InForce;
        version.port = PORTS[usize::from(!is_gone && dice.chance(0.2))];
        version.taken = fate == Fate::Refused;
        let takes = Duration::from_micros(dice.pick(&[0, 0, 700, 50_000]));
        if fate == Fate::InForce {
            now = version.clone();
        }
        reloads.push(Reload { at, takes, fate, version });
    }
    if !now.listens() {
        let at = reloads.last().map_or(0, |last| last.at) + dice.between(1_000, 40_000_000);
        let version = Version { number: Some(reloads.len() + 1), port: PORTS[0], ..now };
        reloads.push(Reload { at, takes: Duration::ZERO, fate: Fate::InForce, version });
    }
    reloads
}

/// Near the end of a life, while the disk is full, or at any time while there is much to do.
fn time(plan: &Plan, dice: &mut Dice) -> u64 {
    let (near, amid) = (dice.chance(0.4), dice.chance(0.4));
    if near && !plan.ends.is_empty() {
        let (end, _) = dice.pick(&plan.ends);
        return (end * 1000).saturating_sub(dice.below(3_000));
    }
    if let Some((from, to)) = plan.full.filter(|_| amid) {
        return dice.between(from, to) * 1000;
    }
    let bound = dice.pick(&[3_000_000, 30_000_000, 90_000_000]);
    dice.below(bound)
}

/// One that is under way.
struct UnderWay {
    number: usize,
    began: Instant,
    preparing: Preparing,
}

/// The operator of a day, and the relay's control.
#[derive(Default)]
pub struct Operator {
    /// The next of the plan.
    next: Cell<usize>,
    /// The number of the configuration in the file.
    pub file: Cell<usize>,
    under_way: RefCell<Option<UnderWay>>,
    /// When the last one came into force in this life.
    since: Cell<Option<Instant>>,
}

impl Operator {
    /// The process is no more, and what control was about is forgotten.
    pub fn lost(&self) {
        self.under_way.take();
        self.since.set(None);
    }

    /// Does what is to be done now; when to look again.
    pub fn turn(&self, plan: &Plan, ledger: &Ledger, now: Instant, relay: &mut Relay<'_>) -> Instant {
        if let Some(since) = self.since.get().filter(|since| now > *since + SHOWN_WITHIN) {
            self.since.set(None);
            let shown =
                |of: &std::sync::Arc<relevo::observe::Instruments>| of.counters.policy_generation.get();
            let shown: Vec<u64> = relay.instruments.iter().map(shown).collect();
            if shown.iter().any(|shown| *shown != relay.generation()) {
                let number = relay.generation();
                ledger.complain(format!(
                    "generation {number} in force since {since:?}, shards go by {shown:?}"
                ));
            }
        }
        let under_way = self.under_way.take();
        if let Some(under_way) = under_way {
            return self.go_on(plan, ledger, now, (relay, under_way));
        }
        let Some(reload) = plan.reloads.get(self.next.get()) else { return Instant::FAR };
        if Instant(reload.at * 1_000) > now {
            return Instant(reload.at * 1_000);
        }
        self.next.set(self.next.get() + 1);
        let text = plan.configuration(&reload.version);
        if reload.fate == Fate::Unreadable {
            let text = text.replace("[retry]\nfirst = \"", "[retry]\nfirst = \"x");
            assert!(Config::parse(&text, Path::new("sim")).is_err(), "a broken configuration is refused");
            return now;
        }
        if reload.fate == Fate::InForce {
            self.file.set(self.next.get());
        }
        let preparing = relay.prepare(&text);
        *self.under_way.borrow_mut() = Some(UnderWay { number: self.next.get(), began: now, preparing });
        now + LOOK
    }

    fn go_on(
        &self,
        plan: &Plan,
        ledger: &Ledger,
        now: Instant,
        (relay, mut under_way): (&mut Relay<'_>, UnderWay),
    ) -> Instant {
        let reload = &plan.reloads[under_way.number - 1];
        let number = under_way.number;
        let Some(refused) = under_way.preparing.refused() else {
            if now > under_way.began + limits::RELOAD_PREPARED {
                ledger.complain(format!("v{number}: not prepared in time"));
                return now;
            }
            *self.under_way.borrow_mut() = Some(under_way);
            return now + LOOK;
        };
        if refused.is_some() != (reload.fate == Fate::Refused) {
            ledger.complain(format!("v{number}, {:?}: {refused:?}", reload.fate));
            return now;
        }
        if now < under_way.began + reload.takes {
            let at = under_way.began + reload.takes;
            *self.under_way.borrow_mut() = Some(under_way);
            return at;
        }
        if reload.fate == Fate::InForce {
            ledger.in_force.put(now, reload.version.clone());
            relay.put_in_force(under_way.preparing);
            self.since.set(Some(now));
        }
        now
    }
}

/// All that listens in place of the relay.
pub fn taken() -> SocketAddr {
    TAKEN.parse().expect("an address")
}

/// Whether an address is that of a smart host.
pub fn is_smart_host(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[..2] == [10, 2])
}
