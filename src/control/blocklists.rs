//! Whether our own addresses are on lists of others (DNSBL, RFC 5782): asked now and then, told when that changes, and if the operator wants it the
//! source rests meanwhile. A thread of its own: it waits for name servers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::control::admin::Teller;
use crate::control::decisions::{Desk, SuspensionRequest};
use crate::control::health::Health;
use crate::control::notices::Concern;
use crate::control::reload::{Reload, Watched};
use crate::control::say::say;
use crate::control::thread::Turn;
use crate::dns::QueryType;
use crate::limits;
use crate::lookup::Lookup;
use crate::lookup::blocklist::{self, Standing};
use crate::observe::diagnostics::Level;
use crate::observe::event::{Admin, Listed};
use crate::queue::suspension::{Effect, Scope};
use crate::runtime::process;
use crate::time::UnixMillis;

/// One address on one list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    source: Box<str>,
    address: IpAddr,
    zone: Box<str>,
}

/// Who watches.
pub(super) struct Watch {
    reload: Arc<dyn Reload>,
    desk: Desk,
    teller: Option<Teller>,
    health: Arc<Health>,
    /// What is listed, and why.
    listed: BTreeMap<Entry, String>,
    /// Until when sources rest for it.
    rests: BTreeMap<Entry, UnixMillis>,
    /// Lists that cannot be asked, as was said.
    silent: BTreeMap<Box<str>, String>,
}

impl Watch {
    pub(super) fn new(
        reload: Arc<dyn Reload>,
        desk: Desk,
        (teller, health): (Option<Teller>, Arc<Health>),
    ) -> Watch {
        let (listed, rests, silent) = Default::default();
        Watch { reload, desk, teller, health, listed, rests, silent }
    }

    /// Watches until the node stops.
    pub(super) fn run(&mut self, turn: &Turn) {
        let clock = turn.clock();
        let mut last = None::<(Duration, Watched)>;
        while !turn.is_over() {
            let watched = self.reload.watched();
            let is_due = last.as_ref().is_none_or(|(at, before)| {
                !before.asks_as(&watched) || clock() >= at.saturating_add(watched.lists.every)
            });
            if is_due {
                self.look(&watched, &|| turn.is_over());
                self.health.notices.stand(Concern::Blocklists, self.words());
                last = Some((clock(), watched));
            }
            turn.pause(limits::BLOCKLIST_ROUND);
        }
    }

    fn look(&mut self, watched: &Watched, over: &dyn Fn() -> bool) {
        let lookup = Lookup::new(&watched.dns);
        let asked = |kind: QueryType, name: &str| lookup.ask(kind, name);
        self.silent.retain(|zone, _| watched.lists.zones.contains(zone));
        let gone: Vec<Entry> =
            self.listed.keys().filter(|entry| !is_watched(watched, entry)).cloned().collect();
        gone.iter().for_each(|entry| self.clear(entry));
        for zone in &watched.lists.zones {
            if let Err(why) = blocklist::is_kept(&asked, zone) {
                self.cannot(zone, why);
                continue;
            }
            let mut problem = None;
            for source in &watched.sources {
                for address in source.addresses() {
                    if over() {
                        return;
                    }
                    let entry = Entry { source: source.name.clone(), address, zone: zone.clone() };
                    match blocklist::ask(&asked, zone, address) {
                        Standing::Listed(why) => self.list(entry, &why, watched),
                        Standing::Clear => self.clear(&entry),
                        // What was known goes on to hold; a rest that nobody prolongs ends.
                        Standing::Unknown(why) => problem = Some(why),
                    }
                }
            }
            match problem {
                Some(why) => self.cannot(zone, why),
                None => self.can(zone),
            }
        }
    }

    fn list(&mut self, entry: Entry, why: &str, watched: &Watched) {
        let Entry { source, address, zone } = &entry;
        if self.listed.get(&entry).is_none_or(|before| before != why) {
            let rests = if watched.lists.rest {
                "it rests until it is not"
            } else {
                "see why, and ask the list to take it off"
            };
            say(
                Level::Warning,
                format_args!("source {source}: {address} is listed by {zone}: {why}; {rests}"),
            );
            self.tell(&entry, why, false);
            self.listed.insert(entry.clone(), why.to_owned());
        }
        if watched.lists.rest {
            self.rest(&entry, why, watched.lists.every);
        }
    }

    /// The source rests while looks find it there. An operator who ends that is not contradicted at the next look.
    fn rest(&mut self, entry: &Entry, why: &str, every: Duration) {
        let now = process::wall();
        if self.rests.get(entry).is_some_and(|until| now.after(every * 2) < *until) {
            return;
        }
        let until = now.after(every * 2 + limits::BLOCKLIST_REST);
        let scope = Scope { source: Some(entry.source.clone()), ..Scope::default() };
        let wanted = SuspensionRequest {
            effect: Effect::Wait,
            scope,
            until,
            by: by(&entry.zone),
            reason: format!("{} is listed: {why}", entry.address).into(),
        };
        if self.desk.suspend_by_rule(wanted) {
            self.rests.insert(entry.clone(), until);
        } else {
            say(
                Level::Warning,
                format_args!(
                    "source {} is listed and cannot be suspended: too much is being decided",
                    entry.source
                ),
            );
        }
    }

    fn clear(&mut self, entry: &Entry) {
        let Some(why) = self.listed.remove(entry) else { return };
        self.rests.remove(entry);
        let Entry { source, address, zone } = entry;
        say(Level::Info, format_args!("source {source}: {address} is not listed by {zone} any more"));
        self.tell(entry, &why, true);
        let still = self.listed.keys().any(|other| other.source == *source && other.zone == *zone);
        if !still {
            let scope = Scope { source: Some(source.clone()), ..Scope::default() };
            self.desk.resume_by_rule(scope, &by(zone));
        }
    }

    /// What whoever looks at the node is to know.
    fn words(&self) -> Vec<String> {
        let listed = self.listed.iter().take(limits::SUMMARY_NAMES).map(|(entry, why)| {
            let Entry { source, address, zone } = entry;
            format!("source {source}: {address} is listed by {zone}: {why}")
        });
        let silent = self.silent.iter().map(|(zone, why)| format!("blocklist {zone} cannot be asked: {why}"));
        listed.chain(silent).collect()
    }

    fn tell(&self, entry: &Entry, why: &str, is_over: bool) {
        let Some(teller) = &self.teller else { return };
        let (address, by) = (entry.address.to_string(), by(&entry.zone));
        let listed = Listed { by: &by, source: &entry.source, address: &address, reason: why };
        teller.tell(if is_over { Admin::Delisted(listed) } else { Admin::Listed(listed) });
    }

    /// Said once for as long as it lasts.
    fn cannot(&mut self, zone: &str, why: String) {
        if self.silent.get(zone).is_none_or(|before| *before != why) {
            say(Level::Warning, format_args!("blocklist {zone} cannot be asked about our addresses: {why}"));
            self.silent.insert(zone.into(), why);
        }
    }

    fn can(&mut self, zone: &str) {
        if self.silent.remove(zone).is_some() {
            say(Level::Info, format_args!("blocklist {zone} can be asked again"));
        }
    }
}

fn is_watched(watched: &Watched, entry: &Entry) -> bool {
    watched.lists.zones.contains(&entry.zone)
        && watched.sources.iter().any(|source| {
            source.name == entry.source && source.addresses().any(|address| address == entry.address)
        })
}

/// In whose name a source rests.
fn by(zone: &str) -> Box<str> {
    format!("blocklist {zone}").into()
}
