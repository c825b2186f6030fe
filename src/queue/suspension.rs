//! What may not go now: mail that an operator or a rule for replies holds back, or has returned, and keys of a site that have another value
//! meanwhile. One value of all of them, never changed, only replaced as a whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::limits;
use crate::queue::select::{Pattern, hosts};
use crate::shaping::key::Key;
use crate::shaping::value::Value;
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
}

impl Effect {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Effect::Wait => "wait",
            Effect::Return => "return",
            Effect::Set(..) => "set",
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
    /// Its tenant; empty: it has none. As the two below a parameter of the message, which only its record tells.
    pub tenant: Option<Box<str>>,
    /// Its campaign; empty: it has none.
    pub campaign: Option<Box<str>>,
    /// Its pool; empty: it has none.
    pub pool: Option<Box<str>>,
}

impl Scope {
    /// Whether all mail is meant.
    pub fn is_all(&self) -> bool {
        *self == Scope::default()
    }

    /// Whether only records tell what is meant.
    pub fn is_of_mail(&self) -> bool {
        self.tenant.is_some() || self.campaign.is_some() || self.pool.is_some()
    }

    fn holds_at(&self, place: Place<'_>) -> bool {
        self.domain.as_ref().is_none_or(|domain| domain.matches(place.domain))
            && self.site.as_ref().is_none_or(|site| place.site.is_some_and(|name| site.matches_site(name)))
    }

    fn holds_of(&self, whose: Whose<'_>) -> bool {
        let is = |wanted: &Option<Box<str>>, value: &str| wanted.as_ref().is_none_or(|name| **name == *value);
        is(&self.tenant, whose.tenant) && is(&self.campaign, whose.campaign) && is(&self.pool, whose.pool)
    }
}

impl fmt::Display for Scope {
    /// As filters are written.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { domain, site, tenant, campaign, pool } = self;
        let mut words = Vec::new();
        words.extend(domain.as_ref().map(|domain| format!("domain={domain}")));
        words.extend(site.as_ref().map(|site| format!("site={site}")));
        for (name, value) in [("tenant", tenant), ("campaign", campaign), ("pool", pool)] {
            words.extend(value.as_ref().map(|value| format!("{name}={value}")));
        }
        if words.is_empty() {
            return formatter.write_str("all mail");
        }
        formatter.write_str(&words.join(" "))
    }
}

/// Where mail goes, as far as queues know.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its domain, in lower case.
    pub domain: &'a str,
    /// The site that the domain leads to, while that is known.
    pub site: Option<&'a str>,
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The places of those that may be of mail that goes there.
    fn at(&self, place: Place<'_>) -> SmallVec<[usize; 4]> {
        let mut found = SmallVec::new();
        let mut look = |places: Option<&Vec<u32>>| {
            for at in places.into_iter().flatten().map(|at| *at as usize) {
                if self.all[at].scope.holds_at(place) {
                    found.push(at);
                }
            }
        };
        look(self.by_domain.get(place.domain));
        if let Some(site) = place.site.filter(|_| !self.by_site.is_empty()) {
            let whole = site.to_ascii_lowercase();
            look(self.by_site.get(&*whole));
            hosts(site).filter(|host| *host != whole).for_each(|host| look(self.by_site.get(host)));
        }
        look(Some(&self.wide));
        found
    }
}

/// Those that are in force as a shard's queues have them: until when, by their clock.
#[derive(Clone, Debug, Default)]
pub struct Held {
    all: Arc<Suspensions>,
    ends: Arc<[u32]>,
}

/// A suspension that holds for some mail.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// It.
    pub suspension: &'a Suspension,
    /// Until when, by the clock of queues.
    pub until: u32,
}

impl Held {
    /// All of these, each until the time that `end` says of it.
    pub fn new(all: Arc<Suspensions>, end: impl Fn(UnixMillis) -> u32) -> Held {
        let ends = all.all.iter().map(|one| end(one.until)).collect();
        Held { all, ends }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
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
        let held = self.all.at(place).into_iter().filter(|at| {
            let one = &self.all.all[*at];
            self.ends[*at] > now && !matches!(one.effect, Effect::Set(..)) && means(&one.scope)
        });
        // What waits can still be returned, and not the other way round.
        let waits = |at: usize| self.all.all[at].effect == Effect::Wait;
        let at = held.max_by_key(|at| (waits(*at), self.ends[*at]))?;
        Some(Found { suspension: &self.all.all[at], until: self.ends[at] })
    }

    /// What is set of a site that this domain leads to; of several values of a key the one that was set last.
    pub fn settings(&self, place: Place<'_>) -> Vec<(Key, &Value)> {
        if !self.all.sets {
            return Vec::new();
        }
        let mut found = self.all.at(place);
        found.sort_by_key(|at| self.all.all[*at].id);
        let set = |at: usize| match &self.all.all[at].effect {
            Effect::Set(key, value) => Some((*key, value)),
            Effect::Wait | Effect::Return => None,
        };
        found.into_iter().filter_map(set).collect()
    }

    /// All of them.
    pub fn all(&self) -> &[Suspension] {
        self.all.all()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shaping::value::Limit;

    fn scope(words: &str) -> Scope {
        let mut scope = Scope::default();
        for (name, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
            match name {
                "domain" => scope.domain = Pattern::parse(value),
                "site" => scope.site = Pattern::parse(value),
                "tenant" => scope.tenant = Some(value.into()),
                "campaign" => scope.campaign = Some(value.into()),
                _ => scope.pool = Some(value.into()),
            }
        }
        scope
    }

    /// Those of these scopes, by number; each holds for ten seconds longer than the one before.
    fn held(all: &[(&str, Effect)]) -> Held {
        let one = |(id, (words, effect)): (u64, &(&str, Effect))| Suspension {
            id,
            effect: effect.clone(),
            scope: scope(words),
            since: UnixMillis(0),
            until: UnixMillis(1000).after(Duration::from_secs(10 * (id + 1))),
            by: "".into(),
            reason: "".into(),
        };
        let all = (0..).zip(all).map(one).collect();
        Held::new(Arc::new(Suspensions::new(all)), UnixMillis::seconds)
    }

    const SITE: &str = "mx:10 mx1.Example.org:25,20 mx2.example.org:25,";

    #[test]
    fn what_is_meant_is_found_and_nothing_else() {
        for (words, domain, site, found) in [
            ("domain=a.example", "a.example", None, true),
            ("domain=a.example", "b.a.example", None, false),
            ("domain=*.a.example", "b.a.example", None, true),
            ("site=mx2.example.org", "d.example", Some(SITE), true),
            ("site=mx2.example.org", "d.example", None, false),
            ("site=*.example.org", "d.example", Some(SITE), true),
            ("site=mx3.example.org", "d.example", Some(SITE), false),
            ("domain=a.example site=mx2.example.org", "a.example", Some(SITE), true),
            ("domain=a.example site=mx2.example.org", "a.example", Some("mx:10 other.example:25,"), false),
        ] {
            let held = held(&[(words, Effect::Wait)]);
            let place = Place { domain, site };
            assert_eq!(held.at(place, 5).is_some(), found, "{words}: {domain} {site:?}");
            assert_eq!(held.of(place, Whose::default(), 5).is_some(), found, "{words}");
            assert!(held.at(place, 11).is_none(), "it is over");
        }
        let mut exact = held(&[("", Effect::Wait)]).all()[0].clone();
        exact.scope.site = Some(Pattern::Whole(SITE.into()));
        let exact = Held::new(Arc::new(Suspensions::new(vec![exact])), UnixMillis::seconds);
        assert!(exact.at(Place { domain: "d.example", site: Some(SITE) }, 5).is_some());
    }

    #[test]
    fn parameters_count_where_a_record_tells_them() {
        let held = held(&[("domain=a.example tenant=shop campaign=", Effect::Return)]);
        let place = Place { domain: "a.example", site: None };
        let of = |tenant, campaign| held.of(place, Whose { tenant, campaign, pool: "x" }, 5).is_some();
        assert!(held.is_of_mail() && held.at(place, 5).is_none());
        assert!(of("shop", "") && !of("shop", "spring") && !of("", ""));
    }

    #[test]
    fn what_waits_for_longest_comes_first_and_before_what_is_returned() {
        let effects = [Effect::Wait, Effect::Wait, Effect::Return];
        let held = held(&effects.map(|effect| ("domain=a.example", effect)));
        let place = Place { domain: "a.example", site: None };
        let at = |now| held.at(place, now).map(|found| (found.suspension.id, found.until));
        assert_eq!([5, 15, 25, 31].map(at), [Some((1, 21)), Some((1, 21)), Some((2, 31)), None]);
    }

    #[test]
    fn the_last_setting_of_a_key_comes_last() {
        let set = |most| Effect::Set(Key::ConnectionLimit, Value::Limit(Limit { most, local: false }));
        let all =
            [("site=mx1.example.org", set(5)), ("domain=d.example", set(1)), ("domain=x.example", set(9))];
        let held = held(&all);
        let found = held.settings(Place { domain: "d.example", site: Some("mx:10 mx1.example.org:25,") });
        let values: Vec<_> = found.iter().map(|(key, value)| (key.name(), value.to_string())).collect();
        assert_eq!(values, [("connection_limit", "5".to_owned()), ("connection_limit", "1".to_owned())]);
        assert!(held.at(Place { domain: "d.example", site: None }, 5).is_none(), "nothing waits for it");
    }

    #[test]
    fn those_that_are_of_no_whole_name_are_few() {
        let wide: Vec<_> = (0..limits::SUSPENSIONS_WIDE_MAX).map(|_| ("tenant=shop", Effect::Wait)).collect();
        let held = held(&wide);
        let room = |words| held.all.has_room(&scope(words));
        assert!(room("domain=a.example tenant=shop") && !room("domain=*.a.example") && !room("campaign=x"));
    }
}
