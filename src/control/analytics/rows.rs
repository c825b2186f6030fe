//! Rows of sums, written: what was counted is added to what its step has. A step has so many rows by name in each roll-up; where there is one more, the
//! smallest quarter of them goes into `other` of its tenant, so that those with most mail keep their names and the sum of all is what it was.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{OptionalExtension, Row, Statement, Transaction, params};

use super::cells::Cells;
use super::file::number;
use super::roll_up::{Names, OTHER, RollUp, Series, Step};
use crate::control::store::StoreError;
use crate::limits;

/// What is known without asking.
#[derive(Default)]
pub(super) struct Known {
    /// Number of a name, and the last day that it has.
    names: HashMap<(RollUp, Names), (i64, u64)>,
    /// How many rows steps have, of the latest few: by name, and others.
    rows: HashMap<(Series, u64), (usize, usize)>,
}

/// What is said to SQLite for each row, read by it once a transaction.
pub(super) struct Rows<'a> {
    known: &'a mut Known,
    find: Statement<'a>,
    make: Statement<'a>,
    last: Statement<'a>,
    of_step: Statement<'a>,
    read: Statement<'a>,
    write: Statement<'a>,
    remove: Statement<'a>,
}

impl<'a> Rows<'a> {
    pub fn new(transaction: &'a Transaction<'_>, known: &'a mut Known) -> Result<Rows<'a>, StoreError> {
        let read = |sql| transaction.prepare(sql);
        Ok(Rows {
            known,
            find: read(
                "SELECT id, last FROM name WHERE roll_up = ?1 AND tenant = ?2 AND name = ?3 AND second = ?4",
            )?,
            make: read("INSERT INTO name (roll_up, tenant, name, second, last) VALUES (?1, ?2, ?3, ?4, ?5)")?,
            last: read("UPDATE name SET last = ?2 WHERE id = ?1")?,
            of_step: read(
                "SELECT n.tenant, n.name, n.second, s.name, s.counts FROM sum s JOIN name n ON n.id = s.name \
                 WHERE s.series = ?1 AND s.at = ?2",
            )?,
            read: read("SELECT counts FROM sum WHERE series = ?1 AND at = ?2 AND name = ?3")?,
            write: read("INSERT OR REPLACE INTO sum (series, at, name, counts) VALUES (?1, ?2, ?3, ?4)")?,
            remove: read("DELETE FROM sum WHERE series = ?1 AND at = ?2 AND name = ?3")?,
        })
    }

    /// Adds what was counted in a step, those with most first.
    pub fn add(&mut self, of: (Series, u64), sums: &HashMap<Names, Cells>) -> Result<(), StoreError> {
        let mut all: Vec<_> = sums.iter().map(|(names, cells)| (cells.recipients(), names, cells)).collect();
        all.sort_unstable_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(other.1)));
        all.into_iter().try_for_each(|(_, names, cells)| self.add_row(of, names, cells))
    }

    fn add_row(&mut self, of: (Series, u64), names: &Names, cells: &Cells) -> Result<(), StoreError> {
        let (Series { roll_up, step }, _) = of;
        if roll_up.is_other(names) {
            return self.add_other(of, &names.tenant, cells);
        }
        if self.merged(of, names, cells)? {
            return Ok(());
        }
        if self.rows(of)?.0 >= step.most() {
            self.fold(of)?;
        }
        self.insert(of, names, cells)?;
        let (named, others) = self.rows(of)?;
        self.know_rows(of, (named + 1, others));
        Ok(())
    }

    /// Adds what goes without its name. Of so many tenants each has a row for that; then they share one.
    fn add_other(&mut self, of: (Series, u64), tenant: &str, cells: &Cells) -> Result<(), StoreError> {
        let Series { roll_up, step } = of.0;
        let shared = roll_up.other(OTHER);
        let names = if roll_up == RollUp::Tenant { shared.clone() } else { roll_up.other(tenant) };
        if self.merged(of, &names, cells)? {
            return Ok(());
        }
        let (named, others) = self.rows(of)?;
        if others >= step.most() / 4 && names != shared {
            return self.add_other(of, OTHER, cells);
        }
        self.insert(of, &names, cells)?;
        self.know_rows(of, (named, others + 1));
        Ok(())
    }

    /// The smallest quarter of a step loses its names.
    fn fold(&mut self, of: (Series, u64)) -> Result<(), StoreError> {
        let (Series { roll_up, step }, _) = of;
        let mut named: Vec<_> =
            self.all(of)?.into_iter().filter(|(names, ..)| !roll_up.is_other(names)).collect();
        named.sort_by_cached_key(|(names, _, cells)| (cells.recipients(), names.clone()));
        named.truncate(named.len().saturating_sub(step.most() * 3 / 4));
        let mut others: BTreeMap<String, Cells> = BTreeMap::new();
        for (names, id, cells) in named {
            self.remove.execute(params![of.0.number(), number(of.1), id])?;
            others.entry(names.tenant).or_default().merge(&cells);
        }
        self.known.rows.remove(&of);
        others.iter().try_for_each(|(tenant, cells)| self.add_other(of, tenant, cells))
    }

    /// All rows of a step.
    fn all(&mut self, of: (Series, u64)) -> Result<Vec<(Names, i64, Cells)>, StoreError> {
        let read = |row: &Row<'_>| {
            let names = Names { tenant: row.get(0)?, name: row.get(1)?, second: row.get(2)? };
            Ok((names, row.get(3)?, Cells::read(row.get_ref(4)?.as_blob().unwrap_or_default())))
        };
        let found = self.of_step.query_map([of.0.number(), number(of.1)], read)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// How many rows a step has by name, and how many others.
    fn rows(&mut self, of: (Series, u64)) -> Result<(usize, usize), StoreError> {
        if let Some(rows) = self.known.rows.get(&of) {
            return Ok(*rows);
        }
        let all = self.all(of)?;
        let others = all.iter().filter(|(names, ..)| of.0.roll_up.is_other(names)).count();
        let rows = (all.len() - others, others);
        self.know_rows(of, rows);
        Ok(rows)
    }

    fn know_rows(&mut self, of: (Series, u64), rows: (usize, usize)) {
        if self.known.rows.len() >= limits::ANALYTICS_KNOWN_STEPS {
            self.known.rows.clear();
        }
        self.known.rows.insert(of, rows);
    }

    /// Adds it to the row that there is; whether there is one.
    fn merged(&mut self, of: (Series, u64), names: &Names, cells: &Cells) -> Result<bool, StoreError> {
        let Some(id) = self.id(of, names)? else { return Ok(false) };
        let place = params![of.0.number(), number(of.1), id];
        let old = self.read.query_row(place, |row| row.get::<_, Vec<u8>>(0)).optional()?;
        let Some(old) = old else { return Ok(false) };
        let mut sum = Cells::read(&old);
        sum.merge(cells);
        self.put(of, id, &sum)?;
        Ok(true)
    }

    fn insert(&mut self, of: (Series, u64), names: &Names, cells: &Cells) -> Result<(), StoreError> {
        let id = match self.id(of, names)? {
            Some(id) => id,
            None => {
                let (roll_up, last) = (of.0.roll_up, day(of.1));
                let values = params![roll_up.number(), names.tenant, names.name, names.second, number(last)];
                let id = self.make.insert(values)?;
                self.remember(roll_up, names, (id, last));
                id
            }
        };
        self.put(of, id, cells)
    }

    fn put(&mut self, of: (Series, u64), id: i64, cells: &Cells) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        cells.write(&mut bytes);
        self.write.execute(params![of.0.number(), number(of.1), id, bytes])?;
        Ok(())
    }

    /// The number of a name, which has this day, too.
    fn id(&mut self, of: (Series, u64), names: &Names) -> Result<Option<i64>, StoreError> {
        let (roll_up, day) = (of.0.roll_up, day(of.1));
        let found = match self.known.names.get(&(roll_up, names.clone())) {
            Some(found) => Some(*found),
            None => {
                let values = params![roll_up.number(), names.tenant, names.name, names.second];
                let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
                self.find.query_row(values, read).optional()?
            }
        };
        let Some((id, last)) = found else { return Ok(None) };
        if last < day {
            self.last.execute([id, number(day)])?;
        }
        self.remember(roll_up, names, (id, last.max(day)));
        Ok(Some(id))
    }

    fn remember(&mut self, roll_up: RollUp, names: &Names, found: (i64, u64)) {
        if self.known.names.len() >= limits::ANALYTICS_KNOWN {
            self.known.names.clear();
        }
        self.known.names.insert((roll_up, names.clone()), found);
    }
}

fn day(at: u64) -> u64 {
    at / Step::Day.seconds() * Step::Day.seconds()
}
