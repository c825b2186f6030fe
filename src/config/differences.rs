//! Which sections say something else than before, of those that take effect by a reload. What waits for a restart is told by
//! [`Boot::differences`](super::Boot::differences), key by key.

use std::fmt::Debug;

use crate::config::{ApiConfig, Config, DnsConfig, PoolConfig};

/// The sections, by their names in the file, that say something else in `now`.
pub fn differences(before: &Config, now: &Config) -> Vec<&'static str> {
    // Whatever is added to a configuration must be named here, with what its file holds where that is kept there.
    let Config {
        listeners,
        credentials,
        routes,
        rules,
        sources,
        pools: _, // By the names of their sources, wherever these stand.
        warmups,
        dns,
        delivery,
        retry,
        blocklists,
        bounces,
        feedback,
        hook,
        suppression,
        tenants,
        shaping,
        dkim,
        tls,
        public,
        api,
        acme,
        accounts,
        access,
        node: _, // Read at the start alone, as those below.
        spool: _,
        logs: _,
        webhooks: _,
        streams: _,
        pickup: _,
        sandbox: _,
        cluster: _,
        fleet: _,
        control: _,
        tuning: _,
        shards: _,
        places: _, // Where a key stands is not what it says.
    } = before;
    let all = [
        ("listener", differs(listeners, &now.listeners)),
        ("auth", *accounts != now.accounts),
        ("rule", differs(rules, &now.rules)),
        ("credentials", *credentials != now.credentials),
        ("route", *routes != now.routes),
        ("source", *sources != now.sources),
        ("pool", pools_differ(before, now)),
        ("warmup", *warmups != now.warmups),
        ("dns", dns_differs(dns, &now.dns)),
        ("delivery", differs(delivery, &now.delivery)),
        ("retry", *retry != now.retry),
        ("blocklists", *blocklists != now.blocklists),
        ("bounces", *bounces != now.bounces || feedback.verp_domain != now.feedback.verp_domain),
        ("feedback", feedback.places_beside() != now.feedback.places_beside()),
        ("hook", *hook != now.hook),
        ("suppression", *suppression != now.suppression),
        ("tenant", *tenants != now.tenants),
        ("shaping", *shaping != now.shaping),
        ("dkim", *dkim != now.dkim),
        ("tls", *tls != now.tls),
        ("acme", *acme != now.acme),
        ("control", *access != now.access),
        ("api", api_differs(api, &now.api)),
        ("public", (&public.host, &public.tls) != (&now.public.host, &now.public.tls)),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}

/// By all that is in them: what is derived leaves no field out.
fn differs(one: &impl Debug, other: &impl Debug) -> bool {
    format!("{one:?}") != format!("{other:?}")
}

fn api_differs(one: &ApiConfig, other: &ApiConfig) -> bool {
    let of = |api: &ApiConfig| (api.tls.clone(), api.tokens.clone(), api.message_size_max);
    of(one) != of(other)
}

fn pools_differ(before: &Config, now: &Config) -> bool {
    let named = |config: &Config| -> Vec<_> {
        let name = |(place, weight): &(usize, u16)| (config.sources[*place].name.clone(), *weight);
        let pool = |pool: &PoolConfig| (pool.name.clone(), pool.members.iter().map(name).collect::<Vec<_>>());
        config.pools.iter().map(pool).collect()
    };
    named(before) != named(now)
}

fn dns_differs(one: &DnsConfig, other: &DnsConfig) -> bool {
    // What the machine's files hold is looked at as they change, without a reload.
    let DnsConfig { servers, timeout, attempts, hosts, known: _, latest: _ } = one;
    let alike = *servers == other.servers && *timeout == other.timeout && *attempts == other.attempts;
    !(alike && *hosts == other.hosts)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn differences(before: &str, after: &str) -> Vec<&'static str> {
        let [before, after] = [before, after].map(|text| {
            let text = format!("node.hostname = \"mx1.example.net\"\n{text}");
            Config::parse(&text, Path::new("relevo.toml")).expect("a configuration")
        });
        super::differences(&before, &after)
    }

    #[test]
    fn each_section_that_differs_is_named() {
        let sections = [
            ("listener", "[[listener]]\naddress = \"127.0.0.1:2526\"\nrecipients_max = 700\n"),
            ("auth", "[auth]\naccounts = \"/accounts\"\n"),
            ("rule", "[[rule]]\nmatch = { sender = \"@a.example\" }\naction = \"discard\"\n"),
            ("credentials", "[credentials]\nsmart = { user = \"u\", password_file = \"/p\" }\n"),
            ("route", "[[route]]\ndomain = \"*\"\nto = \"smtp://192.0.2.1\"\n"),
            ("source", "[[source]]\nname = \"ip1\"\naddress = \"192.0.2.1\"\n"),
            ("warmup", "[[warmup]]\nsource = \"ip1\"\nstart = 2026-12-01\n"),
            ("dns", "[dns]\nattempts = 5\n"),
            ("delivery", "[delivery]\nstarttls = false\n"),
            ("retry", "[retry]\nfirst = \"7m\"\n"),
            ("blocklists", "[blocklists]\nzones = [\"bl.example\"]\n"),
            ("bounces", "[bounces]\ndelay_warning = \"4h\"\n"),
            ("feedback", "[feedback]\ndomains = [\"fbl.example.net\"]\n"),
            ("hook", "[hook]\nurl = \"http://127.0.0.1:8025/\"\n"),
            ("suppression", "[suppression]\nhard_bounces = 3\n"),
            ("tenant", "[[tenant]]\nname = \"shop\"\nmax_age = \"1d\"\n"),
            ("shaping", "[shaping]\ndefaults = false\n"),
            ("dkim", "[dkim]\nkeys = \"/keys\"\n"),
            ("tls", "[tls]\nmta_sts = false\n"),
            ("acme", "[acme]\nagree_tos = true\n"),
            ("control", "[control]\nredact = [\"sender\"]\n"),
            ("public", "[public]\nhost = \"u.example.net\"\n"),
        ];
        for (section, text) in sections {
            assert_eq!(differences("", text), [section]);
            assert_eq!(differences(text, ""), [section]);
            assert_eq!(differences(text, text), [""; 0]);
        }
        let all: String = sections.map(|(_, text)| text).concat();
        assert_eq!(differences("", &all), sections.map(|(section, _)| section));
        // A place in the file is nothing that is said, and what waits for a restart is told elsewhere.
        assert_eq!(differences("", "\n\n[spool]\nsize_max = \"1GiB\"\n[tuning]\nspin = \"10us\"\n"), [""; 0]);
    }
}
