//! What became of mail, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of mail in a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Analytics {
    /// `provider`, `tenant`, `campaign`, `category`, `source` or `class`.
    pub by: String,
    /// From when on, as it was summed up: the beginning of a minute, hour or day (UTC).
    pub since: String,
    /// Until when: the end of one.
    pub until: String,
    /// Seconds of what was summed up: 60, 3600 or 86400.
    pub step_seconds: u64,
    /// All of it.
    pub total: Outcomes,
    /// By name, those with most mail first.
    pub rows: Vec<AnalyticsRow>,
    /// What was said of it, the latest first; with the first page alone.
    pub texts: Vec<SaidText>,
    /// Each step that has anything, where `step` was asked for; with the first page alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<AnalyticsPoint>>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// Of one step.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsPoint {
    /// When it begins.
    pub at: String,
    /// What became of mail in it.
    pub counts: Outcomes,
}

/// Of one name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsRow {
    /// The name; empty: none; `other`: what is more than is counted by name.
    pub name: String,
    /// What became of its mail.
    pub counts: Outcomes,
    /// What replies to it were about, most first.
    pub classes: Vec<ClassCount>,
}

/// Recipients by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Outcomes {
    /// Mail was taken in for them.
    pub received: u64,
    /// A next hop took the mail.
    pub delivered: u64,
    /// It was put off: once for each attempt.
    pub deferred: u64,
    /// It was refused for good.
    pub bounced: u64,
    /// It was given up for age.
    pub expired: u64,
    /// They are on the suppression list.
    pub suppressed: u64,
    /// A route or a rule throws their mail away.
    pub discarded: u64,
    /// Their mail is in the sandbox.
    pub captured: u64,
    /// A bounce came back after a next hop had taken the mail.
    pub returned: u64,
    /// Somebody complained.
    pub complaints: u64,
    /// Bounced, expired and returned, of all whose mail ended; none: none ended.
    pub bounce_rate: Option<f64>,
    /// Attempts that were put off, of all.
    pub deferral_rate: Option<f64>,
    /// Complaints, of what was delivered.
    pub complaint_rate: Option<f64>,
    /// How long deliveries took; none: nothing was delivered, or it is not counted by that.
    pub latency: Option<Latency>,
}

/// How long it took from a message's 250 until a next hop had it, in milliseconds: within so many for 50, 90, 95 and 99 of a hundred recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Half of them.
    pub p50_ms: u64,
    /// All but a tenth.
    pub p90_ms: u64,
    /// All but a twentieth.
    pub p95_ms: u64,
    /// All but a hundredth.
    pub p99_ms: u64,
}

/// How many replies were about this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ClassCount {
    /// What (`docs/replies.md`).
    pub class: String,
    /// Recipients.
    pub recipients: u64,
    /// Of these: attempts that were put off.
    pub deferred: u64,
    /// Bounced, expired and returned.
    pub bounced: u64,
}

/// A text that was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaidText {
    /// What it is about.
    pub class: String,
    /// Its words, as they were the last time.
    pub text: String,
    /// How often, since it is known.
    pub times: u64,
    /// When it was said last.
    pub last: String,
    /// Of whose mail it was the last time.
    pub provider: String,
    /// The same.
    pub tenant: String,
    /// The same.
    pub campaign: String,
}

impl Outcomes {
    /// Works out the rates.
    pub fn rated(mut self) -> Outcomes {
        let rate = |part: u64, all: u64| (all > 0).then(|| (part as f64 / all as f64).min(1.0));
        let gone = self.bounced + self.expired;
        self.bounce_rate = rate(gone + self.returned, self.delivered + gone);
        self.deferral_rate = rate(self.deferred, self.deferred + self.delivered + self.bounced);
        self.complaint_rate = rate(self.complaints, self.delivered);
        self
    }

    /// What decides which comes first.
    pub fn all(&self) -> u64 {
        let ended = self.delivered + self.bounced + self.expired + self.suppressed;
        let ended = ended + self.discarded + self.captured;
        ended + self.deferred + self.returned + self.complaints
    }
}
