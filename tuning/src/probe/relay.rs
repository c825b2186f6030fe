//! What the relay itself pays, by its own code and its own settings: for a signature, for a handshake, and for the threads beside its shards. Its
//! binary is started as a user starts it, and the processor time of its process is read: no share of it is guessed.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relevo_load::message::SENDER_DOMAIN;
use relevo_load::run::{Relay, Surroundings, Target};
use relevo_load::{Load, LoadConfig, Recipients, Sizes, Until, port, tls as load_tls};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::Serialize;

use super::tls::{self, Kind};

/// How long the relay may keep a client waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked for its metrics and its overview while mail flows.
const ASKED: Duration = Duration::from_millis(250);
/// Parts of the time: mail three times, clients three times.
const PARTS: f64 = 6.0;
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 4 << 20;

/// What the relay pays.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// Microseconds of CPU a message, unsigned.
    pub message_us: f64,
    /// And of a signature besides.
    pub signing: Vec<Cost>,
    /// Microseconds of CPU of a client that connects, says EHLO and goes.
    pub client_us: f64,
    /// And of a handshake besides.
    pub handshakes: Vec<Cost>,
    /// What its threads used while mail flowed, the most first.
    pub threads: Vec<Thread>,
    /// Messages a second meanwhile.
    pub rate: f64,
}

/// What something costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// What it is called.
    pub name: &'static str,
    /// Microseconds of CPU.
    pub cpu_us: f64,
}

/// Threads of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Thread {
    /// Without its number.
    pub name: String,
    /// How many there are.
    pub count: usize,
    /// Cores they used: 0.5 is half of one.
    pub cores: f64,
}

/// Measures a relay of this binary within about `time`, with its files below `data_dir`.
pub fn measure(binary: &Path, data_dir: &Path, time: Duration) -> io::Result<Costs> {
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"))
    };
    let directory = data_dir.join(format!(".relevo-tune-probe-{}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&directory).map_err(named(&directory))?;
    let bench = Bench { binary: binary.to_owned(), scratch: Scratch(directory), part: time.div_f64(PARTS) };
    let (unsigned, threads, rate) = bench.mail(None)?;
    let mut signing = Vec::new();
    for (algorithm, name) in [("rsa", "DKIM by RSA 2048"), ("ed25519", "DKIM by Ed25519")] {
        signing.push(Cost { name, cpu_us: (bench.mail(Some(algorithm))?.0 - unsigned).max(0.0) });
    }
    let plain = bench.clients(None)?;
    let mut handshakes = Vec::new();
    for kind in [Kind::Rsa2048, Kind::EcdsaP256] {
        handshakes.push(Cost { name: kind.name(), cpu_us: (bench.clients(Some(kind))? - plain).max(0.0) });
    }
    Ok(Costs { message_us: unsigned, signing, client_us: plain, handshakes, threads, rate })
}

struct Bench {
    binary: PathBuf,
    scratch: Scratch,
    part: Duration,
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

impl Bench {
    /// A relay with these lines of its listener and more sections.
    fn start(&self, sink: SocketAddr, listener: &str, more: &str) -> io::Result<(Relay, SocketAddr)> {
        let home = self.scratch.0.join("relay");
        // Of the one before.
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home)?;
        let (listen, http) = (port::free()?, port::free()?);
        let place = |name: &str| home.join(name).to_string_lossy().into_owned();
        let text = format!(
            "[node]\nhostname = \"tune.example\"\ndata_dir = {:?}\n[[listener]]\naddress = \"{listen}\"\n{listener}\
             [[route]]\ndomain = \"*\"\nto = \"smtp://{sink}\"\n[log]\npath = {:?}\n[control]\nhttp = \"{http}\"\n{more}",
            place("spool"),
            place("accounting.jsonl"),
        );
        fs::write(home.join("relevo.toml"), text)?;
        let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"));
        let command =
            format!("exec {} run --config {}", quoted(&self.binary), quoted(&home.join("relevo.toml")));
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let surroundings = Surroundings { listen, dns: nowhere, mx_port: 25, directory: home, shards: 0 };
        Ok((Relay::start(Target::Command(command), surroundings)?, http))
    }

    /// Mail through it: microseconds a message, its threads, and messages a second. `signed`: by a key of this kind.
    fn mail(&self, signed: Option<&str>) -> io::Result<(f64, Vec<Thread>, f64)> {
        let more = signed.map(|algorithm| self.keys(algorithm)).transpose()?.unwrap_or_default();
        let sending = |time: Duration| {
            let mut config = LoadConfig::default();
            (config.connections, config.until) = (20, Until::Time(time));
            (config.sizes, config.recipients) = (Sizes::Fixed(8 << 10), Recipients::between(1, 1));
            config
        };
        // The first makes segments, and is not counted.
        let mut warm = Load::start(sending(self.part.mul_f64(0.25)))?;
        let (mut relay, http) = self.start(warm.sink_addresses()[0], "", &more)?;
        let listen = relay.address();
        warm.send_to(listen)?;
        let sink = warm.sink_addresses().to_vec();
        warm.finish(PATIENCE, |_| true)?;
        let mut config = sending(self.part.mul_f64(0.75));
        config.sink_addresses = sink;
        let mut load = Load::start(config)?;
        let (before, began) = (threads(&relay), Instant::now());
        load.send_to(listen)?;
        let mut asked = Instant::now();
        let report = load.finish(PATIENCE, |_| {
            if asked.elapsed() >= ASKED {
                asked = Instant::now();
                // What it answers costs it the same, whatever comes of it here.
                let _ = ask(http, "/metrics").and_then(|()| ask(http, "/control/v1/overview"));
            }
            true
        })?;
        let (after, elapsed) = (threads(&relay), began.elapsed());
        relay.check()?;
        relay.stop()?;
        if report.messages == 0 {
            return Err(io::Error::other(format!("the relay took no message: {}", relay.words())));
        }
        let spent = used(&before, &after);
        let all: Duration = spent.iter().map(|(_, time)| *time).sum();
        Ok((all.as_secs_f64() * 1e6 / report.messages as f64, by_name(&spent, elapsed), report.rate))
    }

    /// A directory with a key for what the sender sends, and the section that names it.
    fn keys(&self, algorithm: &str) -> io::Result<String> {
        let keys = self.scratch.0.join(format!("keys-{algorithm}"));
        let made = Command::new(&self.binary)
            .args(["dkim", "keygen", SENDER_DOMAIN, "--algorithm", algorithm, "--keys"])
            .arg(&keys)
            .output()?;
        if !made.status.success() {
            let words = String::from_utf8_lossy(&made.stderr).trim().to_owned();
            return Err(io::Error::other(format!("{} makes no key: {words}", self.binary.display())));
        }
        Ok(format!("[dkim]\nkeys = {:?}\n", keys.to_string_lossy()))
    }

    /// Clients that connect and go, each with a handshake if there is a key for one: microseconds a client.
    fn clients(&self, kind: Option<Kind>) -> io::Result<f64> {
        let mut listener = "connections_per_client = 1000\n".to_owned();
        if let Some(kind) = kind {
            let (certificate, key) = tls::identity(kind)?;
            let (chain, private) = (self.scratch.0.join("chain.pem"), self.scratch.0.join("key.pem"));
            fs::write(&chain, certificate)?;
            fs::write(&private, key)?;
            let (chain, private) = (chain.to_string_lossy(), private.to_string_lossy());
            listener += &format!("tls_certificate = {chain:?}\ntls_key = {private:?}\n");
        }
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (mut relay, _) = self.start(nowhere, &listener, "")?;
        let tls = kind.map(|_| tls::client()).transpose()?;
        // What is done once is done before.
        visit(relay.address(), tls.as_ref())?;
        let (before, began, mut count) = (threads(&relay), Instant::now(), 0u64);
        while began.elapsed() < self.part || count == 0 {
            visit(relay.address(), tls.as_ref())?;
            count += 1;
        }
        let spent: Duration = used(&before, &threads(&relay)).iter().map(|(_, time)| *time).sum();
        relay.stop()?;
        Ok(spent.as_secs_f64() * 1e6 / count as f64)
    }
}

/// One client: the greeting, EHLO, STARTTLS and EHLO again if there is one to shake hands with, QUIT.
fn visit(relay: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&relay, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut plain = BufReader::new(stream);
    answer(&mut plain)?;
    say(&mut plain, "EHLO tune.example")?;
    let Some(tls) = tls else { return say(&mut plain, "QUIT") };
    say(&mut plain, "STARTTLS")?;
    let client = ClientConnection::new(Arc::clone(tls), load_tls::server_name("localhost")?);
    let client = client.map_err(io::Error::other)?;
    let mut secure = BufReader::new(StreamOwned::new(client, plain.into_inner()));
    say(&mut secure, "EHLO tune.example")?;
    say(&mut secure, "QUIT")
}

fn say(stream: &mut BufReader<impl Read + Write>, line: &str) -> io::Result<()> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
    stream.get_mut().flush()?;
    answer(stream)
}

/// All lines of a reply, which must be no refusal.
fn answer(stream: &mut impl BufRead) -> io::Result<()> {
    // No reply has so many lines.
    for _ in 0..100 {
        let mut line = String::new();
        stream.by_ref().take(1024).read_line(&mut line)?;
        if !line.starts_with('2') {
            return Err(io::Error::other(format!("the relay says {:?}", line.trim_end())));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
    Err(io::Error::other("a reply without end"))
}

/// A question over HTTP; what is answered is read and forgotten.
fn ask(http: SocketAddr, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&http, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").as_bytes())?;
    io::copy(&mut stream.take(ANSWER_MAX), &mut io::sink()).map(drop)
}

/// A thread's number, its name, and the processor time that it has used.
type Used = (u32, String, Duration);

/// Of the relay's threads, to the nanosecond; none where the kernel does not tell.
fn threads(relay: &Relay) -> Vec<Used> {
    let Some(pid) = relay.pid() else { return Vec::new() };
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let each = |entry: fs::DirEntry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
        // Documentation/scheduler/sched-stats.rst: the first is nanoseconds on a processor.
        let time: u64 = read("schedstat")?.split_whitespace().next()?.parse().ok()?;
        Some((number, read("comm")?.trim().to_owned(), Duration::from_nanos(time)))
    };
    fs::read_dir(tasks).into_iter().flatten().flatten().filter_map(each).collect()
}

/// What each used between two looks.
fn used(before: &[Used], after: &[Used]) -> Vec<(String, Duration)> {
    let earlier = |number: u32| before.iter().find(|(other, ..)| *other == number).map(|(.., time)| *time);
    let spent = |(number, name, time): &Used| {
        (name.clone(), time.saturating_sub(earlier(*number).unwrap_or_default()))
    };
    after.iter().map(spent).collect()
}

/// Those of one name together, as shares of a core, the most first.
fn by_name(spent: &[(String, Duration)], elapsed: Duration) -> Vec<Thread> {
    let mut found: Vec<Thread> = Vec::new();
    for (name, time) in spent {
        let name = name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '-');
        let cores = time.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        match found.iter_mut().find(|thread| thread.name == name) {
            Some(thread) => (thread.count, thread.cores) = (thread.count + 1, thread.cores + cores),
            None => found.push(Thread { name: name.to_owned(), count: 1, cores }),
        }
    }
    found.sort_by(|one, other| other.cores.total_cmp(&one.cores).then_with(|| one.name.cmp(&other.name)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_name_count_together() {
        let of =
            |number: u32, name: &str, millis: u64| (number, name.to_owned(), Duration::from_millis(millis));
        let before = [of(1, "relevo-shard-0", 100), of(2, "relevo-shard-1", 0), of(3, "relevo-control", 7)];
        let after = [
            of(1, "relevo-shard-0", 600),
            of(2, "relevo-shard-1", 250),
            of(3, "relevo-control", 17),
            of(4, "relevo-log", 50),
        ];
        let found = by_name(&used(&before, &after), Duration::from_secs(1));
        let told: Vec<_> =
            found.iter().map(|one| (&*one.name, one.count, (one.cores * 1000.0) as u64)).collect();
        assert_eq!(told, [("relevo-shard", 2, 750), ("relevo-log", 1, 50), ("relevo-control", 1, 10)]);
    }

    #[test]
    fn a_reply_is_read_to_its_end() {
        let mut lines = &b"250-tune.example\r\n250-STARTTLS\r\n250 PIPELINING\r\n221 bye\r\n"[..];
        answer(&mut lines).unwrap();
        assert_eq!(lines, b"221 bye\r\n");
        assert!(answer(&mut &b"421 not now\r\n"[..]).unwrap_err().to_string().contains("421 not now"));
        assert!(answer(&mut &b""[..]).is_err());
        assert!(answer(&mut "250-x\r\n".repeat(200).as_bytes()).is_err());
    }

    #[test]
    fn a_binary_that_is_none_is_named_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let error = measure(Path::new("/nowhere/relevo"), directory.path(), Duration::from_millis(10));
        assert!(error.unwrap_err().to_string().contains("/nowhere/relevo"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
