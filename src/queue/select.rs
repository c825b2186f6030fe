//! Which of the mail that waits is meant: the filters of commands and of the control API, and what is told of it.
//!
//! Most are answered from what the queues know, without reading a message. What only records tell ([`RecipientFilter`]) is looked for by whoever asks
//! (`control::search`); for shards it is then a list of recipients ([`FoundRecipients`]).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::value;
use crate::id::MessageId;
use crate::limits;
use crate::queue::lifetimes::Times;
use crate::queue::{Group, GroupPhase};
use crate::route::egress::EgressKey;

mod bad;
mod found;
mod judged;
mod names;
mod place;
mod recorded;

pub use bad::BadFilter;
pub use found::{FoundRecipients, Run};
pub use judged::PlacePredicate;
pub use names::{FILTERS, FilterName};
pub use place::{Pattern, Place, hosts};
use recorded::FilterResult;
pub use recorded::{RecipientFilter, TextPattern};

/// What a group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// For its next attempt.
    Deferred,
    /// For a connection: its time has come.
    Ready,
    /// For a suspension to end.
    Suspended,
    /// For the time at which it is to go, or for an operator who holds it.
    Held,
}

impl GroupState {
    /// All of them.
    pub const ALL: [GroupState; 4] =
        [GroupState::Deferred, GroupState::Ready, GroupState::Suspended, GroupState::Held];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Deferred => "deferred",
            GroupState::Ready => "ready",
            GroupState::Suspended => "suspended",
            GroupState::Held => "held",
        }
    }

    /// That of a group which stands among these.
    pub fn of(self, group: &Group) -> GroupState {
        match (self, group.standing) {
            (GroupState::Deferred, GroupPhase::Suspended) => GroupState::Suspended,
            (GroupState::Deferred, GroupPhase::Held | GroupPhase::Kept) => GroupState::Held,
            _ => self,
        }
    }
}

/// Which groups are meant: those of which all that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Their domain.
    pub domain: Option<Pattern>,
    /// The site it leads to. Mail that waits for its next attempt has none until then.
    pub site: Option<Pattern>,
    /// Who runs that site, by the name that shaping files have for him.
    pub provider: Option<Box<str>>,
    /// The source that it leaves by, of a configuration.
    pub source: Option<Box<str>>,
    /// Says which domains are meant by what no pattern describes. Whoever asks finds it for a provider and a source; alone it has no name, and no
    /// operator asks for it.
    pub judged: Option<PlacePredicate>,
    /// What they wait for.
    pub state: Option<GroupState>,
    /// They came so long ago, or longer, seconds.
    pub older: Option<u32>,
    /// Their message.
    pub id: Option<MessageId>,
    /// Where the lanes have a message of that id: lane and key. Found by whoever asks, for the shards to look for.
    pub entries: Vec<(u16, u32)>,
    /// What records say of them.
    pub recorded: RecipientFilter,
    /// The recipients of which that holds. Found by whoever asks, as `entries`.
    pub found: Option<Arc<FoundRecipients>>,
}

impl Filter {
    /// One more filter, by its name.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), BadFilter> {
        let cut = |text: &str| text.chars().take(limits::FILTER_TEXT_MAX).collect::<String>();
        let Some(name) = FILTERS.iter().map(|filter| filter.name).find(|other| *other == name) else {
            return Err(BadFilter::Unknown(cut(name)));
        };
        let wrong = |want| BadFilter::Wrong { name, value: cut(text), want };
        let again = match name {
            "domain" => {
                let pattern = Pattern::of_domain(text).ok_or(wrong("a domain, or *. and a domain"))?;
                self.domain.replace(pattern).is_some()
            }
            "site" => {
                let pattern =
                    Pattern::parse(text).ok_or(wrong("a site or one of its hosts, or *. and a domain"))?;
                self.site.replace(pattern).is_some()
            }
            "provider" | "source" => {
                let (meant, want) = match name {
                    "provider" => (&mut self.provider, "a provider of a shaping file"),
                    _ => (&mut self.source, "a [[source]] of the configuration"),
                };
                let value = text.trim();
                if value.is_empty() || value.len() > limits::FILTER_TEXT_MAX {
                    return Err(wrong(want));
                }
                meant.replace(value.into()).is_some()
            }
            "state" => {
                let state = GroupState::ALL.into_iter().find(|state| state.name() == text);
                self.state.replace(state.ok_or(wrong("deferred, ready, suspended or held"))?).is_some()
            }
            "older" => {
                let span = value::duration(text).map_err(|_| wrong("a time like 30m, 2h or 3d"))?;
                self.older.replace(seconds(span)).is_some()
            }
            "id" => {
                let id = text.trim().to_ascii_uppercase().parse();
                let id =
                    id.map_err(|_| wrong("a message id has 16 letters and digits, like 00000000G0000102"))?;
                self.id.replace(id).is_some()
            }
            _ => match self.recorded.set(name, text) {
                FilterResult::Set { again } => again,
                FilterResult::Wrong(grammar) => return Err(wrong(grammar)),
                FilterResult::Unknown => return Err(BadFilter::Unknown(cut(name))),
            },
        };
        if again { Err(BadFilter::Twice(name.to_owned())) } else { Ok(()) }
    }

    /// Whether nothing is asked for: everything is meant.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether the same is asked for, whatever was found of it.
    pub fn same_question_as(&self, other: &Filter) -> bool {
        let asked = |filter: &Filter| {
            let judged = filter.judged.clone().filter(|_| !filter.wants_judge());
            Filter { entries: Vec::new(), found: None, judged, ..filter.clone() }
        };
        asked(self) == asked(other)
    }

    /// Whether it is to be found first which domains are meant, by what the configuration in force says.
    pub fn wants_judge(&self) -> bool {
        self.provider.is_some() || self.source.is_some()
    }

    /// Whether only the domain is asked for, and where it leads: then all of a domain's mail is meant, or none.
    pub fn is_of_domains(&self) -> bool {
        self.state.is_none() && self.older.is_none() && self.id.is_none() && self.recorded.is_empty()
    }

    /// Whether records are to be looked through before shards can be asked.
    pub fn wants_search(&self) -> bool {
        !self.recorded.is_empty() && self.found.is_none()
    }

    /// How much dearer than others a look at a group is: what was found is looked up elsewhere in memory.
    pub fn cost(&self) -> usize {
        if self.found.is_some() { limits::FOUND_LOOK_COST } else { 1 }
    }

    /// How much dearer than a look at a group a look at a domain is.
    pub fn domain_cost(&self) -> usize {
        if self.judged.is_some() { limits::JUDGED_LOOK_COST } else { 1 }
    }

    /// Whether the site that a domain leads to is to be known.
    pub fn asks_site(&self) -> bool {
        self.site.is_some() || self.provider.is_some()
    }

    /// Whether mail of a domain that leads there can be meant. Its site is known where that is asked for.
    pub fn wants_domain(&self, place: Place<'_>, egress: EgressKey) -> bool {
        let there = |site: &Pattern| place.site.is_some_and(|name| site.matches_site(name));
        let judged = self.judged.as_ref().is_some_and(|judged| judged.means(place, egress));
        self.domain.as_ref().is_none_or(|pattern| pattern.matches(place.domain))
            && self.site.as_ref().is_none_or(there)
            // Where nobody has found out what that is, nothing is meant.
            && (judged || self.judged.is_none() && !self.wants_judge())
    }

    /// Whether a group of such a domain is meant, or some recipients of it.
    pub fn wants(&self, group: &Group, state: GroupState, times: Times<'_>) -> bool {
        self.state.is_none_or(|wanted| wanted == state.of(group))
            && self.older.is_none_or(|older| times.age(group) >= older)
            && (self.id.is_none() || self.entries.contains(&(group.location.lane, group.key)))
            && self.first(group).is_some()
    }

    /// Recipients of a group that is wanted which are meant: all of them, unless records say more.
    pub fn meant(&self, group: &Group) -> u16 {
        match (&self.found, self.recorded.is_empty()) {
            (_, true) => group.count,
            (Some(found), _) => found.of(group).map(|(_, count)| count).sum(),
            // Nobody looked for them.
            (None, _) => 0,
        }
    }

    /// The first of these that stand together: first ordinal, count.
    pub fn first(&self, group: &Group) -> Option<(u16, u16)> {
        match (&self.found, self.recorded.is_empty()) {
            (_, true) => Some((group.first, group.count)),
            (Some(found), _) => found.of(group).next(),
            (None, _) => None,
        }
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("all mail");
        }
        let mut parts = Vec::new();
        parts.extend(self.domain.as_ref().map(|domain| format!("domain={domain}")));
        parts.extend(self.site.as_ref().map(|site| format!("site={site}")));
        parts.extend(self.provider.as_ref().map(|provider| format!("provider={provider}")));
        parts.extend(self.source.as_ref().map(|source| format!("source={source}")));
        parts.extend(self.state.map(|state| format!("state={}", state.name())));
        parts.extend(self.older.map(|older| format!("older={older}s")));
        parts.extend(self.id.map(|id| format!("id={id}")));
        parts.extend(self.recorded.words());
        formatter.write_str(&parts.join(" "))
    }
}

/// How much is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Groups: the recipients of one message in one domain.
    pub groups: u64,
    /// Recipients in them.
    pub recipients: u64,
    /// Of these, how many wait for their next attempt.
    pub deferred: u64,
    /// And how many for a suspension to end.
    pub suspended: u64,
    /// And how many for the time at which they are to go, or for an operator who holds them.
    pub held: u64,
    /// Groups under way: a connection has them, and the queue knows only how many. Counted where a filter means whole domains.
    pub under_way: u64,
}

impl Tally {
    /// Counts so many recipients of a group.
    pub fn add(&mut self, count: u16, state: GroupState) {
        self.groups += 1;
        self.recipients += u64::from(count);
        self.deferred += u64::from(count) * u64::from(state == GroupState::Deferred);
        self.suspended += u64::from(count) * u64::from(state == GroupState::Suspended);
        self.held += u64::from(count) * u64::from(state == GroupState::Held);
    }

    /// Both together.
    pub fn plus(self, other: Tally) -> Tally {
        Tally {
            groups: self.groups + other.groups,
            recipients: self.recipients + other.recipients,
            deferred: self.deferred + other.deferred,
            suspended: self.suspended + other.suspended,
            held: self.held + other.held,
            under_way: self.under_way + other.under_way,
        }
    }
}

/// The order of groups within a domain: lane, key and first recipient. It stays while a group waits, wherever it is put meanwhile.
pub type Order = (u16, u32, u16);

/// The order of a group.
pub fn order(group: &Group) -> Order {
    (group.location.lane, group.key, group.first)
}

/// How far one shard's queues were gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanPosition {
    /// The place of a domain, which it keeps while it has mail.
    pub domain: u32,
    /// The last group that was told of in it.
    pub after: Option<Order>,
}

/// Where the next page begins. Texts of it are for this process only: places mean something else in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageStart {
    /// Drawn by each start.
    pub start: u32,
    /// Which shard.
    pub shard: u16,
    /// From where.
    pub from: ScanPosition,
}

impl fmt::Display for PageStart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}.{:x}.{:x}", self.start, self.shard, self.from.domain)?;
        match self.from.after {
            Some((lane, key, first)) => write!(formatter, ".{lane:x}.{key:x}.{first:x}"),
            None => Ok(()),
        }
    }
}

impl PageStart {
    /// What `PageStart::fmt` wrote.
    pub fn parse(text: &str) -> Option<PageStart> {
        let mut numbers = [0; 6];
        let mut count = 0;
        for part in text.split('.') {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            *numbers.get_mut(count)? = u32::from_str_radix(part, 16).ok().filter(|_| digits)?;
            count += 1;
        }
        let [start, shard, domain, lane, key, first] = numbers;
        let short = |number: u32| u16::try_from(number).ok();
        let after = match count {
            3 => None,
            6 => Some((short(lane)?, key, short(first)?)),
            _ => return None,
        };
        Some(PageStart { start, shard: short(shard)?, from: ScanPosition { domain, after } })
    }
}

/// A group that waits, and what its queue knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingGroup {
    /// Its domain.
    pub domain: Box<str>,
    /// Where that leads, while that is known.
    pub site: Option<Box<str>>,
    /// Nothing is started at that site now, after failures: until when (seconds of the queues' clock).
    pub closed_until: Option<u32>,
    /// What it waits for.
    pub state: GroupState,
    /// The group.
    pub group: Group,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Location;
    use crate::queue::lifetimes::Lifetimes;

    fn filter(pairs: &[(&str, &str)]) -> Result<Filter, BadFilter> {
        let mut filter = Filter::default();
        pairs.iter().try_for_each(|(name, text)| filter.set(name, text)).map(|()| filter)
    }

    fn group(lane: u16, key: u32, expiry: u32) -> Group {
        Group { count: 2, life: 0, expiry, ..Group::bare(Location { lane, slot: 0, offset: 0 }, key) }
    }

    #[test]
    fn names_and_what_lies_below_them() {
        let wants = |filter: &Filter, domain: &str| {
            filter.wants_domain(Place { domain, site: None }, EgressKey::NODE)
        };
        let whole = filter(&[("domain", " Example.ORG ")]).unwrap();
        assert!(wants(&whole, "example.org"));
        assert!(!wants(&whole, "a.example.org") && !wants(&whole, "example.or"));
        assert_eq!(filter(&[("domain", "example.org.")]).unwrap(), whole);
        assert!(wants(&filter(&[("domain", "[192.0.2.1]")]).unwrap(), "[192.0.2.1]"));
        let below = filter(&[("domain", "*.example.org")]).unwrap();
        assert!(wants(&below, "a.example.org") && wants(&below, "b.a.example.org"));
        assert!(!wants(&below, "example.org") && !wants(&below, "anexample.org"));
        for wrong in [
            "",
            "*",
            "*.",
            "a*b",
            "*example.org",
            "*.*.org",
            "u@example.org",
            "@example.org",
            "a..b",
            ".",
            "*.[192.0.2.1",
            &"x".repeat(limits::FILTER_TEXT_MAX + 1),
        ] {
            assert!(matches!(filter(&[("domain", wrong)]), Err(BadFilter::Wrong { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_site_is_meant_by_each_of_its_hosts() {
        let at = |text: &str, site: Option<&str>| {
            filter(&[("site", text)]).unwrap().wants_domain(Place { domain: "d", site }, EgressKey::NODE)
        };
        let wants = |text: &str, site: &str| at(text, Some(site));
        assert!(wants("smtp://10.0.0.2:25", "smtp://10.0.0.2:25") && wants("10.0.0.2", "smtp://10.0.0.2:25"));
        assert!(wants("192.0.2.7", "[192.0.2.7]:25") && wants("2001:db8::1", "[2001:db8::1]:25"));
        const TWO: &str = "mx:10 mx1.example.org,20 mx2.example.org:25";
        assert!(wants(TWO, TWO) && wants("mx1.example.org", TWO) && wants("mx2.example.org", TWO));
        assert!(wants("b\u{fc}cher.example", "mx:10 xn--bcher-kva.example:25"));
        assert!(wants("*.example.org", TWO) && !wants("mx3.example.org", TWO) && !wants("org", TWO));
        const LIST: &str = "0*1 smtp://a.example:25,0*2 smtps://c.example:465,";
        assert!(wants("a.example", LIST) && wants("c.example", LIST) && !wants("b.example", LIST));
        const SPARE: &str = "mx:10 mx1.example.org:25 then smtp://spare.example:25";
        assert!(wants("mx1.example.org", SPARE) && wants("spare.example", SPARE) && !wants("then", SPARE));
        const APART: &str =
            "ip1 tls=verify mx:10 mx1.example.org:25 of d.example then smtp://spare.example:25";
        assert!(wants("mx1.example.org", APART) && wants("spare.example", APART) && wants(APART, APART));
        assert!(!wants("d.example", APART) && !wants("ip1", APART) && !wants("tls=verify", APART));
        assert!(wants("lmtp:/run/Store", "lmtp:/run/Store") && wants("discard", "discard"));
        assert!(!at("x", None), "it leads nowhere yet");
    }

    #[test]
    fn age_state_and_message() {
        // Mail lives for 1000 s and it is 5000: what came at 4400 is given up at 5400.
        let lifetimes = Lifetimes::new();
        assert_eq!(lifetimes.number(1000), 0);
        let times = Times { now: 5000, lifetimes: &lifetimes };
        let wants =
            |pairs: &[_], expiry, state| filter(pairs).unwrap().wants(&group(0, 1, expiry), state, times);
        for (expiry, old) in [(5400, true), (5399, true), (5401, false)] {
            assert_eq!(wants(&[("older", "10m")], expiry, GroupState::Ready), old, "{expiry}");
        }
        assert!(
            wants(&[("older", "0s")], 6000, GroupState::Ready)
                && !wants(&[("older", "1s")], 6000, GroupState::Ready)
        );
        assert!(
            wants(&[("state", "ready")], 1, GroupState::Ready)
                && !wants(&[("state", "ready")], 1, GroupState::Deferred)
        );
        let mut one = filter(&[("id", "00000000g0000102")]).unwrap();
        assert!(!one.wants(&group(0, 1, 9), GroupState::Ready, times), "nobody said where it is");
        one.entries = vec![(0, 1)];
        assert!(one.wants(&group(0, 1, 9), GroupState::Ready, times));
        assert!(
            !one.wants(&group(1, 1, 9), GroupState::Ready, times)
                && !one.wants(&group(0, 2, 9), GroupState::Ready, times)
        );
    }

    #[test]
    fn providers_and_sources_are_found_by_who_asks() {
        let pairs = [("provider", "large"), ("source", " ip1 ")];
        let asked = filter(&pairs).unwrap();
        assert!(asked.wants_judge() && asked.asks_site() && asked.is_of_domains() && !asked.is_empty());
        assert_eq!(asked.to_string(), "provider=large source=ip1");
        let place = Place { domain: "d", site: Some("mx:10 mx1.large.example:25") };
        assert!(!asked.wants_domain(place, EgressKey::NODE), "nobody said what that is");
        let by_one = EgressKey::of_number(1);
        let judged = Some(PlacePredicate::new(move |place: Place<'_>, egress| {
            place.site.is_some() && egress == by_one
        }));
        let found = Filter { judged, ..asked.clone() };
        assert!(found.wants_domain(place, by_one) && !found.wants_domain(place, EgressKey::NODE));
        assert!(!found.wants_domain(Place { site: None, ..place }, by_one));
        assert!(found.same_question_as(&asked) && !found.same_question_as(&filter(&pairs[1..]).unwrap()));
        assert!(!filter(&pairs[1..]).unwrap().asks_site());
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for known in FILTERS {
            assert!(matches!(filter(&[(known.name, "")]), Err(BadFilter::Wrong { .. })), "{}", known.name);
        }
        assert!(matches!(filter(&[("domian", "x")]), Err(BadFilter::Unknown(_))));
        assert!(matches!(filter(&[("domain", "a.b"), ("domain", "c.d")]), Err(BadFilter::Twice(_))));
        for (name, wrong) in
            [("older", "soon"), ("older", "5"), ("state", "late"), ("id", "123"), ("site", "")]
        {
            assert!(matches!(filter(&[(name, wrong)]), Err(BadFilter::Wrong { .. })), "{name} {wrong}");
        }
    }

    #[test]
    fn what_records_say_is_to_be_searched_for() {
        let pairs = [
            ("sender", "@news.example.com"),
            ("recipient", "*.example.org"),
            ("account", "shop"),
            ("campaign", "autumn"),
            ("reply", "4\\.7\\.1"),
        ];
        let searched = filter(&pairs).unwrap();
        assert!(searched.wants_search() && !searched.is_empty() && !searched.is_of_domains());
        let words =
            "sender=@news.example.com recipient=*.example.org account=shop campaign=autumn reply=4\\.7\\.1";
        assert_eq!(searched.to_string(), words);
        assert!(
            searched.recorded.wants_records() && !filter(&[("reply", "x")]).unwrap().recorded.wants_records()
        );
        let reply = searched.recorded.reply.clone().unwrap();
        assert!(reply.is_in("451 4.7.1 later") && !reply.is_in("451 4x7.1 later"));
        assert!(filter(&[("reply", "TRY again")]).unwrap().recorded.reply.unwrap().is_in("450 try Again"));
        // Before that nobody is meant; behind it, who was found.
        let group = Group { first: 3, ..group(0, 1, 9) };
        assert_eq!((searched.first(&group), searched.meant(&group)), (None, 0));
        let mut found = FoundRecipients::default();
        found.add(0, vec![Run { key: 1, slot: 0, offset: 0, first: 4, count: 7 }]);
        let over = Filter { found: Some(Arc::new(found)), ..searched.clone() };
        assert!(
            !over.wants_search()
                && over.same_question_as(&searched)
                && !over.same_question_as(&filter(&pairs[1..]).unwrap())
        );
        assert_eq!((over.first(&group), over.meant(&group)), (Some((4, 1)), 1));
        let lifetimes = Lifetimes::new();
        let times = Times { now: 0, lifetimes: &lifetimes };
        assert!(
            over.wants(&group, GroupState::Ready, times) && !searched.wants(&group, GroupState::Ready, times)
        );
        let long = "x".repeat(limits::FILTER_TEXT_MAX + 1);
        for (name, wrong) in [
            ("sender", "example.org"),
            ("sender", ""),
            ("recipient", "<>"),
            ("account", ""),
            ("pool", &long),
            ("reply", "("),
            ("reply", ""),
            ("reply", "(a{1000}){1000}"),
        ] {
            assert!(matches!(filter(&[(name, wrong)]), Err(BadFilter::Wrong { .. })), "{name} {wrong}");
        }
        for (name, text) in pairs {
            assert_eq!(filter(&[(name, text), (name, text)]), Err(BadFilter::Twice(name.to_owned())));
        }
    }

    #[test]
    fn a_cursor_is_what_it_was() {
        let from = ScanPosition { domain: 77, after: Some((3, u32::MAX, 9)) };
        for from in [ScanPosition::default(), from, ScanPosition { after: None, ..from }] {
            let cursor = PageStart { start: 0xdead_beef, shard: 5, from };
            assert_eq!(PageStart::parse(&cursor.to_string()), Some(cursor));
        }
        for wrong in
            ["", "1.2", "1.2.3.4", "1.2.3.4.5.6.7", "1.10000.3", "1.2.3.10000.5.6", "+1.2.3", "1..3", "g.2.3"]
        {
            assert_eq!(PageStart::parse(wrong), None, "{wrong}");
        }
    }
}
