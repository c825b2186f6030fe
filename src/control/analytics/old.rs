//! A file of the first version: sums by minute and hour of provider, tenant, campaign, class and outcome multiplied with each other. What it counted is
//! summed up anew; of what it did not count (mail that came, categories, sources, how long deliveries took) nothing is known.

use rusqlite::{Row, Transaction};

use super::cells::OUTCOMES;
use super::roll::{Counted, Key};
use super::roll_up::{Step, summed_up};
use super::rows::{Known, Rows};
use crate::control::store::StoreError;
use crate::names::CLASSES;

/// Sums it up, and removes its tables. How many rows those had; None: there are none.
pub(super) fn take_over(transaction: &Transaction<'_>, known: &mut Known) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'key'";
    if transaction.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(None);
    }
    let mut rows = Rows::new(transaction, known)?;
    let mut read = 0;
    for (table, steps) in [("minute", &[Step::Minute][..]), ("hour", &[Step::Hour, Step::Day])] {
        let sql = format!(
            "SELECT at, recipients, provider, tenant, campaign, class, outcome FROM {table} JOIN key ON id = key ORDER BY at"
        );
        let mut statement = transaction.prepare(&sql)?;
        let mut found = statement.query([])?;
        let mut step: Vec<Counted> = Vec::new();
        loop {
            let next = found.next()?.map(one).transpose()?;
            let is_over = next
                .as_ref()
                .is_none_or(|next| step.first().is_some_and(|first| first.minute != next.minute));
            if is_over {
                for ((series, at), sums) in summed_up(&step, steps) {
                    rows.add((series, at), &sums)?;
                }
                step.clear();
            }
            let Some(next) = next else { break };
            step.push(next);
            read += 1;
        }
    }
    drop(rows);
    remove(transaction)?;
    Ok(Some(read))
}

/// Removes its tables.
pub(super) fn remove(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    Ok(transaction
        .execute_batch("DROP TABLE IF EXISTS minute; DROP TABLE IF EXISTS hour; DROP TABLE IF EXISTS key;")?)
}

fn one(row: &Row<'_>) -> Result<Counted, StoreError> {
    let unsigned = |place| row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0));
    let word = |place| row.get_ref(place).map(|value| value.as_str().unwrap_or_default().to_owned());
    let (class, outcome) = (word(5)?, word(6)?);
    let key = Key {
        provider: word(2)?,
        tenant: word(3)?,
        campaign: word(4)?,
        class: CLASSES.iter().position(|known| *known == class).map_or(0, |place| place + 1),
        outcome: OUTCOMES.iter().position(|known| *known == outcome).unwrap_or_default(),
        ..Key::default()
    };
    Ok(Counted { minute: unsigned(0)? / 60, key, recipients: unsigned(1)?, times: Vec::new() })
}
