//! What control asks of shards: pages of a queue that changes under them, mail that is tried at once, and mail that goes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use relevo::config::AddressPattern;
use relevo::queue::select::{Filter, FoundRecipients, GroupState, Run, ScanPosition};
use relevo::runtime::Defect;
use relevo::runtime::sim::World;
use relevo::shard::ask::{Ask, IndexPage, Keys, Part, Reply, Row, StoredRecipients};
use relevo::shard::trace::{Side, TraceFilter, Tracing};

use super::peers::{Client, Sink};
use super::relay::{Relay, run_until_true};
use super::story;

pub(super) const SHARDS: usize = 2;
/// Nothing is tried twice by itself while a story lasts.
const SLOW: &str = "[retry]\nfirst = \"2h\"\nmax = \"2h\"\n";

pub(super) fn filter(pairs: &[(&str, &str)]) -> Arc<Filter> {
    let mut filter = Filter::default();
    pairs.iter().for_each(|(name, text)| filter.set(name, text).expect("a filter"));
    Arc::new(filter)
}

/// Goes through all shards; `between` two parts something happens.
pub(super) fn parts(
    relay: &Relay<'_>,
    mut between: impl FnMut(),
    ask: impl Fn(ScanPosition, Reply<Part>) -> Ask,
) -> Vec<Part> {
    let mut parts = Vec::new();
    for shard in 0..SHARDS {
        let mut from = Some(ScanPosition::default());
        while let Some(place) = from {
            let part = relay.ask(shard, |reply| ask(place, reply));
            from = part.next;
            parts.push(part);
            assert!(parts.len() < 2_000, "there is no end");
            between();
        }
    }
    parts
}

pub(super) fn list(relay: &Relay<'_>, filter: &Arc<Filter>, most: usize, between: impl FnMut()) -> Vec<Row> {
    let parts = parts(relay, between, |from, reply| Ask::List(filter.clone(), from, most, reply));
    assert!(parts.iter().all(|part| part.rows.len() <= most));
    parts.into_iter().flat_map(|part| part.rows).collect()
}

fn keys(rows: &[Row]) -> BTreeSet<(u16, u32)> {
    rows.iter().map(|row| (row.seen.group.location.lane, row.seen.group.key)).collect()
}

/// A relay with deferred mail: messages to `old` at seven domains.
pub(super) fn deferred<'a>(world: &'a World, messages: usize) -> (Relay<'a>, Sink, Client) {
    let sink = Sink::start(world, "10.0.0.2:25");
    sink.defer.set(true);
    let relay = Relay::start(world, 1, SHARDS, SLOW);
    let client = Client::start_bulk(world, "10.0.0.1:25", 4, messages / 4, 1);
    assert!(run_until_true(world, Duration::from_secs(120), || client.is_done()));
    world.run_for(Duration::from_secs(5));
    assert_eq!(relay.sum(|counters| &counters.queued_recipients), messages as u64);
    (relay, sink, client)
}

/// Pages while mail comes, goes and is deferred; with the defect some of what waits all along is in none.
fn pages_are_whole(seed: u64, plant: Option<Defect>) -> bool {
    let world = World::new(seed);
    let (relay, _sink, _client) = deferred(&world, 60);
    let all = filter(&[]);
    let waited = keys(&list(&relay, &all, 256, || {}));
    assert_eq!(waited.len(), 60, "one page of each shard has it all");
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let _more = Client::start_bulk(&world, "10.0.0.1:25", 3, 30, 2);
    let most = 1 + seed as usize % 4;
    let rows = list(&relay, &all, most, || world.run_for(Duration::from_millis(seed * 13 % 40)));
    let whole = waited.is_subset(&keys(&rows));
    world.run_for(Duration::from_secs(60));
    relay.drain();
    whole
}

#[test]
fn what_waits_is_told_page_by_page() {
    story(4, |seed| assert!(pages_are_whole(seed, None), "mail that waited was in no page"));
}

fn skipped_pages_are_found(defect: Defect) {
    assert!((1..=8).any(|seed| !pages_are_whole(seed, Some(defect))));
}

#[test]
fn rows_tell_what_the_lanes_know() {
    story(3, |seed| {
        let world = World::new(seed);
        let (relay, _sink, _client) = deferred(&world, 40);
        let rows = list(&relay, &filter(&[("domain", "d3.example")]), 10, || {});
        let all =
            parts(&relay, || {}, |from, reply| Ask::Count(filter(&[("state", "deferred")]), from, reply));
        assert_eq!(all.iter().map(|part| part.tally.recipients).sum::<u64>(), 40);
        assert!(!rows.is_empty() && rows.len() < 40);
        for row in &rows {
            let group = row.seen.group;
            assert_eq!(
                (&*row.seen.domain, row.seen.state, group.attempts),
                ("d3.example", GroupState::Deferred, 1)
            );
            let place = StoredRecipients {
                location: group.location,
                key: group.key,
                first: group.first,
                count: group.count,
            };
            let mut details = Vec::new();
            for shard in 0..SHARDS {
                details
                    .extend(relay.ask(shard, |reply| Ask::Details(vec![place], reply)).into_iter().flatten());
            }
            let [detail] = &details[..] else { panic!("one lane has it: {details:?}") };
            assert_eq!(
                (&*detail.sender, &detail.recipients[..]),
                ("sender@origin.example", &["old@d3.example".to_owned()][..])
            );
            assert!(detail.reply.contains("450 4.2.1 not yet"), "{detail:?}");
            // Its id leads to it, and to nothing else.
            let found: Vec<_> =
                (0..SHARDS).flat_map(|shard| relay.ask(shard, |reply| Ask::Find(detail.id, reply))).collect();
            assert_eq!(found, [(group.location.lane, group.key)]);
            let mut one = Filter::clone(&filter(&[("id", &detail.id.to_string())]));
            one.entries = found;
            assert_eq!(list(&relay, &Arc::new(one), 10, || {}).len(), 1);
            let mut shown = (0..SHARDS).filter_map(|shard| {
                relay.ask(shard, |reply| Ask::Show(group.location.lane, group.key, detail.id, reply)).ok()
            });
            let shown = shown.next().expect("its lane shows it");
            assert_eq!((shown.recipients, shown.left, shown.live.len()), (1, 1, 1));
        }
        relay.drain();
    });
}

#[test]
fn a_retry_is_tried_at_once() {
    story(4, |seed| {
        let world = World::new(seed);
        let (relay, sink, client) = deferred(&world, 80);
        sink.defer.set(false);
        let chosen = filter(&[("domain", "d5.example")]);
        let meant = list(&relay, &chosen, 256, || {}).len();
        let retried = parts(&relay, || {}, |from, reply| Ask::Retry(chosen.clone(), from, reply));
        assert_eq!(retried.iter().map(|part| part.tally.recipients).sum::<u64>(), meant as u64);
        world.run_for(Duration::from_secs(10));
        assert_eq!(sink.received.borrow().len(), meant, "these, and no others");
        let _ = parts(&relay, || {}, |from, reply| Ask::Retry(filter(&[]), from, reply));
        world.run_for(Duration::from_secs(10));
        super::check(&client, &sink, 0);
        assert_eq!(relay.sum(|counters| &counters.queued_recipients), 0);
        relay.drain();
    });
}

#[test]
fn a_bounce_ends_each_recipient_once() {
    story(4, |seed| {
        let world = World::new(seed);
        let (relay, sink, _client) = deferred(&world, 80);
        let chosen = filter(&[("domain", "d5.example")]);
        let meant = list(&relay, &chosen, 256, || {}).len();
        let bounce = |chosen: &Arc<Filter>| {
            let ask = |from, reply| Ask::Bounce(chosen.clone(), from, "out of season".into(), reply);
            parts(&relay, || {}, ask).iter().map(|part| part.tally.recipients).sum::<u64>()
        };
        assert_eq!(bounce(&filter(&[("older", "1h")])), 0, "none is so old");
        assert_eq!(bounce(&chosen), meant as u64);
        world.run_for(Duration::from_secs(10));
        {
            let bounces = sink.bounces.borrow();
            assert_eq!(bounces.len(), meant);
            for words in ["Final-Recipient: rfc822; old@d5.example", "Status: 5.7.1", "out of season"] {
                assert!(bounces.iter().all(|text| text.contains(words)), "{words}: {}", bounces[0]);
            }
        }
        assert_eq!(relay.sum(|counters| &counters.queued_recipients), 80 - meant as u64);
        assert_eq!(bounce(&chosen), 0, "they are gone");
        relay.drain();
        // And stay so.
        sink.defer.set(false);
        let relay = Relay::start(&world, 1, SHARDS, SLOW);
        assert_eq!(relay.found, 80 - meant);
        relay.drain();
    });
}

/// An operator means mail that came two hours ago. The wall clock is set by a month meanwhile, and that makes no mail older or younger.
#[test]
fn a_bounce_of_old_mail_goes_by_no_wall_clock() {
    const MONTH: i64 = 30 * 86_400_000;
    for (numbered, set) in [(true, -MONTH), (true, MONTH), (false, -MONTH), (false, MONTH)] {
        let world = World::new(7);
        let sink = Sink::start(&world, "10.0.0.2:25");
        sink.defer.set(true);
        let relay = Relay::start(&world, 1, SHARDS, "[retry]\nfirst = \"1h\"\nmax = \"1h\"\n");
        if !numbered {
            relay.forget_lifetimes();
        }
        let take = |port| {
            let client = Client::start_bulk(&world, "10.0.0.1:25", port, 10, 1);
            assert!(run_until_true(&world, Duration::from_secs(120), || client.is_done()));
            world.run_for(Duration::from_secs(5));
        };
        take(4);
        world.run_for(Duration::from_secs(7_000));
        world.move_wall(set);
        take(5);
        world.run_for(Duration::from_secs(300));
        let bounce = |older: &str| {
            let chosen = filter(&[("older", older)]);
            let ask = |from, reply| Ask::Bounce(chosen.clone(), from, "too late".into(), reply);
            parts(&relay, || {}, ask).iter().map(|part| part.tally.recipients).sum::<u64>()
        };
        let waits = relay.sum(|counters| &counters.queued_recipients);
        assert_eq!(bounce("1d"), 0, "none is so old: {numbered} {set}");
        let old = bounce("2h");
        assert!(old > 0 && old < waits, "{old} of {waits}: {numbered} {set}");
        assert_eq!(bounce("1h"), 0, "all others came after the clock was set: {numbered} {set}");
        assert_eq!(bounce("1m"), waits - old, "{numbered} {set}");
        relay.drain();
    }
}

/// The process dies right behind the answer: what was told to be returned is not found again.
fn is_on_disk(seed: u64, plant: Option<Defect>) -> bool {
    let world = World::new(seed);
    let (relay, _sink, _client) = deferred(&world, 80);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let mut returned = 0;
    for shard in 0..SHARDS {
        let part = relay.ask(shard, |reply| {
            Ask::Bounce(filter(&[]), ScanPosition::default(), "out of season".into(), reply)
        });
        assert_eq!((part.next, part.unwritten), (None, 0));
        returned += part.tally.recipients as usize;
    }
    assert_eq!(returned, 80);
    world.kill(1);
    let relay = Relay::start(&world, 1, SHARDS, SLOW);
    // Their notifications wait, and nothing else.
    let rows = list(&relay, &filter(&[("domain", "*.example")]), 256, || {});
    let old = rows.iter().filter(|row| &*row.seen.domain != "origin.example").count();
    relay.drain();
    old == 0
}

#[test]
fn what_is_told_to_be_returned_is_on_disk() {
    story(4, |seed| assert!(is_on_disk(seed, None), "a recipient that was returned waits again"));
}

fn returned_too_early_is_found(defect: Defect) {
    assert!((1..=8).any(|seed| !is_on_disk(seed, Some(defect))));
}

/// The process dies while mail goes back: each recipient is returned or waits, never both.
#[test]
fn a_kill_in_the_middle_of_a_bounce_leaves_the_rest() {
    story(10, |seed| {
        let world = World::new(seed);
        let (relay, sink, client) = deferred(&world, 200);
        let asker = Arc::new(());
        for shard in 0..SHARDS {
            relay.begin(
                shard,
                Ask::Bounce(
                    filter(&[]),
                    ScanPosition::default(),
                    "out of season".into(),
                    Reply::new(&asker, |_| {}),
                ),
            );
        }
        world.run_for(Duration::from_micros(seed * 1_700));
        world.kill(1);
        sink.defer.set(false);
        let relay = Relay::start(&world, 1, SHARDS, SLOW);
        let _ = parts(&relay, || {}, |from, reply| Ask::Retry(filter(&[]), from, reply));
        world.run_for(Duration::from_secs(60));
        // A notification may come twice, where the kill took that it was delivered: it is the same one.
        let bounces = sink.bounces.borrow();
        let name = |text: &String| {
            let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with("message-id:"));
            line.map(str::to_owned)
        };
        let notices: BTreeSet<_> = bounces.iter().map(|text| name(text).expect("a name")).collect();
        let (returned, delivered) = (notices.len(), sink.received.borrow().len());
        let distinct: BTreeSet<_> = sink.received.borrow().iter().cloned().collect();
        assert_eq!(distinct.len(), delivered, "nothing was delivered twice");
        // A notification is one commit with what it tells.
        assert_eq!(returned + delivered, client.acknowledged.borrow().len(), "{returned} and {delivered}");
        assert_eq!(relay.sum(|counters| &counters.queued_recipients), 0);
        println!("seed {seed}: {returned} returned, {delivered} delivered");
        relay.drain();
    });
}

/// Whoever asks and goes costs a slice: the next is answered, and what was set aside is in the queue.
#[test]
fn an_asker_that_goes_changes_nothing_more() {
    story(3, |seed| {
        let world = World::new(seed);
        let (relay, sink, client) = deferred(&world, 100);
        let asker = Arc::new(());
        let reply = Reply::new(&asker, |_| {});
        relay.begin(0, Ask::Bounce(filter(&[]), ScanPosition::default(), "late".into(), reply));
        drop(asker);
        world.run_for(Duration::from_secs(5));
        assert_eq!(sink.bounces.borrow().len(), 0);
        assert_eq!(list(&relay, &filter(&[]), 256, || {}).len(), client.acknowledged.borrow().len());
        relay.drain();
    });
}

/// An answer that breaks off, by our fault, ends alone: what it had set aside is in the queue, and the next is answered.
fn what_breaks_off_loses_nothing(defect: Defect) {
    story(4, |seed| {
        let world = World::new(seed);
        let (relay, sink, client) = deferred(&world, 100);
        world.plant(defect, 0.2);
        let asker = Arc::new(());
        let reply = Reply::new(&asker, |_| panic!("it had no end"));
        relay.begin(0, Ask::Bounce(filter(&[]), ScanPosition::default(), "late".into(), reply));
        assert!(run_until_true(&world, Duration::from_secs(5), || world.panics(1) > 0));
        world.run_for(Duration::from_secs(5));
        let (left, all) = (list(&relay, &filter(&[]), 256, || {}).len(), client.acknowledged.borrow().len());
        // Also the one that was taken when it broke off: it is tried, and put off again.
        assert_eq!(left + sink.bounces.borrow().len(), all);
        world.kill(1);
        let relay = Relay::start(&world, 1, SHARDS, SLOW);
        assert_eq!(relay.found, left);
        relay.drain();
    });
}

/// What searches go by: the index of a lane tells of each message that waits, as queues call it, and what was said of it.
#[test]
fn the_index_tells_what_waits() {
    story(3, |seed| {
        let world = World::new(seed);
        let (relay, _sink, _client) = deferred(&world, 60);
        let rows = list(&relay, &filter(&[]), 256, || {});
        let mut found = FoundRecipients::default();
        for lane in 0..relay.lanes() as u16 {
            let page: Vec<IndexPage> = (0..SHARDS)
                .map(|shard| relay.ask(shard, |reply| Ask::Index(lane, Keys::From(0), true, reply)))
                .collect();
            let [of] = &page.iter().filter(|page| !page.entries.is_empty()).collect::<Vec<_>>()[..] else {
                panic!("one shard has the lane: {page:?}")
            };
            assert_eq!((of.next, of.said.len(), of.passed), (None, of.entries.len(), 0));
            assert!(of.said.iter().all(|said| of.texts[said.text as usize].contains("450 4.2.1 not yet")));
            let runs = of.entries.iter().zip(&of.said).filter(|(stored, _)| stored.key % 3 == 0);
            let runs = runs.map(|(stored, said)| {
                let (slot, offset) = stored.told;
                Run { key: stored.key, slot, offset, first: said.first, count: said.count }
            });
            found.add(lane, runs.collect());
        }
        let meant = rows.iter().filter(|row| row.seen.group.key % 3 == 0).count();
        assert!(meant > 5 && meant == found.len(), "{meant} and {}", found.len());
        let mut chosen = Filter::clone(&filter(&[("reply", "4\\.2\\.1 not")]));
        chosen.found = Some(Arc::new(found));
        let chosen = Arc::new(chosen);
        let keys: Vec<u32> = list(&relay, &chosen, 5, || {}).iter().map(|row| row.seen.group.key).collect();
        assert!(keys.len() == meant && keys.iter().all(|key| key % 3 == 0), "{keys:?}");
        let counted = parts(&relay, || {}, |from, reply| Ask::Count(chosen.clone(), from, reply));
        assert_eq!(counted.iter().map(|part| part.tally.recipients).sum::<u64>(), meant as u64);
        let returned =
            parts(&relay, || {}, |from, reply| Ask::Bounce(chosen.clone(), from, "so".into(), reply));
        assert_eq!(returned.iter().map(|part| part.tally.recipients).sum::<u64>(), meant as u64);
        assert_eq!(
            list(&relay, &filter(&[]), 256, || {}).iter().filter(|row| row.seen.group.attempts > 0).count(),
            60 - meant
        );
        relay.drain();
    });
}

/// Who watches sees what is meant of both sides, and is forgotten when he does not say any more that he is there.
#[test]
fn sessions_are_watched_as_long_as_somebody_is_there() {
    story(3, |seed| {
        let world = World::new(seed);
        let _sink = Sink::start(&world, "10.0.0.2:25");
        let relay = Relay::start(&world, 1, SHARDS, SLOW);
        let recipient = AddressPattern::parse("@d3.example").ok();
        let meant = TraceFilter { recipient, ..TraceFilter::default() };
        let tracing = Arc::new(Tracing::new(meant, SHARDS));
        (0..SHARDS).for_each(|shard| relay.ask(shard, |reply| Ask::Trace(tracing.clone(), reply)));
        let client = Client::start_bulk(&world, "10.0.0.1:25", 4, 12, 1);
        let mut lines = Vec::new();
        for _ in 0..30 {
            world.run_for(Duration::from_secs(1));
            tracing.renew();
            (0..SHARDS).for_each(|shard| lines.extend(std::iter::from_fn(|| tracing.take(shard))));
        }
        assert!(client.is_done() && !tracing.is_over());
        for side in [Side::In, Side::Out] {
            let of_side = || lines.iter().filter(|line| line.side == side);
            let named: Vec<_> =
                of_side().filter(|line| line.text.to_ascii_uppercase().starts_with("RCPT TO:")).collect();
            assert!(!named.is_empty(), "{side:?}");
            assert!(named.iter().all(|line| line.text.contains("@d3.example")), "{named:?}");
            assert!(named.iter().all(|line| line.ours == (side == Side::Out)));
            assert!(
                of_side().any(|line| line.text.starts_with("250"))
                    && of_side().all(|line| line.text.len() < 600)
            );
        }
        world.run_for(Duration::from_secs(12));
        assert!(tracing.is_over(), "nobody was there");
        relay.drain();
    });
}

/// Plants a defect of what answers control: it must be seen, or lose nothing.
pub fn is_found(defect: Defect) {
    match defect {
        Defect::PageSkips => skipped_pages_are_found(defect),
        Defect::SummarySkips => super::summary::is_found(defect),
        Defect::ReturnedTooEarly => returned_too_early_is_found(defect),
        Defect::PanicOverReturn => super::returns::loses_none(defect),
        _ => what_breaks_off_loses_nothing(defect),
    }
}
