//! `[[tenant]]`: on whose behalf mail is sent, and what holds for it.

use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::literal::{Fix, Wrong, boolean, integer, quoted, span, text};
use crate::config::quota::{self, Quotas};
use crate::config::retry::{self, Retry};
use crate::config::section::Section;
use crate::config::sources::{self, PoolConfig, SourceConfig};
use crate::limits;
use crate::mail::parameters::{self, Key};
use crate::shaping::value::{Rate, read_rate};

/// `[[tenant]]`
#[derive(Clone, Debug, PartialEq)]
pub struct TenantConfig {
    /// As rules and instructions name it.
    pub name: Box<str>,
    /// Its part of what a site takes, beside those of others.
    pub weight: u32,
    /// Messages that may begin in a time, to all sites together.
    pub max_message_rate: Option<Rate>,
    /// Recipients that its mail may have by the calendar.
    pub quota: Quotas,
    /// Age at which its mail is given up, whatever else would let it wait for longer.
    pub max_age: Option<Duration>,
    /// The pool, or source, that its mail leaves by where nobody names one.
    pub pool: Option<Box<str>>,
    /// Its mail gets return paths that tell what comes back, where there is a domain for these.
    pub verp: bool,
    /// When its mail is tried again.
    pub retry: Option<Arc<Retry>>,
}

pub(super) fn read(
    root: &Section<'_>,
    of_all: &Retry,
    egresses: (&[SourceConfig], &[PoolConfig]),
) -> Vec<TenantConfig> {
    let sections = root.sections("tenant");
    if let Some(first) = sections.get(limits::TENANTS_MAX) {
        let problem = format!("there are more than {} tenants", limits::TENANTS_MAX);
        first.fail("", "", &problem, Fix::Do("name those that need anything of their own".to_owned()));
    }
    let mut tenants: Vec<TenantConfig> = Vec::new();
    for section in sections.iter().take(limits::TENANTS_MAX) {
        let name = section.read("name", None, |value| name(value).map(Some));
        if section.lacks("name") {
            section.fail("name", "", "this key is missing", Fix::Write(quoted("shop"), String::new()));
        }
        let weight = section.read("weight", 1, |value| integer(value, 1..=limits::TENANT_WEIGHT_MAX, 1));
        let max_message_rate = section.read("max_message_rate", None, |value| read_rate(value).map(Some));
        let quota = section.read("quota", Quotas::default(), quota::read);
        let day = Duration::from_secs(86_400);
        let max_age = section.read("max_age", None, |value| {
            span(value, Duration::from_secs(1)..=limits::CONFIG_TIME_MAX, 2 * day).map(Some)
        });
        let retry = retry::read_own(section, of_all);
        let pool = section.read("pool", None, |value| sources::default_pool(value, egresses));
        let verp = section.read("verp", true, boolean);
        if name.is_some() && tenants.iter().any(|other| Some(&*other.name) == name) {
            let fix = Fix::Do("remove one of the two".to_owned());
            section.fail("name", "", "there is a tenant of this name already", fix);
        }
        section.finish();
        tenants.extend(name.map(|name| TenantConfig {
            name: name.into(),
            weight: weight as u32,
            max_message_rate,
            quota,
            max_age,
            pool,
            verp,
            retry,
        }));
    }
    tenants
}

fn name<'a>(value: &'a DeValue<'a>) -> Result<&'a str, Wrong> {
    let name = text(value, "shop")?;
    parameters::check(Key::Tenant, name)
        .map(|()| name)
        .map_err(|problem| Wrong::write(format!("this name {problem}"), quoted("shop"), ""))
}
