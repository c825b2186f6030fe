//! What only a measurement tells, bounded in time.

pub mod disk;
pub mod loopback;
pub mod relay;
pub mod tls;

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::table::{columns, number};

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Flushes, by the bytes of one append.
    pub flushes: Vec<disk::Flushes>,
    /// Mail from a sender straight into a sink.
    pub loopback: loopback::Loopback,
    /// Handshakes and signatures, by the kind of key.
    pub keys: Vec<tls::Key>,
    /// Encryption.
    pub bulk: tls::Bulk,
    /// What the relay pays; None: there was none to try.
    pub relay: Option<relay::Costs>,
}

/// A part of the whole that begins.
pub type Stage = fn(&str);

/// Measures everything within about `time`, with the relay of this binary if there is one.
pub fn all(data_dir: &Path, relay: Option<&Path>, time: Duration, stage: Stage) -> io::Result<Measured> {
    let whole = time;
    let time = if relay.is_some() { time.mul_f64(0.5) } else { time };
    stage("disk");
    let share = time.mul_f64(0.4 / 3.0);
    let sizes = [4 << 10, 64 << 10, 1 << 20];
    let flushes: io::Result<Vec<_>> =
        sizes.iter().map(|size| disk::flushes(data_dir, *size, share)).collect();
    let flushes =
        flushes.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", data_dir.display())))?;
    stage("loopback");
    let loopback = loopback::measure(time.mul_f64(0.25))?;
    stage("TLS");
    let share = time.mul_f64(0.35 / 3.0);
    let keys = vec![tls::key(tls::Kind::Rsa2048, share)?, tls::key(tls::Kind::EcdsaP256, share)?];
    let bulk = tls::bulk(share)?;
    let relay = relay.map(|binary| {
        stage("the relay");
        relay::measure(binary, data_dir, whole.mul_f64(0.5))
    });
    Ok(Measured { flushes, loopback, keys, bulk, relay: relay.transpose()? })
}

/// The tables.
pub fn text(measured: &Measured) -> String {
    let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let ms = |microseconds: u64| format!("{} ms", number(microseconds as f64 / 1000.0));
    let mut rows = vec![cells(&["flush (fdatasync) of", "p50", "p99", "max", "a second", "MiB/s"])];
    for flushes in &measured.flushes {
        rows.push(vec![
            format!("{} KiB", flushes.bytes >> 10),
            ms(flushes.p50_us),
            ms(flushes.p99_us),
            ms(flushes.max_us),
            number(flushes.rate),
            number(flushes.rate * flushes.bytes as f64 / f64::from(1 << 20)),
        ]);
    }
    let mut out = columns(&rows);
    let loopback = &measured.loopback;
    out += &format!(
        "\nloopback: {} messages/s of {} from {} connections straight into a sink, {} us of CPU a message for both ends\n",
        number(loopback.rate),
        loopback.sizes,
        loopback.connections,
        number(loopback.cpu_us_per_message)
    );
    out += "  no relay on this machine can be faster than that with such a load beside it\n\n";
    let mut rows =
        vec![cells(&["TLS, a second on one core", "handshakes as server", "as client", "signatures"])];
    for key in &measured.keys {
        let cell = |value: f64| number(value);
        rows.push(vec![key.name.to_owned(), cell(key.server), cell(key.client), cell(key.signatures)]);
    }
    out += &columns(&rows);
    let bulk = &measured.bulk;
    out += &format!(
        "\nbulk: {} MB/s encrypted, {} MB/s decrypted on one core ({})\n",
        number(bulk.encrypted),
        number(bulk.decrypted),
        bulk.suite
    );
    if let Some(relay) = &measured.relay {
        out += &paid(relay);
    }
    out
}

/// What the relay pays.
fn paid(relay: &relay::Costs) -> String {
    let us = |value: f64| format!("{} us", number(value));
    let head = ["what the relay pays", "CPU", "of which one core does a second"].map(str::to_owned).to_vec();
    let row = |name: String, cost: f64| vec![name, us(cost), number(1e6 / cost)];
    let mut rows = vec![head, row("a message, unsigned".to_owned(), relay.message_us)];
    rows.extend(relay.signing.iter().map(|one| row(format!("its signature, {}", one.name), one.cpu_us)));
    rows.push(row("a client that says EHLO and QUIT".to_owned(), relay.client_us));
    rows.extend(
        relay.handshakes.iter().map(|one| row(format!("its TLS handshake, {}", one.name), one.cpu_us)),
    );
    let mut out = format!("\n{}", columns(&rows));
    let head = ["threads of the relay", "how many", "cores they used"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    rows.extend(
        relay
            .threads
            .iter()
            .filter(|one| one.cores >= 0.0005)
            .map(|one| vec![one.name.clone(), one.count.to_string(), format!("{:.3}", one.cores)]),
    );
    out += &format!("\n{}", columns(&rows));
    out += &format!(
        "  at {} messages/s, asked for its metrics and overview four times a second\n",
        number(relay.rate)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_probe_measures_everything() {
        let directory = tempfile::tempdir().unwrap();
        let measured = all(directory.path(), None, Duration::from_millis(1500), |_| {}).unwrap();
        assert_eq!(measured.flushes.len(), 3);
        for flushes in &measured.flushes {
            assert!(
                flushes.rate > 0.0 && flushes.p50_us <= flushes.p99_us && flushes.p99_us <= flushes.max_us
            );
        }
        assert!(measured.loopback.rate > 0.0 && measured.loopback.cpu_us_per_message > 0.0);
        for key in &measured.keys {
            assert!(key.server > 0.0 && key.client > 0.0 && key.signatures > 0.0, "{key:?}");
        }
        let [rsa, ecdsa] = &measured.keys[..] else { panic!() };
        assert!(ecdsa.signatures > rsa.signatures);
        assert!(measured.bulk.encrypted > 0.0 && measured.bulk.decrypted > 0.0);
        let text = text(&measured);
        assert!(text.contains("64 KiB") && text.contains("RSA") && text.contains("MB/s"), "{text}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }
}
