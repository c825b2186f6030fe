//! `relevo spool`: what lies in the spool, whether it is sound, and mail that moves to another node.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use relevo::id::MessageId;
use relevo::inspect::adopt::adopt;
use relevo::inspect::{FoldedLane, LaneView, Spool, SpoolError};
use relevo::limits;
use relevo::runtime::files;
use relevo::runtime::os::probe;
use relevo::spool::index::{Entry, LiveRange};
use relevo::spool::inspect::{self, FoundSegment, Placed};
use relevo::spool::layout::lane_name;
use relevo::spool::record::MessageView;

use super::output::{Failure, NO as DAMAGE, WRONG_USE as UNUSABLE, complain};
use super::table;
use super::words::{self, Listed, MessageReport};

/// `relevo spool …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

/// Whose spool.
#[derive(Args)]
#[group(multiple = false)]
struct SpoolArguments {
    /// The configuration of the node [default: /etc/relevo/relevo.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Tool {
    /// Read every byte and say whether it is sound. Exit 0: it is; 1: damage; 2: it could not be read.
    #[command(
        after_help = "Examples:\n  relevo spool verify\n  relevo spool verify --data-dir /var/lib/relevo --json"
    )]
    Verify {
        #[command(flatten)]
        place: SpoolArguments,
        /// One JSON object a lane.
        #[arg(long)]
        json: bool,
    },
    /// List the messages that are still to be delivered. Exit 1: there is damage, and some may be missing.
    #[command(
        after_help = "Examples:\n  relevo spool list --limit 20\n  relevo spool list --domain example.org --json"
    )]
    List {
        #[command(flatten)]
        place: SpoolArguments,
        /// Only those with a live recipient in this domain.
        #[arg(long)]
        domain: Option<String>,
        /// At most so many.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
        /// One JSON object a message.
        #[arg(long)]
        json: bool,
    },
    /// Show all about one message: envelope, recipients, where it lies, its header section.
    #[command(after_help = "Example: relevo spool show 00000000G0000102")]
    Show {
        #[command(flatten)]
        message: Message,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write one message, byte for byte as it was accepted, to standard output or a new file.
    #[command(after_help = "Example: relevo spool export 00000000G0000102 --output message.eml")]
    Export {
        #[command(flatten)]
        message: Message,
        /// The file to make; one that exists is not touched.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Move the mail of another stopped node into this stopped one, whose next start delivers it.
    #[command(after_help = "Example: relevo spool adopt /mnt/old/relevo --data-dir /var/lib/relevo")]
    Adopt {
        /// The other node's data directory, on the same file system.
        #[arg(value_name = "DIR")]
        from: PathBuf,
        #[command(flatten)]
        place: SpoolArguments,
        /// Adopt lanes with damage in them too; what is damaged stays lost.
        #[arg(long)]
        damaged: bool,
    },
}

/// Which message.
#[derive(Args)]
struct Message {
    /// Its id, as logs and `list` have it.
    id: MessageId,
    #[command(flatten)]
    place: SpoolArguments,
    /// The lane it lies in, where two lanes have mail of that id (one of them adopted).
    #[arg(long, value_name = "NUMBER")]
    lane: Option<u16>,
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Failure {
        Failure(UNUSABLE, error.to_string())
    }
}

/// Runs one tool. Exit 1: what was asked for is damaged, or not there; 2: wrong use, or a file that cannot be read or written.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let done = match arguments.tool {
        Tool::Verify { place, json } => verify(&place, json),
        Tool::List { place, domain, limit, json } => list(&place, domain.as_deref(), limit, json),
        Tool::Show { message, json } => show(&message, json),
        Tool::Export { message, output } => export(&message, output.as_deref()),
        Tool::Adopt { from, place, damaged } => take_over(&place, &from, damaged),
    };
    // What could not be written is no word about damage.
    done.map_err(|failure| if failure.is_unwritten() { Failure(UNUSABLE, failure.1) } else { failure })
}

impl SpoolArguments {
    /// The data directory, and the shards a configuration asks for.
    fn resolve(&self) -> Result<(PathBuf, Option<usize>), Failure> {
        if let Some(data_dir) = &self.data_dir {
            return Ok((data_dir.clone(), None));
        }
        let default = Path::new(relevo::check::DEFAULT_PATH);
        let config = super::check::load(self.config.as_deref().unwrap_or(default));
        let hint = if self.config.is_none() { "; or give --data-dir DIR" } else { "" };
        let config = config.map_err(|error| Failure(UNUSABLE, format!("{error}{hint}")))?;
        Ok((config.node.data_dir, Some(config.node.shards)))
    }

    fn open(&self) -> Result<Spool, Failure> {
        Ok(Spool::open(&self.resolve()?.0)?)
    }
}

fn out() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

fn verify(place: &SpoolArguments, json: bool) -> Result<(), Failure> {
    let spool = place.open()?;
    let mut out = out();
    let (mut lanes, mut messages, mut damaged) = (0, 0, 0u64);
    for lane in spool.lanes()? {
        let report = spool.verify(lane)?;
        lanes += 1;
        messages += report.messages as u64;
        damaged += report.rot.len() as u64 + report.rot_more;
        if json {
            writeln!(out, "{}", words::lane_report_json(lane, &report))?;
        } else {
            write!(out, "{}", words::lane_report(lane, &report))?;
        }
        out.flush()?;
    }
    let verdict = if damaged == 0 { "sound".to_owned() } else { words::count(damaged, "damaged place") };
    if !json {
        writeln!(
            out,
            "{}, {}: {verdict}",
            words::count(lanes, "lane"),
            words::count(messages, "live message")
        )?;
    }
    out.flush()?;
    if damaged == 0 {
        Ok(())
    } else {
        Err(Failure(DAMAGE, format!("{}: {verdict}", spool.data_dir.display())))
    }
}

fn list(place: &SpoolArguments, domain: Option<&str>, limit: Option<u64>, json: bool) -> Result<(), Failure> {
    let spool = place.open()?;
    let (mut out, columns) = (out(), table::columns());
    if !json {
        writeln!(out, "{}", Listed::head())?;
    }
    let mut left = limit.unwrap_or(u64::MAX);
    let (mut sound, mut empty) = (true, true);
    for number in spool.lanes()? {
        if left == 0 {
            complain!(
                "that is all that was asked for; {} and what follows was not looked at",
                lane_name(number)
            );
            break;
        }
        let look = spool.lane(number)?.look()?;
        for damage in &look.folded.damage {
            complain!("{}: {damage}; `relevo spool verify` says more", lane_name(number));
            sound = false;
        }
        if look.unsettled {
            complain!("{}: the relay is busy; some of this may be settled by now", lane_name(number));
        }
        let mut current: Option<&FoundSegment> = None;
        for (_, entry) in look.folded.lane.entries() {
            if current.is_none_or(|found| found.slot != entry.slot) {
                current = look.seen.survey.at(entry.slot);
            }
            let salt = look.folded.lane.segment(entry.slot).map(|(salt, _)| salt);
            // A segment that was recycled since held nothing live.
            let Some(found) = current.filter(|found| Some(found.header.salt) == salt) else { continue };
            let Some(listed) = listed(&look, found, entry, domain) else { continue };
            if json {
                serde_json::to_writer(&mut out, &listed).map_err(io::Error::from)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", listed.row(columns))?;
            }
            (empty, left) = (false, left - 1);
            if left == 0 {
                break;
            }
        }
    }
    out.flush()?;
    if empty && sound && !json && left > 0 {
        let whose = domain.map_or(String::new(), |domain| format!(" to {domain}"));
        complain!("no message{whose} is still to be delivered");
    }
    let words = || format!("{}: damaged, so mail may be missing in the list", spool.data_dir.display());
    if sound { Ok(()) } else { Err(Failure(DAMAGE, words())) }
}

/// A live message for the list; None if it is not wanted, or gone, or (with words on standard error) damaged.
fn listed(look: &FoldedLane, found: &FoundSegment, entry: &Entry, domain: Option<&str>) -> Option<Listed> {
    let lane = &look.seen.lane;
    let placed = match inspect::read_message(lane, found, entry.offset) {
        Ok(placed) => placed,
        Err(fault) => {
            if inspect::is_current(lane, found) {
                let MessageId { lane, sequence, .. } =
                    MessageId { lane: found.header.origin.lane, sequence: found.header.sequence, offset: 0 };
                let id = MessageId { lane, sequence, offset: entry.offset };
                complain!("message {id} {fault}; `relevo spool verify` says more");
            }
            return None;
        }
    };
    let view = MessageView::parse(&placed.payload).ok()?;
    let live = entry.live();
    let recipients: Vec<&[u8]> = view
        .recipients()
        .enumerate()
        .filter(|(ordinal, _)| live.iter().any(|range| holds(range, *ordinal)))
        .filter(|(_, (address, at))| {
            let its = address.get(*at..).unwrap_or_default();
            domain.is_none_or(|domain| its.eq_ignore_ascii_case(domain.as_bytes()))
        })
        .map(|(_, (address, _))| address)
        .collect();
    if recipients.is_empty() {
        return None;
    }
    let texts = live.iter().map(|range| look.folded.lane.said(range).0);
    Some(Listed {
        id: view.id.to_string(),
        lane: lane.number,
        accepted: words::time(view.arrival),
        size: view.size,
        sender: words::lossy(view.sender),
        recipients: view.count,
        live: live.iter().map(|range| u32::from(range.count)).sum(),
        first: recipients
            .iter()
            .take(limits::LISTED_RECIPIENTS)
            .map(|address| words::lossy(address))
            .collect(),
        attempts: live.iter().map(|range| range.attempts).max().unwrap_or(0),
        next_attempt: live.iter().map(|range| range.next).min().filter(|next| *next > 0).map(words::seconds),
        last_reply: texts.into_iter().find(|text| !text.is_empty()).map(str::to_owned),
    })
}

fn holds(range: &LiveRange, ordinal: usize) -> bool {
    (usize::from(range.first)..usize::from(range.first) + usize::from(range.count)).contains(&ordinal)
}

/// The one message that is meant.
fn locate(message: &Message) -> Result<(LaneView, Placed), Failure> {
    let (id, spool) = (message.id, message.place.open()?);
    let mut found = spool.find(id, message.lane)?;
    if found.len() > 1 {
        let lanes: Vec<String> =
            found.iter().map(|(seen, _)| format!("--lane {}", seen.lane.number)).collect();
        let words = format!("{id} lies in {} lanes; say which is meant: {}", found.len(), lanes.join(" or "));
        return Err(Failure(UNUSABLE, words));
    }
    match found.pop() {
        Some((seen, Ok(placed))) => Ok((seen, placed)),
        Some((_, Err(fault))) => Err(Failure(DAMAGE, format!("message {id} {fault}"))),
        None => {
            let words = format!(
                "no message {id} in {}: it was settled and its place used again, or it was never there",
                spool.data_dir.display()
            );
            Err(Failure(DAMAGE, words))
        }
    }
}

fn view(placed: &Placed) -> Result<MessageView<'_>, Failure> {
    MessageView::parse(&placed.payload)
        .map_err(|_| Failure(DAMAGE, "the message record is damaged".to_owned()))
}

fn show(message: &Message, json: bool) -> Result<(), Failure> {
    let (seen, placed) = locate(message)?;
    let view = view(&placed)?;
    let LaneView { lane, survey } = &seen;
    let history = inspect::history(lane, survey, view.id, view.count);
    let wanted = (view.header_length as usize).min(limits::HEADER_MAX);
    let mut header = Ok(Vec::new());
    for extent in view.extents() {
        let Ok(bytes) = &mut header else { break };
        if bytes.len() >= wanted {
            break;
        }
        match inspect::read_extent(lane, survey, &extent) {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(fault) => header = Err(fault),
        }
    }
    if let Ok(bytes) = &mut header {
        bytes.truncate(wanted);
    }
    if survey.at(placed.slot).is_none_or(|found| !inspect::is_current(lane, found)) {
        return Err(Failure(DAMAGE, format!("message {} was settled just now", view.id)));
    }
    let (lane, slot) = (lane.number, placed.slot);
    let shown =
        MessageReport { view, lane, slot, counts: history.counts, states: &history.recipients, header };
    let mut out = out();
    if json {
        writeln!(out, "{}", shown.json())?;
    } else {
        write!(out, "{}", shown.text())?;
    }
    Ok(out.flush()?)
}

fn export(message: &Message, output: Option<&Path>) -> Result<(), Failure> {
    let (seen, placed) = locate(message)?;
    let view = view(&placed)?;
    // First all of it is checked: half a message is worse than none.
    copy_body(&seen, &view, &mut io::sink(), |error| error.into())?;
    let Some(path) = output else {
        let mut out = out();
        copy_body(&seen, &view, &mut out, Failure::from)?;
        return Ok(out.flush()?);
    };
    let fail = |error: io::Error| Failure(UNUSABLE, format!("{}: {error}", path.display()));
    // It is mail: for whoever asked alone, whatever the umask.
    let mut file = files::make_new_file(path).map_err(fail)?;
    let done = copy_body(&seen, &view, &mut file, fail).and_then(|()| file.sync_all().map_err(fail));
    if done.is_err() {
        let _ = std::fs::remove_file(path);
    }
    done
}

/// Writes a body piece by piece, each checked.
fn copy_body(
    seen: &LaneView,
    view: &MessageView<'_>,
    out: &mut impl Write,
    fail: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    for extent in view.extents() {
        let piece = inspect::read_extent(&seen.lane, &seen.survey, &extent)
            .map_err(|fault| Failure(DAMAGE, format!("message {}: its body {fault}", view.id)))?;
        out.write_all(&piece).map_err(&fail)?;
    }
    Ok(())
}

fn take_over(place: &SpoolArguments, from: &Path, damaged: bool) -> Result<(), Failure> {
    let (into, shards) = place.resolve()?;
    // Lanes below the number of shards are the own lanes of shards; adopted ones come behind.
    let cores = || probe::cores().len().min(limits::SHARDS_MAX);
    let first = shards.map_or(0, |shards| if shards == 0 { cores() } else { shards });
    let adopted = adopt(&into, from, first, damaged).map_err(|error| Failure(UNUSABLE, error.to_string()))?;
    let mut out = out();
    let mut messages = 0;
    for lane in &adopted {
        let Some(to) = lane.to else {
            writeln!(out, "{}: nothing live in it, left where it is", lane_name(lane.from))?;
            continue;
        };
        messages += lane.messages as u64;
        let live = words::count(lane.messages as u64, "live message");
        writeln!(out, "{}: {live}, now {} of {}", lane_name(lane.from), lane_name(to), into.display())?;
    }
    writeln!(out, "{} adopted; the next start delivers them", words::count(messages, "message"))?;
    Ok(out.flush()?)
}
