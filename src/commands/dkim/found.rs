//! Which keys there are.

use std::path::{Path, PathBuf};

use clap::Args;
use relevo::check::DEFAULT_PATH;
use relevo::config::{Config, DkimConfig, DnsConfig};
use relevo::mail::address::{self, international};
use relevo::mail::dkim::key::Failed;
use relevo::mail::dkim::record;
use relevo::node::keys::{self, Keys};
use relevo::policy::signing::{KeyFile, KeyNumber, Signing, Standing};
use relevo::runtime::process;
use relevo::time::UnixMillis;
use serde_json::{Value, json};

use crate::commands::output::{Failure, WRONG_USE, complain};
use crate::commands::table::to_the_minute;
use crate::commands::words::time;

/// Whose keys.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct Place {
    /// The configuration, whose [dkim] names the directory of the keys [default: /etc/relevo/relevo.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory itself.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl Place {
    /// What is configured, keys included.
    pub fn settings(&self) -> Result<(DkimConfig, DnsConfig), Failure> {
        if let Some(keys) = &self.keys {
            let dkim = DkimConfig { keys: Some(keys.clone()), ..DkimConfig::default() };
            return Ok((dkim, Config::embedded().dns));
        }
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
        let hint = if self.config.is_none() { "; or give --config FILE or --keys DIR" } else { "" };
        let config = crate::commands::check::load(path)
            .map_err(|error| Failure(WRONG_USE, format!("{error}{hint}")))?;
        if config.dkim.keys.is_none() {
            let words = "there is no dkim.keys; add [dkim] and below it keys = \"/etc/relevo/dkim\", or give --keys DIR";
            return Err(Failure(WRONG_USE, format!("{}: {words}", path.display())));
        }
        Ok((config.dkim, config.dns))
    }
}

/// A domain as it was given, in A-labels and lower case.
pub fn domain(written: &str) -> Result<String, Failure> {
    let domain = international::domain_of(written.trim().trim_end_matches('.'));
    let domain = domain.filter(|domain| !address::is_numeric(domain));
    domain.ok_or_else(|| Failure(WRONG_USE, format!("{written:?} is no domain; write it as example.com")))
}

/// All keys of a directory, with what is wrong there told on standard error.
pub struct Found {
    /// Who signs what.
    pub signing: Signing,
    /// At what time.
    pub now: UnixMillis,
    /// What cannot be used.
    pub bad: usize,
}

impl Found {
    /// Reads them; of what is wrong there what may matter to a domain is told, or all.
    pub fn read(dkim: &DkimConfig, domain: Option<&str>) -> Found {
        let Keys { files, bad, doubts, .. } = keys::read(dkim, None);
        let place = domain.map(|domain| format!("/{domain}"));
        let matters = |words: &str| place.as_ref().is_none_or(|place| words.contains(place));
        for (problem, fix) in doubts.iter().filter(|(problem, _)| matters(problem)) {
            complain!("warning: {problem}; {fix}");
        }
        let mut count = 0;
        for bad in bad.iter().filter(|bad| bad.is_of_all_keys() || matters(&bad.to_string())) {
            complain!("{bad}");
            count += 1;
        }
        Found { signing: Signing::new(dkim, files), now: process::wall(), bad: count }
    }

    /// The same, and nothing is told.
    pub fn quiet(dkim: &DkimConfig) -> Found {
        let Keys { files, bad, .. } = keys::read(dkim, None);
        Found { signing: Signing::new(dkim, files), now: process::wall(), bad: bad.len() }
    }

    /// Those of a domain, or all.
    pub fn keys(&self, domain: Option<&str>) -> Vec<Key<'_>> {
        let numbered = (0..).map(KeyNumber).zip(self.signing.files());
        let wanted = numbered.filter(|(_, file)| domain.is_none_or(|domain| *file.domain == *domain));
        let key = |(number, file)| Key { number, file, standing: self.signing.standing(number, self.now) };
        wanted.map(key).collect()
    }

    /// Why a domain has none.
    pub fn none(&self, dkim: &DkimConfig, domain: Option<&str>) -> String {
        let directory = dkim.keys.as_deref().unwrap_or(Path::new("")).display();
        match domain {
            Some(domain) => {
                format!("{domain} has no key in {directory}; make one: relevo dkim keygen {domain}")
            }
            None => format!("there is no key in {directory}; make one: relevo dkim keygen example.com"),
        }
    }
}

/// One key, and what it does now.
pub struct Key<'a> {
    /// Which.
    pub number: KeyNumber,
    /// Where it is.
    pub file: &'a KeyFile,
    /// What it does.
    pub standing: Standing,
}

impl Key<'_> {
    /// Its length and its record.
    pub fn public(&self) -> Result<(usize, String), Failure> {
        let failed = |words: String| Failure::from(words);
        let key = self.file.key().map_err(|flaw| failed(flaw.to_string()))?;
        let text = key.txt_record().map_err(|failure: Failed| failed(failure.to_string()))?;
        Ok((key.bits(), text))
    }

    /// Where its record is.
    pub fn record_name(&self) -> String {
        record::name(&self.file.selector, &self.file.domain)
    }

    pub fn state(&self) -> String {
        match self.standing {
            Standing::Signs => "signs".to_owned(),
            Standing::Later(from) => format!("signs from {}", to_the_minute(&time(from))),
            Standing::Over(until) => format!("ended {}", to_the_minute(&time(until))),
            Standing::Rests => "not used".to_owned(),
        }
    }

    /// For other programs.
    pub fn json(&self) -> Result<Value, Failure> {
        let (bits, text) = self.public()?;
        let (state, from, until) = match self.standing {
            Standing::Signs => ("signs", None, None),
            Standing::Later(from) => ("later", Some(time(from)), None),
            Standing::Over(until) => ("over", None, Some(time(until))),
            Standing::Rests => ("unused", None, None),
        };
        Ok(json!({
            "domain": &*self.file.domain, "selector": self.file.selector, "algorithm": self.file.algorithm.name(), "bits": bits,
            "state": state, "from": from, "until": until,
            "record": { "name": self.record_name(), "text": text, "zone": record::zone_line(&self.record_name(), &text) },
        }))
    }
}
