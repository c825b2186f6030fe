//! What changes in the suppression list of one node changes in those of all: a stream of the server has the changes of all nodes in one order, and each node
//! does what it reads there, its own included.
//!
//! A change is kept in `control.db` until the server has it, and how far the stream was read is kept there too: a server that is away delays, and loses
//! nothing. One that was emptied has lost what was not read yet; that is said.

use std::sync::Arc;

use super::line::reach;
use super::link::key;
use super::place::Place;
use crate::config::ClusterConfig;
use crate::control::decisions::ListDesk;
use crate::control::redis::resp::{self, Reply};
use crate::control::redis::{ask, replies};
use crate::control::say::say;
use crate::control::store::UntoldChange;
use crate::control::suppression::Added;
use crate::control::thread::Turn;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::suppression::entry::{OwnedEntry, Reason};
use crate::runtime::exchange::wire::Wire;
use crate::runtime::process;
use crate::time::UnixMillis;

/// Who tells and hears.
pub(super) struct Listed {
    config: ClusterConfig,
    settings: Arc<dyn WebhookSettings>,
    desk: ListDesk,
    wire: Option<Wire>,
    /// How far the stream was read; None: it is not known yet.
    place: Option<Place>,
    /// The server has all changes up to this one.
    told: u64,
    /// Its trouble was said.
    said: bool,
}

/// Something of the stream: where it is, and what is listed, or is not any more. None: it makes no sense.
type Heard = (Place, Option<(bool, OwnedEntry)>);

impl Listed {
    pub fn new(config: ClusterConfig, settings: Arc<dyn WebhookSettings>, desk: ListDesk) -> Listed {
        Listed { config, settings, desk, wire: None, place: None, told: 0, said: false }
    }

    /// Until it is over.
    pub fn run(mut self, turn: &Turn) {
        process::stand_back();
        while !turn.is_over() {
            match self.round(turn) {
                Ok(true) => {}
                Ok(false) => {
                    self.well();
                    turn.pause(limits::CLUSTER_LIST_ROUND);
                }
                Err(why) => {
                    self.wire = None;
                    if !std::mem::replace(&mut self.said, true) {
                        say(
                            Level::Warning,
                            format_args!(
                                "what changes in the suppression list is not told to the other nodes of the cluster, and theirs is not heard: {why}; it is kept, and tried again"
                            ),
                        );
                    }
                    turn.pause(limits::CLUSTER_AGAIN);
                }
            }
        }
    }

    fn well(&mut self) {
        if std::mem::take(&mut self.said) {
            say(
                Level::Info,
                format_args!(
                    "the nodes of the cluster tell each other again what changes in the suppression list"
                ),
            );
        }
    }

    /// Tells and hears some. Whether there may be more at once.
    fn round(&mut self, turn: &Turn) -> Result<bool, String> {
        let place = match self.place {
            Some(place) => place,
            None => self.begin()?,
        };
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => {
                let mut wire = reach(&self.config, &*self.settings, turn)?;
                self.look(&mut wire, place)?;
                wire
            }
        };
        let told = self.tell(&mut wire)?;
        let heard = self.hear(&mut wire)?;
        self.wire = Some(wire);
        Ok(told.max(heard) >= limits::CLUSTER_LIST_BATCH)
    }

    /// How far this node is.
    fn begin(&mut self) -> Result<Place, String> {
        let heard = self.desk.heard().ok_or(NOBODY)?.map_err(|error| error.to_string())?;
        let place = heard.and_then(|text| Place::read(&text)).unwrap_or_default();
        self.place = Some(place);
        Ok(place)
    }

    /// Whether all that the others told since is still there.
    fn look(&mut self, wire: &mut Wire, place: Place) -> Result<(), String> {
        let first = self.one(wire, [b"XRANGE", b"-", b"+"])?;
        let last = self.one(wire, [b"XREVRANGE", b"+", b"-"])?;
        let is_new = place == Place::default();
        let is_emptied = !is_new && last.is_none_or(|last| last < place);
        let is_cut = first.is_some_and(|first| first > place) && !is_new;
        if is_emptied || is_cut {
            let why = if is_emptied { "was emptied" } else { "has let go of changes" };
            say(
                Level::Warning,
                format_args!(
                    "the server of the cluster {why} that this node had not heard: its suppression list may lack entries of other nodes; `relevo suppress export` there and `relevo suppress import` here make up for it"
                ),
            );
        }
        if is_emptied {
            self.place = Some(Place::default());
        }
        Ok(())
    }

    /// The place of the first entry that this comes to.
    fn one(&self, wire: &mut Wire, [command, from, to]: [&[u8]; 3]) -> Result<Option<Place>, String> {
        let stream = key(&self.config, STREAM);
        let mut asked = Vec::new();
        resp::command(&[command, stream.as_bytes(), from, to, b"COUNT", b"1"], &mut asked);
        let found = read(&answer(wire, &asked)?).ok_or(STRANGE)?;
        Ok(found.first().map(|(place, _)| *place))
    }

    /// Tells what is to be told: how much that was.
    fn tell(&mut self, wire: &mut Wire) -> Result<usize, String> {
        let untold = self.desk.untold(self.told).ok_or(NOBODY)?;
        let (untold, is_lost) = untold.map_err(|error| error.to_string())?;
        if is_lost {
            say(
                Level::Error,
                format_args!(
                    "changes of the suppression list are not kept for the other nodes of the cluster any more: {} wait for the server; `relevo suppress export` here and `relevo suppress import` there make up for it",
                    limits::SUPPRESSION_UNTOLD_MAX
                ),
            );
        }
        let Some(last) = untold.last().map(|change| change.number) else { return Ok(0) };
        let stream = key(&self.config, STREAM);
        let mut commands = Vec::new();
        resp::command(&[b"MULTI"], &mut commands);
        for change in &untold {
            add(&stream, change, &mut commands);
        }
        resp::command(&[b"EXEC"], &mut commands);
        replies(wire, &commands, untold.len() + 2).map_err(|why| why.to_string())?;
        self.told = last;
        Ok(untold.len())
    }

    /// Hears what is told, and does it: how much that was.
    fn hear(&mut self, wire: &mut Wire) -> Result<usize, String> {
        let (stream, from) = (key(&self.config, STREAM), format!("({}", self.place.unwrap_or_default()));
        let count = limits::CLUSTER_LIST_BATCH.to_string();
        let mut asked = Vec::new();
        let words: [&[u8]; 6] =
            [b"XRANGE", stream.as_bytes(), from.as_bytes(), b"+", b"COUNT", count.as_bytes()];
        resp::command(&words, &mut asked);
        let heard = read(&answer(wire, &asked)?).ok_or(STRANGE)?;
        let Some(place) = heard.last().map(|(place, _)| *place) else { return Ok(0) };
        let all = heard.len();
        let senseless = heard.iter().filter(|(_, change)| change.is_none()).count();
        if senseless > 0 {
            let words =
                "changes of the suppression list that the cluster tells make no sense to this version";
            say(Level::Warning, format_args!("{senseless} {words}"));
        }
        let heard = heard.into_iter().filter_map(|(_, change)| change).collect();
        let done = self.desk.hear(heard, place.to_string()).ok_or(NOBODY)?;
        let Added { .. } = done.map_err(|error| error.to_string())?;
        self.place = Some(place);
        Ok(all)
    }
}

const _: () = assert!(limits::CLUSTER_LIST_BATCH <= limits::STREAM_EVENTS, "they are one transaction");
/// What the stream is called.
const STREAM: &str = "suppressed";
const NOBODY: &str = "this node does not keep its list now";
const STRANGE: &str = "its answer is none that was asked for";

fn answer(wire: &mut Wire, command: &[u8]) -> Result<Reply, String> {
    match ask(wire, command).map_err(|error| error.to_string())? {
        Reply::Refused(words) => Err(format!("it says {words:?}")),
        reply => Ok(reply),
    }
}

/// The command that tells a change.
fn add(stream: &str, change: &UntoldChange, out: &mut Vec<u8>) {
    let UntoldChange { number: _, listed, entry } = change;
    let OwnedEntry { tenant, address, reason, added, expires, note } = entry;
    let (added, expires) = (added.0.to_string(), expires.map_or(0, |at| at.0).to_string());
    let words: [&[u8]; 20] = [
        b"XADD",
        stream.as_bytes(),
        b"MAXLEN",
        b"~",
        limits::CLUSTER_LIST_LENGTH.as_bytes(),
        b"*",
        b"listed",
        if *listed { b"1" } else { b"0" },
        b"tenant",
        tenant.as_deref().unwrap_or_default().as_bytes(),
        b"address",
        address.as_bytes(),
        b"reason",
        reason.word().as_bytes(),
        b"added",
        added.as_bytes(),
        b"expires",
        expires.as_bytes(),
        b"note",
        note.as_bytes(),
    ];
    resp::command(&words, out);
}

/// What is answered to XRANGE. None: it is no such answer.
fn read(reply: &Reply) -> Option<Vec<Heard>> {
    let Reply::List(entries) = reply else { return None };
    let entry = |one: &Reply| {
        let Reply::List(parts) = one else { return None };
        let place = Place::read(parts.first()?.text()?)?;
        let Reply::List(fields) = parts.get(1)? else { return None };
        Some((place, change(fields)))
    };
    entries.iter().map(entry).collect()
}

fn change(fields: &[Reply]) -> Option<(bool, OwnedEntry)> {
    let field = |name: &str| {
        let found = fields.chunks_exact(2).find(|two| two[0].text() == Some(name))?;
        found[1].text()
    };
    let time = |name| field(name)?.parse::<u64>().ok().map(UnixMillis);
    let entry = OwnedEntry {
        tenant: field("tenant").filter(|tenant| !tenant.is_empty()).map(str::to_owned),
        address: field("address")?.to_owned(),
        // A later version may have more of them: whoever is listed is listed.
        reason: field("reason").and_then(Reason::named).unwrap_or(Reason::Imported),
        added: time("added")?,
        expires: time("expires").filter(|at| at.0 != 0),
        note: field("note").unwrap_or_default().to_owned(),
    };
    let listed = match field("listed")? {
        "1" => true,
        "0" => false,
        _ => return None,
    };
    Some((listed, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str) -> OwnedEntry {
        OwnedEntry {
            tenant: Some("shop".to_owned()),
            address: address.to_owned(),
            reason: Reason::Complaint,
            added: UnixMillis(5),
            expires: Some(UnixMillis(9)),
            note: "said so".to_owned(),
        }
    }

    /// What XADD is given, as XRANGE would give it back.
    fn told(place: &str, change: &UntoldChange) -> Reply {
        let mut bytes = Vec::new();
        add("s", change, &mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        let text = |word: &str| Reply::Text(Some(word.as_bytes().to_vec()));
        let fields = words[6..20].iter().map(|word| text(word)).collect();
        Reply::List(vec![text(place), Reply::List(fields)])
    }

    #[test]
    fn what_is_told_is_heard() {
        let one = UntoldChange { number: 3, listed: true, entry: entry("a@b.example") };
        let other = UntoldChange {
            number: 4,
            listed: false,
            entry: OwnedEntry { tenant: None, expires: None, note: String::new(), ..entry("c@d.example") },
        };
        let heard = read(&Reply::List(vec![told("7-0", &one), told("7-1", &other)])).expect("it is heard");
        assert_eq!(heard[0], (Place(7, 0), Some((true, one.entry))));
        assert_eq!(heard[1], (Place(7, 1), Some((false, other.entry))));
    }

    #[test]
    fn what_is_no_change_is_left_out_and_what_is_no_answer_is_refused() {
        let text = |word: &str| Reply::Text(Some(word.as_bytes().to_vec()));
        let strange = Reply::List(vec![text("8-0"), Reply::List(vec![text("listed"), text("2")])]);
        assert_eq!(read(&Reply::List(vec![strange])), Some(vec![(Place(8, 0), None)]));
        for bad in [
            Reply::Number(3),
            Reply::List(vec![text("8-0")]),
            Reply::List(vec![Reply::List(vec![text("8"), Reply::List(Vec::new())])]),
            Reply::List(vec![Reply::List(vec![text("8-0"), text("x")])]),
        ] {
            assert_eq!(read(&bad), None, "{bad:?}");
        }
        assert!(Place::read("10-0") > Place::read("9-99"));
    }
}
