//! What feeds the list: events of the journal that tell of mailboxes that are not there.
//!
//! A reader goes through the journal and moves on behind what is on the list already ([`take`]), so that a kill at any point loses nothing; what it
//! then reads once more is known, or counted already.

use std::collections::BTreeMap;

use memchr::memmem;
use serde::Deserialize;

use super::keeper::{Added, KeepError, Keeper};
use crate::config::SuppressionConfig;
use crate::config::suppression::SuppressionScope;
use crate::control::store::{BounceCount, EventPlace, Store};
use crate::limits;
use crate::mail::classify::Class;
use crate::policy::suppression::canonical::canonical;
use crate::policy::suppression::entry::{Entry, OwnedEntry, Reason};
use crate::time::UnixMillis;

/// What an event tells of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What for he may come on the list.
    pub reason: Reason,
    /// Whose mail it was; None: nobody's.
    pub tenant: Option<String>,
    /// It was mail of a tenant that nobody knows any more.
    pub tenant_unknown: bool,
    /// The recipient.
    pub address: String,
    /// The id of the event.
    pub event: String,
    /// What was said.
    pub words: String,
}

/// As much of a line as counts here.
#[derive(Deserialize)]
struct Line {
    event: String,
    event_id: String,
    #[serde(default)]
    recipients: Vec<String>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    class: String,
    #[serde(default)]
    reply: String,
    #[serde(default)]
    complaint: String,
    #[serde(default)]
    counts: bool,
    #[serde(default)]
    tenant_unknown: bool,
}

/// The events that tell of it.
const EVENTS: [(&str, &[u8]); 3] = [
    ("bounced", b"\"event\":\"bounced\""),
    ("oob_bounce", b"\"event\":\"oob_bounce\""),
    ("feedback", b"\"event\":\"feedback\""),
];

impl Line {
    /// What for its recipients may come on the list. None: it is no reason.
    fn reason(&self) -> Option<Reason> {
        let hard =
            || [Class::BadMailbox, Class::InactiveMailbox].iter().any(|class| class.word() == self.class);
        match &*self.event {
            "bounced" if hard() => Some(Reason::HardBounce),
            "oob_bounce" if self.counts && hard() => Some(Reason::HardBounce),
            "feedback" if self.counts => Some(Reason::Complaint),
            _ => None,
        }
    }
}

/// Whether a reply about this says that there is no such mailbox, and never will be again.
pub fn is_hard(class: Class) -> bool {
    matches!(class, Class::BadMailbox | Class::InactiveMailbox)
}

/// What these lines of the journal tell.
pub fn read(lines: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    // Few lines are of these kinds: the others are passed over as they lie.
    for (event, mark) in EVENTS {
        for at in memmem::find_iter(lines, mark) {
            let begin = memchr::memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &lines[at..]).map_or(lines.len(), |length| at + length);
            // It may stand in metadata, too.
            let line = serde_json::from_slice::<Line>(&lines[begin..end]).ok();
            let Some(line) = line.filter(|line| line.event == event) else { continue };
            let Some(reason) = line.reason() else { continue };
            let Line { event_id, recipients, tenant, tenant_unknown, reply, complaint, .. } = line;
            let words = if complaint.is_empty() { reply } else { complaint };
            told.extend(recipients.into_iter().map(|address| Told {
                reason,
                tenant: tenant.clone().filter(|tenant| !tenant.is_empty()),
                tenant_unknown,
                address,
                event: event_id.clone(),
                words: words.clone(),
            }));
        }
    }
    told
}

/// What came on the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Mailboxes that are not there.
    pub bounced: Added,
    /// Who complained.
    pub complained: Added,
}

/// Puts on the list who belongs there by this, and then remembers that all before `at` was read. On an error nothing was read yet.
pub fn take(
    store: &mut Store,
    keeper: &mut Keeper,
    config: &SuppressionConfig,
    (told, at): (&[Told], EventPlace),
    now: UnixMillis,
) -> Result<Fed, KeepError> {
    let mut counts: BTreeMap<(String, String), BounceCount> = BTreeMap::new();
    let mut listed: Vec<OwnedEntry> = Vec::new();
    for one in told {
        let (wanted, times) = match one.reason {
            Reason::HardBounce => (config.auto.hard_bounce, config.hard_bounces),
            Reason::Complaint => (config.auto.complaint, 1),
            _ => (false, 1),
        };
        // What was accepted as a recipient may be none that the list can have.
        let Ok(address) = canonical(&one.address) else { continue };
        // Else it would hold for all mail, of a tenant's.
        if one.tenant_unknown && config.scope == SuppressionScope::Tenant {
            continue;
        }
        let tenant = one.tenant.as_deref().filter(|_| config.scope == SuppressionScope::Tenant);
        if wanted && (times <= 1 || is_last(store, &mut counts, (tenant, &address), (one, times), now)?) {
            let (tenant, reason, note) = (tenant.map(str::to_owned), one.reason, note(&one.words));
            listed.push(OwnedEntry { tenant, address, reason, added: now, expires: None, note });
        }
    }
    let mut add = |reason: Reason| {
        let entries = listed.iter().map(OwnedEntry::entry).filter(Entry::is_sound);
        let entries: Vec<Entry<'_>> = entries.filter(|entry| entry.reason == reason).collect();
        keeper.add(store, &entries)
    };
    let added = Fed { bounced: add(Reason::HardBounce)?, complained: add(Reason::Complaint)? };
    let counts: Vec<BounceCount> = counts.into_values().collect();
    store.save_event_place(at, &counts)?;
    Ok(added)
}

/// Counts it. Whether that makes it often enough.
fn is_last(
    store: &mut Store,
    counts: &mut BTreeMap<(String, String), BounceCount>,
    (tenant, address): (Option<&str>, &str),
    (told, times): (&Told, u32),
    now: UnixMillis,
) -> Result<bool, KeepError> {
    let name = (tenant.unwrap_or_default().to_owned(), address.to_owned());
    if !counts.contains_key(&name) {
        let known = store.bounce_count((&name.0, &name.1))?;
        let known = known.filter(|known| known.last.after(limits::HARD_BOUNCE_FORGOTTEN) > now);
        let fresh =
            || BounceCount { tenant: name.0.clone(), address: name.1.clone(), ..BounceCount::default() };
        counts.insert(name.clone(), known.unwrap_or_else(fresh));
    }
    let Some(count) = counts.get_mut(&name) else { return Ok(false) };
    if count.event == told.event {
        return Ok(false);
    }
    (count.times, count.last) = (count.times + 1, now);
    count.event.clone_from(&told.event);
    let enough = count.times >= times;
    if enough {
        count.times = 0;
    }
    Ok(enough)
}

/// What is kept of what was said: one line, as long as a note may be.
fn note(words: &str) -> String {
    let mut note: String =
        words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    while note.len() > limits::SUPPRESSION_NOTE_MAX {
        note.pop();
    }
    note
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::policy::suppression::shared::{Shared, Taken};

    fn bounced(id: u64, address: &str, class: &str, tenant: &str) -> String {
        format!(
            "{{\"time\":\"2026-11-29T08:00:00.000Z\",\"event\":\"bounced\",\"event_id\":\"{id}-b0.1\",\"node\":\"1\",\"id\":\"{id}\",\"sender\":\"a@b\",\
             \"recipients\":[\"{address}\"],\"reply\":\"550 5.1.1 no\\nsuch user\",\"tenant\":\"{tenant}\",\"class\":\"{class}\"}}\n"
        )
    }

    struct Bench {
        directory: tempfile::TempDir,
        shared: Arc<Shared>,
        store: Store,
        keeper: Keeper,
    }

    impl Bench {
        fn open(directory: tempfile::TempDir) -> Bench {
            let (mut store, _) = Store::open(directory.path());
            let shared = Arc::default();
            let keeper = Keeper::open(directory.path(), &mut store, &shared, [3; 16]).unwrap().0;
            Bench { directory, shared, store, keeper }
        }

        fn take(&mut self, config: &SuppressionConfig, text: &str, at: u64) -> Added {
            let told = read(text.as_bytes());
            let (store, keeper) = (&mut self.store, &mut self.keeper);
            let fed = take(store, keeper, config, (&told, [1, at, 0]), UnixMillis(5_000)).unwrap();
            assert_eq!(fed.complained, Added::default());
            fed.bounced
        }

        fn is_listed(&self, address: &str, tenant: Option<&str>) -> bool {
            let domain_at = address.find('@').unwrap() + 1;
            Taken::new(&self.shared).list().find(address.as_bytes(), domain_at, tenant).is_some()
        }

        fn again(self) -> Bench {
            drop((self.keeper, self.store));
            Bench::open(self.directory)
        }
    }

    #[test]
    fn only_mailboxes_that_are_not_there_are_told() {
        let lines = [
            "{\"event\":\"received\",\"event_id\":\"1\",\"recipients\":[\"x@y\"],\"metadata\":{\"event\":\"bounced\"},\"class\":\"bad_mailbox\"}\n",
            &bounced(1, "a@x", "policy", ""),
            &bounced(2, "b@x", "bad_mailbox", "shop"),
            "{\"event\":\"bounced\",\"event_id\":\"3\",\"recipients\":[\"torn",
        ]
        .concat();
        let told = read(lines.as_bytes());
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&*told[0].address, told[0].tenant.as_deref()), ("b@x", Some("shop")));
        assert_eq!(note(&told[0].words), "550 5.1.1 no such user");
        assert_eq!(note(&"\u{fc}".repeat(200)).len(), 254);
        for class in Class::ALL {
            assert_eq!(is_hard(class), read(bounced(1, "a@x", class.word(), "").as_bytes()).len() == 1);
        }
    }

    #[test]
    fn who_bounced_is_listed_for_whom_the_scope_says() {
        let mut bench = Bench::open(tempfile::tempdir().unwrap());
        let usual = SuppressionConfig::default();
        let text = bounced(1, "Ada@X.example", "bad_mailbox", "shop")
            + &bounced(2, "bob@x.example", "inactive_mailbox", "")
            + &bounced(3, "no address", "bad_mailbox", "");
        assert_eq!(bench.take(&usual, &text, 7), Added { changed: 2, known: 0 });
        assert!(
            bench.is_listed("ada@x.example", Some("shop")) && bench.is_listed("bob@x.example", Some("shop"))
        );
        assert!(!bench.is_listed("ada@x.example", None) && !bench.is_listed("ada@x.example", Some("other")));
        assert_eq!(bench.store.event_place().unwrap(), Some([1, 7, 0]));
        // A kill in front of that: it is read once more.
        let mut bench = bench.again();
        assert_eq!(bench.take(&usual, &text, 7), Added { changed: 0, known: 2 });
        let of_node = SuppressionConfig { scope: SuppressionScope::Node, ..usual };
        assert_eq!(bench.take(&of_node, &text, 9).changed, 1);
        assert!(bench.is_listed("ada@x.example", None));
        let off = SuppressionConfig { auto: Default::default(), ..usual };
        assert_eq!(bench.take(&off, &bounced(4, "c@x.example", "bad_mailbox", ""), 11), Added::default());
        assert_eq!(bench.store.event_place().unwrap(), Some([1, 11, 0]), "it was read all the same");
    }

    #[test]
    fn a_mailbox_is_listed_when_it_was_refused_so_often() {
        let mut bench = Bench::open(tempfile::tempdir().unwrap());
        let config = SuppressionConfig { hard_bounces: 3, ..SuppressionConfig::default() };
        let told = |id| bounced(id, "ada@x.example", "bad_mailbox", "shop");
        assert_eq!(bench.take(&config, &told(1), 1).changed, 0);
        assert_eq!(bench.take(&config, &told(1), 1).changed, 0, "the same event, told again");
        let mut bench = bench.again();
        assert_eq!(bench.take(&config, &told(2), 2).changed, 0);
        assert!(!bench.is_listed("ada@x.example", Some("shop")));
        assert_eq!(bench.take(&config, &told(3), 3).changed, 1);
        assert!(bench.is_listed("ada@x.example", Some("shop")));
        assert_eq!(
            bench.store.bounce_count(("shop", "ada@x.example")).unwrap(),
            None,
            "it needs no count any more"
        );
        // Of long ago nothing is left.
        let later = UnixMillis(5_000).after(2 * limits::HARD_BOUNCE_FORGOTTEN);
        for (id, now) in [(11, UnixMillis(5_000)), (12, UnixMillis(5_000)), (13, later)] {
            let told = read(bounced(id, "eve@x.example", "bad_mailbox", "").as_bytes());
            let done = take(&mut bench.store, &mut bench.keeper, &config, (&told, [1, id, 0]), now);
            assert_eq!(done.unwrap().bounced.changed, 0);
        }
        assert!(!Path::new(bench.directory.path()).join("suppression/list").exists());
    }
}
