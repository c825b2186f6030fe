//! One measurement: a relay with some settings between a sender and a sink in this process.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use relevo_load::port;
use relevo_load::run::{Relay, Surroundings, Target};
use relevo_load::{Behaviour, Load, LoadConfig, Recipients, Sizes, Until};
use toml::{Table, Value};

use super::search::Side;
use super::setting::Settings;
use super::{Bench, Failure, Measured};

/// How long deliveries are waited for after the last message was accepted.
const PATIENCE: Duration = Duration::from_secs(20);

/// The mail that is sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Connections of the sender, each sending its next message when the last was answered.
    pub connections: usize,
    /// Bytes of the messages.
    pub sizes: Sizes,
    /// Of each message.
    pub recipients: Recipients,
    /// What the receiving side does.
    pub behaviour: Behaviour,
}

/// Relays that are started one after the other; each side of a comparison has a directory that stays until its end.
pub struct Relays {
    relay: PathBuf,
    mail: Mail,
    step: Duration,
    interrupted: &'static AtomicBool,
    scratch: Scratch,
    /// Of the comparison under way, one a side.
    homes: [Option<PathBuf>; 2],
    made: usize,
}

/// A directory that goes with its owner, whatever happens.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            relevo_load::complain!("relevo-tune: {}: {error}; it can be removed by hand", self.0.display());
        }
    }
}

impl Relays {
    /// Relays of this binary with their spools below `data_dir`, which should be on the disk that is to hold the mail.
    pub fn new(
        relay: &Path,
        data_dir: &Path,
        mail: Mail,
        step: Duration,
        interrupted: &'static AtomicBool,
    ) -> Result<Relays, Failure> {
        let name = |path: &Path| Failure::io(path.display().to_string());
        let data_dir = data_dir.canonicalize().map_err(name(data_dir))?;
        let relay = relay.canonicalize().map_err(name(relay))?;
        let scratch = data_dir.join(format!(".relevo-tune-sweep-{}", std::process::id()));
        // Spools and accounting are in it.
        fs::DirBuilder::new().mode(0o700).create(&scratch).map_err(name(&scratch))?;
        let scratch = Scratch(scratch);
        Ok(Relays { relay, mail, step, interrupted, scratch, homes: [None, None], made: 0 })
    }

    /// Asks the relay whether it takes these settings.
    pub fn check(&mut self, settings: &Settings) -> Result<(), Failure> {
        let home = self.make_home()?;
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let path = configure(&home, settings, nowhere, nowhere).map_err(Failure::io("the configuration"))?;
        let answer = Command::new(&self.relay).arg("check").arg("--config").arg(&path).output();
        let answer = answer.map_err(Failure::io(self.relay.display().to_string()))?;
        // If it fails, the whole scratch goes at the end.
        let _ = fs::remove_dir_all(&home);
        if answer.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        Err(Failure::Refused(settings.clone(), words))
    }

    fn make_home(&mut self) -> Result<PathBuf, Failure> {
        self.made += 1;
        let home = self.scratch.0.join(self.made.to_string());
        fs::create_dir(&home).map_err(Failure::io(home.display().to_string()))?;
        Ok(home)
    }

    fn run(&self, home: &Path, settings: &Settings, time: Duration, warm: bool) -> Result<Measured, Failure> {
        let mut config = LoadConfig::default();
        config.connections = self.mail.connections;
        config.sizes = self.mail.sizes.clone();
        config.recipients = self.mail.recipients.clone();
        config.behaviour = self.mail.behaviour.clone();
        config.until = Until::Time(time);
        let mut load = Load::start(config).map_err(Failure::io("the sink"))?;
        let listen = port::free().map_err(Failure::io("a free port"))?;
        let path = configure(home, settings, listen, load.sink_addresses()[0])
            .map_err(Failure::io("the configuration"))?;
        let target = Target::Command(format!("exec {} run --config {}", quoted(&self.relay), quoted(&path)));
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let surroundings =
            Surroundings { listen, dns: nowhere, mx_port: 25, directory: home.to_owned(), shards: 0 };
        let mut relay = Relay::start(target, surroundings)
            .map_err(|error| Failure::Refused(settings.clone(), error.to_string()))?;
        let used = relay.usage().unwrap_or_default().cpu;
        load.send_to(listen).map_err(Failure::io("the sender"))?;
        let report = load
            .finish(PATIENCE, |_| !self.interrupted.load(Ordering::Relaxed))
            .map_err(Failure::io("the load"))?;
        let used = relay.usage().unwrap_or_default().cpu - used;
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        relay.check().map_err(|error| Failure::Refused(settings.clone(), error.to_string()))?;
        if warm {
            self.await_segments(&home.join("spool"));
        }
        relay.stop().map_err(Failure::io("the relay"))?;
        if report.messages == 0 {
            let words = format!("it accepted no message: {}", relay.words());
            return Err(Failure::Refused(settings.clone(), words));
        }
        let ms = |share: f64| report.accept_latency.value_at_quantile(share) as f64 / 1000.0;
        Ok(Measured {
            rate: report.delivery_rate,
            accepted: report.rate,
            cpu_us: used * 1e6 / report.messages as f64,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
        })
    }

    /// Waits until a relay makes no more segments, within a bound.
    fn await_segments(&self, spool: &Path) {
        const LOOK: Duration = Duration::from_millis(300);
        let mut before = 0;
        for _ in 0..60 {
            let now = bytes(spool);
            if now == before || self.interrupted.load(Ordering::Relaxed) {
                return;
            }
            before = now;
            std::thread::sleep(LOOK);
        }
    }
}

/// Bytes on disk of all files below a directory.
fn bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
        Ok(metadata) => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

impl Bench for Relays {
    fn measure(&mut self, side: Side, settings: &Settings) -> Result<Measured, Failure> {
        let home = match &self.homes[side as usize] {
            Some(home) => home.clone(),
            None => {
                let home = self.make_home()?;
                self.homes[side as usize] = Some(home.clone());
                // Segments are made once and then recycled; a first, short run makes them, so that nobody is measured making them.
                self.run(&home, settings, self.step / 2, true)?;
                home
            }
        };
        self.run(&home, settings, self.step, false)
    }

    fn forget(&mut self) {
        for home in &mut self.homes {
            if let Some(home) = home.take() {
                // If it fails, the whole scratch goes at the end.
                let _ = fs::remove_dir_all(home);
            }
        }
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// Writes a configuration for the loopback with these settings; returns its place.
fn configure(home: &Path, settings: &Settings, listen: SocketAddr, sink: SocketAddr) -> io::Result<PathBuf> {
    let place = |name: &str| home.join(name).to_string_lossy().into_owned();
    let mut table: Table = format!(
        "[node]\nhostname = \"tune.example\"\ndata_dir = {:?}\n[[listener]]\naddress = \"{listen}\"\nconnections_per_client = 100000\n\
         [[route]]\ndomain = \"*\"\nto = \"smtp://{sink}\"\n[log]\npath = {:?}\n[control]\nhttp = \"\"\n",
        place("spool"),
        place("accounting.jsonl"),
    )
    .parse()
    .map_err(io::Error::other)?;
    for (section, value) in settings.sections() {
        match (table.get_mut(&section), value) {
            (Some(Value::Table(below)), Value::Table(above)) => below.extend(above),
            (_, value) => {
                table.insert(section, value);
            }
        }
    }
    // The accounting of earlier runs is nobody's.
    let _ = fs::remove_file(home.join("accounting.jsonl"));
    let path = home.join("relevo.toml");
    fs::write(&path, table.to_string())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::setting::Key;

    fn relays(relay: &Path, directory: &Path) -> Result<Relays, Failure> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        let mail = Mail {
            connections: 5,
            sizes: Sizes::Fixed(1000),
            recipients: Recipients::between(1, 1),
            behaviour: Behaviour::default(),
        };
        Relays::new(relay, directory, mail, Duration::from_millis(100), &NEVER)
    }

    #[test]
    fn a_relay_that_refuses_is_quoted_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let relay = directory.path().join("relay");
        fs::write(&relay, "#!/bin/sh\necho \"$3:1: tuning.spin: $1 says no\" >&2\nexit 1\n").unwrap();
        fs::set_permissions(&relay, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut bench = relays(&relay, directory.path()).unwrap();
        let settings = Settings::default().with(Key::Spin, "20us");
        let words = bench.check(&settings).unwrap_err().to_string();
        assert!(words.contains("with spin = 20us: ") && words.contains("check says no"), "{words}");
        let words = bench.measure(Side::Tried, &settings).unwrap_err().to_string();
        assert!(words.contains("run says no"), "{words}");
        drop(bench);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "only the relay");
        assert!(
            relays(&directory.path().join("none"), directory.path())
                .err()
                .unwrap()
                .to_string()
                .contains("none")
        );
    }

    #[test]
    fn settings_lie_over_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let settings = Settings::default().with(Key::Shards, "3").with(Key::SegmentSize, "16MiB");
        let path = configure(directory.path(), &settings, nowhere, nowhere).unwrap();
        let table: Table = fs::read_to_string(path).unwrap().parse().unwrap();
        assert_eq!(table["node"]["shards"].as_integer(), Some(3));
        assert_eq!(table["node"]["hostname"].as_str(), Some("tune.example"));
        assert_eq!(table["spool"]["segment_size"].as_str(), Some("16MiB"));
    }
}
