//! Why mail waits, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::ScanProgress;
use super::quota::QuotaUse;
use crate::shaping::rated::EachRate;

/// What mail waits for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// What was asked for, as filters are written.
    pub asked: String,
    /// When this was.
    pub now: String,
    /// Recipients that wait.
    pub recipients: u64,
    /// That is all of them. If not these are the first of many.
    pub complete: bool,
    /// Recipients of the message that is asked for, or groups of the domain, that a connection has, or that are on their way to a queue.
    pub under_way: u64,
    /// What they wait for, that of most of them first.
    pub causes: Vec<Because>,
    /// Each domain by each pool and source, those with most recipients first.
    pub domains: Vec<Domain>,
    /// Domains that are not among these.
    pub more_domains: u64,
    /// What was said last, that which most of them heard first.
    pub replies: Vec<LastReply>,
    /// The quotas of the account that is asked for, and of the tenant of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<QuotaUse>,
    /// Where to go on, while records are looked through; none: this is the answer.
    pub next: Option<String>,
    /// How far that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<ScanProgress>,
}

/// A reason to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Because {
    /// For programs: `next_try`, `connections`, `rate` …
    pub cause: String,
    /// In words.
    pub words: String,
    /// How many recipients wait for that.
    pub recipients: u64,
    /// In how many domains.
    pub domains: u64,
    /// Until when, as far as that can be told: then the first of them is tried.
    pub until: Option<String>,
}

/// The mail of a domain by one pool and source.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = WhyDomain)]
pub struct Domain {
    /// Its name.
    pub domain: String,
    /// The pool; none: the node's own addresses.
    pub pool: Option<String>,
    /// The source.
    pub source: Option<String>,
    /// Nothing leaves by it now: why.
    pub source_down: Option<String>,
    /// When it is looked at next whether it works.
    pub source_next_look: Option<String>,
    /// Recipients in this queue that wait for their next try.
    pub deferred: u64,
    /// When the first of them is tried.
    pub next_try: Option<String>,
    /// Those that are suspended.
    #[serde(default)]
    pub suspended: u64,
    /// Those that wait for the time at which they are to go.
    #[serde(default)]
    pub held: u64,
    /// Those whose time has come.
    pub ready: u64,
    /// Groups that a connection has.
    pub under_way: u32,
    /// What those wait for whose time has come.
    pub because: Option<Because>,
    /// Where it goes; none: that is not known.
    pub site: Option<Site>,
    /// Why not.
    pub no_site: Option<String>,
}

/// Where mail goes, and what holds there now.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = WhySite)]
pub struct Site {
    /// Its name.
    pub site: String,
    /// `mx`, or the target of the route.
    pub route: String,
    /// Its hosts, the preferred ones first.
    pub hosts: Vec<String>,
    /// Connections of the node, those that are being opened included.
    pub connections: usize,
    /// How many there may be now.
    pub connections_max: usize,
    /// What the operator allows, and which line says so.
    pub limit: String,
    /// Shards that have connections.
    pub shards: Vec<Share>,
    /// Which lines set its rates.
    #[serde(flatten)]
    pub rates: RateLines,
    /// Messages a second that the adaptive window lets, where it is narrow.
    pub window_rate: Option<f64>,
    /// Groups that are ready there, of all domains of this shard.
    pub ready: usize,
    /// It failed, and nothing is started there before this time.
    pub closed_until: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub error: Option<String>,
    /// Providers with limits.
    pub providers: Vec<Provider>,
}

/// Lines that set rates, each under the name of its rate: `message_rate` …
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLines(EachRate<Option<String>>);

impl RateLines {
    /// These.
    pub fn of(lines: &EachRate<Option<Box<str>>>) -> RateLines {
        RateLines(EachRate::of(|of| lines[of].as_deref().map(str::to_owned)))
    }

    /// Those that there are.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.set().map(|(_, line)| line.as_str())
    }
}

impl PartialSchema for RateLines {
    fn schema() -> RefOr<Schema> {
        let line = SchemaType::Array(vec![Type::String, Type::Null]);
        let rates = EachRate::of(|_| ());
        let object = rates.iter().fold(ObjectBuilder::new(), |object, (of, ())| {
            object.property(of.name(), ObjectBuilder::new().schema_type(line.clone()))
        });
        object.into()
    }
}

impl ToSchema for RateLines {}

impl Serialize for RateLines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(of, line)| (of.name(), line)))
    }
}

impl<'de> Deserialize<'de> for RateLines {
    /// What this program does not know is of a later relay.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RateLines, D::Error> {
        let mut told = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let mut line = |name| told.remove(name)?.as_str().map(str::to_owned);
        Ok(RateLines(EachRate::of(|of| line(of.name()))))
    }
}

/// What one shard has of the connections to a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WhyShare)]
pub struct Share {
    /// Its number.
    pub shard: usize,
    /// Connections.
    pub connections: usize,
    /// Those of them that have nothing to do.
    pub idle: usize,
}

/// What holds for all sites of a provider together.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = WhyProvider)]
pub struct Provider {
    /// Its name.
    pub provider: String,
    /// Connections of the node.
    pub connections: usize,
    /// How many there may be.
    pub connections_max: Option<usize>,
    /// Which line says so.
    pub limit: Option<String>,
    /// Which lines set its rates.
    #[serde(flatten)]
    pub rates: RateLines,
}

/// A last reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastReply {
    /// It.
    pub reply: String,
    /// How many recipients heard it.
    pub recipients: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_stand_beside_the_others_by_their_names() {
        let rates = EachRate::of(|of| (of.name() == "message_rate").then(|| "a.toml:3".into()));
        let site = Site { rates: RateLines::of(&rates), ..Site::default() };
        let mut json = serde_json::to_value(&site).expect("JSON");
        assert_eq!((&json["message_rate"], &json["connection_rate"]), (&"a.toml:3".into(), &().into()));
        json["tea_rate"] = 7.into();
        let read: Site = serde_json::from_value(json).expect("a site");
        assert_eq!(read.rates.lines().collect::<Vec<_>>(), ["a.toml:3"], "what is not known is left out");
    }
}
