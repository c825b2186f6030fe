//! What one node found that a site takes is where the others begin: a stream of the server has the adaptive windows of all nodes as they change.
//!
//! A hint and no more: it is in force where a site has refused this node nothing yet, and is widened and narrowed from there on as the node's own. So a
//! server that is away or emptied costs each node what it would have cost it alone, and nobody waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use super::line::reach;
use super::link::key;
use super::place::Place;
use crate::config::ClusterConfig;
use crate::control::redis::resp::{self, Reply};
use crate::control::redis::{ask, replies};
use crate::control::thread::Turn;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::runtime::exchange::wire::Wire;
use crate::runtime::process;
use crate::shard::mesh::Mesh;

/// Names of sites, and what is kept of their windows; empty: nothing any more.
type Windows = HashMap<String, Vec<u8>>;
/// A place in the stream, and what stands there of a site.
type Heard = (Place, Option<(String, Vec<u8>)>);

/// Who tells and hears.
pub(super) struct Hints {
    config: ClusterConfig,
    settings: Arc<dyn WebhookSettings>,
    mesh: Arc<Mesh>,
    wire: Option<Wire>,
    /// How far the stream was read; None: what is of long ago is passed over.
    place: Option<Place>,
    /// What the server has of this node.
    told: Windows,
    /// How many of the others' were put in force.
    taken: usize,
}

impl Hints {
    pub fn new(config: ClusterConfig, settings: Arc<dyn WebhookSettings>, mesh: Arc<Mesh>) -> Hints {
        Hints { config, settings, mesh, wire: None, place: None, told: Windows::new(), taken: 0 }
    }

    /// Until it is over. What fails is tried again; that the server is away, whoever asks it for leases says.
    pub fn run(mut self, turn: &Turn) {
        process::stand_back();
        while !turn.is_over() {
            if self.round(turn).is_err() {
                self.wire = None;
            }
            turn.pause(limits::CLUSTER_WINDOWS_ROUND);
        }
    }

    fn round(&mut self, turn: &Turn) -> Result<(), String> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => reach(&self.config, &*self.settings, turn)?,
        };
        let heard = self.hear(&mut wire)?;
        self.heed(heard);
        self.tell(&mut wire)?;
        self.wire = Some(wire);
        Ok(())
    }

    /// What is new in the stream, the latest of each site.
    fn hear(&mut self, wire: &mut Wire) -> Result<Windows, String> {
        let stream = key(&self.config, STREAM);
        let count = limits::CLUSTER_LIST_BATCH.to_string();
        let mut heard = Windows::new();
        for _ in 0..limits::CLUSTER_WINDOWS_BATCHES {
            let from = match self.place {
                Some(place) => format!("({place}"),
                None => oldest(process::wall().0).to_string(),
            };
            let mut asked = Vec::new();
            let words: [&[u8]; 6] =
                [b"XRANGE", stream.as_bytes(), from.as_bytes(), b"+", b"COUNT", count.as_bytes()];
            resp::command(&words, &mut asked);
            let Reply::List(entries) = ask(wire, &asked).map_err(|error| error.to_string())? else {
                return Err("it lists no windows".to_owned());
            };
            for (place, window) in entries.iter().filter_map(entry) {
                self.place = Some(place);
                heard.extend(window);
            }
            if entries.len() < limits::CLUSTER_LIST_BATCH {
                break;
            }
        }
        Ok(heard)
    }

    /// Puts in force what others found, where this node found nothing itself. What it has of them it does not tell as its own.
    fn heed(&mut self, heard: Windows) {
        let now = process::shard_time();
        for (site, value) in heard {
            let found_none =
                self.taken < limits::WINDOWS_KEPT && self.mesh.site_count(&site, now).window().is_none();
            if found_none && self.mesh.resume_window(&site, &value, now) {
                self.taken += 1;
                self.told.insert(site, value);
            }
        }
    }

    /// Tells some of what changed. What is beyond the bound has its turn in a later round.
    fn tell(&mut self, wire: &mut Wire) -> Result<(), String> {
        let now: Windows = self.mesh.windows().into_iter().collect();
        let changes = changed(&self.told, now);
        if changes.is_empty() {
            return Ok(());
        }
        let stream = key(&self.config, STREAM);
        let mut commands = Vec::new();
        for (site, value) in &changes {
            let words: [&[u8]; 8] = [
                b"XADD",
                stream.as_bytes(),
                b"MAXLEN",
                b"~",
                limits::CLUSTER_WINDOWS_LENGTH.as_bytes(),
                b"*",
                site.as_bytes(),
                value,
            ];
            resp::command(&words, &mut commands);
        }
        replies(wire, &commands, changes.len()).map_err(|why| why.to_string())?;
        for (site, value) in changes {
            if value.is_empty() {
                self.told.remove(&site);
            } else {
                self.told.insert(site, value);
            }
        }
        Ok(())
    }
}

/// What the stream is called.
const STREAM: &str = "windows";

/// The milliseconds from which on windows still mean something.
fn oldest(now: u64) -> u64 {
    now.saturating_sub(limits::WINDOW_KEPT.as_millis() as u64)
}

/// What is to be told: what is new first, which is of use to others, then what is over, then what is another now.
fn changed(told: &Windows, now: Windows) -> Vec<(String, Vec<u8>)> {
    let over = told.keys().filter(|site| !now.contains_key(*site)).map(|site| (site.clone(), Vec::new()));
    let over: Vec<_> = over.take(limits::CLUSTER_WINDOWS_TOLD).collect();
    let fits = |site: &str, value: &[u8]| site.len() + value.len() <= limits::WINDOW_BYTES_MAX;
    let differs = |(site, value): &(String, Vec<u8>)| told.get(site) != Some(value) && fits(site, value);
    let (new, other): (Vec<_>, Vec<_>) =
        now.into_iter().filter(differs).partition(|(site, _)| !told.contains_key(site));
    new.into_iter().chain(over).chain(other).take(limits::CLUSTER_WINDOWS_TOLD).collect()
}

/// An entry of the stream: where it is, and what it says. None: it has no place; nothing behind it: it makes no sense to this version.
fn entry(reply: &Reply) -> Option<Heard> {
    let Reply::List(parts) = reply else { return None };
    let place = Place::read(parts.first()?.text()?)?;
    let window = || {
        let Reply::List(fields) = parts.get(1)? else { return None };
        let site = fields.first()?.text()?;
        let Reply::Text(Some(value)) = fields.get(1)? else { return None };
        (site.len() + value.len() <= limits::WINDOW_BYTES_MAX).then(|| (site.to_owned(), value.clone()))
    };
    Some((place, window()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(all: &[(&str, &[u8])]) -> Windows {
        all.iter().map(|(site, value)| ((*site).to_owned(), value.to_vec())).collect()
    }

    #[test]
    fn what_changed_is_told_the_new_first_and_no_more_than_the_bound() {
        let told = windows(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        let now = windows(&[("a", b"1"), ("b", b"4"), ("d", b"5")]);
        let all = changed(&told, now);
        let site = |place: usize| (all[place].0.as_str(), &all[place].1[..]);
        assert_eq!(
            (all.len(), site(0), site(1), site(2)),
            (3, ("d", &b"5"[..]), ("c", &b""[..]), ("b", &b"4"[..]))
        );
        let many = (0..1_000).map(|number| (format!("s{number}"), vec![1])).collect();
        assert_eq!(changed(&Windows::new(), many).len(), limits::CLUSTER_WINDOWS_TOLD);
        let long = windows(&[("x", &[0; limits::WINDOW_BYTES_MAX])]);
        assert!(changed(&Windows::new(), long).is_empty());
    }

    #[test]
    fn entries_are_read_and_what_makes_no_sense_is_passed_over() {
        let text = |word: &[u8]| Reply::Text(Some(word.to_vec()));
        let one = |fields| Reply::List(vec![text(b"7-1"), Reply::List(fields)]);
        let found = entry(&one(vec![text(b"mx:a"), text(b"\xFF\x01")]));
        assert_eq!(found, Some((Place(7, 1), Some(("mx:a".to_owned(), vec![0xFF, 1])))));
        for bad in [
            vec![],
            vec![text(b"mx:a")],
            vec![text(b"\xFF"), text(b"x")],
            vec![text(b"a"), text(&[1; 2_000])],
        ] {
            assert_eq!(entry(&one(bad)), Some((Place(7, 1), None)));
        }
        assert_eq!((entry(&Reply::Number(3)), entry(&Reply::List(vec![text(b"x")]))), (None, None));
        assert_eq!((oldest(5), oldest(86_400_007)), (0, 7));
    }
}
