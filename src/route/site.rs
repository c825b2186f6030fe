//! What holds for a site: limits, manners and retries. [`Table::policy_for`](super::Table::policy_for) is the only maker of it.
//!
//! What holds for the node (timeouts, connections an address, the name in EHLO) stays in the configuration.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Credentials, Retry, TlsLevel};
use crate::limits;
use crate::policy::cluster::SharedLimits;
use crate::shaping::answers::Answers;
use crate::shaping::automation::Automation;
use crate::shaping::key::Key;
use crate::shaping::layers::{Effective, Provided, Scope};
use crate::shaping::pace::Pace;
use crate::shaping::rated::{EachRate, Rated};
use crate::shaping::value::{Overrule, Tls, Value};
use crate::smtp::client::Timeouts;

use super::shared::{LocalLimits, is_local};

/// The level that a shaping file names.
fn level(tls: Tls) -> TlsLevel {
    match tls {
        Tls::Disabled => TlsLevel::Off,
        Tls::Opportunistic | Tls::OpportunisticInsecure => TlsLevel::Opportunistic,
        Tls::RequiredInsecure => TlsLevel::Required,
        Tls::Required => TlsLevel::Verified,
    }
}

/// What holds for all connections of the node to a site.
#[derive(Clone, Debug, PartialEq)]
pub struct SitePolicy {
    /// How many there may be.
    pub connections: usize,
    /// A section of a shaping file about a domain or a provider says so: the limit an address is for those that none names.
    pub named: bool,
    /// Messages over one of them; 0 is no bound.
    pub messages_per_connection: usize,
    /// Recipients of a transaction.
    pub recipients: usize,
    /// Whether the next message's commands follow a body in one group (RFC 2920) where the hop offers PIPELINING.
    pub pipeline: bool,
    /// How TLS is used.
    pub tls: TlsLevel,
    /// Who we are there.
    pub credentials: Option<Arc<Credentials>>,
    /// When what failed is tried again, and when it is given up.
    pub retry: Retry,
    /// What rules say of its replies, before what is known of all.
    pub answers: Option<Answers>,
    /// What rules do about them.
    pub automation: Option<Automation>,
    /// Who sends while the source that should is suspended.
    pub fallback: Option<Box<str>>,
    /// Who sends now in its place, as a rule for replies wants it.
    pub sent_by: Option<Box<str>>,
    /// How long each step of a session may take.
    pub timeouts: Timeouts,
    /// When a recipient is given up, seconds after its message came, if that is sooner than the message's own end.
    pub max_age: Option<u32>,
    /// How often each may be.
    pub rates: EachRate<Option<Pace>>,
    /// Whether what it refuses narrows what it gets.
    pub adaptive: bool,
    /// The first of those whose site it is, whether or not he has limits.
    pub provider: Option<Box<str>>,
    /// Those whose site it is, as far as they have limits.
    pub providers: Box<[ProviderPolicy]>,
    /// Which of its limits no other node has a part in.
    pub local: LocalLimits,
}

/// What holds for all sites of a provider together.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderPolicy {
    /// Its name in the shaping files.
    pub name: Box<str>,
    /// Connections of the node.
    pub connections: Option<usize>,
    /// How often each may be.
    pub rates: EachRate<Option<Pace>>,
    /// Which of these no other node has a part in.
    pub local: LocalLimits,
}

impl ProviderPolicy {
    /// What all nodes of a cluster share.
    pub fn shared(&self) -> SharedLimits {
        self.local.shared(self.connections, &self.rates)
    }

    fn without_limits(name: &str) -> ProviderPolicy {
        let (rates, local) = (EachRate::default(), LocalLimits::default());
        ProviderPolicy { name: name.into(), connections: None, rates, local }
    }

    fn set(&mut self, key: Key, value: &Value) {
        match value {
            Value::Limit(limit) if key == Key::ProviderConnectionLimit => {
                let most = usize::try_from(limit.most).unwrap_or(usize::MAX).max(1);
                (self.connections, self.local.connections) = (Some(most), limit.local);
            }
            Value::Rate(rate) => {
                for of in Rated::ALL.into_iter().filter(|of| of.key_of_provider() == Some(key)) {
                    (self.rates[of], self.local.rates[of]) = (Some(Pace::of(rate)), rate.local);
                }
            }
            _ => {}
        }
    }

    /// None: it has no limits.
    fn of(provided: &Provided<'_>) -> Option<ProviderPolicy> {
        let value = |key| provided.limits.get(&key).map(|held| &held.setting.value);
        let connections = match value(Key::ProviderConnectionLimit) {
            Some(Value::Limit(limit)) => Some(usize::try_from(limit.most).unwrap_or(usize::MAX)),
            _ => None,
        };
        let rates = EachRate::of(|of| match value(of.key_of_provider()?) {
            Some(Value::Rate(rate)) => Some(Pace::of(rate)),
            _ => None,
        });
        let name = provided.block.name.clone();
        let limited = connections.is_some() || rates.set().next().is_some();
        let local = LocalLimits {
            connections: value(Key::ProviderConnectionLimit).is_some_and(is_local),
            rates: EachRate::of(|of| of.key_of_provider().and_then(value).is_some_and(is_local)),
        };
        limited.then_some(ProviderPolicy { name, connections, rates, local })
    }
}

impl SitePolicy {
    /// That of all sites.
    pub(super) fn of(config: &Config) -> Arc<SitePolicy> {
        let delivery = &config.delivery;
        Arc::new(SitePolicy {
            connections: delivery.connections_per_destination,
            named: false,
            messages_per_connection: delivery.messages_per_connection,
            recipients: limits::TRANSACTION_RECIPIENTS_MAX,
            pipeline: delivery.pipeline_messages,
            tls: if delivery.starttls { TlsLevel::Opportunistic } else { TlsLevel::Off },
            credentials: None,
            retry: config.retry.clone(),
            answers: None,
            automation: None,
            fallback: None,
            sent_by: None,
            timeouts: Timeouts::default(),
            max_age: None,
            rates: EachRate::default(),
            adaptive: true,
            provider: None,
            providers: Box::default(),
            local: LocalLimits::default(),
        })
    }

    /// The same, with what the shaping files say of a site in place of what the configuration says of all, but for the TLS that its route
    /// asks for.
    pub(super) fn shaped(
        self: &Arc<SitePolicy>,
        held: &Effective<'_>,
        by_route: Option<TlsLevel>,
    ) -> Arc<SitePolicy> {
        let number = |key| held.limit(key).map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let named = held.settings.get(&Key::ConnectionLimit).map(|held| held.layer.scope != Scope::Default);
        let mut retry = self.retry.clone();
        retry.first = held.time(Key::RetryInterval).unwrap_or(retry.first);
        retry.max = held.time(Key::MaxRetryInterval).unwrap_or(retry.max).max(retry.first);
        let is_local_key = |key| held.settings.get(&key).is_some_and(|held| is_local(&held.setting.value));
        let rates = EachRate::of(|of: Rated| is_local_key(of.key()));
        // It is over what holds for all, and its waits grow.
        if held.time(Key::RetryInterval).or(held.time(Key::MaxRetryInterval)).is_some() {
            retry.schedule = None;
        }
        let own = SitePolicy {
            connections: number(Key::ConnectionLimit).unwrap_or(self.connections).max(1),
            named: named.unwrap_or(self.named),
            messages_per_connection: number(Key::MaxDeliveriesPerConnection)
                .unwrap_or(self.messages_per_connection),
            recipients: number(Key::MaxRecipientsPerBatch)
                .unwrap_or(self.recipients)
                .clamp(1, self.recipients),
            pipeline: self.pipeline,
            tls: by_route.or_else(|| held.tls().map(level)).unwrap_or(self.tls),
            credentials: self.credentials.clone(),
            retry,
            answers: held.answers(),
            automation: held.automation(),
            fallback: held.source(Key::FallbackSource).map(Box::from),
            sent_by: None,
            timeouts: timeouts(held),
            max_age: held
                .time(Key::MaxAge)
                .map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX).max(1)),
            rates: EachRate::of(|of| held.rate(of.key()).map(|rate| Pace::of(&rate))),
            adaptive: held.adaptive(),
            provider: held.providers.first().map(|provided| provided.block.name.clone()),
            providers: held.providers.iter().filter_map(ProviderPolicy::of).collect(),
            local: LocalLimits { connections: is_local_key(Key::ConnectionLimit), rates },
        };
        // Nearly all sites have what all have: one value for them.
        if own == **self { self.clone() } else { Arc::new(own) }
    }

    /// What all nodes of a cluster share.
    pub fn shared(&self) -> SharedLimits {
        self.local.shared(Some(self.connections), &self.rates)
    }

    /// The same, with these values of keys in place of what holds otherwise.
    pub fn overruled(&self, settings: &[(Key, Overrule<'_>)]) -> Arc<SitePolicy> {
        let mut own = self.clone();
        for (key, Overrule { value, provider }) in settings {
            if key.is_of_providers() {
                own.providers_meant(*provider).for_each(|provider| provider.set(*key, value));
            } else {
                own.set(*key, value);
            }
        }
        Arc::new(own)
    }

    /// The provider of a name, whether or not a file limits it; without a name all that are limited.
    fn providers_meant(&mut self, name: Option<&str>) -> impl Iterator<Item = &mut ProviderPolicy> {
        if let Some(name) = name.filter(|name| self.providers.iter().all(|known| *known.name != **name)) {
            let mut all = std::mem::take(&mut self.providers).into_vec();
            all.push(ProviderPolicy::without_limits(name));
            self.providers = all.into();
        }
        self.providers.iter_mut().filter(move |of| name.is_none_or(|name| *of.name == *name))
    }

    fn set(&mut self, key: Key, value: &Value) {
        let most = |most: u64| usize::try_from(most).unwrap_or(usize::MAX);
        match (key, value) {
            (Key::ConnectionLimit, Value::Limit(limit)) => {
                (self.connections, self.local.connections) = (most(limit.most).max(1), limit.local);
            }
            (Key::MaxDeliveriesPerConnection, Value::Count(count)) => {
                self.messages_per_connection = most(*count);
            }
            (Key::MaxRecipientsPerBatch, Value::Count(count)) => {
                self.recipients = most(*count).clamp(1, limits::TRANSACTION_RECIPIENTS_MAX);
            }
            (Key::EnableTls, Value::Tls(tls)) => self.tls = level(*tls),
            (Key::Adaptive, Value::Flag(flag)) => self.adaptive = *flag,
            (key, Value::Rate(rate)) => self.set_rate(key, Pace::of(rate), rate.local),
            (Key::FallbackSource, Value::Source(name)) => self.sent_by = Some(name.clone()),
            (key, Value::Time(time)) => self.set_time(key, *time),
            // A key has a value of its kind, or the file is refused.
            _ => {}
        }
    }

    fn set_rate(&mut self, key: Key, pace: Pace, local: bool) {
        for of in Rated::ALL.into_iter().filter(|of| of.key() == key) {
            (self.rates[of], self.local.rates[of]) = (Some(pace), local);
        }
    }

    fn set_time(&mut self, key: Key, time: Duration) {
        match key {
            Key::MaxAge => self.max_age = Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)),
            Key::RetryInterval => {
                // As where a file says so: it is over the waits that hold for all.
                self.retry.schedule = None;
                self.retry.first = time;
                self.retry.max = self.retry.max.max(time);
            }
            Key::MaxRetryInterval => {
                self.retry.schedule = None;
                self.retry.max = time.max(self.retry.first);
            }
            Key::ConnectTimeout => self.timeouts.connect = time,
            Key::BannerTimeout => self.timeouts.greeting = time,
            Key::EhloTimeout => self.timeouts.hello = time,
            Key::StarttlsTimeout => self.timeouts.starttls = time,
            Key::AuthTimeout => self.timeouts.auth = time,
            Key::MailFromTimeout => self.timeouts.mail = time,
            Key::RcptToTimeout => self.timeouts.rcpt = time,
            Key::DataTimeout => self.timeouts.data = time,
            Key::DataDotTimeout => self.timeouts.dot = time,
            Key::RsetTimeout => self.timeouts.reset = time,
            Key::IdleTimeout => self.timeouts.idle = time,
            _ => {}
        }
    }

    /// Whether connections that were opened by another are as good as those that are opened by this.
    pub fn same_connections_as(&self, other: &SitePolicy) -> bool {
        let SitePolicy {
            connections,
            messages_per_connection,
            pipeline,
            tls,
            credentials,
            named: _,
            recipients: _,
            retry: _,
            answers: _,
            automation: _,
            fallback: _,
            sent_by: _,
            timeouts,
            max_age: _,
            rates: _,
            adaptive: _,
            provider: _,
            providers,
            local: _,
        } = self;
        // Each has its place at all that limit it now.
        let counted = |of: &ProviderPolicy| {
            let before = other.providers.iter().find(|before| before.name == of.name);
            let before = before.and_then(|before| before.connections);
            of.connections.is_none_or(|most| before.is_some_and(|before| before <= most))
        };
        providers.iter().all(counted)
            && *connections >= other.connections
            && *messages_per_connection == other.messages_per_connection
            && *pipeline == other.pipeline
            && *timeouts == other.timeouts
            && *tls == other.tls
            && *credentials == other.credentials
    }
}

/// Those that the files say, and the usual ones.
fn timeouts(held: &Effective<'_>) -> Timeouts {
    let usual = Timeouts::default();
    let time = |key, usual| held.time(key).unwrap_or(usual);
    Timeouts {
        connect: time(Key::ConnectTimeout, usual.connect),
        greeting: time(Key::BannerTimeout, usual.greeting),
        hello: time(Key::EhloTimeout, usual.hello),
        starttls: time(Key::StarttlsTimeout, usual.starttls),
        auth: time(Key::AuthTimeout, usual.auth),
        mail: time(Key::MailFromTimeout, usual.mail),
        rcpt: time(Key::RcptToTimeout, usual.rcpt),
        data: time(Key::DataTimeout, usual.data),
        dot: time(Key::DataDotTimeout, usual.dot),
        reset: time(Key::RsetTimeout, usual.reset),
        idle: time(Key::IdleTimeout, usual.idle),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::shaping::file::File;
    use crate::shaping::layers::{Shaping, ShapingQuery};

    fn shaped(text: &str) -> (Arc<SitePolicy>, Arc<SitePolicy>) {
        let (file, findings) = File::read(text, Path::new("a.toml"));
        assert!(findings.errors.is_empty(), "{findings:?}");
        let shaping = Shaping::of(vec![file]).0;
        let of_all = SitePolicy::of(&Config::embedded());
        let asked = ShapingQuery {
            domain: "a.example",
            hosts: &["mx.a.example".to_owned()],
            source: "",
            beside: &[],
        };
        let own = of_all.shaped(&shaping.effective(asked), None);
        (of_all, own)
    }

    #[test]
    fn what_a_file_says_stands_in_place_of_what_the_configuration_says() {
        let (of_all, own) = shaped(
            "[default]\nconnection_limit = 7\nenable_tls = 'Disabled'\nretry_interval = '2h'\nmax_retry_interval = '1h'\n\
             max_deliveries_per_connection = 9\nmax_recipients_per_batch = 5\n",
        );
        let SitePolicy {
            connections,
            named,
            messages_per_connection,
            recipients,
            pipeline,
            tls,
            credentials: _,
            retry,
            answers: _,
            automation: _,
            fallback: _,
            sent_by: _,
            timeouts: _,
            max_age: _,
            rates: _,
            adaptive: _,
            provider: _,
            providers: _,
            local: _,
        } = &*own;
        assert_eq!((*connections, *named, *messages_per_connection, *recipients), (7, false, 9, 5));
        assert_eq!((*pipeline, *tls), (of_all.pipeline, TlsLevel::Off));
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert_eq!((retry.first, retry.max, retry.expire), (hours(2), hours(2), of_all.retry.expire));
        for (tls, level, required) in [
            ("Opportunistic", TlsLevel::Opportunistic, false),
            ("OpportunisticInsecure", TlsLevel::Opportunistic, false),
            ("RequiredInsecure", TlsLevel::Required, true),
            ("Required", TlsLevel::Verified, true),
        ] {
            let (of_all, own) = shaped(&format!("[default]\nenable_tls = '{tls}'\n"));
            assert_eq!((own.tls, own.tls.is_required()), (level, required), "{tls}");
            // A connection that nobody verified carries no mail that wants that.
            assert_eq!(own.same_connections_as(&of_all), !required, "{tls}");
        }
        let provider = "[provider.a]\nmatch = [{MXSuffix='.a.example'}]\nconnection_limit = 50\nmax_recipients_per_batch = 5000\n";
        let own = shaped(provider).1;
        assert_eq!(
            (own.connections, own.named, own.recipients),
            (50, true, limits::TRANSACTION_RECIPIENTS_MAX)
        );
        assert!(!own.same_connections_as(&of_all) || own.connections >= of_all.connections);
    }

    #[test]
    fn each_step_takes_as_long_as_a_file_says() {
        let keys = "connect banner ehlo starttls auth mail_from rcpt_to data data_dot rset idle";
        let lines = keys.split(' ').enumerate().map(|(at, key)| format!("{key}_timeout = '{}s'\n", at + 1));
        let (of_all, own) = shaped(&format!("[default]\nmax_age = '2d'\n{}", lines.collect::<String>()));
        let seconds = Duration::from_secs;
        let wanted = Timeouts {
            connect: seconds(1),
            greeting: seconds(2),
            hello: seconds(3),
            starttls: seconds(4),
            auth: seconds(5),
            mail: seconds(6),
            rcpt: seconds(7),
            data: seconds(8),
            dot: seconds(9),
            reset: seconds(10),
            idle: seconds(11),
        };
        assert_eq!((own.timeouts, own.max_age), (wanted, Some(2 * 86_400)));
        assert!(!own.same_connections_as(&of_all), "connections are opened anew for it");
        assert_eq!((of_all.timeouts, of_all.max_age), (Timeouts::default(), None));
    }

    /// Each key that a rule may set is one that something goes by, and has the effect that it has in a file.
    #[test]
    fn what_is_set_meanwhile_holds_as_if_a_file_said_it() {
        for (key, written) in [
            (Key::ConnectionLimit, "3"),
            (Key::MaxDeliveriesPerConnection, "4"),
            (Key::MaxRecipientsPerBatch, "5"),
            (Key::EnableTls, "'Disabled'"),
            (Key::MaxConnectionRate, "'7/h'"),
            (Key::MaxMessageRate, "'8/h'"),
            (Key::Adaptive, "false"),
            (Key::MaxAge, "'9h'"),
            (Key::RetryInterval, "'10h'"),
            (Key::MaxRetryInterval, "'11h'"),
            (Key::BannerTimeout, "'12s'"),
            (Key::AuthTimeout, "'14s'"),
            (Key::IdleTimeout, "'13s'"),
        ] {
            let (of_all, own) = shaped(&format!("[default]\n{} = {written}\n", key.name()));
            let value =
                crate::shaping::value::parse(written.trim_matches('\''), key.kind()).expect("a value");
            let set = of_all.overruled(&[(key, Overrule { value: &value, provider: None })]);
            assert_eq!((set.named, own.named), (of_all.named, of_all.named));
            assert_eq!(*set, *own, "{}", key.name());
            assert_ne!(*set, *of_all, "{}", key.name());
        }
    }

    #[test]
    fn what_is_set_of_a_provider_holds_whether_or_not_a_file_limits_it() {
        let provider = |limits: &str| {
            format!(
                "[provider.a]\nmatch = [{{MXSuffix='.a.example'}}]\n{limits}\n[provider.b]\nmatch = [{{HostName='mx.a.example'}}]\nprovider_connection_limit = 9\n"
            )
        };
        for (key, written) in [(Key::ProviderConnectionLimit, "2"), (Key::ProviderMaxMessageRate, "'3/min'")]
        {
            let value =
                crate::shaping::value::parse(written.trim_matches('\''), key.kind()).expect("a value");
            let said = shaped(&provider(&format!("{} = {written}", key.name()))).1;
            for before in ["", "provider_connection_limit = 7\n"] {
                let own = shaped(&provider(before)).1;
                let set = own.overruled(&[(key, Overrule { value: &value, provider: Some("a") })]);
                let of = |policy: &SitePolicy, name: &str| {
                    policy.providers.iter().find(|of| *of.name == *name).cloned().expect("it is limited")
                };
                let mut wanted = of(&said, "a");
                wanted.connections = wanted.connections.or((!before.is_empty()).then_some(7));
                assert_eq!((of(&set, "a"), of(&set, "b")), (wanted, of(&own, "b")), "{}", key.name());
            }
        }
    }

    #[test]
    fn waits_that_a_rule_sets_are_over_a_schedule() {
        let config = "[retry]\nschedule = ['10m', '30m']\n".replace('\'', "\"");
        let config = format!(
            "[node]\nhostname = \"a.example\"\ndata_dir = \"/spool\"\n[[listener]]\naddress = \"127.0.0.1:25\"\n{config}"
        );
        let of_all = SitePolicy::of(&Config::parse(&config, Path::new("a.toml")).expect("a configuration"));
        assert!(of_all.retry.schedule.is_some());
        for key in [Key::RetryInterval, Key::MaxRetryInterval] {
            let value = Value::Time(Duration::from_secs(7_200));
            let set = of_all.overruled(&[(key, Overrule { value: &value, provider: None })]);
            assert_eq!(
                (&set.retry.schedule, set.retry.max),
                (&None, Duration::from_secs(7_200)),
                "{}",
                key.name()
            );
        }
    }

    #[test]
    fn a_site_of_which_nothing_is_said_has_what_all_have() {
        for text in [
            "",
            "[default]\nadaptive = true\nauth_timeout = '60s'\n",
            "['b.example']\nconnection_limit = 1\n",
        ] {
            let (of_all, own) = shaped(text);
            assert!(Arc::ptr_eq(&of_all, &own), "{text}");
        }
    }
}
