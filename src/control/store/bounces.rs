//! How far the reader of events is that feeds the suppression list, and mailboxes of which hops said for good that they are not there, but not often
//! enough.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::rows::number;
use crate::limits;
use crate::time::UnixMillis;

/// A place in the journal of events: segment, offset of a frame in it, bytes of its lines.
pub type EventPlace = [u64; 3];

/// How often it was said of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BounceCount {
    /// Whose mail it was; empty: the node's.
    pub tenant: String,
    /// The mailbox, canonical.
    pub address: String,
    /// How often.
    pub times: u32,
    /// When it was said last.
    pub last: UnixMillis,
    /// The event that told it: told again it counts once.
    pub event: String,
}

const READER: &str = "suppression";

/// How far the reader is. None: it never read.
pub(super) fn place(connection: &Connection) -> Result<Option<EventPlace>, StoreError> {
    let sql = "SELECT segment, frame, within FROM event_reader WHERE name = ?1";
    let found = connection.query_row(sql, [READER], |row| {
        let unsigned = |place| row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0));
        Ok([unsigned(0)?, unsigned(1)?, unsigned(2)?])
    });
    Ok(found.optional()?)
}

/// The count of a mailbox. None: it is not counted.
pub(super) fn count(
    connection: &Connection,
    (tenant, address): (&str, &str),
) -> Result<Option<BounceCount>, StoreError> {
    let sql = "SELECT times, last, event FROM hard_bounce WHERE tenant = ?1 AND address = ?2";
    let found = connection.query_row(sql, params![tenant, address], |row| {
        Ok(BounceCount {
            tenant: tenant.to_owned(),
            address: address.to_owned(),
            times: row.get(0)?,
            last: UnixMillis(u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)),
            event: row.get(2)?,
        })
    });
    Ok(found.optional()?)
}

/// The reader is there, and this is counted by then: all of it, or nothing. What was counted to 0 is forgotten.
pub(super) fn save(
    connection: &mut Connection,
    at: EventPlace,
    counts: &[BounceCount],
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    {
        let [segment, frame, within] = at.map(number);
        let sql =
            "INSERT OR REPLACE INTO event_reader (name, segment, frame, within) VALUES (?1, ?2, ?3, ?4)";
        transaction.execute(sql, params![READER, segment, frame, within])?;
        for one in counts {
            if one.times == 0 {
                let sql = "DELETE FROM hard_bounce WHERE tenant = ?1 AND address = ?2";
                transaction.execute(sql, params![one.tenant, one.address])?;
                continue;
            }
            let sql = "INSERT OR REPLACE INTO hard_bounce (tenant, address, times, last, event) VALUES (?1, ?2, ?3, ?4, ?5)";
            let BounceCount { tenant, address, times, last, event } = one;
            transaction.execute(sql, params![tenant, address, times, number(last.0), event])?;
        }
        if !counts.is_empty() {
            let all: i64 = transaction.query_row("SELECT count(*) FROM hard_bounce", [], |row| row.get(0))?;
            let most = number(limits::HARD_BOUNCES_KEPT);
            if all > most {
                let sql = "DELETE FROM hard_bounce WHERE (tenant, address) IN \
                           (SELECT tenant, address FROM hard_bounce ORDER BY last LIMIT ?1)";
                transaction.execute(sql, [all - most + most / 100])?;
            }
        }
    }
    Ok(transaction.commit()?)
}

/// Forgets what is counted of a mailbox.
pub(super) fn forget(connection: &Connection, address: &str) -> Result<u64, StoreError> {
    Ok(connection.execute("DELETE FROM hard_bounce WHERE address = ?1", [address])? as u64)
}

/// Tenants by whose mail return paths went out.
pub(super) fn tenants(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare("SELECT name FROM tenant LIMIT ?1")?;
    let names = statement.query_map([number(limits::KNOWN_TENANTS_MAX as u64)], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// These are, too.
pub(super) fn save_tenants(connection: &mut Connection, names: &[&str]) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    for name in names {
        transaction.execute("INSERT OR IGNORE INTO tenant (name) VALUES (?1)", [name])?;
    }
    Ok(transaction.commit()?)
}
