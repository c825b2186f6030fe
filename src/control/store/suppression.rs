//! What changed in the suppression list since its file was made, and which file that is.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::StoreError;
use super::rows::number;
use crate::limits;
use crate::policy::suppression::entry::{self, Entry, OwnedEntry, Place, Reason};
use crate::policy::suppression::fingerprint::Key;
use crate::policy::suppression::merge::{Change, Record};
use crate::time::UnixMillis;

/// What is known of the list's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// What fingerprints are made with.
    pub key: Key,
    /// The last change that is in it.
    pub change: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// A change: an entry that is listed (`Put`) or is not (`Remove`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionRow {
    /// What, and where it stands.
    pub record: Record,
    /// The number of the change: later ones have larger ones.
    pub number: u64,
}

/// A change that other nodes are not told of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntoldChange {
    /// Its number.
    pub number: u64,
    /// It is listed; else it is not any more.
    pub listed: bool,
    /// What.
    pub entry: OwnedEntry,
}

/// Changes that other nodes are not told of yet, the first so many of them.
pub(super) fn untold(connection: &Connection, most: usize) -> Result<Vec<UntoldChange>, StoreError> {
    let sql = "SELECT number, listed, tenant, address, reason, added, expires, note FROM suppression_untold \
               ORDER BY number LIMIT ?1";
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query([number(most as u64)])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        let unsigned =
            |place: usize| row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0));
        let (tenant, reason): (String, String) = (row.get(2)?, row.get(4)?);
        let entry = OwnedEntry {
            tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
            address: row.get(3)?,
            reason: Reason::named(&reason).unwrap_or(Reason::Imported),
            added: UnixMillis(unsigned(5)?),
            expires: Some(unsigned(6)?).filter(|at| *at != 0).map(UnixMillis),
            note: row.get(7)?,
        };
        all.push(UntoldChange { number: unsigned(0)?, listed: row.get(1)?, entry });
    }
    Ok(all)
}

/// How many these are.
pub(super) fn count_untold(connection: &Connection) -> Result<usize, StoreError> {
    let count =
        connection.query_row("SELECT count(*) FROM suppression_untold", [], |row| row.get::<_, i64>(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// They are told of all up to this one.
pub(super) fn told(connection: &Connection, to: u64) -> Result<(), StoreError> {
    connection.execute("DELETE FROM suppression_untold WHERE number <= ?1", [number(to)])?;
    Ok(())
}

/// How far what other nodes tell was heard. None: nothing was.
pub(super) fn heard(connection: &Connection) -> Result<Option<String>, StoreError> {
    let sql = "SELECT place FROM suppression_heard WHERE id = 1";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?)
}

/// It was heard up to here.
pub(super) fn save_heard(connection: &Connection, place: &str) -> Result<(), StoreError> {
    connection.execute("INSERT OR REPLACE INTO suppression_heard (id, place) VALUES (1, ?1)", [place])?;
    Ok(())
}

pub(super) fn known(connection: &Connection) -> Result<Option<KnownFile>, StoreError> {
    let sql = "SELECT key, number, entries FROM suppression_file WHERE id = 1";
    let found = connection.query_row(sql, [], |row| {
        let unsigned = |place| row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0));
        Ok((row.get::<_, Vec<u8>>(0)?, unsigned(1)?, unsigned(2)?))
    });
    let Some((key, change, entries)) = found.optional()? else { return Ok(None) };
    match <[u8; 16]>::try_from(key) {
        Ok(key) => Ok(Some(KnownFile { key: Key(key), change, entries })),
        Err(key) => Err(StoreError::Damaged(format!("the key of suppression has {} bytes", key.len()))),
    }
}

pub(super) fn save_known(connection: &mut Connection, file: &KnownFile) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let sql = "INSERT OR REPLACE INTO suppression_file (id, key, number, entries) VALUES (1, ?1, ?2, ?3)";
    transaction.execute(sql, params![file.key.0, number(file.change), number(file.entries)])?;
    transaction.execute("DELETE FROM suppression WHERE number <= ?1", [number(file.change)])?;
    Ok(transaction.commit()?)
}

/// Fingerprints in the order of numbers with a sign.
fn signed(fingerprint: u64) -> i64 {
    (fingerprint ^ 1 << 63).cast_signed()
}

const COLUMNS: &str =
    "of_domains, fingerprint, tenant, address, listed, reason, added, expires, note, number";

/// Also how many make no sense.
pub(super) fn rows(
    connection: &Connection,
    behind: Option<Place>,
    most: usize,
    key: &Key,
) -> Result<(Vec<SuppressionRow>, usize), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM suppression WHERE (of_domains, fingerprint) > (?1, ?2) \
         ORDER BY of_domains, fingerprint, tenant, address LIMIT ?3"
    );
    let (part, fingerprint) =
        behind.map_or((-1, 0), |place| (place.of_domains.into(), signed(place.fingerprint)));
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query(params![part, fingerprint, number(most as u64)])?;
    let (mut all, mut senseless) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        match read(row, key)? {
            Some(row) => all.push(row),
            None => senseless += 1,
        }
    }
    Ok((all, senseless))
}

pub(super) fn at(
    connection: &Connection,
    place: Place,
    key: &Key,
) -> Result<Vec<SuppressionRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM suppression WHERE of_domains = ?1 AND fingerprint = ?2 ORDER BY tenant, address"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query(params![place.of_domains, signed(place.fingerprint)])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.extend(read(row, key)?);
    }
    Ok(all)
}

/// None: a later version may know what it means, or somebody else wrote it.
fn read(row: &Row<'_>, key: &Key) -> Result<Option<SuppressionRow>, StoreError> {
    let text = |place: usize| Ok::<_, rusqlite::Error>(row.get_ref(place)?.as_str().unwrap_or("\0"));
    let unsigned = |place: usize| row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0));
    let fingerprint = row.get::<_, i64>(1)?.cast_unsigned() ^ 1 << 63;
    let place = Place { of_domains: row.get(0)?, fingerprint };
    let expires = Some(unsigned(7)?).filter(|at| *at != 0).map(UnixMillis);
    let entry = Entry {
        tenant: Some(text(2)?).filter(|tenant| !tenant.is_empty()),
        address: text(3)?,
        // A later version may have more of them: whoever is listed is listed.
        reason: Reason::named(text(5)?).unwrap_or(Reason::Imported),
        added: UnixMillis(unsigned(6)?),
        expires,
        note: text(8)?,
    };
    if !entry.is_sound() || entry.place(key) != Some(place) {
        return Ok(None);
    }
    let change = if row.get(4)? { Change::Put } else { Change::Remove };
    Ok(Some(SuppressionRow { record: Record::new(place, change, &entry), number: unsigned(9)? }))
}

/// `tell`: other nodes are to be told of them.
pub(super) fn save(
    connection: &mut Connection,
    rows: &[SuppressionRow],
    tell: bool,
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    if tell {
        let sql = "INSERT INTO suppression_untold (listed, tenant, address, reason, added, expires, note) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let mut insert = transaction.prepare(sql)?;
        for entry in rows.iter().filter_map(|row| Some((row.record.change, row.record.entry()?))) {
            let (change, entry) = entry;
            insert.execute(params![
                change != Change::Remove,
                entry.tenant.unwrap_or_default(),
                entry.address,
                entry.reason.word(),
                number(entry.added.0),
                number(entry.expires.map_or(0, |at| at.0)),
                entry.note,
            ])?;
        }
    }
    {
        let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10";
        let sql = format!("INSERT OR REPLACE INTO suppression ({COLUMNS}) VALUES ({values})");
        let mut insert = transaction.prepare(&sql)?;
        for SuppressionRow { record, number: change } in rows {
            let Some(entry) = record.entry() else { continue };
            insert.execute(params![
                record.place.of_domains,
                signed(record.place.fingerprint),
                entry.tenant.unwrap_or_default(),
                entry.address,
                record.change != Change::Remove,
                entry.reason.word(),
                number(entry.added.0),
                number(entry.expires.map_or(0, |at| at.0)),
                entry.note,
                number(*change),
            ])?;
        }
    }
    Ok(transaction.commit()?)
}

pub(super) fn rekey(connection: &mut Connection, key: &Key) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    transaction
        .execute_batch("CREATE TEMP TABLE moved AS SELECT * FROM suppression; DELETE FROM suppression")?;
    {
        let mut names =
            transaction.prepare("SELECT rowid, tenant, address FROM moved ORDER BY rowid LIMIT ?1")?;
        let mut put = transaction.prepare(&format!(
            "INSERT OR REPLACE INTO suppression ({COLUMNS}) SELECT ?1, ?2, tenant, address, listed, reason, added, expires, note, \
             number FROM moved WHERE rowid = ?3"
        ))?;
        let mut found = names.query([number(limits::SUPPRESSION_CHANGES_MAX as u64)])?;
        while let Some(row) = found.next()? {
            let (tenant, address): (String, String) = (row.get(1)?, row.get(2)?);
            let tenant = Some(&*tenant).filter(|tenant| !tenant.is_empty());
            let Some(place) = entry::place(key, tenant, &address) else { continue };
            put.execute(params![place.of_domains, signed(place.fingerprint), row.get::<_, i64>(0)?])?;
        }
    }
    transaction.execute_batch("DROP TABLE moved")?;
    Ok(transaction.commit()?)
}
