//! `relevo dkim keygen`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use relevo::config::DkimConfig;
use relevo::config::warmup::written;
use relevo::limits;
use relevo::mail::dkim::PrivateKey;
use relevo::mail::dkim::key::Algorithm;
use relevo::mail::dkim::record;
use relevo::node::keygen;
use relevo::policy::signing::{KeyFile, Written};
use relevo::runtime::process;
use relevo::time::UnixMillis;
use serde_json::json;

use super::super::output::{Failure, NO, WRONG_USE, complain, say};
use super::found::{Place, domain};

/// What is made.
#[derive(Args)]
pub struct Arguments {
    /// Whose keys these are: that of the From addresses, or of the relay.
    domain: String,
    /// Which kinds of keys; all receivers know RSA, and Ed25519 is short and fast.
    #[arg(long, value_enum, default_value = "both")]
    algorithm: Kind,
    /// The name of the key, for one algorithm [default: made of the date, as r20261129 and e20261129].
    #[arg(long)]
    selector: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line for each key.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Rsa,
    Ed25519,
    Both,
}

impl Kind {
    fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Kind::Rsa => &[Algorithm::RsaSha256],
            Kind::Ed25519 => &[Algorithm::Ed25519Sha256],
            Kind::Both => &[Algorithm::RsaSha256, Algorithm::Ed25519Sha256],
        }
    }
}

/// Makes all of them, or says which were made before one could not be.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let domain = domain(&arguments.domain)?;
    let algorithms = arguments.algorithm.algorithms();
    if arguments.selector.is_some() && algorithms.len() > 1 {
        let words = "--selector names one key: give --algorithm rsa or --algorithm ed25519 with it";
        return Err(Failure(WRONG_USE, words.to_owned()));
    }
    let (dkim, _) = arguments.place.settings()?;
    let directory = dkim.keys.as_deref().unwrap_or(Path::new(""));
    let mut made = Vec::new();
    for algorithm in algorithms {
        let selector = match &arguments.selector {
            Some(selector) => selector.to_ascii_lowercase(),
            None => unused(directory, &domain, *algorithm, process::wall())?,
        };
        let key = PrivateKey::generate(*algorithm).map_err(|failed| failed.to_string())?;
        let text = key.to_pem().map_err(|failed| failed.to_string())?;
        let whose: Arc<str> = domain.as_str().into();
        // What nobody could sign with is not written.
        KeyFile::new(&whose, &selector, Written::default(), &text)
            .map_err(|flaw| Failure(WRONG_USE, flaw.to_string()))?;
        let path = keygen::keep(directory, &domain, &selector, &key)
            .map_err(|error| Failure(NO, error.to_string()))?;
        let text = key.txt_record().map_err(|failed| failed.to_string())?;
        let name = record::name(&selector, &domain);
        let zone = record::zone_line(&name, &text);
        if arguments.json {
            let record = json!({ "name": name, "text": text, "zone": zone });
            let (algorithm, bits) = (algorithm.name(), key.bits());
            say!(
                "{}",
                json!({ "domain": domain, "selector": selector, "algorithm": algorithm, "bits": bits, "file": path, "record": record })
            );
        } else {
            complain!("made {} ({}, {} bits)", path.display(), algorithm.name(), key.bits());
            say!("{zone}");
        }
        made.push(selector);
    }
    if !arguments.json {
        advise(&dkim, &domain, &made);
        warn_of_owner(directory);
    }
    Ok(())
}

/// A selector of today that no file has.
fn unused(directory: &Path, domain: &str, algorithm: Algorithm, now: UnixMillis) -> Result<String, Failure> {
    let letter = match algorithm {
        Algorithm::RsaSha256 => 'r',
        Algorithm::Ed25519Sha256 => 'e',
    };
    let civil = now.civil();
    let first = format!("{letter}{:04}{:02}{:02}", civil.year, civil.month, civil.day);
    let names = std::iter::once(first.clone()).chain((2..).map(|number| format!("{first}-{number}")));
    let mut free = names
        .take(limits::DKIM_DOMAIN_KEYS_MAX)
        .filter(|name| keygen::place(directory, domain, name).symlink_metadata().is_err());
    free.next().ok_or_else(|| Failure(NO, format!("{domain} has too many keys of today; give --selector")))
}

/// What is to be done next.
fn advise(dkim: &DkimConfig, domain: &str, made: &[String]) {
    let (records, them) = if made.len() == 1 { ("this record", "it") } else { ("these records", "them") };
    complain!(
        "publish {records} in the zone of {domain}, and reload when `relevo dkim check {domain}` finds {them}"
    );
    let named: Vec<&str> =
        dkim.named.iter().filter(|key| *key.domain == *domain).map(|key| &*key.selector).collect();
    let unnamed: Vec<&String> = made.iter().filter(|selector| !named.contains(&selector.as_str())).collect();
    if named.is_empty() {
        let begin = if made.len() == 1 { "it signs" } else { "they sign" };
        complain!(
            "{begin} from the next reload or restart on: one before that makes signatures that nobody can verify"
        );
    } else if !unnamed.is_empty() {
        let day = written(process::wall().day().saturating_add(2));
        let section = |selector: &&String| {
            format!("\n[[dkim.key]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nfrom = {day}")
        };
        let sections: String = unnamed.iter().map(section).collect();
        complain!(
            "of {domain} only keys sign that a [[dkim.key]] names; add, with a day on which it is published for long:{sections}"
        );
    }
}

/// Where root made files that the relay may not be able to read.
fn warn_of_owner(directory: &Path) {
    let Ok(of) = std::fs::metadata(directory) else { return };
    if (process::user().0, of.uid(), of.gid()) == (0, 0, 0) {
        let at = directory.display();
        complain!(
            "{at} belongs to root: if the relay runs as another user, let it read them: chown -R USER: {at}"
        );
    }
}
