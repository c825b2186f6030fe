//! What a source in warm-up used of the days at each provider.

use rusqlite::{Connection, params};

use super::error::StoreError;
use super::rows::number;
use crate::limits;
use crate::shaping::warmup::{Complaint, Day, Names, WarmDay};

pub(super) fn of(connection: &Connection, (source, provider): (&str, &str)) -> Result<Vec<Day>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT day, behind, used, overflowed, complaint FROM warmup WHERE source = ?1 AND provider = ?2 ORDER BY day DESC LIMIT ?3",
    )?;
    let found =
        statement.query_map(params![source, provider, number(limits::WARMUP_DAYS_KEPT as u64)], |row| {
            let count = |place: usize| {
                Ok::<_, rusqlite::Error>(u32::try_from(row.get::<_, i64>(place)?).unwrap_or(u32::MAX))
            };
            let complaint = u8::try_from(row.get::<_, i64>(4)?).unwrap_or(u8::MAX);
            let complaint = Complaint::of_number(complaint);
            Ok(Day { day: count(0)?, behind: count(1)?, used: count(2)?, overflowed: count(3)?, complaint })
        })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Which there are, those of the latest days first.
pub(super) fn names(connection: &Connection) -> Result<Vec<Names>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT source, provider FROM warmup GROUP BY source, provider ORDER BY max(day) DESC LIMIT ?1",
    )?;
    let found = statement.query_map([number(limits::WARMUPS_KNOWN as u64)], |row| {
        Ok((row.get::<_, String>(0)?.into(), row.get::<_, String>(1)?.into()))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn save(connection: &mut Connection, days: &[WarmDay]) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(
            "INSERT OR REPLACE INTO warmup (source, provider, day, behind, used, overflowed, complaint) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for WarmDay { source, provider, day } in days {
            let counts = [day.day, day.behind, day.used, day.overflowed, day.complaint.number().into()];
            let [number, behind, used, overflowed, complaint] = counts.map(i64::from);
            insert.execute(params![&**source, &**provider, number, behind, used, overflowed, complaint])?;
        }
    }
    Ok(transaction.commit()?)
}

/// Those of the oldest days, where there are too many.
pub(super) fn forget(connection: &Connection) -> Result<(), StoreError> {
    let surplus =
        "DELETE FROM warmup WHERE day < (SELECT day FROM warmup ORDER BY day DESC LIMIT 1 OFFSET ?1)";
    connection.execute(surplus, [number(limits::WARMUP_ROWS_MAX as u64)])?;
    Ok(())
}
