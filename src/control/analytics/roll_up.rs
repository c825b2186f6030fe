//! What is summed up by: few fixed roll-ups, each with names of its own and each of all mail, in steps of a minute, an hour and a day. They are never
//! multiplied with each other: a step has so many rows in each, whatever is sent.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::cells::Cells;
use super::roll::Counted;
use crate::limits;

/// Stands for names that are not counted by themselves.
pub const OTHER: &str = "other";

/// By what an answer has its rows, and of what alone it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::control) enum By {
    #[default]
    Provider,
    Tenant,
    Campaign,
    Category,
    Source,
    Class,
}

impl By {
    pub const ALL: [By; 6] = [By::Provider, By::Tenant, By::Campaign, By::Category, By::Source, By::Class];

    pub fn word(self) -> &'static str {
        match self {
            By::Provider => "provider",
            By::Tenant => "tenant",
            By::Campaign => "campaign",
            By::Category => "category",
            By::Source => "source",
            By::Class => "class",
        }
    }
}

/// A roll-up: tenants, and each with one name more, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum RollUp {
    Tenant,
    Provider,
    Campaign,
    Category,
    Source,
    CampaignProvider,
}

impl RollUp {
    /// All of them, those with fewest rows first.
    pub const ALL: [RollUp; 6] = [
        RollUp::Tenant,
        RollUp::Provider,
        RollUp::Source,
        RollUp::Category,
        RollUp::Campaign,
        RollUp::CampaignProvider,
    ];

    /// Its number in the file.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// What its rows are named by, beside tenants.
    pub fn parts(self) -> &'static [By] {
        match self {
            RollUp::Tenant => &[],
            RollUp::Provider => &[By::Provider],
            RollUp::Campaign => &[By::Campaign],
            RollUp::Category => &[By::Category],
            RollUp::Source => &[By::Source],
            RollUp::CampaignProvider => &[By::Campaign, By::Provider],
        }
    }

    /// Whether it has times of deliveries.
    pub fn has_times(self) -> bool {
        matches!(self, RollUp::Tenant | RollUp::Provider)
    }

    /// Where its names have this: first or second, behind the tenant.
    pub fn place(self, by: By) -> Option<usize> {
        self.parts().iter().position(|part| *part == by)
    }

    /// The one with fewest rows that tells all these apart. Classes are in each.
    pub fn with(wanted: impl Iterator<Item = By> + Clone) -> Option<RollUp> {
        let has = |roll_up: &RollUp| {
            wanted.clone().all(|by| matches!(by, By::Tenant | By::Class) || roll_up.place(by).is_some())
        };
        RollUp::ALL.into_iter().find(has)
    }

    fn names(self, of: &Counted) -> Names {
        let part = |at: usize| {
            self.parts().get(at).map_or("", |by| match by {
                By::Provider => &of.key.provider,
                By::Campaign => &of.key.campaign,
                By::Category => &of.key.category,
                By::Source => &of.key.source,
                By::Tenant | By::Class => "",
            })
        };
        Names { tenant: of.key.tenant.clone(), name: part(0).to_owned(), second: part(1).to_owned() }
    }

    /// The names under which a tenant's smaller ones go.
    pub fn other(self, tenant: &str) -> Names {
        let part = |at: usize| if at < self.parts().len() { OTHER } else { "" }.to_owned();
        Names { tenant: tenant.to_owned(), name: part(0), second: part(1) }
    }

    /// Whether these are such names.
    pub fn is_other(self, names: &Names) -> bool {
        match self.parts() {
            [] => names.tenant == OTHER,
            _ => names.name == OTHER && (self.parts().len() == 1 || names.second == OTHER),
        }
    }
}

/// What names a row; what its roll-up has not is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Names {
    pub tenant: String,
    pub name: String,
    pub second: String,
}

/// How long a time a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::control) enum Step {
    Minute,
    Hour,
    Day,
}

impl Step {
    pub const ALL: [Step; 3] = [Step::Minute, Step::Hour, Step::Day];

    pub fn word(self) -> &'static str {
        match self {
            Step::Minute => "minute",
            Step::Hour => "hour",
            Step::Day => "day",
        }
    }

    /// Seconds of one.
    pub fn seconds(self) -> u64 {
        match self {
            Step::Minute => 60,
            Step::Hour => 3600,
            Step::Day => 86_400,
        }
    }

    /// How long it is kept.
    pub fn kept(self) -> Duration {
        match self {
            Step::Minute => limits::ANALYTICS_MINUTES,
            Step::Hour => limits::ANALYTICS_HOURS,
            Step::Day => limits::ANALYTICS_DAYS,
        }
    }

    /// Rows that it has by name in a roll-up.
    pub fn most(self) -> usize {
        match self {
            Step::Minute => limits::ANALYTICS_MINUTE_ROWS,
            Step::Hour => limits::ANALYTICS_HOUR_ROWS,
            Step::Day => limits::ANALYTICS_DAY_ROWS,
        }
    }
}

/// A table of sums within the file: a roll-up in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Series {
    pub roll_up: RollUp,
    pub step: Step,
}

impl Series {
    pub fn all() -> impl Iterator<Item = Series> {
        RollUp::ALL.into_iter().flat_map(|roll_up| Step::ALL.map(|step| Series { roll_up, step }))
    }

    /// Its number in the file.
    pub fn number(self) -> i64 {
        self.roll_up.number() * 4 + self.step as i64
    }
}

/// Rows to be added, by series and when their step begins, in seconds.
pub(super) type Sums = BTreeMap<(Series, u64), HashMap<Names, Cells>>;

/// Sums up what was counted in each roll-up and these steps.
pub(super) fn summed_up(counted: &[Counted], steps: &[Step]) -> Sums {
    let mut sums = Sums::new();
    for one in counted {
        for roll_up in RollUp::ALL {
            let names = roll_up.names(one);
            let cells = one.cells(roll_up.has_times());
            for &step in steps {
                let at = one.minute * 60 / step.seconds() * step.seconds();
                let rows = sums.entry((Series { roll_up, step }, at)).or_default();
                match rows.get_mut(&names) {
                    Some(row) => row.merge(&cells),
                    None => _ = rows.insert(names.clone(), cells.clone()),
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_can_answers() {
        use By::*;
        for (wanted, found) in [
            (&[][..], Some(RollUp::Tenant)),
            (&[Tenant, Class], Some(RollUp::Tenant)),
            (&[Provider, Tenant, Class], Some(RollUp::Provider)),
            (&[Campaign], Some(RollUp::Campaign)),
            (&[Campaign, Provider, Tenant], Some(RollUp::CampaignProvider)),
            (&[Source, Tenant], Some(RollUp::Source)),
            (&[Category, Provider], None),
            (&[Source, Campaign], None),
        ] {
            assert_eq!(RollUp::with(wanted.iter().copied()), found, "{wanted:?}");
        }
        // Numbers lie in files.
        assert_eq!(RollUp::CampaignProvider.number(), 5);
        let numbers: std::collections::BTreeSet<_> = Series::all().map(Series::number).collect();
        assert_eq!((numbers.len(), numbers.last()), (18, Some(&22)));
    }

    #[test]
    fn what_is_more_than_can_be_named_has_a_name_of_its_own() {
        for roll_up in RollUp::ALL {
            assert!(roll_up.is_other(&roll_up.other(OTHER)));
            let named = Names { tenant: "a".to_owned(), name: "b".to_owned(), second: "c".to_owned() };
            assert!(!roll_up.is_other(&named));
        }
        assert!(!RollUp::Tenant.is_other(&RollUp::Tenant.other("shop")));
        assert!(RollUp::Campaign.is_other(&RollUp::Campaign.other("shop")));
    }
}
