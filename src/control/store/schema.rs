//! The tables of the file, and how one of an earlier version becomes one of this.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction};

use super::error::StoreError;
use crate::limits;
use crate::runtime::files;
use crate::spool::layout;

/// Its name in the data directory.
pub const FILE: &str = layout::DECISIONS;
/// Behind the name of one that was damaged.
pub(super) const ASIDE: &str = ".damaged";
/// What SQLite has beside it.
pub(super) const BESIDE: [&str; 1] = ["-journal"];

/// Marks the file as one of relevo's.
pub(super) const APPLICATION: [u8; 4] = *b"RLVO";

/// What each version adds to the one before; an empty file has version 0. None of these is ever changed.
pub(super) const MIGRATIONS: [&str; 10] = ["
    CREATE TABLE suspension (
        id INTEGER PRIMARY KEY,
        effect TEXT NOT NULL,
        key TEXT,
        value TEXT,
        domain TEXT,
        site TEXT,
        tenant TEXT,
        campaign TEXT,
        pool TEXT,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        by TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE TABLE window (name TEXT PRIMARY KEY, value BLOB NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX window_at ON window (at);
", "
    ALTER TABLE suspension ADD COLUMN provider TEXT;
", "
    ALTER TABLE suspension ADD COLUMN source TEXT;
    CREATE TABLE warmup (
        source TEXT NOT NULL,
        provider TEXT NOT NULL,
        day INTEGER NOT NULL,
        behind INTEGER NOT NULL,
        used INTEGER NOT NULL,
        overflowed INTEGER NOT NULL,
        complaint INTEGER NOT NULL,
        PRIMARY KEY (source, provider, day)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX warmup_day ON warmup (day);
", "
    CREATE TABLE suppression (
        of_domains INTEGER NOT NULL,
        fingerprint INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        address TEXT NOT NULL,
        listed INTEGER NOT NULL,
        reason TEXT NOT NULL,
        added INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        note TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (of_domains, fingerprint, tenant, address)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE suppression_file (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        key BLOB NOT NULL,
        number INTEGER NOT NULL,
        entries INTEGER NOT NULL
    ) STRICT;
", "
    CREATE TABLE event_reader (
        name TEXT PRIMARY KEY,
        segment INTEGER NOT NULL,
        frame INTEGER NOT NULL,
        within INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE hard_bounce (
        tenant TEXT NOT NULL,
        address TEXT NOT NULL,
        times INTEGER NOT NULL,
        last INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (tenant, address)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX hard_bounce_last ON hard_bounce (last);
", "
    CREATE TABLE tenant (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
", "
    CREATE TABLE quota (
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        period TEXT NOT NULL,
        number INTEGER NOT NULL,
        used INTEGER NOT NULL,
        told INTEGER NOT NULL,
        PRIMARY KEY (owner, name, period, number)
    ) STRICT;
", "
    CREATE TABLE suppression_untold (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        listed INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        address TEXT NOT NULL,
        reason TEXT NOT NULL,
        added INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        note TEXT NOT NULL
    ) STRICT;
    CREATE TABLE suppression_heard (id INTEGER PRIMARY KEY CHECK (id = 1), place TEXT NOT NULL) STRICT;
", "
    CREATE TABLE template (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        partial INTEGER NOT NULL,
        category TEXT NOT NULL,
        subject TEXT NOT NULL,
        version INTEGER NOT NULL,
        made INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        UNIQUE (tenant, name, partial)
    ) STRICT;
    CREATE TABLE template_version (
        template INTEGER NOT NULL,
        version INTEGER NOT NULL,
        made INTEGER NOT NULL,
        by TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (template, version)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX template_version_bytes ON template_version (template, bytes);
", "
    CREATE TABLE answered (
        token TEXT NOT NULL,
        key TEXT NOT NULL,
        digest BLOB NOT NULL,
        name TEXT NOT NULL,
        at INTEGER NOT NULL,
        status INTEGER NOT NULL,
        body BLOB NOT NULL,
        large INTEGER NOT NULL DEFAULT 0,
        UNIQUE (token, key)
    ) STRICT;
    CREATE INDEX answered_at ON answered (at);
    CREATE INDEX answered_large ON answered (at) WHERE large;
"];

/// Opens it as one of this version.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // SQLite would wait for somebody to write into a pipe of that name.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::NoFile);
    }
    // What SQLite makes beside it has its mode.
    let file = OpenOptions::new().append(true).create(true).mode(files::FILE_MODE).open(path);
    // A umask that takes from the owner too would have left less. Where it is not ours to change, the check of modes has told.
    let _ = file.map_err(StoreError::Io)?.set_permissions(Permissions::from_mode(files::FILE_MODE));
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Who is forgotten is not to be found in what the file has no use for.
    connection.pragma_update(None, "secure_delete", true)?;
    // Nor in what a change is taken back by: with one user that file stays, as long as it ever was.
    connection.pragma_update(None, "journal_size_limit", 0)?;
    connection.pragma_update(None, "max_page_count", limits::STORE_PAGES_MAX)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(StoreError::Damaged(sound));
    }
    let transaction = connection.transaction()?;
    migrate(&transaction)?;
    transaction.commit()?;
    Ok(connection)
}

fn migrate(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(StoreError::Newer(version));
    }
    if version < 0 || (version > 0 && application != i64::from(u32::from_be_bytes(APPLICATION))) {
        return Err(StoreError::Damaged(format!(
            "its application id is {application:#x}, its schema {version}"
        )));
    }
    for migration in &MIGRATIONS[version as usize..] {
        transaction.execute_batch(migration)?;
    }
    if version < known {
        transaction.pragma_update(None, "application_id", u32::from_be_bytes(APPLICATION))?;
        transaction.pragma_update(None, "user_version", known)?;
    }
    Ok(())
}
