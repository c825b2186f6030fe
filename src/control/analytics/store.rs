//! The file of what was counted: `analytics.db` in the data directory, SQLite with a write-ahead log that is not synced at each write. How far the reader
//! of the journal is stands in it, and is written in one transaction with what it counted: a kill loses nothing of it and counts nothing twice.
//!
//! It can be removed at any time: mail does not know it.

use std::collections::HashMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Statement, Transaction, params, params_from_iter};

use super::roll::{Key, Texts};
use crate::control::store::StoreError;
use crate::limits;
use crate::runtime::files;
use crate::spool::layout;

/// Behind the name of one that was damaged.
const ASIDE: &str = ".damaged";
/// What SQLite has beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
const APPLICATION: u32 = u32::from_be_bytes(*b"RLVA");
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE key (
        id INTEGER PRIMARY KEY,
        provider TEXT NOT NULL,
        tenant TEXT NOT NULL,
        campaign TEXT NOT NULL,
        class TEXT NOT NULL,
        outcome TEXT NOT NULL,
        UNIQUE (provider, tenant, campaign, class, outcome)
    ) STRICT;
    CREATE TABLE minute (at INTEGER, key INTEGER, recipients INTEGER NOT NULL, PRIMARY KEY (at, key)) STRICT, WITHOUT ROWID;
    CREATE TABLE hour (at INTEGER, key INTEGER, recipients INTEGER NOT NULL, PRIMARY KEY (at, key)) STRICT, WITHOUT ROWID;
    CREATE TABLE text (
        class TEXT NOT NULL,
        form TEXT NOT NULL,
        text TEXT NOT NULL,
        provider TEXT NOT NULL,
        tenant TEXT NOT NULL,
        campaign TEXT NOT NULL,
        at INTEGER NOT NULL,
        times INTEGER NOT NULL,
        PRIMARY KEY (class, form)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE counted (number INTEGER PRIMARY KEY, ids INTEGER NOT NULL, hashes BLOB NOT NULL) STRICT;
    CREATE TABLE place (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        segment INTEGER NOT NULL,
        frame INTEGER NOT NULL,
        within INTEGER NOT NULL
    ) STRICT;
";

/// A table of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Minute,
    Hour,
}

impl Step {
    /// Seconds of one.
    pub fn seconds(self) -> u64 {
        match self {
            Step::Minute => 60,
            Step::Hour => 3600,
        }
    }

    pub fn table(self) -> &'static str {
        match self {
            Step::Minute => "minute",
            Step::Hour => "hour",
        }
    }

    fn most(self) -> u64 {
        match self {
            Step::Minute => limits::ANALYTICS_KEYS,
            Step::Hour => limits::ANALYTICS_HOUR_KEYS,
        }
    }
}

/// What is known without asking.
#[derive(Default)]
struct Known {
    keys: HashMap<Key, i64>,
    /// How many keys of a minute or hour there are, of the latest few.
    rows: HashMap<(Step, u64), u64>,
}

/// The file.
pub(super) struct Store {
    connection: Connection,
    known: Known,
}

impl Store {
    /// Opens it, or makes it. A damaged one is put aside, and an empty one takes its place: that is told in words.
    pub fn open(data_dir: &Path) -> Result<(Store, Option<String>), StoreError> {
        let path = data_dir.join(layout::ANALYTICS);
        match open(&path) {
            Err(StoreError::Damaged(what)) => {
                let aside = put_aside(&path)?;
                let words = format!(
                    "{} was damaged ({what}) and is now {}: what was counted before is not told any more, and counting begins anew; mail is untouched",
                    path.display(),
                    aside.display()
                );
                Ok((Store { connection: open(&path)?, known: Known::default() }, Some(words)))
            }
            opened => Ok((Store { connection: opened?, known: Known::default() }, None)),
        }
    }

    /// The same again, where it was found to be damaged while it was used.
    pub fn open_anew(data_dir: &Path, what: &str) -> Result<(Store, String), StoreError> {
        let path = data_dir.join(layout::ANALYTICS);
        let aside = put_aside(&path)?;
        let (store, _) = Store::open(data_dir)?;
        Ok((
            store,
            format!(
                "{} is damaged ({what}) and is now {}: counting begins anew; mail is untouched",
                path.display(),
                aside.display()
            ),
        ))
    }

    /// Puts what is in the write-ahead log into the file.
    pub fn close(self) {
        // What is not put there now is at the next start.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    /// For questions.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How far the reader of the journal is. None: it never read.
    pub fn place(&self) -> Result<Option<[u64; 3]>, StoreError> {
        let found = self.connection.query_row("SELECT segment, frame, within FROM place", [], |row| {
            let unsigned = |place| row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0));
            Ok([unsigned(0)?, unsigned(1)?, unsigned(2)?])
        });
        Ok(found.optional()?)
    }

    /// Hashes of ids of events that were counted of late, in order.
    pub fn counted(&self) -> Result<Vec<u64>, StoreError> {
        let mut statement = self.connection.prepare("SELECT hashes FROM counted ORDER BY number")?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let hashes: Vec<u8> = row.get(0)?;
            all.extend(hashes.as_chunks::<8>().0.iter().map(|hash| u64::from_le_bytes(*hash)));
        }
        Ok(all)
    }

    /// Adds what was counted, and what was said, by a reader that is there then: all of it, or nothing.
    pub fn add(
        &mut self,
        counts: &[(u64, Key, u64)],
        (texts, ids): (&Texts, &[u64]),
        place: [u64; 3],
    ) -> Result<(), StoreError> {
        let done = self.try_add(counts, (texts, ids), place);
        if done.is_err() {
            // What was new among it is not there.
            self.known = Known::default();
        }
        done
    }

    fn try_add(
        &mut self,
        counts: &[(u64, Key, u64)],
        (texts, ids): (&Texts, &[u64]),
        place: [u64; 3],
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let mut statements = Statements::new(&transaction)?;
        for (minute, key, recipients) in counts {
            for of in [(Step::Minute, minute * 60), (Step::Hour, minute / 60 * 3600)] {
                statements.add(&mut self.known, of, key, *recipients)?;
            }
        }
        drop(statements);
        if !texts.is_empty() {
            add_texts(&transaction, texts)?;
        }
        if !ids.is_empty() {
            remember_ids(&transaction, ids)?;
        }
        let [segment, frame, within] = place.map(number);
        let sql = "INSERT OR REPLACE INTO place (id, segment, frame, within) VALUES (1, ?1, ?2, ?3)";
        transaction.execute(sql, [segment, frame, within])?;
        Ok(transaction.commit()?)
    }

    /// Forgets what is older than it is kept for.
    pub fn forget(&mut self, now: u64) -> Result<(), StoreError> {
        let before = |span: std::time::Duration| now.saturating_sub(span.as_secs());
        self.forget_before(before(limits::ANALYTICS_MINUTES), before(limits::ANALYTICS_HOURS))
    }

    /// Forgets more than that: there is no room. What an hour had stays until it is the oldest tenth of them.
    pub fn make_room(&mut self, now: u64) -> Result<(), StoreError> {
        let bound = |which: &str| format!("SELECT {which}(at) FROM hour");
        let at = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        let (first, last) = (at(&bound("min"))?.unwrap_or(0), at(&bound("max"))?.unwrap_or(0));
        let hours = first + (last - first) / 10 + 1;
        self.forget_before(now.saturating_sub(2 * 3600), u64::try_from(hours).unwrap_or(0))
    }

    fn forget_before(&mut self, minutes: u64, hours: u64) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let mut gone = transaction.execute("DELETE FROM minute WHERE at < ?1", [number(minutes)])?;
        gone += transaction.execute("DELETE FROM hour WHERE at < ?1", [number(hours)])?;
        gone += transaction.execute("DELETE FROM text WHERE at < ?1", [number(hours)])?;
        if gone > 0 {
            let sql = "DELETE FROM key WHERE id NOT IN (SELECT key FROM hour UNION SELECT key FROM minute)";
            transaction.execute(sql, [])?;
        }
        transaction.commit()?;
        self.known = Known::default();
        Ok(())
    }

    /// Forgets texts that this holds of. How many.
    pub fn forget_texts(&mut self, meant: impl Fn(&str) -> bool, dry: bool) -> Result<usize, StoreError> {
        let transaction = self.connection.transaction()?;
        let mut found = Vec::new();
        {
            let mut statement = transaction.prepare("SELECT class, form, text FROM text")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (class, form, text): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if meant(&text) || meant(&form) {
                    found.push((class, form));
                }
            }
        }
        if !dry {
            for (class, form) in &found {
                transaction
                    .execute("DELETE FROM text WHERE class = ?1 AND form = ?2", params![class, form])?;
            }
        }
        transaction.commit()?;
        if !dry {
            // Else it stands in the write-ahead log yet.
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(found.len())
    }
}

/// Adds what was said; of each class the latest few stay.
fn add_texts(transaction: &Transaction<'_>, texts: &Texts) -> Result<(), StoreError> {
    let mut add = transaction.prepare(
        "INSERT INTO text (class, form, text, provider, tenant, campaign, at, times) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT DO UPDATE SET text = ?3, provider = ?4, tenant = ?5, campaign = ?6, at = max(at, ?7), times = times + ?8",
    )?;
    for ((class, form), text) in texts {
        let (at, times) = (number(text.at), number(text.times));
        add.execute(params![class, form, text.text, text.provider, text.tenant, text.campaign, at, times])?;
    }
    let sql = "DELETE FROM text WHERE (class, form) NOT IN (SELECT class, form FROM \
               (SELECT class, form, row_number() OVER (PARTITION BY class ORDER BY at DESC, form) AS place FROM text) WHERE place <= ?1)";
    transaction.execute(sql, [limits::ANALYTICS_TEXTS as i64])?;
    Ok(())
}

/// Remembers which events were counted; the latest so many stay.
fn remember_ids(transaction: &Transaction<'_>, ids: &[u64]) -> Result<(), StoreError> {
    let hashes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let sql = "INSERT INTO counted (ids, hashes) VALUES (?1, ?2)";
    transaction.execute(sql, params![ids.len() as i64, hashes])?;
    let sql = "DELETE FROM counted WHERE number IN (SELECT number FROM \
               (SELECT number, sum(ids) OVER (ORDER BY number DESC) - ids AS behind FROM counted) WHERE behind >= ?1)";
    transaction.execute(sql, [limits::ANALYTICS_REPEATED as i64])?;
    Ok(())
}

/// What is said to SQLite for each sum, read by it once a transaction.
struct Statements<'a> {
    find: Statement<'a>,
    make: Statement<'a>,
    /// Of minutes and hours each.
    update: [Statement<'a>; 2],
    insert: [Statement<'a>; 2],
    count: [Statement<'a>; 2],
}

impl<'a> Statements<'a> {
    fn new(transaction: &'a Transaction<'_>) -> Result<Statements<'a>, StoreError> {
        let each = |sql: &dyn Fn(&str) -> String| -> Result<[Statement<'a>; 2], StoreError> {
            let [minute, hour] =
                [Step::Minute, Step::Hour].map(|step| transaction.prepare(&sql(step.table())));
            Ok([minute?, hour?])
        };
        Ok(Statements {
            find: transaction.prepare(
                "SELECT id FROM key WHERE provider = ?1 AND tenant = ?2 AND campaign = ?3 AND class = ?4 AND outcome = ?5",
            )?,
            make: transaction.prepare(
                "INSERT INTO key (provider, tenant, campaign, class, outcome) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            update: each(&|table| {
                format!("UPDATE {table} SET recipients = recipients + ?3 WHERE at = ?1 AND key = ?2")
            })?,
            insert: each(&|table| format!("INSERT INTO {table} (at, key, recipients) VALUES (?1, ?2, ?3)"))?,
            count: each(&|table| format!("SELECT count(*) FROM {table} WHERE at = ?1"))?,
        })
    }

    /// Adds recipients to a key of a minute or hour. One key more than there may be goes to `other`.
    fn add(
        &mut self,
        known: &mut Known,
        of: (Step, u64),
        key: &Key,
        recipients: u64,
    ) -> Result<(), StoreError> {
        let (step, at) = of;
        let other = || "other".to_owned();
        let merged = Key { campaign: other(), ..key.clone() };
        let least = Key { provider: other(), tenant: other(), campaign: other(), ..key.clone() };
        let most = step.most();
        for (key, most) in [(key, most), (&merged, most + limits::ANALYTICS_OTHER_KEYS), (&least, u64::MAX)] {
            let id = self.id(known, key)?;
            let values = |id| params_from_iter([number(at), id, number(recipients)]);
            if let Some(id) = id
                && self.update[step as usize].execute(values(id))? > 0
            {
                return Ok(());
            }
            let rows = match known.rows.get(&of) {
                Some(rows) => *rows,
                None => {
                    let rows: i64 = self.count[step as usize].query_row([number(at)], |row| row.get(0))?;
                    u64::try_from(rows).unwrap_or(0)
                }
            };
            if known.rows.len() >= 16 {
                known.rows.clear();
            }
            known.rows.insert(of, rows);
            if rows >= most {
                continue;
            }
            let id = match id {
                Some(id) => id,
                None => self.make(known, key)?,
            };
            self.insert[step as usize].execute(values(id))?;
            known.rows.insert(of, rows + 1);
            return Ok(());
        }
        Ok(())
    }

    fn id(&mut self, known: &mut Known, key: &Key) -> Result<Option<i64>, StoreError> {
        if let Some(id) = known.keys.get(key) {
            return Ok(Some(*id));
        }
        let values = params![key.provider, key.tenant, key.campaign, key.class, key.outcome];
        let id = self.find.query_row(values, |row| row.get(0)).optional()?;
        id.inspect(|id| remember(known, key, *id));
        Ok(id)
    }

    fn make(&mut self, known: &mut Known, key: &Key) -> Result<i64, StoreError> {
        let values = params![key.provider, key.tenant, key.campaign, key.class, key.outcome];
        let id = self.make.insert(values)?;
        remember(known, key, id);
        Ok(id)
    }
}

fn remember(known: &mut Known, key: &Key, id: i64) {
    if known.keys.len() >= limits::ANALYTICS_KNOWN {
        known.keys.clear();
    }
    known.keys.insert(key.clone(), id);
}

/// As SQLite has numbers.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Opens it as one of this version. Not all of it is looked through, as a start would wait for that: what is damaged is found when it is read.
fn open(path: &Path) -> Result<Connection, StoreError> {
    // SQLite would wait for somebody to write into a pipe of that name.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::NoFile);
    }
    let file = OpenOptions::new().append(true).create(true).mode(files::FILE_MODE).open(path);
    let _ = file.map_err(StoreError::Io)?.set_permissions(Permissions::from_mode(files::FILE_MODE));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // Nobody else opens it: so what readers and writers of several processes share is not needed.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "max_page_count", limits::ANALYTICS_PAGES_MAX)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    let transaction = connection.transaction()?;
    let known = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (known("application_id")?, known("user_version")?);
    match version {
        0 => {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION if application == i64::from(APPLICATION) => {}
        VERSION => return Err(StoreError::Damaged(format!("its application id is {application:#x}"))),
        later => return Err(StoreError::Newer(later)),
    }
    transaction.commit()?;
    Ok(connection)
}

/// The damaged file gets another name, in place of what was put aside before.
fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let with = |more: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(more);
        PathBuf::from(name)
    };
    let aside = with(ASIDE);
    fs::rename(path, &aside).map_err(StoreError::Io)?;
    for beside in BESIDE {
        match fs::remove_file(with(beside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::Io(error)),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::super::roll::Text;
    use super::*;

    fn key(campaign: &str) -> Key {
        let (provider, tenant) = ("google".to_owned(), "shop".to_owned());
        Key { provider, tenant, campaign: campaign.to_owned(), class: "", outcome: "delivered" }
    }

    fn sums(store: &Store, step: Step) -> Vec<(i64, String, i64)> {
        let sql = format!(
            "SELECT c.at, k.campaign, c.recipients FROM {} c JOIN key k ON k.id = c.key ORDER BY 1, 2",
            step.table()
        );
        let mut statement = store.connection().prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn what_is_added_is_there_after_a_kill() {
        let scratch = tempfile::tempdir().unwrap();
        let (mut store, words) = Store::open(scratch.path()).unwrap();
        assert_eq!((words, store.place().unwrap()), (None, None));
        store.add(&[(61, key("a"), 2), (62, key("a"), 3)], (&Texts::new(), &[]), [1, 2, 3]).unwrap();
        store.add(&[(61, key("a"), 4), (61, key("b"), 1)], (&Texts::new(), &[]), [1, 9, 0]).unwrap();
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
        let at = |at: i64, campaign: &str, recipients| (at, campaign.to_owned(), recipients);
        assert_eq!(sums(&store, Step::Minute), [at(3660, "a", 6), at(3660, "b", 1), at(3720, "a", 3)]);
        assert_eq!(sums(&store, Step::Hour), [at(3600, "a", 9), at(3600, "b", 1)]);
        store.forget(3700 + limits::ANALYTICS_MINUTES.as_secs()).unwrap();
        assert_eq!(sums(&store, Step::Minute), [at(3720, "a", 3)]);
        assert_eq!(sums(&store, Step::Hour).len(), 2);
        store.forget(7200 + limits::ANALYTICS_HOURS.as_secs()).unwrap();
        assert!(sums(&store, Step::Hour).is_empty() && sums(&store, Step::Minute).is_empty());
        let keys: i64 =
            store.connection().query_row("SELECT count(*) FROM key", [], |row| row.get(0)).unwrap();
        assert_eq!(keys, 0);
    }

    #[test]
    fn keys_of_a_minute_are_bounded() {
        let scratch = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(scratch.path()).unwrap();
        let most = limits::ANALYTICS_KEYS;
        let all: Vec<_> = (0..most + 7).map(|number| (61, key(&format!("c{number:05}")), 1)).collect();
        store.add(&all, (&Texts::new(), &[]), [1, 0, 0]).unwrap();
        store.add(&all, (&Texts::new(), &[]), [1, 0, 0]).unwrap();
        let minutes = sums(&store, Step::Minute);
        assert_eq!(minutes.len() as u64, most + 1);
        assert_eq!(minutes.last(), Some(&(3660, "other".to_owned(), 14)));
        assert_eq!(sums(&store, Step::Hour).len() as u64, most + 7);
        assert_eq!(minutes.iter().map(|(.., recipients)| recipients).sum::<i64>() as u64, 2 * (most + 7));
    }

    #[test]
    fn the_latest_texts_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(scratch.path()).unwrap();
        let text =
            |at: u64| Text { text: format!("550 ada{at}@example.org"), at, times: 1, ..Text::default() };
        let all: Texts = (0..40).map(|at| (("spam", format!("f{at:02}")), text(at))).collect();
        store.add(&[], (&all, &[]), [1, 0, 0]).unwrap();
        store.add(&[], (&Texts::from([(("spam", "f39".to_owned()), text(50))]), &[]), [1, 0, 0]).unwrap();
        let kept = |store: &Store| {
            let sql = "SELECT count(*), min(at), sum(times) FROM text";
            store.connection().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
        };
        assert_eq!(
            kept(&store),
            (limits::ANALYTICS_TEXTS as i64, 24_i64, limits::ANALYTICS_TEXTS as i64 + 1)
        );
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
}
