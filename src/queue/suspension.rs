//! What may not go now: mail that an operator or a rule for replies holds back, or has returned, and keys of a site that have another value
//! meanwhile. One value of all of them, never changed, only replaced as a whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::config::RouteTarget;
use crate::limits;
use crate::queue::select::{BadFilter, Filter, Pattern, Place, hosts};
use crate::shaping::key::Key;
use crate::shaping::provider::Match;
use crate::shaping::value::{Overrule, Value};
use crate::time::UnixMillis;

/// What a suspension does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The mail waits until it ends.
    Wait,
    /// The mail goes back to its senders.
    Return,
    /// A key of sites has this value until it ends.
    Set(Key, Value),
    /// The mail goes there until it ends, whatever routes and the DNS say.
    Redirect(RouteTarget),
    /// The same, and no other mail is taken in meanwhile: the node is emptied.
    Drain(RouteTarget),
}

impl Effect {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Effect::Wait => "wait",
            Effect::Return => "return",
            Effect::Set(..) => "set",
            Effect::Redirect(_) => "redirect",
            Effect::Drain(_) => "drain",
        }
    }

    /// Where it leads mail.
    pub fn leads_to(&self) -> Option<&RouteTarget> {
        match self {
            Effect::Redirect(to) | Effect::Drain(to) => Some(to),
            Effect::Wait | Effect::Return | Effect::Set(..) => None,
        }
    }
}

/// The filters that mail is suspended by.
pub const NAMES: [&str; 7] = ["domain", "site", "provider", "tenant", "campaign", "source", "pool"];

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Set(key, value) => write!(formatter, "{} = {value}", key.name()),
            Effect::Redirect(to) => write!(formatter, "redirect to {to}"),
            Effect::Drain(to) => write!(formatter, "drain to {to}"),
            effect => formatter.write_str(effect.name()),
        }
    }
}

/// Which mail is meant: that of which all that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Its domain.
    pub domain: Option<Pattern>,
    /// The site that it goes to.
    pub site: Option<Pattern>,
    /// Who runs the site, by the name that shaping files have for him.
    pub provider: Option<Box<str>>,
    /// Its tenant; empty: it has none. As the two below a parameter of the message, which only its record tells.
    pub tenant: Option<Box<str>>,
    /// Its campaign; empty: it has none.
    pub campaign: Option<Box<str>>,
    /// The source that it leaves by, of a configuration. It is said alone: queues hold nothing back for it, the source sends nothing (`route::egress`).
    /// But where a rule sets something of all sites of a provider, those of this source are meant.
    pub source: Option<Box<str>>,
    /// Its pool; empty: it has none.
    pub pool: Option<Box<str>>,
}

impl Scope {
    /// One more of what is to hold, by the name of its filter. What the queues and the parameters of messages do not know is refused.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), BadFilter> {
        if !NAMES.contains(&name) {
            // What is no filter is told so; what is one, that it is none here.
            Filter::default().set(name, text)?;
            return Err(BadFilter::NotHere(name.to_owned()));
        }
        let mut filter = Filter::default();
        filter.set(name, text)?;
        let Filter { domain, site, provider, source, mut recorded, .. } = filter;
        let value = recorded.parameters.pop().map(|(_, value)| value);
        let again = match name {
            "domain" => std::mem::replace(&mut self.domain, domain).is_some(),
            "site" => std::mem::replace(&mut self.site, site).is_some(),
            "provider" => std::mem::replace(&mut self.provider, provider).is_some(),
            "source" => std::mem::replace(&mut self.source, source).is_some(),
            "tenant" => std::mem::replace(&mut self.tenant, value).is_some(),
            "campaign" => std::mem::replace(&mut self.campaign, value).is_some(),
            _ => std::mem::replace(&mut self.pool, value).is_some(),
        };
        if again { Err(BadFilter::Twice(name.to_owned())) } else { Ok(()) }
    }

    /// Whether all that holds of the other holds of this, too.
    pub fn is_within(&self, other: &Scope) -> bool {
        fn within<T: PartialEq>(own: &Option<T>, other: &Option<T>) -> bool {
            other.is_none() || own == other
        }
        within(&self.domain, &other.domain)
            && within(&self.site, &other.site)
            && within(&self.provider, &other.provider)
            && within(&self.tenant, &other.tenant)
            && within(&self.campaign, &other.campaign)
            && within(&self.source, &other.source)
            && within(&self.pool, &other.pool)
    }

    /// Whether all mail is meant.
    pub fn is_all(&self) -> bool {
        *self == Scope::default()
    }

    /// Whether it is about a source, and about more than that: nobody can do such a thing.
    pub fn mixes(&self) -> bool {
        let alone = Scope { source: self.source.clone(), ..Scope::default() };
        self.source.is_some() && *self != alone
    }

    /// Whether only records tell what is meant.
    pub fn is_of_mail(&self) -> bool {
        self.tenant.is_some() || self.campaign.is_some() || self.pool.is_some()
    }

    fn holds_at(&self, place: Place<'_>, providers: &Providers) -> bool {
        self.domain.as_ref().is_none_or(|domain| domain.matches(place.domain))
            && self.site.as_ref().is_none_or(|site| place.site.is_some_and(|name| site.matches_site(name)))
            && self.source.as_ref().is_none_or(|source| place.site.is_some_and(|site| is_by(source, site)))
            && self.provider.as_ref().is_none_or(|provider| providers.runs(provider, place))
    }

    fn holds_of(&self, whose: Whose<'_>) -> bool {
        let is = |wanted: &Option<Box<str>>, value: &str| wanted.as_ref().is_none_or(|name| **name == *value);
        is(&self.tenant, whose.tenant) && is(&self.campaign, whose.campaign) && is(&self.pool, whose.pool)
    }
}

/// Whether a site is that of a source: it is named before its hosts, and perhaps behind the TLS that is asked for.
fn is_by(source: &str, site: &str) -> bool {
    let mut words = site.split(' ').filter(|word| !word.starts_with("tls="));
    words.next() == Some(source)
}

impl fmt::Display for Scope {
    /// As filters are written.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { domain, site, provider, tenant, campaign, source, pool } = self;
        let mut words = Vec::new();
        words.extend(domain.as_ref().map(|domain| format!("domain={domain}")));
        words.extend(site.as_ref().map(|site| format!("site={site}")));
        for (name, value) in [
            ("provider", provider),
            ("tenant", tenant),
            ("campaign", campaign),
            ("source", source),
            ("pool", pool),
        ] {
            words.extend(value.as_ref().map(|value| format!("{name}={value}")));
        }
        if words.is_empty() {
            return formatter.write_str("all mail");
        }
        formatter.write_str(&words.join(" "))
    }
}

/// What providers are known by, of those that something is suspended of.
#[derive(Clone, Debug, Default)]
pub struct Providers(HashMap<Box<str>, Vec<Match>>);

impl Providers {
    /// Those that are named there, as `known` knows them. One that nobody knows runs nothing.
    pub fn of(all: &Suspensions, known: impl Fn(&str) -> Option<Vec<Match>>) -> Providers {
        let named = all.all.iter().filter_map(|one| one.scope.provider.as_ref());
        Providers(named.filter_map(|name| Some((name.clone(), known(name)?))).collect())
    }

    fn runs(&self, provider: &str, place: Place<'_>) -> bool {
        self.0.get(provider).is_some_and(|matches| place.is_of(matches))
    }
}

/// Whose mail it is; empty: nobody's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whose<'a> {
    /// Its tenant.
    pub tenant: &'a str,
    /// Its campaign.
    pub campaign: &'a str,
    /// Its pool.
    pub pool: &'a str,
}

/// One suspension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Its number: no other of the node ever has it.
    pub id: u64,
    /// What it does.
    pub effect: Effect,
    /// To which mail.
    pub scope: Scope,
    /// Since when.
    pub since: UnixMillis,
    /// Until when.
    pub until: UnixMillis,
    /// Who wants it: an operator, or the line of a rule.
    pub by: Box<str>,
    /// The operator's words, or the reply that did it.
    pub reason: Box<str>,
}

/// All that are in force.
#[derive(Debug, Default)]
pub struct Suspensions {
    all: Vec<Suspension>,
    /// Those of one whole domain, and of one whole site or host.
    by_domain: HashMap<Box<str>, Vec<u32>>,
    by_site: HashMap<Box<str>, Vec<u32>>,
    /// All others.
    wide: Vec<u32>,
    /// One of them is of what only records tell.
    of_mail: bool,
    /// One of them sets something.
    sets: bool,
}

impl Suspensions {
    /// These.
    pub fn new(all: Vec<Suspension>) -> Suspensions {
        let mut suspensions = Suspensions::default();
        for (at, Suspension { scope, effect, .. }) in (0u32..).zip(&all) {
            if scope.source.is_some() && !matches!(effect, Effect::Set(..)) {
                continue;
            }
            let places = match (&scope.domain, &scope.site) {
                (Some(Pattern::Whole(domain)), _) => suspensions.by_domain.entry(domain.clone()).or_default(),
                (_, Some(Pattern::Whole(site))) => {
                    suspensions.by_site.entry(site.to_ascii_lowercase().into()).or_default()
                }
                _ => &mut suspensions.wide,
            };
            places.push(at);
            suspensions.of_mail |= scope.is_of_mail();
            suspensions.sets |= matches!(effect, Effect::Set(..));
        }
        suspensions.all = all;
        suspensions
    }

    /// Why mail that goes there waits until then: as far as it is known where it goes.
    pub fn why(&self, place: Place<'_>, whose: Whose<'_>, until: UnixMillis) -> Option<&Suspension> {
        let may = |one: &&Suspension| {
            let Scope { domain, site, .. } = &one.scope;
            let there = |site: &Pattern| place.site.is_none_or(|name| site.matches_site(name));
            one.effect == Effect::Wait
                && one.scope.source.is_none()
                && domain.as_ref().is_none_or(|domain| domain.matches(place.domain))
                && site.as_ref().is_none_or(there)
                && one.scope.holds_of(whose)
        };
        let nearer = |one: &&Suspension| one.until.0.abs_diff(until.0);
        // Any site may be meant where it is not known.
        if place.site.is_none() {
            return self.all.iter().filter(may).min_by_key(nearer);
        }
        self.near(place).into_iter().map(|at| &self.all[at]).filter(may).min_by_key(nearer)
    }

    /// What holds mail back that is due at that time, and for longest; `runs`: whether this provider runs its site.
    pub fn beyond(
        &self,
        place: Place<'_>,
        whose: Whose<'_>,
        due: UnixMillis,
        runs: impl Fn(&str) -> bool,
    ) -> Option<&Suspension> {
        let holds = |one: &&Suspension| {
            let scope = &one.scope;
            one.effect == Effect::Wait
                && one.until > due
                && scope.source.is_none()
                && scope.domain.as_ref().is_none_or(|domain| domain.matches(place.domain))
                && scope
                    .site
                    .as_ref()
                    .is_none_or(|site| place.site.is_some_and(|name| site.matches_site(name)))
                && scope.provider.as_deref().is_none_or(&runs)
                && scope.holds_of(whose)
        };
        self.near(place).into_iter().map(|at| &self.all[at]).filter(holds).max_by_key(|one| one.until)
    }

    /// One more may be made.
    pub fn has_room(&self, scope: &Scope) -> bool {
        let whole = |pattern: &Option<Pattern>| matches!(pattern, Some(Pattern::Whole(_)));
        let wide = !whole(&scope.domain) && !whole(&scope.site);
        self.all.len() < limits::SUSPENSIONS_MAX && (!wide || self.wide.len() < limits::SUSPENSIONS_WIDE_MAX)
    }

    /// All of them.
    pub fn all(&self) -> &[Suspension] {
        &self.all
    }

    /// Why nothing leaves by this source; of several the one that holds for longest.
    pub fn of_source(&self, name: &str) -> Option<&Suspension> {
        let all = self.all.iter().filter(|one| one.effect == Effect::Wait);
        all.filter(|one| one.scope.source.as_deref() == Some(name)).max_by_key(|one| one.until)
    }

    /// Whether the node is to be emptied: no mail is taken in.
    pub fn drains(&self, now: UnixMillis) -> bool {
        self.all.iter().any(|one| one.until > now && matches!(one.effect, Effect::Drain(_)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The places of those that are of mail that goes there, as far as queues know.
    fn at(&self, place: Place<'_>, providers: &Providers) -> SmallVec<[usize; 4]> {
        let mut found = SmallVec::new();
        self.each_near(place, |at| {
            if self.all[at].scope.holds_at(place, providers) {
                found.push(at);
            }
        });
        found
    }

    fn near(&self, place: Place<'_>) -> SmallVec<[usize; 4]> {
        let mut found = SmallVec::new();
        self.each_near(place, |at| found.push(at));
        found
    }

    /// Calls with the places of those that may be of mail that goes there: a few of many, and those of no whole name.
    fn each_near(&self, place: Place<'_>, mut found: impl FnMut(usize)) {
        let mut look = |places: Option<&Vec<u32>>| {
            places.into_iter().flatten().for_each(|at| found(*at as usize));
        };
        look(self.by_domain.get(place.domain));
        if let Some(site) = place.site.filter(|_| !self.by_site.is_empty()) {
            let whole = site.to_ascii_lowercase();
            look(self.by_site.get(&*whole));
            hosts(site).filter(|host| *host != whole).for_each(|host| look(self.by_site.get(host)));
        }
        look(Some(&self.wide));
    }
}

/// Those that are in force as a shard's queues have them: until when, by their clock.
#[derive(Clone, Debug, Default)]
pub struct ActiveSuspensions {
    all: Arc<Suspensions>,
    ends: Arc<[u32]>,
    providers: Arc<Providers>,
}

/// A suspension that holds for some mail.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// It.
    pub suspension: &'a Suspension,
    /// Until when, by the clock of queues.
    pub until: u32,
}

impl ActiveSuspensions {
    /// All of these, each until the time that `end` says of it.
    pub fn new(all: Arc<Suspensions>, end: impl Fn(UnixMillis) -> u32) -> ActiveSuspensions {
        let ends = all.all.iter().map(|one| end(one.until)).collect();
        ActiveSuspensions { all, ends, providers: Arc::default() }
    }

    /// The same, where providers are known by this.
    pub fn with(self, providers: Providers) -> ActiveSuspensions {
        ActiveSuspensions { providers: Arc::new(providers), ..self }
    }

    fn places(&self, place: Place<'_>) -> SmallVec<[usize; 4]> {
        self.all.at(place, &self.providers)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether some of the mail that goes there is to be returned, as its record tells.
    pub fn may_return(&self, place: Place<'_>, now: u32) -> bool {
        let returns = |at: usize| {
            let one = &self.all.all[at];
            self.ends[at] > now && one.effect == Effect::Return && one.scope.is_of_mail()
        };
        self.all.of_mail && self.places(place).into_iter().any(returns)
    }

    /// Whether one of them sets something.
    pub fn sets(&self) -> bool {
        self.all.sets
    }

    /// Whether records are to be looked at, as parameters of messages count.
    pub fn is_of_mail(&self) -> bool {
        self.all.of_mail
    }

    /// All mail that goes there is meant by this one; of several the one that has it wait for longest.
    pub fn at(&self, place: Place<'_>, now: u32) -> Option<Found<'_>> {
        if self.is_empty() {
            return None;
        }
        self.first(place, now, |scope| !scope.is_of_mail())
    }

    /// Mail of these that goes there is meant by this one.
    pub fn of(&self, place: Place<'_>, whose: Whose<'_>, now: u32) -> Option<Found<'_>> {
        self.first(place, now, |scope| scope.holds_of(whose))
    }

    fn first(&self, place: Place<'_>, now: u32, means: impl Fn(&Scope) -> bool) -> Option<Found<'_>> {
        let held = self.places(place).into_iter().filter(|at| {
            let one = &self.all.all[*at];
            self.ends[*at] > now && matches!(one.effect, Effect::Wait | Effect::Return) && means(&one.scope)
        });
        // What waits can still be returned, and not the other way round.
        let waits = |at: usize| self.all.all[at].effect == Effect::Wait;
        let at = held.max_by_key(|at| (waits(*at), self.ends[*at]))?;
        Some(Found { suspension: &self.all.all[at], until: self.ends[at] })
    }

    /// What is set of a site that this domain leads to; of several values of a key the one that was set last.
    pub fn settings(&self, place: Place<'_>) -> Vec<(Key, Overrule<'_>)> {
        let set = self.setters(place).into_iter();
        set.map(|(key, value, one)| (key, Overrule { value, provider: one.scope.provider.as_deref() }))
            .collect()
    }

    /// The same, with who set it.
    pub fn setters(&self, place: Place<'_>) -> Vec<(Key, &Value, &Suspension)> {
        if !self.all.sets {
            return Vec::new();
        }
        let mut found = self.places(place);
        found.sort_by_key(|at| self.all.all[*at].id);
        let set = |at: usize| {
            let one = &self.all.all[at];
            match &one.effect {
                Effect::Set(key, value) => Some((*key, value, one)),
                Effect::Wait | Effect::Return | Effect::Redirect(_) | Effect::Drain(_) => None,
            }
        };
        found.into_iter().filter_map(set).collect()
    }

    /// What leads the mail elsewhere that would go there: the last that means it.
    pub fn redirect(&self, place: Place<'_>, now: UnixMillis) -> Option<&Effect> {
        let there = self.places(place).into_iter().map(|at| &self.all.all[at]).filter(|one| one.until > now);
        let led = there.filter(|one| one.effect.leads_to().is_some());
        led.max_by_key(|one| one.id).map(|one| &one.effect)
    }

    /// Numbers and ends of those that lead mail elsewhere.
    pub fn redirects(&self) -> Vec<(u64, UnixMillis)> {
        let led = self.all().iter().filter(|one| one.effect.leads_to().is_some());
        led.map(|one| (one.id, one.until)).collect()
    }

    /// All of them.
    pub fn all(&self) -> &[Suspension] {
        self.all.all()
    }
}

#[cfg(test)]
mod tests;
