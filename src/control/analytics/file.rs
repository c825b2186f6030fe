//! The file as such: its tables, how it is opened, and how a damaged one is put aside.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::control::store::StoreError;
use crate::limits;
use crate::runtime::files;

/// Behind the name of one that was damaged.
const ASIDE: &str = ".damaged";
/// What SQLite has beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
const APPLICATION: u32 = u32::from_be_bytes(*b"RLVA");
const VERSION: i64 = 2;
/// The one before: one table by all that mail is counted by.
const FIRST: i64 = 1;

/// `sum` is in the order of questions: a series, from one time to another. What a row counts is one value (`cells`), as nothing asks for a part of it.
const SUMS: &str = "
    CREATE TABLE name (
        id INTEGER PRIMARY KEY,
        roll_up INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        second TEXT NOT NULL,
        last INTEGER NOT NULL,
        UNIQUE (roll_up, tenant, name, second)
    ) STRICT;
    CREATE TABLE sum (
        series INTEGER,
        at INTEGER,
        name INTEGER,
        counts BLOB NOT NULL,
        PRIMARY KEY (series, at, name)
    ) STRICT, WITHOUT ROWID;
";
const TABLES: &str = "
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

/// Opens it as one of this version. Not all of it is looked through, as a start would wait for that: what is damaged is found when it is read.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
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
            transaction.execute_batch(SUMS)?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION | FIRST if application != i64::from(APPLICATION) => {
            return Err(StoreError::Damaged(format!("its application id is {application:#x}")));
        }
        VERSION => {}
        FIRST => {
            // What it counted is taken over by the thread that counts: a start does not wait for that.
            transaction.execute_batch(SUMS)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        later => return Err(StoreError::Newer(later)),
    }
    transaction.commit()?;
    Ok(connection)
}

/// The damaged file gets another name, in place of what was put aside before.
pub(super) fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
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

/// As SQLite has numbers.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
