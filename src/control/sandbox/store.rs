//! The file of captured mail: `sandbox.db` in the data directory, SQLite with a write-ahead log that is synced at each commit. Who handed a message over is
//! told only then. A message has one row, whoever of its recipients came with it and however often; the oldest of an inbox go where it is full.
//!
//! It can be removed while the relay does not run: mail does not know it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Statement, Transaction, TransactionBehavior, params,
};

use super::summary::Summary;
use crate::config::SandboxConfig;
use crate::control::store::StoreError;
use crate::limits;
use crate::runtime::files;
use crate::shard::capturing::Captured;
use crate::spool::layout;

/// Behind the name of one that was damaged.
const ASIDE: &str = ".damaged";
/// What SQLite has beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
const APPLICATION: u32 = u32::from_be_bytes(*b"RLVS");
const VERSION: i64 = 1;

// What is searched for is in `found` and `envelope` by its trigrams, and nowhere else: there is no text in them.
const TABLES: &str = "
    CREATE TABLE message (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        inbox TEXT NOT NULL,
        at INTEGER NOT NULL,
        size INTEGER NOT NULL,
        sender TEXT NOT NULL,
        is_read INTEGER NOT NULL DEFAULT 0,
        attachments INTEGER NOT NULL,
        inlines INTEGER NOT NULL,
        fields TEXT NOT NULL
    ) STRICT;
    CREATE INDEX message_inbox ON message (inbox, number);
    CREATE INDEX message_unread ON message (number) WHERE is_read = 0;
    CREATE TABLE recipient (
        number INTEGER PRIMARY KEY,
        message INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        address TEXT NOT NULL,
        UNIQUE (message, ordinal)
    ) STRICT;
    CREATE TABLE raw (message INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE tag (message INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (message, name)) STRICT, WITHOUT ROWID;
    CREATE INDEX tag_name ON tag (name);
    CREATE TABLE inbox (name TEXT PRIMARY KEY, messages INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE VIRTUAL TABLE found USING fts5 (
        sender, recipients, cc, bcc, reply_to, subject, message_id, body,
        content = '', contentless_delete = 1, tokenize = 'trigram'
    );
    CREATE VIRTUAL TABLE envelope USING fts5 (address, content = '', contentless_delete = 1, tokenize = 'trigram');
";

/// What one inbox may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Bounds {
    /// Those of a configuration.
    pub fn of(config: &SandboxConfig) -> Bounds {
        Bounds { messages: config.keep, bytes: config.size_max }
    }
}

/// The file.
pub struct Store {
    connection: Connection,
    bounds: Bounds,
}

impl Store {
    /// Opens it, or makes it. A damaged one is put aside, and an empty one takes its place: that is told in words.
    pub fn open(data_dir: &Path, bounds: Bounds) -> Result<(Store, Option<String>), StoreError> {
        let path = data_dir.join(layout::SANDBOX);
        match open(&path) {
            Err(StoreError::Damaged(what)) => {
                let aside = put_aside(&path)?;
                let words = format!(
                    "{} was damaged ({what}) and is now {}: the sandbox begins anew; other mail is untouched",
                    path.display(),
                    aside.display()
                );
                Ok((Store { connection: open(&path)?, bounds }, Some(words)))
            }
            opened => Ok((Store { connection: opened?, bounds }, None)),
        }
    }

    /// The same again, where it was found to be damaged while it was used.
    pub fn open_anew(data_dir: &Path, bounds: Bounds, what: &str) -> Result<(Store, String), StoreError> {
        let path = data_dir.join(layout::SANDBOX);
        let aside = put_aside(&path)?;
        let (store, _) = Store::open(data_dir, bounds)?;
        let (path, aside) = (path.display(), aside.display());
        Ok((
            store,
            format!(
                "{path} is damaged ({what}) and is now {aside}: the sandbox begins anew; other mail is untouched"
            ),
        ))
    }

    /// Keeps these: all of them, and on disk, or none.
    pub fn add(&mut self, messages: &[(&Captured, Summary)]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut touched = BTreeSet::new();
        {
            let mut statements = Statements::new(&transaction)?;
            for (message, summary) in messages {
                statements.add(message, summary)?;
                touched.insert(&*message.account);
            }
        }
        for inbox in touched {
            trim(&transaction, inbox, self.bounds)?;
        }
        Ok(transaction.commit()?)
    }

    /// A tenth of all goes, the oldest: the file has no room.
    pub fn make_room(&mut self) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let sql = "SELECT number FROM message ORDER BY number LIMIT 1 + (SELECT count(*) / 10 FROM message)";
        let numbers = numbers(&transaction, sql, "")?;
        remove(&transaction, &numbers)?;
        Ok(transaction.commit()?)
    }

    /// Puts what is in the write-ahead log into the file.
    pub fn close(self) {
        // What is not put there now is at the next start.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// What is said to SQLite for each message, read by it once a transaction.
struct Statements<'a> {
    message: Statement<'a>,
    known: Statement<'a>,
    raw: Statement<'a>,
    found: Statement<'a>,
    count: Statement<'a>,
    recipient: Statement<'a>,
    envelope: Statement<'a>,
}

impl<'a> Statements<'a> {
    fn new(transaction: &'a Transaction<'_>) -> Result<Statements<'a>, StoreError> {
        Ok(Statements {
            message: transaction.prepare(
                "INSERT INTO message (id, inbox, at, size, sender, attachments, inlines, fields) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING RETURNING number",
            )?,
            known: transaction.prepare("SELECT number FROM message WHERE id = ?1")?,
            raw: transaction.prepare("INSERT INTO raw (message, bytes) VALUES (?1, ?2)")?,
            found: transaction.prepare(
                "INSERT INTO found (rowid, sender, recipients, cc, bcc, reply_to, subject, message_id, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            count: transaction.prepare(
                "INSERT INTO inbox (name, messages, bytes) VALUES (?1, 1, ?2) \
                 ON CONFLICT DO UPDATE SET messages = messages + 1, bytes = bytes + ?2",
            )?,
            recipient: transaction.prepare(
                "INSERT INTO recipient (message, ordinal, address) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING RETURNING number",
            )?,
            envelope: transaction.prepare("INSERT INTO envelope (rowid, address) VALUES (?1, ?2)")?,
        })
    }

    fn add(&mut self, message: &Captured, summary: &Summary) -> Result<(), StoreError> {
        let (id, at, size) =
            (message.id.to_string(), number(message.arrival.0), number(message.bytes.len() as u64));
        let sender = String::from_utf8_lossy(&message.sender);
        let (inbox, fields) = (&*message.account, summary.fields());
        let (attachments, inlines) = (summary.attachments as i64, summary.inlines as i64);
        let row = params![id, inbox, at, size, sender, attachments, inlines, fields];
        let new: Option<i64> = self.message.query_row(row, |row| row.get(0)).optional()?;
        let place = match new {
            Some(place) => {
                self.raw.execute(params![place, message.bytes])?;
                let Summary { from, to, cc, bcc, reply_to, subject, message_id, body, .. } = summary;
                let [from, to, cc, bcc, reply_to] =
                    [from, to, cc, bcc, reply_to].map(|all| Summary::searched(all));
                self.found.execute(params![place, from, to, cc, bcc, reply_to, subject, message_id, body])?;
                self.count.execute(params![inbox, size])?;
                place
            }
            None => self.known.query_row([&id], |row| row.get(0))?,
        };
        for (ordinal, address) in &message.recipients {
            let address = String::from_utf8_lossy(address);
            let row = params![place, ordinal, address];
            let new: Option<i64> = self.recipient.query_row(row, |row| row.get(0)).optional()?;
            if let Some(new) = new {
                self.envelope.execute(params![new, address])?;
            }
        }
        Ok(())
    }
}

/// The oldest go until the inbox holds no more than it may; the newest stays, whatever its size.
fn trim(transaction: &Transaction<'_>, inbox: &str, bounds: Bounds) -> Result<(), StoreError> {
    let sql = "SELECT messages, bytes FROM inbox WHERE name = ?1";
    let held = transaction.query_row(sql, [inbox], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let Some((messages, bytes)) = held.optional()? else { return Ok(()) };
    let (mut more, mut over) = (messages - number(bounds.messages), bytes - number(bounds.bytes));
    if more <= 0 && over <= 0 {
        return Ok(());
    }
    let mut gone = Vec::new();
    {
        let sql = "SELECT number, size FROM message WHERE inbox = ?1 ORDER BY number";
        let mut statement = transaction.prepare(sql)?;
        let mut rows = statement.query([inbox])?;
        while (more > 0 || over > 0) && (gone.len() as i64) < messages - 1 {
            let Some(row) = rows.next()? else { break };
            gone.push(row.get(0)?);
            (more, over) = (more - 1, over - row.get::<_, i64>(1)?);
        }
    }
    remove(transaction, &gone)
}

fn numbers(transaction: &Transaction<'_>, sql: &str, value: &str) -> Result<Vec<i64>, StoreError> {
    let mut statement = transaction.prepare(sql)?;
    let values: &[&str] = if value.is_empty() { &[] } else { &[value] };
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All of these messages goes.
pub(super) fn remove(transaction: &Transaction<'_>, gone: &[i64]) -> Result<(), StoreError> {
    let mut count = transaction.prepare(
        "UPDATE inbox SET messages = messages - 1, bytes = bytes - (SELECT size FROM message WHERE number = ?1) \
         WHERE name = (SELECT inbox FROM message WHERE number = ?1)",
    )?;
    let mut each = Vec::new();
    for sql in [
        "DELETE FROM envelope WHERE rowid IN (SELECT number FROM recipient WHERE message = ?1)",
        "DELETE FROM found WHERE rowid = ?1",
        "DELETE FROM raw WHERE message = ?1",
        "DELETE FROM recipient WHERE message = ?1",
        "DELETE FROM tag WHERE message = ?1",
        "DELETE FROM message WHERE number = ?1",
    ] {
        each.push(transaction.prepare(sql)?);
    }
    for place in gone {
        count.execute([place])?;
        for statement in &mut each {
            statement.execute([place])?;
        }
    }
    drop(each);
    transaction.execute("DELETE FROM inbox WHERE messages <= 0", [])?;
    Ok(())
}

pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Opens it as one of this version. Not all of it is looked through, as a start would wait for that: what is damaged is found when it is read.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    // SQLite would wait for somebody to write into a pipe of that name.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::NoFile);
    }
    // Two that make it at once would find it locked, however long they wait.
    static OPENING: Mutex<()> = Mutex::new(());
    let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = OpenOptions::new().append(true).create(true).mode(files::FILE_MODE).open(path);
    let _ = file.map_err(StoreError::Io)?.set_permissions(Permissions::from_mode(files::FILE_MODE));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(limits::SANDBOX_BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "max_page_count", limits::SANDBOX_PAGES_MAX)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
    use super::*;
    use crate::id::MessageId;
    use crate::time::UnixMillis;

    const BOUNDS: Bounds = Bounds { messages: 4, bytes: 100_000 };

    fn captured(offset: u32, account: &str, recipients: &[u16], bytes: usize) -> Captured {
        let mut text = format!("From: ada@a.example\r\nSubject: order {offset}\r\n\r\n").into_bytes();
        text.resize(text.len().max(bytes), b'x');
        Captured {
            id: MessageId { lane: 1, sequence: 2, offset },
            arrival: UnixMillis(u64::from(offset)),
            account: account.into(),
            sender: b"ada@a.example".as_slice().into(),
            recipients: recipients
                .iter()
                .map(|at| (*at, format!("u{at}@b.example").into_bytes().into()))
                .collect(),
            bytes: text,
        }
    }

    fn add(store: &mut Store, messages: &[Captured]) {
        let all: Vec<_> = messages.iter().map(|one| (one, Summary::read(&one.bytes))).collect();
        store.add(&all).unwrap();
    }

    fn ask<T: rusqlite::types::FromSql>(store: &Store, sql: &str) -> Vec<T> {
        let mut statement = store.connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn what_comes_twice_is_kept_once() {
        let scratch = tempfile::tempdir().unwrap();
        let (mut store, words) = Store::open(scratch.path(), BOUNDS).unwrap();
        assert_eq!(words, None);
        add(&mut store, &[captured(1, "shop", &[0, 1], 0), captured(1, "shop", &[2], 0)]);
        drop(store);
        let (mut store, words) = Store::open(scratch.path(), BOUNDS).unwrap();
        assert_eq!(words, None);
        add(&mut store, &[captured(1, "shop", &[1, 2], 0)]);
        assert_eq!(ask::<i64>(&store, "SELECT count(*) FROM message"), [1]);
        assert_eq!(ask::<i64>(&store, "SELECT ordinal FROM recipient ORDER BY 1"), [0, 1, 2]);
        assert_eq!(ask::<i64>(&store, "SELECT messages FROM inbox"), [1]);
        let raw = ask::<Vec<u8>>(&store, "SELECT bytes FROM raw");
        assert_eq!(raw, [captured(1, "", &[], 0).bytes]);
        assert_eq!(ask::<i64>(&store, "SELECT rowid FROM found WHERE found MATCH '\"RDER\"'"), [1]);
    }

    #[test]
    fn the_oldest_of_an_inbox_go() {
        let scratch = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(scratch.path(), BOUNDS).unwrap();
        add(&mut store, &[captured(100, "other", &[0], 0)]);
        let many: Vec<_> = (1..=6).map(|at| captured(at, "shop", &[0], 0)).collect();
        add(&mut store, &many);
        let left = "SELECT at FROM message ORDER BY number";
        assert_eq!(ask::<i64>(&store, left), [100, 3, 4, 5, 6]);
        // By bytes as well, and the newest stays.
        add(&mut store, &[captured(7, "shop", &[0], 60_000), captured(8, "shop", &[0], 60_000)]);
        assert_eq!(ask::<i64>(&store, left), [100, 8]);
        add(&mut store, &[captured(9, "shop", &[0], 200_000)]);
        assert_eq!(ask::<i64>(&store, left), [100, 9]);
        for table in ["raw", "recipient", "envelope", "found", "message"] {
            assert_eq!(ask::<i64>(&store, &format!("SELECT count(*) FROM {table}")), [2], "{table}");
        }
        assert_eq!(ask::<i64>(&store, "SELECT bytes FROM inbox WHERE name = 'shop'"), [200_000]);
        store.make_room().unwrap();
        assert_eq!(ask::<i64>(&store, left), [9]);
    }

    #[test]
    fn many_may_open_it_at_once() {
        for _ in 0..10 {
            let scratch = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                for offset in 1..5 {
                    let data_dir = scratch.path();
                    scope.spawn(move || {
                        let (mut store, _) = Store::open(data_dir, BOUNDS).unwrap();
                        add(&mut store, &[captured(offset, "shop", &[0], 0)]);
                    });
                }
            });
            let (store, _) = Store::open(scratch.path(), BOUNDS).unwrap();
            assert_eq!(ask::<i64>(&store, "SELECT count(*) FROM message"), [4]);
        }
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(layout::SANDBOX), [7; 9000]).unwrap();
        let (mut store, words) = Store::open(scratch.path(), BOUNDS).unwrap();
        assert!(words.unwrap().contains("sandbox.db.damaged"));
        add(&mut store, &[captured(1, "shop", &[0], 0)]);
        store.close();
        fs::create_dir(scratch.path().join("x")).unwrap();
        fs::create_dir(scratch.path().join("x").join(layout::SANDBOX)).unwrap();
        assert!(matches!(Store::open(&scratch.path().join("x"), BOUNDS), Err(StoreError::NoFile)));
    }
}
