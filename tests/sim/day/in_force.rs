//! Which configurations were in force when, and what mail that came then shows of them: no transaction goes by two, none by one that is
//! replaced or was refused, and mail leaves by where the last one leads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use relevo::time::Instant;

use super::ledger::numbers;
use super::plan::Plan;
use super::reloads::Version;

/// Within which all shards close what is gone.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// A recipient came to a hop.
struct Came {
    at: Instant,
    address: String,
    by_route: bool,
}

#[derive(Default)]
pub struct InForce {
    /// In the order in which they came into force, those of starts among them.
    versions: RefCell<Vec<(Instant, Version)>>,
    /// Of each try: the first and the last of these that may have been in force when its MAIL was answered.
    begun: RefCell<BTreeMap<usize, (usize, usize)>>,
    /// What was said to its recipients.
    answers: RefCell<BTreeMap<(usize, usize), (String, u16)>>,
    /// The number of the version that records say it came under.
    told: RefCell<BTreeMap<usize, usize>>,
    came: RefCell<Vec<Came>>,
    /// There are several of them.
    is_watched: Cell<bool>,
}

impl InForce {
    /// It is in force from now on.
    pub fn put(&self, now: Instant, version: Version) {
        self.is_watched.set(version.number.is_some());
        self.versions.borrow_mut().push((now, version));
    }

    /// How many have come into force.
    pub fn count(&self) -> usize {
        self.versions.borrow().len()
    }

    /// A client was greeted that came when there were so many of them, and now; what is wrong with that.
    pub fn greeted(&self, count: usize, came: Instant) -> Option<String> {
        let versions = self.versions.borrow();
        let (since, version) = versions.last().filter(|_| count == versions.len())?;
        let wrong = !version.listens() && came > *since + CLOSED_WITHIN;
        wrong.then(|| format!("a listener that is gone since {since:?} greets who came at {came:?}"))
    }

    /// The MAIL of a try was answered, sent when there were so many of them.
    pub fn begun(&self, number: usize, count: usize) {
        if self.is_watched.get() {
            self.begun.borrow_mut().insert(number, (count.saturating_sub(1), self.count() - 1));
        }
    }

    /// This was said to a recipient of a try.
    pub fn answered(&self, (number, place): (usize, usize), address: &str, code: u16) {
        if self.is_watched.get() {
            self.answers.borrow_mut().insert((number, place), (address.to_owned(), code));
        }
    }

    /// Whether no recipient of a try may come again: all are refused for good.
    pub fn is_refused(&self, number: usize) -> bool {
        let answers = self.answers.borrow();
        let mut of = answers.range((number, 0)..(number + 1, 0)).peekable();
        of.peek().is_some() && of.all(|(_, (_, code))| *code == 550)
    }

    /// A record of the log about a try; what is wrong with it.
    pub fn log(&self, number: usize, record: &serde_json::Value) -> Option<String> {
        if !self.is_watched.get() {
            return None;
        }
        let version = record["pool"].as_str().and_then(|pool| pool.strip_prefix('v')?.parse().ok());
        let Some(version) = version else { return Some(format!("t{number}: of no version: {record}")) };
        let before = *self.told.borrow_mut().entry(number).or_insert(version);
        (before != version).then(|| format!("t{number}: came under v{before}, but not in {record}"))
    }

    /// A recipient came to a hop, by a route or as the DNS says.
    pub fn came(&self, at: Instant, address: &str, by_route: bool) {
        if self.is_watched.get() {
            self.came.borrow_mut().push(Came { at, address: address.to_owned(), by_route });
        }
    }

    /// Those that a try may have come under.
    fn of(&self, number: usize) -> Vec<Version> {
        let versions = self.versions.borrow();
        let told = self.told.borrow().get(&number).copied();
        let (first, last) = self.begun.borrow().get(&number).copied().unwrap_or((0, versions.len() - 1));
        let all = versions[first..=last].iter().map(|(_, version)| version);
        all.filter(|version| told.is_none_or(|told| version.number == Some(told))).cloned().collect()
    }

    /// Whether a rule discarded what came for a recipient: perhaps not, if nobody was told which rules there were. None: no rule did.
    pub fn discards(&self, address: &str) -> Option<bool> {
        if !self.is_watched.get() {
            return None;
        }
        let (number, _) = numbers(address)?;
        let (_, domain) = address.split_once('@')?;
        let of = self.of(number);
        let discards = |version: &&Version| version.discarded.contains(domain);
        of.iter().any(|version| discards(&version)).then(|| of.iter().all(|version| discards(&version)))
    }

    /// All that is wrong at the end of the day.
    pub fn judge(&self, plan: &Plan) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, told) in self.told.borrow().iter().filter(|(number, _)| self.of(**number).is_empty()) {
            let begun = self.begun.borrow().get(number).copied();
            wrong.push(format!(
                "t{number}: came under v{told}, which was not in force at its MAIL ({begun:?})"
            ));
        }
        for ((number, _), (address, code)) in self.answers.borrow().iter() {
            let of = self.of(*number);
            let domain = address.rsplit('@').next().unwrap_or_default();
            let refuses = |version: &Version| version.refused.contains(domain);
            if !of.is_empty() && *code == 250 && of.iter().all(refuses) {
                wrong.push(format!("{address}: taken, though a rule refuses it"));
            }
            if !of.is_empty() && *code == 550 && !of.iter().any(refuses) {
                wrong.push(format!("{address}: refused, though no rule does"));
            }
        }
        self.judge_ways(plan, &mut wrong);
        wrong
    }

    /// Where mail was led, and by what. What is under way when routes change ends where it began.
    fn judge_ways(&self, plan: &Plan, wrong: &mut Vec<String>) {
        let versions = self.versions.borrow();
        for Came { at, address, by_route } in self.came.borrow().iter() {
            let Some((_, domain)) = address.split_once('@') else { continue };
            let site = plan.sites.iter().position(|site| site.domains.iter().any(|one| one == domain));
            let Some(site) = site else { continue };
            let under_way = plan.under_way_max(site, *at);
            let leads = |place: usize| {
                let over = versions.get(place + 1).is_some_and(|(next, _)| *next + under_way < *at);
                let (since, version) = &versions[place];
                !over && since <= at && version.led.contains(domain) == *by_route
            };
            if !(0..versions.len()).any(leads) {
                let way = if *by_route { "a route that was gone" } else { "the DNS, past a route" };
                wrong.push(format!("{address}: led by {way} at {at:?}"));
            }
        }
    }
}
