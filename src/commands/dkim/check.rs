//! `relevo dkim check`.

use clap::Args;
use relevo::dns::{Answer, LookupError, QueryType};
use relevo::lookup::Lookup;
use relevo::mail::dkim::record::{self, KeyRecord, RecordFlaw};
use relevo::policy::signing::Standing;
use serde_json::Value;

use super::super::output::{Failure, NO, say};
use super::super::words::count;
use super::found::{Found, Key, Place, domain};

/// What is asked for.
#[derive(Args)]
pub struct Arguments {
    /// Of this domain alone.
    domain: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line for each key.
    #[arg(long)]
    json: bool,
}

/// What the DNS has where the record of a key should be.
#[derive(Debug, PartialEq, Eq)]
pub enum Published {
    /// That key.
    Right,
    /// That key, with a flag that makes it worthless.
    Test,
    /// Nothing.
    Missing,
    /// The key of somebody else, or one of before.
    Other,
    /// A key that is no longer to be believed.
    Revoked,
    /// More than one record: which of them counts is anybody's guess.
    Several(usize),
    /// Something that is no record of a key.
    Wrong(RecordFlaw),
    /// That key, but not for this use: which tag says so.
    Barred(&'static str),
    /// Nobody knows.
    Unknown(LookupError),
}

impl Published {
    /// What a text of the DNS is, beside what it should be.
    pub fn of(answer: Result<Answer, LookupError>, ours: &str) -> Published {
        let texts = match answer {
            Ok(Answer::Texts(texts)) => texts,
            Ok(_) => return Published::Missing,
            Err(error) => return Published::Unknown(error),
        };
        let [text] = &texts[..] else { return Published::Several(texts.len()) };
        let (theirs, ours) = match (KeyRecord::parse(text), KeyRecord::parse(ours.as_bytes())) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (Err(flaw), _) | (_, Err(flaw)) => return Published::Wrong(flaw),
        };
        match () {
            () if theirs.key.is_empty() => Published::Revoked,
            () if !theirs.is_key_of(&ours) => Published::Other,
            () if !theirs.allows_sha256 => Published::Barred("h="),
            () if !theirs.allows_mail => Published::Barred("s="),
            () if theirs.is_test => Published::Test,
            () => Published::Right,
        }
    }

    /// Whether mail that is signed with it verifies.
    fn is_right(&self) -> bool {
        matches!(self, Published::Right | Published::Test)
    }

    /// In a line.
    pub fn word(&self) -> &'static str {
        match self {
            Published::Right => "right",
            Published::Test => "test",
            Published::Missing => "missing",
            Published::Other => "other key",
            Published::Revoked => "revoked",
            Published::Several(_) => "several",
            Published::Wrong(_) | Published::Barred(_) => "wrong",
            Published::Unknown(_) => "unknown",
        }
    }

    /// What is wrong, and what is to be done.
    pub fn advice(&self) -> Option<(String, &'static str)> {
        Some(match self {
            Published::Right => return None,
            Published::Test => (
                "the record has t=y: receivers may treat the mail as if it were not signed".to_owned(),
                "publish it without that",
            ),
            Published::Missing => ("there is no record".to_owned(), "publish"),
            Published::Other => ("another key is published there".to_owned(), "publish in its place"),
            Published::Revoked => {
                ("the key is revoked: p= is empty".to_owned(), "sign with a new key, or publish")
            }
            Published::Several(records) => (
                format!("there are {records} TXT records: which of them counts is not defined"),
                "remove all but this one",
            ),
            Published::Wrong(flaw) => (format!("what is published is wrong: {flaw}"), "publish in its place"),
            Published::Barred(tag) => (
                format!("the record does not let this key be used for mail like ours ({tag})"),
                "publish in its place",
            ),
            Published::Unknown(error) => (format!("nobody could say: {error}"), "what should be there"),
        })
    }
}

/// Asks for each key in turn.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let domain = arguments.domain.as_deref().map(domain).transpose()?;
    let (dkim, dns) = arguments.place.settings()?;
    let found = Found::read(&dkim, domain.as_deref());
    let keys = found.keys(domain.as_deref());
    let lookup = Lookup::new(&dns);
    let (mut sign, mut wrong, mut unknown) = (0, 0, 0);
    for key in &keys {
        let (_, ours) = key.public()?;
        let published = Published::of(lookup.ask(QueryType::Txt, &key.record_name()), &ours);
        let signs = key.standing == Standing::Signs;
        sign += usize::from(signs);
        let is_unknown = matches!(published, Published::Unknown(_));
        unknown += usize::from(signs && is_unknown);
        wrong += usize::from(signs && !is_unknown && !published.is_right());
        tell(key, &published, &ours, arguments.json)?;
    }
    if keys.is_empty() && found.bad == 0 {
        return Err(Failure(NO, found.none(&dkim, domain.as_deref())));
    }
    if wrong > 0 {
        let keys = count(sign as u64, "key");
        let words =
            format!("of {keys} that sign now {wrong} cannot be verified with: publish what is missing");
        return Err(Failure(NO, words));
    }
    if unknown > 0 {
        let keys = count(unknown as u64, "key");
        return Err(Failure(NO, format!("nobody could say what is published of {keys}")));
    }
    if found.bad > 0 {
        return Err(Failure(NO, format!("{} cannot be used", count(found.bad as u64, "file"))));
    }
    Ok(())
}

fn tell(key: &Key<'_>, published: &Published, ours: &str, json: bool) -> Result<(), Failure> {
    let problem = published.advice();
    if json {
        let mut told = key.json()?;
        told["published"] = Value::from(published.word());
        told["problem"] = problem.map_or(Value::Null, |(problem, _)| problem.into());
        say!("{told}");
        return Ok(());
    }
    let name = key.record_name();
    say!("{name}: {}  ({}, {})", published.word(), key.file.algorithm.name(), key.state());
    // One that signs no more may go.
    let is_old = matches!(key.standing, Standing::Rests | Standing::Over(_));
    if let Some((problem, deed)) = problem.filter(|_| !is_old) {
        say!("  {problem}; {deed}:");
        say!("  {}", record::zone_line(&name, ours));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_judged() {
        let texts =
            |texts: &[&str]| Ok(Answer::Texts(texts.iter().map(|text| text.as_bytes().to_vec()).collect()));
        let ours = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let other = "v=DKIM1; k=ed25519; p=21qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let with = |tag: &str| format!("{ours}; {tag}");
        for (answer, published) in [
            (texts(&[ours]), Published::Right),
            (texts(&[&with("t=s")]), Published::Right),
            (texts(&[&with("t=y")]), Published::Test),
            (texts(&[&with("h=sha1")]), Published::Barred("h=")),
            (texts(&[&with("s=tlsrpt")]), Published::Barred("s=")),
            (texts(&[other]), Published::Other),
            (texts(&["v=DKIM1; p="]), Published::Revoked),
            (texts(&[ours, other]), Published::Several(2)),
            (texts(&["v=spf1 -all"]), Published::Wrong(RecordFlaw::OtherRecord)),
            (Ok(Answer::NoDomain), Published::Missing),
            (Ok(Answer::NoData), Published::Missing),
            (Err(LookupError::NoServers), Published::Unknown(LookupError::NoServers)),
        ] {
            let found = Published::of(answer, ours);
            assert_eq!(found, published);
            assert_eq!(found.advice().is_none(), found == Published::Right);
        }
    }
}
