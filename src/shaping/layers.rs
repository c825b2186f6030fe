//! Files over each other, and what they say together of a domain, the hosts it leads to, and a source.
//!
//! From bottom to top: `default`; providers that know the domain or all of its hosts, in the order of their first lines; these for the
//! source; domains that are said for all with the same hosts; the domain alone (`mx_rollup = false`); both for the source. What is
//! higher overrules, key by key. Limits of providers stand beside those of the site: an attempt keeps to both. Rules add up.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::answers::Answers;
use super::automation::Automation;
use super::file::{Block, File, Setting};
use super::key::Key;
use super::provider;
use super::reading::{FileLine, Findings};
use super::rule::{Action, Rule};
use super::value::{Rate, Tls, Value};
use crate::limits;

/// All files together.
#[derive(Clone, Debug, Default)]
pub struct Shaping {
    /// `["default"]`
    pub default: Option<Block>,
    /// In the order in which they are first named.
    pub providers: Vec<Block>,
    /// Likewise. One name may be there twice: said for all with the same hosts, and of the domain alone.
    pub domains: Vec<Block>,
    by_domain: HashMap<(Box<str>, bool), usize>,
}

/// What is asked about. Names are canonical ([`provider::canonical`]).
#[derive(Clone, Copy, Debug)]
pub struct ShapingQuery<'a> {
    /// Of the recipients.
    pub domain: &'a str,
    /// Its MX hosts, sorted; none where it has none or a route leads elsewhere.
    pub hosts: &'a [String],
    /// Who sends.
    pub source: &'a str,
    /// Other domains that lead to the same hosts, of those that [`Shaping::rolled_up`] names.
    pub beside: &'a [&'a str],
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Its section.
    pub block: &'a Block,
    /// What of.
    pub scope: Scope,
    /// It is of the source alone.
    pub of_source: bool,
}

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Default,
    /// A provider.
    Provider,
    /// A domain, and perhaps those that lead to the same hosts.
    Domain,
}

impl fmt::Display for Layer<'_> {
    /// As its section begins.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            Scope::Default => formatter.write_str("default"),
            Scope::Provider => write!(formatter, "provider.\"{}\"", self.block.name),
            Scope::Domain => write!(formatter, "\"{}\"", self.block.name),
        }
    }
}

/// A value, and who says so.
#[derive(Clone, Copy, Debug)]
pub struct EffectiveSetting<'a> {
    /// The key, the value and the line.
    pub setting: &'a Setting,
    /// The section.
    pub layer: Layer<'a>,
}

/// A provider, with the limits that hold for all of its sites together.
#[derive(Clone, Debug)]
pub struct Provided<'a> {
    /// Its section.
    pub block: &'a Block,
    /// `provider_connection_limit` and `provider_max_message_rate`, if they are set.
    pub limits: BTreeMap<Key, EffectiveSetting<'a>>,
}

/// What holds.
#[derive(Clone, Debug, Default)]
pub struct Effective<'a> {
    /// Of the source at the site, by key.
    pub settings: BTreeMap<Key, EffectiveSetting<'a>>,
    /// Whose site it is.
    pub providers: Vec<Provided<'a>>,
    /// What replies change, from the bottom layer to the top.
    pub rules: Vec<(Layer<'a>, &'a Arc<Rule>)>,
}

impl Shaping {
    /// The longest wait before a retry that any of them asks for, or a rule may.
    pub fn longest_wait(&self) -> Duration {
        let blocks = self.default.iter().chain(&self.providers).chain(&self.domains);
        let waits = times(blocks, |key| matches!(key, Key::RetryInterval | Key::MaxRetryInterval));
        waits.max().unwrap_or_default()
    }

    /// The first line, if any, by which the certificate of some host must be valid.
    pub fn asks_to_verify(&self) -> Option<&FileLine> {
        const WANTED: Value = Value::Tls(Tls::Required);
        let blocks = || self.default.iter().chain(&self.providers).chain(&self.domains);
        let settings = blocks().flat_map(|block| {
            block.settings.iter().chain(block.sources.iter().flat_map(|(_, settings)| settings))
        });
        let said = settings.filter(|set| set.value == WANTED).map(|set| &set.place);
        let sets = |action: &Action| matches!(action, Action::Set { value: WANTED, .. });
        let rules = blocks().flat_map(|block| &block.rules);
        let done = rules.filter(|rule| rule.actions.iter().any(sets)).map(|rule| &rule.place);
        said.chain(done).next()
    }

    /// Puts files over each other: what a later one says of the same section comes to what the earlier ones say, or overrules it.
    pub fn of(files: Vec<File>) -> (Shaping, Findings) {
        let mut shaping = Shaping::default();
        let mut findings = Findings::default();
        let (mut total, mut places) = (Total::default(), HashMap::new());
        for file in files {
            let File { default, providers, domains } = file;
            for block in default.iter().chain(&providers).chain(&domains) {
                if let Some((most, what)) = total.exceeds(block) {
                    let problem = format!("all files have more than {most} {what}");
                    findings.fail(block.place.remark(&block.name, problem, "write one for several"));
                    return (Shaping::default(), findings);
                }
            }
            if let Some(block) = default {
                merge(&mut shaping.default, block);
            }
            for block in providers {
                let at = *places.entry(block.name.clone()).or_insert(shaping.providers.len());
                put(&mut shaping.providers, at, block);
            }
            for block in domains {
                let next = shaping.domains.len();
                let at = *shaping.by_domain.entry((block.name.clone(), block.mx_rollup)).or_insert(next);
                put(&mut shaping.domains, at, block);
            }
        }
        for (blocks, most, what) in [
            (&shaping.providers, limits::SHAPING_PROVIDERS_MAX, "providers"),
            (&shaping.domains, limits::SHAPING_DOMAINS_MAX, "domains"),
        ] {
            if let Some(block) = blocks.get(most) {
                let problem = format!("all files have more than {most} {what}");
                findings.fail(block.place.remark(
                    &block.name,
                    problem,
                    "leave out those that are never sent to",
                ));
                return (Shaping::default(), findings);
            }
        }
        (shaping, findings)
    }

    /// Domains whose sections are said for all that lead to the same hosts: who asks must know where they lead.
    pub fn rolled_up(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().filter(|block| block.mx_rollup).map(|block| &*block.name)
    }

    /// Whether the section of a domain is said for all that lead to the same hosts.
    pub fn is_rolled_up(&self, domain: &str) -> bool {
        self.by_domain.contains_key(&(domain.into(), true))
    }

    /// Whether a section is of this domain alone, wherever others lead.
    pub fn is_apart(&self, domain: &str) -> bool {
        self.by_domain.contains_key(&(domain.into(), false))
    }

    /// Whether the same domains are apart.
    pub fn same_domains_apart_as(&self, other: &Shaping) -> bool {
        let apart = |of: &Shaping| of.domains.iter().filter(|block| !block.mx_rollup).count();
        let mut own = self.domains.iter().filter(|block| !block.mx_rollup);
        apart(self) == apart(other) && own.all(|block| other.is_apart(&block.name))
    }

    /// What holds.
    pub fn effective<'a>(&'a self, asked: ShapingQuery<'_>) -> Effective<'a> {
        let mut held = Effective::default();
        let default = self.default.iter().map(|block| (Scope::Default, block));
        let of_hosts = |block: &&Block| provider::is_of(&block.matches, asked.domain, asked.hosts);
        let providers: Vec<_> =
            self.providers.iter().filter(of_hosts).map(|block| (Scope::Provider, block)).collect();
        let place = |name: &str, rolled| self.by_domain.get(&(name.into(), rolled)).copied();
        let names = asked.beside.iter().chain([&asked.domain]);
        let mut rolled: Vec<usize> = names.filter_map(|name| place(name, true)).collect();
        rolled.sort_unstable();
        rolled.dedup();
        let domains = rolled.into_iter().chain(place(asked.domain, false));
        let domains: Vec<_> = domains.map(|at| (Scope::Domain, &self.domains[at])).collect();
        for layers in [default.collect(), providers, domains] {
            for (scope, block) in &layers {
                held.put_on(Layer { block, scope: *scope, of_source: false }, &block.settings);
                held.rules.extend(
                    block.rules.iter().map(|rule| (Layer { block, scope: *scope, of_source: false }, rule)),
                );
            }
            for (scope, block) in layers {
                let own = block.sources.iter().find(|(name, _)| **name == *asked.source);
                if let Some((_, settings)) = own {
                    held.put_over(Layer { block, scope, of_source: true }, settings);
                }
            }
        }
        held
    }
}

/// What sections set such keys to, and their rules may.
pub(super) fn times<'a>(
    blocks: impl Iterator<Item = &'a Block>,
    wanted: impl Fn(Key) -> bool,
) -> impl Iterator<Item = Duration> {
    let all = blocks.flat_map(|block| {
        let of_sources = block.sources.iter().flat_map(|(_, settings)| settings);
        let said = block.settings.iter().chain(of_sources).map(|set| (set.key, &set.value));
        let actions = block.rules.iter().flat_map(|rule| &rule.actions);
        said.chain(actions.filter_map(|action| match action {
            Action::Set { key, value, .. } => Some((*key, value)),
            _ => None,
        }))
    });
    all.filter_map(move |(key, value)| match value {
        Value::Time(time) if wanted(key) => Some(*time),
        _ => None,
    })
}

/// How much all files have so far.
#[derive(Default)]
struct Total {
    rules: usize,
    matches: usize,
}

impl Total {
    /// With this section too; what there is too much of.
    fn exceeds(&mut self, block: &Block) -> Option<(usize, &'static str)> {
        self.rules += block.rules.len();
        self.matches += block.matches.len();
        let of_rules = (limits::SHAPING_RULES_ALL_MAX, "rules");
        let of_matches = (limits::SHAPING_MATCHES_ALL_MAX, "entries of match");
        [(self.rules, of_rules), (self.matches, of_matches)]
            .into_iter()
            .find_map(|(number, (most, what))| (number > most).then_some((most, what)))
    }
}

fn put(blocks: &mut Vec<Block>, at: usize, block: Block) {
    match blocks.get_mut(at) {
        Some(earlier) => over(earlier, block),
        None => blocks.push(block),
    }
}

fn merge(earlier: &mut Option<Block>, block: Block) {
    match earlier {
        Some(earlier) => over(earlier, block),
        None => *earlier = Some(block),
    }
}

/// The section of a later file over that of an earlier one.
fn over(earlier: &mut Block, later: Block) {
    if later.replace_base {
        *earlier = later;
        return;
    }
    earlier.settings.extend(later.settings);
    earlier.matches.extend(later.matches);
    earlier.rules.extend(later.rules);
    for (name, settings) in later.sources {
        match earlier.sources.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.extend(settings),
            None => earlier.sources.push((name, settings)),
        }
    }
}

impl<'a> Effective<'a> {
    /// A section of its own: it may want all below forgotten.
    fn put_on(&mut self, layer: Layer<'a>, settings: &'a [Setting]) {
        if layer.block.replace_base && layer.scope == Scope::Domain {
            self.settings.clear();
            self.providers.iter_mut().for_each(|provider| provider.limits.clear());
        }
        if layer.scope == Scope::Provider {
            self.providers.push(Provided { block: layer.block, limits: BTreeMap::new() });
        }
        self.put_over(layer, settings);
    }

    fn put_over(&mut self, layer: Layer<'a>, settings: &'a [Setting]) {
        for setting in settings {
            let held = EffectiveSetting { setting, layer };
            if !setting.key.is_of_providers() {
                self.settings.insert(setting.key, held);
                continue;
            }
            let own = self.providers.iter_mut().find(|provider| std::ptr::eq(provider.block, layer.block));
            if let Some(provider) = own {
                provider.limits.insert(setting.key, held);
            }
        }
    }

    /// What a key is set to.
    pub fn value(&self, key: Key) -> Option<&'a Value> {
        self.settings.get(&key).map(|held| &held.setting.value)
    }

    /// At most so many at one time.
    pub fn limit(&self, key: Key) -> Option<u64> {
        match self.value(key)? {
            Value::Limit(limit) => Some(limit.most),
            Value::Count(most) => Some(*most),
            _ => None,
        }
    }

    /// At most so many in a time.
    pub fn rate(&self, key: Key) -> Option<Rate> {
        if let Value::Rate(rate) = self.value(key)? { Some(*rate) } else { None }
    }

    /// A time.
    pub fn time(&self, key: Key) -> Option<Duration> {
        if let Value::Time(time) = self.value(key)? { Some(*time) } else { None }
    }

    /// The name of a source.
    pub fn source(&self, key: Key) -> Option<&str> {
        if let Value::Source(name) = self.value(key)? { Some(name) } else { None }
    }

    /// How TLS is used.
    pub fn tls(&self) -> Option<Tls> {
        if let Value::Tls(tls) = self.value(Key::EnableTls)? { Some(*tls) } else { None }
    }

    /// Whether connections and rate follow the replies: unless it is said that they do not.
    pub fn adaptive(&self) -> bool {
        !matches!(self.value(Key::Adaptive), Some(Value::Flag(false)))
    }

    /// The rules that mean a reply; `own`: this relay said it, not the next hop.
    pub fn meaning<'b>(
        &'b self,
        reply: &'b [u8],
        own: bool,
    ) -> impl Iterator<Item = &'b (Layer<'a>, &'a Arc<Rule>)> {
        self.rules.iter().filter(move |(_, rule)| rule.matches(reply, own))
    }

    /// What the rules do about replies.
    pub fn automation(&self) -> Option<Automation> {
        Automation::of(self.rules.iter().map(|(_, rule)| *rule))
    }

    /// What the rules say of replies themselves. Of each question the topmost layer that says so decides, and of that the first rule.
    pub fn answers(&self) -> Option<Answers> {
        let layers = self.rules.chunk_by(|(one, _), (other, _)| std::ptr::eq(one.block, other.block));
        Answers::of(layers.rev().flatten().map(|(_, rule)| *rule))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::mail::classify::Class;

    fn shaping(texts: &[&str]) -> Shaping {
        let read = |(at, text): (usize, &&str)| {
            let (file, findings) = File::read(text, Path::new(&format!("{at}.toml")));
            assert!(findings.errors.is_empty(), "{findings:#?}");
            file
        };
        let (shaping, findings) = Shaping::of(texts.iter().enumerate().map(read).collect());
        assert!(findings.errors.is_empty(), "{findings:#?}");
        shaping
    }

    fn held(shaping: &Shaping, domain: &str, hosts: &[&str], source: &str) -> Vec<String> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let beside: &[&str] = if domain == "other.example" { &["rolled.example"] } else { &[] };
        assert_eq!(shaping.rolled_up().collect::<Vec<_>>(), ["rolled.example"]);
        let held = shaping.effective(ShapingQuery { domain, hosts: &hosts, source, beside });
        let of_providers = held.providers.iter().flat_map(|provider| provider.limits.values());
        let all = held.settings.values().chain(of_providers);
        all.map(|held| {
            let Setting { key, value, place } = held.setting;
            format!("{}={value} {place} {}", key.name(), held.layer)
        })
        .collect()
    }

    /// In whatever section, for whatever source, and by a rule.
    #[test]
    fn who_asks_for_valid_certificates() {
        for (text, line) in [
            (
                "[default]\nenable_tls = 'RequiredInsecure'\n['a.example']\nenable_tls = 'Opportunistic'\n",
                None,
            ),
            ("[default]\nenable_tls = 'Required'\n", Some("0.toml:2")),
            ("['a.example']\nmx_rollup = false\nenable_tls = 'Required'\n", Some("0.toml:3")),
            (
                "[provider.a]\nmatch = [{HostName='a'}]\n[provider.a.sources.ip1]\nenable_tls = 'Required'\n",
                Some("0.toml:4"),
            ),
            (
                "[[default.automation]]\nregex = 'a'\nduration = '1h'\naction = {SetConfig={name='enable_tls', value='Required'}}\n",
                Some("0.toml:1"),
            ),
        ] {
            let shaping = shaping(&[text]);
            let asked = shaping.asks_to_verify().map(ToString::to_string);
            assert_eq!(asked.as_deref(), line, "{text}");
        }
        assert!(Shaping::of(vec![crate::shaping::file::shipped()]).0.asks_to_verify().is_none());
    }

    const BASE: &str = "[default]\nconnection_limit = 10\nmax_age = '5d'\n[default.sources.ip9]\nconnection_limit = 1\n\
        [provider.big]\nmatch = [{MXSuffix='.big.example'}]\nconnection_limit = 20\nprovider_connection_limit = 40\n\
        [provider.big.sources.ip1]\nprovider_connection_limit = 4\nconnection_limit = 2\n\
        ['rolled.example']\nconnection_limit = 30\n['rolled.example'.sources.ip1]\nconnection_limit = 3\n\
        ['other.example']\nmx_rollup = false\nconnection_limit = 35\n";

    #[test]
    fn layers_lie_in_their_order() {
        let shaping = shaping(&[BASE]);
        let age = "max_age=5d 0.toml:3 default".to_owned();
        assert_eq!(
            held(&shaping, "a.example", &["mx.a.example"], "ip1"),
            ["connection_limit=10 0.toml:2 default", &age]
        );
        assert_eq!(held(&shaping, "a.example", &[], "ip9")[0], "connection_limit=1 0.toml:5 default");
        let big = held(&shaping, "a.example", &["mx.big.example"], "ip2");
        assert_eq!(big[0], "connection_limit=20 0.toml:8 provider.\"big\"");
        assert_eq!(big[2], "provider_connection_limit=40 0.toml:9 provider.\"big\"");
        let of_source = held(&shaping, "a.example", &["mx.big.example"], "ip1");
        assert_eq!(of_source[0], "connection_limit=2 0.toml:12 provider.\"big\"");
        assert_eq!(of_source[2], "provider_connection_limit=4 0.toml:11 provider.\"big\"");
        assert_eq!(
            held(&shaping, "rolled.example", &["mx.big.example"], "ip2")[0],
            "connection_limit=30 0.toml:14 \"rolled.example\""
        );
        assert_eq!(
            held(&shaping, "rolled.example", &[], "ip1")[0],
            "connection_limit=3 0.toml:16 \"rolled.example\""
        );
        // The domain alone is over the one with the same hosts, and that one's source over both.
        assert_eq!(
            held(&shaping, "other.example", &[], "ip2")[0],
            "connection_limit=35 0.toml:19 \"other.example\""
        );
        assert_eq!(
            held(&shaping, "other.example", &[], "ip1")[0],
            "connection_limit=3 0.toml:16 \"rolled.example\""
        );
    }

    #[test]
    fn values_are_had_as_what_they_are() {
        let shaping = shaping(&[
            "[default]\nconnection_limit = '1,000'\nmax_deliveries_per_connection = 7\nmax_message_rate = '2/min'\n\
             max_age = '1h'\nenable_tls = 'Required'\nadaptive = true\n",
        ]);
        let held =
            shaping.effective(ShapingQuery { domain: "a.example", hosts: &[], source: "", beside: &[] });
        assert_eq!(held.limit(Key::ConnectionLimit), Some(1_000));
        assert_eq!(held.limit(Key::MaxDeliveriesPerConnection), Some(7));
        assert_eq!(held.rate(Key::MaxMessageRate).map(|rate| rate.per_day()), Some(2_880.0));
        assert_eq!(held.time(Key::MaxAge), Some(Duration::from_secs(3_600)));
        assert!(held.tls() == Some(Tls::Required) && held.adaptive());
        assert_eq!((held.limit(Key::MaxRecipientsPerBatch), held.rate(Key::ConnectionLimit)), (None, None));
    }

    #[test]
    fn the_longest_wait_is_one_that_a_rule_may_set_too() {
        let rule = "[[default.automation]]\nregex = 'a'\nduration = '1h'\naction = {SetConfig={name='retry_interval', value='9h'}}\n";
        let text = format!("[default]\nretry_interval = '1h'\nmax_age = '5d'\n{rule}");
        assert_eq!(shaping(&[&text]).longest_wait(), Duration::from_secs(9 * 3_600));
    }

    #[test]
    fn later_files_add_or_replace() {
        let later = "[default]\nconnection_limit = 11\n[provider.big]\nmatch = [{MXSuffix='.huge.example'}]\nprovider_max_message_rate = '5/s'\n\
            ['rolled.example']\nreplace_base = true\nmax_message_rate = '1/s'\n";
        let shaping = shaping(&[BASE, later]);
        let big = held(&shaping, "a.example", &["mx.huge.example", "mx.big.example"], "ip2");
        assert_eq!(big[0], "connection_limit=20 0.toml:8 provider.\"big\"");
        assert_eq!(
            big[2..],
            [
                "provider_connection_limit=40 0.toml:9 provider.\"big\"",
                "provider_max_message_rate=5/s 1.toml:5 provider.\"big\""
            ]
        );
        assert_eq!(held(&shaping, "a.example", &[], "")[0], "connection_limit=11 1.toml:2 default");
        // All below is forgotten, and what earlier files said of it, for its sources too.
        assert_eq!(
            held(&shaping, "rolled.example", &["mx.big.example"], "ip1"),
            ["max_message_rate=1/s 1.toml:8 \"rolled.example\""]
        );
    }

    #[test]
    fn rules_add_up_and_the_topmost_layer_says_what_a_reply_is() {
        let rule = |section: &str, class: &str, more: &str| {
            format!("[[{section}.automation]]\nregex = 'slow'\nclass = '{class}'\n{more}\n")
        };
        let text = [
            rule("default", "spam", "permanent = true"),
            "[provider.a]\nmatch = [{MXSuffix='.a.example'}]\n".to_owned(),
            rule("provider.a", "throttled", ""),
            rule("provider.a", "policy", "permanent = false"),
        ]
        .concat();
        let shaping = shaping(&[&text]);
        let hosts = ["mx.a.example".to_owned()];
        let of =
            |hosts| shaping.effective(ShapingQuery { domain: "b.example", hosts, source: "", beside: &[] });
        assert_eq!(
            of(&hosts).answers().unwrap().judge(b"550 slow", false),
            (Some(Class::Throttled), Some(false))
        );
        assert_eq!(of(&hosts).meaning(b"550 slow", false).count(), 3);
        assert_eq!(of(&[]).answers().unwrap().judge(b"550 slow", false), (Some(Class::Spam), Some(true)));
        assert_eq!(of(&hosts).answers().unwrap().judge(b"550 slow", true), (None, None));
    }

    #[test]
    fn too_many_of_all_files_are_refused() {
        let many = |line: &str, number: usize| {
            (0..number).map(|at| line.replace('#', &at.to_string())).collect::<String>()
        };
        let of = |text: String| Shaping::of(vec![File::read(&text, Path::new("a.toml")).0]).1.errors;
        let errors = of(many("[provider.p#]\n", limits::SHAPING_PROVIDERS_MAX + 1));
        assert!(
            errors[0].to_string().contains("a.toml:2001: p2000: all files have more than 2000 providers"),
            "{errors:?}"
        );
        assert!(
            of(many("['d#.example']\n", limits::SHAPING_DOMAINS_MAX + 1))[0]
                .to_string()
                .contains("20000 domains")
        );
        assert_eq!(of(many("['d#.example']\n", limits::SHAPING_DOMAINS_MAX)), []);
        let entries =
            format!("match = [{}]\n", "{MXSuffix='.a.example'}, ".repeat(limits::SHAPING_MATCHES_MAX));
        let providers = limits::SHAPING_MATCHES_ALL_MAX / limits::SHAPING_MATCHES_MAX;
        let with = |number| of(many(&format!("[provider.p#]\n{entries}"), number));
        assert!(with(providers + 1)[0].to_string().contains("8192 entries of match"));
        assert_eq!(with(providers), []);
    }
}
