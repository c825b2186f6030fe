use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::limits;
use crate::queue::select::Pattern;
use crate::queue::suspension::{Effect, Scope};
use crate::shaping::key::Key;
use crate::shaping::value::{self, Limit, Value};
use crate::shaping::warmup::Complaint;
use crate::time::UnixMillis;

fn suspension(id: u64, effect: Effect, scope: Scope) -> Suspension {
    let since = UnixMillis(1_764_000_000_000 + id);
    let (by, reason) = ("user 0".into(), "421 4.7.0 too many \u{fc}".into());
    Suspension { id, effect, scope, since, until: since.after(Duration::from_secs(3600)), by, reason }
}

fn some() -> Vec<Suspension> {
    let pattern = |text: &str| Pattern::parse(text);
    let rate = value::rate("10/min,max_burst=3").expect("a rate");
    let whose = Scope { tenant: Some("shop".into()), campaign: Some("".into()), ..Scope::default() };
    vec![
        suspension(1, Effect::Wait, Scope { domain: pattern("a.example"), ..Scope::default() }),
        suspension(2, Effect::Return, Scope { domain: pattern("*.b.example"), ..whose }),
        suspension(
            3,
            Effect::Set(Key::MaxMessageRate, Value::Rate(rate)),
            Scope { site: pattern("mx:10 mx.c.example:25"), ..Scope::default() },
        ),
        suspension(4, Effect::Wait, Scope { source: Some("ip1".into()), ..Scope::default() }),
        suspension(
            9,
            Effect::Set(Key::ConnectionLimit, Value::Limit(Limit { most: 1, local: true })),
            Scope { pool: Some("bulk".into()), provider: Some("big".into()), ..Scope::default() },
        ),
        suspension(
            10,
            Effect::Set(Key::ProviderConnectionLimit, Value::Limit(Limit { most: 2, local: false })),
            Scope { provider: Some("big".into()), source: Some("ip1".into()), ..Scope::default() },
        ),
    ]
}

fn opened(directory: &Path) -> Store {
    let (store, words) = Store::open(directory);
    assert_eq!(words, None);
    store
}

#[test]
fn what_is_written_is_there_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut all = some();
    let mut store = opened(directory.path());
    assert_eq!(store.suspensions().unwrap(), (Vec::new(), 0));
    store.write(all.iter(), [].into_iter()).unwrap();
    drop(store);
    let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "replies and tenants are nobody else's business");
    let mut store = opened(directory.path());
    assert_eq!(store.suspensions().unwrap(), (all.clone(), 0));
    all[0].until = UnixMillis(7);
    store.write([&all[0]].into_iter(), [2, 3].into_iter()).unwrap();
    all.drain(1..3);
    assert_eq!(store.suspensions().unwrap(), (all, 0));
}

#[test]
fn the_latest_windows_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = opened(directory.path());
    let window = |name: &str, value: &[u8], at| Window {
        name: name.to_owned(),
        value: value.to_vec(),
        at: UnixMillis(at),
    };
    let long = window("long", &[0; limits::WINDOW_BYTES_MAX], 4);
    store.save_windows(&[window("a", b"1", 5), window("b", b"\0\xff", 6), long]).unwrap();
    store.save_windows(&[window("a", b"2", 7)]).unwrap();
    drop(store);
    let found = opened(directory.path()).windows().unwrap();
    assert_eq!(found, [window("a", b"2", 7), window("b", b"\0\xff", 6)]);
}

#[test]
fn a_damaged_file_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let mut store = opened(directory.path());
    store.write(some().iter(), [].into_iter()).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let sound = bytes.clone();
    for damage in [&b"no database at all"[..], &sound[..sound.len() / 2], &[]] {
        bytes = damage.to_vec();
        fs::write(&path, &bytes).unwrap();
        let (mut store, words) = Store::open(directory.path());
        assert_eq!(words.is_some(), !damage.is_empty(), "{words:?}");
        assert_eq!(store.suspensions().unwrap(), (Vec::new(), 0));
        store.write(some().iter(), [].into_iter()).unwrap();
        if !damage.is_empty() {
            assert_eq!(fs::read(directory.path().join("control.db.damaged")).unwrap(), bytes);
        }
    }
}

#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = opened(directory.path());
    store.connection().unwrap().pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let before = fs::read(directory.path().join(FILE)).unwrap();
    let (mut store, words) = Store::open(directory.path());
    assert!(words.is_some_and(|words| words.contains("a later version of relevo wrote it")), "said");
    assert!(matches!(store.suspensions(), Err(StoreError::Closed)));
    assert!(matches!(store.write(some().iter(), [].into_iter()), Err(StoreError::Closed)));
    assert_eq!(fs::read(directory.path().join(FILE)).unwrap(), before);
}

#[test]
fn a_file_of_an_earlier_version_becomes_one_of_this() {
    let directory = tempfile::tempdir().unwrap();
    let old = Connection::open(directory.path().join(FILE)).unwrap();
    old.execute_batch(schema::MIGRATIONS[0]).unwrap();
    let row = "INSERT INTO suspension (id, effect, tenant, since, until, by, reason) VALUES (7, 'wait', 'shop', 1, 2, 'x', 'y')";
    old.execute_batch(row).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.pragma_update(None, "application_id", u32::from_be_bytes(schema::APPLICATION)).unwrap();
    drop(old);
    let mut store = opened(directory.path());
    let (found, senseless) = store.suspensions().unwrap();
    assert_eq!(
        (found.len(), found[0].id, found[0].scope.to_string(), senseless),
        (1, 7, "tenant=shop".to_owned(), 0)
    );
    store.write(some().iter(), [7].into_iter()).unwrap();
    drop(store);
    assert_eq!(opened(directory.path()).suspensions().unwrap(), (some(), 0));
}

#[test]
fn a_row_nobody_understands_is_counted_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = opened(directory.path());
    store.write(some().iter(), [].into_iter()).unwrap();
    let change = "UPDATE suspension SET effect = 'dance' WHERE id = 1; UPDATE suspension SET value = 'x' WHERE id = 9; \
         UPDATE suspension SET domain = 'd.example' WHERE id = 4";
    store.connection().unwrap().execute_batch(change).unwrap();
    let (found, senseless) = store.suspensions().unwrap();
    assert_eq!((found.iter().map(|one| one.id).collect::<Vec<_>>(), senseless), (vec![2, 3, 10], 3));
}

/// A full disk, as SQLite sees it.
#[test]
fn a_full_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = opened(directory.path());
    store.write(some().iter(), [].into_iter()).unwrap();
    store.connection().unwrap().pragma_update(None, "max_page_count", 1).unwrap();
    let many: Vec<_> = (100..400).map(|id| Suspension { id, ..some()[1].clone() }).collect();
    let full = store.write(many.iter(), [1].into_iter());
    assert!(matches!(full, Err(StoreError::Database(_))), "{full:?}");
    assert_eq!(store.suspensions().unwrap().0, some());
}

/// A pipe that nobody writes into would hold up the start.
#[test]
fn what_is_no_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let (mut store, words) = Store::open(directory.path());
    assert!(words.is_some_and(|words| words.contains("no plain file")));
    assert!(matches!(store.suspensions(), Err(StoreError::Closed)));
    assert!(!fs::metadata(&path).unwrap().is_file());
}

#[test]
fn days_of_warm_up_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = opened(directory.path());
    let day = |provider: &str, day, used| {
        let day = Day { day, used, behind: 1, overflowed: 3, complaint: Complaint::Throttled };
        WarmDay { source: "ip9".into(), provider: provider.into(), day }
    };
    store.save_warm_days(&[day("a", 100, 5), day("b", 101, 5)]).unwrap();
    store.save_warm_days(&[day("a", 100, 10), day("a", 99, 50)]).unwrap();
    drop(store);
    let mut store = opened(directory.path());
    assert_eq!(store.warm_days(("ip9", "a")).unwrap(), [day("a", 100, 10).day, day("a", 99, 50).day]);
    assert!(store.warm_days(("ip8", "a")).unwrap().is_empty());
    let names = store.warm_names().unwrap();
    assert_eq!(names, [("ip9".into(), "b".into()), ("ip9".into(), "a".into())]);
    let many: Vec<_> = (0..40).map(|number| day("c", number, 1)).collect();
    store.save_warm_days(&many).unwrap();
    assert_eq!(store.warm_days(("ip9", "c")).unwrap().len(), limits::WARMUP_DAYS_KEPT);
}

#[test]
fn what_is_used_of_quotas_is_kept() {
    use crate::config::quota::Period;
    let directory = tempfile::tempdir().unwrap();
    let mut store = opened(directory.path());
    let row = |period, number, used| Spent { period, number, used, told: 80 };
    let of = |owner, name: &str, rows: &[Spent]| QuotaRows { owner, name: name.into(), rows: rows.to_vec() };
    let first = [row(Period::Month, 683, 7), row(Period::Day, 20_800, 7), row(Period::Day, 20_799, 1)];
    let (shop, bank) = (of(Owner::Account, "shop", &first), of(Owner::Tenant, "shop", &first[1..]));
    store.save_quotas(&[shop, bank]).unwrap();
    // What is not among the rows is known no more, and the order is that in which they were written.
    let then = [row(Period::Day, 20_801, 4_000_000_000), row(Period::Month, 683, 9)];
    store.save_quotas(&[of(Owner::Account, "shop", &then)]).unwrap();
    drop(store);
    let mut store = opened(directory.path());
    assert_eq!(store.quota(Owner::Account, "shop").unwrap(), then);
    assert_eq!(store.quota(Owner::Tenant, "shop").unwrap(), first[1..]);
    assert!(store.quota(Owner::Tenant, "bank").unwrap().is_empty());
    store.forget_quotas().unwrap();
    assert_eq!(store.quota(Owner::Account, "shop").unwrap().len(), 2, "there are not too many");
}
