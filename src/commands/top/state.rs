//! What `relevo top` knows and shows: the latest answers, and where the person in front of it is.

use std::collections::{BTreeMap, VecDeque};

use relevo::control::api::shape::analytics::AnalyticsRow;
use relevo::control::api::shape::overview::{Overview, SiteTotals};
use relevo::control::api::shape::{SuspensionEntry, Suspensions};
use relevo::limits;

use super::rows::{self, Row, View};

/// What is typed, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing.
    #[default]
    None,
    /// Rows that have this in them.
    Filter,
    /// For how long this mail is to wait.
    HowLong(BTreeMap<String, String>),
    /// Why.
    Why(BTreeMap<String, String>, u64),
    /// Whether this is to go on: the words of it, and what to ask for.
    Resume(String, Resumed),
    /// The keys are shown.
    Help,
    /// More of a row is shown.
    More(Vec<String>),
}

/// Which suspensions are to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// This one.
    One(u64),
    /// Those of this mail.
    Of(BTreeMap<String, String>),
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The view.
    pub view: View,
    /// The latest overview.
    pub overview: Overview,
    /// The first sites, and whether there are more.
    pub sites: Vec<SiteTotals>,
    /// There are more than these.
    pub more_sites: bool,
    /// What is suspended.
    pub suspensions: Vec<SuspensionEntry>,
    /// What became of the mail of tenants, and why that is not known.
    pub tenants: (Vec<AnalyticsRow>, Option<String>),
    /// How many times more the overview is asked for before tenants are: they are summed up by the minute.
    pub tenants_wait: usize,
    /// Only this provider's sites are wanted.
    pub provider: Option<String>,
    /// Delivered a second, of late.
    pub delivered: VecDeque<u64>,
    /// Accepted a second, of late.
    pub accepted: VecDeque<u64>,
    /// The place among the rows that are shown.
    pub selected: usize,
    /// Only rows with this in them are shown.
    pub filter: String,
    /// What is typed, and for what.
    pub prompt: Prompt,
    /// The text there.
    pub typed: String,
    /// What came of the last thing that was done.
    pub said: Option<String>,
    /// Why there is no answer now.
    pub failed: Option<String>,
    /// Printed once, for eyes or a file: nothing of keys.
    pub once: bool,
}

impl State {
    /// The rows of the view that the filter lets through.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = match self.view {
            View::Sites => rows::of_sites(&self.sites),
            View::Tenants => rows::of_tenants(&self.tenants.0),
            View::Suspensions => rows::of_suspensions(&self.suspensions),
            view => rows::of_overview(view, &self.overview),
        };
        if !self.filter.is_empty() {
            let wanted = self.filter.to_lowercase();
            rows.retain(|row| row.cells.iter().any(|cell| cell.to_lowercase().contains(&wanted)));
        }
        rows
    }

    /// The row that is selected.
    pub fn row(&self) -> Option<Row> {
        self.rows().into_iter().nth(self.selected)
    }

    /// Another view, from its top.
    pub fn go_to(&mut self, view: View) {
        if view != View::Sites {
            self.provider = None;
        }
        self.view = view;
        self.selected = 0;
        self.tenants_wait = 0;
        self.filter.clear();
    }

    /// A new overview.
    pub fn take(&mut self, overview: Overview) {
        for (past, rate) in
            [(&mut self.delivered, overview.rates.delivered), (&mut self.accepted, overview.rates.accepted)]
        {
            if past.len() >= limits::TOP_PAST {
                past.pop_front();
            }
            past.push_back(rate.unwrap_or_default().round() as u64);
        }
        self.overview = overview;
        self.failed = None;
        self.stay_inside();
    }

    /// New suspensions.
    pub fn take_suspensions(&mut self, all: Suspensions) {
        self.suspensions = all.suspensions;
        self.stay_inside();
    }

    /// The selection is on a row, where there is one.
    pub fn stay_inside(&mut self) {
        self.selected = self.selected.min(self.rows().len().saturating_sub(1));
    }
}
