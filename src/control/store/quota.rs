//! What accounts and tenants used of their quotas.

use rusqlite::{Connection, params};

use super::error::StoreError;
use super::rows::number;
use crate::config::quota::Period;
use crate::limits;
use crate::policy::quota::{Owner, Spent};
use crate::shard::quota::ledger::QuotaRows;

/// That of one, in the order in which it was written.
pub(super) fn of(connection: &Connection, owner: Owner, name: &str) -> Result<Vec<Spent>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT period, number, used, told FROM quota WHERE owner = ?1 AND name = ?2 ORDER BY rowid LIMIT ?3",
    )?;
    let most = (Period::ALL.len() * limits::QUOTA_PERIODS_KEPT) as u64;
    let found = statement.query_map(params![owner.word(), name, number(most)], |row| {
        let unit: String = row.get(0)?;
        let count = |place: usize| {
            Ok::<_, rusqlite::Error>(u32::try_from(row.get::<_, i64>(place)?).unwrap_or(u32::MAX))
        };
        let told = u8::try_from(row.get::<_, i64>(3)?).unwrap_or(u8::MAX);
        let (number, used) = (count(1)?, count(2)?);
        // Those of a later version's periods are none of ours.
        let period = Period::ALL.into_iter().find(|period| period.unit() == unit);
        Ok(period.map(|period| Spent { period, number, used, told }))
    })?;
    Ok(found.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

/// This is all that is known of these.
pub(super) fn save(connection: &mut Connection, all: &[QuotaRows]) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    {
        let mut forget = transaction.prepare("DELETE FROM quota WHERE owner = ?1 AND name = ?2")?;
        let mut insert = transaction.prepare(
            "INSERT INTO quota (owner, name, period, number, used, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for QuotaRows { owner, name, rows } in all {
            forget.execute(params![owner.word(), &**name])?;
            for Spent { period, number, used, told } in rows {
                insert.execute(params![owner.word(), &**name, period.unit(), number, used, told])?;
            }
        }
    }
    Ok(transaction.commit()?)
}

/// Those that were written the longest ago, where there are too many.
pub(super) fn forget(connection: &Connection) -> Result<(), StoreError> {
    let surplus =
        "DELETE FROM quota WHERE rowid < (SELECT rowid FROM quota ORDER BY rowid DESC LIMIT 1 OFFSET ?1)";
    connection.execute(surplus, [number(limits::QUOTA_ROWS_MAX as u64)])?;
    Ok(())
}
