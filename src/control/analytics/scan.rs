//! Rows of a roll-up from one time to another, read in the order in which they lie and added up.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::cells::{OUTCOMES, Of, Times, each};
use super::file::number;
use super::roll_up::{By, Names, OTHER, RollUp, Series, Step};
use crate::control::api::shape::analytics::{Latency, Outcomes};
use crate::control::store::StoreError;
use crate::limits;
use crate::names::CLASSES;

/// Counts, added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// By what became of mail.
    outcomes: [u64; OUTCOMES.len()],
    /// The same of each class that there is: class, outcome and number, in order.
    classes: Vec<(usize, usize, u64)>,
    times: Option<Times>,
}

impl Sums {
    fn add(&mut self, of: Of, number: u64) {
        match of {
            Of::Time { bucket } => self.times.get_or_insert_default().add(bucket, number),
            Of::Recipients { outcome, class } => {
                self.outcomes[outcome] = self.outcomes[outcome].saturating_add(number);
                if class > 0 {
                    self.add_class(class, outcome, number);
                }
            }
        }
    }

    fn add_class(&mut self, class: usize, outcome: usize, number: u64) {
        let place =
            self.classes.binary_search_by_key(&(class, outcome), |(class, outcome, _)| (*class, *outcome));
        match place {
            Ok(place) => self.classes[place].2 = self.classes[place].2.saturating_add(number),
            Err(place) => self.classes.insert(place, (class, outcome, number)),
        }
    }

    pub fn merge(&mut self, other: &Sums) {
        for (sum, number) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum = sum.saturating_add(number);
        }
        for (class, outcome, number) in &other.classes {
            self.add_class(*class, *outcome, *number);
        }
        if let Some(times) = &other.times {
            self.times.get_or_insert_default().merge(times);
        }
    }

    /// Takes these away. How long deliveries took is not told of a rest.
    pub fn take(&mut self, other: &Sums) {
        self.times = None;
        for (sum, number) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum = sum.saturating_sub(number);
        }
        for (class, outcome, number) in &mut self.classes {
            let of_it = other.classes.iter().find(|(c, o, _)| (c, o) == (class, outcome));
            *number = number.saturating_sub(of_it.map_or(0, |(.., number)| *number));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.outcomes.iter().all(|number| *number == 0)
    }

    /// Of one class alone.
    pub fn of_class(&self, wanted: usize) -> Sums {
        let mut sums = Sums::default();
        for (class, outcome, number) in self.classes.iter().filter(|(class, ..)| *class == wanted) {
            sums.add(Of::Recipients { outcome: *outcome, class: *class }, *number);
        }
        sums
    }

    /// As they are told.
    pub fn outcomes(&self) -> Outcomes {
        let [
            received,
            delivered,
            deferred,
            bounced,
            expired,
            suppressed,
            discarded,
            captured,
            returned,
            complaints,
        ] = self.outcomes;
        let latency = self.times.as_ref().and_then(|times| {
            Some(Latency {
                p50_ms: times.within(500)?,
                p90_ms: times.within(900)?,
                p95_ms: times.within(950)?,
                p99_ms: times.within(990)?,
            })
        });
        let counts = Outcomes {
            received,
            delivered,
            deferred,
            bounced,
            expired,
            suppressed,
            discarded,
            captured,
            returned,
            complaints,
            latency,
            ..Outcomes::default()
        };
        counts.rated()
    }
}

/// What is read.
pub(super) struct Scan<'a> {
    connection: &'a Connection,
    series: Series,
    /// Seconds, from and to.
    times: (u64, u64),
    only: &'a [(By, Vec<String>)],
    /// Places of classes that are wanted alone.
    classes: Option<Vec<usize>>,
}

impl<'a> Scan<'a> {
    pub fn new(
        connection: &'a Connection,
        (roll_up, step): (RollUp, Step),
        times: (u64, u64),
        only: &'a [(By, Vec<String>)],
    ) -> Scan<'a> {
        let place = |name: &String| match name.as_str() {
            "" => Some(0),
            name => CLASSES.iter().position(|class| *class == name).map(|place| place + 1),
        };
        let mut classes: Option<Vec<usize>> = None;
        for (_, names) in only.iter().filter(|(by, _)| *by == By::Class) {
            let wanted: Vec<_> = names.iter().filter_map(place).collect();
            let before = classes.take();
            let is_wanted = |class: &usize| before.as_ref().is_none_or(|before| before.contains(class));
            classes = Some(wanted.into_iter().filter(is_wanted).collect());
        }
        Scan { connection, series: Series { roll_up, step }, times, only, classes }
    }

    /// Sums of each name. Where there are too many of them those that come last share one.
    pub fn by_name(&self, by: By) -> Result<HashMap<String, Sums>, StoreError> {
        let (mut names, mut sums) = (HashMap::<String, usize>::new(), Vec::<Sums>::new());
        let place = |of: &Names| {
            let name = part(self.series.roll_up, of, by);
            let name = match names.len() < limits::ANALYTICS_NAMES || names.contains_key(name) {
                true => name,
                false => OTHER,
            };
            let next = names.len();
            *names.entry(name.to_owned()).or_insert(next)
        };
        self.read(place, |_, place, counts| {
            if sums.len() <= place {
                sums.resize_with(place + 1, Sums::default);
            }
            self.add(&mut sums[place], counts);
        })?;
        let of = |(name, place): (String, usize)| {
            let sums = sums.get_mut(place).map(std::mem::take)?;
            (!sums.is_empty()).then_some((name, sums))
        };
        Ok(names.into_iter().filter_map(of).collect())
    }

    /// Sums of each step that has any, by the second in which it begins.
    pub fn by_time(&self) -> Result<Vec<(u64, Sums)>, StoreError> {
        let mut steps: Vec<(u64, Sums)> = Vec::new();
        self.read(
            |_| 0,
            |at, _, counts| {
                if steps.last().is_none_or(|(last, _)| *last != at) {
                    steps.push((at, Sums::default()));
                }
                if let Some((_, sums)) = steps.last_mut() {
                    self.add(sums, counts);
                }
            },
        )?;
        steps.retain(|(_, sums)| !sums.is_empty());
        Ok(steps)
    }

    fn add(&self, sums: &mut Sums, counts: &[u8]) {
        match &self.classes {
            None => each(counts, |of, number| sums.add(of, number)),
            Some(wanted) => each(counts, |of, number| {
                if matches!(of, Of::Recipients { class, .. } if wanted.contains(&class)) {
                    sums.add(of, number);
                }
            }),
        }
    }

    /// Gives rows, in the order of their times, with the place of their names.
    fn read(
        &self,
        mut place: impl FnMut(&Names) -> usize,
        mut take: impl FnMut(u64, usize, &[u8]),
    ) -> Result<(), StoreError> {
        let mut find = self.connection.prepare("SELECT tenant, name, second FROM name WHERE id = ?1")?;
        let mut known: HashMap<i64, Option<usize>, ahash::RandomState> = HashMap::default();
        let sql = "SELECT at, name, counts FROM sum WHERE series = ?1 AND at >= ?2 AND at < ?3";
        let mut statement = self.connection.prepare(sql)?;
        let (since, until) = self.times;
        let mut rows = statement.query([self.series.number(), number(since), number(until)])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(1)?;
            let found = match known.get(&id) {
                Some(found) => *found,
                None => {
                    let read = |row: &Row<'_>| {
                        Ok(Names { tenant: row.get(0)?, name: row.get(1)?, second: row.get(2)? })
                    };
                    let names = find.query_row([id], read).optional()?;
                    let found = names.filter(|names| self.wants(names)).map(|names| place(&names));
                    known.insert(id, found);
                    found
                }
            };
            if let Some(place) = found {
                let at = row.get::<_, i64>(0)?.unsigned_abs();
                take(at, place, row.get_ref(2)?.as_blob().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn wants(&self, names: &Names) -> bool {
        let of_name = self.only.iter().filter(|(by, _)| *by != By::Class);
        let is_one = |(by, wanted): &(By, Vec<String>)| {
            let name = part(self.series.roll_up, names, *by);
            wanted.iter().any(|one| one == name)
        };
        of_name.into_iter().all(is_one)
    }
}

/// What of these names is of this kind.
fn part(roll_up: RollUp, names: &Names, by: By) -> &str {
    match roll_up.place(by) {
        Some(0) => &names.name,
        Some(_) => &names.second,
        None if by == By::Tenant => &names.tenant,
        None => "",
    }
}
