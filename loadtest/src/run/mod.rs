//! Runs of a scenario: the internet, the relay, the mail, the kills, the wait until all is settled.

pub mod internet;
pub mod relay;
pub mod scenario;
mod receiver;
mod settings;
mod throttle;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

pub use relay::{Relay, Surroundings, Target, Usage};
pub use scenario::{Scenario, ScenarioError};

use crate::attack::Attack;
use crate::ledger::Ledger;
use crate::port;
use crate::report::{Cost, Delivery, Kill, Latency, Load, Machine, Run, SiteOutcome};
use crate::send::{SendConfig, Sender, Until};
use crate::sys;
use crate::tls::Authority;
use crate::verdict::Verdict;
use internet::Internet;
use watch::Watch;

/// How often a run looks at the clock and its relay.
const LOOK: Duration = Duration::from_millis(25);
/// How often it takes a sample.
const SAMPLE: Duration = Duration::from_millis(250);
/// How long the mail of a warm-up may take.
const WARMUP_PATIENCE: Duration = Duration::from_secs(20);
/// How long notifications may take once everything else is settled.
const BOUNCE_PATIENCE: Duration = Duration::from_secs(15);

/// One relay in one scenario.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In reports.
    pub label: String,
    /// How to get at it.
    pub target: RelayKind,
    /// What happens to it.
    pub scenario: Scenario,
    /// Threads it may use; 0: all.
    pub shards: usize,
    /// What chance is drawn from.
    pub seed: u64,
    /// In reports: what was changed of the scenario.
    pub settings: String,
    /// Where the relay's directory is made.
    pub scratch: PathBuf,
}

/// Which relay.
#[derive(Clone, Debug)]
pub enum RelayKind {
    /// relevo, this binary; its settings are made for it.
    Relevo(PathBuf),
    /// Any, by its command or its address.
    Other(Target),
}

/// How far a run is.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// What it is doing.
    pub stage: &'static str,
    /// While it starts: the name server of its internet, and the port its hosts listen on.
    pub internet: Option<(SocketAddr, u16)>,
    /// Since the first message.
    pub elapsed: Duration,
    /// Messages acknowledged.
    pub accepted: u64,
    /// A second, lately.
    pub accepted_rate: f64,
    /// Recipients delivered a second, lately.
    pub delivered_rate: f64,
    /// Recipients acknowledged and not settled.
    pub queue: u64,
    /// Times the relay was killed.
    pub kills: usize,
}

/// Makes one run. `tell` is called about forty times a second; when it returns false the run is given up.
pub fn conduct(plan: &Plan, mut tell: impl FnMut(&Live) -> bool) -> io::Result<Run> {
    let scenario = &plan.scenario;
    let authority = Arc::new(Authority::new()?);
    tell(&Live { stage: "starting", ..Live::default() });
    let internet = Internet::start(scenario, scenario.load.threads, plan.seed, &authority)?;
    let (target, surroundings) = plan.target(&internet, &authority)?;
    let found = Some((surroundings.dns, surroundings.mx_port));
    tell(&Live { stage: "waiting", internet: found, ..Live::default() });
    let mut relay = Relay::start(target, surroundings.clone())?;
    if !scenario.kills.at.is_empty() && !relay.is_ours() {
        return Err(io::Error::other(
            "a relay that runs already cannot be killed and started again: use a command",
        ));
    }
    tell(&Live { stage: "warming up", ..Live::default() });
    warm_up(plan, &internet, &relay)?;

    let mut config = plan.sender(&internet, relay.address());
    let ledger = config.ledger();
    if !scenario.kills.at.is_empty() {
        ledger.expect_kills();
    }
    internet.sink.watch(Arc::clone(&ledger));
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let used = relay.usage().unwrap_or_default();
    let load_before = sys::process_cpu();
    let sender = Sender::start(config)?;
    let mut stage = Stage {
        plan,
        internet: &internet,
        ledger: &ledger,
        watch: Watch::new(used),
        kills: Vec::new(),
        next_kill: 0,
        next_change: 0,
        dead: None,
        attacks: Vec::new(),
        started: Instant::now(),
    };
    let drained = stage.go(&mut relay, &sender, &mut tell)?;
    let after = relay.usage();
    let load_cpu = sys::process_cpu().saturating_sub(load_before).as_secs_f64();
    let Stage { watch, kills, attacks, .. } = stage;
    let outcomes: Vec<_> = attacks.iter().map(Attack::outcome).collect();
    // They end before the relay is asked to: how long a drain waits for hostile clients is not what is measured.
    drop(attacks);
    tell(&Live { stage: "stopping", ..Live::default() });
    let ending = match relay.stop() {
        Ok(None) => String::new(),
        // Ending by the signal it was asked with is a way to end, too.
        Ok(Some(status)) if status.success() || status.signal() == Some(libc::SIGTERM) => String::new(),
        Ok(Some(status)) => format!("the relay ended with {status}: {}", relay.words()),
        Err(error) => error.to_string(),
    };
    let mut run = assemble(plan, &internet, &ledger, sender, load_cpu)?;
    (run.began, run.kills, run.drained, run.ending) = (began, kills, drained, ending);
    run.attacks = outcomes;
    run.cost = cost(used, after, &watch, run.load.progress.acknowledged);
    run.samples = watch.samples;
    drop(relay);
    if run.is_clean() && run.ending.is_empty() {
        let _ = std::fs::remove_dir_all(&surroundings.directory);
    } else {
        run.left = surroundings.directory.display().to_string();
    }
    Ok(run)
}

/// What goes on while a run lasts.
struct Stage<'a> {
    plan: &'a Plan,
    internet: &'a Internet,
    ledger: &'a Ledger,
    watch: Watch,
    kills: Vec<Kill>,
    next_kill: usize,
    next_change: usize,
    /// Since when the relay is dead, and whether it was started again.
    dead: Option<(Instant, bool)>,
    /// Those that have begun.
    attacks: Vec<Attack>,
    started: Instant,
}

impl Stage<'_> {
    /// Until all is settled. False: patience ended first.
    fn go(
        &mut self,
        relay: &mut Relay,
        sender: &Sender,
        tell: &mut dyn FnMut(&Live) -> bool,
    ) -> io::Result<bool> {
        let mut sent: Option<Instant> = None;
        let mut settled: Option<Instant> = None;
        let mut sampled = Instant::now();
        loop {
            self.change();
            self.attack(relay)?;
            self.kill(relay)?;
            if self.dead.is_none() {
                relay.check()?;
            }
            if sampled.elapsed() >= SAMPLE {
                sampled = Instant::now();
                self.watch.look(self.started.elapsed(), sender, self.internet, relay);
            }
            if sender.is_finished() && sent.is_none() {
                sent = Some(Instant::now());
            }
            let stage = match (sent, self.dead) {
                (_, Some(_)) => "killed",
                (None, None) => "sending",
                (Some(_), None) => "draining",
            };
            if !tell(&self.watch.live(stage, self.started.elapsed(), self.kills.len())) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "given up"));
            }
            if let Some(since) = sent
                && self.dead.is_none()
                && self.next_kill >= self.plan.scenario.kills.at.len()
            {
                if self.ledger.missing() == 0 {
                    let since = *settled.get_or_insert_with(Instant::now);
                    let waited = since.elapsed() > BOUNCE_PATIENCE;
                    if !self.plan.scenario.bounces || waited || self.ledger.unreported() == 0 {
                        self.watch.look(self.started.elapsed(), sender, self.internet, relay);
                        return Ok(!self.plan.scenario.bounces || self.ledger.unreported() == 0);
                    }
                } else if since.elapsed() > self.plan.scenario.patience {
                    return Ok(false);
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Sites change their minds when it is time.
    fn change(&mut self) {
        while let Some((after, site, behaviour)) = self.internet.changes.get(self.next_change)
            && *after <= self.started.elapsed()
        {
            self.internet.sink.behave(*site, behaviour.clone());
            self.next_change += 1;
        }
    }

    /// Hostile clients come when it is time.
    fn attack(&mut self, relay: &Relay) -> io::Result<()> {
        for spec in &self.plan.scenario.attacks[self.attacks.len()..] {
            if spec.after > self.started.elapsed() {
                break;
            }
            self.attacks.push(Attack::start(self.attacks.len(), *spec, relay.address())?);
        }
        Ok(())
    }

    fn kill(&mut self, relay: &mut Relay) -> io::Result<()> {
        let kills = &self.plan.scenario.kills;
        match self.dead {
            None => {
                if kills.at.get(self.next_kill).is_some_and(|at| *at <= self.started.elapsed()) {
                    self.next_kill += 1;
                    self.ledger.kill(sys::now());
                    relay.kill()?;
                    self.kills.push(Kill { at: self.started.elapsed().as_secs_f64(), back_after: 0.0 });
                    self.dead = Some((Instant::now(), false));
                }
            }
            Some((since, false)) if since.elapsed() >= kills.pause => {
                relay.spawn()?;
                self.dead = Some((Instant::now(), true));
            }
            Some((since, true)) => {
                if relay.greets()? {
                    self.dead = None;
                    if let Some(kill) = self.kills.last_mut() {
                        kill.back_after = since.elapsed().as_secs_f64();
                    }
                }
            }
            Some(_) => {}
        }
        Ok(())
    }
}

impl Plan {
    fn target(&self, internet: &Internet, authority: &Authority) -> io::Result<(Target, Surroundings)> {
        // Runs of one process may be under way at the same time.
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let directory = self.scratch.join(format!("relay-{}-{}-{run}", std::process::id(), self.seed));
        // Of a run that was cut short.
        let _ = std::fs::remove_dir_all(&directory);
        // The relay's key is in it, and mail.
        let made = std::fs::create_dir_all(&self.scratch)
            .and_then(|()| std::fs::DirBuilder::new().mode(0o700).create(&directory));
        made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display())))?;
        // Freed at once: somebody else may take it before the relay does, which then says so.
        let listen = port::free()?;
        let surroundings = Surroundings {
            listen,
            dns: internet.dns.address(),
            mx_port: internet.port,
            directory,
            shards: self.shards,
        };
        let target = match &self.target {
            RelayKind::Other(target) => target.clone(),
            RelayKind::Relevo(binary) => {
                Target::Command(settings::relevo(binary, &self.scenario, &surroundings, authority)?)
            }
        };
        Ok((target, surroundings))
    }

    fn sender(&self, internet: &Internet, relay: SocketAddr) -> SendConfig {
        let load = &self.scenario.load;
        let mut config = SendConfig::new(vec![relay]);
        config.connections = load.connections;
        config.threads = load.threads;
        config.rate = load.rate.clone();
        config.until = load.until;
        config.sizes = load.sizes.clone();
        config.recipients = load.recipients.clone();
        config.domains = internet.domains.clone();
        config.pipelining = load.pipelining;
        config.chunking = load.chunking;
        config.per_connection = load.per_connection;
        config.tls = load.tls;
        config.slow = load.slow;
        config.messages = load.messages.clone();
        config.seed = self.seed;
        config
    }
}

/// Sends for a while, and waits until that is settled, so that caches are warm and files are there.
fn warm_up(plan: &Plan, internet: &Internet, relay: &Relay) -> io::Result<()> {
    if plan.scenario.load.warmup.is_zero() {
        return Ok(());
    }
    let mut config = plan.sender(internet, relay.address());
    config.until = Until::Time(plan.scenario.load.warmup);
    config.seed = plan.seed.wrapping_add(1);
    let ledger = config.ledger();
    internet.sink.watch(Arc::clone(&ledger));
    Sender::start(config)?.finish()?;
    let since = Instant::now();
    while ledger.missing() > 0 && since.elapsed() < WARMUP_PATIENCE {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn cost(before: Usage, after: Option<Usage>, watch: &Watch, messages: u64) -> Cost {
    let Some(after) = after else { return Cost::default() };
    let cpu_seconds = (after.cpu - before.cpu).max(0.0);
    let peak = |of: fn(&crate::report::Sample) -> u64| watch.samples.iter().map(of).max().unwrap_or(0);
    Cost {
        cpu_seconds,
        cpu_us_per_message: cpu_seconds * 1e6 / messages.max(1) as f64,
        anonymous_peak: peak(|sample| sample.anonymous).max(after.anonymous),
        resident_peak: peak(|sample| sample.resident).max(after.resident),
    }
}

/// Everything but what the stage knows.
fn assemble(
    plan: &Plan,
    internet: &Internet,
    ledger: &Ledger,
    sender: Sender,
    load_cpu: f64,
) -> io::Result<Run> {
    let (started, sums) = (sender.started(), ledger.sums());
    let outcome = sender.finish()?;
    let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
    let delivery_seconds = sums.last_delivery.saturating_sub(started) as f64 / 1e9;
    let latency: Histogram<u64> = ledger.latency();
    let shares: f64 = plan.scenario.sites.iter().map(|site| site.share).sum();
    let sites = internet.sites.iter().enumerate().map(|(at, name)| SiteOutcome {
        name: name.clone(),
        share: plan.scenario.sites.get(at).map_or(0.0, |site| site.share / shares),
        counts: internet.sink.site_counters(at),
        connections_peak: internet.sink.site_connections_peak(at),
        latency: Latency::of(&internet.sink.site_latency(at)),
    });
    let throttling = throttle::judge(plan, internet, (started, started + outcome.elapsed.as_nanos() as u64));
    Ok(Run {
        throttling,
        label: plan.label.clone(),
        scenario: plan.scenario.name.clone(),
        about: plan.scenario.about.clone(),
        machine: Machine::this(),
        settings: plan.settings.clone(),
        load: Load {
            progress: outcome.progress,
            seconds,
            rate: outcome.progress.acknowledged as f64 / seconds,
            cpu_seconds: load_cpu,
            connect: Latency::of(&outcome.connect),
            accept: Latency::of(&outcome.latency),
            answer: Latency::of(&outcome.answer),
        },
        delivery: Delivery {
            recipients: sums.delivered,
            seconds: delivery_seconds,
            rate: sums.delivered as f64 / delivery_seconds.max(1e-9),
            latency: Latency::of(&latency),
        },
        sites: sites.collect(),
        verdict: Verdict::of(ledger),
        ..Run::default()
    })
}
