use std::collections::BTreeMap;

use super::super::ask::{Question, Unanswered, answer};
use super::super::cells::{BUCKETS, Cells, DELIVERED, OUTCOMES};
use super::super::roll::{Key, Text};
use super::super::roll_up::{By, OTHER, RollUp};
use super::super::stats::{StatsGroup, StatsQuestion, stats};
use super::*;
use crate::control::journal::tests::Random;
use crate::names::CLASSES;

const DAY: u64 = 20_000 * 86_400;

/// What was counted a minute after the beginning of a day.
fn counted(minute: u64, names: [&str; 3], outcome: &str, recipients: u64) -> Counted {
    let [provider, tenant, campaign] = names.map(str::to_owned);
    let outcome = OUTCOMES.iter().position(|known| *known == outcome).unwrap();
    let class = if outcome == DELIVERED { 0 } else { 12 };
    let key = Key { provider, tenant, campaign, class, outcome, ..Key::default() };
    Counted { minute: DAY / 60 + minute, key, recipients, times: Vec::new() }
}

fn add(store: &mut Store, counts: &[Counted]) {
    store.add(counts, (&Texts::new(), &[]), [1, 0, 0]).unwrap();
}

/// Rows of a series: second behind the day, names, and recipients.
fn rows(store: &Store, roll_up: RollUp, step: Step) -> Vec<(u64, String, u64)> {
    let sql = "SELECT at, tenant || '|' || name.name || '|' || second, counts FROM sum JOIN name ON id = sum.name \
               WHERE series = ?1 ORDER BY 1, 2";
    let mut statement = store.connection().prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let at = row.get::<_, i64>(0)?.unsigned_abs() - DAY;
        Ok((at, row.get(1)?, Cells::read(&row.get::<_, Vec<u8>>(2)?).recipients()))
    };
    let found = statement.query_map([Series { roll_up, step }.number()], read).unwrap();
    found.map(Result::unwrap).collect()
}

fn ask(store: &Store, by: By, only: &[(By, &str)], more: impl FnOnce(&mut Question)) -> Told {
    let only = only.iter().map(|(by, name)| (*by, vec![(*name).to_owned()])).collect();
    let (since, until) = (DAY, DAY + 86_400);
    let mut question = Question { by, only, since, until, now: until, limit: 999, ..Question::default() };
    more(&mut question);
    answer(store.connection(), &question).unwrap()
}

use crate::control::api::shape::analytics::Analytics as Told;

fn by_name(told: &Told) -> Vec<(&str, u64)> {
    told.rows.iter().map(|row| (&*row.name, row.counts.delivered)).collect()
}

#[test]
fn what_is_added_is_there_after_a_kill() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut store, words) = Store::open(scratch.path()).unwrap();
    assert_eq!((words, store.place().unwrap()), (None, None));
    let one = |minute, campaign, number| counted(minute, ["google", "shop", campaign], "delivered", number);
    let first = [one(61, "a", 2), one(62, "a", 3)];
    store.add(&first, (&Texts::new(), &[]), [1, 2, 3]).unwrap();
    let second = [one(61, "a", 4), one(61, "b", 1)];
    store.add(&second, (&Texts::new(), &[]), [1, 9, 0]).unwrap();
    drop(store);
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    assert_eq!(store.place().unwrap(), Some([1, 9, 0]));
    let most = limits::ANALYTICS_REPEATED as u64;
    for from in [0, 2, most, most + 7] {
        let ids: Vec<u64> = (from..from + if from < 7 { 2 } else { 7 }).collect();
        store.add(&[], (&Texts::new(), &ids), [1, 9, 0]).unwrap();
    }
    assert_eq!(store.counted().unwrap().len(), 18);
    let many: Vec<u64> = (0..most - 10).collect();
    store.add(&[], (&Texts::new(), &many), [1, 9, 0]).unwrap();
    assert_eq!(store.counted().unwrap().len() as u64, most - 10 + 14, "whole rows");
    let at = |at, name: &str, recipients| (at, name.to_owned(), recipients);
    let of = |store: &Store, step| rows(store, RollUp::Campaign, step);
    let minutes = [at(3660, "shop|a|", 6), at(3660, "shop|b|", 1), at(3720, "shop|a|", 3)];
    assert_eq!(of(&store, Step::Minute), minutes);
    assert_eq!(of(&store, Step::Hour), [at(3600, "shop|a|", 9), at(3600, "shop|b|", 1)]);
    assert_eq!(rows(&store, RollUp::CampaignProvider, Step::Day)[0], at(0, "shop|a|google", 9));
    assert_eq!(rows(&store, RollUp::Tenant, Step::Day), [at(0, "shop||", 10)]);
    store.forget(DAY + 3700 + limits::ANALYTICS_MINUTES.as_secs()).unwrap();
    assert_eq!(of(&store, Step::Minute), [at(3720, "shop|a|", 3)]);
    assert_eq!(of(&store, Step::Hour).len(), 2);
    store.forget(DAY + 7200 + limits::ANALYTICS_HOURS.as_secs()).unwrap();
    assert!(of(&store, Step::Hour).is_empty() && of(&store, Step::Minute).is_empty());
    assert_eq!(of(&store, Step::Day).len(), 2, "days are kept for longer");
    let names = |store: &Store| -> i64 {
        store.connection().query_row("SELECT count(*) FROM name", [], |row| row.get(0)).unwrap()
    };
    assert!(names(&store) > 0);
    store.forget(DAY + 2 * 86_400 + limits::ANALYTICS_DAYS.as_secs()).unwrap();
    assert!(of(&store, Step::Day).is_empty());
    assert_eq!(names(&store), 0);
}

/// Whatever is sent: each roll-up has all of it, a step has so many rows, and those with most mail keep their names.
#[test]
fn a_step_has_so_many_rows_and_all_mail() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    let mut random = Random(7);
    let (mut all, mut of_tenants) = (0, BTreeMap::<String, u64>::new());
    for part in 0..6 {
        let mut counts = Vec::new();
        for number in 0..700_u64 {
            let tenant = format!("t{}", random.below(90) * random.below(2));
            let (campaign, provider) = (format!("c{part}-{number}"), format!("p{}", random.below(7)));
            let mut one =
                counted(part * 7, [&provider, &tenant, &campaign], "delivered", random.below(9) + 1);
            one.key.source = format!("ip{}", random.below(400));
            counts.push(one);
        }
        counts.push(counted(part * 7, ["p1", "big", "large"], "delivered", 500));
        for one in &counts {
            all += one.recipients;
            *of_tenants.entry(one.key.tenant.clone()).or_default() += one.recipients;
        }
        add(&mut store, &counts);
    }
    for series in Series::all() {
        let found = rows(&store, series.roll_up, series.step);
        assert_eq!(found.iter().map(|(.., number)| number).sum::<u64>(), all, "{series:?}");
        let mut steps = BTreeMap::<u64, usize>::new();
        found.iter().for_each(|(at, ..)| *steps.entry(*at).or_default() += 1);
        let most = series.step.most() + series.step.most() / 4 + 1;
        assert!(steps.values().all(|rows| *rows <= most), "{series:?}: {steps:?}");
    }
    let days = rows(&store, RollUp::Campaign, Step::Day);
    assert!(days.len() > limits::ANALYTICS_DAY_ROWS / 2, "{}", days.len());
    assert!(days.contains(&(0, "big|large|".to_owned(), 3000)), "the largest has its name");
    // Of each tenant the sum is exact, and so it is in what is answered.
    for (tenant, number) in &of_tenants {
        let prefix = format!("{tenant}|");
        let of_it = days.iter().filter(|(_, name, _)| name.starts_with(&prefix));
        assert_eq!(of_it.map(|(.., number)| number).sum::<u64>(), *number, "{tenant}");
        let told = ask(&store, By::Campaign, &[(By::Tenant, tenant)], |_| {});
        assert_eq!(told.total.delivered, *number);
        assert_eq!(told.rows.iter().map(|row| row.counts.delivered).sum::<u64>(), *number);
    }
    // What lost its names in a pair is told by what each has alone.
    let of_p1 = ask(&store, By::Tenant, &[(By::Provider, "p1")], |_| {}).total.delivered;
    let told = ask(&store, By::Campaign, &[(By::Provider, "p1")], |_| {});
    assert_eq!(told.total.delivered, of_p1);
    assert_eq!(told.rows.iter().map(|row| row.counts.delivered).sum::<u64>(), of_p1);
    assert!(by_name(&told).iter().any(|(name, _)| *name == OTHER));
    assert_eq!(by_name(&told)[0], ("large", 3000));
}

#[test]
fn many_tenants_share_what_is_left_of_them() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    for part in 0..2 {
        let one = |number: u64| counted(0, ["", &format!("t{part}{number}"), "c"], "delivered", 1 + part);
        add(&mut store, &(0..2000).map(one).collect::<Vec<_>>());
    }
    for roll_up in [RollUp::Tenant, RollUp::Campaign] {
        let days = rows(&store, roll_up, Step::Day);
        assert!(days.len() <= limits::ANALYTICS_DAY_ROWS * 5 / 4 + 1, "{}", days.len());
        assert_eq!(days.iter().map(|(.., number)| number).sum::<u64>(), 6000);
        assert!(days.iter().any(|(_, name, _)| name.starts_with("other|")));
    }
}

#[test]
fn questions_are_answered_from_what_can() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    let took = |millis, mut one: Counted| {
        one.times = vec![(super::super::cells::bucket(millis), one.recipients)];
        one
    };
    let with = |mut one: Counted| {
        (one.key.category, one.key.source) = ("orders".to_owned(), "ip1".to_owned());
        one
    };
    add(
        &mut store,
        &[
            with(counted(0, ["", "shop", "a"], "received", 13)),
            with(took(1000, counted(0, ["google", "shop", "a"], "delivered", 9))),
            took(8000, counted(60, ["google", "news", "b"], "delivered", 1)),
            counted(60, ["yahoo", "shop", "b"], "deferred", 5),
            counted(60, ["yahoo", "shop", "b"], "bounced", 2),
            counted(1440, ["yahoo", "shop", "b"], "discarded", 7),
        ],
    );
    let told = ask(&store, By::Provider, &[], |question| question.step = Some(Step::Hour));
    assert_eq!(by_name(&told), [("google", 10), ("yahoo", 0), ("", 0)]);
    let total = &told.total;
    assert_eq!(
        (total.received, total.delivered, total.deferred, total.bounced, total.discarded),
        (13, 10, 5, 2, 0)
    );
    let latency = total.latency.unwrap();
    assert!((896..=1152).contains(&latency.p50_ms) && (7168..=9216).contains(&latency.p99_ms), "{latency:?}");
    let series = told.series.unwrap();
    assert_eq!(series.iter().map(|point| point.counts.delivered).collect::<Vec<_>>(), [9, 1]);
    assert_eq!((told.rows[1].classes[0].bounced, told.rows[1].classes[0].deferred), (2, 5));
    // Each by itself, and with a tenant.
    for (by, only, wanted) in [
        (By::Tenant, &[][..], &[("shop", 9), ("news", 1)][..]),
        (By::Campaign, &[(By::Tenant, "shop")], &[("a", 9), ("b", 0)]),
        (By::Campaign, &[(By::Provider, "google"), (By::Tenant, "shop")], &[("a", 9)]),
        (By::Category, &[], &[("orders", 9), ("", 1)]),
        (By::Source, &[(By::Tenant, "news")], &[("", 1)]),
        (By::Provider, &[(By::Campaign, "b")], &[("yahoo", 0), ("google", 1)]),
        (By::Provider, &[(By::Class, "virus")], &[]),
        (By::Tenant, &[(By::Tenant, "nobody")], &[]),
    ] {
        assert_eq!(by_name(&ask(&store, by, only, |_| {})), wanted, "{by:?} {only:?}");
    }
    let classes = ask(&store, By::Class, &[(By::Provider, "yahoo")], |_| {});
    let [spam] = &classes.rows[..] else { panic!("one class") };
    assert_eq!((&*spam.name, spam.counts.deferred, spam.counts.bounced), (CLASSES[11], 5, 2));
    assert_eq!(ask(&store, By::Tenant, &[(By::Class, CLASSES[11])], |_| {}).total.all(), 7);
    // Days alone are there, and what is asked in days is told of whole ones.
    let days = ask(&store, By::Tenant, &[], |question| {
        (question.until, question.now) = (DAY + 99 * 86_400, DAY + 99 * 86_400);
    });
    assert_eq!((days.step_seconds, days.total.discarded), (86_400, 7));
    let question = Question {
        by: By::Source,
        only: vec![(By::Campaign, vec!["a".to_owned()])],
        until: DAY,
        now: DAY,
        ..Question::default()
    };
    let refused = answer(store.connection(), &question).unwrap_err();
    assert!(matches!(refused, Unanswered::Apart(_)));
    assert!(refused.to_string().starts_with("campaign and source are not counted together"), "{refused}");
}

#[test]
fn clients_of_mailtrap_read_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    let of = |minute, category: &str, outcome, number| {
        let mut one = counted(minute, ["google", "shop", ""], outcome, number);
        one.key.category = category.to_owned();
        one
    };
    add(
        &mut store,
        &[
            of(5, "orders", "delivered", 8),
            of(5, "orders", "bounced", 2),
            of(1445, "news", "delivered", 3),
            of(2885, "", "feedback", 1),
        ],
    );
    let asked = |group, categories: &[&str], tenant: Option<&str>| {
        let categories = categories.iter().map(|name| (*name).to_owned()).collect();
        let question = StatsQuestion {
            group,
            categories,
            tenant: tenant.map(str::to_owned),
            since: DAY,
            until: DAY + 2 * 86_400,
            now: DAY + 3 * 86_400,
            ..StatsQuestion::default()
        };
        let found = stats(store.connection(), &question).unwrap();
        found
            .into_iter()
            .map(|(name, stats)| (name, stats.delivery_count, stats.bounce_rate))
            .collect::<Vec<_>>()
    };
    let one = |name: &str, delivered, rate| (name.to_owned(), delivered, rate);
    assert_eq!(asked(StatsGroup::All, &[], Some("shop")), [one("", 11, 2.0 / 13.0)]);
    assert_eq!(asked(StatsGroup::All, &[], Some("news")), [one("", 0, 0.0)]);
    assert_eq!(asked(StatsGroup::Category, &[], None), [one("orders", 8, 0.2), one("news", 3, 0.0)]);
    assert_eq!(asked(StatsGroup::Category, &["news", "x"], None), [one("news", 3, 0.0)]);
    assert_eq!(asked(StatsGroup::Provider, &[], None), [one("google", 11, 2.0 / 13.0)]);
    assert_eq!(asked(StatsGroup::Date, &[], None), [one("2024-10-04", 8, 0.2), one("2024-10-05", 3, 0.0)]);
}

/// The tables of the first version, and what they counted.
fn of_first_version(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA application_id = 0x524c5641; PRAGMA user_version = 1;
             CREATE TABLE key (id INTEGER PRIMARY KEY, provider TEXT NOT NULL, tenant TEXT NOT NULL, campaign TEXT NOT NULL,
                 class TEXT NOT NULL, outcome TEXT NOT NULL, UNIQUE (provider, tenant, campaign, class, outcome)) STRICT;
             CREATE TABLE minute (at INTEGER, key INTEGER, recipients INTEGER NOT NULL, PRIMARY KEY (at, key)) STRICT, WITHOUT ROWID;
             CREATE TABLE hour (at INTEGER, key INTEGER, recipients INTEGER NOT NULL, PRIMARY KEY (at, key)) STRICT, WITHOUT ROWID;
             CREATE TABLE text (class TEXT NOT NULL, form TEXT NOT NULL, text TEXT NOT NULL, provider TEXT NOT NULL, tenant TEXT NOT NULL,
                 campaign TEXT NOT NULL, at INTEGER NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (class, form)) STRICT, WITHOUT ROWID;
             CREATE TABLE counted (number INTEGER PRIMARY KEY, ids INTEGER NOT NULL, hashes BLOB NOT NULL) STRICT;
             CREATE TABLE place (id INTEGER PRIMARY KEY CHECK (id = 1), segment INTEGER NOT NULL, frame INTEGER NOT NULL, within INTEGER NOT NULL) STRICT;
             INSERT INTO place VALUES (1, 4, 5, 6);
             INSERT INTO key VALUES (1, 'google', 'shop', 'a', '', 'delivered'), (2, 'google', 'shop', 'a', 'spam', 'bounced'), (3, '', '', '', '', 'feedback');",
        )
        .unwrap();
    let add = |table: &str, at: u64, key: i64, recipients: i64| {
        let sql = format!("INSERT INTO {table} VALUES (?1, ?2, ?3)");
        connection.execute(&sql, [number(DAY + at), key, recipients]).unwrap();
    };
    for (at, key, recipients) in [(0, 1, 5), (60, 1, 6), (60, 2, 1), (3600, 3, 2)] {
        add("minute", at, key, recipients);
    }
    for (at, key, recipients) in [(0, 1, 11), (0, 2, 1), (3600, 3, 2), (86_400, 1, 70)] {
        add("hour", at, key, recipients);
    }
}

#[test]
fn a_file_of_the_first_version_is_taken_over() {
    let scratch = tempfile::tempdir().unwrap();
    of_first_version(&scratch.path().join(layout::ANALYTICS));
    // A kill before it was done: it is done then.
    for _ in 0..2 {
        let (store, words) = Store::open(scratch.path()).unwrap();
        assert_eq!((words, store.place().unwrap()), (None, Some([4, 5, 6])));
    }
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    assert_eq!(store.take_over().unwrap(), Some(8));
    assert_eq!(store.take_over().unwrap(), None);
    for roll_up in RollUp::ALL {
        let sums =
            Step::ALL.map(|step| rows(&store, roll_up, step).iter().map(|(.., number)| number).sum::<u64>());
        assert_eq!(sums, [14, 84, 84], "{roll_up:?}");
    }
    let at = |at, name: &str, recipients| (at, name.to_owned(), recipients);
    let minutes = [at(0, "shop|a|google", 5), at(60, "shop|a|google", 7), at(3600, "||", 2)];
    assert_eq!(rows(&store, RollUp::CampaignProvider, Step::Minute), minutes);
    let days = [at(0, "shop|google", 12), at(0, "|", 2), at(86_400, "shop|google", 70)];
    let days = days.map(|(at, name, number)| (at, format!("{name}|"), number));
    assert_eq!(rows(&store, RollUp::Provider, Step::Day), days);
    // It goes on from there.
    add(&mut store, &[counted(0, ["google", "shop", "a"], "delivered", 1)]);
    let told = ask(&store, By::Provider, &[(By::Campaign, "a")], |_| {});
    assert_eq!((told.total.delivered, told.total.bounced), (12, 1));
    assert_eq!(told.rows[0].classes[0].class, "spam");
}

#[test]
fn what_there_is_no_room_for_is_left_behind() {
    let scratch = tempfile::tempdir().unwrap();
    of_first_version(&scratch.path().join(layout::ANALYTICS));
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    store.leave_behind().unwrap();
    assert_eq!(store.take_over().unwrap(), None);
    add(&mut store, &[counted(0, ["google", "shop", "a"], "delivered", 1)]);
    store.make_room(DAY + 86_400).unwrap();
    drop(store);
    assert!(Store::open(scratch.path()).unwrap().1.is_none());
}

#[test]
fn times_are_kept_by_provider_and_tenant() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    let mut one = counted(0, ["google", "shop", "a"], "delivered", 4);
    one.times = vec![(0, 3), (BUCKETS - 1, 1)];
    add(&mut store, &[one.clone()]);
    add(&mut store, &[one]);
    let latency = |by| ask(&store, by, &[], |_| {}).rows[0].counts.latency;
    assert_eq!(latency(By::Provider), latency(By::Tenant));
    let latency = latency(By::Provider).unwrap();
    assert!(latency.p50_ms == 0 && latency.p90_ms > 1 << 31, "{latency:?}");
    let of_campaign = ask(&store, By::Campaign, &[], |_| {});
    assert!(of_campaign.rows[0].counts.latency.is_none() && of_campaign.total.latency == Some(latency));
}

#[test]
fn the_latest_texts_are_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(scratch.path()).unwrap();
    let text = |at: u64| Text { text: format!("550 ada{at}@example.org"), at, times: 1, ..Text::default() };
    let all: Texts = (0..40).map(|at| (("spam", format!("f{at:02}")), text(at))).collect();
    store.add(&[], (&all, &[]), [1, 0, 0]).unwrap();
    store.add(&[], (&Texts::from([(("spam", "f39".to_owned()), text(50))]), &[]), [1, 0, 0]).unwrap();
    let kept = |store: &Store| {
        let sql = "SELECT count(*), min(at), sum(times) FROM text";
        store.connection().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
    };
    assert_eq!(kept(&store), (limits::ANALYTICS_TEXTS as i64, 24_i64, limits::ANALYTICS_TEXTS as i64 + 1));
    let meant = |text: &str| text.contains("ada30@");
    assert_eq!((store.forget_texts(meant, true).unwrap(), kept(&store).0), (1, 16));
    assert_eq!((store.forget_texts(meant, false).unwrap(), kept(&store).0), (1, 15));
    drop(store);
    for name in std::fs::read_dir(scratch.path()).unwrap() {
        let bytes = std::fs::read(name.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, b"ada30@").is_none(), "its bytes are gone, too");
    }
}

#[test]
fn what_is_damaged_is_put_aside() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join(layout::ANALYTICS);
    std::fs::write(&path, "this is no database, and long enough to be read as the head of one").unwrap();
    let (store, words) = Store::open(scratch.path()).unwrap();
    assert!(words.unwrap().contains("analytics.db.damaged"));
    assert_eq!(store.place().unwrap(), None);
    drop(store);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(Store::open(scratch.path()), Err(StoreError::NoFile)));
}
