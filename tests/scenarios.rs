//! The shipped scenarios, made small, through the real binary; and proof that the judge sees what a relay does wrong.

use std::path::PathBuf;
use std::time::Duration;

use relevo_load::Until;
use relevo_load::report::{Report, Run, compare, html, text};
use relevo_load::run::scenario::{Kills, SiteSpec, Throttling};
use relevo_load::run::{Plan, RelayKind, Scenario, Target, conduct};
use relevo_load::units::Plan as Rate;

/// A scenario at a rate and for a time that a debug build on busy cores can do.
fn plan(name: &str, rate: f64, seconds: u64) -> Plan {
    let mut scenario = Scenario::shipped(name).expect("shipped").expect("sound");
    scenario.load.warmup = Duration::ZERO;
    scenario.load.rate = Rate::constant(rate);
    scenario.load.until = Until::Time(Duration::from_secs(seconds));
    scenario.load.connections = scenario.load.connections.min(20);
    Plan {
        label: "relevo".to_owned(),
        target: RelayKind::Relevo(PathBuf::from(env!("CARGO_BIN_EXE_relevo"))),
        scenario,
        shards: 2,
        seed: 7,
        settings: String::new(),
        scratch: std::env::temp_dir(),
    }
}

fn run(plan: &Plan) -> Run {
    conduct(plan, |_| true).unwrap_or_else(|error| panic!("{}: {error}", plan.scenario.name))
}

#[track_caller]
fn assert_clean(run: &Run) {
    assert!(run.is_clean() && run.ending.is_empty(), "{}", text::table(run));
    assert!(run.verdict.recipients > 0 && !run.samples.is_empty());
}

#[test]
fn kills_lose_nothing() {
    let mut plan = plan("crash-loop", 150.0, 5);
    plan.scenario.kills = Kills::every(Duration::from_millis(1500), 3);
    // So few recipients as these would now and then all be spared by the scenario's one refusal in 200.
    let shaky =
        plan.scenario.sites.iter_mut().find(|site| site.name == "shaky").expect("a site of the scenario");
    shaky.behaviour =
        "delay=5ms~60ms,rcpt=450@0.02,rcpt=550@0.05,reply=disconnect@0.005,body=disconnect@0.005"
            .parse()
            .expect("sound");
    let run = run(&plan);
    assert_clean(&run);
    assert_eq!(run.kills.len(), 3);
    assert!(run.cost.cpu_seconds > 0.0 && run.cost.anonymous_peak > 0, "{:?}", run.cost);
    // Not every recipient refused is bounced: a refusal whose reply was cut off is one the relay never heard.
    assert!(run.verdict.bounced > 0, "{}", text::table(&run));
    assert_eq!(run.verdict.unreported, 0, "each loss is told to its sender");
    let report = Report { runs: vec![run.clone(), run] };
    let page = html::page(&report);
    assert!(page.contains("SIGKILL") && page.contains("shaky"));
    assert!(compare::reports(&report, &report).expect("the same scenario").contains("1.00"));
}

#[test]
fn dead_domains_are_reported_and_hold_up_nobody() {
    let mut plan = plan("dead-domains", 60.0, 3);
    let retry: toml::Table =
        "[retry]\nfirst = \"1s\"\nmax = \"2s\"\nexpire = \"4s\"\n".parse().expect("sound");
    plan.scenario.relay = retry;
    let run = run(&plan);
    assert_clean(&run);
    assert!(run.verdict.bounced > 0, "{}", text::table(&run));
    assert_eq!(run.verdict.delivered + run.verdict.bounced, run.verdict.recipients);
    assert!(run.delivery.latency.p99 < 3_000_000, "the living do not wait: {}", text::table(&run));
}

fn site<'a>(run: &'a Run, name: &str) -> &'a relevo_load::report::SiteOutcome {
    run.sites.iter().find(|site| site.name == name).expect("a site of the scenario")
}

#[test]
fn hostile_clients_cost_no_mail() {
    let mut plan = plan("attack-clients", 60.0, 5);
    for attack in &mut plan.scenario.attacks {
        attack.connections = attack.connections.min(60);
        attack.after = attack.after.min(Duration::from_secs(1));
    }
    let run = run(&plan);
    assert_clean(&run);
    assert_eq!(run.attacks.len(), 8);
    assert!(run.attacks.iter().all(|attack| attack.opened > 0), "{}", text::table(&run));
    assert_eq!(run.load.progress.broken, 0, "{}", text::table(&run));
}

#[test]
fn made_up_names_hold_up_nobody() {
    let mut plan = plan("attack-names", 60.0, 5);
    plan.scenario.relay = "[retry]\nfirst = \"1s\"\nmax = \"2s\"\nexpire = \"4s\"\n".parse().expect("sound");
    let run = run(&plan);
    assert_clean(&run);
    assert!(site(&run, "good").latency.p99 < 5_000_000, "{}", text::table(&run));
    assert!(site(&run, "one-address").connections_peak <= 20, "{}", text::table(&run));
}

#[test]
fn hops_that_break_the_rules_lose_nothing() {
    let run = run(&plan("attack-hops", 60.0, 5));
    assert_clean(&run);
    assert!(run.verdict.refused > 0 && run.verdict.unreported == 0, "{}", text::table(&run));
    assert_eq!(site(&run, "cut").counts.rejects, run.verdict.refused, "{}", text::table(&run));
}

#[test]
fn tls_on_both_sides() {
    let run = run(&plan("tls", 60.0, 2));
    assert_clean(&run);
    assert_eq!(run.sites[1].counts.tempfails + run.sites[1].counts.rejects, 0, "nothing came in plain text");
}

#[test]
fn receivers_that_take_only_so_much_are_given_it() {
    let mut plan = plan("isp", 150.0, 12);
    let sites = &mut plan.scenario.sites;
    // Of each kind some, and what changes does so in time.
    sites.retain(|site| {
        let number = site.name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        number.is_empty() || number.len() == 1
    });
    for (after, _) in sites.iter_mut().flat_map(|site| &mut site.later) {
        *after /= 8;
    }
    let behaviours = |site: &mut SiteSpec| {
        let later = site.later.iter_mut().map(|(_, behaviour)| behaviour);
        later.chain([&mut site.behaviour]).for_each(|behaviour| {
            behaviour.rate = behaviour.rate.map(|rate| (rate / 6.0).max(2.0));
            behaviour.connections = behaviour.connections.map(|most| most.min(3));
        });
    };
    sites.iter_mut().filter(|site| !site.named).for_each(behaviours);
    plan.scenario.shaping = plan.scenario.shaping.replace("30s", "10s");
    plan.scenario.throttling = Some(Throttling { taken: 0.8, deferred: 0.1 });
    let run = run(&plan);
    let throttling = run.throttling.clone().expect("it is judged");
    assert!(throttling.is_kept() && throttling.due > 0, "{}", text::table(&run));
    assert_eq!(throttling.exceeded, 0, "{}", text::table(&run));
}

#[test]
fn a_relay_that_forgets_is_caught() {
    // Not even a relay: a sink that says 250 to everything and delivers nothing.
    let sink = relevo_load::Sink::start(relevo_load::SinkConfig::new(vec![([127, 0, 0, 1], 0).into()]))
        .expect("a sink");
    let mut plan = plan("steady", 50.0, 1);
    plan.target = RelayKind::Other(Target::Running(sink.addresses()[0], None));
    plan.scenario.patience = Duration::from_secs(1);
    let run = run(&plan);
    assert!(!run.is_clean() && !run.drained);
    assert_eq!((run.verdict.lost, run.verdict.delivered), (run.verdict.recipients, 0));
}

#[test]
fn a_relay_that_does_not_start_is_an_error_with_its_words() {
    let mut plan = plan("steady", 50.0, 1);
    plan.scenario.relay = "[delivery]\nno_such_key = 1\n".parse().expect("sound");
    let error = conduct(&plan, |_| true).expect_err("an unknown key").to_string();
    assert!(error.contains("no_such_key"), "{error}");
}
