//! Which suspension holds for which mail.

use std::time::Duration;

use super::*;
use crate::shaping::file::File;
use crate::shaping::value::Limit;

fn scope(words: &str) -> Scope {
    let mut scope = Scope::default();
    for (name, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        match name {
            "domain" => scope.domain = Pattern::parse(value),
            "site" => scope.site = Pattern::parse(value),
            "provider" => scope.provider = Some(value.into()),
            "tenant" => scope.tenant = Some(value.into()),
            "campaign" => scope.campaign = Some(value.into()),
            "source" => scope.source = Some(value.into()),
            _ => scope.pool = Some(value.into()),
        }
    }
    scope
}

/// Those of these scopes, by number; each holds for ten seconds longer than the one before.
fn held(all: &[(&str, Effect)]) -> ActiveSuspensions {
    let one = |(id, (words, effect)): (u64, &(&str, Effect))| Suspension {
        id,
        effect: effect.clone(),
        scope: scope(words),
        since: UnixMillis(0),
        until: UnixMillis(1000).after(Duration::from_secs(10 * (id + 1))),
        by: "".into(),
        reason: "".into(),
    };
    let all = (0..).zip(all).map(one).collect();
    ActiveSuspensions::new(Arc::new(Suspensions::new(all)), UnixMillis::seconds)
}

const SITE: &str = "mx:10 mx1.Example.org:25,20 mx2.example.org:25,";

#[test]
fn what_is_meant_is_found_and_nothing_else() {
    for (words, domain, site, found) in [
        ("domain=a.example", "a.example", None, true),
        ("domain=a.example", "b.a.example", None, false),
        ("domain=*.a.example", "b.a.example", None, true),
        ("site=mx2.example.org", "d.example", Some(SITE), true),
        ("site=mx2.example.org", "d.example", None, false),
        ("site=*.example.org", "d.example", Some(SITE), true),
        ("site=mx3.example.org", "d.example", Some(SITE), false),
        ("domain=a.example site=mx2.example.org", "a.example", Some(SITE), true),
        ("domain=a.example site=mx2.example.org", "a.example", Some("mx:10 other.example:25,"), false),
    ] {
        let held = held(&[(words, Effect::Wait)]);
        let place = Place { domain, site };
        assert_eq!(held.at(place, 5).is_some(), found, "{words}: {domain} {site:?}");
        assert_eq!(held.of(place, Whose::default(), 5).is_some(), found, "{words}");
        assert!(held.at(place, 11).is_none(), "it is over");
    }
    let mut exact = held(&[("", Effect::Wait)]).all()[0].clone();
    exact.scope.site = Some(Pattern::Whole(SITE.into()));
    let exact = ActiveSuspensions::new(Arc::new(Suspensions::new(vec![exact])), UnixMillis::seconds);
    assert!(exact.at(Place { domain: "d.example", site: Some(SITE) }, 5).is_some());
}

#[test]
fn a_provider_is_known_by_the_hosts_of_its_sites() {
    let (file, _) = crate::shaping::file::File::read(
        "[provider.big]\nmatch = [{ MXSuffix = '.example.org' }]\n",
        std::path::Path::new("a.toml"),
    );
    let held = held(&[("provider=big", Effect::Wait), ("provider=nobody", Effect::Wait)]);
    let matches = |name: &str| (name == "big").then(|| file.providers[0].matches.clone());
    let held = held.clone().with(Providers::of(&held.all, matches));
    let at = |site| held.at(Place { domain: "d.example", site }, 5).map(|found| found.suspension.id);
    assert_eq!(at(Some(SITE)), Some(0), "capitals or not");
    assert_eq!((at(Some("mx:10 mx1.example.org:25,20 mx.example.net:25,")), at(None)), (None, None));
}

#[test]
fn parameters_count_where_a_record_tells_them() {
    let held = held(&[("domain=a.example tenant=shop campaign=", Effect::Return)]);
    let place = Place { domain: "a.example", site: None };
    let of = |tenant, campaign| held.of(place, Whose { tenant, campaign, pool: "x" }, 5).is_some();
    assert!(held.is_of_mail() && held.at(place, 5).is_none());
    assert!(of("shop", "") && !of("shop", "spring") && !of("", ""));
}

#[test]
fn what_waits_for_longest_comes_first_and_before_what_is_returned() {
    let effects = [Effect::Wait, Effect::Wait, Effect::Return];
    let held = held(&effects.map(|effect| ("domain=a.example", effect)));
    let place = Place { domain: "a.example", site: None };
    let at = |now| held.at(place, now).map(|found| (found.suspension.id, found.until));
    assert_eq!([5, 15, 25, 31].map(at), [Some((1, 21)), Some((1, 21)), Some((2, 31)), None]);
}

#[test]
fn the_last_setting_of_a_key_comes_last() {
    let set = |most| Effect::Set(Key::ConnectionLimit, Value::Limit(Limit { most, local: false }));
    let all = [("site=mx1.example.org", set(5)), ("domain=d.example", set(1)), ("domain=x.example", set(9))];
    let held = held(&all);
    let found = held.settings(Place { domain: "d.example", site: Some("mx:10 mx1.example.org:25,") });
    let values: Vec<_> = found.iter().map(|(key, set)| (key.name(), set.value.to_string())).collect();
    assert_eq!(values, [("connection_limit", "5".to_owned()), ("connection_limit", "1".to_owned())]);
    assert!(held.at(Place { domain: "d.example", site: None }, 5).is_none(), "nothing waits for it");
}

#[test]
fn what_is_set_of_a_provider_is_set_of_the_sites_of_a_source() {
    let set = Effect::Set(Key::ProviderConnectionLimit, Value::Limit(Limit { most: 2, local: false }));
    let all = held(&[("provider=big source=ip1", set), ("source=ip1", Effect::Wait)]);
    let file = "[provider.big]\nmatch = [{MXSuffix = '.example.org'}]\n";
    let file = File::read(file, std::path::Path::new("a.toml")).0;
    let matches = |_: &str| Some(file.providers[0].matches.clone());
    let held = all.clone().with(Providers::of(&all.all, matches));
    let of = |site: &str| {
        let found = held.settings(Place { domain: "d.example", site: Some(site) });
        found.iter().map(|(key, set)| (key.name(), set.provider.map(str::to_owned))).collect::<Vec<_>>()
    };
    let set = [("provider_connection_limit", Some("big".to_owned()))];
    for site in [
        "ip1 mx:10 mx.example.org:25",
        "tls=verify ip1 mx:10 mx.example.org:25",
        "ip1 tls=require mx:1 a.example.org:25",
    ] {
        assert_eq!(of(site), set, "{site}");
    }
    for site in [
        "ip2 mx:10 mx.example.org:25",
        "mx:10 mx.example.org:25",
        "ip1 mx:10 mx.example.net:25",
        "ip11 mx:10 mx.example.org:25",
    ] {
        assert_eq!(of(site), [], "{site}");
    }
}

#[test]
fn those_that_are_of_no_whole_name_are_few() {
    let wide: Vec<_> = (0..limits::SUSPENSIONS_WIDE_MAX).map(|_| ("tenant=shop", Effect::Wait)).collect();
    let held = held(&wide);
    let room = |words| held.all.has_room(&scope(words));
    assert!(room("domain=a.example tenant=shop") && !room("domain=*.a.example") && !room("campaign=x"));
}

/// Control asks for a thousand rows at once.
#[test]
fn of_ten_thousand_few_are_compared_with_a_row() {
    let wait = |words: String| (words, Effect::Wait);
    let sites = (0..4_000).map(|at| wait(format!("site=mx{at}.example.org")));
    let domains = (0..5_000).map(|at| wait(format!("domain=d{at}.example tenant=shop")));
    let wide = (0..250).map(|at| wait(format!("tenant=t{at}")));
    let all: Vec<(String, Effect)> = sites.chain(domains).chain(wide).collect();
    let all: Vec<(&str, Effect)> = all.iter().map(|(words, effect)| (&**words, effect.clone())).collect();
    let all = held(&all).all;
    let whose = Whose { tenant: "shop", ..Whose::default() };
    for (domain, site, tenant, found) in [
        ("d7.example", Some("mx:10 mx2.example.org:25,"), "shop", Some(4_007)),
        ("d7.example", Some("mx:10 mx2.example.org:25,"), "", Some(2)),
        ("x.example", Some("mx:10 mx2.example.org:25,20 mx9.example.org:25,"), "shop", Some(9)),
        ("x.example", None, "t3", Some(9_003)),
        ("x.example", Some("mx:10 mx.example.org:25,"), "shop", None),
    ] {
        let (place, whose) = (Place { domain, site }, Whose { tenant, ..whose });
        assert!(all.near(place).len() <= limits::SUSPENSIONS_WIDE_MAX, "{domain} {site:?}");
        let beyond = |due| all.beyond(place, whose, UnixMillis(due), |_| false).map(|one| one.id);
        assert_eq!((beyond(0), beyond(u64::MAX)), (found, None), "{domain} {site:?} {tenant}");
        if site.is_some() {
            let why = all.why(place, whose, UnixMillis(u64::MAX)).map(|one| one.id);
            assert_eq!(why, found, "{domain} {site:?} {tenant}");
        }
    }
}

#[test]
fn a_source_is_suspended_alone_and_holds_back_nothing_here() {
    let wait = |words| (words, Effect::Wait);
    let held = held(&[wait("source=ip1"), wait("source=ip2"), wait("source=ip1")]);
    let place = Place { domain: "d.example", site: Some("ip1 mx:10 mx.d.example:25") };
    assert!(held.at(place, 1).is_none() && held.of(place, Whose::default(), 1).is_none());
    let all = Suspensions::new(held.all().to_vec());
    assert!(all.why(place, Whose::default(), UnixMillis(0)).is_none());
    let id = |name| all.of_source(name).map(|one| one.id);
    assert_eq!([id("ip1"), id("ip2"), id("ip3"), id("")], [Some(2), Some(1), None, None]);
    assert!(!scope("source=ip1").mixes() && !scope("pool=a tenant=b").mixes());
    assert!(scope("source=ip1 domain=d.example").mixes());
    let mut written = Scope::default();
    written.set("source", " ip1 ").unwrap();
    assert_eq!((written.to_string(), written.is_all()), ("source=ip1".to_owned(), false));
    assert!(written.set("source", "ip2").is_err() && Scope::default().set("source", "").is_err());
}
