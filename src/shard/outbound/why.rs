//! Beside pump: why what is ready is not under way. It is looked at in the order in which `pump` would, and nothing is changed.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::destinations::known::{DomainState, has_credit, site_named};
use crate::queue::select::Place;
use crate::queue::suspension::Suspension;
use crate::route::egress::EgressKey;
use crate::route::site::ProviderPolicy;
use crate::route::{Hop, Host, SitePolicy};
use crate::runtime::Runtime;
use crate::shaping::key::Key;
use crate::shaping::layers::{Effective, EffectiveSetting};
use crate::shaping::pace::Pace;
use crate::shaping::rated::{EachRate, Rated};
use crate::shaping::value::Value;
use crate::shaping::warmup::WarmupStage;
use crate::shard::Shard;
use crate::shard::ask::why::{Cause, Limit, ProviderState, RateOf, SiteShare, SiteState};
use crate::shard::counts::ConnectionCount;
use crate::shard::outbound::bucket::RateKind;
use crate::shard::outbound::site::Site;
use crate::shard::outbound::sites;
use crate::shard::rate_count::RateCount;
use crate::time::{Instant, UnixMillis};

/// What holds up what is ready in a domain, and until when.
pub(in crate::shard) fn cause<R: Runtime>(
    shard: &Shard<R>,
    domain: &DomainState,
) -> (Cause, Option<UnixMillis>) {
    if shard.draining.get() {
        return (Cause::Stopping, None);
    }
    let Some(key) = domain.site else {
        let asking = &shard.outbound.asking;
        let seconds = domain.asked_since.map_or(0, |since| shard.seconds().saturating_sub(since));
        return (Cause::LookUp { seconds, line: asking.levels().0, deaf: asking.is_deaf() }, None);
    };
    let Some(site) = shard.outbound.sites.borrow().get(&key).cloned() else { return (Cause::Turn, None) };
    if let Some(suspended) = source(shard, domain.egress).filter(|_| site.sent_by.borrow().is_none()) {
        return suspended;
    }
    if let Some((until, failures, error)) = closed(shard, key, &site) {
        return (Cause::Closed { failures, error }, Some(until));
    }
    if let Some((when, words)) = shard.live.get().tenant_rates.wait(domain.flow.tenant, shard.runtime.now()) {
        let cause = Cause::Rate { of: RateOf::Tenant, words: words.into() };
        return (cause, Some(wall(shard, when)));
    }
    if let Some(by) = site.sent_by.borrow().clone() {
        return (Cause::Elsewhere(by), None);
    }
    if let Some(held) = warm_up(shard, &site) {
        return held;
    }
    if let Some(held) = message_rate(shard, &site) {
        return held;
    }
    if let Some(address) = site.parked.get() {
        let most = shard.live.get().config.delivery.connections_per_address;
        let used = shard.mesh.address_count(address).used();
        return (Cause::Address { address: address.to_string().into(), used, most }, None);
    }
    if !has_credit(&shard.outbound.destinations.borrow(), key) {
        return (Cause::Credits, None);
    }
    no_connection(shard, &site)
}

/// Whether the source of its mail is suspended, and until when.
fn source<R: Runtime>(shard: &Shard<R>, egress: EgressKey) -> Option<(Cause, Option<UnixMillis>)> {
    let live = shard.live.get();
    let source =
        live.egresses.get(egress).map(|egress| &egress.source).filter(|source| source.is_suspended())?;
    let (why, look) = source.suspension().told();
    Some((Cause::Source { why }, Some(wall(shard, look))))
}

/// Whether the source has had its day of warm-up there.
fn warm_up<R: Runtime>(shard: &Shard<R>, site: &Site) -> Option<(Cause, Option<UnixMillis>)> {
    let count = site.warm.borrow().clone()?;
    let today = shard.runtime.wall().day();
    if count.free(today) > 0 {
        return None;
    }
    let told = count.told();
    let (used, volume) = match told.standing {
        Some(WarmupStage::Day(_, volume)) if told.day.day == today => (told.day.used, volume),
        _ => (0, 0),
    };
    let asked = !count.is_over(today);
    let until = (!asked).then(|| UnixMillis::of_day(today.saturating_add(1)));
    Some((Cause::WarmUp { provider: count.provider.clone(), used, volume, asked }, until))
}

/// Why no other connection of the site is opened.
fn no_connection<R: Runtime>(shard: &Shard<R>, site: &Site) -> (Cause, Option<UnixMillis>) {
    if site.queued.get() {
        let (used, most) = (shard.outbound.connections.get(), shard.particulars.connections_outbound_max);
        return (Cause::Opening { used, most }, None);
    }
    let policy = site.policy.borrow();
    let shares = site.providers.borrow();
    let full = shares.iter().flat_map(|shares| shares.iter()).position(|share| {
        share
            .connections
            .is_some_and(|most| share.provider.count.used() >= share.provider.count.on_node(most))
    });
    if let Some(place) = full {
        return (Cause::ProviderConnections(place), None);
    }
    if site.count.used() >= site.connections_max() {
        return (Cause::Connections, None);
    }
    let now = shard.runtime.now();
    let held = held_by(&site.count, &policy.rates, RateKind::Connections, now);
    let Some((rated, when)) = held.filter(|_| site.opening.get() == 0) else { return (Cause::Turn, None) };
    let mut state = site_state(shard, &site.hop.borrow());
    let words = state.rates[rated].take().unwrap_or_default();
    (Cause::Rate { of: RateOf::Site(rated), words }, Some(wall(shard, when)))
}

/// The rate that lets no message begin now, if there is one.
fn message_rate<R: Runtime>(shard: &Shard<R>, site: &Site) -> Option<(Cause, Option<UnixMillis>)> {
    let (policy, now) = (site.policy.borrow(), shard.runtime.now());
    let held = |count: &_, rates: &EachRate<Option<Pace>>| held_by(count, rates, RateKind::Messages, now);
    let own = held(&site.count, &policy.rates).map(|(rated, when)| (RateOf::Site(rated), rated, when));
    let window = site.count.window().filter(|_| policy.adaptive);
    let narrow = window.and_then(|window| Some((window, window.pace()?)));
    let shares = site.providers.borrow();
    let of_provider = |(place, of): (usize, &ProviderPolicy)| {
        let share = shares.as_ref()?.get(place)?;
        let (rated, when) = held(&share.provider.count, &of.rates)?;
        Some((RateOf::Provider(place), rated, when))
    };
    let of_window = || {
        let (window, pace) = narrow?;
        Some((RateOf::Window, Rated::Messages, empty(&window.messages, pace, now)?))
    };
    let of_providers = || policy.providers.iter().enumerate().find_map(of_provider);
    let (of, rated, when) = own.or_else(of_providers).or_else(of_window)?;
    let mut state = site_state(shard, &site.hop.borrow());
    let words = match of {
        RateOf::Provider(place) => state.providers.get_mut(place).and_then(|of| of.rates[rated].take()),
        RateOf::Window => state.window_rate.map(|rate| format!("{rate:.1}").into()),
        RateOf::Site(_) | RateOf::Tenant => state.rates[rated].take(),
    };
    Some((Cause::Rate { of, words: words.unwrap_or_default() }, Some(wall(shard, when))))
}

/// The first of these rates that lets none of this begin now, and when one may.
fn held_by(
    count: &ConnectionCount,
    rates: &EachRate<Option<Pace>>,
    what: RateKind,
    now: Instant,
) -> Option<(Rated, Instant)> {
    let mut bounds = rates.set().filter(|(of, _)| RateKind::of(*of) == what);
    bounds.find_map(|(of, pace)| {
        let part = count.part().map_or(Some(*pace), |part| part.pace(of, *pace));
        // Other nodes have all of it.
        let Some(pace) = part else { return Some((of, now + limits::CLUSTER_LOOK)) };
        Some((of, empty(&count.rates[of], pace, now)?))
    })
}

/// When one may be taken, where none may now.
fn empty(count: &RateCount, pace: Pace, now: Instant) -> Option<Instant> {
    (count.free(pace, now) == 0).then(|| count.next(pace, now))
}

fn wall<R: Runtime>(shard: &Shard<R>, at: Instant) -> UnixMillis {
    shard.runtime.wall().after(at.since(shard.runtime.now()))
}

fn closed<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> Option<(UnixMillis, u32, Box<str>)> {
    let destinations = shard.outbound.destinations.borrow();
    let until = destinations.closed_until(key, shard.seconds())?;
    Some((shard.wall_of(until), destinations.failures(key), site.last_error.borrow().1.as_str().into()))
}

/// The hop of a domain as the source sees it that its mail leaves by.
pub(in crate::shard) fn by_source<R: Runtime>(shard: &Shard<R>, egress: EgressKey, hop: &Hop) -> Hop {
    let mut hop = hop.clone();
    if let Some(egress) = shard.live.get().egresses.get(egress) {
        hop.leave_by(&egress.source);
    }
    hop
}

/// Where a site's mail goes.
pub(in crate::shard) fn hop_of<R: Runtime>(shard: &Shard<R>, key: SiteKey) -> Option<Rc<Hop>> {
    shard.outbound.sites.borrow().get(&key).map(|site| site.hop.borrow().clone())
}

/// What holds for the site of a hop, whether this shard has mail for it or not.
pub(in crate::shard) fn site_state<R: Runtime>(shard: &Shard<R>, hop: &Hop) -> SiteState {
    let key = site_named(&shard.outbound.destinations.borrow(), &hop.site);
    let known = key.and_then(|key| Some((key, shard.outbound.sites.borrow().get(&key).cloned()?)));
    let live = shard.live.get();
    let (count, policy) = match &known {
        Some((_, site)) => (site.count.clone(), site.policy.borrow().clone()),
        None => {
            let count = shard.mesh.site_count(&hop.receiver(), shard.runtime.now());
            let policy = sites::policy(shard, &live, hop, &count.beside());
            (count, policy)
        }
    };
    let beside = count.beside();
    let place = Place { domain: &hop.label, site: Some(&hop.site) };
    let by_rules = by_rules(&shard.outbound.destinations.borrow().held().setters(place));
    let said = live.table.shaped(hop, &beside);
    let by_rule = |key: Key| by_rules.get(&(key, "".into())).cloned();
    let line = |key: Key| by_rule(key).or_else(|| said.settings.get(&key).map(line_of));
    let usual = || format!("delivery.connections_per_destination = {}", policy.connections).into();
    let limit = line(Key::ConnectionLimit).unwrap_or_else(usual);
    let limit = of_nodes(&count, policy.connections, limit);
    let destinations = shard.outbound.destinations.borrow();
    let ready = key.map_or(0, |key| destinations.ready(key, shard.seconds()));
    drop(destinations);
    SiteState {
        name: hop.site.clone(),
        route: hop.route().to_owned(),
        hosts: hop.hosts.iter().map(|host| host_name(host, hop.is_of_dns())).collect(),
        used: count.used(),
        most: most_on_node(&count, &policy),
        limit: Limit { most: policy.connections, words: limit },
        window_rate: window_rate(&count, &policy),
        rates: EachRate::of(|of| policy.rates[of].and_then(|_| line(of.key()))),
        ready,
        closed: known.as_ref().and_then(|(key, site)| closed(shard, *key, site)),
        providers: providers(shard, hop, &policy, (&said, &by_rules)),
    }
}

/// What says so, and how much of it this node has where other nodes share it.
fn of_nodes(count: &ConnectionCount, most: usize, words: Box<str>) -> Box<str> {
    match count.on_node(most) {
        part if part < most => format!("{words}, of which this node has {part} in its cluster").into(),
        _ => words,
    }
}

fn most_on_node(count: &ConnectionCount, policy: &SitePolicy) -> usize {
    let most = count.on_node(policy.connections);
    if policy.adaptive { count.most(most) } else { most }
}

fn window_rate(count: &ConnectionCount, policy: &Arc<SitePolicy>) -> Option<f64> {
    let window = count.window().filter(|_| policy.adaptive)?;
    window.pace().map(Pace::a_second)
}

fn providers<R: Runtime>(
    shard: &Shard<R>,
    hop: &Hop,
    policy: &SitePolicy,
    (said, by_rules): (&Effective<'_>, &RuleLines),
) -> Vec<ProviderState> {
    let one = |of: &ProviderPolicy| {
        let lines = said.providers.iter().find(|other| other.block.name == of.name);
        let in_file = |key: Key| lines.and_then(|lines| lines.limits.get(&key)).map(line_of);
        let by_rule = |key: Key| by_rules.get(&(key, of.name.clone())).cloned();
        let line = |key: Key| by_rule(key).or_else(|| in_file(key));
        let count = shard.mesh.provider_count((hop.source(), &of.name), shard.runtime.now());
        let words = line(Key::ProviderConnectionLimit).unwrap_or_default();
        ProviderState {
            name: of.name.clone(),
            used: count.used(),
            limit: of.connections.map(|most| Limit { most, words }),
            rates: EachRate::of(|rated| of.rates[rated].and_then(|_| line(rated.key_of_provider()?))),
        }
    };
    policy.providers.iter().map(one).collect()
}

/// `shaping.toml:14 connection_limit = 20`
fn line_of(held: &EffectiveSetting<'_>) -> Box<str> {
    let setting = held.setting;
    format!("{} {} = {}", setting.place, setting.key.name(), setting.value).into()
}

/// By key, and by provider where the key is of one, the words for what a rule sets now, over what files say.
type RuleLines = BTreeMap<(Key, Box<str>), Box<str>>;

/// Of several rules that set a key the last holds: `shaping.toml:20 max_message_rate = 1/s, by a rule …`
fn by_rules(set: &[(Key, &Value, &Suspension)]) -> RuleLines {
    let words = |(key, value, one): &(Key, &Value, &Suspension)| {
        let by = &one.by;
        let provider = one.scope.provider.clone().filter(|_| key.is_of_providers()).unwrap_or_default();
        (
            (*key, provider),
            format!("{by} {} = {value}, by a rule: `relevo suspend --list`", key.name()).into(),
        )
    };
    set.iter().map(words).collect()
}

fn host_name(host: &Host, of_dns: bool) -> String {
    let port = if host.port == 0 { String::new() } else { format!(":{}", host.port) };
    let rank = if of_dns { format!("{} ", host.rank) } else { String::new() };
    format!("{rank}{}{port}", host.name)
}

/// What this shard has of a site.
pub(in crate::shard) fn share<R: Runtime>(shard: &Shard<R>, name: &str) -> SiteShare {
    let key = site_named(&shard.outbound.destinations.borrow(), name);
    let sites = shard.outbound.sites.borrow();
    let Some(site) = key.and_then(|key| sites.get(&key)) else { return SiteShare::default() };
    SiteShare { connections: site.connections.get(), idle: site.idle.borrow().len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::select::Pattern;
    use crate::queue::suspension::{ActiveSuspensions, Effect, Scope, Suspensions};
    use crate::shaping::value::rate;

    #[test]
    fn the_rule_that_set_a_key_last_is_named() {
        let site = "mx:10 mx.a.example:25,";
        let by_rule = |id, line: u32, effect| Suspension {
            id,
            effect,
            scope: Scope { site: Some(Pattern::Whole(site.into())), ..Scope::default() },
            since: UnixMillis(0),
            until: UnixMillis(1_000_000),
            by: format!("a.toml:{line}").into(),
            reason: "421 slow down".into(),
        };
        let paced = |text| Effect::Set(Key::MaxMessageRate, Value::Rate(rate(text).unwrap()));
        let of_provider = Effect::Set(Key::ProviderMaxMessageRate, Value::Rate(rate("2/s").unwrap()));
        let all = vec![
            by_rule(3, 9, paced("1/s")),
            by_rule(1, 5, paced("7/s")),
            by_rule(2, 7, of_provider),
            by_rule(4, 8, Effect::Wait),
        ];
        let held = ActiveSuspensions::new(Arc::new(Suspensions::new(all)), |_| 1_000);
        let lines = |site| by_rules(&held.setters(Place { domain: "a.example", site: Some(site) }));
        let told: Vec<String> = lines(site).into_values().map(String::from).collect();
        let end = "by a rule: `relevo suspend --list`";
        let of_site = format!("a.toml:9 max_message_rate = 1/s, {end}");
        assert_eq!(told, [of_site, format!("a.toml:7 provider_max_message_rate = 2/s, {end}")]);
        assert!(lines("mx:10 mx.b.example:25,").is_empty());
    }
}
