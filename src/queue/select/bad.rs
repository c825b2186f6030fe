//! Why a filter is not taken.

use std::fmt;

use super::names;

/// Why a filter is not taken. The asker's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadFilter {
    /// There is no such filter.
    Unknown(String),
    /// It is none of those that mail is suspended by.
    NotHere(String),
    /// Given twice.
    Twice(String),
    /// The configuration in force has nobody of that name.
    Nobody {
        /// What it is of the configuration.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Its value is wrong.
    Wrong {
        /// Which filter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        want: &'static str,
    },
}

impl fmt::Display for BadFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFilter::Unknown(name) => {
                write!(formatter, "there is no filter {name:?}; there are {}", names::all())
            }
            BadFilter::NotHere(name) => {
                write!(
                    formatter,
                    "mail is not suspended by {name}: give domain, site, provider, tenant, campaign or pool; `relevo queue` knows {name}"
                )
            }
            BadFilter::Twice(name) => write!(formatter, "the filter {name} is given twice"),
            BadFilter::Nobody { what, name } => {
                write!(formatter, "no {what} of the configuration in force is called {name:?}")
            }
            BadFilter::Wrong { name, value, want } => {
                write!(formatter, "the filter {name} cannot be {value:?}: {want}")
            }
        }
    }
}
