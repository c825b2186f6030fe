//! The file of what was counted: `analytics.db` in the data directory, SQLite with a write-ahead log that is not synced at each write. How far the reader
//! of the journal is stands in it, and is written in one transaction with what it counted: a kill loses nothing of it and counts nothing twice.
//!
//! It can be removed at any time: mail does not know it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::file::{self, number, put_aside};
use super::old;
use super::roll::{Counted, Texts};
use super::roll_up::{Series, Step, Sums, summed_up};
use super::rows::{Known, Rows};
use crate::control::store::StoreError;
use crate::limits;
use crate::spool::layout;

/// The file.
pub(super) struct Store {
    connection: Connection,
    known: Known,
    /// Ids that were remembered since the oldest were forgotten.
    ids: usize,
}

impl Store {
    fn of(connection: Connection) -> Store {
        Store { connection, known: Known::default(), ids: limits::ANALYTICS_REPEATED }
    }

    /// Opens it, or makes it. A damaged one is put aside, and an empty one takes its place: that is told in words.
    pub fn open(data_dir: &Path) -> Result<(Store, Option<String>), StoreError> {
        let path = data_dir.join(layout::ANALYTICS);
        match file::open(&path) {
            Err(StoreError::Damaged(what)) => {
                let aside = put_aside(&path)?;
                let words = format!(
                    "{} was damaged ({what}) and is now {}: what was counted before is not told any more, and counting begins anew; mail is untouched",
                    path.display(),
                    aside.display()
                );
                Ok((Store::of(file::open(&path)?), Some(words)))
            }
            opened => Ok((Store::of(opened?), None)),
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

    /// Takes over what a file of the first version counted, if it is one: all of it, or nothing. How many rows that had.
    pub fn take_over(&mut self) -> Result<Option<u64>, StoreError> {
        let transaction = self.connection.transaction()?;
        let taken = old::take_over(&transaction, &mut self.known);
        let done = taken.and_then(|taken| {
            transaction.commit()?;
            Ok(taken)
        });
        if done.is_err() {
            self.known = Known::default();
        }
        done
    }

    /// Removes that: there is no room for it and for what is counted now.
    pub fn leave_behind(&mut self) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        old::remove(&transaction)?;
        Ok(transaction.commit()?)
    }

    /// Adds what was counted, and what was said, by a reader that is there then: all of it, or nothing.
    pub fn add(
        &mut self,
        counts: &[Counted],
        (texts, ids): (&Texts, &[u64]),
        place: [u64; 3],
    ) -> Result<(), StoreError> {
        let done = self.try_add(&summed_up(counts, &Step::ALL), (texts, ids), place);
        if done.is_err() {
            // What was new among it is not there.
            self.known = Known::default();
        }
        done
    }

    fn try_add(
        &mut self,
        sums: &Sums,
        (texts, ids): (&Texts, &[u64]),
        place: [u64; 3],
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let mut rows = Rows::new(&transaction, &mut self.known)?;
        for ((series, at), sums) in sums {
            rows.add((*series, *at), sums)?;
        }
        drop(rows);
        if !texts.is_empty() {
            add_texts(&transaction, texts)?;
        }
        let mut remembered = self.ids;
        if !ids.is_empty() {
            remembered = remember_ids(&transaction, ids, remembered)?;
        }
        let [segment, frame, within] = place.map(number);
        let sql = "INSERT OR REPLACE INTO place (id, segment, frame, within) VALUES (1, ?1, ?2, ?3)";
        transaction.execute(sql, [segment, frame, within])?;
        transaction.commit()?;
        self.ids = remembered;
        Ok(())
    }

    /// Forgets what is older than it is kept for.
    pub fn forget(&mut self, now: u64) -> Result<(), StoreError> {
        self.forget_before(Step::ALL.map(|step| now.saturating_sub(step.kept().as_secs())))
    }

    /// Forgets more than that: there is no room. What hours and days had stays until it is the oldest tenth of them.
    pub fn make_room(&mut self, now: u64) -> Result<(), StoreError> {
        let tenth = |step| -> Result<u64, StoreError> {
            let (mut first, mut last) = (i64::MAX, 0);
            for series in Series::all().filter(|series| series.step == step) {
                let bound = |which: &str| {
                    let sql = format!("SELECT {which}(at) FROM sum WHERE series = ?1");
                    self.connection.query_row(&sql, [series.number()], |row| row.get::<_, Option<i64>>(0))
                };
                first = first.min(bound("min")?.unwrap_or(i64::MAX));
                last = last.max(bound("max")?.unwrap_or(0));
            }
            let before = first.min(last) + last.saturating_sub(first).max(0) / 10 + 1;
            Ok(u64::try_from(before).unwrap_or(0))
        };
        let (hours, days) = (tenth(Step::Hour)?, tenth(Step::Day)?);
        self.forget_before([now.saturating_sub(2 * Step::Hour.seconds()), hours, days])
    }

    fn forget_before(&mut self, steps: [u64; 3]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for series in Series::all() {
            let before = number(steps[series.step as usize]);
            let sql = "DELETE FROM sum WHERE series = ?1 AND at < ?2";
            transaction.execute(sql, [series.number(), before])?;
        }
        let [_, hours, days] = steps;
        transaction.execute("DELETE FROM text WHERE at < ?1", [number(hours)])?;
        // A name is as old as the last day that has it.
        let oldest = hours.min(days) / Step::Day.seconds() * Step::Day.seconds();
        transaction.execute("DELETE FROM name WHERE last < ?1", [number(oldest)])?;
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

/// Remembers which events were counted, behind so many since the oldest were forgotten; the latest so many stay, and a few more.
fn remember_ids(transaction: &Transaction<'_>, ids: &[u64], since: usize) -> Result<usize, StoreError> {
    let hashes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let sql = "INSERT INTO counted (ids, hashes) VALUES (?1, ?2)";
    transaction.execute(sql, params![ids.len() as i64, hashes])?;
    let since = since.saturating_add(ids.len());
    // It goes through all of them.
    if since < limits::ANALYTICS_REPEATED / 16 {
        return Ok(since);
    }
    let sql = "DELETE FROM counted WHERE number IN (SELECT number FROM \
               (SELECT number, sum(ids) OVER (ORDER BY number DESC) - ids AS behind FROM counted) WHERE behind >= ?1)";
    transaction.execute(sql, [limits::ANALYTICS_REPEATED as i64])?;
    Ok(0)
}

#[cfg(test)]
mod tests;
